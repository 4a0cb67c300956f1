"""What gradcheck guesses about a mistake is true of the mistake that was planted."""

from collections import namedtuple
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.testing import (
    CheckRefused,
    GradientError,
    Inconclusive,
    KinkNearby,
    gradcheck,
    report,
)

SHAPES = st.sampled_from([(), (1,), (2,), (5,), (3, 3), (2, 4), (1, 4), (2, 2, 3)])
FACTORS = st.sampled_from([2.0, 3.0, -2.0, 1 / 3, 0.37, 1.0001, 1 + 1e-7, 0.5])


def product(a, b):
    return a * np.sin(b)


def right(u, a, b):
    return u * np.sin(b), u * a * np.cos(b)


def cut_below_zero(g, x, c):
    return g * np.where(x < 0, c, 1)


def rounded(g):
    return g.astype(np.float32).astype(float)


def cancelled(g):
    return (g + 1e9) - 1e9  # where some digits are left


# kind -> a rule that is wrong in the first argument: of u, a, b and a factor.
PLANTED = {
    "sign": lambda u, a, b, c: (-right(u, a, b)[0], right(u, a, b)[1]),
    "factor": lambda u, a, b, c: (c * right(u, a, b)[0], right(u, a, b)[1]),
    "detached": lambda u, a, b, c: (None, right(u, a, b)[1]),
    "the sine left out": lambda u, a, b, c: (u + 0 * b, right(u, a, b)[1]),
    "one factor too many": lambda u, a, b, c: (u * np.sin(b) * b, right(u, a, b)[1]),
    "swapped": lambda u, a, b, c: right(u, a, b)[::-1],
    "shared": lambda u, a, b, c: (right(u, a, b)[1],) * 2,
    "transposed": lambda u, a, b, c: (
        right(u, a, b)[0].T.reshape(a.shape).copy(),
        right(u, a, b)[1],
    ),
    "reversed": lambda u, a, b, c: (np.flip(right(u, a, b)[0]).copy(), right(u, a, b)[1]),
    "shift": lambda u, a, b, c: (
        np.roll(right(u, a, b)[0], 1, 0 if a.ndim else None),
        u * a * np.cos(b),
    ),
    "offset": lambda u, a, b, c: (right(u, a, b)[0] + c, right(u, a, b)[1]),
    "below zero": lambda u, a, b, c: (cut_below_zero(right(u, a, b)[0], a, c), right(u, a, b)[1]),
    "first entry": lambda u, a, b, c: (
        right(u, a, b)[0] * np.where(np.arange(a.size).reshape(a.shape) == 0, c, 1),
        right(u, a, b)[1],
    ),
    "precision": lambda u, a, b, c: (rounded(right(u, a, b)[0]), right(u, a, b)[1]),
    "cancellation": lambda u, a, b, c: (cancelled(right(u, a, b)[0]), right(u, a, b)[1]),
    "not finite": lambda u, a, b, c: (np.where(a < 0, np.inf, u * np.sin(b)), u * a * np.cos(b)),
    "another function": lambda u, a, b, c: (u * np.cos(3 * a) + a, right(u, a, b)[1]),
}
CAUSES = {  # guesses at a cause, which no relation of two arrays proves
    "precision": {"precision", "cancellation"},
    "cancellation": {"cancellation"},
    "duplicates": set(),
    "broadcast": set(),
    "kept": {"the sine left out"},  # which leaves the cotangent alone
}


def factors(known):
    """Of which one may be in the place of another."""
    each = [f for b in known for f in (b, b**2, 1 - b, 1 - b**2, 1 + b, 1 + b**2)]
    return [np.ones(1), *each, *map(np.sqrt, each)]


def claims(key, A, N, others, known):
    """Does what the guess says hold of the planted gradient A and the right one, N?"""
    close = dict(rtol=2e-5, atol=2e-5 * np.abs(N).max())
    axes = range(A.ndim)

    def same(P, Q):
        return P.shape == Q.shape and np.allclose(P, Q, **close)

    with np.errstate(all="ignore"):
        ratio = (A / N)[N != 0]
        return {
            "detached": lambda: not A.any(),
            "sign": lambda: same(-A, N),
            "factor": lambda: np.allclose(ratio, ratio.flat[0], rtol=1e-6),
            "missing factor": lambda: any(same(A * B, N) or same(A, N * B) for B in known),
            "other factor": lambda: any(
                same(A * (Q / P), N) for P, Q in permutations(factors(known), 2)
            ),
            "swapped": lambda: same(A, others[1]) and same(others[0], N),
            "shared": lambda: same(A, others[1]) and same(others[0], others[1]),
            "transposed": lambda: (
                same(A.T, N)
                or any(same(A.transpose(p), N) for p in permutations(axes))
                or any(same(np.flip(A, k), N) for k in axes)
            ),
            "shift": lambda: any(
                same(np.moveaxis(A, k, 0)[1:], np.moveaxis(N, k, 0)[:-1])
                or same(np.moveaxis(A, k, 0)[:-1], np.moveaxis(N, k, 0)[1:])
                for k in axes
            ),
            "offset": lambda: np.ptp(A - N) < 1e-5 * np.abs(A - N).max(),
            "some entries": lambda: 0 < np.isclose(A, N, rtol=1e-10).sum() < A.size,
            "not finite": lambda: not np.isfinite(A).all(),
            "unknown": lambda: True,
        }[key]()


@pytest.mark.parametrize("kind", PLANTED)
@given(SHAPES, FACTORS, st.integers(0, 10**6))
def test_a_guess_holds_of_what_was_planted(kind, shape, c, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.uniform(0.2, 1.3, shape) * rng.choice([-1.0, 1.0], shape) for _ in "ab")
    seen = {}

    def vjp(u, x, y):
        if np.array_equal(x, a):  # the first call is at another point
            seen.setdefault("u", u.copy())
        return PLANTED[kind](u, x, y, c)

    try:
        gradcheck(product, [a, b], vjp=vjp, seed=seed, layouts=False)
    except Inconclusive:
        return
    except GradientError as error:
        if error.name != "a":
            return  # the same mistake, seen in b: swapped
        A, N = error.gradient, right(seen["u"], a, b)[0]
        given_b = PLANTED[kind](seen["u"], a, b, c)[1]
        others = given_b, right(seen["u"], a, b)[1]
        known = [a, b, product(a, b)]
        if error.guess in CAUSES:
            assert kind in CAUSES[error.guess] or "as if" in error.explanation, error
        else:
            assert claims(error.guess, A, N, others, known), error
        if kind == "below zero" and error.guess == "some entries" and a.size > 2:
            assert "those where a < 0" in error.explanation, error


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(0, 999))
def test_repeated_indices_are_guessed_where_there_are_such(index, seed):
    x = np.random.default_rng(seed).uniform(0.3, 2, 4)

    def vjp(u, x):
        g = np.zeros(4)
        g[index] = u
        return g * np.cos(x)

    def check():
        gradcheck(lambda x: np.sin(x)[index], [x], vjp=vjp, seed=seed)

    if len(set(index)) == len(index):
        return check()
    with pytest.raises(GradientError) as failure:
        check()
    counts = {*map(index.count, index)}
    assert failure.value.guess == ("duplicates" if len(counts) > 1 else "broadcast"), failure.value


@given(st.integers(2, 5), st.integers(0, 999))
def test_one_buffer_for_two_gradients_is_no_swap(n, seed):
    rng = np.random.default_rng(seed)
    a, b, buffer = rng.uniform(0.2, 1, n), rng.uniform(1.1, 2, n), np.empty(n)

    def vjp(u, a, b):
        da = np.multiply(u, b, out=buffer)
        return da, np.multiply(u, a, out=buffer)

    with pytest.raises(GradientError, match="given for both arguments") as failure:
        gradcheck(np.multiply, [a, b], vjp=vjp)
    assert failure.value.guess == "shared" and "swapped" not in str(failure.value)


@given(st.lists(st.floats(0.2, 3), min_size=2, max_size=5), st.floats(8, 12), st.integers(0, 99))
def test_terms_of_the_engine_that_cancel_are_named(x, digits, seed):
    def f(x):  # x / x is exactly 1, and its gradient 1 / x - x / x² but nearly 0
        return (x / x - 1) * 10**digits + nag.sin(x)

    try:
        gradcheck(f, [np.array(x)], seed=seed)
    except Inconclusive:
        return
    except GradientError as error:
        assert error.guess in ("cancellation", "unknown", "some entries", "precision"), error
        if error.guess == "precision":
            assert "cancel" in error.explanation or "as if" in error.explanation


def test_a_gradient_that_cancels_is_guessed_as_such():
    with pytest.raises(GradientError, match="terms cancel in its formula") as failure:
        gradcheck(lambda x: (x / x - 1) * 1e10 + nag.sin(x), [np.array([0.3, -1.2, 2.0, 0.8])])
    assert failure.value.guess == "cancellation"


def test_what_cannot_be_decided_is_not_called_wrong():
    """One statement: that it is undecided, and why."""
    relu, drelu = (lambda x: np.maximum(x, 0)), (lambda u, x: u * (x > 0))
    for f, vjp, x in (
        (relu, drelu, [-1.0, 0.0, 2.0]),
        (np.floor, lambda u, x: 0 * x, [1.0, 1.5]),
        (lambda x: np.sign(x + 1e15), lambda u, x: u * x, [1.0, 2.0]),
    ):
        with pytest.raises(GradientError) as failure:
            gradcheck(f, [np.array(x)], vjp=vjp)
        text = str(failure.value)
        if isinstance(failure.value, Inconclusive):
            assert "wrong" not in text and "guess" not in text and "may be right" not in text
        if isinstance(failure.value, KinkNearby):
            assert text.startswith("the gradient of <lambda> with respect to argument 0 (x) cannot")
            assert "Move the point away from the kink" in text


@pytest.mark.parametrize(
    "given_shape, wanted, key",
    [
        ((3, 4), (4,), "broadcast"),
        ((3, 4), (3, 1), "broadcast"),
        ((3, 4), (), "broadcast"),
        ((4, 3), (3, 4), "transposed"),
        ((12,), (3, 4), "shape"),
        ((4,), (3, 4), "shape"),
        ((1, 4), (4,), "shape"),
    ],
)
def test_a_wrong_shape_is_guessed_from_both_shapes(given_shape, wanted, key):
    with pytest.raises(GradientError) as failure:
        gradcheck(np.sin, [np.ones(wanted)], vjp=lambda u, x: np.ones(given_shape))
    assert failure.value.guess == key
    assert failure.value.explanation == report.GUESSES[key]


# ---- inputs that are not arrays of float64

PARTS = st.sampled_from([np.array([0.3, -1.2]), np.array(0.5), np.array([[1.5]])])
NESTS = st.recursive(
    PARTS,
    lambda x: (
        st.lists(x, min_size=1, max_size=3)
        | st.tuples(x, x)
        | st.dictionaries(st.text("ab 'é", max_size=2), x, min_size=1, max_size=3)
    ),
    max_leaves=5,
)


def total(x):
    """Of all arrays in a nest, a sum of squares."""
    if isinstance(x, dict):
        return sum(total(part) for part in x.values())
    if isinstance(x, (list, tuple)):
        return sum(map(total, x))
    return (x * x).sum()


@given(st.lists(NESTS, min_size=1, max_size=2), st.booleans())
def test_the_advice_for_nested_inputs_is_code_that_works(inputs, is_dict):
    inputs = [_copied(x) for x in inputs]
    if is_dict:
        inputs = {"p": inputs}

    def f(*arguments):
        return sum(map(total, arguments))

    try:
        gradcheck(f, inputs)
    except CheckRefused as error:
        code = str(error).splitlines()[1]
        result = eval(code, {"gradcheck": gradcheck, "f": f, "inputs": inputs})
        assert result.checks > 0
    else:
        assert not any(isinstance(x, (dict, list, tuple)) for x in inputs)


def _copied(x):
    """The same nest of arrays that share no memory."""
    if isinstance(x, dict):
        return {key: _copied(part) for key, part in x.items()}
    return type(x)(map(_copied, x)) if isinstance(x, (list, tuple)) else x.copy()


X = np.array([0.3, -1.2])
SAYS = {
    "integers": (np.arange(3), "numbers that f computes with, convert.*labels.*go into f"),
    "a list of integers": ([1, 2], "convert them"),
    "a mask": (X > 0, "mask.*goes into f"),
    "complex numbers": (X + 1j, "its real and its imaginary parts are two inputs"),
    "complex64": ((X + 1j).astype("complex64"), "two inputs"),
    "long doubles": (X.astype(np.longdouble), r"convert it, x.astype\(np.float64\)"),
    "a text": ("mean", "no array of numbers.*goes into f"),
    "None": (None, "no array of numbers"),
    "objects": (np.array([object()]), "no array of numbers"),
    "rows of two lengths": ([[0.1], [0.2, 0.3]], "differ in their shapes"),
}


@pytest.mark.parametrize("name", SAYS)
@pytest.mark.parametrize("options", [{}, {"vjp": lambda u, x: u}])
def test_other_inputs_are_refused_with_what_to_do(name, options):
    x, says = SAYS[name]
    if name == "long doubles" and np.longdouble is np.float64:
        pytest.skip("here they are float64")
    with pytest.raises(CheckRefused, match=f"input 0 .*{says}") as failure:
        gradcheck(nag.sin, [x], **options)
    assert "3 or fewer" not in str(failure.value)  # digits: of narrow floats alone


@pytest.mark.parametrize("inputs", ["ab", b"ab", {X[0]}, 3])
def test_inputs_that_are_no_sequence_of_arrays(inputs):
    with pytest.raises(CheckRefused, match="inputs is a sequence of arrays"):
        gradcheck(nag.sin, inputs)


def test_a_nest_of_another_kind_is_written_as_that_kind():
    pair = namedtuple("Pair", "a b")
    with pytest.raises(CheckRefused, match=r"lambda x0, x1: f\(Pair\(x0, x1\)\), .*\[0\].b\]"):
        gradcheck(lambda p: p.a * p.b, [pair(X, X + 1)])

    @dataclass
    class Layer:
        w: np.ndarray
        rest: list

    with pytest.raises(CheckRefused, match=r"f\(Layer\(x0, \[x1\]\)\), \[.*\].rest\[0\]\]"):
        gradcheck(lambda p: p.w, [Layer(X, [X + 1])])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# name -> a function, a wrong derivative, and what is said of it.
EXCHANGED = {
    "tanh, no square": (np.tanh, lambda x: 1 - np.tanh(x), "(1 - out²) = numeric × (1 - out):"),
    "tanh, of x": (np.tanh, lambda x: 1 - x**2, "(1 - out²) = numeric × (1 - x²):"),
    "tanh, out alone": (np.tanh, np.tanh, "(1 - out²) = numeric × out:"),
    "sigmoid, squared": (sigmoid, lambda x: sigmoid(x) ** 2, "(1 - out) = numeric × out:"),
    "exp, of x": (np.exp, lambda x: x, "out = numeric × x:"),
    "arctan, sign": (np.arctan, lambda x: 1 / (1 - x**2), "(1 - x²) = numeric × (1 + x²):"),
    "arctan, no square": (np.arctan, lambda x: 1 / (1 + x), "(1 + x) = numeric × (1 + x²):"),
    "arctan, root": (np.arctan, lambda x: 1 / np.sqrt(1 + x**2), "numeric × √(1 + x²):"),
    "arcsinh, no root": (np.arcsinh, lambda x: 1 / (1 + x**2), "√(1 + x²) = numeric:"),
    "arcsinh, sign": (np.arcsinh, lambda x: (1 + x) ** -0.5, "√(1 + x) = numeric × √(1 + x²):"),
    "a power": (lambda x: x**4, lambda x: 4 * x, "x² = numeric:"),
}


@pytest.mark.parametrize("name", EXCHANGED)
@given(st.sampled_from([(3,), (2, 4), (2, 2, 3)]), st.integers(0, 10**6))
def test_a_factor_in_the_place_of_another_is_said(name, shape, seed):
    f, wrong, says = EXCHANGED[name]
    x = np.random.default_rng(seed).uniform(0.2, 1.9, shape)
    with pytest.raises(GradientError) as failure:
        gradcheck(f, [x], vjp=lambda u, x: u * wrong(x))
    error = failure.value
    assert error.guess == "other factor" and says in error.explanation
    relation = error.explanation.partition(":")[0].replace("×", "*").replace("²", "**2")
    relation = relation.replace("√", "np.sqrt")
    values = dict(np=np, analytic=error.gradient, numeric=error.numeric_gradient, x=x, out=f(x))
    left, right = (eval(side, values) for side in relation.split("="))
    np.testing.assert_allclose(left, right, rtol=1e-4)
