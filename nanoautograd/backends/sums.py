"""Sums that keep their digits, and are fast.

NumPy adds in pairs, and pairs of sums, along the axis whose numbers are neighbours in memory. Along
any other it adds one row to the next, and the error grows with the number of rows: in float32, ones
are not counted beyond 2²⁴. Here at most ROWS rows are added one after the other, by a product with
ones, which the BLAS computes faster than NumPy adds. Their sums are few, and are added in the same
way, in float64.

Numbers of 16 bits are added in float32, as by kernels. Other libraries add in a tree.
"""

from functools import lru_cache
from itertools import groupby
from math import prod
from operator import index
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..errors import ShapeError
from . import array_namespace, is_float
from .threads import BLOCK, parallel_rows

__all__ = [
    "column_dots",
    "column_sums",
    "limits",
    "long_dtype",
    "row_dots",
    "row_sums",
    "squares",
    "sum_dtype",
    "summed",
    "total",
    "unbroadcast",
    "unbroadcast_as",
]

ROWS = 32  # equal rows, added one after the other, are off by 4.3 ε at most
SHORT = 256  # numbers of a row that are added soonest by a product of a matrix and a vector
LONG = 2048  # numbers that the BLAS adds as exactly as NumPy
FEW = 4096  # numbers that are added soonest in float64
EVERY = slice(None)


def sum_dtype(a):
    """In which the numbers of a floating array are added: float32 for those of 16 bits."""
    return np.dtype("float32") if a.dtype.itemsize == 2 else a.dtype


def long_dtype(dtype):
    """In which many sums of floating numbers are added: float64, or a longer dtype itself."""
    return dtype if dtype.itemsize > 8 else np.dtype("float64")


@lru_cache(64)
def _ones(n, dtype):
    return np.ones(n, dtype)


@lru_cache
def limits(dtype):
    """The smallest normal and the largest number of a floating dtype; of a longer one than float64
    those of that, as the limits are Python's numbers."""
    info = np.finfo(dtype if dtype.itemsize <= 8 else np.float64)
    return float(info.smallest_normal), float(info.max)


def _by_product(a):
    return type(a) is np.ndarray and a.dtype.char in "fd"


def summed(a, axis=None, keepdims=False):
    """Σ a over an axis, several or all, as NumPy's sum; floating numbers in their `sum_dtype`."""
    dtype = a.dtype
    if dtype.char not in "fd":
        dtype = sum_dtype(a) if is_float(dtype) else None
    if dtype is None or type(a) is not np.ndarray or a.size <= ROWS or type(axis) is bool:
        return a.sum(axis=axis, dtype=dtype, keepdims=keepdims)
    if axis is not None and type(axis) is not tuple:
        axis = index(axis)  # as NumPy: TypeError for a list, or a fraction
    if a.flags.c_contiguous and axis in (None, -1, a.ndim - 1):  # in pairs
        return a.sum(axis=axis, dtype=dtype, keepdims=keepdims)
    if a.flags.c_contiguous and axis == 0 and a.size:
        y = _middle(a.reshape(1, len(a), -1)).astype(dtype, copy=False)
        return y.reshape((1,) * keepdims + a.shape[1:])
    axes = range(a.ndim) if axis is None else sorted(normalize_axis_tuple(axis, a.ndim, "axis"))
    left = [1 if i in axes else n for i, n in enumerate(a.shape)]
    result = left if keepdims else [n for i, n in enumerate(a.shape) if i not in axes]
    if 0 not in a.strides:
        return _added(a, axes).astype(dtype, copy=False).reshape(result)[()]
    times = prod([a.shape[i] for i in axes if a.strides[i] == 0])  # that a number is repeated
    once = _added(a[tuple([slice(1) if s == 0 else EVERY for s in a.strides])], axes)
    y = (once * times).astype(dtype, copy=False)
    return np.broadcast_to(y, left).reshape(result).copy()[()]


def _added(a, axes):
    """Σ a over these axes, which stay with length 1; perhaps in float64 or longer."""
    if prod([a.shape[i] for i in axes]) <= ROWS or not a.size:
        return a.sum(axis=tuple(axes), dtype=sum_dtype(a), keepdims=True)
    if not a.flags.c_contiguous:
        order = sorted(range(a.ndim), key=lambda i: -abs(a.strides[i]))  # as they lie in memory
        if order != list(range(a.ndim)):
            places = [order.index(i) for i in range(a.ndim)]
            return _added(a.transpose(order), sorted(places[i] for i in axes)).transpose(places)
    runs = [[*run] for _, run in groupby(axes, lambda i: i - axes.index(i))]  # of neighbours
    for run in reversed(runs):
        before, after = a.shape[: run[0]], a.shape[run[-1] + 1 :]
        a = _middle(a.reshape(prod(before), -1, prod(after)))
        a = a.reshape(*before, *[1] * len(run), *after)
    return a


def _middle(a):
    """Σ_m a_bmc: (B, M, C) -> (B, C); perhaps in float64 or longer."""
    B, M, C = a.shape
    if C == 1:  # neighbours in memory
        return a[:, :, 0].sum(axis=1, dtype=sum_dtype(a))[:, None]
    if not _by_product(a):
        a = a.astype(sum_dtype(a))
    if M <= ROWS:
        return a.sum(axis=1)
    if a.size <= FEW and a.dtype.itemsize < 8:
        return a.sum(axis=1, dtype=np.float64)
    while M > ROWS:
        m = -(-M // ROWS)
        q = M // m
        some, rest = a[:, : q * m], a[:, q * m :]
        if a.flags.c_contiguous:
            s = (_ones(q, a.dtype) @ some.reshape(B, q, m * C)).reshape(B, m, C)
        elif a.strides[2] == a.itemsize:
            s = _ones(q, a.dtype) @ some.reshape(B, m, q, C)
        else:
            s = some.reshape(B, q, m, C).sum(axis=1)
        s[:, : M - q * m] += rest
        a, M = s.astype(long_dtype(a.dtype), copy=False), m
    return a.sum(axis=1)


def _columns(a):
    """Σ_m a_mn: (M, N) -> (N,), of float32 or float64. (`dot` begins sooner than `@`.)"""
    dtype = a.dtype
    while len(a) > ROWS:
        M, N = a.shape
        m = -(-M // ROWS)
        q = M // m
        s = _ones(q, a.dtype).dot(a[: q * m].reshape(q, m * N)).reshape(m, N)
        if q * m < M:
            s[: M - q * m] += a[q * m :]
        a = s.astype(np.float64, copy=False)
    y = _ones(len(a), a.dtype).dot(a)
    return y if y.dtype == dtype else y.astype(dtype)


def row_sums(a):
    """Σ_n a_mn: (..., M, N) -> (..., M)."""
    return row_dots(a, _ones(a.shape[-1], a.dtype)) if _by_product(a) else _rounded(a, -1)


def row_dots(a, b):
    """Σ_n a_mn b_mn: twice (..., M, N), or a vector b (N,), -> (..., M), without an array of the
    products."""
    N = a.shape[-1]
    if not _by_product(a):
        return _rounded(a * b, -1)
    if N <= SHORT and b.ndim == 1:
        return a.dot(b) if a.ndim == 2 else a @ b
    if ROWS < N <= LONG and b.ndim > 1 and a.strides[-2] == b.strides[-2] == a.itemsize:
        return _column_dots(a.swapaxes(-1, -2), b.swapaxes(-1, -2))
    if N <= LONG:
        return np.vecdot(a, b)
    m = -(-N // -(-N // LONG))
    q = N // m
    parts = np.vecdot(*[x[..., : q * m].reshape(*x.shape[:-1], q, m) for x in (a, b)])
    y = row_sums(parts)
    return y if q * m == N else y + np.vecdot(a[..., q * m :], b[..., q * m :])


def _column_dots(a, b):
    """Σ_n a_nm b_nm: twice (..., N, M) -> (..., M), where the numbers of one n are neighbours."""
    *batch, N, M = a.shape
    n = N // ROWS * ROWS
    parts = [x[..., :n, :].reshape(*batch, n // ROWS, ROWS, M) for x in (a, b)]
    y = np.einsum("...nm,...nm->...m", *parts).sum(-2)
    return y + np.einsum("...nm,...nm->...m", a[..., n:, :], b[..., n:, :]) if n < N else y


def column_sums(a):
    """Σ_m a_mn: (M, N) -> (N,); blocks of rows are shared among the threads."""
    if not _by_product(a) or a.shape[1] < 2:
        return _rounded(a, 0)
    if a.size <= BLOCK and a.flags.c_contiguous:
        return _columns(a)
    width = a.shape[1] // 8  # large blocks, of which there are few sums
    parts = parallel_rows(lambda m: _middle(a[None, m])[0], np, len(a), width)
    return (total(parts) if parts else a.sum(axis=0)).astype(a.dtype, copy=False)


def column_dots(w, a):
    """Σ_m w_m a_mn: (M,), (M, N) -> (N,)."""
    m = len(a) // ROWS if a.shape[1] >= 64 else 0
    if len(a) <= 2 * ROWS:
        return w @ a
    if not _by_product(a) or not m:
        return column_sums(w[:, None] * a)
    some, rest = slice(m * ROWS), slice(m * ROWS, None)
    s = w[some].reshape(m, 1, ROWS) @ a[some].reshape(m, ROWS, -1)
    return column_sums(s[:, 0]) + w[rest] @ a[rest]


def _rounded(a, axis):
    return summed(a, axis).astype(a.dtype, copy=False)


def total(arrays):
    """Their sum; perhaps in the array that is the first."""
    if len(arrays) > ROWS and type(arrays[0]) is np.ndarray:
        return _rounded(np.stack(arrays), 0)
    result = arrays[0]
    for a in arrays[1:]:
        result += a
    return result


def are_finite(a):
    """Whether no number of an array of NumPy is infinite or NaN, or so large that its square is."""
    a = a.reshape(-1)
    return a.dot(a) < np.inf


def _squares(a, axis):
    """Σ a² over axes, which stay with length 1; where it can be, without an array of all a²."""
    whole = tuple(range(a.ndim))
    axes = whole if axis is None else axis if type(axis) is tuple else (axis,)
    if a.flags.c_contiguous and axes == whole:
        flat = a.reshape(-1)
        return np.asarray(row_dots(flat, flat)).reshape([1] * a.ndim)
    if axes in ((-1,), (a.ndim - 1,)):
        return row_dots(a, a)[..., None]
    with np.errstate(over="ignore"):
        if a.ndim == 2 and a.size > BLOCK and axes == (0,):
            parts = parallel_rows(lambda m: column_sums(a[m] * a[m]), np, *a.shape)
            return total(parts)[None]
        return summed(a * a, axis, keepdims=True)


def squares(a, axis=None, n=1):
    """(v, s) with Σ a²/n = v s², where axes stay with length 1. s is 1, or where squares may leave
    the range of the dtype, which is 32 bits or more, the largest |a|."""
    xp = array_namespace(a)
    if xp is np:  # it may be looked at
        v = _squares(a, axis)
        smallest, largest = limits(a.dtype)
        if v.size and smallest * a.size < v.min() and v.max() <= largest:
            return v / n, 1.0
    s = xp.max(abs(a), axis=axis, keepdims=True) if a.size else 1.0
    s = xp.where((s > 0) & (s < float("inf")), s, 1.0)
    a = a / s
    return summed(a * a, axis, keepdims=True) / n, s


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sums `g` over the axes along which an array of `shape` was broadcast.

    If y_ij = x_j for every i, then the gradient of x_j is the sum over i of that of y_ij. Raises
    ShapeError if `shape` does not broadcast to that of `g`.
    """
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    if added > 0 and _by_product(g) and g.shape[added:] == shape and g.flags.c_contiguous:
        n = prod(shape)
        if n > 1:
            y = _columns(g if g.ndim == 2 else g.reshape(prod(g.shape[:added]), n))
            return y if len(shape) == 1 else y.reshape(shape)
    if added < 0 or any(n != 1 and n != m for n, m in zip(shape, g.shape[added:])):
        raise ShapeError(f"a gradient of shape {g.shape} for an argument of shape {shape}")
    axes = (*range(added), *(added + i for i, n in enumerate(shape) if n == 1))
    y = summed(g, axes, keepdims=True).reshape(shape)
    return y if y.dtype == g.dtype else y.astype(g.dtype)


def unbroadcast_as(d: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """`unbroadcast`, and in a dtype. Raises TypeError for what is no array, or is complex."""
    if not isinstance(getattr(d, "dtype", None), np.dtype) or isinstance(d, np.ma.MaskedArray):
        what = f"{type(d).__name__} {d!r}"
        raise TypeError(f"a gradient that is {what}; it must be an array, or None for zero")
    if d.dtype.kind == "c":
        raise TypeError(f"a gradient of dtype {d.dtype} for an argument of dtype {dtype}")
    d = unbroadcast(d, shape)
    return d if d.dtype == dtype or hasattr(d, "add_to") else d.astype(dtype)
