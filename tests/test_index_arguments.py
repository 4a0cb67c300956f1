"""Indices of every kind are NumPy's, in values, gradients and refusals."""

import array
import collections
import operator

import numpy as np
import pytest
from array_likes import REFUSALS, Container, leaf, nested
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.testing import gradcheck
from nanoautograd.testing.strategies import arrays, indices, shapes


@st.composite
def disguised(draw, index, backend):
    """An index with each integer and array in it as something else that NumPy takes for it."""
    if isinstance(index, tuple):
        return tuple(draw(disguised(part, backend)) for part in index)
    if isinstance(index, int):
        return draw(st.sampled_from([index, np.int8(index), backend.tensor(index)]))
    if not isinstance(index, np.ndarray):
        return index
    kinds = [backend.array, backend.tensor, Container, lambda i: nested(i.tolist(), list)]
    kinds += [lambda i: nested(i.tolist(), tuple)]
    if index.ndim == 1:
        kinds += [lambda i: collections.deque(i.tolist())]
    if index.ndim == 1 and index.dtype != bool:
        kinds += [lambda i: array.array("q", i.tolist()), lambda i: memoryview(i.astype("int32"))]
    assume(index.size or index.ndim == 1)  # a list does not say of which shape it is empty
    return draw(st.sampled_from(kinds))(index)


@st.composite
def places(draw, backend):
    """(an array, an index of NumPy's for it, the same index in another form)."""
    x = draw(arrays(shapes(1, 3, 1, 3)))
    index = draw(indices(x.shape))
    other = draw(disguised(index, backend))
    is_single = isinstance(other, tuple) and not isinstance(index, tuple)
    return x, index, (other,) if is_single else other


def test_every_sequence_is_an_index(backend):
    """Its value is NumPy's, and the gradient of an element that is named twice is the sum."""

    @settings(max_examples=4 * settings.default.max_examples)
    @given(places(backend), st.integers(0, 2**16))
    def check(place, seed):
        x, index, other = place
        rng = np.random.default_rng(seed)
        g, v = rng.normal(size=x.shape), np.asarray(rng.normal(size=x[index].shape))
        added = np.zeros(x.shape)
        np.add.at(added, index, v)
        put, entry = x.copy(), np.full(x.shape, -1)  # the entry of v that stays at each place
        put[index], entry[index] = v, np.arange(v.size).reshape(v.shape)
        of_v = np.zeros(v.size)
        of_v[entry[entry >= 0]] = g[entry >= 0]

        def of(f, args, cotangent):
            args = [backend.tensor(a, requires_grad=True) for a in args]
            y = f(*args)
            ds = nag.autograd.grad(y, args, backend.tensor(cotangent))
            return [backend.numpy(t) for t in (y, *ds)]

        def assigned(x, v):
            y = x * 1
            y[other] = v
            return y

        for found, expected in [
            (of(lambda x: x[other], [x], v), (x[index], added)),
            (of(lambda v: nag.scatter_add(v, other, list(x.shape)), [v], g), (added, g[index])),
            *(
                (of(f, [x, v], g), (put, np.where(entry < 0, g, 0), of_v.reshape(v.shape)))
                for f in (assigned, lambda x, v: nag.index_put(x, other, v))
            ),
        ]:
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)

    check()


@pytest.mark.parametrize("kind", [tuple, list, collections.deque, np.array, Container, range])
@pytest.mark.parametrize("x", [np.arange(6.0).reshape(2, 3), np.array(3.0)])
def test_take_along_axis_0(kind, x):
    places = kind([0, 0]) if kind is not range else range(1)
    axis = 0
    expected = np.take(x, np.asarray(places, dtype=int), axis)
    np.testing.assert_array_equal(nag.take(x, places, axis), expected)
    gradcheck(lambda x: nag.take(x, places, axis), [x])


def test_booleans_are_0_and_1_to_take(backend):
    x = backend.tensor([3.0, 4.0, 5.0], requires_grad=True)
    for which in ([True, True, False], np.array([True]), True, np.True_):
        which = backend.array(which) if isinstance(which, np.ndarray) else which
        expected = np.take(
            [3.0, 4.0, 5.0],
            backend.numpy(which) if hasattr(which, "ndim") and which.ndim else which,
        )
        np.testing.assert_array_equal(backend.numpy(nag.take(x, which)), expected)


@pytest.mark.parametrize("which", [None, slice(0, 1), 0.0, [1.5], "a", {0}])
def test_take_takes_integers_only(which):
    for f in (nag.take, lambda x, i: nag.take_along_axis(x, i, 0)):
        with pytest.raises(TypeError, match="integers"):
            f(leaf(np.ones(3)), which)


def test_take_along_axis_takes_lists_and_no_masks(backend):
    x = backend.tensor([[3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    y = nag.take_along_axis(x, [[1, 1]], 0)
    assert y.tolist() == [[5, 6]]
    with pytest.raises(TypeError, match="take_along_axis: integers"):
        nag.take_along_axis(x, [[True, False]], 0)


@pytest.mark.parametrize(
    "index",
    [
        *("a", b"a", {1}, 1.0, [1.5], [None], {}, object(), [slice(1)]),
        *(np.array([0], object), np.array(["0"]), np.array(["2026"], "M8[Y]"), iter([0])),
    ],
)
def test_what_is_no_index_is_refused_as_by_numpy(index):
    for f in (operator.getitem, lambda x, i: nag.index_put(x, i, 0.0)):
        with pytest.raises(REFUSALS):
            f(np.ones(3), index)
        with pytest.raises(REFUSALS):
            f(leaf(np.ones(3)), index)
