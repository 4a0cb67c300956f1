"""Texts as pieces of words, for models that read one text and write another."""

import numpy as np

from .text import BytePairs
from .vocabulary import known_numbers


class Pieces:
    """Byte pairs (text.py) with numbers before theirs for what is no piece: 0 fills a batch up, 1
    begins a text and 2 ends it. A text is read as if a space stood before it, so that its first
    word is cut like any other, and all white space as single spaces.

    symbols: what BytePairs takes, and JSON keeps. Raises DataError and ImportError as it does.
    """

    pad, begin, end = 0, 1, 2

    def __init__(self, symbols):
        self.pairs, self.symbols = BytePairs(symbols), symbols

    @classmethod
    def of(cls, texts, size):
        """Learn at most `size` numbers, these three among them, from a list of texts. Give it
        training data alone. Raises DataError where size is too small for all bytes."""
        lines = "".join(f" {' '.join(text.split())}\n" for text in texts)
        return cls(BytePairs.of(lines, size - 3).symbols)

    def __len__(self):
        return 3 + len(self.pairs)

    def encode(self, text, ends=False):
        """The numbers of a text's pieces, int64 (n,), or (n + 2,) between begin and end."""
        index = 3 + self.pairs.encode("".join(f" {word}" for word in text.split()))
        return np.array([self.begin, *index, self.end]) if ends else index

    def decode(self, index):
        """The text of these numbers, up to the first end, without the space before it."""
        index = known_numbers(index, self)
        index = index[: index.index(self.end)] if self.end in index else index
        return self.pairs.decode([i - 3 for i in index if i > self.end]).removeprefix(" ")

    def show(self, index):
        """The pieces of these numbers one by one, a list of strings: for pictures."""
        names = "", "<s>", "</s>"
        return [names[i] if i < 3 else self.pairs.decode([i - 3]) for i in index]
