"""What an object holds, however deep: Parameters and Modules that a Module would not find by name,
as they are in a set, the key of a dict, a partial, the closure of a function."""

from collections import ChainMap, UserDict, UserList, deque
from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    Set,
    ValuesView,
)
from dataclasses import is_dataclass
from functools import partial, partialmethod
from gc import get_referents
from itertools import starmap
from types import (
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

__all__ = [
    "CONTAINERS",
    "LAZY",
    "MAPPINGS",
    "PLAIN",
    "held_by",
    "learns_elsewhere",
    "library_of",
]

# What a Module looks into, and gives names to.
MAPPINGS = dict, UserDict, ChainMap, MappingProxyType
CONTAINERS = list, tuple, deque, UserList, *MAPPINGS

PLAIN = {bool, int, float, str, type(None)}  # most of what is held
LAZY = GeneratorType, map, starmap  # what they give is not there before
# Python knows what these refer to.
OPAQUE = set, frozenset, KeysView, ValuesView, ItemsView, partial, partialmethod, MethodType
RECORDS = SimpleNamespace, Mapping, Sequence, Set


# Other libraries that have layers and parameters.
LIBRARIES = {"torch", "jax", "jaxlib", "flax", "tensorflow", "keras", "equinox"}


def library_of(x: object) -> str | None:
    """The library of LIBRARIES whose object, or an object of a subclass of whose, x is; or None."""
    roots = [cls.__module__.partition(".")[0] for cls in type(x).__mro__]
    return next((root for root in roots if root in LIBRARIES), None)


def learns_elsewhere(x: Any) -> bool:
    """Whether x is a layer or a parameter of another library, in which something learns."""
    if library_of(x) is None:
        return False
    if callable(parameters := getattr(x, "parameters", None)):  # of PyTorch
        return any(p.requires_grad for p in parameters())
    is_layer = hasattr(x, "trainable_variables") or hasattr(x, "init") and hasattr(x, "apply")
    return is_layer or getattr(x, "requires_grad", False) is True


def held_by(
    value: object,
    kinds: tuple[type, ...],
    holder: Any = None,
    seen: dict[int, object] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Pairs (one, holder) of all that is of these kinds, or LAZY, in a value: the value itself, or
    what it holds. seen: {id: object} of what was looked into."""
    seen = {} if seen is None else seen
    if isinstance(value, (*kinds, *LAZY)) or learns_elsewhere(value):
        yield value, holder
    elif type(value) not in PLAIN and id(value) not in seen:
        seen[id(value)] = value
        for one in _parts(value, kinds):
            yield from held_by(one, kinds, value, seen)


def _parts(x: Any, kinds: tuple[type, ...]) -> Iterable:
    """What x holds. Of an object of any other class only its attributes count, for it may hold a
    whole dataset."""
    if isinstance(x, MAPPINGS):
        return [*x.keys(), *x.values()]
    if isinstance(x, CONTAINERS):
        return x
    if isinstance(x, np.ndarray):
        return x.flat if x.dtype == object else ()
    if isinstance(x, FunctionType):
        return [*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values(), *_closure(x)]
    if isinstance(x, OPAQUE):
        return get_referents(x)
    if type(x).__module__ in ("builtins", "itertools"):
        return get_referents(x) if isinstance(x, Iterator) else ()
    if isinstance(x, (type, ModuleType)):
        return ()
    is_record = isinstance(x, RECORDS) or is_dataclass(x)
    return [y for y in _attributes(x) if is_record or isinstance(y, kinds)]


def _closure(f: Any) -> Iterator:
    """The values of the variables that a function has from outside, those that have one."""
    for cell in f.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            pass


def _attributes(x: object) -> Iterator:
    yield from getattr(x, "__dict__", {}).values()
    for cls in type(x).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            yield getattr(x, name, None)
