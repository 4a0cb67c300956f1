"""Anomaly mode: stops at the first NaN or infinity, and names the line that made it.

The core knows nothing of this. While a `with detect_anomaly():` is open in some thread, the hooks
around calls and rules (hooks.py) tell of every value, and here it is inspected.
"""

import sys
import threading
from contextvars import ContextVar
from typing import Any, Self
from weakref import WeakKeyDictionary

from ..backends import array_namespace, is_float
from ..errors import AnomalyError
from ..interface.array_interface import array_of
from .modes import Mode

__all__ = ["ANOMALY_MODE", "detect_anomaly", "inspect_result", "inspect_gradients"]

ANOMALY_MODE: ContextVar[int] = ContextVar("anomaly_mode", default=False)


class detect_anomaly(Mode):
    """Stops at the first NaN or infinity, forward or backward, with an AnomalyError.

    The error names the operation and the line that called it. Every value is inspected, which
    is slow: this is for finding where a training run went wrong.
    """

    variable, value = ANOMALY_MODE, True
    hooks: tuple = ()  # told that there is somebody to watch for; set by hooks.py

    def __enter__(self) -> Self:
        _count(self, 1)  # first: one too many only takes time
        return super().__enter__()

    def close(self, block: Any) -> bool:
        was_open = super().close(block)
        _count(self, -was_open)
        return was_open


_lock = threading.Lock()
_open: WeakKeyDictionary = WeakKeyDictionary()  # mode -> how many of its blocks, in all threads
_call_sites: WeakKeyDictionary = WeakKeyDictionary()  # node -> the line that made the call


def _count(mode: Any, n: int) -> None:
    with _lock:
        if n:
            _open[mode] = _open.get(mode, 0) + n
        for hook in detect_anomaly.hooks:
            hook.watching = any(_open.values())


def inspect_result(what: str, result: Any, values: Any) -> None:
    """Raises AnomalyError if one of `values` is not finite; notes down who made the result."""
    if not ANOMALY_MODE.get():
        return _count(None, 0)  # is there still somebody who watches?
    site = call_site()
    for y in result if type(result) is tuple else (result,):
        if getattr(y, "_edge", None) is not None:
            _call_sites.setdefault(y._edge[0], site)
    for y in values if type(values) is tuple else (values,):
        _inspect(y, what, f"called at {site}")


def inspect_gradients(node: Any, pairs: list) -> None:
    """Raises AnomalyError if one of the gradients that the rules of a node gave is not finite."""
    if ANOMALY_MODE.get():
        site = _call_sites.get(node)
        at = f"called at {site}" if site else "recorded outside of detect_anomaly"
        for edge, d in pairs:
            if edge is not None and d is not None:
                d = getattr(d, "values", d)  # of an IndexedGradient
                _inspect(d, f"the gradient of {node.operation.name}", at)


def _inspect(y: Any, what: str, at: str) -> None:
    y = array_of(y)
    xp = array_namespace(y)
    if is_float(y.dtype) and not bool(xp.isfinite(y).all()):
        kind = "NaN" if bool(xp.isnan(y).any()) else "infinity"
        raise AnomalyError(f"{what}, of shape {y.shape}, holds {kind}; the operation was {at}")


def call_site() -> str:
    """ "file:line, in function" of the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("nanoautograd."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
