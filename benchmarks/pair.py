"""Two checkouts of this project in turn: before, after, before, after, in each round of each case.

    git worktree add ../before v0.1.0
    python -m benchmarks pair ../before . --models mlp --ops softmax

Between two runs that are minutes apart a machine differs by more than most changes do. So both
checkouts, in a process each, take turns within each round, and the ratio is taken there; and all of
it is repeated with new processes, since two processes of one program differ, too. A case got slower
if the median ratio is above the threshold in every repeat. Their results must agree. Ends with
status 1 if something got slower, takes more memory, or failed.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from .cases import ALL, MODELS, OPERATIONS, SWEEP, make
from .clock import REST, Measurement, PeerError, Process, differ, warm_up
from .report import commit, environment, load, markdown, ms, usable


class Repeat(NamedTuple):
    """Of one repeat: the Measurements before and after."""

    before: Measurement
    after: Measurement

    @property
    def time(self):
        return self.after.ratio(self.before)[0]

    @property
    def memory(self):
        return self.after.peak / self.before.peak if self.before.peak else 1.0


def measured(folders, name, size, o):
    """The Repeat of one case, in two new processes. Raises PeerError."""
    running, results = [], [Measurement(), Measurement()]
    try:
        for folder, result in zip(folders, results):
            process = Process("numpy", o.threads, "float32", folder)
            running.append(process)
            result.prints = process.ask("build", case=name, sizes=size)["prints"]
            result.peak = process.ask("memory")["peak"]
        if wrong := differ(results[1].prints, results[0].prints, make(name, size).tolerance):
            raise PeerError(wrong)
        plans = [warm_up(process, o.seconds) for process in running]
        for i in range(o.rounds):
            for k in (0, 1) if i % 2 == 0 else (1, 0):
                time.sleep(REST)
                results[k].rounds.append(running[k].ask("measure", **plans[k])["seconds"])
    finally:
        for process in running:
            process.close()
    return Repeat(*results)


def row(name, repeats, threshold):
    """(case, before, after, after / before, memory, verdict), texts, of the Repeats of a case."""
    words = [
        word
        for word, ratios in (
            ("slower", [r.time for r in repeats]),
            ("more memory", [r.memory for r in repeats]),
        )
        if min(ratios) > 1 + threshold
    ]
    return (
        name,
        ms(statistics.median(r.before.median for r in repeats)),
        ms(statistics.median(r.after.median for r in repeats)),
        ", ".join(f"{r.time:.2f}" for r in repeats),
        ", ".join(f"{r.memory:.2f}" for r in repeats),
        ", ".join(words),
    )


def options(argv):
    p = argparse.ArgumentParser(
        prog="python -m benchmarks pair",
        description=" ".join(__doc__.split("\n\n")[::2]),  # all but the commands
    )
    p.add_argument("before", type=Path, help="the folder of a checkout")
    p.add_argument("after", type=Path, help="the folder of another")
    p.add_argument("--models", nargs="*", metavar="NAME", help="all, if none is named")
    p.add_argument("--ops", nargs="*", metavar="NAME", help="all, if none is named")
    p.add_argument("--sizes", nargs="+", metavar="SIZE", default=SWEEP, help=" ".join(SWEEP))
    p.add_argument(
        "--repeats", metavar="N", type=int, default=2, help="how often, with new processes (2)"
    )
    p.add_argument("--rounds", metavar="N", type=int, default=9, help="in each repeat (9)")
    p.add_argument("--seconds", metavar="X", type=float, default=0.2, help="of a turn (0.2)")
    p.add_argument(
        "--threads", metavar="N", type=int, default=usable(), help="of the arithmetic (all)"
    )
    p.add_argument(
        "--threshold",
        metavar="X",
        type=float,
        default=0.05,
        help="what is less is no change (0.05)",
    )
    o = p.parse_args(argv)
    for folder in (o.before, o.after):
        if not (folder / "benchmarks" / "worker.py").is_file():
            p.error(f"{folder} is no checkout of this project: it has no benchmarks/worker.py")
    if o.models is None and o.ops is None:
        o.models, o.ops = [], []
    if min(o.repeats, o.rounds, o.threads) < 1 or not o.seconds > 0:
        p.error("--repeats, --rounds, --threads and --seconds must be above 0")
    o.cases = []
    for given, known in ((o.models, MODELS), (o.ops, OPERATIONS)):
        for name in given or ():
            if name not in known:
                p.error(f"there is no {name!r}; there are {', '.join(known)}")
        names = [] if given is None else given or known
        o.cases += [(n, size) for n in names for size in o.sizes if size in ALL[n][1]]
    if not o.cases:
        p.error(f"none of them has a size {' or '.join(o.sizes)}")
    return o


def main(argv):
    o, worse = options(argv), 0
    about = environment(o.threads, "float32", {}, load())
    print(f"before: {commit(o.before)}; after: {commit(o.after)}")
    print(f"{about['processor']}, {o.threads} threads, float32; Python {about['python']}")
    print(f"load before: {about['load before']}; {o.repeats} repeats of {o.rounds} rounds\n")
    head = ("case" + " " * 16, "before, ms", "after, ms", "after / before", "memory    ", "")
    print("\n".join(markdown([head]).splitlines()[:2]), flush=True)
    for name, size in o.cases:
        title = f"{name} {size}"
        try:
            repeats = [measured((o.before, o.after), name, size, o) for _ in range(o.repeats)]
            cells = row(title, repeats, o.threshold)
        except PeerError as e:
            cells = (title, "", "", "", "", f"failed: {e}")
        worse += bool(cells[-1])
        print("| " + " | ".join(c.ljust(len(h)) for c, h in zip(cells, head)) + " |", flush=True)
    print(f"\n{worse} of {len(o.cases)} got worse by more than {o.threshold:.0%} in every repeat")
    return 1 if worse else 0
