"""What only a GPU can show: kernels as compiled for it, beside NumPy and beside the fallback;
training on both backends; memory that does not grow; NVIDIA's own checks."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from cases import ALL, IN_BFLOAT16
from comparing import compare, drawn, results_of
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoautograd import functional as F
from nanoautograd import nn, optim
from nanoautograd.backends import to_device
from nanoautograd.kernels.cuda import use_kernels

pytestmark = pytest.mark.gpu
EACH = pytest.mark.parametrize("case", ALL, ids=lambda case: case.title)
BFLOAT16 = pytest.mark.parametrize("case", IN_BFLOAT16, ids=lambda case: case.title)
DEVICE = "cuda"


@pytest.fixture(autouse=True)
def cupy():
    module = pytest.importorskip("cupy")
    if not module.cuda.is_available():
        pytest.skip("there is no GPU")
    return module


def agree(case, args, options):
    """By kernels, and line by line on CuPy, where float32 is summed in any order."""
    compare(case, args, options, DEVICE, looser=4)
    with use_kernels(False):
        compare(case, args, options, DEVICE, module=case.reference, looser=4)


@EACH
@settings(max_examples=100)
@given(data=st.data())
def test_computes_what_its_reference_does(case, data):
    shape, dtype = data.draw(case.shapes), data.draw(st.sampled_from(case.dtypes))
    agree(case, *drawn(case, shape, dtype, data.draw(st.integers(0, 99))))


@BFLOAT16
def test_in_bfloat16_kernels_agree_with_numpy(case):
    pytest.importorskip("ml_dtypes")
    for shape in case.examples:
        compare(case, *drawn(case, shape, "bfloat16", 0), DEVICE, looser=2)


@EACH
def test_the_same_bits_every_time(case):
    for shape in case.examples:
        args, options = drawn(case, shape, "float32", 0)
        first = results_of(case, case.kernel, args, options, DEVICE)
        for _ in range(20):
            for a, b in zip(first, results_of(case, case.kernel, args, options, DEVICE)):
                assert a is b is None or a.tobytes() == b.tobytes()


# ---- training


def language_model(kind, rng):
    """(parameters, loss(x, y)) of a small model; weights drawn from rng."""
    V, D = 29, 48
    if kind == "gpt":
        from models.gpt import GPT, Config

        model = GPT(Config(V, 32, 2, 4, D), rng)
        return model, lambda x, y: F.cross_entropy(model(x)[0].reshape(-1, V), y.reshape(-1))
    cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]
    model = nn.ModuleList(
        [
            nn.Embedding(V, D, rng=rng),
            cell(D, D, 2, batch_first=True, rng=rng),
            nn.Linear(D, V, rng=rng),
        ]
    )

    def loss(x, y):
        embedding, layers, linear = model
        return F.cross_entropy(linear(layers(embedding(x))[0]).reshape(-1, V), y.reshape(-1))

    return model, loss


def losses(kind, device, steps):
    model, loss = language_model(kind, np.random.default_rng(0))
    model.to(device)
    optimizer, data = optim.AdamW(model.parameters(), 1e-3), np.random.default_rng(1)
    for _ in range(steps):
        text = data.integers(0, 29, (8, 33))
        text[:, 1::2] = text[:, ::2][:, :16]  # something to learn
        x, y = (to_device(a.copy(), device) for a in (text[:, :-1], text[:, 1:]))
        value = loss(x, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "gpt"])
def test_training_is_the_same_on_both_backends(kind):
    here = [float(v.item()) for v in losses(kind, "cpu", 100)]
    there = [float(v.item()) for v in losses(kind, "cuda", 100)]
    assert here[-1] < 0.8 * here[0]
    np.testing.assert_allclose(there, here, rtol=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_memory_does_not_grow(kind, cupy):
    used = []
    for i, _ in enumerate(losses(kind, "cuda", 1000)):
        if i % 100 == 50:
            used.append(cupy.get_default_memory_pool().total_bytes())
    assert used[-1] == used[1], used


@pytest.mark.parametrize("preset", ["rnn", "gpt"])
def test_train_py_is_the_same_on_both_and_recorded(preset, tmp_path):
    """Each step's loss, norm and rate; with dropout for the gpt."""
    for package in ("tqdm", "matplotlib", "safetensors"):
        pytest.importorskip(package)
    import train

    text = tmp_path / "text.txt"
    text.write_text("".join(np.random.default_rng(0).choice(["alpha ", "beta ", "gamma "], 600)))
    found = []
    for way in (["cpu"], ["cuda"], ["cuda", "--captured"]):
        out = tmp_path / str(len(found))
        options = ["--dropout", "0.2"] if preset == "gpt" else []
        assert (
            train.main(
                [
                    preset,
                    "--data",
                    str(text),
                    "--out",
                    str(out),
                    "--steps",
                    "40",
                    "--batch",
                    "4",
                    "--block-size",
                    "16",
                    "--length",
                    "20",
                    "--evaluate-every",
                    "20",
                    "--device",
                    *way,
                    *options,
                ]
            )
            is None
        )
        lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        found.append([[line[key] for key in sorted(line)] for line in lines])
    for there in found[1:]:
        for a, b in zip(there, found[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3)


# ---- NVIDIA's checks of what a kernel reads and writes, and in which order


@EACH
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_is_content(case, tool):
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(program):
        pytest.skip("there is no compute-sanitizer")
    done = subprocess.run(
        [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__, case.title],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def run_examples(title):
    case = next(case for case in ALL if case.title == title)
    for shape in case.examples:
        agree(case, *drawn(case, shape, "float32", 0))


if __name__ == "__main__":
    run_examples(sys.argv[1])
