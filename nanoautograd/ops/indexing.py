"""Reading and writing parts of an array.

Reading, y = x[i], takes elements to where they are wanted; its rule brings the gradients back,
x̄[i] += ȳ, and an element that was read twice gets both. Writing is the other way round, and each
is the other's rule.
"""

from numbers import Integral

from ..backends import is_array, is_fancy, last_writers, namespace
from ..backends import scatter_add as scatter_add_
from ..function import caller, function
from ..graph import GraphError, IndexedGradient
from ..modes import INSPECTING, RECORDING
from ..node import inspect_values
from ..tensor import Tensor, array_of, is_float, wrap
from .shaping import broadcast_to, checked, copy, ravel, reshape


def _plain(index, x):
    """The index with Tensors replaced by their arrays, and lists by arrays on x's device."""
    if type(index) is tuple:
        return tuple(_plain(i, x) for i in index)
    if isinstance(index, Tensor):
        return index._array
    if isinstance(index, (list, range)):
        xp = namespace(array_of(x))
        index = xp.asarray(index)
        return index if index.size else index.astype("int64")  # [] would be float64
    return index


@function
def _getitem(x, index):
    return x[index]


_getitem.vjp(x=lambda g, x_shape, index: _scattered(g, index, x_shape))


def getitem(x, index):
    """x[index], for any index that NumPy takes."""
    return _getitem(x, _plain(index, x))


def _scattered(g, index, shape):
    """Zeros of `shape` with g added at `index`."""
    if isinstance(g, Tensor):
        return scatter_add(g, index, shape)
    return IndexedGradient(index, g, shape)  # the walk adds it to what it has


@function
def scatter_add(values, index, shape):
    """An array of `shape`, zero but for `values` added at `index`, repeated entries included."""
    xp = namespace(values)
    y = xp.zeros(shape, dtype=values.dtype)
    scatter_add_(y, index, values)
    return y


scatter_add.vjp(values=lambda g, index: getitem(g, index))


# ---- writing


@function
def _index_put(x, index, value):
    """A copy of x in which x[index] = value."""
    y = namespace(x).array(x)  # a copy; of a NumPy scalar, a 0-d array
    y[index] = value
    return y


_index_put.vjp(x=lambda g, index: _index_put(g, index, 0), value=lambda g, index: getitem(g, index))


def index_put(x, index, value):
    """A copy of x with `value` at `index`, differentiated with respect to both.

    As `y = x.copy(); y[index] = value` in NumPy; where an index is repeated, the last value stays.
    """
    index = _plain(index, x)
    return _index_put(x, *_without_repeats(x, index, _fitting(x, index, value)))


def _fitting(x, index, value):
    """`value` as an array on x's device, without axes of length 1 that x[index] does not have."""
    x = array_of(x)
    if not isinstance(value, Tensor) and not is_array(value):
        return namespace(x).asarray(value, dtype=x.dtype)
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
    xp = namespace(x)
    positions = xp.arange(x.size).reshape(x.shape)[index]
    stays = last_writers(positions, x.size) == xp.arange(positions.size)
    if stays.all():
        return index, value
    value = getitem(ravel(broadcast_to(value, positions.shape)), stays)
    return xp.unravel_index(positions.ravel()[stays], x.shape), value


def assign(x, index, value):
    """x[index] = value, in place, for a Tensor x.

    If the old x or `value` has a history, the write becomes part of x's: the gradient of the
    elements written goes to `value`, that of the others to the old x. An operation that still
    needs the old value refuses to be differentiated, as does every other Tensor that shares the
    memory (see Memory in tensor.py).
    """
    x._check_history("assignment")
    index = _plain(index, x)
    if isinstance(value, Tensor):
        value._check_history("assignment")
        if namespace(value._array).may_share_memory(value._array, x._array):
            value = copy(value)  # x[1:] = x[:-1] reads before it writes
    recorded = RECORDING.get() and (
        x.requires_grad or isinstance(value, Tensor) and value.requires_grad
    )
    if not recorded and not x.is_leaf:
        raise GraphError(
            "assignment within no_grad() into a computed Tensor would leave it with "
            "the gradient of another value; assign into a .detach().copy() of it"
        )
    if recorded and x.requires_grad and x.is_leaf:
        raise GraphError(
            "assignment into a leaf that requires a gradient would change the value "
            "that the gradient is for; use `y = nag.index_put(x, index, value)`, or "
            "assign within no_grad() if it is an update"
        )
    if recorded and not is_float(x.dtype):
        raise TypeError(
            f"a value that requires a gradient was assigned into a Tensor of dtype "
            f"{x.dtype}, which cannot carry one; use .astype() first"
        )
    value = _fitting(x, index, value)
    if recorded:
        index, value = _without_repeats(x, index, value)
    where = caller() if INSPECTING.get() else None
    if where:
        inspect_values(value, "the value of an assignment", where)
    x._array[index] = array_of(value)
    x._memory.writes += 1
    if recorded:
        y = _index_put.recorded((wrap(x._array, x._edge), index, value), x._array, where)
        x._edge = y._edge
        x._memory.recorded = x._memory.writes
    x._seen = x._memory.writes


# ---- take and gather


def along(axis, index, ndim):
    """The index that applies `index` to one axis, and takes all of the others."""
    return (slice(None),) * (axis % ndim) + (index,)


def take(a, indices, axis=None):
    """The elements of `a` at `indices` along an axis; `axis=None`: of the flattened array."""
    if axis is None:
        a, axis = ravel(a), 0
    axis = checked(axis, len(a.shape), "take")
    y = getitem(a, along(axis, indices, len(a.shape)))
    return copy(y) if isinstance(indices, Integral) else y  # NumPy's take is never a view


def take_along_axis(arr, indices, axis=-1):
    """y[..., i, ...] = arr[..., indices[..., i, ...], ...], i along `axis`."""
    if axis is None:
        arr, axis = ravel(arr), 0
    indices = array_of(indices)
    ndim = len(arr.shape)
    if indices.ndim != ndim:
        raise ValueError(
            f"take_along_axis: indices of shape {indices.shape} for an array of "
            f"shape {arr.shape}; both need the same number of dimensions"
        )
    xp = namespace(indices)
    axis = checked(axis, ndim, "take_along_axis")
    index = [
        xp.arange(n).reshape([-1 if i == d else 1 for i in range(ndim)])
        for d, n in enumerate(arr.shape)
    ]
    index[axis] = indices
    return getitem(arr, tuple(index))
