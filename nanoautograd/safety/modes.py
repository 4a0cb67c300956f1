"""Modes: `with` blocks and decorators in which a context variable has another value.

The variable holds which blocks are open in this thread or task, and each block takes out only
itself. So one object may be entered twice, and by several threads and tasks in any order; blocks
need not close in the reverse order, as those of generators do not.
"""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, wraps
from operator import methodcaller
from types import coroutine
from typing import Any, ClassVar, Self, cast, overload
from weakref import ref

from ..typing import F

__all__ = ["Mode"]


class _State(int):
    """What the variable holds: the value, 0 or 1, and what it comes from: the value outside of all
    blocks, and the blocks that are open, outermost first."""

    outside: int
    blocks: tuple

    def __new__(cls, outside: int, blocks: tuple) -> Self:
        state = super().__new__(cls, blocks[-1].value if blocks else outside)
        state.outside, state.blocks = outside, blocks
        return state


class _Block(ref):
    """An open block, as a weak reference to the object that was entered. Where Ctrl-C kept that
    from leaving, it calls `close` as it goes: no line of Python, so there Ctrl-C cannot come."""

    __slots__ = "value", "close"
    value: bool
    close: Callable[[], Any]


class _Modes(type):
    """The class of the modes themselves."""

    def __enter__(cls) -> None:
        raise TypeError(f"with {cls.__name__}: lacks parentheses; write `with {cls.__name__}():`")

    def __exit__(cls, *exception: object) -> None:
        """There must be one, or Python speaks first."""


class Mode(metaclass=_Modes):
    """A `with` block, or a decorator of functions, generators and coroutines.

    Whoever calls `__enter__` without `with` keeps the object: when it is gone, so is its mode.
    """

    variable: ClassVar[ContextVar[int]]
    value: ClassVar[bool]

    @overload
    def __new__(cls, f: None = None) -> Self: ...
    @overload
    def __new__(cls, f: F) -> F: ...  # type: ignore[misc]  # it makes no Mode then
    def __new__(cls, f: Any = None) -> Any:
        mode = super().__new__(cls)
        return mode if f is None else mode(f)  # @no_grad, without parentheses

    def __enter__(self) -> Self:
        before: Any = self.variable.get()
        block = None
        try:
            block = _Block(self, methodcaller("close"))
            block.value, block.close = self.value, partial(self.variable.set, before)
            outside, blocks = getattr(before, "outside", before), getattr(before, "blocks", ())
            self.variable.set(_State(outside, (*blocks, block)))
            return self
        except BaseException:  # Ctrl-C may come between any two lines, and then nobody leaves
            block = None
            self.variable.set(before)
            raise

    def __exit__(self, *exception: object) -> None:
        block = None
        try:
            block = self.last()
            self.close(block)
        except BaseException:
            self.close(block or self.last())
            raise

    def last(self) -> _Block | None:
        """The block of this object that was opened last here, of those that are open."""
        own = [b for b in getattr(self.variable.get(), "blocks", ()) if b() is self]
        return own[-1] if own else None

    def close(self, block: _Block | None) -> bool:
        """Closes a block; whether it was open."""
        state: Any = self.variable.get()
        blocks = getattr(state, "blocks", ())
        others = [b for b in blocks if b is not block]
        if is_open := len(others) < len(blocks):
            for i, b in enumerate(others):
                if b is not blocks[i]:  # it was opened later: before it is another state now
                    b.close = partial(self.variable.set, _State(state.outside, tuple(others[:i])))
            self.variable.set(_State(state.outside, tuple(others)))
            if block is not None:
                block.close = int  # nothing is left to do, whoever still has it
        return is_open

    def __call__(self, f: F) -> F:
        """`f`, run within a block. A generator or coroutine is within it only while it runs."""
        mode = type(self)
        if isinstance(f, (staticmethod, classmethod)):
            return type(f)(self(f.__func__))
        if isinstance(f, type) or not callable(f):
            raise TypeError(
                f"{mode.__name__} decorates functions and methods; got {f!r}"
                + (": decorate its methods" if isinstance(f, type) else "")
            )
        if _is(inspect.isgeneratorfunction, f):

            @wraps(f)
            def decorated(*args: Any, **options: Any) -> Any:
                return (yield from _in_steps(mode, f(*args, **options)))

        elif _is(inspect.iscoroutinefunction, f):

            @wraps(f)
            async def decorated(*args: Any, **options: Any) -> Any:
                return await _awaited(mode, f(*args, **options))

        elif _is(inspect.isasyncgenfunction, f):

            @wraps(f)
            async def decorated(*args: Any, **options: Any) -> Any:
                values = f(*args, **options)
                step, given = values.asend, None
                while True:
                    try:
                        y = await _awaited(mode, step(given))
                    except StopAsyncIteration:
                        return
                    try:
                        step, given = values.asend, (yield y)
                    except GeneratorExit:
                        await _awaited(mode, values.aclose())
                        raise
                    except BaseException as error:
                        step, given = values.athrow, error

        else:

            @wraps(f)
            def decorated(*args: Any, **options: Any) -> Any:
                with mode():
                    return f(*args, **options)

        return cast(F, decorated)


def _is(kind: Any, f: Any) -> bool:
    while isinstance(f, partial):
        f = f.func
    return kind(f) or kind(getattr(f, "__call__"))  # of an object, its method counts


def _in_steps(mode: Any, running: Any) -> Any:
    """A generator that does what `running` does, each of its steps within a block of its own."""
    step, given = running.send, None
    while True:
        try:
            with mode():
                y = step(given)
        except StopIteration as end:
            return end.value
        try:
            step, given = running.send, (yield y)
        except GeneratorExit:
            with mode():
                running.close()
            raise
        except BaseException as error:
            step, given = running.throw, error


@coroutine
def _awaited(mode: Any, awaitable: Any) -> Any:
    """The same for what can be awaited."""
    return (yield from _in_steps(mode, awaitable.__await__()))
