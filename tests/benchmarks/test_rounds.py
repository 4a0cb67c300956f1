"""Whoever computes the same has times, taken in turns; whoever fails or differs has an error."""

import numpy as np
import pytest
from fakes import Fake, Fakes, dies
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import clock
from benchmarks.cases import make
from benchmarks.clock import Pass, differ, measure, requests
from benchmarks.quiet import Turn
from benchmarks.registry import peer
from benchmarks.worker import fingerprint


@pytest.fixture(autouse=True)
def without_rest(monkeypatch):
    monkeypatch.setattr(clock, "REST", 0)


def measured(fakes, rounds, seconds=0.01):
    case = make("mlp", "tiny")
    return measure(fakes, requests(fakes, "mlp", case), case.tolerance, rounds, seconds)


def test_a_peer_that_computes_something_else_has_an_error_and_no_time():
    same, other = [[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.01]]
    fakes = Fakes(numpy=Fake(same), torch=Fake(same), jax=Fake(other))
    passes, errors = measured(fakes, 2)
    assert list(passes) == ["numpy", "torch"] and list(errors) == ["jax"]
    assert "result 0 of step 2" in errors["jax"]
    assert "measure" not in fakes.running["jax"].asked


def test_the_tolerance_is_relative_and_smaller_in_double_precision():
    same, near = [[1e6, 2.0]], [[1e6 + 1, 2.0]]
    for precision, errors in (("float32", []), ("float64", ["torch"])):
        fakes = Fakes(precision, numpy=Fake(same), torch=Fake(near))
        assert list(measured(fakes, 1)[1]) == errors


def test_nan_does_not_agree_with_anything():
    nan = [[fingerprint(np.array([np.nan]))]]
    assert differ(nan, [[fingerprint(np.ones(1))]], 1e-4)
    assert differ(nan, nan, 1e-4)
    assert "gives 2 results, not 1" in differ([nan[0] * 2], nan, 1e-4)


@given(st.integers(1, 40), st.integers(0, 39), st.floats(0.01, 1.0))
def test_a_fingerprint_sees_signs_places_and_sizes(n, i, change):
    a = np.random.default_rng(n).standard_normal(n + 1)
    for b in (-a, a[::-1], np.where(np.arange(n + 1) == i % (n + 1), a + change, a)):
        if not np.allclose(a, b):
            assert differ([[fingerprint(b)]], [[fingerprint(a)]], 1e-6)


def test_all_have_a_turn_in_each_round_and_none_is_always_first():
    turns, same = [], [[1.0]]
    fakes = Fakes(**{name: Fake(same) for name in ("numpy", "torch", "jax")})
    for name, fake in fakes.running.items():

        def reading(name=name, reading=fake.reading):
            turns.append(name)
            return reading()

        fake.reading = reading
    passes, _ = measured(fakes, 3)
    rounds = [turns[6 * i : 6 * i + 6 : 2] for i in range(3)]  # two readings a turn
    assert [set(r) for r in rounds] == [set(fakes.running)] * 3
    assert {r[0] for r in rounds} == set(fakes.running)
    assert [len(p.turns) for p in passes.values()] == [3] * 3


@given(st.floats(1e-6, 10.0), st.floats(0.01, 1.0))
def test_a_turn_is_as_long_as_is_asked_for(step, seconds):
    fake = Fake([[1.0]], step)
    plan = clock.warm_up(fake, seconds)
    taken = plan["steps"] * plan["samples"] * step
    assert taken == pytest.approx(seconds, rel=0.6) or plan["steps"] * plan["samples"] == 1
    assert plan["samples"] <= 2 * clock.SAMPLES


def test_ratios_are_taken_within_a_round():
    # The machine is ten times slower in the second round: no ratio shows it.
    ours, other = (
        Pass([Turn(s, 1.0, 1.0, 0.0, 0) for s in seconds])
        for seconds in ([1.0, 10.0, 1.0], [2.0, 20.0, 2.0])
    )
    assert ours.ratio(other) == 0.5 and other.ratio(ours) == 2.0


def test_a_peer_that_dies_on_the_way_has_an_error_and_the_others_go_on():
    fakes = Fakes(**{name: Fake([[1.0]]) for name in ("numpy", "torch", "jax")})
    dies(fakes.running["torch"], "measure", 4)  # the second of its turns
    passes, errors = measured(fakes, 4)
    assert errors == {"torch": "torch died by SIGKILL: killed"} and fakes.died == ["torch"]
    assert [len(p.turns) for p in passes.values()] == [4, 4] and "torch" not in passes


def test_there_is_no_peer_of_that_name():
    with pytest.raises(ValueError, match="there is no peer 'theano'; there are numpy, cupy"):
        peer("theano")
