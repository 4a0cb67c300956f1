"""Root mean square normalisation on a GPU: the host's half of rms_norm.cu.

forward and backward are those of manual/rms_norm.py for rows that registers can hold.
"""

from math import prod

from ..backends import namespace
from ..manual.layer_norm import rows as checked
from ..manual.rms_norm import _epsilon
from .rows import fits, rows
from .source import sum_dtype


def takes(x, weight=None, *, normalized_shape, eps=None):
    return fits(x.dtype, prod(normalized_shape))


def forward(x, weight=None, *, normalized_shape, eps=None):
    M, N = checked("rms_norm", x, normalized_shape, weight=weight)
    xp = namespace(x, weight)
    x, w = (None if a is None else xp.ascontiguousarray(a) for a in (x, weight))
    y, r = xp.empty(x.shape, dtype=x.dtype), xp.empty(M, dtype=sum_dtype(x))
    of = rows("rms_norm.cu", N, x, w, y)
    of.source.launch("forward", *of.grid(M), x, w, y, r, M, N, _epsilon(x, eps),
                     shared=32 * r.itemsize)
    return y, (x, w, r, N)


def backward(dy, cache, needs=None):
    x, w, r, N = cache
    need_x, need_w = needs or (True,) * 2
    xp, M, A = namespace(x), len(r), r.dtype
    dy = xp.ascontiguousarray(dy)
    dx = xp.empty(x.shape, dtype=x.dtype) if need_x else None
    dw = xp.empty(w.shape, dtype=x.dtype) if need_w and w is not None else None
    of = rows("rms_norm.cu", N, x, w, dy, dx)
    blocks, threads = of.few(M)
    partial = None if dw is None else xp.empty((blocks, N), dtype=A)
    of.source.launch("backward", blocks, threads, x, w, r, dy, dx, partial, M, N,
                     shared=of.held * 32 * A.itemsize)
    if dw is not None:
        of.source.launch("columns", -(-N // 32), (32, 32), partial, dw, blocks, N,
                         shared=32 * 33 * A.itemsize)
    return dx, dw
