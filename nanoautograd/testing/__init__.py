"""Gradient tests for anybody's functions: see README.md in this folder.

`strategies` and `operations` need Hypothesis, and are imported when they are first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ..safety.names import public
from .gradcheck import (
    Passed,
    PrecisionWarning,
    UncheckedWarning,
    gradcheck,
    gradcheck_module,
    gradgradcheck,
)
from .report import GradientError, Inconclusive, KinkNearby
from .subjects import CheckRefused

if TYPE_CHECKING:
    from . import operations, programs, shrink, strategies

__all__ = [
    "CheckRefused",
    "GradientError",
    "Inconclusive",
    "KinkNearby",
    "Passed",
    "PrecisionWarning",
    "UncheckedWarning",
    "gradcheck",
    "gradcheck_module",
    "gradgradcheck",
]


NEED_HYPOTHESIS = {"operations", "programs", "shrink", "strategies"}
_missing, _ = public(__name__)


def __dir__() -> list[str]:
    return sorted({*__all__, *NEED_HYPOTHESIS})


if not TYPE_CHECKING:  # a checker knows the modules above, and finds what is missing

    def __getattr__(name: str) -> Any:
        if name not in NEED_HYPOTHESIS:
            return _missing(name)
        try:
            return importlib.import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "hypothesis":
                raise
            raise ImportError(
                f"{__name__}.{name} needs the package hypothesis: pip install hypothesis",
                name="hypothesis",
            ) from None
