"""gradcheck where inputs are tiny, huge or 0-d, and where a function hides its changes: a wrong
gradient never passes, a right one is never called wrong."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.testing import (
    CheckRefused,
    GradientError,
    Inconclusive,
    KinkNearby,
    gradcheck,
    page,
)


def verdict(f, x, vjp=None, seed=0):
    """ "passes", "wrong" or "undecided"."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            gradcheck(f, [x], vjp=vjp, seed=seed)
        except (Inconclusive, CheckRefused):
            return "undecided"
        except GradientError:
            return "wrong"
        return "passes"


def times(c, df):
    return lambda u, x: c * u * df(x)


# ---- any floats at all

SMOOTH = {
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "square": (lambda x: x * x, lambda x: 2 * x),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "pole": (lambda x: 1 / x, lambda x: -1 / x**2),
    "log": (np.log, lambda x: 1 / x),
    "hyperbola": (lambda x: np.sqrt(1 + x * x), lambda x: x / np.sqrt(1 + x * x)),
    "small hyperbola": (lambda x: np.sqrt(x * x + 1e-22), lambda x: x / np.sqrt(x * x + 1e-22)),
    "bell": (lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)),
    "line": (lambda x: 3 * x, lambda x: 3 + 0 * x),
    "flat line": (lambda x: 1e-300 * x, lambda x: 1e-300 + 0 * x),
    "cancellation": (lambda x: np.exp(x) - 1, np.exp),
    "hidden": (lambda x: x * 1e-12 + 1, lambda x: 1e-12 + 0 * x),
    "well hidden": (lambda x: x * 1e-20 + 1, lambda x: 1e-20 + 0 * x),
}
SUMS = {
    "sum": (np.sum, np.ones_like),
    "sum of squares": (lambda x: np.sum(x * x), lambda x: 2 * x),
    "sum of sines": (lambda x: np.sum(np.sin(x)), np.cos),
}

shapes = st.sampled_from([(), (1,), (3,), (2, 2)])
scales = st.integers(-323, 308).map(lambda k: float(f"1e{k}"))
any_arrays = hnp.arrays(
    np.float64, shapes, elements=st.one_of(st.floats(), st.floats(-3, 3), scales)
)


@pytest.mark.parametrize("name", [*SMOOTH, *SUMS])
@given(x=any_arrays, seed=st.integers(0, 99))
def test_on_any_floats_right_is_not_wrong_and_wrong_does_not_pass(name, x, seed):
    f, df = (SMOOTH | SUMS)[name]
    with np.errstate(all="ignore"):
        g = df(x)
    if not np.isnan(g).any():
        assert verdict(f, x, times(1, df), seed) != "wrong"
    for c in (-1, 2, 1.01):
        if np.any(c * g != g):
            assert verdict(f, x, times(c, df), seed) != "passes"


KINKED = {
    "abs": (np.abs, np.sign),
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.heaviside(x, 0.5)),
    "clip": (lambda x: np.clip(x, -1, 1), lambda x: 0.5 * (np.sign(x + 1) - np.sign(x - 1))),
    "sum of abs": (lambda x: np.sum(np.abs(x)), np.sign),
    "raised abs": (lambda x: 1 + np.abs(x), np.sign),
}


@pytest.mark.parametrize("name", KINKED)
@given(x=any_arrays, seed=st.integers(0, 99))
def test_on_any_floats_kinks_do_not_make_a_right_gradient_wrong(name, x, seed):
    f, df = KINKED[name]
    assert verdict(f, x, times(1, df), seed) != "wrong"
    if np.isfinite(x).all() and df(x).any():
        for c in (-1, 2):
            assert verdict(f, x, times(c, df), seed) != "passes"


@pytest.mark.parametrize("f", [nag.sin, nag.exp, nag.tanh, nag.abs, F.relu, nag.square])
@given(x=any_arrays)
def test_on_any_floats_operations_are_not_called_wrong(f, x):
    assert verdict(f, x) != "wrong"


# ---- tiny inputs

TINY = {
    "reciprocal": (nag.reciprocal, [[1e-10]]),
    "square": (lambda x: x**2, [[2.2e-87]]),
    "small hyperbola": (lambda x: nag.sqrt(x * x + 1e-22), [[1e-17]]),
    "abs": (nag.abs, [[1e-17]]),
    "relu": (F.relu, [[1e-17]]),
    "relu, below": (F.relu, [[-1e-17]]),
    "clip": (lambda x: nag.clip(x, 0, 1), [[1e-17]]),
    "norm": (nag.norm, [[1e-20, 1e-20]]),
    "direction": (lambda x: x / nag.norm(x), [[1e-20, 2e-20]]),
    "quotient": (nag.divide, [[1.0], [1e-12]]),
    "sort": (nag.sort, [[3e-20, 1e-20]]),
    "smallest": (lambda x: 2 * x, [[5e-324]]),
    "tiny beside ordinary": (nag.sin, [[1e-20, 1.0]]),
    "swallowed by another result": (lambda x: (nag.sin(x), nag.exp(x)), [[1e-20]]),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("seed", range(3))
def test_right_gradients_at_tiny_inputs_pass(name, seed):
    f, inputs = TINY[name]
    gradcheck(f, [np.array(x) for x in inputs], seed=seed)
    if all(np.size(x) == 1 for x in inputs):
        gradcheck(f, [np.array(x[0]) for x in inputs], seed=seed)


@pytest.mark.parametrize("x", [1e-20, np.array([1e-20]), np.array([1e-20, 1.0])])
def test_a_zero_gradient_does_not_pass_where_the_function_varies(x):
    for f in (np.abs, lambda x: np.maximum(x, 0), np.sin, np.sum, lambda x: np.sum(np.abs(x))):
        with pytest.raises(GradientError):
            gradcheck(f, [np.asarray(x)], vjp=lambda u, x: np.where(x < 1e-3, 0.0, u))
    with pytest.raises(Inconclusive):  # a change of 1e-20 is not seen beside 1
        gradcheck(lambda x: 1 + np.abs(x), [np.asarray(x)], vjp=lambda u, x: u * (x > 1e-3))


@pytest.mark.parametrize("x", [-1.0, -1e-20, -1e-200])
def test_a_zero_gradient_passes_where_the_function_is_constant(x):
    for x in (np.array(x), np.array([x])):
        gradcheck(lambda x: np.maximum(x, 0), [x], vjp=lambda u, x: 0 * x)
        gradcheck(lambda a, b: np.sin(b), [x, x + 2], vjp=lambda u, a, b: (None, u * np.cos(b)))


def test_other_gradients_that_are_zero():
    for x in (0.0, 19.0, 50.0):
        gradcheck(np.tanh, [np.array(x)], vjp=lambda u, x: u * (1 - np.tanh(x) ** 2))
    gradcheck(np.sign, [np.array([-1.0, 2.0])], vjp=lambda u, x: 0 * x)
    gradcheck(np.cos, [np.zeros(2)], vjp=lambda u, x: 0 * x)
    gradcheck(lambda x: nag.exp(x - nag.logsumexp(x)), [np.array([0.3])])


# ---- what passes was seen


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("x", [np.array(1.0), np.array([1.0])])
def test_what_is_seen_of_changes_beside_a_large_value(seed, x):
    def wrong(f, slope, c):
        with pytest.raises(GradientError) as failure:
            gradcheck(f, [x], vjp=lambda u, x: c * slope * u + 0 * x, seed=seed)
        return type(failure.value)

    for c in (-1, 2, 1.01):
        assert wrong(lambda x: x + 1e15, 1, c) is Inconclusive
        assert wrong(lambda x: x + 1e17, 1, c) is Inconclusive
        assert wrong(lambda x: x * 1e-20 + 1, 1e-20, c) is Inconclusive
        assert wrong(lambda x: x * 1e-300, 1e-300, c) is GradientError
        assert wrong(lambda x: x * 1e-12 + 1, 1e-12, c) is GradientError
    assert wrong(lambda x: x + 1e15, 1, 0) is Inconclusive
    assert wrong(lambda x: x + 1e15, 1, 1e3) is GradientError
    gradcheck(lambda x: x * 1e-300, [x], vjp=lambda u, x: 1e-300 * u, seed=seed)


def test_infinite_gradients_are_inconclusive_or_wrong():
    with pytest.raises(Inconclusive):
        gradcheck(nag.sqrt, [np.array([0.0, 1.0])])
    with pytest.raises(GradientError) as failure:
        gradcheck(np.tanh, [np.array([0.5, 1.0])], vjp=lambda u, x: u / np.array([0.0, 1.0]))
    assert not isinstance(failure.value, Inconclusive) and failure.value.index == (0,)
    with pytest.raises(GradientError) as failure:
        gradcheck(np.tanh, [np.array(0.5)], vjp=lambda u, x: u * np.nan)
    assert not isinstance(failure.value, Inconclusive)


def test_a_result_whose_shape_changes_within_a_step_is_refused():
    for x in ([1e-9, 1.0], [0.0, 1.0], [0.01, -1.0, 0.5]):
        with pytest.raises(CheckRefused, match="shape of what .* depends on the values"):
            gradcheck(lambda x: x[x.data > 0], [np.array(x)])


# ---- kinks


AT_KINKS = {  # of Tensors, of arrays, the place of the kink, the slopes to both sides
    "abs": (nag.abs, np.abs, 0.0, (-1, 1)),
    "relu": (F.relu, lambda x: np.maximum(x, 0), 0.0, (0, 1)),
    "hinge": (lambda x: nag.maximum(0, 1 - x), lambda x: np.maximum(0, 1 - x), 1.0, (-1, 0)),
    "wave": (lambda x: nag.abs(nag.sin(x)), lambda x: np.abs(np.sin(x)), 0.0, (-1, 1)),
}


@pytest.mark.parametrize("name", AT_KINKS)
@given(seed=st.integers(0, 2**32), shape=shapes, far=st.sampled_from([0.5, 5.0, 100.0]))
def test_on_a_kink_the_mean_passes_and_what_lies_outside_does_not(name, seed, shape, far):
    by_nag, f, place, (left, right) = AT_KINKS[name]
    x = np.full(shape, place)
    gradcheck(by_nag, [x], seed=seed)
    for slope, expected in {
        left: KinkNearby,
        right: KinkNearby,
        left - far: GradientError,
        right + far: GradientError,
    }.items():
        with pytest.raises(GradientError) as failure:
            gradcheck(f, [x], vjp=lambda u, x: slope * u, seed=seed)
        assert type(failure.value) is expected


@pytest.mark.parametrize("x", [np.array(0.0), np.array([0.0]), np.array([-1.0, 0.0])])
def test_beside_a_kink_the_mean_does_not_pass(x):
    for f in (lambda x: np.abs(x - 1e-17), lambda x: np.abs(x + 1e-100)):
        with pytest.raises(KinkNearby):
            gradcheck(f, [x], vjp=lambda u, x: u * np.sign(x))
    with pytest.raises(KinkNearby):
        gradcheck(lambda x: np.abs(x - 1), [np.array(1 + 2**-52)], vjp=lambda u, x: 0 * x)


# ---- 0-d


ZERO_DIMENSIONAL = {
    "sign": lambda u, x: -u * np.cos(x),
    "factor 2": lambda u, x: 2 * u * np.cos(x),
    "factor 1 + 1e-8": lambda u, x: u * np.cos(x) * (1 + 1e-8),
    "zero": lambda u, x: 0 * x,
    "none": lambda u, x: None,
    "offset": lambda u, x: u * np.cos(x) + 0.5,
    "float32": lambda u, x: np.asarray(u * np.cos(x), "float32").astype("float64"),
}


@pytest.mark.parametrize("name", ZERO_DIMENSIONAL)
@pytest.mark.parametrize("entries", [False, True])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_single_number_is_judged_alike_with_and_without_a_dimension(name, entries, shape):
    x = np.full(shape, 0.7)
    gradcheck(np.sin, [x], vjp=lambda u, x: u * np.cos(x), entries=entries)
    with pytest.raises(GradientError) as failure:
        gradcheck(np.sin, [x], vjp=ZERO_DIMENSIONAL[name], entries=entries)
    error = failure.value
    assert not isinstance(error, Inconclusive) and error.index == (0,) * len(shape)
    assert error.numeric_gradient.shape == error.gradient.shape == shape
    assert error.numeric == pytest.approx(float(error.numeric_gradient.reshape(())))
    assert error.guess == {"sign": "sign", "zero": "detached", "none": "detached"}.get(
        name, error.guess
    )
    assert "in no single entry" not in str(error)


# ---- other libraries


class Foreign:
    """An array of a library that gradcheck has never heard of."""

    def __array__(self, dtype=None, copy=None):
        return np.ones(3)


def test_arrays_of_other_libraries_are_refused_by_name():
    for inputs in ([Foreign()], Foreign(), [[1.0, Foreign()]]):
        with pytest.raises(CheckRefused, match="test_extremes.Foreign"):
            gradcheck(nag.tanh, inputs)
        with pytest.raises(CheckRefused, match="test_extremes.Foreign"):
            gradcheck(np.tanh, inputs, vjp=lambda u, x: u)
    gradcheck(nag.tanh, [[1.0, 2.0]])  # plain numbers are no library's
    gradcheck(nag.tanh, [0.5])


@pytest.mark.oracle
def test_functions_that_bring_their_own_derivative_are_refused():
    torch = pytest.importorskip("torch")

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    with pytest.raises(TypeError, match="torch.Tensor"):
        gradcheck(nag.tanh, [torch.ones(3, dtype=torch.float64)])
    for f in (Double.apply, torch.nn.Tanh()):
        with pytest.raises(CheckRefused, match="torch"):
            gradcheck(f, [np.ones(3)])


def test_what_is_undecided_does_not_hide_a_mistake_elsewhere():
    def f(a, b):
        return np.abs(a), np.sin(b)

    def vjp(u, a, b):
        return u[0] * 1.0, u[1] * 2 * np.cos(b)

    for a in (np.array([0.0]), np.array([0.0, 1.0])):
        with pytest.raises(GradientError) as failure:
            gradcheck(f, [a, np.array([0.3, 0.4])], vjp=vjp)
        assert not isinstance(failure.value, Inconclusive) and failure.value.name == "b"


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize(
    "f, x",
    [
        (np.sin, 1e10),
        (np.cos, 1e12),
        (lambda x: np.sin(7 * x), 1e7),
        (lambda x: np.sin(1e6 * x), 1e4),
        (lambda x: np.remainder(x, 1.0), 1e9 + 0.5),
    ],
)
@pytest.mark.filterwarnings("ignore:.*is accurate to about")
def test_a_zero_gradient_does_not_pass_where_the_function_varies_within_each_step(f, x, shape):
    with pytest.raises(Inconclusive):
        gradcheck(f, [np.full(shape, x)], vjp=lambda u, x: 0 * u)


@pytest.mark.parametrize("order", [1, 2])
def test_a_slope_of_a_function_that_is_zero_everywhere_is_wrong(order):
    x = np.array([[0.3, -1.2], [2.0, 0.0]])
    straight_through = nag.function(lambda x: 0.0 * x).defvjp(x=lambda g: g)
    with pytest.raises(GradientError) as failure:
        gradcheck(straight_through, [x], order=order)
    assert not isinstance(failure.value, Inconclusive)
    gradcheck(lambda x: 0.0 * x, [x], order=order)


@given(st.integers(0, 3), st.integers(0, 3))
def test_a_nan_says_where_it_is(row, column):
    x, place = np.ones((4, 4)), (row, column)

    def vjp(u, x):
        g = 2 * u * x
        g[place] = np.nan
        return g

    with pytest.raises(GradientError) as failure:
        gradcheck(lambda x: x * x, [x], vjp=vjp)
    error = failure.value
    assert error.index == place and error.guess == "not finite" and f"{place}" in str(error)
    assert np.isnan(error.gradient[place]) and f"entry {place}" in page.html(error)


@given(st.floats(5, 9), st.floats(0.3, 2), st.integers(0, 99))
def test_a_part_that_varies_fast_hides_no_mistake_and_no_right_gradient_is_wrong(power, x, seed):
    w, x = 10.0**power, np.asarray(x)

    def f(x):
        return x + np.sin(w * x) / w

    assert verdict(f, x, lambda u, x: u * (1 + np.cos(w * x)), seed) != "wrong"
    if abs(np.cos(w * x)) > 0.1:
        assert verdict(f, x, lambda u, x: u, seed) != "passes"


@given(st.integers(9, 11), st.floats(0.3, 2), st.integers(0, 99))
def test_a_part_that_is_rounded_coarsely_is_no_such_part(power, x, seed):
    def f(x):
        return np.round(x, power) + np.sin(x)

    assert verdict(f, np.asarray(x), lambda u, x: u * (1 + np.cos(x)), seed) == "passes"
    assert verdict(f, np.asarray(x), lambda u, x: u * np.cos(x), seed) != "passes"
