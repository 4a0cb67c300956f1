"""GELU in blocks.

manual/gelu.py goes through the memory once for each of its lines, some ten times on the way there.
Here all lines are computed for a block of rows, which stays in the cache, before the next one, into
few arrays; threads share the blocks. Only x and b are kept: v and Φ are computed again on the way
back, which takes no longer than to write them to memory and read them.
"""

from math import inf as INF
from math import pi, prod, sqrt

import numpy as np

from ...backends.sums import column_sums, total
from ...backends.threads import parallel_rows
from ...manual.gelu import LIMIT, A, C, gelu
from ...ops import erf


def forward(x, bias=None, *, approximate="none"):
    x_ = x.reshape(rows(x, bias))
    y = np.empty(x.shape, dtype=x.dtype)
    y_ = y.reshape(x_.shape)

    def y_of(m):
        v = x_[m] if bias is None else np.add(x_[m], bias, out=y_[m])
        Phi = distribution(np.clip(v, -LIMIT, LIMIT), approximate)
        np.multiply(np.clip(v, -LIMIT, INF), Phi, out=y_[m])

    parallel_rows(y_of, np, *x_.shape)
    return y, (x_, bias, approximate)


def backward(dy, cache, needs=None):
    x, bias, approximate = cache
    need_x, need_b = needs or (True, True)
    need_b = need_b and bias is not None
    dx = np.empty(dy.shape, dtype=x.dtype)
    dy_, dx_ = dy.reshape(x.shape), dx.reshape(x.shape)

    def dx_of(m):
        """Returns what these rows add to db."""
        z = np.clip(x[m] if bias is None else x[m] + bias, -LIMIT, LIMIT)
        Phi = distribution(z, approximate)
        slope = np.multiply(z, z, out=dx_[m])
        if approximate == "none":
            slope *= -0.5
            np.exp(slope, out=slope)
            slope *= 1 / sqrt(2 * pi)  # φ
        else:
            slope *= 6 * C * A
            slope += 2 * C  # 2 u'
            slope *= Phi
            slope *= 1 - Phi  # (1 - tanh²)/2 · u'
        slope *= z
        slope += Phi  # dy/dv
        slope *= dy_[m]
        return column_sums(slope) if need_b else None

    terms = parallel_rows(dx_of, np, *x.shape)
    db = (total(terms) if terms else np.zeros_like(bias)) if need_b else None
    return dx if need_x else None, db


gelu.cpu = gelu.form(forward, backward)


def rows(x, bias):
    """(M, N), the rows of x with as many columns as there are biases; one column without."""
    return (x.size, 1) if bias is None else (prod(x.shape[:-1]), len(bias))


def distribution(z, approximate):
    """Φ(z), or what stands for it."""
    if approximate == "none":
        Phi = erf(z * sqrt(0.5))
    else:
        u = z * z
        u *= C * A
        u += C
        u *= z
        Phi = np.tanh(u, out=u)
    Phi += 1
    Phi *= 0.5
    return Phi
