"""Texts of length 0, and masks that leave nothing: each model gives a right value or says what is
wrong, and none gives NaN."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import bert, g2p, gpt, llama, ngram, rnn, seq2seq, tagger, transformer
from models.pointer_generator import Copy
from nanoautograd import Tensor, no_grad
from nanoautograd import functional as F
from nanoautograd.nn.padding import mask

SMALL_BERT = dict(vocab_size=7, d_model=8, layers=1, heads=2, feed_forward=8, positions=6)


def classifier(pooling):
    return bert.Classifier(bert.ClassifierConfig(**SMALL_BERT, classes=3, pooling=pooling), 0)


def sequence_model(Model, Config, **options):
    return Model(Config(7, 7, **options), 0)


# Each is called with tokens (B, T) and lengths.
READERS = {
    "bert": lambda x, n: bert.Bert(bert.Config(**SMALL_BERT), 0)(x, n),
    "bert, vectors": lambda x, n: bert.Bert(bert.Config(**SMALL_BERT), 0).vectors(x, n),
    "bert, classifier by the mean": lambda x, n: classifier("mean")(x, n),
    "bert, classifier by the first": lambda x, n: classifier("first")(x, n),
    "bert, tags": lambda x, n: bert.TokenClassifier(
        bert.TokenClassifierConfig(**SMALL_BERT, tags=3), 0
    ).decode(x, n),
    "bert, masked": lambda x, n: bert.MaskedLM(bert.Config(**SMALL_BERT), 0)(x, n),
    "bert, spans": lambda x, n: bert.SpanExtractor(bert.Config(**SMALL_BERT), 0)(x, n)[0],
    "transformer": lambda x, n: sequence_model(
        transformer.Transformer, transformer.Config, d_model=8, feed_forward=8, copy=True
    )(x, n, np.ones((len(x), 2), int)),
    "transformer, writing": lambda x, n: sequence_model(
        transformer.Transformer, transformer.Config, d_model=8, feed_forward=8
    ).start(x, n)[0],
    "seq2seq": lambda x, n: sequence_model(
        seq2seq.Seq2Seq, seq2seq.Config, embedding=4, hidden=4, attention=4
    )(x, n, np.ones((len(x), 2), int)),
    "g2p": lambda x, n: g2p.G2P(g2p.Config(7, 7, 4), 0)(x, n, np.ones((len(x), 2), int)),
    "tagger": lambda x, n: tagger.Tagger(tagger.Config((7,), 3, embedding=4, hidden=4), 0).decode(
        x[..., None], n
    ),
    "tagger, softmax": lambda x, n: tagger.Tagger(
        tagger.Config((7,), 3, embedding=4, hidden=4, output="softmax"), 0
    ).loss(x[..., None], n, np.zeros_like(x)),
} | {
    f"rnn classifier, {pooling}": lambda x, n, pooling=pooling: rnn.RNNClassifier(
        rnn.ClassifierConfig(7, 3, 4, 4, pooling=pooling), 0
    )(x, n)
    for pooling in ("mean", "max", "last")
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "x, lengths",
    [
        (np.ones((2, 4), int), [4, 0]),
        (np.ones((2, 4), int), [0, 0]),
        (np.ones((2, 4), int), [5, 4]),
        (np.ones((2, 4), int), [4, -1]),
        (np.ones((2, 4), int), [4]),
        (np.ones((2, 4), int), [4.0, 2.0]),
        (np.ones((2, 0), int), [0, 0]),
    ],
    ids=["one empty", "all empty", "too long", "negative", "too few", "not whole", "no tokens"],
)
def test_lengths_that_cannot_be_are_refused(name, x, lengths):
    with pytest.raises(ValueError, match="lengths must be|one step or more"):
        READERS[name](x, lengths)


@pytest.mark.parametrize("name", READERS)
def test_the_shortest_text_has_a_value(name):
    with no_grad():
        found = READERS[name](np.array([[1, 2, 3], [4, 0, 0]]), [3, 1])
    assert np.isfinite(np.array(found)).all()


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"tagger, softmax"}))  # a mean of nothing
def test_of_no_texts_there_is_nothing(name):
    with no_grad():
        assert READERS[name](np.zeros((0, 4), int), np.zeros(0, int)).shape[0] == 0


@given(st.integers(0, 3), st.integers(0, 4), st.data())
def test_masks_refuse_what_are_no_lengths(B, T, data):
    lengths = data.draw(st.lists(st.integers(-1, 5), min_size=B, max_size=B))
    x = np.zeros((B, T), int)
    if all(1 <= n <= T for n in lengths):
        wanted = [[t < n for t in range(T)] for n in lengths]
        np.testing.assert_array_equal(mask(x, lengths), np.reshape(wanted, (B, T)))
    else:
        with pytest.raises(ValueError, match=f"lengths must be from 1 to {T}; got"):
            mask(x, lengths)


def test_lengths_on_a_device_are_not_waited_for(backend):
    """There a text without tokens has the mean of nothing, NaN."""
    model = classifier("mean").to(backend.device)
    x, lengths = backend.array(np.ones((2, 3), int)), backend.array([3, 0])
    if backend.device == "cpu":
        with pytest.raises(ValueError, match="lengths must be from 1 to 3"):
            model(x, lengths)
    else:
        with np.errstate(invalid="ignore"):
            logits = backend.numpy(model(x, lengths))
        assert np.isfinite(logits[0]).all() and np.isnan(logits[1]).all()


@pytest.mark.parametrize("S", [0, 3])
def test_nothing_is_copied_from_nothing(backend, rng, S):
    """β = 0 everywhere: all probability is that of the vocabulary, and gradients are finite."""
    copy = Copy(4, 5, 5, rng=0, dtype=np.float64).to(backend.device)
    logits = Tensor(backend.array(rng.standard_normal((2, 3, 5))), requires_grad=True)
    u = [backend.array(rng.standard_normal((2, 3, 4)))]
    beta = Tensor(backend.array(np.zeros((2, 3, S))), requires_grad=True)
    x, y = backend.array(np.zeros((2, S), int)), backend.array(np.zeros((2, 3), int))
    found = copy(logits, u, beta, x, y)
    np.testing.assert_allclose(
        backend.numpy(F.softmax(found)), backend.numpy(F.softmax(logits)), rtol=1e-6
    )
    found.sum().backward()
    for a in logits.grad, beta.grad, *(p.grad for p in copy.parameters()):
        assert np.isfinite(backend.numpy(a)).all()


def test_an_answer_that_may_be_nowhere():
    model = bert.SpanExtractor(bert.Config(**SMALL_BERT), 0)
    x, inside = np.ones((3, 4), int), np.zeros((3, 4), bool)
    inside[1, 2] = True
    with pytest.raises(ValueError, match=r"the answer may be nowhere in the texts \[0, 2\]"):
        model.loss(x, [4, 4, 4], None, inside, np.full((3, 2), 2))
    inside[:, 2] = True
    assert np.isfinite(model.loss(x, [4, 4, 4], None, inside, np.full((3, 2), 2)).item())


# ----------------------------------------------------------------- reading nothing, language models


@pytest.mark.parametrize(
    "model",
    [
        gpt.GPT(gpt.Config(7, 8, 1, 2, 8), 0),
        llama.Llama(llama.Config(7, 8, 1, 8, 2, 1, 8), 0),
        rnn.RNNLanguageModel(rnn.Config(7, 4, 4), 0),
    ],
    ids=["gpt", "llama", "rnn"],
)
def test_a_language_model_needs_a_token(model):
    with pytest.raises(ValueError, match="needs a token or more"):
        next(model.generate([], np.argmax))
    if hasattr(model, "read"):
        with pytest.raises(ValueError, match="there must be a token or more"):
            model.read([])
        with pytest.raises(ValueError, match="there must be a token or more"):
            model.read([[1, 2]])
        _, past = model.read([1])
        with pytest.raises(ValueError, match="there must be a token or more"):
            model.read([], past)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize(
    "model",
    [gpt.GPT(gpt.Config(7, 8, 1, 2, 8), 0), llama.Llama(llama.Config(7, 8, 1, 8, 2, 1, 8), 0)],
    ids=["gpt", "llama"],
)
def test_of_no_positions_there_are_no_logits(model, shape):
    logits, past = model(np.zeros(shape, int))
    assert logits.shape == (*shape, 7) and len(past[0]) == shape[1]


@pytest.mark.parametrize("Model", [gpt.GPT, llama.Llama])
def test_a_text_is_a_row(Model):
    config = {gpt.GPT: gpt.Config(7, 8, 1, 2, 8), llama.Llama: llama.Config(7, 8, 1, 8, 2, 1, 8)}
    for x in (np.zeros(3, int), np.zeros((1, 3, 1), int), np.array(1)):
        with pytest.raises(ValueError, match=r"tokens are \(B, T\), a row for each text; got"):
            Model(config[Model], 0)(x)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("prompt", [[1.5], [True], np.array([1.0]), [-1], [7]])
def test_no_token_is_rounded(cell, prompt):
    model = rnn.RNNLanguageModel(rnn.Config(7, 4, 4, cell=cell), 0)
    with pytest.raises((TypeError, IndexError), match="must be integers|out of range"):
        next(model.generate(prompt, np.argmax))


def test_an_n_gram_goes_on_from_nothing():
    model = ngram.NGramLanguageModel(ngram.Config(3, 2))
    model.fit(np.array([0, 1, 1, 2, 1]))
    assert list(islice(model.generate([], np.argmax), 1)) == [1]  # the most frequent
