"""What a Tensor may be made of: numbers, and nested lists of them."""

from collections import UserList, deque
from collections.abc import Iterator, Mapping, MappingView, Set
from typing import Any

import numpy as np

from ..backends import is_array, is_float

__all__ = [
    "DEEPEST",
    "check_depth",
    "holds_numbers",
    "no_numbers",
    "array_of_lists",
    "to_listed",
    "without_tensors",
]

DEEPEST = 64  # so many axes an array of NumPy has at most


def check_depth(left: int) -> None:
    """Raises ValueError for a list within DEEPEST others, of which `left` levels are left."""
    if not left:
        raise ValueError(f"a list is nested more than {DEEPEST} deep: does it contain itself?")


def without_tensors(data: Any, forget: bool = False, deepest: int = DEEPEST) -> Any:
    """A Tensor's array, and nested lists with the Tensors in them replaced by theirs. Raises for
    what requires a gradient, unless `forget`, for a list that contains itself, and for None and
    texts, of which NumPy makes NaN, and the numbers that they spell."""
    if isinstance(data, (list, tuple, deque, UserList)):
        check_depth(deepest)
        return [without_tensors(x, forget, deepest - 1) for x in data]
    if hasattr(data, "_storage"):
        if not forget:
            data._refuse_to_leave(
                "making a new Tensor",
                "use nag.stack or nag.concatenate for a list of Tensors, or .detach() for the "
                "value alone",
            )
        return data._array
    if data is None or isinstance(data, (str, bytes)):
        raise TypeError(f"a Tensor takes numbers; got {data!r:.99}")
    if right := to_listed(data):
        raise TypeError(f"a Tensor takes numbers; got {type(data).__name__}: give {right}")
    if isinstance(data, (np.ndarray, np.generic)):
        is_array(data)  # raises for a masked one
        if not holds_numbers(data):
            raise no_numbers("a Tensor", data)
    elif getattr(data, "requires_grad", False):
        raise TypeError(
            f"an array of another library, {type(data).__module__}.{type(data).__qualname__}, that "
            "requires a gradient there, would lose it silently; give its .detach()"
        )
    return data


def to_listed(data: Any) -> str | None:
    """How what NumPy takes for one object is made a list: a generator, a dict, a set, ..."""
    if isinstance(data, Mapping):
        return "list(x.values())"
    return "list(x)" if isinstance(data, (Iterator, MappingView, Set)) else None


def array_of_lists(xp: Any, data: Any, dtype: Any = None) -> Any:
    """A new array of numbers, or of nested lists of them. Raises ValueError for lists that are
    shorter than others beside them."""
    try:
        return xp.array(data, dtype=dtype)
    except ValueError as error:
        if isinstance(data, list):
            hint = "lists beside each other need one length: fill up the shorter ones"
            raise ValueError(f"{hint} ({error})") from None
        raise


def holds_numbers(array: Any) -> bool:
    """Whether an array holds numbers to compute with: NumPy's, or bfloat16."""
    return array.dtype.kind in "biuc" or is_float(array.dtype)


def no_numbers(name: str, array: Any) -> TypeError:
    """The error for an array of what are no numbers, which was given to `name`."""
    dtype = array.dtype
    how = {
        "O": "x.astype(float), if its objects are numbers",
        **dict.fromkeys("UST", "x.astype(float), if its texts are numbers"),
        **dict.fromkeys("Mm", "x.astype('int64'), which counts its units"),
        **({"V": "one of its fields, x['name']"} if dtype.names else {}),
    }.get(dtype.kind, "x.astype('float32')")
    return TypeError(f"{name} takes numbers; got array {array.shape} {dtype}; give {how}")
