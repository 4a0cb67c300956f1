"""The options of train.py: what --help and --list say of them, and what is said of a wrong one."""

import argparse
import dataclasses
import re
from typing import Annotated, Literal

import pytest

pytest.importorskip("rouge_score.rouge_scorer")  # its import draws from Python's random numbers
pytest.importorskip("sacrebleu")

from models.tasks import PRESETS  # noqa: E402
from models.training.options import explanation, parser  # noqa: E402

CONFIGS = {Config for task in PRESETS.values() for Config, _ in task.models.values()}


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


def test_what_the_text_of_a_field_is():
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
