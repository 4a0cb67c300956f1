"""What was measured, as JSON and as tables."""

import json
import math
import os
import platform
import subprocess
from pathlib import Path
from statistics import median

from nanoautograd.checkpoint import write_whole

from .cases import MODELS
from .clock import ROOT
from .registry import ROOFLINE


def environment(threads, precision, libraries, before):
    """What the figures depend on. libraries: {peer: what its process says of itself}; before: the
    load before the run."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": threads,
        "precision": precision,
        "gpu": gpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit(),
        "load before": before,
        "libraries": libraries,
    }


def commit(folder=ROOT):
    """Of this project, with a + where files are others; None outside of its repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=10", "--dirty=+"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
    except OSError:  # no git
        return None
    return done.stdout.strip() or None


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = {name.strip(): value.strip() for name, _, value in (a.partition(":") for a in lines)}
    name = found.get("model name", platform.machine())
    best = [flag for flag in ("avx512f", "avx2") if flag in found.get("flags", "").split()][:1]
    return " ".join([name, *best])


def usable():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load():
    """How many processes were running, on average over the last minute: others were at work too,
    or a run of these benchmarks had just ended."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def gpu():
    try:
        import cupy

        return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except Exception:  # no CuPy, no driver, no GPU: each has an error of its own
        return None


def row(name, size, precision, case, main, measured, errors):
    """What is kept of a case: a dict, as it goes to JSON."""
    work, ours = case.work(), measured.get(main)
    peers = {}
    for peer, m in measured.items():
        low, high = m.quartiles
        peers[peer] = {
            "seconds": m.median,
            "quartiles": [low, high],
            "peak": m.peak,
            "rounds": [median(r) for r in m.rounds],
            "first result": m.prints[0][0] if m.prints[0] else None,
        }
        if ours and m is not ours:
            ratio, spread = ours.ratio(m)
            peers[peer] |= {"ratio": ratio, "ratio quartiles": spread}
    number = 8 if precision == "float64" else 4
    return {
        "case": name,
        "size": size,
        "precision": precision,
        "sizes": case.sizes,
        "main": main,
        "flops": work.flops,
        "bytes": work.moved * number,
        "items": case.items,
        "peers": peers,
        "errors": errors,
    }


def roofline_of(row):
    """Seconds that the products and the copy of a row take, and the share of ours that this is."""
    seconds = sum(p["seconds"] for name, p in row["peers"].items() if is_roofline(name))
    main = row["peers"].get(row["main"])
    return seconds, (seconds / main["seconds"] if main else None)


def is_roofline(peer):
    return peer.partition("@")[0] in ROOFLINE


# ------------------------------------------------------------------------------------------- tables


def tables(report):
    """All that a report says, as Markdown."""
    parts = [described(report["environment"])]
    for heading, kind in (("Whole steps", True), ("Operations", False)):
        rows = [r for r in report["rows"] if (r["case"] in MODELS) == kind]
        if rows:
            parts += [
                heading + ", milliseconds (in parentheses ours / peer, the median of the "
                "rounds: below 1 ours is faster)",
                times(rows),
                heading + ", most memory in MB",
                memory(rows),
            ]
    errors = report.get("errors", []) + [
        f"{title(r)}, {peer}: {text}" for r in report["rows"] for peer, text in r["errors"].items()
    ]
    if errors:
        parts.append("No figure:\n" + "\n".join(f"- {e}" for e in errors))
    if report.get("absent"):
        parts.append(
            "Not here:\n" + "\n".join(f"- {p}: {why}" for p, why in report["absent"].items())
        )
    if report.get("imports"):
        parts += ["Import, milliseconds", imports(report["imports"])]
    if report.get("training"):
        parts += [
            "train.py beside the bare step, milliseconds a step",
            training_steps(report["training"]),
        ]
    if report.get("time to loss"):
        parts += [
            "Training until the validation loss is reached (time_to_loss.py)",
            time_to_loss(report["time to loss"]),
        ]
    if report.get("growth"):
        parts += ["Growth: seconds and bytes as a + b nᵖ of one size n", growth(report["growth"])]
    if report.get("crossover"):
        parts += ["Where CuPy overtakes NumPy", crossover(report["crossover"])]
    return "\n\n".join(parts) + "\n"


def described(e):
    """The environment in a few lines."""
    versions = {}
    for library in e["libraries"].values():
        versions |= library["versions"]
    blas = {
        f"{pool['internal_api']} {pool.get('version')}"
        for name, library in e["libraries"].items()
        for pool in library["pools"]
        if name in ("numpy", "torch") and pool["internal_api"] not in ("openmp", None)
    }
    return (
        f"{e['gpu'] + ', ' if e['gpu'] else ''}{e['processor']}, {e['threads']} of "
        f"{e['processors']} processors, {e['precision']}; Python {e['python']}, "
        + ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))
        + f"; BLAS: {', '.join(sorted(blas))}; {e['seconds']} seconds in all"
    )


def times(rows):
    """Time of ours with its quartiles, ratio to each peer, share of the roofline, rate."""
    peers = columns(rows, lambda name: not is_roofline(name))
    head = ["case", "ours", "quartiles", *peers, "products", "roofline", "reached", "rate"]
    table = [head]
    for r in rows:
        ours, cells = r["peers"].get(r["main"]), [title(r)]
        if ours is None:
            continue
        low, high = ours["quartiles"]
        cells += [ms(ours["seconds"]), f"{ms(low)} - {ms(high)}"]
        for name in peers:
            p = r["peers"].get(name)
            cells.append(f"{ms(p['seconds'])} ({p['ratio']:.2f})" if p else "")
        products = sum(
            p["seconds"] for name, p in r["peers"].items() if name.startswith("products")
        )
        least, share = roofline_of(r)
        cells += [
            f"{ms(products)} ({products / ours['seconds']:.0%})" if products else "",
            ms(least) if least else "",
            f"{share:.0%}" if least else "",
            f"{r['items'][0] / ours['seconds']:,.0f} {r['items'][1]}/s" if r["items"] else "",
        ]
        table.append(cells)
    return markdown(table)


def memory(rows):
    """Peak memory of ours and of each peer, and ours / peer."""
    peers = columns(rows, lambda name: not is_roofline(name))
    table = [["case", "ours", *peers]]
    for r in rows:
        ours = r["peers"].get(r["main"], {}).get("peak")
        if not ours:
            continue
        cells = [title(r), f"{ours / 1e6:.1f}"]
        for name in peers:
            peak = r["peers"].get(name, {}).get("peak")
            cells.append(f"{peak / 1e6:.1f} ({ours / peak:.2f})" if peak else "")
        table.append(cells)
    return markdown(table)


def imports(times):
    """times: {module: {"seconds", "quartiles", "ratio"}}."""
    return markdown(
        [
            ["import", "ms", "quartiles", "over numpy"],
            *(
                [name, ms(t["seconds"]), " - ".join(map(ms, t["quartiles"])), f"{t['ratio']:.2f}"]
                for name, t in times.items()
            ),
        ]
    )


def training_steps(found):
    return markdown(
        [
            ["preset", "train.py", "bare", "train.py / bare", "quartiles"],
            *(
                [
                    f["preset"],
                    ms(f["train"]),
                    ms(f["bare"]),
                    f"{f['ratio']:.3f}",
                    " - ".join(f"{q:.3f}" for q in f["quartiles"]),
                ]
                for f in found
            ),
        ]
    )


def time_to_loss(found):
    return markdown(
        [
            ["device", "precision", "steps", "seconds", "loss", "reached"],
            *(
                [
                    f["device"],
                    f["precision"],
                    f"{f['steps']:,}",
                    f"{f['seconds']:.1f}",
                    f"{f['loss']:.4f}",
                    "yes" if f["reached"] else "no",
                ]
                for f in found
            ),
        ]
    )


def growth(fits):
    return markdown(
        [
            ["case", "size", "values", "peer", "p of time", "p of memory"],
            *(
                [
                    f["case"],
                    f["size"],
                    ", ".join(map(str, f["values"])),
                    f["peer"] + " (ours)" * (f["peer"] in ("numpy", "cupy")),
                    *("" if f[what] is None else f"{f[what]:.2f}" for what in ("time", "memory")),
                ]
                for f in fits
            ),
        ]
    )


def crossover(found):
    return markdown([["operation", "numbers"], *([c["case"], c["text"]] for c in found)])


def title(row):
    """What a row is called in tables and pictures."""
    precision = row["precision"]
    return f"{row['case']} {row['size']}" + f" {precision}" * (precision != "float32")


def columns(rows, wanted):
    """The peers beside ours that occur in the rows."""
    names = dict.fromkeys(name for r in rows for name in r["peers"] if name != r["main"])
    return [name for name in names if wanted(name)]


def ms(seconds):
    """Milliseconds with three digits."""
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(rows):
    """A table, its head first, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths)) + " |" for cells in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------- JSON


def save(report, path):
    write_whole(Path(path), (json.dumps(report, indent=1) + "\n").encode())


class ReportError(Exception):
    """A file is no report."""


def read(path):
    """The report in a file. Raises ReportError where it is none, OSError."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        _check(report)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        what = f"there is no {e}" if isinstance(e, KeyError) else e
        raise ReportError(f"{path} is no output of python -m benchmarks --json: {what}") from None
    return report


def _check(report):
    """Raises an error where something that is read of a report is not there, or is no figure."""
    for name in ("processor", "gpu", "threads", "precision"):
        report["environment"][name]
    for r in report["rows"]:
        where = f"the row {r['case']} {r['size']} {r['precision']}"
        r["sizes"], r["main"], r["errors"].items()
        for name, p in r["peers"].items():
            _figure(f"{where}, {name}", p, "ratio" in p)
            if p["peak"] is not None:
                _positive(f"{where}, {name}, peak", p["peak"])
    for name, t in (report.get("imports") or {}).items():
        _figure(f"import {name}", t)
    for t in report.get("training") or ():
        _figure(f"training {t['preset']}", {"seconds": t["ratio"], **t})


def _figure(where, p, of_rounds=False):
    for name in ("", "ratio ") if of_rounds else ("",):
        _positive(f"{where}, {name}", p[name.strip() or "seconds"])
        low, high = p[name + "quartiles"]
        _positive(f"{where}, {name}quartiles", low), _positive(f"{where}, {name}quartiles", high)


def _positive(where, x):
    if type(x) not in (int, float) or not 0 <= x < math.inf or not x and "peak" not in where:
        raise ValueError(f"{where}: {x!r} is no figure")
