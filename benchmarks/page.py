"""A report as one page: tables that can be sorted, and pictures. It loads nothing from elsewhere.

page.html is its frame, with the little program that sorts.
"""

import csv
import html
import io
import json
import re
from pathlib import Path
from string import Template

from .figure import Figure
from .report import Report, Row, columns, is_roofline, roofline_of, seconds, title
from .tables import HEADINGS, described, tables

FRAME = Path(__file__).with_name("page.html")
PICTURES = {
    "bars": "Time of ours over that of each peer, with intervals: left of the line ours is faster.",
    "curves": "Milliseconds of a step at each size, with intervals.",
    "roofline": "The roofline: operations a second over operations a byte.",
    "growth": "How time and memory grow with one size.",
}


def page(report: Report) -> str:
    """HTML."""
    e = report["environment"]
    parts = [f"<p>{escape(text)}</p>" for text in described(report).split("\n\n")]
    for kind, heading in HEADINGS.items():
        rows = [r for r in report["rows"] if r["kind"] == kind and r["main"] in r["peers"]]
        if rows:
            parts += [
                f"<h2>{heading}</h2>",
                "<p>Milliseconds, and ours / peer: below 1 ours is faster. A heading sorts by its "
                "column. Where there is a ⚠, the last column says why.</p>",
                times(rows),
            ]
    parts += [f"<h2>{name.capitalize()}</h2>{picture}" for name, picture in drawn(report).items()]
    parts += [
        "<h2>All tables</h2>",
        f"<pre>{escape(tables(report))}</pre>",
        "<h2>The machine</h2>",
        f"<pre>{escape(json.dumps(e, indent=1, ensure_ascii=False))}</pre>",
    ]
    return Template(FRAME.read_text(encoding="utf-8")).substitute(
        title=escape(f"Benchmarks, {e['processor']}, {e['date'][:10]}"),
        command=escape(report["command"]),
        content="\n".join(parts),
    )


def escape(text: object) -> str:
    return html.escape(str(text))


def times(rows: list[Row]) -> str:
    """A table whose cells carry the numbers they are sorted by."""
    peers = columns(rows, lambda name: not is_roofline(name))
    head = ["case", "ours", *(f"{p}{what}" for p in peers for what in ("", ": ours / it"))]
    head += ["roofline", "reached", "memory, MB", "notes"]
    lines = []
    for i, r in enumerate(rows):
        least, share = roofline_of(r)
        peak = r["peers"][r["main"]]["peak"]
        cells = [
            cell(title(r) + " ⚠" * bool(r["marks"]), i),
            of_figure(1e3 * seconds(r, r["main"])),
        ]
        for name in peers:
            p = r["peers"].get(name)
            cells.append(of_figure(1e3 * Figure(*p["seconds"])) if p else cell("", ""))
            ratio = Figure(*p["ratio"]) if p else None
            kind = ratio and ("faster" if ratio.value < 1 else "slower")
            if ratio and (ratio.low is None or ratio.low <= 1 <= ratio.high):
                kind = ""  # it may be either
            cells.append(of_figure(ratio, kind) if p else cell("", ""))
        cells += [
            cell(f"{1e3 * least:.3g}" if least else "", least or ""),
            cell(f"{share:.0%}" if share else "", share or ""),
            cell(f"{peak / 1e6:.1f}" if peak else "", peak or ""),
            cell("; ".join(r["marks"]), len(r["marks"])),
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f'<th><button type="button">{escape(name)}</button></th>' for name in head)
    return (
        f'<div class="wide"><table class="sorted"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{chr(10).join(lines)}</tbody></table></div>"
    )


def cell(text: str, key: object, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<td data-key="{escape(key)}"{kind}>{escape(text)}</td>'


def of_figure(figure: Figure, kind: str = "") -> str:
    return cell(str(figure), f"{figure.value:.9g}", kind)


def drawn(report: Report) -> dict[str, str]:
    """{name: the picture as SVG within HTML}."""
    from .pictures import figures, vector

    found = {}
    for name, figure in figures(report).items():
        svg = unique(vector(figure), name)
        text = escape(PICTURES[name])
        found[name] = f"<figure>{svg}<figcaption>{text}</figcaption></figure>"
    return found


def unique(svg: str, name: str) -> str:
    """An SVG without what a file begins with, and with names of its parts that no other picture of
    the page has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)


def comma_separated(report: Report) -> str:
    """The figures as CSV: a line a case and peer."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    bounds = "value", "low", "high"
    writer.writerow(
        ["case", "size", "precision", "kind", "peer", "is ours"]
        + [f"{what} {bound}" for what in ("seconds", "ours / peer") for bound in bounds]
        + ["peak bytes", "threads", "flops", "bytes", "passes", "marks", "error"]
    )
    for r in report["rows"]:
        for name in (*r["peers"], *r["errors"]):
            p = r["peers"].get(name, {})
            writer.writerow(
                [*(r[key] for key in ("case", "size", "precision", "kind")), name]
                + [int(name == r["main"])]
                + [x for what in ("seconds", "ratio") for x in p.get(what) or [None] * 3]
                + [
                    p.get("peak"),
                    p.get("threads"),
                    r["flops"],
                    r["bytes"],
                    r["passes"],
                    "; ".join(r["marks"]),
                ]
                + [r["errors"].get(name)]
            )
    return out.getvalue()
