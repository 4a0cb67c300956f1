"""Sequences of different lengths in batches: of similar ones, filled up to the longest."""

import numpy as np

from .seeds import generator
from .sources import DataError


def pad(sequences, value=0):
    """Sequences of numbers side by side: (array (B, T) int64, filled up with `value`; lengths (B,)
    int64), T the longest length."""
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    padded = np.full((len(lengths), lengths.max(initial=0)), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences):
        row[: len(sequence)] = sequence
    return padded, lengths


class Batches:
    """Which examples a step trains on: each once an epoch, those of similar length together.

    In every epoch the examples are shuffled, those of `POOL` batches in turn are sorted by length
    and cut into batches, and all batches are shuffled: so little is filled up, and yet the batches
    of one epoch are not those of another. All of it is drawn from (seed, epoch), so what a step
    gives depends on nothing but its number, and a run can be taken up anywhere.

    lengths: integers (n,), of the examples. size: examples in a batch; the last one of an epoch's
    last pool may have fewer. Raises DataError where there are no examples.
    """

    POOL = 50

    def __init__(self, lengths, size, seed=0):
        self.lengths, self.size, self.seed = np.asarray(lengths), size, seed
        if not len(self.lengths):
            raise DataError("there are no examples to train on")
        self.count = -(-len(self.lengths) // size)  # of the batches in an epoch
        self._epoch = None, None  # the last one, and its batches

    def __call__(self, step):
        """The numbers of the examples, int64 (size,)."""
        epoch, i = divmod(step, self.count)
        if self._epoch[0] != epoch:
            self._epoch = epoch, self._cut(generator(self.seed, "order", epoch))
        return self._epoch[1][i]

    def _cut(self, rng):
        order, batches = rng.permutation(len(self.lengths)), []
        for start in range(0, len(order), self.POOL * self.size):
            pool = order[start : start + self.POOL * self.size]
            batches += _cut(pool[np.argsort(self.lengths[pool], kind="stable")], self.size)
        return [batches[i] for i in rng.permutation(len(batches))]


def by_length(lengths, size):
    """Batches that give every example once, the shortest first: for evaluation."""
    return _cut(np.argsort(lengths, kind="stable"), size)


def _cut(order, size):
    return [order[i : i + size] for i in range(0, len(order), size)]
