"""Runs of train.py, tiny ones, and what they made."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "train.py"
TINY = [
    "--hidden",
    "8",
    "--embedding",
    "4",
    "--batch",
    "2",
    "--block-size",
    "8",
    "--length",
    "20",
    "--warmup",
    "3",
]


def start(text, out, *options):
    """train.py in a process of its own, on a text and into a folder."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "--data", str(text), "--out", str(out), *TINY, *options],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def result(out):
    """What a run has made: check sum of all arrays (weights, moments, h), and the metrics."""
    document = json.loads((out / "checkpoint.json").read_text())
    return (document["sha256"], document["state"]["step"], (out / "metrics.jsonl").read_text())


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
