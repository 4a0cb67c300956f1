"""Hypothesis strategies for testing differentiable operations.

    from hypothesis import given
    import nanoautograd as nag
    from nanoautograd.testing import gradcheck, strategies as st

    @given(st.arrays(st.shapes(), away=(0,)))           # abs has a kink at 0
    def test_abs(x):
        gradcheck(nag.abs, [x])

Arrays are float64, because finite differences need it. They shrink like everything in Hypothesis:
a failure is reported for the smallest shape and the simplest options that still fail.
`programs()` draws whole random computations.
"""

from .arguments import (
    arrays,
    axes,
    broadcastable_shapes,
    einsums,
    indices,
    integers_below,
    masks,
    matmul_shapes,
    shapes,
    spread,
)
from .programs import programs

__all__ = [
    "arrays",
    "axes",
    "broadcastable_shapes",
    "einsums",
    "indices",
    "integers_below",
    "masks",
    "matmul_shapes",
    "programs",
    "shapes",
    "spread",
]
