"""models/tasks/answers.py: what is read, spans and scores, the baseline, and answers."""

from types import SimpleNamespace

import numpy as np
import pytest

import nanoautograd as nag
from models.bert import Config, SpanExtractor
from models.data import DataError, WordPieces
from models.data.questions import Question
from models.data.wordpieces import SPECIAL
from models.tasks import answers
from models.tasks.answers import Answers, by_rule, log_sum, scores

pytest.importorskip("tokenizers")
pytest.importorskip("rouge_score.rouge_scorer")

NAMES = ["ada", "alan", "grace", "emmy", "kurt", "mary"]
OPTIONS = dict(
    preset="answers",
    validation=0.2,
    seed=0,
    batch=16,
    longest=30,
    longest_answer=4,
    pretrained="none",
    device="cpu",
)


@pytest.fixture
def task(monkeypatch):
    """Texts in which one is named, and the name that follows "is" is asked for."""
    rng, questions = np.random.default_rng(0), []
    for _ in range(100):
        before, name = rng.choice(["it was so . ", "so . ", ""]), rng.choice(NAMES)
        other = rng.choice(["", "it is not mary . "])
        text = f"{before}the one is {name} mae . {other}"
        first = len(before) + len("the one is ")
        questions.append(Question("who is it", text, first, first + len(name) + 4))
    symbols = "\n".join([*SPECIAL, *NAMES, *"who is it was so the one not .".split(), "ma", "##e"])
    monkeypatch.setattr(answers, "read_questions", lambda seed: (questions, "none left out"))
    monkeypatch.setattr(WordPieces, "pretrained", lambda: WordPieces(symbols))
    return Answers(SimpleNamespace(**OPTIONS))


def test_what_the_model_reads(task):
    e = task.prepare(Question("who is it", "so . ADA mae .", 5, 12))
    pieces = [task.pieces.pieces[i] for i in e["x"]]
    assert pieces == [
        "[CLS]",
        "who",
        "is",
        "it",
        "[SEP]",
        "so",
        ".",
        "ada",
        "ma",
        "##e",
        ".",
        "[SEP]",
    ]
    assert e["first"] == 5 and e["span"].tolist() == [7, 9]
    x, lengths, types, inside = task.arrays([e, task.prepare(Question("who", "so", 0, 2))])
    assert lengths.tolist() == [12, 5] and x.shape == (2, 12)
    assert types.tolist() == [[0] * 5 + [1] * 7, [0, 0, 0, 1, 1] + [0] * 7]
    assert inside.tolist() == [[0] * 5 + [1] * 6 + [0], [0, 0, 0, 1] + [0] * 8]


def test_texts_longer_than_the_model_reads():
    with pytest.raises(DataError, match="30 tokens, and the model reads 29: lower --longest"):
        Answers(SimpleNamespace(**OPTIONS, positions=29))


def test_an_answer_that_is_cut_off(task):
    for longest, span in ((12, [7, 9]), (11, [7, 9]), (10, None), (8, None), (6, None)):
        task.o.longest = longest
        e = task.prepare(Question("who is it", "so . ada mae .", 5, 12))
        assert len(e["x"]) <= longest
        assert span is None if e["span"] is None else e["span"].tolist() == span
    task.o.longest = 8
    e = task.prepare(Question("who is it " * 9, "so . ada", 5, 8))
    assert len(e["x"]) == 8 and not len(e["offsets"])
    with pytest.raises(DataError, match="no room for the text in 8 pieces"):
        next(task.generate(None, "who is it " * 9 + "| so"))


def test_it_learns_and_answers(task, capsys):
    assert len(task.held_out) == 20 and "80 questions to train on, 20 to validate" in task.summary
    assert all(map(np.array_equal, task.batch(3), task.batch(3)))
    model = SpanExtractor(
        Config(**task.sizes, d_model=16, layers=1, heads=2, feed_forward=16, dropout=0.0), 0
    )
    optimizer = nag.optim.AdamW(model.parameters(), lr=2e-2)
    for step in range(60):
        optimizer.zero_grad()
        loss, state = task.loss(model, None, *task.batch(step))
        assert state is None
        loss.backward()
        optimizer.step()
    with nag.no_grad():
        found = task.evaluate(model, final=True)
        assert found["exact"] > 0.9 and found["f1"] >= found["exact"] and found["loss"] < 0.5
        each = [
            model.loss(*task.on_device(*task.arrays([e])), e["span"][None]).item()
            for e in map(task.prepare, task.held_out)
        ]
        assert found["loss"] == pytest.approx(np.mean(each), rel=1e-3)
        assert task.show(model, None) == []
        again = Answers(task.o, task.known)
        assert list(again.generate(model, "who is it | so . the one is Kurt Mae .")) == ["Kurt Mae"]
    assert "who is it? " in capsys.readouterr().out
    for prompt in ("", "who is it", "| so", "who | "):
        with pytest.raises(DataError, match="give a question, a |"):
            next(again.generate(model, prompt))


def test_scores_count_words_alone():
    """Words alone count, in any script: 1 of 2 and 2 words in common is F1 2/3."""
    q = [Question("", "Łódź is", 0, 4), Question("", "ada mae", 0, 7), Question("", "a b", 0, 1)]
    assert scores(["łódź.", "ada", "c"], q) == {
        "exact": pytest.approx(1 / 3),
        "f1": pytest.approx((1 + 2 / 3) / 3),
    }
    assert log_sum(np.array([1.0, -np.inf, 2.0])) == pytest.approx(np.log(np.e + np.e**2))


def test_the_baseline_reads_definitions(task):
    text = (
        "It lies in Asia. The Alhambra (Arabic) is a palace of Granada. Tea is a drink. "
        "Granada has palaces."
    )
    rare = {"palace": 2.0, "granada": 1.0, "drink": 3.0}
    assert by_rule("palace in Granada", text, rare) == "Alhambra"
    assert by_rule("a drink", text, rare) == "Tea"
    assert by_rule("Granada", "Granada shines. So it goes", rare) == "Granada"
    what, score = task.baseline()
    assert "are exact" in what and 0 <= score <= 1


def test_what_no_run_knows(task):
    for known in ({"pieces": ["a"]}, {"pieces": ""}):
        with pytest.raises(DataError):
            Answers(task.o, known)
