"""rms_norm: three ways to one gradient, a plain formula, PyTorch, and bad input."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    walked,
)

import nanoautograd as nag

EACH = each_form("rms_norm")
ON_NUMPY = each_form_on_numpy("rms_norm")
IN_BLOCKS = each_form_on_numpy("rms_norm", where=["cpu"])

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """Inputs with one to three axes, of which the last ones are normalised, perhaps after something
    is added; zero sizes too."""
    rng = np.random.default_rng(draw(SEEDS))
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    last = shape[draw(st.integers(0, len(shape) - 1)) :]
    weight = rng.standard_normal(last) if draw(st.booleans()) else None
    residual = rng.standard_normal(shape) if draw(st.booleans()) else None
    return [rng.standard_normal(shape), weight, residual], {
        "normalized_shape": last,
        "eps": 0.1,
        "return_sum": residual is not None and draw(st.booleans()),
    }


@EACH
@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed
):
    arrays, options = case
    agree(backend, module, arrays, seed, **options)


@IN_BLOCKS
@given(cases())
def test_blocks_give_the_same_numbers(module, case):
    arrays, options = case
    same_by_blocks(module, arrays, **options)


@EACH
@given(cases())
def test_only_what_is_needed(backend, module, case):
    arrays, options = case
    each_alone(backend, module, arrays, **options)


@ON_NUMPY
@pytest.mark.oracle
@given(cases(), st.sampled_from([None, 0.1]), st.sampled_from(["float32", "float64"]))
def test_pytorch_computes_the_same(module, case, eps, dtype):
    torch = pytest.importorskip("torch")
    arrays, options = case
    options["eps"] = eps
    arrays = [a if a is None else a.astype(dtype) for a in arrays]
    y, cache = module.forward(*arrays, **{**options, "return_sum": False})
    g = np.random.default_rng(0).standard_normal(y.shape).astype(dtype)
    ts = [a if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    tx, weight, residual = ts
    ty = torch.nn.functional.rms_norm(
        tx if residual is None else tx + residual, options["normalized_shape"], weight, eps=eps
    )
    close(y, ty.detach().numpy(), "the output")
    given = [t for t in ts if t is not None]
    wants = iter(torch.autograd.grad(ty, given, torch.tensor(g), allow_unused=True))
    for a, d in zip(arrays, walked(arrays, module.backward(g, cache)), strict=True):
        if a is None:
            assert d is None
        elif (want := next(wants)) is not None:  # PyTorch has none for some empty inputs
            scale = 1 + np.abs(want.numpy()).max(initial=0)
            close(d / scale, want.numpy() / scale, "a gradient")


@pytest.mark.parametrize("by_manual", [False, True])
def test_the_default_epsilon_of_float16(backend, by_manual):
    """That of float32, as in PyTorch: with its own these would come out as 0.03."""
    x = backend.array(np.full((1, 4), 1e-3, "float16"))
    with nag.use_manual() if by_manual else nullcontext():
        y = nag.functional.rms_norm(x, 4)
    np.testing.assert_allclose(backend.numpy(y), 0.945, atol=0.01)


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeros_and_the_default_epsilon(backend, module, dtype):
    """Rows of mean square 1 stay, up to ε; zeros stay zeros, and their slope is ε^(-1/2)."""
    x = np.array([[1, -1, 1, -1], [0, 0, 0, 0]], dtype)
    g = np.ones((2, 4), dtype)
    (y,), _, (dx, *_) = by_hand(backend, module, [x], [g], normalized_shape=(4,))
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_allclose(y, x, rtol=np.finfo(dtype).eps)
    np.testing.assert_allclose(dx[1], np.finfo(dtype).eps ** -0.5, rtol=1e-6)


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 6, 5)), rng.standard_normal((6, 5))]
    outs, gs, ds = by_hand(backend, module, arrays, normalized_shape=(6, 5))
    low, gs32 = ([a.astype("float32") for a in some] for some in (arrays, gs))
    outs32, _, ds32 = by_hand(backend, module, low, gs32, normalized_shape=(6, 5))
    outs2, ds2 = by_composition(backend, module, low, gs32, normalized_shape=(6, 5))
    for a, b, c in zip(outs32 + ds32, outs2 + ds2, outs + ds, strict=True):
        close(a, c.astype("float32"), "by hand")
        close(b, c.astype("float32"), "reference")

    views = [backend.array(a.T.copy()).T for a in arrays]
    y, cache = module.forward(*views, normalized_shape=(6, 5))
    close(backend.numpy(y), outs[0], "a view")
    for d, want in zip(module.backward(backend.array(gs[0].T.copy()).T, cache), ds):
        close(backend.numpy(d), want, "a view")


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((3, 2, 4)), rng.standard_normal((2, 4))]
    second_order(
        backend,
        lambda x, w: nag.functional.rms_norm(x, (2, 4), w),
        module,
        arrays,
        normalized_shape=(2, 4),
    )


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    "x, shape, w, error, says",
    [
        (X, (2,), None, ValueError, r"rms_norm.*last axes.*input \(2, 3\).*shape \(2,\)"),
        (X.astype(int), (3,), None, TypeError, "rms_norm.*floating.*int64"),
        (X, (3,), np.ones(2), ValueError, r"rms_norm: weight must have.*weight \(2,\)"),
        (X, (3,), np.ones(3, "f"), TypeError, "rms_norm: weight must have the dtype.*float32"),
    ],
)
def test_wrong_arguments_are_named(x, shape, w, error, says):
    with pytest.raises(error, match=says):
        nag.functional.rms_norm(nag.Tensor(x), shape, w)
