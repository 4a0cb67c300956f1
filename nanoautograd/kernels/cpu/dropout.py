"""Dropout in blocks that threads share.

manual/dropout.py keeps r, 4 or 8 bytes an element. Here [w_i ≥ 2³² p] is kept, a boolean, so 1
byte. To draw the words w is 5/6 of the time, and no block needs another's: each draws its own, so
that the threads share that too.
"""

import numpy as np

from ...backends.philox import words
from ...backends.threads import parallel_rows
from ...manual.dropout import dropout, least, scale


def forward(x, *, p=0.5, training=True, seed, offset=0):
    if p == 0 or not training:
        return x.copy(), None
    kept, bound = np.empty(x.size, dtype=bool), least(p)

    def kept_of(i):
        np.greater_equal(words(x, i.stop - i.start, seed, offset + i.start), bound, out=kept[i])

    parallel_rows(kept_of, np, x.size, 1)
    return times(x, kept, p), (kept, p)


def backward(dy, cache, needs=None):
    return ((dy.copy() if cache is None else times(dy, *cache)),)


dropout.cpu = dropout.form(forward, backward)


def times(x, kept, p):
    """r x, where kept (x.size,) is [w ≥ 2³² p]."""
    y = np.empty(x.shape, dtype=x.dtype)
    x_, y_ = x.reshape(-1), y.reshape(-1)

    def y_of(i):
        np.multiply(x_[i], kept[i], out=y_[i])
        y_[i] *= scale(p)

    parallel_rows(y_of, np, x.size, 1)
    return y
