"""Grad mode: whether operations are recorded here, that is, in this thread or asyncio task."""

from contextvars import ContextVar

from ..safety.modes import Mode

GRAD_ENABLED: ContextVar[int] = ContextVar("grad_enabled", default=True)


class no_grad(Mode):
    """Within `with no_grad():`, or a function decorated with `@no_grad()`, nothing is recorded. (A
    generator or a coroutine: while it runs itself, and not between its steps.)"""

    variable, value = GRAD_ENABLED, False


class enable_grad(Mode):
    """Records again, within a `no_grad` block."""

    variable, value = GRAD_ENABLED, True


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return bool(GRAD_ENABLED.get())
