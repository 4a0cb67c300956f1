"""The task of classifying texts, and its baseline."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import nanoautograd as nag
from models.rnn import ClassifierConfig, RNNClassifier
from models.tasks import classification
from models.tasks.classification import Topics, naive_bayes
from nanoautograd.data import DataError


def test_naive_bayes_by_hand():
    """"a b" and "a" are of class 0, "b" of class 1: N = 3 features, a, b and the pair."""
    texts, y = [["a", "b"], ["a"], ["b"]], np.array([0, 0, 1])
    for alpha in (1.0, 0.1):
        p_a = np.array([2, 1]) / 3                              # P(c)
        p_b = p_a.copy()
        p_a *= (np.array([2, 0]) + alpha) / (np.array([4, 1]) + 3 * alpha)
        p_b *= (np.array([1, 1]) + alpha) / (np.array([4, 1]) + 3 * alpha)
        guess = naive_bayes(texts, y, [["a"], ["b"], ["never", "seen"], []], 2, alpha)
        assert guess.tolist() == [p_a.argmax(), p_b.argmax(), 0, 0]
        assert guess[0] == 0
    assert naive_bayes(texts, y, [["b"]], 2, 0.1) == [1]


@pytest.fixture
def task(monkeypatch):
    """Texts that say their class, among words that do not."""
    rng = np.random.default_rng(0)
    labels = ["day", "night"] * 30
    texts = [" ".join([*rng.choice(list("abcdef"), size=rng.integers(9)), label,
                       *rng.choice(list("abcdef"), size=rng.integers(9)), f"once{i}"])
             for i, label in enumerate(labels)]
    monkeypatch.setattr(classification, "read_topics", lambda: (texts, labels, "none left out"))
    o = SimpleNamespace(preset="topics", validation=0.2, seed=0, batch=16, min_count=2,
                        longest=12, dtype="float32", device="cpu")
    return Topics(o)


def test_a_task_from_texts_to_pictures(task, tmp_path):
    assert task.known == {"words": ["<pad>", "<unk>", *"abcd", "day", "e", "f", "night"],
                          "classes": ["day", "night"]}
    assert "48 texts of 2 classes to train on, 12 to validate; none left out; " in task.summary
    assert re.search(r" [1-9]\d* cut off after 12 words; 10 words known", task.summary)
    assert max(map(len, task.x)) == 12 < max(map(len, task.texts[0]))
    x, lengths, y = task.batch(5)
    assert all(np.array_equal(*pair) for pair in zip((x, lengths, y), task.batch(5)))
    assert x.shape[1] == lengths.max() <= 12
    assert ((x == 0).sum(axis=1) == x.shape[1] - lengths).all()
    model = RNNClassifier(ClassifierConfig(**task.sizes, embedding=8, hidden=8), 0)
    optimizer = nag.optim.AdamW(model.parameters(), lr=3e-2)
    for step in range(40):
        loss, carried = task.loss(model, None, *task.batch(step))
        assert carried is None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with nag.no_grad():
        scores = task.evaluate(model)
        picture, = task.show(model, tmp_path)
        lines = list(task.generate(model, "A b NIGHT, never seen!"))
        with pytest.raises(DataError, match="needs a word or more; got '...'"):
            next(task.generate(model, "..."))
    assert scores["accuracy"] > 0.9 and scores["loss"] < 0.4
    assert picture.stat().st_size > 1000
    assert len(lines) == 2 and lines[0].endswith("night\n") and "%" in lines[0]
    what, score = task.baseline()
    assert score > 0.5 and "0.500" in what
    again = Topics(task.o, task.known)                  # without the data
    assert again.sizes == task.sizes and again.known == task.known
    with nag.no_grad():
        assert list(again.generate(model, "A b NIGHT, never seen!")) == lines


def test_each_held_out_text_gets_its_own_logits(task):
    """They are read in order of their lengths, and returned in their own."""
    model = RNNClassifier(ClassifierConfig(**task.sizes, embedding=8, hidden=8), 0)
    with nag.no_grad():
        logits = task.predict(model)
        for row, x in zip(logits, task.held_out):
            np.testing.assert_allclose(model(x[None], np.array([len(x)])).data[0], row, atol=1e-6)
