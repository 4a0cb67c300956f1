"""A figure's interval is one of its processes, and what is printed holds it."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figure import Figure, digits, figure

POSITIVE = st.floats(1e-7, 1e7)


@given(st.lists(POSITIVE, min_size=2, max_size=8))
def test_the_interval_lies_within_the_values_and_around_the_figure(values):
    value, low, high = figure(values)
    assert min(values) * (1 - 1e-9) <= low <= value * (1 + 1e-9)
    assert value * (1 - 1e-9) <= high <= max(values) * (1 + 1e-9)


@given(st.lists(st.floats(0.1, 10.0), min_size=2, max_size=6), st.floats(0.01, 100.0))
def test_a_ratio_and_its_inverse_say_the_same_in_any_unit(values, unit):
    one, other = figure(values), figure([unit / v for v in values])
    assert other.value == pytest.approx(unit / one.value)
    if len(values) < 5:  # else the bootstrap draws other samples
        assert other[1:] == pytest.approx((unit / one.high, unit / one.low))


def test_few_values_give_their_range_and_one_gives_none():
    assert figure([1.0, 2.0, 4.0]) == pytest.approx((2.0, 1.0, 4.0))
    assert figure([3.0]) == (pytest.approx(3.0), None, None)
    assert str(figure([3.0])) == "3 ± ?" and not figure([3.0]).is_wide


def test_the_interval_holds_as_often_as_it_says():
    """Of a thousand runs of five processes, the interval holds what is true in 9 of 10 or more, and
    those of two runs overlap but for a few."""
    draws = np.random.default_rng(0).lognormal(0.0, 0.05, (300, 5))
    found = [figure(values) for values in draws]
    assert np.mean([f.low <= 1.0 <= f.high for f in found]) > 0.9
    pairs = list(zip(found, found[1:]))
    assert np.mean([a.low <= b.high and b.low <= a.high for a, b in pairs]) > 0.97


@given(POSITIVE, st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_what_is_printed_holds_the_interval(value, below, above):
    f = Figure(value, value / (1 + below), value * (1 + above))
    numbers = [float(n.replace(",", "")) for n in re.findall(r"[\d.,]*\d(?:e[+-]\d+)?", str(f))]
    if "±" in str(f):
        middle, half = numbers
        assert middle - half <= f.low * (1 + 1e-9) and f.high <= (middle + half) * (1 + 1e-9)
    else:
        assert f.half > value / 2 and numbers == [
            float(digits(x).replace(",", "")) for x in (f.value, f.low, f.high)
        ]


@pytest.mark.parametrize(
    "f, text",
    [
        (Figure(0.81, 0.76, 0.865), "0.81 ± 0.06"),
        (Figure(0.6116, 0.6112, 0.6119), "0.612 ± 0.001"),
        (Figure(3.92, 3.84, 4.05), "3.92 ± 0.13"),
        (Figure(1467, 1400, 1600), "1,467 ± 133"),
        (Figure(0.05, 0.01, 0.42), "0.05 [0.01, 0.42]"),
        (Figure(1.0, 1.0, 1.0), "1.00 ± 0.00"),
    ],
)
def test_how_a_figure_is_printed(f, text):
    assert str(f) == text
