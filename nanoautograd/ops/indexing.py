"""Reading and writing parts of an array.

Reading, y = x[i], takes elements to where they are wanted; its rule brings the gradients back,
x̄[i] += ȳ, and an element that was read twice gets both. That is `scatter_add`, whose rule is to
read. (`scatter_add_` adds into an array of the backend, and is no operation.)
"""

from math import prod
from numbers import Integral
from typing import Any

import numpy as np

from ..backends import array_namespace, is_array, is_fancy, last_writers
from ..backends import scatter_add as scatter_add_
from ..core import operation
from ..core.grad_mode import GRAD_ENABLED
from ..core.operation import function
from ..core.tensor import Tensor, wrap
from ..interface.array_interface import array_of
from ..safety.arguments import as_array, as_arrays, as_input, check_operand, is_sequence
from ..safety.checks import check_complex
from ..safety.data import to_listed, without_tensors
from ..safety.in_place import check_assignment, check_version, completes, write
from ..typing import ArrayLike, Index, Shape, ShapeLike
from .shaping import broadcast_to, checked, copy, integer, integers, ravel, reshape, single


def _plain(index, x):
    """The index with Tensors replaced by their arrays, and every sequence by an array on x's
    device: only in an array can it be seen that an element is named twice."""
    if not isinstance(index, tuple):
        return _plain_part(index, x)
    return tuple(i if type(i) in READY else _plain_part(i, x) for i in index)


def _plain_part(i, x):
    if isinstance(i, Tensor):
        return i._array
    if type(i) in READY or is_array(i) or isinstance(i, (int, np.generic)):
        return i
    if hasattr(i, "__index__") and not hasattr(i, "__array__"):
        return i.__index__()
    try:
        i = without_tensors(i)
        dtype = "int64" if _is_empty(i) else None  # [] would be float64
        return array_namespace(array_of(x)).asarray(i, dtype=dtype)
    except (RuntimeError, TypeError) as error:  # also of PyTorch, for a tensor with a gradient
        raise IndexError(
            f"an index is made of integers, not of {type(i).__name__}: {error}"
        ) from None


def _is_empty(i):
    return is_sequence(i) and all(map(_is_empty, i))


READY = {int, slice, type(...), type(None)}  # what is used in an index as it is


@function
def _getitem(x, index):
    return x[index]


_getitem.defvjp(x=lambda g, x_shape, index: _scattered(g, index, x_shape))


def getitem(x: ArrayLike, index: Index) -> Tensor:
    """y = x[index], for any index that NumPy takes:  x̄[index] += ȳ, and 0 elsewhere.

    An element that is read twice, as by x[[0, 0]], gets both gradients.
    """
    kind = type(index)
    if kind not in READY and not (kind is tuple and READY.issuperset(map(type, index))):
        index = _plain(index, x)
    return _getitem(x, index)


def _scattered(g, index, shape):
    """Zeros of `shape` with g added at `index`."""
    if isinstance(g, Tensor):
        return _scatter_add(g, index, shape)
    return IndexedGradient(index, g, shape)


class IndexedGradient:
    """What y = x[index] contributes to the gradient of x: `values` there, zero everywhere else.

    It stays in this form until the walk adds it to what it has (core/backward.py), so that reading
    T slices of x costs one array of x's size, and not T of them.
    """

    def __init__(self, index: Any, values: Any, shape: Shape) -> None:
        self.index, self.values = index, values
        self.shape, self.size, self.dtype = shape, prod(shape), values.dtype  # as an array has
        self.base = None

    def add_to(self, total: Any, is_owned: bool, shape: Shape, dtype: Any) -> Any:
        """Adds it to the total of the gradients of x so far, or None: in place if it is owned, and
        else into a new array. (A 0-d total may be one of NumPy's scalars, which stay as they are.)
        """
        if is_owned and total.ndim:
            scatter_add_(total, self.index, self.values)
            return total
        dense = array_namespace(self.values).zeros(shape, dtype=dtype)
        scatter_add_(dense, self.index, self.values)
        return dense if total is None else total + dense


@function
def _scatter_add(values, index, shape):
    xp = array_namespace(values)
    y = xp.zeros(shape, dtype=values.dtype)
    scatter_add_(y, index, values)
    return y


_scatter_add.defvjp(values=lambda g, index: getitem(g, index))


def scatter_add(values: ArrayLike, index: Index, shape: ShapeLike) -> Tensor:
    """y: zeros of `shape`, with y[index] += values, repeated entries included. v̄ = ȳ[index]."""
    values = as_input(values, "scatter_add")
    return _scatter_add(values, _plain(index, values), integers(shape, "scatter_add"))


@function
def _bincount(x, weights=None, minlength=0):
    xp = array_namespace(x, weights)
    if weights is None:
        return xp.bincount(x, minlength=minlength)
    if weights.dtype.kind == "c" or weights.dtype.itemsize > 8:
        raise TypeError(
            f"bincount: sums are float64, which does not hold weights of {weights.dtype}; give "
            "weights.real, or weights.astype(float)"
        )
    weights = weights.astype("float64", copy=False)
    sums = xp.bincount(x, weights, minlength)
    return sums.astype("float64", copy=False)  # NumPy's sums of nothing are integers


_bincount.defvjp(weights=lambda g, x: getitem(g, x))


def bincount(x: ArrayLike, weights: ArrayLike | None = None, minlength: int = 0) -> Tensor:
    """y_i: how often i stands among the integers x, none below 0; or the sum of its `weights`, one
    for each entry of x. With ȳ, the gradient of a weight is that of its sum: w̄ = ȳ[x].

    minlength: how many sums there are at least. The sums have the dtype float64.
    """
    if weights is not None:
        weights = as_arrays(x, weights, name="bincount")[1]
    i = _positions(x, x if weights is None else weights, "bincount", "iub")
    minlength = integer(minlength, "bincount", "minlength")
    return _bincount(wrap(i) if isinstance(x, Tensor) else i, weights, minlength)


# ---- writing


@function
def _index_put(x, index, value):
    """A copy of x in which x[index] = value."""
    y = array_namespace(x).array(x)  # a copy; of a NumPy scalar, a 0-d array
    y[index] = value
    return y


_index_put.defvjp(
    x=lambda g, index: _index_put(g, index, 0), value=lambda g, index: getitem(g, index)
)


def index_put(x: ArrayLike, index: Index, value: ArrayLike) -> Tensor:
    """A copy y of x with `value` at `index`:  x̄ = ȳ but 0 at `index`,  v̄ = ȳ[index].

    As `y = x.copy(); y[index] = value` in NumPy; where an index is repeated, the last value stays.
    """
    x = as_array(x, "index_put")
    index = _plain(index, x)
    return _index_put(x, *_without_repeats(x, index, _fitting(x, index, value)))


def _fitting(x, index, value):
    """`value` as an array on x's device, without axes of length 1 that x[index] does not have."""
    x = array_of(x)
    if type(value) in (float, int, bool):  # as most are
        return array_namespace(x).asarray(value, dtype=x.dtype)
    check_complex(value, x.dtype)
    if not isinstance(value, Tensor):
        check_operand(value, "an assignment")
        if not is_array(value):
            return array_namespace(x).asarray(without_tensors(value), dtype=x.dtype)
    if value.shape[:1] == (1,):
        added = len(value.shape) - x[index].ndim
        if added > 0 and value.shape[:added] == (1,) * added:
            return reshape(value, value.shape[added:])
    return value


def _without_repeats(x, index, value):
    """`index` and `value` without the entries that are overwritten by later ones.

    After this the order of writing does not matter, and the rule for `value` gives a gradient
    only to the entries that stay.
    """
    if not is_fancy(index):
        return index, value
    x = array_of(x)
    xp = array_namespace(x)
    positions = xp.arange(x.size).reshape(x.shape)[index]
    stays = last_writers(positions, x.size) == xp.arange(positions.size)
    if stays.all():
        return index, value
    value = getitem(ravel(broadcast_to(value, positions.shape)), stays)
    return xp.unravel_index(positions.ravel()[stays], x.shape), value


def assign(x: Tensor, index: Index, value: ArrayLike) -> None:
    """x[index] = value, in place, for a Tensor x.

    If the old x or `value` has a history, the write becomes part of x's: the gradient of the
    elements written goes to `value`, that of the others to the old x. An operation that still
    needs the old value refuses to be differentiated, as does every other Tensor that shares the
    memory (safety/in_place.py).
    """
    index = _plain(index, x)
    if not completes(x, index, value):
        check_version(x, "assignment")
    if isinstance(value, Tensor):
        check_version(value, "assignment")
        if array_namespace(value._array).may_share_memory(value._array, x._array):
            value = copy(value)  # x[1:] = x[:-1] reads before it writes
    needs_gradient = x.requires_grad or isinstance(value, Tensor) and value.requires_grad
    recorded = needs_gradient and GRAD_ENABLED.get()
    check_assignment(x, recorded)
    value = _fitting(x, index, value)
    if recorded:
        index, value = _without_repeats(x, index, value)
    hook = operation.call_hook
    if hook is not None and hook.watching:
        hook.after("the value of an assignment", None, value)
    write(x, index, value, _index_put if recorded else None)
    if hook is not None and hook.watching:
        hook.after("an assignment", x, ())


# ---- take and gather


def along(axis: int, index: Any, ndim: int) -> tuple:
    """The index that applies `index` to one axis, and takes all of the others."""
    return (slice(None),) * (axis % ndim) + (index,)


def take(a: ArrayLike, indices: ArrayLike, axis: int | None = None) -> Tensor:
    """The elements of `a` at `indices` along an axis; `axis=None`: of the flattened array.

    The gradient of an element is the sum over the places where it was taken to.
    """
    a, axis = single(as_array(a, "take"), axis, "take")
    if isinstance(indices, Integral) and type(indices) is not np.timedelta64:  # of the host
        # (True is 1 here, as in NumPy.)
        return copy(getitem(a, along(axis, int(indices), len(a.shape))))  # never a view
    return getitem(a, along(axis, _positions(indices, a, "take", "iub"), len(a.shape)))


def _positions(indices, a, name, kinds="iu"):
    """`indices` as an array of integers on a's device. Raises TypeError unless they were of these
    kinds: "b" for booleans, which are 0 and 1."""
    is_none = isinstance(indices, (str, bytes)) or to_listed(indices)
    i = None if is_none else _plain_part(indices, a)
    if getattr(getattr(i, "dtype", None), "kind", "none") not in kinds:
        raise TypeError(f"{name}: integers are wanted, not {indices!r}")
    return i.astype("int64") if i.dtype == bool else i


def take_along_axis(arr: ArrayLike, indices: ArrayLike, axis: int | None = -1) -> Tensor:
    """y[..., i, ...] = arr[..., indices[..., i, ...], ...], i along `axis`.

    The gradient of an element is the sum over the places where it was taken to.
    """
    arr = as_array(arr, "take_along_axis")
    if axis is None:
        arr, axis = ravel(arr), 0
    indices, ndim = _positions(indices, arr, "take_along_axis"), len(arr.shape)
    if indices.ndim != ndim:
        raise ValueError(
            f"take_along_axis: indices of shape {indices.shape} for an array of "
            f"shape {arr.shape}; both need the same number of dimensions"
        )
    xp = array_namespace(indices)
    axis = checked(axis, ndim, "take_along_axis")
    index = [
        xp.arange(n).reshape([-1 if i == d else 1 for i in range(ndim)])
        for d, n in enumerate(arr.shape)
    ]
    index[axis] = indices
    return getitem(arr, tuple(index))
