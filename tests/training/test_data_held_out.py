"""What is held out, and the random numbers that decide it."""

import numpy as np
import pytest

from nanoautograd.data import DataError, generator, split, split_at_random, split_by_class


def test_the_end():
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


def test_at_random():
    a, b = split_at_random(50, 0.2, seed=1)
    assert (len(a), len(b)) == (40, 10) and sorted([*a, *b]) == list(range(50))
    assert all(np.array_equal(*pair) for pair in zip((a, b), split_at_random(50, 0.2, seed=1)))
    assert not np.array_equal(b, split_at_random(50, 0.2, seed=2)[1])
    for share in (0.001, 0.999):
        with pytest.raises(DataError, match=f"of 50 examples a share of {share} leaves"):
            split_at_random(50, share)


def test_by_class(rng):
    y = rng.permutation(np.repeat([0, 1, 2], [100, 50, 10]))
    a, b = split_by_class(y, 0.2, seed=1)
    assert np.bincount(y[b]).tolist() == [20, 10, 2]
    assert sorted([*a, *b]) == list(range(160)) and (np.diff(a) > 0).all()
    assert all(np.array_equal(*pair) for pair in zip((a, b), split_by_class(y, 0.2, seed=1)))
    assert not np.array_equal(b, split_by_class(y, 0.2, seed=2)[1])
    with pytest.raises(DataError, match="of 50 examples of class 1 a share of 0.01 leaves 50 "):
        split_by_class(y, 0.01)


def test_random_numbers_are_those_of_their_key():
    """These numbers decide what published runs gave, and must not move."""
    def drawn(*args):
        return generator(*args).integers(2 ** 60)

    assert drawn(7, "weights") == np.random.default_rng([7, 0]).integers(2 ** 60)
    assert drawn(7, "order", 3) == np.random.default_rng([7, 1, 3]).integers(2 ** 60)
    assert drawn(7, "unseen words", 9) == np.random.default_rng([7, 3, 9]).integers(2 ** 60)


@pytest.mark.parametrize("own", [
    ["dates"], ["split by class"], ["split at random", "unseen words"],
    ["split by class", "noise", "noise to evaluate with", "codes to draw"]])
def test_a_run_draws_nothing_twice(own):
    keys = [(purpose, step) for purpose in ["weights", "order", "sampling", *own]
            for step in range(3)]
    assert len({generator(7, *key).integers(2 ** 60) for key in keys}) == len(keys)
