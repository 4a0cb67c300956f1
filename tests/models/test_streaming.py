"""Text that is streamed, models/inference/sampling.py, as_text: joined it is what all tokens are
when they are decoded at once, for every vocabulary, any text and any tokens; and only the last
character ever waits."""

import codecs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import BytePairs, Characters
from models.data.byte_level import ByteLevel
from models.data.pieces import Pieces
from models.data.sources import DataError
from models.data.vocabulary import Vocabulary
from models.data.wordpieces import SPECIAL, WordPieces
from models.inference.sampling import as_text

tokenizers = pytest.importorskip("tokenizers")

CHINESE = "我们在这里学习自动微分，从张量到变换器，每一个梯度都写在代码旁边。"
SAMPLE = CHINESE + "한국어 문장도 있고 ქართული, 🙂🙃👩‍👩‍👧 emoji, déjà vu, and plain text.\n"
LETTERS = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
TEXTS = st.text(max_size=30) | st.text(st.sampled_from(SAMPLE), max_size=30)

VOCABULARIES = {
    "byte pairs": BytePairs.of(SAMPLE, 280),
    "bytes": BytePairs.of("", 256),
    "byte level": ByteLevel(["<|im_end|>", *LETTERS, "ab", "Ġa"], ["a b", "Ġ a"], {0}),
    "pieces": Pieces.of([SAMPLE], 300),
    "word pieces": WordPieces("\n".join([*SPECIAL, *"abc.,'", "##a", "##b", "do", "n"])),
    "characters": Characters(SAMPLE + "\ufffd"),
}


def streamed(ids, decode):
    return "".join(as_text(iter(ids), decode))


def of_bytes(tokens):
    return b"".join(tokens).decode(errors="replace")


@given(data=st.data(), name=st.sampled_from(sorted(VOCABULARIES)))
def test_the_pieces_of_any_tokens_are_their_text(data, name):
    """Also of tokens that no text has: bytes that are no UTF-8, special tokens, beginnings."""
    vocabulary = VOCABULARIES[name]
    ids = data.draw(st.lists(st.integers(0, len(vocabulary) - 1), max_size=40))
    assert streamed(ids, vocabulary.decode) == vocabulary.decode(ids)


@given(TEXTS, st.sampled_from(["byte pairs", "bytes", "byte level"]))
def test_a_text_comes_back(text, name):
    vocabulary = VOCABULARIES[name]
    text = text.encode(errors="replace").decode()
    if name == "byte level":  # it has a token for each byte
        assert len(vocabulary.encode(text)) <= len(text.encode())
    assert streamed(vocabulary.encode(text).tolist(), vocabulary.decode) == text


def test_white_space_of_several_bytes_at_an_end():
    """A line separator, U+2028, that ended what came so far, was lost: decode stripped it."""
    pieces = Pieces.of(["a"], 300)
    ids = pieces.encode("a").tolist() + [3 + i for i in pieces.pairs.encode("\u2028:\u3000\n b ")]
    assert pieces.decode(ids) == "a\u2028:\u3000\n b " == streamed(ids, pieces.decode)


def test_chinese_whose_tokens_end_inside_characters_is_streamed_whole():
    pairs = BytePairs.of(CHINESE, 280)
    ids = pairs.encode(CHINESE).tolist()
    assert pairs.decode(ids) == CHINESE == streamed(ids, pairs.decode)
    assert any(pairs.decode([i]).endswith("\ufffd") for i in ids)  # tokens end inside characters


@given(st.lists(st.binary(max_size=5) | st.sampled_from([c.encode() for c in SAMPLE])))
def test_only_what_may_be_a_character_waits(tokens):
    """Beside the incremental decoder of Python: what came so far lacks at most one character, which
    may be incomplete or is U+FFFD itself."""
    decoder, due, came, count = codecs.getincrementaldecoder("utf-8")("replace"), "", "", 0

    def counted():
        nonlocal count, due
        for token in tokens:
            assert came in (due, due.removesuffix("\ufffd"))
            due += decoder.decode(token)
            count += 1
            yield token

    for piece in as_text(counted(), of_bytes):
        came += piece
    assert count == len(tokens) and came == of_bytes(tokens)


def test_each_token_is_decoded_beside_a_few_others():
    """Not beside all that came before: a long text would take the square of its length. So it is
    too where every token but the last ends inside a character."""
    longest = 0

    def decode(tokens):
        nonlocal longest
        longest = max(longest, len(tokens))
        return of_bytes(tokens)

    data = (CHINESE * 20).encode()  # three bytes each
    for tokens in (
        [data[i : i + 1] for i in range(len(data))],
        [
            data[:2],
            *(data[i : i + 3] for i in range(2, len(data), 3)),
        ],
    ):
        assert streamed(tokens, decode) == CHINESE * 20
    assert longest <= 5  # the last of a character, and four of the next


@pytest.mark.parametrize("name", [*VOCABULARIES, "words"])
def test_numbers_of_no_symbol_are_refused(name):
    """Also negative ones, which a list would count from its end."""
    vocabulary = Vocabulary(["<pad>", "<unk>", "a"]) if name == "words" else VOCABULARIES[name]
    size = len(vocabulary)
    for wrong in (-1, size, np.int64(2**40)):
        with pytest.raises(DataError, match=f"{wrong} is the number of no symbol"):
            vocabulary.decode([0, wrong])
    with pytest.raises(TypeError):
        vocabulary.decode([0, 0.5])
    assert vocabulary.decode(np.zeros(2, np.int64)) == vocabulary.decode([0, 0])
