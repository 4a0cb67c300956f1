"""Two checkouts of this project in turn: before, after, before, after, for each case.

    git worktree add ../before v0.1.0
    python -m benchmarks pair ../before . --models mlp --ops softmax

One measurement of each is not enough: between two runs minutes apart, a machine differs by more
than most changes do. So each case is measured in turns close to each other, and counts as slower
only if it is so, by more than --threshold, in every turn. Each checkout runs its own benchmarks, in
processes of its own. Ends with status 1 if something got slower, takes more memory, or failed.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from .cases import MODELS, OPERATIONS
from .report import ReportError, commit, environment, load, markdown, ms, read, title, usable


def measured(folder, kind, name, o):
    """{title of a row: (seconds, bytes at most), or the text of an error}, by the benchmarks in
    `folder`."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "report.json"
        command = [sys.executable, "-m", "benchmarks", kind, name, "--vs", "--json", str(file)]
        for option in ("rounds", "seconds", "threads"):
            command += [f"--{option}", str(getattr(o, option))]
        command += ["--sizes", *o.sizes] if o.sizes else []
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if not file.exists():
            return {name: (run.stderr.strip() or "no report").splitlines()[-1]}
        report = read(file)
    rows = {}
    for r in report["rows"]:
        ours = r["peers"].get(r["main"])
        rows[title(r)] = (ours["seconds"], ours["peak"] or 0) if ours else str(r["errors"])
    return rows


def compared(turns, threshold):
    """Rows (case, before, after, ratios of time, ratios of memory, verdict) from the turns
    [(rows before, rows after), ...] of `measured`."""
    names = dict.fromkeys(name for turn in turns for rows in turn for name in rows)
    for name in names:
        figures = [[rows.get(name, "is not there") for rows in turn] for turn in turns]
        texts = [f for turn in figures for f in turn if isinstance(f, str)]
        if texts:
            yield name, "", "", "", "", f"failed: {texts[0]}"
            continue
        times = [after[0] / before[0] for before, after in figures]
        peaks = [after[1] / before[1] if before[1] else 1.0 for before, after in figures]
        words = ["slower"] * (min(times) > 1 + threshold) + ["more"] * (min(peaks) > 1 + threshold)
        yield (
            name,
            *(", ".join(ms(turn[i][0]) for turn in figures) for i in (0, 1)),
            *(", ".join(f"{ratio:.2f}" for ratio in ratios) for ratios in (times, peaks)),
            ", ".join(words),
        )


def options(argv):
    p = argparse.ArgumentParser(
        prog="python -m benchmarks pair",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("before", type=Path, help="the folder of a checkout")
    p.add_argument("after", type=Path, help="the folder of another")
    p.add_argument("--models", nargs="*", metavar="NAME", help="all, if none is named")
    p.add_argument("--ops", nargs="*", metavar="NAME", help="all, if none is named")
    p.add_argument("--sizes", nargs="+", metavar="SIZE", help="by default small, medium, large")
    p.add_argument("--repeats", type=int, default=2, help="turns of each (2)")
    p.add_argument("--rounds", type=int, default=7, help="rounds in each turn (7)")
    p.add_argument("--seconds", type=float, default=0.2, help="time of a round (0.2)")
    p.add_argument("--threads", type=int, default=usable())
    p.add_argument("--threshold", type=float, default=0.05, help="a change that is smaller is none")
    o = p.parse_args(argv)
    for folder in (o.before, o.after):
        if not (folder / "benchmarks" / "__main__.py").is_file():
            p.error(f"{folder} is no checkout of this project: it has no benchmarks/__main__.py")
    if o.models is None and o.ops is None:
        o.models, o.ops = [], []
    o.cases = []
    for kind, given, known in (("--models", o.models, MODELS), ("--ops", o.ops, OPERATIONS)):
        for name in given or ():
            if name not in known:
                p.error(f"there is no {name!r}; there are {', '.join(known)}")
        o.cases += [(kind, name) for name in (given or known if given is not None else ())]
    if min(o.repeats, o.rounds, o.threads) < 1 or not o.seconds > 0:
        p.error("--repeats, --rounds, --threads and --seconds must be above 0")
    return o


def main(argv):
    o = options(argv)
    head = environment(o.threads, "float32", {}, load())
    print(f"before: {commit(o.before)}; after: {commit(o.after)}")
    print(
        f"{head['processor']}, {o.threads} threads, float32; Python {head['python']}; "
        f"{o.repeats} turns of {o.rounds} rounds of {o.seconds} s; medians\n"
    )
    names = ("", "before, ms", "after, ms", "after / before", "memory", "")
    lines, worse, count = markdown([names, names]).splitlines()[:2], 0, 0
    print("\n".join(lines), flush=True)
    try:
        for kind, name in o.cases:
            turns = [
                [measured(folder, kind, name, o) for folder in (o.before, o.after)]
                for _ in range(o.repeats)
            ]
            for row in compared(turns, o.threshold):
                print("| " + " | ".join(row) + " |", flush=True)
                count, worse = count + 1, worse + bool(row[-1])
    except ReportError as e:
        print(f"python -m benchmarks pair: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"\n{worse} of {count} got worse by more than {o.threshold:.0%} in every turn")
    return 1 if worse else 0
