"""What got slower, or takes more memory, from one report to another.

    python -m benchmarks compare A.json B.json

Each pass of a run, with its own processes, gives one value. Whether those of B are above those of
A is a question for a test (Welch's t, of the logarithms); with many rows some would seem so by
chance, so the share of false alarms is held below 5 % (Benjamini and Hochberg). A change that is
smaller than --threshold is none, of memory one below --floor. What A has and B has not, because it
failed there or was not asked for, is listed too. If the machine itself was slower, so were the
peers: with --relative the ratios to a peer are compared instead of seconds. Ends with status 1 if
something got slower, takes more, or failed; with 2 if a file is no report.
"""

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from . import growth
from .figure import Figure
from .report import Report, ReportError, passes, read, title
from .tables import markdown, ms

RISE = 0.2  # of a fitted exponent: less is noise
ALARM = 0.05  # the share of false alarms
MB = 1e6


class Values(NamedTuple):
    """What was found in each process, and how it is written."""

    values: list[float]
    form: Callable[[float], str] = ms

    @property
    def text(self) -> str:
        return self.form(math.exp(np.log(self.values).mean()))


def values(report: Report, relative: str | None = None) -> dict[str, Values | str]:
    """{what: Values, or the text of an error} of all times that a report has; with `relative`, the
    name of a peer, in units of its."""
    found = {}
    for r in report["rows"]:
        name, ours = title(r), passes(r, r["main"])
        if not ours:
            found[name] = r["errors"].get(r["main"], "was not measured")
        elif not relative:
            found[name] = Values([one.seconds for one in ours])
        elif other := passes(r, relative):
            found[name] = Values([a.ratio(b) for a, b in zip(ours, other)], "{:.3g}".format)
    if relative:
        return found
    for name, t in report.get("imports", {}).items():
        found[f"import {name}"] = Values(t["values"])
    for t in report.get("training", ()):
        found[f"train.py {t['preset']} / bare"] = Values(t["values"], "{:.3f}".format)
    return found


def memories(report: Report) -> dict[str, float]:
    """{what: bytes}."""
    ours = {title(r): r["peers"].get(r["main"], {}).get("peak") for r in report["rows"]}
    return {name + ", memory": peak for name, peak in ours.items() if peak}


def exponents(report: Report) -> dict[str, float]:
    """{what: fitted exponent}."""
    return {
        f"growth of {f['case']} {f['size']}, {f['peer']}, {what}": f[what]
        for f in growth.fits(report["rows"])
        for what in ("time", "memory")
        if f[what] is not None
    }


def change(before: Sequence[float], after: Sequence[float]) -> tuple[Figure, float | None]:
    """(the Figure of after / before, the probability that two such lists of values come of the same
    program); None for the probability where one of them has a single value."""
    from scipy import stats

    a, b = np.log(before), np.log(after)
    ratio = math.exp(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:
        return Figure(ratio), None
    if not a.std() + b.std() > 1e-9:  # values without any spread, of which t knows nothing
        return Figure(ratio, ratio, ratio), float(abs(b.mean() - a.mean()) < 1e-9)
    with warnings.catch_warnings():  # of values of which some are all the same
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_ind(b - a.mean(), a - a.mean(), equal_var=False)
    low, high = np.exp(test.confidence_interval())
    return Figure(ratio, float(low), float(high)), float(test.pvalue)


def adjusted(probabilities: Sequence[float | None]) -> list[float | None]:
    """Those of a list, None among them, as they count beside one another."""
    from scipy import stats

    known = [i for i, p in enumerate(probabilities) if p is not None]
    found = list(probabilities)
    if known:
        for i, p in zip(known, stats.false_discovery_control([probabilities[i] for i in known])):
            found[i] = float(p)
    return found


def judged(
    pairs: Mapping[str, tuple[Values, Values]], threshold: float
) -> dict[str, tuple[Figure, str]]:
    """{what: (the Figure of after / before, the verdict)} of {what: (Values before, and after)}."""
    changes = {what: change(x.values, y.values) for what, (x, y) in pairs.items()}
    chance = adjusted([p for _, p in changes.values()])
    found = {}
    for (what, (ratio, _)), p in zip(changes.items(), chance):
        word = ""
        if p is None:
            word = "one pass: not tested"
        elif p < ALARM and abs(math.log(ratio.value)) > math.log(1 + threshold):
            word = "slower" if ratio.value > 1 else "faster"
        found[what] = ratio, word
    return found


def compared(
    a: Report, b: Report, threshold: float, floor: float, relative: str | None = None
) -> Iterator[tuple[str, ...]]:
    """Rows of a table (what, before, after, after / before, verdict)."""
    before, after = values(a, relative), values(b, relative)
    both = {
        what: (x, after[what])
        for what, x in before.items()
        if not isinstance(x, str) and not isinstance(after.get(what, ""), str)
    }
    verdicts = judged(both, threshold)
    for what, x in before.items():
        if what in both:
            ratio, word = verdicts[what]
            yield what, x.text, after[what].text, str(ratio), word
        elif not isinstance(x, str):  # else it failed before, too
            why = after.get(what, "is not there")
            yield what, x.text, why, "", "failed" if what in after else "missing"
    if relative:
        return
    yield from memory_rows(a, b, threshold, floor)
    before, after = exponents(a), exponents(b)
    for what in [name for name in before if name in after]:
        p, q = before[what], after[what]
        word = "slower" if q > p + RISE else "faster" if q < p - RISE else ""
        yield what, f"{p:.2f}", f"{q:.2f}", "", word


def memory_rows(a: Report, b: Report, threshold: float, floor: float) -> Iterator[tuple[str, ...]]:
    """Those of the table that are of memory, which hardly varies: there is no test, but a floor."""
    before, after = memories(a), memories(b)
    for what in [name for name in before if name in after]:
        x, y, word = before[what], after[what], ""
        if abs(y - x) > floor * MB and abs(math.log(y / x)) > math.log(1 + threshold):
            word = "more" if y > x else "less"
        yield what, f"{x / MB:.1f} MB", f"{y / MB:.1f} MB", f"{y / x:.2f}", word


def main(argv: Sequence[str]) -> int:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks compare", description=__doc__.partition("\n")[0]
    )
    p.add_argument("before", help="a report, as --json keeps it")
    p.add_argument("after", help="another")
    p.add_argument(
        "--threshold",
        type=float,
        default=0.05,
        metavar="X",
        help="a change that is smaller is none (0.05: 5 %%)",
    )
    p.add_argument(
        "--floor",
        type=float,
        default=1.0,
        metavar="X",
        help="megabytes: a smaller change of memory is none (1)",
    )
    p.add_argument(
        "--relative", metavar="PEER", help="compare the ratios to this peer, not seconds"
    )
    o = p.parse_args(argv)

    def refuse(why: object) -> int:
        print(f"python -m benchmarks compare: {why}", file=sys.stderr)
        return 2

    try:
        a, b = read(o.before), read(o.after)
    except (OSError, ReportError) as e:
        return refuse(e)
    known = sorted(
        {name for r in (*a["rows"], *b["rows"]) for name in r["peers"]}
        - {r["main"] for r in a["rows"]}
    )
    if o.relative and o.relative not in known:
        return refuse(
            f"there is no peer {o.relative!r} in them; there are {', '.join(known) or 'none'}"
        )
    for name in ("processor", "gpu", "threads", "precision"):
        if (was := a["environment"][name]) != (now := b["environment"][name]):
            print(f"not the same {name}: {was}, then {now}")
    rows = list(compared(a, b, o.threshold, o.floor, o.relative))
    if all(row[-1] == "missing" for row in rows):
        return refuse("the two have nothing in common")
    print(markdown([["", "before", "after", "after / before", ""], *rows]))
    for path, r in ((o.before, a), (o.after, b)):
        if marked := [title(row) for row in r["rows"] if row["marks"]]:
            print(f"marked in {path}: {', '.join(marked)}")
    worse = [row for row in rows if row[-1] in ("slower", "more", "failed")]
    print(f"{len(worse)} of {len(rows)} got worse by more than {o.threshold:.0%}")
    return 1 if worse else 0
