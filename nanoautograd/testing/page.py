"""A page about a failed gradient check: one file of HTML that refers to nothing outside of it.

    except GradientError as error:
        error.show()                    # in the browser
        error.show("failure.html")      # only written

    pytest --gradcheck-report DIR       # one page for each test that fails so

The analytic gradient beside the numeric one, their difference, the error over step sizes, the
guess, the code of the rule, the inputs as code, and versions. (`error` is a GradientError.)
"""

import os
import platform
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from html import escape
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import write_whole
from . import charts

LIBRARIES = "nanoautograd", "numpy", "torch", "jax", "cupy"

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1c1e21; --soft: #5f6670; --line: #dfe2e6;
  --box: #f5f6f8; --pos: #d1495b; --neg: #2f6fb5; --wrong: #c8372d; --right: #2f6fb5; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181c; --text: #e6e8eb; --soft: #9aa2ad; --line: #34383f; --box: #1f2227;
    --pos: #e0566a; --neg: #4a90d9; --wrong: #ff7b6b; --right: #6aa9ea; }
}
body { margin: 0 auto; padding: 1.2rem; max-width: 76rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .6rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 1rem 0 .3rem; }
p { margin: .4rem 0; max-width: 48rem; }
.guess { border-left: 4px solid var(--wrong); padding: .3rem .8rem; font-size: 1.1rem; }
.soft, figcaption { color: var(--soft); font-size: .88rem; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { text-align: left; padding: .1rem 1.2rem .1rem 0; font-weight: normal; }
th { color: var(--soft); }
code, pre, td, svg { font-family: ui-monospace, Menlo, Consolas, monospace; }
td { font-size: .92rem; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: .7rem;
  overflow-x: auto; font-size: .82rem; line-height: 1.45; margin: .3rem 0; overflow-wrap: normal; }
.wrapped { max-height: 20rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.maps { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
svg { display: block; max-width: 100%; height: auto; font-size: 12px; fill: var(--text); }
svg text { text-anchor: middle; }
svg .start { text-anchor: start; }
svg .end { text-anchor: end; }
svg .axis { fill: var(--soft); }
svg .small { font-size: 9px; }
.cell { stroke: var(--line); stroke-width: 1; fill: none; }
.pos { fill: var(--pos); fill-opacity: var(--strength); }
.neg { fill: var(--neg); fill-opacity: var(--strength); }
.nan { fill: #f2c94c; }
.nan + text { fill: #1c1e21; }
.none { stroke-dasharray: 2 2; }
.at { stroke: var(--text); stroke-width: 2; }
svg .strong { fill: #fff; }
.grid { stroke: var(--line); fill: none; }
.curve { fill: none; stroke-width: 1.5; }
path.wrong { stroke: var(--wrong); }
path.right { stroke: var(--right); stroke-dasharray: 5 3; }
circle.wrong { fill: var(--wrong); }
circle.right { fill: var(--right); }
details > summary { cursor: pointer; margin-top: 2rem; font-weight: 600; }
"""


def html(error: Any) -> str:
    """The page, as text."""
    said = str(error)
    first, _, rest = said.partition("\n")
    parts = [f"<h1>{escape(first)}</h1>"]
    if error.explanation:
        parts.append(f'<p class="guess">{escape(error.explanation)}</p>')
    parts += [_facts(error), *_maps(error), *_steps(error)]
    if error.check is not None:
        for text, title in error.check.functions().items():
            parts.append(f"<h2>{escape(title)}</h2><pre>{escape(text)}</pre>")
        parts.append(f'<h2>Inputs</h2><pre class="wrapped">{escape(error.check.call())}</pre>')
    notes = "\n".join(getattr(error, "__notes__", []))
    if rest or notes:
        text = "\n\n".join(filter(None, [said, notes]))
        parts.append(f"<details><summary>As text</summary><pre>{escape(text)}</pre></details>")
    parts.append(f'<p class="soft">{escape(", ".join(versions()))}</p>')
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(first)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body>\n</html>\n"
    )


def versions() -> list[str]:
    """Of Python, of this package, and of the array libraries that are in use."""
    used = [f"{name} {sys.modules[name].__version__}" for name in LIBRARIES if name in sys.modules]
    return [*used, f"Python {platform.python_version()}", platform.platform()]


def _facts(error: Any) -> str:
    """The numbers at the worst entry, as a table."""
    rows = {}
    if error.index is not None:
        rows["entry"] = str(error.index) if error.index else "a scalar"
    if error.analytic is not None:
        rows["analytic"] = f"{error.analytic:.13g}"
    if error.numeric is not None:
        rows["numeric"] = f"{error.numeric:.13g}"
        if error.error is not None:
            rows["numeric"] += f" ± {error.error:.1e}"
    cells = (f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>" if rows else ""


def write(error: Any, path: str | PathLike) -> str:
    """Writes the page to a file, whole or not at all; returns its path."""
    write_whole(path, html(error).encode("utf-8", "backslashreplace"))
    return str(path)


def show(error: Any) -> str:
    """Writes the page to a temporary file, prints its path and opens it; returns the path."""
    handle, path = tempfile.mkstemp(suffix=".html", prefix="gradcheck-")
    os.close(handle)
    write(error, path)
    print(f"gradcheck: {path}")
    webbrowser.open(Path(path).as_uri())
    return path


# ---- charts


def _maps(error: Any) -> Iterator[str]:
    """Heat maps of both gradients and of their difference."""
    A, N, at = error.gradient, error.numeric_gradient, error.index
    if A is None or N is None or at is None:
        return
    A, N = np.asarray(A, float), np.asarray(N, float)
    with np.errstate(all="ignore"):
        maps = {"analytic": A, "numeric": N, "analytic − numeric": A - N}
    parts, note = charts.panels(A.shape, at)
    places = [place for part in parts for row in part.places for place in row]
    scale = _scale([float(M[place]) for M in (A, N) for place in places])
    yield f"<h2>The gradient, of shape {A.shape}</h2>"
    if any(np.isnan(N[place]) for place in places):
        note += "A dotted cell of the numeric gradient was not computed, or did not settle. "
    if len(parts[0].columns) > charts.WITH_TEXT:
        note += "The values are shown under the pointer."
    yield f'<p class="soft">{note}</p>' if note else ""
    for part in parts:
        yield f"<h3>{escape(part.title)}</h3>" if part.title else ""
        yield '<div class="maps">'
        for name, M in maps.items():
            own = scale
            if M is maps["analytic − numeric"] and np.isfinite(A).all():
                own = _scale([float(M[place]) for place in places])
            drawn = charts.heat_map(M, part, own, at, blank=name != "analytic")
            yield f"<figure>{drawn}{charts.legend(own)}<figcaption>{name}</figcaption></figure>"
        yield "</div>"


def _scale(values: list[float]) -> float:
    return max((abs(v) for v in values if isfinite(v)), default=0.0)


def _steps(error: Any) -> Iterator[str]:
    """How far the differences are off, over the step sizes."""
    to_analytic = charts.Curve(
        "wrong", "|central difference − analytic|", _distances(error, error.analytic)
    )
    if error.guess == "kink":
        gaps = [(row.h, abs(row.right - row.left)) for row in error.table]
        other = charts.Curve("right", "|difference to the right − to the left|", _finite(gaps))
        caption = (
            "Of a smooth function, the difference to the right and that to the left approach each "
            "other as the step gets narrower. Across a kink they stay apart, at a jump they part."
        )
    else:
        other = charts.Curve(
            "right", "|central difference − numeric|", _distances(error, error.numeric)
        )
        caption = (
            "Narrower steps bring central differences nearer to the derivative, until rounding "
            "takes over. A right gradient comes near along with them, a wrong one stays as far off "
            "as it is."
        )
    curves = [curve for curve in (to_analytic, other) if curve.points]
    if curves:
        yield "<h2>The error over step sizes</h2>"
        yield f"<figure>{charts.log_log(curves, 'step h')}</figure>"
        yield f'<p class="soft">{caption}</p>'


def _distances(error: Any, value: float | None) -> list[tuple[float, float]]:
    """[(step, distance of the central difference to the value)]."""
    if value is None or not isfinite(value):
        return []
    return _finite([(row.h, abs(row.central - value)) for row in error.table])


def _finite(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(h, d) for h, d in points if isfinite(d) and h > 0]
