"""models/tasks/summaries.py: scores, baselines and answers, on articles made up for it."""

import sys
from argparse import Namespace

import numpy as np
import pytest

import nanoautograd as nag
from models.data import DataError
from models.tasks import summaries
from models.tasks.summaries import Descriptions, Docstrings, first_sentence, halves, lead

pytest.importorskip("tokenizers")
pytest.importorskip("rouge_score.rouge_scorer")  # its import draws from Python's random numbers

OPTIONS = Namespace(
    preset="summaries",
    pretrained="none",
    validation=0.3,
    pairs=0,
    vocab_size=300,
    read=30,
    smoothing=0.1,
    seed=0,
    batch=8,
    device="cpu",
    beam=2,
    temperature=0.0,
    top_k=None,
    top_p=None,
)


def made_up():
    """Places that are said to be in a country; and two that are described in the same words."""
    kinds, lands = ["town", "river", "hill", "lake"], ["Peru", "Iran", "Mali", "Fiji", "Cuba"]
    pairs = [
        (f"{name} is a {kind} in {land} . It is old.", f"{kind} of {land} by {name}")
        for kind in kinds
        for land in lands
        for name in ("Ax", "Bo", "Cy")
    ]
    return pairs + [("Du is a sea.", "water"), ("El is a bay.", "water")], "5 malformed left out"


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(summaries, "read_descriptions", made_up)
    return Descriptions(OPTIONS)


def model_of(task, **options):
    Config, Model = task.models["seq2seq"]
    return Model(Config(**task.sizes, copy=True, **options), 0).eval()


def test_articles_with_one_description_are_on_one_side(task):
    held_out = task.watched + task.test
    assert len(task.training) + len(held_out) == 62 and "5 malformed left out" in task.summary
    assert sum(target == "water" for _, target in task.training) in (0, 2)
    x, x_lengths, y = task.batch(0)
    assert x.shape[1] == x_lengths.max() <= 30 and (y[:, 0] == task.pieces.begin).all()
    assert task.encode("x y " * 50)[0].shape == (30,)  # the rest is cut off


def test_it_learns_to_copy(task):
    model = model_of(task, embedding=16, hidden=32, attention=8, scaled=True).train()
    optimizer = nag.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(50):
        optimizer.zero_grad()
        task.loss(model, None, *task.batch(step))[0].backward()
        optimizer.step()
    with nag.no_grad():
        scores = task.evaluate(model.eval(), final=True)
        first = task.evaluate(model_of(task, hidden=8), final=True)
    assert scores["rougeL"] > first["rougeL"] and scores["loss"] < 0.5 * first["loss"]
    assert set(scores) == {"loss", "rouge1", "rouge2", "rougeL", "rougeL greedily"}


def test_rouge_is_that_by_hand(task):
    """ "a b c" beside "a c d": two of three words, no pair of words, "a c" in order."""
    scores = task.score(["a b c", "x y"], ["a c d", "x y"])
    assert scores == pytest.approx(
        {"rouge1": (2 / 3 + 1) / 2, "rouge2": 1 / 2, "rougeL": (2 / 3 + 1) / 2}
    )
    assert task.score([""], ["a"]) == {"rouge1": 0, "rouge2": 0, "rougeL": 0}


@pytest.mark.parametrize(
    "text, name, said",
    [
        ("Ax is a town in Peru.", "Ax", "town in Peru."),
        ("The cats are big.", "The cats", "big."),
        ("It was the end of all that was.", "It", "end of all that was."),
        ("No verb in this one", "", "No verb in this one"),
        ("", "", ""),
    ],
)
def test_an_article_is_cut_into_name_and_what_is_said(task, text, name, said):
    assert halves(text) == (name, said) and task.source_text(text) == f"{said} | {name}"


def test_lead_is_the_first_words():
    assert lead("a  b c", 2) == "a b" and lead("a", 2) == "a" and lead("", 2) == ""


def test_the_first_sentence_ends_at_its_period():
    assert first_sentence("Is 3.5 much? Yes.") == "Is 3.5 much?"
    assert first_sentence("no end") == "no end" and first_sentence("") == ""


def test_the_baseline_is_the_best_of_three(task):
    whats = [*task.baselines()]
    assert whats[0] == "the first sentence" and whats[1].startswith("the first ")
    assert whats[2].endswith('words after the first "is a"')
    what, score = task.baseline()
    scores = [
        task.score(f([a for a, _ in task.test]), [b for _, b in task.test])["rougeL"]
        for f in task.baselines().values()
    ]
    assert score in scores and "rouge1" in what
    n = int(whats[1].split()[2])  # the best number in training
    sources, targets = zip(*task.training)
    by_n = {
        k: task.score([lead(text, k) for text in sources], targets)["rougeL"] for k in range(1, 12)
    }
    assert by_n[n] == max(by_n.values())


def test_docstrings_have_two_baselines(monkeypatch):
    monkeypatch.setattr(summaries, "read_docstrings", made_up)
    task = Docstrings(OPTIONS)
    assert len(task.baselines()) == 2 and "docstrings" in task.summary
    assert 0.0 <= task.baseline()[1] <= 1.0


@pytest.mark.parametrize("text", ["漢字 🙂", "word " * 300, "."])
def test_odd_texts_get_an_answer(task, text):
    model = model_of(task, hidden=8)
    assert isinstance("".join(task.generate(model, text)), str)
    with pytest.raises(DataError, match="nothing to read in ' '"):
        list(task.generate(model, " "))


def test_the_first_answers_are_shown(task, tmp_path, capsys):
    with nag.no_grad():
        assert task.show(model_of(task, hidden=8), tmp_path) == []
    out = capsys.readouterr().out
    assert task.test[0][1] in out and len(out.splitlines()) == 2 + 3 * 12


def test_a_package_that_is_missing(task, monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(ImportError, match="pip install rouge-score"):
        task.score(["a"], ["a"])


def test_a_step_depends_on_its_number_alone(task):
    steps, again = [task.batch(s) for s in range(15)], Descriptions(OPTIONS)
    for s in (13, 2):
        assert all(np.array_equal(*pair) for pair in zip(steps[s], again.batch(s)))
