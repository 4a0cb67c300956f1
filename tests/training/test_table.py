"""The table of all models over seeds: its cells, and the file of results that it is made from."""

import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from models.data import DataError  # noqa: E402
from models.tasks import PRESETS, language  # noqa: E402
from models.training import cells, table  # noqa: E402
from models.training.options import parse  # noqa: E402
from models.training.results import Run, read_results, save_results, uses_seed  # noqa: E402
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


def row(scores, baselines=2.0, preset="gru", **others):
    """The row of as many seeds as there are scores: {head: cell}. Of `others` each seed has its
    own."""
    n = len(scores)
    baselines = baselines if isinstance(baselines, list) else [baselines] * n
    data = "python" if preset == "gru" else None
    results = {}
    for seed, (score, baseline) in enumerate(zip(scores, baselines)):
        run = Run(preset, data, seed)
        own = {name: values[seed] for name, values in others.items()}
        results[run] = result(run, score, baseline) | own
    return dict(zip(cells.HEAD, cells.row(results)))


def numbers(cell):
    """(mean, deviation or None, what is said beside them) of a cell."""
    found = re.fullmatch(r"(?:\w+ \*\*)?(-?[\d.e+-]+)(?: ± ([\d.]+))?(?:\*\*)?(.*)", cell)
    return float(found[1]), found[2] and float(found[2]), found[3]


SCORES = st.lists(st.integers(1, 10**6).map(lambda n: n / 10**6), min_size=1, max_size=3)


@given(SCORES, st.floats(-5, 3))
def test_a_spread_has_two_digits_of_the_deviation(scores, power):
    values = [score * 10**power for score in scores]
    middle, deviation, _ = numbers(cells.spread(values))
    mean = statistics.mean(values)
    if deviation is None:
        assert middle == pytest.approx(mean, rel=1e-3)
        return
    exact = statistics.stdev(values)
    assert deviation == pytest.approx(exact, rel=0.051)
    assert abs(middle - mean) <= 0.051 * exact
    digits = cells.spread(values).partition(" ± ")[2].replace(".", "").strip("0")
    assert 1 <= len(digits) <= 2


@pytest.mark.parametrize(
    "values, text",
    [
        ([1.728, 1.736, 1.744], "1.7360 ± 0.0080"),
        ([0.99972, 0.99978], "0.999750 ± 0.000042"),
        ([0.1, 0.3], "0.20 ± 0.14"),
        ([9.9, 10.1, 9.9], "9.97 ± 0.12"),
        ([1000.0, 1400.0], "1200 ± 280"),
        ([0.0, 0.1996], "0.10 ± 0.14"),
        ([1.0, 1.1408], "1.07 ± 0.10"),  # 0.09956, whose second digit is rounded to the first
        ([1.7864], "1.786"),
        ([1.7864] * 3, "1.786"),
        ([0.1 + 0.2, 0.3], "0.3"),  # rounding alone
        ([0.0, 0.0], "0"),
    ],
)
def test_spreads(values, text):
    assert cells.spread(values) == text


def test_a_row_of_three_seeds():
    cell = row([1.70, 1.71, 1.72], 1.786, seconds=[60, 20, 1000])
    assert cell["score"] == "bits **1.710 ± 0.010**"
    assert cell["better by"] == "0.076 ± 0.010" and cell["baseline"] == "1.786 (counting)"
    assert cell["command"] == "`python train.py gru`" and cell["seconds"] == "60"
    assert cell["task"] == "write on a text (python)" and cell["parameters"] == "12,345"


@given(SCORES, st.data())
def test_what_is_better_is_above_0_in_either_direction(scores, data):
    baselines = data.draw(st.lists(st.floats(0.01, 1), min_size=len(scores), max_size=len(scores)))
    for preset, sign in (("gru", -1), ("topics", 1)):
        gains = [sign * (ours - theirs) for ours, theirs in zip(scores, baselines)]
        found, deviation, remark = numbers(row(scores, baselines, preset)["better by"])
        exact = cells.deviation(gains)
        assert (deviation is None) == (not exact)
        assert found == pytest.approx(statistics.mean(gains), rel=1e-3, abs=0.051 * exact)
        if statistics.mean(gains) <= exact:
            assert remark == " (not clear)"
        else:
            assert remark == (" (one seed)" if len(scores) == 1 else "")


def test_one_run_where_the_seed_makes_no_difference_is_enough():
    run = Run("ngram", "python")
    assert dict(zip(cells.HEAD, cells.row({run: result(run, 1.786, 4.5)})))["better by"] == "2.714"


def test_a_gain_is_that_of_the_same_seeds():
    """Some splits are harder, for the baseline too: scores that spread may gain the same."""
    cell = row([0.9, 0.7, 0.8], [0.85, 0.65, 0.74], "topics")
    assert cell["score"] == "accuracy **0.80 ± 0.10**"
    assert cell["baseline"] == "0.75 ± 0.10 (counting)"
    assert cell["better by"] == "0.0533 ± 0.0058"


def test_what_differs_by_the_seed_is_not_shown_as_that_of_all():
    baselines = [["words, α = 0.1", 0.8], ["words, α = 1.0", 0.8]]
    shares = [0.0, 0.25]
    cell = row([0.9, 0.91], preset="topics", parameters=[5000, 987], baseline=baselines)
    assert cell["baseline"] == "0.8 (with seed 0: words, α = 0.1)"
    assert cell["parameters"] == "987 to 5,000"
    assert "25.00% of what is held out seen before" in row([0.9, 0.9], seen=shares)["score"]
    assert row([1.7, 1.8], seconds=[None, None])["seconds"] == "resumed"
    assert row([1.7, 1.8], seconds=[None, 50])["seconds"] == "50"


def test_runs_of_all_seeds_are_made_where_seeds_make_a_difference(tmp_path):
    texts, seeds = ["python", "a/b.txt"], [0, 1, 2]

    def names(preset, texts=texts, seeds=seeds):
        return [run.name for run in table.runs_of(preset, texts, seeds)]

    assert names("ngram") == ["ngram-python", "ngram-b"]
    assert names("ngram", ["wiki"]) == ["ngram-wiki-0", "ngram-wiki-1", "ngram-wiki-2"]
    assert names("gru", seeds=[4]) == ["gru-python-4", "gru-b-4"]
    assert names("topics") == ["topics-0", "topics-1", "topics-2"]
    assert names("smollm") == ["smollm-0", "smollm-1", "smollm-2"]  # draws what it is scored on


def test_what_uses_no_seed_gives_the_same_with_each(text):
    """And no preset that learns says so."""
    assert [preset for preset in PRESETS if not uses_seed(preset)] == ["ngram"]
    found = []
    for seed in (0, 7):
        o, _ = parse(["ngram", "--data", str(text), "--seed", str(seed)])
        task = PRESETS["ngram"](o)
        model = task.models["ngram"][1](task.models["ngram"][0](**task.sizes))
        task.begin(model)
        found.append((task.evaluate(model, final=True), task.baseline(), task.held_out))
    assert found[0] == found[1]


def test_articles_are_held_out_by_the_seed(monkeypatch):
    articles = [f"article {i}" for i in range(50)]
    monkeypatch.setattr(
        language, "read_wiki", lambda names, seed: (list(articles), ["en"] * 50, "")
    )
    split = [
        language.split_wiki(parse(["ngram", "--data", "wiki-en", "--seed", seed])[0])
        for seed in ("0", "7")
    ]
    assert split[0] != split[1]


def test_a_file_of_results(tmp_path, capsys):
    path = tmp_path / "models.json"
    runs = [Run("gru", "python", seed) for seed in (0, 1)]
    others = Run("gru", str(tmp_path / "plays.txt"), 0), Run("topics", None, 0)
    save_results(path, {run: result(run, 1.7) for run in runs})
    save_results(path, {run: result(run, 0.9) for run in others})  # beside what was there
    save_results(path, {runs[1]: result(runs[1], 1.8)})  # in the place of what was there
    assert str(tmp_path) not in path.read_text()  # a folder of this machine
    found = {run.name: r["scores"] for run, r in read_results(path).items()}
    assert found["gru-python-1"] == {"bits": 1.8} and found["gru-plays-0"] == {"bits": 0.9}
    assert list(found) == ["gru-plays-0", "gru-python-0", "gru-python-1", "topics-0"]
    assert [r["run"] for r in json.loads(path.read_text())] == list(found)
    assert len(path.read_text().splitlines()) == 2 + len(found)  # a result a line
    assert table.main(["gru", "topics", "--from", str(path), "--seeds", "0", "1"]) == 0
    said = capsys.readouterr().out
    assert "bits **1.750 ± 0.071**" in said and "`python train.py gru --data FILE`" in said
    assert f"{path} has no result of gru-plays (seed 1), topics (seed 1)" in said
    table.main(["gru", "tagger", "ngram", "--from", str(path)])
    lacking = "gru-plays (seeds 1, 2), gru-python (seed 2), tagger, ngram-plays, ngram-python"
    assert capsys.readouterr().out.endswith(f"{path} has no result of {lacking}\n")
    table.main(["gru", "--texts", "python", "--seeds", "0", "1", "--from", str(path)])
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 3 and "(python)" in said  # nothing is lacking, nothing said


def test_language_models_are_lacking_where_the_file_has_no_text(tmp_path, capsys):
    path, run = tmp_path / "models.json", Run("topics", None, 0)
    save_results(path, {run: result(run, 0.9)})
    table.main(["topics", "gru", "--seeds", "0", "--from", str(path)])
    assert capsys.readouterr().out.endswith(f"{path} has no result of gru-python\n")


def test_results_of_other_options_are_left_out_and_named(tmp_path, capsys):
    path = tmp_path / "models.json"
    runs = [Run("gru", "python", seed) for seed in (0, 1, 2)]
    for change, text in (
        ({"lr": 0.5}, "--lr was 0.5, and is "),
        ({"to_step": 3}, "it took 3 steps"),
        ({"scores": {"bits": float("nan")}}, "it is damaged"),
        ({"changed": [{"to_step": 5}]}, "its options were changed on the way"),
    ):
        for changed, name in ((runs, "gru-python"), (runs[1:], "gru-python (seeds 1, 2)")):
            for run in runs:
                good = result(run, 1.7)
                whole = change if "lr" not in change else {"options": good["options"] | change}
                save_results(path, {run: good | whole if run in changed else good})
            assert table.main(["gru", "--from", str(path)]) == 0
            said = capsys.readouterr().out
            assert f"\n{name} is left out: {text}" in said, said
            assert len(said.splitlines()) == 3 + (changed != runs)  # nor is it lacking
        path.unlink()


def test_results_of_a_preset_that_is_no_more_are_kept_and_named(tmp_path, capsys):
    path, run = tmp_path / "models.json", Run("gru", "python", 0)
    save_results(path, {run: result(run, 1.7)})
    path.write_text(path.read_text().replace('"preset": "gru"', '"preset": "former"'))
    save_results(path, {run: result(run, 1.7)})
    assert [found.name for found in read_results(path)] == ["former-python-0", "gru-python-0"]
    table.main(["gru", "--seeds", "0", "--from", str(path)])
    said = capsys.readouterr().out
    assert said.endswith("\nformer-python-0 is left out: there is no such preset\n")


def damaged(whole):
    """What may become of the text of a file."""
    line = whole.splitlines()[1]
    yield from ("", "[", "null", "7", "{}", "[" * 100_000, "\0\0", "[[]]", "[{}]")
    yield from (whole[: len(whole) // 2], whole + whole, f"[\n{line},\n{line}\n]\n")
    for name, value in (("preset", 3), ("seed", -1), ("seed", "0"), ("data", None), ("data", "")):
        content = json.loads(line)
        content["options"][name] = value
        yield json.dumps([content])
        del content["options"][name]
        yield json.dumps([content])
    yield json.dumps([json.loads(line) | {"options": None}])


def test_a_damaged_file_is_refused_and_stays(tmp_path, capsys, monkeypatch):
    path, run = tmp_path / "models.json", Run("gru", "python", 0)
    save_results(path, {run: result(run, 1.7)})
    monkeypatch.setattr(table.subprocess, "run", None)  # nothing is run, or it would fail
    for text in damaged(path.read_text()):
        path.write_text(text)
        with pytest.raises(DataError, match="models.json is damaged"):
            read_results(path)
        for option in ("--from", "--save"):
            message = table.main(["gru", "--runs", str(tmp_path / "runs"), option, str(path)])
            assert message.startswith(f"models.table: {path} is damaged (") and "\n" not in message
        assert path.read_text() == text
    path.write_bytes(b'["\xff"]')
    with pytest.raises(DataError):
        read_results(path)
    assert capsys.readouterr().out == ""


def test_results_that_cannot_be_written_are_not_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(table.subprocess, "run", None)
    path = tmp_path / "no folder" / "models.json"
    words = ["gru", "--runs", str(tmp_path / "runs"), "--save", str(path)]
    assert "No such file or directory" in table.main(words)


def test_an_interrupt_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path, run = tmp_path / "models.json", Run("gru", "python", 0)
    save_results(path, {run: result(run, 1.7)})
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
            m.setattr(checkpoint.os, name, interrupted)
            save_results(path, {Run("gru", "python", 1): result(run, 1.7)})
        assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "words, text",
    [
        ("--seeds 1 1", "two of the --seeds are the same"),
        ("--seeds -1", "must be at least 0"),
        ("--texts a/x.txt b/x.txt", "two of the --texts are the same"),
        ("--texts a/python.txt", "python is another text; rename the file"),
        ("--from nowhere.json", "there is no such file"),
        ("--from a --save b", "not allowed with"),
    ],
)
def test_wrong_arguments(words, text, capsys):
    with pytest.raises(SystemExit):
        table.main(words.split())
    assert text in capsys.readouterr().err


def test_a_failing_run_is_named_and_costs_no_other(tmp_path, monkeypatch, capsys):
    def run(words, stdout):
        of = Run("gru", "python", int(words[words.index("--seed") + 1]))
        folder = Path(words[words.index("--out") + 1])
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result(of, 1.7 + of.seed / 100)))
        return subprocess.CompletedProcess(words, 3 * (of.seed == 1))

    monkeypatch.setattr(table.subprocess, "run", run)
    path = tmp_path / "models.json"
    words = ["gru", "--runs", str(tmp_path / "runs"), "--save", str(path)]
    assert table.main(words) == 1
    said = capsys.readouterr().out
    assert "bits **1.710 ± 0.014**" in said and said.endswith("gru-python-1 ended with status 3\n")
    assert [found.seed for found in read_results(path)] == [0, 2]


TINY = dict(model="rnn", cell="gru", hidden=8, embedding=4, batch=2, block_size=8, steps=4)


def test_runs_are_made_once_and_saved(text, tmp_path, monkeypatch, capsys):
    """Real ones, of a preset that is tiny; and what changes with it."""
    import train

    made = []

    def run(words, stdout):
        made.append(words)
        assert words[:2] == [sys.executable, str(ROOT / "train.py")]
        return subprocess.CompletedProcess(words, train.main(words[2:]) or 0)

    monkeypatch.setattr(table.subprocess, "run", run)
    monkeypatch.setitem(language.Language.presets, "gru", TINY)
    path, runs = tmp_path / "models.json", tmp_path / "runs"
    words = ["gru", "ngram", "--texts", str(text), "--runs", str(runs), "--save", str(path)]

    def printed(words):
        capsys.readouterr()
        assert table.main(words) == 0
        said = capsys.readouterr().out
        return said[said.index("| task") :]

    said = printed(words)
    assert len(made) == 4 and {p.name for p in runs.iterdir()} == {
        *("gru-text-0", "gru-text-1", "gru-text-2", "ngram-text")
    }
    scores = [
        json.loads((runs / f"gru-text-{seed}" / "result.json").read_text())["scores"]["bits"]
        for seed in (0, 1, 2)
    ]
    assert len(set(scores)) == 3 and f"bits **{cells.spread(scores)}**" in said
    assert printed(words) == said and len(made) == 4
    assert printed(["gru", "ngram", "--from", str(path)]) == said
    (runs / "gru-text-1" / "result.json").unlink()
    assert printed(words).replace("resumed", "0") == said.replace("resumed", "0")
    assert len(made) == 5 and "gru-text-1" in made[-1][-1]
    monkeypatch.setitem(language.Language.presets, "gru", TINY | {"steps": 5})
    shutil.rmtree(runs / "gru-text-0")
    text_of_all = printed(["gru", "ngram", "--from", str(path)])
    assert "gru-text is left out: --steps was 4, and is 5" in text_of_all
    assert "ngram" in text_of_all and "| gru |" not in text_of_all


def test_the_command_itself(text, tmp_path):
    """In processes of their own."""
    words = ["ngram", "--texts", str(text), "--runs", str(tmp_path), "--save"]
    done = [
        subprocess.run(
            [sys.executable, "-m", "models.table", *words, str(tmp_path / "models.json")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        for _ in range(2)
    ]
    assert [d.returncode for d in done] == [0, 0] and done[0].stdout == done[1].stdout
    assert "write on a text (text) | ngram | 0 | bits **" in done[0].stdout
    assert "=== ngram-text" in done[0].stderr and done[1].stderr == ""


def not_as_printed(root, capsys, monkeypatch):
    """The pages in the folder of the project that do not show what the command prints from the
    committed results; before there are any, whether both show the same."""
    text, page = (root / name for name in ("docs/models.txt", "models/README.md"))
    shown, wrong = text.read_text(encoding="utf-8"), []
    if (root / "docs/models.json").exists():
        monkeypatch.chdir(root)
        capsys.readouterr()
        assert table.main(["--from", "docs/models.json"]) == 0
        if capsys.readouterr().out != shown:
            wrong.append(text.name)
    rows = "".join(line for line in shown.splitlines(True) if line.startswith("|"))
    return wrong + [page.name] * (f"\n\n{rows}\n" not in page.read_text(encoding="utf-8"))


def test_pages_show_the_table_that_its_command_prints(capsys, monkeypatch):
    assert not_as_printed(ROOT, capsys, monkeypatch) == []


def test_a_page_that_shows_another_table_is_found(tmp_path, capsys, monkeypatch):
    for folder in ("docs", "models"):
        (tmp_path / folder).mkdir()
    runs = [Run("gru", "python", seed) for seed in (0, 1, 2)]
    save_results(tmp_path / "docs/models.json", {run: result(run, 1.7) for run in runs})
    monkeypatch.chdir(tmp_path)
    table.main(["--from", "docs/models.json"])
    text, page = tmp_path / "docs/models.txt", tmp_path / "models/README.md"
    said = capsys.readouterr().out
    rows = "".join(line for line in said.splitlines(True) if line.startswith("|"))
    text.write_text(said, encoding="utf-8")
    page.write_text(f"# Models\n\n{rows}\nmore\n", encoding="utf-8")
    assert rows.count("\n") == 3 < said.count("\n")
    assert not_as_printed(tmp_path, capsys, monkeypatch) == []
    page.write_text(page.read_text(encoding="utf-8").replace("1.7", "1.6"), encoding="utf-8")
    assert not_as_printed(tmp_path, capsys, monkeypatch) == ["README.md"]
    save_results(tmp_path / "docs/models.json", {runs[0]: result(runs[0], 1.8)})
    assert not_as_printed(tmp_path, capsys, monkeypatch) == ["models.txt", "README.md"]
