"""How long a step takes: peers in processes of their own, driven in lockstep, round by round.

All peers of a case build it and take a few steps; their results must agree, or there is no time but
an error. Then come rounds: in each, every peer in turn takes steps for a while, the others waiting,
beginning with another peer each time. What disturbs the machine for a while disturbs all of them,
and the ratio of two peers is taken within each round. Between turns there is a rest, in which the
threads that a library keeps spinning fall asleep.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .registry import ROOFLINE, peer

ROOT = Path(__file__).parents[1]
REST = 0.05  # seconds; OpenBLAS spins for 2²⁶ cycles
SAMPLE = 0.002  # seconds that one sample takes at least: shorter steps in groups
LONG = 3.0  # a peer whose step takes more seconds than that has
FEW = 3  # this many rounds


class PeerError(Exception):
    """A peer could not do what it was asked for."""


@contextmanager
def restricted(threads):
    """A process that is started within it may use as many processors as threads: also libraries
    that are not asked then make no more threads than that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(processors)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


def output(command, environment):
    """What a program writes. Raises PeerError where it fails, with the end of what it says."""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise PeerError((done.stderr or done.stdout)[-500:].strip() or "failed without a word")
    return done.stdout


class Process:
    """The process of a peer (worker.py), of this checkout or of that in another folder."""

    def __init__(self, name, threads, precision, folder=ROOT):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        environment = {**os.environ, **peer(name).environment(threads)}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(folder), os.environ.get("PYTHONPATH")])
        )
        with restricted(threads):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", name, str(threads), precision],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                env=environment,
                cwd=folder,  # where python -m looks first
            )

    def ask(self, do, **request):
        """The answer. Raises PeerError where it is an error, or the process has died."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.errors.seek(0)
            raise PeerError(f"{self.name} died: {self.errors.read()[-500:].strip()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def close(self):
        with suppress(BrokenPipeError):  # of a request that it did not live to read
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.errors.close()


class Processes:
    """Those of several peers, with as many threads and in the same precision."""

    def __init__(self, names, threads, precision):
        self.running = {name: Process(name, threads, precision) for name in names}
        self.threads, self.precision = threads, precision

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running.values():
            process.close()

    def replace(self, name):
        """A new process in place of one that died."""
        self.running[name].close()
        self.running[name] = Process(name, self.threads, self.precision)


@dataclass
class Measurement:
    """Of one peer: for each round the seconds of a step, several samples; peak memory in bytes;
    the fingerprint of the first steps' results."""

    rounds: list = field(default_factory=list)
    peak: int | None = None
    prints: list = field(default_factory=list)

    @property
    def samples(self):
        return [s for r in self.rounds for s in r]

    @property
    def median(self):
        return statistics.median(self.samples)

    @property
    def quartiles(self):
        return quartiles(self.samples)

    def ratio(self, other):
        """The median of the rounds' ratios to another peer, and their quartiles."""
        ratios = [
            statistics.median(a) / statistics.median(b) for a, b in zip(self.rounds, other.rounds)
        ]
        return statistics.median(ratios), quartiles(ratios)


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def differ(prints, reference, tolerance):
    """What is different between the results of two peers, or None."""
    for step, (ours, theirs) in enumerate(zip(reference, prints), 1):
        if len(ours) != len(theirs):
            return f"gives {len(theirs)} results, not {len(ours)}"
        for i, ((norm, along), (norm_2, along_2)) in enumerate(zip(ours, theirs)):
            error = max(abs(norm - norm_2), abs(along - along_2))
            if not error <= tolerance * norm + 1e-30:
                return (
                    f"computes something else: result {i} of step {step} has norm {norm_2:.7g} "
                    f"(and {along_2:.7g} along a vector), not {norm:.7g} ({along:.7g})"
                )


def warm_up(process, turn):
    """What a process is asked for in each of its turns of so many seconds."""
    once = min(process.ask("measure", steps=1, samples=1, warm=1)["seconds"])
    steps = max(1, round(SAMPLE / once))
    samples = max(1, min(100, int(turn / (once * steps))))
    return {"steps": steps, "samples": samples, "warm": 1 if once < LONG else 0}


def measure(processes, case_name, case, rounds, turn, memory=True, show=lambda text: None):
    """({peer: Measurement}, {peer: error}) of the peers in `processes`, the first of which is the
    one that the others must agree with.

    rounds: how many; turn: seconds that a peer has in each.
    """
    measured, errors = {}, {}
    tolerance = case.tolerance * (
        1e-3
        if processes.precision == "float64"
        else 200
        if processes.precision in ("tf32", "bfloat16")
        else 1
    )

    def attempt(name, f, *args):
        """f(process, *args); where that fails, the peer has an error in the place of its times."""
        try:
            return f(processes.running[name], *args)
        except PeerError as e:
            errors[name] = str(e)
            measured.pop(name, None)
            if processes.running[name].process.poll() is not None:
                processes.replace(name)

    def build(process, name, reference):
        prints = process.ask("build", case=case_name, sizes=case.sizes)["prints"]
        is_roofline = peer(name).library in ROOFLINE
        if reference and not is_roofline and (wrong := differ(prints, reference, tolerance)):
            raise PeerError(wrong)
        peak = process.ask("memory")["peak"] if memory and not is_roofline else None
        measured[name] = Measurement(peak=peak, prints=prints)
        return prints

    def take_turn(process, name):
        measured[name].rounds.append(process.ask("measure", **plan[name])["seconds"])

    reference = None
    for name in [n for n in processes.running if case.has(peer(n).library)]:
        show(f"{name} builds")
        prints = attempt(name, build, name, reference)
        reference = reference or prints
    plan = {}
    for name in list(measured):
        show(f"{name} warms up")
        plan[name] = attempt(name, warm_up, turn)
    for i in range(rounds):
        order = list(measured)
        first = i % len(order) if order else 0
        for name in order[first:] + order[:first]:
            if i < FEW or plan[name]["warm"]:  # a long step is not repeated so often
                show(f"round {i + 1} of {rounds}: {name}")
                time.sleep(REST)
                attempt(name, take_turn, name)
    return measured, errors
