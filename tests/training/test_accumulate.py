"""Batches whose gradients are summed for a step are one large batch: each part of it has the weight
of what it counts."""

import inspect
import json
from dataclasses import make_dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")
pytest.importorskip("rouge_score.rouge_scorer")  # its import draws from Python's random numbers
pytest.importorskip("sacrebleu")

from test_tasks import small  # noqa: E402

import nanoautograd as nag  # noqa: E402
import train  # noqa: E402
from models.data import pad  # noqa: E402
from models.tasks import PRESETS  # noqa: E402
from models.tasks.task import Task  # noqa: E402
from models.training.build import make_model  # noqa: E402
from models.training.options import make_task, parse  # noqa: E402
from nanoautograd import functional as F  # noqa: E402
from nanoautograd import nn  # noqa: E402

PARTS = 3


def one_batch(task, batches):
    """The batches as one, filled up to the longest of them."""
    names = list(inspect.signature(task.loss).parameters)[2:]
    if names[0] == "batch":  # *batch
        return tuple(np.concatenate(column) for column in zip(*batches))
    widths = [batch[0].shape[1] for batch in batches]
    joined, before = [], np.cumsum([0] + [len(batch[0]) for batch in batches])
    for name, column in zip(names, zip(*batches)):
        if column[0].ndim == 0:
            joined.append(column[0])
        elif name in ("rows", "places"):  # b T + t
            places = [np.divmod(p, T) for p, T in zip(column, widths)]
            joined.append(
                np.concatenate([(b + n) * max(widths) + t for (b, t), n in zip(places, before)])
            )
        elif column[0].ndim == 1 or name == "spans":
            joined.append(np.concatenate(column))
        else:
            fill = -100 if (column[0] == -100).any() else 0
            T = max(a.shape[1] for a in column)
            joined.append(
                np.concatenate(
                    [
                        np.pad(
                            a,
                            [(0, 0), (0, T - a.shape[1])] + [(0, 0)] * (a.ndim - 2),
                            constant_values=fill,
                        )
                        for a in column
                    ]
                )
            )
    return tuple(joined)


def gradient(task, model, parts):
    """The mean loss of all parts as train.py computes it, and its gradient as one vector."""
    model.zero_grad()
    total = 0.0
    for share, *batch in parts:
        loss, _ = task.loss(model, None, *batch)
        (loss * share).backward()
        total += loss.item() * float(share)
    grads = [p.grad.numpy().ravel() for p in model.parameters() if p.grad is not None]
    return total, np.concatenate(grads)


def marked(preset):
    """The preset, with what it needs: data, time to read all of Python's library, or both."""
    needs, missing = PRESETS[preset].needs.get(preset), PRESETS[preset].missing(preset)
    marks = [pytest.mark.data] * bool(needs) + [pytest.mark.slow] * (preset == "docstrings")
    marks += [pytest.mark.skip(f"needs {' and '.join(missing)}")] * bool(missing)
    return pytest.param(preset, marks=marks)


LEARN = [preset for preset, task in PRESETS.items() if task.presets[preset].get("steps", 1)]


@pytest.mark.parametrize("preset", [marked(preset) for preset in LEARN])
def test_parts_are_one_batch(preset):
    """The last batch of an epoch is short, and is among the parts."""
    words = [preset, *small(preset), "--accumulate", str(PARTS), "--dtype", "float64"]
    if "dropout" in vars(parse([preset])[0]):
        words += ["--dropout", "0"]
    o, _ = parse(words)
    o.pretrained, o.freeze, o.lora = "none", [], 0
    task = make_task(o)
    model = make_model(task, o)
    step = 2
    if hasattr(getattr(task, "order", None), "count"):  # an epoch of batches
        sizes = [len(task.order(i)) for i in range(task.order.count)]
        step = int(np.argmin(sizes)) // PARTS + 1
    parts = task.parts_of(step)
    batches = [batch for _, *batch in parts]
    assert float(sum(share for share, *_ in parts)) == pytest.approx(1.0)
    found, right = (
        gradient(task, model, p) for p in (parts, [(np.array(1.0), *one_batch(task, batches))])
    )
    assert found[0] == pytest.approx(right[0], rel=1e-9)
    np.testing.assert_allclose(found[1], right[1], rtol=1e-7, atol=1e-10 * abs(right[1]).max())


class Ragged(Task):
    """Rows of numbers of unequal lengths; each is to be the next of its row, and 0 is padding."""

    models = {"table": (dict, None)}
    presets = {"ragged": {"model": "table"}}

    def __init__(self, o, rows=()):
        super().__init__(o)
        self.rows = rows

    def batch(self, step):
        return (pad(self.rows[step * self.o.batch : (step + 1) * self.o.batch])[0],)

    def count(self, x):
        return (x != 0).sum()

    def loss(self, model, state, x):
        logits = model(x)
        return F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), x.reshape(-1), ignore_index=0
        ), None

    def evaluate(self, model, final=False):
        return {"loss": 1.0}

    def baseline(self):
        return "nothing", 1.0


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=9), min_size=4, max_size=4))
def test_any_lengths(rows):
    class o:
        batch, accumulate, dtype = 1, 4, "float64"

    class whole(o):
        batch, accumulate = 4, 1

    model = nn.Embedding(5, 5, rng=0, dtype=np.float64)
    (loss, grad), (right, whole_grad) = (
        gradient(task, model, task.parts_of(1)) for task in (Ragged(o, rows), Ragged(whole, rows))
    )
    assert loss == pytest.approx(right)
    np.testing.assert_allclose(grad, whole_grad, atol=1e-12)


def test_train_py_learns_the_same_from_parts(tmp_path, monkeypatch):
    """The losses, norms and weights of --batch 2 --accumulate 3 are those of --batch 6."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 5, n).tolist() for n in rng.integers(1, 30, 6 * 4 - 1)]

    class Table(nn.Embedding):
        def __init__(self, config, rng=None, dtype=np.float32):
            super().__init__(5, 5, rng=rng, dtype=dtype)

    class Rows(Ragged):
        models = {"table": (make_dataclass("C", [("layers", int, 1)]), Table)}

        def __init__(self, o, known=None):
            super().__init__(o, rows)
            self.known, self.sizes, self.fingerprint, self.summary = [], {}, "rows", "rows"

    monkeypatch.setitem(PRESETS, "ragged", Rows)
    found = []
    for name, batch, n in (("parts", 2, 3), ("whole", 6, 1)):
        words = ["ragged", "--steps", "4", "--dtype", "float64", "--out", str(tmp_path / name)]
        assert train.main([*words, "--batch", str(batch), "--accumulate", str(n)]) is None
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        found.append([(line["loss"], line["norm"]) for line in lines if "norm" in line])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
    weights = [nag.load(next((tmp_path / n).glob("*.safetensors"))) for n in ("parts", "whole")]
    np.testing.assert_allclose(weights[0]["model.weight"], weights[1]["model.weight"], rtol=1e-7)
