"""Matrix products of CuPy's arrays, by NVIDIA's cuBLAS, called through ctypes.

CuPy has cuBLAS too, but lets nobody call it while a step is recorded (capture.py), copies operands
of more than two axes, and asks no precision but that of an environment variable.

Columns and rows. cuBLAS computes C = op(A) op(B) for matrices that lie in memory column by column,
where op is nothing or "transposed", and element (i, j) of A is at i + j lda. Our arrays lie row by
row: read column by column, the memory of Y (M, N) is that of Yᵀ (N, M). So for

    Y = X W             X (M, K), W (K, N)

it is asked for

    Yᵀ = Wᵀ Xᵀ          C = Yᵀ (N, M),  A from W,  B from X;  m = N, n = M, k = K

and if W lies row by row its memory, read by columns, is Wᵀ already: op is nothing, and lda is the
distance between W's rows. If W lies column by column, as the transpose of an array does, op
transposes, and lda is the distance between its columns. The same holds for X and ldb. If the place
for Y lies column by column, Yᵀ is a matrix of rows: the product is Yᵀ = Wᵀ Xᵀ itself, computed in
the same way. Nothing is copied.

A batch is a fixed distance in memory from one matrix to the next, 0 where one serves all.

(cuBLAS documentation, release 13: "Data Layout", "cublasSetWorkspace()", "cublasGemmEx()" and
"cublasGemmStridedBatchedEx()". The functions that end in _64 take sizes of 64 bits.)
"""

import ctypes
import sys
import threading
from ctypes import byref, c_double, c_float, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from math import prod
from pathlib import Path

import numpy as np

from ....backends import array_namespace, check_device, products
from .precision import precision

__all__ = ["CublasError", "matmul"]

WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper

# From library_types.h (types of data) and cublas_api.h (how it is computed).
R_32F, R_64F, R_16F, R_16BF = 0, 1, 2, 14
COMPUTE_32F, COMPUTE_64F, COMPUTE_32F_FAST_TF32 = 68, 70, 77
NOTHING, TRANSPOSED = 0, 1
DEFAULT_ALGORITHM = -1

TYPES = {
    "float64": (R_64F, COMPUTE_64F, c_double),
    "float32": (R_32F, COMPUTE_32F, c_float),
    "bfloat16": (R_16BF, COMPUTE_32F, c_float),
    "float16": (R_16F, COMPUTE_32F, c_float),
}

ALLOC_FAILED = 3
STATUS = {
    1: "it could not be initialised: is there a GPU, and a driver that is new enough?",
    ALLOC_FAILED: "the memory of the GPU is full",
    7: "an argument is out of range",
    8: "the GPU has no such operation",
    11: "the memory cannot be reached",
    13: "a kernel failed, maybe an earlier one",
    14: "an error within cuBLAS",
    15: "this combination of types is not supported",
    16: "a licence is missing",
}


class CublasError(RuntimeError):
    """What cuBLAS answered."""


def matmul(a, b, out=None):
    """a @ b for CuPy's arrays with two axes or more, as cupy.matmul."""
    xp, dtype = array_namespace(a, b), a.dtype
    if out is not None and (dtype.name, out.dtype.name) == ("bfloat16", "float32"):
        dtype = out.dtype  # a and b are `operands`
    shape = (*_broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if (
        a.dtype != b.dtype
        or a.dtype.name not in TYPES
        or a.shape[-1] != b.shape[-2]
        or out is not None
        and (out.dtype != dtype or out.shape != shape)
    ):
        return xp.matmul(a, b, out=out)  # integers, mixed dtypes, and its errors
    y = out
    if out is None or out.data.mem is a.data.mem or out.data.mem is b.data.mem:
        y = xp.empty(shape, dtype=dtype)  # an operand must not be written to on the way
    if not prod(shape):
        return y
    if not a.shape[-1]:
        y.fill(0)  # a sum of nothing
    else:
        handle = _handle()
        check_device(handle.device, a, b)
        a, b, compute = _rounded(a, b, handle)
        y = _product(handle, xp, a, b, y, compute)
    if out is None or y is out:
        return y
    out[...] = y
    return out


def operands(*arrays):
    """The arrays in bfloat16, if that was asked for and all are float32; else as they are."""
    if precision() != "bfloat16" or any(a.dtype.name != "float32" for a in arrays):
        return arrays
    from ml_dtypes import bfloat16

    return tuple(a.astype(bfloat16) for a in arrays)


def _rounded(a, b, handle):
    """The operands in the precision that was asked for, and cuBLAS's name for how to compute."""
    compute, asked = TYPES[a.dtype.name][1], precision()
    is_bfloat16 = a.dtype.name == "bfloat16"
    if not is_bfloat16 and (a.dtype.name != "float32" or asked == "float32"):
        return a, b, compute
    handle.check_has("bfloat16" if is_bfloat16 else asked)
    if asked == "tf32" and not is_bfloat16:
        return a, b, COMPUTE_32F_FAST_TF32
    return (*operands(a, b), compute)


# ---- how arrays lie in memory


def _layout(x):
    """(whether it lies row by row, the distance from a row to the next or from a column to the
    next) of the matrices in the last two axes, in elements; None if neither does."""
    (rows, columns), (down, right) = x.shape[-2:], [s // x.itemsize for s in x.strides[-2:]]
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return True, down if rows > 1 else columns
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return False, right if columns > 1 else rows
    return None


def _batch(arrays, shape):
    """(how many, the distance from one to the next for each array) if the axes `shape` of all
    arrays are one axis to walk along; else None."""
    count, steps = 1, [0] * len(arrays)
    every = [_strides(x, shape) for x in arrays]
    for axis in reversed(range(len(shape))):
        if shape[axis] == 1:
            continue
        here = [strides[axis] for strides in every]
        if count > 1 and any(s != count * step for s, step in zip(here, steps)):
            return None
        if count == 1:
            steps = here
        count *= shape[axis]
    return count, steps


def _strides(x, shape):
    """Those of the batch axes, in elements, 0 where it is broadcast along them."""
    axes = zip(x.shape[:-2], x.strides[:-2])
    own = [s // x.itemsize if n > 1 else 0 for n, s in axes]
    return [0] * (len(shape) - len(own)) + own


def _product(handle, xp, a, b, y, compute):
    """y = a b. Returns y, or a new array where y lies in memory as cuBLAS cannot write it."""
    shape = y.shape[:-2]
    a, b = (x if _layout(x) else xp.ascontiguousarray(x) for x in (a, b))
    if not _layout(y):
        y = xp.empty(y.shape, dtype=y.dtype)
    batch = _batch((a, b, y), shape)
    if batch is None:  # the axes are in another order: put them in ours
        a, b = (xp.ascontiguousarray(xp.broadcast_to(x, shape + x.shape[-2:])) for x in (a, b))
        if _batch((y,), shape) is None:
            y = xp.empty(y.shape, dtype=y.dtype)
        batch = _batch((a, b, y), shape)
    count, steps = batch
    target, by_rows = y, _layout(y)[0]
    if not by_rows:  # yᵀ = bᵀ aᵀ lies row by row
        a, b, target = (x.swapaxes(-1, -2) for x in (b, a, y))
        steps = [steps[1], steps[0], steps[2]]
    M, N, K = *target.shape[-2:], a.shape[-1]
    matrices = []
    for x, step in ((b, steps[1]), (a, steps[0])):
        is_by_rows, distance = _layout(x)
        matrices.append(
            (
                NOTHING if is_by_rows else TRANSPOSED,
                x.data.ptr,
                TYPES[x.dtype.name][0],
                distance,
                step,
            )
        )
    result = target.data.ptr, TYPES[y.dtype.name][0], _layout(target)[1], steps[2]
    handle.gemm(count, (N, M, K), *matrices, result, compute)
    return y


def _broadcast(a, b):
    """As NumPy's function, which takes longer to find out that they are the same."""
    return a if a == b or not b else np.broadcast_shapes(a, b)


# ---- the library


class Handle:
    """cuBLAS on one device, for one thread: it is not made to be called by two at once.

    On each stream it has a piece of memory of its own to work in, which stays: it would otherwise
    ask for one when it likes, also while a step is recorded; and what two streams do at the same
    time must not meet in one. Setting a stream forgets the memory, so that is set again each time.
    """

    def __init__(self, cupy, library, device):
        self.cupy, self.library, self.device = cupy, library, device
        self.capability, self.stream, self.workspaces = None, None, {}
        self.handle = c_void_p()
        self._call("cublasCreate_v2", byref(self.handle), asked=WORKSPACE)

    def check_has(self, precision):
        """Raises RuntimeError if the device has no such products."""
        if self.capability is None:
            text = self.cupy.cuda.Device(self.device).compute_capability  # "90"
            self.capability = int(text[:-1]), int(text[-1])
        if self.capability < (8, 0):
            raise RuntimeError(
                f"products in {precision} need a GPU of compute capability 8.0 (A100, RTX 30) or "
                f"more; cuda:{self.device} has {self.capability[0]}.{self.capability[1]}. Use "
                'nag.cuda.matmul_precision("float32")'
            )

    def gemm(self, count, sizes, a, b, c, compute):
        """C = op(A) op(B), `count` times. sizes: m, n, k; a, b: (op, address, type, distance, step
        to the next matrix); c: the same without op."""
        self._on_current_stream()
        m, n, k = sizes
        (op_a, *a, step_a), (op_b, *b, step_b), (*c, step_c) = a, b, c
        number = c_double if compute == COMPUTE_64F else c_float
        one, zero = byref(number(1.0)), byref(number(0.0))
        if count == 1:
            self._call(
                "cublasGemmEx_64",
                self.handle,
                op_a,
                op_b,
                m,
                n,
                k,
                one,
                *a,
                *b,
                zero,
                *c,
                compute,
                DEFAULT_ALGORITHM,
            )
        else:
            self._call(
                "cublasGemmStridedBatchedEx_64",
                self.handle,
                op_a,
                op_b,
                m,
                n,
                k,
                one,
                *a,
                step_a,
                *b,
                step_b,
                zero,
                *c,
                step_c,
                count,
                compute,
                DEFAULT_ALGORITHM,
            )

    def _on_current_stream(self):
        stream = self.cupy.cuda.get_current_stream().ptr
        if stream == self.stream:
            return
        if stream not in self.workspaces:
            self.workspaces[stream] = self.cupy.cuda.alloc(WORKSPACE)
        self.stream = None  # until both calls are done
        self._call("cublasSetStream_v2", self.handle, stream)
        self._call("cublasSetWorkspace_v2", self.handle, self.workspaces[stream].ptr, WORKSPACE)
        self.stream = stream

    def _call(self, name, *arguments, asked=0):
        status = getattr(self.library, name)(*arguments)
        if not status:
            return
        text = f"cuBLAS: {name} on cuda:{self.device} failed, {STATUS.get(status, status)}"
        if status == ALLOC_FAILED:
            free, total = self.cupy.cuda.runtime.memGetInfo()
            text += (
                f" (it asked for about {max(asked, WORKSPACE):,} bytes; {free:,} of {total:,} "
                "are free); take a smaller batch, or free arrays with "
                "nag.cuda.free_memory()"
            )
        raise CublasError(text)


_handles = threading.local()


def _handle():
    """The Handle of this thread for the current device."""
    cupy = _cupy()
    device, known = cupy.cuda.runtime.getDevice(), _handles.__dict__
    if device not in known:
        known[device] = Handle(cupy, library(), device)
    return known[device]


def _cupy():
    import cupy

    return cupy


_CALL = {  # the types of the arguments; sizes are int64 where it says _64
    "cublasCreate_v2": [c_void_p],
    "cublasSetStream_v2": [c_void_p, c_void_p],
    "cublasSetWorkspace_v2": [c_void_p, c_void_p, c_size_t],
    "cublasGemmEx_64": [
        c_void_p,
        c_int,
        c_int,
        c_int64,
        c_int64,
        c_int64,  # handle, ops, m, n, k
        c_void_p,
        c_void_p,
        c_int,
        c_int64,
        c_void_p,
        c_int,
        c_int64,  # alpha, A, lda, B, ldb
        c_void_p,
        c_void_p,
        c_int,
        c_int64,
        c_int,
        c_int,
    ],  # beta, C, ldc, how
    "cublasGemmStridedBatchedEx_64": [
        c_void_p,
        c_int,
        c_int,
        c_int64,
        c_int64,
        c_int64,
        c_void_p,
        c_void_p,
        c_int,
        c_int64,
        c_int64,
        c_void_p,
        c_int,
        c_int64,
        c_int64,
        c_void_p,
        c_void_p,
        c_int,
        c_int64,
        c_int64,
        c_int64,
        c_int,
        c_int,
    ],
}


@cache
def library():
    """cuBLAS, loaded. Raises CublasError where there is none."""
    path = _path()
    if path is None:
        raise CublasError(
            "cuBLAS was not found: pip install 'cupy-cuda13x[ctk]' brings it, or "
            "pip install nvidia-cublas (for CUDA 12: nvidia-cublas-cu12)"
        )
    loaded = ctypes.CDLL(path)
    for name, types in _CALL.items():
        try:
            f = getattr(loaded, name)
        except AttributeError:
            raise CublasError(f"{path} has no {name}: CUDA 12 or later is needed") from None
        f.argtypes, f.restype = types, c_int
    return loaded


def _path():
    """Where it is: with the one that CuPy uses, if that can be told."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return load_nvidia_dynamic_lib("cublas").abs_path
    except (ImportError, RuntimeError):  # not there, or it found nothing
        pass
    try:
        import nvidia  # the packages nvidia-cublas, nvidia-cublas-cu12

        folders = nvidia.__path__
    except ImportError:
        folders = ()
    found = sorted(path for folder in folders for path in Path(folder).glob("**/libcublas.so.*"))
    return str(found[-1]) if found else _in_toolkit()


def _in_toolkit():
    """As the system finds it, of an installed CUDA toolkit."""
    from ctypes.util import find_library

    return find_library("cublas")


products.COMPUTED_BY["cupy"] = sys.modules[__name__]
