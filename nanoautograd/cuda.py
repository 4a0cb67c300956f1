"""nag.cuda: what there is to say about NVIDIA's GPUs.

    nag.cuda.matmul_precision("tf32")   how products are computed; also as a `with` block
    nag.cuda.is_available()             is there one?
    nag.cuda.capture(step)              a training step as one CUDA graph
    nag.cuda.use_kernels(False)         a `with` block in which CuPy computes without our kernels
    nag.cuda.debug(True)                errors that a GPU finds come from the line that made them
    nag.cuda.synchronize()              wait until all is computed
    nag.cuda.memory(), free_memory()    how much there is; hand back what is kept for new arrays

Without a GPU this can be imported, and says what is missing where one is needed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .backends import DeviceError, _cupy_status
from .backends.memory import gpu_memory
from .kernels.cuda import use_kernels
from .kernels.cuda.runtime import device_assertions
from .kernels.cuda.runtime.capture import Captured
from .kernels.cuda.runtime.capture_context import CaptureError
from .kernels.cuda.runtime.precision import matmul_precision
from .safety.names import public

__all__ = [
    "CaptureError",
    "Memory",
    "capture",
    "debug",
    "free_memory",
    "is_available",
    "matmul_precision",
    "memory",
    "synchronize",
    "use_kernels",
]

if not TYPE_CHECKING:  # a checker finds what is missing
    __getattr__, __dir__ = public(__name__)


class Memory(NamedTuple):
    """Of the current device, in bytes. used: by arrays; kept: by CuPy, for new arrays; free: for
    anybody; total: all there is."""

    used: int
    kept: int
    free: int
    total: int


def is_available() -> bool:
    """Is there a GPU that CuPy can use? `nag.backends.available()` says why not."""
    return _cupy_status().usable


def capture(step: Callable, record: bool = True) -> Captured:
    """A function that does step(*batch) while the host goes on: batches and results move while the
    GPU computes (kernels/cuda/runtime/capture.py).

    step: takes arrays on the device, makes one step of training, and returns the loss, a Tensor of
    one number, or a tuple of such numbers. The function returned takes the same arrays, on the host
    or on the device, and returns nothing; its `results()` are what the steps that have ended since
    the last call returned, oldest first: floats, or tuples of floats.
    record: the step is one CUDA graph, made at the third call. Batches are then always of the same
    shapes and dtypes; what the step keeps for the next one it must write in place; and only what
    modules and optimisers compute anew at each step (a learning rate, random numbers) is renewed:
    any other number of Python's stays as it was recorded. With False the step is computed as it is
    written at every call.

    Its calls raise CaptureError, which says why, where the step cannot be recorded, or has changed,
    and IndexError where a kernel met an index out of range. Raises DeviceError without a GPU.
    """
    _cupy("capture")
    return Captured(step, record)


def debug(on: bool = True) -> None:
    """Wait after each operation that can find an error, an index out of range, so that it comes
    from the line that made it. It makes all slower: without, the error comes with the loss."""
    device_assertions.debug = bool(on)


def synchronize() -> None:
    """Wait until the current device has done all that it was given. Raises IndexError where a
    kernel met an index out of range."""
    cupy = _cupy("synchronize")
    device = cupy.cuda.Device()
    device.synchronize()
    device_assertions.check(cupy, f"cuda:{device.id}")


def memory() -> Memory:
    """The Memory of the current device."""
    _cupy("memory")
    return Memory(*gpu_memory())


def free_memory() -> Memory:
    """Hand the memory that CuPy keeps for new arrays back to the device, for other programs and for
    steps that are captured. Returns the Memory."""
    cupy = _cupy("free_memory")
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()
    return memory()


def _cupy(what: str) -> Any:
    status = _cupy_status()
    if not status.usable:
        raise DeviceError(f"nag.cuda.{what} needs a GPU. {status.detail}")
    import cupy

    return cupy
