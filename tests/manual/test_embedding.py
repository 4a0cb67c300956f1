"""embedding: three ways to one gradient, repeated ids, padding, PyTorch, and bad input."""

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

from nanoautograd import functional as F

EACH, ON_NUMPY = each_form("embedding"), each_form_on_numpy("embedding")
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """Ids of any shape and integer dtype, many of them repeated; a table; maybe a padding id."""
    rng = np.random.default_rng(draw(SEEDS))
    shape = draw(array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    V, D = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    ids = np.asarray(rng.integers(0, V, shape), draw(st.sampled_from([np.int64, np.uint8])))
    padding = draw(st.none() | st.integers(-V, V - 1))
    return [ids, rng.standard_normal((V, D))], {"padding_idx": padding}


@EACH
@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed
):
    (ids, E), options = case
    if options["padding_idx"] is None:
        agree(backend, module, [ids, E], seed, **options)
    else:  # the padding's row is read, but is no variable: no differences
        outs, gs, ds = by_hand(backend, module, [ids, E], seed=seed, **options)
        outs2, ds2 = by_composition(backend, module, [ids, E], gs, **options)
        close(outs[0], outs2[0], "the output")
        close(ds[1], ds2[1], "the gradient")
    each_alone(backend, module, [ids, E], **options)


@EACH
@given(cases())
def test_it_gives_what_a_plain_loop_gives(backend, module, case):
    (ids, E), options = case
    (y,), (g,), (_, dE) = by_hand(backend, module, [ids, E], **options)
    np.testing.assert_array_equal(y, E[ids])
    want, padding = np.zeros_like(E), options["padding_idx"]
    for at in np.ndindex(ids.shape):
        if padding is None or ids[at] != padding % len(E):
            want[ids[at]] += g[at]
    np.testing.assert_allclose(dE, want, atol=1e-12)


@ON_NUMPY
@pytest.mark.oracle
@given(cases())
def test_pytorch_computes_the_same(module, case):
    torch = pytest.importorskip("torch")
    (ids, E), options = case
    y, cache = module.forward(ids, E, **options)
    g = np.random.default_rng(0).standard_normal(y.shape)
    tE = torch.tensor(E, requires_grad=True)
    ty = torch.nn.functional.embedding(torch.tensor(ids.astype(np.int64)), tE, **options)
    close(y, ty.detach().numpy(), "the output")
    if E.size:  # PyTorch divides by D in the gradient
        close(
            module.backward(g, cache)[1],
            torch.autograd.grad(ty, tE, torch.tensor(g))[0].numpy(),
            "the gradient",
        )


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module):
    rng = np.random.default_rng(0)
    ids, E, g = rng.integers(0, 5, (3, 4)), rng.standard_normal((5, 2)), rng.random((3, 4, 2))
    (y,), _, (_, dE) = by_hand(backend, module, [ids, E], [g])
    (y32,), _, (_, d32) = by_hand(backend, module, [ids, E.astype("f")], [g.astype("f")])
    close(y32, y.astype("f"), "float32")
    close(d32, dE.astype("f"), "float32")
    views = backend.array(ids.T.copy()).T, backend.array(E.T.copy()).T
    out, cache = module.forward(*views)
    close(backend.numpy(out), y, "a view")
    close(backend.numpy(module.backward(backend.array(g.T.copy()).T, cache)[1]), dE, "a view")


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    rng = np.random.default_rng(0)
    ids = np.array([[0, 2, 2], [3, 2, 0]])
    second_order(backend, F.embedding, module, [ids, rng.standard_normal((4, 3))])


@pytest.mark.parametrize(
    "ids, E, padding, error, says",
    [
        (np.array([0, 3]), np.ones((3, 2)), None, IndexError, "embedding: id 3 .* 3.*0 to 2"),
        (np.array([[0], [-1]]), np.ones((3, 2)), None, IndexError, "embedding: id -1 .* 3"),
        (np.array([0]), np.ones((3, 2)), 3, IndexError, "padding_idx 3 .*size is 3.* -3 to 2"),
        (np.array([0]), np.ones((3, 2)), -4, IndexError, "padding_idx -4"),
        (np.array([0]), np.ones((3, 2)), 1.5, TypeError, "padding_idx must be an integer; got 1.5"),
        (np.array([0.0]), np.ones((3, 2)), None, TypeError, "ids must be integers; got float64"),
        (np.array([True]), np.ones((3, 2)), None, TypeError, "ids must be integers; got bool"),
        (np.array([0]), np.ones(3), None, ValueError, r"weight must be \(V, D\); got \(3,\)"),
        (
            np.array([0]),
            np.ones((3, 2), int),
            None,
            TypeError,
            "weight must be floating; got int64",
        ),
    ],
)
def test_wrong_arguments_are_named(backend, ids, E, padding, error, says):
    """Ids out of range, too, that the GPU would take for others."""
    with pytest.raises(error, match=says):
        backend.numpy(F.embedding(backend.array(ids), backend.array(E), padding_idx=padding))
