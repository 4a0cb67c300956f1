"""layer_norm: three ways to one gradient, a plain formula, PyTorch, and bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from second_order import second_order
from three_ways import (
    agree,
    by_composition,
    by_hand,
    close,
    each_alone,
    each_form,
    each_form_on_numpy,
    forms,
    same_by_blocks,
    walked,
)

import nanoautograd as nag
from nanoautograd import functional as F

EACH = each_form("layer_norm")
ON_NUMPY = each_form_on_numpy("layer_norm")
IN_BLOCKS = each_form_on_numpy("layer_norm", where=["cpu"])

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """Inputs with one to three axes, of which the last ones are normalised, perhaps after something
    is added; zero sizes too."""
    rng = np.random.default_rng(draw(SEEDS))
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    last = shape[draw(st.integers(0, len(shape) - 1)) :]
    x = rng.standard_normal(shape)
    weight, bias = ([None, rng.standard_normal(last)][draw(st.booleans())] for _ in range(2))
    residual = rng.standard_normal(shape) if draw(st.booleans()) else None
    # ε is large here, so that rows of nearly equal numbers are smooth for finite differences.
    return [x, weight, bias, residual], {
        "normalized_shape": last,
        "eps": 0.1,
        "return_sum": residual is not None and draw(st.booleans()),
    }


@EACH
@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed
):
    arrays, options = case
    agree(backend, module, arrays, seed, **options)


@IN_BLOCKS
@given(cases())
def test_blocks_give_the_same_numbers(module, case):
    arrays, options = case
    same_by_blocks(module, arrays, **options)


@EACH
@given(cases())
def test_only_what_is_needed(backend, module, case):
    arrays, options = case
    each_alone(backend, module, arrays, **options)


@EACH
@given(cases())
def test_rows_have_mean_0_and_variance_1(backend, module, case):
    (x, *_), options = case
    N = np.prod(options["normalized_shape"], dtype=int)
    if N < 2 or not x.size:
        return
    (y,), _, _ = by_hand(
        backend, module, [x], normalized_shape=options["normalized_shape"], eps=0.0
    )
    rows = y.reshape(-1, N)
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(rows.var(axis=1), 1, rtol=1e-12)


@ON_NUMPY
@pytest.mark.oracle
@given(cases())
def test_pytorch_computes_the_same(module, case):
    torch = pytest.importorskip("torch")
    arrays, options = case
    y, cache = module.forward(*arrays, **{**options, "return_sum": False})
    g = np.random.default_rng(0).standard_normal(y.shape)
    ts = [a if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    tx, weight, bias, residual = ts
    ty = torch.nn.functional.layer_norm(
        tx if residual is None else tx + residual,
        options["normalized_shape"],
        weight,
        bias,
        eps=0.1,
    )
    close(y, ty.detach().numpy(), "the output")
    given = [t for t in ts if t is not None]
    wants = iter(torch.autograd.grad(ty, given, torch.tensor(g), allow_unused=True))
    for a, d in zip(arrays, walked(arrays, module.backward(g, cache)), strict=True):
        if a is None:
            assert d is None
        elif (want := next(wants)) is not None:  # PyTorch has none for some empty inputs
            close(d, want.numpy(), "a gradient")


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_numbers_and_a_large_mean(backend, module, dtype):
    """A row of equal numbers is all zeros; a mean of 4096 takes no digits from the deviations."""
    x = np.array([[7, 7, 7], [4096, 4097, 4098]], dtype)
    (y,), _, (dx, *_) = by_hand(backend, module, [x], normalized_shape=(3,))
    assert y.dtype == dx.dtype == dtype and np.isfinite(dx).all()
    np.testing.assert_array_equal(y[0], 0)
    a = 1 / np.sqrt(2 / 3 + 1e-5)
    np.testing.assert_allclose(y[1], [-a, 0, a], rtol=1e-6, atol=1e-12)


@EACH
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e25, 1e35])
def test_equal_numbers_of_any_size(backend, module, size):
    """Also beside a row of others. The slope there is 1/√ε."""
    x, g = np.array([[1, 1, 1], [1, 2, 3]], "f") * np.float32(size), np.eye(2, 3, dtype="f")
    (y,), _, (dx, *_) = by_hand(backend, module, [x], [g], normalized_shape=(3,), eps=1e-4)
    np.testing.assert_array_equal(y[0], 0)
    np.testing.assert_allclose(dx[0], np.array([2, -1, -1]) / 3 / 1e-2, rtol=1e-5)
    if size >= 1:
        np.testing.assert_allclose(y[1], np.array([-1, 0, 1]) * np.sqrt(1.5), atol=1e-3)


@EACH
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of blocks, which are then computed anew
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_gradient_at_the_largest_numbers(backend, module, dtype):
    """There the scale s, a power of two, is itself more than the dtype holds."""
    largest = float(np.finfo(dtype).max)
    x = (np.array([[1.0, -1.0, -1.0, -1.0]]) * 0.99 * largest).astype(dtype)
    g = (np.array([[1.0, 2.0, -1.0, 6.0]]) * largest**0.8).astype(dtype)
    _, _, (dx, *_) = by_hand(backend, module, [x], [g], normalized_shape=(4,))
    r = 2 / np.sqrt(3.0) / x[0, 0]  # the first feature is its own direction, which dx leaves out
    right = r * g[0, 0] * np.array([[0.0, -1 / 3, -10 / 3, 11 / 3]])
    np.testing.assert_allclose(dx, right, rtol=1e-5, atol=1e-5 * abs(right).max())


@EACH
def test_float32_stays_and_any_layout_will_do(backend, module):
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal((4, 6, 5)),
        rng.standard_normal((6, 5)),
        rng.standard_normal((6, 5)),
    ]
    outs, gs, ds = by_hand(backend, module, arrays, normalized_shape=(6, 5))
    low, gs32 = ([a.astype("float32") for a in some] for some in (arrays, gs))
    outs32, _, ds32 = by_hand(backend, module, low, gs32, normalized_shape=(6, 5))
    outs2, ds2 = by_composition(backend, module, low, gs32, normalized_shape=(6, 5))
    for a, b, c in zip(outs32 + ds32, outs2 + ds2, outs + ds, strict=True):
        close(a, c.astype("float32"), "by hand")
        close(b, c.astype("float32"), "reference")

    views = [backend.array(a.T.copy()).T for a in arrays]
    y, cache = module.forward(*views, normalized_shape=(6, 5))
    close(backend.numpy(y), outs[0], "a view")
    for d, want in zip(module.backward(backend.array(gs[0].T.copy()).T, cache), ds):
        close(backend.numpy(d), want, "a view")


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    rng = np.random.default_rng(1)
    arrays = [
        rng.standard_normal((3, 2, 4)),
        rng.standard_normal((2, 4)),
        rng.standard_normal((2, 4)),
    ]
    second_order(
        backend,
        lambda x, w, b: nag.functional.layer_norm(x, (2, 4), w, b),
        module,
        arrays,
        normalized_shape=(2, 4),
    )
    second_order(
        backend,
        lambda x, w, b, a: nag.functional.layer_norm(x, (2, 4), w, b, residual=a),
        module,
        [*arrays, rng.standard_normal((3, 2, 4))],
        normalized_shape=(2, 4),
    )


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_second_order_where_the_sum_is_a_constant(backend, kind):
    x, w = backend.array(np.random.default_rng(0).standard_normal((5, 3))), np.ones(3)
    w = backend.tensor(w, requires_grad=True)
    y, z = getattr(nag.functional, kind)(x, 3, w, residual=x, return_sum=True)
    (g,) = nag.autograd.grad((y**3).sum(), [w], create_graph=True)
    (second,) = nag.autograd.grad(g.sum(), [w])  # of Σ w³ x̂³: 6 w Σ x̂³
    close(backend.numpy(second.data), 2 * backend.numpy(g.data), "the second derivative")


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_a_residual_is_an_addition_before(backend, kind):
    """Used, the sum gets its gradient from both sides; each of the two that were added gets an
    array that nobody else adds to."""
    rng = np.random.default_rng(0)
    norm, x, a, w, g = (
        getattr(nag.functional, kind),
        *(rng.standard_normal(shape) for shape in ((5, 4), (5, 4), (4,), (5, 4))),
    )

    def gradients(together):
        X, A, W = (backend.tensor(v, requires_grad=True) for v in (x, a, w))
        if together:
            y, z = norm(X, 4, W, residual=A, return_sum=True)
        else:
            z = X + A
            y = norm(z, 4, W)
        loss = (y * y * backend.array(g)).sum() + (z**3 * X).sum() + (A * A).sum()
        loss.backward()
        return [backend.numpy(t.grad.data) for t in (X, A, W)]

    for found, wanted in zip(gradients(True), gradients(False), strict=True):
        close(found, wanted, "a gradient")


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    "x, shape, w, b, error, says",
    [
        (X, (2,), None, None, ValueError, r"last axes of the input.*input \(2, 3\).*shape \(2,\)"),
        (X, (), None, None, ValueError, "one or more"),
        (X, (4, 2, 3), None, None, ValueError, r"\(4, 2, 3\)"),
        (X.astype(int), (3,), None, None, TypeError, "floating.*int64"),
        (X, (3,), np.ones(2), None, ValueError, r"weight must have.*weight \(2,\)"),
        (X, (3,), None, np.ones((2, 3)), ValueError, r"bias must have.*bias \(2, 3\)"),
        (X, (3,), np.ones(3, "f"), None, TypeError, "weight must have the dtype.*float32"),
    ],
)
def test_wrong_arguments_are_named(x, shape, w, b, error, says):
    with pytest.raises(error, match=says):
        nag.functional.layer_norm(nag.Tensor(x), shape, w, b)


@pytest.mark.parametrize("f", [F.layer_norm, F.rms_norm])
def test_errors_of_a_residual(f):
    with pytest.raises(ValueError, match=r"the residual must have.*residual \(3,\) float64"):
        f(X, 3, residual=np.ones(3))
    with pytest.raises(TypeError, match=r"the residual must have.*residual \(2, 3\) float32"):
        f(X, 3, residual=X.astype("f"))
    with pytest.raises(ValueError, match="norm: return_sum.*there is no residual"):
        f(X, 3, return_sum=True)


@pytest.mark.parametrize("f", [F.layer_norm, F.rms_norm])
def test_sizes_are_integers_of_any_kind(f):
    for shape in (3, np.int64(3), [3], (np.int32(2), 3)):
        assert f(X, shape).shape == X.shape
    for shape in (3.0, [3.0], None, "3"):
        with pytest.raises(TypeError, match="norm: normalized_shape must be an integer or several"):
            f(X, shape)
    for layer in (nag.nn.LayerNorm, nag.nn.RMSNorm):
        assert layer(np.int64(3)).normalized_shape == (3,)
        with pytest.raises(TypeError, match="Norm: normalized_shape must be an integer or several"):
            layer(3.0)


@pytest.mark.parametrize("f", [F.layer_norm, F.rms_norm])
@pytest.mark.parametrize("eps", [-5.0, -1e-9, np.nan, "a", "1", 1j, np.ones(2), [1e-5]])
def test_an_epsilon_that_is_none(f, eps):
    with pytest.raises(ValueError, match="norm: eps must be a number, 0 or more; got"):
        f(X, 3, eps=eps)
    with pytest.raises(ValueError, match="norm: eps must be a number, 0 or more; got None"):
        F.layer_norm(X, 3, eps=None)


@each_form("layer_norm", "rms_norm")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(st.data())
def test_rows_of_any_size(backend, module, dtype, data):
    """Of numbers whose squares are no numbers of the dtype; also beside an ε, and a row of another
    size. As a longer format has it, in which they are."""
    most = {"float32": 37, "float64": 307}[dtype]
    M, N = data.draw(st.integers(1, 3)), data.draw(st.integers(2, 40))
    sizes = data.draw(st.lists(st.integers(-most, most), min_size=M, max_size=M))
    eps = data.draw(st.just(0.0) | st.integers(-2 * most, 2).map(lambda k: 10.0**k))
    rng = np.random.default_rng(data.draw(SEEDS))
    x = (rng.uniform(-1, 1, (M, N)) * 10.0 ** np.array(sizes)[:, None]).astype(dtype)
    w, dy = (rng.uniform(-1, 1, shape).astype(dtype) for shape in ((N,), (M, N)))
    with np.errstate(all="ignore"):  # dx may be more than the dtype holds
        (y,), _, (dx, dw, *_) = by_hand(
            backend,
            module,
            [x, w, None, None] if module.name == "layer_norm" else [x, w, None],
            [dy],
            normalized_shape=(N,),
            eps=eps,
        )
        d, g = x.astype("longdouble"), (dy * w).astype("longdouble")
        less = (lambda a: a - a.mean(1, keepdims=True)) if module.name == "layer_norm" else np.array
        d = less(d)
        r = (np.mean(d * d, 1, keepdims=True) + np.longdouble(eps)) ** np.longdouble(-0.5)
        wanted = r * (less(g) - d * r * np.mean(g * d * r, 1, keepdims=True))
        tolerance = 300 * np.finfo(dtype).eps
        np.testing.assert_allclose(y, w * d * r, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(dw, (dy * d * r).sum(0), rtol=0, atol=3 * tolerance)
        held = np.abs(r[:, 0]) < np.finfo(dtype).max / 4
        np.testing.assert_allclose(
            (dx / r)[held], (wanted / r)[held], rtol=0, atol=tolerance + tolerance * held.sum()
        )


@each_form("layer_norm", "rms_norm")
@pytest.mark.parametrize("shape", [(0,), (2, 0), (2, 0, 3)])
def test_rows_of_no_features_without_an_epsilon(backend, module, shape):
    arrays = [np.ones(shape)] * 2 + [None] * (1 + (module.name == "layer_norm"))
    with np.errstate(all="ignore"):  # 0/0, of which there are no numbers
        (y,), _, ds = by_hand(backend, module, arrays, normalized_shape=shape, eps=0.0)
    assert y.shape == ds[0].shape == ds[1].shape == shape


@each_form_on_numpy("layer_norm", "rms_norm", where=["cpu"])
@pytest.mark.parametrize("M, N", [(64, 1024), (300, 128), (129, 300), (5000, 8), (3, 20000)])
def test_many_rows_give_what_the_readable_form_gives(module, M, N):
    """So many that a gain is repeated, or nearly: as in manual/, to the rounding."""
    rng = np.random.default_rng(0)
    parameters = [rng.standard_normal(N) for _ in range(2 if module.name == "layer_norm" else 1)]
    arrays = [rng.standard_normal((M, N)), *parameters, rng.standard_normal((M, N))]
    same_by_blocks(module, arrays, normalized_shape=(N,))
    manual = next(form for form in forms(module.name) if form.where == "manual")
    dy, results = rng.standard_normal((M, N)), []
    for form in (module, manual):
        y, cache = form.forward(*arrays, normalized_shape=(N,))
        results.append([y, *form.backward(dy, cache)])
    for a, b in zip(*results, strict=True):
        close(a, b, "beside manual/")
