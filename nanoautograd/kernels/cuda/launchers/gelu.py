"""GELU on a GPU: the launcher of gelu.cu. forward and backward are those of manual/gelu.py."""

from math import prod

from ....backends import array_namespace
from ....backends.sums import sum_dtype
from ..runtime.source import FLOATS, source, type_of
from .elementwise import launch
from .rows import MULTIPROCESSORS

MOST_THREADS = 128  # of a block, where there is a bias
AT_A_TIME = 2048  # threads that a multiprocessor can hold


def takes(x, bias=None, *, approximate="none"):
    return x.dtype.name in FLOATS


def forward(x, bias=None, *, approximate="none"):
    M, N = (x.size, 1) if bias is None else (prod(x.shape[:-1]), len(bias))
    by_tanh = approximate == "tanh"
    xp = array_namespace(x)
    x_ = xp.ascontiguousarray(x)
    if bias is None:
        y = launch("gelu.cu", "forward", x_, numbers=(by_tanh,)).reshape(x.shape)
        return y, (x_, None, (M, N), by_tanh)
    y, b = xp.empty(x.shape, dtype=x.dtype), xp.ascontiguousarray(bias)
    source("gelu.cu", T=type_of(x)).launch(
        "forward_with_bias", *_grid(x, M, N), x_, b, y, M, N, by_tanh
    )
    return y, (x_, b, (M, N), by_tanh)


def backward(dy, cache, needs=None):
    x, b, (M, N), by_tanh = cache
    need_x, need_b = needs or (True,) * 2
    xp = array_namespace(dy)
    dy_ = xp.ascontiguousarray(dy)
    if b is None:
        return launch("gelu.cu", "backward", x, dy_, numbers=(by_tanh,)).reshape(dy.shape), None
    kernels, (grid, threads) = source("gelu.cu", T=type_of(x)), _grid(x, M, N)
    dx, db, partial = xp.empty(dy.shape, dtype=x.dtype), None, None
    if need_b:
        db, partial = xp.empty(N, dtype=x.dtype), xp.empty((grid[1], N), dtype=sum_dtype(x))
    kernels.launch("backward_with_bias", grid, threads, x, b, dy_, dx, partial, M, N, by_tanh)
    if need_b:
        kernels.launch(
            "columns",
            -(-N // 32),
            (32, 32),
            partial,
            db,
            len(partial),
            N,
            shared=32 * 33 * partial.itemsize,
        )
    return dx if need_x else None, db


def _grid(x, M, N):
    """(blocks, threads of one). Side by side are as many blocks as have all columns, 16 bytes of
    them a thread; below one another so many that all threads of 132 multiprocessors are busy, and
    the blocks in row i take the rows i, i + gridDim.y, ... of x. That does not depend on the GPU,
    so nor does the order of the sums."""
    columns = -(-N * x.itemsize // 16)
    threads = 32 * min(MOST_THREADS // 32, max(1, -(-columns // 32)))
    side = -(-columns // threads)
    below = max(1, MULTIPROCESSORS * AT_A_TIME // (threads * max(1, side)))
    return (side, min(M, below)), threads
