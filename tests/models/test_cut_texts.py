"""What is not read to its end is counted in the summary of a run, and said of a text that was
typed."""

import re

import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")
pytest.importorskip("rouge_score.rouge_scorer")

import nanoautograd as nag  # noqa: E402
from models.tasks import classification, summaries  # noqa: E402
from models.training.build import make_model  # noqa: E402
from models.training.options import make_task, parse  # noqa: E402

PAIRS = [(f"{'word ' * (i % 20)}a town {i}", f"town {i}") for i in range(60)]


def made(words):
    task = make_task(parse(words.split())[0])
    return task, make_model(task, task.o).eval()


def answered(task, model, text, capsys):
    """What is said on stderr when the text is answered."""
    capsys.readouterr()
    with nag.no_grad():
        list(task.generate(model, text))
    return capsys.readouterr().err


@pytest.mark.parametrize("read", [6, 12, 64])
def test_sources_of_summaries(monkeypatch, capsys, read):
    monkeypatch.setattr(summaries, "read_descriptions", lambda: (PAIRS, "none left out"))
    task, model = made(
        f"summaries --read {read} --vocab-size 300 --hidden 8 --embedding 8 --beam 1"
    )
    lengths = [len(task.pieces.encode(task.source_text(text))) for text, _ in PAIRS]
    n = sum(length > read for length in lengths)
    assert f"; {n} of 60 texts are longer than {read}, and are cut off there" in task.summary
    assert (n == 0) == (read == 64)
    assert answered(task, model, "a", capsys) == ""
    long = "word " * 90
    length = len(task.pieces.encode(task.source_text(long)))
    said = answered(task, model, long, capsys)
    assert f"the text has {length} pieces, of which the first {read} are read" in said or (
        length <= read and not said
    )


def test_texts_to_classify(monkeypatch, capsys):
    data = [text for text, _ in PAIRS], ["a", "b"] * 30, "none left out"
    monkeypatch.setattr(classification, "read_reviews", lambda: data)
    task, model = made("sentiment --longest 5 --hidden 8 --embedding 8")
    assert re.search("of each at most 5 words are read", task.summary)
    assert answered(task, model, "a town of five words", capsys) == ""
    said = answered(task, model, "a town of more, of seven words", capsys)
    assert said == "the text has 7 words, of which the first 5 are read\n"
