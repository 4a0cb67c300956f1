"""Sums along the rows and the columns of a matrix.

NumPy's reductions add a row in a loop of its own, which takes longer than to read it. A product
with a vector of ones is the same sum but for rounding, and the BLAS computes it much faster. Other
libraries have no such difference, and other dtypes no BLAS: there a sum is a sum.
"""

from functools import lru_cache

import numpy as np

from ..errors import ShapeError
from . import array_namespace
from .threads import by_rows

__all__ = ["column_sums", "row_dots", "row_sums", "total", "unbroadcast", "unbroadcast_as"]


@lru_cache(32)
def _ones(n, dtype):
    return np.ones(n, dtype)


def _by_product(a):
    return type(a) is np.ndarray and a.dtype.char in "fd"


def row_sums(a):
    """Σ_n a_mn: (..., M, N) -> (..., M)."""
    return a @ _ones(a.shape[-1], a.dtype) if _by_product(a) else a.sum(axis=-1)


def row_dots(a, b):
    """Σ_n a_mn b_mn: twice (..., M, N) -> (..., M), without an array of the products."""
    return np.vecdot(a, b) if _by_product(a) else (a * b).sum(axis=-1)


def column_sums(a):
    """Σ_m a_mn: (M, N) -> (N,); blocks of rows are shared among the threads."""

    def part(m):
        return _ones(len(a[m]), a.dtype) @ a[m] if _by_product(a) else a[m].sum(axis=0)

    return total(by_rows(part, array_namespace(a), *a.shape)) if len(a) else a.sum(axis=0)


def total(arrays):
    """Their sum, from the first to the last, in the array that is the first."""
    result = arrays[0]
    for a in arrays[1:]:
        result += a
    return result


def unbroadcast(g, shape):
    """Sums `g` over the axes along which an array of `shape` was broadcast.

    If y_ij = x_j for every i, then the gradient of x_j is the sum over i of that of y_ij. Raises
    ShapeError if `shape` does not broadcast to that of `g`.
    """
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    if added < 0 or any(n != 1 and n != m for n, m in zip(shape, g.shape[added:])):
        raise ShapeError(f"a gradient of shape {g.shape} for an argument of shape {shape}")
    axes = (*range(added), *(added + i for i, n in enumerate(shape) if n == 1))
    return g.sum(axis=axes, keepdims=True).reshape(shape)


def unbroadcast_as(d, shape, dtype):
    """`unbroadcast`, and in a dtype. Raises TypeError for what is no array, or is complex."""
    if not hasattr(d, "shape"):
        what = f"{type(d).__name__} {d!r}"
        raise TypeError(f"a gradient that is {what}; it must be an array, or None for zero")
    if d.dtype.kind == "c":
        raise TypeError(f"a gradient of dtype {d.dtype} for an argument of dtype {dtype}")
    d = unbroadcast(d, shape)
    return d if d.dtype == dtype or hasattr(d, "add_to") else d.astype(dtype)
