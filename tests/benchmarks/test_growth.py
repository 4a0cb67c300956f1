"""How time and memory grow with a size, and from which size on CuPy is faster."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import crossover, growth, tables


@given(st.floats(0.5, 3.0), st.floats(0.0, 5.0), st.floats(0.1, 10.0))
def test_the_exponent_is_found_whatever_does_not_grow(p, a, b):
    n = np.array([1.0, 2.0, 4.0, 8.0])
    assert growth.exponent(n, a + b * n**p) == pytest.approx(p, abs=0.02)


def test_no_exponent_of_what_does_not_rise():
    assert growth.exponent([1, 2, 4], [3.0, 2.0, 1.0]) is None
    assert growth.exponent([1, 2], [1.0, 2.0]) is None


def test_the_points_of_a_sweep_are_fitted():
    sweeps = (("attention", "tiny", "T", (2, 4, 8)),)
    rows = [
        {
            "case": name,
            "kind": what,
            "sizes": sizes,
            "marks": ["disturbed"] * (sizes["T"] == 8),
            "peers": {"numpy": {"seconds": [sizes[what] ** 2, None, None], "peak": None}},
        }
        for name, size, sizes, what in growth.points(sweeps)
    ]
    (fit,) = growth.fits(rows)
    assert fit["values"] == (2, 4, 8) and fit["time"] == pytest.approx(2.0)
    assert fit["marked"] == 1 and "marked: 1 of 3 points" in tables.grown([fit])
    assert fit["memory"] is None and (fit["case"], fit["size"]) == ("attention", "T")


def test_the_crossover_lies_between_two_sizes():
    def rows(*ratios):
        sizes = ({"rows": 1, "columns": 10**k} for k in range(2, 2 + len(ratios)))
        return [
            {
                "case": "softmax",
                "kind": "operation",
                "sizes": s,
                "peers": {"cupy": {"seconds": [r]}, "numpy": {"seconds": [1.0]}},
            }
            for s, r in zip(sizes, ratios)
        ]

    assert crossover.crossovers(rows(10.0, 10.0, 0.1)) == [
        {"case": "softmax", "elements": round(10**3.5), "text": "3,162"}
    ]
    assert crossover.crossovers(rows(3.0, 2.0))[0]["text"] == "above 1,000"
    assert crossover.crossovers(rows(0.5, 0.2))[0]["text"] == "below 100"
    assert crossover.crossovers([]) == []
