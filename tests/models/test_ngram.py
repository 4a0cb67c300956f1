"""models/ngram.py against examples by hand, a slow model of dictionaries, and known figures."""

import sys
import time
from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import Characters, read_text, split
from models.inference.sampling import choose
from models.ngram import Config, NGramLanguageModel

SMOOTHINGS = ["witten-bell", "kneser-ney"]
a, b, c, d = range(4)


def test_witten_bell_by_hand():
    """abac: after nothing a twice, b and c once; after a, b and c once each; d was never seen."""
    model = NGramLanguageModel(Config(4, 2, "witten-bell")).fit([a, b, a, c])
    unigram = np.array([2 + 3 / 4, 1 + 3 / 4, 1 + 3 / 4, 3 / 4]) / 7
    np.testing.assert_allclose(model.distribution([]), unigram, rtol=1e-14)
    np.testing.assert_allclose(
        model.distribution([d, a]), (np.array([0, 1, 1, 0]) + 2 * unigram) / 4, rtol=1e-14
    )
    np.testing.assert_allclose(model.distribution([c]), unigram, rtol=1e-14)  # nothing follows c


def test_kneser_ney_by_hand():
    """abacab: its pairs are ab (twice), ba, ac, ca, so D = 3 / (3 + 2 · 1) for them. Before a come
    three things (the beginning, b, c), before b and c one (a): D = 2 / (2 + 0) for these."""
    model = NGramLanguageModel(Config(4, 2, "kneser-ney")).fit([a, b, a, c, a, b])
    unigram = (np.array([3 - 1, 0, 0, 0]) + 1 * 3 / 4) / 5
    np.testing.assert_allclose(model.distribution([]), unigram, rtol=1e-14)
    D = 3 / 5
    np.testing.assert_allclose(
        model.distribution([a]), (np.array([0, 2 - D, 1 - D, 0]) + 2 * D * unigram) / 3, rtol=1e-14
    )
    np.testing.assert_allclose(model.distribution([d]), unigram, rtol=1e-14)


@pytest.mark.parametrize("smoothing, singles", [("witten-bell", [2, 2]), ("kneser-ney", [2, 1])])
def test_the_example_of_the_docstring(smoothing, singles):
    state = NGramLanguageModel(Config(2, 2, smoothing)).fit([a, b, a, b]).state_dict()
    assert {name: array.tolist() for name, array in state.items()} == {
        "keys.0": [0, 1],
        "keys.1": [1, 2],
        "counts.0": singles,
        "counts.1": [2, 1],
    }


def slow(tokens, V, n, smoothing):
    """p(w | h) as a function, from dictionaries of dictionaries."""
    counts = [defaultdict(Counter) for _ in range(n)]
    before = [defaultdict(set) for _ in range(n)]
    for t, w in enumerate(tokens):
        for k in range(min(n, t + 1)):
            h = tuple(tokens[t - k : t])
            counts[k][h][w] += 1
            before[k][h + (w,)].add(tokens[t - k - 1] if t > k else "beginning")
    if smoothing == "kneser-ney":
        for k in range(n - 1):
            for h in counts[k]:
                counts[k][h] = Counter({w: len(before[k][h + (w,)]) for w in counts[k][h]})

    def p(w, h):
        below = p(w, h[1:]) if h else 1 / V
        C = counts[len(h)].get(h)
        if not C:
            return below
        if smoothing == "witten-bell":
            return (C[w] + len(C) * below) / (C.total() + len(C))
        n1, n2 = (sum(c == m for C in counts[len(h)].values() for c in C.values()) for m in (1, 2))
        D = n1 / (n1 + 2 * n2) if n1 else 0.5
        return (max(C[w] - D, 0) + D * len(C) * below) / C.total()

    return p


texts = st.lists(st.integers(0, 4), max_size=60)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(texts, texts, st.integers(1, 6))
def test_the_slow_model_agrees(smoothing, tokens, others, n):
    model = NGramLanguageModel(Config(6, n, smoothing)).fit(tokens)  # token 5 is never seen
    p = slow(tokens, 6, n, smoothing)
    expected = [np.log(p(w, tuple(others[max(0, t - n + 1) : t]))) for t, w in enumerate(others)]
    np.testing.assert_allclose(model.log_probabilities(others), expected, rtol=1e-10)
    history = tuple(others[max(0, len(others) - n + 1) :])
    np.testing.assert_allclose(
        model.distribution(others), [p(w, history) for w in range(6)], rtol=1e-10
    )


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@given(texts, texts, st.integers(1, 6))
def test_probabilities_sum_to_one(smoothing, tokens, history, n):
    """After a history that was seen (the text's own end), and after any other."""
    model = NGramLanguageModel(Config(6, n, smoothing)).fit(tokens)
    for h in (history, tokens, tokens[:-1]):
        p = model.distribution(h)
        assert p.shape == (6,) and (p > 0).all()
        np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-14)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_large_vocabulary_and_a_long_history(smoothing):
    """8,000⁶ has 78 bits: histories are numbered, not packed. Some 100,000 tokens in a second."""
    rng = np.random.default_rng(0)
    tokens = (8000 * rng.random(100_000) ** 4).astype(np.int64)
    tokens[50_000:] = tokens[:50_000]
    began = time.perf_counter()
    model = NGramLanguageModel(Config(8000, 6, smoothing)).fit(tokens)
    log_p = model.log_probabilities(tokens)
    assert time.perf_counter() - began < 10  # a loop over tokens takes longer
    assert log_p[50:].mean() > -1.5
    for t in (0, 1, 7, 99_999):
        np.testing.assert_allclose(
            np.log(model.distribution(tokens[:t])[tokens[t]]), log_p[t], rtol=1e-12
        )


def test_python_s_own_reference():
    """1.905 bits a character was measured with another implementation on the text that Python 3.11
    has; other versions have others (that of 3.13: 1.978)."""
    text = read_text("python")
    vocabulary = Characters(text)
    training, validation = split(vocabulary.encode(text), 0.1)
    bits = {
        smoothing: -NGramLanguageModel(Config(len(vocabulary), 5, smoothing))
        .fit(training)
        .log_probabilities(validation)
        .mean()
        / np.log(2)
        for smoothing in SMOOTHINGS
    }
    if sys.version_info[:2] == (3, 11):
        assert bits["witten-bell"] == pytest.approx(1.905, abs=0.05)
    assert bits["kneser-ney"] < bits["witten-bell"] - 0.05


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_counts_are_saved_and_loaded(smoothing):
    tokens = np.random.default_rng(0).integers(5, size=500)
    model = NGramLanguageModel(Config(5, 4, smoothing)).fit(tokens)
    other = NGramLanguageModel(Config(5, 4, smoothing))
    np.testing.assert_allclose(other.distribution([1]), 0.2)  # nothing was counted
    other.load_state_dict(model.state_dict())
    assert np.array_equal(other.log_probabilities(tokens), model.log_probabilities(tokens))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"keys.2": None},
            "a model of order 3 has the arrays keys.0.*got keys.0, keys.1, counts.0",
        ),
        ({"keys.0": np.array([0.0, 1.0])}, "keys.0 must be int64 and .*got float64"),
        ({"keys.0": np.array([[0, 1]])}, r"keys.0 must be int64 and .*got int64 \(1, 2\)"),
        ({"keys.0": np.array([0])}, "keys.0 and counts.0 must be of one length, got 1 and 2"),
        ({"keys.0": np.array([1, 0])}, r"keys.0 must rise, from at least 0 to below 1 · 2"),
        ({"keys.0": np.array([0, 2])}, r"keys.0 must rise.* there are 1 histories"),
        ({"keys.1": np.array([-1, 1, 2])}, r"keys.1 must rise"),
        ({"keys.1": np.array([0, 1, 2**62])}, r"keys.1 must rise.* below 2 · 2"),
        ({"counts.0": np.array([0, 2])}, "counts.0 must be at least 1.*got 0 to 2"),
        ({"counts.0": np.array([1, 2**62])}, "counts.0 must be at least 1 and their sum at most"),
    ],
)
def test_arrays_that_no_model_has(change, message):
    model = NGramLanguageModel(Config(2, 3, "witten-bell")).fit([0, 1, 1, 0])
    before = model.state_dict()
    state = {k: v for k, v in {**before, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())


def test_generation_draws_from_the_distribution():
    text = "the cat sat on the mat. " * 20
    vocabulary = Characters(text)
    model = NGramLanguageModel(Config(len(vocabulary), 6)).fit(vocabulary.encode(text))
    for prompt in ("", "t", "the", "the cat sat"):
        tokens = list(vocabulary.encode(prompt))
        for token in islice(model.generate(tokens, lambda x: choose(x, None, 0.0)), 30):
            assert token == model.distribution(tokens).argmax()
            tokens.append(token)
    assert vocabulary.decode(tokens).startswith("the cat sat on the mat. the ")
    assert (
        np.bincount(
            list(islice(model.generate(vocabulary.encode("the "), _at_random()), 50)),
            minlength=len(vocabulary),
        ).max()
        < 50
    )


def _at_random():
    rng = np.random.default_rng(0)
    return lambda log_p: choose(log_p, rng)


def test_sizes_and_tokens_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="vocab_size and order must be at least 1, got 3 and 0"):
        NGramLanguageModel(Config(3, 0))
    with pytest.raises(ValueError, match="'witten-bell' or 'kneser-ney', got 'x'"):
        NGramLanguageModel(Config(3, 2, "x"))
    model = NGramLanguageModel(Config(3))
    with pytest.raises(IndexError, match="fit: tokens must be from 0 to 2, got 0 to 3"):
        model.fit([0, 3])
    with pytest.raises(TypeError, match="log_probabilities: tokens must be integers .* float64"):
        model.log_probabilities([0.5])
    assert model.log_probabilities([]).shape == (0,)
