"""Two checkouts of this project in turn: before, after, before, after, in each round of each case.

    git worktree add ../before v0.1.0
    python -m benchmarks pair ../before . --models mlp --ops softmax

Between two runs that are minutes apart a machine differs by more than most changes do. So both
checkouts, in a process each, take turns within each round, as peers of one run do, and the ratio is
taken there; and there are several passes, with new processes. A case got slower if the interval of
the ratio lies above 1, and the ratio is above the threshold. Their results must agree. Ends with
status 1 if something got slower, takes more memory, or failed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import quiet, report
from .cases import ALL, MODELS, OPERATIONS, SWEEP, make
from .clock import measure
from .compare import MB
from .environment import commit, machine, usable
from .figure import Figure
from .process import LIMIT, Processes
from .report import Row
from .tables import markdown


def measured(name: str, size: str, o: argparse.Namespace) -> Row:
    """A row of a report, ours being the checkout after, whose peer is the one before."""
    case = make(name, size)
    found = report.row(name, size, "float32", case, "after", "operation")
    folders = {"before": o.before, "after": o.after}
    request = {"case": name, "sizes": size}
    for _ in range(o.passes):
        with Processes(folders, o.threads, "float32", limit=o.limit) as processes:
            build = dict.fromkeys(folders, request)
            report.add(found, *measure(processes, build, case.tolerance, o.rounds, o.seconds))
        if found["errors"]:
            break
    return found


def cells(r: Row, threshold: float, floor: float) -> tuple[str, ...]:
    """(case, before, after, after / before, memory, verdict), texts, of a row."""
    if r["errors"]:
        failed = "; ".join(f"{name} {text}" for name, text in r["errors"].items())
        return report.title(r), "", "", "", "", f"failed: {failed}"
    before, after = (r["peers"][label] for label in ("before", "after"))
    ratio, words = Figure(*before["ratio"]), []
    if ratio.value > 1 + threshold and (ratio.low is None or ratio.low > 1):
        words.append("slower")
    memory = None
    if before["peak"] and after["peak"]:
        memory = after["peak"] / before["peak"]
        if after["peak"] - before["peak"] > floor * MB and memory > 1 + threshold:
            words.append("more memory")
    return (
        report.title(r),
        *(str(1e3 * Figure(*peer["seconds"])) for peer in (before, after)),
        str(ratio),
        "" if memory is None else f"{memory:.2f}",
        ", ".join(words),
    )


def options(argv: Sequence[str]) -> argparse.Namespace:
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
        "--passes", metavar="N", type=int, default=5, help="how often, with new processes (5)"
    )
    p.add_argument("--rounds", metavar="N", type=int, default=3, help="in each pass (3)")
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
    p.add_argument(
        "--floor", metavar="X", type=float, default=1.0, help="of a change of memory, in MB (1)"
    )
    p.add_argument(
        "--limit", metavar="X", type=float, default=LIMIT, help="seconds of one request (600)"
    )
    o = p.parse_args(argv)
    for folder in (o.before, o.after):
        if not (folder / "benchmarks" / "worker.py").is_file():
            p.error(f"{folder} is no checkout of this project: it has no benchmarks/worker.py")
    if o.models is None and o.ops is None:
        o.models, o.ops = [], []
    if min(o.passes, o.rounds, o.threads) < 1 or not o.seconds > 0 or not o.limit > 0:
        p.error("--passes, --rounds, --threads, --seconds and --limit must be above 0")
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


def main(argv: Sequence[str]) -> int:
    o, worse, rows = options(argv), 0, []
    print(f"before: {commit(o.before)}; after: {commit(o.after)}")
    print(f"{machine()['processor']}, {o.threads} threads, float32")
    print(f"load before: {quiet.load()}; {o.passes} passes of {o.rounds} rounds\n")
    head = ("case" + " " * 16, "before, ms   ", "after, ms    ", "after / before", "memory", "")
    print("\n".join(markdown([head]).splitlines()[:2]), flush=True)
    for name, size in o.cases:
        rows.append(measured(name, size, o))
        line = cells(rows[-1], o.threshold, o.floor)
        worse += bool(line[-1])
        marks = "; ".join(rows[-1]["marks"])
        line = *line[:-1], "; ".join(filter(None, [line[-1], marks]))
        print("| " + " | ".join(c.ljust(len(h)) for c, h in zip(line, head)) + " |", flush=True)
    print(f"\n{worse} of {len(o.cases)} got worse by more than {o.threshold:.0%}")
    return 1 if worse else 0
