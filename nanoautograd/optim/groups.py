"""The options of a group of parameters, and where a step finds the learning rate."""

import numpy as np

from ..backends import array_namespace, device_of


class Group(dict):
    """The options of some parameters, by name. For those on a GPU the learning rate is an array
    there as well; `group["lr"] = x` writes it, so that a captured step, too, goes on with x."""

    rates = ()  # (device, array) of each device that it was asked for

    def rate(self, theta):
        """The learning rate beside the array θ: an array () of float64."""
        device = device_of(theta)
        if device not in dict(self.rates):
            rate = array_namespace(theta).full((), self["lr"], dtype=np.float64)
            self.rates = (*self.rates, (device, rate))
        return dict(self.rates)[device]

    def __setitem__(self, option, value):
        super().__setitem__(option, value)
        if option == "lr" and isinstance(value, (int, float, np.number)):  # else no step takes it
            for _, rate in self.rates:
                rate.fill(value)

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
    return {**group, "lr": group.rate(theta).astype(theta.dtype)}
