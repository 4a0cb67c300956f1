"""crf: three ways to one gradient; log Z, score, marginals and Viterbi's best against all sequences
of tags, one by one; forbidden tags, padding, bad input."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from second_order import second_order
from three_ways import agree, by_composition, by_hand, close, each_alone

import nanoautograd as nag
from nanoautograd.manual import crf
from nanoautograd.manual.viterbi import viterbi

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw):
    """(x, A, s, e), and a mask or none."""
    rng = np.random.default_rng(draw(SEEDS))
    T, B, K = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
    arrays = [rng.standard_normal(shape) for shape in ((T, B, K), (K, K), (K,), (K,))]
    lengths = rng.integers(1, T + 1, B)
    mask = np.arange(T)[:, None] < lengths
    return arrays, draw(st.sampled_from([mask, None]))


def all_sequences(arrays, mask, b):
    """Sequence number b: its length, and (tags, S(tags)) for every sequence of tags."""
    x, A, s, e = arrays
    n = len(x) if mask is None else int(mask[:, b].sum())
    scored = []
    for y in product(range(x.shape[2]), repeat=n):
        S = s[y[0]] + e[y[-1]] + sum(x[t, b, y[t]] for t in range(n))
        scored.append((y, S + sum(A[i, j] for i, j in zip(y, y[1:]))))
    return n, scored


@given(cases(), SEEDS)
def test_the_gradient_by_hand_is_that_of_the_reference_and_of_differences(backend, case, seed):
    arrays, mask = case
    agree(backend, crf, arrays, seed, mask=mask)
    each_alone(backend, crf, arrays, mask=mask)


@given(cases())
def test_log_partition_and_marginals_are_sums_over_all_sequences(backend, case):
    arrays, mask = case
    x, A, s, e = arrays
    (z,), (g,), (dx, dA, ds, de) = by_hand(backend, crf, arrays, mask=mask)
    px, pA, ps, pe = (np.zeros_like(a) for a in arrays)
    for b in range(x.shape[1]):
        n, scored = all_sequences(arrays, mask, b)
        Z = sum(np.exp(S) for _, S in scored)
        np.testing.assert_allclose(z[b], np.log(Z), rtol=1e-10)
        for y, S in scored:
            P = np.exp(S) / Z
            px[range(n), b, y] += P
            ps[y[0]] += g[b] * P
            pe[y[-1]] += g[b] * P
            for i, j in zip(y, y[1:]):
                pA[i, j] += g[b] * P
    for d, p in zip((dx, dA, ds, de), (px * g[:, None], pA, ps, pe)):
        np.testing.assert_allclose(d, p, rtol=1e-9, atol=1e-12)


@given(cases(), SEEDS)
def test_the_score_is_that_of_the_definition_and_probabilities_sum_to_one(backend, case, seed):
    """The score of every sequence is that of the definition; the probabilities sum to 1."""
    arrays, mask = case
    T, B, K = arrays[0].shape
    if not B:
        return
    here = [backend.array(a) for a in arrays]
    z, _ = crf.forward(*here, mask=mask)
    n, scored = all_sequences(arrays, mask, 0)
    total, tags = 0.0, np.random.default_rng(seed).integers(0, K, (T, B))
    tags[n:, 0] = -1  # padding may be anything
    tags[:, 1:] *= True if mask is None else mask[:, 1:]
    for y, S in scored:
        tags[:n, 0] = y
        found = backend.numpy(crf.score(*here, backend.array(tags), mask=mask))
        np.testing.assert_allclose(found[0], S, rtol=1e-10, atol=1e-12)
        total += np.exp(found[0] - backend.numpy(z)[0])
    np.testing.assert_allclose(total, 1, rtol=1e-10)


@given(cases())
def test_viterbi_finds_the_best_of_all(backend, case):
    arrays, mask = case
    tags, best = viterbi(*(backend.array(a) for a in arrays), mask=mask)
    tags, best = backend.numpy(tags), backend.numpy(best)
    assert tags.shape == arrays[0].shape[:2] and tags.dtype.kind == "i"
    for b in range(tags.shape[1]):
        n, scored = all_sequences(arrays, mask, b)
        y, S = max(scored, key=lambda pair: pair[1])
        np.testing.assert_allclose(best[b], S, rtol=1e-10)
        assert tuple(tags[:n, b]) == y and not tags[n:, b].any()


@given(cases())
def test_padding_has_no_influence(backend, case):
    """A padded sequence gives what it gives alone, and its padding gets no gradient."""
    (x, *scores), _ = case
    T, B, K = x.shape
    padded = np.concatenate([x, np.full((2, B, K), np.nan)])
    mask = np.arange(T + 2)[:, None] < np.full(B, T)
    (z,), g, ds = by_hand(backend, crf, [x, *scores])
    (z2,), _, ds2 = by_hand(backend, crf, [padded, *scores], g, mask=mask)
    np.testing.assert_array_equal(z, z2)
    np.testing.assert_array_equal(np.concatenate([ds[0], np.zeros((2, B, K))]), ds2[0])
    for a, b in zip(ds[1:], ds2[1:]):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("error")
def test_forbidden_tags_and_transitions(backend):
    """Scores of -inf: what is forbidden has probability 0, and nothing becomes nan, also where a
    tag cannot be reached, and where no sequence at all is possible."""
    rng = np.random.default_rng(0)
    x, A, s, e = (rng.standard_normal(n) for n in ((4, 2, 3), (3, 3), 3, 3))
    s[2] = A[0, 1] = A[:, 2] = -np.inf  # tag 2 cannot be reached
    x[:, 1, :2] = -np.inf  # the second sequence needs it
    (z,), g, ds = by_hand(backend, crf, [x, A, s, e])
    (z2,), ds2 = by_composition(backend, crf, [x, A, s, e], g)
    n, scored = all_sequences((x, A, s, e), None, 0)
    np.testing.assert_allclose(z, [np.log(sum(np.exp(S) for _, S in scored)), -np.inf])
    close(z2, z, "reference")
    for d, d2, a in zip(ds, ds2, (x, A, s, e)):
        assert np.isfinite(d).all() and not d[a == -np.inf].any()
        close(d2, d, "the gradient of the reference")
    assert not ds[0][:, 1].any() and ds[0][:, 0].any()
    tags, best = viterbi(*(backend.array(a) for a in (x, A, s, e)))
    y, S = max(scored, key=lambda pair: pair[1])
    assert tuple(backend.numpy(tags)[:, 0]) == y and backend.numpy(best)[1] == -np.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_and_long_sequences(backend, dtype):
    """No sum overflows: log Z of 200 steps with scores of ±1000 is finite, and so are the
    marginals, which sum to 1 at each step."""
    rng = np.random.default_rng(0)
    arrays = [(1000 * rng.choice([-1, 1], n)).astype(dtype) for n in ((200, 2, 4), (4, 4), 4, 4)]
    (z,), _, (dx, *_) = by_hand(backend, crf, arrays, [np.ones(2, dtype)])
    assert np.isfinite(z).all() and z.dtype == dtype
    np.testing.assert_allclose(dx.sum(axis=2), 1, rtol=1e-5 if dtype == "float64" else 0.3)


def test_float32_stays_and_any_layout_will_do(backend):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n) for n in ((5, 2, 3), (3, 3), 3, 3)]
    outs, gs, ds = by_hand(backend, crf, arrays)
    low, gs32 = ([a.astype("f") for a in some] for some in (arrays, gs))
    outs32, _, ds32 = by_hand(backend, crf, low, gs32)
    outs2, ds2 = by_composition(backend, crf, low, gs32)
    for a, b, c in zip(outs32 + ds32, outs2 + ds2, outs + ds, strict=True):
        close(a, c.astype("f"), "by hand")
        close(b, c.astype("f"), "reference")
    z, cache = crf.forward(*(backend.array(a.T.copy()).T for a in arrays))
    close(backend.numpy(z), outs[0], "a view")
    for d, want in zip(crf.backward(backend.array(np.repeat(gs[0], 2))[::2], cache), ds):
        close(backend.numpy(d), want, "a view")


def test_the_second_derivative_is_that_of_differences(backend):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n) for n in ((4, 2, 3), (3, 3), 3, 3)]
    mask = np.array([[True, True], [True, True], [True, False], [True, False]])
    second_order(
        backend,
        lambda *ts: nag.functional.crf_log_partition(*ts, mask=mask),
        crf,
        arrays,
        mask=mask,
    )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_the_loss_is_that_of_all_sequences_of_tags(backend, reduction):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n) for n in ((3, 2, 3), (3, 3), 3, 3)]
    tags, mask = np.array([[0, 2], [1, 1], [2, -100]]), np.array([[1, 1], [1, 1], [1, 0]], bool)
    losses = []
    for b in range(2):
        n, scored = all_sequences(arrays, mask, b)
        losses.append(np.log(sum(np.exp(S) for _, S in scored)) - dict(scored)[(*tags[:n, b],)])
    x, A, s, e = (backend.tensor(a, requires_grad=True) for a in arrays)
    loss = nag.functional.crf_loss(
        x, backend.array(tags), A, s, e, mask=backend.array(mask), reduction=reduction
    )
    want = {"none": losses, "sum": sum(losses), "mean": sum(losses) / 2}[reduction]
    np.testing.assert_allclose(backend.numpy(loss), want, rtol=1e-10)
    loss.sum().backward()
    np.testing.assert_allclose(backend.numpy(x.grad).sum(axis=2), 0, atol=1e-12)  # P - onehot


X, A, S = np.zeros((3, 2, 4)), np.zeros((4, 4)), np.zeros(4)


@pytest.mark.parametrize(
    "arrays, mask, error, says",
    [
        ((X[0], A, S, S), None, ValueError, r"emissions must be \(T, B, K\).*\(2, 4\)"),
        ((X[:0], A, S, S), None, ValueError, "at least one step"),
        ((X, A[:3], S, S), None, ValueError, r"with 4 tags.*\(4, 4\).*transitions \(3, 4\)"),
        ((X, A, S[:2], S), None, ValueError, r"start \(2,\)"),
        ((X, A, S, S.astype("f")), None, TypeError, "one dtype.*end.*float32"),
        ((X.astype(int), A, S, S), None, TypeError, "floating.*int64"),
        (
            (X, A, S, S),
            np.ones((2, 3), bool),
            ValueError,
            r"mask must.*\(3, 2\).*got \(2, 3\) bool",
        ),
        ((X, A, S, S), np.ones((3, 2)), ValueError, "float64"),
        ((X, A, S, S), np.array([[0, 1], [1, 1], [1, 0]], bool), ValueError, "empty or has a gap"),
        ((X, A, S, S), np.array([[1, 1], [0, 1], [1, 0]], bool), ValueError, "empty or has a gap"),
    ],
)
def test_wrong_arguments_are_named(arrays, mask, error, says):
    tags = np.zeros(arrays[0].shape[:2], int)
    with pytest.raises(error, match=says):
        nag.functional.crf_log_partition(*arrays, mask=mask)
    with pytest.raises(error, match=says):
        nag.functional.crf_loss(arrays[0], tags, *arrays[1:], mask=mask)


@pytest.mark.parametrize(
    "x, mask, error, says",
    [
        (X[0], None, ValueError, r"emissions must be \(T, B, K\)"),
        (X[..., :3], None, ValueError, r"with 3 tags.*transitions \(4, 4\)"),
        (X.astype("f"), None, TypeError, "one dtype"),
        (X, np.array([[1, 1], [0, 1], [1, 0]], bool), ValueError, "empty or has a gap"),
    ],
)
def test_errors_of_the_best_sequence(x, mask, error, says):
    with pytest.raises(error, match=says):
        nag.nn.CRF(4, dtype=np.float64).decode(x, mask)


@pytest.mark.parametrize(
    "tags, error, says",
    [
        (np.array([[0, 1], [2, 3], [4, 0]]), IndexError, "tag 4 .*4 tags, 0 to 3"),
        (np.array([[0, 1], [2, -1], [0, 0]]), IndexError, "tag -1"),
        (np.zeros((2, 3), int), ValueError, r"\(3, 2\).*got \(2, 3\) int64"),
        (np.zeros((3, 2)), ValueError, "float64"),
    ],
)
def test_tags_that_cannot_be_are_refused(tags, error, says):
    with pytest.raises(error, match=says):
        nag.functional.crf_loss(X, tags, A, S, S)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="'none', 'mean' or 'sum'; got 'avg'"):
        nag.functional.crf_loss(X, np.zeros((3, 2), int), A, S, S, reduction="avg")
