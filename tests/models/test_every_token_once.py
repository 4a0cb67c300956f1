"""The score of a language model: what is held out is read once, in order, whatever the batch."""

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import nanoautograd as nag  # noqa: E402
import train  # noqa: E402
from models.data import in_order  # noqa: E402
from models.tasks import language  # noqa: E402
from models.training.build import make_model  # noqa: E402
from models.training.options import make_task, parse  # noqa: E402
from nanoautograd import functional as F  # noqa: E402

SIZES = {
    "rnn": "--hidden 6 --embedding 4",
    "lstm": "--hidden 6 --embedding 4 --layers 2",
    "gru": "--hidden 6 --embedding 4",
    "gpt": "--d-model 8 --heads 2 --layers 1",
    "llama": "--d-model 8 --heads 2 --kv-heads 1 --layers 1",
}


@given(n=st.integers(0, 200), B=st.integers(1, 20), T=st.integers(1, 30))
def test_blocks_cover_each_token_once_in_order(n, B, T):
    blocks = list(in_order(np.arange(n), B, T))
    assert all(len(x) <= B and x.shape == y.shape and x.shape[1] <= T for x, y in blocks)
    for which, right in ((0, np.arange(max(0, n - 1))), (1, np.arange(1, n))):
        found = [block[which].ravel() for block in blocks]
        np.testing.assert_array_equal(np.concatenate([*found, []]), right)
    rows = [row for x, _ in blocks for row in x]
    assert all(map(len, rows))
    assert all(row[0] % T == 0 for row in rows)  # the same, however many are read at once


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    path.write_text("".join(random.Random(0).choices(["tip ", "top ", "tulip\n", "é"], k=400)))
    return path


def by_hand(task, model):
    """-log p of each token held out but the first: of a recurrent network after all before it, of
    others after those in its block."""
    tokens, T = task.validation, task.o.block_size
    starts = [0] if task.recurrent else range(0, len(tokens) - 1, T)
    losses = []
    for i in starts:
        x = tokens[i:] if task.recurrent else tokens[i : i + T + 1]
        logits, _ = model(x[None, :-1])
        losses += F.cross_entropy(logits[0], x[1:], reduction="none").numpy().tolist()
    assert len(losses) == len(tokens) - 1
    return np.mean(losses)


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
@pytest.mark.parametrize("preset", SIZES)
def test_the_score_is_that_of_the_text_and_not_of_the_batch(text, preset, tokens, monkeypatch):
    if tokens == "bpe":
        pytest.importorskip("tokenizers")
    found = []
    for batch, block, at_once in ((1, 8, 4096), (3, 8, 7), (64, 8, 20)):
        monkeypatch.setattr(language, "AT_ONCE", at_once)
        words = f"{preset} --data {text} --batch {batch} --block-size {block} --steps 0"
        words += f" --tokens {tokens} --dtype float64 {SIZES[preset]}"
        words += " --vocab-size 260" * (tokens == "bpe")
        task = make_task(parse(words.split())[0])
        model = make_model(task, task.o).eval()
        with nag.no_grad():
            found.append(task.evaluate(model))
            right = by_hand(task, model)
    for scores in found:
        assert scores == pytest.approx(found[0], rel=1e-12)
        assert scores["loss"] == pytest.approx(right, rel=1e-9)
    ratio = len(task.validation) / len(task.held_out)
    assert (ratio == 1) == (tokens == "characters")
    assert scores["bits"] == pytest.approx(right * ratio / math.log(2))
    assert scores["perplexity"] == pytest.approx(math.exp(right))
    if tokens == "bpe":
        assert scores["perplexity_character"] == pytest.approx(2 ** scores["bits"])
    else:
        assert "perplexity_character" not in scores


@pytest.mark.parametrize("preset", ["gru", "gpt", "ngram"])
def test_one_token_to_validate_with_is_refused(tmp_path, preset):
    """A byte pair can be all of what is held out; nothing is to be predicted then."""
    pytest.importorskip("tokenizers")
    path = tmp_path / "text.txt"
    path.write_text(" alphabet" * 200)
    words = [preset, "--data", str(path), "--tokens", "bpe", "--vocab-size", "270"]
    words += ["--out", str(tmp_path / "run"), "--validation", str(9 / 1800), "--length", "5"]
    words += ["--steps", "1", "--batch", "2", "--block-size", "8"] if preset != "ngram" else []
    message = train.main(words)
    assert "has 1 bpe, and 2 are the least" in message and "--validation" in message
    assert not (tmp_path / "run" / "checkpoint.json").exists()


def test_the_score_in_the_end_is_that_of_the_last_evaluation(text, tmp_path):
    words = ["gru", "--data", str(text), "--steps", "2", "--batch", "2", "--block-size", "8"]
    out = ["--out", str(tmp_path / "run"), "--hidden", "6", "--embedding", "4", "--length", "5"]
    assert train.main([*words, *out]) is None
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["validation_loss"] == result["scores"]["loss"]
