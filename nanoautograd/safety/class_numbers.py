"""Class numbers out of range are an error. (As an index, -1 would be the last class, and CuPy takes
any number, modulo the classes.)"""

from typing import Any

import numpy as np

from ..backends import array_namespace

__all__ = ["check_class_numbers"]


def check_class_numbers(name: str, target: Any, C: int, ignore_index: int) -> None:
    """Raises IndexError if one of the integers in `target` is neither from 0 to C - 1 nor
    ignore_index. Where they are on a GPU, this waits for them."""
    xp, right = array_namespace(target), (target >= 0) & (target < C)
    if int(xp.count_nonzero(right)) == target.size:  # as most are
        return
    wrong = ~right & (target != ignore_index)
    if bool(wrong.any()):
        n = int(xp.argmax(wrong))
        position = tuple(int(i) for i in np.unravel_index(n, target.shape))
        raise IndexError(
            f"{name}: target {int(target.reshape(-1)[n])} at position {position} is out of "
            f"range: there are {C} classes, 0 to {C - 1}, and ignore_index is "
            f"{ignore_index}"
        )
