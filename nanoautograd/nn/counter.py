"""How many random numbers were drawn, where they are drawn: on a GPU in its memory.

There a captured step, which no line of Python runs again, finds the count and moves it on
(kernels/cuda/runtime/capture.py).
"""

from typing import Any

import numpy as np

from ..backends import array_namespace, device_of, to_numpy
from ..backends.philox import DeviceOffset
from ..kernels.cuda.runtime.capture_context import CaptureError, current


class Counter:
    """An integer from 0 on; an array () once it was taken beside one on a GPU. A copy has an
    integer again."""

    def __init__(self, value: int = 0) -> None:
        self.integer, self.array = value, None  # type: int, Any

    @property
    def value(self) -> int:
        """The count, for which a GPU is waited for; what is assigned is written into the array."""
        return self.integer if self.array is None else int(to_numpy(self.array))

    @value.setter
    def value(self, n: int) -> None:
        if self.array is None:
            self.integer = n
        else:
            self.array.fill(n)

    def take(self, n: int, like: Any) -> int | DeviceOffset:
        """The count, which then grows by n: an integer, or beside an array `like` of a GPU a
        DeviceOffset, which stays. Raises CaptureError where a step that is being recorded would
        make the array, and each replay make it again."""
        if type(like) is np.ndarray:
            before, self.value = self.value, self.value + n
            return before
        if self.array is None or device_of(self.array) != device_of(like):
            if current.context is not None and current.context.is_recording:
                raise CaptureError(
                    "the step draws random numbers that it did not draw at its first calls, and "
                    "each replay would draw the same: let all its calls draw them"
                )
            self.array = array_namespace(like).full((), self.value, dtype=np.uint64)
        before = self.array.copy()
        self.array += n
        return DeviceOffset(before)

    def __reduce__(self) -> tuple:
        return Counter, (self.value,)
