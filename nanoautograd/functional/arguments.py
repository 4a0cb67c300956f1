"""What the functions do with arguments that are no arrays yet."""

from os import urandom
from typing import Any

import numpy as np

from ..backends import device_of, is_array, to_device
from ..backends.philox import DeviceOffset
from ..custom_vjp import MANUAL
from ..interface.array_interface import array_of
from ..kernels.cuda.runtime.capture_context import CaptureError, current
from ..safety.arguments import as_array


def as_array_like(x: Any, like: Any) -> Any:
    """A number, or a list of them, as an array where `like` is; an array as it is."""
    if is_array(array_of(x)):
        return x
    x, like = np.asarray(x), array_of(as_array(like, "an operation"))
    return to_device(x.astype(like.dtype) if x.dtype.kind == "f" else x, device_of(like))


def by_kernel(operation: Any, *args: Any, **options: Any) -> bool:
    """Whether a kernel computes this call of an operation, and so looks at the values itself; to
    look at them before would be to wait for them."""
    return not (type(args[0]) is np.ndarray or operation.cuda is None or MANUAL.get()) and (
        operation.cuda.takes(*args, **options)
    )


def check_integers(name: str, **options: Any) -> None:
    """Raises TypeError for an option that is no integer; a DeviceOffset is one. (A form may cut
    the fraction off, and another fail.)"""
    for option, n in options.items():
        if not isinstance(n, (int, np.integer, DeviceOffset)):
            raise TypeError(f"{name}: {option} must be an integer; got {n!r}")


def any_seed(name: str) -> int:
    if current.context is not None:
        raise CaptureError(
            f"{name} draws a new seed at each call, and a recorded step would have "
            "one for ever: use nn.Dropout, or give a seed and an offset that moves "
            "on"
        )
    return int.from_bytes(urandom(8), "little")
