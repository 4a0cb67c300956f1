"""How the figures went, over the reports of several runs.

    python -m benchmarks history A.json B.json C.json --plot history.png

A column is a report, in the order in which they are given, under its commit and date; a cell the
milliseconds of ours with their interval. `last / first` is tested as `compare` tests, and says
which got slower or faster. With --relative the ratios to a peer are shown in place of the
milliseconds: they say more where the reports come from different machines.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .compare import Values, judged, values
from .figure import figure
from .report import Report, ReportError, read
from .tables import markdown

Rows = dict[str, list[Values | None]]  # {what: one a report}


def label(report: Report) -> str:
    """What a column is called: commit and day."""
    e = report["environment"]
    return f"{e['commit'] or 'no commit'} {e['date'][:10]}"


def history(reports: Sequence[Report], relative: str | None = None) -> Rows:
    """{what: [the Values in each report, or None]} of all that at least one has."""
    found = [values(r, relative) for r in reports]
    names = dict.fromkeys(name for one in found for name in one)
    of = {
        name: [None if isinstance(one.get(name, ""), str) else one[name] for one in found]
        for name in names
    }
    return {name: row for name, row in of.items() if any(row)}


def table(
    reports: Sequence[Report], found: Rows, threshold: float, relative: str | None = None
) -> str:
    """Markdown."""
    ends = {name: (row[0], row[-1]) for name, row in found.items() if row[0] and row[-1]}
    verdicts = judged(ends, threshold)
    unit = 1 if relative else 1e3
    rows = [["", *map(label, reports), "last / first", ""]]
    for name, row in found.items():
        cells = [str(unit * figure(x.values)) if x else "" for x in row]
        rows.append([name, *cells, *map(str, verdicts.get(name, ("", "")))])
    return markdown(rows)


def agreeing(found: Rows) -> tuple[int, int]:
    """(how many rows, of how many that all reports have) whose intervals overlap, those of any two
    reports: of runs of one commit it should be nearly all."""
    rows = [[figure(x.values) for x in row] for row in found.values() if all(row)]
    rows = [row for row in rows if all(f.low is not None for f in row)]
    return sum(max(f.low for f in row) <= min(f.high for f in row) for row in rows), len(rows)


def draw(reports: Sequence[Report], found: Rows, path: str) -> None:
    """A picture: each row over the reports, in units of its first figure, with intervals."""
    from .pictures import history as picture
    from .pictures import save

    rows = {name: [x and figure(x.values) for x in row] for name, row in found.items()}
    save(picture([label(r) for r in reports], rows), path)


def main(argv: Sequence[str]) -> int | None:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks history", description=__doc__.partition("\n")[0]
    )
    p.add_argument("reports", nargs="+", metavar="FILE", help="reports, as --json keeps them")
    p.add_argument("--relative", metavar="PEER", help="the ratios to this peer, not milliseconds")
    p.add_argument(
        "--threshold",
        type=float,
        default=0.05,
        metavar="X",
        help="a change that is smaller is none (0.05: 5 %%)",
    )
    p.add_argument(
        "--plot", metavar="FILE", help="draw it, into a file that ends with .png or .svg"
    )
    o = p.parse_args(argv)
    if o.plot and Path(o.plot).suffix not in (".png", ".svg"):
        p.error(f"--plot {o.plot}: the name must end with .png or .svg")
    try:
        reports = [read(path) for path in o.reports]
        found = history(reports, o.relative)
        if not found:
            raise ReportError(
                f"no report has a figure{' beside ' + o.relative if o.relative else ''}"
            )
        machines = {r["environment"]["processor"]: path for path, r in zip(o.reports, reports)}
        if len(machines) > 1:
            print("not the same processor:", ", ".join(f"{p}: {m}" for m, p in machines.items()))
        print(table(reports, found, o.threshold, o.relative))
        print("the intervals of any two overlap in {} of {} rows".format(*agreeing(found)))
        if o.plot:
            draw(reports, found, o.plot)
            print("picture:", o.plot)
    except (OSError, ReportError) as e:
        print(f"python -m benchmarks history: {e}", file=sys.stderr)
        return 2
