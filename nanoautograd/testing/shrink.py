"""Smaller inputs at which a gradient check still fails: easier to look at, and to paste."""

import warnings
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import numpy as np

from .gradcheck import gradcheck
from .report import GradientError
from .source import code, size
from .subjects import flat

__all__ = ["as_code", "smallest"]

SECONDS = 5.0  # after which what was found so far has to do
SHOWN = 40  # numbers


def smallest(
    f: Callable[..., Any], inputs: list[Any], options: dict[str, Any], error: GradientError
) -> tuple[list[Any], GradientError]:
    """(inputs, error): as small as was found in a few seconds, with the same kind of mistake.

    Axes of one length are cut together, since they may have to fit; then numbers are rounded. A
    function that does not take what is tried is left with what it took before.
    """
    end = monotonic() + SECONDS

    def fails(candidate: list[Any]) -> GradientError | None:
        if monotonic() > end:
            return None
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # they are not of the inputs that were given
                gradcheck(f, candidate, **options)
        except GradientError as found:
            return found if found.guess == error.guess else None
        except Exception:  # shapes that do not fit, or a point outside of the domain
            return None
        return None

    def smaller() -> tuple[list[Any], GradientError] | None:
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


def as_code(
    f: Callable[..., Any], inputs: Sequence[Any], options: dict[str, Any], error: GradientError
) -> str:
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


def _rounded(x: Any, digits: int) -> Any:
    return x.round(digits) if isinstance(x, np.ndarray) else x.round(decimals=digits)
