"""A run that begins with another's weights reads with their numbers: the vocabulary, classes and
tags are taken over, or the run is refused by its name."""

import json
import random
import re
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")

import train  # noqa: E402
from models.data import DataError  # noqa: E402
from models.data.tagging import Tagged  # noqa: E402
from models.tasks import PRESETS, classification, dates, tagging  # noqa: E402
from models.tasks.language import Language  # noqa: E402
from models.training.build import FREE, check_fields  # noqa: E402
from models.training.options import parse  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("without_pictures"),
    pytest.mark.filterwarnings("ignore:.*seems not to be NE tag"),
]

WORDS = [f"w{i}" for i in range(30)]
SIZES = {
    "sentiment": "--hidden 8 --embedding 8",
    "topics": "--hidden 8 --embedding 8",
    "tagger": "--hidden 8 --embedding 8 --spelling 4",
    "tagger-pos": "--hidden 8 --embedding 8 --spelling 4",
    "dates": "--hidden 8 --embedding 8 --validation 0.5",
    "rnn": "--hidden 8 --embedding 8 --block-size 8",
    "gpt": "--d-model 8 --heads 2 --layers 1 --block-size 8",
    "llama": "--d-model 8 --heads 2 --kv-heads 1 --layers 1 --block-size 8",
}


@pytest.fixture
def world(monkeypatch):
    """What all tasks read: texts of the words and classes, sentences of the words and tags, and
    dates in the letters, that a test puts into it."""
    found = {"words": WORDS, "classes": ["bad", "good"], "letters": "abcdefgh"}

    def examples(n=60):
        rng = random.Random(0)
        return [[f"{rng.choice(found['words'])}" for _ in range(6)] + [f"x{i}"] for i in range(n)]

    def texts():
        labels = [found["classes"][i % len(found["classes"])] for i in range(60)]
        return [" ".join(words) for words in examples()], labels, "none left out"

    def sentences():
        sentences = examples()
        return Tagged(
            sentences,
            [[found["classes"][len(w) % len(found["classes"])] for w in s] for s in sentences],
        )

    def pairs(seed):
        rng = random.Random(0)
        days = [(i % 28 + 1, rng.randint(1, 12), 1900 + i // 28) for i in range(2400)]
        words = ["".join(rng.choices(found["letters"], k=3)) for _ in days]
        return [
            (f"{word} {d} {y}", f"{y}-{m:02}-{d:02}", "en") for word, (d, m, y) in zip(words, days)
        ], 0

    for name in ("read_reviews", "read_topics"):
        monkeypatch.setattr(classification, name, texts)
    for name in ("read_entities", "read_parts_of_speech"):
        monkeypatch.setattr(tagging, name, sentences)
    monkeypatch.setattr(dates, "read_dates", pairs)
    for task in PRESETS.values():
        monkeypatch.setattr(task, "show", lambda *args: [])
    return found


@pytest.fixture
def run(tmp_path, world):
    def call(preset, out, *options):
        words = [preset, *SIZES[preset].split(), "--batch", 4, "--warmup", 0, "--out"]
        return train.main(list(map(str, [*words, tmp_path / out, *options])))

    return call


def known(folder):
    return load_checkpoint(folder)[1]["known"]


def loss(folder):
    return json.loads((folder / "result.json").read_text())["scores"]["loss"]


@pytest.mark.parametrize("preset", ["sentiment", "topics", "tagger", "tagger-pos", "dates"])
def test_other_data_is_read_with_the_numbers_of_the_run(run, world, tmp_path, preset):
    """Words, classes and tags that come in another order, and fewer of them: known is the same, and
    the beginning scores as the run did."""
    if preset == "dates":
        world["letters"] = "abcdefghij"
    assert run(preset, "first", "--steps", 3) is None
    world["words"], world["classes"] = ["a new one", *WORDS[3:]], ["good", "bad"]
    world["letters"] = "zbcdefghi"
    options = "--steps", 1, "--lr", 1e-12, "--pretrained", tmp_path / "first"
    assert run(preset, "second", *options) is None
    first, second = known(tmp_path / "first"), known(tmp_path / "second")
    for name in first.keys() - {"longest"}:
        assert first[name] == second[name]
    tensors = [load_checkpoint(tmp_path / name)[0] for name in ("first", "second")]
    average = "average.module." if "average.module.output.weight" in tensors[0] else "model."
    np.testing.assert_allclose(
        tensors[1]["model.output.weight"], tensors[0][f"{average}output.weight"], atol=1e-9
    )
    assert train.main(["--out", str(tmp_path / "second"), "--generate", "w3 w4"]) is None


@pytest.mark.parametrize("preset", ["sentiment", "tagger"])
def test_the_same_data_scores_the_same(run, tmp_path, preset):
    """With another order of the words the score of a run began at chance again."""
    run(preset, "first", "--steps", 30, "--average", 0)
    options = "--steps", 1, "--lr", 1e-12, "--average", 0, "--pretrained", tmp_path / "first"
    if preset == "sentiment":
        assert run(preset, "second", *options) is None
        message = run(preset, "third", *options, "--min-count", 1)
        assert "--min-count 1 does nothing beside --pretrained" in message
    else:
        assert run(preset, "second", *options) is None
    assert loss(tmp_path / "second") == pytest.approx(loss(tmp_path / "first"), rel=1e-4)


@pytest.mark.parametrize("preset, what", [("sentiment", "classes"), ("tagger", "tags")])
@pytest.mark.parametrize("classes", [["bad", "best"], ["bad", "good", "best"], ["no", "yes"]])
def test_other_classes_or_tags_are_refused(run, world, tmp_path, preset, what, classes):
    """Those that the run knows and the data lacks are kept; those that it lacks are named."""
    run(preset, "first", "--steps", 1)
    world["classes"] = classes
    message = run(preset, "second", "--steps", 1, "--pretrained", tmp_path / "first")
    missing = ", ".join(sorted(set(classes) - {"bad", "good"}))
    assert (
        f"the run in {tmp_path / 'first'} knows the {what} bad, good, and not {missing}" in message
    )
    world["classes"] = ["good"] if preset == "tagger" else ["bad", "good"]
    assert run(preset, "third", "--steps", 1, "--pretrained", tmp_path / "first") is None
    assert known(tmp_path / "third")[what] == ["bad", "good"]


def test_fewer_classes_than_the_run_has(run, world, tmp_path):
    world["classes"] = ["a", "b", "c"]
    run("topics", "first", "--steps", 1)
    world["classes"] = ["c", "a"]
    assert run("topics", "second", "--steps", 1, "--pretrained", tmp_path / "first") is None
    assert known(tmp_path / "second")["classes"] == ["a", "b", "c"]
    result = json.loads((tmp_path / "second" / "result.json").read_text())
    assert np.isfinite(result["baseline"][1])


@pytest.mark.parametrize(
    "one, other",
    [
        ("dates", "sentiment"),
        ("tagger", "dates"),
        ("gpt", "sentiment"),
        ("sentiment", "gpt"),
        ("sentiment", "tagger"),
    ],
)
def test_a_run_that_knows_something_else_is_refused(run, tmp_path, one, other, text):
    more = ["--data", text, "--length", 5] if "gpt" in (one, other) else []
    assert run(one, "first", "--steps", 1, *more * (one == "gpt")) is None
    message = run(
        other, "second", "--steps", 1, "--pretrained", tmp_path / "first", *more * (other == "gpt")
    )
    assert message.startswith("train.py: ") and str(tmp_path / "first") in message
    assert "of no use here" in message


def test_the_last_net(run, tmp_path, monkeypatch):
    """A task that takes nothing over is refused where its numbers are others, though the sizes
    agree."""
    run("sentiment", "first", "--steps", 1)
    tensors, state = load_checkpoint(tmp_path / "first")
    words = state["known"]["words"]
    state["known"]["words"] = [*words[:2], *words[:1:-1]]
    save_checkpoint(tmp_path / "first", tensors, state)
    taken = lambda self, name, *rest: None  # noqa: E731
    monkeypatch.setattr(classification.Classification, "taken_over", taken)
    message = run("sentiment", "second", "--steps", 1, "--pretrained", tmp_path / "first")
    assert (
        f"the run in {tmp_path / 'first'}, of the preset sentiment, has another vocabulary"
        in message
    )


# ---- what the weights mean beside their shapes


@pytest.mark.parametrize(
    "preset, option, value, other",
    [
        ("gpt", "heads", 2, 4),
        ("llama", "heads", 2, 4),
        ("llama", "base", 10000, 100),
        ("llama", "eps", 1e-5, 1e-3),
        ("rnn", "nonlinearity", "tanh", "relu"),
        ("sentiment", "pooling", "max", "mean"),
    ],
)
def test_options_that_fit_but_mean_something_else_are_refused(
    run, tmp_path, text, preset, option, value, other
):
    """With other heads of attention all shapes are the same, and the score was that of others."""
    more = ["--data", text, "--length", 5] * (preset != "sentiment")
    first = tmp_path / "first"
    assert run(preset, "first", "--steps", 1, f"--{option}", value, *more) is None
    begin = ["--steps", 1, "--pretrained", first, *more]
    message = run(preset, "second", *begin, f"--{option}", other)
    assert f"the weights of the run in {first} were learnt with --{option} {value}" in message
    assert f"with --{option} {other}: give the same" in message
    assert run(preset, "third", *begin, f"--{option}", value) is None


@pytest.mark.parametrize("preset", [p for p, task in PRESETS.items() if p != "ngram"])
def test_every_option_of_a_model_is_compared(preset, tmp_path):
    """But for those with which weights that fit mean the same, and those of a head that is new."""
    task, model = PRESETS[preset], PRESETS[preset].presets[preset]["model"]
    Config, Model = task.models[model]
    o, _ = parse([preset])
    names = [f.name for f in fields(Config)]
    own = {name: getattr(o, name) for name in names if hasattr(o, name)}
    free = FREE | ({"pooling"} if getattr(Model, "pretrained_part", "") else set())
    for name, value in own.items():
        learnt = {**own, name: not value if isinstance(value, bool) else f"not {value}"}
        save_checkpoint(tmp_path, {}, {"options": learnt, "known": []})
        if name in free:
            check_fields(Config, Model, own, tmp_path)
        else:
            with pytest.raises(DataError, match="were learnt with --"):
                check_fields(Config, Model, own, tmp_path)


# ---- tokens of language models


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(random.Random(0).choices(["tip ", "top ", "tulip\n"], k=500)))
    return path


@pytest.mark.parametrize("preset", ["gpt", "llama"])
def test_byte_pairs_are_taken_over(run, tmp_path, text, preset, capsys):
    """Without --tokens bpe it was said that the vocabulary lacks ' '."""
    more = "--data", text, "--length", 5
    assert run(preset, "first", "--steps", 3, "--tokens", "bpe", "--vocab-size", 260, *more) is None
    begin = "--pretrained", tmp_path / "first", *more
    assert run(preset, "second", "--steps", 1, "--lr", 1e-12, *begin) is None
    options = [load_checkpoint(tmp_path / name)[1]["options"] for name in ("first", "second")]
    assert options[0]["tokens"] == options[1]["tokens"] == "bpe"
    assert loss(tmp_path / "second") == pytest.approx(loss(tmp_path / "first"), rel=1e-4)
    assert run(preset, "second", "--steps", 2, "--resume", *begin) is None
    assert train.main(["--out", str(tmp_path / "second"), "--generate", "ti"]) is None
    message = run(preset, "third", "--steps", 1, "--vocab-size", 300, *begin)
    assert "--vocab-size 300 does nothing beside --pretrained" in message


def test_characters_are_not_read_as_byte_pairs(run, tmp_path, text):
    more = "--data", text, "--length", 5
    run("gpt", "first", "--steps", 1, *more)
    begin = "--pretrained", tmp_path / "first", *more
    message = run("gpt", "second", "--steps", 1, "--tokens", "bpe", *begin)
    assert re.search(f"the run in {tmp_path / 'first'} reads characters, and not bpe", message)


@pytest.mark.parametrize("words", [["--tokens", "characters"], ["--tokens=characters"]])
def test_byte_pairs_are_not_read_where_characters_are_asked_for(run, tmp_path, text, words):
    """Also where this is the default, which says nothing when it is not typed."""
    more = "--data", text, "--length", 5
    run("gpt", "first", "--steps", 1, "--tokens", "bpe", "--vocab-size", 260, *more)
    message = run("gpt", "second", "--steps", 1, "--pretrained", tmp_path / "first", *more, *words)
    assert f"the run in {tmp_path / 'first'} reads bpe, and not characters" in message


def test_every_language_model_takes_the_symbols_of_the_run(run, tmp_path, text):
    more = "--data", text, "--length", 5
    run("gpt", "first", "--steps", 1, *more)
    text.write_text("tip tot " * 100)
    assert run("gpt", "second", "--steps", 1, "--pretrained", tmp_path / "first", *more) is None
    assert known(tmp_path / "second") == known(tmp_path / "first")
    assert issubclass(PRESETS["languages"], Language)


def test_letters_that_the_run_lacks_are_told_with_its_name(run, tmp_path, text):
    more = "--data", text, "--length", 5
    run("gpt", "first", "--steps", 1, *more)
    text.write_text("tip über " * 100)
    message = run("gpt", "second", "--steps", 1, "--pretrained", tmp_path / "first", *more)
    assert f"what the run in {tmp_path / 'first'} reads is not enough: the vocabulary" in message
    assert "lacks 'b' (U+0062), 'e' (U+0065), 'r' (U+0072), 'ü' (U+00FC)" in message


# ---- a run that goes on


@pytest.mark.parametrize("preset", ["sentiment", "tagger", "dates", "gpt"])
def test_what_it_began_with_may_be_gone_when_it_goes_on(run, tmp_path, text, preset):
    """Its own checkpoint has all that was taken over; without the first run it ends with the same
    bits."""
    more = ["--data", text, "--length", 5] * (preset == "gpt")
    more += ["--lr", 0.01, "--decay", "constant"]
    run(preset, "first", "--steps", 2, *more)
    begin = [*more, "--pretrained", tmp_path / "first", "--average", 0]
    assert run(preset, "straight", "--steps", 4, *begin) is None
    assert run(preset, "halted", "--steps", 2, *begin) is None
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    assert run(preset, "halted", "--steps", 4, *begin, "--resume") is None
    (straight, one), (halted, other) = (
        load_checkpoint(tmp_path / name) for name in ("straight", "halted")
    )
    assert one["known"] == other["known"] and one["seen"] == other["seen"]
    for name in straight:
        np.testing.assert_array_equal(halted[name], straight[name])
