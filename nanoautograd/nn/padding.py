"""Sequences of different lengths in one array: each has a row, and padding fills up the rest.

How long they are is looked at where NumPy has it. On a GPU it is not: that would be to wait for it.
"""

from typing import Any

import numpy as np

from ..backends import array_namespace, device_of, is_array, to_device
from ..interface.array_interface import array_of
from ..typing import ArrayLike


def mask(x: Any, lengths: ArrayLike) -> Any:
    """Booleans (B, T), on the device of x: True where row b has one of its lengths[b] tokens, which
    begin it, False where it has padding. x: array or Tensor (B, T, ...). lengths: B integers from 1
    to T, a list or an array of any device. Raises ValueError for others."""
    lengths = integers(x, lengths, "lengths", 1, x.shape[1])
    return array_namespace(array_of(x)).arange(x.shape[1]) < lengths[:, None]


def mask_before(x: Any, padding: ArrayLike, S: int) -> Any:
    """Booleans (B, S), on the device of x: False for the first padding[b] of the S positions of row
    b, which are padding, True for its tokens. x: array or Tensor (B, ...). padding: B integers from
    0 to S - 1, as the lengths of `mask`. Raises ValueError for others."""
    padding = integers(x, padding, "padding", 0, S - 1)
    return array_namespace(array_of(x)).arange(S) >= padding[:, None]


def integers(x: Any, counts: ArrayLike, name: str, least: int, most: int) -> Any:
    """`counts` on the device of x, (B,). Raises ValueError, with its name, unless they are integers
    from `least` to `most`, one for each row of x."""
    counts = array_of(counts)
    counts = counts if is_array(counts) else np.asarray(counts)
    if counts.shape != x.shape[:1] or counts.size and counts.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be an integer for each of the {x.shape[0]} rows; "
            f"got {counts.dtype} of shape {counts.shape}"
        )
    if type(counts) is np.ndarray and counts.size:
        if not least <= counts.min() <= counts.max() <= most:
            raise ValueError(f"{name} must be from {least} to {most}; got {counts.tolist()!r:.200}")
    return to_device(counts, device_of(array_of(x)))
