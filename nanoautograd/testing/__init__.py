"""Gradient tests for anybody's functions: see README.md in this folder.

`strategies` and `operations` need Hypothesis, and are imported when they are first asked for.
"""

import importlib

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


def __getattr__(name):
    if name in {"operations", "programs", "shrink", "strategies"}:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
