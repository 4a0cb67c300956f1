"""What `train.py` adds to the bare training step: data, metrics, progress.

    python -m benchmarks.throughput PRESET STEPS        seconds of a bare step, the mean of STEPS

`train.py` is run for a few steps and for many; the difference of the two is that of the steps
alone, without the start, the one validation and the report at the end. Beside it the same model
takes as many steps (forward, loss, backward, clipping, AdamW) on one batch that is there already.
The three follow one another in each round.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from .clock import ROOT, quartiles


def bare(preset, steps):
    """Seconds a step."""
    from models.run import compute_with, make_model, make_task, parse
    from nanoautograd.optim import AdamW, clip_grad_norm_
    o, _ = parse([preset])
    compute_with(o)
    task = make_task(o)
    model = make_model(task, o)
    optimizer = AdamW(model.parameters(), lr=o.lr, betas=o.betas)
    batch, carried = task.batch(0), None

    def step():
        nonlocal carried
        optimizer.zero_grad()
        loss, carried = task.loss(model, *task.on_device(carried, *batch))
        loss.backward()
        clip_grad_norm_(model.parameters(), o.clip or float("inf"))
        optimizer.step()
    step()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def run(preset, steps):
    """Seconds of a run of train.py."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "train.py", preset, "--steps", str(steps),
                        "--evaluate-every", str(steps), "--out", folder], cwd=ROOT, check=True,
                       capture_output=True)
        return time.perf_counter() - begin


def measure(preset, few, many, rounds, show):
    """{"preset", "train", "bare": seconds a step, medians; "ratio", "quartiles": of the rounds}."""
    trained, bared = [], []
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}       # as in train.py
    for i in range(rounds):
        show(f"train.py {preset}, round {i + 1} of {rounds}")
        trained.append((run(preset, many) - run(preset, few)) / (many - few))
        out = subprocess.run([sys.executable, "-m", "benchmarks.throughput", preset,
                              str(many - few)], cwd=ROOT, env=environment, check=True,
                             capture_output=True)
        bared.append(float(out.stdout))
    ratios = [a / b for a, b in zip(trained, bared)]
    return {"preset": preset, "train": statistics.median(trained),
            "bare": statistics.median(bared), "ratio": statistics.median(ratios),
            "quartiles": quartiles(ratios)}


if __name__ == "__main__":
    print(bare(sys.argv[1], int(sys.argv[2])))
