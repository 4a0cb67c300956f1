"""models/tasks/dates.py: what is trained on and tested, the baseline, answers and pictures."""

import json
from argparse import Namespace

import numpy as np
import pytest

import nanoautograd as nag
from models.data import DataError
from models.tasks import dates
from models.tasks.dates import Dates, Rules

OPTIONS = Namespace(
    seed=0, validation=0.5, device="cpu", batch=8, beam=1, temperature=0.0, top_k=None, top_p=None
)


def made_up(seed):
    """2,400 dates without babel; the letter "z" is in the held-out half alone."""
    pairs = [
        (
            f"{i % 28 + 1} {'mar' if i % 2 else 'may'}{'z' * (i >= 1200)} {1900 + i // 28}",
            f"{1900 + i // 28}-{3 if i % 2 else 5:02}-{i % 28 + 1:02}",
            list(dates.SHOWN)[i % 6],
        )
        for i in range(2400)
    ]
    return [(text.ljust(14, "."), iso, locale) for text, iso, locale in pairs], 3


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(dates, "read_dates", made_up)
    return Dates(OPTIONS)


def model_of(task, name="seq2seq", **options):
    Config, Model = task.models[name]
    return Model(Config(**task.sizes, **options), 0).eval()


def test_no_date_is_on_two_sides_of_the_split(task):
    training, watched, test = (
        {iso for _, iso, _ in part} for part in (task.training, task.watched, task.test)
    )
    assert (len(task.training), len(task.watched), len(task.test)) == (1200, 1000, 200)
    assert not training & watched and not training & test and not watched & test
    assert "z" not in task.source.symbols and "z" in task.test[0][0]
    x, x_lengths, y = task.arrays(task.test[:3])
    assert (x == task.source.unknown).sum() == 3 and x.dtype == y.dtype == np.int64
    assert (y[:, 0] == task.target.begin).all() and (y[:, -1] == task.target.end).all()
    assert "3 left out" in task.summary and "1,200 to train on" in task.summary


def test_a_step_depends_on_its_number_alone(task):
    steps = [task.batch(s) for s in range(200)]
    again = Dates(OPTIONS)
    for s in (170, 3, 151):
        for a, b in zip(steps[s], again.batch(s)):
            assert np.array_equal(a, b)
    assert again.fingerprint == task.fingerprint and again.known == task.known


def test_a_trained_model_answers_without_the_data(task, monkeypatch):
    monkeypatch.setattr(dates, "read_dates", None)  # not called
    again = Dates(OPTIONS, json.loads(json.dumps(task.known)))
    assert again.known == task.known and again.sizes == task.sizes
    model = model_of(task)
    assert list(again.generate(model, "5 may 1950")) == list(task.generate(model, "5 May  1950"))


def test_too_few_dates_are_refused(monkeypatch):
    monkeypatch.setattr(dates, "read_dates", made_up)
    with pytest.raises(DataError, match="0.4 leaves 1440 to train on and 960 to validate.*1001"):
        Dates(Namespace(**{**vars(OPTIONS), "validation": 0.4}))


def test_dates_longer_than_the_model_takes(task):
    assert Dates(Namespace(**vars(OPTIONS), longest=14)).summary == task.summary
    with pytest.raises(DataError, match="14 characters, and the model would take 13; raise"):
        Dates(Namespace(**vars(OPTIONS), longest=13))


@pytest.mark.parametrize("name", ["seq2seq", "transformer"])
def test_a_few_steps_lower_the_loss(task, name):
    """A few steps on what can be told from one word and some digits."""
    options = {"seq2seq": dict(hidden=32), "transformer": dict(d_model=32, layers=1, dropout=0.0)}
    model = model_of(task, name, **options[name]).train()
    optimizer = nag.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(60):
        loss, state = task.loss(model, None, *task.batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert state is None
    with nag.no_grad():
        scores, first = task.evaluate(model.eval()), task.evaluate(model_of(task, name))
        final = task.evaluate(model, final=True)
    assert scores["loss"] < 0.6 * first["loss"] and set(final) == {"loss", "exact", "beam"}
    assert 0.0 <= scores["exact"] <= 1.0


def test_exact_counts_whole_dates(task, monkeypatch):
    texts = [text for text, _, _ in task.test]
    answers = [iso for _, iso, _ in task.test]
    answers[:50] = [iso[:-1] + "?" for iso in answers[:50]]  # one character wrong
    monkeypatch.setattr(task, "answers", lambda model, given, beam: answers * (given == texts))
    assert task.exact(None, task.test) == 0.75


def test_answers_are_in_the_order_of_the_texts(task):
    model = model_of(task)
    for p in model.parameters():
        p.data *= 3.0
    texts = [text + "!" * (i % 5) for i, (text, _, _) in enumerate(task.test)]
    together = task.answers(model, texts)
    assert together[::41] == [task.answers(model, [text])[0] for text in texts[::41]]
    assert task.answers(model, texts[:20], beam=1) == together[:20]


@pytest.mark.parametrize(
    "text, iso",
    [
        ("thursday, 5 march 1987", "1987-03-05"),
        ("1987年12月5日", "1987-12-05"),
        ("05.03.1987", "1987-03-05"),
        ("march 31, 2001", "2001-03-31"),
        ("2 unheard 1999", "1999-01-02"),
        ("1987 m. kovo 5 d.", "1987-03-05"),
    ],
)
def test_the_baseline_reads_dates_by_rules(text, iso):
    pairs = [
        ("1 march 1900", "1900-03-01", ""),
        ("2 march 1901", "1901-03-02", ""),
        ("4 may 1901", "1901-05-04", ""),
        ("1901 m. kovo 4 d.", "1901-03-04", ""),
        ("1901 m. vasario 4 d.", "1901-02-04", ""),
    ]
    assert Rules(pairs)(text) == iso


def test_the_baseline_on_the_task(task):
    what, score = task.baseline()
    assert "rules" in what and score < 1.0  # "mayz" is no word it knows


def test_what_the_user_types_is_answered_or_refused(task):
    model = model_of(task)
    assert len("".join(task.generate(model, "5 \u6708 1950"))) <= 10  # an unknown character
    with pytest.raises(DataError, match="from 1 to 14 characters.*has 40"):
        list(task.generate(model, "5" * 40))
    with pytest.raises(DataError, match="from 1 to 14 characters"):
        list(task.generate(model, " "))
    task.o = Namespace(**{**vars(OPTIONS), "beam": 3})
    lines = list(task.generate(model, "5 may 1950"))
    p = [float(line.split()[-1]) for line in lines]
    assert len(lines) == 3 and p == sorted(p, reverse=True)


def test_what_attention_sees_is_drawn(task, tmp_path, capsys):
    with nag.no_grad():
        (png,) = task.show(model_of(task), tmp_path)
        assert task.show(model_of(task, "transformer"), tmp_path) == []
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 20_000
    assert task.test[0][0] in capsys.readouterr().out
