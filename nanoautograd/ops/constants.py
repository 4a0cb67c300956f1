"""Functions without a derivative: comparisons, positions, tests, rounding, and new arrays.

Given a Tensor they return a Tensor that requires no gradient. (Where a function is constant
almost everywhere, as `floor` is, that is also its derivative: none flows through it.)
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, Protocol, cast, overload

import numpy as np

from ..backends import array_namespace
from ..core.tensor import Tensor, wrap
from ..interface.array_interface import array_of
from ..safety.arguments import as_input, check_operand, is_foreign, is_sequence
from ..safety.data import DEEPEST, check_depth, holds_numbers, without_tensors
from ..safety.options import check_flags
from ..typing import ArrayLike, F
from .elementwise import namespace_of_reals, weak
from .shaping import checked, integer, named


def without_gradient(f: F) -> F:
    """Makes f, a function of arrays, one that also takes Tensors, and forgets their history."""

    @wraps(f)
    def operation(*args, **kwargs):
        for a in (*args, *kwargs.values()):
            if hasattr(type(a), "__array__") and is_foreign(a):  # else an axis, a dtype, ...
                check_operand(a, f.__name__)
        t = _first_tensor((*args, *kwargs.values()))
        if t is None:
            return f(*args, **kwargs)
        values = [_value(a) for a in args]
        options = {name: _value(a) for name, a in kwargs.items()}
        return _wrapped(f(*values, **options), array_namespace(t._array))

    return operation


def _first_tensor(a, deepest=DEEPEST):
    """The first Tensor in a nested list, or None."""
    if isinstance(a, (list, tuple)):
        check_depth(deepest)
        found = (_first_tensor(b, deepest - 1) for b in a)
        return next((t for t in found if t is not None), None)
    return a if isinstance(a, Tensor) else None


def _value(a):
    """The array in a Tensor, or of a list with Tensors in it; anything else as it is."""
    t = _first_tensor(a)
    if t is None or t is a:
        return array_of(a)
    return array_namespace(t._array).asarray(without_tensors(a, forget=True))


def _wrapped(result, xp):
    if isinstance(result, (tuple, list)):
        return tuple(_wrapped(y, xp) for y in result)
    return wrap(result if hasattr(result, "dtype") else xp.asarray(result))


@without_gradient
def argsort(a: ArrayLike, *args: Any, **options: Any) -> Tensor:
    """As `numpy.argsort`, on Tensors and arrays of any backend; NaNs come last. No gradient."""
    a = as_input(a, "argsort")
    xp = namespace_of_reals("argsort", a)
    _check_options("argsort", a, dict(zip(("axis",), args)) | options)
    keys = a.astype("float32") if a.dtype.name == "bfloat16" else a  # NumPy leaves its NaNs
    return xp.argsort(keys, *args, **options)


def _check_options(name, a, options):
    """Raises TypeError for an option that is no axis, no flag, or no number."""
    for key, value in options.items():
        if key == "axis" and name.startswith("arg") and value is not None:  # only one
            checked(value, len(a.shape) or 1, name)
        elif key == "axis":
            named(value, len(a.shape), name)
        elif key in ("keepdims", "equal_nan"):
            check_flags(name, **{key: value})
        elif key == "decimals":
            integer(value, name, key)


class _Function(Protocol):
    """A function of an array, with the other arguments that NumPy's has."""

    def __call__(self, a: ArrayLike, *args: Any, **options: Any) -> Tensor: ...


def _as_in_numpy(
    name: str, *arrays: str, then: tuple[str, ...] = (), of_reals: bool = False
) -> _Function:
    """The function `name` of the array's own namespace, with its arguments: those called `arrays`,
    and `then` options."""

    def f(*args: Any, **kwargs: Any) -> Tensor:
        given = dict(zip((*arrays, *then), args)) | kwargs
        for key in arrays:
            if key in given:
                given[key] = as_input(given[key], name)
                if of_reals:
                    namespace_of_reals(name, given[key])
        if arrays[0] in given:
            _check_options(name, given[arrays[0]], given)
        if "keepdims" in kwargs:
            kwargs["keepdims"] = bool(kwargs["keepdims"])  # NumPy takes none of its own
        return getattr(array_namespace(*args), name)(*args, **kwargs)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"As `numpy.{name}`, on Tensors and arrays of any backend; has no gradient."
    return without_gradient(f)


def _operand(x, xs, name):
    """A number or an array, which a sequence is made, beside the arrays among `xs`."""
    if type(x) in (float, int, bool) or type(x) is np.ndarray and holds_numbers(x):
        return x  # as most are
    check_operand(x, name)
    return array_namespace(*xs).asarray(x) if is_sequence(x) else x


@overload
def _elementwise(
    name: str, count: Literal[1], text: str = "", of_reals: bool = False, of_integers: bool = False
) -> Callable[[ArrayLike], Tensor]: ...
@overload
def _elementwise(
    name: str, count: Literal[2], text: str = "", of_reals: bool = False, of_integers: bool = False
) -> Callable[[ArrayLike, ArrayLike], Tensor]: ...
def _elementwise(name, count, text="", of_reals=False, of_integers=False):
    """The same for a function of `count` numbers, elementwise, without NumPy's out= and where=."""

    def f(*xs: ArrayLike) -> Tensor:
        if len(xs) != count:
            raise TypeError(f"{name} takes {count} argument{'s'[: count - 1]}, got {len(xs)}")
        xs = [_operand(x, xs, name) for x in xs]
        xp = namespace_of_reals(name, *xs) if of_reals else array_namespace(*xs)
        for x in xs if of_integers else ():
            if getattr(x, "dtype", np.dtype(type(x))).kind not in "biu":
                raise TypeError(f"{name} is computed of integers and booleans only; got {x!r:.99}")
        return getattr(xp, name)(*(weak(*xs) if count == 2 else xs))

    f.__name__ = f.__qualname__ = name
    about = f"{text}, elementwise" if text else f"As `numpy.{name}`"
    f.__doc__ = f"{about}, on Tensors and arrays of any backend; has no gradient."
    return without_gradient(f)


equal = _elementwise("equal", 2, "x1 == x2")
not_equal = _elementwise("not_equal", 2, "x1 != x2")
less = _elementwise("less", 2, "x1 < x2", of_reals=True)
less_equal = _elementwise("less_equal", 2, "x1 <= x2", of_reals=True)
greater = _elementwise("greater", 2, "x1 > x2", of_reals=True)
greater_equal = _elementwise("greater_equal", 2, "x1 >= x2", of_reals=True)
floor_divide = _elementwise("floor_divide", 2, "⌊x1 / x2⌋", of_reals=True)
all = _as_in_numpy("all", "a", then=("axis",))
allclose = _as_in_numpy("allclose", "a", "b", "rtol", "atol", then=("equal_nan",))
any = _as_in_numpy("any", "a", then=("axis",))
argmax = _as_in_numpy("argmax", "a", then=("axis",), of_reals=True)
argmin = _as_in_numpy("argmin", "a", then=("axis",), of_reals=True)
array_equal = _as_in_numpy("array_equal", "a1", "a2", then=("equal_nan",))
bitwise_and = _elementwise("bitwise_and", 2, of_integers=True)
bitwise_or = _elementwise("bitwise_or", 2, of_integers=True)
bitwise_xor = _elementwise("bitwise_xor", 2, of_integers=True)
ceil = _elementwise("ceil", 1, of_reals=True)
count_nonzero = _as_in_numpy("count_nonzero", "a", then=("axis",))
floor = _elementwise("floor", 1, of_reals=True)
invert = _elementwise("invert", 1, of_integers=True)
isclose = _as_in_numpy("isclose", "a", "b", "rtol", "atol", then=("equal_nan",))
isfinite = _elementwise("isfinite", 1)
isinf = _elementwise("isinf", 1)
isnan = _elementwise("isnan", 1)
logical_and = _elementwise("logical_and", 2)
logical_not = _elementwise("logical_not", 1)
logical_or = _elementwise("logical_or", 2)
logical_xor = _elementwise("logical_xor", 2)
nonzero = cast(Callable[[ArrayLike], tuple[Tensor, ...]], _as_in_numpy("nonzero", "a"))
ones_like = _as_in_numpy("ones_like", "a")
rint = _elementwise("rint", 1)
round = _as_in_numpy("round", "a", then=("decimals",))
searchsorted = _as_in_numpy("searchsorted", "a", "v", of_reals=True)
trunc = _elementwise("trunc", 1, of_reals=True)
zeros_like = _as_in_numpy("zeros_like", "a")
integer_prod = _as_in_numpy("prod", "a")  # `prod` of integers, in reductions.py
