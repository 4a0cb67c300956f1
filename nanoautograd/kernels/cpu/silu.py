"""SiLU in blocks that stay in the cache, as in gelu.py. Only x is kept: s is computed again on the
way back, by one exponential where ops/elementwise.py takes two."""

from math import inf as INF

import numpy as np

from ...backends.threads import parallel_rows
from ...manual.silu import LIMIT, silu


def forward(x):
    y = np.empty(x.shape, dtype=x.dtype)
    x_, y_ = x.reshape(-1), y.reshape(-1)

    def y_of(i):
        np.multiply(np.clip(x_[i], -LIMIT, INF), sigmoid(x_[i]), out=y_[i])

    parallel_rows(y_of, np, x.size, 1)
    return y, x


def backward(dy, cache, needs=None):
    x = cache
    dx = np.empty(x.shape, dtype=x.dtype)
    x_, dy_, dx_ = (a.reshape(-1) for a in (x, dy, dx))

    def dx_of(i):
        s = sigmoid(x_[i])
        d = np.subtract(1, s, out=dx_[i])
        d *= np.clip(x_[i], -LIMIT, LIMIT)
        d += 1
        d *= s
        d *= dy_[i]

    parallel_rows(dx_of, np, x.size, 1)
    return (dx,)


silu.cpu = silu.form(forward, backward)


def sigmoid(x):
    """With e = exp(-|x|): 1 / (1 + e) where x ≥ 0, and e / (1 + e) elsewhere."""
    e = np.abs(x)
    np.negative(e, out=e)
    np.exp(e, out=e)
    below = 1 + e
    np.maximum(e, x >= 0, out=e)
    e /= below
    return e
