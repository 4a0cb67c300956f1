"""GELU on a GPU: the host's half of gelu.cu. forward and backward are those of manual/gelu.py."""

from ..backends import namespace
from ..manual.gelu import _check
from .elementwise import launch
from .rows import BLOCKS
from .source import FLOATS, source, sum_dtype, type_of

THREADS = 128                   # of a block, at most, where there is a bias


def takes(x, bias=None, *, approximate="none"):
    return x.dtype.name in FLOATS


def forward(x, bias=None, *, approximate="none"):
    rows, tanh, xp = _check(x, bias, approximate), approximate == "tanh", namespace(x)
    flat = xp.ascontiguousarray(x)
    if bias is None:
        return launch("gelu.cu", "forward", flat, numbers=(tanh,)).reshape(x.shape), (
            flat, None, rows, tanh)
    y, b = xp.empty(x.shape, dtype=x.dtype), xp.ascontiguousarray(bias)
    source("gelu.cu", T=type_of(x)).launch("forward_with_bias", *_grid(x, *rows), flat, b, y, *rows,
                                           tanh)
    return y, (flat, b, rows, tanh)


def backward(dy, cache, needs=None):
    x, b, rows, tanh = cache
    need_x, need_b = needs or (True,) * 2
    xp = namespace(dy)
    dy_ = xp.ascontiguousarray(dy)
    if b is None:
        return launch("gelu.cu", "backward", x, dy_, numbers=(tanh,)).reshape(dy.shape), None
    (M, N), kernels = rows, source("gelu.cu", T=type_of(x))
    grid, threads = _grid(x, M, N)
    dx, db, partial = xp.empty(dy.shape, dtype=x.dtype), None, None
    if need_b:
        db, partial = xp.empty(N, dtype=x.dtype), xp.empty((grid[1], N), dtype=sum_dtype(x))
    kernels.launch("backward_with_bias", grid, threads, x, b, dy_, dx, partial, M, N, tanh)
    if need_b:
        kernels.launch("columns", -(-N // 32), (32, 32), partial, db, len(partial), N,
                       shared=32 * 33 * partial.itemsize)
    return dx if need_x else None, db


def _grid(x, M, N):
    """(blocks, threads of one): as many columns as there are, 16 bytes of them a thread, and so
    many rows of blocks that a GPU has work, each of which goes through many rows. Their number does
    not depend on the GPU, so nor does the order of the sums."""
    columns = -(-N * x.itemsize // 16)
    threads = 32 * min(THREADS // 32, max(1, -(-columns // 32)))
    tiles = -(-columns // threads)
    return (tiles, min(M, max(1, 2048 // threads * BLOCKS // max(1, tiles)))), threads
