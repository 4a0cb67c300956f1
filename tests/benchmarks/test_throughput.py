"""What imports cost, and what train.py adds to the bare step."""

import pytest

from benchmarks import imports, tables, throughput
from benchmarks.process import PeerError


def test_imports_are_compared_with_that_of_numpy():
    times, errors = imports.measure(1, lambda text: None, ())
    assert list(times) == ["numpy", "nanoautograd"] and times["numpy"]["ratio"] == [1.0, None, None]
    assert times["nanoautograd"]["ratio"][0] > 0 and not errors


def test_an_import_that_fails_is_an_error_and_ends_nothing(monkeypatch):
    monkeypatch.setattr(imports, "MODULES", ("numpy", "antigravity.wings"))
    monkeypatch.setattr(imports, "find_spec", lambda name: True)
    times, errors = imports.measure(1, lambda text: None, ("antigravity.wings",))
    assert list(times) == ["numpy"] and "ModuleNotFoundError" in errors["antigravity.wings"]


def test_the_clock_counts_whole_steps_but_the_first_and_the_last(monkeypatch):
    now, clock = [0.0], throughput.Clock()
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    for bare, rest in ((9, 9), (1.0, 0.5), (2.0, 0.0), (3.0, 1.0), (7, 7)):
        clock.begin()
        clock.timed(wait)(bare)
        wait(rest)
    assert clock.seconds() == (7.5 / 3, 6.0 / 3)


def test_a_training_that_fails_says_why():
    with pytest.raises(PeerError, match="no device is called 'abacus'"):
        throughput.measure("rnn", 4, 1, 1, "abacus", lambda text: None)


def test_what_train_adds_to_the_bare_step():
    found = throughput.measure("rnn", 4, 1, 1, "cpu", lambda text: None)
    bare, train, ratio = (found[name][0] for name in ("bare", "train", "ratio"))
    assert 0 < bare < train and ratio == pytest.approx(train / bare)
    assert f"{ratio:.3g} ± ?" in tables.training_steps([found])
