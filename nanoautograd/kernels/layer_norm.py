"""Layer normalisation on a GPU: the host's half of layer_norm.cu.

forward and backward are those of manual/layer_norm.py for rows that registers can hold.
"""

from math import prod

from ..backends import namespace
from ..manual.layer_norm import rows as checked
from .rows import fits, rows
from .source import sum_dtype


def takes(x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    return fits(x.dtype, prod(normalized_shape))


def forward(x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    M, N = checked("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    xp = namespace(x, weight, bias)
    x, w, b = (None if a is None else xp.ascontiguousarray(a) for a in (x, weight, bias))
    y, A = xp.empty(x.shape, dtype=x.dtype), sum_dtype(x)
    mu, r = xp.empty(M, dtype=A), xp.empty(M, dtype=A)
    of = rows("layer_norm.cu", N, x, w, b, y)
    of.source.launch("forward", *of.grid(M), x, w, b, y, mu, r, M, N, eps, shared=32 * mu.itemsize)
    return y, (x, w, b, mu, r, N)


def backward(dy, cache, needs=None):
    x, w, b, mu, r, N = cache
    need_x, need_w, need_b = needs or (True,) * 3
    xp, M, A = namespace(x), len(mu), mu.dtype
    dy = xp.ascontiguousarray(dy)
    dx = xp.empty(x.shape, dtype=x.dtype) if need_x else None
    dw = xp.empty(w.shape, dtype=x.dtype) if need_w and w is not None else None
    db = xp.empty(b.shape, dtype=x.dtype) if need_b and b is not None else None
    of = rows("layer_norm.cu", N, x, w, dy, dx)
    blocks, threads = of.few(M)
    partial = None if dw is db is None else xp.empty((2, blocks, N), dtype=A)
    of.source.launch("backward", blocks, threads, x, w, mu, r, dy, dx, partial, M, N,
                     shared=of.held * 32 * A.itemsize)
    if partial is not None:
        of.source.launch("columns", (-(-N // 32), 2), (32, 32), partial, dw, db, blocks, N,
                         shared=32 * 33 * A.itemsize)
    return dx, dw, db
