"""What is held out: the part of the data that a model is judged by, and not trained on.

The part is a share, such as 0.2, or a fold of cross-validation as a string, such as "2/5", the
second of five: for one seed the folds are disjoint, and together they are all of the data.
"""

import numpy as np

from .seeds import generator, purpose
from .sources import DataError

BY_CLASS, AT_RANDOM = purpose("split by class", 3), purpose("split at random", 4)


def split(sequence, part, least=2, what="tokens"):
    """(training, held out): of a sequence (string, list or array) its end, a share of it, is held
    out; or the k-th of K stretches, and then what is before it and behind it is joined.

    least: how much that must be. A text needs two tokens, one to predict and one before it. what:
    the sequence is made of, for the message. Raises DataError where either side would be too short.
    """
    n = len(sequence)
    first, end = held_out_range(n, part, least, what)
    if not isinstance(part, str):
        first, end = n - end, n
    rest = sequence[:first], sequence[end:]
    return (
        np.concatenate(rest) if isinstance(sequence, np.ndarray) else rest[0] + rest[1],
        sequence[first:end],
    )


def split_at_random(n, part, seed=0):
    """(training, held out): the numbers of n examples, int64, in an order drawn from the seed, of
    which the first share, or the k-th of K stretches, is held out. Raises DataError where one side
    would be empty."""
    order, (first, end) = generator(seed, AT_RANDOM).permutation(n), held_out_range(n, part)
    return np.concatenate([order[:first], order[end:]]), order[first:end]


def split_by_class(y, part, seed=0):
    """(training, held out): the numbers of examples, int64, each in order. Of every class of y (n,)
    the share or fold is held out, drawn from the seed. Raises DataError where a class would have no
    example on one side."""
    y, rng = np.asarray(y), generator(seed, BY_CLASS)
    held_out = np.zeros(len(y), dtype=bool)
    for c in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == c))
        first, end = held_out_range(len(members), part, what=f"examples of class {c}")
        held_out[members[first:end]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def held_out_range(n, part, least=1, what="examples"):
    """(first, end): which of n are held out. Of a share, the first ones."""
    if isinstance(part, str):
        k, K = map(int, part.split("/"))
        (first, end), name = ((k - 1) * n // K, k * n // K), f"the fold {part}"
    else:
        first, end, name = 0, round(part * n), f"a share of {part}"
    count = end - first
    if not least <= count < n:
        raise DataError(
            f"of {n} {what} {name} leaves {n - count} to train on and {count} to "
            f"validate with; the least are 1 and {least}: change --validation, or give "
            "more data"
        )
    return first, end
