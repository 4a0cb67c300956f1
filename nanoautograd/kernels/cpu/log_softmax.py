"""Logarithm of the softmax in blocks, as in softmax.py."""

from ...backends import array_namespace
from ...backends.threads import by_rows
from ...manual.log_softmax import log_softmax
from .softmax import rows, sums


def forward(x, *, axis=-1):
    xp = array_namespace(x)
    if x.size == 0:  # no row has a maximum
        return xp.zeros_like(x), (x, axis)
    y = xp.empty(x.shape, dtype=x.dtype)
    x_, y_ = (rows(a, axis) for a in (x, y))

    def part(a):
        z = xp.subtract(x_[a], xp.max(x_[a], axis=1, keepdims=True), out=y_[a])
        z -= xp.log(sums(xp.exp(z)))

    by_rows(part, xp, len(x_), x_[0].size)
    return y, (y, axis)


def backward(dy, cache, needs=None):
    y, axis = cache
    xp = array_namespace(y)
    dx = xp.empty(y.shape, dtype=y.dtype)
    if y.size == 0:
        return (dx,)
    y_, dy_, dx_ = (rows(a, axis) for a in (y, dy, dx))

    def part(a):
        d = xp.exp(y_[a], out=dx_[a])
        d *= -sums(dy_[a])
        d += dy_[a]  # dy - exp(y) Σ dy

    by_rows(part, xp, len(y_), y_[0].size)
    return (dx,)


log_softmax.cpu = log_softmax.form(forward, backward)
