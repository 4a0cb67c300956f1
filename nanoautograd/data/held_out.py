"""What is held out: the share of the data that a model is judged by, and not trained on."""

import numpy as np

from .seeds import generator
from .sources import DataError


def split(sequence, share, least=2, what="tokens"):
    """(training, held out): of a sequence its end, `share` of it, is held out.

    least: how much that must be. A text needs two tokens, one to predict and one before it. what:
    the sequence is made of, for the message. Raises DataError where either side would be too short.
    """
    n = len(sequence) - _count(len(sequence), share, least, what)
    return sequence[:n], sequence[n:]


def split_at_random(n, share, seed=0):
    """(training, held out): the numbers of n examples, int64, in an order drawn from the seed, of
    which the first `share` is held out. Raises DataError where one side would be empty."""
    order, count = generator(seed, "split at random").permutation(n), _count(n, share)
    return order[count:], order[:count]


def split_by_class(y, share, seed=0):
    """(training, held out): the numbers of examples, int64, each in order. Of every class of y (n,)
    the `share` is held out, drawn from the seed. Raises DataError where a class would have no
    example on one side."""
    y, rng = np.asarray(y), generator(seed, "split by class")
    held_out = np.zeros(len(y), dtype=bool)
    for c in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == c))
        held_out[members[:_count(len(members), share, what=f"examples of class {c}")]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _count(n, share, least=1, what="examples"):
    """How many of n are held out."""
    count = round(share * n)
    if not least <= count < n:
        raise DataError(f"of {n} {what} a share of {share} leaves {n - count} to train on and "
                        f"{count} to validate with; the least are 1 and {least}: change "
                        "--validation, or give more data")
    return count
