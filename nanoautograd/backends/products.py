"""The matrix product of any library's arrays: the one place where it is decided who computes it.

NumPy's and the stand-in's are computed by their libraries. CuPy's are by kernels/cublas.py, in the
precision that was asked for, and so that they can be part of a recorded step. On the CPU this is a
product in one piece, in one thread; `threads.matmul` is one that threads share.
"""

import numpy as np

from . import array_namespace

__all__ = ["matmul", "operands", "with_vector"]


def operands(*arrays):
    """The arrays as products read them, where each is read by several: rounded, where the GPU
    computes products of float32 in bfloat16. `matmul` then needs `out`, which stays float32."""
    if type(arrays[0]) is np.ndarray or array_namespace(*arrays).__name__ != "cupy":
        return arrays
    from ..kernels import cublas

    return cublas.operands(*arrays)


def matmul(a, b, out=None):
    """a @ b for arrays with two axes or more, as xp.matmul."""
    xp = np if type(a) is np.ndarray else array_namespace(a, b)
    if xp.__name__ != "cupy":
        y = xp.matmul(a, b, out=out)
        if out is not None or y.dtype == a.dtype:
            return y
        return y.astype(np.result_type(a.dtype, b.dtype), copy=False)  # float32, of bfloat16
    from ..kernels import cublas  # only where there is a GPU

    return cublas.matmul(a, b, out)


def with_vector(a, b):
    """a @ b where an array has one axis: a row a, or a column b."""
    if type(a) is np.ndarray:
        return matmul(a, b)
    y = matmul(a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b)
    y = y[..., 0] if b.ndim == 1 else y
    return y[..., 0] if a.ndim == b.ndim == 1 else y[..., 0, :] if a.ndim == 1 else y
