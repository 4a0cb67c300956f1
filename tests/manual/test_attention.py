"""attention: three ways to one gradient, PyTorch, and queries that see nothing."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from three_ways import (
    agree,
    by_composition,
    by_hand,
    close,
    each_alone,
    each_form,
    each_form_on_numpy,
    walked,
)

import nanoautograd as nag
from nanoautograd.backends import threads
from nanoautograd.kernels.cpu import attention as in_blocks
from nanoautograd.manual import attention

EACH = each_form("attention")
ON_NUMPY = each_form_on_numpy("attention")
SEEDS = st.integers(0, 2**32 - 1)
INF = np.inf


@st.composite
def cases(draw, masks=("none", "boolean", "added", "added -inf")):
    """Arrays q, k, v, mask whose batch axes broadcast in all ways, and options."""
    rng = np.random.default_rng(draw(SEEDS))
    T, S, d, e = (draw(st.integers(1, 4)) for _ in range(4))
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    S, batch = draw(st.sampled_from([(S, batch)] * 4 + [(0, batch), (S, [0])]))

    def ahead():
        """The batch axes, some of them missing or of length 1."""
        kept = batch[draw(st.integers(0, len(batch))) :]
        return [n if draw(st.booleans()) else 1 for n in kept]

    q, k, v = (rng.standard_normal((*ahead(), *last)) for last in ((T, d), (S, d), (S, e)))
    kind = draw(st.sampled_from(masks))
    shape = *ahead(), draw(st.sampled_from([1, T])), draw(st.sampled_from([1, S]))
    mask = None if kind == "none" else rng.standard_normal(shape)
    if kind == "boolean":
        mask = mask > draw(st.sampled_from([-1.0, 0.5, INF]))  # the last: nothing is seen
    elif kind == "added -inf":
        mask[mask < 0.5] = -INF
    return [q, k, v, mask], {
        "causal": draw(st.booleans()),
        "scale": draw(st.sampled_from([None, 1, 0.3])),
    }


def with_dropout(module, p, seed, offset):
    """The form as one without these options (the helpers have a `seed` of their own)."""
    options = {"p": p, "seed": seed, "offset": offset}
    return module._replace(
        forward=partial(module.forward, **options), reference=partial(module.reference, **options)
    )


@EACH
@given(cases(), st.booleans(), SEEDS, st.sampled_from([0.0, 0.4, 1.0]))
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(
    backend, module, case, return_weights, seed, p
):
    arrays, options = case
    dropped = with_dropout(module, p, seed, 3)
    agree(backend, dropped, arrays, seed, return_weights=return_weights, **options)


def cut(rows, numbers, team=1):
    """Blocks of so many queries, and about so many scores; so many threads."""
    patch = pytest.MonkeyPatch()
    patch.setattr(in_blocks, "ROWS", rows)
    patch.setattr(in_blocks, "SCORES", 1)
    patch.setattr(threads, "BLOCK", numbers)
    patch.setattr(threads._team, "size", team)
    return patch


def batches(of_q, of_v):
    """Queries, and values, with these batch axes; the keys have none."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal((*ahead, *last))
        for ahead, last in ((of_q, (2, 3)), ((), (3, 3)), (of_v, (3, 2)))
    ] + [None], {"causal": False}


@given(
    cases(),
    st.booleans(),
    SEEDS,
    st.sampled_from([0.0, 0.4]),
    st.integers(1, 3),
    st.sampled_from([1, 6, 20]),
)
@example(batches((2, 3, 2), (2, 3, 2)), False, 0, 0.4, 2, 12)  # parts of two heads
@example(batches((1, 3), (2, 3)), False, 0, 0.4, 2, 6)  # one array of weights for two of v
@example(batches((3, 1, 3), (3, 2, 3)), True, 0, 0.4, 1, 3)
def test_blocks_give_the_same_numbers(case, return_weights, seed, p, rows, numbers):
    """The same as in manual/, whatever has an axis and however it is cut; the same dropout too; and
    the same to the bit for any number of threads."""
    arrays, options = case
    options |= {"return_weights": return_weights, "p": p, "seed": seed, "offset": 3}
    for a in arrays:
        if a is not None:
            a.flags.writeable = False

    def results(module):
        out, cache = module.forward(*arrays, **options)
        outs = out if return_weights else (out,)
        gs = [np.random.default_rng(seed).standard_normal(y.shape) for y in outs]
        for g in gs:
            g.flags.writeable = False
        ds = walked(arrays, module.backward(gs if return_weights else gs[0], cache))
        return [*outs, *(d for d in ds if d is not None)]

    found = []
    for team in (1, 2, 3):
        patch = cut(rows, numbers, team)
        try:
            found.append(results(in_blocks))
        finally:
            patch.undo()
    for wanted, *others in zip(results(attention), *found, strict=True):
        close(others[0], wanted, "in blocks")
        assert len({a.tobytes() for a in others}) == 1


@EACH
def test_dropout_is_that_of_the_weights(backend, module):
    """And the output is the values, weighted by what is left."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, n, 4)) for n in (5, 6, 6))
    (_, P), *_ = by_hand(backend, module, [q, k, v], return_weights=True)
    (o, W), *_ = by_hand(backend, with_dropout(module, 0.25, 7, 2), [q, k, v], return_weights=True)
    close(W, nag.functional.dropout(P, 0.25, seed=7, offset=2), "the weights")
    close(o, W @ v, "the output")
    assert (W == 0).any() and (W != 0).any()


@EACH
def test_one_set_of_weights_for_many_values(backend, module):
    """Only v has batch axes: what arrives at the weights counts once, not once for each batch."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(s) for s in ((2, 3), (4, 3), (5, 4, 2)))
    agree(backend, module, [q, k, v], return_weights=True)


@EACH
@given(cases())
def test_only_what_is_needed(backend, module, case):
    arrays, options = case
    each_alone(backend, module, arrays, return_weights=True, **options)


@EACH
@given(cases())
def test_it_gives_what_a_plain_loop_gives(backend, module, case):
    """Every query on its own, over the keys that it sees."""
    (q, k, v, mask), options = case
    (o, P), *_ = by_hand(backend, module, [q, k, v, mask], return_weights=True, **options)
    c = 1 / np.sqrt(q.shape[-1]) if options["scale"] is None else options["scale"]
    batch, (T, S) = o.shape[:-2], (q.shape[-2], k.shape[-2])
    q, k, v = (np.broadcast_to(a, batch + a.shape[-2:]) for a in (q, k, v))
    added = np.zeros((*batch, T, S))
    if mask is not None:
        added = added + (mask if mask.dtype == float else np.where(mask, 0, -INF))
    P = np.broadcast_to(P, (*batch, T, S))
    for *b, t in np.ndindex(*batch, T):
        b = tuple(b)
        weights = np.zeros(S)
        for s in range(S):
            if not (options["causal"] and s > t):
                weights[s] = np.exp(c * q[b][t] @ k[b][s] + added[b][t, s])
        weights /= max(weights.sum(), 1e-300)
        np.testing.assert_allclose(P[b][t], weights, atol=1e-12)
        np.testing.assert_allclose(o[b][t], weights @ v[b], atol=1e-12)


@ON_NUMPY
@pytest.mark.oracle
@given(cases(masks=("none", "boolean", "added")))
def test_pytorch_computes_the_same(module, case):
    torch = pytest.importorskip("torch")
    arrays, options = case
    if options["causal"] and arrays[3] is not None:
        arrays[3] = None  # PyTorch takes one of the two
    out, cache = module.forward(*arrays, **options)
    g = np.random.default_rng(0).standard_normal(out.shape)
    ds = walked(arrays, module.backward(g, cache))
    ts = [a if a is None else torch.tensor(a, requires_grad=a.dtype == float) for a in arrays]
    # PyTorch wants the batch axes of q, k and v written out
    full = [t.broadcast_to(out.shape[:-2] + t.shape[-2:]) for t in ts[:3]]
    want = torch.nn.functional.scaled_dot_product_attention(
        *full, attn_mask=ts[3], is_causal=options["causal"], scale=options["scale"]
    )
    close(out, want.detach().numpy(), "the output")
    wanted = [(t, d) for t, d in zip(ts, ds) if t is not None and t.requires_grad]
    grads = torch.autograd.grad(want, [t for t, _ in wanted], torch.tensor(g), allow_unused=True)
    for (t, d), dt in zip(wanted, grads):
        close(d, np.zeros(t.shape) if dt is None else dt.numpy(), "a gradient")


@EACH
@pytest.mark.parametrize("kind", ["boolean", "added", "no keys"])
def test_a_query_that_sees_nothing(backend, module, kind):
    rng = np.random.default_rng(0)
    S = 0 if kind == "no keys" else 3
    q, k, v = (rng.standard_normal((2, n, 4)) for n in (5, S, S))
    mask = np.ones((5, S), bool)
    mask[1] = False
    if kind == "added":
        mask = np.where(mask, 0.0, -INF)
    (o, P), gs, ds = by_hand(backend, module, [q, k, v, mask], return_weights=True)
    _, ds2 = by_composition(backend, module, [q, k, v, mask], gs, return_weights=True)
    blind = np.s_[:] if kind == "no keys" else np.s_[:, 1]
    assert not o[blind].any() and not P[blind].any() and not ds[0][blind].any()
    for a in [o, P, *ds, *ds2]:
        assert a is None or np.isfinite(a).all()


@EACH
def test_the_future_does_not_matter(backend, module):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 4, 3)) for _ in range(3))
    (o,), *_ = by_hand(backend, module, [q, k, v], causal=True)
    k[:, 3], v[:, 3] = 100.0, -100.0
    (changed,), *_ = by_hand(backend, module, [q, k, v], causal=True)
    np.testing.assert_array_equal(o[:, :3], changed[:, :3])
    assert not np.allclose(o[:, 3], changed[:, 3])


@EACH
@pytest.mark.parametrize("T, S", [(2, 4), (4, 2), (1, 3), (3, 1)])
def test_causal_with_more_or_fewer_keys_counts_from_the_first(backend, module, T, S):
    """Query t sees the keys 0 to t: PyTorch's reading, not one aligned at the end."""
    q, k, v = np.zeros((T, 1)), np.zeros((S, 1)), np.ones((S, 1))
    (_, P), *_ = by_hand(backend, module, [q, k, v], causal=True, return_weights=True)
    for t in range(T):
        n = min(t + 1, S)
        np.testing.assert_allclose(P[t], [1 / n] * n + [0] * (S - n))


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_do_not_overflow(backend, module, dtype):
    q, k = np.array([[1e2], [-1e2]], dtype), np.array([[1e2], [-1e2], [0]], dtype)
    v = np.eye(3, dtype=dtype)
    (o,), _, ds = by_hand(backend, module, [q, k, v], scale=1)
    np.testing.assert_array_equal(o, np.eye(3, dtype=dtype)[:2])
    for d in ds[:3]:
        assert np.isfinite(d).all()


@EACH
@pytest.mark.parametrize("mask", ["none", "boolean", "added"])
def test_float32_stays_and_agrees_with_float64(backend, module, mask):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, n, 3)) for n in (4, 5, 5)]
    arrays.append(
        {"none": None, "boolean": np.ones((4, 5), bool), "added": rng.standard_normal((4, 5))}[mask]
    )
    low = [a.astype("float32") if a is not None and a.dtype == float else a for a in arrays]
    outs, gs, ds = by_hand(backend, module, arrays, causal=True, return_weights=True)
    outs32, _, ds32 = by_hand(
        backend, module, low, [g.astype("float32") for g in gs], causal=True, return_weights=True
    )
    outs2, ds2 = by_composition(
        backend, module, low, [g.astype("float32") for g in gs], causal=True, return_weights=True
    )
    for a, b, c in zip(outs32 + ds32, outs + ds, outs2 + ds2):
        if a is not None:
            close(a, b.astype("float32"), "by hand")
            close(c, b.astype("float32"), "reference")


@EACH
def test_any_layout_will_do(backend, module):
    """Heads come as views: (B, T, H, d) with the axes of time and head swapped."""
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.standard_normal((2, 5, 3, 4)) for _ in range(4))
    (o,), _, ds = by_hand(
        backend, module, [a.swapaxes(1, 2).copy() for a in (q, k, v)], [g.swapaxes(1, 2).copy()]
    )
    views = [backend.array(a).swapaxes(1, 2) for a in (q, k, v, g)]
    out, cache = module.forward(*views[:3])
    close(backend.numpy(out), o, "the output")
    for a, b in zip(module.backward(views[3], cache)[:3], ds):
        close(backend.numpy(a), b, "a gradient")


def test_results_have_the_memory_order_of_the_heads():
    """Results have the order of memory of the queries, keys and values, so that heads which are
    views of (B, T, H·d) are put together again without a copy."""
    q, k, v = np.ones((2, 5, 3, 3, 4)).transpose(2, 0, 3, 1, 4)
    out, cache = in_blocks.forward(q, k, v, causal=True)
    for a in (out, *in_blocks.backward(out, cache)[:3]):
        assert a.shape == (2, 3, 5, 4) and a.swapaxes(1, 2).flags.c_contiguous


@pytest.mark.parametrize("T", [16, 150])  # in one block of queries, and in several
@given(st.integers(0, 99), st.floats(20, 100))
def test_blocks_are_as_exact_where_each_query_sees_one_key(T, seed, score):
    """There dP - D is the small difference of large numbers."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((T, 32))
    q *= np.sqrt(score * np.sqrt(32)) / np.linalg.norm(q, axis=-1, keepdims=True)
    arrays = [a.astype("float32") for a in (q, q, *rng.standard_normal((2, T, 32)))]

    def gradients(module, dtype):
        *inputs, do = (a.astype(dtype) for a in arrays)
        return module.backward(do, module.forward(*inputs)[1])[:3]

    right = gradients(attention, "float64")
    by_hand, by_blocks = (gradients(m, "float32") for m in (attention, in_blocks))
    for d, a, b in zip(right, by_hand, by_blocks, strict=True):
        assert np.abs(b - d).max() <= 4 * np.abs(a - d).max() + 1e-12


@EACH
def test_the_second_derivative_is_that_of_differences(backend, module):
    """The gradient's own gradient against differences of the gradient by hand."""
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal(s) for s in ((2, 3, 4), (2, 5, 4), (2, 5, 3), (3, 5))]
    us = [rng.standard_normal(x.shape) for x in xs]
    vs = [rng.standard_normal(x.shape) for x in xs]
    g = rng.standard_normal((2, 3, 3))

    def slope_along_u(*xs):
        out, cache = module.forward(*xs, causal=True)
        return sum(np.sum(u * d) for u, d in zip(us, module.backward(2 * g * out, cache)))

    ts = [backend.tensor(x, requires_grad=True) for x in xs]
    out = nag.functional.scaled_dot_product_attention(*ts, is_causal=True)
    ds = nag.autograd.grad((nag.Tensor(backend.array(g)) * out**2).sum(), ts, create_graph=True)
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


@pytest.mark.parametrize(
    "q, k, v, mask, error, says",
    [
        (np.ones(3), np.ones((2, 3)), np.ones((2, 3)), None, ValueError, "two axes"),
        (np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 4)), None, ValueError, "number of features"),
        (np.ones((2, 0)), np.ones((2, 0)), np.ones((2, 4)), None, ValueError, "one or more"),
        (np.ones((2, 3)), np.ones((4, 3)), np.ones((5, 3)), None, ValueError, "one value for each"),
        (np.ones((2, 2, 3)), np.ones((3, 2, 3)), np.ones((2, 3)), None, ValueError, "batch axes"),
        (np.ones((2, 3), int), np.ones((4, 3)), np.ones((4, 3)), None, TypeError, "int64"),
        (np.ones((2, 3)), np.ones((4, 3), "f"), np.ones((4, 3)), None, TypeError, "float32"),
        (
            np.ones((2, 3)),
            np.ones((4, 3)),
            np.ones((4, 3)),
            np.ones((2, 4), int),
            TypeError,
            "must be boolean",
        ),
        (
            np.ones((2, 3)),
            np.ones((4, 3)),
            np.ones((4, 3)),
            np.ones((2, 4), "f"),
            TypeError,
            "float64 like q",
        ),
        (
            np.ones((2, 3)),
            np.ones((4, 3)),
            np.ones((4, 3)),
            np.ones((4, 2), bool),
            ValueError,
            r"\(4, 2\) does not broadcast to the scores, \(2, 4\)",
        ),
        (
            np.ones((1, 3)),
            np.ones((4, 3)),
            np.ones((4, 3)),
            np.ones((2, 4), bool),
            ValueError,
            "does not broadcast",
        ),
    ],
)
def test_wrong_arguments_are_named(q, k, v, mask, error, says):
    with pytest.raises(error, match=says):
        nag.functional.scaled_dot_product_attention(q, k, v, mask)


@pytest.mark.parametrize("p", [-0.1, 1.5, np.nan])
@pytest.mark.parametrize("S", [0, 3])
def test_what_is_no_probability_is_refused(backend, p, S):
    q, k = backend.array(np.ones((2, 4))), backend.array(np.ones((S, 4)))
    with pytest.raises(ValueError, match=f"dropout_p must be a probability.*; got {p}"):
        nag.functional.scaled_dot_product_attention(q, k, k, dropout_p=p, seed=0)


def peak(T, **options):
    """Bytes that forward and backward of one head take at their largest."""
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.standard_normal((1, T, 8), dtype="f") for _ in range(4))
    tracemalloc.start()
    try:
        _, cache = in_blocks.forward(q, k, v, **options)
        in_blocks.backward(g, cache)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"p": 0.1}])
def test_memory_is_linear_in_time(options):
    """Twice the queries and keys take twice the memory, and what is kept for them less than one
    array of scores."""
    peaks = [peak(T, **options) for T in (256, 512, 1024, 2048)]
    for a, b in zip(peaks, peaks[1:]):
        assert b < 2.2 * a
    assert peaks[-1] < 2048 * 2048 * 4
