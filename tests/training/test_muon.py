"""Muon: to the singular value decomposition, to PyTorch, and to what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.nn import Parameter
from nanoautograd.optim import Muon
from nanoautograd.optim.muon import orthogonal

ABC = 3.4445, -4.775, 2.0315
SHAPES = st.tuples(st.integers(0, 8), st.integers(0, 8))


def polynomial(s, steps=5):
    for _ in range(steps):
        s = ABC[0] * s + ABC[1] * s**3 + ABC[2] * s**5
    return s


def by_decomposition(b):
    """What `orthogonal` gives, from the singular values."""
    if not b.any():
        return np.zeros_like(b)
    u, s, vt = np.linalg.svd(b / abs(b).max(), full_matrices=False)
    return u * polynomial(s / np.linalg.norm(s)) @ vt


@given(SHAPES, st.integers(0, 1000), st.sampled_from([1e-250, 1e-3, 1.0, 1e200]), st.booleans())
def test_the_iteration_changes_singular_values_alone(shape, seed, scale, transposed):
    b = scale * np.random.default_rng(seed).standard_normal(shape)
    b = b.T if transposed else b
    np.testing.assert_allclose(orthogonal(b, ABC, 5, eps=0.0), by_decomposition(b), atol=1e-10)
    b = (b / scale).astype(np.float32)
    assert orthogonal(b, ABC, 5).dtype == np.float32
    np.testing.assert_allclose(orthogonal(b, ABC, 5), by_decomposition(b), atol=1e-4)


def test_all_directions_go_about_as_far():
    s = polynomial(np.linspace(0.01, 1.0, 10_000))
    assert 0.68 < s.min() and s.max() < 1.14


def test_a_gradient_below_eps_is_no_full_step():
    tiny = np.full((2, 2), 1e-9)
    assert abs(orthogonal(tiny, ABC, 1, eps=1e-7)).max() < 0.1
    assert not orthogonal(np.zeros((2, 3)), ABC, 5).any()


@pytest.mark.parametrize(
    "options, c",
    [
        ({}, 2**0.5),
        ({"lr": 0.1, "nesterov": False, "momentum": 0.5, "weight_decay": 0.0}, 2**0.5),
        ({"adjust_lr_fn": "match_rms_adamw", "lr": 0.3}, 0.2 * 6**0.5),
        ({"adjust_lr_fn": "original"}, 2**0.5),
    ],
)
def test_steps_are_those_of_the_equations(backend, rng, options, c):
    theta = rng.standard_normal((6, 3))
    w = Parameter(backend.array(theta))
    muon = Muon([w], **options)
    g, m = rng.standard_normal((6, 3)), np.zeros((6, 3))
    o = muon.param_groups[0]
    for _ in range(3):
        w.grad = backend.array(g)
        muon.step()
        m += (1 - o["momentum"]) * (g - m)
        b = g + o["momentum"] * (m - g) if o["nesterov"] else m
        theta = theta - o["lr"] * o["weight_decay"] * theta - o["lr"] * c * by_decomposition(b)
        np.testing.assert_allclose(backend.numpy(w), theta, atol=1e-10)
        g = g + 0.3 * theta


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(6, 4), (4, 9)])
@pytest.mark.parametrize(
    "options", [{}, {"nesterov": False, "lr": 0.02}, {"adjust_lr_fn": "match_rms_adamw"}]
)
def test_steps_are_those_of_pytorch_but_for_its_rounding(rng, shape, options):
    """PyTorch multiplies in bfloat16, with 3 digits."""
    torch = pytest.importorskip("torch")
    start = rng.standard_normal(shape)
    ours, theirs = Parameter(start), torch.nn.Parameter(torch.tensor(start))
    a, b = Muon([ours], **options), torch.optim.Muon([theirs], **options)
    for _ in range(10):
        g = rng.standard_normal(shape)
        ours.grad, theirs.grad = g, torch.tensor(g)
        a.step()
        b.step()
    moved = np.linalg.norm(ours.data - start)
    assert np.linalg.norm(ours.data - theirs.detach().numpy()) < 0.02 * moved


def test_a_loaded_state_goes_on_to_the_bit(rng):
    start, gs = rng.standard_normal((4, 3)), rng.standard_normal((6, 4, 3))

    def steps(w, muon, gs):
        for g in gs:
            w.grad = g
            muon.step()

    w = Parameter(start)
    muon = Muon([w], lr=0.1)
    steps(w, muon, gs[:3])
    again = Parameter(w.data.copy())
    other = Muon([again])
    other.load_state_dict(muon.state_dict())
    steps(w, muon, gs[3:])
    steps(again, other, gs[3:])
    assert np.array_equal(w.data, again.data)


def test_weights_of_16_bits_are_stepped_in_float32(rng):
    start, g = (rng.standard_normal((4, 3)).astype(np.float16) for _ in range(2))
    half, single = Parameter(start), Parameter(start.astype(np.float32))
    for w in (half, single):
        muon = Muon([w], lr=0.01)
        for _ in range(20):
            w.grad = g.astype(w.dtype)
            muon.step()
    np.testing.assert_allclose(half.data, single.data, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"ns_steps": 0}, "ns_steps must be from 1 to 99, got 0"),
        ({"ns_steps": 2.0}, "ns_steps must be an integer"),
        ({"ns_coefficients": (1.0, 2.0)}, "three numbers"),
        ({"ns_coefficients": (1.0, 2.0, np.nan)}, "ns_coefficients must be"),
        ({"adjust_lr_fn": "adam"}, "match_rms_adamw"),
        ({"nesterov": 1}, "nesterov must be True or False"),
        ({"momentum": 2.0}, "momentum must be at most 1"),
        ({"dampening": 0.1}, "dampening"),
    ],
)
def test_options_that_are_none(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Muon([Parameter(np.ones((2, 2)))], **options)


def test_only_matrices():
    with pytest.raises(ValueError, match=r"parameter 1 has shape \(3,\).*AdamW"):
        Muon([Parameter(np.ones((2, 2))), Parameter(np.ones(3))])


def test_a_network_learns_with_both(rng):
    """Matrices by Muon, vectors by AdamW, as its documentation says."""
    x, first = rng.standard_normal((64, 8)), nag.nn.Linear(8, 16, rng=0)
    net = nag.nn.Sequential(first, nag.nn.Tanh(), nag.nn.Linear(16, 2, rng=1))
    y = np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=1)
    matrices = [p for p in net.parameters() if p.ndim == 2]
    vectors = [p for p in net.parameters() if p.ndim != 2]
    optimizers = Muon(matrices, lr=0.02), nag.optim.AdamW(vectors, lr=0.01)
    losses = []
    for _ in range(100):
        loss = nag.functional.mse_loss(net(x), y)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
