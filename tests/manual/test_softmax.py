"""softmax and log_softmax: three ways to one gradient, PyTorch, and scores of ±10000."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from three_ways import agree, by_hand, close, each_form, each_form_on_numpy, same_by_blocks

import nanoautograd as nag
from nanoautograd import functional as F

EACH = each_form("softmax", "log_softmax")
ON_NUMPY = each_form_on_numpy("softmax", "log_softmax")
IN_BLOCKS = each_form_on_numpy("softmax", "log_softmax", where=["cpu"])
SHAPES = array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def shapes_and_axes(draw):
    shape = draw(SHAPES)
    return shape, draw(st.integers(-len(shape), len(shape) - 1))


@EACH
@given(shapes_and_axes(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed
):
    shape, axis = case
    agree(
        backend, module, [3 * np.random.default_rng(seed).standard_normal(shape)], seed, axis=axis
    )


@IN_BLOCKS
@given(shapes_and_axes(), SEEDS)
def test_blocks_give_the_same_numbers(module, case, seed):
    shape, axis = case
    same_by_blocks(module, [np.random.default_rng(seed).standard_normal(shape)], axis=axis)


@pytest.mark.parametrize("f", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_is_not_there(backend, f, axis):
    with pytest.raises(ValueError, match=f"{f.__name__}: axis {axis}"):
        f(backend.array(np.ones((2, 3))), axis)


@EACH
@given(shapes_and_axes(), SEEDS)
def test_against_a_plain_formula(backend, module, case, seed):
    shape, axis = case
    x = np.random.default_rng(seed).standard_normal(shape)
    p = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    (y,), _, _ = by_hand(backend, module, [x], axis=axis)
    close(y, p if module.name == "softmax" else np.log(p), "the plain formula")


@ON_NUMPY
@pytest.mark.oracle
@given(shapes_and_axes(), SEEDS)
def test_pytorch_computes_the_same(module, case, seed):
    torch = pytest.importorskip("torch")
    shape, axis = case
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal(shape), rng.standard_normal(shape)
    y, cache = module.forward(x, axis=axis)
    tx = torch.tensor(x, requires_grad=True)
    ty = getattr(torch.nn.functional, module.name)(tx, dim=axis)
    close(y, ty.detach().numpy(), "the output")
    close(
        module.backward(g, cache)[0],
        torch.autograd.grad(ty, tx, torch.tensor(g))[0].numpy(),
        "the gradient",
    )


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_do_not_overflow(backend, module, dtype):
    x = np.array(
        [[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4 - 1], [-1e4, -1e4 - 1, 1]], dtype
    )
    (y,), _, (dx,) = by_hand(backend, module, [x])
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    shifted = x - x.max(axis=1, keepdims=True)
    (small,), _, (dsmall,) = by_hand(backend, module, [shifted])
    close(y, small, "a shift of a row changes nothing")
    close(dx, dsmall, "a shift of a row changes nothing")


@each_form("softmax")
def test_a_score_of_minus_infinity_has_no_probability(backend, module):
    x = np.array([0.0, -np.inf, 1.0])
    (p,), _, (dx,) = by_hand(backend, module, [x])
    assert p[1] == 0 and dx[1] == 0 and np.isfinite(dx).all()
    np.testing.assert_allclose(p[[0, 2]], by_hand(backend, module, [x[[0, 2]]])[0][0])


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module):
    x = np.random.default_rng(0).standard_normal((4, 6, 5))
    (y,), g, (dx,) = by_hand(backend, module, [x], axis=1)
    (y32,), _, (dx32,) = by_hand(
        backend, module, [x.astype("float32")], [g[0].astype("float32")], axis=1
    )
    close(y32, y.astype("float32"), "float32")
    close(dx32, dx.astype("float32"), "float32")

    here = backend.array(x.transpose(2, 1, 0)[::-1])
    view = here[::-1].transpose(2, 1, 0)
    out, cache = module.forward(view, axis=1)
    close(backend.numpy(out), y, "a view")
    dview = backend.array(g[0].transpose(2, 1, 0)).transpose(2, 1, 0)
    close(backend.numpy(module.backward(dview, cache)[0]), dx, "a view")


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    """The Hessian of a sum of cubes of the outputs against differences of the gradient by hand."""
    f = getattr(nag.functional, module.name)
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    t = backend.tensor(x, requires_grad=True)
    (d,) = nag.autograd.grad((f(t, dim=0) ** 3).sum(), [t], create_graph=True)
    (dd,) = nag.autograd.grad((d * nag.Tensor(backend.array(v))).sum(), [t])

    def gradient(x):
        y, cache = module.forward(x, axis=0)
        return module.backward(3 * y**2, cache)[0]

    np.testing.assert_allclose(backend.numpy(d.detach()), gradient(x), rtol=1e-10)
    h = 1e-5
    np.testing.assert_allclose(
        backend.numpy(dd), (gradient(x + h * v) - gradient(x - h * v)) / (2 * h), atol=1e-8
    )


@pytest.mark.parametrize("f", [F.softmax, F.log_softmax])
def test_integers_are_refused(f):
    with pytest.raises(TypeError, match="must be floating; got int64"):
        f(nag.Tensor([1, 2]))
