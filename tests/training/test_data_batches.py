"""Vocabularies with special symbols, and batches of sequences of similar length."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import Batches, DataError, Vocabulary, by_length, pad


def test_a_vocabulary_of_words_has_special_symbols_that_text_cannot_forge():
    v = Vocabulary.of([["the", "cat", "the"], ["a", "the", "cat", "<pad>"]], least=2)
    assert v.symbols == ["<pad>", "<unk>", "cat", "the"] and len(v) == 4
    assert (v.pad, v.unknown, v.begin, v.end) == (0, 1, None, None)
    tokens = v.encode(["the", "dog", "<pad>", "<unk>", "cat"])
    assert tokens.tolist() == [3, 1, 1, 1, 2] and tokens.dtype == np.int64
    assert v.decode(tokens) == ["the", "<unk>", "<unk>", "<unk>", "cat"]
    assert v.encode([]).shape == (0,) and v.encode([]).dtype == np.int64
    with pytest.raises(DataError, match="no begin and end"):
        v.encode(["the"], ends=True)


def test_vocabulary_of_characters_with_ends():
    v = Vocabulary.of(["ba", "äb"], ends=True)
    assert v.symbols == ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "ä"]
    tokens = v.encode("bäx", ends=True)
    assert tokens.tolist() == [v.begin, 5, 6, v.unknown, v.end]
    assert v.decode([*tokens, 4, 0]) == ["b", "ä", "<unk>"]  # nothing after the end
    assert v.decode([2, 4, 0, 5]) == ["a", "b"]


def test_a_vocabulary_comes_back_from_json():
    v = Vocabulary.of(["naïve"], ends=True)
    again = Vocabulary(json.loads(json.dumps(v.symbols)))
    assert again.symbols == v.symbols and again.end == v.end
    assert np.array_equal(again.encode("vie?"), v.encode("vie?"))


@pytest.mark.parametrize(
    "symbols",
    [
        [],
        ["a", "b"],
        ["<unk>", "<pad>"],
        ["<pad>", "<unk>", "a", "a"],
        ["<pad>", "<unk>", "<s>", "</s>", "<pad>"],
    ],
)
def test_what_is_no_vocabulary_is_refused(symbols):
    with pytest.raises(DataError, match="begins with <pad> and <unk>, and no symbol comes twice"):
        Vocabulary(symbols)


def test_pad_fills_up_to_the_longest():
    x, lengths = pad([[3, 4, 5], [6], []], value=-1)
    assert x.tolist() == [[3, 4, 5], [6, -1, -1], [-1, -1, -1]] and x.dtype == np.int64
    assert lengths.tolist() == [3, 1, 0]
    assert pad([])[0].shape == (0, 0)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 7), st.integers(0, 9))
def test_every_example_once_an_epoch(lengths, size, seed):
    batch = Batches(lengths, size, seed)
    for epoch in range(3):
        batches = [batch(epoch * batch.count + i) for i in range(batch.count)]
        assert all(1 <= len(b) <= size for b in batches)
        assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert sorted(np.concatenate(by_length(lengths, size))) == list(range(len(lengths)))


def test_a_step_depends_on_its_number_alone():
    lengths = np.random.default_rng(0).integers(1, 40, 1000)
    batch = Batches(lengths, 16, seed=3)
    steps = [batch(s) for s in range(3 * batch.count)]
    for s in (150, 2, 63, 0, 188):  # in any order, on a new object
        assert np.array_equal(batch(s), steps[s])
        assert np.array_equal(Batches(lengths, 16, seed=3)(s), steps[s])
    assert not np.array_equal(np.concatenate(steps[:63]), np.concatenate(steps[63:126]))
    assert any(not np.array_equal(Batches(lengths, 16, seed=4)(s), steps[s]) for s in range(63))


def test_batches_are_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 101, 3200)
    batch = Batches(lengths, 16)
    filled = sum(lengths[batch(s)].max() * 16 for s in range(batch.count))
    assert filled < 1.05 * lengths.sum()  # at random it is about 1.86
    steps = [lengths[batch(s)].max() for s in range(batch.count)]
    assert abs(np.corrcoef(steps, np.arange(batch.count))[0, 1]) < 0.3  # nor long ones last
    spans = [np.ptp(lengths[b]) for b in by_length(lengths, 16)]
    assert max(spans) <= 2


def test_batches_of_nothing_are_refused():
    with pytest.raises(DataError, match="no examples"):
        Batches([], 4)
