"""A gradient check that looks first decides as one that sweeps all steps does: it never passes what
the sweep refuses. And it is short where the answer is clear."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.testing import CheckRefused, GradientError, Inconclusive, check, gradcheck
from nanoautograd.testing.differences import Look, look

# ---- as the sweep decides

EVERYWHERE = {  # smooth, or rough everywhere: f, f'
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "square": (lambda x: x * x, lambda x: 2 * x),
    "line": (lambda x: 3 * x, lambda x: 3 + 0 * x),
    "pole": (lambda x: 1 / x, lambda x: -1 / x**2),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "small": (lambda x: 1e-6 * x, lambda x: 1e-6 + 0 * x),
    "hidden": (lambda x: 1e6 + 1e-6 * x, lambda x: 1e-6 + 0 * x),
    "constant": (lambda x: 1 + 0 * x, lambda x: 0 * x),
    "float32": (lambda x: np.sin(x.astype(np.float32)).astype(np.float64), np.cos),
    "in steps of 1e-9": (lambda x: np.round(np.sin(x) * 1e9) / 1e9, np.cos),
}
# Added to it, as a function of the distance t from the point in units of w: g, g', and g' as it
# seems from afar.
NEARBY = {
    "nothing": (lambda t: 0 * t, lambda t: 0 * t, 0),
    "kink": (np.abs, np.sign, 0),
    "kink beside": (lambda t: np.abs(t - 1), lambda t: np.sign(t - 1), 0),
    "pair of kinks": (
        lambda t: np.abs(t + 1) - np.abs(t - 1),
        lambda t: np.sign(t + 1) - np.sign(t - 1),
        0,
    ),
    "step": (np.arctan, lambda t: 1 / (1 + t * t), 0),
    "step beside": (lambda t: np.arctan(t - 1), lambda t: 1 / (1 + (t - 1) ** 2), 0),
    "ripple": (np.sin, np.cos, 0),
    "bell": (lambda t: t * np.exp(-t * t), lambda t: (1 - 2 * t * t) * np.exp(-t * t), 0),
}


def verdict(whole, monkeypatch, f, x, vjp, **options):
    """("passes", "undecided" or "wrong", number of calls); whole: with sweeps alone."""
    with monkeypatch.context() as patch, np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if whole:
            patch.setattr(check, "LEAST", np.inf)
        try:
            return "passes", gradcheck(f, [x], vjp=vjp, **options).calls
        except (Inconclusive, CheckRefused):
            return "undecided", 0
        except GradientError as error:
            return "wrong", error.calls


@settings(max_examples=settings.default.max_examples * 3)
@example("small", "step", 3e-11, 0.05, 0.0, 1, 1.0, False, 0)
@example("sin", "pair of kinks", 1e-9, 1.0, 0.0, 5, 1.0, True, 0)
# The ripple is zero at the first narrow step.
@example("line", "ripple", 1.29e-6 / np.pi, 1.0, 0.0, 1, 1.0, False, 0)
@example("line", "kink beside", 1e-8, 1.0, 0.0, 1, 1.0, False, 0)
@example("line", "bell", 1e-8, 1e-2, 0.0, 1, 1.0, False, 0)
@given(
    st.sampled_from(sorted(EVERYWHERE)),
    st.sampled_from(sorted(NEARBY)),
    st.floats(-14, 0).map(lambda k: 10.0**k),
    st.floats(-6, 2).map(lambda k: 10.0**k),
    st.floats(0, 1),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1.0, 1e3, 1e-3, 1e-6, 1e-20, 1e60, 1e-300, 5e-324]),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_look_passes_nothing_that_a_sweep_refuses(
    monkeypatch, everywhere, nearby, width, slope, part, n, scale, entries, seed
):
    base, d_base = EVERYWHERE[everywhere]
    near, d_near, _ = NEARBY[nearby]
    rng = np.random.default_rng(seed)
    x0 = scale * rng.uniform(0.3, 1, n) * rng.choice([-1, 1], n)
    w = width * max(scale, 1e-300)

    def f(x):
        return base(x) + slope * w * near((x - x0) / w)

    def right(x):
        return d_base(x) + slope * d_near((x - x0) / w)

    for gradient in (
        right,
        lambda x: right(x) * 1.01,
        lambda x: -right(x),
        lambda x: 0 * x,
        lambda x: d_base(x) + part * slope * d_near((x - x0) / w),  # 0: what is seen from afar
        lambda x: np.where(np.arange(n) == n // 2, 2, 1) * right(x),
    ):
        with np.errstate(all="ignore"):
            if np.isnan(gradient(x0)).any():
                continue
        options = dict(entries=entries, seed=seed)
        arguments = monkeypatch, f, x0, lambda u, x: u * gradient(x)
        said, _ = verdict(False, *arguments, **options)
        expected, _ = verdict(True, *arguments, **options)
        assert said == expected or said == "undecided" or off_by(gradient, right, x0) < 1e-6


def off_by(gradient, right, x):
    with np.errstate(all="ignore"):
        return np.abs(gradient(x) - right(x)).max() / np.abs(right(x)).max()


@given(
    st.sampled_from(sorted(set(NEARBY) - {"nothing", "ripple"})),
    st.floats(-9, -2.7),
    st.floats(-3, 3),
)
def test_a_look_sees_what_bends_a_line_nearby(nearby, width, slope):
    """By a slope of 1/1000 of the line or more, over a width of 1e-9 or more."""
    near, _, _ = NEARBY[nearby]
    assert look(Line(lambda h: h)) is not None
    bent = Line(lambda h: h + 10.0 ** (slope + width) * (near(h / 10.0**width) - near(0)))
    found = look(bent)
    assert found is None or abs(found.value - bent.slope(near, width, slope)) < 1e-6


class Line:
    """phi of one result, of size 1."""

    def __init__(self, phi):
        self.phi = phi

    def __call__(self, h):
        return float(1 + self.phi(h)) - 1

    def roundings(self):
        return 1.0, 0.0

    @staticmethod
    def slope(near, width, slope):
        t = 1e-6
        return 1 + 10.0**slope * (near(t) - near(-t)) / (2 * t)


def test_a_look_says_nothing_of_noise():
    rng = np.random.default_rng(0)
    for size in (1e-13, 1e-10, 1e-6):
        assert look(Line(lambda h: h + rng.normal() * size)) is None
    assert isinstance(look(Line(np.sin)), Look)


# ---- how many calls


def mlp(x, W, b, V):
    return nag.tanh(x @ W + b) @ V


RNG = np.random.default_rng(0)
CLEAR = {  # f and the shapes of its arguments
    "sin": (nag.sin, [(7,)]),
    "a number": (nag.exp, [()]),
    "product": (nag.matmul, [(4, 5), (5, 3)]),
    "softmax": (F.softmax, [(8, 10)]),
    "network": (mlp, [(6, 4), (4, 3), (3,), (3, 2)]),
    "many numbers": (nag.tanh, [(20_000,)]),
    "several results": (lambda x, y: (x * y, nag.sin(y)), [(5,), (5,)]),
    "a mean": (lambda x: nag.mean(x * x), [(50, 20)]),
}


@pytest.mark.parametrize("name", CLEAR)
def test_a_clear_answer_takes_few_calls(name):
    f, shapes = CLEAR[name]
    calls = 0

    def counted(*xs):
        nonlocal calls
        calls += 1
        return f(*xs)

    result = gradcheck(counted, [np.asarray(RNG.uniform(0.2, 1, s)) for s in shapes])
    assert result.calls == calls <= 24
    assert result.checks == len(shapes) and result.sharpness < 1e-6


def test_a_gradient_by_hand_takes_few_calls():
    x, y = RNG.uniform(0.5, 2, (2, 30))
    result = gradcheck(lambda x, y: x * y, [x, y], vjp=lambda u, x, y: (u * y, u * x))
    assert result.calls <= 24
    result = gradcheck(lambda x, y: x * x, [x, y], vjp=lambda u, x, y: (2 * u * x, None))
    assert result.calls <= 24  # of an argument that has no effect, too


def test_every_entry_by_itself_takes_few_calls_where_all_are_plain():
    x = RNG.uniform(0.5, 2, 1000)
    result = gradcheck(np.tanh, [x], vjp=lambda u, x: u * (1 - np.tanh(x) ** 2), entries=True)
    assert result.checks == 1000 and result.calls < 1000 and result.sharpness < 1e-6


@pytest.mark.parametrize("mistake", ["one entry", "small entry", "zero"])
@pytest.mark.parametrize("seed", range(3))
def test_every_entry_by_itself_finds_the_one_that_is_wrong(mistake, seed):
    x = np.random.default_rng(seed).uniform(0.5, 2, 300)
    x[17] = 1e-3

    def vjp(u, x):
        g = 2 * u * x
        g[17] *= {"one entry": 1.001, "small entry": 1 + 1e-4, "zero": 0}[mistake]
        return g

    with pytest.raises(GradientError) as failure:
        gradcheck(lambda x: x * x, [x], vjp=vjp, entries=True, seed=seed)
    assert failure.value.index == (17,) and not isinstance(failure.value, Inconclusive)


def test_one_argument_that_is_small_beside_others_is_not_lost():
    def f(a, b):
        return 1e12 * np.sin(a) + b**2

    def vjp(u, a, b, c=1.0):
        return 1e12 * u * np.cos(a), 2 * u * b * c

    a, b = RNG.uniform(0.5, 2, (2, 4))
    for c in (1.01, -1, 0):
        with pytest.raises(GradientError):
            gradcheck(f, [a, b], vjp=lambda u, a, b: vjp(u, a, b, c))


@pytest.mark.oracle
def test_a_function_of_pytorch_takes_few_calls():
    torch = pytest.importorskip("torch")
    x, W, b = (torch.tensor(RNG.standard_normal(s)) for s in ((6, 4), (4, 5), (5,)))
    assert gradcheck(lambda x: torch.tanh(x) * x, [x]).calls <= 24
    assert gradcheck(lambda x, W, b: torch.tanh(x @ W + b), [x, W, b]).calls <= 24
