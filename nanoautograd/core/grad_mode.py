"""Grad mode: whether operations are recorded here, that is, in this thread or asyncio task."""

from contextvars import ContextVar

from ..safety.modes import Mode

GRAD_ENABLED: ContextVar[int] = ContextVar("grad_enabled", default=1)  # or 0


class no_grad(Mode):
    """Within `with no_grad():`, or a function decorated with `@no_grad()`, nothing is recorded. (A
    decorated generator records nothing while it runs; its caller, between two steps, does.)"""

    variable, value = GRAD_ENABLED, False


class enable_grad(Mode):
    """Records again, within a `no_grad` block."""

    variable, value = GRAD_ENABLED, True


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return bool(GRAD_ENABLED.get())
