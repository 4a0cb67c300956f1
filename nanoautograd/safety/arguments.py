"""Arguments that are no arrays: lists where an array is meant."""

from typing import Any

from ..backends import array_namespace

__all__ = ["as_arrays", "usual_arguments"]


def as_arrays(*xs: Any) -> list:
    """The arguments, lists among them as arrays of the library that owns the others.

    A Python number becomes an array of the first one's dtype, so that it promotes nothing.
    """
    arrays = [getattr(x, "_array", x) for x in xs if hasattr(x, "shape")]
    xp = array_namespace(*arrays)
    dtype = arrays[0].dtype if arrays else None
    return [
        x
        if hasattr(x, "shape")
        else xp.asarray(x, dtype=None if isinstance(x, (list, tuple)) else dtype)
        for x in xs
    ]


def usual_arguments(operation: Any, args: tuple) -> tuple | None:
    """The arguments, with lists as arrays where an array is meant; None if there are none."""
    rules, names = getattr(operation, "rules", None), operation.signature.names
    if rules is None or operation.signature.variadic:
        lists = [type(a) is list for a in args]
    else:
        kinds = (list, tuple) if rules.keys() >= {*names} else (list,)
        lists = [type(a) in kinds and name in rules for a, name in zip(args, names)]
    if not any(lists):
        return None
    return tuple(b if is_list else a for a, b, is_list in zip(args, as_arrays(*args), lists))
