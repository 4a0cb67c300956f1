"""no_grad and detect_anomaly: nested, as decorators, under threads."""

import threading

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import custom_vjp


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


def test_as_a_decorator():
    @nag.no_grad()
    def f(x, depth=2):
        return f(x, depth - 1) if depth else x * 2

    x = nag.Tensor(1.0, requires_grad=True)
    assert not f(x).requires_grad
    assert nag.is_grad_enabled()


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


def test_good_values_pass():
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    with nag.detect_anomaly():
        (x[0] + nag.log(x)).sum().backward()
    assert x.grad.numpy().tolist() == [3, 0.5]
