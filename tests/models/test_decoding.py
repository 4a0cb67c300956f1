"""models/inference/decoding.py: on a model whose best targets can be found by trying them all."""

from collections import namedtuple
from itertools import product

import numpy as np
import pytest

import nanoautograd as nag
from models import seq2seq
from models.inference.decoding import beam_search, greedy, sample
from nanoautograd.backends import device_of, to_device, to_numpy

BEGIN, END = 0, 1


Layer = namedtuple("Layer", ["before", "none"])


class Table:
    """Its scores of the next token are looked up by source, step, and the last two tokens. The
    state holds an array, a Tensor and a None, in every kind of container; a search that mixes up
    its rows gets them wrong."""

    def __init__(self, V, seed=0, sources=3, longest=8):
        shape = sources, longest, V, V, V
        self.scores = 2.0 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    def start(self, x, x_lengths):
        return {"source": nag.Tensor(x[:, :1] * 1.0), "layers": [Layer(x * 0 + BEGIN, None)]}

    def next(self, tokens, state):
        (layer,) = state["layers"]
        source, before, last = map(to_numpy, (state["source"].data, layer.before, tokens))
        logits = self.scores[source[:, 0].astype(int), before[:, 1], before[:, 0], last]
        before = np.stack([last, before[:, 1] + 1], axis=1)  # the token, and the step
        device = device_of(tokens)
        layers = [layer._replace(before=to_device(before, device))]
        return nag.Tensor(to_device(logits, device)), {**state, "layers": layers}

    def log_p(self, source, target):
        """log P of a target, and so of all that begins like it, if it has no end."""
        before, last, total = BEGIN, BEGIN, 0.0
        for t, y in enumerate(target):
            s = self.scores[source, t, before, last].astype(np.float64)
            total += s[y] - np.log(np.exp(s).sum())
            before, last = last, y
        return total


def all_targets(V, longest):
    """Those that end, and those that are cut off at `longest`."""
    for n in range(1, longest + 1):
        for y in product(range(V), repeat=n):
            if END not in y[:-1] and (y[-1] == END or n == longest):
                yield list(y)


@pytest.fixture
def sources(backend):
    """x, x_lengths: three sources, in another order than the table's."""
    return backend.array([[2, 0], [0, 0], [1, 0]]), np.array([2, 2, 1])


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("V, longest", [(3, 4), (4, 3)])
def test_a_wide_beam_finds_the_best_of_all_targets(sources, V, longest, alpha):
    for seed in range(4):
        model = Table(V, seed)
        found = beam_search(model, *sources, BEGIN, END, longest, width=V**longest, alpha=alpha)
        for source, hypotheses in zip((2, 0, 1), found):
            worth = sorted(
                ((model.log_p(source, y) / len(y) ** alpha, y) for y in all_targets(V, longest)),
                reverse=True,
            )
            assert [y for _, y in hypotheses] == [y for _, y in worth]
            np.testing.assert_allclose([w for w, _ in hypotheses], [w for w, _ in worth], rtol=1e-6)


def test_width_one_is_greedy(sources):
    for seed in range(20):
        model = Table(5, seed)
        beams = beam_search(model, *sources, BEGIN, END, 6, width=1)
        assert [b[0][1] for b in beams] == greedy(model, *sources, BEGIN, END, 6)
        assert all(len(b) == 1 for b in beams)


def test_a_beam_does_not_lose_to_a_narrower_one_here(sources):
    """That greedy search can miss the best is why there is a beam: some of these tables show it."""
    better = 0
    for seed in range(20):
        model = Table(5, seed)
        for source, beam, line in zip(
            (2, 0, 1),
            beam_search(model, *sources, BEGIN, END, 6, 25),
            greedy(model, *sources, BEGIN, END, 6),
        ):
            worth, y = beam[0]
            assert worth == pytest.approx(model.log_p(source, y), rel=1e-6)
            better += worth > model.log_p(source, line) + 1e-6
    assert better > 5


def test_what_has_ended_stays(sources):
    """The best target is short; its worth must not change while others go on."""
    model = Table(3)
    model.scores[:] = [0.0, -20.0, 1.0]  # never ends ...
    model.scores[:, 0] = [0.0, 3.0, -20.0]  # ... but at once
    for beam in beam_search(model, *sources, BEGIN, END, 8, width=3):
        assert beam[0][1] == [END] and len(beam) == 3
        assert beam[0][0] == pytest.approx(model.log_p(0, [END]))
        assert all(len(y) == 8 for _, y in beam[1:])
    long = beam_search(model, *sources, BEGIN, END, 8, width=3, alpha=5.0)
    assert all(len(beam[0][1]) == 8 for beam in long)  # alpha favours long ones


def test_no_target_is_longer_than_allowed(sources):
    model = Table(3)
    model.scores[..., END] = -50.0
    rng = np.random.default_rng(0)
    for n in (1, 4):
        assert {len(y) for y in greedy(model, *sources, BEGIN, END, n)} == {n}
        assert {len(y) for y in sample(model, *sources, BEGIN, END, n, rng)} == {n}
        assert {len(b[0][1]) for b in beam_search(model, *sources, BEGIN, END, n, 2)} == {n}


def test_samples_are_those_of_the_seed(sources):
    model = Table(6)

    def draw(seed, **options):
        return sample(model, *sources, BEGIN, END, 6, np.random.default_rng(seed), **options)

    assert draw(1) == draw(1)
    assert len({str(draw(s)) for s in range(10)}) > 1
    likeliest = greedy(model, *sources, BEGIN, END, 6)
    for options in dict(temperature=0.0), dict(top_k=1), dict(top_p=1e-9):
        assert draw(2, **options) == likeliest


def test_samples_have_their_probabilities(backend):
    model = Table(4)
    rng, n = np.random.default_rng(0), 4000
    x = backend.array(np.zeros((n, 2), dtype=int))
    drawn = sample(model, x, np.full(n, 2), BEGIN, END, 1, rng)
    frequency = np.bincount(np.array(drawn)[:, 0], minlength=4) / n
    p = np.exp([model.log_p(0, [y]) for y in range(4)])
    np.testing.assert_allclose(frequency, p, atol=4 * np.sqrt(0.25 / n))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_beams_worth_is_what_the_model_gives_the_whole_target(backend, cell):
    """The worth that a search gives is what the model gives the whole target at once."""
    rng = np.random.default_rng(0)
    config = seq2seq.Config(9, 5, 4, 6, 3, 2, cell)
    model = seq2seq.Seq2Seq(config, 0).to(backend.device).eval()
    for p in model.parameters():
        p.data *= 3.0  # less even probabilities
    x, lengths = rng.integers(9, size=(3, 7)), np.array([7, 3, 5])
    beams = beam_search(model, backend.array(x), lengths, BEGIN, END, 5, width=4)
    assert [
        b[0][1] for b in beam_search(model, backend.array(x), lengths, BEGIN, END, 5, 1)
    ] == greedy(model, backend.array(x), lengths, BEGIN, END, 5)
    for i, beam in enumerate(beams):
        assert len(beam) == 4 and beam == sorted(beam, reverse=True)
        for worth, y in beam:
            n = lengths[i]
            with nag.no_grad():
                logits = model(
                    backend.array(x[i : i + 1, :n]), [n], backend.array([[BEGIN] + y[:-1]])
                )
            log_p = nag.functional.log_softmax(logits).numpy()[0, range(len(y)), y].sum()
            assert worth == pytest.approx(log_p, rel=1e-3, abs=1e-4)
