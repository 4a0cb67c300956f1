"""The table of all models over seeds: its cells, and the file of results that it is made from."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from models.data import DataError  # noqa: E402
from models.tasks import PRESETS  # noqa: E402
from models.training import table  # noqa: E402
from models.training.options import parse  # noqa: E402
from models.training.results import Run, read_results, save_results, up_to_date  # noqa: E402
from nanoautograd import checkpoint  # noqa: E402

pytestmark = pytest.mark.usefixtures("without_pictures")


def result(run, score, baseline=2.0, **others):
    """As a run that has finished writes it."""
    options = vars(parse(run.words)[0])
    kept = "preset", "seed", "steps", "lr", *(["data"] if run.data else [])
    metric = PRESETS[run.preset].metric
    return {
        "options": {name: options[name] for name in kept},
        "metric": metric,
        "scores": {metric: score},
        "baseline": ["counting", baseline],
        "parameters": 12345,
        "seconds": 60,
        "to_step": options["steps"],
        "changed": [],
        "seen": 0.0,
        "best": None,
    } | others


def cells(scores, preset="gru", **others):
    data = "python" if preset == "gru" else None
    runs = [Run(preset, data, seed) for seed in range(len(scores))]
    row = table.row({run: result(run, s, **others) for run, s in zip(runs, scores)})
    return dict(zip(table.HEAD, row))


@given(st.lists(st.floats(1e-3, 100), min_size=1, max_size=6))
def test_a_spread_has_two_digits_of_the_deviation(values):
    text = table.spread(values)
    middle, _, deviation = text.partition(" ± ")
    n = len(values)
    mean = sum(values) / n
    if not deviation:
        assert len(set(values)) == 1 and float(middle) == pytest.approx(mean, rel=1e-3)
        return
    exact = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5
    assert float(deviation) == pytest.approx(exact, rel=0.06, abs=1e-9)
    assert abs(float(middle) - mean) <= max(0.06 * exact, 1e-6 * mean) or exact >= 10


def test_a_row_of_three_seeds():
    row = cells([1.70, 1.71, 1.72], baseline=1.786)
    assert row["score"] == "bits **1.710 ± 0.010**"
    assert row["better by"] == "0.076 ± 0.010" and row["baseline"] == "1.786 (counting)"
    assert row["command"] == "`python train.py gru`" and row["seconds"] == "60"
    assert row["task"] == "write on a text (python)"


@pytest.mark.parametrize("preset, scores", [("gru", [1.9, 2.1, 2.0]), ("topics", [0.9, 0.7, 0.8])])
def test_what_is_no_clear_gain_is_said(preset, scores):
    assert cells(scores, preset, baseline=0.79 if preset == "topics" else 2.01)[
        "better by"
    ].endswith("(not clear)")


def test_larger_is_better_where_it_is():
    assert cells([0.9, 0.91], "topics", baseline=0.8)["better by"] == "0.1050 ± 0.0071"
    assert cells([0.7, 0.71], "topics", baseline=0.8)["better by"].startswith("-0.095")


def test_what_learns_nothing_runs_once():
    texts, seeds = ["python", "a/b.txt"], [0, 1, 2]
    assert [run.name for run in table.runs_of("ngram", texts, seeds)] == ["ngram-python", "ngram-b"]
    assert [run.name for run in table.runs_of("gru", texts, [4])] == ["gru-python-4", "gru-b-4"]
    assert [run.name for run in table.runs_of("topics", texts, seeds)] == [
        f"topics-{seed}" for seed in seeds
    ]


def test_a_file_of_results(tmp_path, capsys):
    path = tmp_path / "models.jsonl"
    runs = [Run("gru", "python", seed) for seed in (0, 1)]
    others = Run("gru", str(tmp_path / "plays.txt"), 0), Run("topics", None, 0)
    save_results(path, {run: result(run, 1.7) for run in runs})
    save_results(path, {run: result(run, 0.9) for run in others})  # beside what was there
    save_results(path, {runs[1]: result(runs[1], 1.8)})  # in the place of what was there
    assert str(tmp_path) not in path.read_text()  # a folder of this machine
    found = {run.name: r["scores"] for run, r in read_results(path)}
    assert found["gru-python-1"] == {"bits": 1.8} and found["gru-plays-0"] == {"bits": 0.9}
    assert found.keys() == {"gru-plays-0", "gru-python-0", "gru-python-1", "topics-0"}
    assert table.main(["gru", "topics", "--from", str(path), "--seeds", "0", "1"]) == 0
    said = capsys.readouterr().out
    assert "bits **1.750 ± 0.071**" in said and "`python train.py gru --data FILE`" in said
    assert f"{path} has no result of gru-plays (seed 1), topics (seed 1)" in said
    table.main(["gru", "tagger", "ngram", "--from", str(path)])
    lacking = "gru-plays (seeds 1, 2), gru-python (seed 2), tagger, ngram-plays, ngram-python"
    assert f"{path} has no result of {lacking}\n" in capsys.readouterr().out


def test_results_of_other_options_are_left_out_and_named(tmp_path, capsys):
    path, run = tmp_path / "models.jsonl", Run("gru", "python", 0)
    good = result(run, 1.7)
    for change, text in (
        ({"options": good["options"] | {"lr": 0.5}}, "--lr was 0.5, and is "),
        ({"to_step": 3}, "it took 3 steps"),
        ({"scores": {"bits": float("nan")}}, "it is damaged"),
        ({"changed": [{"to_step": 5}]}, "its options were changed on the way"),
    ):
        save_results(path, {run: good | change})
        assert up_to_date(path)[0] == {}
        assert table.main(["gru", "--from", str(path), "--seeds", "0"]) == 0
        said = capsys.readouterr().out
        assert f"gru-python-0 is left out: {text}" in said, said
        path.unlink()


@pytest.mark.parametrize(
    "line", ["[", "[]", "{}", '{"run": "gru-python-0"}', "null", "[" * 100_000, "\0\0"]
)
def test_a_damaged_file_is_refused_by_line(tmp_path, line):
    path, run = tmp_path / "models.jsonl", Run("gru", "python", 0)
    save_results(path, {run: result(run, 1.7)})
    whole = path.read_text()
    path.write_text(whole + line + "\n")
    with pytest.raises(DataError, match="line 2: no result of a run"):
        read_results(path)
    with pytest.raises(DataError):  # nor is it written over
        save_results(path, {run: result(run, 1.7)})
    assert path.read_text() == whole + line + "\n"
    path.write_text(whole.replace("gru-python-0", "gru-python-1"))
    with pytest.raises(DataError, match="line 1"):
        read_results(path)


def test_an_interrupt_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path, run = tmp_path / "models.jsonl", Run("gru", "python", 0)
    save_results(path, {run: result(run, 1.7)})
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_results(path, {Run("gru", "python", 1): result(run, 1.7)})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "words, text",
    [
        ("--seeds 1 1", "two of the --seeds are the same"),
        ("--seeds -1", "must be at least 0"),
        ("--texts a/x.txt b/x.txt", "two of the --texts are the same"),
        ("--from nowhere.jsonl", "there is no such file"),
        ("--from a --save b", "not allowed with"),
    ],
)
def test_wrong_arguments(words, text, capsys):
    with pytest.raises(SystemExit):
        table.main(words.split())
    assert text in capsys.readouterr().err


def test_runs_are_made_once_and_saved(tmp_path, monkeypatch, capsys):
    made = []

    def run(words, stdout):
        made.append(words)
        folder = Path(words[words.index("--out") + 1])
        folder.mkdir(parents=True)
        of = Run("gru", "python", int(words[words.index("--seed") + 1]))
        (folder / "result.json").write_text(json.dumps(result(of, 1.7 + of.seed / 100)))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(table.subprocess, "run", run)
    path = tmp_path / "models.jsonl"
    words = ["gru", "--runs", str(tmp_path / "runs"), "--save", str(path)]
    assert table.main(words) == 0 and len(made) == 3
    said = capsys.readouterr().out
    assert "bits **1.710 ± 0.010**" in said
    assert table.main(words) == 0 and len(made) == 3
    assert table.main(["gru", "--from", str(path)]) == 0
    assert capsys.readouterr().out == 2 * said
