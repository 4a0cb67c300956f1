"""Putting arrays together, taking them apart, and repeating, shifting or masking their parts.

All are linear, so that each rule is the transpose of its operation: what splits an array joins the
gradients, what repeats an element adds them up, and what leaves an element out gives it 0.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from operator import index

import numpy as np

from ..backends import array_namespace
from ..core.operation import function
from ..core.tensor import Tensor, wrap
from ..interface.array_interface import array_of
from ..safety.arguments import as_array, as_arrays, check_operand, is_sequence
from ..safety.checks import check_complex
from ..typing import Array, ArrayLike, DTypeLike, ShapeLike
from .elementwise import astype
from .indexing import along, getitem, take
from .shaping import (
    broadcast_to,
    checked,
    copy,
    distinct,
    expand_dims,
    integer,
    integers,
    moveaxis,
    ravel,
    reshape,
    single,
)

# ---- order along an axis


def flip(m: ArrayLike, axis: int | Sequence[int] | None = None) -> Tensor:
    """`m` with the order along the axes reversed, all or those named:  m̄ = flip(ȳ, axis)."""
    m = as_array(m, "flip")
    ndim = len(m.shape)
    axes = range(ndim) if axis is None else distinct(axis, ndim, "flip")
    return getitem(m, tuple(slice(None, None, -1 if i in axes else None) for i in range(ndim)))


@function
def _roll(a, shifts, axes):
    return array_namespace(a).roll(a, shifts, axis=axes)


_roll.defvjp(a=lambda g, shifts, axes: _roll(g, tuple(-s for s in shifts), axes))


def roll(
    a: ArrayLike, shift: int | Sequence[int], axis: int | Sequence[int] | None = None
) -> Tensor:
    """`a` with the elements shifted along the axes, those that leave coming in at the front.

    ā = roll(ȳ, -shift, axis).

    shift, axis: integers, or sequences of one length; `axis=None`: along the flattened array.
    """
    a = as_array(a, "roll")
    shifts = integers(shift, "roll")
    axes = None if axis is None else integers(axis, "roll")
    if axes is not None:
        axes = tuple(checked(i, len(a.shape), "roll") for i in axes)
        shifts = shifts * len(axes) if len(shifts) == 1 else shifts
        axes = axes * len(shifts) if len(axes) == 1 else axes
        if len(shifts) != len(axes):
            raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    if axes == () and not a.shape:
        raise ValueError("roll: an array of 0 dimensions has no axes; leave out axis=()")
    return _roll(a, shifts, axes)


# ---- several arrays to one, and one to several


@function
def _concatenate(*arrays, axis=0):
    return array_namespace(*arrays).concatenate(arrays, axis=axis)


def _split_as(g, arrays_shape, axis, needs):
    """The part of the gradient that belongs to each array."""
    edges = [0]
    for shape in arrays_shape:
        edges.append(edges[-1] + shape[axis])
    return [
        getitem(g, along(axis, slice(i, j), g.ndim)) if need else None
        for i, j, need in zip(edges, edges[1:], needs)
    ]


_concatenate.defvjp(arrays=_split_as)


def concatenate(arrays: Iterable[ArrayLike], axis: int | None = 0) -> Tensor:
    """The arrays one after the other along an axis they have; `axis=None`: flattened.

    y = [a_1, a_2, ...]:  ā_k = the part of ȳ where a_k is in y.
    """
    arrays, axis = _joining(arrays, axis, "concatenate")
    if axis is None:
        arrays, axis = [ravel(a) for a in as_arrays(*arrays, name="concatenate")], 0
    return _concatenate(*arrays, axis=axis)


def _joining(arrays, axis, name):
    """What joins arrays takes: a sequence of them, and an axis."""
    if isinstance(axis, bool):
        raise TypeError(f"{name}: an axis is an integer, not {axis}")
    if isinstance(arrays, (Set, Mapping)):
        raise TypeError(f"{name} takes arrays in a sequence; a {type(arrays).__name__} is none")
    if not isinstance(arrays, (list, tuple)) and hasattr(arrays, "dtype"):
        check_operand(arrays, name)  # which has rows
    try:
        return list(arrays), axis if axis is None else index(axis)
    except TypeError:
        raise TypeError(
            f"{name} takes arrays in a sequence, as one argument, and an axis, an integer: "
            f"{name}([a, b]) or {name}([a, b], axis=0); got {type(arrays).__name__} and "
            f"{type(axis).__name__}"
        ) from None


def stack(arrays: Iterable[ArrayLike], axis: int = 0) -> Tensor:
    """The arrays, all of one shape, one after the other along a new axis.

    y = [a_1, a_2, ...]:  ā_k = the k-th slice of ȳ along that axis.
    """
    arrays, axis = _joining(arrays, axis, "stack")
    axis = integer(axis, "stack", "an axis")
    arrays = as_arrays(*arrays, name="stack")
    if len({a.shape for a in arrays}) > 1:
        raise ValueError(
            f"stack: the arrays must have one shape; got {', '.join(str(a.shape) for a in arrays)}"
        )
    return concatenate([expand_dims(a, axis) for a in arrays], axis)


@function
def _split(a, edges, axis):
    return tuple(a[along(axis, slice(i, j), a.ndim)] for i, j in zip(edges, edges[1:]))


_split.defvjp(a=lambda g, axis: concatenate(g, axis))


def split(
    ary: ArrayLike, indices_or_sections: int | Sequence[int] | Array, axis: int = 0
) -> tuple[Tensor, ...]:
    """`ary` in equal parts (given their number), or cut at the given positions: a tuple.

    a = [y_1, y_2, ...]:  ā = [ȳ_1, ȳ_2, ...], joined along the same axis.
    """
    ary = as_array(ary, "split")
    axis = checked(axis, len(ary.shape), "split")
    n = ary.shape[axis]
    if not is_sequence(indices_or_sections) and not getattr(indices_or_sections, "ndim", 0):
        (indices_or_sections,) = integers(indices_or_sections, "split")
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(
                f"split: axis {axis} of length {n} is not divided into "
                f"{indices_or_sections} equal parts"
            )
        edges = range(0, n + 1, n // indices_or_sections) if n else (0,) * (indices_or_sections + 1)
    else:
        cuts = integers(indices_or_sections, "split")
        edges = (0, *(slice(i).indices(n)[1] for i in cuts), n)
    if sorted(edges) != list(edges):  # parts that overlap, as NumPy gives them
        parts = zip(edges, edges[1:])
        return tuple(getitem(ary, along(axis, slice(i, j), len(ary.shape))) for i, j in parts)
    return _split(ary, tuple(edges), axis)


# ---- repetition and padding


def tile(A: ArrayLike, reps: ShapeLike) -> Tensor:
    """`A` repeated as a whole, reps[i] times along axis i:  Ā = the sum of ȳ over the copies."""
    A, reps = as_array(A, "tile"), integers(reps, "tile")
    ndim = max(len(reps), len(A.shape))
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - len(A.shape)) + A.shape
    pairs = broadcast_to(
        reshape(A, tuple(m for n in shape for m in (1, n))),
        tuple(m for r, n in zip(reps, shape) for m in (r, n)),
    )
    y = reshape(pairs, tuple(r * n for r, n in zip(reps, shape)))
    return copy(y) if set(reps) <= {1} else y  # it would be a view, as NumPy's never is


def full_like(
    a: ArrayLike,
    fill_value: ArrayLike,
    dtype: DTypeLike | None = None,
    *,
    shape: ShapeLike | None = None,
) -> Tensor:
    """`fill_value` for each element of an array like `a`: in its dtype and shape, or those given.

    The gradient of `fill_value` is ȳ, summed over the elements that it fills.
    """
    a, value = as_arrays(a, fill_value, name="full_like")
    if isinstance(a, Tensor) and not isinstance(value, Tensor):
        value = wrap(value)
    dtype = a.dtype if dtype is None else np.dtype(dtype)
    check_complex(value, dtype)
    value = astype(value, dtype)
    return copy(broadcast_to(value, a.shape if shape is None else integers(shape, "full_like")))


def repeat(a: ArrayLike, repeats: int | Sequence[int] | Array, axis: int | None = None) -> Tensor:
    """`a` with each element repeated: all as often, or as often as `repeats` says for each.

    ā_i = the sum of ȳ over the copies of a_i.
    """
    a, axis = single(as_array(a, "repeat"), axis, "repeat")
    n = a.shape[axis]
    xp = array_namespace(array_of(a))
    repeats = repeats.tolist() if hasattr(repeats, "tolist") else repeats
    counts = integers(repeats, "repeat")
    if len(counts) not in (1, n):
        raise ValueError(f"repeat: {len(counts)} counts for an axis of length {n}")
    source = xp.repeat(xp.arange(n), counts[0] if len(counts) == 1 else list(counts))
    return take(a, source, axis)


@function
def _pad_constant(array, pad_width, value):
    return array_namespace(array).pad(array, pad_width, mode="constant", constant_values=value)


_pad_constant.defvjp(
    array=lambda g, array_shape, pad_width: getitem(
        g, tuple(slice(before, before + n) for (before, _), n in zip(pad_width, array_shape))
    )
)


def pad(
    array: ArrayLike,
    pad_width: ArrayLike,
    mode: str = "constant",
    *,
    constant_values: ArrayLike = 0,
) -> Tensor:
    """`array` with elements added before and after each axis.

    y = pad(x):  x̄ = ȳ without what was added; to an element that was repeated, x̄_i = the sum of ȳ
    over all its copies.

    pad_width: n, (before, after), or a pair for each axis. mode: "constant", or one that repeats
    elements: "edge", "reflect", "symmetric", "wrap".
    """
    array = as_array(array, "pad")
    ndim = len(array.shape)
    pad_width = pad_width.tolist() if hasattr(pad_width, "tolist") else pad_width
    widths = np.asarray(pad_width)  # on the host
    is_fit = widths.dtype.kind in "iu" and widths.min(initial=0) >= 0 and widths.ndim < 3
    if not is_fit or any(m not in (1, n) for m, n in zip(widths.shape[::-1], (2, ndim))):
        raise ValueError(
            f"pad: pad_width {pad_width} does not fit an array of {ndim} dimensions; "
            "it takes n, (before, after) or one such pair for each axis, none below 0"
        )
    widths = tuple(map(tuple, np.broadcast_to(widths, (ndim, 2)).tolist()))  # on the host
    if isinstance(mode, str) and mode == "constant":
        check_complex(as_arrays(array, constant_values, name="pad")[1], array.dtype)
        return _pad_constant(array, widths, constant_values) if widths else copy(array)
    if not isinstance(mode, str) or mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(
            f"pad: mode {mode!r} has no rule here; there are 'constant', 'edge', "
            "'reflect', 'symmetric' and 'wrap'"
        )
    if np.any(constant_values):  # on the host, or a Tensor's
        raise ValueError(f"pad: constant_values are for the mode 'constant', not for {mode!r}")
    xp = array_namespace(array_of(array))
    for axis, (before, after) in enumerate(widths):
        if before or after:
            source = xp.pad(xp.arange(array.shape[axis]), (before, after), mode=mode)
            array = take(array, source, axis)
    return array if any(map(any, widths)) else copy(array)


# ---- triangles and diagonals


@function
def tril(m: ArrayLike, k: int = 0) -> Tensor:
    """The lower triangle of the last two axes, up to the k-th diagonal; zeros above.

    m̄ = tril(ȳ, k).
    """
    return array_namespace(m).tril(m, *integers(k, "tril"))


@function
def triu(m: ArrayLike, k: int = 0) -> Tensor:
    """The upper triangle of the last two axes, from the k-th diagonal; zeros below.

    m̄ = triu(ȳ, k).
    """
    return array_namespace(m).triu(m, *integers(k, "triu"))


tril.defvjp(m=lambda g, k: tril(g, k))
triu.defvjp(m=lambda g, k: triu(g, k))


def diagonal(a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal of each matrix in the axes `axis1` and `axis2`, as a new last axis.

    ā = ȳ on that diagonal, 0 elsewhere.
    """
    a = as_array(a, "diagonal")
    axes = tuple(checked(i, len(a.shape), "diagonal") for i in (axis1, axis2))
    a, offset = moveaxis(a, axes, (-2, -1)), integer(offset, "diagonal", "an offset")
    rows, columns = a.shape[-2:]
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    xp = array_namespace(array_of(a))
    i = xp.arange(n)
    return getitem(a, (Ellipsis, i + max(-offset, 0), i + max(offset, 0)))
