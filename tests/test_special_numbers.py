"""What orders, counts, rounds and tests numbers does so alike in every floating dtype and layout of
memory: for NaN, infinities, zeros of both signs, subnormal and huge numbers too, it answers what
NumPy answers for the same numbers in float64."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd.interface.array_interface import array_of
from nanoautograd.testing.strategies import axes

DTYPES = [np.dtype(d) for d in ("float64", "float32", "float16", ml_dtypes.bfloat16, "longdouble")]


@st.composite
def special(draw, shape, dtype):
    """Numbers of all kinds, of which some are equal."""
    info = ml_dtypes.finfo(dtype) if dtype.itemsize <= 8 else np.finfo(float)
    some = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, np.inf, -np.inf, np.nan]
    some += [float(x) for x in (info.max, info.tiny, -info.smallest_subnormal)]
    return draw(hnp.arrays(float, shape, elements=st.sampled_from(some))).astype(dtype)


@st.composite
def layouts(draw, least=0):
    """An array of special numbers, as it may lie in memory."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=least, max_side=4))
    x = draw(special(shape, draw(st.sampled_from(DTYPES))))
    kind = draw(st.sampled_from(["plain", "reversed", "transposed", "every second", "repeated"]))
    if kind == "reversed":
        x = x[::-1]
    elif kind == "transposed":
        x = x.T
    elif kind == "every second":
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    elif kind == "repeated":
        x = np.broadcast_to(x[:1], x.shape)  # overlaps itself, and can only be read
    x.flags.writeable = draw(st.booleans()) and x.flags.writeable
    return x


EACH = "isnan isinf isfinite floor ceil trunc rint sign abs negative logical_not".split()
REDUCED = "all any count_nonzero max min argmax argmin".split()


def same(f, wanted, *xs, signs=True):
    """f of arrays and of Tensors equals `wanted` of the same numbers in float64. signs: those of
    zeros, too; of equal zeros NumPy takes any for the larger."""
    with np.errstate(all="ignore"):
        expected = wanted(*[x.astype(float) for x in xs])
        for given_ in (xs, [nag.Tensor(x) for x in xs]):
            found = array_of(f(*given_))
            assert found.shape == np.shape(expected)
            if found.dtype.kind not in "biu":
                assert found.dtype == xs[0].dtype
            found = found.astype(expected.dtype) if found.dtype != expected.dtype else found
            np.testing.assert_array_equal(found, expected)
            if signs and found.dtype.kind == "f":
                negative = np.signbit(found), np.signbit(expected)
                np.testing.assert_array_equal(
                    *[np.where(expected == expected, s, 0) for s in negative]
                )


@pytest.mark.parametrize("name", EACH)
@given(layouts())
def test_each_number(name, x):
    same(getattr(nag, name), getattr(np, name), x, signs=name != "sign")


@pytest.mark.parametrize("name", REDUCED)
@given(st.data())
def test_the_numbers_along_axes(name, data):
    x = data.draw(layouts(least=1))
    axis = data.draw(axes(x.ndim, tuples=not name.startswith("arg")))
    call = lambda m: lambda a: getattr(m, name)(a, axis=axis)  # noqa: E731
    same(call(nag), call(np), x, signs=False)


@given(layouts(), st.data())
def test_the_order_of_numbers(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    same(lambda a: nag.sort(a, axis), lambda a: np.sort(a, axis, kind="stable"), x)
    same(
        lambda a: nag.argsort(a, axis, kind="stable"),
        lambda a: np.argsort(a, axis, kind="stable"),
        x,
    )
    if x.ndim == 1:
        row = np.sort(x.astype(float)).astype(x.dtype)
        same(nag.searchsorted, np.searchsorted, row, x)


COMPARED = "equal not_equal less less_equal greater greater_equal maximum minimum".split()
COMPARED += "logical_and logical_or logical_xor isclose".split()


@pytest.mark.parametrize("name", COMPARED)
@given(layouts(), st.integers(0, 3))
def test_pairs_of_numbers(name, x, k):
    same(getattr(nag, name), getattr(np, name), x, np.roll(x, k), signs=False)


FUNCTIONS = (
    "exp expm1 log log1p sigmoid softplus sin cos tan sinh cosh tanh arcsin arccos arctan erf"
)
FUNCTIONS += " reciprocal square sqrt"


@pytest.mark.parametrize("dtype", DTYPES[2:4], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS.split())
@given(st.data())
def test_functions_of_16_bits_are_those_of_float32_rounded(name, dtype, data):
    some = st.floats(-20, 20, width=16)
    x = np.concatenate(
        [data.draw(special((3,), dtype)), data.draw(hnp.arrays("f4", 3, elements=some))]
    )
    x = x.astype(dtype)
    with np.errstate(all="ignore"):
        found = getattr(nag, name)(x)
        expected = getattr(nag, name)(x.astype(np.float32)).astype(dtype).astype(float)
    assert found.dtype == dtype
    info = ml_dtypes.finfo(dtype)
    np.testing.assert_allclose(
        found.astype(float), expected, 2 * float(info.eps), 2 * float(info.smallest_subnormal)
    )
