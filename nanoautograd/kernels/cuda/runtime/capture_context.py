"""The context of a training step that is being captured: its parts say what a replay must do, or
check.

A replay is the same kernels on the same memory; no line of Python runs again (capture.py).
So a number that Python changes from step to step must be in the memory of the device (`number`; the
optimisers have arrays of their own there), and what Python decided must stay as it was (`guard`).
While no step is captured, `current.context` is None:

    context = current.context
    if context is not None:
        offset = context.number(lambda: self.take(n), "uint64")       # a Number
        context.guard("the mode", lambda: self.training)

Modules, layers that draw random numbers and optimisers do that; a model need not.
"""

import threading
from contextlib import contextmanager

import numpy as np

from ....backends.philox import Number

__all__ = ["CaptureContext", "CaptureError", "Number", "current"]

ROOM = 256  # numbers of a step


class CaptureError(RuntimeError):
    """Why a step cannot be recorded, or replayed."""


class CaptureContext:
    """What the parts of a step have said.

    memory: room for the numbers, bytes on the device (8·ROOM,). live: they are written there at
    once, for the step is computed while it says this; else they are kept in `values`, to be copied.
    """

    def __init__(self, memory, live):
        self.memory, self.live = memory, live
        self.values = np.zeros(8 * ROOM, np.uint8)  # what is to be copied there
        self.numbers, self.guards = [], []
        self.parameters, self.kept = {}, []  # id -> Tensor, and arrays whose id must stay

    def number(self, following, dtype):
        """A Number of a dtype. following(): its value at the next step; called once for each, and
        first of all now."""
        i, dtype = 8 * len(self.numbers), np.dtype(dtype)
        if i == len(self.values):
            raise CaptureError(f"a step can read {ROOM} numbers that change; this one has more")
        there = self.values[i : i + dtype.itemsize].view(dtype)
        self.numbers.append((following, there))
        there[0] = following()
        array = self.memory[i : i + dtype.itemsize].view(dtype).reshape(())
        if self.live:
            array.fill(there[0])
        return Number(array)

    def guard(self, what, read):
        """read() must be the same at each replay."""
        self.guards.append((what, read, read()))

    def same(self, what, read):
        """The objects in the list that read() returns must be the same at each replay."""
        self.kept.extend(read())  # so that no other one gets the id
        self.guard(what, lambda: [id(x) for x in read()])

    def parameter(self, name, p):
        """A Tensor that is read, or changed: its array must stay, and whether it learns."""
        if id(p) not in self.parameters:
            self.parameters[id(p)] = p
            self.guard(f"{name}.requires_grad", lambda: p.requires_grad)
            self.same(
                f"the array of {name} (was a state loaded, or was it moved?)", lambda: [p.data]
            )

    def module(self, module):
        """A Module that is called: its parameters and modules, its mode, and numbers and words
        among its attributes, but for its `counters`, must stay."""
        name = type(module).__name__
        self.guard(f"{name}.training", lambda: module.training)
        for key, value, *_ in module._members():
            if hasattr(value, "requires_grad"):
                self.parameter(f"{name}.{key}", value)
        for key, value in vars(module).items():
            if type(value) in (bool, int, float, str, type(None)) and key not in module.counters:
                self.guard(f"{name}.{key}", lambda key=key: getattr(module, key, "no more there"))
        self.same(f"what {name} is made of", lambda: [value for _, value, *_ in module._members()])

    def tensors(self):
        """Those that may have gradients."""
        return [p for p in self.parameters.values() if p.requires_grad]

    def following(self):
        """Before a replay: checks the guards, and sets the numbers. Raises CaptureError."""
        for what, read, before in self.guards:
            value = read()
            if value != before:
                how = "" if type(value) is list else f", from {before} to {value}"
                raise CaptureError(
                    f"{what} changed after the step was recorded{how}; a replay "
                    "would not see it: capture the step again"
                )
        for following, there in self.numbers:
            there[0] = following()
        return self.values


class _Current(threading.local):
    context = None  # the CaptureContext of this thread, or None

    @contextmanager
    def using(self, context):
        """Within it this context is the current one."""
        before, self.context = self.context, context
        try:
            yield context
        finally:
            self.context = before


current = _Current()
