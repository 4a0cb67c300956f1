"""What only a GPU can show: kernels as compiled for it, beside NumPy and beside the generic lines;
training on both backends; memory that does not grow; NVIDIA's own checks."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import TWINS

from nanoautograd import functional as F
from nanoautograd import nn, optim
from nanoautograd.backends import to_device, to_numpy

pytestmark = pytest.mark.gpu
TWIN = pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


@pytest.fixture(autouse=True)
def cupy():
    module = pytest.importorskip("cupy")
    if not module.cuda.is_available():
        pytest.skip("there is no GPU")
    return module


def moved(args, options, device):
    def move(a):
        return to_device(a, device) if isinstance(a, np.ndarray) else a
    return [move(a) for a in args], {name: move(a) for name, a in options.items()}


def results(module, args, options, device, seed=0):
    """Results and gradients of `module` on a device, as NumPy arrays or None."""
    args, options = moved(args, options, device)
    out, cache = module.forward(*args, **options)
    outs, rng = out if isinstance(out, (tuple, list)) else (out,), np.random.default_rng(seed)
    dout = [to_device(rng.standard_normal(y.shape).astype(y.dtype), device) for y in outs]
    d = module.backward(dout if isinstance(out, (tuple, list)) else dout[0], cache)
    return [None if a is None else to_numpy(a) for a in (*outs, *d)]


def agree(twin, args, options):
    dtype = next(a.dtype.name for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    with np.errstate(all="ignore"):
        right = results(twin.by_hand, args, options, "cpu")
    for module in (twin.kernel, twin.by_hand):          # by kernels, and line by line on CuPy
        for a, b in zip(results(module, args, options, "cuda"), right, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
                np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype] * scale)


@TWIN
@settings(max_examples=100)
@given(data=st.data())
def test_is_its_twin(twin, data):
    shape, dtype = data.draw(twin.shapes), data.draw(st.sampled_from(twin.dtypes))
    args, options = twin.make(np.random.default_rng(data.draw(st.integers(0, 99))), dtype, *shape)
    agree(twin, args, options)


@TWIN
def test_the_same_bits_every_time(twin):
    for shape in twin.examples:
        args, options = twin.make(np.random.default_rng(0), "float32", *shape)
        first = results(twin.kernel, args, options, "cuda")
        for _ in range(20):
            for a, b in zip(first, results(twin.kernel, args, options, "cuda")):
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
    model = nn.ModuleList([nn.Embedding(V, D, rng=rng), cell(D, D, 2, batch_first=True, rng=rng),
                           nn.Linear(D, V, rng=rng)])

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
        text[:, 1::2] = text[:, ::2][:, :16]            # something to learn
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


# ---- NVIDIA's checks of what a kernel reads and writes, and in which order

@TWIN
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_is_content(twin, tool):
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(program):
        pytest.skip("there is no compute-sanitizer")
    done = subprocess.run(
        [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__, twin.name],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def run_examples(name):
    twin = next(twin for twin in TWINS if twin.name == name)
    for shape in twin.examples:
        agree(twin, *twin.make(np.random.default_rng(0), "float32", *shape))


if __name__ == "__main__":
    run_examples(sys.argv[1])
