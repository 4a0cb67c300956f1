"""What attaches to the core from outside, at `call_hook` in core/operation.py and `rule_hook` in
core/backward.py. Without it the core computes the same on Tensors, arrays and numbers.

A call with a list in the place of an array is made with an array, and so is one that failed on a
tuple or a number. An error says in which operation it was. In anomaly mode every value is
inspected; outside of it a call looks at two flags.
"""

from typing import Any

import numpy as np

from ..backends import is_array
from ..backends.memory import explain_full
from ..core import backward, operation
from ..core.tensor import Tensor
from .anomaly import detect_anomaly, inspect_gradients, inspect_result
from .arguments import usual_arguments
from .data import holds_numbers, no_numbers

__all__ = ["attach"]


class CallHook:
    """What is done around a call of an operation. watching: whether `after` is to be called."""

    watching = False

    def before(self, op: Any, args: tuple) -> tuple | None:
        """Asked where an argument is neither a Tensor nor PLAIN: the arguments to call with
        instead, or None."""
        return usual_arguments(op, args)

    def after(self, what: str, result: Any, values: Any) -> None:
        """Told of the values of a result, whose call site is noted, while watching. May raise."""
        inspect_result(what, result, values)

    def failed(self, op: Any, args: tuple, error: Exception) -> tuple | None:
        """Told of an error. Returns arguments to call with instead, or None: then the error is
        raised after this. May raise a better one."""
        for a in (
            _for_arrays(op, args) if not isinstance(error, IndexError) else ()
        ):  # which says all
            if isinstance(a, np.ndarray) and not holds_numbers(a):  # objects, texts, dates
                raise no_numbers(op.name, a) from None
        if isinstance(error, ValueError) and "could not be broadcast" in str(error):
            shapes = ", ".join(str(a.shape) for a in args if hasattr(a, "shape"))
            raise ValueError(
                f"{op.name}: the shapes {shapes} do not fit together; counted from the last "
                "axis, lengths must be equal, or 1"
            ) from None
        if isinstance(error, (AttributeError, TypeError)):  # a number has no shape, no sum()
            if usual := usual_arguments(op, args, numbers=True):
                return usual
        for a in args:
            if _is_no_array(a) and (_is_about(error, a) or a is None and _lacks_one(op, args)):
                raise TypeError(
                    f"{op.name} cannot compute with {_described(a)} ({type(a).__name__}); "
                    f"its signature is {op.signature}"
                ) from None
        error.add_note(f"in {op.name}({', '.join(map(_described, args))})")
        explain_full(error)
        return None


class RuleHook:
    """What is done around the rules of a node, in the walk."""

    watching = False

    def after(self, node: Any, pairs: list) -> None:
        """Told of the gradients that the rules gave, while watching. May raise."""
        inspect_gradients(node, pairs)

    def failed(self, node: Any, error: Exception) -> None:
        """Told of an error, which is raised after this. May raise a better one."""
        if str(error).startswith("a gradient "):  # from `unbroadcast` or `unbroadcast_as`
            raise type(error)(f"a rule of {node.operation.name} gave {error}") from None
        error.add_note(f"in the gradient of {node.operation.name}")
        explain_full(error)


def _is_no_array(a: Any) -> bool:
    return isinstance(a, type) or not (isinstance(a, Tensor) or is_array(a))


def _is_about(error: Exception, a: Any) -> bool:
    """Whether an error says that the argument `a` lacks what an array has."""
    if isinstance(error, AttributeError):
        return error.obj is a or isinstance(a, type)
    text = str(error)
    unreadable = f"'{type(a).__name__}' object is not subscriptable" in text
    return isinstance(error, TypeError) and (unreadable or a is None and "NoneType" in text)


def _for_arrays(op: Any, args: tuple, but: Any = ()) -> list:
    """The arguments that stand where an array is meant; not those of some names."""
    s = op.signature
    names = [s.variadic] * len(args) if s.variadic else s.names
    rules = getattr(op, "rules", names)
    return [a for name, a in zip(names, args) if name in rules and name not in but]


def _lacks_one(op: Any, args: tuple) -> bool:
    """Whether an argument of a Primitive is None where only an array is meant."""
    needed = _for_arrays(op, args, op.signature.defaults) if hasattr(op, "rules") else []
    return any(a is None for a in needed)


def _described(a: Any) -> str:
    """An argument in a message: shape and dtype for arrays."""
    if isinstance(a, Tensor) or is_array(a):
        return f"{'Tensor' if isinstance(a, Tensor) else 'array'} {a.shape} {a.dtype}"
    text = repr(a)
    return text if len(text) < 60 else text[:57] + "..."


def attach() -> None:
    """Sets the hooks of the core."""
    operation.call_hook, backward.rule_hook = CallHook(), RuleHook()
    detect_anomaly.hooks = operation.call_hook, backward.rule_hook
