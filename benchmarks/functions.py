"""Any two functions, timed as the libraries are: from a script or a notebook.

    from benchmarks import compare_functions

    print(compare_functions(lambda: x @ y, lambda: np.dot(x, y)))

Both are sent to new processes (by cloudpickle, with the arrays that they hold), in several passes,
and take turns there within each round: clock.py.
"""

import base64
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import report
from .clock import measure
from .environment import usable
from .figure import Figure
from .process import LIMIT, PeerError, Processes


@dataclass(frozen=True)
class Comparison:
    """first, second: seconds of a call; ratio: first / second. Each is a Figure: value, low, high.
    marks: what is to be known before they are believed, texts. row: all turns, as in a report."""

    first: Figure
    second: Figure
    ratio: Figure
    marks: tuple[str, ...]
    row: dict[str, Any]

    def __str__(self) -> str:
        lines = [f"first  {1e3 * self.first} ms", f"second {1e3 * self.second} ms"]
        lines += [f"first / second  {self.ratio}", *self.marks]
        return "\n".join(lines)


def compare_functions(
    first: Callable[[], Any],
    second: Callable[[], Any],
    *,
    passes: int = 5,
    rounds: int = 3,
    seconds: float = 0.3,
    threads: int | None = None,
    tolerance: float = 1e-4,
    limit: float = LIMIT,
    show: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """How long two functions without arguments take, as a Comparison.

    Their results, an array, a number or a tuple of them, of any library, must agree within
    `tolerance`, relative; of functions that return None nothing is compared. passes: times that
    both are measured, each with new processes, over which the intervals are; rounds: turns of each
    in a pass, of so many seconds; threads: that libraries may use (default: all processors); limit:
    seconds that a request may take; show: called with what is going on. Takes about passes times (2
    rounds times seconds, and what imports and the first calls take).

    A function is sent as cloudpickle sends it: with the variables that it holds, and by name where
    its module can be imported. Raises PeerError where one of them fails, or they do not agree;
    TypeError where one cannot be sent.
    """
    import cloudpickle

    build = {}
    for label, f in (("first", first), ("second", second)):
        if not callable(f):
            raise TypeError(f"{label} is {f!r}, which is no function")
        try:
            sent = base64.b64encode(cloudpickle.dumps(f)).decode()
        except Exception as e:
            raise TypeError(f"{label} cannot be sent to another process: {e}") from e
        build[label] = {"function": sent, "path": sys.path, "folder": os.getcwd()}
    row = {"main": "first", "passes": 0, "peers": {}, "errors": {}, "marks": []}
    for number in range(passes):
        names = dict.fromkeys(build, "function")
        with Processes(names, threads or usable(), "float32", limit=limit) as processes:
            found = measure(
                *(processes, build, tolerance, rounds, seconds),
                show=lambda text: show(f"pass {number + 1} of {passes}: {text}"),
            )
        report.add(row, *found)
        if row["errors"]:
            raise PeerError("; ".join(f"{name}: {text}" for name, text in row["errors"].items()))
    figures = (Figure(*row["peers"][label]["seconds"]) for label in build)
    ratio = Figure(*row["peers"]["second"]["ratio"])
    return Comparison(*figures, ratio, tuple(row["marks"]), row)
