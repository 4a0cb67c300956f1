"""What all layers share: parameters that are found by name, saved and loaded, moved between
devices; and modules made of modules."""

import math

import numpy as np

from ..backends import array_namespace, is_array, to_device
from ..core.tensor import Tensor
from ..kernels.recording import now


class Parameter(Tensor):
    """A Tensor that a Module finds among its attributes, and an optimiser changes."""

    __slots__ = ()

    def __init__(self, data, requires_grad=True, dtype=None, device=None):
        super().__init__(data, requires_grad=requires_grad, dtype=dtype, device=device)


class Module:
    """A part of a model: its attributes that are Parameters or Modules are found by name.

    A subclass sets them in `__init__` and defines `forward`; calling the module calls that.
    """

    training = True

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    counters = ()  # attributes that a call changes

    def __call__(self, *args, **kwargs):
        if now.recording is not None:
            now.recording.module(self)
        return self.forward(*args, **kwargs)

    def named_modules(self, prefix=""):
        """Pairs (name, module): this one and, depth first, all inside it; names are dotted
        paths."""
        yield prefix, self
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self, remove_duplicate=True):
        """Pairs (dotted name, Parameter); a parameter that is used in two places comes once, or,
        with remove_duplicate=False, under each of its names."""
        seen = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self):
        """The Parameters of this module and all inside it, each once."""
        return [p for _, p in self.named_parameters()]

    def train(self, mode=True):
        """Set `training` here and in all modules inside. Returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self):
        """The same as `train(False)`."""
        return self.train(False)

    def to(self, device):
        """Move all parameters to `device`, in place: optimisers keep their hold on them. Gradients
        are dropped. Returns the module."""
        for p in self.parameters():
            p.grad = None
            p.data = to_device(p.data, device)
        return self

    def requires_grad_(self, requires_grad=True):
        """Freeze all parameters (False), or have them learn again (True): one that is frozen gets
        no gradient, and nothing is kept for it. An optimiser takes none that is. Returns the
        module."""
        for p in self.parameters():
            if not requires_grad:
                p.grad = None
            p.requires_grad = requires_grad
        return self

    def zero_grad(self):
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def state_dict(self):
        """{dotted name: array}: copies of all parameters, on the device where they are."""
        return {name: p.data.copy() for name, p in self.named_parameters(remove_duplicate=False)}

    def load_state_dict(self, state_dict, strict=True):
        """Copy arrays (or Tensors) into the parameters of the same names, cast to their dtype.

        Raises ValueError, before anything is changed, that lists every missing, unexpected and
        mis-shaped key; with `strict=False` missing and unexpected ones are left alone.
        """
        slots = dict(self.named_parameters(remove_duplicate=False))
        given = {name: v.data if isinstance(v, Tensor) else v for name, v in state_dict.items()}
        given = {name: v if is_array(v) else np.asarray(v) for name, v in given.items()}
        lines = []
        if strict:
            lines += [
                f"missing: {name} {p.shape}" for name, p in slots.items() if name not in given
            ]
            lines += [
                f"unexpected: {name} {a.shape}" for name, a in given.items() if name not in slots
            ]
        lines += [
            f"mis-shaped: {name} is {given[name].shape}, the model has {p.shape}"
            for name, p in slots.items()
            if name in given and given[name].shape != p.shape
        ]
        if lines:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the weights are of another "
                "model:\n  " + "\n  ".join(lines)
            )
        for name, p in slots.items():
            if name in given:
                p.data = array_namespace(p.data).array(
                    to_device(given[name], p.device), dtype=p.dtype
                )

    def __repr__(self):
        inside = [
            f"({name}): {value!r}"
            for name, value in vars(self).items()
            if isinstance(value, Module)
        ]
        body = "".join("\n  " + line.replace("\n", "\n  ") for line in inside)
        return f"{type(self).__name__}({self.extra_repr()}{body}{chr(10) if inside else ''})"

    def extra_repr(self):
        """What `repr` shows of the options; a subclass defines it."""
        return ""


class ModuleList(Module):
    """Modules in a row, named "0", "1", ...: what is done with them is up to who holds the list."""

    def __init__(self, modules=()):
        for module in modules:
            self.append(module)

    def append(self, module):
        """Put a Module at the end. Returns the list."""
        self._put(str(len(self)), module)
        return self

    def _put(self, name, module):
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: takes Modules; {name!r} is of type {type(module).__name__}"
            )
        setattr(self, name, module)

    def __iter__(self):
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self):
        return sum(1 for _ in self)

    def __getitem__(self, index):
        """The module with that number, or the ModuleList of a slice of them."""
        modules = list(self)[index]
        return ModuleList(modules) if isinstance(index, slice) else modules


class Sequential(ModuleList):
    """Modules one after the other: each gets what the one before returned.

    layers: Modules, which are named "0", "1", ..., or one dict of names and Modules.
    """

    def __init__(self, *layers):
        named = (
            layers[0]
            if len(layers) == 1 and isinstance(layers[0], dict)
            else dict(zip(map(str, range(len(layers))), layers))
        )
        for name, layer in named.items():
            self._put(name, layer)

    def forward(self, x):
        for layer in self:
            x = layer(x)
        return x

    def __getitem__(self, index):
        """The layer with that number, or the Sequential of a slice of them."""
        found = super().__getitem__(index)
        return Sequential(*found) if isinstance(index, slice) else found


def uniform(rng, bound, *shape, dtype):
    """A Parameter drawn from U(−bound, bound)."""
    return Parameter(rng.uniform(-bound, bound, shape), dtype=dtype)


def xavier_uniform(rng, *shape, dtype):
    """A Parameter (outputs, inputs) drawn from U(−√(6/(outputs + inputs)), the same positive)
    (Glorot & Bengio 2010, equation 16)."""
    return uniform(rng, math.sqrt(6.0 / sum(shape)), *shape, dtype=dtype)
