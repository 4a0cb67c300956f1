"""Reductions: operations that take many elements to one, along one axis, several, or all.

`axis` is None (all), an integer or a tuple; `keepdims` leaves the reduced axes in place with
length 1. In the rules, `_with_axes(g, ...)` puts them back, so that ȳ broadcasts against x.
"""

import builtins
import math
from typing import Any

import numpy as np

from ..backends import array_namespace, is_float
from ..backends import scatter_add as scatter_add_
from ..backends.sums import ROWS, limits, long_dtype, squares, sum_dtype, summed
from ..core.operation import function
from ..core.tensor import Tensor
from ..interface.array_interface import array_of
from ..safety.arguments import as_array
from ..safety.checks import check_complex
from ..safety.options import check_flags, is_real
from ..typing import ArrayLike, Axes, DTypeLike
from .arranging import concatenate, diagonal, flip
from .constants import argsort, integer_prod, isfinite, not_equal
from .elementwise import abs as absolute
from .elementwise import astype, cast, exp, maximum, namespace_of_reals, sign, where
from .indexing import take_along_axis
from .shaping import broadcast_to, checked, copy, moveaxis, named, ravel, reshape


def _axes(axis, ndim):
    """`axis` as a tuple of numbers from 0 to ndim - 1."""
    return tuple(named(axis, ndim, "reduction"))


def _check(name, a, axis, keepdims):
    """keepdims as a bool of Python, as NumPy takes it. Raises TypeError or ValueError for what is
    no flag, or are no axes of `a`."""
    if keepdims is not False or axis is not None and type(axis) is not int:  # else NumPy says it
        check_flags(name, keepdims=keepdims)
        named(axis, a.ndim, name)
    return bool(keepdims)


def _with_axes(y, shape, axis):
    """A reduction's result, or its gradient, in the shape that keepdims=True would have given."""
    axes = _axes(axis, len(shape))
    return reshape(y, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def _count(shape, axis):
    """How many elements are taken to one."""
    return math.prod(shape[i] for i in _axes(axis, len(shape)))


# ---- sums


@function
def sum(
    a: ArrayLike, axis: Axes = None, dtype: DTypeLike | None = None, *, keepdims: bool = False
) -> Tensor:
    """y = Σ a:  ā = ȳ for every element of the sum. Elements of 16 bits are added in float32."""
    if keepdims is not False or axis is not None and type(axis) is not int:
        keepdims = _check("sum", a, axis, keepdims)
    if a.size <= ROWS and a.dtype.itemsize > 2 and dtype is None:  # so few need no care
        return a.sum(axis=axis, keepdims=keepdims)
    a = a if dtype is None else cast(a, dtype)
    y = summed(a, axis, keepdims)
    is_kept = y.dtype == a.dtype or dtype is None and not is_float(a.dtype)  # int8 gives int64
    return y if is_kept else y.astype(a.dtype)


sum.defvjp(a=lambda g, a_shape, axis: broadcast_to(_with_axes(g, a_shape, axis), a_shape))


@function
def mean(
    a: ArrayLike, axis: Axes = None, dtype: DTypeLike | None = None, *, keepdims: bool = False
) -> Tensor:
    """The mean of n elements:  ā = ȳ / n."""
    keepdims = _check("mean", a, axis, keepdims)
    wanted = a.dtype if dtype is None else np.dtype(dtype)
    check_complex(a, wanted)
    if not is_float(wanted):
        return a.mean(axis=axis, dtype=dtype, keepdims=keepdims)
    a, n = a.astype(wanted, copy=False), _count(a.shape, axis)
    y = summed(a, axis, keepdims) / n
    if type(a) is np.ndarray and n and not abs(y).max(initial=0) < math.inf:  # a sum too large?
        y = summed(a.astype(sum_dtype(a), copy=False) / n, axis, keepdims)
    return y if y.dtype == wanted else y.astype(wanted)


mean.defvjp(
    a=lambda g, a_shape, axis: broadcast_to(
        _with_axes(_by_count(g, _count(a_shape, axis)), a_shape, axis), a_shape
    )
)


def _by_count(g, n):
    """g / n, a number or an array of them, where float16 has no n above 65,504."""
    w = wide(g)
    y = w / (n.astype(w.dtype) if hasattr(n, "dtype") else n)
    return y if w is g else astype(y, g.dtype)


def wide(a: Any) -> Any:
    """An array of 16 bits in the dtype in which its elements are added; anything else as it is."""
    is_short = hasattr(a, "dtype") and a.dtype.itemsize == 2 and is_float(a.dtype)
    return astype(a, sum_dtype(a)) if is_short else a


def var(
    a: ArrayLike,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
) -> Tensor:
    """The variance Σ (a - mean a)² / (n - ddof):  ā = 2 ȳ (a - mean a) / (n - ddof).

    The mean moves with `a`, too, but that adds nothing: the deviations from it have the sum 0.
    """
    return _moment("var", _mean_square, a, axis, dtype, ddof, keepdims)


def std(
    a: ArrayLike,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
) -> Tensor:
    """The standard deviation y = √var:  ā = ȳ (a - mean a) / ((n - ddof) y), and 0 where y = 0."""
    return _moment("std", _root_mean_square, a, axis, dtype, ddof, keepdims)


def _moment(name, f, a, axis, dtype, ddof, keepdims):
    """f of the deviations from the mean."""
    if isinstance(ddof, Tensor) or not is_real(ddof):
        raise TypeError(f"{name}: ddof is a number, and has no gradient; got {type(ddof).__name__}")
    a = as_array(a, name)
    keepdims = _check(name, a, axis, keepdims)
    a = a if dtype is None else astype(a, dtype)
    x = wide(a)
    d = x - mean(x, axis, keepdims=True)
    d = absolute(d) if d.dtype.kind == "c" else d
    y = f(d, axis, builtins.max(_count(a.shape, axis) - ddof, 0), keepdims=keepdims)
    return y if x is a else astype(y, a.dtype)


@function
def _mean_square(x, axis=None, n=1, *, keepdims=False):
    """y = Σx²/n:  x̄ = 2 ȳ x / n."""
    v, s = squares(x, axis, n)
    return _without_axes(v * s * s, axis, keepdims)


_mean_square.defvjp(x=lambda g, x, axis, n: _with_axes(2 * g / n, x.shape, axis) * x)


@function
def _root_mean_square(x, axis=None, n=1, *, keepdims=False):
    """y = √(Σx²/n):  x̄ = ȳ x / (n y), and 0 at x = 0, the middle of the slopes there."""
    v, s = squares(x, axis, n)
    return _without_axes(array_namespace(x).sqrt(v) * s, axis, keepdims)


def _root_mean_square_rule(g, x, out, axis, n):
    # Divided by infinity, x = 0 and what depends on it have the slope 0.
    y, g = where(out == 0, math.inf, out), g / n
    if type(x) is np.ndarray and y.size:  # one product for each x, where 1/y is in range
        smallest, largest = limits(x.dtype)
        if smallest**0.75 < y.min() and y.max() < largest**0.75:
            r = g / y
            size = abs(r)
            if size.max() <= largest and (size.min() >= smallest or not g.any()):
                return x * _with_axes(r, x.shape, axis)
    return x / _with_axes(y, x.shape, axis) * _with_axes(g, x.shape, axis)


_root_mean_square.defvjp(x=_root_mean_square_rule)


def _without_axes(y, axis, keepdims):
    """A result with the reduced axes in place, as `keepdims` wants it."""
    axes = _axes(axis, y.ndim)
    return y if keepdims else y.reshape([n for i, n in enumerate(y.shape) if i not in axes])[()]


@function
def cumsum(a: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None) -> Tensor:
    """y_i = a_1 + ... + a_i:  ā_i = ȳ_i + ... + ȳ_n. `axis=None`: of the flattened array. Floating
    elements are added in float64 or longer: each is added to all that were before."""
    wanted = a.dtype if dtype is None else np.dtype(dtype)
    check_complex(a, wanted)
    axis = axis if axis is None else checked(axis, a.ndim or 1, "cumsum")
    if not is_float(wanted):
        return array_namespace(a).cumsum(a, axis=axis, dtype=dtype)
    y = array_namespace(a).cumsum(a, axis=axis, dtype=long_dtype(wanted))
    return y.astype(wanted, copy=False)


cumsum.defvjp(
    a=lambda g, a_shape, axis: reshape(
        flip(cumsum(flip(g, axis or 0), axis or 0), axis or 0), a_shape
    )
)


def trace(a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of the diagonal:  ā = ȳ on that diagonal, 0 elsewhere."""
    return sum(diagonal(a, offset, axis1, axis2), axis=-1)


# ---- products


def prod(
    a: ArrayLike, axis: Axes = None, dtype: DTypeLike | None = None, *, keepdims: bool = False
) -> Tensor:
    """y = Π a:  ā_i = ȳ Π_{j≠i} a_j. Computed as a tree of products of pairs.

    Those of 16 bits are computed in float32, whose range they may need on the way.
    The textbook's ā_i = ȳ y / a_i fails where an element is 0. Every step of the tree is a plain
    multiplication, so that its derivatives of all orders hold there too.
    """
    a = as_array(a, "prod")
    keepdims = _check("prod", a, axis, keepdims)
    a = a if dtype is None else astype(a, dtype)
    shape, axes = a.shape, _axes(axis, len(a.shape))
    if not is_float(a.dtype) and a.dtype.kind != "c":
        return integer_prod(a, axis=axis, keepdims=keepdims)
    if (x := wide(a)) is not a:
        return astype(prod(x, axis, keepdims=keepdims), a.dtype)
    a = moveaxis(a, axes, tuple(range(len(axes))))
    a = reshape(a, (_count(shape, axis), *a.shape[len(axes) :]))
    if len(a) == 0:
        a = sum(a, 0) + 1  # the empty product
    else:
        while len(a) > 1:
            half = len(a) // 2
            pairs = a[:half] * a[half : 2 * half]
            a = concatenate([pairs, a[2 * half :]]) if len(a) % 2 else pairs
        a = copy(a[0])
    return _with_axes(a, shape, axis) if keepdims else a


# ---- largest and smallest


@function
def max(a: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """The largest element y:  ā = ȳ/k for each of the k elements equal to y, else 0; NaN for all
    if one is NaN."""
    keepdims = _check("max", a, axis, keepdims)
    namespace_of_reals("max", a)
    return a.max(axis=axis, keepdims=keepdims)


@function
def min(a: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """The smallest element y:  ā = ȳ/k for each of the k elements equal to y, else 0; NaN for all
    if one is NaN."""
    keepdims = _check("min", a, axis, keepdims)
    namespace_of_reals("min", a)
    return a.min(axis=axis, keepdims=keepdims)


def _to_extremes(g, a, out, axis):
    """ȳ / k for each of the k elements that attain the extreme, 0 for the others. A NaN does not
    equal itself: where y is NaN all elements are `others`, and get NaN."""
    a, y = array_of(a), array_of(out)
    extreme = a == _with_axes(y, a.shape, axis)
    k = maximum(extreme.sum(axis=axis, keepdims=True), 1)
    others = _with_axes(where(y == y, 0, y), a.shape, axis)
    return where(extreme, _by_count(_with_axes(g, a.shape, axis), k), others)


max.defvjp(a=_to_extremes)
min.defvjp(a=_to_extremes)


def logsumexp(a: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """y = log Σ eᵃ:  ā = ȳ e^(a - y), that is ȳ softmax(a).

    The largest element m is taken out, y = m + log Σ e^(a - m), so that nothing overflows. A
    sum of no terms, or of e^(-∞) only, is -∞, and its gradient 0.
    """
    a = as_array(a, "logsumexp")
    keepdims = _check("logsumexp", a, axis, keepdims)
    y = _logsumexp(wide(a), axis, keepdims=keepdims)
    return y if y.dtype == a.dtype else astype(y, a.dtype)


@function
def _logsumexp(a, axis=None, *, keepdims=False):
    xp = namespace_of_reals("logsumexp", a)
    if not _count(a.shape, axis):
        return xp.sum(a, axis=axis, keepdims=keepdims) - math.inf
    m = xp.max(a, axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, 0)
    s = summed(xp.exp(a - m), axis, keepdims=True)
    y = xp.where(s == 0, -math.inf, m + xp.log(xp.where(s == 0, 1, s)))
    return _without_axes(y, axis, keepdims)


def _softmax(a, y, axis):
    """e^(a - y) / Σ e^(a - y), where the sum is 1, or what y was rounded by: e^(a - y) alone is
    twice too large for a = [3e7, 3e7] in float32, where y is 3e7 too."""
    e = exp(a - where(isfinite(y), y, 0))
    s = sum(e, axis, keepdims=True)
    return e / where(s == 0, 1, s)


_logsumexp.defvjp(
    a=lambda g, a, out, axis: (
        _with_axes(g, a.shape, axis) * _softmax(a, _with_axes(out, a.shape, axis), axis)
    )
)


# ---- order

SORTS = None, "quicksort", "mergesort", "heapsort", "stable"


def sort(a: ArrayLike, axis: int | None = -1, kind: str | None = None) -> Tensor:
    """The elements in ascending order.

    y = Pa with a permutation P:  ā = Pᵀȳ, each gradient goes back to where its element came from.
    Which of equal elements comes first is arbitrary: each gets the mean of their gradients.

    kind: any of NumPy's; the result is the same for all.
    """
    a = as_array(a, "sort")
    namespace_of_reals("sort", a)
    a, axis = (ravel(a), 0) if axis is None else (a, checked(axis, a.ndim, "sort"))
    if kind not in SORTS:
        raise ValueError(f"sort: kind is one of {SORTS}, and changes nothing; got {kind!r:.60}")
    order = argsort(a, axis=axis, kind="stable")
    return _sorted(take_along_axis(a, order, axis), axis)


@function
def _sorted(y, axis):
    """y itself, which is sorted: equal neighbours share their gradients."""
    return y


_sorted.defvjp(y=lambda g, y, axis: _averaged_over_ties(g, y, axis))


@function
def _averaged_over_ties(x, y, axis):
    """Each run of equal neighbours in the sorted y gets the mean of x over the run."""
    xp = array_namespace(x)
    rows = xp.moveaxis(y, axis, -1)
    if not x.size:
        return x
    starts = xp.ones(rows.shape, dtype=bool)
    starts[..., 1:] = not_equal(rows[..., 1:], rows[..., :-1])
    if starts.all():
        return x
    run = xp.cumsum(starts.ravel()) - 1  # the number of each one's run
    counts = xp.bincount(run)
    sums = xp.zeros(counts.shape, dtype=long_dtype(x.dtype))
    scatter_add_(sums, run, xp.moveaxis(x, axis, -1).ravel().astype(sums.dtype))
    means = (sums / counts).astype(x.dtype)
    return xp.ascontiguousarray(xp.moveaxis(means[run].reshape(rows.shape), -1, axis))


# Averaging is a symmetric matrix: it is its own transpose. Which elements are equal is constant
# almost everywhere, so nothing flows to y.
_averaged_over_ties.defvjp(x=lambda g, y, axis: _averaged_over_ties(g, y, axis), y=lambda g: g * 0)


# ---- norms


@function
def _p_norm(x, p, axis=None, *, keepdims=False):
    """y = (Σ |x|ᵖ)^(1/p). Before the power |x| is divided by its largest element, or for p < 0 its
    smallest, so that the sum stays in range."""
    xp, x = array_namespace(x), abs(x)
    m = (xp.max if p > 0 else xp.min)(x, axis=axis, keepdims=True) if x.size else 1.0
    m = xp.where((m > 0) & (m < math.inf), m, 1.0)
    with np.errstate(divide="ignore"):  # 1/0 is infinity; this is of the host
        y = m * summed((x / m) ** p, axis, keepdims=True) ** (1 / p)
    return _without_axes(y, axis, keepdims)


def _p_norm_rule(g, x, p, out, axis):
    """0 at x = 0 too, where |x|^(p-1) may be infinite."""
    y, g = _with_axes(out, x.shape, axis), _with_axes(g, x.shape, axis)
    ratio = where(x == 0, 1, absolute(x) / where(y == 0, 1, y))
    return where(y == 0, 0, g) * sign(x) * ratio ** (p - 1)


_p_norm.defvjp(x=_p_norm_rule)


def norm(
    x: ArrayLike, ord: float | str | None = None, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """A norm of vectors or matrices, as `numpy.linalg.norm`.

    y = (Σ |x|ᵖ)^(1/p):  x̄ = ȳ sign(x) (|x|/y)^(p-1), and 0 where x or y is; for p = 2 and "fro"
    that is ȳ x / y. A norm that is the largest or smallest of some |x|, or of some sums of |x|, has
    x̄ = ȳ sign(x) for those that it is made of, 0 for others, and equal ones share. For p = 0 it
    is 0.

    Vectors (`axis` an integer, or `x` 1-D): any `ord`. Matrices (`axis` a pair, or `x` 2-D with
    an `ord`): "fro", 1, -1, inf, -inf. Raises ValueError for the matrix norms 2, -2 and "nuc",
    which need singular values.
    """
    x = as_array(x, "norm")
    check_flags("norm", keepdims=keepdims)
    is_ord = ord is None or isinstance(ord, str) or is_real(ord) and not isinstance(ord, Tensor)
    if not is_ord:
        raise TypeError(f"norm: ord is a number or a name, not {type(ord).__name__}")
    if axis is None and (ord is None or x.ndim == 1):
        axes = tuple(range(x.ndim))
    elif axis is None:
        axes = (0, 1)
    else:
        axes = tuple(named(axis, x.ndim, "norm"))
    if axis is not None and not 0 < len(axes) < 3:
        raise ValueError(f"norm: axis {axis!r} names neither one axis nor two")
    if x.dtype.kind in "iub":
        x = x.astype(float)
    elif x.dtype.kind == "c":
        x = absolute(x)
    if (a := wide(x)) is not x:
        return astype(norm(a, ord, axis, keepdims), x.dtype)
    matrix = len(axes) == 2 and (axis is not None or ord is not None)
    if ord is None or (ord == 2 and not matrix) or (ord == "fro" and matrix):
        return _root_mean_square(x, axes, keepdims=keepdims)
    if matrix and ord in (1, -1, math.inf, -math.inf):
        along, _ = axes if ord in (1, -1) else axes[::-1]
        sums = sum(absolute(x), along, keepdims=True)
        y = (max if ord > 0 else min)(sums, axes, keepdims=True)
        return y if keepdims else reshape(y, sum(x, axes).shape)
    if matrix or isinstance(ord, str) or len(axes) > 2:
        raise ValueError(
            f"norm: ord={ord!r} over {len(axes)} axes has no rule here; vectors take "
            "any number, matrices 'fro', 1, -1, inf and -inf"
        )
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(absolute(x), axes, keepdims=keepdims)
    if ord == 0:
        return sum((x != 0).astype(x.dtype), axes, keepdims=keepdims)
    if ord == 1:
        return sum(absolute(x), axes, keepdims=keepdims)
    return _p_norm(x, ord, axes, keepdims=keepdims)
