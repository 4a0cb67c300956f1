"""What the fake forbids that concerns no single function: mixing, waiting, promotion."""

import threading
from contextlib import contextmanager

import numpy as np

__all__ = [
    "SCALARS",
    "StrictError",
    "allow_promotion",
    "check_default",
    "check_dtypes",
    "check_kind",
    "mixed",
    "no_sync",
    "operand",
    "waits",
]


class StrictError(TypeError):
    """The code did what would fail with CuPy, or what it must not do on a GPU."""


# CuPy takes these types, and no others, as scalars.
SCALARS = {bool, int, float, complex} | set(np.sctypeDict.values()) - {
    np.object_,
    np.str_,
    np.bytes_,
    np.void,
    np.datetime64,
    np.timedelta64,
}


def mixed(name, x):
    """The error for a NumPy array `x` that was given to the device's function `name`."""
    return StrictError(
        f"{name}: a NumPy array of shape {x.shape} was mixed with arrays of the "
        "device; move it first, with xp.asarray(x)"
    )


def operand(x, name):
    """`x`, an elementwise operand that is not a StrictArray, if CuPy takes it."""
    if type(x) in SCALARS:
        return x
    if isinstance(x, np.ndarray):
        raise mixed(name, x)
    raise StrictError(f"{name}: takes arrays of the device and scalars, not {type(x).__name__}")


class _Modes(threading.local):
    no_sync = False
    promotion = False


modes = _Modes()


@contextmanager
def _mode(name):
    before = getattr(modes, name)
    setattr(modes, name, True)
    try:
        yield
    finally:
        setattr(modes, name, before)


def no_sync():
    """A context in which all that makes the CPU wait for the GPU raises StrictError.

    float(a), int(a), bool(a), a.item(), a.get(), print(a), copies from the host, boolean masks
    as an index, nonzero and its like: each would stall a GPU, and break a CUDA graph's capture.
    """
    return _mode("no_sync")


def allow_promotion():
    """A context in which arrays of two floating dtypes may meet, and float64 may be a default."""
    return _mode("promotion")


def waits(what):
    """Called by all that would make the CPU wait: an error inside no_sync()."""
    if modes.no_sync:
        raise StrictError(f"{what} makes the CPU wait for the GPU, which no_sync() forbids")


def check_dtypes(name, given, result):
    """Two floating dtypes must not meet, and none may come out wider than what went in.

    `given` are the dtypes of the arrays that went in, `result` the dtype that came out, or None
    where the caller asked for a dtype by name. Integer arrays are in `given` too, for
    float32 * int64 is float64. Scalars are not: Python's promote nothing, and NumPy's do.
    """
    if modes.promotion:
        return
    floats = {d for d in given if d.kind == "f"}
    if len(floats) > 1:
        raise StrictError(
            f"{name}: arrays of {' and '.join(sorted(map(str, floats)))} meet; "
            "cast one with astype, or use allow_promotion() where it is meant"
        )
    if floats and result is not None and result.kind == "f":
        (wanted,) = floats
        if result.itemsize > wanted.itemsize:
            with_what = ", ".join(sorted({str(d) for d in given if d != wanted})) or "a scalar"
            raise StrictError(
                f"{name}: {wanted} became {result} (with {with_what}); give "
                "scalars as Python floats, cast integer arrays, or name the dtype"
            )


def check_default(name, result):
    """No floating array may be made with the default dtype: with CuPy it would be float64."""
    if result == np.float64 and not modes.promotion:
        raise StrictError(f"{name}: made a float64 array because no dtype was given; name one")


def check_kind(kind):
    """CuPy has one algorithm for sorting."""
    if kind not in (None, "stable"):
        raise ValueError(f"kind can only be None or 'stable', not {kind!r}")
