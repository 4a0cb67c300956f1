"""The task of classifying texts, and its baseline."""

from types import SimpleNamespace

import numpy as np
import pytest

import nanoautograd as nag
from models.bert import Classifier
from models.bert import ClassifierConfig as ClassifierConfigOfBert
from models.data import DataError, WordPieces
from models.data.wordpieces import SPECIAL
from models.rnn import ClassifierConfig, RNNClassifier
from models.tasks import classification
from models.tasks.classification import Topics, naive_bayes


def test_naive_bayes_by_hand():
    """ "a b" and "a" are of class 0, "b" of class 1: N = 3 features, a, b and the pair."""
    texts, y = [["a", "b"], ["a"], ["b"]], np.array([0, 0, 1])
    for alpha in (1.0, 0.1):
        p_a = np.array([2, 1]) / 3  # P(c)
        p_b = p_a.copy()
        p_a *= (np.array([2, 0]) + alpha) / (np.array([4, 1]) + 3 * alpha)
        p_b *= (np.array([1, 1]) + alpha) / (np.array([4, 1]) + 3 * alpha)
        guess = naive_bayes(texts, y, [["a"], ["b"], ["never", "seen"], []], 2, alpha)
        assert guess.tolist() == [p_a.argmax(), p_b.argmax(), 0, 0]
        assert guess[0] == 0
    assert naive_bayes(texts, y, [["b"]], 2, 0.1) == [1]


OPTIONS = dict(
    preset="topics",
    validation=0.2,
    seed=0,
    batch=16,
    min_count=2,
    longest=12,
    tokens="words",
    pretrained="none",
    dtype="float32",
    device="cpu",
)


@pytest.fixture
def task(monkeypatch):
    """Texts that say their class, among words that do not."""
    rng = np.random.default_rng(0)
    labels = ["day", "night"] * 30
    texts = [
        " ".join(
            [
                *rng.choice(list("abcdef"), size=rng.integers(9)),
                label,
                *rng.choice(list("abcdef"), size=rng.integers(9)),
                f"once{i}",
            ]
        )
        for i, label in enumerate(labels)
    ]
    monkeypatch.setattr(classification, "read_topics", lambda: (texts, labels, "none left out"))
    return Topics(SimpleNamespace(**OPTIONS))


def test_a_task_from_texts_to_pictures(task, tmp_path):
    assert task.known == {
        "words": ["<pad>", "<unk>", *"abcd", "day", "e", "f", "night"],
        "classes": ["day", "night"],
    }
    assert task.summary == (
        "48 texts of 2 classes to train on, 12 to validate; none left out; "
        "of each at most 12 words are read, 10 different ones"
    )
    assert max(map(len, task.x)) == 12 < max(map(len, task.texts[0]))
    x, lengths, y = task.batch(5)
    assert all(np.array_equal(*pair) for pair in zip((x, lengths, y), task.batch(5)))
    assert x.shape[1] == lengths.max() <= 12
    assert ((x == 0).sum(axis=1) == x.shape[1] - lengths).all()
    model = RNNClassifier(ClassifierConfig(**task.sizes, embedding=8, hidden=8), 0)
    optimizer = nag.optim.AdamW(model.parameters(), lr=3e-2)
    for step in range(40):
        loss, state = task.loss(model, None, *task.batch(step))
        assert state is None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with nag.no_grad():
        scores = task.evaluate(model)
        (picture,) = task.show(model, tmp_path)
        lines = list(task.generate(model, "A b NIGHT, never seen!"))
        with pytest.raises(DataError, match="needs a word or more; got '...'"):
            next(task.generate(model, "..."))
    assert scores["accuracy"] > 0.9 and scores["loss"] < 0.4
    assert picture.stat().st_size > 1000
    assert len(lines) == 2 and lines[0].endswith("night\n") and "%" in lines[0]
    what, score = task.baseline()
    assert score > 0.5 and "0.500" in what
    again = Topics(task.o, task.known)  # without the data
    assert again.sizes == task.sizes and again.known == task.known
    with nag.no_grad():
        assert list(again.generate(model, "A b NIGHT, never seen!")) == lines


def test_texts_longer_than_the_model_reads(task):
    assert Topics(SimpleNamespace(**OPTIONS, positions=12)).known == task.known
    with pytest.raises(DataError, match="12 tokens, and the model reads 11: lower --longest"):
        Topics(SimpleNamespace(**OPTIONS, positions=11))


def test_bert_has_the_same_texts_and_the_same_baseline(task, monkeypatch):
    pytest.importorskip("tokenizers")
    symbols = "\n".join(
        [
            *SPECIAL,
            *"abcde",
            "da",
            "##y",
            "night",
            "once",
            *map(str, range(10)),
            *(f"##{i}" for i in range(10)),
        ]
    )
    monkeypatch.setattr(WordPieces, "pretrained", lambda: WordPieces(symbols))
    other = Topics(SimpleNamespace(**OPTIONS | {"preset": "topics-bert", "tokens": "pieces"}))
    assert other.texts == task.texts and (other.y == task.y).all()
    assert other.baseline() == task.baseline() and other.fingerprint == task.fingerprint
    assert other.known == {"pieces": symbols, "classes": task.classes}
    assert other.encode("a day F").tolist() == [2, 5, 10, 11, 1, 3]
    assert max(map(len, other.x)) == 12 and all(x[-1] == 3 for x in other.x)
    model = Classifier(
        ClassifierConfigOfBert(
            **other.sizes, d_model=8, layers=1, heads=2, feed_forward=8, dropout=0.0
        ),
        0,
    )
    optimizer = nag.optim.AdamW(model.parameters(), lr=3e-2)
    for step in range(40):
        optimizer.zero_grad()
        other.loss(model, None, *other.batch(step))[0].backward()
        optimizer.step()
    again = Topics(other.o, other.known)
    with nag.no_grad():
        assert other.evaluate(model)["accuracy"] > 0.9
        assert list(again.generate(model, "a night"))[0].endswith("  night\n")
    with pytest.raises(DataError, match="word pieces"):
        Topics(other.o, {"pieces": "a", "classes": ["day", "night"]})


def test_judged_by_some_while_it_trains_and_by_all_at_the_end(task, monkeypatch):
    model = RNNClassifier(ClassifierConfig(**task.sizes, embedding=8, hidden=8), 0)
    monkeypatch.setattr(classification, "SAMPLE", 4)
    with nag.no_grad():
        logits, all_logits = task.predict(model, 3), task.predict(model)
        np.testing.assert_allclose(logits, all_logits[::3], atol=1e-6)
        for final, some, y in (
            (False, logits, task.held_out_y[::3]),
            (True, all_logits, task.held_out_y),
        ):
            assert task.evaluate(model, final)["accuracy"] == (some.argmax(axis=1) == y).mean()


def test_each_held_out_text_gets_its_own_logits(task):
    """They are read in order of their lengths, and returned in their own."""
    model = RNNClassifier(ClassifierConfig(**task.sizes, embedding=8, hidden=8), 0)
    with nag.no_grad():
        logits = task.predict(model)
        for row, x in zip(logits, task.held_out):
            np.testing.assert_allclose(model(x[None], np.array([len(x)])).data[0], row, atol=1e-6)
