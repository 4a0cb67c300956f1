"""Gradient tests for anybody's functions: see README.md in this folder.

`strategies` and `operations` need Hypothesis, and are imported when they are first asked for.
"""

import importlib
from typing import Any

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


def __getattr__(name: str) -> Any:
    if name in {"operations", "programs", "shrink", "strategies"}:
        try:
            return importlib.import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "hypothesis":
                raise
            raise ImportError(
                f"{__name__}.{name} needs the package hypothesis: pip install hypothesis",
                name="hypothesis",
            ) from None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
