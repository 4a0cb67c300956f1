"""Pictures of a report: bars beside the peers, the roofline, growth."""

import math
from io import StringIO
from pathlib import Path

import matplotlib

from models.training.metrics import save_figure

from .figure import Figure
from .growth import fits
from .report import columns, is_roofline, roofline_of, seconds, title
from .tables import number

matplotlib.use("Agg")  # to files, not to a screen

from matplotlib import pyplot as plt  # noqa: E402


def draw(report, folder):
    """Draw what the report has figures for into PNG files; their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, figure in figures(report).items():
        pictures.append(folder / f"{name}.png")
        save(figure, pictures[-1])
    return pictures


def save(figure, path):
    save_figure(figure, path)
    plt.close(figure)


def vector(figure):
    """SVG, a text, which is the same for the same figure."""
    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()


def figures(report):
    """{name: figure of matplotlib} of all that the report has figures for."""
    e = report["environment"]
    where = f"{e['gpu']['name'] if e['gpu'] else e['processor']}, {number(e['threads'], 'thread')}"
    rows = [r for r in report["rows"] if r["main"] in r["peers"] and r["kind"] in KINDS]
    found = {
        "bars": rows and bars(rows),
        "curves": rows and curves(rows),
        "roofline": rows and roofline(rows),
        "growth": growth(fits(report["rows"])),
    }
    found = {name: figure for name, figure in found.items() if figure}
    for figure in found.values():
        figure.suptitle(f"{where}, {e['precision']}", fontsize=9)
    return found


KINDS = "model", "operation"


def colours(names):
    """A colour for each peer, the same in all pictures of a report."""
    return {name: f"C{i % 10}" for i, name in enumerate(names)}


def bars(rows):
    """The time of ours over that of each peer, with intervals; 1 is a line."""
    peers = columns(
        rows, lambda name: not is_roofline(name) and not name.startswith(("by hand", "manual"))
    )
    if not peers:
        return None
    figure, ax = plt.subplots(
        figsize=(8, 1.5 + 0.16 * len(rows) * (len(peers) + 1)), dpi=110, layout="constrained"
    )
    colour = colours(peers)
    step = 1 / (len(peers) + 1)
    for i, name in enumerate(peers):
        found = [(y, r["peers"][name]) for y, r in enumerate(rows) if name in r["peers"]]
        values, spread = spreads([Figure(*p["ratio"]) for _, p in found])
        ax.barh(
            [y + i * step for y, _ in found],
            [v - 1 for v in values],
            step,
            left=1,
            xerr=spread,
            color=colour[name],
            label=name,
            error_kw={"elinewidth": 0.8},
        )
    ax.axvline(1.0, color="black", linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yticks(
        [y + (len(peers) - 1) * step / 2 for y in range(len(rows))], [title(r) for r in rows]
    )
    ax.invert_yaxis()
    ax.set_xlabel("time of ours / time of the peer: left of the line ours is faster")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8)
    ax.grid(axis="x", alpha=0.3)
    return figure


def spreads(figures):
    """(values, [how far the intervals reach below and above them])."""
    values = [f.value for f in figures]
    below = [0.0 if f.low is None else max(0.0, f.value - f.low) for f in figures]
    above = [0.0 if f.high is None else max(0.0, f.high - f.value) for f in figures]
    return values, [below, above]


def curves(rows):
    """The time of a step over the numbers that it moves or computes, with intervals, of each case
    that was measured at several sizes."""
    cases = {}
    for r in rows:
        cases.setdefault((r["case"], r["precision"]), []).append(r)
    cases = {name: found for name, found in cases.items() if len(found) > 1}
    if not cases:
        return None
    peers = [rows[0]["main"], *columns(rows, lambda name: not is_roofline(name))]
    colour, n = colours(peers), min(4, len(cases))
    figure, panels = plt.subplots(
        -(-len(cases) // n),
        n,
        figsize=(3.2 * n + 1, 2.8 * -(-len(cases) // n) + 0.6),
        dpi=110,
        layout="constrained",
        squeeze=False,
    )
    for ax in panels.flat[len(cases) :]:
        ax.remove()
    for ax, ((case, precision), found) in zip(panels.flat, cases.items()):
        found.sort(key=lambda r: r["flops"] + r["bytes"])
        places = range(len(found))
        for name in peers:
            here = [i for i in places if name in found[i]["peers"]]
            values, spread = spreads([1e3 * seconds(found[i], name) for i in here])
            if here:
                ax.errorbar(
                    *(here, values, spread),
                    fmt="o-",
                    color=colour[name],
                    label=name,
                    markersize=3,
                    capsize=2,
                )
        if any(least := [1e3 * roofline_of(r)[0] for r in found]):
            ax.plot(places, least, "k--", linewidth=0.8, label="roofline")
        ax.set_title(case + f" {precision}" * (precision != "float32"), fontsize=9)
        ax.set(yscale="log", ylabel="ms" if ax in panels[:, 0] else "")
        ax.set_xticks(places, [r["size"] for r in found], fontsize=8)
        ax.grid(alpha=0.3)
    handles = {}
    for ax in panels.flat[: len(cases)]:
        handles |= dict(reversed(pair) for pair in zip(*ax.get_legend_handles_labels()))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, fontsize=8)
    return figure


def roofline(rows):
    """Floating-point operations a second over operations a byte, for rows with products; the roof
    is the rate of copying and the best rate of products in the same run. Each row's own roof, its
    products at their own shapes, is a tick above its points."""
    points, rates, bandwidths = [], [], []
    for r in rows:
        taken = {
            kind: [p["seconds"][0] for n, p in r["peers"].items() if n.startswith(kind)]
            for kind in ("products", "copy")
        }
        if not (r["flops"] and r["bytes"] and taken["products"] and taken["copy"]):
            continue
        rates.append(r["flops"] / taken["products"][0])
        bandwidths.append(r["bytes"] / taken["copy"][0])
        points.append((r["flops"] / r["bytes"], r))
    if not points:
        return None
    peers = [points[0][1]["main"], *columns([r for _, r in points], lambda n: not is_roofline(n))]
    figure, ax = plt.subplots(figsize=(8, 6), dpi=110, layout="constrained")
    colour = colours(peers)
    rate = max(rates)
    # The copy of a case that fits into a cache is faster than memory: the slowest is memory's.
    bandwidth = min(bandwidths)
    xs = sorted([min(x for x, _ in points) / 3, rate / bandwidth, max(x for x, _ in points) * 3])
    ax.plot(
        xs,
        [min(rate, bandwidth * x) / 1e9 for x in xs],
        color="black",
        label=f"{rate / 1e9:,.0f} Gflop/s, {bandwidth / 1e9:,.1f} GB/s",
    )
    for name in peers:
        found = [
            (x, r["flops"] / seconds(r, name).value / 1e9) for x, r in points if name in r["peers"]
        ]
        if found:
            ax.plot(*zip(*found), "o", color=colour[name], label=name, markersize=5)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="operations of the products / bytes outside of them",
        ylabel="Gflop/s (products alone counted)",
    )
    points.sort(key=lambda point: point[0])
    low, high = map(math.log, ax.get_xlim())
    places = apart([(math.log(x) - low) / (high - low) for x, _ in points], 0.025)
    for (x, r), place in zip(points, places):
        top = r["flops"] / roofline_of(r)[0] / 1e9
        ax.plot([x], [top], "_", color="black", markersize=12)
        ax.annotate(
            title(r),
            (x, top),
            fontsize=7,
            xytext=(place, 1.02),
            rotation=90,
            ha="center",
            va="bottom",
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "gray"},
        )
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3, which="both")
    return figure


def apart(places, gap):
    """The places, which rise, moved so that none is nearer to the next than `gap`, as little as
    that takes: groups that would touch share what they move by."""
    groups = []  # [sum of the moved-back places, members]
    for i, place in enumerate(places):
        groups.append([place - i * gap, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, n = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += n
    means = [total / n for total, n in groups for _ in range(n)]
    return [mean + i * gap for i, mean in enumerate(means)]


def growth(fits):
    """Time, and below it memory, over each size that was changed; five sizes beside each other."""
    if not fits:
        return None
    sweeps = list(dict.fromkeys((f["case"], f["size"]) for f in fits))
    colour = colours(dict.fromkeys(f["peer"] for f in fits))
    n = min(5, len(sweeps))
    rows = -(-len(sweeps) // n)
    figure, panels = plt.subplots(
        2 * rows, n, figsize=(2.6 * n + 1, 5 * rows), dpi=110, layout="constrained", squeeze=False
    )
    for ax in panels[-2:, len(sweeps) - (rows - 1) * n :].flat:
        ax.remove()
    for i, (case, size) in enumerate(sweeps):
        column = i % n
        axes = panels[i // n * 2 : i // n * 2 + 2]
        for f in fits:
            if (f["case"], f["size"]) != (case, size):
                continue
            for ax, what, unit, p in (
                (axes[0, column], "seconds", 1e3, f["time"]),
                (axes[1, column], "bytes", 1e-6, f["memory"]),
            ):
                if any(v is None for v in f[what]):
                    continue
                found = [unit * (Figure(*v) if what == "seconds" else Figure(v)) for v in f[what]]
                ax.errorbar(
                    f["values"],
                    *spreads(found),
                    fmt="o-",
                    markersize=3,
                    capsize=2,
                    color=colour[f["peer"]],
                    label=f["peer"] + ("" if p is None else f", p = {p:.2f}"),
                )
        for ax, label in zip(axes[:, column], ("ms", "MB")):
            ax.set(
                xscale="log",
                yscale="log",
                xlabel=f"{case}: {size}",
                ylabel=label if column == 0 else "",
            )
            values = next(f["values"] for f in fits if (f["case"], f["size"]) == (case, size))
            ax.set_xticks(values, map(str, values))
            ax.minorticks_off()
            ax.grid(alpha=0.3)
            if ax.lines:
                ax.legend(fontsize=6)
    return figure


def history(labels, rows):
    """Lines over several reports: {what: [Figure or None, one a report]}, in units of the first."""
    figure, ax = plt.subplots(
        figsize=(2 + 1.5 * len(labels), 3 + 0.22 * len(rows)), dpi=110, layout="constrained"
    )
    for i, (name, found) in enumerate(rows.items()):
        here = [k for k, f in enumerate(found) if f]
        unit = 1 / found[here[0]].value
        values, spread = spreads([unit * found[k] for k in here])
        # The lines of one report stand beside each other, so that intervals can be told apart.
        places = [k + 0.3 * (i / max(1, len(rows) - 1) - 0.5) for k in here]
        ax.errorbar(places, values, spread, fmt="o-", label=name, capsize=2, markersize=3)
    ax.axhline(1.0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=8)
    ax.set_ylabel("time / that of the first report")
    ax.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7)
    return figure
