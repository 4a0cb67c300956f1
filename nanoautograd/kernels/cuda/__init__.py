"""CUDA kernels: second implementations of the hand-derived operations, for arrays on a GPU.

First read naive/README.md, kernels with the equation beside each line; README.md says in which
order to go on, and how kernels are tested. An operation NAME that has kernels has two files:
sources/NAME.cu, the kernels, and launchers/NAME.py, the launcher,

    takes(*args, **options)      whether the kernels can compute this call (dtypes, axes, options)
    forward, backward            as in manual/NAME.py

Whatever is not taken is computed by the fallback, the lines of manual/ on CuPy, and never wrongly.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

from ...backends import array_namespace, is_array

__all__ = ["ByKernel", "Kernel", "can_run", "use_kernels"]

_state = {"on": True}


@contextmanager
def use_kernels(on: bool) -> Iterator[None]:
    """`with use_kernels(False):` the fallback, the lines of manual/, computes on the GPU too."""
    before, _state["on"] = _state["on"], on
    try:
        yield
    finally:
        _state["on"] = before


def can_run(*arrays):
    """Do kernels run where these arrays are?"""
    if not _state["on"]:
        return False
    xp = array_namespace(*arrays)
    if xp.__name__ != "strict":
        return xp.__name__ == "cupy"
    from . import emulator  # the fake of CuPy

    return emulator.is_on()


class ByKernel(NamedTuple):
    """The cache of a call that a kernel has computed."""

    cache: tuple


class Kernel:
    """The form of an operation for arrays that are not NumPy's: by its kernels where they take the
    call, by the lines of manual/ elsewhere. name: of the file in launchers/. early: see Form."""

    is_ours = True

    def __init__(self, name, operation, early=False):
        self.name, self.operation, self.early, self._module = name, operation, early, None

    @property
    def module(self):
        """The launcher; imported when it is first needed."""
        if self._module is None:
            self._module = import_module(f".launchers.{self.name}", __name__)
        return self._module

    def takes(self, *args, **options):
        """Whether the kernels compute this call."""
        return can_run(*filter(is_array, args)) and self.module.takes(*args, **options)

    def forward(self, *args, needs=(), **options):
        if self.takes(*args, **options):
            early = {"needs": needs} if self.early else {}
            out, cache = self.module.forward(*args, **options, **early)
            return out, ByKernel(cache)
        return self.operation.manual.forward(*args, **options)

    def backward(self, dout, cache, needs=None):
        """Of either: the cache tells."""
        if type(cache) is ByKernel:
            return self.module.backward(dout, cache.cache, needs)
        return self.operation.manual.backward(dout, cache, needs)
