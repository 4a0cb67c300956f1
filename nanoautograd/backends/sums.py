"""Sums along the rows and the columns of a matrix.

NumPy's reductions add a row in a loop of its own, which takes longer than to read it. A product
with a vector of ones is the same sum, and the BLAS computes it four times as fast. Other libraries
have no such difference, and other dtypes no BLAS: there a sum is a sum.
"""

from functools import lru_cache

import numpy as np

__all__ = ["column_sums", "row_sums"]


def _by_product(a):
    return type(a) is np.ndarray and a.dtype.char in "fd"


@lru_cache(32)
def _ones(n, dtype):
    return np.ones(n, dtype)


def row_sums(a):
    """Σ_n a_mn: (M, N) -> (M,)."""
    return a @ _ones(a.shape[1], a.dtype) if _by_product(a) else a.sum(axis=1)


def column_sums(a):
    """Σ_m a_mn: (M, N) -> (N,)."""
    return _ones(len(a), a.dtype) @ a if _by_product(a) else a.sum(axis=0)
