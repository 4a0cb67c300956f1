"""lstm and gru, and what they share with rnn: three ways to one gradient, a plain loop, PyTorch,
padding, dropout between layers, and bad input. (More of rnn alone: test_rnn.py.)"""

import gc
import tracemalloc

import numpy as np
import pytest
from cells import (
    CELLS,
    GRU,
    LSTM,
    SEEDS,
    cases,
    draw_masks,
    draw_weights,
    in_pytorch,
    one_sequence_at_a_time,
)
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
    there,
)

import nanoautograd as nag
from nanoautograd import custom_vjp as operation_of
from nanoautograd.backends import threads, to_device
from nanoautograd.kernels.cpu import recurrent
from nanoautograd.manual.recurrent import Layers

EACH = each_form(*CELLS)
ON_NUMPY = each_form_on_numpy(*CELLS)
IN_BLOCKS = each_form_on_numpy(*CELLS, where=["cpu"])


def of(module, **options):
    """Arrays of two layers: x (5, 3, 2), states, weights."""
    cell = CELLS[module.name]
    rng = np.random.default_rng(0)
    D = 1 + options.get("bidirectional", False)
    starts = [rng.standard_normal((2 * D, 3, 4)) for _ in range(cell.states)]
    return [rng.standard_normal((5, 3, 2)), *starts, *draw_weights(rng, cell, 2, D, 2, 4)]


@EACH
@given(data=st.data())
def test_it_gives_what_a_plain_loop_gives(backend, module, data):
    arrays, options = data.draw(cases(CELLS[module.name]))
    outs, *_ = by_hand(backend, module, arrays, **options)
    wanted = one_sequence_at_a_time(CELLS[module.name], arrays, **options)
    for out, want in zip(outs, wanted, strict=True):
        close(out, want, "the output, or a last state")


@EACH
@given(data=st.data(), seed=SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, data, seed
):
    arrays, options = data.draw(cases(CELLS[module.name]))
    agree(backend, module, arrays, seed, **options)


@EACH
@given(data=st.data())
def test_only_what_is_needed(backend, module, data):
    arrays, options = data.draw(cases(CELLS[module.name]))
    each_alone(backend, module, arrays, **options)


@pytest.mark.oracle
@ON_NUMPY
@given(data=st.data(), seed=SEEDS)
def test_pytorch_computes_the_same(module, data, seed):
    torch = pytest.importorskip("torch")
    arrays, options = data.draw(cases(CELLS[module.name]))
    options = {k: v for k, v in options.items() if k not in ("dropout", "masks")}  # draws its own
    assume(arrays[0].size)  # no empty batch in PyTorch
    outs, gs, ds = by_hand(NumPy, module, arrays, seed=seed, **options)
    outs_t, ds_t = in_pytorch(torch, CELLS[module.name], arrays, gs, **options)
    for ours, theirs in zip(outs + ds, outs_t + ds_t, strict=True):
        if ours is not None:
            close(ours, theirs, "a result or a gradient")


class NumPy:
    """A backend without a fixture."""

    array = staticmethod(np.array)
    numpy = staticmethod(np.asarray)


@EACH
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_has_no_influence(backend, module, bidirectional):
    """Whatever stands in the padding, NaN included: results and gradients stay the same."""
    options = {"lengths": [2, 5, 1], "bidirectional": bidirectional}
    arrays = of(module, **options)
    x = arrays[0]
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


@EACH
@pytest.mark.parametrize("B, I", [(3, 0), (0, 2), (0, 0)])
def test_without_features_or_sequences(backend, module, B, I):
    """Where the inputs have no features there are the biases and the states."""
    cell, rng = CELLS[module.name], np.random.default_rng(0)
    starts = [rng.standard_normal((4, B, 4)) for _ in range(cell.states)]
    arrays = [rng.standard_normal((5, B, I)), *starts, *draw_weights(rng, cell, 2, 2, I, 4)]
    agree(backend, module, arrays, bidirectional=True)
    each_alone(backend, module, arrays, bidirectional=True)


@EACH
def test_dropout_cuts_what_it_drops(backend, module):
    """Where nothing is kept the second layer sees nothing, and the first gets no gradient through
    it; where all is kept nothing changes."""
    arrays = of(module)
    n = 1 + CELLS[module.name].states  # the first of the weights
    gs = by_hand(backend, module, arrays)[1]
    for g in gs[1:]:
        g[0] = 0.0  # the last state of the first layer
    _, _, ds = by_hand(backend, module, arrays, gs, masks=np.zeros((1, 5, 3, 4), bool))
    assert not any(d.any() for d in [ds[0], *ds[n : n + 5]]) and all(d.any() for d in ds[n + 5 :])
    plain = by_hand(backend, module, arrays, gs)
    ones = by_hand(backend, module, arrays, gs, masks=np.ones((1, 5, 3, 4), bool))
    for a, b in zip(plain[0] + plain[2], ones[0] + ones[2], strict=True):
        np.testing.assert_array_equal(a, b)


@EACH
@given(data=st.data())
def test_float32_stays_and_agrees_with_float64(backend, module, data):
    arrays, options = data.draw(cases(CELLS[module.name]))
    arrays = [a if a is None else a / 2 for a in arrays]
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
    arrays = of(module)
    outs, gs, ds = by_hand(backend, module, arrays)
    views = [backend.array(a.T.copy()).T for a in arrays + gs]
    found, cache = module.forward(*views[: len(arrays)])
    found = [*found, *module.backward(tuple(views[len(arrays) :]), cache)]
    for a, b in zip(found, outs + ds, strict=True):
        close(backend.numpy(a), b, "views in another order")


@ON_NUMPY
def test_no_two_gradients_share_memory(module):
    arrays = of(module)
    outs, cache = module.forward(*arrays)
    ds = module.backward(outs, cache)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(ds) for b in ds[:i])


@EACH
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"lengths": [3, 1]}, {"masks": True}]
)
def test_the_second_derivative_is_that_of_differences(backend, module, options):
    """The gradient's own gradient against differences of the gradient by hand."""
    cell = CELLS[module.name]
    rng = np.random.default_rng(0)
    D, L = 1 + options.get("bidirectional", False), 1 + ("masks" in options)
    if L == 2:
        options = {"dropout": 0.25, "masks": draw_masks(rng, 2, (2,), 3, 3, False)}
    xs = [
        rng.standard_normal((3, 2, 2)),
        *(rng.standard_normal((L * D, 2, 3)) for _ in range(cell.states)),
        *draw_weights(rng, cell, L, D, 2, 3),
    ]
    us = [rng.standard_normal(x.shape) for x in xs]
    vs = [rng.standard_normal(x.shape) for x in xs]

    def slope_along_u(*xs):
        (out, *lasts), cache = module.forward(*xs, **options)
        ds = module.backward((2 * out, *map(np.ones_like, lasts)), cache)
        return sum(np.sum(u * d) for u, d in zip(us, ds, strict=True))

    operation = operation_of(cell.name, module.forward, module.backward, module.reference)
    ts = [backend.tensor(x, requires_grad=True) for x in xs]
    out, *lasts = operation(*ts, **there(backend, options))
    ds = nag.autograd.grad((out**2).sum() + sum(s.sum() for s in lasts), ts, create_graph=True)
    total = sum((d * nag.Tensor(backend.array(u))).sum() for d, u in zip(ds, us, strict=True))
    np.testing.assert_allclose(backend.numpy(total.detach()), slope_along_u(*xs), rtol=1e-10)
    dds = [backend.numpy(dd) for dd in nag.autograd.grad(total, ts)]
    h = 1e-5
    ahead, behind = ([x + s * v for x, v in zip(xs, vs)] for s in (h, -h))
    np.testing.assert_allclose(
        sum(np.sum(dd * v) for dd, v in zip(dds, vs)),
        (slope_along_u(*ahead) - slope_along_u(*behind)) / (2 * h),
        rtol=1e-6,
    )


def results(module, arrays, options, columns=1, n=1):
    """All results and gradients with n threads, in blocks of `columns` sequences or more and in
    chunks of twice as many columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent, "COLUMNS", columns)
        patch.setattr(recurrent, "PRODUCTS", 1)
        patch.setattr(recurrent, "CHUNK", 2 * columns)
        patch.setattr(threads._team, "size", n)
        patch.setattr(threads._team, "piece_count", threads.PIECES)
        outs, _, ds = by_hand(NumPy, module, arrays, **options)
    return outs + [d for d in ds if d is not None]


@IN_BLOCKS
@given(data=st.data())
def test_blocks_give_the_same_numbers(module, data):
    """One sequence or two at a time, or all of them: the same but for rounding; and to the bit for
    any number of threads."""
    arrays, options = data.draw(cases(CELLS[module.name]))
    whole = results(module, arrays, options, columns=1000)
    for columns in (1, 2):
        small = [results(module, arrays, options, columns, n) for n in (1, 2, 3)]
        for a, b, c, d in zip(*small, whole, strict=True):
            assert a.tobytes() == b.tobytes() == c.tobytes()
            close(a, d, "in blocks")


@given(B=st.integers(0, 300), H=st.integers(1, 300), D=st.integers(1, 2), n=st.integers(1, 9))
def test_blocks_are_all_sequences_once(B, H, D, n):
    """In order, of sequences and products enough, and not of too many."""
    layers = Layers([(None, np.empty((4 * H, H)))] * D, D, *[None] * 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads._team, "piece_count", n)
        blocks = recurrent.blocks(layers, B)
    for d in range(D):
        ours = [c for of, c in blocks if of == d]
        assert [i for c in ours for i in range(B)[c]] == list(range(B))
        sizes = [c.stop - c.start for c in ours]
        assert max(sizes) <= recurrent.LARGEST
        if len(ours) > max(-(-B // recurrent.LARGEST), 1):
            assert min(sizes) >= recurrent.COLUMNS and D * len(ours) <= n
            assert B * 4 * H * H >= recurrent.PRODUCTS * len(ours)


@given(T=st.integers(1, 300), n=st.integers(0, 300), d=st.integers(0, 1))
def test_chunks_are_all_steps_once(T, n, d):
    """In their order; with columns enough, or one step."""
    times = recurrent._times(T, d)
    chunks = recurrent._chunks(times, slice(0, n))
    assert [t for steps in chunks for t in steps] == list(times)
    for steps in chunks:
        assert len(steps) == 1 or len(steps) * n <= recurrent.CHUNK
        assert list(range(T)[recurrent._slice(steps)]) == sorted(steps)


@ON_NUMPY
@pytest.mark.parametrize("B", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_memory_is_linear_in_the_steps(module, B):
    """Of twice as many steps it is twice as much, but for what does not depend on them.

    A part that grows with T² would give 4 where 2 is asked. What Python keeps
    for itself (free lists, a growing list's spare room) is a few per cent.
    """
    cell = CELLS[module.name]
    rng = np.random.default_rng(0)
    weights = draw_weights(rng, cell, 2, 1, 8, 16)

    def peak(T):
        x, gs = rng.standard_normal((T, B, 8)), [rng.standard_normal((T, B, 16))]
        gs += [np.zeros((2, B, 16))] * cell.states
        gc.collect()  # else a collection in the middle decides what is counted
        tracemalloc.start()
        try:
            _, cache = module.forward(x, *[None] * cell.states, *weights)
            module.backward(gs, cache)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    T = 300 if module.where == "cpu" else 150
    peak(T)  # what is made once
    a, b, c = (peak(n * T) for n in (1, 2, 4))
    assert c - b == pytest.approx(2 * (b - a), rel=0.2)


@each_form("lstm", "gru")
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_gates_far_open_or_shut(backend, module, size):
    """Where every gate is at an end of its range nothing overflows."""
    arrays = [size * a for a in of(module)]
    with np.errstate(all="raise", under="ignore"):
        outs, gs, ds = by_hand(backend, module, arrays)
    outs2, ds2 = by_composition(backend, module, arrays, gs)
    for a, b in zip(outs + ds, outs2 + ds2, strict=True):
        assert np.isfinite(a).all()
        close(a, b, "by hand and from primitives", rtol=1e-6, atol=1e-9 * size)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=repr)
@pytest.mark.parametrize(
    "changed, options, error, says",
    [
        ({"count": 3}, {}, ValueError, "has 4 weights; got 3"),
        ({"count": 0}, {}, ValueError, "got 0"),
        ({}, {"bidirectional": True}, ValueError, r"2 direction\(s\) a layer has 8 weights"),
        ({"x": (2, 3, 4, 5)}, {}, ValueError, r"x must be \(T, B, I\)"),
        ({"x": (0, 2, 3)}, {}, ValueError, "one step or more"),
        ({"x": (5, 2, 7)}, {}, ValueError, r"x .* has 7 features.*made for 3.*\(GH, 3\)"),
        ({"x": (5, 1)}, {}, ValueError, r"has 1 feature in .*made for 3"),
        ({"W": (4, 3)}, {}, ValueError, r"layer 0, direction 0.*\(GH, 3\).*got.*\(4, 3\)"),
        ({"h0": (1, 4)}, {}, ValueError, r"h0 must be \(1, 2, 4\).*got \(1, 4\)"),
        ({"dtype": "int64"}, {}, TypeError, "floating and of one dtype; got int64"),
        ({"dtype": "float32"}, {}, TypeError, "float32, float64"),
        ({}, {"lengths": [5]}, ValueError, r"each sequence.*\(1,\)"),
        ({}, {"lengths": [0, 3]}, ValueError, r"from 1 to T = 5; got \[0, 3\]"),
        (
            {},
            {"masks": np.ones((1, 5, 2, 4), bool)},
            ValueError,
            r"masks must be \(0, 5, 2, 4\) bool",
        ),
        ({}, {"masks": np.ones((0, 5, 2, 4))}, ValueError, r"got \(0, 5, 2, 4\) float64"),
        ({}, {"masks": [True]}, ValueError, r"masks must be \(0, 5, 2, 4\) bool.*got \[True\]"),
        ({}, {"dropout": 0.5}, ValueError, "masks are needed.*got 0.5, masks: None"),
        (
            {},
            {"dropout": 1.5, "masks": np.ones((0, 5, 2, 4), bool)},
            ValueError,
            "from 0 to 1.*1.5",
        ),
    ],
)
def test_wrong_arguments_are_named(cell, changed, options, error, says):
    G = cell.gates
    x = np.zeros(changed.get("x", (5, 2, 3)), changed.get("dtype", "float64"))
    starts = [np.zeros(changed["h0"]) if "h0" in changed else None] + [None] * (cell.states - 1)
    weights = [
        np.zeros(changed.get("W", (G * 4, 3))),
        np.zeros((G * 4, 4)),
        np.zeros(G * 4),
        np.zeros(G * 4),
    ][: changed.get("count")]
    says = f"{cell.name.lower()}: .*{says.replace('GH', str(G * 4))}"
    for wrap in (np.array, nag.Tensor):
        with pytest.raises(error, match=says):
            cell.function(wrap(x), *starts, *weights, **options)


def test_the_cell_is_checked_too():
    x, weights = np.zeros((5, 2, 3)), [np.zeros((16, 3)), np.zeros((16, 4))]
    with pytest.raises(ValueError, match=r"lstm: c0 must be \(1, 2, 4\).*got \(1, 2, 3\)"):
        nag.functional.lstm(x, (None, np.zeros((1, 2, 3))), *weights, bias=False)


@st.composite
def several_lengths(draw):
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    return lengths, draw(st.integers(max(lengths), 10))


@EACH
@given(st.data(), st.booleans(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_weights_that_are_not_finite_reach_no_padding(backend, module, data, bidirectional, bad):
    """Neither its output nor its gradient, which are 0."""
    options = {"bidirectional": bidirectional, "lengths": [2, 5, 1]}
    arrays = of(module, bidirectional=bidirectional)
    k = data.draw(st.integers(1 + CELLS[module.name].states, len(arrays) - 1))
    arrays[k].flat[data.draw(st.integers(0, arrays[k].size - 1))] = bad
    with np.errstate(all="ignore"):
        (out, *_), _, (dx, *_) = by_hand(backend, module, arrays, **options)
    for c, length in enumerate(options["lengths"]):
        assert not out[length:, c].any() and not dx[length:, c].any()


@given(several_lengths(), st.integers(0, 1))
def test_pieces_are_all_steps_once(case, d):
    """In their order, of the sequences that have them; and none of the padding."""
    lengths, T = case
    layers = Layers([], 2, lengths, *[None] * 4)
    seen = [[] for _ in lengths]
    for steps, c in layers.pieces(np, T, d):
        for i in range(len(lengths))[c] if isinstance(c, slice) else c:
            seen[i] += range(T)[steps]
    assert seen == [list(range(n))[:: -1 if d else 1] for n in lengths]


@each_form("rnn")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_would_overflow_at_padding_is_not_computed(backend, module, bidirectional):
    """States that double at each step: in the padding, which is not a part of the sequences, they
    would be infinite."""
    T, lengths, D = 300, [3, 2, 5], 1 + bidirectional
    rng = np.random.default_rng(0)
    weights = draw_weights(rng, CELLS["rnn"], 1, D, 2, 4)
    weights[1::4] = [-2 * np.eye(4)] * D
    arrays = [a.astype("float32") for a in (10 * rng.standard_normal((T, 3, 2)), *weights)]
    arrays.insert(1, None)
    options = {"lengths": lengths, "bidirectional": bidirectional, "nonlinearity": "relu"}
    found = by_hand(backend, module, arrays, **options)
    gs = [found[1][0][:5], found[1][1]]
    wanted = by_hand(backend, module, [arrays[0][:5], *arrays[1:]], gs, **options)
    found[0][0], found[2][0] = found[0][0][:5], found[2][0][:5]
    for a, b in zip(found[0] + found[2], wanted[0] + wanted[2], strict=True):
        if a is not None:
            assert np.isfinite(a).all()
            close(a, b, "with more padding, and with less")


@pytest.mark.parametrize("cell", CELLS.values(), ids=repr)
def test_other_arrays_than_numpys_are_left_to_one_thread(cell, monkeypatch):
    """CuPy's stream is that of a thread: in another one, what was begun here may not be done."""
    monkeypatch.setattr(threads._team, "size", 2)
    monkeypatch.setattr(threads._team, "piece_count", 2)

    def refuse(f):
        raise AssertionError("another thread was asked")

    monkeypatch.setattr(threads, "_submit", refuse)
    rng = np.random.default_rng(0)
    H, starts = 64, [None] * cell.states
    arrays = [rng.standard_normal((9, 64, 8)), *draw_weights(rng, cell, 1, 1, 8, H)]
    with pytest.raises(AssertionError, match="another thread"):  # of NumPy's they are many enough
        cell.function(arrays[0], *starts, *arrays[1:])
    x, *weights = [
        nag.Tensor(to_device(a.astype("float32"), "strict"), requires_grad=True) for a in arrays
    ]
    cell.function(x, *starts, *weights)[0].sum().backward()
    assert x.grad.shape == x.shape
