"""Kernels and the operations that they are second implementations of, with calls to compare on.

A Twin draws calls of an operation: `shapes` is a Hypothesis strategy of what `make` takes after a
random generator and a dtype, and returns (args, options) of `forward`. `examples` are a few shapes
for tests that take long: among them more than one block, and lengths that are no multiple of
anything.
"""

from importlib import import_module
from typing import Callable, NamedTuple

import numpy as np
from hypothesis import strategies as st


class Twin(NamedTuple):
    name: str                   # of the kernel: nanoautograd/kernels/<name>.py and .cu
    shapes: object              # strategy of tuples
    make: Callable              # (rng, dtype, *shape) -> (args, options)
    examples: tuple
    manual: str = ""            # nanoautograd/manual/<manual>.py, if its name is another
    dtypes: tuple = ("float32", "float64")
    sources: tuple = ()         # ({macro: value}, ...) with which the .cu is compiled for a GPU

    @property
    def kernel(self):
        return import_module(f"nanoautograd.kernels.{self.name}")

    @property
    def by_hand(self):
        return import_module(f"nanoautograd.manual.{self.manual or self.name}")


def normal(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def cross_entropy(rng, dtype, N, C, reduction, ignored, smoothing):
    y = rng.integers(0, C, N)
    y[rng.random(N) < ignored] = -100
    x = 4 * normal(rng, dtype, N, C)
    x[rng.random((N, C)) < 0.1] = -np.inf if C > 1 else 0.0
    x[np.arange(N), np.maximum(y, 0)] = 1.0             # no loss is infinite
    if smoothing:
        x = np.maximum(x, -50.0)
    return (x, y.astype(rng.choice(["int32", "int64"]))), {
        "reduction": reduction, "label_smoothing": smoothing}


TWINS = [
    Twin("cross_entropy",
         st.tuples(st.integers(0, 9), st.integers(1, 700) | st.sampled_from([1024, 2000]),
                   st.sampled_from(["mean", "sum", "none"]), st.sampled_from([0.0, 0.3, 1.0]),
                   st.sampled_from([0.0, 0.1])),
         cross_entropy,
         ((5, 1100, "mean", 0.3, 0.1), (3, 16, "sum", 0.0, 0.0), (4, 333, "none", 0.3, 0.0)),
         sources=tuple({"T": T, "Y": Y} for T in ("float", "double", "bf16")
                       for Y in ("int", "long long"))),
]
