"""Axes, lengths and counts of every kind are NumPy's, or refused as by NumPy."""

import collections

import numpy as np
import pytest
from array_likes import REFUSALS, X, leaf
from hypothesis import given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.testing import gradcheck
from nanoautograd.testing.strategies import arrays, shapes


@st.composite
def integer(draw, low, high):
    """An integer in any form, mostly from `low` to `high`."""
    i = draw(st.integers(low, high) if draw(st.integers(0, 7)) else st.integers(-5, 5))
    return draw(st.sampled_from([int, np.int8, np.int64, np.array]))(i)


@st.composite
def sequences(draw, low, high, unique=True, length=None):
    """A sequence of integers in any form; sometimes an integer stands twice."""
    most = 3 if length is None else length
    several = draw(
        st.lists(
            st.integers(low, high),
            unique=unique and high - low >= most,
            min_size=length or 0,
            max_size=most,
        )
    )
    several += several[:1] if draw(st.integers(0, 9)) == 9 else []
    as_array = lambda x: np.array(x, dtype=int)  # noqa: E731
    return draw(st.sampled_from([tuple, list, as_array, collections.deque]))(several)


def axis_of(x):
    return integer(-x.ndim, max(x.ndim - 1, 0))


def axes_of(x):
    return st.one_of(st.none(), axis_of(x), sequences(-x.ndim, max(x.ndim - 1, 0)))


def counts(low, high, x):
    return st.one_of(integer(low, high), sequences(low, high, unique=False))


# NumPy's function -> its arguments beside an array x. Each is linear in x, but for the last ones.
CALLS = {
    np.sum: lambda x: {"axis": axes_of(x)},
    np.mean: lambda x: {"axis": axes_of(x)},
    np.cumsum: lambda x: {"axis": axis_of(x)},
    np.flip: lambda x: {"axis": axes_of(x)},
    np.squeeze: lambda x: {"axis": axes_of(x)},
    np.expand_dims: lambda x: {"axis": st.one_of(axis_of(x), sequences(-x.ndim - 1, x.ndim))},
    np.transpose: lambda x: {"axes": st.one_of(axes_of(x), st.permutations(range(x.ndim)))},
    np.moveaxis: lambda x: {"source": axes_of(x), "destination": axes_of(x)},
    np.swapaxes: lambda x: {"axis1": axis_of(x), "axis2": axis_of(x)},
    np.roll: lambda x: {"shift": counts(-4, 4, x), "axis": axes_of(x)},
    np.repeat: lambda x: {"repeats": counts(0, 2, x), "axis": st.one_of(st.none(), axis_of(x))},
    np.take: lambda x: {"indices": counts(-1, 0, x), "axis": st.one_of(st.none(), axis_of(x))},
    np.tile: lambda x: {"reps": counts(0, 2, x)},
    np.split: lambda x: {"indices_or_sections": counts(-2, 4, x), "axis": axis_of(x)},
    np.reshape: lambda x: {"shape": st.one_of(counts(-1, 3, x), st.permutations(x.shape))},
    np.broadcast_to: lambda x: {"shape": counts(1, 3, x)},
    np.diagonal: lambda x: {
        "offset": integer(-2, 2),
        "axis1": axis_of(x),
        "axis2": axis_of(x),
    },
    np.pad: lambda x: {"pad_width": st.one_of(counts(0, 2, x), st.lists(counts(0, 2, x)))},
    np.prod: lambda x: {"axis": axes_of(x)},
    np.max: lambda x: {"axis": axes_of(x)},
    np.var: lambda x: {"axis": axes_of(x)},
    np.std: lambda x: {"axis": axes_of(x)},
    np.linalg.norm: lambda x: {"axis": axes_of(x)},
    np.argmax: lambda x: {"axis": axis_of(x)},
}
CURVED = {np.prod, np.max, np.var, np.std, np.linalg.norm, np.argmax}


def listed(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


@pytest.mark.parametrize("f", CALLS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "error::DeprecationWarning")
def test_axes_and_counts_are_numpys_or_both_refuse(f):
    @settings(max_examples=4 * settings.default.max_examples)
    @given(st.data())
    def check(data):
        x = data.draw(arrays(shapes(f in (np.mean, np.var, np.std), 3, 1, 3)))
        options = {name: data.draw(s, name) for name, s in CALLS[f](x).items()}
        try:
            expected = listed(f(x, **options))
        except (*REFUSALS, ZeroDivisionError, DeprecationWarning):
            expected = None
        t = leaf(x)
        if expected is None:
            with pytest.raises(REFUSALS):
                f(t, **options)
            return
        found = listed(f(t, **options))
        for y, z in zip(found, expected, strict=True):
            assert (y.shape, y.dtype) == (np.shape(z), np.asarray(z).dtype)
            np.testing.assert_allclose(y.data, z, rtol=1e-12)
        if f not in CURVED:  # ⟨v, f(u)⟩ = ⟨fᵀ(v), u⟩
            vs = [np.cos(np.arange(y.size)).reshape(y.shape) for y in found]
            (d,) = nag.autograd.grad(found, t, vs)
            u = np.sin(1 + np.arange(x.size)).reshape(x.shape)
            forward = sum(np.vdot(v, y) for v, y in zip(vs, listed(f(u, **options))))
            np.testing.assert_allclose(np.vdot(d.data, u), forward, rtol=1e-9, atol=1e-12)

    check()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nag.reshape(x, [4, 6]),
        lambda x: nag.reshape(x, np.array([4, 6])),
        lambda x: x.reshape([-1]),
        lambda x: nag.broadcast_to(x, [2, 2, 3, 4]),
        lambda x: nag.roll(x, [1, 2], axis=[0, 1]),
        lambda x: nag.roll(x, range(2), axis=(2, 0)),
        lambda x: nag.where([True, False, False, True], x, 0.0),
        lambda x: nag.where((True, False, False, True), x, 0.0),
        lambda x: nag.expand_dims(x, [0, 2]),
        lambda x: x.transpose([2, 0, 1]),
        lambda x: x.transpose(np.int64(2), 0, 1),
        lambda x: nag.concatenate(nag.split(x, [2, 1], axis=2), axis=2),
        lambda x: nag.tile(x, [2, 1]),
    ],
)
def test_lists_where_no_array_is_meant(call, backend):
    f = lambda x: call(x if isinstance(x, nag.Tensor) else nag.Tensor(x))  # noqa: E731
    gradcheck(f, [X])
    on_device = call(backend.tensor(X, requires_grad=True))
    np.testing.assert_array_equal(backend.numpy(on_device), f(X).numpy())
    on_device.sum().backward()


@nag.function
def weighted(a, weights, *, powers):
    """An operation with a list for an option, by position and by keyword."""
    return sum(w * a**p for w, p in zip(weights, powers))


weighted.defvjp(
    a=lambda g, a, weights, powers: g * sum(w * p * a ** (p - 1) for w, p in zip(weights, powers))
)


def test_an_operation_of_ones_own_with_lists_as_options():
    for weights, powers in (([2.0, 3.0], [1, 3]), ((2.0, 3.0), (1, 3)), (range(2), range(1, 3))):
        gradcheck(lambda x: weighted(x, weights, powers=powers), [np.array([0.5, 2.0])], order=2)
    assert weighted([1.0, 2.0], [2.0], powers=[1]).tolist() == [2, 4]
    assert weighted((1.0, 2.0), (2.0,), powers=(1,)).tolist() == [2, 4]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nag.flip(x, 0.5),
        lambda x: nag.expand_dims(x, 0.5),
        lambda x: nag.squeeze(x, 0.5),
        lambda x: nag.moveaxis(x, 0, 0.5),
        lambda x: nag.swapaxes(x, 0.5, 0),
        lambda x: nag.transpose(x, (0.5, 1, 2)),
        lambda x: nag.roll(x, 0.5),
        lambda x: nag.repeat(x, 0.5),
        lambda x: nag.take(x, 0, axis=0.5),
        lambda x: nag.tile(x, 0.5),
        lambda x: nag.split(x, 0.5),
        lambda x: nag.sum(x, axis=0.5),
        lambda x: nag.prod(x, axis=0.5),
        lambda x: nag.norm(x, axis=0.5),
        lambda x: nag.full_like(x, 1.0, shape=0.5),
        lambda x: nag.tril(x, 0.5),
        lambda x: nag.triu(x, 0.5),
    ],
)
def test_a_fraction_is_no_axis_and_no_count(call):
    with pytest.raises(TypeError, match=r"0\.5"):
        call(leaf(X))


@pytest.mark.parametrize("order", [{1, 0}, frozenset({0, 1}), {1: 0, 0: 1}, b"\1\0", iter((1, 0))])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: x.reshape(i),
        lambda x, i: nag.broadcast_to(x, i),
        lambda x, i: nag.transpose(x, i),
        lambda x, i: nag.flip(x, i),
        lambda x, i: nag.roll(x, i, (0, 1)),
        lambda x, i: nag.roll(x, 1, i),
        lambda x, i: nag.tile(x, i),
        lambda x, i: nag.repeat(x, i, 0),
        lambda x, i: nag.split(x, i),
        lambda x, i: nag.expand_dims(x, i),
        lambda x, i: nag.squeeze(x, i),
        lambda x, i: nag.full_like(x, 1.0, shape=i),
    ],
)
def test_what_has_no_order_is_refused_as_shape_and_axes(call, order):
    with pytest.raises(TypeError, match="neither an integer nor a sequence|an axis is an integer"):
        call(leaf(np.ones((2, 2))), order)


@pytest.mark.parametrize("f", [np.sum, np.mean, np.max, np.prod, np.cumsum, np.argmax, np.squeeze])
@pytest.mark.parametrize("axis", [[0], True, 0.0, "0"])
@pytest.mark.parametrize("shape", [(1, 2), (1, 200)])
def test_what_is_no_axis_to_numpy_is_refused(f, axis, shape):
    for x in (np.ones(shape), leaf(np.ones(shape))):
        with pytest.raises(TypeError):
            f(x, axis=axis)


@pytest.mark.parametrize("axis", [True, (True,), (True, 0)])
def test_a_boolean_is_no_axis(axis):
    x = leaf(np.ones((1, 1)))
    for f in (nag.sum, nag.prod, nag.var, nag.norm, nag.logsumexp, nag.flip, nag.squeeze):
        with pytest.raises(TypeError):
            f(x, axis=axis)
    for call in (
        lambda: nag.concatenate([x, x], axis=axis),
        lambda: nag.stack([x, x], axis=axis),
        lambda: nag.transpose(x, axis),
        lambda: nag.tensordot(x, x, (axis, axis)),
        lambda: nag.norm(x[0], ord=(2,)),
    ):
        with pytest.raises(TypeError):
            call()
