"""Sequences and numbers stand in the place of arrays; what is no argument is refused, and named."""

import collections
import decimal
import operator

import numpy as np
import pytest
from array_likes import X, leaf, nested
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.testing.operations import OPERATIONS


@pytest.mark.parametrize("kind", [list, tuple, collections.deque])
# The others ask the array for its device or its shape.
@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ("to", "functional.crf_loss")])
def test_sequences_and_numbers_are_arrays(name, kind):
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
# The others move and write what can be made an array.
@pytest.mark.parametrize(
    "name", [n for n in nag.ops.DIFFERENTIABLE if n not in ("to", "index_put")]
)
def test_operations_refuse_what_is_no_array(name, other):
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


def test_a_tensor_is_refused_where_a_number_is_meant():
    with pytest.raises(TypeError, match="norm: ord"):
        nag.norm(leaf([1.0, 2.0]), leaf(2.0))
    for f in (nag.var, nag.std):
        with pytest.raises(TypeError, match="ddof is a number"):
            f(leaf([1.0, 2.0]), ddof=leaf(1.0))


@pytest.mark.parametrize("name", [n for n in nag.ops.DIFFERENTIABLE if n != "to"])
def test_none_is_no_array(name):
    @settings(max_examples=3)
    @given(OPERATIONS[name].calls, st.booleans())
    def check(call, is_recorded):
        for i in range(len(call.inputs)):
            args = [leaf(x) if is_recorded else x for x in call.inputs]
            args[i] = None
            if name not in ("clip", "bincount"):  # there it is no limit, and no weights
                with pytest.raises(TypeError, match="None"):
                    call(*args)

    check()


MADE_OF = st.sampled_from([None, "1.5", b"2", np.str_("3"), np.array(None), np.array(["4"])])
MADE_OF |= st.sampled_from([np.array([1.0], object), np.timedelta64(3, "s"), np.ma.masked])
MADE_OF |= st.sampled_from([np.ma.array([1.0], mask=[1]), np.array(["2026"], "M8[Y]")])


@given(MADE_OF, st.booleans(), st.sampled_from(["float32", "float64", "int64"]))
def test_no_number_is_made_of_what_is_none(value, in_a_list, dtype):
    """Of None NumPy makes NaN, of "1.5" 1.5, of a masked number the one behind the mask."""
    value = [value] if in_a_list else value
    t, w = nag.Tensor(np.ones(1, dtype)), leaf(np.ones(1))

    def put():
        t[0] = value

    def replace():
        t.data = value

    def learn():
        w.grad = value

    calls = [
        lambda: nag.Tensor(value, dtype=dtype),
        put,
        replace,
        lambda: nag.index_put(t, 0, value),
    ]
    calls += [lambda: nag.full_like(t, value), lambda: nag.where([True], t, value)]
    calls += [lambda: nag.from_dlpack(value)] if isinstance(value, np.ndarray) else []
    if value is not None:  # which means 1, and no gradient
        calls += [learn, lambda: (w * 1).backward(value)]
    for call in calls:
        with pytest.raises((TypeError, ValueError, BufferError)):
            call()
    assert t.data == 1 and w.grad is None


def test_what_is_given_in_the_place_of_an_array_is_named():
    for f in (nag.sin, nag.exp, nag.functional.relu):
        with pytest.raises(TypeError, match=f"{f.name} cannot compute with None"):
            f(None)
    with pytest.raises(TypeError, match="sin takes .* not type"):  # which has __dlpack__
        nag.sin(nag.Tensor)
    for numbers in (np.array([None]), np.array(["1"]), np.array(["2026"], "M8[Y]")):
        with pytest.raises(TypeError, match="sin takes numbers; got array"):
            nag.sin(numbers)
