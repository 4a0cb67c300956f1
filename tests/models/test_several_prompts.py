"""--generate with several texts, and where a text ends: models/tasks/, train.py."""

import numpy as np
import pytest

import train
from models.training.build import trained
from models.training.options import parse

TEXT = "alpha beta gamma delta\n" * 300
SIZES = {
    "gpt": ["--layers", "1", "--heads", "2", "--d-model", "8", "--block-size", "12"],
    "llama": ["--layers", "1", "--heads", "2", "--d-model", "8", "--block-size", "12"],
    "gru": ["--hidden", "8", "--embedding", "8"],
    "ngram": ["--order", "3"],
}


@pytest.fixture(scope="module", params=SIZES)
def run(request, tmp_path_factory):
    """A folder with a model that has learnt a little, in float64."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "text.txt").write_text(TEXT)
    steps = [] if request.param == "ngram" else ["--steps", "3", "--dtype", "float64"]
    words = [request.param, "--data", str(folder / "text.txt"), "--out", str(folder / "run")]
    assert train.main([*words, *steps, *SIZES[request.param]]) is None
    return folder / "run"


def answer(capsys, run, *words):
    capsys.readouterr()
    assert train.main(["--out", str(run), "--generate", *words]) is None
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "options", [[], ["--temperature", "0"], ["--repetition-penalty", "1.5", "--min-p", "0.1"]]
)
def test_several_texts_are_answered_as_each_alone(capsys, run, options):
    prompts, options = ["al", "gamma delta\nalpha ", "b"], [*options, "--length", "25"]
    alone = [answer(capsys, run, prompt, *options) for prompt in prompts]
    assert all(text.startswith(prompt) for text, prompt in zip(alone, prompts))
    assert answer(capsys, run, *prompts, *options) == "\n".join(alone)
    again = ["al", "--generate", *prompts[1:], *options]  # as two options
    assert answer(capsys, run, *again) == "\n".join(alone)


def test_what_a_decoder_forgets_is_said(capsys, run):
    """Of a text longer than its block; the others read any text."""
    task, model = trained(*parse(["--out", str(run), "--generate", "a"]))
    block = getattr(model.config, "block_size", None)
    for n in 11, 12, 13:
        said = f"the text has {n} characters, of which the last 12 are read\n"
        for words in ["a" * n], ["a" * n, "be"]:
            capsys.readouterr()
            assert train.main(["--out", str(run), "--generate", *words, "--length", "2"]) is None
            assert capsys.readouterr().err == said * (block == 12 < n)


def test_lines_that_end_as_on_windows(capsys, run):
    """As in the data that it has read, where \\r\\n is \\n."""
    for words in ["al\npha"], ["al\npha", "be"]:
        typed = [word.replace("\n", "\r\n") for word in words]
        assert answer(capsys, run, *typed) == answer(capsys, run, *words)


def test_decoders_read_them_side_by_side(run, monkeypatch):
    task, model = trained(*parse(["--out", str(run), "--generate", "a", "b", "--length", "4"]))
    if not hasattr(model, "read_batch"):
        return
    rows, read = [], type(model).read_batch

    def counted(self, x, *args):
        rows.append(x.shape)
        return read(self, x, *args)

    monkeypatch.setattr(type(model), "read_batch", counted)
    list(task.generate_all(model, ["alp", "b", "alpha"]))
    assert rows == [(3, 5)] + 3 * [(3, 1)]


def test_one_text_that_cannot_be_read(run):
    for prompts, why in ((["al", ""], "is empty"), (["al", "ß"], "lacks 'ß'")):
        message = train.main(["--out", str(run), "--generate", *prompts, "--length", "3"])
        assert why in message


def test_a_model_whose_weights_are_not_finite_answers_nothing(run, monkeypatch):
    task, model = trained(*parse(["--out", str(run), "--generate", "a"]))
    for p in model.parameters():
        p.data[...] = np.nan
    if not list(model.parameters()):
        return
    monkeypatch.setattr(train, "trained", lambda o, checkpoint: (task, model))
    for prompts in (["a"], ["a", "b"]):
        message = train.main(["--out", str(run), "--generate", *prompts])
        assert message.startswith("train.py: the model gives logits of which the largest is nan")


def test_a_penalty_makes_what_is_written_more_varied(capsys, run):
    """The likeliest token each time, of models that have learnt hardly more than frequencies."""
    words = "a", "--temperature", "0", "--length", "12", "--repetition-penalty"
    varied, plain = (len(set(answer(capsys, run, *words, penalty))) for penalty in ("1e9", "1"))
    assert varied > plain
