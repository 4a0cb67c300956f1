"""rotary: three ways to one gradient, rotation matrices, complex numbers, positions, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from second_order import second_order
from three_ways import (
    agree,
    by_composition,
    by_hand,
    close,
    each_alone,
    each_form,
    each_form_on_numpy,
)

import nanoautograd as nag

EACH = each_form("rotary")
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    batch = draw(array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    shape = (*batch, draw(st.integers(0, 4)), 2 * draw(st.integers(0, 3)))
    x = np.random.default_rng(draw(SEEDS)).standard_normal(shape)
    return x, {
        "base": draw(st.sampled_from([10000.0, 10, 0.5])),
        "offset": draw(st.integers(0, 100)),
        "interleaved": draw(st.booleans()),
    }


@EACH
@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed
):
    x, options = case
    agree(backend, module, [x], seed, **options)
    each_alone(backend, module, [x], **options)


@EACH
@given(cases())
def test_pairs_are_complex_numbers_turned(backend, module, case):
    """(a + ib) exp(iφ), written out position by position and pair by pair."""
    x, options = case
    (y,), _, _ = by_hand(backend, module, [x], **options)
    T, d = x.shape[-2:]
    for t in range(T):
        for i in range(d // 2):
            a, b = (2 * i, 2 * i + 1) if options["interleaved"] else (i, i + d // 2)
            φ = (options["offset"] + t) * options["base"] ** (-2 * i / d)
            turned = (x[..., t, a] + 1j * x[..., t, b]) * np.exp(1j * φ)
            np.testing.assert_allclose(y[..., t, a], turned.real, atol=1e-10)
            np.testing.assert_allclose(y[..., t, b], turned.imag, atol=1e-10)


@each_form_on_numpy("rotary")
@given(cases(), st.integers(0, 50))
def test_products_depend_on_the_distance_alone(module, case, shift):
    q, options = case
    k = np.random.default_rng(1).standard_normal(q.shape)

    def products(offset):
        a, b = (module.forward(x, **{**options, "offset": offset})[0] for x in (q, k))
        return a @ b.swapaxes(-1, -2)

    np.testing.assert_allclose(products(0), products(shift), atol=1e-9)


@EACH
@pytest.mark.parametrize("interleaved", [True, False])
def test_one_position_at_a_time_is_the_same(backend, module, interleaved):
    """What generation does that keeps the keys; and the layouts differ in the order alone."""
    x = np.random.default_rng(0).standard_normal((2, 5, 6))
    (y,), _, _ = by_hand(backend, module, [x], interleaved=interleaved)
    for t in range(5):
        (one,), _, _ = by_hand(
            backend, module, [x[:, t : t + 1]], offset=t, interleaved=interleaved
        )
        close(one, y[:, t : t + 1], "one position")
    order = [0, 2, 4, 1, 3, 5]
    (halves,), _, _ = by_hand(backend, module, [x[..., order]], interleaved=False)
    (pairs,), _, _ = by_hand(backend, module, [x], interleaved=True)
    close(halves, pairs[..., order], "halves")


@EACH
def test_float32_is_exact_at_late_positions(backend, module):
    """An angle of 100000 in float32 would be wrong by up to 0.004."""
    x = np.random.default_rng(0).standard_normal((3, 4))
    (y,), g, (dx,) = by_hand(backend, module, [x], offset=100_000)
    low, g32 = x.astype("f"), [g[0].astype("f")]
    (y32,), _, (dx32,) = by_hand(backend, module, [low], g32, offset=100_000)
    (y2,), (dx2,) = by_composition(backend, module, [low], g32, offset=100_000)
    for a, b in [(y32, y), (y2, y), (dx32, dx), (dx2, dx)]:
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=1e-6)


@EACH
@pytest.mark.parametrize("interleaved", [True, False])
def test_any_layout_will_do(backend, module, interleaved):
    x, g = np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    (y,), _, (dx,) = by_hand(backend, module, [x], [g], interleaved=interleaved)
    out, cache = module.forward(backend.array(x.T.copy()).T, interleaved=interleaved)
    close(backend.numpy(out), y, "a view")
    close(backend.numpy(module.backward(backend.array(g.T.copy()).T, cache)[0]), dx, "a view")


@EACH
@pytest.mark.parametrize("interleaved", [True, False])
def test_the_second_derivative_is_that_of_differences(backend, module, interleaved):
    options = {"offset": 3, "interleaved": interleaved}
    second_order(
        backend,
        lambda x: nag.functional.rotary_embedding(x, **options),
        module,
        [np.random.default_rng(0).standard_normal((2, 3, 4))],
        **options,
    )


@pytest.mark.parametrize(
    "x, options, error, says",
    [
        (np.ones((2, 3)), {}, ValueError, r"even number of features; got \(2, 3\)"),
        (np.ones(4), {}, ValueError, r"got \(4,\)"),
        (np.ones((2, 4), int), {}, TypeError, "floating; got int64"),
        (np.ones((2, 4)), {"base": 0.0}, ValueError, "positive; got 0.0"),
    ],
)
def test_wrong_arguments_are_named(x, options, error, says):
    with pytest.raises(error, match=says):
        nag.functional.rotary_embedding(x, **options)
