"""From which size on CuPy is faster than NumPy."""

import math

from .cases import OPERATIONS, make


def crossovers(rows):
    """[{"case", "elements", "text"}] of the operations in rows that were measured with both.

    Between the last size at which NumPy is faster and the first of the sizes from which on CuPy is,
    the ratio of their times is taken as a power of the number of elements.
    """
    found = []
    for name in OPERATIONS:
        points = sorted(
            (_elements(r), math.log(_seconds(r, "cupy") / _seconds(r, "numpy")))
            for r in rows
            if (r["case"], r["kind"]) == (name, "operation")
            and {"cupy", "numpy"} <= r["peers"].keys()
        )
        if points:
            found.append({"case": name, **_crossing(points)})
    return found


def _crossing(points):
    """points: (n, log(CuPy / NumPy)), n rising."""
    slower = [i for i, (_, log) in enumerate(points) if log > 0]
    last = slower[-1] if slower else -1
    if last == len(points) - 1:
        return {"elements": None, "text": f"above {points[-1][0]:,}"}
    if last < 0:
        return {"elements": None, "text": f"below {points[0][0]:,}"}
    (n, a), (m, b) = points[last], points[last + 1]
    at = round(math.exp(math.log(n) + (math.log(m) - math.log(n)) * a / (a - b)))
    return {"elements": at, "text": f"{at:,}"}


def _seconds(row, peer):
    return row["peers"][peer]["seconds"][0]


def _elements(row):
    return make(row["case"], row["sizes"]).elements
