"""A check may be given so many calls, or seconds: it ends within them, and says what it knows."""

import io
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.testing import GradientError, Inconclusive, budget, gradcheck
from nanoautograd.testing.explanation import EXPLAINING

X = np.random.default_rng(0).uniform(0.5, 2, 40)


def counting(f):
    """f, and how often it was called, in a list."""
    calls = [0]

    def g(*xs):
        calls[0] += 1
        return f(*xs)

    return g, calls


def rough(x):
    return np.sin(x.astype("float32")).astype("float64")


CASES = {  # f, its gradient by hand, is it right?
    "right": (np.sin, lambda u, x: u * np.cos(x), True),
    "wrong": (np.sin, lambda u, x: 2 * u * np.cos(x), False),
    "a kink": (np.abs, lambda u, x: u * np.sign(x), True),
    "rough": (rough, lambda u, x: u * np.cos(x), True),
    "rough, and wrong": (rough, lambda u, x: -u * np.cos(x), False),
    "zero": (np.floor, lambda u, x: 0 * x, True),
}


@pytest.mark.filterwarnings("ignore::nanoautograd.testing.PrecisionWarning")
@pytest.mark.parametrize("name", CASES)
@given(st.integers(1, 400), st.booleans())
def test_no_more_calls_are_made_than_allowed(name, most, entries):
    f, vjp, right = CASES[name]
    f, calls = counting(f)
    try:
        result = gradcheck(f, [X], vjp=vjp, max_calls=most, entries=entries)
        assert right
    except Inconclusive as error:
        result = error
    except GradientError as error:
        assert not right
        result = error
    assert result.calls == calls[0] <= most


def test_the_best_answer_within_the_budget_is_given():
    with pytest.raises(Inconclusive, match="max_calls=10 .*no derivative was compared"):
        gradcheck(np.sin, [X], vjp=CASES["right"][1], max_calls=10)
    with pytest.raises(Inconclusive, match="max_calls=50 .*the slope is .* the gradient says"):
        gradcheck(np.sin, [X], vjp=CASES["wrong"][1], max_calls=50)
    with pytest.raises(GradientError, match=r"constant factor.*\d+ entries examined") as failure:
        gradcheck(np.sin, [X], vjp=CASES["wrong"][1], max_calls=300)
    assert failure.value.guess == "factor" and not isinstance(failure.value, Inconclusive)
    with pytest.raises(GradientError, match="constant factor.*in every entry$"):
        gradcheck(np.sin, [X], vjp=CASES["wrong"][1], max_calls=1000)
    with pytest.raises(Inconclusive, match="So far 1 derivative agrees"):
        gradcheck(nag.sin, [X], order=2, max_calls=20)


def test_with_more_calls_more_is_said():
    said = []
    for most in range(150, 200):
        with pytest.raises(GradientError) as failure:
            gradcheck(np.sin, [X], vjp=CASES["wrong"][1], max_calls=most)
        unfinished = isinstance(failure.value, Inconclusive)
        said.append(0 if unfinished else 1 if failure.value.index is None else 2)
    assert said == sorted(said) and set(said) == {0, 1, 2}


@pytest.mark.parametrize("n", [3, 300, 30_000])
@pytest.mark.parametrize("mistake", ["factor", "one entry", "unknown"])
def test_an_explanation_is_bounded_where_nothing_is_said(n, mistake):
    rng = np.random.default_rng(0)
    x, other = rng.uniform(0.5, 2, n), rng.standard_normal(n)

    def vjp(u, x):
        g = u * np.cos(x)
        if mistake == "one entry":
            g[n // 2] += 1
        return {"factor": 2 * g, "unknown": g + other * np.sin(7 * u)}.get(mistake, g)

    with pytest.raises(GradientError) as failure:
        gradcheck(np.sin, [x], vjp=vjp)
    assert failure.value.index is not None
    assert failure.value.calls < EXPLAINING + 250


def test_seconds_end_a_check():
    def slow(x):
        time.sleep(0.02)
        return np.sin(x)

    with pytest.raises(Inconclusive, match="seconds=0.05 allowed [1-9] calls"):
        gradcheck(slow, [X], vjp=CASES["right"][1], seconds=0.05)


@pytest.mark.parametrize("option", ["max_calls", "seconds"])
@pytest.mark.parametrize("value", [0, -1, "many", np.nan])
def test_a_budget_that_is_none_is_refused(option, value):
    with pytest.raises((TypeError, ValueError), match=option):
        gradcheck(nag.sin, [X], **{option: value})
    with pytest.raises(TypeError, match="progress"):
        gradcheck(nag.sin, [X], progress="yes")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    "stream, progress, says",
    [
        (Terminal, True, True),
        (Terminal, False, False),
        (io.StringIO, True, False),
    ],
)
def test_a_long_check_says_on_a_terminal_that_it_is_at_work(monkeypatch, stream, progress, says):
    monkeypatch.setattr(budget, "QUIET", 0.0)
    monkeypatch.setattr(sys, "stderr", stream())
    gradcheck(nag.sin, [X], progress=progress)
    written = sys.stderr.getvalue()
    assert says == ("gradcheck of sin: " in written)
    assert written == "" or written.endswith("\r\033[K")


def test_progress_can_be_told_to_a_function(monkeypatch):
    monkeypatch.setattr(budget, "QUIET", 0.0)
    monkeypatch.setattr(budget, "EVERY", 0.0)
    told = []
    result = gradcheck(nag.sin, [X], progress=lambda calls, seconds: told.append((calls, seconds)))
    assert [calls for calls, _ in told] == list(range(1, result.calls + 1))
    assert sorted(told) == told
