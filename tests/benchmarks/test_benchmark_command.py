"""python -m benchmarks keeps and draws all that it measured, and refuses what it could not."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as command
from benchmarks import compare, gradients, growth, pair, pictures, report, time_to_loss


def test_the_command_prints_tables_and_keeps_all_it_measured(measured):
    printed, path, folder = measured
    for text in ("rnn tiny", "softmax tiny", "by hand@strict", "| nanoautograd", "p of memory"):
        assert text in printed
    found = report.read(path)
    e = found["environment"]
    assert e["threads"] == 1 and e["precision"] == "float32" and e["processor"]
    assert e["libraries"]["strict"]["versions"]["numpy"] == np.__version__
    assert all(pool["num_threads"] == 1 for pool in e["libraries"]["strict"]["pools"])
    assert [r["case"] for r in found["rows"]] == ["rnn", "softmax"]
    assert found["rows"][0]["peers"]["strict"]["seconds"] > 0
    for picture in ("roofline.png", "growth.png"):
        assert (folder / picture).stat().st_size > 10_000


@pytest.mark.parametrize(
    "words, message",
    [
        (["--models", "rrn"], "there is no 'rrn'; there are rnn, lstm"),
        (["--ops", "lstm"], "there is no 'lstm'; there are matmul"),
        (["--sizes", "huge"], "invalid choice: 'huge'"),
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
    names, absent = command.peers_of(command.options(words.split()))
    assert names.count("numpy") == numpy and not absent
    assert ("captured" in names) == ("cupy" in words)
    assert all("@cuda" in n for n in names if n.startswith("torch") and "cupy" in words)


def test_a_backend_that_is_not_here_says_why(monkeypatch):
    monkeypatch.setattr("benchmarks.peers.Ours.absent", lambda self: "no GPU")
    assert "--backend cupy cannot be used: no GPU" in command.main(["--backend", "cupy"])


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


def test_what_was_measured_before_an_interruption_is_kept(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(growth, "sweep", interrupted)
    path = tmp_path / "a.json"
    assert (
        command.main(
            [
                "--ops",
                "softmax",
                "--growth",
                "--sizes",
                "tiny",
                "--vs",
                "--threads",
                "1",
                "--rounds",
                "1",
                "--seconds",
                "0.001",
                "--json",
                str(path),
            ]
        )
        == 130
    )
    assert [r["case"] for r in report.read(path)["rows"]] == ["softmax"]
    assert "- interrupted" in capsys.readouterr().out


def test_without_a_terminal_a_line_says_which_case_is_done(measured):
    assert {"1 of 2: rnn tiny", "2 of 2: softmax tiny"} <= set(measured[0].splitlines())


@pytest.mark.parametrize("main", [command.main, compare.main, pair.main, time_to_loss.main])
def test_the_help_fits_80_columns_and_explains_every_option(main, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    _, *lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for line, below in zip(lines, [*lines[1:], ""]):
        if re.match(r"  -{0,2}[a-z]", line):  # an argument, beside or above its explanation
            assert re.search(r"\S {2,}\S", line.strip()) or below.startswith(" " * 24), line


def test_bars_are_drawn_beside_peers(measured, tmp_path):
    found = report.read(measured[1])
    for r in found["rows"]:
        r["peers"]["torch"] = {
            "seconds": 1.0,
            "ratio": 0.5,
            "ratio quartiles": [0.4, 0.6],
            "peak": 10**6,
        }
    assert tmp_path / "bars.png" in pictures.draw(found, tmp_path)
    assert "1,000 (0.50)" in report.tables(found)


@given(st.lists(st.floats(0, 1), max_size=20).map(sorted), st.sampled_from([0.0, 0.025, 0.3]))
def test_labels_stand_apart(places, gap):
    """In order, no nearer than the gap; those that are apart already stay, and the middle too."""
    moved = pictures.apart(places, gap)
    assert all(b - a >= gap - 1e-9 for a, b in zip(moved, moved[1:]))
    assert np.isclose(sum(moved), sum(places))
    if all(b - a >= gap for a, b in zip(places, places[1:])):
        assert np.allclose(moved, places)
