"""What disturbs a turn is seen, the turn is taken again, and what stays disturbed is marked: by
readings that are made up."""

import psutil
import pytest
from fakes import Fake, Fakes
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import clock, quiet, report
from benchmarks.cases import make
from benchmarks.quiet import Reading, Turn, why

RATES = st.floats(0.0, 4.0)


@given(st.floats(0.1, 10.0), RATES, RATES)
def test_others_are_seen_whatever_ours_does(wall, own, others):
    before = Reading(5.0, 3.0, 100.0, 7)
    after = Reading(5.0 + wall, 3.0 + own * wall, 100.0 + (own + others) * wall, 7)
    found = quiet.turn(1e-3, before, after)
    assert found.others == pytest.approx(others * wall, abs=1e-3)
    if others > 0.4:  # as one that competes with us has at least
        assert found.disturbed == f"others used {found.others / found.wall:.2f} processors"
    if others < 0.04:
        assert found.disturbed == ""


@pytest.mark.parametrize(
    "change, says",
    [
        ({}, ""),
        ({"others": 0.04}, ""),
        ({"others": 0.09}, "others used 0.09 processors"),
        ({"throttled": 1}, "the processor was throttled"),
        ({"mhz": 2900}, ""),
        ({"mhz": 2000}, "at 2,000 of 3,000 MHz"),
        ({"mhz": None}, ""),
        ({"switches": 120}, ""),
        ({"switches": 1000}, "the processor was taken from it 1,000 times a second"),
    ],
)
def test_what_disturbs_a_turn(change, says):
    quietly = {"seconds": 1e-3, "wall": 1.0, "own": 1.0, "others": 0.0, "switches": 10}
    former = [Turn(**quietly, mhz=3000), Turn(**{**quietly, "switches": 500}, mhz=2800)]
    assert why(Turn(**{**quietly, "mhz": 3000, **change}), former) == says


def test_in_the_first_turn_the_rate_and_the_switches_tell_nothing():
    assert why(Turn(1e-3, 1.0, 1.0, 0.0, 5000, mhz=100)) == ""


def passes(monkeypatch, *others):
    """The Passes of ours, and of a peer in whose turns others use so many processors."""
    monkeypatch.setattr(clock, "REST", 0)
    fakes = Fakes(numpy=Fake([[1.0]]), torch=Fake([[1.0]], others=others))
    case = make("mlp", "tiny")
    build = clock.requests(fakes, "mlp", case)
    measured, errors = clock.measure(fakes, build, case.tolerance, 2, 0.5)
    assert not errors
    return measured


def test_a_disturbed_turn_is_taken_again(monkeypatch):
    turns = passes(monkeypatch, 1.0, 0.5, 0.0)["torch"].turns
    assert [t.again for t in turns] == [2, 0] and not any(t.disturbed for t in turns)


def test_a_turn_that_stays_disturbed_is_kept_at_its_quietest_and_marks_the_row(monkeypatch):
    measured = passes(monkeypatch, 1.0, 0.5, 0.7, 1.0)
    turns = measured["torch"].turns
    assert [t.again for t in turns] == [clock.AGAIN, 0]  # the second time it would be in vain
    assert [t.disturbed[:16] for t in turns] == ["others used 0.50", "others used 1.00"]
    r = report.row("mlp", "tiny", "float32", make("mlp", "tiny"), "numpy", "model")
    report.add(r, measured, {})
    assert r["marks"] == ["disturbed: 2 of 4 turns"]
    assert report.quietness([r]) == {
        "turns": 4,
        "disturbed": 2,
        "again": 2,
        "others": pytest.approx(0.375, abs=0.01),
    }


def test_what_is_too_little_to_be_seen_in_a_turn_is_seen_in_a_row(monkeypatch):
    for others, marks in ((0.04, []), (0.08, ["disturbed: others used 0.08 processors"])):
        r = report.row("mlp", "tiny", "float32", make("mlp", "tiny"), "numpy", "model")
        for _ in range(5):
            one = [Turn(1e-3, 0.3, 0.3, 0.3 * others, 0)] * 3
            assert not any(why(t) for t in one)
            report.add(r, {"numpy": clock.Pass(one)}, {})
        assert r["marks"] == marks


def test_a_row_says_where_it_cannot_be_believed(monkeypatch):
    r = report.row("matmul", "tiny", "float32", make("matmul", "tiny"), "numpy", "operation")
    for seconds in (1.0, 1.5, 0.9):
        ours, roof = (clock.Pass([Turn(s, 1.0, 1.0, 0.0, 0)]) for s in (1.0, seconds))
        report.add(r, {"numpy": ours, "products": roof}, {})
    assert r["marks"] == ["wide: products", "above the limit: 111%"]


def test_readings_of_this_process():
    before = quiet.reading(psutil.Process())
    sum(range(10**6))
    after = quiet.reading(psutil.Process())
    assert after.clock > before.clock and after.own >= before.own and after.all >= before.all
    assert quiet.turn(1.0, before, after).wall > 0


def test_where_the_system_tells_less_nothing_is_claimed(monkeypatch):
    def broken():
        raise FileNotFoundError("scaling_cur_freq")

    monkeypatch.setattr(psutil, "cpu_freq", broken)
    assert quiet.mhz() is None
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    assert quiet.mhz() is None
