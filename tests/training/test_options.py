"""The options of train.py: what --help and --list say of them, and what is said of a wrong one."""

import argparse
import dataclasses
import re
import shlex
from typing import Annotated, Literal

import pytest

pytest.importorskip("rouge_score.rouge_scorer")  # its import draws from Python's random numbers
pytest.importorskip("sacrebleu")

from models.inference import chat  # noqa: E402
from models.tasks import PRESETS  # noqa: E402
from models.training import search, table  # noqa: E402
from models.training.options import ELSEWHERE, OptionError, explanation, parse, parser  # noqa: E402

CONFIGS = dict.fromkeys(C for task in PRESETS.values() for C, _ in task.models.values())  # in order


@pytest.mark.parametrize("preset", PRESETS)
def test_help_explains_every_option_in_80_columns(monkeypatch, preset):
    monkeypatch.setenv("COLUMNS", "80")
    text = parser(preset).format_help()
    assert max(map(len, text.splitlines())) <= 80
    text = re.sub(r"\s+", "", text)  # a line may end anywhere
    assert "default:None" not in text and "default:True" not in text
    for action in parser(preset)._actions:
        explained, _, default = action.help.partition(" (default: ")
        assert len(explained.split()) > 1 and re.sub(r"\s+", "", action.help) in text
        has_none = action.default in (None, [], argparse.SUPPRESS) or action.default is False
        assert (default == "") == has_none, action.help


def test_a_default_is_shown_as_it_is_typed():
    text = re.sub(r"\s+", " ", parser("summaries").format_help())
    assert re.search(r"--betas X X [^(]*\(default: 0.9 0.999\)", text)
    assert re.search(r"--copy, --no-copy [^(]*\(default: --copy\)", text)


@pytest.mark.parametrize("Config", CONFIGS, ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_every_field_of_a_config_is_explained(Config):
    assert all(explanation(Config, field.name) for field in dataclasses.fields(Config))


def test_the_help_of_a_field_is_beside_its_type():
    @dataclasses.dataclass
    class First:
        a: Annotated[int, "the first, A"] = 1
        b: Annotated[Literal["x", "y"], "the second"] = "x"
        c: int = 3

    @dataclasses.dataclass
    class Second(First):
        a: int = 2
        b: Annotated[Literal["x", "y"], "another"] = "y"

    assert [explanation(First, name) for name in "abc"] == ["the first, A", "the second", ""]
    assert [explanation(Second, name) for name in "abc"] == ["the first, A", "another", ""]


def test_what_is_in_a_help_is_not_taken_for_a_format(monkeypatch):
    monkeypatch.setattr(PRESETS["rnn"], "prompt", "100% of %s")
    help = re.sub(r"\s+", " ", parser("rnn").format_help())
    assert "answer this text, such as '100% of %s', with" in help


def wrong(capsys, main, *words):
    """The one line that these words end in, with status 2."""
    with pytest.raises(SystemExit) as e:
        main(list(words))
    err = capsys.readouterr().err
    assert e.value.code == 2 and err.count("\n") == 1 and err.endswith("\n")
    return err[:-1]


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--hiden", "3"], "there is no option --hiden; did you mean --hidden?"),
        (["--hiden=3"], "there is no option --hiden; did you mean --hidden?"),
        (["--HIDDEN=3"], "there is no option --HIDDEN; did you mean --hidden?"),
        (
            ["--evaluate_every", "3"],
            "there is no option --evaluate_every; did you mean --evaluate-every?",
        ),
        (["--learning-rate", "3"], "there is no option --learning-rate; did you mean --lr?"),
        (["--batch-size", "3"], "there is no option --batch-size; did you mean --batch?"),
        (["--floor", "3"], "there is no option --floor; did you mean --lr-floor?"),
        (["--block", "8"], "there is no option --block; it is called --block-size now"),
        (["gpt", "--width", "8"], "there is no option --width; it is called --d-model now"),
        (["--width", "8"], "there is no option --width; python train.py gru --help shows all"),
        (["gpt", "-q"], "there is no option -q; python train.py gpt --help shows all"),
        (["--steps", "3", "gpt"], "'gpt' belongs to no option; a preset comes before all options"),
        (["gpt", "tiny"], "'tiny' belongs to no option"),
        (["--generate"], "argument --generate: expected at least one argument"),
        (["--out", ""], "argument --out: must be the path of a folder, got an empty text"),
    ],
)
def test_a_wrong_word_is_one_line_that_says_which_is_right(capsys, words, expected):
    assert wrong(capsys, parse, *words) == f"train.py: {expected}"


@pytest.mark.parametrize(
    "main, words, expected",
    [
        (search.main, ["rnm"], "there is no preset 'rnm'; did you mean rnn?"),
        (search.main, ["rnn", "--grid", "lr=1", "--thread=2"], "; did you mean --threads?"),
        (search.main, ["rnn", "--grid", "lr=1", "--fold=2"], "; did you mean --folds?"),
        (search.main, ["rnn", "--runs", ""], "must be the path of a folder, got an empty text"),
        (table.main, ["RNN"], "there is no preset 'RNN'; did you mean rnn?"),
        (table.main, ["rnm"], "there is no preset 'rnm'; did you mean rnn?"),
        (table.main, ["--text=a"], "there is no option --text; did you mean --texts?"),
        (table.main, ["--runs", ""], "must be the path of a folder, got an empty text"),
        (chat.main, ["--thread=2"], "there is no option --thread; did you mean --threads?"),
        (chat.main, ["--from", ""], "must be the path of a folder, got an empty text"),
    ],
)
def test_the_other_programs_say_so_too(capsys, main, words, expected):
    assert wrong(capsys, main, *words).endswith(expected)


@pytest.mark.parametrize("preset", [[], ["gpt"]])
def test_generate_without_a_run_says_how_to_train_one(tmp_path, preset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = f"runs/{(*preset, 'gru')[0]}"
    for more, command in (
        ([], ["python", "train.py", *preset]),
        (["--out", "my run"], ["python", "train.py", *preset, "--out", "my run"]),
    ):
        with pytest.raises(OptionError) as e:
            parse([*preset, "--generate", "The ", *more])
        said, _, then = str(e.value).partition("; train one first: ")
        assert said == f"there is no run in {more[1] if more else out} to answer with"
        assert shlex.split(then) == command


def test_what_other_trainers_call_an_option_leads_to_ours():
    known = {action.dest for preset in PRESETS for action in parser(preset)._actions}
    assert set(ELSEWHERE.values()) <= known and not ELSEWHERE.keys() & known
