"""gelu and silu: three ways to one gradient, plain formulas, PyTorch, and numbers far out."""

import math

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

GELUS = ("gelu", {"approximate": "none"}), ("gelu", {"approximate": "tanh"})
EACH, EACH_GELU = each_form(*GELUS, "silu"), each_form(*GELUS)
ON_NUMPY = each_form_on_numpy(*GELUS, "silu")
IN_BLOCKS = each_form_on_numpy(*GELUS, "silu", where=["cpu"])
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
SEEDS = st.integers(0, 2**32 - 1)


def plain(module, x):
    """One number, as in the paper."""
    if module.name == "silu":
        return x / (1 + math.exp(-x))
    if module.options["approximate"] == "none":
        return x / 2 * (1 + math.erf(x / math.sqrt(2)))
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@EACH
@given(SHAPES, SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, shape, seed
):
    x = np.asarray(3 * np.random.default_rng(seed).standard_normal(shape))
    agree(backend, module, [x], seed, **module.options)
    each_alone(backend, module, [x, None] if module.name == "gelu" else [x], **module.options)
    (y,), _, _ = by_hand(backend, module, [x], **module.options)
    want = [plain(module, v) for v in x.ravel()]
    np.testing.assert_allclose(y.ravel(), want, rtol=1e-12, atol=1e-15)


@EACH_GELU
@given(array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5), SEEDS)
def test_gelu_with_a_bias(backend, module, shape, seed):
    rng = np.random.default_rng(seed)
    arrays = [3 * rng.standard_normal(shape), rng.standard_normal(shape[-1:])]
    agree(backend, module, arrays, seed, **module.options)
    each_alone(backend, module, arrays, **module.options)
    (y,), *_ = by_hand(backend, module, arrays, **module.options)
    (added,), *_ = by_hand(backend, module, [arrays[0] + arrays[1]], **module.options)
    close(y, added, "the output")


@IN_BLOCKS
@given(st.integers(0, 40), st.sampled_from(["float32", "float64"]))
def test_blocks_give_the_same_numbers(module, n, dtype):
    x, b = (np.random.default_rng(n).standard_normal(s).astype(dtype) for s in ((n, 3), 3))
    same_by_blocks(module, [x], **module.options)
    if module.name == "gelu":
        same_by_blocks(module, [x, b], **module.options)


@pytest.mark.parametrize("dtype, most", [("float32", 3.2), ("float64", 4.0)])
def test_erf_to_the_last_digits(backend, dtype, most):
    """In units in the last place; beyond 6, and at nan, too."""
    x = np.concatenate([np.linspace(-7, 7, 9001), np.logspace(-30, 0, 999)]).astype(dtype)
    want = np.array([math.erf(a) for a in x.tolist()])
    found = backend.numpy(nag.erf(backend.array(x)))
    assert found.dtype == dtype
    assert (abs(found - want) <= most * np.spacing(abs(want).astype(dtype))).all()
    far = backend.numpy(nag.erf(backend.array([-np.inf, np.inf, np.nan], dtype)))
    np.testing.assert_array_equal(far, [-1, 1, np.nan])


@pytest.mark.parametrize("f", [nag.erf, nag.functional.gelu])
def test_in_wider_numbers_no_digits_of_float64_are_lost(f):
    x = np.linspace(-7, 7, 9001)
    y = f(x.astype(np.longdouble))
    assert y.dtype == np.longdouble
    np.testing.assert_allclose(y, f(x), rtol=0, atol=4e-15)


@ON_NUMPY
@pytest.mark.oracle
@given(SHAPES, SEEDS)
def test_pytorch_computes_the_same(module, shape, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x, g = np.asarray(4 * rng.standard_normal(shape)), np.asarray(rng.standard_normal(shape))
    y, cache = module.forward(x, **module.options)
    tx = torch.tensor(x, requires_grad=True)
    ty = getattr(torch.nn.functional, module.name)(tx, **module.options)
    close(np.asarray(y), ty.detach().numpy(), "the output")
    close(
        np.asarray(module.backward(g, cache)[0]),
        torch.autograd.grad(ty, tx, torch.tensor(g))[0].numpy(),
        "the gradient",
    )


@EACH
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_out_they_are_relu_and_nothing_overflows(backend, module, dtype):
    """To the left 0 with slope 0, to the right x with slope 1; nothing overflows on the way."""
    large = float(np.finfo(dtype).max)
    x = np.array([-np.inf, -large, -1e4, 0.0, 1e4, large, np.inf], dtype)
    g = np.ones(7, dtype)
    (y,), _, (dx,) = by_hand(backend, module, [x], [g], **module.options)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(dx, [0, 0, 0, 0.5, 1, 1, 1])
    (y2,), (dx2,) = by_composition(backend, module, [x[1:-1]], [g[1:-1]], **module.options)
    np.testing.assert_array_equal(y2, y[1:-1])
    np.testing.assert_array_equal(dx2, dx[1:-1])


@EACH
def test_nan_stays_nan(backend, module):
    (y,), _, (dx,) = by_hand(backend, module, [np.array([np.nan, 1.0])], **module.options)
    assert np.isnan([y[0], dx[0]]).all() and np.isfinite([y[1], dx[1]]).all()


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module):
    x = np.random.default_rng(0).standard_normal((4, 6))
    (y,), g, (dx,) = by_hand(backend, module, [x], **module.options)
    low, g32 = x.astype("float32"), [g[0].astype("float32")]
    (y32,), _, (dx32,) = by_hand(backend, module, [low], g32, **module.options)
    (y2,), (dx2,) = by_composition(backend, module, [low], g32, **module.options)
    for a, b in [(y32, y), (y2, y), (dx32, dx), (dx2, dx)]:
        close(a, b.astype("float32"), "float32")
    view, out = backend.array(x.T[::-1].copy())[::-1].T, backend.array(g[0].T.copy()).T
    y, cache = module.forward(view, **module.options)
    close(backend.numpy(module.backward(out, cache)[0]), dx, "a view")


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    f = getattr(nag.functional, module.name)
    second_order(
        backend,
        lambda x: f(x, **module.options),
        module,
        [np.random.default_rng(0).standard_normal((3, 4))],
        **module.options,
    )
    if module.name == "gelu":
        rng = np.random.default_rng(1)
        second_order(
            backend,
            lambda x, b: f(x, **module.options, bias=b),
            module,
            [rng.standard_normal((3, 4)), rng.standard_normal(4)],
            **module.options,
        )


def test_wrong_arguments_are_named(backend):
    gelu, silu = nag.functional.gelu, nag.functional.silu
    x = backend.array(np.ones(2))
    with pytest.raises(ValueError, match="'none' or 'tanh'; got 'erf'"):
        gelu(x, approximate="erf")
    with pytest.raises(TypeError, match="gelu: the input must be floating; got int64"):
        gelu(backend.array(np.ones(2, int)))
    for shape in ((2, 3), ()):
        with pytest.raises(ValueError, match=r"gelu: the bias must be \(N,\).* bias \(2,\)"):
            gelu(backend.array(np.ones(shape)), bias=x)
    with pytest.raises(TypeError, match="input float64 and bias float32"):
        gelu(x, bias=backend.array(np.ones(2, "f")))
    with pytest.raises(TypeError, match="silu: the input must be floating; got int64"):
        silu(backend.array(np.ones(2, int)))
