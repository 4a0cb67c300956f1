"""A library of your own, to be measured beside ours.

    python -m benchmarks --peer NAME.py --ops softmax --quick

It is a Peer: what its process does to load it, to bring arrays in and out, to wait for its device,
and to take a gradient (benchmarks/peers.py has those of PyTorch, JAX and HIPS autograd). Each case
that it is to compute gets a method of its name. This one is NumPy with gradients by hand.
"""

import numpy as np

from benchmarks.cases.operations import Softmax
from benchmarks.peers import Peer


class NAME(Peer):
    def absent(self):
        """Why it cannot be used on this machine, or None."""
        return None

    def start(self, threads, precision):
        """Load it. precision: "float32" or "float64"."""
        self.module = np

    def versions(self):
        return {"numpy": np.__version__}

    def vjp(self, f, inputs, constants, dy):
        """A function without arguments, which computes y and, from dy, the gradients of the inputs:
        that is what is timed. f is a method below, which gets the module and the arrays."""

        def step():
            y, pull = f(*inputs, *constants)
            return y, *pull(dy)

        return step


def softmax(case, np, x):
    """case: the Softmax, with its sizes. Here y, and a function from dy to the gradients."""
    e = np.exp(x - x.max(-1, keepdims=True))
    y = e / e.sum(-1, keepdims=True)
    return y, lambda dy: (y * (dy - (dy * y).sum(-1, keepdims=True)),)


Softmax.NAME = softmax

PEERS = {"NAME": NAME}
