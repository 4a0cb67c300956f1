"""backends/threads.py and memory.py: work that threads share, memory that is used again."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.backends import strict, sums, threads

threadpoolctl = pytest.importorskip("threadpoolctl")
threadpool_info, threadpool_limits = threadpoolctl.threadpool_info, threadpoolctl.threadpool_limits


@pytest.fixture(autouse=True)
def as_before():
    before = vars(threads._team).copy()
    yield
    for name in ("size", "piece_count", "pool", "blas"):
        setattr(threads._team, name, before.get(name, getattr(threads._Team, name)))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_parallel_map_is_a_map(n):
    nag.set_num_threads(n)
    assert nag.get_num_threads() == n
    assert threads.parallel_map(lambda i: i * i, range(100)) == [i * i for i in range(100)]
    assert threads.parallel_map(abs, []) == []


def test_an_error_is_raised_here_and_nobody_still_works():
    nag.set_num_threads(3)
    running = []

    def f(i):
        running.append(i)
        if i == 7:
            raise KeyError(i)
        running.remove(i)

    with pytest.raises(KeyError, match="7"):
        threads.parallel_map(f, range(50))
    assert running == [7]
    assert threads.parallel_map(abs, [-1, -2, -3]) == [1, 2, 3]  # and the threads still do


@given(st.integers(1, 4), st.integers(0, 9), st.sampled_from(["parallel_map", "Future"]))
def test_an_array_of_a_device_is_refused_in_another_thread(n, items, how):
    """Whoever computes it: also where it is the thread that has the array."""
    nag.set_num_threads(n)
    x = strict.xp.ones(3, dtype="float32")

    def work():
        if how == "parallel_map":
            return threads.parallel_map(lambda i: x * float(i), range(items))
        tasks = [threads.Future(lambda i: x * float(i), i) for i in range(items)]
        return [task.result() for task in tasks]

    if n == 1 or items < (2 if how == "parallel_map" else 1):
        assert len(work()) == items
    else:
        with pytest.raises(strict.StrictError, match=r"shape \(3,\), is used in a worker thread"):
            work()
    assert x.sum().item() == 3.0  # and here it may be used again


def test_maps_within_maps_and_from_many_threads():
    nag.set_num_threads(2)

    def table(i):
        return threads.parallel_map(lambda j: i * j, range(20))

    right = [[i * j for j in range(20)] for i in range(30)]
    found = []
    callers = [
        threading.Thread(target=lambda: found.append(threads.parallel_map(table, range(30))))
        for _ in range(4)
    ]
    for t in callers:
        t.start()
    for t in callers:
        t.join(60)
    assert found == [right] * 4


@pytest.mark.parametrize("n", [1, 2, 4])
def test_futures_have_their_results_in_any_order(n):
    """Each call is made once, also from threads of a map."""
    nag.set_num_threads(n)
    calls = []

    def half(i):
        calls.append(i)
        if i % 2:
            raise KeyError(i)
        return i // 2

    def tasks(start):
        made = [threads.Future(half, i) for i in range(start, start + 20, 2)]
        return [task.result() for task in reversed(made)] + [made[0].result()]

    found = threads.parallel_map(tasks, range(0, 200, 20))
    assert found == [[*range(k + 9, k - 1, -1), k] for k in range(0, 100, 10)]
    assert sorted(calls) == list(range(0, 200, 2))
    with pytest.raises(KeyError, match="3"):
        threads.Future(half, 3).result()


def test_what_no_thread_is_free_for_is_called_here():
    nag.set_num_threads(2)
    go = threading.Event()
    first, second = threads.Future(go.wait, 60), threads.Future(threading.get_ident)
    assert second.result() == threading.get_ident() and second.done() and not first.done()
    go.set()
    assert first.result() and first.done()
    now = threads.Future(threading.get_ident, now=True)
    assert now.done() and now.result() == threading.get_ident()


def test_threads_obey_errstate():
    nag.set_num_threads(2)
    zero = np.zeros(3)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.parallel_map(lambda i: 1 / zero, range(8))
    with np.errstate(all="ignore"):
        assert len(threads.parallel_map(lambda i: 1 / zero, range(8))) == 8


@given(st.integers(0, 300), st.integers(0, 3 * threads.BLOCK), st.sampled_from([1, 2]))
def test_blocks_are_all_rows_once(rows, width, n):
    nag.set_num_threads(n)
    slices = threads.parallel_rows(lambda s: s, np, rows, width)
    assert [i for s in slices for i in range(rows)[s]] == list(range(rows))
    assert all(s.stop - s.start == 1 or (s.stop - s.start) * width <= threads.BLOCK for s in slices)
    slices = threads.parallel_rows(lambda s: s, strict.xp, rows, width)
    assert slices == [slice(0, rows)] * (rows > 0)


def random(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "a, b",
    [
        ((200, 300), (300, 400)),
        ((17, 300), (300, 900)),
        ((900, 300), (300, 17)),
        ((6, 90, 64), (6, 64, 90)),
        ((5, 1, 90, 64), (1, 4, 64, 90)),
        ((90, 64), (7, 64, 300)),
        ((1, 2000, 50), (1, 50, 100)),
        ((3, 4), (4, 5)),
        ((0, 4), (4, 5)),
        ((2, 3, 0), (2, 0, 5)),
    ],
)
def test_products_shared_among_threads_are_numpys(n, a, b):
    nag.set_num_threads(n)
    rng = np.random.default_rng(0)
    a, b = random(rng, *a), random(rng, *b)
    right = np.matmul(a.astype(np.float64), b)
    np.testing.assert_allclose(threads.matmul(a, b), right, atol=1e-4)
    out = np.full(right.shape, np.nan, dtype=np.float32)
    assert threads.matmul(a, b, out=out) is out
    np.testing.assert_allclose(out, right, atol=1e-4)
    b = np.asfortranarray(b)
    np.testing.assert_allclose(threads.matmul(a, b), right, atol=1e-4)


@pytest.mark.parametrize("n, deterministic, inside", [(1, False, 1), (2, False, 2), (2, True, 1)])
def test_the_blas_has_threads_only_for_a_while(n, deterministic, inside):
    def of_the_blas():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    nag.set_num_threads(n, deterministic)
    assert of_the_blas() == {1}
    with pytest.raises(KeyError), threads.of_blas():
        with threads.of_blas():
            assert of_the_blas() == {inside}
        assert of_the_blas() == {inside}
        raise KeyError
    assert of_the_blas() == {1}
    with threadpool_limits(2, user_api="blas"):
        with threads.of_blas():
            assert of_the_blas() == {2}
        assert of_the_blas() == {2}
    assert of_the_blas() == {1}


def test_the_number_of_threads_may_change_while_others_compute():
    a, right, errors = np.ones((300, 300), np.float32), 300.0, []

    def compute():
        try:
            for _ in range(200):
                assert (threads.matmul(a, a) == right).all()
                assert threads.Future(abs, -1).result() == 1
        except BaseException as e:
            errors.append(e)

    computing = [threading.Thread(target=compute) for _ in range(2)]
    for t in computing:
        t.start()
    n = 0
    while any(t.is_alive() for t in computing):
        n += 1
        nag.set_num_threads(1 + n % 3)
    assert not errors and n


@pytest.mark.parametrize("poison", [-1, 255, 256, 0.5])
def test_poisons_that_make_no_sense(poison):
    with pytest.raises(ValueError, match="must be from 1 to 254"):
        nag.keep_memory(poison=poison)


def test_deterministic_products_do_not_depend_on_the_threads():
    rng = np.random.default_rng(0)
    pairs = [
        (random(rng, 333, 257), random(rng, 257, 129)),
        (random(rng, 40, 700), random(rng, 700, 900)),
        (random(rng, 9, 70, 64), random(rng, 9, 64, 70)),
    ]
    results = []
    for n in (1, 2, 3, 8):
        nag.set_num_threads(n, deterministic=True)
        results.append([threads.matmul(a, b).tobytes() for a, b in pairs])
    assert results == [results[0]] * 4


def test_what_is_no_number_of_threads(monkeypatch):
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"1 or more; got {n}"):
            nag.set_num_threads(n)
    for n in (1.5, float("inf"), "2", None):
        with pytest.raises(TypeError, match=f"must be an integer; got {n!r}"):
            nag.set_num_threads(n)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    nag.set_num_threads(1)
    for options in ((2,), (1, True)):
        with pytest.raises(ImportError, match="pip install threadpoolctl"):
            nag.set_num_threads(*options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_work_after_a_fork():
    code = """
import os, nanoautograd as nag
from nanoautograd.backends import threads
nag.set_num_threads(2)
assert threads.parallel_map(abs, range(-9, 0)) == list(range(9, 0, -1))
child = os.fork()
right = threads.parallel_map(abs, range(-9, 0)) == list(range(9, 0, -1))
if not child:
    os._exit(0 if right else 1)
assert os.waitpid(child, 0)[1] == 0 and right
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_memory_that_is_kept():
    """A new array is where an old one was, and with `poison` what it holds is that."""
    code = """
import numpy as np, nanoautograd as nag
if nag.keep_memory(poison=7):
    for _ in range(3):
        a = np.empty(1 << 24, dtype=np.uint8); a[:] = 1; del a
    a = np.empty(1 << 24, dtype=np.uint8)
    assert (a[1000:-1000] != 0).all()               # no page that the system filled with zeros
    assert nag.keep_memory(False)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@given(st.integers(0, 9), st.integers(0, 400), st.sampled_from(["f", "d", "e"]))
def test_sums_as_products_are_as_exact_as_float64(backend, M, N, dtype):
    a = np.random.default_rng(0).standard_normal((M, N)).astype(dtype)
    for f, axis in ((sums.row_sums, 1), (sums.column_sums, 0)):
        found = backend.numpy(f(backend.array(a, dtype)))
        assert found.dtype == a.dtype
        np.testing.assert_allclose(
            found, a.sum(axis=axis, dtype=float), rtol=0, atol=300 * np.finfo(dtype).eps
        )
    found = backend.numpy(sums.row_dots(backend.array(a, dtype), backend.array(a, dtype)))
    assert found.dtype == a.dtype
    np.testing.assert_allclose(
        found, (a.astype(float) ** 2).sum(axis=1), rtol=100 * np.finfo(dtype).eps
    )
