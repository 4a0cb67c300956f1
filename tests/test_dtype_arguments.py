"""Dtypes are those of NumPy; no imaginary part and no gradient is dropped on the way to another."""

import operator

import ml_dtypes
import numpy as np
import pytest
from array_likes import X, leaf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd.interface.array_interface import array_of
from nanoautograd.testing import gradcheck
from nanoautograd.testing.operations import OPERATIONS
from nanoautograd.testing.strategies import integers_below, shapes

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
        *(
            lambda t, f=f, d=d, a=a: f(a(Z), dtype=d)
            for f in (nag.astype, nag.sum, nag.mean, nag.cumsum, nag.prod, nag.std, nag.var)
            for d in (float, np.float32, int)
            for a in (nag.Tensor, np.array)
        ),
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
        with pytest.raises(TypeError, match="dtype|takes numbers"):
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


OF_REALS = {
    **{name: getattr(nag, name) for name in "sigmoid softplus erf max min sort argsort".split()},
    **{name: getattr(nag, name) for name in "argmax argmin logsumexp ceil floor trunc".split()},
    "relu": nag.functional.relu,
    "searchsorted": lambda z: nag.searchsorted([0.0, 1.0], z),
    "maximum, as a limit": lambda z: nag.clip(z, 0),
    "minimum, as a limit": lambda z: nag.clip(2.0, max=z),
    **{
        f"{name}, {place}": lambda z, f=getattr(nag, name), place=place: f(*[1.0, z][::place])
        for name in "maximum minimum arctan2 remainder floor_divide".split()
        + "less less_equal greater greater_equal".split()
        for place in (1, -1)
    },
}


@pytest.mark.parametrize("name", OF_REALS)
def test_what_is_for_real_numbers_refuses_complex_ones(backend, name):
    for z in (Z, backend.tensor(Z), backend.array(Z), [1j, 2.0], np.clongdouble([1j])):
        with pytest.raises(TypeError, match=f"{name.partition(',')[0]} .*real"):
            OF_REALS[name](z)
    for z in (1j, np.complex64(1j)):
        if not name.startswith(("max", "min", "sort", "arg", "log", "sea")) or "," in name:
            with pytest.raises(TypeError, match=f"{name.partition(',')[0]} .*real"):
                OF_REALS[name](z)


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
BINARY = "add subtract multiply divide power remainder floor_divide maximum minimum arctan2".split()
BINARY += "equal not_equal less less_equal greater greater_equal".split()
SYMBOLS = dict(subtract="sub", multiply="mul", divide="truediv", power="pow", remainder="mod")
SYMBOLS |= dict(floor_divide="floordiv", equal="eq", not_equal="ne", less="lt", less_equal="le")
SYMBOLS |= dict(add="add", greater="gt", greater_equal="ge")


@pytest.mark.parametrize("name", [*BINARY, "where"])
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)),
    st.one_of(st.floats(width=32), st.integers(-300, 300), st.booleans()),
    st.booleans(),
)
def test_a_python_number_beside_bfloat16_promotes_nothing(name, x, number, is_first):
    """It is rounded to bfloat16, as NumPy rounds it to float16 beside that."""
    x = x.astype(BFLOAT16)
    f, symbol = getattr(nag, name), SYMBOLS.get(name)
    f = (lambda a, b: nag.where(x > 0, a, b)) if name == "where" else f
    calls = [f, getattr(operator, symbol)] if symbol else [f]
    calls += [getattr(np, name)] if name != "where" else []
    order = -1 if is_first else 1
    with np.errstate(all="ignore"):
        expected = f(*[x, np.asarray(number).astype(BFLOAT16)][::order])
        for call in calls:
            for a in (nag.Tensor(x), nag.Tensor(x, requires_grad=True)) + (x,) * (call is f):
                found = array_of(call(*[a, number][::order]))
                assert found.dtype == expected.dtype and found.dtype in (BFLOAT16, bool)
                np.testing.assert_array_equal(found.astype(float), expected.astype(float))
        if symbol and order > 0 and expected.dtype != bool:
            t = nag.Tensor(x)
            same = getattr(operator, f"i{symbol}")(t, number)
            assert same is t and t.dtype == BFLOAT16
            np.testing.assert_array_equal(t.data.astype(float), expected.astype(float))


@given(st.floats(-4, 4, width=16), st.sampled_from([0.1, 0.3, -1.7, 2, True]))
def test_gradients_beside_a_python_number_stay_bfloat16(x, number):
    for f in (
        lambda t: t * number + number,
        lambda t: number / (t - number),
        lambda t: nag.maximum(t, number) - nag.clip(t, -number, number),
        lambda t: nag.where(t > number, t, number) ** number + t,
    ):
        with np.errstate(all="ignore"):
            t = nag.Tensor(np.full(2, x, BFLOAT16), requires_grad=True)
            y = f(t)
            (d,) = nag.autograd.grad(y.sum(), [t], create_graph=True)
            (e,) = nag.autograd.grad((d * t).sum(), [t])
        assert y.dtype == d.dtype == e.dtype == BFLOAT16


SHORTER = "float8_e5m2 float8_e4m3 float8_e4m3fn float8_e3m4 float6_e2m3fn float4_e2m1fn int4 uint2"


@pytest.mark.parametrize("name", SHORTER.split())
def test_shorter_numbers_than_16_bits_are_refused(name):
    """Some call themselves floating, but no sum here keeps their digits."""
    x = np.array([1.0, -1.0 * (name[0] != "u"), 0.5]).astype(getattr(ml_dtypes, name))
    for call in (
        lambda: nag.Tensor(x),
        lambda: nag.Tensor(x, dtype=np.float32),
        lambda: nag.Tensor([1.0, 2.0], dtype=x.dtype),
        lambda: nag.add(nag.Tensor([1.0, 2.0, 3.0]), [x[0], 1.0, 2.0]),
        lambda: nag.less(x, 0.5),
    ):
        with pytest.raises(TypeError, match="takes numbers; got array .*; give"):
            call()
    assert nag.Tensor(x.astype("float32")).dtype == np.float32
