"""Logarithm of the softmax in blocks, as in softmax.py."""

import numpy as np

from ...backends.threads import parallel_rows
from ...manual.log_softmax import log_softmax
from .softmax import rows, sums


def forward(x, *, axis=-1):
    if x.size == 0:  # no row has a maximum
        return np.zeros_like(x), (x, axis)
    y = np.empty(x.shape, dtype=x.dtype)
    x_, y_ = rows(axis, x, y)

    def y_of(a):
        z = np.subtract(x_[a], np.maximum.reduce(x_[a], 1, keepdims=True), out=y_[a])
        z -= np.log(sums(np.exp(z)))

    parallel_rows(y_of, np, len(x_), x_[0].size)
    return y, (y, axis)


def backward(dy, cache, needs=None):
    y, axis = cache
    dx = np.empty(y.shape, dtype=y.dtype)
    if y.size == 0:
        return (dx,)
    y_, dy_, dx_ = rows(axis, y, dy, dx)

    def dx_of(a):
        d = np.exp(y_[a], out=dx_[a])
        d *= -sums(dy_[a])
        d += dy_[a]  # dy - exp(y) Σ dy

    parallel_rows(dx_of, np, len(y_), y_[0].size)
    return (dx,)


log_softmax.cpu = log_softmax.form(forward, backward)
