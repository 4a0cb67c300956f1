"""A report: what a run measured, as it is kept in a file.

report.schema.json describes it. The rows hold every turn: run > pass > round > turn; the figures
beside them follow from these.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from nanoautograd.checkpoint import write_whole

from .case import Case
from .clock import Pass
from .figure import Figure, figure
from .quiet import Turn, busy_beside
from .registry import ROOFLINE

Row = dict[str, Any]
Report = dict[str, Any]
SCHEMA = 2  # the version of what is kept
DESCRIPTION = Path(__file__).with_name("report.schema.json")


# --------------------------------------------------------------------------------------------- rows


def row(name: str, size: str, precision: str, case: Case, main: str, kind: str) -> Row:
    """A dict, as it is kept, of a case that no pass has measured yet. main: the peer that is ours;
    kind: "model", "operation", or the size that is changed in a sweep."""
    work = case.work()
    return {
        "case": name,
        "size": size,
        "precision": precision,
        "kind": kind,
        "sizes": case.sizes,
        "main": main,
        "flops": work.flops,
        "bytes": work.moved * (8 if precision == "float64" else 4),
        "items": list(case.items) if case.items else None,
        "passes": 0,
        "peers": {},
        "errors": {},
        "marks": [],
    }


def add(row: Row, measured: Mapping[str, Pass], errors: Mapping[str, str]) -> None:
    """Add a pass to a row: {peer: Pass}, {peer: error}. Who fails once has an error, no time."""
    row["passes"] += 1
    row["errors"] |= errors
    for name, one in measured.items():
        kept = row["peers"].setdefault(name, {"passes": []})
        kept["first result"] = one.prints[0][0] if one.prints and one.prints[0] else None
        kept["passes"].append({"peak": one.peak, "turns": [asdict(t) for t in one.turns]})
    for name in row["errors"]:
        row["peers"].pop(name, None)
    summarise(row)


def passes(row: Row, name: str) -> list[Pass]:
    """The Passes of a peer in a row; empty where it has none."""
    return [
        Pass([Turn(**t) for t in p["turns"]], p["peak"])
        for p in row["peers"].get(name, {"passes": []})["passes"]
    ]


def summarise(row: Row) -> None:
    """Beside the turns, the figures that follow from them."""
    of = {name: passes(row, name) for name in row["peers"]}
    ours = of.get(row["main"])
    for name, found in of.items():
        p, peaks = row["peers"][name], [one.peak for one in found if one.peak is not None]
        p["seconds"] = list(figure([one.seconds for one in found]))
        p["peak"] = median(peaks) if peaks else None
        wall = sum(t.wall for one in found for t in one.turns)
        p["threads"] = round(sum(t.own for one in found for t in one.turns) / wall, 2)
        if ours and found is not ours:
            p["ratio"] = list(figure([a.ratio(b) for a, b in zip(ours, found)]))
    row["marks"] = marks(row)


def marks(row: Row) -> list[str]:
    """What is to be known of a row before it is believed, in a few words each."""
    found = []
    turns = [t for p in row["peers"].values() for one in p["passes"] for t in one["turns"]]
    wall, others = (sum(t[name] for t in turns) for name in ("wall", "others"))
    if disturbed := sum(bool(t["disturbed"]) for t in turns):
        found.append(f"disturbed: {disturbed} of {len(turns)} turns")
    elif busy_beside(others, wall):  # too little to be seen in a single turn
        found.append(f"disturbed: others used {others / wall:.2f} processors")
    wide = [name for name, p in row["peers"].items() if compared(row, name).is_wide]
    if wide:
        found.append("wide: " + ", ".join(wide))
    share = roofline_of(row)[1]
    if share is not None and share > 1:
        found.append(f"above the limit: {share:.0%}")
    return found


def compared(row: Row, name: str) -> Figure:
    """The Figure by which a peer is compared: the ratio to it, or of ours the seconds."""
    p = row["peers"][name]
    return Figure(*p.get("ratio", p["seconds"]))


def seconds(row: Row, name: str) -> Figure | None:
    """The Figure of a peer; None where it has none."""
    p = row["peers"].get(name)
    return p and Figure(*p["seconds"])


def roofline_of(row: Row) -> tuple[float, float | None]:
    """(seconds that the products and the copy of a row take, the share of ours that this is, or
    None)."""
    limit = sum(seconds(row, name).value for name in row["peers"] if is_roofline(name))
    ours = seconds(row, row["main"])
    return limit, (limit / ours.value if ours and limit else None)


def is_roofline(peer: str) -> bool:
    return peer.partition("@")[0] in ROOFLINE


def title(row: Row) -> str:
    """What a row is called in tables and pictures."""
    precision = row["precision"]
    return f"{row['case']} {row['size']}" + f" {precision}" * (precision != "float32")


def columns(rows: Iterable[Row], wanted: Callable[[str], bool]) -> list[str]:
    """The peers beside ours that occur in the rows."""
    names = dict.fromkeys(name for r in rows for name in r["peers"] if name != r["main"])
    return [name for name in names if wanted(name)]


def quietness(rows: Iterable[Row]) -> dict[str, Any]:
    """{"turns", "disturbed", "again": turns that were taken again, "others": processors that others
    used in the mean} of the turns in rows."""
    turns = [
        t for r in rows for p in r["peers"].values() for one in p["passes"] for t in one["turns"]
    ]
    wall = sum(t["wall"] for t in turns)
    return {
        "turns": len(turns),
        "disturbed": sum(bool(t["disturbed"]) for t in turns),
        "again": sum(t["again"] for t in turns),
        "others": round(max(0.0, sum(t["others"] for t in turns)) / wall, 3) if wall else None,
    }


# -------------------------------------------------------------------------------------------- files


class ReportError(Exception):
    """A file is no report."""


@cache
def validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(DESCRIPTION.read_text(encoding="utf-8")))


def save(report: Report, path: str | Path) -> None:
    """Into a file, which holds at every instant either what it held or all of the report."""
    write_whole(Path(path), (json.dumps(report, allow_nan=False) + "\n").encode())


def refuse(word: str) -> None:
    raise ValueError(f"{word} is no figure")


def read(path: str | Path) -> Report:
    """The report in a file. Raises ReportError where it is none, OSError."""
    from jsonschema.exceptions import best_match

    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as e:
        raise ReportError(f"{path} is no output of python -m benchmarks --json: {e}") from None
    if wrong := best_match(validator().iter_errors(report)):
        where = "".join(f"[{key!r}]" for key in wrong.absolute_path)
        raise ReportError(
            f"{path} is no output of python -m benchmarks --json, version {SCHEMA}: "
            f"{where}: {wrong.message[:200]}"
        )
    return report
