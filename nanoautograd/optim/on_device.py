"""What changes from step to step, where the parameters are: on a GPU in its memory.

There a captured step, which no line of Python runs again, finds the learning rate as it is now, and
counts on (kernels/cuda/runtime/capture.py).
"""

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Self

import numpy as np

from ..backends import array_namespace, device_of
from .checks import number


class Group(dict):
    """The options of some parameters, by name. For those on a GPU the learning rate is an array
    there as well, and `group["lr"] = x` writes it."""

    rates: tuple[tuple[tuple, Any], ...] = ()  # ((device, dtype), array) of all asked for
    written: Any = None  # what they are

    def rate(self, theta: Any, dtype: Any) -> Any:
        """The learning rate beside the array θ: an array ()."""
        kind = device_of(theta), np.dtype(dtype)
        if kind not in dict(self.rates):
            self.written = self["lr"]
            rate = array_namespace(theta).full((), self.written, dtype=dtype)
            self.rates = (*self.rates, (kind, rate))
        return dict(self.rates)[kind]

    def __setitem__(self, option: str, value: Any) -> None:
        super().__setitem__(option, value)
        if option == "lr" and self.rates:
            with suppress(TypeError, ValueError):  # a step will refuse it, and say why
                self._write(number("a group", option, value))

    def _write(self, lr: float) -> None:
        if lr != self.written:  # else nothing is launched, which a capture would record
            self.written = lr
            for _, rate in self.rates:
                rate.fill(lr)

    update, setdefault = MutableMapping.update, MutableMapping.setdefault  # by __setitem__

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc]  # a dict's | is what it was
        self.update(other)
        return self

    def __reduce__(self) -> tuple:
        """A copy has no part in the arrays."""
        return Group, (dict(self),)


def options_at(theta: Any, group: dict[str, Any], dtype: Any = None) -> dict[str, Any]:
    """The options as a step of θ takes them: on a GPU with the learning rate that is there, an
    array () of θ's dtype or another."""
    if type(theta) is np.ndarray:
        return group
    with_rate = group if type(group) is Group else Group(group)  # what somebody put there, as it is
    return {**group, "lr": with_rate.rate(theta, dtype or theta.dtype)}


def counter(a: Any, n: int = 0) -> Any:
    """A number of steps, n so far, beside the array a: of Python on the CPU, on a GPU an array ().
    Both count with `+= 1`."""
    xp = array_namespace(a)
    return n if xp is np else xp.full((), n, dtype=np.int64)


def like(theta: Any, x: Any) -> Any:
    """A number x that was computed from such a count, in θ's dtype if it is an array."""
    return x if type(x) is float else x.astype(theta.dtype)
