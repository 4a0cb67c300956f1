"""A figure and its interval, from what several processes measured.

Two processes of one program differ by more than two turns of one process: in where their memory
lies, and in what the machine does meanwhile. So a process counts as one value, the median of its
turns, and the interval is that of a bootstrap over processes, of the mean of the logarithms: times
and ratios are positive, and a ratio and its inverse are to say the same.

The bootstrap of few values is too narrow. What is drawn here is wider by as much as Student's t of
that many values is (the expanded percentile interval of T. Hesterberg, "What teachers should know
about the bootstrap", The American Statistician 69(4), 2015). Of four values or fewer that is from
the least to the greatest, so of 2, 3 and 4 values the interval holds the median of all processes
that there could be in 50, 75 and 88 of 100 cases; of 5, in about 94.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
WIDE = 0.1  # of the value: an interval that reaches farther is marked


class Figure(NamedTuple):
    """A value with its interval; the bounds are None where there was one process alone."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def half(self) -> float | None:
        """How far the interval reaches from the value, on its longer side; None where it is not
        known."""
        return None if self.low is None else max(self.high - self.value, self.value - self.low)

    @property
    def is_wide(self) -> bool:
        return self.low is not None and self.half > WIDE * self.value

    def __mul__(self, unit: float) -> "Figure":
        return Figure(*(None if x is None else x * unit for x in self))

    __rmul__ = __mul__

    def __str__(self) -> str:
        """As 0.81 ± 0.06: the value with three digits, fewer where the interval is wider, which is
        never printed narrower than it is; as 0.05 [0.01, 0.42] where it is very wide."""
        if self.half is None:
            return f"{digits(self.value)} ± ?"
        if self.half > self.value / 2:
            return f"{digits(self.value)} [{digits(self.low)}, {digits(self.high)}]"
        places = 2 - math.floor(math.log10(self.value))
        if self.half:
            places = min(places, -math.floor(math.log10(self.half / 2)))
        places = max(0, places)
        value, unit = round(self.value, places), 10**places
        half = math.ceil((self.half + abs(self.value - value)) * unit - 1e-6) / unit
        return f"{value:,.{places}f} ± {half:,.{places}f}"


def digits(value: float) -> str:
    """A number with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def figure(values: Sequence[float]) -> Figure:
    """The Figure of positive values, one of each process."""
    logs = np.log(values)
    value = float(np.exp(logs.mean()))
    if len(logs) < 2:
        return Figure(value)
    from scipy import stats  # takes as long to import as a small benchmark

    n = len(logs)
    t = stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * math.sqrt(n / (n - 1))
    found = stats.bootstrap(
        (logs,),
        np.mean,
        confidence_level=float(1 - 2 * stats.norm.sf(t)),
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Figure(value, float(np.exp(found.low)), float(np.exp(found.high)))
