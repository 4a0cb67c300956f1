"""The two charts of a page about a failed check, as SVG: heat maps, and errors over step sizes.

Colours are those of the page (page.py), by class: pos, neg, nan and none of cells, wrong and right
of curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

import numpy as np

MOST = 20  # rows, and columns, of one map
SLICES = 4  # of an array with more axes than two
WITH_TEXT = 6  # columns, up to which the numbers fit into the cells
WORDS = {float("inf"): "∞", float("-inf"): "−∞"}


class Panel(NamedTuple):
    """A part of an array, as a table of places in it."""

    title: str
    rows: list[str]
    columns: list[str]
    places: list[list[tuple[int, ...]]]


def panels(shape: tuple[int, ...], at: tuple[int, ...]) -> tuple[list[Panel], str]:
    """(parts of an array of this shape, a note of what is left out), the entry `at` among them."""
    if len(shape) < 2:
        n, k = (shape or (1,))[0], (at or (0,))[0]
        starts = _near(ceil(n / MOST), k // MOST, MOST)
        rows = [range(r * MOST, min(n, (r + 1) * MOST)) for r in starts]
        places = [[(j,)[: len(shape)] for j in row] for row in rows]
        names = [str(row[0]) if n > MOST else "" for row in rows]
        columns = [f"+{c}" if n > MOST else str(c) for c in range(len(rows[0]))] if shape else [""]
        shown = sum(map(len, rows))
        return [Panel("", names, columns, places)], _note(shown, shape)
    *lead, height, width = shape
    *_, row, column = at
    rows, columns = _near(height, row, MOST), _near(width, column, MOST)
    here = int(np.ravel_multi_index(at[:-2], tuple(lead))) if lead else 0
    found = []
    for k in _near(int(np.prod(lead)), here, SLICES):
        first = tuple(int(i) for i in np.unravel_index(k, tuple(lead))) if lead else ()
        title = f"[{', '.join(map(str, first))}, :, :]" if lead else ""
        places = [[(*first, i, j) for j in columns] for i in rows]
        found.append(Panel(title, list(map(str, rows)), list(map(str, columns)), places))
    return found, _note(len(found) * len(rows) * len(columns), shape)


def _near(n: int, k: int, most: int) -> range:
    """At most `most` of range(n), around k."""
    start = max(0, min(k - most // 2, n - most))
    return range(start, min(n, start + most))


def _note(shown: int, shape: tuple[int, ...]) -> str:
    size = int(np.prod(shape))
    return f"{shown:,} of {size:,} entries are shown, those around the outlined one. " * (
        shown < size
    )


def heat_map(A: np.ndarray, panel: Panel, scale: float, at: tuple[int, ...], blank: bool) -> str:
    """An SVG of one part of A: a cell for each entry, its value in the cell or on hover.

    scale: the value of the strongest colour. at: the entry that is outlined. blank: NaN stands for
    what was not computed.
    """
    columns = len(panel.columns)
    has_text = columns <= WITH_TEXT
    side, high = (64, 26) if has_text else (16, 16)
    left = 12 + 7 * max(map(len, panel.rows))
    width, height = left + columns * side + 4, 20 + len(panel.rows) * high + 4
    parts = []
    for j, name in enumerate(panel.columns):
        if has_text or j % 5 == 0:
            parts.append(_text(left + (j + 0.5) * side, 13, name, "axis"))
    for i, (name, places) in enumerate(zip(panel.rows, panel.places)):
        y = 20 + i * high
        parts.append(_text(left - 6, y + high / 2 + 4, name, "axis end"))
        for j, place in enumerate(places):
            x, value = left + j * side, float(A[place])
            kind, strength, word = _cell(value, scale, blank)
            shown = _short(value) if has_text and not word else word
            parts.append(
                f"<g><title>{escape(f'{place}: {word or value}')}</title>"
                f'<rect class="{kind}{" at" * (place == at)}" x="{x}" y="{y}" width="{side - 1}" '
                f'height="{high - 1}" style="--strength:{strength:.3f}"/>'
                + _text(
                    x + side / 2 - 0.5, y + high / 2 + 4, shown, "strong" if strength > 0.6 else ""
                )
                + "</g>"
            )
    return _svg(width, height, f"heat map {panel.title}", parts)


def _cell(value: float, scale: float, blank: bool) -> tuple[str, float, str]:
    """(class, strength of the colour, a word in place of the number) of a cell."""
    if np.isnan(value):
        return ("cell none", 0.0, "·") if blank else ("cell nan", 0.0, "nan")
    strength = min(1.0, abs(value) / scale) if isfinite(value) and scale else 1.0
    return "cell pos" if value > 0 else "cell neg", strength if value else 0.0, WORDS.get(value, "")


def _short(value: float) -> str:
    """At most 8 letters where there are that few, as wide as a cell."""
    return min((f"{value:.4g}", f"{value:.2g}"), key=lambda text: len(text) > 8)


def legend(scale: float) -> str:
    """The colours from -scale to scale."""
    steps = [k / 10 for k in range(-10, 11)]
    parts = [
        f'<rect class="cell {"pos" if t > 0 else "neg"}" x="{70 + 8 * k}" y="4" width="8" '
        f'height="12" style="--strength:{abs(t):.2f}"/>'
        for k, t in enumerate(steps)
    ]
    parts += [
        _text(64, 14, f"{-scale:.3g}" if scale else "0", "axis end"),
        _text(70 + 8 * len(steps) + 6, 14, f"{scale:.3g}", "axis start"),
    ]
    return _svg(310, 20, "colours", parts)


@dataclass(frozen=True)
class Curve:
    """Points of a logarithmic plot. kind: its class; name: for the legend."""

    kind: str
    name: str
    points: list[tuple[float, float]]  # x > 0, y >= 0


WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 300, 58, 46, 44


def log_log(curves: Sequence[Curve], across: str) -> str:
    """An SVG with curves over logarithmic axes. A value of 0 is on the lowest line. across: what x
    is."""
    xs = [log10(x) for curve in curves for x, _ in curve.points]
    ys = [log10(y) for curve in curves for _, y in curve.points if y] or [0.0]
    has_zeros = any(y == 0 for curve in curves for _, y in curve.points)
    x0, x1 = floor(min(xs)), max(ceil(max(xs)), floor(min(xs)) + 1)
    y0, y1 = floor(min(ys)) - has_zeros, max(ceil(max(ys)), floor(min(ys)) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        """Of the point whose logarithms these are."""
        right, low = WIDTH - 14, HEIGHT - BOTTOM
        return LEFT + (x - x0) / (x1 - x0) * (right - LEFT), low - (y - y0) / (y1 - y0) * (
            low - TOP
        )

    parts = []
    for y in range(y0, y1 + 1, ceil((y1 - y0) / 7)):
        (a, level), (b, _) = place(x0, y), place(x1, y)
        parts.append(f'<path class="grid" d="M{a:.1f} {level:.1f}H{b:.1f}"/>')
        parts.append(_power(LEFT - 6, level + 4, y, "end", has_zeros and y == y0))
    for x in range(x0, x1 + 1, ceil((x1 - x0) / 7)):
        a, level = place(x, y0)
        parts.append(f'<path class="grid" d="M{a:.1f} {level:.1f}V{TOP}"/>')
        parts.append(_power(a, level + 18, x, "middle"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 6, across, "axis"))
    for k, curve in enumerate(curves):
        dots = [(x, y, *place(log10(x), log10(y) if y else y0)) for x, y in curve.points]
        line = "L".join(f"{a:.1f} {b:.1f}" for _, _, a, b in dots)
        parts.append(f'<path class="curve {curve.kind}" d="M{line}"/>')
        parts += [
            f'<g><title>h = {x:.1e}: {y:.3g}</title><circle class="{curve.kind}" cx="{a:.1f}" '
            f'cy="{b:.1f}" r="3.5"/></g>'
            for x, y, a, b in dots
        ]
        parts.append(f'<circle class="{curve.kind}" cx="{LEFT + 4}" cy="{11 + 17 * k}" r="4"/>')
        parts.append(_text(LEFT + 14, 15 + 17 * k, curve.name, "axis start"))
    return _svg(WIDTH, HEIGHT, across, parts)


def _power(x: float, y: float, exponent: int, anchor: str, is_zero: bool = False) -> str:
    """A label 10 to that power."""
    raised = "0" if is_zero else f'10<tspan dy="-5" class="small">{exponent}</tspan>'
    return f'<text class="axis {anchor}" x="{x:.1f}" y="{y:.1f}">{raised}</text>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    if not text:
        return ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(width: float, height: float, label: str, parts: list[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="width:{width:g}px">{"".join(parts)}</svg>'
    )
