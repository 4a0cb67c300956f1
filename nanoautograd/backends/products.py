"""The matrix product of any library's arrays: the one place where it is decided who computes it.

A library computes the products of its own arrays, unless something else has entered itself for it
in COMPUTED_BY, as cuBLAS does for CuPy: it computes in the precision that was asked for, and in a
way that can be part of a recorded step. On the CPU this is a product in one piece, in one thread;
`threads.matmul` is one that threads share.
"""

import numpy as np

from . import array_namespace

__all__ = ["matmul", "operands", "with_vector"]

COMPUTED_BY: dict = {}  # the name of a library -> what has `matmul` and `operands` for its arrays


def operands(*arrays):
    """The arrays as products read them, where each is read by several: rounded, where the GPU
    computes products of float32 in bfloat16. `matmul` then needs `out`, which stays float32."""
    xp = np if type(arrays[0]) is np.ndarray else array_namespace(*arrays)
    return COMPUTED_BY[xp.__name__].operands(*arrays) if xp.__name__ in COMPUTED_BY else arrays


def matmul(a, b, out=None):
    """a @ b for arrays with two axes or more, as xp.matmul."""
    xp = np if type(a) is np.ndarray else array_namespace(a, b)
    if xp is not np and xp.__name__ in COMPUTED_BY:
        return COMPUTED_BY[xp.__name__].matmul(a, b, out)
    y = xp.matmul(a, b, out=out)
    if out is not None or y.dtype == a.dtype:
        return y
    return y.astype(np.result_type(a.dtype, b.dtype), copy=False)  # float32, of bfloat16


def with_vector(a, b):
    """a @ b where an array has one axis: a row a, or a column b."""
    if type(a) is np.ndarray:
        return matmul(a, b)
    y = matmul(a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b)
    y = y[..., 0] if b.ndim == 1 else y
    return y[..., 0] if a.ndim == b.ndim == 1 else y[..., 0, :] if a.ndim == 1 else y
