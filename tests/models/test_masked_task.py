"""models/tasks/masked.py: what is hidden, what is filled in, and the baseline."""

from types import SimpleNamespace

import numpy as np
import pytest

import nanoautograd as nag
from models.bert import Config, MaskedLM
from models.data import DataError, generator
from models.tasks import masked
from models.tasks.masked import IGNORED, Masked, Neighbours

pytest.importorskip("tokenizers")

OPTIONS = dict(
    preset="masked",
    validation=0.2,
    seed=0,
    batch=16,
    pieces=200,
    longest=12,
    masked=0.15,
    pretrained="none",
    positions=12,
    device="cpu",
)
ANIMALS = {"cat": "meow", "dog": "woof", "cow": "moo"}


@pytest.fixture
def task(monkeypatch):
    rng = np.random.default_rng(0)
    texts = [
        " ".join(f"the {a} says {ANIMALS[a]} ." for a in rng.choice(list(ANIMALS), n))
        for n in rng.integers(1, 4, 200)
    ]
    monkeypatch.setattr(masked, "read_wiki", lambda languages, seed: (texts, None, "none left out"))
    return Masked(SimpleNamespace(**OPTIONS))


def test_texts_are_cut_and_nothing_is_lost(task):
    pieces = task.pieces
    assert "160 texts to train on, 40 to validate; none left out" in task.summary
    assert all(
        x[0] == pieces.first and x[-1] == pieces.separator and 3 <= len(x) <= 12
        for x in task.training
    )
    assert max(map(len, task.training)) == 12
    text = "the cat says meow . the dog says woof ."
    parts = task.cut([text] * 2)
    assert pieces.decode(np.concatenate([x[1:-1] for x in parts[: len(parts) // 2]])) == (
        pieces.decode(pieces.encode(text).index)
    )


def test_texts_longer_than_the_model_reads():
    with pytest.raises(DataError, match="13 tokens, and the model reads 12: lower --longest"):
        Masked(SimpleNamespace(**OPTIONS | {"longest": 13}))


def test_the_shares_that_are_hidden_masked_and_replaced(task):
    """15 % of the pieces; of these 80 % are [MASK], 10 % others."""
    x = np.tile(np.array([2, *range(5, 15), 3, 0, 0]), (3000, 1))
    lengths = np.full(3000, 12)
    seen, y = task.hide(x, lengths, generator(0, "blanks", 3))
    chosen = y != IGNORED
    assert (y[chosen] == x[chosen]).all() and (seen[~chosen] == x[~chosen]).all()
    assert not chosen[:, [0, 11, 12, 13]].any() and chosen.any(axis=1).all()
    assert chosen[:, 1:11].mean() == pytest.approx(0.15 + 0.1 * 0.85**10, abs=0.01)
    assert (seen[chosen] == task.pieces.mask).mean() == pytest.approx(0.8, abs=0.03)
    assert (seen[chosen] == x[chosen]).mean() == pytest.approx(0.1, abs=0.03)
    assert (seen >= 5).any() and seen[chosen & (seen != task.pieces.mask)].min() >= 5
    again, _ = task.hide(x, lengths, generator(0, "blanks", 3))
    np.testing.assert_array_equal(again, seen)
    assert (task.hide(x, lengths, generator(0, "blanks", 4))[0] != seen).any()


def test_learning_and_filling_in(task, capsys):
    assert all(map(np.array_equal, task.batch(7), task.batch(7)))
    x, lengths, places, y = task.batch(0)
    assert len(places) == len(y) and (np.diff(places) > 0).all()
    model = MaskedLM(
        Config(
            **task.sizes, d_model=24, layers=2, heads=2, feed_forward=24, positions=12, dropout=0.0
        ),
        0,
    )
    optimizer = nag.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(300):
        optimizer.zero_grad()
        loss, state = task.loss(model, None, *task.batch(step))
        assert state is None
        loss.backward()
        optimizer.step()
    with nag.no_grad():
        found = task.evaluate(model, final=True)
        each, right = [], []
        for x, y in task.held_out:
            logits = model(x, [x.shape[1]])[0]
            for t in np.flatnonzero(y[0] != IGNORED):
                each.append(nag.functional.cross_entropy(logits[t : t + 1], y[0, t : t + 1]).item())
                right.append(int(logits.data[t].argmax()) == y[0, t])
        assert found["loss"] == pytest.approx(np.mean(each), rel=1e-4)
        assert found["accuracy"] == pytest.approx(np.mean(right)) and found["accuracy"] > 0.75
        assert task.show(model, None) == []
        again = Masked(task.o, task.known)
        filled, *likeliest = list(again.generate(model, "The dog [MASK] woof [MASK]"))
        assert filled == "The dog says woof .\n"
        assert len(likeliest) == 2 and likeliest[0].startswith("  says ")
        for prompt in ("", "no blank", "[MASK]" + " the" * 10):
            with pytest.raises(DataError, match=r"pieces with a \[MASK\] or more"):
                next(again.generate(model, prompt))
    assert capsys.readouterr().out.count("_") >= 2 * 4


def test_the_baseline_counts_what_stands_between():
    guess = Neighbours(
        [np.array(x) for x in ([2, 7, 8, 9, 3], [2, 7, 6, 9, 3], [2, 7, 8, 9, 3], [2, 5, 5, 3])],
        10,
        [2, 3],
    )
    assert guess(7, 9) == 8  # between them 8 twice, 6 once
    assert guess(7, 4) == 8 and guess(4, 3) == 9
    assert guess(4, 4) == 7  # the most frequent one, 9 is as frequent
    assert guess(5, 3) == 5 and guess(3, 2) == 7


def test_the_baseline_of_a_task(task):
    what, score = task.baseline()
    assert what == "most frequent piece between the same two" and 0.5 < score < 1


def test_what_no_run_knows(task):
    for known in ({"pieces": ["a"]}, {"pieces": ""}, {"pieces": None}):
        with pytest.raises(DataError, match="word pieces"):
            Masked(task.o, known)
