"""Smaller inputs at which a gradient check still fails: easier to look at, and to paste."""

from time import monotonic
from typing import Any

import numpy as np

from ..backends import to_numpy
from .gradcheck import gradcheck
from .report import GradientError
from .subjects import flat

__all__ = ["as_code", "code", "size", "smallest"]

SECONDS = 5.0  # after which what was found so far has to do
SHOWN = 40  # numbers


def smallest(f, inputs, options, error):
    """(inputs, error): as small as was found in a few seconds, with the same kind of mistake.

    Axes of one length are cut together, since they may have to fit; then numbers are rounded. A
    function that does not take what is tried is left with what it took before.
    """
    end = monotonic() + SECONDS

    def fails(candidate):
        if monotonic() > end:
            return None
        try:
            gradcheck(f, candidate, **options)
        except GradientError as found:
            return found if found.guess == error.guess else None
        except Exception:  # shapes that do not fit, or a point outside of the domain
            return None
        return None

    def smaller():
        """(inputs, error) of the first cut that fails, or None."""
        for n in sorted({n for x in inputs for n in np.shape(x) if n > 1}, reverse=True):
            for m in sorted({1, 2, n // 2} - {n, 0}):
                cut = [x[tuple(slice(m if k == n else k) for k in np.shape(x))] for x in inputs]
                if found := fails(cut):
                    return cut, found
        return None

    while found := smaller():
        inputs, error = found
    for digits in (0, 1, 2):
        rounded = [_rounded(x, digits) for x in inputs]
        if found := fails(rounded):
            return rounded, found
    return inputs, error


def as_code(f, inputs, options, error):
    """Lines of Python that make the smallest inputs found, and what the check says at these."""
    try:
        inputs = [x if hasattr(x, "shape") else np.asarray(x, float) for x in inputs]
        inputs, error = smallest(f, inputs, options, error)
    except Exception:  # inputs of a kind that cannot be cut, as nested ones
        pass
    if sum(map(size, inputs)) > SHOWN:
        shapes = ", ".join(str(tuple(np.shape(x))) for x in flat(inputs))
        return (
            f"gradcheck: no inputs of {SHOWN} numbers or fewer were found to fail; shapes {shapes}"
        )
    lines = [f"x{i} = {code(x)}" for i, x in enumerate(inputs)]
    guess = f"# at these: {error.explanation}" if error.explanation else ""
    return "\n".join(["inputs at which it fails, to paste:", *lines, guess]).rstrip()


def _rounded(x, digits):
    return x.round(digits) if isinstance(x, np.ndarray) else x.round(decimals=digits)


def size(x: Any) -> int:
    """How many numbers an input holds, which may be nested."""
    return sum(int(np.prod(np.shape(part))) for part in flat(x))


def code(x: Any) -> str:
    """An input as Python: an array of whichever library, or a nest of them."""
    if isinstance(x, dict):
        return "{" + ", ".join(f"{key!r}: {code(part)}" for key, part in x.items()) + "}"
    if isinstance(x, (list, tuple)):
        parts = ", ".join(map(code, x))
        return f"[{parts}]" if isinstance(x, list) else f"({parts},)"
    if not hasattr(x, "shape") or isinstance(x, np.generic):
        return repr(x.item() if isinstance(x, np.generic) else x)
    library = type(x).__module__.partition(".")[0]
    dtype = str(x.dtype).rpartition(".")[2]
    exact = dtype == "float64"
    if library == "torch":
        place = "" if x.device.type == "cpu" else f", device={str(x.device)!r}"
        return f"torch.tensor({x.tolist()}, dtype={x.dtype}{place}){_reshaped(x)}"
    if library in ("jax", "jaxlib"):
        more = "" if exact else f", dtype=jnp.{dtype}"
        return f"jnp.array({x.tolist()}{more}){_reshaped(x)}"
    values = to_numpy(x.data if library == "nanoautograd" and hasattr(x, "data") else x).tolist()
    more = "" if exact else f", dtype={dtype!r}"
    make = "nag.Tensor" if library == "nanoautograd" else "np.array"
    return f"{make}({values}{more}){_reshaped(x)}"


def _reshaped(x: Any) -> str:
    """Lists of nothing have lost their shape."""
    return "" if size(x) or tuple(x.shape) == (0,) else f".reshape({tuple(x.shape)})"
