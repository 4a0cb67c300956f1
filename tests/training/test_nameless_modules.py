"""A Module or Parameter that is held where it has no name is refused, and not silently left out of
what learns and is saved."""

import functools
import itertools
from collections import UserList, deque
from collections.abc import Mapping
from dataclasses import make_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoautograd.nn import Identity, Linear, Module, Parameter

containers = st.sampled_from([list, tuple, deque, UserList, lambda held: dict(enumerate(held))])


def holding(**attributes):
    """A Module with these attributes."""
    module = Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def parameter():
    return Parameter(np.ones(2))


class Plain:
    """A class that is no Module."""

    def __init__(self, held):
        self.held = held

    def method(self):
        return self.held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Layers(Mapping):
    """A mapping of one's own."""

    def __init__(self, held):
        self.held = {"a": held}

    def __getitem__(self, key):
        return self.held[key]

    def __iter__(self):
        return iter(self.held)

    def __len__(self):
        return len(self.held)


def closed_over(held):
    return lambda x: held(x)


def with_default(held):
    def f(x, layer=held):
        return layer(x)

    return f


# Where a Module has no name, and what is said there to hold it.
NAMELESS = {
    "a set": lambda m: {m},
    "a frozenset": lambda m: frozenset([m]),
    "the key of a dict": lambda m: {m: 1},
    "a view of a dict": lambda m: {"a": m}.values(),
    "the items of a dict": lambda m: {"a": m}.items(),
    "a partial": lambda m: functools.partial(print, m),
    "a partial by keyword": lambda m: functools.partial(print, layer=[m]),
    "a partial of a partial": lambda m: functools.partial(functools.partial(print, (m,)), 1),
    "a bound method": lambda m: m.__repr__,
    "a bound method of a class": lambda m: Plain(m).method,
    "a closure": closed_over,
    "a default": with_default,
    "an array of objects": lambda m: np.fromiter([m, None], dtype=object),
    "a record": lambda m: make_dataclass("Record", ["size", "layer"])(3, [m]),
    "a record with slots": lambda m: make_dataclass("Record", ["layer"], slots=True)((m,)),
    "a namespace": lambda m: SimpleNamespace(a={"b": m}),
    "an object": Plain,
    "an object with slots": Slotted,
    "a mapping of another class": Layers,
    "an iterator": lambda m: iter([m]),
    "a zip": lambda m: zip([m], [1]),
    "a cycle": lambda m: itertools.cycle([m]),
}


@pytest.mark.parametrize("kind", NAMELESS)
@given(st.sampled_from([parameter, lambda: Linear(1, 1)]), st.lists(containers, max_size=2))
def test_what_has_no_name_is_refused_unless_it_has_one_elsewhere(kind, made, around):
    layer = made()
    held = NAMELESS[kind](layer)
    for container in around:
        held = container([held])
    model = holding(first=Identity(), held=held)
    outer = holding(inner=model)
    for module, name in ((model, "held"), (outer, "inner.held")):
        for call in (module.parameters, module.state_dict, module.eval):
            with pytest.raises(TypeError, match=f"{name} holds a .* in .*neither learnt nor saved"):
                call()
    wanted = {id(p) for p in (layer.parameters() if isinstance(layer, Module) else [layer])}
    for module in (outer, model):
        module.layer = layer
        assert {id(p) for p in module.parameters()} == wanted


@pytest.mark.parametrize(
    "lazy", [(Linear(1, 1) for _ in "ab"), map(Linear, [1], [1])], ids=["generator", "map"]
)
def test_what_is_not_there_yet_is_refused(lazy):
    with pytest.raises(TypeError, match="held holds a .*; keep a list"):
        holding(held=lazy).parameters()


def test_a_module_may_call_back_the_one_that_holds_it():
    parent, child = holding(weight=parameter()), Linear(1, 1)
    parent.child = child
    child.done, child.also = parent.forward, functools.partial(print, parent)
    parent.own, child.own = parent.forward, [child.forward]
    assert len(child.parameters()) == 2 and len(parent.parameters()) == 3


def test_what_holds_nothing_that_learns_may_be_kept():
    def itself(n):
        return itself(n - 1)

    never = lambda: undefined  # noqa: E731
    if False:
        undefined = 1
    ring = Plain(None)
    ring.held = ring
    module = holding(
        words={"a", 1},
        names={parameter: 1},
        f=itself,
        g=never,
        ring=ring,
        counter=itertools.count(),
    )
    module.partial, module.numbers = functools.partial(print, module.words), iter([1, 2])
    module.method, module.library, module.kind = ring.method, np, Linear
    assert module.parameters() == []
