"""Work in blocks: small enough to stay in a core's cache, and shared among threads.

An elementwise line of NumPy reads its arrays from memory and writes a new one there. A softmax or a
gelu is ten such lines, and for large arrays memory, not arithmetic, is what they wait for. Done
block by block, all lines of a block before the next one, only the first line and the last meet the
memory; what lies between stays in the cache. The blocks do not depend on each other, so threads
can share them: NumPy lets go of Python's lock while it computes.

    def softmax_of(rows):                   # rows: a slice
        z = x[rows] - xp.max(x[rows], axis=1, keepdims=True)
        y[rows] = xp.exp(z, out=z) / xp.sum(z, axis=1, keepdims=True)

    parallel_rows(softmax_of, xp, len(x), x.shape[1])

A thread that goes on in Python after a line waits for the lock if another has it, so two threads
win nothing where a line takes less time than to hand the lock over: blocks are as large as the
cache allows.

Where steps have to wait for each other, and other work does not, one thread takes the steps and the
others the rest (`Future`).

How large a block is does not depend on the number of threads, so neither do the results. For CuPy,
which has threads enough of its own, all rows are one block. Its arrays must not be used in other
threads: the current stream and the memory pool belong to a thread, so what another one computes is
in no order with the rest, and is not part of a step that is captured. (The strict fake refuses
it: `in_worker`.)

Matrix products are cut among the same threads (`matmul`), instead of those of the BLAS that NumPy
brings: two pools of threads on the same cores would wait for each other. Where a product is cut
changes its last bits, so with `deterministic` it is always cut in the same way. Where all products
are with a vector, and short, the threads of the BLAS, which are awake sooner, have them instead
(`of_blas`).
"""

import os
import threading
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial

import numpy as np

from . import products

__all__ = [
    "Future",
    "get_num_threads",
    "in_worker",
    "matmul",
    "of_blas",
    "parallel_map",
    "parallel_rows",
    "piece_count",
    "set_num_threads",
    "slices_for_product",
]

BLOCK = 1 << 17  # numbers of a block: 512 KiB in float32, so a few arrays fit in a cache
LEAST = 1 << 24  # multiplications: to wake a thread takes as long as a smaller product
EVEN = 4  # if rows make more than one block, they make about a multiple of it
PIECES = 8  # that a product is cut into where it must not depend on the threads
ALIGN = 16  # rows: pieces are multiples of what the BLAS computes at once


class _Team:
    """The threads, and how products are cut."""

    size = 1
    piece_count = 1
    pool = None  # of size - 1 threads: the caller is the other one
    blas = None  # threadpoolctl's hold on it, where the BLAS has threads in `of_blas`
    in_blas = 0  # how many are in there
    limits = None  # what the first of them changed


_team = _Team()
_lock = threading.Lock()
_this_thread = threading.local()  # .in_map: it computes for `parallel_map`, and maps within that
#                                   map are not cut again; .in_future: it makes a Future's call


def set_num_threads(n: int, deterministic: bool = False) -> None:
    """Compute with n threads on the CPU: blocks and matrix products are shared among them, and
    NumPy's BLAS, which otherwise has threads of its own, is held to one. Needs the package
    threadpoolctl if n > 1 or `deterministic`, where results are the same to the bit for any n.

    Before the first call, n is 1, and the BLAS has as many threads as it likes. Raises ValueError
    for n < 1, TypeError for what is no whole number, and ImportError.
    """
    if not isinstance(n, (int, np.integer)):
        raise TypeError(f"set_num_threads: the number of threads must be an integer; got {n!r}")
    if n < 1:
        raise ValueError(f"set_num_threads: the number of threads must be 1 or more; got {n}")
    blas = None
    try:
        from threadpoolctl import ThreadpoolController

        blas = ThreadpoolController().select(user_api="blas")
        blas.limit(limits=1)
    except ImportError:
        if n > 1 or deterministic:
            raise ImportError(
                "threads need the package threadpoolctl, which holds NumPy's own to "
                "one: pip install threadpoolctl"
            ) from None
    _forget_pool()
    _team.size, _team.piece_count = int(n), PIECES if deterministic else int(n)
    _team.blas = None if n == 1 or deterministic else blas


def get_num_threads() -> int:
    """How many threads compute; see `set_num_threads`."""
    return _team.size


def piece_count():
    """Into how many pieces work is cut so that each thread has one: the number of threads, or with
    `deterministic` always the same."""
    return _team.piece_count


@contextmanager
def of_blas():
    """`with of_blas():` the BLAS has the threads; for products so short that to hand them to
    another of ours takes longer, as those of a matrix and a vector. What limits it had before, it
    has again when the last one that is in here leaves."""
    if _team.blas is None:
        yield
        return
    with _lock:
        if _team.in_blas == 0:
            _team.limits = _team.blas.limit(limits=_team.size)
        _team.in_blas += 1
    try:
        yield
    finally:
        with _lock:
            _team.in_blas -= 1
            if _team.in_blas == 0:
                _team.limits.restore_original_limits()


def _forget_pool():
    """A pool's threads are not there any more after a fork."""
    _team.pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def parallel_map(f, items):
    """[f(item) for item in items], on all threads. An error in one is raised here."""
    items = list(items)
    workers = min(_team.size, len(items)) - 1
    if workers < 1 or getattr(_this_thread, "in_map", False):
        return [f(item) for item in items]
    results, left = [None] * len(items), iter(range(len(items)))  # next() of it is atomic

    def work():
        _this_thread.in_map = True
        try:
            for i in left:
                results[i] = f(items[i])
        finally:
            _this_thread.in_map = False

    others = [_submit(work) for _ in range(workers)]
    try:
        work()
    finally:
        begun = [other for other in others if not other.cancel()]
        for other in begun:
            other.exception()  # waits: nobody writes into the results any more
    for other in begun:
        other.result()
    return results


def in_worker():
    """Whether another thread might be doing what is done here: the items of a map go to whoever is
    free, the caller among them."""
    return getattr(_this_thread, "in_map", False) or getattr(_this_thread, "in_future", False)


def _submit(f):
    """Has f called by one of the other threads."""
    if _team.pool is None:
        from concurrent.futures import ThreadPoolExecutor

        workers = max(1, _team.size - 1)  # the size may have changed since the caller looked
        _team.pool = ThreadPoolExecutor(workers, thread_name_prefix="nanoautograd")
    # NumPy's errstate is a context variable: the threads get that of the caller.
    return _team.pool.submit(copy_context().run, f)


class Future:
    """Future(f, *args): a call that another thread makes while this one goes on; if there is none,
    or `now`, it is made at once. `result()` is what it returned, or raises its error; if no thread
    has begun the call by then, it is made there.
    """

    def __init__(self, f, *args, now=False):
        if now or _team.size == 1:
            self.value, self.future = f(*args), None
        else:
            self.call = partial(_called_in_future, f, *args)
            self.future = _submit(self.call)

    def done(self):
        return self.future is None or self.future.done()

    def result(self):
        if self.future is not None:
            self.value = self.call() if self.future.cancel() else self.future.result()
            self.future = None
        return self.value


def _called_in_future(f, *args):
    before, _this_thread.in_future = getattr(_this_thread, "in_future", False), True
    try:
        return f(*args)
    finally:
        _this_thread.in_future = before


def parallel_rows(f, xp, rows, width, least=0):
    """Calls f(slice) for blocks of a few rows that together are range(rows); a row has `width`
    numbers. Returns what f returned, in order. least: of fewer numbers one thread computes all
    blocks."""
    size = max(1, BLOCK // max(1, width)) if xp is np else max(1, rows)
    if rows <= size:
        return [f(slice(0, rows))] if rows else []
    blocks = -(-rows // (EVEN * size)) * EVEN  # as many for each of 2 or of 4 threads
    size = -(-rows // blocks)
    slices = [slice(i, min(i + size, rows)) for i in range(0, rows, size)]
    return parallel_map(f, slices) if rows * width >= least else list(map(f, slices))


def slices_for_product(xp, n, multiplications):
    """range(n), of a product's rows or columns, as `piece_count()` slices; as one, if all of it is
    few multiplications."""
    if xp is not np or _team.piece_count == 1 or multiplications < LEAST:
        return [slice(0, n)]
    return _slices(n, ALIGN)


def matmul(a, b, out=None):
    """a @ b for arrays with two axes or more, as xp.matmul; NumPy's shared among the threads."""
    if (
        _team.piece_count == 1
        or type(a) is not np.ndarray
        or type(b) is not np.ndarray
        or a.size * b.shape[-1] < LEAST
        or a.dtype.kind != "f"
    ):
        return products.matmul(a, b, out)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    M, N = a.shape[-2], b.shape[-1]
    if out is None:
        out = np.empty((*batch, M, N), dtype=np.result_type(a, b))
    if batch:
        a, b = (np.broadcast_to(x, batch + x.shape[-2:]) for x in (a, b))
        parallel_map(lambda i: np.matmul(a[i], b[i], out=out[i]), _slices(batch[0], 1))
    elif M >= N:
        parallel_map(lambda i: np.matmul(a[i], b, out=out[i]), _slices(M, ALIGN))
    else:
        parallel_map(lambda j: np.matmul(a, b[:, j], out=out[:, j]), _slices(N, ALIGN))
    return out


def _slices(n, align):
    """range(n) in as many slices as products are cut into, but for the last of multiples."""
    size = -(-n // (_team.piece_count * align)) * align
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
