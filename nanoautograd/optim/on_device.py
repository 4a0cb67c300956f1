"""What changes from step to step, where the parameters are: on a GPU in its memory.

There a captured step, which no line of Python runs again, finds the learning rate as it is now, and
counts on (kernels/cuda/runtime/capture.py).
"""

from contextlib import suppress

import numpy as np

from ..backends import array_namespace, device_of
from .checks import number


class Group(dict):
    """The options of some parameters, by name. For those on a GPU the learning rate is an array
    there as well, and `group["lr"] = x` writes it."""

    rates, written = (), None  # (device, array) of each device that asked, and what is in there

    def rate(self, theta):
        """The learning rate beside the array θ: an array () of float64."""
        device = device_of(theta)
        if device not in dict(self.rates):
            self.written = self["lr"]
            rate = array_namespace(theta).full((), self.written, dtype=np.float64)
            self.rates = (*self.rates, (device, rate))
        return dict(self.rates)[device]

    def __setitem__(self, option, value):
        super().__setitem__(option, value)
        if option == "lr" and self.rates:
            with suppress(TypeError, ValueError):  # a step will refuse it, and say why
                self._write(number("a group", option, value))

    def _write(self, lr):
        if lr != self.written:  # else nothing is launched, which a capture would record
            self.written = lr
            for _, rate in self.rates:
                rate.fill(lr)

    def update(self, *others, **more):
        for option, value in dict(*others, **more).items():
            self[option] = value

    def __ior__(self, other):
        self.update(other)
        return self

    def __reduce__(self):
        """A copy has no part in the arrays."""
        return Group, (dict(self),)


def options_at(theta, group):
    """The options as a step of θ takes them: on a GPU with the learning rate that is there, in θ's
    dtype."""
    if type(theta) is np.ndarray:
        return group
    return {**group, "lr": rate_at(theta, group).astype(theta.dtype)}


def rate_at(theta, group):
    """The learning rate beside θ; of a plain dict, which somebody put there, as it is now."""
    return (group if type(group) is Group else Group(group)).rate(theta)


def counter(a, n=0):
    """A number of steps, n so far, beside the array a: of Python on the CPU, on a GPU an array ().
    Both count with `+= 1`."""
    xp = array_namespace(a)
    return n if xp is np else xp.full((), n, dtype=np.int64)


def like(theta, number):
    """What was computed from such a number, in θ's dtype if it is an array."""
    return number if type(number) is float else number.astype(theta.dtype)
