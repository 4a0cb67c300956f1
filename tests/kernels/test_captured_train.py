"""train.py with --captured notes down, stops and goes on as without."""

import json
import os
import signal
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from fake_gpu import batches, on_device

from models.tasks import PRESETS
from models.tasks.task import Task
from models.training import steps
from nanoautograd import backends, nn
from nanoautograd.backends import strict
from nanoautograd.checkpoint import load_checkpoint
from nanoautograd.kernels.cuda.runtime import capture


class Line(nn.Module):
    def __init__(self, config, rng=None, dtype=np.float32):
        self.linear, self.drop = nn.Linear(5, 3, rng=rng, dtype=dtype), nn.Dropout(0.2, rng=rng)

    def forward(self, x):
        return self.drop(self.linear(x))


@dataclass
class LineConfig:
    d_model: int = 3


class Lines(Task):
    """Predicts numbers, beside a state that is carried along and forgotten at every fifth step."""

    models, presets = {"line": (LineConfig, Line)}, {"lines": {"model": "line"}}

    def __init__(self, o, known=None):
        super().__init__(o, known)
        self.known, self.sizes, self.fingerprint, self.summary = [], {}, "none", "lines"

    def batch(self, step):
        x, y = batches(1, step)[0]
        return x, y, np.array(step % 5 == 0)

    def loss(self, model, carried, x, y, begins):
        if carried is not None:
            carried = backends.array_namespace(carried).where(begins, 0.0, carried)
        z = model(x) if carried is None else model(x) + carried * 0.5
        return ((z - y) ** 2).mean(), z.data

    def recurrent_spec(self, model):
        return (7, 3), np.dtype(np.float32)

    def evaluate(self, model, final=False):
        x, y, _ = self.on_device(*self.batch(1000))
        return {"loss": float(((model(x) - y) ** 2).mean().item())}

    def baseline(self):
        return "nothing", 1.0


class Stopped(Exception):
    pass


@pytest.fixture
def train(gpu, monkeypatch, tmp_path):
    """train.py with the steps of a device; returns what it noted down, and what is carried."""
    pytest.importorskip("tqdm"), pytest.importorskip("safetensors")
    script = import_module("train")
    monkeypatch.setitem(PRESETS, "lines", Lines)
    monkeypatch.setattr(strict, "xp", SimpleNamespace(array=on_device))

    def run(name, *options, record=None):
        device = "cpu" if record is None else "strict"
        with monkeypatch.context() as patch:
            if record is not None:
                patch.setattr(steps, "begin", lambda step, o: capture.Captured(step, record))
            status = script.main(
                [
                    "lines",
                    "--out",
                    str(tmp_path / name),
                    "--device",
                    device,
                    "--evaluate-every",
                    "4",
                    "--lr",
                    "0.1",
                    *options,
                ]
            )
        if status:
            raise Stopped(status)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], load_checkpoint(tmp_path / name)[0]

    return run


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("options", [(), ("--accumulate", "3"), ("--average", "0.5")])
def test_train_py_notes_down_the_same(train, record, options):
    """Each step with its own loss, norm and rate, though they come later; the same weights, and
    the same state to go on from."""
    right, weights = train("cpu", "--steps", "11", *options)
    found, others = train("gpu", "--steps", "11", *options, record=record)
    assert [line["step"] for line in found] == [line["step"] for line in right]
    for a, b in zip(found, right):
        assert a.keys() == b.keys()
        np.testing.assert_allclose([a[k] for k in b], [b[k] for k in b], rtol=1e-4)
    assert weights.keys() == others.keys() and "carried" in weights
    for name, array in weights.items():
        np.testing.assert_allclose(others[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_train_py_goes_on(train):
    constant = "--decay", "constant"
    right, weights = train("straight", "--steps", "12", *constant, record=False)
    train("resumed", "--steps", "8", *constant, record=False)
    found, others = train("resumed", "--steps", "12", "--resume", *constant, record=False)
    assert found == right
    for name, array in weights.items():
        np.testing.assert_array_equal(others[name], array, err_msg=name)


@pytest.mark.parametrize("record", [True, False])
def test_train_py_notes_down_what_is_under_way_when_it_is_stopped(
    train, tmp_path, monkeypatch, record
):
    def batch(self, step, batch=Lines.batch):
        if step == 5:  # of the sixth step, between two evaluations
            os.kill(os.getpid(), signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(Lines, "batch", batch)
    with pytest.raises(Stopped, match="130"):
        train("run", "--steps", "20", record=record)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [line["step"] for line in map(json.loads, lines) if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_train_py_stops_where_a_step_diverged(train, tmp_path):
    """It is known two steps later, under its own number, and the checkpoint before it stays."""
    options = "--steps", "30", "--lr", "1e25", "--clip", "0", "--warmup", "0"
    said = []
    for name, record in (("cpu", None), ("gpu", True)):
        with pytest.raises(Stopped) as stopped:
            train(name, *options, record=record)
        said.append(str(stopped.value).replace(str(tmp_path / name), "the folder"))
        state = json.loads((tmp_path / name / "checkpoint.json").read_text())["state"]
        assert state["step"] == 0
    assert said[0] == said[1] and "at step " in said[0]
