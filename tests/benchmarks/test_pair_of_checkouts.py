"""python -m benchmarks pair: what got slower from one checkout to another."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import Fake

from benchmarks import pair
from benchmarks.clock import ROOT, Measurement


def test_a_pair_is_slower_only_if_it_is_so_in_every_repeat():
    def one(before, after, peak=1e6):
        times = Measurement([[before]] * 3, 1e6, []), Measurement([[after]] * 3, peak, [])
        return pair.Repeat(*times)

    slower, once = one(1e-3, 2e-3), [one(1e-3, 2e-3), one(1e-3, 1.01e-3)]
    assert pair.row("a", [slower, one(1e-3, 1.1e-3)], 0.05) == (
        *("a", "1", "1.55", "2.00, 1.10", "1.00, 1.00", "slower"),
    )
    assert pair.row("a", once, 0.05)[-1] == ""
    assert pair.row("a", [one(1e-3, 1e-3, 2e6)] * 2, 0.05)[-1] == "more memory"


def test_a_pair_with_other_results_fails(monkeypatch, capsys):
    def process(name, threads, precision, folder):
        fake = Fake([np.ones(3) * (2 if folder.name == "after" else 1)])
        fake.close = lambda: None
        return fake

    monkeypatch.setattr(pair, "Process", process)
    monkeypatch.setattr(pair, "options", lambda argv: argv)
    o = dict(before=Path("before"), after=Path("after"), cases=[("sum", "tiny")], threads=1)
    o |= dict(repeats=1, rounds=1, seconds=0.1, threshold=0.05)
    assert pair.main(SimpleNamespace(**o)) == 1
    assert "failed: computes something else" in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkout_beside_itself_is_no_slower(capsys):
    here = str(ROOT)
    some = ["--ops", "sum", "--sizes", "tiny", "--rounds", "1", "--seconds", "0.01"]
    status = pair.main([here, here, *some, "--threshold", "1000"])
    printed = capsys.readouterr().out
    assert status == 0 and "| sum tiny " in printed and "0 of 1 got worse" in printed


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["/", "."], "no checkout of this project"),
        ([".", ".", "--ops", "sums"], "there is no 'sums'"),
        ([".", ".", "--repeats", "0"], "above 0"),
    ],
)
def test_a_pair_that_cannot_be_compared_is_refused(arguments, says, capsys):
    with pytest.raises(SystemExit):
        pair.main([str(ROOT) if a == "." else a for a in arguments])
    assert says in capsys.readouterr().err
