"""Grad mode: whether operations are recorded here, that is, in this thread."""

import threading
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import ClassVar, Self

GRAD_ENABLED: ContextVar[bool] = ContextVar("grad_enabled", default=True)


class Mode(threading.local, ContextDecorator):
    """A `with` block, or a decorator, in which a context variable has another value. One object may
    be entered twice, and by several threads, as that of a decorator is."""

    variable: ClassVar[ContextVar[bool]]
    value: ClassVar[bool]

    def __init__(self) -> None:
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> Self:
        self._tokens.append(self.variable.set(self.value))
        return self

    def __exit__(self, *exception: object) -> None:
        self.variable.reset(self._tokens.pop())


class no_grad(Mode):
    """Within `with no_grad():`, or a function decorated with `@no_grad()`, nothing is recorded."""

    variable, value = GRAD_ENABLED, False


class enable_grad(Mode):
    """Records again, within a `no_grad` block."""

    variable, value = GRAD_ENABLED, True


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return GRAD_ENABLED.get()
