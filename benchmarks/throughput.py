"""What `train.py` adds to the bare training step: data, metrics, progress.

    python -m benchmarks.throughput PRESET STEPS ...  seconds of a step, and of the bare step in it

runs train.py with a clock at the calls that are the bare step: forgetting the gradients, loss,
backward pass, clipping, the optimiser. Both times are taken in one run, so what disturbs the
machine disturbs both.
"""

import os
import sys
import tempfile
import time

from .figure import figure
from .process import LIMIT, output, restricted


class Clock:
    """When steps begin, and the time that timed calls take together. The first step, which makes
    what the others use again, is not counted, nor the last, which validation follows."""

    def __init__(self):
        self.begins, self.within, self.counted = [], 0.0, 0.0

    def begin(self):
        """A step begins."""
        self.counted = self.within
        self.begins.append(time.perf_counter())
        if len(self.begins) == 2:
            self.within = 0.0

    def timed(self, f):
        def call(*args, **options):
            begin = time.perf_counter()
            result = f(*args, **options)
            self.within += time.perf_counter() - begin
            return result

        return call

    def seconds(self):
        """(of a step, of the calls in it), means."""
        steps = len(self.begins) - 2
        return (self.begins[-1] - self.begins[1]) / steps, self.counted / steps


def clocked(preset, steps, *options):
    """(seconds of a step of train.py, of the bare step in it), means; steps: 3 or more."""
    import nanoautograd
    import train

    clock = Clock()

    def make_optimizer(*args, make=train.make_optimizer):
        optimizer, factors = make(*args)
        zero_grad = clock.timed(optimizer.zero_grad)

        def begin():
            clock.begin()
            zero_grad()

        optimizer.zero_grad, optimizer.step = begin, clock.timed(optimizer.step)
        return optimizer, factors

    def make_task(o, make=train.make_task):
        task = make(o)
        task.loss = clock.timed(task.loss)
        return task

    train.make_optimizer, train.make_task = make_optimizer, make_task
    train.clip_grad_norm_ = clock.timed(train.clip_grad_norm_)
    nanoautograd.Tensor.backward = clock.timed(nanoautograd.Tensor.backward)
    with tempfile.TemporaryDirectory() as folder:
        status = train.main(
            [
                preset,
                "--steps",
                str(steps),
                "--evaluate-every",
                str(steps),
                "--out",
                folder,
                *options,
            ]
        )
    if status:
        sys.exit(status)
    return clock.seconds()


def measure(preset, steps, rounds, threads, device, show, limit=LIMIT):
    """{"preset", "train", "bare": seconds a step; "ratio", with intervals; "values": the ratio of
    each round, which is a process}. Raises PeerError."""
    trained, bared = [], []
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # as in train.py
    for i in range(rounds):
        show(f"train.py {preset}, round {i + 1} of {rounds}")
        with restricted(threads):
            out = output(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.throughput",
                    preset,
                    str(steps),
                    "--threads",
                    str(threads),
                    "--device",
                    device,
                ],
                environment,
                limit,
            )
        whole, bare = map(float, out.splitlines()[-1].split())
        trained.append(whole)
        bared.append(bare)
    ratios = [a / b for a, b in zip(trained, bared)]
    return {
        "preset": preset,
        "train": list(figure(trained)),
        "bare": list(figure(bared)),
        "ratio": list(figure(ratios)),
        "values": ratios,
    }


if __name__ == "__main__":
    print(*clocked(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
