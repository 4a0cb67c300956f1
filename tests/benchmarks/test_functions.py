"""compare_functions: any two functions, as rigorously as the libraries."""

from threading import Lock

import numpy as np
import pytest
from fakes import Fake, Fakes

from benchmarks import clock, compare_functions, functions
from benchmarks.process import PeerError

FEW = {"passes": 2, "rounds": 1, "seconds": 0.01, "threads": 1}


def test_two_functions_are_timed_in_processes_of_their_own():
    x = np.arange(12.0).reshape(3, 4)
    found = compare_functions(lambda: x @ x.T, lambda: (np.dot(x, x.T),), **FEW)
    assert [len(p["passes"]) for p in found.row["peers"].values()] == [2, 2]
    assert found.first.low <= found.first.value <= found.first.high
    assert "first / second" in str(found)


@pytest.mark.parametrize(
    "second, says",
    [
        (lambda: np.ones(3), "second: computes something else: result 0"),
        (lambda: None, "second: gives 0 results, not 1"),
        (lambda: 1 / 0, "second: ZeroDivisionError"),
        (lambda: "text", "second: TypeError: results must be arrays or numbers, not str"),
    ],
)
def test_functions_that_do_not_agree_have_no_times(second, says):
    with pytest.raises(PeerError, match=says):
        compare_functions(lambda: np.zeros(3), second, **FEW)


def test_what_cannot_be_sent_is_refused():
    lock = Lock()
    with pytest.raises(TypeError, match="second cannot be sent"):
        compare_functions(abs, lambda: lock, **FEW)
    with pytest.raises(TypeError, match="second is 3, which is no function"):
        compare_functions(abs, 3, **FEW)


def test_the_ratio_is_that_of_the_turns_and_a_disturbance_is_told(monkeypatch):
    monkeypatch.setattr(clock, "REST", 0)
    fakes = Fakes(first=Fake([[1.0]], 0.002), second=Fake([[1.0]], 0.004, others=(1.0,)))
    monkeypatch.setattr(functions, "Processes", lambda *_, **__: fakes)
    found = compare_functions(lambda: 1.0, lambda: 1.0, passes=3, rounds=2, seconds=0.2)
    assert found.ratio == pytest.approx((0.5, 0.5, 0.5))
    assert found.marks == ("disturbed: 6 of 12 turns",)
    assert str(found).splitlines()[2:] == ["first / second  0.500 ± 0.000", *found.marks]
