"""Arguments that are neither Tensors nor arrays, where an array is meant: sequences become arrays,
and what is none is refused by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends import array_namespace, is_array, is_float
from ..interface.array_interface import ArrayInterface
from .data import array_of_lists, holds_numbers, no_numbers, to_listed, without_tensors

__all__ = [
    "as_array",
    "as_arrays",
    "as_input",
    "check_operand",
    "is_foreign",
    "is_sequence",
    "usual_arguments",
]

NUMBERS = (bool, int, float, complex, np.generic)
USUAL = "?bBhHiIlLqQefd"  # NumPy's own numbers, by their characters; there are shorter ones


def is_sequence(x: Any) -> bool:
    """Whether NumPy reads x as an array by its elements: a list, a tuple, a range, a deque, ..."""
    return isinstance(x, Sequence) and not isinstance(x, (str, bytes))


def is_foreign(x: Any) -> bool:
    """Whether x is nothing to compute with: neither a Tensor, an array of a backend, a number, nor
    a sequence. (An array of another library is foreign: it may have a gradient of its own.)"""
    return not (isinstance(x, (ArrayInterface, *NUMBERS)) or is_array(x) or is_sequence(x))


def check_operand(x: Any, name: str) -> None:
    """Raises TypeError if x is foreign, or an array of what are no numbers; `name` is what it was
    given to."""
    if isinstance(x, ArrayInterface) or type(x) is np.ndarray and x.dtype.char in USUAL:
        return  # as most are
    if hasattr(x, "dtype") and not is_foreign(x) and not holds_numbers(x):
        raise no_numbers(name, x)
    if is_foreign(x):
        kind = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
        if hasattr(x, "__dlpack__") and not isinstance(x, type):
            raise TypeError(
                f"{name} was given an array of another library, {kind}; gradients do not pass from "
                "one to the other. nag.from_dlpack(x) is a Tensor that shares its memory"
            )
        right = to_listed(x)
        hint = f"give {right}" if right else "convert it first, with np.asarray or float"
        raise TypeError(
            f"{name} takes Tensors, arrays of NumPy or CuPy, numbers and sequences of numbers, not "
            f"{kind}" + ("" if x is None else f"; {hint}")
        )


def as_array(x: Any, name: str) -> Any:
    """x itself if it is an array or a Tensor, else the array of a number or a sequence. `name` is
    what it was given to."""
    return x if isinstance(x, (ArrayInterface, np.ndarray)) else as_arrays(x, name=name)[0]


def check_no_results(x: Any, name: str) -> None:
    """Raises TypeError for a tuple of Tensors, the results of a layer: NumPy would stack them."""
    if isinstance(x, tuple) and any(isinstance(one, ArrayInterface) for one in x):
        shapes = ", ".join(str(getattr(one, "shape", type(one).__name__)) for one in x)
        raise TypeError(
            f"{name} takes one array, and got a tuple of {len(x)}, ({shapes}): GRU, LSTM and RNN "
            "return (output, h), and attention (output, weights); give the one that is meant, as "
            "output, h = gru(x)"
        )


def as_input(x: Any, name: str) -> Any:
    """The same for the input of `name`. Raises TypeError for what is no array."""
    if isinstance(x, ArrayInterface) or type(x) is np.ndarray and x.dtype.char in USUAL:
        return x  # as most are
    check_no_results(x, name)
    check_operand(x, name)
    return as_array(x, name)


def as_arrays(*xs: Any, name: str) -> list:
    """The arguments, numbers and sequences among them as arrays of the library that owns the
    others. A number gets the dtype that it would have in a sum with the first array."""
    arrays = [getattr(x, "_array", x) for x in xs if _is_array(x)]
    for a in arrays:
        if not holds_numbers(a):
            raise no_numbers(name, a)
    xp = array_namespace(*arrays)
    return [x if _is_array(x) else _made(x, xp, arrays[:1], name) for x in xs]


def _is_array(x: Any) -> bool:
    return isinstance(x, ArrayInterface) or is_array(x)


def _made(x: Any, xp: Any, first: list, name: str) -> Any:
    """A number or a sequence as an array of xp; `first` holds the first array, if there is one."""
    check_operand(x, name)
    if is_sequence(x) or isinstance(x, np.generic):
        return array_of_lists(xp, without_tensors(x))
    dtype = first[0].dtype if first else None
    if dtype is not None and not (is_float(dtype) and isinstance(x, (int, float))):
        dtype = np.result_type(dtype, x)
    return xp.asarray(x, dtype=dtype)


def usual_arguments(operation: Any, args: tuple, numbers: bool = False) -> tuple | None:
    """The arguments, with sequences, and numbers if so asked, as arrays where an array is meant;
    None if there are none. Raises TypeError for what is no array there."""
    rules: Any = getattr(operation, "rules", None)
    signature = operation.signature
    everywhere = rules is None or signature.variadic
    names = args if everywhere else signature.names
    meant = [everywhere or name in rules for name in names]
    given = [a for a, is_meant in zip(args, meant) if is_meant and a is not None]
    for a in given:
        if rules is None:
            check_no_results(a, operation.name)
        check_operand(a, operation.name)
    unusual = [a for a in given if is_sequence(a) or numbers and not hasattr(a, "shape")]
    if not unusual:
        return None
    arrays = [getattr(a, "_array", a) for a in given if _is_array(a)]
    xp = array_namespace(*arrays)
    made = {id(a): _made(a, xp, arrays[:1], operation.name) for a in unusual}
    return tuple(made.get(id(a), a) if is_meant else a for a, is_meant in zip(args, meant))
