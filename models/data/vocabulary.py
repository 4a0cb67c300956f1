"""Characters, words or tags as integers, with numbers of their own for what is no symbol."""

from operator import index as integer

import numpy as np

from .sources import DataError

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"


class Vocabulary:
    """Symbols, numbered in order: first those that stand for no symbol, then those of the data.

    0 is <pad>, which fills a batch up to its longest sequence; 1 is <unk>, which every symbol that
    is not in the vocabulary maps to; 2 and 3 are <s> and </s>, the begin and the end of a sequence,
    where the vocabulary has them. What is called so in the data is unknown, never one of these.

    symbols: strings, all different, the special ones included, as `symbols` gives them and JSON
    keeps them. Raises DataError where they are not of this form.
    """

    pad, unknown = 0, 1

    def __init__(self, symbols):
        self.symbols = list(symbols)
        ends = self.symbols[2:4] == [BEGIN, END]
        special = [PAD, UNKNOWN] + ends * [BEGIN, END]
        self.begin, self.end = (2, 3) if ends else (None, None)
        self._index = {s: i for i, s in enumerate(self.symbols) if s not in special}
        if self.symbols[:2] != special[:2] or len(special) + len(self._index) != len(self):
            raise DataError(
                f"a vocabulary begins with {PAD} and {UNKNOWN}, and no symbol comes "
                f"twice in it; this one has {len(self)}, and begins with "
                f"{self.symbols[:4]!r:.200}"
            )

    @classmethod
    def of(cls, sequences, least=1, ends=False):
        """The vocabulary of the symbols that occur in `sequences` (strings, or lists of words) at
        least `least` times, sorted; `ends`: with <s> and </s>. Give it training data alone: what
        only other data has must be unknown."""
        counts = {}
        for sequence in sequences:
            for s in sequence:
                counts[s] = counts.get(s, 0) + 1
        special = [PAD, UNKNOWN] + ends * [BEGIN, END]
        return cls(
            special + sorted(s for s, n in counts.items() if n >= least and s not in special)
        )

    def __len__(self):
        return len(self.symbols)

    def encode(self, sequence, ends=False):
        """The numbers of these symbols, int64 (n,), or (n + 2,) between <s> and </s>."""
        index = [self._index.get(s, self.unknown) for s in sequence]
        if ends:
            if self.end is None:
                raise DataError("this vocabulary has no begin and end: make it with ends=True")
            index = [self.begin, *index, self.end]
        return np.array(index, dtype=np.int64)

    def decode(self, index):
        """The symbols of these numbers, a list, up to the first </s> and without <s> and <pad>."""
        symbols = []
        for i in known_numbers(index, self):
            if i == self.end:
                break
            if i not in (self.pad, self.begin):
                symbols.append(self.symbols[i])
        return symbols


def known_numbers(index, vocabulary):
    """The numbers of symbols, as a list of integers. Raises DataError for one that is no symbol's,
    TypeError for what is no integer."""
    numbers, size = list(map(integer, index)), len(vocabulary)
    for i in numbers:
        if not 0 <= i < size:
            raise DataError(
                f"{i} is the number of no symbol: there are {size}, from 0 to {size - 1}"
            )
    return numbers
