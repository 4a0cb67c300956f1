"""What is held out, and the random numbers that decide it."""

import argparse

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import DataError, generator, purpose, split, split_at_random, split_by_class
from models.tasks import PRESETS
from models.tasks.task import share_or_fold


def test_of_a_text_the_end_is_held_out():
    tokens = np.arange(100)
    a, b = split(tokens, 0.1)
    assert len(b) == 10 and np.array_equal(np.concatenate([a, b]), tokens)
    assert split("abcdef", 0.4) == ("abcd", "ef")
    with pytest.raises(DataError, match="of 10 tokens a share of 0.1 leaves 9 to train on and 1 "):
        split(tokens[:10], 0.1)
    with pytest.raises(DataError, match="of 10 days .* leaves 6 .* the least are 1 and 5"):
        split(tokens[:10], 0.4, least=5, what="days")
    with pytest.raises(DataError, match="leaves 0 to train on"):
        split(tokens, 0.999)


def test_examples_held_out_at_random_are_drawn_from_the_seed():
    a, b = split_at_random(50, 0.2, seed=1)
    assert (len(a), len(b)) == (40, 10) and sorted([*a, *b]) == list(range(50))
    assert all(np.array_equal(*pair) for pair in zip((a, b), split_at_random(50, 0.2, seed=1)))
    assert not np.array_equal(b, split_at_random(50, 0.2, seed=2)[1])
    for share in (0.001, 0.999):
        with pytest.raises(DataError, match=f"of 50 examples a share of {share} leaves"):
            split_at_random(50, share)


def test_of_every_class_the_same_share_is_held_out(rng):
    y = rng.permutation(np.repeat([0, 1, 2], [100, 50, 10]))
    a, b = split_by_class(y, 0.2, seed=1)
    assert np.bincount(y[b]).tolist() == [20, 10, 2]
    assert sorted([*a, *b]) == list(range(160)) and (np.diff(a) > 0).all()
    assert all(np.array_equal(*pair) for pair in zip((a, b), split_by_class(y, 0.2, seed=1)))
    assert not np.array_equal(b, split_by_class(y, 0.2, seed=2)[1])
    with pytest.raises(DataError, match="of 50 examples of class 1 a share of 0.01 leaves 50 "):
        split_by_class(y, 0.01)


@st.composite
def folds(draw, least=1, most=60):
    """(n, the K folds of n examples)."""
    K = draw(st.integers(2, 8))
    return draw(st.integers(K * least, most)), [f"{k}/{K}" for k in range(1, K + 1)]


@given(folds(least=2))
def test_the_folds_of_a_text_cover_it_in_order(case):
    n, parts = case
    text = "".join(chr(0x4E00 + i) for i in range(n))
    splits = [split(text, part) for part in parts]
    assert "".join(held_out for _, held_out in splits) == text
    for training, held_out in splits:
        assert sorted(training + held_out) == list(text) and sorted(training) == list(training)
        assert n // len(parts) <= len(held_out) <= -(-n // len(parts))
    arrays = split(np.arange(n), parts[0])
    assert [len(a) for a in arrays] == [len(a) for a in splits[0]]
    assert np.array_equal(np.concatenate(arrays[::-1]), np.arange(n))  # the first comes first


@given(folds(), st.integers(0, 5))
def test_folds_at_random_are_disjoint_and_cover_everything(case, seed):
    n, parts = case
    splits = [split_at_random(n, part, seed) for part in parts]
    assert sorted(i for _, held_out in splits for i in held_out) == list(range(n))
    assert all(sorted([*a, *b]) == list(range(n)) for a, b in splits)
    # One permutation, whatever is held out of it.
    assert np.array_equal(
        np.concatenate([b for _, b in splits]),
        np.concatenate(split_at_random(n, 1 / n, seed)[::-1]),
    )


@given(folds(), st.integers(1, 3), st.integers(0, 5))
def test_folds_by_class_are_disjoint_and_cover_everything(case, classes, seed):
    n, parts = case
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), n))
    splits = [split_by_class(y, part, seed) for part in parts]
    assert sorted(i for _, held_out in splits for i in held_out) == list(range(len(y)))
    for a, b in splits:
        assert sorted([*a, *b]) == list(range(len(y)))
        assert np.ptp(np.bincount(y[b], minlength=classes)) == 0


def test_folds_that_are_too_small():
    with pytest.raises(DataError, match="of 3 examples the fold 1/5 leaves 3 to train on and 0 "):
        split_at_random(3, "1/5")
    with pytest.raises(DataError, match="of 1 examples of class b the fold 1/2 leaves 1 to train"):
        split_by_class(["a", "a", "b"], "1/2")
    with pytest.raises(DataError, match="of 8 tokens the fold 5/5 leaves 6 .* 2 .* are 1 and 3"):
        split("abcdefgh", "5/5", least=3)


@pytest.mark.parametrize(
    "text, value", [("0.2", 0.2), ("2/5", "2/5"), ("02/5", "2/5"), ("1e-1", 0.1), ("5/5", "5/5")]
)
def test_a_share_or_a_fold(text, value):
    assert share_or_fold(text) == value and share_or_fold(str(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "1",
        "nan",
        "x",
        "0/5",
        "6/5",
        "1/1",
        "-1/-2",
        "1/2/3",
        "1/",
        "/",
        "0.5/2",
        "",
        f"1/{10**9}",
    ],
)
def test_neither_a_share_nor_a_fold(text):
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        share_or_fold(text)


def test_random_numbers_are_those_of_their_key():
    """These numbers decide what published runs gave, and must not move."""

    def drawn(*args):
        return generator(*args).integers(2**60)

    assert drawn(7, "weights") == np.random.default_rng([7, 0]).integers(2**60)
    assert drawn(7, "order", 3) == np.random.default_rng([7, 1, 3]).integers(2**60)
    assert PRESETS  # whose files enter what they draw for
    assert drawn(7, "unseen words", 9) == np.random.default_rng([7, 3, 9]).integers(2**60)


def test_a_purpose_has_one_number():
    assert purpose("order", 1) == "order"
    with pytest.raises(ValueError, match="'order' has the number 1, not 2"):
        purpose("order", 2)
    with pytest.raises(
        ValueError, match="nothing is drawn for 'nothing'; there are weights, order"
    ):
        generator(0, "nothing")


@pytest.mark.parametrize(
    "own",
    [
        ["dates"],
        ["split by class"],
        ["split at random", "unseen words"],
        ["split by class", "noise", "noise to evaluate with", "codes to draw"],
    ],
)
def test_a_run_draws_nothing_twice(own):
    keys = [
        (purpose, step) for purpose in ["weights", "order", "sampling", *own] for step in range(3)
    ]
    assert len({generator(7, *key).integers(2**60) for key in keys}) == len(keys)
