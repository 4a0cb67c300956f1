"""--keep best and --patience: the weights with the best score, and an end where it gets no better;
stopped and taken up again to the same bits."""

import json

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from runs import TINY, metrics  # noqa: E402

import train  # noqa: E402
from models.tasks.language import Language  # noqa: E402
from models.training.results import read_result  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402

pytestmark = pytest.mark.usefixtures("without_pictures")

RISING = [3.0, 2.0, 1.5, 1.7, 1.6, 1.9, 1.4, 1.8, 1.8, 1.8, 1.8, 1.8]  # the scores of a test


@pytest.fixture
def scores(monkeypatch):
    """What the model is told that it reached, by the step; what it was judged with."""
    judged = {}

    def evaluate(self, model, final=False):
        step = len(judged) + 1
        judged[step] = {n: a for n, a in model.state_dict().items()}
        bits = RISING[min(step, len(RISING)) - 1]
        return {"loss": bits, "bits": bits}

    monkeypatch.setattr(Language, "evaluate", evaluate)
    monkeypatch.setattr(Language, "show", lambda *args: [])
    return judged


def result(folder):
    return json.loads((folder / "result.json").read_text())


def arrays(folder, prefix):
    found, _ = load_checkpoint(folder)
    return {n.removeprefix(prefix): a for n, a in found.items() if n.startswith(prefix)}


@pytest.mark.parametrize("more", [[], ["--average", "0.5"]])
def test_the_best_weights_are_those_that_were_judged(run, scores, tmp_path, more):
    assert run("--steps", 6, "--evaluate-every", 1, "--keep", "best", *more) is None
    folder = tmp_path / "run"
    assert load_checkpoint(folder)[1]["best"] == {"step": 3, "score": 1.5, "waited": 3}
    best = arrays(folder, "best.")
    for name, array in scores[3].items():
        np.testing.assert_array_equal(best[name], array)
        np.testing.assert_array_equal(scores[7][name], array)  # judged in the end, by them
    last = arrays(folder, "model.")
    assert any((last[name] != best[name]).any() for name in best)
    said = result(folder)
    assert said["best"]["step"] == 3 and said["to_step"] == 6


def test_they_answer_and_are_begun_with(run, scores, tmp_path):
    run("--steps", 6, "--evaluate-every", 1, "--keep", "best", "--lr", 0.05)
    begin = "--pretrained", tmp_path / "run", "--out", tmp_path / "second"
    assert run("--steps", 1, "--lr", 1e-12, *begin) is None
    best, second = arrays(tmp_path / "run", "best."), arrays(tmp_path / "second", "model.")
    for name in best:
        np.testing.assert_allclose(second[name], best[name], atol=1e-9)
    assert train.main(["--out", str(tmp_path / "run"), "--generate", "alp"]) is None


@pytest.mark.parametrize("patience, steps", [(1, 4), (2, 5), (3, 6), (4, 11), (9, 12), (0, 12)])
def test_it_ends_after_so_many_scores_that_are_no_better(
    run, scores, tmp_path, text, patience, steps
):
    options = ["--steps", 12, "--evaluate-every", 1, "--patience", patience]
    assert run(*options) is None
    said = result(tmp_path / "run")
    assert said["to_step"] == load_checkpoint(tmp_path / "run")[1]["step"] == steps
    assert [m["step"] for m in metrics(tmp_path / "run") if "loss" in m] == [*range(1, steps + 1)]
    words = ["gru", "--data", str(text), *TINY, *map(str, options)]
    assert read_result(tmp_path / "run" / "result.json", words) is not None
    words[-1] = str(patience + 1)
    assert read_result(tmp_path / "run" / "result.json", words) is None


def test_a_run_that_has_ended_goes_on_with_more_patience_alone(run, scores, tmp_path, capsys):
    run("--steps", 12, "--evaluate-every", 1, "--patience", 2)
    before = result(tmp_path / "run")
    assert run("--resume") is None and result(tmp_path / "run")["to_step"] == 5
    assert "at its best after 3 steps, and ended after 5" in capsys.readouterr().out
    assert run("--resume", "--patience", 9) is None
    said = result(tmp_path / "run")
    assert said["to_step"] > 5 and said["changed"] == [{"to_step": 5, "patience": 2}]
    assert before["changed"] == []


@pytest.mark.parametrize(
    "options",
    [["--keep", "best"], ["--keep", "best", "--average", 0.5], ["--patience", 2, "--keep", "best"]],
)
def test_resumed_at_any_step_it_is_the_same_to_the_bit(run, tmp_path, options, monkeypatch):
    """Whatever the step after which it is stopped, also between two evaluations."""
    monkeypatch.setattr(Language, "show", lambda *args: [])
    words = ["--steps", 9, "--evaluate-every", 2, "--lr", 0.3, "--warmup", 0, *options]
    assert run(*words, "--out", tmp_path / "straight") is None
    right = load_checkpoint(tmp_path / "straight")
    for stop in (1, 6):
        out = tmp_path / f"stopped{stop}"
        batch = Language.batch

        def killed(self, step, stop=stop, batch=batch):
            if step == stop:
                raise KeyboardInterrupt
            return batch(self, step)

        with monkeypatch.context() as patch:
            patch.setattr(Language, "batch", killed)
            run(*words, "--out", out)
        assert run(*words, "--out", out, "--resume") is None
        tensors, state = load_checkpoint(out)
        assert {**state, "options": 0} == {**right[1], "options": 0}
        assert tensors.keys() == right[0].keys()
        for name in tensors:
            np.testing.assert_array_equal(tensors[name], right[0][name], err_msg=name)
        said = [
            {k: v for k, v in result(f).items() if k != "seconds"}
            for f in (out, tmp_path / "straight")
        ]
        assert said[0]["scores"] == said[1]["scores"] and said[0]["best"] == said[1]["best"]


def test_without_the_options_a_checkpoint_is_as_before(run, tmp_path):
    run("--steps", 2)
    tensors, state = load_checkpoint(tmp_path / "run")
    assert "best" not in state and not any(name.startswith("best.") for name in tensors)
    assert not {"keep", "patience"} & state["options"].keys()
    assert result(tmp_path / "run")["best"] is None


def test_best_weights_that_are_none(run, scores, tmp_path):
    run("--steps", 3, "--evaluate-every", 1, "--keep", "best")
    tensors, state = load_checkpoint(tmp_path / "run")
    name = next(name for name in tensors if name.startswith("best."))
    wrong = [
        ({n: a for n, a in tensors.items() if n != name}, state),
        ({**tensors, name: tensors[name].ravel()[:1]}, state),
        ({**tensors, name: tensors[name].astype("f8")}, state),
        ({**tensors, name: tensors[name] * np.nan}, state),
        ({**tensors, "best.more": tensors[name]}, state),
        *(
            (tensors, {**state, "best": best})
            for best in (
                {"step": 9, "score": 1.0, "waited": 0},
                {"step": 1, "score": None, "waited": 0},
                {"step": 1, "score": "x", "waited": 0},
                {"step": 1, "score": 1.0, "waited": -1},
                {"step": 1},
                [],
                "x",
                5,
            )
        ),
    ]
    for arrays_, state_ in wrong:
        save_checkpoint(tmp_path / "run", arrays_, state_)
        for words in (["--resume", "--steps", 4], ["--generate", "alp"]):
            message = run(*words)
            assert isinstance(message, str) and message.startswith("train.py: the "), state_["best"]
    save_checkpoint(tmp_path / "run", tensors, state)
    assert run("--resume", "--steps", 4) is None


@pytest.mark.parametrize("more", [["--lora", "2"], ["--freeze", "embedding", "rnn"]])
def test_of_what_is_frozen_nothing_is_kept(run, scores, tmp_path, more):
    """The best weights are those that learn; with them the model answers and is begun with."""
    run("--steps", 2, "--out", tmp_path / "first")
    begin = ["--pretrained", tmp_path / "first", *more, "--lr", 0.1, "--warmup", 0]
    scores.clear()
    words = ["--steps", 5, "--evaluate-every", 1, "--keep", "best", *begin]
    assert run(*words) is None
    best, last = arrays(tmp_path / "run", "best."), arrays(tmp_path / "run", "model.")
    assert best.keys() == last.keys() and all("output" in name for name in best)
    assert any((best[name] != last[name]).any() for name in best)
    for name, array in best.items():
        np.testing.assert_array_equal(scores[6][name], array)
    assert run("--resume", *words) is None
    assert train.main(["--out", str(tmp_path / "run"), "--generate", "alp"]) is None
    third = ["--steps", 1, "--lr", 1e-12, "--warmup", 0, "--pretrained", tmp_path / "run"]
    assert run(*third, "--out", tmp_path / "third") is None
    if more[0] == "--freeze":
        found = arrays(tmp_path / "third", "model.")
        for name, array in best.items():
            np.testing.assert_allclose(found[name], array, atol=1e-9)
