"""How time and memory of a step grow with one of its sizes: y = a + b nᵖ.

p is 1 where cost is linear in the size n, 2 where it is quadratic. a is what does not depend on it,
such as weights that do not get larger with the length of the text.
"""

import numpy as np

from .cases import make

# (case, the size that the others are taken from, which of them is changed, values)
SWEEPS = (
    ("rnn", "medium", "T", (32, 64, 128, 256)),
    ("rnn", "medium", "B", (8, 16, 32, 64)),
    ("rnn", "medium", "hidden", (128, 256, 512, 1024)),
    ("rnn", "medium", "layers", (1, 2, 3, 4)),
    ("lstm", "medium", "T", (32, 64, 128, 256)),
    ("gpt", "small", "T", (64, 128, 256, 512)),
    ("gpt", "small", "B", (4, 8, 16, 32)),
    ("gpt", "small", "width", (64, 128, 256, 512)),
    ("gpt", "small", "layers", (2, 4, 6, 8)),
    ("attention", "medium", "T", (128, 256, 512, 1024)),
)
TINY = (("attention", "tiny", "B", (2, 4, 8)),)


def exponent(n, y):
    """p of the y = a + b nᵖ, a ≥ 0, b ≥ 0, that is nearest to the points (n, y), relative to y;
    None where they do not rise, or are fewer than three."""
    n, y = np.asarray(n, dtype=float), np.asarray(y, dtype=float)
    if len(n) < 3 or not y[-1] > y[0] > 0:
        return None
    best = None
    for p in np.arange(0.05, 8.0, 0.01):
        for columns in ([np.ones_like(n), (n / n[-1]) ** p], [(n / n[-1]) ** p]):
            A = np.stack(columns, axis=1) / y[:, None]
            c, *_ = np.linalg.lstsq(A, np.ones_like(y), rcond=None)
            error = float(((A @ c - 1) ** 2).sum())
            if (c >= 0).all() and (best is None or error < best[0]):
                best = error, float(p)
    return best and best[1]


def points(sweeps):
    """[(case, size, {name: value} of all sizes, which is changed)] of all points of the sweeps."""
    return [
        (name, f"{what}={value}", {**make(name, base).sizes, what: value}, what)
        for name, base, what, values in sweeps
        for value in values
    ]


def fits(rows):
    """For each sweep in the rows of a report and each of its peers a dict: values, seconds (with
    intervals), bytes, how many points are marked, and the exponents of time and memory."""
    found = {}
    for r in rows:
        if r["kind"] in r["sizes"]:  # it names the size that is changed
            for name, p in r["peers"].items():
                found.setdefault((r["case"], r["kind"], name), []).append(
                    (r["sizes"][r["kind"]], p["seconds"], p["peak"], bool(r["marks"]))
                )
    fitted = []
    for (case, size, peer), of_peer in found.items():
        n, seconds, peaks, marked = zip(*of_peer)
        fitted.append(
            {
                "case": case,
                "size": size,
                "values": n,
                "peer": peer,
                "seconds": seconds,
                "bytes": peaks,
                "marked": sum(marked),
                "time": exponent(n, [s[0] for s in seconds]),
                "memory": exponent(n, peaks) if None not in peaks else None,
            }
        )
    return fitted
