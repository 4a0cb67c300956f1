"""Root mean square normalisation on a GPU: the launcher of rms_norm.cu.

forward and backward are those of manual/rms_norm.py for rows that registers can hold.
"""

from math import prod

from ....backends import array_namespace
from ....backends.sums import sum_dtype
from ....manual.layer_norm import sizes
from ....manual.rms_norm import epsilon
from .rows import fits, rows


def takes(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    return fits(x.dtype, prod(normalized_shape))


def forward(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    M, N = sizes(x, normalized_shape)
    xp = array_namespace(x, weight, residual)
    x, a, w = (
        None if array is None else xp.ascontiguousarray(array) for array in (x, residual, weight)
    )
    y, r = xp.empty(x.shape, dtype=x.dtype), xp.empty(M, dtype=sum_dtype(x))
    z = None if a is None else xp.empty(x.shape, dtype=x.dtype)
    of = rows("rms_norm.cu", N, x, a, w, z, y)
    of.source.launch(
        "forward", *of.grid(M), x, a, w, z, y, r, M, N, epsilon(x, eps), shared=32 * r.itemsize
    )
    return (y, z) if return_sum else y, (x if a is None else z, w, r, N, a is not None, return_sum)


def backward(dy, cache, needs=None):
    z, w, r, N, is_sum, return_sum = cache
    need_x, need_w, need_a = needs or (True,) * 3
    need_a = need_a and is_sum
    dy, dz = dy if return_sum else (dy, None)
    xp, M, A = array_namespace(z), len(r), r.dtype
    dy, dz = xp.ascontiguousarray(dy), None if dz is None else xp.ascontiguousarray(dz)
    dx = xp.empty(z.shape, dtype=z.dtype) if need_x or need_a else None
    dw = xp.empty(w.shape, dtype=z.dtype) if need_w and w is not None else None
    of = rows("rms_norm.cu", N, z, w, dy, dz, dx)
    blocks, threads = of.few(M)
    partial = None if dw is None else xp.empty((blocks, N), dtype=A)
    of.source.launch(
        "backward",
        blocks,
        threads,
        z,
        w,
        r,
        dy,
        dz,
        dx,
        partial,
        M,
        N,
        shared=of.items * 32 * A.itemsize,
    )
    if dw is not None:
        of.source.launch(
            "columns", -(-N // 32), (32, 32), partial, dw, blocks, N, shared=32 * 33 * A.itemsize
        )
    dx, da = dx if need_x else None, dx if need_a else None  # they are equal
    return dx, dw, da
