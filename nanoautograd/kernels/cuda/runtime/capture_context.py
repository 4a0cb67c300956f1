"""The context of a training step that is being captured: its parts say what a replay must check.

A replay is the same kernels on the same memory; no line of Python runs again (capture.py).
What changes from step to step is in the memory of the device, where kernels find it and move it on
(optim/on_device.py, nn/counter.py), and what Python decided must stay as it was (`guard`). While no
step is captured, `current.context` is None:

    context = current.context
    if context is not None:
        context.guard("the mode", lambda: self.training)

Modules, layers that draw random numbers and optimisers do that; a model need not.
"""

import threading
from contextlib import contextmanager

__all__ = ["CaptureContext", "CaptureError", "current"]


class CaptureError(RuntimeError):
    """Why a step cannot be recorded, or replayed."""


class CaptureContext:
    """What the parts of a step have said. is_recording: whether its kernels are noted down, and not
    run."""

    def __init__(self, is_recording=False):
        self.is_recording = is_recording
        self.guards = []
        self.parameters, self.kept = {}, []  # id -> Tensor, and arrays whose id must stay

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
        among its attributes must stay."""
        name = type(module).__name__
        self.guard(f"{name}.training", lambda: module.training)
        for key, value, *_ in module._members():
            if hasattr(value, "requires_grad"):
                self.parameter(f"{name}.{key}", value)
        for key, value in vars(module).items():
            if type(value) in (bool, int, float, str, type(None)):
                self.guard(f"{name}.{key}", lambda key=key: getattr(module, key, "no more there"))
        self.same(f"what {name} is made of", lambda: [value for _, value, *_ in module._members()])

    def tensors(self):
        """Those that may have gradients."""
        return [p for p in self.parameters.values() if p.requires_grad]

    def check(self):
        """Before a replay. Raises CaptureError where something is not as it was."""
        for what, read, before in self.guards:
            value = read()
            if value != before:
                how = "" if type(value) is list else f", from {before} to {value}"
                raise CaptureError(
                    f"{what} changed after the step was recorded{how}; a replay "
                    "would not see it: capture the step again"
                )


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
