"""Tensors from the arrays of other libraries. (The other way round: array_interface.py.)"""

from typing import Any

import numpy as np

from ..backends import is_array
from ..core.tensor import Tensor, wrap

__all__ = ["from_dlpack"]


def from_dlpack(x: Any) -> Tensor:
    """A Tensor that shares the memory of `x`, any object with `__dlpack__` (PyTorch, CuPy, ...).

    Writes through one side are seen by the other, and by no version counter. (NumPy before 2.3
    lets the Tensor only be read.)
    """
    if isinstance(x, Tensor):
        x._refuse_to_leave("from_dlpack", "give .detach()")
        return x.detach()
    if not hasattr(x, "__dlpack_device__"):
        raise TypeError(
            f"from_dlpack takes an array of a library that has DLPack; got {type(x).__name__}"
        )
    is_array(x)  # raises for a masked one, whose mask would be lost
    on_cpu = x.__dlpack_device__()[0] == 1  # kDLCPU
    if on_cpu:
        return wrap(np.from_dlpack(x))
    import cupy

    return wrap(cupy.from_dlpack(x))
