"""Whoever computes the same has times, taken in turns; whoever fails or differs has an error."""

import numpy as np
import pytest
from fakes import Fake, Fakes
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cases import make
from benchmarks.clock import Measurement, PeerError, Process, differ, measure, quartiles
from benchmarks.registry import peer
from benchmarks.worker import fingerprint


def test_a_peer_that_computes_something_else_has_an_error_and_no_time():
    same, other = [[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.01]]
    fakes = Fakes(numpy=Fake(same), torch=Fake(same), jax=Fake(other))
    measured, errors = measure(fakes, "mlp", make("mlp", "tiny"), 2, 0.01)
    assert list(measured) == ["numpy", "torch"] and list(errors) == ["jax"]
    assert "result 0 of step 2" in errors["jax"]
    assert "measure" not in fakes.running["jax"].asked


def test_the_tolerance_is_relative_and_smaller_in_double_precision():
    same, near = [[1e6, 2.0]], [[1e6 + 1, 2.0]]
    for precision, errors in (("float32", []), ("float64", ["torch"])):
        fakes = Fakes(precision, numpy=Fake(same), torch=Fake(near))
        assert list(measure(fakes, "mlp", make("mlp", "tiny"), 1, 0.01)[1]) == errors


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


def test_all_have_a_turn_in_each_round_and_none_is_always_first(monkeypatch):
    monkeypatch.setattr("benchmarks.clock.REST", 0)
    turns, same = [], [[1.0]]
    fakes = Fakes(**{name: Fake(same) for name in ("numpy", "torch", "jax")})
    for name, fake in fakes.running.items():

        def ask(do, name=name, ask=fake.ask, **request):
            turns.append(name) if do == "measure" else None
            return ask(do, **request)

        fake.ask = ask
    measured, _ = measure(fakes, "mlp", make("mlp", "tiny"), 3, 0.005)
    rounds = [turns[3 + 3 * i : 6 + 3 * i] for i in range(3)]  # after one turn to warm up
    assert [set(r) for r in rounds] == [set(fakes.running)] * 3
    assert {r[0] for r in rounds} == set(fakes.running)
    assert [len(m.rounds) for m in measured.values()] == [3] * 3
    assert all(len(r) == 2 for m in measured.values() for r in m.rounds)  # 2 · 2 steps of 1 ms


def test_ratios_are_taken_within_a_round():
    # The machine is ten times slower in the second round: no ratio shows it.
    ours, other = Measurement([[1.0], [10.0], [1.0]]), Measurement([[2.0], [20.0], [2.0]])
    assert ours.ratio(other) == (0.5, (0.5, 0.5))
    assert quartiles([1.0]) == (1.0, 1.0) and quartiles([1.0, 2.0, 3.0]) == (1.5, 2.5)


def test_a_peer_that_dies_on_the_way_has_an_error_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr("benchmarks.clock.REST", 0)
    same = [[1.0]]
    fakes = Fakes(**{name: Fake(same) for name in ("numpy", "torch", "jax")})
    ask, replaced, turns = fakes.running["torch"].ask, [], []

    def die(do, **request):
        turns.append(do)
        if turns.count("measure") == 3:
            raise PeerError("torch died: killed")
        return ask(do, **request)

    fakes.running["torch"].ask, fakes.running["torch"].poll = die, lambda: -9
    fakes.replace = replaced.append
    measured, errors = measure(fakes, "mlp", make("mlp", "tiny"), 4, 0.005)
    assert errors == {"torch": "torch died: killed"} and replaced == ["torch"]
    assert [len(m.rounds) for m in measured.values()] == [4, 4] and "torch" not in measured


def test_a_process_that_dies_says_what_it_wrote():
    process = Process("numpy", 1, "float32")
    try:
        assert process.ask("hello")["versions"]["numpy"] == np.__version__
        with pytest.raises(PeerError, match="KeyError: 'nothing'"):
            process.ask("build", case="nothing", sizes={})
        with pytest.raises(PeerError, match="AttributeError"):
            process.ask("juggle")
        process.process.kill()
        process.process.wait()
        with pytest.raises(PeerError, match="numpy died"):
            process.ask("hello")
    finally:
        process.close()


def test_a_peer_says_what_it_does_not_have():
    process = Process("numpy", 1, "bfloat16")
    try:
        with pytest.raises(PeerError, match="numpy has no bfloat16"):
            process.ask("hello")
    finally:
        process.close()


def test_there_is_no_peer_of_that_name():
    with pytest.raises(ValueError, match="there is no peer 'theano'; there are numpy, cupy"):
        peer("theano")
