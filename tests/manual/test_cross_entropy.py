"""cross_entropy: three ways to one gradient, a plain loop, PyTorch, and bad input."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from three_ways import (
    agree,
    by_composition,
    by_hand,
    close,
    each_alone,
    each_form,
    each_form_on_numpy,
    is_float,
    same_by_blocks,
)

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.kernels.cuda import use_kernels

EACH = each_form("cross_entropy")
ON_NUMPY = each_form_on_numpy("cross_entropy")
IN_BLOCKS = each_form_on_numpy("cross_entropy", where=["cpu"])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """Logits, targets and weights of all the shapes there are, and options."""
    rng = np.random.default_rng(draw(SEEDS))
    C = draw(st.integers(1, 5))
    N, ds = draw(st.integers(0, 4)), draw(st.lists(st.integers(0, 3), max_size=2))
    shape, rows = draw(st.sampled_from([((C,), ()), ((N, C), (N,)), ((N, C, *ds), (N, *ds))]))
    x = 3 * rng.standard_normal(shape)
    options = {
        "reduction": draw(st.sampled_from(["none", "mean", "sum"])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
    }
    if draw(st.booleans()):
        y = rng.random(shape)
    else:
        y = rng.integers(0, C, rows, dtype=draw(st.sampled_from([np.int64, np.uint8])))
        if y.dtype == np.int64:
            options["ignore_index"] = draw(st.sampled_from([-100, 0, C]))
            ignored = rng.random(rows) < draw(st.sampled_from([0.0, 0.3, 1.0]))
            y = np.where(ignored, options["ignore_index"], y)
    w = rng.random(C) + 0.1 if draw(st.booleans()) else None
    return [x, y, w], options


def has_no_mean(arrays, options):
    """The mean over no rows at all is nan, and its gradient is tested on its own."""
    _, y, _ = arrays
    kept = y != options.get("ignore_index", -100)
    return options["reduction"] == "mean" and not kept.any()


@EACH
@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed
):
    arrays, options = case
    if not has_no_mean(arrays, options):
        agree(backend, module, arrays, seed, **options)


@EACH
@given(cases())
def test_only_what_is_needed(backend, module, case):
    arrays, options = case
    each_alone(backend, module, arrays, **options)


@IN_BLOCKS
@given(cases())
def test_blocks_give_the_same_numbers(module, case):
    arrays, options = case
    same_by_blocks(module, arrays, **options)


@EACH
@given(cases())
def test_it_gives_what_a_plain_loop_gives(backend, module, case):
    """Row by row, the sums written out."""
    (x, y, w), options = case
    (loss,), *_ = by_hand(backend, module, [x, y, w], **options)
    C, ε = x.shape[min(1, x.ndim - 1)], options["label_smoothing"]
    w = np.ones(C) if w is None else w
    numbers = y.dtype != float
    rows = np.moveaxis(x, min(1, x.ndim - 1), -1)
    targets = y if numbers else np.moveaxis(y, min(1, x.ndim - 1), -1)
    losses, W = np.zeros(rows.shape[:-1]), 0.0
    for n in np.ndindex(rows.shape[:-1]):
        if numbers and targets[n] == options.get("ignore_index", -100):
            continue
        p = np.exp(rows[n]) / np.exp(rows[n]).sum()
        t = np.eye(C)[targets[n]] if numbers else targets[n]
        losses[n] = -sum(w[c] * ((1 - ε) * t[c] + ε / C) * np.log(p[c]) for c in range(C))
        W += w[targets[n]] if numbers else 1.0
    want = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / W if W else np.nan}[
        options["reduction"]
    ]
    np.testing.assert_allclose(loss, want, rtol=1e-10)


@ON_NUMPY
@pytest.mark.oracle
@given(cases())
def test_pytorch_computes_the_same(module, case):
    torch = pytest.importorskip("torch")
    (x, y, w), options = case
    loss, cache = module.forward(x, y, w, **options)
    g = np.asarray(np.random.default_rng(0).standard_normal(np.shape(loss)))
    dx, dy, dw = module.backward(g, cache)

    tx = torch.tensor(x, requires_grad=True)
    floating = y.dtype == float
    ty = torch.tensor(y if floating else y.astype(np.int64), requires_grad=floating)
    tw = None if w is None else torch.tensor(w, requires_grad=floating)  # else PyTorch has no dw
    want = torch.nn.functional.cross_entropy(tx, ty, tw, **options)
    close(np.asarray(loss), want.detach().numpy(), "the loss")
    if has_no_mean([x, y, w], options) and options["label_smoothing"]:
        return  # PyTorch's gradient is nan here, ours is zero
    grads = torch.autograd.grad(
        want, [t for t in (tx, ty, tw) if t is not None and t.requires_grad], torch.tensor(g)
    )
    for d, t in zip([dx, dy, dw] if floating else [dx], grads):
        close(d, t.numpy(), "a gradient")


@EACH
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ε", [0.0, 0.1])
def test_of_ignored_targets_alone_the_mean_is_nan_and_the_gradient_zero(
    backend, module, weighted, ε
):
    """There is no mean of nothing: nan, as in PyTorch. And nothing to learn from it: zero."""
    arrays = [np.ones((3, 4)), np.full(3, 2), np.ones(4) if weighted else None]
    options = {"ignore_index": 2, "label_smoothing": ε}
    (loss,), gs, ds = by_hand(backend, module, arrays, **options)
    (loss2,), ds2 = by_composition(backend, module, arrays, gs, **options)
    assert np.isnan(loss) and np.isnan(loss2)
    for d in ds + ds2:
        assert d is None or not d.any()
    (loss,), *_ = by_hand(backend, module, arrays, reduction="sum", **options)
    assert loss == 0


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ε", [0.0, 0.1])
def test_large_logits_do_not_overflow(backend, module, dtype, ε):
    x = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [-1e4, -1e4, -1e4]], dtype)
    y = np.array([0, 1, 2])
    (loss,), gs, (dx, *_) = by_hand(
        backend, module, [x, y], [np.ones(3, dtype)], reduction="none", label_smoothing=ε
    )
    away = ε / 3 * np.array([3e4, -3e4, 0])  # what smoothing adds to each row
    np.testing.assert_allclose(loss, np.array([0, 2e4, np.log(3)]) + away, rtol=1e-6)
    p = np.array([[1, 0, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(dx, p - (1 - ε) * np.eye(3) - ε / 3, atol=1e-6)
    (loss2,), (dx2, *_) = by_composition(
        backend, module, [x, y], gs, reduction="none", label_smoothing=ε
    )
    close(loss2, loss, "reference")
    np.testing.assert_allclose(dx2, dx, atol=1e-3 if dtype == "float32" else 1e-10)


@EACH
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ε", [0.0, 0.1])
@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_float32_stays_and_agrees_with_float64(backend, module, reduction, ε, numbers, weighted):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 4, 2)), rng.random(4) + 0.5 if weighted else None
    y = rng.integers(0, 4, (3, 2)) if numbers else rng.random((3, 4, 2))
    options = {"reduction": reduction, "label_smoothing": ε}
    low = [a.astype("float32") if is_float(a) else a for a in (x, y, w)]
    outs, gs, ds = by_hand(backend, module, [x, y, w], **options)
    gs32 = [g.astype("float32") for g in gs]
    outs32, _, ds32 = by_hand(backend, module, low, gs32, **options)
    outs2, ds2 = by_composition(backend, module, low, gs32, **options)
    for a, b, c in zip(outs32 + ds32, outs + ds, outs2 + ds2, strict=True):
        if a is not None:
            close(a, b.astype("float32"), "by hand")
            close(c, b.astype("float32"), "reference")


@EACH
def test_any_layout_will_do(backend, module):
    rng = np.random.default_rng(0)
    x, y, g = rng.standard_normal((5, 4)), rng.integers(0, 4, 5), rng.standard_normal(5)
    (loss,), _, (dx, *_) = by_hand(backend, module, [x, y], [g], reduction="none")
    view = backend.array(x.T.copy()).T
    out, cache = module.forward(view, backend.array(y[::-1].copy())[::-1], reduction="none")
    close(backend.numpy(out), loss, "the loss")
    dout = backend.array(np.repeat(g, 2))[::2]
    close(backend.numpy(module.backward(dout, cache)[0]), dx, "the gradient")


@EACH
def test_logits_of_minus_infinity_elsewhere_do_no_harm(backend, module):
    x = np.array([[0.0, -np.inf, 1.0], [1.0, 2.0, -np.inf]])
    (loss,), _, (dx, *_) = by_hand(backend, module, [x, np.array([0, 1])])
    assert np.isfinite(loss) and np.isfinite(dx).all() and dx[0, 1] == dx[1, 2] == 0


@EACH
@pytest.mark.filterwarnings("error")
def test_a_row_that_is_ignored_may_hold_minus_infinity(backend, module):
    """0 · -inf is nan: it must not reach the gradient of the class weights."""
    x = np.array([[-np.inf, 0.0, 1.0], [-np.inf, 2.0, 0.0]])
    (loss,), _, ds = by_hand(backend, module, [x, np.array([1, -100]), np.ones(3)])
    assert np.isfinite(loss)
    for d in ds:
        assert d is None or np.isfinite(d).all()


@EACH
@pytest.mark.parametrize("held", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ε", [0.0, 0.1])
def test_a_row_that_is_ignored_adds_nothing_whatever_it_holds(backend, module, held, reduction, ε):
    x, y, w = (
        np.array([[held] * 3, [1.0, 2.0, 0.0]]),
        np.array([-100, 1]),
        np.array([1.0, 2.0, 0.5]),
    )
    options = {"reduction": reduction, "label_smoothing": ε}
    with np.errstate(invalid="ignore"):
        (loss,), gs, (dx, _, dw) = by_hand(backend, module, [x, y, w], **options)
    g = [gs[0][1:] if reduction == "none" else gs[0]]
    (alone,), _, (dx1, _, dw1) = by_hand(backend, module, [x[1:], y[1:], w], g, **options)
    np.testing.assert_allclose(loss, [0.0, *alone] if reduction == "none" else alone, rtol=1e-12)
    np.testing.assert_allclose(dx, [[0.0] * 3, *dx1], rtol=1e-12)
    np.testing.assert_allclose(dw, dw1, rtol=1e-12)


@EACH
@pytest.mark.parametrize("weight", [1e300, np.inf])
def test_a_class_of_infinite_weight_that_occurs(backend, module, weight):
    """An infinite loss, and no NaN; also where another class is as good as certain."""
    arrays = [np.array([[0.0, -50.0, -60.0]]), np.array([1]), np.array([1.0, weight, 1.0])]
    with np.errstate(all="ignore"):
        (loss,), *_ = by_hand(backend, module, arrays, reduction="sum")
    np.testing.assert_allclose(loss, 50 * weight)


@EACH
@pytest.mark.parametrize("reduction", ["none", "sum"])
@given(st.integers(0, 99), st.lists(st.booleans(), min_size=3, max_size=3).filter(any))
def test_an_infinite_weight_with_smoothing_is_an_infinite_loss(
    backend, module, reduction, seed, infinite
):
    """And no NaN, at whichever class the largest score is."""
    rng = np.random.default_rng(seed)
    w = np.where(infinite, np.inf, rng.random(3) + 0.5)
    arrays = [rng.standard_normal((4, 3)), rng.integers(0, 3, 4), w]
    with np.errstate(all="ignore"):
        (loss,), *_ = by_hand(backend, module, arrays, reduction=reduction, label_smoothing=0.1)
    assert (loss == np.inf).all()


@EACH
def test_a_class_that_does_not_occur_may_have_an_infinite_weight(backend, module):
    """As 1 / its frequency is."""
    x, y = np.array([[0.5, 3.0, 1.0], [1.0, 2.0, 0.0]]), np.array([0, 2])
    (loss,), gs, (dx, *_) = by_hand(backend, module, [x, y, np.array([1.0, np.inf, 2.0])])
    (loss2,), _, (dx2, *_) = by_hand(backend, module, [x, y, np.array([1.0, 7.0, 2.0])], gs)
    assert np.isfinite(loss) and loss == loss2
    np.testing.assert_array_equal(dx, dx2)


@EACH
@pytest.mark.parametrize("numbers", [True, False])
def test_the_second_derivative_is_that_of_differences(backend, module, numbers):
    """The gradient's own gradient against differences of the gradient by hand."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 4)), rng.random(4) + 0.5
    y = rng.integers(0, 4, 5) if numbers else rng.random((5, 4))
    floating = [0, 2] if numbers else [0, 1, 2]
    us = [rng.standard_normal(a.shape) for a in (x, y, w)]
    vs = [rng.standard_normal(a.shape) for a in (x, y, w)]

    def slope_along_u(x, y, w):
        loss, cache = module.forward(x, y, w, label_smoothing=0.1)
        ds = module.backward(2 * loss, cache)
        return sum(np.sum(us[i] * ds[i]) for i in floating)

    ts = [backend.tensor(a, requires_grad=i in floating) for i, a in enumerate((x, y, w))]
    wanted = [ts[i] for i in floating]
    loss = F.cross_entropy(*ts, label_smoothing=0.1)
    ds = nag.autograd.grad(loss**2, wanted, create_graph=True)
    total = sum((d * nag.Tensor(backend.array(us[i]))).sum() for i, d in zip(floating, ds))
    np.testing.assert_allclose(backend.numpy(total.detach()), slope_along_u(x, y, w), rtol=1e-10)
    dds = [backend.numpy(dd) for dd in nag.autograd.grad(total, wanted)]
    h = 1e-5
    ahead, behind = (
        [a + s * v if a.dtype == float else a for a, v in zip((x, y, w), vs)] for s in (h, -h)
    )
    np.testing.assert_allclose(
        sum(np.sum(dd * vs[i]) for i, dd in zip(floating, dds)),
        (slope_along_u(*ahead) - slope_along_u(*behind)) / (2 * h),
        rtol=1e-6,
    )


X = np.zeros((2, 3))


@st.composite
def targets_out_of_range(draw):
    """Logits, a target of any dtype with one number that is no class, its position, and options."""
    dtype = np.dtype(draw(st.sampled_from("bhilBHIL")))
    C, rows = draw(st.integers(1, 5) | st.just(200)), draw(array_shapes(max_dims=3, max_side=3))
    rows = draw(st.sampled_from([(), rows]))
    y = np.random.default_rng(draw(SEEDS)).integers(0, min(C, 100), rows).astype(dtype)
    info, n = np.iinfo(dtype), draw(st.integers(0, y.size - 1))
    wrong = st.integers(C, info.max) if info.max >= C else st.nothing()
    y.flat[n] = draw(wrong | st.integers(info.min, -1) if info.min < 0 else wrong)
    ignore_index = draw(st.sampled_from([-100, -1, 0]).filter(lambda i: i != y.flat[n]))
    position = tuple(int(i) for i in np.unravel_index(n, rows))
    return np.zeros((*rows[:1], C, *rows[1:])), y, position, ignore_index


@given(targets_out_of_range(), st.booleans())
@pytest.mark.parametrize("by_manual", [False, True])
def test_a_target_out_of_range_is_named(backend, by_manual, case, recorded):
    x, y, position, ignore_index = case
    x, there = backend.tensor(x, requires_grad=recorded), backend.array(y)
    C, place = x.shape[min(1, x.ndim - 1)], re.escape(str(position))
    says = (
        rf"^cross_entropy: target {y[position]} at position {place} is out of range: there are {C} "
        rf"classes, 0 to {C - 1}, and ignore_index is {ignore_index}\b"
    )
    with nag.use_manual() if by_manual else use_kernels(False):
        with pytest.raises(IndexError, match=says):
            F.cross_entropy(x, there, ignore_index=ignore_index)


@pytest.mark.parametrize(
    "x, y, w, options, error, says",
    [
        (
            X,
            np.array([0, 1]),
            None,
            {"reduction": "avg"},
            ValueError,
            "'none', 'mean' or 'sum'.*'avg'",
        ),
        (X, np.array([0, 1]), None, {"label_smoothing": 1.5}, ValueError, "from 0 to 1; got 1.5"),
        (X, np.array([0, 1]), None, {"ignore_index": 1.5}, TypeError, "ignore_index must be.*1.5"),
        (X, np.array([0, 1]), None, {"ignore_index": None}, TypeError, "an integer; got None"),
        (X.astype(int), np.array([0, 1]), None, {}, TypeError, "logits must be floating.*int64"),
        (np.float64(1) * np.ones(()), np.array(0), None, {}, ValueError, r"logits \(\)"),
        (np.zeros((2, 0)), np.array([0, 1]), None, {}, ValueError, "at least one class"),
        (X, np.array([True, False]), None, {}, TypeError, "bool"),
        (X, np.array([0, 1, 2]), None, {}, ValueError, r"target \(3,\)"),
        (X, np.array([[0], [1]]), None, {}, ValueError, r"target \(2, 1\)"),
        (X, np.zeros((2, 4)), None, {}, ValueError, r"distributions.*target \(2, 4\)"),
        (X, np.array([0.0, 1.0]), None, {}, ValueError, "distributions"),
        (X, X.astype("f"), None, {}, TypeError, "dtype of the logits.*float32"),
        (X, X, None, {"ignore_index": 1}, ValueError, "ignore_index has no meaning"),
        (X, np.array([0, 1]), np.ones(4), {}, ValueError, r"weight must be \(3,\).*got \(4,\)"),
        (X, np.array([0, 1]), np.ones(3, "f"), {}, TypeError, "float64.*float32"),
    ],
)
def test_wrong_arguments_are_named(x, y, w, options, error, says):
    for arrays in ((x, y), (nag.Tensor(x), nag.Tensor(y))):
        with pytest.raises(error, match=says):
            F.cross_entropy(*arrays, w, **options)


def test_overwrite_input_is_accepted_and_says_that_it_will_go():
    x = nag.Tensor(X, requires_grad=True)
    logits, target = x * 1.0, np.array([0, 1])
    for value in (True, False):
        with pytest.warns(DeprecationWarning, match="overwrite_input has no effect") as caught:
            loss = F.cross_entropy(logits, target, overwrite_input=value)
        assert caught[0].filename == __file__
    loss.backward()
    np.testing.assert_array_equal(logits.data, X)
