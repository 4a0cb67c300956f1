"""How time and memory of a step grow with one of its sizes: y = a + b nᵖ.

p is 1 where cost is linear in the size n, 2 where it is quadratic. a is what does not depend on it,
such as weights that do not get larger with the length of the text.
"""

import numpy as np

from .cases import make
from .clock import Processes, measure

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


def sweep(names, o, precision, sweeps, show):
    """(for each sweep and each of the peers a dict: values, seconds, bytes, and the exponents of
    both; errors, texts). o: the options."""
    found, failed = [], []
    for case_name, size, what, values in sweeps:
        points = {}
        for value in values:
            base = make(case_name, size).sizes
            case = make(case_name, {**base, what: value})
            with Processes(names, o.threads, precision) as processes:
                measured, errors = measure(
                    processes,
                    case_name,
                    case,
                    o.rounds,
                    o.seconds,
                    show=lambda text: show(f"{case_name} {what}={value}: {text}"),
                )
            failed += [f"{case_name} {what}={value}, {n}: {text}" for n, text in errors.items()]
            for name, m in measured.items():
                points.setdefault(name, []).append((value, m.median, m.peak))
        for name, of_peer in points.items():
            n, seconds, peaks = zip(*of_peer)
            found.append(
                {
                    "case": case_name,
                    "size": what,
                    "base": size,
                    "values": n,
                    "peer": name,
                    "seconds": seconds,
                    "bytes": peaks,
                    "time": exponent(n, seconds),
                    "memory": exponent(n, peaks) if all(p is not None for p in peaks) else None,
                }
            )
    return found, failed
