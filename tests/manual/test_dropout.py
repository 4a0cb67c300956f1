"""dropout: three ways to one gradient, a plain loop, its statistics beside PyTorch's, bad input."""

from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

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
    same_by_blocks,
)

import nanoautograd as nag
from nanoautograd.kernels.cuda import emulator
from nanoautograd.testing import oracle

EACH, ON_NUMPY = each_form("dropout"), each_form_on_numpy("dropout")
IN_BLOCKS = each_form_on_numpy("dropout", where=["cpu"])
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
SEEDS = st.integers(0, 2**64 - 1)
OPTIONS = st.fixed_dictionaries(
    {
        "p": st.sampled_from([0, 0.1, 0.5, 0.9, 1, 1 - 1e-15]),
        "training": st.booleans(),
        "seed": SEEDS,
        "offset": st.integers(0, 2**40),
    }
)


def with_options(module, **options):
    """The module as one that takes no options (the helpers have a `seed` of their own)."""
    return SimpleNamespace(
        forward=partial(module.forward, **options),
        backward=module.backward,
        reference=partial(module.reference, **options),
    )


@EACH
@given(SHAPES, OPTIONS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, shape, options
):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape))
    if options["p"] == 1 - 1e-15:
        options["p"] = 0.99  # else the factor is too large for finite differences
    agree(backend, with_options(module, **options), [x])
    each_alone(backend, with_options(module, **options), [x])


@IN_BLOCKS
@given(st.integers(0, 50), st.integers(0, 9), st.sampled_from([0.0, 0.3, 1.0]))
def test_blocks_give_the_same_numbers(module, n, offset, p):
    x = np.random.default_rng(n).standard_normal(n)
    same_by_blocks(module, [x], p=p, seed=n, offset=offset)


@EACH
@given(SHAPES, OPTIONS)
def test_it_gives_what_a_plain_loop_gives(backend, module, shape, options):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape))
    (y,), _, _ = by_hand(backend, with_options(module, **options), [x])
    np.testing.assert_allclose(y, oracle.dropout(x, **options), rtol=1e-12)


@EACH
def test_with_p_1_nothing_is_left_and_with_p_0_all(backend, module):
    """With p = 1 nothing is left; with p = 0, or when not training, all is."""
    x, g = np.arange(5.0), np.ones(5)
    for options, factor in [
        ({"p": 1}, 0),
        ({"p": 1.0}, 0),
        ({"p": 0}, 1),
        ({"training": False}, 1),
    ]:
        (y,), _, (dx,) = by_hand(backend, with_options(module, seed=3, **options), [x], [g])
        np.testing.assert_array_equal(y, factor * x)
        np.testing.assert_array_equal(dx, factor)


@pytest.mark.parametrize("by_manual", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_one_number_keeps_its_dtype(by_manual, dtype, p):
    dtype = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    x = nag.Tensor(np.asarray(2.0).astype(dtype), requires_grad=True)
    with nag.use_manual() if by_manual else nullcontext():
        y = nag.functional.dropout(x, p, seed=3)
        y.backward()
    assert y.dtype == x.grad.dtype == dtype and y.item() == 2 * x.grad.item()


@ON_NUMPY
@pytest.mark.oracle
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_statistics_are_those_of_pytorch(module, p):
    """The values are the same two, and both are within five standard errors of 1 - p."""
    torch = pytest.importorskip("torch")
    n = 100_000
    y, _ = module.forward(np.ones(n, np.float32), p=p, seed=0)
    torch.manual_seed(0)
    ty = torch.nn.functional.dropout(torch.ones(n), p)
    np.testing.assert_array_equal(np.unique(y), np.unique(ty.numpy()))
    for kept in (y != 0, ty.numpy() != 0):
        assert abs(kept.mean() - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5
    assert y.mean() == pytest.approx(1, abs=5 * (p / (1 - p) / n) ** 0.5)


def test_seed_and_offset_decide_the_mask(backend):
    def mask(n, **options):
        y = nag.functional.dropout(backend.tensor(np.ones(n)), **options)
        return backend.numpy(y) != 0

    a = mask(1000, seed=1)
    np.testing.assert_array_equal(a, mask(1000, seed=1))
    np.testing.assert_array_equal(a[600:], mask(400, seed=1, offset=600))
    for other in (mask(1000, seed=2), mask(1000, seed=1, offset=1000), mask(1000)):
        assert 400 < (a == other).sum() < 600
    assert 400 < (mask(1000) == mask(1000)).sum() < 600  # no seed: a new mask each time


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module):
    x, g = np.random.default_rng(0).standard_normal((2, 4, 6))
    (y,), _, (dx,) = by_hand(backend, with_options(module, seed=1), [x], [g])
    low, g32 = x.astype("float32"), g.astype("float32")
    (y32,), _, (dx32,) = by_hand(backend, with_options(module, seed=1), [low], [g32])
    (y2,), (dx2,) = by_composition(backend, with_options(module, seed=1), [low], [g32])
    for a, b in [(y32, y), (y2, y), (dx32, dx), (dx2, dx)]:
        close(a, b.astype("float32"), "float32")
    view, cache = module.forward(backend.array(x.T.copy()).T, seed=1)
    close(backend.numpy(view), y, "a view")
    close(backend.numpy(module.backward(backend.array(g.T.copy()).T, cache)[0]), dx, "a view")


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    second_order(
        backend,
        lambda x: nag.functional.dropout(x, 0.3, seed=5),
        module,
        [np.random.default_rng(0).standard_normal((3, 4))],
        p=0.3,
        seed=5,
    )


@pytest.mark.parametrize(
    "x, p, error, says",
    [
        (np.ones(2), -0.1, ValueError, "from 0 to 1; got -0.1"),
        (np.ones(2), 1.5, ValueError, "from 0 to 1; got 1.5"),
        (np.ones(2), float("nan"), ValueError, "from 0 to 1; got nan"),
        (np.ones(2, int), 0.5, TypeError, "floating; got int64"),
    ],
)
def test_wrong_arguments_are_named(backend, x, p, error, says):
    with pytest.raises(error, match=says):
        nag.functional.dropout(backend.array(x), p=p, seed=0)


@pytest.mark.parametrize("option", ["seed", "offset"])
@pytest.mark.parametrize("value", [1.5, np.float64(3), "a"])
@pytest.mark.parametrize("name", ["dropout", "attention"])
@pytest.mark.parametrize("where", ["forms", "kernels"])
def test_seeds_and_offsets_that_are_no_integers(backend, option, value, name, where):
    """In every form; also of a kernel, which would take their integer part."""
    F, x, options = nag.functional, backend.array(np.ones((2, 2), "f")), {"seed": 3, option: value}
    with emulator.emulated(seed=1) if where == "kernels" else nullcontext():
        with pytest.raises(TypeError, match=rf"^{name}: {option} must be an integer; got"):
            if name == "dropout":
                F.dropout(x, 0.5, **options)
            else:
                F.scaled_dot_product_attention(x, x, x, dropout_p=0.5, **options)
