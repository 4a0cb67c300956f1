"""What may be given to a Tensor or to an operation, and the errors for what may not."""

import dis
import warnings
from functools import partial, wraps
from types import FunctionType
from typing import Any

import numpy as np

from ..backends import array_namespace, is_array, is_float
from ..errors import GraphError, ShapeError
from ..interface.array_interface import array_of
from .arguments import USUAL
from .data import (
    DEEPEST,
    array_of_lists,
    check_depth,
    holds_numbers,
    no_numbers,
    without_tensors,
)
from .in_place import IMMUTABLE, arrays_in


def new_array(data: Any, dtype: Any) -> Any:
    """A new array for a Tensor. Raises TypeError if it does not hold numbers, or not all of those
    of `data`."""
    if dtype is None and type(data) is np.ndarray and data.dtype.char in USUAL:  # as most are
        return np.array(data)
    data = without_tensors(data)
    array = array_of_lists(array_namespace(data), data, dtype)
    if not holds_numbers(array):
        raise no_numbers("a Tensor", array)
    check_complex(data, array.dtype)
    return array


def check_complex(data: Any, dtype: Any) -> None:
    """Raises TypeError if complex numbers would go into an array of a dtype that is not complex:
    NumPy drops the imaginary parts, with a warning."""
    given = np.dtype(complex) if isinstance(data, complex) else getattr(data, "dtype", None)
    if getattr(given, "kind", "") == "c" and dtype.kind != "c":
        raise TypeError(
            f"complex numbers, of dtype {given}, do not fit into a Tensor of dtype {dtype}; "
            "take their real parts, x.real, if that is meant"
        )


def changes_requires_grad(t: Any, value: Any) -> bool:
    """Whether the Tensor t requires a gradient now and will not with `value`, or the reverse.
    Raises if that cannot be."""
    if value is True and t._edge is None and t._array.dtype.kind == "f":  # as most often
        return True
    if value is False and t._edge is None:
        return False
    if not isinstance(value, (bool, np.bool)):
        raise TypeError(f"requires_grad is True or False; got {value!r}")
    if value == t.requires_grad:
        return False
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
    return True


def warn_of_grad(t: Any) -> None:
    """Warns that a computed Tensor collects no gradient."""
    warnings.warn(
        "a computed Tensor collects no .grad, only the leaves do; the gradient of a loss with "
        f"respect to this one, h, of shape {t.shape}, is nag.autograd.grad(loss, [h]); a weight w "
        "stays a leaf if it is updated in place: `with nag.no_grad(): w -= ...`",
        stacklevel=3,
    )


def check_grad(t: Any, value: Any) -> None:
    """Raises if the Tensor `value`, or None, cannot be the gradient of t."""
    if value is None and t.is_leaf:
        return
    if not t.is_leaf or not t.requires_grad:
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
    a = y._array
    if type(gradient) is type(a) is np.ndarray and wrap is None:  # as most are
        if (gradient.shape, gradient.dtype) == (a.shape, a.dtype):
            return gradient
    xp = array_namespace(a)
    if gradient is None:
        if a.size != 1:
            raise ShapeError(
                f"the Tensor to differentiate has shape {y.shape}; without a gradient only a "
                "scalar will do: give one of that shape, or take .sum() or .mean() first"
            )
        gradient = xp.ones(y.shape, dtype=y.dtype)
    else:
        check_complex(gradient, y.dtype)
        gradient = gradient if hasattr(gradient, "_storage") else _as_gradient(xp, gradient, y)
    array = array_of(gradient)
    if array is gradient:
        array = xp.asarray(gradient, dtype=y.dtype)
    if array.shape != y.shape:
        raise ShapeError(f"the gradient has shape {array.shape}, its Tensor shape {y.shape}")
    array_namespace(array, a)  # both on one device
    if wrap is None:
        return array.astype(y.dtype, copy=False)
    return wrap(array) if array_of(gradient) is gradient else gradient


def _as_gradient(xp: Any, gradient: Any, y: Any) -> Any:
    try:
        return xp.asarray(without_tensors(gradient), dtype=y.dtype)
    except (TypeError, ValueError):
        raise TypeError(
            f"a gradient is an array, a Tensor or numbers, of shape {y.shape}, not {gradient!r:.99}"
        ) from None


NO_SUBCLASS = (
    "an operation is made from a function, not as a class: decorate the function of arrays with "
    "@nag.function, and set its gradient by f.defvjp(argument=lambda g, ...: ...). Where that is "
    "derived for a whole computation, there is nag.custom_vjp(name, forward, backward, reference)"
)


def named_rules(signature: Any, in_order: tuple) -> dict:
    """The rules that were given without a name, by the names of the arguments."""
    names = [signature.variadic] if signature.variadic else signature.names
    if in_order and len(in_order) != len(names):
        name, rules = signature.name, ", ".join(f"{n}=..." for n in names)
        raise TypeError(
            f"{name}: {len(in_order)} rules for the arguments {', '.join(names)}; name those that "
            f"have one: {name}.defvjp({rules})"
        )
    return dict(zip(names, in_order))


def check_return(name: str, *functions: Any) -> None:
    """Raises TypeError for a function that is none, or that has no `return` with a value."""
    for f in functions:
        if not callable(f):
            raise TypeError(f"{name}: a rule is a function of g, and of what it reads; got {f!r}")
        while isinstance(f, partial):
            f = f.func
        f = f if isinstance(f, (FunctionType, type)) else getattr(type(f), "__call__", f)
        if not isinstance(f, FunctionType) or f.__name__ == "<lambda>" or is_ours(f):
            continue  # (ours are tested, and to look into their code takes long at an import)
        code = list(dis.get_instructions(f))
        ends = [i for i, step in enumerate(code) if step.opname.startswith("RETURN_")]
        values = [code[i if code[i].opname == "RETURN_CONST" else i - 1] for i in ends]
        is_none = [v.opname.endswith("_CONST") and v.argval is None for v in values]
        if is_none and all(is_none):
            raise TypeError(
                f"{name}: {f.__name__} returns nothing; is a `return` missing? (A gradient that is "
                "zero is `lambda g: None`.)"
            )


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


def is_ours(f: Any) -> bool:
    """Whether a function or an operation is of this package: also by where it was written, as
    functools.wraps gives it the name of another's module."""
    written = getattr(f, "__globals__", {}).get("__name__", __name__)
    modules = getattr(f, "__module__", None) or "", written or ""
    return all(name.partition(".")[0] == __name__.partition(".")[0] for name in modules)


def are_ours(*functions: Any) -> bool:
    """Whether all are, so that none keeps what it returns elsewhere."""
    return all(map(is_ours, functions))


def check_differentiable(operation: Any, wanted: list) -> None:
    """Raises TypeError if an argument that needs a gradient has no rule."""
    for argument in wanted:
        if argument not in operation.rules:
            name = operation.name
            rule = f"set one by {name}.defvjp({argument}=lambda g, ...: ...), or "
            raise TypeError(
                f"{name} has no rule for the gradient of {argument!r}; "
                f"{'' if is_ours(operation) else rule}give the argument without a gradient, as "
                ".detach()"
            )


def watched(operation: Any, forward: Any) -> Any:
    """The function of an operation. That of a user is watched until some calls of it have
    succeeded: if it writes into an argument, which may be a leaf's array, that is a TypeError. (One
    call may show nothing, as maximum(a, 0, out=a) of positive numbers.)"""
    if is_ours(forward):
        return forward
    seen = 0

    @wraps(forward)
    def first(*args: Any, **options: Any) -> Any:
        nonlocal seen
        before = list(map(_sample, args))
        out = forward(*args, **options)
        for i, (a, was) in enumerate(zip(args, before)):
            if _sample(a) != was:
                raise TypeError(
                    f"{operation.name} wrote into its argument {i}, of shape {a.shape}, an array "
                    "of its caller; compute a new one, as a = a * 2 instead of a *= 2"
                )
        seen += any(b is not None for b in before)
        if seen == WATCHED:
            operation.forward = forward
        return out

    return first


def watched_rules(name: str, rules: dict) -> dict:
    """The rules of an operation; those of a user are watched likewise."""
    return {
        argument: watched_backward(f"the rule of {name} for {argument!r}", rule)
        for argument, rule in rules.items()
    }


def watched_backward(name: str, backward: Any) -> Any:
    """The backward of an operation; that of a user is watched likewise. What arrives may arrive at
    others too, and what was saved may be an argument, or be read again. name: in an error."""
    if is_ours(backward):
        return backward
    seen = 0

    @wraps(backward)
    def first(*args: Any, **options: Any) -> Any:
        nonlocal seen
        given = arrays_in(args) if seen < WATCHED else []
        before = list(map(_sample, given))
        out = backward(*args, **options)
        for a, was in zip(given, before):
            if _sample(a) != was:
                raise TypeError(
                    f"{name} wrote into an array of shape {a.shape} that it was given; compute a "
                    "new one, as dx = dy * 2 instead of dy *= 2"
                )
        seen += 1
        return out

    return first


WATCHED = 10  # calls


def _sample(a: Any) -> Any:
    """Of an array what it is, and some thousand elements from all over it; else None. (Only of
    NumPy's: others would wait.)"""
    if not isinstance(a, np.ndarray):
        return None
    return a.shape, a.strides, a.dtype, a.flat[:: a.size // 4096 + 1].tobytes()


def result(name: str, y: Any, is_recorded: bool) -> Any:
    """What a function of arrays returned, as an array. Raises TypeError if it is none, or if it
    would drop a gradient: complex numbers have none yet. (Integers and booleans are constant almost
    everywhere: none is lost.)"""
    if hasattr(y, "_storage"):
        if y.requires_grad:
            raise TypeError(
                f"{name} computed with a Tensor that it was not given as an argument, but within "
                "one or from outside, and the gradient of that would be lost; make it an argument, "
                "with a rule of its own"
            )
        y = y._array
    if not (is_array(y) or isinstance(y, np.generic)):
        one = "; of one result return np.array(...), of several tuple(...)" * (type(y) is list)
        raise TypeError(
            f"{name} must return an array, or a tuple of them, not {type(y).__name__}{one}"
        )
    if not holds_numbers(y):
        raise TypeError(f"{name}: a Tensor holds numbers; this result has dtype {y.dtype}")
    if is_recorded and y.dtype.kind == "c":
        raise TypeError(
            f"{name}: the result is {y.dtype}, and an argument requires a gradient; there are no "
            "gradients of complex numbers yet: compute with the real and the imaginary parts as "
            "two Tensors, or give the argument without a gradient, as .detach()"
        )
    return y


def option(name: str, key: str, value: Any, deepest: int = DEEPEST) -> Any:
    """The value of an option, with a Tensor in it as its value. Raises TypeError for one that
    requires a gradient, since an option has no rule."""
    if type(value) is tuple and IMMUTABLE.issuperset(map(type, value)):  # numbers, as most are
        return value
    if isinstance(value, (tuple, list, dict)):
        check_depth(deepest)
    if isinstance(value, (tuple, list)):
        items = [option(name, key, x, deepest - 1) for x in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {k: option(name, key, x, deepest - 1) for k, x in value.items()}
    if not hasattr(value, "_storage"):
        return value
    if value.requires_grad:
        raise TypeError(
            f"{name}: {key} holds a Tensor that requires a gradient, and options have none. Use it "
            f"outside of {name} (instead of a scale, multiply the query or the input by it), or "
            f"give its value: {key}=t.item(), or t.detach()"
        )
    return value._array if value.ndim else value.item()


def no_pair(name: str, given: Any) -> TypeError:
    """The error for what the `forward` of a custom VJP returned in place of a pair."""
    if hasattr(given, "shape"):
        what = f"an array of shape {given.shape}"
    else:
        n = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
        what = f"{type(given).__name__}{n}"
    return TypeError(
        f"{name}: forward must return (out, cache), where cache is what backward needs, or None; "
        f"it returned {what}"
    )


def same_results(name: str, outs: tuple, outputs: Any) -> None:
    """Raises TypeError unless the results `outs` of a reference are like those of `forward`, whose
    shapes and dtypes are `outputs`: what is not there would have the gradient 0."""
    found = [getattr(y, "shape", type(y).__name__) for y in outs]
    if found != [shape for shape, _ in outputs]:
        raise TypeError(
            f"{name}: reference must return what forward computes, without a cache: forward gave "
            f"{', '.join(str(shape) for shape, _ in outputs)}, and reference "
            f"{', '.join(map(str, found))}"
        )


def freed(name: str) -> GraphError:
    """The error for a second walk."""
    return GraphError(
        f"the graph was freed when it was walked before, at {name}; to walk it twice, the first "
        "walk needs retain_graph=True"
    )


def counted(name: str, ds: Any, parents: list) -> list:
    """The gradients in a list. Raises TypeError unless there is one, or None, for each argument."""
    if ds is None or hasattr(ds, "shape"):
        what = "nothing" if ds is None else "one array"
        raise TypeError(
            f"the rule of {name} gave {what}; it must give a tuple, with a gradient, or None, for "
            f"each of {len(parents)} arrays"
        )
    ds = list(ds)
    if len(ds) != len(parents):
        raise TypeError(
            f"the rule of {name} gave {len(ds)} gradients for {len(parents)} arrays; it must give "
            "one, or None, for each"
        )
    return ds


def checked_function(name: str, f: Any) -> Any:
    """f. Raises TypeError unless it is a function, which has a name and a signature."""
    if not callable(f) or not hasattr(f, "__name__"):
        raise TypeError(f"{name} makes an operation of a function of arrays, not of {f!r:.60}")
    return f
