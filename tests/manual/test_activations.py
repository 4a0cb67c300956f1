"""gelu and silu: three ways to one gradient, plain formulas, PyTorch, and numbers far out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from second_order import second_order
from three_ways import agree, by_composition, by_hand, close, each_alone, same_by_blocks

import nanoautograd as nag
from nanoautograd.manual import gelu, silu

KINDS = {
    "gelu": (gelu, {"approximate": "none"}),
    "gelu tanh": (gelu, {"approximate": "tanh"}),
    "silu": (silu, {}),
}
EACH = pytest.mark.parametrize("module, options", KINDS.values(), ids=KINDS)
SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
SEEDS = st.integers(0, 2**32 - 1)


def name_of(module):
    return module.__name__.rpartition(".")[2]


def plain(module, options, x):
    """One number, as in the paper."""
    if module is silu:
        return x / (1 + math.exp(-x))
    if options["approximate"] == "none":
        return x / 2 * (1 + math.erf(x / math.sqrt(2)))
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@EACH
@given(SHAPES, SEEDS)
def test_three_ways(backend, module, options, shape, seed):
    x = np.asarray(3 * np.random.default_rng(seed).standard_normal(shape))
    agree(backend, module, [x], seed, **options)
    each_alone(backend, module, [x, None] if module is gelu else [x], **options)
    (y,), _, _ = by_hand(backend, module, [x], **options)
    want = [plain(module, options, v) for v in x.ravel()]
    np.testing.assert_allclose(y.ravel(), want, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@given(array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5), SEEDS)
def test_gelu_with_a_bias(backend, approximate, shape, seed):
    rng = np.random.default_rng(seed)
    arrays = [3 * rng.standard_normal(shape), rng.standard_normal(shape[-1:])]
    agree(backend, gelu, arrays, seed, approximate=approximate)
    each_alone(backend, gelu, arrays, approximate=approximate)
    (y,), *_ = by_hand(backend, gelu, arrays, approximate=approximate)
    (added,), *_ = by_hand(backend, gelu, [arrays[0] + arrays[1]], approximate=approximate)
    close(y, added, "the output")


@EACH
@given(st.integers(0, 40), st.sampled_from(["float32", "float64"]))
def test_blocks(module, options, n, dtype):
    x, b = (np.random.default_rng(n).standard_normal(s).astype(dtype) for s in ((n, 3), 3))
    same_by_blocks(module, [x], **options)
    if module is gelu:
        same_by_blocks(module, [x, b], **options)


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


@EACH
@pytest.mark.oracle
@given(SHAPES, SEEDS)
def test_pytorch(module, options, shape, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x, g = np.asarray(4 * rng.standard_normal(shape)), np.asarray(rng.standard_normal(shape))
    y, cache = module.forward(x, **options)
    tx = torch.tensor(x, requires_grad=True)
    ty = getattr(torch.nn.functional, name_of(module))(tx, **options)
    close(np.asarray(y), ty.detach().numpy(), "the output")
    close(
        np.asarray(module.backward(g, cache)[0]),
        torch.autograd.grad(ty, tx, torch.tensor(g))[0].numpy(),
        "the gradient",
    )


@EACH
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_out(backend, module, options, dtype):
    """To the left 0 with slope 0, to the right x with slope 1; nothing overflows on the way."""
    large = float(np.finfo(dtype).max)
    x = np.array([-np.inf, -large, -1e4, 0.0, 1e4, large, np.inf], dtype)
    g = np.ones(7, dtype)
    (y,), _, (dx,) = by_hand(backend, module, [x], [g], **options)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(dx, [0, 0, 0, 0.5, 1, 1, 1])
    (y2,), (dx2,) = by_composition(backend, module, [x[1:-1]], [g[1:-1]], **options)
    np.testing.assert_array_equal(y2, y[1:-1])
    np.testing.assert_array_equal(dx2, dx[1:-1])


@EACH
def test_nan_stays_nan(backend, module, options):
    (y,), _, (dx,) = by_hand(backend, module, [np.array([np.nan, 1.0])], **options)
    assert np.isnan([y[0], dx[0]]).all() and np.isfinite([y[1], dx[1]]).all()


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module, options):
    x = np.random.default_rng(0).standard_normal((4, 6))
    (y,), g, (dx,) = by_hand(backend, module, [x], **options)
    low, g32 = x.astype("float32"), [g[0].astype("float32")]
    (y32,), _, (dx32,) = by_hand(backend, module, [low], g32, **options)
    (y2,), (dx2,) = by_composition(backend, module, [low], g32, **options)
    for a, b in [(y32, y), (y2, y), (dx32, dx), (dx2, dx)]:
        close(a, b.astype("float32"), "float32")
    view, out = backend.array(x.T[::-1].copy())[::-1].T, backend.array(g[0].T.copy()).T
    y, cache = module.forward(view, **options)
    close(backend.numpy(module.backward(out, cache)[0]), dx, "a view")


@EACH
def test_second_order(backend, module, options):
    f = getattr(nag.functional, name_of(module))
    second_order(
        backend,
        lambda x: f(x, **options),
        module,
        [np.random.default_rng(0).standard_normal((3, 4))],
        **options,
    )
    if module is gelu:
        rng = np.random.default_rng(1)
        second_order(
            backend,
            lambda x, b: f(x, **options, bias=b),
            module,
            [rng.standard_normal((3, 4)), rng.standard_normal(4)],
            **options,
        )


def test_errors():
    for f in (gelu.forward, gelu.reference, nag.functional.gelu):
        with pytest.raises(ValueError, match="'none' or 'tanh'; got 'erf'"):
            f(np.ones(2), approximate="erf")
        with pytest.raises(TypeError, match="gelu: the input must be floating; got int64"):
            f(np.ones(2, int))
        for x in (np.ones((2, 3)), np.ones(())):
            with pytest.raises(ValueError, match=r"gelu: the bias must be \(N,\).* bias \(2,\)"):
                f(x, bias=np.ones(2))
        with pytest.raises(TypeError, match="input float64 and bias float32"):
            f(np.ones(2), bias=np.ones(2, "f"))
    for f in (silu.forward, silu.reference, nag.functional.silu):
        with pytest.raises(TypeError, match="silu: the input must be floating; got int64"):
            f(np.ones(2, int))
