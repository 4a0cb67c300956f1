"""python -m benchmarks pair: what got slower from one checkout to another."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import Fake, Fakes

from benchmarks import clock, pair
from benchmarks.clock import Pass
from benchmarks.process import ROOT
from benchmarks.quiet import Turn


def row(before, after, peaks=(1e6, 1e6)):
    """Of passes with these seconds before and after."""
    found = pair.report.row("sum", "tiny", "float32", pair.make("sum", "tiny"), "after", "pair")
    for seconds in zip(before, after):
        turns = [[Turn(s, 1.0, 1.0, 0.0, 0)] for s in seconds]
        one = {"before": Pass(turns[0], peaks[0]), "after": Pass(turns[1], peaks[1])}
        pair.report.add(found, one, {})
    return found


def test_a_pair_is_slower_only_if_it_is_so_in_every_pass():
    slower = row([1e-3] * 3, [2e-3, 2e-3, 1.9e-3])
    words = pair.cells(slower, 0.05, 1.0)
    assert words == ("sum tiny", "1.00 ± 0.00", "1.97 ± 0.07", "1.97 ± 0.07", "1.00", "slower")
    once = row([1e-3] * 3, [2e-3, 2e-3, 0.9e-3])
    assert pair.cells(once, 0.05, 1.0)[-1] == ""
    assert pair.cells(row([1e-3] * 3, [1.02e-3] * 3), 0.05, 1.0)[-1] == ""


def test_memory_has_a_floor():
    for peaks, word in (((1e4, 9e5), ""), ((1e6, 9e6), "more memory"), ((9e6, 1e6), "")):
        assert pair.cells(row([1e-3] * 3, [1e-3] * 3, peaks), 0.05, 1.0)[-1] == word


def test_a_pair_with_other_results_fails(monkeypatch, capsys):
    same, other = Fake([np.ones(3)]), Fake([np.ones(3) * 2])
    monkeypatch.setattr(clock, "REST", 0)
    monkeypatch.setattr(pair, "Processes", lambda *_, **__: Fakes(before=same, after=other))
    monkeypatch.setattr(pair, "options", lambda argv: argv)
    o = dict(before=Path("before"), after=Path("after"), cases=[("sum", "tiny")], threads=1)
    o |= dict(passes=2, rounds=1, seconds=0.1, threshold=0.05, floor=1.0, limit=600.0)
    assert pair.main(SimpleNamespace(**o)) == 1
    assert "failed: after computes something else" in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkout_beside_itself_is_no_slower(capsys):
    here = str(ROOT)
    some = ["--ops", "sum", "--sizes", "tiny", "--rounds", "1", "--seconds", "0.01"]
    status = pair.main([here, here, *some, "--passes", "2", "--threshold", "1000"])
    printed = capsys.readouterr().out
    assert status == 0 and "| sum tiny " in printed and "0 of 1 got worse" in printed


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["/", "."], "no checkout of this project"),
        ([".", ".", "--ops", "sums"], "there is no 'sums'"),
        ([".", ".", "--passes", "0"], "above 0"),
    ],
)
def test_a_pair_that_cannot_be_compared_is_refused(arguments, says, capsys):
    with pytest.raises(SystemExit):
        pair.main([str(ROOT) if a == "." else a for a in arguments])
    assert says in capsys.readouterr().err
