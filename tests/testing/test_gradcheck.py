"""gradcheck passes right gradients, refuses wrong ones, and guesses what is wrong with them."""

import contextlib
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.interface.array_interface import array_of
from nanoautograd.testing import (
    CheckRefused,
    GradientError,
    Inconclusive,
    KinkNearby,
    PrecisionWarning,
    gradcheck,
    gradgradcheck,
)

X = np.array([0.3, -1.2, 2.0, 0.8, -0.5])
A = np.array([[0.5, -1.1, 0.7], [1.3, 0.2, -0.6], [-0.9, 0.4, 1.7]])
B = np.array([[-0.3, 0.8, 1.2], [0.6, -1.4, 0.1], [1.1, 0.9, -0.7]])
I = np.array([0, 2, 2, 4, 2])


def tanh(x):
    return np.tanh(x)


def dtanh(u, x):
    return u * (1 - np.tanh(x) ** 2)


def multiply(a, b):
    return a * b


def matmul(a, b):
    return a @ b


def add(a, b):
    return a + b


def gather(x):
    return np.sin(x)[I]


def cube(x):
    return x**3


def softsum(x):
    return np.cumsum(np.tanh(x), axis=0)


def scattered(u, overwrite):
    y = np.zeros(5)
    if overwrite:
        y[I] = u
    else:
        np.add.at(y, I, u)
    return y


def reverse_cumsum(u):
    return np.cumsum(u[::-1], axis=0)[::-1]


RIGHT = {
    "tanh": (tanh, [X], dtanh),
    "multiply": (multiply, [A, B], lambda u, a, b: (u * b, u * a)),
    "matmul": (matmul, [A, B], lambda u, a, b: (u @ b.T, a.T @ u)),
    "gather": (gather, [X], lambda u, x: scattered(u, False) * np.cos(x)),
    "cumsum": (softsum, [X], lambda u, x: dtanh(reverse_cumsum(u), x)),
    "one argument unused": (lambda a, b: np.sin(a), [A, B], lambda u, a, b: (u * np.cos(a), None)),
    "several outputs": (
        lambda x: (np.sin(x), x**2),
        [X],
        lambda u, x: u[0] * np.cos(x) + u[1] * 2 * x,
    ),
    "no entries": (tanh, [np.zeros((0, 3))], dtanh),
    "a scalar": (tanh, [np.array(0.4)], dtanh),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("entries", [False, True])
def test_right_gradients_pass(name, entries):
    f, inputs, vjp = RIGHT[name]
    result = gradcheck(f, inputs, vjp=vjp, entries=entries)
    assert result.sharpness < 1e-8


# What is planted, and the guess that it must lead to.
WRONG = {
    "sign": ("sign", tanh, [X], lambda u, x: -dtanh(u, x)),
    "factor 2": ("factor", tanh, [X], lambda u, x: 2 * dtanh(u, x)),
    "factor 1/3": ("factor", tanh, [X], lambda u, x: dtanh(u, x) / 3),
    "factor 123": ("factor", tanh, [X], lambda u, x: 123 * dtanh(u, x)),
    "factor 1 + 1e-5": ("factor", tanh, [X], lambda u, x: dtanh(u, x) * (1 + 1e-5)),
    "factor 1 + 1e-8": ("factor", tanh, [X], lambda u, x: dtanh(u, x) * (1 + 1e-8)),
    "zero": ("detached", tanh, [X], lambda u, x: 0 * x),
    "none": ("detached", multiply, [A, B], lambda u, a, b: (u * b, None)),
    "transposed": ("transposed", matmul, [A, B], lambda u, a, b: ((u @ b.T).T, a.T @ u)),
    "reversed": ("transposed", softsum, [X], lambda u, x: dtanh(reverse_cumsum(u), x)[::-1]),
    "swapped": ("swapped", multiply, [A, B], lambda u, a, b: (u * a, u * b)),
    "swapped products": ("swapped", matmul, [A, B], lambda u, a, b: (a.T @ u, u @ b.T)),
    "overwritten": ("duplicates", gather, [X], lambda u, x: scattered(u, True) * np.cos(x)),
    "rolled": ("shift", tanh, [X], lambda u, x: np.roll(dtanh(u, x), 1)),
    "rolled back": ("shift", tanh, [X], lambda u, x: np.roll(dtanh(u, x), -1)),
    "one step late": (
        "shift",
        tanh,
        [A],
        lambda u, x: np.concatenate([np.zeros((1, 3)), dtanh(u, x)[:-1]]),
    ),
    "not summed": ("broadcast", add, [A, B[0]], lambda u, a, b: (u, u)),
    "one of several copies": ("broadcast", add, [A, B[0]], lambda u, a, b: (u, u[0])),
    "missing factor": (
        "missing factor",
        lambda a, b: a * b * b,
        [A, B],
        lambda u, a, b: (u * b, 2 * u * a * b),
    ),
    "factor too many": ("missing factor", cube, [X], lambda u, x: 3 * u * x**3),
    "float32": (
        "precision",
        tanh,
        [X],
        lambda u, x: dtanh(u.astype("float32"), x.astype("float32")).astype("float64"),
    ),
    "offset": ("offset", tanh, [X], lambda u, x: dtanh(u, x) + 0.5),
    "first entry left out": ("some entries", tanh, [X], lambda u, x: dtanh(u, x) * [0, 1, 1, 1, 1]),
    "one column": ("some entries", tanh, [A], lambda u, x: dtanh(u, x) * [1, 1, 2]),
    "half below zero": (
        "some entries",
        tanh,
        [X],
        lambda u, x: dtanh(u, x) * np.where(x < 0, 0.5, 1),
    ),
    "nearly right, and symmetric": (
        "precision",
        lambda x: tanh(x).sum(),
        [np.array([0.5, -1.0, 0.5])],
        lambda u, x: dtanh(u, x) * (1 + 1e-8 * np.array([1.0, 2.0, 3.0])),
    ),
    "no relation": ("unknown", tanh, [X], lambda u, x: u * np.cos(3 * x) + x),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_gradients_are_refused_with_the_right_guess(name):
    guess, f, inputs, vjp = WRONG[name]
    with pytest.raises(GradientError) as failure:
        gradcheck(f, inputs, vjp=vjp)
    assert not isinstance(failure.value, Inconclusive)
    assert failure.value.guess == guess, failure.value


def test_a_failure_says_where_and_how_much():
    def wrong(u, a, b):
        g = u @ b.T
        g[1, 2] *= 4
        return g, a.T @ u

    with pytest.raises(GradientError) as failure:
        gradcheck(matmul, [A, B], vjp=wrong)
    error = failure.value
    assert (error.operation, error.argument, error.name, error.index) == ("matmul", 0, "a", (1, 2))
    assert error.analytic == pytest.approx(4 * error.numeric, rel=1e-9)
    assert 0 < error.error < 1e-9
    steps = [row.h for row in error.table]
    assert len(steps) >= 9 and steps == sorted(steps, reverse=True)
    text = str(error)
    assert "matmul" in text and "argument 0 (a)" in text and "entry (1, 2)" in text
    assert "central difference" in text and "guess:" in text


def test_the_worst_entry_of_a_large_argument_is_found():
    x = np.linspace(-2, 2, 3000).reshape(50, 60)

    def wrong(u, x):
        g = dtanh(u, x)
        g[17, 33] += 1
        return g

    with pytest.raises(GradientError) as failure:
        gradcheck(tanh, [x], vjp=wrong)
    assert failure.value.index == (17, 33)


def test_a_wrong_gradient_in_the_second_of_several_outputs():
    f, inputs, _ = RIGHT["several outputs"]
    with pytest.raises(GradientError):
        gradcheck(f, inputs, vjp=lambda u, x: u[0] * np.cos(x))


@pytest.mark.parametrize("name", WRONG)
def test_entry_by_entry_finds_the_same_mistakes(name):
    _, f, inputs, vjp = WRONG[name]
    with pytest.raises(GradientError):
        gradcheck(f, inputs, vjp=vjp, entries=True)


# ---- what a cotangent of ones does not see

ONES_PASS = {
    "transposition": (lambda a: a.T.copy(), lambda u, a: u),
    "roll": (lambda a: np.roll(a, 1, axis=0), lambda u, a: u),
    "softmax": (lambda a: np.exp(a) / np.exp(a).sum(axis=-1, keepdims=True), lambda u, a: 0 * a),
    "sum over the wrong axis": (
        lambda a: a.sum(axis=0),
        lambda u, a: np.broadcast_to(u[:, None], a.shape).copy(),
    ),
}


@pytest.mark.parametrize("name", ONES_PASS)
def test_random_cotangents_find_what_ones_do_not(name):
    f, wrong = ONES_PASS[name]
    a = np.random.default_rng(0).normal(size=(3, 3))
    gradcheck(lambda a: f(a).sum(), [a], vjp=lambda u, a: u * wrong(np.ones_like(f(a)), a))
    with pytest.raises(GradientError):
        gradcheck(f, [a], vjp=wrong)


# ---- the error model

SMOOTH = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda x: 1 / x),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "pole": (lambda x: 1 / x, lambda x: -(x**-2)),
    "line": (lambda x: 3 * x + 1, lambda x: 3 + 0 * x),
    "power": (lambda x: x**7.3, lambda x: 7.3 * x**6.3),
    "fast": (lambda x: np.sin(1000 * x), lambda x: 1000 * np.cos(1000 * x)),
    "large offset": (lambda x: 1e8 + np.sin(x), np.cos),
    "cancellation": (lambda x: (1e6 + x) - 1e6 + np.sin(x), lambda x: 1 + np.cos(x)),
    "tiny": (lambda x: 1e-200 * np.sin(x), lambda x: 1e-200 * np.cos(x)),
    "huge": (lambda x: 1e200 * np.sin(x), lambda x: 1e200 * np.cos(x)),
    "saturated": (lambda x: np.tanh(10 * x), lambda x: 10 / np.cosh(10 * x) ** 2),
    "float32 inside": (lambda x: np.sin(x.astype("float32")).astype(float), np.cos),
}


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=settings.default.max_examples * 4)
@given(seed=st.integers(0, 2**32), scale=st.sampled_from([1e-3, 1.0, 10.0]))
def test_right_gradients_are_never_refused_at_any_scale(name, seed, scale):
    f, df = SMOOTH[name]
    x = scale * np.random.default_rng(seed).uniform(0.01, 1.0, 2)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        try:
            gradcheck(f, [x], vjp=lambda u, x: u * df(x), seed=seed)
        except Inconclusive:
            assert name == "float32 inside"  # where three digits are too many to ask


@pytest.mark.parametrize(
    "name", ["sin", "exp", "log", "sqrt", "pole", "line", "power", "fast", "tiny", "huge"]
)
@settings(max_examples=settings.default.max_examples * 2)
@given(seed=st.integers(0, 2**32))
def test_a_factor_of_1_00001_is_always_caught(name, seed):
    f, df = SMOOTH[name]
    x = np.random.default_rng(seed).uniform(0.1, 1.0, 2)
    with pytest.raises(GradientError):
        gradcheck(f, [x], vjp=lambda u, x: u * df(x) * (1 + 1e-5), seed=seed)


def test_mistakes_in_badly_scaled_arguments_are_found():
    """The entries are a million and a millionth, and no step size suits both."""
    c = np.array([1e-6, 1e6])
    x = 1 / c

    def f(x):
        return np.sin(c * x)

    gradcheck(f, [x], vjp=lambda u, x: u * c * np.cos(c * x))
    with pytest.raises(GradientError) as failure:
        gradcheck(f, [x], vjp=lambda u, x: u * c * np.cos(c * x) * (1 + 1e-5))
    assert failure.value.guess == "factor"


def rough(x):
    return np.sin(x.astype("float32")).astype("float64")


def test_what_cannot_be_seen_is_said():
    with pytest.warns(PrecisionWarning, match="accurate to about .e-0") as warned:
        result = gradcheck(rough, [X], vjp=lambda u, x: u * np.cos(x))
    assert {w.filename for w in warned} == {__file__}
    assert 1e-6 < result.sharpness < 1e-1


def test_warnings_name_the_line_that_asked_for_the_check():
    for f in (rough, lambda x: np.sin(x.astype("float32"))):
        with pytest.warns(PrecisionWarning) as warned:
            gradcheck(f, [X], vjp=lambda u, x: u * np.cos(x))
        assert {w.filename for w in warned} == {__file__}


# ---- kinks


def relu(x):
    return np.maximum(x, 0)


def test_on_a_kink_the_mean_of_both_sides_passes():
    gradcheck(relu, [np.array([-1.0, 0.0, 2.0])], vjp=lambda u, x: u * np.heaviside(x, 0.5))
    gradcheck(np.abs, [np.array([-1.0, 0.0, 2.0])], vjp=lambda u, x: u * np.sign(x))


@pytest.mark.parametrize("distance", [0.0, 1e-14, 1e-11, -1e-11])
def test_another_value_between_the_sides_is_inconclusive(distance):
    for slope_at_0 in (0.0, 1.0):
        if distance and slope_at_0 != (distance > 0):
            continue
        with pytest.raises(KinkNearby, match="one-sided derivatives") as failure:
            gradcheck(
                relu,
                [np.array([-1.0, distance, 2.0])],
                vjp=lambda u, x: u * np.heaviside(x, slope_at_0),
            )
        assert failure.value.guess == "kink" and failure.value.index == (1,)


@pytest.mark.parametrize("distance", [1e-9, 1e-7, 1e-4, 0.03])
def test_a_kink_at_some_distance_is_no_false_alarm(distance):
    x = np.array([-1.0, distance, 2.0])
    try:
        gradcheck(relu, [x], vjp=lambda u, x: u * (x > 0))
    except KinkNearby:
        assert distance < 1e-6


@given(
    st.sampled_from(["abs", "relu", "clip", "sort", "max", "square"]),
    st.sampled_from([1.0, -1.0, 1e-7, -1e5, 1e8]),
    st.lists(st.tuples(st.integers(-12, 1), st.floats(-10, 10)), min_size=1, max_size=3),
    st.integers(0, 99),
)
def test_a_right_gradient_is_wrong_beside_no_kink(kind, c, distances, seed):
    f = {
        "abs": lambda x: nag.abs(x - c),
        "relu": lambda x: nag.maximum(x - c, 0),
        "clip": lambda x: nag.clip(x, min(c, 2 * c), max(c, 2 * c)),
        "sort": nag.sort,
        "max": nag.max,
        "square": lambda x: nag.maximum(x, 0) * nag.maximum(x - c, 0),
    }[kind]
    x = np.array([c * (1 + m * 10.0**k) for k, m in distances])
    try:
        gradcheck(f, [x], seed=seed)
    except (KinkNearby, Inconclusive):
        pass


KINKS = st.tuples(st.floats(-11, 0), st.sampled_from([1, -1]), st.floats(-2, 0.7), st.booleans())


@example(1.0, [(-9.0, -1, -0.4, False), (-11.0, 1, -1.4, True)], 0.0, 0.0, 0)  # one of each sign
@example(1.0, [(-9.6, 1, -2.0, True), (-10.2, -1, -2.0, False)], 0.0, 0.4, 0)
@example(1e-8, [(-9.6, -1, -0.4, False), (-11.0, 1, -1.4, True)], 0.0, 0.0, 0)
@example(1.0, [(-8, -1, 0.4, False), (-5, -1, -0.6, True), (-11, 1, 0.4, True)], 3.2, 0.0, 0)
@example(1.0, [(-11.0, -1, -2.0, False), (-11.0, 1, -2.0, False)], 1.0, 0.0, 0)  # 0 between them
@given(
    st.sampled_from([1.0, -1.0, 1e-3, 1e-8, 1e6]),
    st.lists(KINKS, min_size=2, max_size=4),
    st.floats(-2, 2),
    st.floats(-1, 1),
    st.integers(0, 99),
)
def test_a_right_gradient_is_wrong_between_no_kinks(x, kinks, slope, offset, seed):
    """The differences of all steps that cross several kinks may agree, on another slope."""
    size, x = abs(x), np.array([x])
    bends = [(x * (1 + sign * 10.0**k), (-1) ** down * 10.0**s) for k, sign, s, down in kinks]

    def f(x):
        return slope * x + offset * size + sum(s * np.abs(x - c) for c, s in bends)

    def vjp(u, x):
        return u * (slope + sum(s * np.sign(x - c) for c, s in bends))

    def wrong(u, x):
        return vjp(u, x) + u * 3 * (1 + abs(slope) + sum(abs(s) for c, s in bends))

    with contextlib.suppress(Inconclusive):
        gradcheck(f, [x], vjp=vjp, seed=seed)
    with pytest.raises(GradientError):
        gradcheck(f, [x], vjp=wrong, seed=seed)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_zero_gradient_beside_a_kink_at_the_smallest_number(shape):
    for x in (5e-324, -5e-324, 1e-310):
        with pytest.raises(GradientError):
            gradcheck(np.abs, [np.full(shape, x)], vjp=lambda u, x: 0 * x)


def test_a_wrong_gradient_on_a_kink_is_wrong():
    with pytest.raises(GradientError) as failure:
        gradcheck(relu, [np.array([-1.0, 0.0, 2.0])], vjp=lambda u, x: -u * np.heaviside(x, 0.5))
    assert not isinstance(failure.value, KinkNearby)
    assert failure.value.guess == "sign"


def test_a_kink_elsewhere_does_not_hide_a_mistake():
    with pytest.raises(GradientError) as failure:
        gradcheck(
            relu, [np.array([-1.0, 0.0, 2.0])], vjp=lambda u, x: u * np.array([0.0, 0.0, 1.001])
        )
    assert not isinstance(failure.value, KinkNearby)
    assert failure.value.index == (2,)


def test_a_jump_is_inconclusive():
    with pytest.raises(Inconclusive, match="jumps"):
        gradcheck(np.floor, [np.array([1.0, 1.5])], vjp=lambda u, x: 0 * x)


@pytest.mark.parametrize("at", [0.0, 1.0, 1e-9, -3.0])
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("side", [np.sign, np.floor, lambda d: d == 0, lambda d: d > 0])
def test_a_gradient_of_zero_passes_at_no_jump(at, shape, side):
    x = np.full(shape, at)
    with pytest.raises(Inconclusive, match="jumps"):
        gradcheck(lambda x: nag.Tensor(1.0 * side(array_of(x) - at)) + 0 * x, [x])
    gradcheck(lambda x: nag.Tensor(1.0 * side(array_of(x) - at)) + 0 * x, [x + 0.5])


# ---- what is refused


def refused(match, f=nag.tanh, inputs=(X,), **options):
    with pytest.raises(CheckRefused, match=match):
        gradcheck(f, inputs, **options)


def test_inputs_that_prove_nothing_are_refused():
    refused("float32.*astype", inputs=[X.astype("float32")])
    refused("int64.*go into f", inputs=[I])
    refused("holds nan", inputs=[np.array([1.0, np.nan])])
    refused("share memory", nag.multiply, [X[:3], X[1:4]])
    refused("share memory", nag.multiply, [X, X])
    refused("several entries", inputs=[np.broadcast_to(X, (3, 5))])
    refused("sequence", inputs=X)
    refused("no inputs", inputs=[])


def test_views_that_do_not_overlap_are_accepted():
    gradcheck(nag.multiply, [A[::2], A[1:2]])
    gradcheck(nag.tanh, [X[::-2]])


def test_functions_that_prove_nothing_are_refused():
    rng = np.random.default_rng(0)
    refused("not deterministic", lambda x: x * rng.normal())
    refused("holds nan", lambda x: nag.log(x))
    refused("not depend", lambda x: nag.tanh(x.detach()))
    refused("not depend", lambda x: nag.Tensor(x.data))
    refused("returned ndarray", lambda x: x.data * 2)
    refused("nothing that can have a gradient", lambda x: nag.argmax(x))

    def writes(x):
        y = nag.tanh(x)
        x.data[0] = 5.0
        return y

    refused("changed by the forward", writes)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="order is 1 or 2"):
        gradcheck(nag.tanh, [X], order=3)


# ---- with the engine


def test_operations_of_the_engine_pass(backend):
    gradcheck(nag.tanh, [X], backend=backend.name)
    gradgradcheck(lambda a, b: nag.tanh(a @ b) * a, [A, B], backend=backend.name)
    gradcheck(lambda x: {"a": nag.sin(x), "b": [x * x, nag.argmax(x)]}, [X], backend=backend.name)


def test_tensors_are_inputs_too_and_their_device_is_kept(backend):
    seen = []

    def f(x):
        seen.append(x.device)
        return nag.tanh(x)

    gradcheck(f, [backend.tensor(X)])
    assert set(seen) == {backend.tensor(X).device}


@nag.function
def twice(x):
    return 2 * x


@nag.function
def stale(x):
    return np.exp(x)


@nag.function
def detaches(x):
    return x * x


@nag.function
def spoils(x):
    return x * x


@nag.function
def product(a, b):
    return a * b


def spoiling(g, x):
    g *= 2
    return g * x


twice.defvjp(x=lambda g: g * 123)
stale.defvjp(x=lambda g, x: g * x)
detaches.defvjp(x=lambda g, x: g * (2 * (x.detach() if isinstance(x, nag.Tensor) else x)))
spoils.defvjp(x=spoiling)
product.defvjp(a=lambda g, b: g * b, b=lambda g, a, b: g * (a if g.ndim else b))


def test_wrong_rules_are_refused():
    with pytest.raises(GradientError, match="123/2 × numeric") as failure:
        gradcheck(twice, [X])
    assert (failure.value.operation, failure.value.name) == ("twice", "x")
    with pytest.raises(GradientError):
        gradcheck(stale, [X])


def test_a_rule_that_is_right_once_but_not_twice():
    gradcheck(detaches, [X])
    with pytest.raises(GradientError, match="gradient of detaches"):
        gradcheck(detaches, [X], order=2)


def test_a_rule_that_writes_into_its_argument_is_refused():
    with pytest.raises(TypeError, match="the rule of spoils for 'x' wrote into an array"):
        gradcheck(spoils, [X])


def test_part_of_an_output_that_is_detached():
    with pytest.raises(GradientError) as failure:
        gradcheck(lambda x: x.detach() * x, [X])
    assert failure.value.guess == "factor"
    with pytest.raises(GradientError) as failure:
        gradcheck(lambda a, b: a * b.detach(), [A, B])
    assert (failure.value.guess, failure.value.name) == ("detached", "b")


# ---- second opinions


def test_the_complex_step_passes_and_refuses_what_is_not_analytic():
    gradcheck(lambda x: nag.sin(x) * nag.exp(x), [X], complex_step=True)
    with pytest.raises(CheckRefused, match="not analytic"):
        gradcheck(lambda x: abs(x) * x, [X], complex_step=True)


def test_complex_step_sees_twelve_digits():
    def vjp(u, x):
        return u * np.cos(x) * (1 + 1e-10)

    gradcheck(lambda x: 1e3 + np.sin(x), [X], vjp=vjp)  # differences see eight of them here
    with pytest.raises(GradientError, match="complex-step"):
        gradcheck(lambda x: 1e3 + np.sin(x), [X], vjp=vjp, complex_step=True)


def test_a_reference_that_differs_is_found():
    gradcheck(nag.tanh, [X], reference=lambda x: 2 * nag.sigmoid(2 * x) - 1)
    with pytest.raises(GradientError, match="output 0 of tanh differs"):
        gradcheck(nag.tanh, [X], reference=nag.sin)


def test_by_hand_what_is_kept_from_another_call_is_found():
    total, kept, buffer = np.zeros(3), {}, np.zeros(3)

    def adds(u, x):
        nonlocal total
        total = total + 2 * u * x
        return total

    def f(x):
        kept["x"] = x.copy()
        return x * x

    def in_one_buffer(u, x):  # each call's answer is right
        np.multiply(u, 2 * x, out=buffer)
        return buffer

    x = np.array([0.3, -1.2, 2.0])
    gradcheck(lambda x: x * x, [x], vjp=in_one_buffer)
    for g, vjp in ((lambda x: x * x, adds), (f, lambda u, x: 2 * u * kept["x"])):
        with pytest.raises(GradientError):
            gradcheck(g, [x], vjp=vjp)


def test_by_hand_a_layout_that_is_taken_for_granted_is_found():
    x = np.arange(6.0).reshape(2, 3) + 1

    def by_columns(u, x):  # the numbers in the order of memory, as a kernel may read them
        return 2 * u.ravel("K").reshape(u.shape) * x

    with pytest.raises(GradientError, match="stored by columns"):
        gradcheck(lambda x: x * x, [x], vjp=by_columns)

    def of_strides(u, x):
        return 2 * np.lib.stride_tricks.as_strided(u, u.shape, (24, 8)) * x

    with pytest.raises(GradientError, match="every second number"):
        gradcheck(lambda x: x * x, [x], vjp=of_strides)


def test_by_hand_a_function_that_changes_its_arguments_is_refused_and_a_rule_is_wrong():
    x = np.array([0.3, -1.2, 2.0])
    with pytest.raises(CheckRefused, match="changes what it is given"):
        gradcheck(lambda x: np.multiply(x, 2, out=x), [x], vjp=lambda u, x: 2 * u)
    for rule in (
        lambda u, x: np.multiply(u, 2 * x, out=u),
        lambda u, x: np.multiply(2 * u, x, out=x),
    ):
        with pytest.raises(GradientError, match="changes what it is given"):
            gradcheck(lambda x: x * x, [x], vjp=rule)


def test_a_forward_mode_by_hand_is_compared_with_the_vjp():
    x, w = np.array([0.3, -1.2, 2.0]), np.array([1.0, 0.5, 0.1])

    def vjp(u, x, w):
        return u * w * np.cos(x), u * np.sin(x)

    def jvp(vs, x, w):
        return vs[0] * w * np.cos(x) + vs[1] * np.sin(x)

    gradcheck(lambda x, w: w * np.sin(x), [x, w], vjp=vjp, jvp=jvp)
    with pytest.raises(GradientError, match="forward mode") as failure:
        gradcheck(
            lambda x, w: w * np.sin(x),
            [x, w],
            vjp=vjp,
            jvp=lambda vs, x, w: vs[0] * w * np.cos(x) + vs[1] * np.cos(x),
        )
    assert failure.value.name == "w"
    with pytest.raises(GradientError, match="shapes"):
        gradcheck(
            lambda x, w: w * x,
            [x, w],
            vjp=lambda u, x, w: (u * w, u * x),
            jvp=lambda vs, x, w: vs[0][:1],
        )
    with pytest.raises(ValueError, match="give both"):
        gradcheck(np.sin, [x], jvp=lambda vs, x: vs[0] * np.cos(x))


def test_forward_mode_of_this_package_is_compared_with_reverse_mode():
    x = np.array([[0.3, -1.2, 2.0]])
    assert gradcheck(lambda a, b: nag.sin(a) @ b, [x, x.T.copy()], forward_mode=True).checks == 2


def test_a_result_that_is_detached_beside_others_is_named():
    with pytest.raises(GradientError, match=r"out\[1\] requires no gradient.*leave it out"):
        gradcheck(lambda x: (nag.sin(x), nag.cos(x).detach()), [np.ones(3)])
    gradcheck(lambda x: (nag.sin(x), nag.Tensor(2.0)), [np.ones(3)])  # a constant
