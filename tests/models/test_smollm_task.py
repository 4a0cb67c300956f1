"""models/tasks/smollm.py: what is predicted, the scores, and the answers; with a small model that
reads bytes."""

from argparse import Namespace

import numpy as np
import pytest
from gguf_files import write

from models import llama
from models.data import DataError
from models.inference.conversation import BEGIN, END
from models.llama import Config, Llama
from models.tasks import smollm
from models.tasks.smollm import QUESTION, Extracts, LoraDescriptions
from nanoautograd import functional as F
from nanoautograd import no_grad

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("gguf")
pytest.importorskip("rouge_score.rouge_scorer")

TOKENS = [
    BEGIN,
    END,
    "<|endoftext|>",
    *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
    "ab",
]
OPTIONS = Namespace(
    seed=0,
    validation=0.5,
    limit=0,
    scored=7,
    batch=3,
    device="cpu",
    read=9,
    length=5,
    temperature=0.0,
    top_k=None,
    top_p=None,
    pretrained="smollm2",
    steps=1,
)
PAIRS = [(f"The number {i} is about", f"Number {i * i}") for i in range(40)]


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A small one, and a file with its weights and vocabulary in place of SmolLM2's."""
    model = Llama(Config(len(TOKENS), block_size=400, layers=1, d_model=8), rng=0)
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data += (0.3 * rng.standard_normal(p.shape)).astype(np.float32)
    path = write(tmp_path / "a.gguf", model, tokens=TOKENS)
    monkeypatch.setattr(llama, "weights_path", lambda: path)
    monkeypatch.setattr(smollm, "read_descriptions", lambda: (PAIRS, "none"))
    monkeypatch.setattr(
        smollm,
        "read_articles",
        lambda language: (
            [{"extract": text} for text, _ in PAIRS] + [{"extract": " "}, {"extract": PAIRS[0][0]}],
            3,
        ),
    )
    return model


def nll(model, tokens):
    """-log p of each token but the first, from the definition."""
    with no_grad():
        log_p = F.log_softmax(model(np.array([tokens[:-1]]))[0].data[0].astype(np.float64))
    return -log_p[np.arange(len(tokens) - 1), tokens[1:]]


def test_the_loss_and_bits_are_those_of_each_token(model):
    task = Extracts(OPTIONS)
    assert "3 malformed and 2 empty, that come again" in task.summary
    assert len(task.training) + len(task.scored) < 40 and not set(task.training) & set(task.scored)
    encoded = [[2, *task.vocabulary.encode(text)] for text in task.scored]
    losses = np.concatenate([nll(model, tokens) for tokens in encoded])
    with no_grad():
        scores = task.evaluate(model)
    characters = sum(len(text) for text in task.scored)
    assert scores["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert scores["perplexity"] == pytest.approx(np.exp(losses.mean()), rel=1e-5)
    assert scores["bits"] == pytest.approx(losses.sum() / np.log(2) / characters, rel=1e-5)
    assert scores["perplexity_character"] == pytest.approx(2.0 ** scores["bits"])
    what, bits = task.baseline()
    assert "Kneser-Ney" in what and 0 < bits < 2  # the texts differ in a number alone
    pieces = list(task.generate(model, "The number"))
    assert pieces[0] == "The number" and len("".join(pieces[1:])) >= 1
    assert "".join(task.generate(model, "The number")) == "".join(pieces)
    with pytest.raises(DataError, match="is empty"):
        list(task.generate(model, ""))


@pytest.mark.parametrize("end", [END, "<|endoftext|>"])
def test_a_text_ends_where_the_model_ends_it(model, monkeypatch, end):
    task, special = Extracts(OPTIONS), TOKENS.index(end)
    a, b = task.vocabulary.encode("ab cd").tolist(), task.vocabulary.encode("xyz").tolist()
    tokens = iter([*a[:2], special, *b])
    monkeypatch.setattr(model, "generate", lambda prompt, choose: tokens)
    text = task.vocabulary.decode(a[:2])
    assert "".join(task.generate(model, "The")) == "The" + text
    assert next(tokens) == b[0]  # nothing is read behind the end

    def rows(prompts, choose):
        assert [prompt[0] for prompt in prompts] == [2, 2]  # <|endoftext|>, where a text begins
        yield from zip([*a[:2], special, *b], b + b)

    monkeypatch.setattr(model, "generate_batch", rows)
    answers = ["".join(pieces) for pieces in task.generate_all(model, ["The", "A"])]
    assert answers == ["The" + text, "A" + task.vocabulary.decode((b + b)[:5])]


def test_an_answer_that_does_not_fit_is_refused(model):
    task = LoraDescriptions(Namespace(**vars(OPTIONS) | {"length": 400}))
    with pytest.raises(DataError, match="--length 400 are 555 tokens, and the model sees 400"):
        list(task.generate(model, "The number"))


def test_no_character_is_cut_in_two(model):
    task = LoraDescriptions(OPTIONS)
    tokens, first = task.example(("é" * 9, "a letter"))  # of two bytes, and 9 are read
    assert task.vocabulary.decode(tokens[:first]).endswith(f"\n{QUESTION}éééé\nassistant\n")


def test_the_loss_is_of_the_description_alone(model):
    task = LoraDescriptions(OPTIONS)
    text, description = pair = task.training[0]
    tokens, first = task.example(pair)
    vocabulary = task.vocabulary
    assert tokens[first:] == [*vocabulary.encode(description), 1]  # and its end
    assert vocabulary.decode(tokens[:first]).endswith(
        f"user\n{QUESTION}{text[: OPTIONS.read]}\nassistant\n"
    )
    batch = task.batch(0)
    assert len(batch[0]) == OPTIONS.batch and len({*map(len, batch[1:])}) == 1
    pairs = task.training[:3]
    examples = [task.example(pair) for pair in pairs]
    expected = np.concatenate([nll(model, tokens)[first - 1 :] for tokens, first in examples])
    loss, state = task.loss(model, None, *task.arrays(examples))
    assert loss.item() == pytest.approx(expected.mean(), rel=1e-5) and state is None
    loss.backward()  # padding is behind, and has no part in it
    gradient = model.layers[0].attention.q.weight.grad.numpy()
    model.zero_grad()
    total = 0.0
    for example in examples:
        total = total + task.loss(model, None, *task.arrays([example]))[0] * (
            len(example[0]) - example[1]
        ) / len(expected)
    total.backward()
    np.testing.assert_allclose(
        model.layers[0].attention.q.weight.grad.numpy(), gradient, rtol=1e-3, atol=1e-6
    )


def test_answers_and_their_score(model, capsys, monkeypatch):
    task = LoraDescriptions(OPTIONS)
    with no_grad():
        assert set(task.evaluate(model)) == {"loss"}
        scores = task.evaluate(model, final=True)
    assert {"loss", "rouge1", "rouge2", "rougeL"} == set(scores)
    what, score = task.baseline()  # the same weights: the same answers
    assert score == scores["rougeL"] and what.startswith("SmolLM2 before it learnt: rouge1")
    (answer,) = task.generate(model, "The number 3 is about")
    assert answer == task.answer(model, "The number 3 is nothing", length=5)  # 9 are read
    with pytest.raises(DataError, match="nothing to read in ' '"):
        next(task.generate(model, " "))
    monkeypatch.setattr(task, "answer", lambda model, text: dict(PAIRS)[text])
    assert task.rouge(model)["rougeL"] == 1.0
    task.show(model, None)
    assert capsys.readouterr().out.count("Number ") == 2 * len(task.scored)


def test_what_a_trained_model_needs_no_data_for(model, monkeypatch):
    def gone(*args):
        raise DataError("not installed")

    monkeypatch.setattr(smollm, "read_descriptions", gone)
    monkeypatch.setattr(smollm, "read_articles", gone)
    for Task in Extracts, LoraDescriptions:
        task = Task(OPTIONS, known=[])
        assert task.sizes == {"vocab_size": len(TOKENS), "block_size": smollm.BLOCK}
        assert "".join(task.generate(model, "The number"))
        with pytest.raises(DataError):
            Task(OPTIONS)


def test_a_limit_ends_with_a_whole_article(model):
    """Text 10 ends with character 210, and text 11 with 232."""
    for limit, n in ((209, 9), (210, 10), (231, 10), (0, 40)):
        task = Extracts(Namespace(**vars(OPTIONS) | {"limit": limit}))
        assert task.summary.startswith(f"{n} articles")
        assert f"3 malformed and {42 - n} empty, that come again, or beyond" in task.summary
    characters = sum(len(text) + len(description) for text, description in PAIRS[:9])
    for limit, n in ((characters - 1, 8), (characters, 9)):
        task = LoraDescriptions(Namespace(**vars(OPTIONS) | {"limit": limit}))
        assert task.summary.startswith(f"{n} articles")
        assert task.summary.endswith(f"none, and {40 - n} beyond --limit")
