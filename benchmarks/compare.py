"""What got slower, or takes more memory, from one report to another.

    python -m benchmarks compare A.json B.json

Times are compared by their medians. One counts as slower where that of B is above that of A by more
than --threshold and the quartiles of both do not overlap; memory has no quartiles. What A has and B
has not, because it failed there or was not asked for, is listed too. If the machine itself was
slower, so were the peers: with --relative the ratios to a peer are compared instead of seconds.
Ends with status 1 if something got slower, takes more, or failed; with 2 if a file is no report.
"""

import argparse
import sys
from typing import NamedTuple

from .report import ReportError, markdown, ms, read, title

RISE = 0.2  # of a fitted exponent: less is noise


class Figure(NamedTuple):
    """A number, the bounds that its noise has, and how it is written."""

    value: float
    low: float
    high: float
    form: object = ms


def figures(report, relative=None):
    """{what: Figure, or the text of an error} of all that a report has; with `relative`, the name
    of a peer, times of cases are in units of its."""
    found = {}
    for r in report["rows"]:
        name, ours = title(r), r["peers"].get(r["main"])
        if ours is None:
            found[name] = r["errors"].get(r["main"], "was not measured")
            continue
        p, kind = (r["peers"].get(relative), "ratio ") if relative else (ours, "")
        if p:
            form = "{:.3g}".format if relative else ms
            found[name] = Figure(p[kind.strip() or "seconds"], *p[kind + "quartiles"], form)
        if ours["peak"] and not relative:
            found[name + ", memory"] = Figure(*[ours["peak"]] * 3, lambda n: f"{n / 1e6:.1f} MB")
    if relative:
        return found
    for name, t in (report.get("imports") or {}).items():
        found[f"import {name}"] = Figure(t["seconds"], *t["quartiles"])
    for t in report.get("training") or ():
        found[f"train.py {t['preset']} / bare"] = Figure(
            t["ratio"], *t["quartiles"], "{:.3f}".format
        )
    return found


def exponents(report):
    """{what: fitted exponent}."""
    return {
        f"{f['case']} {f['size']}, {f['peer']}, {what}": f[what]
        for f in report.get("growth") or ()
        for what in ("time", "memory")
        if f[what] is not None
    }


def verdict(x, y, threshold):
    """Of the Figures before and after: "slower", "faster" or ""."""
    if y.low > x.high and y.value > x.value * (1 + threshold):
        return "slower"
    return "faster" if y.high < x.low and y.value < x.value * (1 - threshold) else ""


def compared(a, b, threshold, relative=None):
    """Rows of a table (what, before, after, after / before, verdict)."""
    before, after = figures(a, relative), figures(b, relative)
    for what, x in before.items():
        y = after.get(what, "is not there")
        if isinstance(x, str):
            continue  # failed before
        if isinstance(y, str):
            yield what, x.form(x.value), y, "", "failed" if what in after else "missing"
            continue
        word = verdict(x, y, threshold)
        if what.endswith(", memory"):
            word = {"slower": "more", "faster": "less"}.get(word, "")
        yield what, x.form(x.value), y.form(y.value), f"{y.value / x.value:.2f}", word
    before, after = (exponents(r) if not relative else {} for r in (a, b))
    for what in before.keys() & after.keys():
        p, q = before[what], after[what]
        yield (
            f"growth of {what}",
            f"{p:.2f}",
            f"{q:.2f}",
            "",
            "slower" if q > p + RISE else "faster" if q < p - RISE else "",
        )


def main(argv):
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
        "--relative", metavar="PEER", help="compare the ratios to this peer, not seconds"
    )
    o = p.parse_args(argv)

    def refuse(why):
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
    rows = list(compared(a, b, o.threshold, o.relative))
    if all(row[-1] == "missing" for row in rows):
        return refuse("the two have nothing in common")
    print(markdown([["", "before", "after", "after / before", ""], *rows]))
    worse = [row for row in rows if row[-1] in ("slower", "more", "failed")]
    print(f"{len(worse)} of {len(rows)} got worse by more than {o.threshold:.0%}")
    return 1 if worse else 0
