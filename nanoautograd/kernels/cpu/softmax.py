"""Softmax in blocks.

manual/softmax.py goes through the memory once for each of its lines. Here any input is seen as
(A, C, B), where C is the axis and B = 1 if that is the last, and all lines are computed for a block
of a few A, which stays in the cache, before the next one; threads share the blocks. Where a row
lies in one piece, its sum is a product with ones.
"""

from math import prod

import numpy as np

from ...backends.sums import row_sums, summed
from ...backends.threads import parallel_rows
from ...manual.softmax import softmax


def forward(x, *, axis=-1):
    if x.size == 0:  # no row has a maximum
        return np.zeros_like(x), (x, axis)
    p = np.empty(x.shape, dtype=x.dtype)
    x_, p_ = rows(axis, x, p)

    def p_of(a):
        e = np.subtract(x_[a], np.maximum.reduce(x_[a], 1, keepdims=True), out=p_[a])
        np.exp(e, out=e)
        e /= sums(e)

    parallel_rows(p_of, np, len(x_), x_[0].size)
    return p, (p, axis)


def backward(dp, cache, needs=None):
    p, axis = cache
    dx = np.empty(p.shape, dtype=p.dtype)
    if p.size == 0:
        return (dx,)
    p_, dp_, dx_ = rows(axis, p, dp, dx)

    def dx_of(a):
        d = np.multiply(dp_[a], p_[a], out=dx_[a])
        d -= p_[a] * sums(d)  # p dp - p Σ p dp

    parallel_rows(dx_of, np, len(p_), p_[0].size)
    return (dx,)


softmax.cpu = softmax.form(forward, backward)


def rows(axis, *arrays):
    """Each as (A, C, B), with C along the axis; a view where it is contiguous."""
    shape = arrays[0].shape
    axis %= len(shape)
    three = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    return [a.reshape(three) for a in arrays]


def sums(a):
    """Σ along the axis: (A, C, B) -> (A, 1, B)."""
    return row_sums(a[..., 0])[:, None, None] if a.shape[2] == 1 else summed(a, 1, keepdims=True)
