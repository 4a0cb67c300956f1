"""Options count, or are refused: none is dropped silently, and none of an odd type is taken for
another."""

import contextlib
import decimal

import numpy as np
import pytest
from array_likes import leaf
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag

X = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -0.75]])
NO_FLAG = ["yes", "", None, 1, 0, [True], (), np.array([True, False]), np.array("a"), 0.5]
NO_INTEGER = [
    "a",
    b"1",
    0.5,
    None,
    {0},
    {0: 1},
    np.float32(1),
    np.str_("1"),
    np.timedelta64(1, "s"),
]
NO_INTEGER += [decimal.Decimal(1), np.array([0.5]), np.array(["a"]), np.array(None), object(), int]
REDUCTIONS = ["sum", "mean", "prod", "max", "min", "var", "std", "logsumexp", "norm"]
COUNTED = ["all", "any", "argmax", "argmin", "count_nonzero"]


@pytest.mark.parametrize("name", [*REDUCTIONS, *COUNTED])
@given(st.sampled_from(NO_FLAG), st.booleans())
def test_keepdims_is_true_or_false(name, flag, is_tensor):
    x = leaf(X) if is_tensor else X
    with pytest.raises(TypeError, match="keepdims is True or False; got"):
        getattr(nag, name)(x, axis=0, keepdims=flag)
    for flag in (np.True_, np.False_):
        y = getattr(nag, name)(x, axis=0, keepdims=flag)
        assert y.shape == ((1, 3) if flag else (3,))


@pytest.mark.parametrize("name", [*REDUCTIONS, *COUNTED, "cumsum", "sort", "argsort"])
@given(st.sampled_from(NO_INTEGER).filter(lambda x: x is not None), st.booleans(), st.booleans())
def test_an_axis_is_an_integer(name, axis, in_a_tuple, is_tensor):
    axis = (axis,) if in_a_tuple else axis
    with pytest.raises(TypeError, match="an axis is an integer|neither an integer nor"):
        getattr(nag, name)(leaf(X) if is_tensor else X, axis=axis)
    if name in ("argmax", "argmin", "argsort", "sort", "cumsum"):  # which take one axis
        with pytest.raises(TypeError, match="an axis is an integer"):
            getattr(nag, name)(leaf(X) if is_tensor else X, axis=())


@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: nag.diagonal(x, i),
        lambda x, i: nag.trace(x, i),
        lambda x, i: nag.split(x, i),
        lambda x, i: nag.tensordot(x, x, i),
        lambda x, i: nag.stack([x, x], i),
        lambda x, i: nag.concatenate([x, x], "a" if i is None else i),
        lambda x, i: nag.round(x.detach(), i),
        lambda x, i: nag.bincount([0, 1], minlength=i),
        lambda x, i: nag.reshape(x, (i, 2)),
        lambda x, i: nag.broadcast_to(x, (i, 2, 3)),
        lambda x, i: nag.tril(x, i),
        lambda x, i: nag.roll(x, i),
        lambda x, i: nag.swapaxes(x, i, 0),
    ],
)
@given(st.sampled_from(NO_INTEGER))
def test_what_is_no_integer_is_named(call, i):
    with pytest.raises(TypeError, match="integer|a number of axes"):
        call(leaf(X), i)
    try:
        call(leaf(X), i)
    except TypeError as error:
        assert "interpreted as an integer" not in str(error).partition("\n")[0]


@pytest.mark.parametrize(
    "axes",
    [np.ndarray, nag.Tensor, {0, 1}, ([0], [0], [0]), ([0],), "01", {0: 1, 1: 0}, iter("ab")],
)
def test_axes_of_a_tensordot_are_a_number_or_two_sequences(axes):
    with pytest.raises(TypeError, match="tensordot: "):
        nag.tensordot(leaf(X), leaf(X), axes)


@given(st.integers(-4, 6))
def test_a_tensordot_pairs_as_many_axes_as_there_are(n):
    if 0 <= n <= 2:
        y = X.T if n == 1 else X
        np.testing.assert_array_equal(nag.tensordot(X, y, n), np.tensordot(X, y, n))
    else:
        with pytest.raises(ValueError, match=f"tensordot: {n} axes"):
            nag.tensordot(X, X, n)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda x: nag.clip(x, 0.0, min=1.0), "clip: a_min and min are one"),
        (lambda x: nag.clip(x, 0.0, 1.0, max=2.0), "clip: .* a_max and max"),
        (lambda x: nag.sort(x, kind="fast"), "sort: kind is one of"),
        (lambda x: nag.pad(x, 1, mode="edge", constant_values=2.0), "pad: constant_values are for"),
        (lambda x: nag.pad(x, 1, mode=["edge"]), "pad: mode"),
        (lambda x: nag.ravel(x, order=np.array(["C", "F"])), "reshape: order"),
        (lambda x: nag.array_equal(x, X, equal_nan=[1, 2]), "equal_nan is True or False"),
        (lambda x: nag.stack({x}), "stack takes arrays in a sequence; a set is none"),
        (lambda x: nag.concatenate({0: x}, None), "concatenate takes .* a dict is none"),
        (lambda x: nag.einsum(None, x), "einsum takes subscripts"),
        (lambda x: nag.einsum(x, x), "einsum takes subscripts"),
        (lambda x: nag.to(x, None), "no device is called 'None'"),
        (lambda x: nag.to(x, np.array(["cpu", "cuda"])), "no device is called"),
        (lambda x: nag.isclose(x.detach(), X, rtol=None), "isclose takes .* not NoneType"),
        (lambda x: nag.allclose(x.detach(), X, equal_nan="no"), "equal_nan is True or False"),
        (lambda x: nag.var(x, ddof=np.timedelta64(1, "s")), "var: ddof is a number"),
        (lambda x: nag.norm(x, ord=np.timedelta64(1, "s")), "norm: ord is a number"),
    ],
)
def test_an_option_that_would_be_dropped_is_refused(call, says):
    with pytest.raises((TypeError, ValueError), match=says):
        call(leaf(X))


def test_a_tensor_that_was_broadcast_is_not_written_into(backend):
    """One number would stand for several elements, and for those of the Tensor it is a view of."""
    x = backend.tensor(np.float32([1.0, 2.0]))
    for y in (nag.broadcast_to(x, (3, 2)), nag.broadcast_to(x[0], (2,))):
        with pytest.raises(ValueError, match="are one number in memory.*copy"):
            y[0] = 5.0
        with pytest.raises(ValueError, match="are one number in memory"):
            y += 1.0
    y = nag.broadcast_to(x, (3, 2)).copy()
    y[0] = 5.0
    assert y.tolist() == [[5, 5], [1, 2], [1, 2]] and x.tolist() == [1, 2]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-4, 6)), min_size=1, max_size=3))
def test_elements_that_are_one_number_are_not_written_into(axes):
    """Of a Tensor over memory that overlaps itself, as of another library's sliding windows."""
    shape, steps = zip(*axes)
    first = sum(-s * (n - 1) for n, s in axes if s < 0)
    a = np.zeros(100)[first:]
    windows = np.lib.stride_tricks.as_strided(a, shape, [8 * s for s in steps])
    places = {sum(i * s for i, s in zip(index, steps)) for index in np.ndindex(*shape)}
    t = nag.from_dlpack(windows)
    if len(places) < windows.size:
        with pytest.raises(ValueError, match="are one number in memory"):
            t[...] = 1.0
        assert not a.any()
    else:
        with contextlib.suppress(ValueError):  # what only may overlap is refused, too
            t[...] = 1.0
        assert a.any() == (windows == 1).all()
