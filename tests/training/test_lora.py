"""Adapters of low rank: what they compute, what learns, and how little memory it takes."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.nn import (
    GELU,
    Linear,
    LoRALinear,
    Sequential,
    adapters,
    add_adapters,
    merge_adapters,
)
from nanoautograd.optim import AdamW, AveragedModel
from nanoautograd.testing import gradcheck


def network(n=6, m=5, dtype=np.float64):
    return Sequential(
        {
            "query": Linear(n, m, rng=0, dtype=dtype),
            "gelu": GELU(),
            "value": Linear(m, 3, bias=False, rng=1, dtype=dtype),
        }
    )


def value(t):
    return t.detach().numpy()


@settings(max_examples=settings.default.max_examples * 6 // 5)
@given(n=st.integers(1, 7), m=st.integers(1, 7), data=st.data())
def test_it_is_the_formula_and_merges(n, m, data):
    r, alpha = data.draw(st.integers(1, min(n, m))), data.draw(st.floats(0.1, 50.0))
    rng = np.random.default_rng(0)
    linear, x = Linear(n, m, rng=rng, dtype=np.float64), rng.standard_normal((2, 3, n))
    adapted = LoRALinear(linear, r, alpha, rng=rng)
    np.testing.assert_array_equal(value(adapted(x)), value(linear(x)))  # B = 0
    adapted.lora_B.data = rng.standard_normal((m, r))
    W, b, A, B = (value(p) for p in (linear.weight, linear.bias, adapted.lora_A, adapted.lora_B))
    right = x @ (W + alpha / r * B @ A).T + b
    np.testing.assert_allclose(value(adapted(x)), right, rtol=1e-10, atol=1e-10)
    merged = adapted.merged()
    assert type(merged) is Linear and merged.weight.dtype == np.float64
    np.testing.assert_allclose(value(merged(x)), right, rtol=1e-10, atol=1e-10)


def test_the_gradient_of_adapters_is_that_of_differences(rng):
    adapted = LoRALinear(Linear(4, 3, rng=0, dtype=np.float64), 2, 8.0, rng=1)
    del adapted.lora_A, adapted.lora_B  # a Tensor cannot take the place of a Parameter

    def f(x, A, B):
        adapted.lora_A, adapted.lora_B = A, B
        return adapted.forward(x)

    gradcheck(f, [rng.standard_normal(shape) for shape in ((5, 4), (2, 4), (3, 2))], order=2)


def test_names_that_are_chosen(rng):
    model = network()
    before = model.state_dict()
    assert add_adapters(model, 2, names=["value"], rng=0) == ["value"]
    assert type(model.query) is Linear and isinstance(model.value, LoRALinear)
    after = model.state_dict()
    assert (
        after.keys() - before.keys() == adapters(model).keys() == {"value.lora_A", "value.lora_B"}
    )
    for name, array in before.items():  # old names, old values
        np.testing.assert_array_equal(after[name], array)
    assert not model.value.weight.requires_grad and model.query.weight.requires_grad
    with pytest.raises(ValueError, match="no Linear layer called key.*; it has query"):
        add_adapters(network(), 2, names=["key"])
    model = network()
    model.query.weight.requires_grad = False
    with pytest.raises(ValueError, match="no Linear layer that learns; frozen: query$"):
        add_adapters(model, 2, names=["query"])
    with pytest.raises(ValueError, match=r"the rank must be from 1 to 5.*\(5, 6\); got 6"):
        add_adapters(network(), 6)


def step(model, optimizer, x):
    optimizer.zero_grad()
    (model(x) ** 2).mean().backward()
    optimizer.step()


def learning(model):
    return [p for p in model.parameters() if p.requires_grad]


def test_only_adapters_learn_and_merged_is_the_same(rng):
    model, x = network(), rng.standard_normal((8, 6))
    frozen = {name: a for name, a in model.state_dict().items()}
    add_adapters(model, 2, rng=0)
    optimizer = AdamW(learning(model), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        step(model, optimizer, x)
    for name, p in model.named_parameters():
        if name in frozen:
            assert p.grad is None
            np.testing.assert_array_equal(value(p), frozen[name])
        else:
            assert np.abs(p.grad.numpy()).max() > 0
    learnt = value(model(x))
    assert np.abs(learnt - value(network()(x))).max() > 0.01
    assert adapters(merge_adapters(model)) == {}
    np.testing.assert_allclose(value(model(x)), learnt, rtol=1e-10)


def test_adapters_apart_from_the_model(rng):
    """What was learnt is a few small arrays: put into a new model with the same frozen weights
    they give the same results."""
    x = rng.standard_normal((8, 6))
    one, other = network(), network()
    for model in (one, other):
        add_adapters(model, 1, rng=3)
    optimizer = AdamW(learning(one), lr=0.1)
    step(one, optimizer, x), step(one, optimizer, x)
    other.load_state_dict({name: value(p) for name, p in adapters(one).items()}, strict=False)
    np.testing.assert_array_equal(value(one(x)), value(other(x)))
    assert sum(p.size for p in adapters(one).values()) == (6 + 5) + (5 + 3)


def test_frozen_parameters_get_no_gradient_and_learn_again(rng):
    model, x = network(), rng.standard_normal((2, 6))
    (model(x) ** 2).sum().backward()
    model.query.requires_grad_(False)
    assert model.query.weight.grad is None and model.value.weight.grad is not None
    model.zero_grad()
    (model(x) ** 2).sum().backward()
    assert model.query.weight.grad is None and model.value.weight.grad is not None
    model.requires_grad_()
    (model(x) ** 2).sum().backward()
    assert model.query.weight.grad is not None
    assert AveragedModel(model.requires_grad_(False)).averages == {}


def test_memory_shows_what_is_frozen():
    """Of a step with a million weights that learn there are a gradient and two moments of that
    size, and what the forward pass kept; of one with adapters only a little."""
    n, x = 500, np.ones((4, 500), dtype=np.float32)

    def peak(rank):
        model = Sequential(*(Linear(n, n, rng=i) for i in range(4)))
        if rank:
            add_adapters(model, rank, rng=0)
        optimizer = AdamW(learning(model), lr=1e-3)
        tracemalloc.start()
        step(model, optimizer, x)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kept = sum(
            a.nbytes
            for state in optimizer.state
            for a in state.values()
            if isinstance(a, np.ndarray)
        )
        return most, kept

    (all_of_it, moments), (little, few) = peak(0), peak(2)
    weights = 4 * 4 * n * n  # bytes
    assert moments > 2 * weights and all_of_it > 3 * weights
    assert few < 0.02 * weights and little < 0.1 * weights


def test_on_the_fake_of_the_gpu(rng):
    model, x = (
        network(dtype=np.float32).to("strict"),
        nag.Tensor(rng.standard_normal((8, 6)), dtype=np.float32, device="strict"),
    )
    add_adapters(model, 2, rng=0)
    step(model, AdamW(learning(model), lr=0.1), x)
    before = value(model(x))
    np.testing.assert_allclose(value(merge_adapters(model)(x)), before, rtol=1e-5)
