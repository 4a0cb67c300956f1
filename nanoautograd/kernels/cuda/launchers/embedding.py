"""Embedding on a GPU: the launcher of embedding.cu.

forward and backward are those of manual/embedding.py, but that an id out of range is reported
(runtime/device_assertions.py) and gives zeros.
"""

from ....backends import array_namespace, device_of
from ....backends.sums import sum_dtype
from ..runtime import device_assertions
from ..runtime.source import FLOATS, NAMES, source, type_of

CHUNK = 16  # The fewest sorted keys that a thread adds up.
AT_A_TIME = 1 << 18  # About the threads that a GPU runs at a time (an H100 132 · 2048):
#                                 more are of no use, so with more keys each thread adds up more.
JOINED = 16  # threads for a column of a run that goes over several chunks

device_assertions.register(
    2,  # ASSERTION in embedding.cu
    "embedding: id {value} at place {place} is out of range: there are {limit} rows, 0 to {last}",
)


def takes(ids, weight, *, padding_idx=None):
    """All tables of which rows and places can be counted by 32 bits."""
    return (
        weight.dtype.name in FLOATS
        and weight.ndim == 2
        and ids.dtype.kind in "iu"
        and ids.dtype.name in NAMES
        and max(weight.shape) < 2**31
        and ids.size < 2**32
    )


def forward(ids, weight, *, padding_idx=None):
    xp, reported = (
        array_namespace(ids, weight),
        device_assertions.assertions(array_namespace(weight), device_of(weight)),
    )
    n, E = xp.ascontiguousarray(ids), xp.ascontiguousarray(weight)
    M, (V, D) = ids.size, weight.shape
    y, k = xp.empty((*ids.shape, D), dtype=E.dtype), xp.empty(M, dtype=xp.int64)
    kernels, block = source("embedding.cu", T=type_of(E), IdT=type_of(n)), _block(D)
    kernels.launch(
        "forward",
        -(-M // block[1]),
        block,
        n,
        E,
        y,
        k,
        reported.array,
        M,
        V,
        D,
        -1 if padding_idx is None else padding_idx % V,
    )
    device_assertions.check(xp, device_of(E))
    return y, (k, kernels, V, D)


def backward(dy, cache, needs=None):
    k, kernels, V, D = cache
    if needs is not None and not needs[1]:
        return None, None
    xp, M = array_namespace(dy), len(k)
    dE = xp.zeros((V, D), dtype=dy.dtype)
    if not M or not D:
        return None, dE
    dy, k, block = xp.ascontiguousarray(dy), xp.sort(k), _block(D)
    L = max(CHUNK, M * block[0] // AT_A_TIME)
    chunks = -(-M // L)
    part = xp.empty((chunks, 2, D), dtype=sum_dtype(dy))
    kernels.launch("sums", -(-chunks // block[1]), block, dy, k, part, dE, M, V, D, L)
    kernels.launch(
        "join",
        (chunks, -(-D // 32)),
        (32, JOINED),
        part,
        k,
        dE,
        M,
        V,
        D,
        L,
        shared=32 * JOINED * part.itemsize,
    )
    return None, dE


def _block(D):
    """(threads for a row's columns, rows)."""
    x = 1
    while x < 128 and 4 * x < D:
        x *= 2
    return x, 128 // x
