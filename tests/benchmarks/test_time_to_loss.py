"""The time until a loss is reached, on a text that is learned at once."""

import json

import pytest

from benchmarks import time_to_loss

SMALL = [
    "--layers",
    "1",
    "--heads",
    "2",
    "--d-model",
    "16",
    "--block-size",
    "8",
    "--batch",
    "4",
    "--evaluate-every",
    "20",
]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab" * 500, encoding="utf-8")
    return str(path)


def test_it_stops_where_the_loss_is_reached(text, capsys):
    assert time_to_loss.main([text, *SMALL, "--steps", "400", "--loss", "0.6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("0.6 was reached") and 1 < len(lines) < 22
    losses = [float(line.split()[-1]) for line in lines[:-1]]
    assert losses[-1] <= 0.6 < min(losses[:-1], default=1.0)


def test_a_loss_that_is_not_reached_is_said_so(text, capsys):
    assert time_to_loss.main([text, *SMALL, "--steps", "5", "--loss", "0.0"]) == 1
    assert "after 5 steps" in capsys.readouterr().out


def test_it_is_a_part_of_the_benchmarks(text, tmp_path, capsys):
    from benchmarks.__main__ import main

    kept = tmp_path / "kept.json"
    assert main(["--text", text, "--sizes", "tiny", "--vs", "--json", str(kept)]) == 0
    out = capsys.readouterr().out
    assert "Training until the validation loss is reached" in out and "| cpu    | float32" in out
    (found,) = json.loads(kept.read_text())["time to loss"]
    assert found["steps"] == 2 and found["seconds"] > 0 and found["reached"]
    assert "No such file" in main(["--text", str(tmp_path / "none"), "--sizes", "tiny"])
    assert "must be more than a block of 256" in main(["--text", text])
    with pytest.raises(SystemExit):
        main(["--text", text, "--dtype", "float64"])


def test_what_was_measured_before_is_kept(text, tmp_path, capsys, monkeypatch):
    from benchmarks.__main__ import main

    def broken(*args):
        raise TypeError("a GPU without bfloat16")

    monkeypatch.setattr(time_to_loss, "measure", broken)
    kept = tmp_path / "kept.json"
    assert (
        main(
            [
                "--text",
                text,
                "--ops",
                "softmax",
                "--sizes",
                "tiny",
                "--vs",
                *"--passes 1 --rounds 1 --seconds 0.01".split(),
                "--json",
                str(kept),
            ]
        )
        == 1
    )
    assert "TypeError: a GPU without bfloat16" in capsys.readouterr().out
    assert json.loads(kept.read_text())["rows"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{}/none.txt"], "No such file"),
        (
            ["{}/text.txt"],
            "has 1000 characters; a tenth of them, for validation, must be more than a",
        ),
        (["{}/text.txt", *SMALL, "--device", "tpu"], "no device is called 'tpu'"),
    ],
)
def test_what_cannot_be_trained_is_refused(text, tmp_path, arguments, message):
    assert message in time_to_loss.main([a.format(tmp_path) for a in arguments])
