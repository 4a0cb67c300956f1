"""What is no array among the arguments of layers and functions: sizes, flags, probabilities, seeds.
Each has one meaning everywhere, and is refused by its name where it has none."""

from numbers import Real
from operator import index
from typing import Any

import numpy as np

from ..backends import is_array, is_float
from ..interface.array_interface import array_of

__all__ = [
    "check_dtype",
    "check_flags",
    "check_numbers",
    "check_probability",
    "check_sizes",
    "is_real",
]


def check_sizes(name: str, least: int = 0, **sizes: Any) -> None:
    """Raises TypeError for a size that is no integer, ValueError for one below `least`."""
    for option, n in sizes.items():
        try:
            is_size = not isinstance(n, (bool, np.bool)) and index(n) >= least
        except TypeError:
            is_size = None
        if not is_size:
            kind = TypeError if is_size is None or isinstance(n, (bool, np.bool)) else ValueError
            raise kind(f"{name}: {option} must be an integer, {least} or more; got {n!r:.100}")


def check_flags(name: str, **flags: Any) -> None:
    """Raises TypeError for a flag that is neither True nor False: NaN, "no" and [0] count as true
    in Python."""
    for option, flag in flags.items():
        if not isinstance(flag, (bool, np.bool)):
            raise TypeError(f"{name}: {option} is True or False; got {flag!r:.100}")


def check_probability(name: str, **probabilities: Any) -> None:
    """Raises TypeError for what is no number, ValueError for one outside 0 to 1."""
    for option, p in probabilities.items():
        if not is_real(p):
            raise TypeError(f"{name}: {option} must be a number, from 0 to 1; got {p!r:.100}")
        if not 0 <= p <= 1:
            raise ValueError(f"{name}: {option} must be a probability, from 0 to 1; got {p}")


def check_numbers(name: str, **numbers: Any) -> None:
    """Raises TypeError for what is no real number."""
    for option, x in numbers.items():
        if not is_real(x):
            raise TypeError(f"{name}: {option} must be a number; got {x!r:.100}")


def is_real(x: Any) -> bool:
    """Whether x is a real number, or an array or Tensor of shape ()."""
    if type(x) in (float, int):  # as most are
        return True
    x = array_of(x)
    if isinstance(x, np.timedelta64):  # which NumPy counts among the integers
        return False
    return isinstance(x, Real) or is_array(x) and x.shape == () and x.dtype.kind in "fiub"


def generator(name: str, rng: Any) -> np.random.Generator:
    """The Generator that a seed, a Generator, or None for a new seed stands for."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: rng is a seed (an integer, 0 or more, or several), a numpy Generator, or "
            f"None; got {rng!r:.100}"
        ) from None


def check_dtype(name: str, dtype: Any) -> None:
    """Raises TypeError unless dtype is a floating one, of which weights are."""
    try:
        fits = is_float(np.dtype(dtype))
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise TypeError(
            f"{name}: weights have a floating dtype, such as np.float32; got {dtype!r:.100}"
        )
