"""train.py that is killed, stopped or started again goes on to the bit, and loses no run."""

import os
import random
import re
import signal
import sys
import time

import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from runs import result, start  # noqa: E402

import train  # noqa: E402
from models.tasks.language import Language  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint  # noqa: E402


def test_killed_at_any_moment_the_result_is_the_same_to_the_bit(text, tmp_path):
    options = ["--steps", "300", "--evaluate-every", "7"]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert start(text, straight, *options).wait() == 0
    rng, kills, steps = random.Random(0), 0, set()
    while True:
        process = start(text, killed, *options, "--resume")
        if kills < 8 or len(steps) < 3 and kills < 40:  # a busy machine does less between two
            # The first is killed wherever it is; others some time after they have set to work.
            metrics_file, before = killed / "metrics.jsonl", time.time()
            while (
                kills
                and process.poll() is None
                and (not metrics_file.exists() or metrics_file.stat().st_mtime < before)
            ):
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.15))
            process.kill()
            kills += process.wait() < 0
            if (killed / "checkpoint.json").exists():
                steps.add(load_checkpoint(killed)[1]["step"])
        process.communicate()
        if process.returncode == 0:
            break
    assert kills >= 4 and len(steps) >= 3  # it was interrupted, at different places
    assert result(killed) == result(straight)


def test_ctrl_c_saves_and_says_how_to_go_on(text, tmp_path):
    options = ["--steps", "700", "--evaluate-every", "10000"]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert start(text, straight, *options).wait() == 0
    process = start(text, stopped, *options)
    while not (stopped / "checkpoint.json").exists():
        time.sleep(0.005)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130 and "Traceback" not in err
    command = re.search(r"python train.py (gru --resume --out .*)", out)[1]
    step = load_checkpoint(stopped)[1]["step"]
    assert 0 < step < 700 and f"stopped after step {step}" in out
    assert (stopped / "loss.png").exists()
    assert train.main(command.split()) is None  # all other options come from the checkpoint
    assert result(stopped) == result(straight)


def test_resume_can_go_further_but_not_elsewhere(run, tmp_path, text, capsys):
    run("--steps", 5)
    assert run("--resume", "--steps", 8, "--lr", 0.001) is None
    assert load_checkpoint(tmp_path / "run")[1]["step"] == 8
    assert run("--resume", "--steps", 8) is None  # nothing left to do: reports
    assert "validation: loss" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run("--resume", "--hidden", 9)
    assert "has --hidden 8, and it cannot be changed to 9" in capsys.readouterr().err
    text.write_text(text.read_text() + "more")
    assert "is not what this run was started with" in run("--resume")


def test_resume_without_a_checkpoint_starts(run, tmp_path):
    assert run("--resume", "--steps", 2) is None
    assert load_checkpoint(tmp_path / "run")[1]["step"] == 2


def test_a_run_is_not_overwritten_by_accident(run, tmp_path):
    run("--steps", 2)
    before = result(tmp_path / "run")
    message = run("--steps", 3)
    assert "holds a run already" in message
    for option in ("--generate", "--resume", "--steps", "--overwrite", "--out"):
        assert option in message  # what one can do now
    assert result(tmp_path / "run") == before
    assert run("--steps", 3, "--overwrite") is None
    assert load_checkpoint(tmp_path / "run")[1]["step"] == 3


def test_the_run_to_overwrite_is_kept_until_the_new_one_is_there(run, tmp_path, monkeypatch):
    run("--steps", 2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}

    def fails(*args, **kwargs):
        raise OSError("no space left")

    for name in ("make_task", "make_model", "pack", "save_checkpoint"):
        with monkeypatch.context() as m:
            m.setattr(train, name, fails)
            assert run("--overwrite", "--seed", 1) == "train.py: no space left"
        assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert "pip install tensorboardX" in run("--overwrite", "--tensorboard")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    monkeypatch.setattr(Language, "evaluate", fails)
    assert run("--resume") == "train.py: no space left"
    assert (tmp_path / "run" / "result.json").read_bytes() == before["result.json"]


def test_the_next_start_removes_what_a_kill_left(run, tmp_path):
    run("--steps", 2)
    folder = tmp_path / "run"
    names = set(os.listdir(folder))
    (folder / "checkpoint-0123456789abcdef.safetensors").write_bytes(b"old arrays")
    (folder / ".checkpoint-0123456789abcdef.safetensors.tmp").write_bytes(b"half of")
    (folder / "notes.txt").write_text("mine")
    assert run("--generate", "alp") is None and len(os.listdir(folder)) == len(names) + 3
    assert run("--resume") is None  # though there is nothing left to do
    assert set(os.listdir(folder)) == {*names, "notes.txt"}


def test_two_runs_do_not_share_a_folder(run, tmp_path, text):
    process = start(text, tmp_path / "run", "--steps", "100000")
    while not (tmp_path / "run" / "checkpoint.json").exists():
        time.sleep(0.005)
    files = set(os.listdir(tmp_path / "run"))
    assert files == {"checkpoint.json", "metrics.jsonl", *(f for f in files if "safetensors" in f)}
    for option in "--resume", "--overwrite":
        assert "a run is at work in " + str(tmp_path / "run") in run("--steps", 100000, option)
    process.kill()  # the lock ends with it
    process.communicate()
    assert run("--steps", 2, "--overwrite") is None
