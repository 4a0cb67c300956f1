"""Examples that are too much alike to stand on both sides of a split."""

import re

import numpy as np

from .held_out import split_at_random


def families(*keys):
    """The number of each example's family, int64 (n,), from 0: two examples are of one family if
    they have the same key, or are linked by others that have. keys: lists of n values, each list
    another way to be the same, such as two texts of a pair."""
    n = len(keys[0])
    parent = list(range(n))  # a forest: its trees are the families

    def root(i):
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]  # a shorter way for the next time
        return i

    for values in keys:
        first = {}  # value: the first example that has it
        for i, value in enumerate(values):
            parent[root(i)] = root(first.setdefault(value, i))
    return np.unique([root(i) for i in range(n)], return_inverse=True)[1]


def split_families(share, seed, *keys):
    """(training, held out): the numbers of examples, int64, each in order. Of the families that
    these keys make, the `share` is held out, drawn from the seed: no key is on both sides. Raises
    DataError as split_at_random does."""
    family = families(*keys)
    _, drawn = split_at_random(family.max(initial=-1) + 1, share, seed)
    held_out = np.isin(family, drawn)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def alike(text):
    """What two texts share that differ in the order of words, case or signs alone: the sorted words
    in lower case, a string. (The text itself, where it has no letter and no digit.)"""
    return " ".join(sorted(re.findall(r"\w+", text.lower()))) or text
