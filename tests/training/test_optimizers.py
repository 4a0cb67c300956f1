"""--optimizer muon: which parameters Muon gets, and that a run goes on as it would have."""

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from runs import metrics, result  # noqa: E402

import train  # noqa: E402
from models.gpt import GPT  # noqa: E402
from models.gpt import Config as GPTConfig  # noqa: E402
from models.rnn import Config as RNNConfig  # noqa: E402
from models.rnn import RNNLanguageModel  # noqa: E402
from models.training.optimizers import inner_matrices  # noqa: E402
from nanoautograd.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402


def names(model):
    inner = {id(p) for p in inner_matrices(model)}
    return {name for name, p in model.named_parameters() if id(p) in inner}


def test_muon_gets_the_matrices_inside_a_model():
    gpt = names(GPT(GPTConfig(vocab_size=7, layers=1, d_model=8, heads=2), rng=0))
    assert {name.partition("0.")[2] for name in gpt} == {
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "up.weight",
        "down.weight",
    }
    rnn = names(RNNLanguageModel(RNNConfig(vocab_size=7, hidden=8, embedding=4), rng=0))
    assert len(rnn) == 2 and all(name.startswith("rnn.") for name in rnn)  # W and U


@pytest.fixture
def muon(text, tmp_path):
    def run(*options, preset="gpt"):
        size = ["--layers", "1", "--d-model", "8", "--heads", "2", "--block-size", "8"]
        size = size if preset == "gpt" else ["--hidden", "8", "--cell", "gru"]
        loop = ["--batch", "2", "--evaluate-every", "2", "--decay", "constant", "--warmup", "0"]
        where = ["--data", text, "--out", tmp_path / "run", "--optimizer", "muon"]
        return train.main(list(map(str, [preset, *where, *size, *loop, *options])))

    return run


@pytest.mark.parametrize("preset", ["gpt", "rnn"])
def test_a_run_goes_on_to_the_bit(muon, tmp_path, preset):
    assert muon("--steps", 6, preset=preset) is None
    straight = result(tmp_path / "run")
    assert muon("--steps", 2, "--overwrite", preset=preset) is None
    assert muon("--steps", 6, "--resume", preset=preset) is None
    assert result(tmp_path / "run") == straight


def test_on_the_fake_of_the_gpu_too(muon, tmp_path):
    def losses():
        return [m["loss"] for m in metrics(tmp_path / "run") if "loss" in m]

    muon("--steps", 4)
    here = losses()
    muon("--steps", 4, "--overwrite", "--device", "strict")
    np.testing.assert_allclose(losses(), here, rtol=1e-4)


def test_momentum_that_is_missing_is_refused(muon, tmp_path, capsys):
    muon("--steps", 2)
    arrays, state = load_checkpoint(tmp_path / "run")
    lost = next(name for name in arrays if name.endswith(".momentum_buffer"))
    save_checkpoint(tmp_path / "run", {n: a for n, a in arrays.items() if n != lost}, state)
    assert f"missing: {lost}" in str(muon("--steps", 4, "--resume"))
