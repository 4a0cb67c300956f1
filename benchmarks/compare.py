"""What got slower, or takes more memory, from one report to another.

    python -m benchmarks compare A.json B.json

A row is compared by its medians. It counts as slower where that of B is above that of A by more
than --threshold and the quartiles of both do not overlap. If the machine itself was slower, so were
the peers: with --relative the ratios to a peer are compared instead of seconds. Ends with status 1
if something got slower.
"""

import argparse

from .report import ReportError, markdown, ms, read, title


def changes(a, b, relative=None):
    """(title, seconds in A, seconds in B, B / A, whether the quartiles are apart) of all rows
    that are in both; with `relative`, the name of a peer, seconds are in units of its."""
    def key(r):
        return title(r), str(r["sizes"])

    before = {key(r): r for r in a["rows"]}
    for r in b["rows"]:
        old = before.get(key(r))
        ours = r["peers"].get(r["main"])
        theirs = old and old["peers"].get(r["main"])
        if not (ours and theirs):
            continue
        if relative:
            pair = old["peers"].get(relative), r["peers"].get(relative)
            if not all(pair):
                continue
            (x, (xl, xh)), (y, (yl, yh)) = ((p["ratio"], p["ratio quartiles"]) for p in pair)
        else:
            (x, (xl, xh)), (y, (yl, yh)) = ((p["seconds"], p["quartiles"]) for p in (theirs, ours))
        yield title(r), x, y, y / x, yl > xh or yh < xl


def main(argv):
    p = argparse.ArgumentParser(prog="python -m benchmarks compare",
                                description=__doc__.partition("\n")[0])
    p.add_argument("before")
    p.add_argument("after")
    p.add_argument("--threshold", type=float, default=0.05,
                   help="a change that is smaller is none (0.05: 5 %%)")
    p.add_argument("--relative", metavar="PEER",
                   help="compare the ratios to this peer, not seconds")
    o = p.parse_args(argv)
    try:
        a, b = read(o.before), read(o.after)
    except (OSError, ReportError) as e:
        return f"python -m benchmarks compare: {e}"
    for name in ("processor", "gpu", "threads", "precision"):
        if (was := a["environment"][name]) != (now := b["environment"][name]):
            print(f"not the same {name}: {was}, then {now}")
    table, slower = [["case", "before", "after", "after / before", ""]], 0
    for row, x, y, ratio, apart in changes(a, b, o.relative):
        verdict = ""
        if apart and ratio > 1 + o.threshold:
            verdict, slower = "slower", slower + 1
        elif apart and ratio < 1 - o.threshold:
            verdict = "faster"
        form = (lambda v: f"{v:.3g}") if o.relative else ms
        table.append([row, form(x), form(y), f"{ratio:.2f}", verdict])
    if len(table) == 1:
        return "python -m benchmarks compare: the two have no row in common"
    print(markdown(table))
    print(f"{slower} of {len(table) - 1} got slower by more than {o.threshold:.0%}")
    return 1 if slower else 0
