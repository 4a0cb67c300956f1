"""kl_divergence: three ways to one gradient, PyTorch's distributions, an integral, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from second_order import second_order
from three_ways import agree, by_composition, by_hand, close, each_alone, walked

import nanoautograd as nag
from nanoautograd.manual import kl_divergence

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """mu, logvar, and a second distribution of any shape that broadcasts, or none."""
    rng = np.random.default_rng(draw(SEEDS))
    shape = (*draw(st.lists(st.integers(0, 3), max_size=2)), draw(st.integers(0, 4)))
    arrays = [rng.standard_normal(shape) for _ in range(2)]
    if not draw(st.booleans()):
        return arrays + [None, None]
    for _ in range(2):
        ones = [1 if draw(st.booleans()) else n for n in shape]
        arrays.append(rng.standard_normal(ones[draw(st.integers(0, len(shape) - 1)) :]))
    return arrays


@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(backend, arrays, seed):
    agree(backend, kl_divergence, arrays, seed)
    each_alone(backend, kl_divergence, arrays)


@pytest.mark.oracle
@given(cases())
def test_pytorch_computes_the_same(arrays):
    torch = pytest.importorskip("torch")
    y, cache = kl_divergence.forward(*arrays)
    g = np.asarray(np.random.default_rng(0).standard_normal(np.shape(y)))
    ts = [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    mu, logvar, nu, kappa = [torch.zeros(()) if t is None else t for t in ts]
    first, second = (
        torch.distributions.Normal(m, torch.exp(v / 2)) for m, v in ((mu, logvar), (nu, kappa))
    )
    ty = torch.distributions.kl_divergence(first, second).sum(-1)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-9, atol=1e-12)
    given = [t for t in ts if t is not None]
    wants = torch.autograd.grad(ty, given, torch.tensor(g))
    ds = [d for d in walked(arrays, kl_divergence.backward(g, cache)) if d is not None]
    for d, want in zip(ds, wants, strict=True):
        close(d, want.numpy(), "a gradient")


@pytest.mark.parametrize("mu, logvar, nu, kappa", [(0.3, -0.5, 0.0, 0.0), (1.0, 0.4, -0.5, 0.9)])
def test_it_is_the_integral_that_defines_it(backend, mu, logvar, nu, kappa):
    x = np.linspace(-12, 12, 20001)
    logp, logq = (
        -((x - m) ** 2) / (2 * np.exp(v)) - v / 2 - np.log(2 * np.pi) / 2
        for m, v in ((mu, logvar), (nu, kappa))
    )
    integral = np.sum(np.exp(logp) * (logp - logq)) * (x[1] - x[0])
    (y,), _, _ = by_hand(backend, kl_divergence, [np.array([a]) for a in (mu, logvar, nu, kappa)])
    np.testing.assert_allclose(y, integral, rtol=1e-9)
    if nu == kappa == 0:
        (y,), _, _ = by_hand(backend, kl_divergence, [np.array([mu]), np.array([logvar])])
        np.testing.assert_allclose(y, integral, rtol=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_distributions_have_none(backend, dtype):
    """Also where the variances are so small that their reciprocals overflow."""
    mu, logvar = np.array([[1.0, -3.0]], dtype), np.array([[-2000.0, 0.7]], dtype)
    (y,), _, ds = by_hand(backend, kl_divergence, [mu, logvar, mu, logvar])
    assert y == 0 and not any(d.any() for d in ds)
    near = np.array([1e-4, -1e-3, 1e-8], dtype)  # u²/4 + u³/12
    (y,), _, _ = by_hand(backend, kl_divergence, [0 * near[:, None], near[:, None]])
    np.testing.assert_allclose(y, near**2 / 4 + near**3 / 12, atol=5e-3 * np.finfo(dtype).eps)


@pytest.mark.filterwarnings("ignore:overflow")  # where the result is infinite
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(kappa=st.floats(-3000, 100), u=st.floats(-1, 1))
def test_equal_means_are_no_distance_at_any_variance(backend, dtype, kappa, u):
    """0 · ∞ is 0, and the second derivative by a mean is 1 / variance, perhaps infinite."""
    mu, logvar, nu, kappa = (np.array([a], dtype) for a in (1.0, kappa + u, 1.0, kappa))
    ratio = np.expm1(logvar - kappa)
    right = 0.5 * (ratio - (logvar - kappa))[0], [0.0], ratio / 2, [0.0], -ratio / 2
    (y,), gs, ds = by_hand(backend, kl_divergence, [mu, logvar, nu, kappa], [np.array(1.0, dtype)])
    (y2,), ds2 = by_composition(backend, kl_divergence, [mu, logvar, nu, kappa], gs)
    for found in ((y, *ds), (y2, *ds2)):
        for a, b in zip(found, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    x, *rest = (backend.tensor(a, requires_grad=a is mu) for a in (mu, logvar, nu, kappa))
    (d,) = nag.autograd.grad(kl_divergence.reference(x, *rest), [x], create_graph=True)
    (dd,) = nag.autograd.grad(d.sum(), [x])
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(backend.numpy(dd), np.exp(-kappa), rtol=2e-3)


def test_a_point_is_infinitely_far_from_a_density(backend):
    (y,), _, (dmu, dlogvar) = by_hand(
        backend, kl_divergence, [np.array([0.5]), np.array([-np.inf])], [np.array(1.0)]
    )
    assert y == np.inf and dmu == 0.5 and dlogvar == -0.5


def test_float32_stays_and_any_layout_will_do(backend):
    arrays = list(np.random.default_rng(0).standard_normal((4, 3, 5)))
    outs, gs, ds = by_hand(backend, kl_divergence, arrays)
    low, gs32 = ([a.astype("f") for a in some] for some in (arrays, gs))
    outs32, _, ds32 = by_hand(backend, kl_divergence, low, gs32)
    outs2, ds2 = by_composition(backend, kl_divergence, low, gs32)
    for a, b, c in zip(outs32 + ds32, outs2 + ds2, outs + ds, strict=True):
        close(a, c.astype("f"), "by hand")
        close(b, c.astype("f"), "reference")
    y, cache = kl_divergence.forward(*(backend.array(a.T.copy()).T for a in arrays))
    close(backend.numpy(y), outs[0], "a view")
    for d, want in zip(kl_divergence.backward(backend.array(np.repeat(gs[0], 2))[::2], cache), ds):
        close(backend.numpy(d), want, "a view")


@pytest.mark.parametrize("count", [2, 4])
def test_the_second_derivative_is_that_of_differences(backend, count):
    arrays = list(0.5 * np.random.default_rng(0).standard_normal((count, 3, 2)))
    second_order(backend, nag.functional.gaussian_kl_divergence, kl_divergence, arrays)


X = np.zeros((3, 2))


@pytest.mark.parametrize(
    "arrays, error, says",
    [
        ((X, X, X), ValueError, "both its mean"),
        ((X, X, None, X), ValueError, "both its mean"),
        ((X, X[0]), ValueError, r"mu \(3, 2\) float64, logvar \(2,\) float64"),
        ((X[0], X[0], X, X), ValueError, r"broadcast.*mu_2 \(3, 2\)"),
        ((X, X, X, np.zeros(3)), ValueError, r"logvar_2 \(3,\)"),
        ((np.zeros(()), np.zeros(())), ValueError, r"\(..., d\)"),
        ((X, X.astype("f")), TypeError, "one dtype.*float32"),
        ((X.astype(int), X.astype(int)), TypeError, "floating.*int64"),
    ],
)
def test_wrong_arguments_are_named(arrays, error, says):
    with pytest.raises(error, match=says):
        nag.functional.gaussian_kl_divergence(*arrays)
