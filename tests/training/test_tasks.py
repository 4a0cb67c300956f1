"""What holds for every preset: it trains, stops and goes on to the same bits, and answers."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")
pytest.importorskip("rouge_score.rouge_scorer")  # its import draws from Python's random numbers
pytest.importorskip("sacrebleu")

import train  # noqa: E402
from models.data import DEBIAN, SOURCES, install, installed  # noqa: E402
from models.tasks import PRESETS  # noqa: E402
from models.tasks.task import Task  # noqa: E402
from models.training.options import option, parser, presets  # noqa: E402

# Options of any model that make it small; pretrained weights are large.
SMALL = {
    "hidden": 8,
    "d_model": 8,
    "embedding": 8,
    "feed_forward": 8,
    "heads": 2,
    "layers": 1,
    "block_size": 16,
    "length": 10,
    "batch": 4,
    "pretrained": "none",
    "limit": 100_000,
    "pairs": 150,
}

# Where there is much to evaluate on, or a size of its own.
FEW = {
    "phonemes": ["--validation", "0.01"],
    "smollm": ["--scored", "5", "--kv-heads", "1"],
    "smollm-lora": ["--scored", "5", "--kv-heads", "1", "--lora", "0"],
}


@pytest.fixture(params=list(PRESETS))
def preset(request):
    if missing := PRESETS[request.param].missing(request.param):
        pytest.skip(f"needs {' and '.join(missing)}")
    return request.param


def small(preset):
    known = vars(parser(preset).parse_args([]))
    return [
        word
        for name, value in SMALL.items()
        if name in known
        for word in (option(name), str(value))
    ] + FEW.get(preset, [])


def result(out):
    document = json.loads((out / "checkpoint.json").read_text())
    return document["sha256"], document["state"]["step"], (out / "metrics.jsonl").read_text()


@pytest.mark.data
def test_a_preset_trains_stops_and_goes_on_to_the_same_bits(preset, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(PRESETS[preset], "show", lambda *args: [])  # has its own tests
    options = [preset, *small(preset)]
    if PRESETS[preset].presets[preset].get("steps", 1):
        options += [
            "--decay",
            "constant",
            "--evaluate-every",
            "2",
            "--average",
            "0.9",
            "--accumulate",
            "2",
        ]
        straight, stopped = tmp_path / "straight", tmp_path / "stopped"
        assert train.main([*options, "--steps", "5", "--out", str(straight)]) is None
        for steps in ("3", "5"):
            assert (
                train.main([*options, "--steps", steps, "--out", str(stopped), "--resume"]) is None
            )
        (a, step, lines), (b, _, again) = result(straight), result(stopped)
        assert (a, step) == (b, 5)
        trained = [line for line in lines.splitlines() if '"lr"' in line]
        assert trained == [line for line in again.splitlines() if '"lr"' in line]
    else:
        straight = tmp_path / "straight"
        assert train.main([*options, "--out", str(straight)]) is None
    report = json.loads((straight / "result.json").read_text())
    assert report["options"]["preset"] == preset and report["metric"] in report["scores"]
    assert all(np.isfinite(score) for score in report["scores"].values())
    assert np.isfinite(report["baseline"][1]) and "baseline: " in capsys.readouterr().out
    message = train.main(["--out", str(straight), "--generate", PRESETS[preset].prompt])
    assert message is None and capsys.readouterr().out.strip()


@pytest.mark.parametrize("there", [None, "a spec"])
def test_the_list_names_all_presets_and_what_to_install(capsys, monkeypatch, there):
    monkeypatch.setattr("models.data.sources.find_spec", lambda name: there)
    assert train.main(["--list"]) is None
    out = capsys.readouterr().out
    assert out.strip() == presets()
    assert max(map(len, out.splitlines())) <= 80
    one_line = re.sub(r"\s+", " ", out)
    for preset, task in PRESETS.items():
        path = task.models[task.presets[preset]["model"]][0].__module__.replace(".", "/") + ".py"
        data = ", ".join(task.needs.get(preset, [task.source]))
        assert re.search(rf" {preset} (\(default\) )?{path} {data} ", one_line)
        assert f" {task.about}: {task.metric} " in one_line
    for package, (*_, what) in (SOURCES | DEBIAN).items():
        then = "; installed " if installed(package) else f" {install(package)} "
        assert f" {package} {what}{then}" in one_line


def test_the_task_in_the_readme(tmp_path, capsys, monkeypatch):
    readme = Path(train.__file__).parent / "models" / "tasks" / "README.md"
    code = re.search(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)[1]
    scope = {"__name__": "models.tasks.reverse", "__package__": "models.tasks"}
    exec(compile(code, "reverse.py", "exec"), scope)
    monkeypatch.setitem(PRESETS, "reverse", scope["Reverse"])
    options = ["reverse", "--batch", "4", "--hidden", "8", "--decay", "constant"]
    assert train.main([*options, "--out", str(tmp_path / "a"), "--steps", "4"]) is None
    assert "baseline: exact" in capsys.readouterr().out
    for steps in ("2", "4"):
        assert (
            train.main([*options, "--out", str(tmp_path / "b"), "--steps", steps, "--resume"])
            is None
        )
    assert result(tmp_path / "a")[0] == result(tmp_path / "b")[0]
    assert train.main(["--out", str(tmp_path / "a"), "--generate", "123"]) is None


def test_a_task_that_lacks_a_method_says_which():
    class Half(Task):
        def batch(self, step):
            return ()

    with pytest.raises(TypeError, match="Half.*baseline.*evaluate.*loss"):
        Half(None)


def test_a_preset_that_is_not_there(capsys):
    for wrong, expected in (
        ("rnm", "; did you mean rnn?"),
        ("bert", "; did you mean topics-bert or sentiment-bert or tagger-bert?"),
        ("perceptron", f"; there are {', '.join(PRESETS)} (python train.py --list tells more)"),
        ("", f"; there are {', '.join(PRESETS)} (python train.py --list tells more)"),
    ):
        with pytest.raises(SystemExit) as e:
            train.main([wrong])
        assert e.value.code == 2
        assert capsys.readouterr().err == f"train.py: there is no preset {wrong!r}{expected}\n"


def test_missing_data_is_one_line_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr("models.data.sources.find_spec", lambda name: None)
    monkeypatch.setattr("models.data.translation.DICTIONARY", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "babel.dates", None)  # the one package that is run
    for preset in PRESETS:
        if packages := PRESETS[preset].needs.get(preset):
            message = train.main([preset, "--out", str(tmp_path), "--steps", "1"])
            assert message.startswith("train.py: ") and "\n" not in message
            assert f"not installed: {install(packages[0])}" in message


def test_options_of_other_presets_are_not_accepted(capsys):
    with pytest.raises(SystemExit):
        train.main(["gpt", "--hidden", "8"])
    assert "no option --hidden; python train.py gpt --help shows all" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main(["gpt", "--help"])
    assert "--heads" in capsys.readouterr().out


def test_the_list_of_packages_to_install_is_that_of_the_sources():
    lines = (Path(train.__file__).parent / "models/tasks/packages.txt").read_text().splitlines()
    assert lines[1:] == [f"{package}=={version}" for package, (version, _, _) in SOURCES.items()]
