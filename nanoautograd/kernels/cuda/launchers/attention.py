"""Scaled dot-product attention on a GPU: the launcher of attention.cu and attention_mma.cu.

forward and backward are those of manual/attention.py for what `takes` allows. Both files have the
same kernels; a Tiling says which file, and how its blocks are cut.
"""

from typing import Any, NamedTuple

from ....backends import array_namespace, device_of
from ....backends.philox import DeviceOffset
from ....backends.sums import sum_dtype
from ....manual.attention import scale_of
from ..runtime.precision import precision
from ..runtime.source import FLOATS, Source, Strided, address, shared_memory, source, type_of
from . import dropout


class Tiling(NamedTuple):
    """source: the kernels. A block has `threads` threads and owns rows[0] queries on the way there,
    rows[1] keys or queries on the way back; shared: bytes of shared memory, there and back. The
    file has these numbers too: it is given them as LAUNCHER_EXPECTS, and the compiler compares."""

    source: Source
    threads: int
    rows: tuple
    shared: tuple


class Options(NamedTuple):
    """What the kernels take between the arrays and their steps, in this order."""

    H: int  # heads, queries, keys, features
    N: int
    S: int
    d: int
    c: float  # what scores are multiplied by
    causal: bool
    seed: int  # of dropout, and so the rest: dropout.cu
    offset: int
    there: Any
    least: int
    scale: float


def _tiling(q, p):
    """For these queries. Tensor cores multiply in TF32 also where bfloat16 was asked for."""
    is_bf16 = q.dtype.name == "bfloat16"
    by_tensor_cores = is_bf16 or q.dtype.name == "float32" and precision() != "float32"
    return (_mma if by_tensor_cores else _plain)(q, T=type_of(q), DROPOUT=int(p > 0))


def _plain(q, **macros):
    d, R = -(-q.shape[-1] // 64) * 64, 256 // q.itemsize
    tile, scratch = R * (d * q.itemsize + 16), R * (R * q.itemsize + 16)
    there, back = 2 * tile, 4 * tile  # q, k or v; x1, x2, y1, y2
    shared = there + scratch, back + scratch
    return _compiled("attention.cu", 256, (R, R), shared, MAX_HEAD_DIM=d, **macros)


def _mma(q, **macros):
    d, few = -(-q.shape[-1] // 32) * 32, macros["DROPOUT"]
    step = d * q.itemsize + 16  # bytes of a row in shared memory
    rows = 128, 64 if d > 64 else 128
    others = (32 if d > 64 else 64) // (1 + few), 16 if few or q.itemsize == 4 else 32
    there = rows[0] + 2 * 2 * others[0]  # rows of q; twice those of k and v
    back = 2 * rows[1] + 2 * 2 * others[1]  # of x1 and x2; twice of y1 and y2
    lse_and_D = 2 * 2 * others[1] * 4  # twice, of each of these y
    shared = there * step, back * step + lse_and_D
    return _compiled("attention_mma.cu", 128, rows, shared, MAX_HEAD_DIM=d, **macros)


def _compiled(file, threads, rows, shared, **macros):
    expected = ", ".join(map(str, (threads, *rows, *shared)))
    return Tiling(source(file, LAUNCHER_EXPECTS=expected, **macros), threads, rows, shared)


def takes(
    q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, p=0.0, seed=0, offset=0
):
    """Queries, keys and values with the same batch axes, two or fewer, and 8, 16, ... or 128
    features; without a mask, and only the output. The scale is positive, because the kernels take
    the largest q kᵀ of a row for that of the largest score."""
    return (
        mask is None
        and not return_weights
        and q.dtype.name in FLOATS
        and q.dtype == k.dtype == v.dtype
        and 2 <= q.ndim <= 4
        and q.shape[:-2] == k.shape[:-2]
        and k.shape == v.shape
        and q.shape[-1] == k.shape[-1] in range(8, 129, 8)
        and k.shape[-2] > 0
        and (scale is None or scale > 0)
        and (
            not p
            or 0 < p <= 1
            and 0 <= seed < 2**64
            and (isinstance(offset, DeviceOffset) or 0 <= offset < 2**64)
        )
        and max(_tiling(q, p).shared) <= shared_memory(device_of(q))
    )


def forward(
    q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, p=0.0, seed=0, offset=0
):
    xp, c = array_namespace(q, k, v), scale_of(q, scale)
    q, k, v = (_aligned(xp, x) for x in (q, k, v))
    o = xp.empty_like(q)
    lse = xp.empty((*q.shape[:-2], -(-q.shape[-2] // 32) * 32), dtype=sum_dtype(q))
    tiling = _tiling(q, p)
    random = dropout.numbers(p, seed, offset) if p else (0, 0, None, 0, 1)
    options = Options(*_sizes(q, k), c, causal, *random)
    tiling.source.launch(
        "forward",
        _blocks(q, tiling.rows[0]),
        tiling.threads,
        *map(Strided, (q, k, v, o)),
        lse,
        *options,
        *_steps(q, k, v, o),
        shared=tiling.shared[0],
    )
    return o, (q, k, v, o, lse, tiling, options)


def backward(do, cache, needs=None):
    q, k, v, o, lse, tiling, options = cache
    need_q, need_k, need_v, _ = needs or (True,) * 4
    xp = array_namespace(q)
    if do.strides != o.strides or not _is_aligned(do):
        do, given = xp.empty_like(o), do
        do[...] = given
    D, dq, dk, dv = xp.empty_like(lse), None, None, None
    rows = q.size // q.shape[-1]
    tiling.source.launch(
        "rows_dots",
        -(-rows // 8),
        256,
        Strided(o),
        Strided(do),
        D,
        options.H,
        options.N,
        options.d,
        rows,
        *_steps(o),
    )
    inputs, steps = (*map(Strided, (q, k, v, do)), lse, D), _steps(q, k, v, o)
    if need_k or need_v:
        dk, dv = xp.empty_like(k), xp.empty_like(k)
        tiling.source.launch(
            "backward_keys",
            _blocks(k, tiling.rows[1]),
            tiling.threads,
            *inputs,
            Strided(dk),
            Strided(dv),
            *options,
            *steps,
            *_steps(dk),
            shared=tiling.shared[1],
        )
    if need_q:
        dq = xp.empty_like(o)
        tiling.source.launch(
            "backward_queries",
            _blocks(q, tiling.rows[1]),
            tiling.threads,
            *inputs,
            Strided(dq),
            *options,
            *steps,
            shared=tiling.shared[1],
        )
    return dq, dk if need_k else None, dv if need_v else None, None


def _aligned(xp, x):
    """The array, or a copy whose rows begin at multiples of 16 bytes."""
    return x if _is_aligned(x) else x.copy()


def _is_aligned(x):
    return (
        x.strides[-1] == x.itemsize
        and address(x) % 16 == 0
        and all(i % 16 == 0 and (i or n == 1) for i, n in zip(x.strides[:-1], x.shape))
    )


def _blocks(x, rows):
    """So many `rows` of each head."""
    n = x.shape[-2]
    return 0 if not x.size else x.size // (n * x.shape[-1]) * -(-n // rows)


def _sizes(q, k):
    """H, N, S, d: without batch axes, or with one, each head is a batch of its own."""
    return q.shape[1] if q.ndim == 4 else 1, q.shape[-2], *k.shape[-2:]


def _steps(*arrays):
    """Of each the numbers from one batch, head and row to the next."""
    steps = []
    for x in arrays:
        *batch, row, _ = (n // x.itemsize for n in x.strides)
        steps += [*batch, 0, 0][:2] + [row]
    return steps
