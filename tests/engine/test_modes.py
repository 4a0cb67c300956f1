"""no_grad and detect_anomaly: nested, as decorators, under threads, tasks and Ctrl-C."""

import asyncio
import functools
import gc
import inspect
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import custom_vjp
from nanoautograd.safety import modes


def test_nothing_is_recorded_within_no_grad():
    x = nag.Tensor(1.0, requires_grad=True)
    with nag.no_grad():
        assert not nag.is_grad_enabled()
        assert not (x * 2).requires_grad
        with nag.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_an_exception_ends_the_block():
    with pytest.raises(ZeroDivisionError):
        with nag.no_grad():
            1 / 0
    assert nag.is_grad_enabled()


def test_one_object_entered_twice():
    block = nag.no_grad()
    with block:
        with block:
            assert not nag.is_grad_enabled()
        assert not nag.is_grad_enabled()
    assert nag.is_grad_enabled()


def test_no_grad_is_a_decorator_too():
    @nag.no_grad()
    def f(x, depth=2):
        return f(x, depth - 1) if depth else x * 2

    x = nag.Tensor(1.0, requires_grad=True)
    assert not f(x).requires_grad
    assert nag.is_grad_enabled()


# ---- decorators of every kind of function


def recorded():
    return nag.is_grad_enabled()


def test_as_a_decorator_without_parentheses():
    @nag.no_grad
    def f():
        return recorded()

    @nag.enable_grad
    def g():
        return recorded()

    with nag.no_grad():
        assert g() and not recorded()
    assert not f() and recorded()


def test_a_decorated_generator_records_nothing_and_its_user_does():
    @nag.no_grad()
    def running(n):
        seen = []
        while n:
            try:
                got = yield recorded()
            except ValueError as error:
                got = str(error)
            seen.append((got, recorded()))
            n -= 1
        return seen

    assert inspect.isgeneratorfunction(running)
    values = running(3)
    assert recorded() and next(values) is False
    assert recorded() and values.send("sent") is False
    assert recorded() and values.throw(ValueError("thrown")) is False
    with pytest.raises(StopIteration) as end:
        next(values)
    assert end.value.value == [("sent", False), ("thrown", False), (None, False)]
    assert recorded()


def test_a_decorated_generator_is_closed_within_its_block():
    closed = []

    @nag.no_grad()
    def running():
        try:
            yield
        finally:
            closed.append(recorded())

    values = running()
    next(values)
    values.close()
    assert closed == [False] and recorded()


def test_decorated_coroutines_and_asynchronous_generators():
    seen = []

    @nag.no_grad()
    async def pause(value):
        seen.append(recorded())
        await asyncio.sleep(0)
        seen.append(recorded())
        return value

    @nag.no_grad()
    async def values():
        try:
            for i in range(3):
                got = yield recorded()
                seen.append(recorded() or got is not None and got != i)
                await asyncio.sleep(0)
        finally:
            seen.append(recorded())

    async def main():
        assert await pause(5) == 5 and recorded()
        running = values()
        assert await anext(running) is False and recorded()
        assert await running.asend(0) is False and recorded()
        await running.aclose()
        assert [x async for x in values()] == [False] * 3
        failing = values()
        await anext(failing)
        with pytest.raises(ZeroDivisionError):
            await failing.athrow(ZeroDivisionError)
        tasks = [asyncio.create_task(pause(i)) for i in range(3)]
        assert await asyncio.gather(*tasks) == [0, 1, 2] and recorded()

    assert inspect.iscoroutinefunction(pause) and inspect.isasyncgenfunction(values)
    asyncio.run(main())
    assert seen and not any(seen) and recorded()


def test_a_coroutine_that_is_run_by_hand_leaves_its_caller_alone():
    class Pause:
        def __await__(self):
            yield "paused"

    @nag.no_grad()
    async def f():
        await Pause()
        return recorded()

    running = f()
    assert running.send(None) == "paused" and recorded()
    with pytest.raises(StopIteration) as end:
        running.send(None)
    assert end.value.value is False


def test_decorated_methods_partials_and_objects():
    class Model:
        @nag.no_grad()
        @staticmethod
        def of_none():
            return recorded()

        @nag.no_grad()
        @classmethod
        def of_the_class(cls):
            return cls is Model and not recorded()

        @nag.no_grad()
        def values(self):
            yield recorded()

        def __call__(self):
            yield recorded()

    assert Model.of_the_class() and not Model.of_none()
    for f in (Model().values, nag.no_grad()(Model()), nag.no_grad(functools.partial(Model()))):
        assert list(f()) == [False]


@pytest.mark.parametrize("what", [nag.Tensor, property(lambda self: 1), 3])
def test_what_is_no_function_is_not_decorated(what):
    with pytest.raises(TypeError, match="no_grad decorates functions"):
        nag.no_grad()(what)


# ---- blocks that close in any order


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12))
def test_each_block_takes_out_itself_alone(steps):
    """Objects entered and left in any order: as in a list of what is open, from which each exit
    takes the last entry of its object."""
    objects = [nag.no_grad(), nag.enable_grad(), nag.no_grad()]
    is_open = []
    for i, enters in steps:
        if enters:
            objects[i].__enter__()
            is_open.append(i)
        elif i in is_open:
            objects[i].__exit__(None, None, None)
            del is_open[len(is_open) - 1 - is_open[::-1].index(i)]
        assert recorded() == (not is_open or is_open[-1] == 1)
    del objects
    assert recorded()


def test_a_block_that_is_gone_leaves_those_opened_after_it():
    """As those of two generators: each has an object of its own, which goes when it leaves."""

    def values():
        with nag.no_grad():
            yield 1

    first, second = values(), values()
    next(first), next(second)
    first.close()
    del first
    gc.collect()
    assert not recorded()
    second.close()
    assert recorded()


def test_one_object_in_tasks_that_overlap():
    block = nag.no_grad()

    async def work(before, within):
        for _ in range(before):
            await asyncio.sleep(0)
        with block:
            for _ in range(within):
                assert not recorded()
                await asyncio.sleep(0)
        return recorded()

    async def main():
        assert all(await asyncio.gather(work(0, 2), work(1, 4), work(2, 1), work(0, 9)))

    asyncio.run(main())
    assert recorded()


def interrupted(work):
    """Runs work() with a KeyboardInterrupt at the n-th step within modes.py, for every n. Yields
    True while it is handled, and False after that."""
    n = 0
    while True:
        left = n

        def trace(frame, event, _):
            nonlocal left
            if frame.f_code.co_filename != modes.__file__:
                return None
            frame.f_trace_opcodes = True
            if event != "return":
                left -= 1
                if left == -1:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            work()
        except KeyboardInterrupt:
            sys.settrace(None)
            yield True
        finally:
            sys.settrace(None)
        yield False
        if left >= 0:
            return
        n += 1


@pytest.mark.parametrize("mode", [nag.no_grad, nag.detect_anomaly])
def test_an_interrupt_at_any_moment_leaves_no_block_open(mode):
    def block():
        with mode():
            pass

    @mode()
    def decorated():
        pass

    @mode()
    def generator():
        yield

    for work in (block, decorated, lambda: list(generator())):
        before = mode.variable.get()
        steps = late = 0
        for is_handled in interrupted(work):
            is_closed, steps = mode.variable.get() == before, steps + 1
            assert is_closed or is_handled
            late += not is_closed  # where it came before the first line of __exit__
        assert steps > 100 and late < steps / 30


def test_threads_do_not_see_each_others_modes():
    x = nag.Tensor(1.0, requires_grad=True)
    inside, leave, seen = threading.Event(), threading.Event(), {}

    def without():
        with nag.no_grad():
            inside.set()
            leave.wait(10)
            seen["without"] = (x * 2).requires_grad
        seen["after"] = (x * 2).requires_grad

    thread = threading.Thread(target=without)
    thread.start()
    inside.wait(10)
    seen["main"] = (x * 2).requires_grad
    with nag.no_grad():
        other = threading.Thread(target=lambda: seen.update(new=(x * 2).requires_grad))
        other.start()
        other.join()
    leave.set()
    thread.join()
    assert seen == {"without": False, "after": True, "main": True, "new": True}


def test_a_decorated_function_in_many_threads():
    @nag.no_grad()
    def f(x):
        barrier.wait(10)  # all within at once; they leave in any order
        return (x * 2).requires_grad

    barrier, results = threading.Barrier(8), []
    x = nag.Tensor(1.0, requires_grad=True)
    threads = [
        threading.Thread(target=lambda: results.append((f(x), nag.is_grad_enabled())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(False, True)] * 8


def test_walks_in_many_threads_at_once():
    w = np.random.default_rng(0).normal(size=(8, 8))

    def work(i):
        x = nag.Tensor(w * i, requires_grad=True)
        for _ in range(50):
            nag.tanh(x @ x).sum().backward()
        results[i] = x.grad.numpy() / 50

    results = {}
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        x = nag.Tensor(w * i, requires_grad=True)
        nag.tanh(x @ x).sum().backward()
        np.testing.assert_allclose(results[i], x.grad.numpy())


# ---- anomalies


def line_of(text):
    with open(__file__, encoding="utf-8") as source:
        return next(i for i, line in enumerate(source, 1) if text in line)


def test_the_first_bad_value_forward_is_named_with_its_line(backend):
    x = backend.tensor(np.array([1.0, 0.0]), requires_grad=True)
    with nag.detect_anomaly(), np.errstate(all="ignore"):
        with pytest.raises(nag.AnomalyError, match="result of log.* holds infinity") as error:
            nag.exp(x * 2 + nag.log(x))  # the logarithm is bad
    assert f"test_modes.py:{line_of('the logarithm is bad')}" in str(error.value)


def test_the_first_bad_value_backward_is_named_with_its_line(backend):
    x = backend.tensor(np.array([4.0, 0.0]), requires_grad=True)
    with nag.detect_anomaly(), np.errstate(all="ignore"):
        y = nag.sqrt(x).sum()  # the slope of the root is bad
        with pytest.raises(nag.AnomalyError, match="gradient of sqrt.*holds infinity") as error:
            y.backward()
    assert f"test_modes.py:{line_of('the slope of the root')}" in str(error.value)
    assert x.grad is None


def test_nan_is_told_from_infinity(backend):
    x = backend.tensor(np.array([np.inf]), requires_grad=True)
    with nag.detect_anomaly(), np.errstate(all="ignore"):
        with pytest.raises(nag.AnomalyError, match="result of subtract.* holds NaN"):
            x - x


def test_hand_derived_operations_are_watched_too():
    def forward(x):
        return x * 1, x

    def backward(dout, cache, needs=None):
        return (dout * np.nan,)

    bad = custom_vjp("bad", forward, backward, lambda x: x * 1)
    x = nag.Tensor([1.0], requires_grad=True)
    with nag.detect_anomaly():
        y = bad(x).sum()
        with pytest.raises(nag.AnomalyError, match="gradient of bad.*holds NaN"):
            y.backward()


def test_anomaly_mode_lets_good_values_pass():
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    with nag.detect_anomaly():
        (x[0] + nag.log(x)).sum().backward()
    assert x.grad.numpy().tolist() == [3, 0.5]
