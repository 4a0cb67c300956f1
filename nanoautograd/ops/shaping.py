"""The same elements in another shape, or with the axes in another order.

Each is a linear map y = Px with a matrix P of zeros and ones, so its rule is the transpose,
x̄ = Pᵀȳ: for a permutation of the elements that is the inverse permutation.
"""

from ..backends import array_namespace
from ..core.operation import function

# ---- another shape


@function
def _reshape(a, shape):
    """`a` in another shape, elements in C order."""
    return a.reshape(shape)


_reshape.defvjp(a=lambda g, a_shape: _reshape(g, a_shape))


def reshape(a, shape, *more, order="C"):
    """`a` in another shape; one length may be -1. `reshape(a, 2, 3)` is `reshape(a, (2, 3))`.

    ā = ȳ in the shape of `a`.

    order: "C", rows first; others are not offered.
    """
    if order != "C":
        raise ValueError(f"reshape: order {order!r} has no rule here; use order='C' and transpose")
    return _reshape(a, (shape, *more) if more else shape)


def ravel(a, order="C"):
    """`a` as a 1-D array, rows first:  ā = ȳ in the shape of `a`."""
    return reshape(a, (-1,), order=order)


def expand_dims(a, axis):
    """`a` with new axes of length 1, numbered `axis` in the result:  ā = ȳ in the shape of `a`."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    ndim = len(a.shape) + len(axes)
    axes = [checked(i, ndim, "expand_dims") for i in axes]
    if len(set(axes)) < len(axes):
        raise ValueError(f"expand_dims: axis {axis} names one axis twice")
    lengths = iter(a.shape)
    return _reshape(a, tuple(1 if i in axes else next(lengths) for i in range(ndim)))


def squeeze(a, axis=None):
    """`a` without axes of length 1, all or those named:  ā = ȳ in the shape of `a`."""
    shape = a.shape
    if axis is None:
        return _reshape(a, tuple(n for n in shape if n != 1))
    axes = [
        checked(i, len(shape), "squeeze") for i in (axis if isinstance(axis, tuple) else (axis,))
    ]
    if any(shape[i] != 1 for i in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} does not have length 1")
    return _reshape(a, tuple(n for i, n in enumerate(shape) if i not in axes))


def checked(axis, ndim, name):
    """`axis` as a number from 0 to ndim - 1; `name` is what the error calls the operation."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"{name}: axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


@function
def broadcast_to(array, shape):
    """`array` repeated along new axes and axes of length 1.

    Its gradient is ȳ summed over those axes. The engine does that for every operation that
    broadcasts, so the rule here is the identity.
    """
    return array_namespace(array).broadcast_to(array, shape)


broadcast_to.defvjp(array=lambda g: g)


@function
def copy(a):
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


def transpose(a, axes=None):
    """`a` with its axes in the order `axes`; reversed by default.

    ā = ȳ with the axes put back, that is in the order of the inverse permutation.
    """
    ndim = len(a.shape)
    axes = range(ndim)[::-1] if axes is None else [checked(i, ndim, "transpose") for i in axes]
    return _transpose(a, tuple(axes))


def permute(a, *axes):
    """`transpose`, with PyTorch's name: permute(a, 1, 0, 2) or permute(a, (1, 0, 2)).

    ā = ȳ with the axes put back.
    """
    return transpose(a, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)


def swapaxes(a, axis1, axis2):
    """`a` with two axes exchanged:  ā = swapaxes(ȳ, axis1, axis2)."""
    ndim = len(a.shape)
    i, j = checked(axis1, ndim, "swapaxes"), checked(axis2, ndim, "swapaxes")
    axes = list(range(ndim))
    axes[i], axes[j] = j, i
    return _transpose(a, tuple(axes))


def moveaxis(a, source, destination):
    """`a` with the axes `source` moved to the positions `destination`, the others in order.

    ā = moveaxis(ȳ, destination, source).
    """
    ndim = len(a.shape)
    source = [checked(i, ndim, "moveaxis") for i in as_tuple(source)]
    destination = [checked(i, ndim, "moveaxis") for i in as_tuple(destination)]
    if len(source) != len(destination) or len(set(source)) < len(source):
        raise ValueError(f"moveaxis: cannot move the axes {source} to {destination}")
    axes = [i for i in range(ndim) if i not in source]
    for position, i in sorted(zip(destination, source)):
        axes.insert(position, i)
    return _transpose(a, tuple(axes))


def as_tuple(x):
    """x itself if it is a sequence, else the tuple of x alone."""
    return tuple(x) if hasattr(x, "__iter__") else (x,)
