"""Parameters of 16 bits, which are stepped in float32."""

from typing import Any

import numpy as np

from ..backends import array_namespace


def wide(a: Any) -> Any:
    """The array itself, or a copy in float32 of one in float16 or bfloat16."""
    return a.astype(np.float32) if a.dtype.itemsize == 2 else a


def master(theta: Any, state: dict[str, Any]) -> Any:
    """The copy in float32 of θ in 16 bits, kept in its state. It is θ, unless θ was set since it
    was rounded from it."""
    exact, value = state.get("master"), wide(theta)
    if exact is None:
        exact = state["master"] = value
    else:
        same = exact.astype(theta.dtype) == theta
        exact[...] = array_namespace(theta).where(same, exact, value)
    return exact
