"""linear_cross_entropy: three ways to one gradient, cross_entropy of linear, PyTorch, chunks, what
is computed when, memory, and bad input."""

import tracemalloc
from contextlib import nullcontext
from functools import partial

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
    same_by_blocks,
    walked,
)

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.backends import strict, to_device
from nanoautograd.kernels import linear_cross_entropy as shared
from nanoautograd.kernels.cuda import use_kernels
from nanoautograd.manual import cross_entropy, linear
from nanoautograd.manual import linear_cross_entropy as lce

EACH = each_form("linear_cross_entropy")
ON_NUMPY = each_form_on_numpy("linear_cross_entropy")
IN_BLOCKS = each_form_on_numpy("linear_cross_entropy", where=["cpu"])
FAST = pytest.mark.parametrize("backend", ["numpy"], indirect=True)  # not of the lines of manual/
ALL = (True,) * 5
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """Hidden states, weights, targets and the rest, of all the shapes there are; and options."""
    rng = np.random.default_rng(draw(SEEDS))
    V, D = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    rows = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    y = rng.integers(0, V, rows, dtype=draw(st.sampled_from([np.int64, np.int32, np.uint8])))
    options = {
        "reduction": draw(st.sampled_from(["none", "mean", "sum"])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
    }
    if y.dtype != np.uint8:
        options["ignore_index"] = draw(st.sampled_from([-100, 0, V]))
        ignored = rng.random(rows) < draw(st.sampled_from([0.0, 0.3, 1.0]))
        y = np.where(ignored, options["ignore_index"], y).astype(y.dtype)
    h, W = rng.standard_normal((*rows, D)), 2 * rng.standard_normal((V, D))
    b = rng.standard_normal(V) if draw(st.booleans()) else None
    w = rng.random(V) + 0.1 if draw(st.booleans()) else None
    return [h, W, np.asarray(y), b, w], options


def set_chunk(patch, scores):
    """How many scores exist at a time."""
    patch.setattr(lce, "CHUNK", scores)
    patch.setattr(shared, "CHUNK", scores)


def early(module, needs=ALL):
    """The form, which is told of which arrays gradients are needed, if it computes them early."""
    if module.where == "manual":
        return module
    return module._replace(forward=partial(module.forward, needs=needs))


def has_no_mean(arrays, options):
    """The mean over no rows at all is nan, and its gradient is tested on its own."""
    kept = arrays[2] != options.get("ignore_index", -100)
    return options["reduction"] == "mean" and not kept.any()


@EACH
@given(cases(), SEEDS, st.booleans(), st.sampled_from([1, 2, 3, 100]))
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed, is_early, rows
):
    """Whether the gradients are computed by `forward` or not, in chunks of any size."""
    arrays, options = case
    if has_no_mean(arrays, options):
        return
    with pytest.MonkeyPatch.context() as patch:
        set_chunk(patch, rows * len(arrays[1]))
        agree(backend, early(module, (is_early,) * 5), arrays, seed, **options)


@EACH
@given(cases(), st.booleans())
def test_only_what_is_needed(backend, module, case, is_early):
    arrays, options = case
    each_alone(backend, early(module, (is_early,) * 5), arrays, **options)


@IN_BLOCKS
@given(cases())
def test_threads_give_the_same_numbers(module, case):
    arrays, options = case
    same_by_blocks(early(module), arrays, **options)


@EACH
@given(cases())
def test_it_is_cross_entropy_of_linear(backend, module, case):
    (h, W, y, b, w), options = case
    outs, gs, ds = by_hand(backend, module, [h, W, y, b, w], **options)
    z, cache = linear.forward(h.reshape(y.size, len(W.T)), W, b)
    loss, cache2 = cross_entropy.forward(z, y.reshape(-1), w, **options)
    dz, _, dw = cross_entropy.backward(gs[0].reshape(loss.shape), cache2)
    dh, dW, db = linear.backward(dz, cache)
    close(outs[0], np.reshape(loss, outs[0].shape), "the loss")
    whole = walked([h, W, y, b, w], [dh.reshape(h.shape), dW, None, db, dw])
    for d, e in zip(ds, whole, strict=True):
        assert (d is None) == (e is None)
        if d is not None:
            close(d, e, "a gradient")


@EACH
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ε", [0.0, 0.1])
@pytest.mark.parametrize("rows", [1, 2, 3, 16, 33, 50])
def test_chunks_of_any_size_are_the_same_as_the_whole(
    backend, module, monkeypatch, reduction, ε, rows
):
    rng = np.random.default_rng(0)
    h, W, b = rng.standard_normal((37, 4)), rng.standard_normal((6, 4)), rng.standard_normal(6)
    arrays = [h, W, rng.integers(0, 6, 37), b, rng.random(6) + 0.1]
    options, module = {"reduction": reduction, "label_smoothing": ε}, early(module)
    outs, gs, ds = by_hand(backend, module, arrays, **options)
    set_chunk(monkeypatch, rows * 6 + 5)
    outs2, _, ds2 = by_hand(backend, module, arrays, gs, **options)
    for a, b in zip(outs + ds, outs2 + ds2):
        if a is not None:
            close(b, a, "in chunks")


@IN_BLOCKS
def test_many_classes_in_threads(module):
    """Products that are cut among the threads, and dW in several pieces."""
    rng = np.random.default_rng(0)
    V, N, D = 3000, 300, 64
    arrays = [rng.standard_normal((N, D)), 0.1 * rng.standard_normal((V, D)), rng.integers(0, V, N)]
    arrays += [rng.standard_normal(V), rng.random(V) + 0.1]
    numpy = type("numpy", (), {"array": np.array, "numpy": np.asarray, "name": "numpy"})
    found = []
    try:
        for n, chunk in ((1, 1 << 30), (2, 1 << 30), (2, 100 * V)):
            nag.set_num_threads(n)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(shared, "CHUNK", chunk)
                outs, _, ds = by_hand(numpy, early(module), arrays, label_smoothing=0.1)
                found.append(outs + [d for d in ds if d is not None])
    finally:
        nag.set_num_threads(1)
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            close(a, b, "with threads, or chunks")


@ON_NUMPY
@pytest.mark.oracle
@given(cases(), st.booleans())
def test_pytorch_computes_the_same(module, case, is_early):
    torch = pytest.importorskip("torch")
    (h, W, y, b, w), options = case
    loss, cache = early(module, (is_early,) * 5).forward(h, W, y, b, w, **options)
    g = np.asarray(np.random.default_rng(0).standard_normal(np.shape(loss)))
    dh, dW, _, db, _ = walked([h, W, y, b, w], module.backward(g, cache))

    th, tW, tb = (None if a is None else torch.tensor(a, requires_grad=True) for a in (h, W, b))
    z = torch.nn.functional.linear(th.reshape(y.size, W.shape[1]), tW, tb)
    ty, tw = torch.tensor(y.astype(np.int64)).reshape(-1), None if w is None else torch.tensor(w)
    want = torch.nn.functional.cross_entropy(z, ty, tw, **options).reshape(np.shape(loss))
    close(np.asarray(loss), want.detach().numpy(), "the loss")
    if has_no_mean([h, W, y, b, w], options) and options["label_smoothing"]:
        return  # PyTorch's gradient is nan here, ours is zero
    wanted = [t for t in (th, tW, tb) if t is not None]
    for d, t in zip(
        [d for d in (dh, dW, db) if d is not None],
        torch.autograd.grad(want, wanted, torch.tensor(g)),
        strict=True,
    ):
        close(d, t.numpy(), "a gradient")


@EACH
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_the_second_derivative_is_that_of_differences(backend, module, reduction):
    rng = np.random.default_rng(0)
    h, W, y = (
        rng.standard_normal((2, 3, 4)),
        rng.standard_normal((5, 4)),
        rng.integers(0, 5, (2, 3)),
    )
    arrays = [h, W, y, rng.standard_normal(5), rng.random(5) + 0.5]
    options = {"reduction": reduction, "label_smoothing": 0.1}
    second_order(
        backend,
        lambda *ts: F.linear_cross_entropy(*ts, **options),
        module,
        arrays,
        **options,
    )


# ---- numbers that are large, of 16 bits, infinite, or missing


@EACH
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ε", [0.0, 0.1])
@pytest.mark.parametrize("is_early", [False, True])
def test_of_ignored_targets_alone_the_mean_is_nan_and_the_gradient_zero(
    backend, module, weighted, ε, is_early
):
    """There is no mean of nothing: nan, as in PyTorch. And nothing to learn from it: zero."""
    w = np.ones(4) if weighted else None
    arrays = [np.ones((3, 2)), np.ones((4, 2)), np.full(3, 2), np.ones(4), w]
    options, module = {"ignore_index": 2, "label_smoothing": ε}, early(module, (is_early,) * 5)
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
def test_large_scores_do_not_overflow(backend, module, dtype, ε):
    """Hidden states that are unit vectors choose columns of W, which are the scores."""
    x = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [-1e4, -1e4, -1e4]])
    arrays = [np.eye(3, dtype=dtype), x.T.astype(dtype), np.array([0, 1, 2]), None, None]
    (loss,), _, (dh, dW, *_) = by_hand(
        backend, module, arrays, [np.ones(3, dtype)], reduction="none", label_smoothing=ε
    )
    away = ε / 3 * np.array([3e4, -3e4, 0])  # what smoothing adds to each row
    np.testing.assert_allclose(loss, np.array([0, 2e4, np.log(3)]) + away, rtol=1e-6)
    p = np.array([[1, 0, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    δ = p - (1 - ε) * np.eye(3) - ε / 3
    np.testing.assert_allclose(dW, δ.T, atol=1e-6)
    np.testing.assert_allclose(dh, δ @ x.T, rtol=1e-5, atol=3e-2 if dtype == "float32" else 1e-9)


@EACH
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ε", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_stay_and_sums_are_in_float32(backend, module, reduction, ε, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((40, 3)), rng.standard_normal((500, 3)), rng.integers(0, 500, 40)]
    arrays += [rng.standard_normal(500), rng.random(500) + 0.5]
    low = [a if a.dtype.kind == "i" else a.astype(dtype) for a in arrays]
    exact = [a if a.dtype.kind == "i" else a.astype("float64") for a in low]
    options, module = {"reduction": reduction, "label_smoothing": ε}, early(module)
    outs, gs, ds = by_hand(backend, module, exact, **options)
    gs = [g.astype(dtype) for g in gs]
    outs, _, ds = by_hand(backend, module, exact, [g.astype("float64") for g in gs], **options)
    f = lce.linear_cross_entropy
    form = f.cpu if module.where == "cpu" else f.manual
    module = module._replace(forward=form.forward, backward=form.backward)  # takes any dtype
    outs2, _, ds2 = by_hand(backend, module, low, gs, **options)
    (tolerance,) = {"float16": [1e-3], "bfloat16": [8e-3], "float32": [2e-6]}[np.dtype(dtype).name]
    for a, b in zip(outs2 + ds2, outs + ds, strict=True):
        if b is not None:
            assert a.dtype == np.dtype(dtype) and a.shape == b.shape
            scale = np.abs(b).max()
            np.testing.assert_allclose(
                a.astype("float64"), b, rtol=tolerance, atol=tolerance * scale
            )


def test_a_loss_in_float16_that_is_scaled_keeps_small_gradients(backend):
    """Multiplied by dL before they are rounded to 16 bits."""
    h = backend.tensor(np.full((1000, 2), 1e-4, "float16"), requires_grad=True)
    W = backend.tensor(np.zeros((2, 2), "float16"), requires_grad=True)
    y = np.arange(1000) % 2
    y[:4] = 0  # W's gradient is about 4/1000/2 · 1e-4, and float16 has nothing below 6e-8
    loss = F.linear_cross_entropy(h, W, backend.array(y))
    (loss * 1024.0).backward()
    g = backend.numpy(W.grad)
    assert g.dtype == np.float16
    np.testing.assert_allclose(g[:, 0], [-1024 * 2e-7, 1024 * 2e-7], rtol=0.02)


@EACH
@pytest.mark.filterwarnings("error")
def test_a_class_that_is_forbidden(backend, module):
    """A bias of -inf: no probability, and no nan, also in rows that are ignored."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 2)), rng.standard_normal((3, 2)), np.array([1, -100, 2, 1])]
    arrays += [np.array([-np.inf, 0.0, 0.0]), np.ones(3)]
    (loss,), _, ds = by_hand(backend, early(module), arrays)
    assert np.isfinite(loss)
    for d in ds:
        assert d is None or np.isfinite(d).all()
    assert ds[3][0] == 0 and not ds[1][0].any()


@EACH
def test_any_layout_will_do(backend, module):
    rng = np.random.default_rng(0)
    h, W, y, g = (
        rng.standard_normal((5, 4)),
        rng.standard_normal((6, 4)),
        rng.integers(0, 6, 5),
        rng.standard_normal(5),
    )
    arrays = [h, W, y, None, None]
    (loss,), _, (dh, dW, *_) = by_hand(backend, module, arrays, [g], reduction="none")
    views = [backend.array(a.T.copy()).T for a in (h, W)]
    target = backend.array(y[::-1].copy())[::-1]
    out, cache = module.forward(*views, target, reduction="none")
    close(backend.numpy(out), loss, "the loss")
    dout = backend.array(np.repeat(g, 2))[::2]
    for a, b in zip(module.backward(dout, cache)[:2], (dh, dW)):
        close(backend.numpy(a), b, "the gradient")


# ---- what is computed when, and how much memory that takes


@pytest.fixture
def computed(monkeypatch):
    """What was asked for in each walk over the chunks."""
    asked, by_chunks = [], shared.by_chunks

    def noted(rows, arrays, g, wanted):
        asked.append("".join(wanted))
        return by_chunks(rows, arrays, g, wanted)

    monkeypatch.setattr(shared, "by_chunks", noted)
    return asked


def tensors(backend, *learn):
    rng = np.random.default_rng(0)
    shapes = {"h": (2, 3, 4), "W": (5, 4), "b": (5,)}
    h, W, b = (
        backend.tensor(rng.standard_normal(shape), requires_grad=name in learn)
        for name, shape in shapes.items()
    )
    return h, W, backend.array(rng.integers(0, 5, (2, 3))), b


@FAST
@pytest.mark.parametrize("learn", ["", "h", "W", "hb", "hWb"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_are_computed_with_the_loss(backend, computed, learn, reduction):
    h, W, y, b = tensors(backend, *learn)
    loss = F.linear_cross_entropy(h, W, y, b, reduction=reduction)
    assert computed == [learn]
    if learn:
        loss.backward()
        assert computed == [learn]


@FAST
def test_for_losses_of_rows_in_the_backward_pass(backend, computed):
    h, W, y, b = tensors(backend, "h", "W")
    loss = F.linear_cross_entropy(h, W, y, b, reduction="none")
    assert loss.shape == (2, 3) and computed == [""]
    loss.sum().backward()
    assert computed == ["", "hW"]


@FAST
def test_where_nothing_is_recorded_no_gradient_is_computed(backend, computed):
    h, W, y, b = tensors(backend, "h", "W", "b")
    with nag.no_grad():
        loss = F.linear_cross_entropy(h, W, y, b)
    assert computed == [""] and not loss.requires_grad
    F.linear_cross_entropy(h.data, W.data, y, b.data)
    assert computed == ["", ""]


@FAST
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_graph_that_is_walked_twice(backend, computed, reduction):
    """The same to the bit; the second walk computes it again, as the first was given the arrays."""
    h, W, y, b = tensors(backend, "h", "W", "b")
    loss = F.linear_cross_entropy(h, W, y, b, reduction=reduction).sum() * 3.0
    loss.backward(retain_graph=True)
    first = [backend.numpy(t.grad).copy() for t in (h, W, b)]
    h.grad = W.grad = b.grad = None
    loss.backward()
    for t, g in zip((h, W, b), first):
        np.testing.assert_array_equal(backend.numpy(t.grad), g)
    assert len(computed) == (3 if reduction == "none" else 2)


def test_gradients_that_were_given_away_are_not_changed_by_another_walk(backend):
    h, W, y, b = tensors(backend, "h", "W")
    loss = F.linear_cross_entropy(h, W, y, b)
    loss.backward(retain_graph=True)
    kept, once = W.grad.data, backend.numpy(W.grad).copy()
    nag.autograd.grad(loss * 5.0, [h, W], retain_graph=True)
    np.testing.assert_array_equal(backend.numpy(kept), once)
    loss.backward()  # adds to what is there
    np.testing.assert_allclose(backend.numpy(W.grad), 2 * once, rtol=1e-14)


def test_a_graph_that_is_walked_by_two_threads_at_once():
    """The second begins while the first takes what was computed in the forward pass."""
    rng = np.random.default_rng(0)
    h, W, b = (nag.Tensor(rng.standard_normal(s), requires_grad=True) for s in ((9, 4), (7, 4), 7))
    loss, found = F.linear_cross_entropy(h, W, rng.integers(0, 7, 9), b), []

    def walk():
        return nag.autograd.grad(loss, [h, W, b], retain_graph=True)

    class Ready(dict):
        def pop(self, *args):
            if not found:
                found.append(None)
                found[0] = walk()
            return super().pop(*args)

    node = loss._edge[0]
    (saved, *rest), (computed, *others) = node.saved[0], node.saved[0][0].cache
    *parts, ready, per_row = computed
    cache = (*parts, Ready(ready), per_row), *others
    node.saved = [(saved._replace(cache=cache), *rest)]
    for a, d in zip(walk(), found[0], strict=True):
        np.testing.assert_allclose(a.data, d.data)


def test_weights_that_are_tied(backend):
    """The weights are also those of the embedding: both gradients are added up."""
    rng = np.random.default_rng(0)
    E = backend.tensor(rng.standard_normal((5, 4)), requires_grad=True)
    x, y = (backend.array(rng.integers(0, 5, (2, 3))) for _ in range(2))
    F.linear_cross_entropy(nag.tanh(F.embedding(x, E)), E, y).backward()
    found, E.grad = backend.numpy(E.grad), None
    z = F.linear(nag.tanh(F.embedding(x, E)), E)
    F.cross_entropy(z.reshape(-1, 5), y.reshape(-1)).backward()
    np.testing.assert_allclose(found, backend.numpy(E.grad), rtol=1e-12)


def peak_of(f):
    f()  # what stays for all calls
    tracemalloc.start()
    try:
        f()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("by_manual", [False, True])
def test_it_never_holds_all_the_scores(monkeypatch, by_manual):
    """No more than the gradients and a chunk at a time; all scores would be 16 MB."""
    N, V, D, rows = 2000, 2000, 16, 16 if by_manual else 64
    set_chunk(monkeypatch, rows * V)
    rng = np.random.default_rng(0)
    h = nag.Tensor(rng.standard_normal((N, D), dtype="float32"), requires_grad=True)
    W = nag.Tensor(rng.standard_normal((V, D), dtype="float32"), requires_grad=True)
    y = rng.integers(0, V, N)

    def step():
        h.grad = W.grad = None
        F.linear_cross_entropy(h, W, y).backward()

    arrays, chunk = 4 * (N + V) * D, 4 * rows * V
    small = 4 * shared.CLASSES * D + 4 * 16 * (N + V)  # a piece of dW, and some vectors
    if by_manual:
        chunk *= 12  # one for each line of cross_entropy.py
    assert arrays + chunk + small < 4 * N * V / 7
    with nag.use_manual() if by_manual else nullcontext():
        assert peak_of(step) < arrays + chunk + small


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_device_without_kernels_is_waited_for_once(monkeypatch, rows):
    """To see whether all targets are class numbers."""
    set_chunk(monkeypatch, 4 * rows)
    waits, h, W, y = (
        [],
        *(to_device(a, "strict") for a in (np.ones((3, 2)), np.ones((4, 2)), np.array([0, 3, 1]))),
    )
    monkeypatch.setattr(strict.array, "waits", waits.append)
    with use_kernels(False):
        loss = F.linear_cross_entropy(h, nag.Tensor(W, requires_grad=True), y)
        loss.backward()
    assert len(waits) == 1


# ---- what does not fit

H, W = np.zeros((2, 3)), np.zeros((4, 3))
Y = np.array([0, 1])


@pytest.mark.parametrize("target", [[0, 4], [0, -1], [0, 1000]])
@pytest.mark.parametrize("by_manual", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, 0])
def test_a_target_out_of_range_is_named(backend, target, by_manual, ignore_index):
    says = (
        rf"^linear_cross_entropy: target {target[1]} at position \(1,\) is out of range: there are "
        rf"4 classes, 0 to 3, and ignore_index is {ignore_index}\b"
    )
    h, there = backend.tensor(H, requires_grad=True), (backend.array(W), backend.array(target))
    with nag.use_manual() if by_manual else use_kernels(False):
        for x in (h, h.data):
            with pytest.raises(IndexError, match=says):
                F.linear_cross_entropy(x, *there, ignore_index=ignore_index)


@pytest.mark.parametrize(
    "h, W, y, b, w, options, error, says",
    [
        (H, W, Y, None, None, {"reduction": "avg"}, ValueError, "'none', 'mean' or 'sum'.*'avg'"),
        (H, W, Y, None, None, {"label_smoothing": 1.5}, ValueError, "from 0 to 1; got 1.5"),
        (H, W, Y, None, None, {"ignore_index": 1.5}, TypeError, "ignore_index must be an integer"),
        (H.astype(int), W, Y, None, None, {}, TypeError, "hidden must be floating.*int64"),
        (np.ones(()), W, np.array(0), None, None, {}, ValueError, r"hidden \(\) float64"),
        (H, W.T, Y, None, None, {}, ValueError, r"weight \(V, D\).*weight \(3, 4\)"),
        (H, W[0], Y, None, None, {}, ValueError, r"weight \(V, D\).*weight \(3,\)"),
        (H, W[:0], Y, None, None, {}, ValueError, "at least one class"),
        (H, W.astype("f"), Y, None, None, {}, TypeError, "dtype of hidden.*float64.*float32"),
        (H, W, np.array([True, False]), None, None, {}, TypeError, "integers.*bool"),
        (H, W, np.zeros((2, 4)), None, None, {}, TypeError, "for distributions use cross_entropy"),
        (H, W, np.array([0, 1, 2]), None, None, {}, ValueError, r"hidden \(2, 3\).*target \(3,\)"),
        (H, W, Y[:, None], None, None, {}, ValueError, r"target \(2, 1\)"),
        (H, W, Y, np.ones(3), None, {}, ValueError, r"bias must be \(4,\) float64.*got \(3,\)"),
        (H, W, Y, np.ones(4, "f"), None, {}, TypeError, "bias.*float64.*float32"),
        (H, W, Y, None, np.ones(3), {}, ValueError, r"class_weight must be \(4,\).*got \(3,\)"),
        (H, W, Y, None, np.ones(4, "f"), {}, TypeError, "class_weight.*float64.*float32"),
    ],
)
def test_wrong_arguments_are_named(h, W, y, b, w, options, error, says):
    with pytest.raises(error, match="linear_cross_entropy: .*" + says):
        F.linear_cross_entropy(h, W, y, b, w, **options)
