"""The tokens of a pretrained language model: byte pairs that others learnt, and special tokens."""

import numpy as np

from .sources import DataError
from .text import check_unicode, require_tokenizers
from .vocabulary import known_numbers

NORMAL = 1  # the type of a token that text is made of, in GGUF
KIND = "gpt2 smollm"  # pairs of bytes as in GPT-2, texts cut as for SmolLM
ENDS = "<|endoftext|>", "<|im_end|>"  # after one of these there is no more to say


class ByteLevel:
    """A vocabulary as GPT-2's, byte-pair encoding (Sennrich, Haddow & Birch 2016) of the UTF-8
    bytes, within words and their leading space, and numbers digit by digit.

    tokens: all of them, in their order, with GPT-2's visible letters for the 256 bytes. merges: the
    pairs, "left right", in the order in which they were learnt. special: the numbers of the tokens
    that stand for no text, such as the end of a turn in a chat.

    No text is ever encoded as a special token, whatever is written in it: who types "<|im_end|>"
    ends no turn. What a program means by one it takes from `special`, {token: number}. `ends`: the
    numbers of those with which a text, or a turn, ends.

    Raises DataError where tokens and merges do not go together, ImportError where the package
    `tokenizers` is missing.
    """

    def __init__(self, tokens, merges, special):
        numbers, special = {token: i for i, token in enumerate(tokens)}, set(special)
        self.special = {token: i for token, i in numbers.items() if i in special}
        if len(numbers) != len(tokens) or len(self.special) != len(special):
            raise DataError(
                f"the vocabulary has {len(tokens)} tokens, of which only "
                f"{len(numbers)} differ, and {len(self.special)} of the "
                f"{len(special)} special ones"
            )
        self.ends = {self.special[token] for token in ENDS if token in self.special}
        text = {token: i for token, i in numbers.items() if token not in self.special}
        pairs = [tuple(merge.split(" ")) for merge in merges]
        for merge, pair in zip(merges, pairs):  # the package would end the program
            if len(pair) != 2 or not {*pair, "".join(pair)} <= text.keys():
                raise DataError(
                    "a merge must be two tokens with a space between, whose letters "
                    f"together are a token too, none of them special; got {merge!r:.200}"
                )
        self._length, t = len(tokens), require_tokenizers()
        self._tokenizer = t.Tokenizer(t.models.BPE(vocab=text, merges=pairs))
        self._tokenizer.pre_tokenizer = t.pre_tokenizers.Sequence(
            [
                t.pre_tokenizers.Digits(individual_digits=True),
                t.pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        self._tokenizer.decoder = t.decoders.ByteLevel()

    @classmethod
    def of_gguf(cls, metadata):
        """The vocabulary in the metadata of a GGUF file. Raises DataError where it is of a kind
        that is not known here, or damaged."""
        kind = " ".join(str(metadata.get(f"tokenizer.ggml.{name}")) for name in ("model", "pre"))
        if kind != KIND:
            raise DataError(f"the vocabulary is of the kind {kind[:100]!r}; known is {KIND!r}")
        tokens, merges, types = (
            metadata.get(f"tokenizer.ggml.{name}") for name in ("tokens", "merges", "token_type")
        )
        for name, texts in (("tokens", tokens), ("merges", merges)):
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise DataError(f"the {name} of the vocabulary are no list of texts")
        if not (
            isinstance(types, np.ndarray)
            and types.shape == (len(tokens),)
            and types.dtype.kind in "iu"
        ):
            raise DataError(f"the {len(tokens)} tokens of the vocabulary need as many types")
        return cls(tokens, merges, np.flatnonzero(types != NORMAL).tolist())

    def __len__(self):
        return self._length

    def encode(self, text):
        """The numbers of the tokens, int64 of shape (tokens,). A byte that no token stands for, as
        some control characters may be, is left out. Raises DataError where the text is no
        Unicode."""
        check_unicode(text)
        return np.array(self._tokenizer.encode(text).ids, dtype=np.int64)

    def decode(self, index):
        """The text of these numbers, in which special tokens leave no trace; bytes that are not
        UTF-8 become U+FFFD."""
        return self._tokenizer.decode(known_numbers(index, self))
