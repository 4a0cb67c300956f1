"""Functions without a derivative: comparisons, positions, tests, rounding, and new arrays.

Given a Tensor they return a Tensor that requires no gradient. (Where a function is constant
almost everywhere, as `floor` is, that is also its derivative: none flows through it.)
"""

from functools import wraps

from ..backends import array_namespace
from ..core.tensor import Tensor, wrap
from ..interface.array_interface import array_of
from ..safety.arguments import check_operand
from ..safety.checks import DEEPEST, check_depth, without_tensors


def without_gradient(f):
    """Makes f, a function of arrays, one that also takes Tensors, and forgets their history."""

    @wraps(f)
    def operation(*args, **kwargs):
        for a in (*args, *kwargs.values()):
            if hasattr(type(a), "__array__"):  # else an axis, a dtype, ...
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
def equal(x1, x2):
    """x1 == x2, elementwise."""
    return x1 == x2


@without_gradient
def not_equal(x1, x2):
    """x1 != x2, elementwise."""
    return x1 != x2


@without_gradient
def less(x1, x2):
    """x1 < x2, elementwise."""
    return x1 < x2


@without_gradient
def less_equal(x1, x2):
    """x1 <= x2, elementwise."""
    return x1 <= x2


@without_gradient
def greater(x1, x2):
    """x1 > x2, elementwise."""
    return x1 > x2


@without_gradient
def greater_equal(x1, x2):
    """x1 >= x2, elementwise."""
    return x1 >= x2


@without_gradient
def floor_divide(a, b):
    """⌊a / b⌋, elementwise."""
    return a // b


@without_gradient
def argsort(a, *args, **options):
    """As `numpy.argsort`, on Tensors and arrays of any backend; NaNs come last. No gradient."""
    xp = array_namespace(a)
    a = xp.asarray(a)
    keys = a.astype("float32") if a.dtype.name == "bfloat16" else a  # NumPy leaves its NaNs
    return xp.argsort(keys, *args, **options)


def _as_in_numpy(name):
    """The function `name` of the array's own namespace, with its arguments."""

    def f(*args, **kwargs):
        return getattr(array_namespace(*args), name)(*args, **kwargs)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"As `numpy.{name}`, on Tensors and arrays of any backend; has no gradient."
    return without_gradient(f)


def _elementwise(name, count):
    """The same for a function of `count` numbers, elementwise, without NumPy's out= and where=."""

    def f(*xs):
        if len(xs) != count:
            raise TypeError(f"{name} takes {count} argument{'s'[: count - 1]}, got {len(xs)}")
        for x in xs:
            check_operand(x, name)
        return getattr(array_namespace(*xs), name)(*xs)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"As `numpy.{name}`, on Tensors and arrays of any backend; has no gradient."
    return without_gradient(f)


all = _as_in_numpy("all")
allclose = _as_in_numpy("allclose")
any = _as_in_numpy("any")
argmax = _as_in_numpy("argmax")
argmin = _as_in_numpy("argmin")
array_equal = _as_in_numpy("array_equal")
bitwise_and = _elementwise("bitwise_and", 2)
bitwise_or = _elementwise("bitwise_or", 2)
bitwise_xor = _elementwise("bitwise_xor", 2)
ceil = _elementwise("ceil", 1)
count_nonzero = _as_in_numpy("count_nonzero")
floor = _elementwise("floor", 1)
invert = _elementwise("invert", 1)
isclose = _as_in_numpy("isclose")
isfinite = _elementwise("isfinite", 1)
isinf = _elementwise("isinf", 1)
isnan = _elementwise("isnan", 1)
logical_and = _elementwise("logical_and", 2)
logical_not = _elementwise("logical_not", 1)
logical_or = _elementwise("logical_or", 2)
logical_xor = _elementwise("logical_xor", 2)
nonzero = _as_in_numpy("nonzero")
ones_like = _as_in_numpy("ones_like")
rint = _elementwise("rint", 1)
round = _as_in_numpy("round")
searchsorted = _as_in_numpy("searchsorted")
trunc = _elementwise("trunc", 1)
zeros_like = _as_in_numpy("zeros_like")
integer_prod = _as_in_numpy("prod")  # `prod` of integers, in reductions.py
