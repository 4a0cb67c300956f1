"""What is still accepted for one version, with a warning, and removed in the next.

The one place of such names: delete this file, and the lines that import it, and they are gone.
"""

import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .. import backends, errors
from ..core import grad_mode
from ..core.operation import Primitive, function
from ..core.tensor import Tensor
from ..custom_vjp import CustomVJP, custom_vjp
from ..safety.anomaly import detect_anomaly
from . import array_interface
from .dlpack import from_dlpack

__all__ = ["NAMES", "overwrite_input", "renamed"]

# Of `nanoautograd`: an old name -> (the new one, what it is).
NAMES = {"Function": ("nanoautograd.core.operation.Primitive", Primitive)}

# Modules that are gone: module -> {name: (where it is now, what it is)}.
MODULES: dict[str, dict[str, tuple[str, Any]]] = {
    "function": {
        "Function": ("nanoautograd.core.operation.Primitive", Primitive),
        "HandDerived": ("nanoautograd.custom_vjp.CustomVJP", CustomVJP),
        "by_hand": ("nanoautograd.custom_vjp", custom_vjp),
        "function": ("nanoautograd.function", function),
    },
    "graph": {
        "GraphError": ("nanoautograd.GraphError", errors.GraphError),
        "ShapeError": ("nanoautograd.ShapeError", errors.ShapeError),
    },
    "modes": {
        "detect_anomaly": ("nanoautograd.detect_anomaly", detect_anomaly),
        "enable_grad": ("nanoautograd.enable_grad", grad_mode.enable_grad),
        "is_grad_enabled": ("nanoautograd.is_grad_enabled", grad_mode.is_grad_enabled),
        "no_grad": ("nanoautograd.no_grad", grad_mode.no_grad),
    },
    "node": {"AnomalyError": ("nanoautograd.AnomalyError", errors.AnomalyError)},
    "tensor": {
        "Tensor": ("nanoautograd.Tensor", Tensor),
        "array_of": ("nanoautograd.interface.array_interface.array_of", array_interface.array_of),
        "from_dlpack": ("nanoautograd.from_dlpack", from_dlpack),
    },
}


def renamed(table: dict[str, tuple[str, Any]], module: str, name: str) -> Any:
    """What `module.name` is now, with a warning; AttributeError if it never was."""
    if name not in table:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    new, value = table[name]
    _warn(f"{module}.{name} is now {new}; the old name will be removed", stacklevel=4)
    return value


class _Gone(ModuleType):
    """A module that is gone: its names are elsewhere."""

    def __getattr__(self, name: str) -> Any:
        return renamed(MODULES[self.__name__.rpartition(".")[2]], self.__name__, name)


for _name in MODULES:
    sys.modules[f"nanoautograd.{_name}"] = _Gone(f"nanoautograd.{_name}")


def _vjp(self: Primitive, *in_order: Callable, **rules: Callable) -> Primitive:
    """The old name of `defvjp`."""
    _warn(f"{self.name}.vjp(...) is now {self.name}.defvjp(...); the old name will be removed")
    return self.defvjp(*in_order, **rules)


setattr(Primitive, "vjp", _vjp)


def namespace(*arrays: Any) -> Any:
    """The old name of `array_namespace`, in `nanoautograd.backends`."""
    _warn("nanoautograd.backends.namespace is now array_namespace; the old name will be removed")
    return backends.array_namespace(*arrays)


setattr(backends, "namespace", namespace)


def overwrite_input() -> None:
    """The option `overwrite_input` of cross_entropy was given; it has no effect any more."""
    _warn(
        "cross_entropy: overwrite_input has no effect any more and will be removed; leave it out. "
        "Where the logits are too large, nag.functional.linear_cross_entropy needs no array of "
        "them",
        stacklevel=4,
    )


def _warn(message: str, stacklevel: int = 3) -> None:
    """Names the line that used the old name."""
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)
