"""python -m benchmarks keeps and draws all that it measured, and refuses what it could not."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from fakes import TINY
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as command
from benchmarks import (
    compare,
    gradients,
    history,
    imports,
    needed,
    new,
    pair,
    pictures,
    process,
    report,
    run,
    time_to_loss,
)
from benchmarks.tables import tables


def test_the_command_prints_tables_and_keeps_all_it_measured(measured):
    printed, path, folder = measured
    for text in ("rnn tiny", "softmax tiny", "by hand@strict", "| nanoautograd", "p of memory"):
        assert text in printed
    found = report.read(path)
    e = found["environment"]
    assert e["threads"] == 1 and e["precision"] == "float32" and e["processor"]
    assert e["libraries"]["strict"]["versions"]["numpy"] == np.__version__
    assert all(pool["num_threads"] == 1 for pool in e["libraries"]["strict"]["pools"])
    cases = [(r["case"], r["kind"]) for r in found["rows"]]
    assert cases == [("rnn", "model"), ("softmax", "operation"), *[("attention", "B")] * 3]
    assert all(r["passes"] == 1 for r in found["rows"])
    ours = found["rows"][0]["peers"]["strict"]
    assert ours["seconds"][0] > 0 and "ratio" in found["rows"][0]["peers"]["by hand@strict"]
    assert [len(one["turns"]) for one in ours["passes"]] == [1]
    assert tables(found) in printed
    for picture in ("roofline.png", "growth.png"):
        assert (folder / picture).stat().st_size > 10_000


@pytest.mark.parametrize(
    "words, message",
    [
        (["--models", "rrn"], "there is no 'rrn'; there are rnn, lstm"),
        (["--ops", "lstm"], "there is no 'lstm'; there are matmul"),
        (["--sizes", "huge"], "there is no size 'huge'; there are tiny, small"),
        (["--threads", "0"], "must be above 0"),
        (["--seconds", "nan"], "must be above 0"),
        (["--seconds", "inf"], "finite"),
        (
            ["--training", "--dtype", "float64"],
            "train.py, which computes in float32, not in float64",
        ),
        (
            ["--models", "gpt", "--sizes", "large"],
            "gpt has no size large; it has tiny, small, medium",
        ),
        (["--vs", "numpy"], "--vs numpy: it is what ours computes with"),
        (["--vs", "theano"], "there is no peer 'theano'; there are numpy, torch"),
        (["--quick", "--rounds", "9"], "give one or the other"),
        (["--limit", "0"], "--limit must be above 0"),
        (["--resume", "none.json"], "No such file"),
        (["--resume", "none.json", "--quick"], "is the only option"),
    ],
)
def test_options_that_make_no_sense_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        command.main(words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, numpy",
    [
        ("--backend cupy", True),
        ("--backend cupy --vs numpy torch", True),
        ("--backend cupy --vs torch autograd", False),
        ("--backend cupy --vs", False),
        ("--backend strict", False),
        ("--vs torch", True),
    ],
)
def test_numpy_can_be_left_out_on_a_gpu(monkeypatch, words, numpy):
    for kind in ("Peer", "Ours", "Torch", "Jax"):
        monkeypatch.setattr(f"benchmarks.peers.{kind}.absent", lambda self: None)
    names, absent = run.peers_of(command.options(words.split()))
    assert names.count("numpy") == numpy and not absent
    assert ("captured" in names) == ("cupy" in words)
    assert all("@cuda" in n for n in names if n.startswith("torch") and "cupy" in words)


def test_a_backend_that_is_not_here_says_why(monkeypatch):
    monkeypatch.setattr("benchmarks.peers.Ours.absent", lambda self: "no GPU")
    assert "--backend cupy cannot be used: no GPU" in command.main(["--backend", "cupy"])


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(needed, "find_spec", lambda name: name != "psutil")
    assert needed.missing().startswith("psutil is not installed; all that is needed: pip install")
    assert needed.missing("matplotlib") is None


def test_a_precision_that_ours_lacks_is_refused(capsys):
    words = ["--ops", "softmax", "--sizes", "tiny", "--vs", "--dtype", "bfloat16"]
    assert "numpy has no bfloat16" in command.main(words)


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "{}/no/such/a.json"],
        ["--json", "{}"],
        ["--plot", "{}/file/pictures"],
        ["--json", "{}/file/a.json"],
        ["--html", "{}/no/such/a.html"],
        ["--json", "{}/file"],  # it is there, and may be somebody's
    ],
)
def test_where_nothing_can_be_kept_nothing_is_measured(words, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(command, "run", lambda *_: pytest.fail("measures"))
    assert str(tmp_path) in command.main([w.format(tmp_path) for w in words])


def test_gradient_checks_are_timed_beside_those_of_others(monkeypatch, capsys):
    """Of the libraries that are here; a tiny run."""
    cases = {"product": ("product", [(2, 3), (3, 2)])}
    monkeypatch.setattr(gradients, "SHAPES", cases)
    monkeypatch.setattr(gradients, "ENTRIES", "product")
    monkeypatch.setattr(gradients, "TURN", 0)
    monkeypatch.setattr(gradients, "LIBRARIES", {"autograd": gradients.of_autograd, "none": None})
    assert command.main(["--gradcheck", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "none is not installed" in printed and "| tanh(x), 1,000 numbers" in printed
    if find_spec("autograd"):
        assert re.search(r"\| product +\| \d+ +\| .*\| 4 +\|", printed)


def test_an_interrupted_run_is_kept_and_resumed(tmp_path, monkeypatch, capsys):
    """Ctrl-C in the second pass: all that was measured stays, and only the rest is measured."""
    measured, path = run.measure_row, str(tmp_path / "a.json")

    def interrupted(o, processes, r, bar, what):
        if r["passes"] == 1 and r["case"] == "sum":
            raise KeyboardInterrupt
        measured(o, processes, r, bar, what)

    monkeypatch.setattr(run, "measure_row", interrupted)
    words = ["--ops", "softmax", "sum", *TINY, "--passes", "2"]
    assert command.main([*words, "--json", path]) == 130
    printed = capsys.readouterr()
    assert "interrupted" in printed.out and f"--resume {path}" in printed.err
    before = report.read(path)["rows"]
    assert [(r["case"], r["passes"]) for r in before] == [("softmax", 2), ("sum", 1)]

    monkeypatch.setattr(run, "measure_row", measured)
    assert command.main(["--resume", path]) == 0
    found = report.read(path)
    assert found["errors"] == [] and found["rows"][0] == before[0]
    ours = [r["peers"]["numpy"] for r in (before[1], found["rows"][1])]
    assert ours[1]["passes"][:1] == ours[0]["passes"] and len(ours[1]["passes"]) == 2
    assert command.main(["--resume", path]) == 0  # nothing is left to do
    assert report.read(path)["rows"] == found["rows"]
    monkeypatch.setattr(run.environment, "commit", lambda: "another")
    assert "commit was" in command.main(["--resume", path])


def test_what_breaks_a_run_off_loses_nothing(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(imports, "measure", broken)
    path = str(tmp_path / "a.json")
    assert command.main(["--ops", "softmax", "--imports", *TINY, "--json", path]) == 1
    assert [r["case"] for r in report.read(path)["rows"]] == ["softmax"]
    assert "broken off by RuntimeError: the disk is gone" in capsys.readouterr().out


def test_a_peer_that_fails_ends_the_program_with_1(monkeypatch, capsys):
    ask = process.Process.ask

    def fails(self, do, **request):
        if do == "memory" and self.name == "manual":
            raise process.PeerError("has no memory")
        return ask(self, do, **request)

    monkeypatch.setattr(process.Process, "ask", fails)
    assert command.main(["--ops", "softmax", *TINY]) == 1
    assert "- softmax tiny, manual: has no memory" in capsys.readouterr().out


def test_without_a_terminal_a_line_says_which_case_is_done(measured):
    printed = measured[0].splitlines()
    for words in ("pass 1 of 1: rnn tiny: ", "pass 1 of 1: softmax tiny: "):
        assert any(line.startswith(words) and "ms" in line for line in printed)


@pytest.mark.parametrize(
    "main", [command.main, compare.main, history.main, new.main, pair.main, time_to_loss.main]
)
def test_the_help_fits_80_columns_and_explains_every_option(main, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    _, *lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for line, below in zip(lines, [*lines[1:], ""]):
        if re.match(r"  -{0,2}[a-z]", line):  # an argument, beside or above its explanation
            assert re.search(r"\S {2,}\S", line.strip()) or below.startswith(" " * 24), line


def test_bars_and_curves_are_drawn_beside_peers(measured, tmp_path):
    found = report.read(measured[1])
    for r in found["rows"]:
        r["peers"]["torch"] = {
            **r["peers"]["strict"],
            "seconds": [1.0, 0.9, 1.1],
            "ratio": [0.5, 0.45, 0.56],
        }
    found["rows"].append({**found["rows"][0], "size": "small", "flops": 1e9})
    drawn = {path.name for path in pictures.draw(found, tmp_path)}
    assert drawn == {"bars.png", "curves.png", "roofline.png", "growth.png"}
    assert "1,000 (0.50 ± 0.06)" in tables(found)


@given(st.lists(st.floats(0, 1), max_size=20).map(sorted), st.sampled_from([0.0, 0.025, 0.3]))
def test_labels_stand_apart(places, gap):
    """In order, no nearer than the gap; those that are apart already stay, and the middle too."""
    moved = pictures.apart(places, gap)
    assert all(b - a >= gap - 1e-9 for a, b in zip(moved, moved[1:]))
    assert np.isclose(sum(moved), sum(places))
    if all(b - a >= gap for a, b in zip(places, places[1:])):
        assert np.allclose(moved, places)
