"""What layers compute of one position by a few lines of NumPy: to what they compute of many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import nn
from nanoautograd.interface.array_interface import array_of
from nanoautograd.nn import one_position
from nanoautograd.nn.causal_attention import causal_attention as of_many
from nanoautograd.nn.one_position import can_compute, causal_attention, on_arrays

DTYPES = st.sampled_from([np.float16, np.float32, np.float64])
EXTREMES = 0.0, 1.0, -3.0, 1e-30, 1e25, -1e-12, np.inf, -np.inf, np.nan


def moved(layer, rng):
    """The layer with weights that are not those it starts from: no gain 1, no bias 0."""
    for p in layer.parameters():
        p.data = (p.data + 0.5 * rng.standard_normal(p.shape)).astype(p.dtype)
    return layer


@st.composite
def layers(draw, dtype, n):
    """A layer that takes n features."""
    kind, bias = draw(st.sampled_from(["linear", "lora", "layer", "rms"])), draw(st.booleans())
    if kind in ("linear", "lora"):
        layer = nn.Linear(n, draw(st.integers(1, 5)), bias, rng=0, dtype=dtype)
        return layer if kind == "linear" else nn.LoRALinear(layer, 1, rng=0)
    eps, affine = draw(st.sampled_from([0.0, 1e-5, 0.1])), draw(st.booleans())
    if kind == "rms":
        return nn.RMSNorm(n, draw(st.sampled_from([None, eps])), affine, dtype=dtype)
    shape = draw(st.sampled_from([n, (1, n)]))
    return nn.LayerNorm(shape, eps, affine, bias, dtype=dtype)


def same(a, b, dtype):
    a, b = (array_of(x).astype(np.float64) for x in (a, b))
    tolerance = 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.nanmax(abs(b), initial=0))


@given(dtype=DTYPES, of_x=DTYPES, n=st.integers(1, 40), data=st.data())
def test_one_position_is_as_many(dtype, of_x, n, data):
    """Of every kind of number, and of weights of another dtype: the same value, or both refuse."""
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    layer = moved(data.draw(layers(dtype, n)), rng)
    shape = data.draw(st.sampled_from([(1, n), (1, 1, n), (2, n), (1, 0, n)]))
    x = rng.standard_normal(shape) * data.draw(st.sampled_from([1e-30, 1e-3, 1.0, 300.0, 1e25]))
    if x.size and data.draw(st.booleans()):
        x[..., data.draw(st.integers(0, n - 1))] = data.draw(st.sampled_from(EXTREMES))
    with np.errstate(all="ignore"), nag.no_grad():
        x = nag.Tensor(x.astype(of_x))
        try:
            wanted = layer(x)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error)), on_arrays():
                layer(x)
            return
        with on_arrays():
            found = layer(x)
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        finite = np.isfinite(wanted.data)
        if finite.all():
            same(found, wanted, found.dtype)
        else:
            np.testing.assert_array_equal(np.isfinite(array_of(found)), finite)


@given(
    dtype=st.sampled_from([np.float32, np.float64]),
    B=st.integers(1, 3),
    K=st.integers(1, 3),
    G=st.integers(1, 3),
    S=st.integers(1, 6),
    T=st.integers(1, 6),
    d=st.integers(1, 5),
    scale=st.sampled_from([0.0, 1.0, 5.0, 30.0]),
)
def test_causal_attention_is_that_of_each_position_alone(dtype, B, K, G, S, T, d, scale):
    """With groups of heads that share keys, and the scores far apart; by the equation, by what is
    shorter for one position, and by that on arrays."""
    T, rng = min(T, S), np.random.default_rng(0)
    q, k, v = (
        (scale * rng.standard_normal((B, H, n, d))).astype(dtype)
        for H, n in ((K * G, T), (K, S), (K, S))
    )
    wanted = np.empty(q.shape)
    for t in range(T):
        seen = S - T + t + 1
        kt, vt = (np.repeat(a[:, :, :seen].astype(np.float64), G, axis=1) for a in (k, v))
        E = np.einsum("bhd,bhsd->bhs", q[:, :, t].astype(np.float64), kt) / np.sqrt(d)
        p = np.exp(E - E.max(-1, keepdims=True))
        wanted[:, :, t] = np.einsum("bhs,bhsd->bhd", p / p.sum(-1, keepdims=True), vt)
    # An error of eps in a score of size n is one of n eps in its probability.
    tolerance = 16 * np.finfo(dtype).eps * max(1.0, d * scale**2)
    for form in (of_many, causal_attention, on_arrays()(causal_attention)):
        with nag.no_grad():
            o = form(*map(nag.Tensor, (q, k, v)))
        np.testing.assert_allclose(array_of(o), wanted, atol=tolerance * max(1.0, scale))


@given(
    dtype=DTYPES,
    pairs=st.integers(1, 5),
    offset=st.sampled_from([0, 1, 7, 8191, 10**6]),
    base=st.sampled_from([2, 10000.0, 1e5]),
)
def test_turning_one_position_is_as_many(dtype, pairs, offset, base):
    x, turn = np.random.default_rng(0).random((2, 3, 1, 2 * pairs)), nn.RotaryEmbedding(base)
    x = x.astype(dtype)
    with nag.no_grad(), on_arrays():
        found = turn(x, offset)
    # The CPU's form multiplies complex numbers, which rounds in another order.
    wanted = turn(nag.Tensor(x), offset).data
    np.testing.assert_allclose(found, wanted, rtol=0, atol=4 * np.finfo(dtype).eps)
    assert found.dtype == dtype


@given(
    dtype=DTYPES,
    x=st.lists(st.floats(-1e3, 1e3) | st.sampled_from(EXTREMES), min_size=1, max_size=9),
    layer=st.sampled_from([nn.GELU(), nn.GELU("tanh"), nn.SiLU()]),
)
def test_activations_of_one_position_are_as_of_many(dtype, x, layer):
    with np.errstate(all="ignore"):
        x = np.array([x]).astype(dtype)
        wanted = layer(nag.Tensor(x)).data
        with nag.no_grad(), on_arrays():
            found = layer(x)
    assert found.dtype == dtype
    # Φ is a difference from 1: its error is absolute.
    np.testing.assert_allclose(
        found, wanted, rtol=16 * np.finfo(dtype).eps, atol=64 * np.finfo(dtype).eps
    )


def test_what_is_recorded_has_its_history(rng):
    layer = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 2), nn.RMSNorm(2))
    with on_arrays():
        y = layer(nag.Tensor(np.ones((1, 3), np.float32)))
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_who_wants_to_see_each_operation_does(monkeypatch):
    """Not on another device, nor in 16 bits, nor within `use_manual` and `detect_anomaly`."""
    weight = nn.Parameter(np.ones(3, np.float32))
    assert can_compute(weight)
    with nag.use_manual():
        assert not can_compute(weight)
    with nag.detect_anomaly():
        assert not can_compute(weight)
    assert not can_compute(nn.Parameter(np.ones(3, np.float16)))
    assert not can_compute(nn.Parameter(np.ones(3, np.float32), device="strict"))
    called = []
    monkeypatch.setattr(one_position, "_arrays", lambda *a: called.append(a))
    nn.Linear(3, 2)(np.ones(3, np.float32))
    assert called  # it is there that a layer asks


# ---- the KV cache


@given(
    parts=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    recorded=st.booleans(),
    data=st.data(),
)
def test_a_cache_holds_what_was_added(parts, recorded, data):
    """Each of its copies by itself, wherever they part."""
    rng = np.random.default_rng(0)
    caches = [(nn.KVCache(), np.empty((2, 3, 0, 4)))]
    for T in parts:
        i = data.draw(st.integers(0, len(caches) - 1))
        cache, wanted = caches[i][0].copy(), caches[i][1]
        k = rng.standard_normal((2, 3, T, 4))
        K, V = cache.extend(nag.Tensor(k, requires_grad=recorded), nag.Tensor(-k))
        wanted = np.concatenate([wanted, k], axis=2)
        np.testing.assert_array_equal(array_of(K), wanted)
        np.testing.assert_array_equal(array_of(V), -wanted)
        caches.append((cache, wanted))
    for cache, wanted in caches:
        assert len(cache) == wanted.shape[2]
        if len(cache):
            np.testing.assert_array_equal(array_of(cache.k), wanted)


@pytest.mark.parametrize(
    "shape, dtype",
    [((1, 3, 1, 4), "f4"), ((2, 1, 1, 4), "f4"), ((2, 3, 1, 1), "f4"), ((2, 3, 1, 4), "f8")],
)
def test_a_cache_refuses_what_is_of_another_kind(shape, dtype):
    """NumPy would repeat it, or round it."""
    cache, k = nn.KVCache(), np.ones((2, 3, 5, 4), np.float32)
    cache.extend(k, k)
    for pair in ((np.ones(shape, dtype), k), (k, np.ones(shape, dtype))):
        with pytest.raises(ValueError, match=r"KVCache: holds keys \(2, 3, 5, 4\) float32"):
            cache.extend(*pair)
    assert len(cache) == 5


def test_heads_that_cannot_share():
    q, k = np.ones((1, 3, 1, 2)), np.ones((1, 2, 1, 2))
    with pytest.raises(ValueError, match="3 heads of queries cannot share 2 heads of keys"):
        causal_attention(q, k, k)


def test_what_many_positions_refuse_one_position_refuses():
    linear, norm, rms = nn.Linear(3, 2), nn.LayerNorm(3), nn.RMSNorm(3)
    linear.bias = nn.Parameter(np.ones(1), dtype="float32")
    norm.eps = rms.eps = -1e-3
    with nag.no_grad(), on_arrays():
        for layer, says in ((linear, "bias must be"), (norm, "eps must be"), (rms, "eps must be")):
            with pytest.raises(ValueError, match=says):
                layer(np.array([[1.0, 2.0, 4.0]], "float32"))


def test_a_weight_without_axes_is_refused_alike():
    layer, x = nn.Linear(1, 1, rng=0), np.ones((1, 1, 1), np.float32)
    layer.weight = nn.Parameter(np.float32(2.0))
    with nag.no_grad():
        with pytest.raises(ValueError) as error:
            layer(x)
        with on_arrays(), pytest.raises(ValueError) as here:
            layer(x)
    assert str(here.value) == str(error.value)
