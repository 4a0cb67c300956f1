"""A result says what was done, and not what was asked for last; the table and the search believe
nothing else."""

import json

import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from runs import TINY, result  # noqa: E402

from models.training import cells, search  # noqa: E402
from models.training.options import ADDED, CHANGEABLE, option  # noqa: E402
from models.training.results import read_result  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402

pytestmark = pytest.mark.usefixtures("without_pictures")

OTHERS = {
    "steps": "9",
    "lr": "0.5",
    "warmup": "1",
    "decay": "cosine",
    "lr_floor": "0.01",
    "weight_decay": "0.5",
    "betas": "0.5 0.5",
    "clip": "0.1",
    "evaluate_every": "2",
    "patience": "5",
}


def report(folder):
    return json.loads((folder / "result.json").read_text())


def believed(folder, text, *options):
    words = ["gru", "--data", str(text), *TINY, *map(str, options)]
    return read_result(folder / "result.json", words) is not None


def test_fewer_steps_than_were_taken_are_refused(run, text, tmp_path):
    """Before, the score of step 6 was written down as that of 2 steps."""
    run("--steps", 6)
    before, said = result(tmp_path / "run"), report(tmp_path / "run")
    for fewer in (0, 2, 5):
        message = run("--resume", "--steps", fewer)
        assert (
            f"has taken 6 steps already, and cannot go back to {fewer}: give --steps 6" in message
        )
    assert result(tmp_path / "run") == before and report(tmp_path / "run") == said
    assert believed(tmp_path / "run", text, "--steps", 6)
    assert not believed(tmp_path / "run", text, "--steps", 5)


@pytest.mark.parametrize("name", sorted(CHANGEABLE))
def test_an_option_that_was_changed_on_the_way_is_in_the_result(run, text, tmp_path, name, capsys):
    """With it the run is none that could have been typed, so it stands in no table."""
    run("--steps", 4)
    assert believed(tmp_path / "run", text, "--steps", 4)
    old = {**ADDED, **load_checkpoint(tmp_path / "run")[1]["options"]}
    words = OTHERS[name].split()
    change = {"--steps": ["8"]} | {option(name): words}
    capsys.readouterr()
    assert run("--resume", *(w for o, ws in change.items() for w in (o, *ws))) is None
    said = report(tmp_path / "run")
    assert said["to_step"] == said["options"]["steps"] == int(change["--steps"][0])
    assert said["changed"] == [{"to_step": 4, name: old[name], "steps": 4}]
    assert "up to step 4 this run had" in capsys.readouterr().out
    typed = [w for o, ws in change.items() for w in (o, *ws)]
    assert not believed(tmp_path / "run", text, *typed)
    run("--resume")  # and so it stays
    assert report(tmp_path / "run")["changed"] == said["changed"]


@pytest.mark.parametrize("name", sorted(CHANGEABLE - {"steps", "evaluate_every", "patience"}))
def test_an_option_of_no_step_at_all_is_refused(run, tmp_path, name):
    run("--steps", 3)
    said = report(tmp_path / "run")
    message = run("--resume", option(name), *OTHERS[name].split())
    assert f"has taken its 3 steps with {option(name)}" in message and "more --steps" in message
    assert report(tmp_path / "run") == said


def test_a_run_that_is_stopped_and_goes_on_as_it_was_is_believed(run, text, tmp_path):
    run("--steps", 5)
    folder = tmp_path / "run"
    tensors, state = load_checkpoint(folder)
    assert run("--resume") is None and believed(folder, text, "--steps", 5)
    assert report(folder)["changed"] == []
    # A state of another form is refused.
    for part, wrong in {
        "changed": [[{"to_step": 9}], [{"to_step": "x"}], [3], "x", {}],
        "seen": [2.0, "x", [], True],
        "read": ["x", 3, [], "AAAA"],
    }.items():
        for value in wrong:
            save_checkpoint(folder, tensors, {**state, part: value})
            message = run("--resume", "--steps", 6)
            assert message and message.startswith("train.py: ") and "\n" not in message, (
                part,
                value,
            )


def test_the_result_of_other_steps_is_no_result(run, text, tmp_path):
    run("--steps", 4)
    path = tmp_path / "run" / "result.json"
    said = report(tmp_path / "run")
    for wrong in (
        {"to_step": 9},
        {"to_step": "4"},
        {"changed": [{"to_step": 2, "lr": 1.0}]},
        {"seen": 3},
        {"seen": "x"},
    ):
        path.write_text(json.dumps({**said, **wrong}))
        assert not believed(tmp_path / "run", text, "--steps", 4), wrong
    path.write_text(json.dumps(said))
    assert believed(tmp_path / "run", text, "--steps", 4)


def test_the_search_takes_no_run_that_was_changed(run, text, tmp_path, capsys):
    words = ["gru", "--data", str(text), *TINY, "--threads", "1", "--grid", "lr=0.01"]
    words += ["--runs", str(tmp_path / "search"), "--jobs", "1"]
    folder = tmp_path / "search" / "lr_0.01" / "run"
    folder = tmp_path / "search" / "lr=0.01" / "run"
    threads = ["--threads", 1, "--out", folder]
    assert run("--steps", 2, "--lr", 0.02, *threads) is None
    assert run("--resume", "--steps", 4, "--lr", 0.01, *threads) is None
    with pytest.raises(SystemExit):
        search.main([*words, "--steps", "4"])
    assert "options were changed on the way" in capsys.readouterr().err


def test_what_stands_beside_a_score_in_the_table():
    options = {"pretrained": "none"}
    assert cells.doubt({"options": options, "seen": 0.0}) == ""
    assert cells.doubt({"options": options}) == ""
    assert "12.30%" in cells.doubt({"options": options, "seen": 0.123})
    begun = {"pretrained": "/runs/first"}
    assert "not known" in cells.doubt({"options": begun, "seen": None})
    assert "not known" in cells.doubt({"options": begun})
