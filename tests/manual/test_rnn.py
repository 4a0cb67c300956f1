"""rnn: three ways to one gradient, a plain loop, PyTorch, padding, and bad input."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from three_ways import (
    agree,
    by_composition,
    by_hand,
    close,
    each_alone,
    each_form,
    each_form_on_numpy,
)

import nanoautograd as nag

EACH = each_form("rnn")
ON_NUMPY = each_form_on_numpy("rnn")
SEEDS = st.integers(0, 2**32 - 1)


def draw_weights(rng, layers, D, inputs, H, bias=True):
    weights = []
    for i in range(layers * D):
        weights += [
            rng.standard_normal((H, inputs if i < D else D * H)),
            rng.standard_normal((H, H)) / np.sqrt(H),
        ]
        weights += [rng.standard_normal(H), rng.standard_normal(H)] if bias else []
    return weights


@st.composite
def cases(draw):
    """x, h0 and weights of all the shapes there are, and options."""
    rng = np.random.default_rng(draw(SEEDS))
    T, B, inputs, H = (draw(st.integers(low, 4)) for low in (1, 0, 1, 1))
    L, D = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    options = {
        "nonlinearity": draw(st.sampled_from(["tanh", "relu"])),
        "bidirectional": D == 2,
        "batch_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    alone = draw(st.booleans())
    batch = () if alone else (B,)
    if not alone and draw(st.booleans()):
        options["lengths"] = rng.integers(1, T + 1, B).tolist()
    x = rng.standard_normal((*batch, T, inputs) if options["batch_first"] else (T, *batch, inputs))
    h0 = rng.standard_normal((L * D, *batch, H)) if draw(st.booleans()) else None
    return [x, h0, *draw_weights(rng, L, D, inputs, H, options["bias"])], options


def one_sequence_at_a_time(arrays, options):
    """The equations, word for word: out and h_n as `forward` returns them, and all sums a."""
    x, h0, *weights = arrays
    alone, D, n = x.ndim == 2, 1 + options["bidirectional"], 4 if options["bias"] else 2
    f = np.tanh if options["nonlinearity"] == "tanh" else (lambda a: np.maximum(a, 0))
    x = x[:, None] if alone else x.swapaxes(0, 1) if options["batch_first"] else x
    T, B, _ = x.shape
    groups = [weights[i : i + n] for i in range(0, len(weights), n)]
    H = len(groups[0][0])
    h_n, sums = np.zeros((len(groups), B, H)), [1.0]
    out = np.zeros((T, B, D * H))
    for c, length in enumerate(options.get("lengths", [T] * B)):
        sequence = x[:length, c]
        for i in range(0, len(groups), D):
            states = np.zeros((length, D * H))
            for d, (W, U, *biases) in enumerate(groups[i : i + D]):
                h = np.zeros(H) if h0 is None else h0[i + d] if alone else h0[i + d, c]
                for t in range(length)[:: -1 if d else 1]:
                    a = W @ sequence[t] + U @ h + sum(biases)
                    h = f(a)
                    states[t, d * H : (d + 1) * H] = h
                    sums.extend(np.abs(a))
                h_n[i + d, c] = h
            sequence = states
        out[:length, c] = sequence
    out = out[:, 0] if alone else out.swapaxes(0, 1) if options["batch_first"] else out
    return out, h_n[:, 0] if alone else h_n, min(sums)


@EACH
@given(cases())
def test_it_gives_what_a_plain_loop_gives(backend, module, case):
    arrays, options = case
    (out, h_n), *_ = by_hand(backend, module, arrays, **options)
    want_out, want_h_n, _ = one_sequence_at_a_time(arrays, options)
    close(out, want_out, "the output")
    close(h_n, want_h_n, "the last states")


@EACH
@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, seed
):
    arrays, options = case
    if options["nonlinearity"] == "tanh":
        agree(backend, module, arrays, seed, **options)
    else:  # differences do not work across the kink of relu
        assume(one_sequence_at_a_time(arrays, options)[-1] > 1e-4)
        agree(backend, module, arrays, seed, **options)


@EACH
@given(cases())
def test_only_what_is_needed(backend, module, case):
    arrays, options = case
    each_alone(backend, module, arrays, **options)


@ON_NUMPY
@pytest.mark.oracle
@given(cases(), SEEDS)
def test_pytorch_computes_the_same(module, case, seed):
    torch = pytest.importorskip("torch")
    (x, h0, *weights), options = case
    lengths = options.get("lengths")
    assume(lengths is None or lengths)  # PyTorch packs no empty batch
    (out, h_n), (dout, dh_n), ds = by_hand(NumPy, module, [x, h0, *weights], seed=seed, **options)

    D = 1 + options["bidirectional"]
    layers = len(weights) // ((4 if options["bias"] else 2) * D)
    net = torch.nn.RNN(
        x.shape[-1],
        len(weights[0]),
        layers,
        dtype=torch.float64,
        **{k: v for k, v in options.items() if k != "lengths"},
    )
    with torch.no_grad():
        for p, w in zip(net.parameters(), weights, strict=True):
            p.copy_(torch.tensor(w))
    tx = torch.tensor(x, requires_grad=True)
    th = None if h0 is None else torch.tensor(h0, requires_grad=True)
    if lengths is None:
        want, want_h_n = net(tx, th)
    else:
        first = options["batch_first"]
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            tx, torch.tensor(lengths), first, enforce_sorted=False
        )
        packed, want_h_n = net(packed, th)
        want, _ = torch.nn.utils.rnn.pad_packed_sequence(
            packed, first, total_length=x.shape[1 if first else 0]
        )
    close(out, want.detach().numpy(), "the output")
    close(h_n, want_h_n.detach().numpy(), "the last states")
    inputs = [t for t in (tx, th, *net.parameters()) if t is not None]
    grads = torch.autograd.grad([want, want_h_n], inputs, [torch.tensor(dout), torch.tensor(dh_n)])
    for d, t in zip([d for d in ds if d is not None], grads, strict=True):
        close(d, t.numpy(), "a gradient")


class NumPy:
    """A backend without a fixture."""

    array = staticmethod(np.array)
    numpy = staticmethod(np.asarray)


@EACH
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_has_no_influence(backend, module, bidirectional):
    """Whatever stands in the padding, NaN included: results and gradients stay the same."""
    rng = np.random.default_rng(0)
    D = 1 + bidirectional
    x, h0 = rng.standard_normal((5, 3, 2)), rng.standard_normal((2 * D, 3, 4))
    arrays = [x, h0, *draw_weights(rng, 2, D, 2, 4)]
    options = {"lengths": [2, 5, 1], "bidirectional": bidirectional}
    outs, gs, ds = by_hand(backend, module, arrays, **options)
    for c, length in enumerate(options["lengths"]):
        x[length:, c] = np.nan
        gs[0][length:, c] = 1e3
    for outs2, ds2 in (
        by_hand(backend, module, arrays, gs, **options)[::2],
        by_composition(backend, module, arrays, gs, **options),
    ):
        for a, b in zip(outs + ds, outs2 + ds2, strict=True):
            close(a, b, "with and without NaN in the padding")
    for c, length in enumerate(options["lengths"]):
        assert not outs[0][length:, c].any() and not ds[0][length:, c].any()


@pytest.mark.parametrize("manual", [False, True])
def test_lengths_may_be_an_array_of_the_backend(backend, manual):
    rng = np.random.default_rng(0)
    x, *weights = [
        backend.array(a) for a in (rng.standard_normal((4, 2, 3)), *draw_weights(rng, 1, 1, 3, 5))
    ]
    with nag.use_manual() if manual else nullcontext():
        want, _ = nag.functional.rnn(x, None, *weights, lengths=[4, 2])
        for lengths in (np.array([4, 2]), backend.array([4, 2]), backend.tensor([4, 2])):
            out, _ = nag.functional.rnn(x, None, *weights, lengths=lengths)
            close(backend.numpy(out), backend.numpy(want), "lengths as a list and as an array")


@EACH
def test_the_slope_of_relu_at_zero_is_one_half(backend, module):
    """The derivative at the kink is 1/2, by hand as by composition."""
    arrays = [np.zeros((1, 1, 1)), None, np.ones((1, 1)), np.ones((1, 1))]
    gs = [np.ones((1, 1, 1)), np.zeros((1, 1, 1))]
    _, _, ds = by_hand(backend, module, arrays, gs, nonlinearity="relu", bias=False)
    _, ds2 = by_composition(backend, module, arrays, gs, nonlinearity="relu", bias=False)
    assert ds[0].item() == ds2[0].item() == 0.5


@EACH
@given(cases())
def test_float32_stays_and_agrees_with_float64(backend, module, case):
    arrays, options = case
    arrays = [a if a is None else a / 2 for a in arrays]
    assume(options["nonlinearity"] == "tanh")
    low = [a if a is None else a.astype("float32") for a in arrays]
    outs, gs, ds = by_hand(backend, module, arrays, **options)
    gs = [g.astype("float32") for g in gs]
    outs32, _, ds32 = by_hand(backend, module, low, gs, **options)
    outs2, ds2 = by_composition(backend, module, low, gs, **options)
    for a, b, c in zip(outs32 + ds32, outs + ds, outs2 + ds2, strict=True):
        if a is not None:
            close(a, b.astype("float32"), "by hand")
            close(c, b.astype("float32"), "reference")


@EACH
def test_any_layout_will_do(backend, module):
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal((4, 3, 2)),
        rng.standard_normal((1, 3, 5)),
        *draw_weights(rng, 1, 1, 2, 5),
    ]
    outs, gs, ds = by_hand(backend, module, arrays)
    views = [backend.array(a.T.copy()).T for a in arrays + gs]
    (out, h_n), cache = module.forward(*views[:-2])
    for a, b in zip([out, h_n, *module.backward(tuple(views[-2:]), cache)], outs + ds, strict=True):
        close(backend.numpy(a), b, "views in another order")


@ON_NUMPY
def test_no_two_gradients_share_memory(module):
    """Both biases have the same gradient; scaling one of them in place must not scale the other."""
    arrays = [np.ones((2, 1, 3)), None, *draw_weights(np.random.default_rng(0), 2, 1, 3, 4)]
    (out, h_n), cache = module.forward(*arrays)
    ds = [d for d in module.backward((out, h_n), cache) if d is not None]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(ds) for b in ds[:i])


@EACH
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"lengths": [3, 1]}])
def test_the_second_derivative_is_that_of_differences(backend, module, options):
    """The gradient's own gradient against differences of the gradient by hand."""
    rng = np.random.default_rng(0)
    D = 1 + options.get("bidirectional", False)
    xs = [
        rng.standard_normal((3, 2, 2)),
        rng.standard_normal((D, 2, 3)),
        *draw_weights(rng, 1, D, 2, 3),
    ]
    us = [rng.standard_normal(x.shape) for x in xs]
    vs = [rng.standard_normal(x.shape) for x in xs]

    def slope_along_u(*xs):
        (out, h_n), cache = module.forward(*xs, **options)
        ds = module.backward((2 * out, np.ones_like(h_n)), cache)
        return sum(np.sum(u * d) for u, d in zip(us, ds, strict=True))

    ts = [backend.tensor(x, requires_grad=True) for x in xs]
    out, h_n = nag.functional.rnn(*ts, **options)
    ds = nag.autograd.grad((out**2).sum() + h_n.sum(), ts, create_graph=True)
    total = sum((d * nag.Tensor(backend.array(u))).sum() for d, u in zip(ds, us))
    np.testing.assert_allclose(backend.numpy(total.detach()), slope_along_u(*xs), rtol=1e-10)
    dds = [backend.numpy(dd) for dd in nag.autograd.grad(total, ts)]
    h = 1e-5
    ahead, behind = ([x + s * v for x, v in zip(xs, vs)] for s in (h, -h))
    np.testing.assert_allclose(
        sum(np.sum(dd * v) for dd, v in zip(dds, vs)),
        (slope_along_u(*ahead) - slope_along_u(*behind)) / (2 * h),
        rtol=1e-6,
    )


@EACH
def test_one_of_the_two_results_can_be_dropped(backend, module):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 2, 2)), *draw_weights(rng, 1, 1, 2, 3)]
    for i in range(2):
        x, *weights = [backend.tensor(a, requires_grad=True) for a in arrays]
        nag.functional.rnn(x, None, *weights)[i].sum().backward()
        outs, _ = module.forward(arrays[0], None, *arrays[1:])
        gs = [np.ones(outs[j].shape) * (i == j) for j in range(2)]
        _, _, ds = by_hand(backend, module, [arrays[0], None, *arrays[1:]], gs)
        close(backend.numpy(x.grad), ds[0], "the gradient of x")


X, W = np.zeros((5, 2, 3)), [np.zeros((4, 3)), np.zeros((4, 4)), np.zeros(4), np.zeros(4)]


@pytest.mark.parametrize(
    "x, h0, weights, options, error, says",
    [
        (X, None, W, {"nonlinearity": "sigmoid"}, ValueError, "'tanh' or 'relu'; got 'sigmoid'"),
        (X, None, W[:3], {}, ValueError, "has 4 weights; got 3"),
        (X, None, [], {}, ValueError, "got 0"),
        (
            X,
            None,
            W,
            {"bidirectional": True},
            ValueError,
            r"2 direction\(s\) a layer has 8 weights",
        ),
        (np.zeros((2, 3, 4, 5)), None, W, {}, ValueError, r"x must be \(T, B, I\)"),
        (X.astype(int), None, W, {}, TypeError, "floating and of one dtype; got int64"),
        (X, None, [W[0].astype("f"), *W[1:]], {}, TypeError, "float64, float32"),
        (X[:0], None, W, {}, ValueError, "one step or more"),
        (
            np.zeros((5, 2, 7)),
            None,
            W,
            {},
            ValueError,
            r"x .* has 7 features.*made for 3.*\(4, 3\)",
        ),
        (X, None, W + W, {}, ValueError, r"layer 1, direction 0.*\(4, 4\).*\(4, 3\)"),
        (X, np.zeros((1, 4)), W, {}, ValueError, r"h0 must be \(1, 2, 4\).*got \(1, 4\)"),
        (X[:, 0], np.zeros((1, 1, 4)), W, {}, ValueError, r"h0 must be \(1, 4\)"),
        (X, None, W, {"lengths": [5]}, ValueError, r"each sequence.*\(1,\)"),
        (X, None, W, {"lengths": [5.0, 2.0]}, ValueError, "float64"),
        (X[:, 0], None, W, {"lengths": [5]}, ValueError, "of a batch"),
        (X, None, W, {"lengths": [0, 3]}, ValueError, r"from 1 to T = 5; got \[0, 3\]"),
        (X, None, W, {"lengths": [6, 3]}, ValueError, r"from 1 to T = 5; got \[6, 3\]"),
    ],
)
def test_wrong_arguments_are_named(x, h0, weights, options, error, says):
    for wrap in (np.array, nag.Tensor):
        with pytest.raises(error, match=says):
            nag.functional.rnn(wrap(x), h0, *weights, **options)
