"""How long a step takes: peers in processes of their own, driven in lockstep, round by round.

All peers of a case build it and take a few steps; their results must agree, or there is no time but
an error. Then come rounds: in each, every peer in turn takes steps for a while, the others waiting,
beginning with another peer each time. What disturbs the machine for a while disturbs all of them,
and the ratio of two peers is taken within each round. Between turns there is a rest, in which the
threads that a library keeps spinning fall asleep. A turn that was disturbed is taken again, a few
times at most.

That is a pass. A run has several, each with new processes: figure.py says why.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from . import quiet
from .case import Case
from .process import PeerError, Process, Processes
from .registry import ROOFLINE

REST = 0.05  # seconds; OpenBLAS spins for 2²⁶ cycles
SAMPLE = 0.002  # seconds that one sample takes at least: shorter steps in groups
SAMPLES = 100  # of a turn at most
LONG = 3.0  # a peer whose step takes more seconds than that has one turn, without a step before
AGAIN = 2  # times that a disturbed turn is taken again


@dataclass
class Pass:
    """Of one peer in one process: a quiet.Turn of each round; peak memory in bytes; the
    fingerprints of the first steps' results."""

    turns: list[quiet.Turn] = field(default_factory=list)
    peak: int | None = None
    prints: list = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return median(t.seconds for t in self.turns)

    def ratio(self, other: "Pass") -> float:
        """The median of the rounds' ratios to another peer."""
        return median(a.seconds / b.seconds for a, b in zip(self.turns, other.turns))


def differ(prints: list, reference: list, tolerance: float) -> str | None:
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


def warm_up(process: Process, seconds: float) -> dict[str, int]:
    """What a process is asked for in each of its turns of so many seconds."""
    once = median(process.ask("measure", steps=1, samples=1, warm=1)["seconds"])
    if once < SAMPLE:
        steps = max(1, round(SAMPLE / once))
        once = median(process.ask("measure", steps=steps, samples=3, warm=0)["seconds"])
    steps = max(1, round(max(SAMPLE, seconds / SAMPLES) / once))
    samples = max(1, round(seconds / (once * steps)))
    return {"steps": steps, "samples": samples, "warm": 1 if once < LONG else 0}


def take_turn(
    process: Process, plan: Mapping[str, int], former: Sequence[quiet.Turn] = ()
) -> quiet.Turn:
    """The Turn of a process. former: its Turns before, in this pass. One that is disturbed is taken
    again, and the one of which others took least is kept; but not where that was in vain the turn
    before, since a machine that stays busy is not waited for."""
    taken = []
    again = 0 if former and former[-1].disturbed or not plan["warm"] else AGAIN
    while len(taken) <= again:
        time.sleep(REST)
        before = process.reading()
        seconds = median(process.ask("measure", **plan)["seconds"])
        taken.append(quiet.turn(seconds, before, process.reading(), former))
        if not taken[-1].disturbed:
            break
    best = min(taken, key=lambda t: (bool(t.disturbed), t.others / t.wall))
    best.again = len(taken) - 1
    return best


def measure(
    processes: Processes,
    build: Mapping[str, dict[str, Any]],
    tolerance: float,
    rounds: int,
    seconds: float,
    memory: bool = True,
    show: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Pass], dict[str, str]]:
    """({peer: Pass}, {peer: error}) of the peers in `processes`, the first of which is the one that
    the others must agree with.

    build: {peer: what its process is asked to build}; tolerance: how far results may differ,
    relative, in float32; seconds: that a peer has in each round.
    """
    measured, errors, plan = {}, {}, {}
    tolerance *= {"float64": 1e-3, "tf32": 200, "bfloat16": 200}.get(processes.precision, 1)

    def attempt(name, f, *args):
        """f(process, *args); where that fails, the peer has an error in the place of its times."""
        try:
            return f(processes.running[name], *args)
        except PeerError as e:
            errors[name] = str(e)
            measured.pop(name, None)
            if not processes.running[name].is_alive:
                processes.replace(name)

    def prepare(process, name, reference):
        prints = process.ask("build", **build[name])["prints"]
        is_roofline = process.peer.library in ROOFLINE
        if reference and not is_roofline and (wrong := differ(prints, reference, tolerance)):
            raise PeerError(wrong)
        peak = process.ask("memory")["peak"] if memory and not is_roofline else None
        measured[name] = Pass(peak=peak, prints=prints)
        return prints

    reference = None
    for name in build:
        show(f"{name} builds")
        prints = attempt(name, prepare, name, reference)
        reference = reference or prints
    for name in list(measured):
        show(f"{name} warms up")
        plan[name] = attempt(name, warm_up, seconds)
    for i in range(rounds):
        order = list(measured)
        first = i % len(order) if order else 0
        for name in order[first:] + order[:first]:
            turns = measured[name].turns
            if i == 0 or plan[name]["warm"]:  # a long step is not repeated so often
                show(f"round {i + 1} of {rounds}: {name}")
                if taken := attempt(name, take_turn, plan[name], turns):
                    turns.append(taken)
    return measured, errors


def requests(processes: Processes, name: str, case: Case) -> dict[str, dict[str, Any]]:
    """What the peers that can compute a case are asked to build: `build` of `measure`."""
    return {
        label: {"case": name, "sizes": case.sizes}
        for label, process in processes.running.items()
        if case.has(process.peer.library)
    }
