"""models/inference/sampling.py: which tokens can be drawn, and how often, for any scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.inference.sampling import as_text, choose

SCORES = arrays(np.float32, st.integers(1, 12), elements=st.floats(-30, 30, width=32))
SHARES = st.floats(1e-3, 1, exclude_max=True)


class Draws:
    """A generator whose next number is known."""

    def __init__(self, number):
        self.number = number

    def random(self):
        return self.number


def probabilities(logits, temperature):
    p = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return p / p.sum()


def drawn(logits, *options):
    """The tokens that can be drawn."""
    return {choose(logits, Draws(u), *options) for u in np.linspace(0, 1, 2001, endpoint=False)}


@given(SCORES, st.floats(0.3, 3), SHARES)
def test_the_nucleus_is_the_smallest_set_with_that_probability(logits, temperature, top_p):
    p = probabilities(logits, temperature)
    inside = sorted(drawn(logits, temperature, None, top_p), key=lambda i: -p[i])
    lesser = [i for i in range(len(p)) if i not in inside]
    assert all(p[i] >= p[j] for i in inside for j in lesser)
    # Tokens that are hardly ever drawn are missed among 2,001 draws.
    assert p[inside].sum() >= top_p * (1 - 1e-9) - len(p) / 2000
    assert p[inside[:-1]].sum() < top_p * (1 + 1e-9)


@given(SCORES, st.floats(0.3, 3), SHARES, st.floats(0, 1, exclude_max=True), st.integers(1, 12))
def test_the_nucleus_is_that_of_the_k_likeliest(logits, temperature, top_p, u, k):
    """Drawing with both is drawing with top_p from the k likeliest alone, in proportion."""
    order = np.argsort(-logits, kind="stable")[:k]
    alone = choose(logits[order], Draws(u), temperature, None, top_p)
    assert choose(logits, Draws(u), temperature, k, top_p) == order[alone]


@given(SCORES, SHARES, st.floats(0, 1, exclude_max=True))
def test_the_ends_of_top_p_and_temperature(logits, top_p, u):
    likeliest = int(logits.argmax())
    assert choose(logits, Draws(u), 1.0, None, 1.0) == choose(logits, Draws(u), 1.0)
    assert choose(logits, Draws(u), 1.0, None, 1e-12) == likeliest
    assert choose(logits, Draws(u), 0.0, None, top_p) == likeliest


def test_the_nucleus_of_known_probabilities():
    logits = np.log(np.array([0.1, 0.4, 0.2, 0.3]))
    assert drawn(logits, 1.0, None, 0.39) == {1}
    assert drawn(logits, 1.0, None, 0.41) == {1, 3} == drawn(logits, 1.0, None, 0.69)
    assert drawn(logits, 1.0, None, 0.71) == {1, 3, 2}
    assert drawn(logits, 1.0, 2, 0.6) == {1, 3} and drawn(logits, 1.0, 2, 0.57) == {1}
    assert drawn(np.zeros(4), 1.0, None, 0.5) == {0, 1}  # equals: the smaller first


def test_those_in_the_nucleus_keep_their_proportions(rng):
    logits = np.log(np.array([0.1, 0.4, 0.2, 0.3]))
    counts = np.bincount([choose(logits, rng, 1.0, None, 0.8) for _ in range(4000)], minlength=4)
    np.testing.assert_allclose(counts / 4000, [0, 4 / 9, 2 / 9, 3 / 9], atol=0.03)


@given(st.text(max_size=20), st.lists(st.integers(1, 5), min_size=60))
def test_text_comes_in_whole_characters(text, cuts):
    """Tokens are one to five bytes each; the pieces are the text, and end where a letter does."""
    data, tokens = text.encode(errors="replace"), []
    while data:
        tokens.append(data[: cuts[len(tokens) % len(cuts)]])
        data = data[len(tokens[-1]) :]
    pieces = list(as_text(tokens, lambda tokens: b"".join(tokens).decode(errors="replace")))
    assert "".join(pieces) == text.encode(errors="replace").decode()
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_are_no_text_do_not_wait_for_ever():
    pieces = as_text(iter([b"\xff"] * 12), lambda tokens: b"".join(tokens).decode(errors="replace"))
    assert "".join(pieces) == "\ufffd" * 12
