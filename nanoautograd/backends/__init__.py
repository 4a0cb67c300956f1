"""Which library owns an array, and the few things the libraries do differently.

The engine has no global backend. An operation asks the array that it was given, by
`array_namespace(x)`, and computes with the module that made it: NumPy on the CPU, CuPy on an NVIDIA
GPU, or the strict fake of CuPy (`strict/`) with which the GPU path is tested on machines that
have no GPU.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..typing import Array

__all__ = [
    "DeviceError",
    "Status",
    "available",
    "check_device",
    "device_of",
    "is_array",
    "is_fancy",
    "is_float",
    "last_writers",
    "array_namespace",
    "scatter_add",
    "to_device",
    "to_numpy",
]

INSTALL_CUPY = "pip install cupy-cuda13x  (for CUDA 12: cupy-cuda12x)"


class DeviceError(TypeError):
    """Arrays of two devices met in one operation, or a device is not to be had."""


class Status(NamedTuple):
    """Whether a backend can be used here, and its version or the reason why not."""

    usable: bool
    detail: str


# Array type -> the namespace that owns it. CuPy and the fake join when their first array is
# seen, so neither is imported by those who do not use it. None marks types that are no arrays.
_OWNERS: dict[type, Any] = {
    np.ndarray: np,
    float: None,
    int: None,
    bool: None,
    complex: None,
    type(None): None,
}

# What is done when the first array of CuPy is seen, and wherever an array is copied to the host, by
# f(namespace, device): entered by code above this, which need not be loaded before.
WHEN_CUPY_IS_SEEN: list[Callable[[], object]] = []
WHEN_COPIED: list[Callable[[object, str], None]] = []


def _owner(cls: type) -> Any:
    """The namespace of arrays of type `cls`, or None; found once and remembered."""
    home = cls.__module__.partition(".")[0]
    owner: Any
    for base in cls.__mro__:  # np.ma.masked is of a subclass
        if base.__name__ in ("matrix", "MaskedArray") and f"{base.__module__}.".startswith(
            "numpy."
        ):
            raise TypeError(
                f"numpy's {base.__name__} gives the operators another meaning, and has no "
                "gradients here; use np.asarray(...)"
            )
    if issubclass(cls, np.ndarray):
        owner = np
    elif home == "cupy" and cls.__name__ == "ndarray":
        owner = importlib.import_module("cupy")
        for f in WHEN_CUPY_IS_SEEN:
            f()
    elif cls.__module__.startswith(f"{__name__}.strict"):  # the fake
        owner = importlib.import_module(".strict", __name__).xp
    else:
        owner = None
    _OWNERS[cls] = owner
    return owner


def array_namespace(*arrays: Any) -> Any:
    """The module (numpy, cupy, ...) whose arrays these are; numpy if there are only scalars.

    Raises DeviceError when arrays of two devices are mixed.
    """
    if len(arrays) == 1 and type(arrays[0]) is np.ndarray:
        return np  # the common case
    found = None
    for a in arrays:
        cls = type(a)
        owner = _OWNERS[cls] if cls in _OWNERS else _owner(cls)
        if owner is not None and owner is not found:
            if found is not None:
                devices = sorted({device_of(b) for b in arrays if is_array(b)})
                raise DeviceError(
                    f"arrays on {' and '.join(devices)} cannot be mixed in one "
                    f"operation; move one with .to({devices[0]!r})"
                )
            found = owner
    return found or np


def is_array(x: object) -> bool:
    """True for an array of any backend; False for scalars, lists and Tensors."""
    cls = type(x)
    return (_OWNERS[cls] if cls in _OWNERS else _owner(cls)) is not None


def is_float(dtype: np.dtype) -> bool:
    """True for dtypes that can carry a gradient: float16, bfloat16, float32, float64."""
    if dtype.kind == "f":
        return dtype.itemsize > 1  # some of 8 bits call themselves floating, too
    return dtype.kind == "V" and dtype.name == "bfloat16"


def device_of(array: Any) -> str:
    """The name of the device that holds `array`: "cpu", "cuda:0", ... or "strict"."""
    owner = array_namespace(array)
    if owner is np:
        return "cpu"
    return f"cuda:{array.device.id}" if owner.__name__ == "cupy" else "strict"


def check_device(current: int, *arrays: Any) -> None:
    """Raises DeviceError unless the arrays, CuPy's, are on the current device, number `current`,
    for which kernels are launched: others would be read across, slowly, or not at all."""
    for a in arrays:
        if a.device.id != current:
            raise DeviceError(
                f"an array is on {device_of(a)}, and the current device is "
                f"cuda:{current}; move it, or compute within "
                f"`with cupy.cuda.Device({a.device.id}):`"
            )


def _cupy_status() -> Status:
    try:
        import cupy
    except ImportError:
        return Status(False, f"cupy is not installed; install it with: {INSTALL_CUPY}")
    if not cupy.cuda.is_available():
        return Status(
            False,
            f"cupy {cupy.__version__} is installed, but the NVIDIA driver or a "
            "GPU is missing: `nvidia-smi` should list one",
        )
    return Status(True, f"cupy {cupy.__version__}, {cupy.cuda.runtime.getDeviceCount()} GPU(s)")


def available() -> dict[str, Status]:
    """What can be used on this machine: {"numpy": Status, "cupy": Status, "strict": Status}.

    A Status is (usable, detail); the detail of one that cannot be used says why.
    """
    return {
        "numpy": Status(True, f"numpy {np.__version__}"),
        "cupy": _cupy_status(),
        "strict": Status(True, "the strict fake of cupy, for tests, on the CPU"),
    }


def __dir__() -> list[str]:
    return sorted(__all__)


def to_device(array: Array, device: str) -> Array:
    """`array` on `device` ("cpu", "cuda", "cuda:N", "strict"); itself if it is there already.

    Raises DeviceError when the device cannot be used, with the reason.
    """
    name, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    here = device_of(array)
    if name and here == device or (name == here.partition(":")[0] and not number):
        return array
    if name == "cpu":
        return to_numpy(array)
    if name == "strict":
        return importlib.import_module(".strict", __name__).xp.array(to_numpy(array))
    if name != "cuda" or not (number.isdigit() or not number):
        raise DeviceError(
            f"no device is called {str(device)!r}; "
            "there are 'cpu', 'cuda', 'cuda:0', 'cuda:1', ... and 'strict'" + _of_dtype(device)
        )
    status = _cupy_status()
    if not status.usable:
        raise DeviceError(f"{str(device)!r} cannot be used: {status.detail}")
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    if int(number or 0) >= count:
        raise DeviceError(
            f"{str(device)!r} cannot be used: this machine has {count} GPU(s), "
            f"the last is 'cuda:{count - 1}'"
        )
    with cupy.cuda.Device(int(number or 0)):
        return cupy.asarray(array)


def _of_dtype(device: Any) -> str:
    """What to write where a dtype was given for a device."""
    try:
        name = "" if device is None else np.dtype(device).name
    except TypeError:
        return ""
    return name and f". For a dtype: t.astype({name!r}), or a layer made with dtype={name!r}"


def to_numpy(array: Any) -> np.ndarray:
    """`array` as a NumPy array: itself on the CPU, a copy from any other device.

    To copy is to wait, and then kernels have said what they had to say: raises the IndexError of
    one that met an index out of range.
    """
    xp = array_namespace(array)
    if xp is np:
        return np.asarray(array)
    host = array.get()
    for f in WHEN_COPIED:
        f(xp, device_of(array))
    return host


def is_fancy(index: Any) -> bool:
    """Does the index hold an integer array, so that an element can be named twice?"""
    return any(getattr(i, "ndim", 0) and i.dtype.kind in "iu" for i in _parts(index))


def scatter_add(buffer: Array, index: Any, values: Any) -> None:
    """buffer[index] += values, in place; an element that `index` names twice gets both values.

    NumPy adds one after the other. Of 16 bits, or many to few, that is done with more digits. CuPy
    adds nothing of bfloat16.
    """
    xp = array_namespace(buffer)
    if not is_fancy(index):
        buffer[index] += values
        return
    if xp is not np and is_float(buffer.dtype) and buffer.dtype.itemsize == 2:
        total = buffer.astype(np.float32)
        xp.add.at(total, index, values.astype(np.float32) if is_array(values) else values)
        buffer[...] = total.astype(buffer.dtype)
        return
    by_rows = buffer.ndim > 1 and (not isinstance(index, tuple) or len(index) == 1)
    is_short = xp is np and is_float(buffer.dtype) and buffer.itemsize < 8
    if is_short and (buffer.itemsize < 4 or not by_rows and _many_to_few(buffer, index, values)):
        total = buffer.astype(np.float64)
        scatter_add(total, index, np.asarray(values, dtype=np.float64))
        buffer[...] = total
    elif xp is np and by_rows:
        _add_rows(buffer, index[0] if isinstance(index, tuple) else index, values)
    else:
        xp.add.at(buffer, index, values)


MANY = 2**14  # so many values are worth a look at a sample of where they go
SAMPLE = 256


def _many_to_few(buffer: Any, index: Any, values: Any) -> bool:
    """Do elements repeat so often that their sum needs more digits than it has? They must where
    there are more values than elements; else a sample of the places tells."""
    n = np.size(values)
    if n > buffer.size:
        return True
    if n < MANY:
        return False
    parts = np.broadcast_arrays(*[i for i in _parts(index) if is_fancy(i)])
    step = -(-parts[0].size // SAMPLE)
    sample = np.stack([part.flat[::step] for part in parts], axis=1)
    return len(np.unique(sample, axis=0)) <= len(sample) / 2


def _parts(index: Any) -> tuple:
    return index if isinstance(index, tuple) else (index,)


def _add_rows(buffer: Any, rows: Any, values: Any) -> None:
    """buffer[rows] += values for one array of row numbers, faster than np.add.at.

    Entries with one number are added up in pairs, then pairs of sums, and so on: in k rounds if the
    most frequent number occurs 2ᵏ times, and always in the same order.
    """
    values = np.asarray(values)
    if values.shape != rows.shape + buffer.shape[1:]:
        values = np.broadcast_to(values, rows.shape + buffer.shape[1:])
    values = values.reshape(rows.size, *buffer.shape[1:])
    rows = rows.astype(np.int64).ravel()
    if not rows.size:
        return
    at = np.argsort(rows, kind="stable")  # entries of one number are neighbours here
    low, high = rows[at[0]], rows[at[-1]]
    if low < -len(buffer) or high >= len(buffer):
        raise IndexError(f"rows {low} to {high} are out of range for {len(buffer)} rows")
    if low < 0:  # counted from the end
        rows = np.where(rows < 0, rows + len(buffer), rows)
        at = np.argsort(rows, kind="stable")
    rows = rows[at]
    places = np.arange(len(rows))
    is_first = np.ones(len(rows), bool)
    np.not_equal(rows[1:], rows[:-1], out=is_first[1:])
    rank = places - np.maximum.accumulate(places * is_first)  # 0, 1, ... of one number
    rounds = int(rank.max()).bit_length()
    values = values.copy() if rounds else values
    for _ in range(rounds):
        odd = rank & 1 == 1
        values[at[np.flatnonzero(odd) - 1]] += values[at[odd]]
        at, rows, rank = at[~odd], rows[~odd], rank[~odd] >> 1
    buffer[rows] += values[at]


def last_writers(positions: Array, size: int) -> Array:
    """For each entry of `positions` (integers < size): which entry names that position last.

    In `x[index] = value` with repeated indices the last value stays; a GPU leaves the order open,
    so the winner is found first, and the write is then the same on every backend.
    """
    xp = array_namespace(positions)
    flat = positions.ravel()
    winner = xp.zeros(size, dtype=flat.dtype)
    xp.maximum.at(winner, flat, xp.arange(flat.size, dtype=flat.dtype))
    return winner[flat]
