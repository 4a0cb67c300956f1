"""A report as tables, in Markdown."""

from . import crossover, growth
from .figure import Figure, digits
from .report import columns, is_roofline, quietness, roofline_of, seconds, title

HEADINGS = {"model": "Whole steps", "operation": "Operations"}


def tables(report):
    """All that a report says."""
    parts = [described(report)]
    for kind, heading in HEADINGS.items():
        rows = [r for r in report["rows"] if r["kind"] == kind]
        if rows:
            parts += [
                f"{heading}, milliseconds (in parentheses ours / peer: below 1 ours is faster; "
                "± the interval)",
                times(rows),
                f"{heading}, peak memory in MB (in parentheses ours / peer)",
                memory(rows),
            ]
    errors = report["errors"] + [
        f"{title(r)}, {peer}: {text}" for r in report["rows"] for peer, text in r["errors"].items()
    ]
    if errors:
        parts.append("No figure:\n" + "\n".join(f"- {e}" for e in errors))
    if report["absent"]:
        parts.append(
            "Not here:\n" + "\n".join(f"- {p}: {why}" for p, why in report["absent"].items())
        )
    for name, heading, table in (
        ("imports", "Import, milliseconds", imports),
        ("training", "train.py beside the bare step, milliseconds a step", training_steps),
        (
            "time to loss",
            "Training until the validation loss is reached (time_to_loss.py)",
            time_to_loss,
        ),
    ):
        if report.get(name):
            parts += [heading, table(report[name])]
    if fits := growth.fits(report["rows"]):
        parts += ["Growth: seconds and bytes as a + b nᵖ of one size n", grown(fits)]
    if found := crossover.crossovers(report["rows"]):
        parts += ["Where CuPy overtakes NumPy", overtaken(found)]
    return "\n\n".join(parts) + "\n"


def described(report):
    """The environment, how the run measured, and how quiet the machine was, in a few lines."""
    e, s, versions, blas = report["environment"], report["settings"], {}, {}
    for name, library in e["libraries"].items():
        versions |= library["versions"]
        if not is_roofline(name):
            blas.setdefault(library["blas"], next(iter(library["versions"])))
    quick = "A quick run, for a first look: its intervals are too narrow. " if s["quick"] else ""
    q = quietness(report["rows"])
    return (
        f"{e['gpu']['name'] + ', ' if e['gpu'] else ''}{e['processor']}, {e['threads']} of "
        f"{e['processors']} processors, {e['precision']}; Python {e['python']}, "
        + ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))
        + "; BLAS: "
        + ", ".join(f"{name} of {library}" for name, library in blas.items())
        + f"; commit {e['commit']}, {e['date']}, {e['seconds']} seconds in all\n\n"
        f"{quick}{number(s['passes'], 'pass')}, each with new processes, of "
        f"{number(s['rounds'], 'round')}. Others "
        f"used {e['others before']} processors before the run"
        + (f" and {q['others']:.2f} in its turns" if q["turns"] else "")
        + f"; load {e['load before']} before, {e['load during']} at most; {q['disturbed']} of "
        f"{q['turns']} turns were disturbed, and {q['again']} taken again."
    )


def number(n, word):
    """As 1 pass, 2 passes, 2 rounds."""
    return f"{n} {word}" if n == 1 else f"{n} {word}{'es' if word.endswith('s') else 's'}"


def times(rows):
    """Time of ours, ratio to each peer, share of the roofline, rate, what is to be known."""
    peers = columns(rows, lambda name: not is_roofline(name))
    table = [["case", "ours", *peers, "products", "roofline", "reached", "rate", "notes"]]
    for r in rows:
        ours = seconds(r, r["main"])
        if ours is None:
            continue
        products = sum(seconds(r, n).value for n in r["peers"] if n.startswith("products"))
        least, share = roofline_of(r)
        table.append(
            [
                title(r),
                str(1e3 * ours),
                *(beside(r["peers"].get(name)) for name in peers),
                f"{ms(products)} ({products / ours.value:.0%})" if products else "",
                ms(least) if least else "",
                f"{share:.0%}" if share else "",
                f"{r['items'][0] / ours.value:,.0f} {r['items'][1]}/s" if r["items"] else "",
                "; ".join(r["marks"]),
            ]
        )
    return markdown(table)


def beside(peer):
    """A peer's cell: its milliseconds, and ours / peer."""
    if peer is None:
        return ""
    return f"{ms(peer['seconds'][0])} ({Figure(*peer['ratio'])})" if "ratio" in peer else ""


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


def imports(found):
    return markdown(
        [
            ["import", "ms", "over numpy"],
            *(
                [name, str(1e3 * Figure(*f["seconds"])), str(Figure(*f["ratio"]))]
                for name, f in found.items()
            ),
        ]
    )


def training_steps(found):
    return markdown(
        [
            ["preset", "train.py", "bare", "train.py / bare"],
            *(
                [
                    f["preset"],
                    *(str(1e3 * Figure(*f[what])) for what in ("train", "bare")),
                    str(Figure(*f["ratio"])),
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


def grown(fits):
    return markdown(
        [
            ["case", "size", "values", "peer", "p of time", "p of memory", "notes"],
            *(
                [
                    f["case"],
                    f["size"],
                    ", ".join(map(str, f["values"])),
                    f["peer"] + " (ours)" * (f["peer"] in ("numpy", "cupy")),
                    *("" if f[what] is None else f"{f[what]:.2f}" for what in ("time", "memory")),
                    f"marked: {f['marked']} of {len(f['values'])} points" if f["marked"] else "",
                ]
                for f in fits
            ),
        ]
    )


def overtaken(found):
    return markdown([["operation", "numbers"], *([c["case"], c["text"]] for c in found)])


def ms(seconds):
    """Milliseconds with three digits."""
    return digits(1e3 * seconds)


def markdown(rows):
    """A table, its head first, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths)) + " |" for cells in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
