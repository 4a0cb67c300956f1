"""Layer normalisation on a GPU: the launcher of layer_norm.cu.

forward and backward are those of manual/layer_norm.py for rows that registers can hold.
"""

from math import prod

from ....backends import array_namespace
from ....backends.sums import sum_dtype
from ....manual.layer_norm import sizes
from .rows import fits, rows


def takes(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    return fits(x.dtype, prod(normalized_shape))


def forward(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    M, N = sizes(x, normalized_shape)
    xp = array_namespace(x, weight, bias, residual)
    x, a, w, b = (
        None if array is None else xp.ascontiguousarray(array)
        for array in (x, residual, weight, bias)
    )
    y, A = xp.empty(x.shape, dtype=x.dtype), sum_dtype(x)
    z = None if a is None else xp.empty(x.shape, dtype=x.dtype)
    mu, r = xp.empty(M, dtype=A), xp.empty(M, dtype=A)
    of = rows("layer_norm.cu", N, x, a, w, b, z, y)
    of.source.launch(
        "forward", *of.grid(M), x, a, w, b, z, y, mu, r, M, N, eps, shared=32 * mu.itemsize
    )
    return (y, z) if return_sum else y, (
        x if a is None else z,
        w,
        b,
        mu,
        r,
        N,
        a is not None,
        return_sum,
    )


def backward(dy, cache, needs=None):
    z, w, b, mu, r, N, is_sum, return_sum = cache
    need_x, need_w, need_b, need_a = needs or (True,) * 4
    need_a = need_a and is_sum
    dy, dz = dy if return_sum else (dy, None)
    xp, M, A = array_namespace(z), len(mu), mu.dtype
    dy, dz = xp.ascontiguousarray(dy), None if dz is None else xp.ascontiguousarray(dz)
    dx = xp.empty(z.shape, dtype=z.dtype) if need_x or need_a else None
    dw = xp.empty(w.shape, dtype=z.dtype) if need_w and w is not None else None
    db = xp.empty(b.shape, dtype=z.dtype) if need_b and b is not None else None
    of = rows("layer_norm.cu", N, z, w, dy, dz, dx)
    blocks, threads = of.few(M)
    partial = None if dw is db is None else xp.empty((2, blocks, N), dtype=A)
    of.source.launch(
        "backward",
        blocks,
        threads,
        z,
        w,
        mu,
        r,
        dy,
        dz,
        dx,
        partial,
        M,
        N,
        shared=of.items * 32 * A.itemsize,
    )
    if partial is not None:
        of.source.launch(
            "columns",
            (-(-N // 32), 2),
            (32, 32),
            partial,
            dw,
            db,
            blocks,
            N,
            shared=32 * 33 * A.itemsize,
        )
    dx, da = dx if need_x else None, dx if need_a else None  # they are equal
    return dx, dw, db, da
