"""What may be given to a Tensor or to an operation, and the errors for what may not."""

from typing import Any

from ..array_interface import array_of
from ..backends import array_namespace, is_float
from ..errors import GraphError, ShapeError


def without_tensors(data: Any) -> Any:
    """A Tensor's array, and nested lists with the Tensors in them replaced by theirs."""
    if isinstance(data, (list, tuple)):
        return [without_tensors(x) for x in data]
    if hasattr(data, "_storage"):
        data._refuse_to_leave("making a new Tensor")
        return data._array
    return data


def check_numbers(array: Any) -> None:
    """Raises TypeError if the array does not hold numbers."""
    if array.dtype.kind not in "biufc" and not is_float(array.dtype):
        raise TypeError(f"a Tensor holds numbers; this data has dtype {array.dtype}")


def check_requires_grad(t: Any, value: bool) -> None:
    """Raises if requires_grad of the Tensor t cannot become `value`."""
    if not t.is_leaf:
        raise GraphError(
            "requires_grad cannot be unset on a computed Tensor; use .detach() for one without a "
            "gradient"
        )
    if value and not is_float(t.dtype):
        raise TypeError(
            f"a Tensor of dtype {t.dtype} cannot require a gradient; only floating-point ones can: "
            "use .astype(np.float64) first"
        )


def check_grad(t: Any, value: Any) -> None:
    """Raises if the Tensor `value`, or None, cannot be the gradient of t."""
    if not t.is_leaf or not (t.requires_grad or value is None):
        raise GraphError("only a leaf that requires a gradient has a .grad to set")
    if value is not None and (value.shape, value.dtype) != (t.shape, t.dtype):
        raise ShapeError(
            f"the gradient of a Tensor of shape {t.shape} and dtype {t.dtype} has the same; got "
            f"{value.shape}, {value.dtype}"
        )


def seed(y: Any, gradient: Any, wrap: Any) -> Any:
    """The gradient to start a walk from at the Tensor y, 1 by default for a scalar: an array, or
    with `wrap` a Tensor. Raises ShapeError unless it has y's shape."""
    if y._edge is None:
        raise GraphError(
            "backward() of a Tensor that does not depend on any Tensor with requires_grad=True (or "
            "was computed within no_grad)"
        )
    xp = array_namespace(y._array)
    if gradient is None:
        if y.size != 1:
            raise ShapeError(
                f"the Tensor to differentiate has shape {y.shape}; without a gradient only a "
                "scalar will do: give one of that shape, or take .sum() or .mean() first"
            )
        gradient = xp.ones(y.shape, dtype=y.dtype)
    array = array_of(gradient)
    if array is gradient:
        array = xp.asarray(gradient, dtype=y.dtype)
    if array.shape != y.shape:
        raise ShapeError(
            f"the gradient has shape {array.shape}, but the Tensor that it belongs to has shape "
            f"{y.shape}"
        )
    array_namespace(array, y._array)  # both on one device
    if wrap is None:
        return array.astype(y.dtype, copy=False)
    return wrap(array) if array_of(gradient) is gradient else gradient


def check_rules(name: str, signature: Any, reads: dict) -> None:
    """Raises TypeError if a rule is for no argument, or reads what there is not."""
    known = {*signature.names, *signature.keywords, *filter(None, [signature.variadic])}
    shapes = {f"{argument}_shape" for argument in known}
    if clash := known & ({"g", "out", "needs"} | shapes):
        raise TypeError(
            f"{name}: the argument {clash.pop()!r} has a name that means something else in a rule; "
            "give it another"
        )
    if reads and signature.variadic and signature.names:
        raise TypeError(
            f"{name}: beside *{signature.variadic} there can only be options by keyword; put "
            f"{', '.join(signature.names)} after it"
        )
    for argument, of_rule in reads.items():
        if argument not in {*signature.names, signature.variadic}:
            raise TypeError(
                f"{name} has no argument {argument!r} that could need a gradient; it has "
                f"{', '.join(signature.names) or f'*{signature.variadic}'}"
            )
        if not of_rule or not (known | shapes | {"out", "needs"}).issuperset(of_rule[1:]):
            raise TypeError(
                f"{name}: a rule takes g and then what it reads: arguments "
                f"({', '.join(sorted(known))}), their shapes (<argument>_shape), 'out' or 'needs'; "
                f"that for {argument!r} takes ({', '.join(of_rule)})"
            )


def check_differentiable(name: str, wanted: list, rules: dict) -> None:
    """Raises TypeError if an argument that needs a gradient has no rule."""
    for argument in wanted:
        if argument not in rules:
            raise TypeError(
                f"{name} has no rule for the gradient of {argument!r}; give the argument without "
                "one, as .detach()"
            )


def check_result(name: str, y: Any) -> None:
    """Raises TypeError if a result is no array."""
    if not hasattr(y, "dtype"):
        raise TypeError(f"{name} must return an array, or a tuple of them, not {type(y).__name__}")


def freed(name: str) -> GraphError:
    """The error for a second walk."""
    return GraphError(
        f"the graph was freed when it was walked before, at {name}; to walk it twice, the first "
        "walk needs retain_graph=True"
    )


def counted(name: str, ds: Any, parents: list) -> list:
    """The gradients in a list. Raises TypeError unless there is one, or None, for each argument."""
    ds = list(ds)
    if len(ds) != len(parents):
        raise TypeError(
            f"the rule of {name} gave {len(ds)} gradients for {len(parents)} arrays; it must give "
            "one, or None, for each"
        )
    return ds
