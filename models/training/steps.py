"""Steps whose results come later: a GPU computes one while the host prepares the next.

steps = Steps(step, o)
for n in ...:
    steps.begin(n, parts)                        # on a GPU it returns at once
    for k, loss, norm in steps.finished():       # on a CPU: this step; on a GPU: some before it
        ...
steps.finished(wait=True)                        # all that were begun
"""

from collections import deque
from itertools import chain

import nanoautograd as nag
from nanoautograd.backends import to_device
from nanoautograd.interface.array_interface import array_of


class Steps:
    """step(parts) on the device of the run o, for numbered steps. It returns Tensors of one number;
    parts: a list of tuples of NumPy arrays, which it gets on the device."""

    def __init__(self, step, o):
        self.begun = deque()  # the numbers of the steps whose results are awaited

        def flat(*arrays):
            n = len(arrays) // o.accumulate  # of a part
            return step([arrays[i : i + n] for i in range(0, len(arrays), n)])

        self.do = begin(flat, o)

    def begin(self, number, parts):
        self.begun.append(number)
        self.do(*chain.from_iterable(parts))

    def finished(self, wait=False):
        """[(its number, what it returned as floats, ...)] of each step that has finished since the
        last call, or with `wait` of all that were begun."""
        return [(self.begun.popleft(), *values) for values in self.do.results(wait)]


def begin(step, o):
    """step(*arrays) as `nag.cuda.capture` makes it, also where the device is the CPU."""
    if o.device.startswith("cuda"):
        return nag.cuda.capture(step, record=o.captured)
    return AtOnce(step, o.device)


class AtOnce:
    """As nag.cuda.capture, but a step is finished when its call returns: `wait` changes nothing."""

    def __init__(self, step, device):
        self.step, self.device, self.arrived = step, device, []

    def __call__(self, *arrays):
        values = self.step(*(to_device(a, self.device) for a in arrays))
        self.arrived.append([float(array_of(x)) for x in values])

    def results(self, wait=False):
        arrived, self.arrived = self.arrived, []
        return arrived
