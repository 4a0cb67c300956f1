"""linear: three ways to one gradient, a plain loop, PyTorch, and bad input."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from second_order import second_order
from three_ways import (
    agree,
    by_hand,
    close,
    each_alone,
    each_form,
    each_form_on_numpy,
    same_by_blocks,
    walked,
)

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.backends import threads

EACH, ON_NUMPY = each_form("linear"), each_form_on_numpy("linear")
IN_BLOCKS = each_form_on_numpy("linear", where=["cpu"])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """Inputs with one to three axes, with and without a bias; zero sizes too."""
    rng = np.random.default_rng(draw(SEEDS))
    batch = draw(st.lists(st.integers(0, 4), max_size=2))
    n, m = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    bias = rng.standard_normal(m) if draw(st.booleans()) else None
    return [rng.standard_normal((*batch, n)), rng.standard_normal((m, n)), bias]


@EACH
@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, arrays, seed
):
    agree(backend, module, arrays, seed)
    each_alone(backend, module, arrays)


@IN_BLOCKS
@given(cases())
def test_blocks_give_the_same_numbers(module, arrays):
    same_by_blocks(module, arrays)


@EACH
@given(cases())
def test_it_gives_what_a_plain_loop_gives(backend, module, arrays):
    (y,), (dy,), (dx, dW, db) = by_hand(backend, module, arrays)
    x, W, b = arrays
    wants = np.zeros_like(x), np.zeros_like(W), np.zeros(len(W))
    for at in np.ndindex(y.shape):
        *m, o = at
        np.testing.assert_allclose(y[at], x[tuple(m)] @ W[o] + (0 if b is None else b[o]))
        wants[0][tuple(m)] += dy[at] * W[o]
        wants[1][o] += dy[at] * x[tuple(m)]
        wants[2][o] += dy[at]
    for d, want in zip((dx, dW, db) if b is not None else (dx, dW), wants):
        close(d, want, "a gradient")
    assert b is not None or db is None


@ON_NUMPY
@pytest.mark.oracle
@given(cases())
def test_pytorch_computes_the_same(module, arrays):
    torch = pytest.importorskip("torch")
    y, cache = module.forward(*arrays)
    g = np.random.default_rng(0).standard_normal(y.shape)
    ts = [a if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    ty = torch.nn.functional.linear(*ts)
    close(y, ty.detach().numpy(), "the output")
    wants = iter(torch.autograd.grad(ty, [t for t in ts if t is not None], torch.tensor(g)))
    for a, d in zip(arrays, walked(arrays, module.backward(g, cache)), strict=True):
        if a is not None:
            close(d, next(wants).numpy(), "a gradient")


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 6, 5)), rng.standard_normal((3, 5)), rng.standard_normal(3)]
    (y,), gs, ds = by_hand(backend, module, arrays)
    (y32,), _, ds32 = by_hand(
        backend, module, [a.astype("f") for a in arrays], [g.astype("f") for g in gs]
    )
    for a, b in zip([y32, *ds32], [y, *ds]):
        close(a, b.astype("f"), "float32")
    views = [backend.array(a.T.copy()).T for a in arrays]
    out, cache = module.forward(*views)
    close(backend.numpy(out), y, "a view")
    for d, want in zip(module.backward(backend.array(gs[0].T.copy()).T, cache), ds):
        close(backend.numpy(d), want, "a view")


@pytest.mark.parametrize("manual", [False, True])
def test_dtypes_promote_and_each_gradient_has_its_own(backend, manual):
    x, W, b = np.ones((2, 3), "f"), np.ones((4, 3), "f"), np.full(4, 1e-9)
    with backend.allow_promotion(), nag.use_manual() if manual else nullcontext():
        ts = [backend.tensor(a, requires_grad=True) for a in (x, W, b)]
        y = F.linear(*ts)
        y.sum().backward()
        assert (backend.numpy(y) == 3 + 1e-9).all()  # the bias is not rounded to float32
        assert [t.grad.dtype for t in ts] == ["float32", "float32", "float64"]
        y = F.linear(backend.tensor(x.astype(int)), ts[1])
        assert y.dtype == "float64"
        y.sum().backward()
        assert (backend.numpy(ts[1].grad) == 4).all() and ts[1].grad.dtype == "float32"


@IN_BLOCKS
@pytest.mark.parametrize("dtypes", ["fff", "ddd", "fdf", "ffd"])
@given(cases(), st.sampled_from([1, 2, 3]))
def test_products_cut_among_threads_give_the_same(module, dtypes, arrays, pieces):
    """As products are cut that are large, or not at all."""
    arrays = [a if a is None else a.astype(d) for a, d in zip(arrays, dtypes)]
    results = []
    for n in (1, pieces):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads, "LEAST", 1)
            patch.setattr(threads, "ALIGN", 1)
            patch.setattr(threads._team, "piece_count", n)
            y, cache = module.forward(*arrays)
            results.append([y, *module.backward(np.cos(y), cache)])
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            close(a, b, "in pieces")


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    rng = np.random.default_rng(0)
    second_order(
        backend,
        F.linear,
        module,
        [rng.standard_normal(shape) for shape in ((2, 3, 4), (2, 4), (2,))],
    )


@pytest.mark.parametrize(
    "x, W, b, says",
    [
        ((2, 3), (5, 4), None, r"input \(2, 3\) and weight \(5, 4\)"),
        ((), (5, 4), None, r"input \(\)"),
        ((4,), (4,), None, r"weight \(O, I\).*weight \(4,\)"),
        ((2, 4), (5, 4), (4,), r"bias must be \(O,\).*bias \(4,\) and weight \(5, 4\)"),
        ((2, 4), (5, 4), (1, 5), r"bias \(1, 5\)"),
    ],
)
def test_wrong_arguments_are_named(backend, x, W, b, says):
    arrays = [None if shape is None else backend.array(np.ones(shape)) for shape in (x, W, b)]
    with pytest.raises(ValueError, match=says):
        F.linear(*arrays)
