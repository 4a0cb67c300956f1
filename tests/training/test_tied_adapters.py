"""Layers that are tied, in several places or by their weight, have one adapter, and stay tied."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoautograd.nn import (
    Linear,
    LoRALinear,
    Module,
    adapters,
    add_adapters,
    merge_adapters,
)
from nanoautograd.optim import AdamW

NAMES = "a", "b", "c"


class Tied(Module):
    """Three layers of which some are the same, or have the same weight: kinds, one a layer after
    the first, "same", "weight" or "own"."""

    def __init__(self, kinds, seed=0):
        rng, self.inside = np.random.default_rng(seed), Module()
        self.inside.a = self.a = Linear(4, 4, rng=rng, dtype=np.float64)
        for name, kind in zip(NAMES[1:], kinds):
            layer = self.a if kind == "same" else Linear(4, 4, rng=rng, dtype=np.float64)
            if kind == "weight":
                layer.weight = self.a.weight
            setattr(self, name, layer)

    def forward(self, x):
        return self.inside.a(self.c(self.b(self.a(x))))


def learnt(model, x):
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()
    return model(x).detach().numpy()


kinds = st.tuples(*[st.sampled_from(["same", "weight", "own"])] * 2)


@given(kinds, st.sets(st.sampled_from(NAMES)), st.booleans())
def test_what_is_tied_stays_tied(kinds, names, only_inside):
    x = np.random.default_rng(1).standard_normal((5, 4))
    model = Tied(kinds)
    part = model.inside if only_inside else None
    names = sorted(names) if not only_inside else []
    tied = {"a", *(name for name, kind in zip(NAMES[1:], kinds) if kind != "own")}
    chosen = {"a"} if only_inside else set(names) or set(NAMES)
    wanted = chosen | (tied if tied & chosen else set())
    before = model(x).detach().numpy()
    found = add_adapters(model, 2, names=names, part=part, rng=0)
    assert {name.rpartition(".")[2] for name in found} == wanted
    np.testing.assert_array_equal(model(x).detach().numpy(), before)
    assert model.inside.a is model.a
    for name, kind in zip(NAMES[1:], kinds):
        layer = getattr(model, name)
        assert isinstance(layer, LoRALinear) == (name in wanted)
        assert (layer is model.a) == (kind == "same")
        if kind != "own" and name in wanted:
            assert layer.lora_A is model.a.lora_A and layer.lora_B is model.a.lora_B
    if wanted != {*NAMES}:  # what is not chosen learns as before
        assert any(
            p.requires_grad for p in getattr(model, (set(NAMES) - wanted).pop()).parameters()
        )
    after = learnt(model, x)
    assert np.abs(after - before).max() > 1e-3
    # Saved and loaded: all of it, and the adapters apart from it.
    for state, strict in (
        (model.state_dict(), True),
        ({n: p.detach().numpy() for n, p in model.named_parameters()}, False),
    ):
        again = Tied(kinds, seed=5)
        add_adapters(again, 2, names=names, part=again.inside if only_inside else None, rng=1)
        again.load_state_dict(state, strict=strict)
        np.testing.assert_array_equal(again(x).detach().numpy(), after)
    # Merged: the same results, the same ties, and its state is one of a model without adapters.
    merged = merge_adapters(model)
    assert adapters(merged) == {}
    np.testing.assert_allclose(merged(x).detach().numpy(), after, rtol=1e-9)
    assert merged.inside.a is merged.a
    for name, kind in zip(NAMES[1:], kinds):
        assert (getattr(merged, name) is merged.a) == (kind == "same")
        assert (getattr(merged, name).weight is merged.a.weight) == (kind != "own")
    plain = Tied(kinds, seed=7)
    plain.load_state_dict(merged.state_dict())
    np.testing.assert_allclose(plain(x).detach().numpy(), after, rtol=1e-9)


def test_one_name_of_several_is_enough():
    """The layer is adapted under all of its names; before, another was frozen and plain."""
    model = Tied(("same", "own"))
    assert sorted(add_adapters(model, 1, names=["b"], rng=0)) == ["a", "b", "inside.a"]
    assert model.b is model.a and type(model.c) is Linear
    with pytest.raises(ValueError, match="no Linear layer called d"):
        add_adapters(Tied(("own", "own")), 1, names=["d"])
