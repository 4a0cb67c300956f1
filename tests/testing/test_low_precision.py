"""gradcheck in float32, float16 and bfloat16, beside a reference in float64."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.testing import CheckRefused, GradientError, Inconclusive, gradcheck

X = np.random.default_rng(0).standard_normal((40, 30))
W = np.random.default_rng(1).standard_normal((30, 20)) / 6
EPS = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def in_precision(a, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    return nag.Tensor(a.astype(dtype))


def wrong_where_narrow(change):
    """sin, of which the rule is right in float64 alone."""

    @nag.function
    def f(x):
        return np.sin(x.astype(np.float64)).astype(x.dtype)

    def rule(g, x):
        d = np.asarray(g, np.float64) * np.cos(np.asarray(x, np.float64))
        return (d if x.dtype == np.float64 else change(d)).astype(x.dtype)

    f.defvjp(x=rule)
    return f


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: nag.tanh(x @ w),
        lambda x, w: nag.functional.softmax(x @ w),
        lambda x, w: nag.functional.layer_norm(x, 30) @ w,
        lambda x, w: (nag.functional.gelu(x) @ w).sum(axis=0),
    ],
    ids=["tanh", "softmax", "layer_norm", "gelu"],
)
def test_right_gradients_pass_and_the_sharpness_is_that_of_the_precision(f, dtype):
    inputs = [in_precision(X, dtype), in_precision(W, dtype)]
    try:
        result = gradcheck(f, inputs, reference=f)
    except Inconclusive:
        assert dtype == "bfloat16"  # in which a factor of 1.01 is two roundings
    else:
        assert EPS[dtype] < result.sharpness <= 1e-2 and result.checks > 2


@pytest.mark.parametrize("dtype", EPS)
def test_a_factor_in_one_precision_alone_is_found(dtype):
    gradcheck(wrong_where_narrow(lambda d: d), [in_precision(X, dtype)], reference=nag.sin)
    factor = 1.01 if dtype == "bfloat16" else 1 + 16 * EPS[dtype]
    f = wrong_where_narrow(lambda d: d * factor)
    gradcheck(f, [X])  # right in float64
    with pytest.raises(GradientError, match=f"in {dtype}") as failure:
        gradcheck(f, [in_precision(X, dtype)], reference=f)
    assert failure.value.guess == "factor" and not isinstance(failure.value, Inconclusive)


@pytest.mark.parametrize("dtype", EPS)
def test_a_missing_term_in_one_precision_alone_is_found(dtype):
    def lacks_one(d):
        d = d.copy()
        d[3, 4] = 0
        return d

    f = wrong_where_narrow(lacks_one)
    with pytest.raises(GradientError) as failure:
        gradcheck(f, [in_precision(X, dtype)], reference=f)
    assert failure.value.index == (3, 4)


def test_a_wrong_reference_a_wrong_value_and_a_nan_are_found():
    x = in_precision(X, "float32")
    square = nag.function(lambda x: x * x).defvjp(x=lambda g, x: 3 * g * x)
    with pytest.raises(GradientError, match="wrong"):
        gradcheck(lambda x: x * x, [x], reference=square)
    with pytest.raises(GradientError, match="output 0 .* off by"):
        gradcheck(lambda x: x * x * 1.001, [x], reference=lambda x: x * x)
    f = wrong_where_narrow(lambda d: d * np.nan)
    with pytest.raises(GradientError):
        gradcheck(f, [x], reference=f)
    with pytest.raises(GradientError, match="shapes"):
        gradcheck(nag.sin, [x], reference=lambda x: nag.sin(x).sum())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_rounding_that_all_entries_share_is_no_mistake(dtype):
    def f(x):
        return nag.logsumexp(x.reshape(-1))

    for seed in range(6):
        x = in_precision(np.random.default_rng(seed).standard_normal(1000), dtype)
        gradcheck(shares_its_result(1.0), [x], reference=f)
        with pytest.raises(GradientError) as failure:
            gradcheck(shares_its_result(1.01), [x], reference=f)
        assert failure.value.guess == "factor"


def shares_its_result(factor):
    """logsumexp, of which the gradient is computed from the rounded result."""

    @nag.function
    def f(x):
        wide = np.asarray(x, np.float64)
        return np.asarray(np.log(np.exp(wide).sum()), x.dtype)

    def rule(g, out, x):
        return (factor * g * np.exp((np.asarray(x) - out).astype(np.float64))).astype(x.dtype)

    return f.defvjp(x=rule)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_gradient_by_hand_beside_a_reference(dtype):
    x, y = X.astype(dtype), (X + 0.5).astype(dtype)

    def product(x, y):
        assert x.dtype == y.dtype == dtype
        return x * y, x.sum(dtype="float64").astype(dtype)

    def check(change=lambda d: d, **options):
        def vjp(us, x, y):
            u, v = us
            assert u.dtype == v.dtype == dtype
            return change(u * y) + v, u * x

        return gradcheck(
            product, [x, y], vjp=vjp, reference=lambda x, y: (x * y, x.sum()), **options
        )

    assert EPS[dtype] < check().sharpness < 1e-2
    for wrong in (lambda d: d * x.dtype.type(1.01), lambda d: d * np.arange(30) / 30, np.abs):
        with pytest.raises(GradientError):
            check(wrong)
    kept = []

    def first(d):
        kept.append(d)
        return kept[0]

    with pytest.raises(GradientError):
        check(first)
    by_place = lambda d: np.ravel(d, order="K").reshape(d.shape)  # noqa: E731
    check(by_place, layouts=False)
    with pytest.raises(GradientError, match="by columns"):
        check(by_place)


def test_what_cannot_be_seen_is_inconclusive():
    f = nag.sin
    with pytest.raises(Inconclusive, match="factor of 1.0.* would not be seen in 3 numbers"):
        gradcheck(f, [in_precision(X[0, :3], "bfloat16")], reference=f)


def test_without_a_reference_it_is_refused():
    with pytest.raises(CheckRefused, match="float32.*reference"):
        gradcheck(nag.sin, [in_precision(X, "float32")])
    with pytest.raises(ValueError, match="first derivatives"):
        gradcheck(nag.sin, [in_precision(X, "float32")], reference=nag.sin, order=2)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", EPS)
def test_functions_of_torch_and_jax(dtype, jax_in_float64):
    torch, jnp = pytest.importorskip("torch"), jax_in_float64.numpy
    x = torch.tensor(X).to(getattr(torch, dtype))

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, u):
            (x,) = ctx.saved_tensors
            return u * x.cos() * (1 if x.dtype == torch.float64 else 1.03)

    gradcheck(torch.sin, [x], reference=torch.sin)
    with pytest.raises(GradientError, match=f"in {dtype}"):
        gradcheck(Planted.apply, [x], reference=Planted.apply)
    gradcheck(jnp.sin, [jnp.asarray(X, dtype)], reference=jnp.sin)
