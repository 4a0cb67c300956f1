"""What the arguments of operations may be, beside NumPy: indices, axes and counts of every kind,
sequences in the place of arrays, dtypes; and what is no argument is refused, and named."""

import array
import collections
import decimal
import operator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.testing import gradcheck
from nanoautograd.testing.operations import OPERATIONS
from nanoautograd.testing.strategies import arrays, indices, integers_below, shapes

REFUSALS = TypeError, ValueError, IndexError


def leaf(x):
    return nag.Tensor(x, requires_grad=True)


class Container:
    """What NumPy reads as an array, and is neither array nor sequence."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)


# ---- indices


def nested(x, kind):
    return kind(nested(part, kind) for part in x) if isinstance(x, list) else x


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


# ---- axes, lengths and counts


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


X = np.arange(24.0).reshape(2, 3, 4)


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
def test_what_has_no_order_is_no_shape_and_no_axes(call, order):
    with pytest.raises(TypeError, match="neither an integer nor a sequence|an axis is an integer"):
        call(leaf(np.ones((2, 2))), order)


@pytest.mark.parametrize("f", [np.sum, np.mean, np.max, np.prod, np.cumsum, np.argmax, np.squeeze])
@pytest.mark.parametrize("axis", [[0], True, 0.0, "0"])
@pytest.mark.parametrize("shape", [(1, 2), (1, 200)])
def test_what_is_no_axis_to_numpy(f, axis, shape):
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


# ---- sequences and numbers in the place of arrays


@pytest.mark.parametrize("kind", [list, tuple, collections.deque])
@pytest.mark.parametrize("name", OPERATIONS)
def test_sequences_and_numbers_are_arrays(name, kind):
    if name in ("to", "functional.crf_loss"):
        pytest.skip("asks the array for its device or its shape")

    @settings(max_examples=settings.default.max_examples // 5)
    @given(OPERATIONS[name].calls)
    def check(call):
        assume(all(x.size for x in call.inputs))  # a list of nothing has no second axis
        given = [nested(x.tolist(), kind) for x in call.inputs]
        for y, z in zip(call(*given), call(*call.inputs), strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-14)

    check()


@given(
    st.sampled_from(["int8", "int64", "float16", "float32", "float64", "bool", "complex64"]),
    st.sampled_from([2, 0.5, True, np.float32(0.5), np.float64(0.5), 1j]),
)
def test_a_number_among_arrays_promotes_as_in_numpy(dtype, number):
    a = np.ones(2, dtype)
    for f in (
        lambda m, a: m.outer(a, number),
        lambda m, a: m.stack([a[0], number]),
        lambda m, a: m.concatenate([a, number], axis=None),
        lambda m, a: m.dot(a, number),
    ):
        found, expected = f(nag, a), f(np, a)
        np.testing.assert_array_equal(found, expected)


# ---- what is no argument


class Other:
    """An array of another library, as this one knows it: it can be made an array."""

    shape, dtype, ndim, size = (2,), np.dtype(float), 1, 2

    def __array__(self, dtype=None, copy=None):
        return np.ones(2)


FOREIGN = [Other(), decimal.Decimal(1), object(), {1.0}, {}]
OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.pow,
    operator.matmul,
    operator.mod,
    operator.floordiv,
    operator.lt,
    operator.ge,
    operator.iadd,
]


@pytest.mark.parametrize("other", FOREIGN, ids=lambda x: type(x).__name__)
def test_operators_refuse_what_is_no_array(other):
    name = type(other).__name__
    for t in (leaf([1.0, 2.0]), nag.Tensor([1.0, 2.0])):
        for f in OPERATORS:
            for args in ((t * 1, other), (other, t)):
                with pytest.raises(TypeError, match=name):
                    f(*args)
        if isinstance(other, Other):
            with pytest.raises(TypeError, match=name):
                t == other  # noqa: B015
            with pytest.raises(TypeError, match=name):
                nag.argmax(other)
        else:
            assert (t == other) is False and (t != other) is True


@pytest.mark.parametrize("other", FOREIGN, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("name", nag.ops.DIFFERENTIABLE)
def test_operations_refuse_what_is_no_array(name, other):
    if name in ("to", "index_put"):
        pytest.skip("moves and writes what can be made an array")

    @settings(max_examples=3)
    @given(OPERATIONS[name].calls)
    def check(call):
        for i in range(len(call.inputs)):
            args = [leaf(x) for x in call.inputs]
            args[i] = other
            with pytest.raises(TypeError, match=rf"{type(other).__name__}|sequence"):
                call(*args)

    check()


class Labelled:
    """An array that takes part in NumPy's protocol, and can hold a Tensor."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return Labelled(ufunc(*[getattr(x, "values", x) for x in inputs]))

    def __mul__(self, other):
        return Labelled(self.values * other)

    __rmul__ = __mul__


def test_a_class_that_can_hold_a_tensor_has_its_turn():
    t = leaf([1.0, 2.0])
    for y in (t * Labelled(np.full(2, 3.0)), np.multiply(t, Labelled(np.full(2, 3.0)))):
        assert isinstance(y, Labelled) and y.values.tolist() == [3, 6]
        assert nag.autograd.grad(y.values.sum(), t)[0].tolist() == [3, 3]
    with pytest.raises(TypeError, match="multiply takes .* not .*Labelled"):
        nag.multiply(t, Labelled(np.ones(2)))


@pytest.mark.parametrize(
    "call", [np.mean, lambda ts: np.r_[ts[0], ts[1]], np.array, nag.mean, np.sum]
)
def test_a_list_of_tensors_keeps_its_gradient_or_is_refused(call):
    with pytest.raises(nag.GraphError, match=r"nag\.stack"):
        call([leaf([1.0]), leaf([2.0])])


# ---- dtypes

DTYPES = "bool int8 uint8 int16 int32 int64 float16 float32 float64".split()


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64"])
def test_fabs_and_float_power_have_the_dtypes_of_numpy(dtype):
    x = np.array([1, 2, 3]).astype(dtype)
    calls = [lambda x: np.float_power(x, -1), lambda x: np.float_power(2, x)]
    calls += [lambda x: np.float_power(x, np.float32([0.5, 1, 2])), np.fabs]
    for f in calls:
        try:
            expected = f(x)
        except TypeError:  # fabs of complex numbers
            with pytest.raises(TypeError):
                f(nag.Tensor(x))
            continue
        y = f(nag.Tensor(x))
        assert y.dtype == expected.dtype
        np.testing.assert_allclose(y.data, expected, rtol=1e-12)


def test_fabs_and_float_power_are_differentiated():
    x = np.array([0.5, 2.0])
    gradcheck(lambda x: np.fabs(x - 1.0), [x])
    gradcheck(np.float_power, [x, np.array([-1.0, 3.0])])
    t = leaf(np.float32([0.5, 2.0]))
    np.float_power(t, 2).sum().backward()
    assert t.grad.dtype == np.float32 and t.grad.tolist() == [1, 4]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("subscripts", ["ij->j", "ij,ij->j", "ij,ij->"])
def test_einsum_adds_up_16_bits_in_32(dtype, subscripts):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    x = leaf(np.ones((5000, 2), dtype))
    y = nag.einsum(subscripts, *[x] * subscripts.count("i"))
    assert y.dtype == dtype
    exact = 10000 if subscripts.endswith(">") else 5000
    np.testing.assert_allclose(y.data.astype(float), exact, rtol=2**-8)
    ones = leaf(np.ones(2, dtype))
    nag.einsum("ij,j->i", nag.Tensor(np.ones((5000, 2), dtype)), ones).sum().backward()
    np.testing.assert_allclose(ones.grad.data.astype(float), 5000, rtol=2**-8)


@pytest.mark.parametrize(
    "subscripts", ["...i...->...", "...i->......", "...i->i", "i.j->", "ij->ii"]
)
def test_einsum_refuses_what_numpy_refuses(subscripts):
    for einsum, x in ((np.einsum, X[0]), (nag.einsum, leaf(X[0]))):
        with pytest.raises(ValueError):
            einsum(subscripts, x)


@pytest.mark.parametrize("labels", [[-1, 0], [0, 52]])
def test_einsum_refuses_labels_that_are_none(labels):
    for einsum, x in ((np.einsum, X[0]), (nag.einsum, leaf(X[0]))):
        with pytest.raises(ValueError):
            einsum(x, labels)


# ---- complex numbers

Z = np.array([1.0 + 2.0j, 0.5j])


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning", "ignore::RuntimeWarning")
def test_no_operation_drops_a_gradient_through_complex_numbers(name):
    """Whatever is made of a Tensor that requires a gradient and complex numbers is refused."""

    @settings(max_examples=settings.default.max_examples // 5)
    @given(OPERATIONS[name].calls)
    def check(call):
        for i in range(len(call.inputs)):
            args = [leaf(x) for x in call.inputs]
            args[i] = call.inputs[i] * (1 + 1j)
            if len(args) > 1:
                try:
                    results = call(*args)
                except TypeError:
                    continue
                assert all(y.dtype.kind != "c" for y in results)

    check()


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t * Z,
        lambda t: t + 1j,
        lambda t: 1j - t,
        lambda t: t**1j,
        lambda t: t @ Z,
        lambda t: t.astype(complex),
        lambda t: t.sum(dtype=complex),
        lambda t: np.cumsum(t, dtype="complex64"),
        lambda t: nag.where([True, False], t, 1j),
        lambda t: nag.concatenate([t, Z]),
        lambda t: nag.stack([Z, t]),
        lambda t: nag.einsum("i,i->", Z, t),
        lambda t: nag.index_put(Z, 0, t[0]),
        lambda t: nag.full_like(Z, t),
        lambda t: np.float_power(t, 1j),
    ],
)
def test_complex_results_that_would_drop_a_gradient_are_refused(call):
    t = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match="complex"):
        call(t)
    with nag.no_grad():
        assert call(t).dtype.kind == "c"
    assert call(t.detach()).dtype.kind == "c"


def test_complex_gradients_are_refused():
    t = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match="complex128"):
        (t * 2).backward(Z)
    with pytest.raises(TypeError, match="complex128"):
        nag.jvp(nag.sin, (t,), (Z,))

    @nag.function
    def wrong(a):
        return a * 2

    with pytest.raises(TypeError, match="complex128"):
        t.grad = Z

    wrong.defvjp(a=lambda g: g * 1j)
    with pytest.raises(TypeError, match="a rule of wrong .*complex128"):
        wrong(t).sum().backward()


@pytest.mark.parametrize(
    "put",
    [
        lambda t: operator.setitem(t * 1, slice(None), Z),
        lambda t: operator.setitem(t.detach(), 0, nag.Tensor(1j)),
        lambda t: operator.setitem(t.detach(), 0, 1j),
        lambda t: nag.index_put(t, slice(None), Z),
        lambda t: nag.Tensor(Z, dtype=float),
        lambda t: operator.imul(t.detach(), Z),
    ],
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_imaginary_parts_are_not_dropped(put):
    with pytest.raises(TypeError, match="complex"):
        put(leaf([1.0, 2.0]))


def test_integers_and_booleans_are_results_without_a_gradient():
    t = leaf([1.5, 2.0])
    for y in (t > 1, nag.argmax(t), t.astype(int), nag.isnan(t), nag.full_like([1, 2], t)):
        assert not y.requires_grad and y.dtype.kind in "bi"


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t * np.array([1, 2], dtype=object),
        lambda t: t * np.timedelta64(1, "s"),
        lambda t: t.astype(str),
    ],
)
def test_results_that_are_no_numbers_are_refused(call):
    for t in (leaf([1.0, 2.0]), nag.Tensor([1.0, 2.0])):
        with pytest.raises(TypeError, match="dtype"):
            call(t)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "b"]),
        np.array([b"a", b"b"]),
        np.array([None, "a"]),
        np.array([object(), 2.0]),
        np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
    ],
    ids=["texts", "bytes", "none", "objects", "dates"],
)
@pytest.mark.parametrize(
    "name, call",
    [
        ("tanh", lambda t, a: nag.tanh(a)),
        ("multiply", lambda t, a: t * a),
        ("multiply", lambda t, a: nag.multiply(a, 2.0)),
        ("matmul", lambda t, a: t @ a),
        ("getitem", lambda t, a: t[a]),
        ("softmax", lambda t, a: nag.functional.softmax(a)),
        ("linear", lambda t, a: nag.functional.linear(t, a[None])),
    ],
)
def test_arrays_of_what_are_no_numbers_are_named(name, call, array):
    for t in (leaf([1.0, 2.0]), nag.Tensor([1.0, 2.0])):
        error, says = TypeError, f"{name} takes numbers; got array"
        if name == "getitem":  # what is no index is refused as by NumPy
            error, says = IndexError, "arrays used as indices must be of integer"
        with pytest.raises(error, match=says):
            call(t, array)


INTO = {
    "pad": lambda a, c: nag.pad(a, 1, constant_values=c),
    "numpy.pad": lambda a, c: np.pad(a, 1, constant_values=c),
    "full_like": lambda a, c: nag.full_like(a, c),
    "full_like, dtype": lambda a, c: nag.full_like(nag.astype(a, "int8"), c, dtype=a.dtype),
    "index_put": lambda a, c: nag.index_put(a, 0, c),
}
COMPLEX = [
    1j,
    2 + 0j,
    np.complex64(1j),
    [1j, 2.0],
    np.array(3 + 1j),
    np.array([1j, 2]),
    nag.Tensor(1j),
]


@pytest.mark.parametrize("into", INTO)
@given(
    st.sampled_from(COMPLEX),
    st.sampled_from(["float32", "float64", "float16", "int64", "bool"]),
    st.booleans(),
)
def test_no_imaginary_part_is_dropped(backend, into, value, dtype, requires_grad):
    a = backend.tensor(np.ones(2, dtype))
    if requires_grad and dtype.startswith("float"):
        a = backend.tensor(np.ones(2, dtype), requires_grad=True) * 1
    value = value if np.size(value) < 2 or into != "index_put" else value[0]
    if isinstance(value, (np.ndarray, nag.Tensor)):
        make = backend.array if isinstance(value, np.ndarray) else backend.tensor
        value = make(np.asarray(value))
    with pytest.raises(TypeError, match="complex"):
        INTO[into](a, value)
    assert "complex" in str(nag.index_put(a.detach().astype(complex), 0, 1j).dtype)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@given(integers_below(9, shapes(1, 2, 1, 4)), st.integers(0, 2**16))
def test_complex_variances_and_norms_are_numpys(dtype, x, seed):
    z = (x + 1j * np.random.default_rng(seed).normal(size=x.shape)).astype(dtype)
    for found, expected in [
        (nag.var(z), np.var(z)),
        (nag.std(z, axis=0), np.std(z, axis=0)),
        (nag.norm(z), np.linalg.norm(z)),
        *((nag.norm(z, p, axis=-1), np.linalg.norm(z, p, axis=-1)) for p in (1, 3, np.inf, 0)),
    ]:
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("f", [nag.sigmoid, nag.softplus, nag.erf])
def test_what_is_for_real_numbers_refuses_complex_ones(f):
    for z in (Z, nag.Tensor(Z), 1j, np.complex64(1j), np.ones(2, np.clongdouble)):
        with pytest.raises(TypeError, match="real"):
            f(z)


# ---- functions that are no constants


def test_the_value_that_fills_an_array_is_no_constant(backend):
    u = backend.tensor(2.0, requires_grad=True)
    for a in (backend.array(X), backend.tensor(X)):
        nag.full_like(a, u).sum().backward()
    assert u.grad.item() == 48
    assert not nag.full_like(u, 3.0).requires_grad
    assert isinstance(nag.full_like(u, 3.0), nag.Tensor)
    with pytest.raises((TypeError, nag.GraphError)):
        np.full(3, leaf(2.0))


def test_the_weights_of_bincount_are_no_constants():
    for counted in ([0, 1, 1], (0, 1, 1), np.array([0, 1, 1]), nag.Tensor([0, 1, 1])):
        w = leaf([1.0, 2.0, 3.0])
        y = np.bincount(counted, weights=w, minlength=3)
        assert y.tolist() == [1, 5, 0]
        (y * np.array([2.0, 3.0, 4.0])).sum().backward()
        assert w.grad.tolist() == [2, 3, 3]
    assert isinstance(np.bincount(nag.Tensor([1, 1])), nag.Tensor)
    with pytest.raises(TypeError, match="bincount: integers"):
        nag.bincount([0.5], weights=w[:1])


def test_what_is_a_number_is_no_tensor():
    with pytest.raises(TypeError, match="norm: ord"):
        nag.norm(leaf([1.0, 2.0]), leaf(2.0))
    for f in (nag.var, nag.std):
        with pytest.raises(TypeError, match="ddof is a number"):
            f(leaf([1.0, 2.0]), ddof=leaf(1.0))


def test_what_is_given_in_the_place_of_an_array_is_named():
    for f in (nag.sin, nag.exp, nag.functional.relu):
        with pytest.raises(TypeError, match=f"{f.name} cannot compute with None"):
            f(None)
    with pytest.raises(TypeError, match="sin takes .* not type"):  # which has __dlpack__
        nag.sin(nag.Tensor)
    for numbers in (np.array([None]), np.array(["1"]), np.array(["2026"], "M8[Y]")):
        with pytest.raises(TypeError, match="sin takes numbers; got array"):
            nag.sin(numbers)
