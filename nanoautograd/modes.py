"""Modes: whether operations are recorded, and whether every value is inspected.

Both are context variables: what one thread (or one asyncio task) sets, no other sees, and every
`with` block puts back what it found.
"""

import threading
from contextlib import ContextDecorator
from contextvars import ContextVar

__all__ = ["detect_anomaly", "enable_grad", "is_grad_enabled", "no_grad"]

RECORDING = ContextVar("recording", default=True)
INSPECTING = ContextVar("inspecting", default=False)


class _Mode(threading.local, ContextDecorator):
    """A `with` block, or a decorator, in which a context variable has another value."""

    def __init__(self):
        self._tokens = []  # of this thread; an object may be entered twice

    def __enter__(self):
        self._tokens.append(self.variable.set(self.value))
        return self

    def __exit__(self, *exception):
        self.variable.reset(self._tokens.pop())


class no_grad(_Mode):
    """Within `with no_grad():`, or a function decorated with `@no_grad()`, nothing is recorded."""

    variable, value = RECORDING, False


class enable_grad(_Mode):
    """Records again, within a `no_grad` block."""

    variable, value = RECORDING, True


class detect_anomaly(_Mode):
    """Stops at the first NaN or infinity, forward or backward, with an AnomalyError.

    The error names the operation and the line that called it. Every value is inspected, which
    is slow: this is for finding where a training run went wrong.
    """

    variable, value = INSPECTING, True


def is_grad_enabled():
    """Whether operations are being recorded here."""
    return RECORDING.get()
