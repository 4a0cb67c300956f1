"""train.py as its users run it: training, options, generating."""

import json
import re
import sys

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from runs import TINY, metrics, result  # noqa: E402

import train  # noqa: E402


def test_the_norm_is_noted_down_and_clipped(run, tmp_path):
    """The norm before clipping, the same whatever the limit at first; and the limit is kept."""
    found = []
    for clip in (0, 0.01):
        run("--steps", 4, "--clip", clip, "--overwrite")
        lines = [line for line in metrics(tmp_path / "run") if "norm" in line]
        found.append([[line[key] for line in lines] for key in ("norm", "loss")])
    (norms, losses), (clipped, others) = found
    assert norms[0] == clipped[0] > 0.01 and losses[0] == others[0]
    assert len(set(norms)) == 4 and losses[2:] != others[2:]


def test_it_learns_reports_and_writes(run, tmp_path, capsys):
    assert run("--steps", 150, "--lr", 0.02, "--evaluate-every", 50) is None
    out = capsys.readouterr().out
    loss, perplexity, bits, accuracy = (
        float(re.findall(rf"{name} ([\d.]+)", out)[-1])
        for name in ("validation: loss", "perplexity", ", bits", "accuracy")
    )
    assert loss < 1.2 and accuracy > 0.6  # of log(14) = 2.6 and 0.07
    assert perplexity == pytest.approx(np.exp(loss), rel=2e-3)
    assert bits == pytest.approx(loss / np.log(2), rel=2e-3)
    assert re.search(r"baseline: bits [\d.]+ \(Kneser-Ney 5-gram", out)
    for temperature in (0.5, 0.8):
        assert f"--- how the model goes on, temperature {temperature} ---" in out
    lines = metrics(tmp_path / "run")
    assert [m["step"] for m in lines if "loss" in m] == list(range(1, 151))
    validation = [m for m in lines if "validation_loss" in m]
    assert [m["step"] for m in validation] == [50, 100, 150]
    assert validation[-1]["validation_loss"] == pytest.approx(loss, rel=1e-3)
    report = json.loads((tmp_path / "run" / "result.json").read_text())
    assert report["scores"]["loss"] == validation[-1]["validation_loss"]
    assert report["options"]["preset"] == "gru" and report["metric"] == "bits"
    assert report["to_step"] == 150
    assert (tmp_path / "run" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_default_text_needs_no_options(tmp_path, capsys):
    assert train.main(["--out", str(tmp_path), *TINY, "--steps", "2"]) is None
    assert "python: 4" in capsys.readouterr().out or sys.version_info[:2] != (3, 11)


def test_a_seed_decides_everything_and_another_differs(run, tmp_path):
    results = []
    for seed in (0, 0, 1):
        run("--steps", 3, "--overwrite", "--seed", seed)
        results.append(result(tmp_path / "run"))
    assert results[0] == results[1] != results[2]


def test_on_the_fake_of_the_gpu_too(run, tmp_path):
    run("--steps", 5, "--decay", "constant")
    losses = [m["loss"] for m in metrics(tmp_path / "run") if "loss" in m]
    run("--steps", 3, "--overwrite", "--device", "strict", "--decay", "constant")
    run("--steps", 5, "--resume", "--device", "strict")
    again = [m["loss"] for m in metrics(tmp_path / "run") if "loss" in m]
    np.testing.assert_allclose(again, losses, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        ["--layers", "2", "--dtype", "float64"],
        ["--nonlinearity", "relu", "--clip", "0"],
        ["--decay", "linear", "--weight-decay", "0"],
    ],
)
def test_other_options_train_and_resume(run, tmp_path, options):
    run("--steps", 8, "--evaluate-every", 4, *options)
    straight = result(tmp_path / "run")
    run("--steps", 8, "--overwrite", "--evaluate-every", 4, *options)
    assert result(tmp_path / "run") == straight
    assert all(np.isfinite(m["loss"]) for m in metrics(tmp_path / "run") if "loss" in m)


def test_generate_follows_its_options(run, tmp_path, capsys):
    run("--steps", 60, "--lr", 0.02)

    def write(*options):
        capsys.readouterr()
        assert (
            train.main(
                ["--out", str(tmp_path / "run"), "--generate", "alp", "--length", "30", *options]
            )
            is None
        )
        return capsys.readouterr().out

    sampled = write()
    assert sampled.startswith("alp") and len(sampled) == 3 + 30 + 1
    assert write() == sampled != write("--seed", "5")
    greedy = write("--temperature", "0")
    assert greedy == write("--top-p", "1e-9")
    assert greedy == write("--top-k", "1") == write("--temperature", "0", "--seed", "5")
    assert write("--temperature", "100") != greedy
