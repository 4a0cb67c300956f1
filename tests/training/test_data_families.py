"""Splits without what is alike, and texts in pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import DataError, Pieces, alike, families, split_families

KEYS = st.integers(1, 40).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 12), min_size=n, max_size=n), min_size=1, max_size=3)
)


@given(KEYS)
def test_families_are_what_is_linked(keys):
    """As often as a matrix of who shares a key with whom must be multiplied with itself."""
    keys, family = np.array(keys), families(*keys)
    linked = (keys[:, :, None] == keys[:, None]).any(axis=0)
    for _ in range(6):
        linked = linked.astype(int) @ linked > 0
    np.testing.assert_array_equal(family[:, None] == family, linked)
    assert sorted(set(family.tolist())) == list(range(family.max() + 1))


def test_families_are_those_by_hand():
    assert families("abcad").tolist() == families("abcad", [1, 2, 3, 4, 5]).tolist()
    family = families("abcad", [1, 2, 2, 4, 5])
    assert family[0] == family[3] and family[1] == family[2] and len(set(family.tolist())) == 3
    assert families([]).tolist() == []


@given(KEYS, st.integers(0, 5))
def test_no_key_is_on_both_sides(keys, seed):
    try:
        training, held_out = split_families(0.4, seed, *keys)
    except DataError:
        assert families(*keys).max() < 2
        return
    assert sorted([*training, *held_out]) == list(range(len(keys[0])))
    for values in keys:
        assert not {values[i] for i in training} & {values[i] for i in held_out}
    again = split_families(0.4, seed, *keys)
    assert all(np.array_equal(*pair) for pair in zip((training, held_out), again))


def test_the_folds_of_families_are_all_of_them():
    keys = [i // 2 for i in range(30)]
    parts = [split_families(f"{k}/3", 0, keys)[1] for k in (1, 2, 3)]
    assert sorted(np.concatenate(parts)) == list(range(30))


@pytest.mark.parametrize(
    "a, b", [("Wie heißt du?", "wie heißt du"), ("Ja, heute.", "Heute: ja!"), ("a  b\nc", "c b a")]
)
def test_texts_that_differ_in_no_word_are_alike(a, b):
    assert alike(a) == alike(b) != alike(a + " x")


def test_texts_without_words_are_alike_where_equal():
    assert alike("?!") == "?!" != alike("...")


TEXTS = ["the house and the horse", "das Haus", "the  hound\n and the mouse"]


def test_pieces_give_the_text_back():
    pytest.importorskip("tokenizers")
    pieces = Pieces.of(TEXTS, 300)
    assert 259 < len(pieces) <= 300 and len(Pieces(pieces.symbols)) == len(pieces)
    index = pieces.encode("the house", ends=True)
    assert index[0] == pieces.begin and index[-1] == pieces.end and index.dtype == np.int64
    np.testing.assert_array_equal(pieces.encode("the house"), index[1:-1])
    assert pieces.encode("the the").tolist() == 2 * pieces.encode("the").tolist()
    assert pieces.decode([*index, *index, pieces.pad]) == "the house"
    assert pieces.decode(index.tolist()[:-1] + [pieces.pad]) == "the house"
    shown = pieces.show(index)
    assert shown[0] == "<s>" and shown[-1] == "</s>" and "".join(shown[1:-1]) == " the house"
    assert pieces.show([pieces.pad]) == [""]
    assert pieces.encode("").shape == (0,) and pieces.decode([]) == ""
    with pytest.raises(DataError, match="at least 256"):
        Pieces.of(TEXTS, 258)
    with pytest.raises(DataError, match="cannot be read"):
        Pieces("{}")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_pieces_of_any_text(text):
    pytest.importorskip("tokenizers")
    pieces = Pieces.of(TEXTS, 280)
    index = pieces.encode(text)
    assert pieces.decode(index) == " ".join(text.split())
    assert ((index > 2) & (index < len(pieces))).all()
