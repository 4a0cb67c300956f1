"""Event files: TensorBoard itself reads what train.py --tensorboard writes."""

import json
import sys

import pytest

pytest.importorskip("tqdm")
pytest.importorskip("safetensors")
pytest.importorskip("tensorboardX")

import train  # noqa: E402
from models.training.metrics import Metrics  # noqa: E402

TINY = [
    "--hidden",
    "4",
    "--embedding",
    "4",
    "--batch",
    "2",
    "--block-size",
    "8",
    "--length",
    "5",
    "--decay",
    "constant",
    "--tensorboard",
]


@pytest.mark.oracle
def test_tensorboard_reads_a_run_that_was_resumed(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    out = tmp_path / "run"
    for steps in ("4", "9"):
        assert (
            train.main(
                [
                    "rnn",
                    *TINY,
                    "--out",
                    str(out),
                    "--steps",
                    steps,
                    "--resume",
                    "--evaluate-every",
                    "3",
                ]
            )
            is None
        )
    events = accumulator(str(out / "tensorboard"))
    events.Reload()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    scalars = {
        "loss": "loss",
        "lr": "lr",
        "norm": "norm",
        "validation_bits": "validation/bits",
        "validation_loss": "validation/loss",
    }
    assert set(scalars.values()) <= set(events.Tags()["scalars"])
    for name, tag in scalars.items():
        expected = [(m["step"], pytest.approx(m[name])) for m in lines if name in m]
        assert expected and [(e.step, e.value) for e in events.Scalars(tag)] == expected


def test_what_was_written_after_the_checkpoint_is_purged(tmp_path):
    for start, end in ((0, 5), (3, 6)):  # killed after 5 steps, resumed from 3
        metrics = Metrics(tmp_path / "metrics.jsonl", start, tmp_path / "events")
        for step in range(start + 1, end + 1):
            metrics.note(step, loss=float(start))
        metrics.close()
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    events = accumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (1, 0.0),
        (2, 0.0),
        (3, 0.0),
        (4, 3.0),
        (5, 3.0),
        (6, 3.0),
    ]


def test_a_missing_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    message = train.main(["rnn", *TINY, "--out", str(tmp_path), "--steps", "1"])
    assert message == (
        "train.py: event files for TensorBoard need the package tensorboardX: "
        "pip install tensorboardX"
    )
