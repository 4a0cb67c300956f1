"""A step, fast: by the kernels of a GPU; on the CPU in blocks, which the threads share, and small
parameters together.

The formulas are elementwise. So all lines of a formula are computed for one block of an array after
the other, while it is in the cache (backends/threads.py); and small arrays, for which a line of
NumPy takes longer to call than to compute, are laid end to end, to be one array for the formula.
"""

from math import prod
from operator import is_
from typing import Any

import numpy as np

from .blocks import in_blocks
from .on_device import options_at

SMALL = 1 << 12  # numbers: smaller arrays are changed together


def change(optimizer: Any, jobs: list[tuple]) -> None:
    """What Optimizer.change does."""
    forms = vars(type(optimizer))
    if forms.get("kernels"):
        jobs = forms["kernels"](optimizer, jobs)
    small: dict[tuple, tuple] = {}
    work = []
    for group, state, theta, g in jobs:
        options = options_at(theta, group)
        t = optimizer.begin(theta, state, options)
        if type(theta) is not np.ndarray:
            optimizer.update(options, t, theta, g, *buffers_of(optimizer, state))
        elif theta.size <= SMALL:
            _, rows = small.setdefault((id(group), t, theta.dtype), ((options, t), []))
            rows.append((state, theta, g))
        else:
            work.append(((options, t), (theta, g, *buffers_of(optimizer, state))))
    together = []
    for i, (options, rows) in enumerate(small.values()):
        states, thetas, gradients = zip(*rows)
        ends = optimizer._together[i] if i < len(optimizer._together) else None
        if ends is None or not ends.are_of(states, thetas):
            ends = EndToEnd(states, thetas, optimizer.buffers)
        together.append((ends, thetas))
        work.append((options, ends.arrays(thetas, gradients)))
    optimizer._together = [ends for ends, _ in together]
    in_blocks(forms.get("in_place") or optimizer.update, work)
    for ends, thetas in together:
        for theta, new in zip(thetas, ends.thetas):
            theta[...] = new


def buffers_of(optimizer: Any, state: dict[str, Any]) -> list:
    return [state[b] for b in optimizer.buffers if b in state]


class EndToEnd:
    """Small parameters as one vector; their buffers, too, as vectors, of which the states from now
    on have views.

    A state may have other arrays by the next step, as one that was loaded, and other parameters a
    gradient: then it is made anew.
    """

    names: list[str] = []  # of no parameters
    shapes: list[tuple] = []

    def __init__(
        self, states: list[dict[str, Any]], thetas: list[np.ndarray], names: tuple[str, ...]
    ) -> None:
        self.names = [b for b in names if b in states[0]]
        self.shapes = [theta.shape for theta in thetas]
        self.theta = np.concatenate(thetas, axis=None)
        self.thetas = self._views(self.theta)
        self.buffers: list[np.ndarray] = []
        self.views: list[np.ndarray] = []
        for b in self.names:
            self.buffers.append(np.concatenate([state[b] for state in states], axis=None))
            self.views += self._views(self.buffers[-1])
            for state, view in zip(states, self.views[-len(states) :]):
                state[b] = view

    def _views(self, vector: np.ndarray) -> list[np.ndarray]:
        """The parts of a vector that are the parameters."""
        ends = np.cumsum([prod(shape) for shape in self.shapes])
        parts = np.split(vector, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes)]

    def are_of(self, states: list[dict[str, Any]], thetas: list[np.ndarray]) -> bool:
        """Whether these are the parameters, and have the views."""
        if [theta.shape for theta in thetas] != self.shapes or thetas[0].dtype != self.theta.dtype:
            return False
        found = [state.get(b) for b in self.names for state in states]
        return all(map(is_, found, self.views))

    def arrays(self, thetas: list[np.ndarray], gradients: list[np.ndarray]) -> tuple:
        """(θ, g, *buffers), each one vector."""
        np.concatenate(thetas, axis=None, out=self.theta)
        return self.theta, np.concatenate(gradients, axis=None), *self.buffers

    def __reduce__(self) -> tuple:
        """A copy would have vectors of its own, and the states views of others."""
        return object.__new__, (EndToEnd,)
