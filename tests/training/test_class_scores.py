"""Scores of each class, and a loss in which all classes count alike."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import nanoautograd as nag  # noqa: E402
import train  # noqa: E402
from models.rnn import ClassifierConfig, RNNClassifier  # noqa: E402
from models.tasks import classification  # noqa: E402
from models.tasks.classification import Sentiment  # noqa: E402
from models.training.scores import class_scores, class_table, macro_f1  # noqa: E402
from nanoautograd import functional as F  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40)
NAMES = list("abcde")


@given(PAIRS)
def test_each_class_by_its_definition(pairs):
    truth, guess = ([pair[i] for pair in pairs] for i in (0, 1))
    found = class_scores(NAMES, truth, guess)
    for c, name in enumerate(NAMES):
        right = sum(t == g == c for t, g in pairs)
        p = right / guess.count(c) if c in guess else 0.0
        r = right / truth.count(c) if c in truth else 0.0
        f1 = 2 * p * r / (p + r) if right else 0.0
        assert found[name] == pytest.approx(
            dict(precision=p, recall=r, f1=f1, count=truth.count(c))
        )
    each = [found[NAMES[c]]["f1"] for c in set(truth)]
    assert macro_f1(found) == pytest.approx(np.mean(each) if each else 0.0)
    assert len(class_table(found).splitlines()) == 6


@given(PAIRS.filter(len))
def test_they_are_those_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, guess = ([pair[i] for pair in pairs] for i in (0, 1))
    right = metrics.precision_recall_fscore_support(truth, guess, labels=range(5), zero_division=0)
    found = [list(s.values()) for s in class_scores(NAMES, truth, guess).values()]
    np.testing.assert_allclose(np.transpose(found), right)


@pytest.mark.parametrize(
    "truth, guess",
    [([5], [0]), ([0], [5]), ([-1], [0]), ([0, 1], [0]), ([0.5], [0]), ([True], [0]), ([[0]], [0])],
)
def test_what_are_no_classes_is_not_counted(truth, guess):
    """An example of a class that has no name was left out of all, of two lists the longer cut."""
    with pytest.raises(ValueError, match="truth and predicted are integers .n,., from 0 to 4, as"):
        class_scores(NAMES, truth, guess)


TEXTS = [f"{'good' if i % 5 else 'bad'} word{i % 7} thing{i % 3}" for i in range(100)]


@pytest.fixture
def reviews(monkeypatch):
    """Four of five are good."""
    labels = ["fresh" if i % 5 else "rotten" for i in range(100)]
    monkeypatch.setattr(classification, "read_reviews", lambda: (TEXTS, labels, "none left out"))


def task_of(**options):
    o = dict(preset="sentiment", validation=0.2, seed=0, batch=6, min_count=1, longest=12)
    o |= dict(tokens="words", pretrained="none", dtype="float64", device="cpu", accumulate=3)
    return Sentiment(SimpleNamespace(**o | options))


def test_balanced_weights_count_each_class_alike(reviews):
    """The loss is the weighted mean, of a part of a step and of all its parts, whatever is in
    them; over the training texts both classes have half of the weight."""
    task = task_of(class_weights="balanced")
    sums = np.bincount(task.y, task.weights[task.y])
    assert sums == pytest.approx([len(task.y) / 2] * 2)
    model = RNNClassifier(ClassifierConfig(**task.sizes, embedding=4, hidden=4), 0, np.float64)
    total, losses, weights = 0.0, [], []
    for share, x, lengths, y, w in task.parts_of(2):
        np.testing.assert_array_equal(w, task.weights[y])
        each = F.cross_entropy(model(x, lengths), y, reduction="none").detach().numpy()
        loss = task.loss(model, None, x, lengths, y, w)[0].item()
        right = F.cross_entropy(model(x, lengths), y, task.weights).item()
        assert loss == pytest.approx((each * w).sum() / w.sum()) == pytest.approx(right)
        total += float(share) * loss
        losses, weights = [*losses, *each], [*weights, *w]
    assert total == pytest.approx(np.average(losses, weights=weights))
    plain = task_of(class_weights="none")
    assert plain.weights is None and len(plain.batch(0)) == 3
    with nag.no_grad():
        scores = task.evaluate(model.eval(), final=True)
        logits = task.predict(model)
    right = F.cross_entropy(logits, task.held_out_y, task.weights).item()
    assert scores["loss"] == pytest.approx(right)


def test_the_result_has_the_scores_of_each_class(reviews, tmp_path, capsys):
    words = ["sentiment", "--hidden", "4", "--embedding", "4", "--steps", "2", "--warmup", "0"]
    words += ["--batch", "8", "--out", str(tmp_path / "run")]
    assert train.main([*words, "--class-weights", "balanced"]) is None
    out = capsys.readouterr().out
    said = json.loads((tmp_path / "run" / "result.json").read_text())
    assert said["classes"].keys() == {"fresh", "rotten"} and "precision  recall" in out
    assert said["classes"]["fresh"]["count"] == 16 and said["classes"]["rotten"]["count"] == 4
    assert said["scores"]["macro_f1"] == pytest.approx(macro_f1(said["classes"]))
    assert said["options"]["class_weights"] == "balanced"
    with pytest.raises(SystemExit):  # it stays what it is
        train.main([*words, "--resume", "--steps", "3", "--class-weights", "none"])
    assert train.main([*words, "--resume", "--steps", "3"]) is None


def test_a_run_of_a_version_without_weights_goes_on(reviews, tmp_path, capsys):
    """What an older run does not say is as it was then, and is not written into it."""
    words = ["sentiment", "--hidden", "4", "--embedding", "4", "--batch", "8"]
    words += ["--warmup", "0", "--out", str(tmp_path / "run")]
    assert train.main([*words, "--steps", "2"]) is None
    tensors, state = load_checkpoint(tmp_path / "run")
    assert "class_weights" not in state["options"]
    with pytest.raises(SystemExit):
        train.main([*words, "--resume", "--steps", "3", "--class-weights", "balanced"])
    assert "has --class-weights none, and it cannot be changed" in capsys.readouterr().err
    save_checkpoint(tmp_path / "run", tensors, state)
    assert train.main([*words, "--resume", "--steps", "3"]) is None
