"""Sums keep their digits, and squares their range: beside float64, and beside PyTorch."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, floating_dtypes

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.backends import scatter_add
from nanoautograd.backends.sums import (
    column_dots,
    column_sums,
    row_dots,
    row_sums,
    summed,
    total,
    unbroadcast,
)
from nanoautograd.interface.array_interface import array_of
from nanoautograd.optim import SGD, Adam, AdamW, AveragedModel, clip_grad_norm_

DTYPES = {
    name: np.dtype(kind)
    for name, kind in {
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "float32": np.float32,
        "float64": np.float64,
    }.items()
}
SHORT = ["float16", "bfloat16"]
EPS = {name: float(ml_dtypes.finfo(dtype).eps) for name, dtype in DTYPES.items()}
SEEDS = st.integers(0, 2**32 - 1)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_short = pytest.mark.parametrize("dtype", SHORT)


def exact(x):
    return np.asarray(x).astype(np.longdouble)


def near(found, wanted, dtype, size=1.0, times=1.0):
    """But for one rounding, and for what sums of float32 or float64 lose."""
    found, wanted = exact(found), exact(wanted)
    lost = 1e-6 if dtype != "float64" else 1e-14
    assert found.shape == wanted.shape
    np.testing.assert_array_less(
        np.abs(found - wanted), EPS[dtype] * np.abs(wanted) + times * lost * size + 1e-300
    )


def gradient(f, x):
    return np.asarray(nag.grad(f)(x).data)


def weights(shape):
    """Cotangents that every dtype holds."""
    return np.round(8 * np.cos(np.arange(math.prod(shape)))).reshape(shape) / 8


# ---- sums


@st.composite
def laid_out(draw, dtype):
    """An array in any order of memory, with gaps, reversed, or repeated; and axes."""
    shape = draw(st.sampled_from([(), (0, 3), (3, 0), (40,), (1300,), (70, 3), (3, 70), (130, 9)]))
    shape = draw(st.sampled_from([shape, (2, 60, 5), (45, 2, 4), (4, 33, 1, 7), (900, 2)]))
    rng = np.random.default_rng(draw(SEEDS))
    equal = draw(st.booleans())
    x = np.full(shape, rng.uniform(1, 2)) if equal else rng.standard_normal(shape)
    x = x.astype(DTYPES[dtype])
    kind = draw(st.sampled_from(["as it is", "transposed", "gaps", "reversed", "repeated"]))
    if kind == "transposed":
        x = np.ascontiguousarray(x.transpose(rng.permutation(x.ndim))).T
    if kind == "gaps":
        x = np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x
    if kind == "reversed":
        x = x[(slice(None, None, -1),) * x.ndim]
    if kind == "repeated":
        x = np.broadcast_to(x, (50, *x.shape))
    axes = draw(st.lists(st.integers(0, x.ndim - 1), unique=True)) if x.ndim else []
    return x, draw(st.sampled_from([None, tuple(axes), *axes[:1]]))


@each_dtype
def test_sums_of_any_layout(dtype):
    @given(laid_out(dtype), st.booleans())
    def check(drawn, keepdims):
        x, axis = drawn
        size = np.abs(exact(x)).sum(axis=axis, keepdims=keepdims)
        wanted = exact(x).sum(axis=axis, keepdims=keepdims)
        for found in (summed(x, axis, keepdims), nag.sum(x, axis, keepdims=keepdims)):
            near(found, wanted, dtype, size)
        assert nag.sum(x, axis).dtype == x.dtype
        n = max(1, x.size // max(1, wanted.size))
        if x.size:
            near(nag.mean(x, axis, keepdims=keepdims), wanted / n, dtype, size / n)

    check()


@each_dtype
def test_what_is_not_finite_stays_in_its_column(dtype):
    x = np.ones((1000, 5), DTYPES[dtype])
    x[17, 1], x[500, 2], x[3, 3], x[999, 3] = np.inf, np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        for found in (nag.sum(x, 0), nag.sum(x.T.copy(), 1), unbroadcast(x, (5,)), column_sums(x)):
            np.testing.assert_array_equal(found.astype(float), [1000, np.inf, np.nan, np.nan, 1000])


@pytest.mark.parametrize("M, N", [(10**6, 2), (10**5, 7), (3000, 64), (300, 700), (25, 9), (7, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_equal_numbers_keep_their_digits(M, N, dtype):
    """The worst that there is for a sum: each rounding goes the same way."""
    for value in (123.4, 0.1, 1.7):
        x = np.full((M, N), value, dtype)
        per_row, per_column = (exact(x[0, 0]) * n for n in (N, M))
        for found in (unbroadcast(x, (N,)), column_sums(x), column_dots(np.ones(M, dtype), x)):
            near(found, np.full(N, per_column), dtype, size=per_column)
        near(row_sums(np.ascontiguousarray(x.T)), np.full(N, per_column), dtype, size=per_column)
        near(row_dots(x, x), np.full(M, per_row * x[0, 0]), dtype, size=per_row * value)
        assert nag.std(x, axis=0).max() <= 4 * EPS[dtype] * value
        assert nag.std(x) <= 4 * EPS[dtype] * value


def test_more_ones_than_float32_counts():
    n = (1 << 24) + 2**10
    x = np.ones((n, 2), np.float32)
    for repeated in (x, np.broadcast_to(x[0], x.shape)):
        assert (unbroadcast(repeated, (2,)) == n).all()
        assert (nag.sum(repeated, 0) == n).all() and (nag.mean(repeated, 0) == 1).all()
    assert nag.cumsum(x[:, 0])[-1] == n
    buffer = np.zeros(2, np.float32)
    scatter_add(buffer, np.zeros(n, np.int8), x[:, 0])
    assert buffer[0] == n


@each_dtype
def test_sums_of_many_blocks_keep_their_digits(dtype):
    blocks = [np.full(3, 0.1, DTYPES[dtype])] * 1000
    near(total(blocks), np.full(3, exact(blocks[0][0]) * 1000), dtype, size=100)


@each_short
def test_a_bias_over_many_rows(dtype, backend):
    x = backend.tensor(np.ones((4096, 2), DTYPES[dtype]))
    for f in (
        lambda b: x + b,
        lambda b: F.linear(x, backend.tensor(np.ones((2, 2), DTYPES[dtype])), b),
        lambda b: F.gelu(x * 0 + 100, bias=b),
    ):
        b = backend.tensor(np.zeros(2, DTYPES[dtype]), requires_grad=True)
        f(b).sum().backward()
        assert b.grad.dtype == DTYPES[dtype]
        np.testing.assert_array_equal(backend.numpy(b.grad), 4096)


@each_short
def test_70_000_equal_numbers(dtype, backend):
    x = backend.tensor(np.ones(70_000, DTYPES[dtype]), requires_grad=True)
    y = nag.mean(x)
    y.backward()
    assert float(y.detach().numpy() if backend.name == "numpy" else backend.numpy(y)) == 1
    near(backend.numpy(x.grad), np.full(70_000, 1 / 70_000), dtype, size=0.1)


@each_short
def test_an_index_that_repeats(backend, dtype):
    zeros, ones = (backend.array(np.full(4096, i)) for i in (0, 1))
    values = backend.array(np.ones(4096, DTYPES[dtype]))
    buffer = backend.array(np.zeros(2, DTYPES[dtype]))
    scatter_add(buffer, zeros, values)
    assert backend.numpy(buffer)[0] == 4096
    buffer = backend.array(np.zeros((2, 3), DTYPES[dtype]))
    scatter_add(buffer, (zeros, ones), values)
    assert backend.numpy(buffer)[0, 1] == 4096


@pytest.mark.parametrize("shape", [(3,), (10**6,), (3, 2), (2, 10**6)])
@pytest.mark.parametrize("kind", ["zeros", "few"])
def test_an_index_that_repeats_often_keeps_its_digits(shape, kind):
    n = 300_000
    i = np.zeros(n, int) if kind == "zeros" else np.arange(n) % 3
    x = nag.Tensor(np.ones(shape, np.float32), requires_grad=True)
    index = (i,) if len(shape) == 1 else (np.ones((), int), i // 2)
    (x[index] * np.float32(123.4)).sum().backward()
    exact = np.zeros(shape)
    np.add.at(exact, index, float(np.float32(123.4)))
    np.testing.assert_allclose(x.grad.numpy(), exact, rtol=1e-6)


# ---- 16 bits: as float64 computes it, rounded

TARGETS = np.array([1, 0, 5, 2, 2, 3, 0])
ON_ROWS = {
    "sum": lambda x: nag.sum(x, 1),
    "mean": lambda x: nag.mean(x, 0),
    "var": lambda x: nag.var(x, 1),
    "std": lambda x: nag.std(x, 1),
    "norm": lambda x: nag.norm(x, axis=1),
    "norm of order 3": lambda x: nag.norm(x, 3, 0),
    "logsumexp": lambda x: nag.logsumexp(x, 1),
    "cumsum": lambda x: nag.cumsum(x, 1),
    "softmax": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1]),
    "rms_norm": lambda x: F.rms_norm(x, x.shape[-1], eps=1e-5),
    "cross_entropy": lambda x: F.cross_entropy(x, TARGETS),
    "cross_entropy, smoothed": lambda x: F.cross_entropy(x, TARGETS, label_smoothing=0.1),
    "kl": lambda x: F.gaussian_kl_divergence(x, -x),
    "einsum": lambda x: nag.einsum("ij,ij->j", x, x),
    "silu": lambda x: F.silu(x),
}


@each_short
@pytest.mark.parametrize("name", ON_ROWS)
def test_16_bits_give_what_float64_gives(name, dtype):
    """Large numbers, whose squares are beyond float16, and long rows."""

    @settings(max_examples=settings.default.max_examples // 5)
    @given(SEEDS, st.sampled_from([6, 500, 3000]), st.sampled_from([1.0, 30.0, 300.0]))
    def check(seed, n, scale):
        rng = np.random.default_rng(seed)
        x = (scale * rng.standard_normal((7, n))).astype(DTYPES[dtype])
        if name in ("kl", "var", "einsum"):  # squares and exponentials, which float16 has to hold
            x = (x / 64).astype(DTYPES[dtype])
        results = []
        for a in (x, x.astype(float)):
            t = nag.Tensor(a, requires_grad=True)
            y = ON_ROWS[name](t)
            y.backward(nag.Tensor(weights(y.shape).astype(a.dtype)))
            results.append((y.detach().data, t.grad.data))
            assert y.dtype == t.grad.dtype == a.dtype
        for found, wanted in zip(*results):
            size = np.abs(wanted).max()
            finite = np.abs(wanted) < 65000  # more than float16 holds
            np.testing.assert_allclose(
                found.astype(float)[finite], wanted[finite], rtol=0, atol=8 * EPS[dtype] * size
            )

    check()


@each_short
def test_a_loss_that_is_a_difference_of_large_numbers(dtype):
    rng = np.random.default_rng(0)
    scores = [rng.standard_normal(shape) for shape in ((40, 3, 5), (5, 5), (5,), (5,))]
    scores = [a.astype(DTYPES[dtype]) for a in scores]
    tags = rng.integers(0, 5, (40, 3))

    def loss(*scores):
        return F.crf_loss(scores[0], tags, *scores[1:])

    found, wanted = loss(*scores), loss(*[a.astype(float) for a in scores])
    assert found.dtype == DTYPES[dtype]
    np.testing.assert_allclose(float(found), wanted, rtol=EPS[dtype])
    ds = nag.grad(loss, (0, 1, 2, 3))(*scores)
    assert {d.dtype for d in ds} == {DTYPES[dtype]}


@each_short
def test_attention_of_large_scores(dtype):
    """Its gradients are those of float64 but for a rounding: scores are not rounded."""
    rng = np.random.default_rng(0)
    q, k, v, g = (9 * rng.standard_normal((2, 70, 16)) for _ in range(4))
    short = [a.astype(DTYPES[dtype]) for a in (q, k, v, g)]

    def gradients(q, k, v, g):
        ts = [nag.Tensor(a, requires_grad=True) for a in (q, k, v)]
        y = F.scaled_dot_product_attention(*ts, is_causal=True)
        y.backward(nag.Tensor(g))
        return [y.detach().data, *(t.grad.data for t in ts)]

    for found, wanted in zip(gradients(*short), gradients(*[a.astype(float) for a in short])):
        size = np.abs(wanted).max()
        np.testing.assert_allclose(found.astype(float), wanted, rtol=0, atol=EPS[dtype] * size)


def test_rows_beyond_the_squares_of_float16():
    x = np.array([[300, 100, -200, 50]], np.float16)
    np.testing.assert_allclose(F.rms_norm(x, 4), [[1.59, 0.53, -1.06, 0.265]], rtol=2e-3)
    np.testing.assert_allclose(F.layer_norm(x, 4)[0, 0], 1.334, rtol=2e-3)
    assert nag.std(np.array([0, 1000], np.float16)) == nag.norm(np.float16([300, 400])) == 500
    d = gradient(lambda x: F.layer_norm(x, 4).sum(), np.full((1, 4), 5, np.float16))
    np.testing.assert_array_equal(d, 0)


@each_short
@pytest.mark.parametrize("second", [F.layer_norm, F.rms_norm])
def test_second_derivatives_in_16_bits_are_those_of_float64(dtype, second):
    x = np.array([[300, 100, -200, 50]])

    def slope(x, w):
        d = nag.grad(lambda x: (second(x, 4) * w).sum())(x)
        return (d * w).sum() * 1e4

    found, wanted = (
        nag.grad(slope)(x.astype(a), np.arange(4).astype(a)).data.astype(float)
        for a in (DTYPES[dtype], np.float64)
    )
    np.testing.assert_allclose(found, wanted, atol=0.05 * np.abs(wanted).max())


# ---- squares out of range

ANY_SCALE = {
    "std": lambda x: nag.std(x, -1),
    "norm": lambda x: nag.norm(x, axis=-1),
    "norm of order 3": lambda x: nag.norm(x, 3, -1),
    "norm of order 1/2": lambda x: nag.norm(x, 0.5, -1),
    "norm of order -1": lambda x: nag.norm(x, -1, -1),
    "mean": lambda x: nag.mean(x, -1),
}
NO_SCALE = {
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1], eps=0.0),
    "rms_norm": lambda x: F.rms_norm(x, x.shape[-1], eps=0.0),
    "layer_norm + x": lambda x: F.layer_norm(x / 2, x.shape[-1], eps=0.0, residual=x / 2),
}


@pytest.mark.parametrize("dtype, most", [("float32", 120), ("float64", 1000)])
@pytest.mark.parametrize("name", [*ANY_SCALE, *NO_SCALE])
def test_a_factor_of_any_size(name, dtype, most):
    """f(s x) = s f(x), and the gradient is the same; or f(s x) = f(x), and it is divided by s."""
    f, rng = {**ANY_SCALE, **NO_SCALE}[name], np.random.default_rng(0)

    @given(st.integers(-most, most))
    def check(exponent):
        x = rng.uniform(0.5, 2.0, (3, 7)).astype(dtype) * [[1], [-1], [1]]
        x, w = x.astype(dtype), rng.standard_normal((3, 7)).astype(dtype)
        s = np.asarray(2.0**exponent, dtype)

        def loss(x):
            y = f(x)
            return (y * (w if y.ndim == 2 else w[:, 0])).sum()

        y, d = f(x), gradient(loss, x)
        y_s, d_s = f(s * x), gradient(loss, s * x)
        y_s, d_s = (y_s / s, d_s) if name in ANY_SCALE else (y_s, d_s * s)
        tolerance = 30 * EPS[dtype]
        np.testing.assert_allclose(y_s, y, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(d_s, d, rtol=10 * tolerance, atol=10 * tolerance)

    check()


@pytest.mark.parametrize("f", [nag.norm, nag.std, lambda x: nag.norm(x[None], axis=1).sum()])
@pytest.mark.parametrize("factor", [1e-200, 1e-150, 1e-100, 1.0, 1e100, 1e150])
def test_second_derivatives_at_any_scale(f, factor):
    """They are 1/factor times those at 1."""
    x = np.array([3.0, 4.0, -1.0])
    expected = nag.hessian(f)(x).numpy() / factor
    np.testing.assert_allclose(nag.hessian(f)(x * factor).numpy(), expected, rtol=1e-9)


def test_the_slope_of_a_large_deviation():
    x = np.float32([2.0**126, -(2.0**126)] * 500)
    d = gradient(nag.std, x)
    np.testing.assert_allclose(d, np.sign(x) / 1000, rtol=1e-6)
    d = gradient(nag.norm, x[:2])
    np.testing.assert_allclose(d, np.sign(x[:2]) * 0.5**0.5, rtol=1e-6)


def test_variance_whose_sum_is_out_of_range():
    x = np.float32([1e19, -1e19] * 8)
    np.testing.assert_allclose(nag.var(x), 1e38, rtol=1e-6)
    np.testing.assert_allclose(nag.mean(np.full(9, 3e38, np.float32)), 3e38, rtol=1e-6)


@given(arrays(floating_dtypes(sizes=(32, 64), endianness="="), st.integers(1, 30)))
def test_norms_of_any_numbers_are_exact(x):
    """Beside a norm that is computed exactly; infinite and NaN as in NumPy."""
    with np.errstate(all="ignore"):
        found = nag.norm(x)
        if not np.isfinite(x).all():
            np.testing.assert_array_equal(np.isnan(found), np.isnan(np.linalg.norm(x)))
            assert not np.isfinite(found)
            return
        wanted = math.hypot(*x.tolist())
        if wanted < np.finfo(x.dtype).max:
            tiny = float(np.finfo(x.dtype).smallest_subnormal)
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=2 * tiny)
            d = gradient(nag.norm, x)
            assert np.isfinite(d).all() and abs(math.hypot(*d.tolist()) - (wanted > 0)) < 0.2


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_clipping_at_any_scale(dtype, p, backend):
    largest = float(np.finfo(dtype).max)
    for scale in (largest / 8, 1.0, float(np.finfo(dtype).tiny) * 1e4):
        gs = [np.array([3, 4], dtype) / 4, np.array([[1]], dtype)]
        gs = [(g * scale).astype(dtype) for g in gs]
        ws = [backend.tensor(np.zeros_like(g), requires_grad=True) for g in gs]
        for w, g in zip(ws, gs):
            w.grad = backend.tensor(g)
        flat = np.concatenate([g.ravel() for g in gs]).astype(float) / scale
        wanted = np.linalg.norm(flat, p) * scale
        norm = clip_grad_norm_(ws, float(wanted) / 2, norm_type=p)
        np.testing.assert_allclose(float(backend.numpy(norm)), wanted, rtol=1e-3)
        if scale > 1e-5:  # PyTorch's 1e-6, which is added to the norm, is as much there
            for w, g in zip(ws, gs):
                found = backend.numpy(w.grad).astype(float) / scale
                np.testing.assert_allclose(found, g.astype(float) / scale / 2, rtol=3e-3)


# ---- edges


@pytest.mark.parametrize("p", [0.5, -0.5, -1, -2, 1, 1.5, 3, math.inf, -math.inf, 0])
@pytest.mark.parametrize("x", [[0.0, 0.0], [0.0, 1.0], [2.0, 0.0, -3.0]])
def test_the_slope_of_a_norm_at_0_is_0(p, x, backend):
    t = backend.tensor(x, requires_grad=True)
    with np.errstate(all="ignore"):
        nag.norm(t, p).backward() if p else None
        value = backend.numpy(nag.norm(t.detach(), p))
        wanted = np.linalg.norm(np.array(x), p)
    np.testing.assert_allclose(value, wanted)
    if p:
        d = backend.numpy(t.grad)
        assert np.isfinite(d).all() and not d[np.array(x) == 0].any()


@pytest.mark.parametrize("p", [-0.5, -1, -2])
def test_norms_of_negative_order_of_infinite_numbers_or_none(p):
    with np.errstate(all="ignore"):
        assert nag.norm(np.array([math.inf, math.inf]), p) == math.inf
        assert nag.norm(np.array([]), p) == math.inf


@pytest.mark.parametrize("b", [0, 0.0, np.zeros(3)])
def test_the_slope_of_a_power_0_is_0(b, backend):
    x = backend.tensor([np.inf, -np.inf, np.nan], requires_grad=True)
    b = backend.array(b) if isinstance(b, np.ndarray) else b
    (x**b).sum().backward()
    np.testing.assert_array_equal(backend.numpy(x.grad), 0)


@given(st.floats(-(2.0**127), 2.0**127, width=32), st.integers(1, 6))
def test_the_gradient_of_logsumexp_adds_up_to_1(value, n):
    d = gradient(nag.logsumexp, np.full(n, value, np.float32))
    np.testing.assert_allclose(d, 1 / n, rtol=1e-6)


# ---- optimisers


@each_short
@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_a_step_is_that_of_float64_rounded(dtype, kind):
    rng, steps = np.random.default_rng(0), []
    theta, gs = rng.standard_normal(50), 300 * rng.standard_normal((8, 50))
    for a in (DTYPES[dtype], np.dtype(float)):
        w = nag.Tensor(theta.astype(DTYPES[dtype]).astype(a), requires_grad=True)
        options = {"momentum": 0.9} if kind is SGD else {}
        optimizer = kind([w], lr=1e-4, **options)
        w.grad = nag.Tensor(gs[0].astype(DTYPES[dtype]).astype(a))
        optimizer.step()
        steps.append(w.data.astype(float))
    np.testing.assert_allclose(*steps, rtol=0, atol=EPS[dtype] * np.abs(steps[1]).max())


@each_short
def test_moments_that_move_by_less_than_a_digit(dtype):
    """The mean of a thousand squares of 1 is 1 - 0.999¹⁰⁰⁰; in bfloat16 it would stop at 0.25."""
    w = nag.Tensor(np.zeros(3, DTYPES[dtype]), requires_grad=True)
    optimizer = Adam([w], lr=0.0)
    for _ in range(1000):
        w.grad = nag.Tensor(np.ones(3, DTYPES[dtype]))
        optimizer.step()
    np.testing.assert_allclose(optimizer.state[0]["exp_avg_sq"], 1 - 0.999**1000, rtol=1e-3)
    again = Adam([w], lr=0.0)
    again.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(again.state[0]["exp_avg_sq"], optimizer.state[0]["exp_avg_sq"])


@each_short
def test_an_average_that_moves_by_less_than_a_digit(dtype):
    model = nag.nn.Linear(2, 1)
    for p in model.parameters():
        p.data = np.zeros(p.shape, DTYPES[dtype])
    average = AveragedModel(model, 0.999)
    average.update()
    for p in model.parameters():
        p.data = np.ones(p.shape, DTYPES[dtype])
    for _ in range(100):
        average.update()
    for a in average.averages.values():
        np.testing.assert_allclose(a, 1 - 0.999**100, rtol=1e-3)
    with average.applied():
        assert {p.dtype for p in model.parameters()} == {DTYPES[dtype]}


# ---- PyTorch

REDUCTIONS = {
    "sum": (nag.sum, lambda torch, x, axis: x.sum(axis)),
    "mean": (nag.mean, lambda torch, x, axis: x.mean(axis)),
    "var": (nag.var, lambda torch, x, axis: x.var(axis, correction=0)),
    "std": (nag.std, lambda torch, x, axis: x.std(axis, correction=0)),
    "norm": (
        lambda x, axis: nag.norm(x, axis=axis),
        lambda torch, x, axis: torch.linalg.vector_norm(x, dim=axis),
    ),
    "logsumexp": (nag.logsumexp, lambda torch, x, axis: torch.logsumexp(x, axis)),
    "softmax": (F.softmax, lambda torch, x, axis: torch.softmax(x, axis)),
    "log_softmax": (F.log_softmax, lambda torch, x, axis: torch.log_softmax(x, axis)),
}


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_pytorch_computes_the_same(name, dtype):
    torch = pytest.importorskip("torch")
    ours, theirs = REDUCTIONS[name]
    accuracy = max(4 * EPS[dtype], 1e-5)  # in float32 it adds one after the other, too

    @settings(max_examples=settings.default.max_examples // 5)
    @given(SEEDS, st.sampled_from([(30, 4), (4, 900), (2000, 2)]), st.sampled_from([0, 1]))
    def check(seed, shape, axis):
        x = (3 * np.random.default_rng(seed).standard_normal(shape)).astype(DTYPES[dtype])
        t = torch.tensor(x.astype(np.float32)).to(getattr(torch, dtype)).requires_grad_()
        y, u = theirs(torch, t, axis), nag.Tensor(x, requires_grad=True)
        z = ours(u, axis)
        z.backward(nag.Tensor(weights(z.shape).astype(z.dtype)))
        y.backward(torch.tensor(weights(z.shape)).to(y.dtype))
        for found, wanted in ((z.detach().data, y.detach()), (u.grad.data, t.grad)):
            wanted = wanted.float().numpy()
            np.testing.assert_allclose(
                found.astype(np.float32), wanted, rtol=0, atol=accuracy * abs(wanted).max()
            )

    check()


# ---- longdouble, which no function may take for a shorter one


def of_float64(f, x, unit):
    """Value and gradient of f at x, in longdouble and in float64; f is homogeneous of degree 1 if
    unit is not 1."""
    long = np.asarray(x, np.longdouble) * unit
    return (f(long), gradient(f, long)), (f(np.asarray(x)) * unit, gradient(f, np.asarray(x)))


LONG = np.finfo(np.longdouble)
longer_than_float64 = pytest.mark.skipif(LONG.max == np.finfo(float).max, reason="it is float64")


@longer_than_float64
@pytest.mark.parametrize("power", [0, 2000, -2000])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: nag.cumsum(x)[-1],
        lambda x: F.layer_norm(x, (3,), eps=0.0)[0] * array_of(x).max(),
        lambda x: F.rms_norm(x, (3,), eps=0.0)[0] * array_of(x).max(),
        lambda x: nag.norm(x),
        lambda x: nag.std(x),
    ],
)
def test_longdouble_has_its_range(f, power):
    found, wanted = of_float64(f, [3.0, 1.0, 4.0], np.longdouble(10) ** power)
    for a, b in zip(found, wanted):
        assert array_of(a).dtype == np.longdouble
        np.testing.assert_allclose(array_of(a) / array_of(b), 1, rtol=1e-14)


@pytest.mark.parametrize("f", [nag.erf, F.gelu, F.silu, nag.cumsum, nag.sigmoid, nag.softplus])
@given(x=arrays(np.float64, 3, elements=st.floats(-9, 9)))
def test_longdouble_has_the_digits_of_float64(f, x):
    found, wanted = of_float64(lambda x: nag.sum(f(x)), x, 1)
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(array_of(a).astype(float), array_of(b), rtol=1e-13, atol=1e-14)


@longer_than_float64
@pytest.mark.parametrize(
    "f, wanted",
    [
        (lambda x: nag.sum(x, 0), lambda x, g: (x.sum(0), np.broadcast_to(g, x.shape))),
        (lambda x: nag.mean(x, 0), lambda x, g: (x.mean(0), np.broadcast_to(g / len(x), x.shape))),
        (lambda x: nag.cumsum(x, 0)[-1], lambda x, g: (x.sum(0), np.broadcast_to(g, x.shape))),
        (lambda x: x @ np.ones((2, 1), x.dtype), lambda x, g: (x.sum(1)[:, None], g + 0 * x)),
        # An element that is broadcast or read often gets the sum.
        (
            lambda x: x * 0 + x[0],
            lambda x, g: (x * 0 + x[0], np.where(np.arange(len(x))[:, None] == 0, g.sum(0), 0)),
        ),
        (
            lambda x: x[np.zeros(len(x), int)],
            lambda x, g: (x * 0 + x[0], np.where(np.arange(len(x))[:, None] == 0, g.sum(0), 0)),
        ),
    ],
    ids="sum mean cumsum matmul broadcast index".split(),
)
@given(st.integers(1, 200), SEEDS)
def test_longdouble_keeps_its_digits(f, wanted, n, seed):
    def drawn(shape):
        return rng.integers(-9, 9, shape) + rng.random(shape).astype(np.longdouble) / 2**40

    rng = np.random.default_rng(seed)
    x = nag.Tensor(drawn((n, 2)), requires_grad=True)
    y = f(x)
    g = drawn(y.shape)
    (d,) = nag.autograd.grad(y, x, g)
    for found, exact in zip((y, d), wanted(x.data, g)):
        assert found.dtype == np.longdouble
        np.testing.assert_allclose(found.detach().data, exact, rtol=0, atol=100 * n * LONG.eps)


@longer_than_float64
@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 3)), SEEDS)
def test_equal_elements_share_a_gradient_of_longdouble(x, seed):
    g = np.random.default_rng(seed).random(x.size).astype(np.longdouble) / 3
    t = nag.Tensor(x.astype(np.longdouble), requires_grad=True)
    (d,) = nag.autograd.grad(nag.sort(t), t, g)
    at = np.sort(x)
    wanted = [g[at == value].mean() for value in x]
    np.testing.assert_allclose(d.data, wanted, rtol=64 * LONG.eps)


# ---- counts and products that 16 bits cannot hold


@each_short
@pytest.mark.parametrize("f", [nag.max, nag.min])
@given(st.integers(60_000, 200_000), st.sampled_from([1.0, 60_000.0]))
def test_many_equal_elements_share_a_gradient_of_16_bits(dtype, f, n, g):
    x = nag.Tensor(np.zeros(n, DTYPES[dtype]), requires_grad=True)
    f(x).backward(DTYPES[dtype].type(g))
    near(x.grad.data[:2], np.full(2, g / n), dtype)


@each_short
@given(arrays(np.int64, st.integers(1, 12), elements=st.integers(-12, 12)), SEEDS)
def test_products_may_leave_the_range_of_16_bits_on_their_way(dtype, powers, seed):
    sign = np.random.default_rng(seed).choice([-1.0, 1.0], powers.size)
    x = (sign * 2.0**powers).astype(DTYPES[dtype])
    wanted = np.prod(x.astype(float))
    if abs(np.log2(abs(wanted))) < 14:
        near(nag.prod(x), wanted, dtype)
        if (powers <= 0).all():
            near(
                gradient(nag.prod, x),
                wanted / x.astype(float),
                dtype,
                size=abs(wanted / x.astype(float)).max(),
            )


@pytest.mark.parametrize("name", SHORT)
def test_a_trace_is_added_in_float32(name):
    """Of an array and of a Tensor: more ones than the dtype counts."""
    x = np.eye(4000).astype(DTYPES[name])
    assert float(nag.trace(x)) == float(nag.trace(nag.Tensor(x)).data) == 4000


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_gradient_of_a_square_is_in_range_where_twice_the_number_is_not(name):
    largest = np.finfo(name).max
    x = nag.Tensor(np.array([largest, 1.0], name), requires_grad=True)
    with np.errstate(over="ignore"):
        nag.square(x).backward(np.array([0.25, 1.0], name))
    np.testing.assert_array_equal(x.grad.data, np.array([largest / 2, 2.0], name))
