"""How rows are laid on threads: what launchers need for rows.cuh."""

from typing import NamedTuple

from ..runtime.source import FLOATS, address, source, type_of

# A multiprocessor has 65,536 registers, and a thread can have 255.
THREADS = 256  # of a block, at most: 65,536 / 256 registers are left for each.
MULTIPROCESSORS = 132  # of an H100


class Rows(NamedTuple):
    """source: what to launch. items, threads: ITEMS_PER_THREAD and THREADS_PER_ROW of rows.cuh.
    at_a_time: blocks of 256 threads for which a multiprocessor has registers. Where a thread holds
    the most numbers, it takes all that it can have, and there is room for one block; where it holds
    half or a quarter, for two or four."""

    source: object
    items: int
    threads: int
    at_a_time: int

    def grid(self, M):
        """(blocks, (threads of a row, rows of a block)) for M rows: four side by side where a warp
        has a row of its own."""
        together = 4 if self.threads == 32 else 1
        return -(-M // together), (self.threads, together)

    def few(self, M):
        """The same with no more blocks than can run at a time: in each of 132 multiprocessors as
        many as make at_a_time · 256 threads. Each block goes through many rows. Their number does
        not depend on the GPU, so nor does the order of the sums."""
        together = min(THREADS // 32, max(1, -(-M // MULTIPROCESSORS))) if self.threads == 32 else 1
        blocks = MULTIPROCESSORS * self.at_a_time * (THREADS // (self.threads * together))
        return min(blocks, -(-M // together)), (self.threads, together)


def fits(dtype, N):
    """Can registers hold a row of N numbers?"""
    return dtype.name in FLOATS and N <= THREADS * _most(dtype)


def rows(file, N, *arrays):
    """Rows of the first array, that begin at multiples of N in all of them (some may be None)."""
    dtype, items = arrays[0].dtype, 8
    while items < _most(dtype) and 32 * items < N:
        items *= 2
    threads, max_vec = 32 * max(1, -(-N // (32 * items))), 16 // dtype.itemsize
    aligned = N % max_vec == 0 and all(a is None or address(a) % 16 == 0 for a in arrays)
    vec = max_vec if aligned else 1
    kernels = source(
        file, T=type_of(arrays[0]), ITEMS_PER_THREAD=items, VEC=vec, THREADS_PER_ROW=threads
    )
    return Rows(kernels, items, threads, _most(dtype) // items)


def _most(dtype):
    """The largest `items`: a number of 8 bytes takes two registers."""
    return 16 if dtype.name == "float64" else 32
