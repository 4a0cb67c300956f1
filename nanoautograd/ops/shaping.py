"""The same elements in another shape, or with the axes in another order.

Each is a linear map y = Px with a matrix P of zeros and ones, so its rule is the transpose,
x̄ = Pᵀȳ: for a permutation of the elements that is the inverse permutation.
"""

from collections.abc import Sequence
from operator import index
from typing import Any

from ..backends import array_namespace
from ..core.operation import function
from ..core.tensor import Tensor
from ..safety.arguments import as_array, check_operand
from ..typing import ArrayLike, Axes, ShapeLike

# ---- numbers of axes and lengths


def integers(x: Any, name: str) -> tuple[int, ...]:
    """The integers in a sequence, or the one that x is, as a tuple. `name`, here and below, is what
    an error calls the operation."""
    try:
        return tuple(map(index, each(x)))
    except TypeError:
        raise TypeError(f"{name}: {x!r} is neither an integer nor a sequence of integers") from None


def integer(x: Any, name: str, what: str) -> int:
    """The integer that x is."""
    try:
        return index(x)
    except TypeError:
        raise TypeError(f"{name}: {what} is an integer, not {x!r:.99}") from None


def each(x: Any) -> tuple:
    """The elements of a sequence or an array as a tuple; of anything else itself."""
    several = isinstance(x, Sequence) and not isinstance(x, bytes)  # a set has no order
    is_class = isinstance(x, type)  # np.ndarray, which has an ndim
    return tuple(x) if not is_class and getattr(x, "ndim", several) else (x,)


def checked(axis: Any, ndim: int, name: str) -> int:
    """`axis` as a number from 0 to ndim - 1."""
    i = integer(axis, name, "an axis")
    if isinstance(axis, bool):
        raise TypeError(f"{name}: an axis is an integer, not {axis!r}")
    if not -ndim <= i < ndim:
        raise ValueError(f"{name}: axis {i} is out of range for {ndim} dimensions")
    return i % ndim


def distinct(axes: Any, ndim: int, name: str) -> list[int]:
    """The axes, one or several, as numbers from 0 to ndim - 1, of which none stands twice."""
    integers(axes, name)  # raises
    found = [checked(i, ndim, name) for i in each(axes)]
    if len(set(found)) < len(found):
        raise ValueError(f"{name}: axis {axes} names one axis twice")
    return found


def single(a: Any, axis: Any, name: str) -> tuple[Any, int]:
    """`a` and one axis of it, as a number: of the flattened array for None, and of a 0-d array,
    which has the axis 0 here, as in NumPy."""
    if axis is None or not a.shape and not checked(axis, 1, name):
        return ravel(a), 0
    return a, checked(axis, len(a.shape), name)


def named(axis: Any, ndim: int, name: str) -> list[int]:
    """What reductions take as `axis`, as numbers from 0 to ndim - 1: None for all axes, an integer,
    or a tuple, but no list. A 0-d array has the axis 0, which is none, as in NumPy."""
    if axis is None:
        return list(range(ndim))
    if isinstance(axis, tuple):
        return distinct(axis, ndim, name)
    return [checked(axis, ndim or 1, name)][:ndim]


# ---- another shape


@function
def _reshape(a, shape):
    """`a` in another shape, elements in C order."""
    try:
        return a.reshape(shape)
    except TypeError:
        integers(shape, "reshape")  # says what is wrong
        raise


_reshape.defvjp(a=lambda g, a_shape: _reshape(g, a_shape))


def reshape(a: ArrayLike, shape: ShapeLike, *more: int, order: str = "C") -> Tensor:
    """`a` in another shape; one length may be -1. `reshape(a, 2, 3)` is `reshape(a, (2, 3))`.

    ā = ȳ in the shape of `a`.

    order: "C", rows first; others are not offered.
    """
    if not isinstance(order, str) or order != "C":
        raise ValueError(f"reshape: order {order!r} has no rule here; use order='C' and transpose")
    shape = (shape, *more) if more else shape
    return _reshape(a, shape if type(shape) is tuple else integers(shape, "reshape"))


def ravel(a: ArrayLike, order: str = "C") -> Tensor:
    """`a` as a 1-D array, rows first:  ā = ȳ in the shape of `a`."""
    return reshape(a, (-1,), order=order)


def expand_dims(a: ArrayLike, axis: int | Sequence[int]) -> Tensor:
    """`a` with new axes of length 1, numbered `axis` in the result:  ā = ȳ in the shape of `a`."""
    a = as_array(a, "expand_dims")
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = len(a.shape) + len(axes)
    axes = distinct(axes, ndim, "expand_dims")
    lengths = iter(a.shape)
    return _reshape(a, tuple(1 if i in axes else next(lengths) for i in range(ndim)))


def squeeze(a: ArrayLike, axis: Axes = None) -> Tensor:
    """`a` without axes of length 1, all or those named:  ā = ȳ in the shape of `a`."""
    a = as_array(a, "squeeze")
    shape = a.shape
    if axis is None:
        return _reshape(a, tuple(n for n in shape if n != 1))
    axes = named(axis, len(shape), "squeeze")
    if any(shape[i] != 1 for i in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} does not have length 1")
    return _reshape(a, tuple(n for i, n in enumerate(shape) if i not in axes))


@function
def broadcast_to(array: ArrayLike, shape: ShapeLike) -> Tensor:
    """`array` repeated along new axes and axes of length 1.

    Its gradient is ȳ summed over those axes. The engine does that for every operation that
    broadcasts, so the rule here is the identity.
    """
    if array is None:
        check_operand(array, "broadcast_to")  # NumPy would make an array of objects
    shape = integers(shape, "broadcast_to")
    return array_namespace(array).broadcast_to(array, shape)


broadcast_to.defvjp(array=lambda g: g)


@function
def copy(a: ArrayLike) -> Tensor:
    """The same elements in memory of their own:  ā = ȳ."""
    return a.copy()


copy.defvjp(a=lambda g: g)


# ---- axes in another order


@function
def _transpose(a, axes):
    return a.transpose(axes)


_transpose.defvjp(a=lambda g, axes: _transpose(g, _inverse(axes)))


def _inverse(permutation):
    """The permutation that undoes one."""
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def transpose(a: ArrayLike, axes: Sequence[int] | None = None) -> Tensor:
    """`a` with its axes in the order `axes`; reversed by default.

    ā = ȳ with the axes put back, that is in the order of the inverse permutation.
    """
    a = as_array(a, "transpose")
    ndim = len(a.shape)
    axes = range(ndim)[::-1] if axes is None else distinct(axes, ndim, "transpose")
    if len(axes) < ndim:
        raise ValueError(f"transpose: {len(axes)} axes for an array of {ndim} dimensions")
    return _transpose(a, tuple(axes))


def permute(a: ArrayLike, *axes: int | Sequence[int]) -> Tensor:
    """`transpose`, with PyTorch's name: permute(a, 1, 0, 2) or permute(a, (1, 0, 2)).

    ā = ȳ with the axes put back.
    """
    return transpose(a, axes[0] if len(axes) == 1 else axes)


def swapaxes(a: ArrayLike, axis1: int, axis2: int) -> Tensor:
    """`a` with two axes exchanged:  ā = swapaxes(ȳ, axis1, axis2)."""
    a = as_array(a, "swapaxes")
    ndim = len(a.shape)
    i, j = checked(axis1, ndim, "swapaxes"), checked(axis2, ndim, "swapaxes")
    axes = list(range(ndim))
    axes[i], axes[j] = j, i
    return _transpose(a, tuple(axes))


def moveaxis(a: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """`a` with the axes `source` moved to the positions `destination`, the others in order.

    ā = moveaxis(ȳ, destination, source).
    """
    a = as_array(a, "moveaxis")
    ndim = len(a.shape)
    source, destination = [distinct(i, ndim, "moveaxis") for i in (source, destination)]
    if len(source) != len(destination):
        raise ValueError(f"moveaxis: cannot move the axes {source} to {destination}")
    axes = [i for i in range(ndim) if i not in source]
    for position, i in sorted(zip(destination, source)):
        axes.insert(position, i)
    return _transpose(a, tuple(axes))
