"""How long a GPT trains until it predicts a text well enough.

    python -m benchmarks.time_to_loss tinyshakespeare.txt --device cuda --precision bfloat16

The case that the field quotes: the 1,115,394 characters of tinyshakespeare.txt, of which the last
tenth is for validation; a GPT of 6 layers, 6 heads, width 384, block 256, dropout 0.2; steps of 64
sequences. Published: a validation loss of 1.4697 after 5,000 steps, in about 3 minutes on an A100
(A. Karpathy, nanoGPT, README, with the settings of config/train_shakespeare_char.py, which are the
defaults here). The clock runs while the model trains, not while it is built or validated. On a GPU
the step is one CUDA graph.
"""

import sys

from models.training import terminal

if __name__ == "__main__":  # before what takes long to import
    terminal.prepare("python -m benchmarks.time_to_loss")

import argparse
import time
from pathlib import Path

import numpy as np

import nanoautograd as nag
from models.gpt import GPT, Config
from models.training.options import cores
from nanoautograd import functional as F
from nanoautograd import no_grad
from nanoautograd.backends import DeviceError, to_device
from nanoautograd.optim import AdamW, clip_grad_norm_, learning_rate

TINY = (
    "--layers 1 --heads 1 --d-model 8 --block-size 4 --batch 2 --steps 4 --evaluate-every 2".split()
)


def options(argv):
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.time_to_loss",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("text", type=Path, help="a UTF-8 file")
    p.add_argument("--device", default="cpu", help="cpu, cuda, or cuda:N")
    p.add_argument(
        "--precision",
        choices=("float32", "tf32", "bfloat16"),
        default="float32",
        help="of matrix products on a GPU",
    )
    p.add_argument(
        "--loss",
        type=float,
        default=1.47,
        metavar="X",
        help="of the validation text, to be reached",
    )
    for name, default, what in (
        ("layers", 6, "layers of attention and network"),
        ("heads", 6, "heads of attention"),
        ("d-model", 384, "numbers in the vector of a position"),
        ("block-size", 256, "characters of a sequence"),
        ("batch", 64, "sequences of a step"),
        ("steps", 5000, "updates of the weights, at most"),
        ("evaluate-every", 250, "steps from one validation to the next"),
        ("seed", 0, "decides the first weights and the order of the data"),
    ):
        p.add_argument(f"--{name}", type=int, default=default, metavar="N", help=what)
    p.add_argument(
        "--dropout",
        type=float,
        default=0.2,
        metavar="X",
        help="share of the numbers set to 0 while training",
    )
    return p.parse_args(argv)


def sizes(text, tiny, *more):
    """The options with this text, of the case that the field quotes, or of a tiny one."""
    return options([text, *more, *TINY * tiny])


def characters(path, block):
    """(training text, validation text), numbers, and how many different ones there are."""
    text = path.read_text(encoding="utf-8")
    known, numbers = np.unique(list(text), return_inverse=True)
    cut = len(text) * 9 // 10
    if len(text) - cut <= block:
        raise ValueError(
            f"{path} has {len(text)} characters; a tenth of them, for validation, "
            f"must be more than a block of {block}"
        )
    return numbers[:cut], numbers[cut:], len(known)


def trained(o, show=print):
    """[(step, seconds of training, validation loss), ...], until the loss is reached or the steps
    are taken."""
    train, validation, V = characters(o.text, o.block_size)
    model = GPT(Config(V, o.block_size, o.layers, o.heads, o.d_model, o.dropout), o.seed).to(
        o.device
    )
    matrices = [p for p in model.parameters() if p.ndim == 2]  # the others do not decay
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.99),
    )
    rng = np.random.default_rng(o.seed)

    def loss_of(x, y):
        return F.cross_entropy(model(x)[0].reshape(-1, V), y.reshape(-1))

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    def windows(text, starts):
        at = starts[:, None] + np.arange(o.block_size)
        return text[at], text[at + 1]

    def validation_loss():
        """The mean over windows that lie end to end."""
        starts = np.arange(0, len(validation) - o.block_size, o.block_size)
        model.eval()
        with no_grad():
            losses = [
                loss_of(*on_device(windows(validation, part))).item() * len(part)
                for part in np.split(starts, range(o.batch, len(starts), o.batch))
            ]
        model.train()
        return sum(losses) / len(starts)

    def on_device(arrays):
        return [to_device(a, o.device) for a in arrays]

    on_gpu = o.device.startswith("cuda")
    take = nag.cuda.capture(step) if on_gpu else lambda *batch: step(*on_device(batch))
    found, seconds = [], 0.0
    for n in range(0, o.steps, o.evaluate_every):
        began = time.perf_counter()
        for i in range(n, min(n + o.evaluate_every, o.steps)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(i, 1e-3, o.steps, 100, "cosine", 1e-4)
            take(*windows(train, rng.integers(0, len(train) - o.block_size, o.batch)))
        if on_gpu:
            nag.cuda.synchronize()
        seconds += time.perf_counter() - began
        found.append((i + 1, seconds, validation_loss()))
        show(f"step {i + 1:6,}   {seconds:7.1f} s   validation loss {found[-1][2]:.4f}")
        if found[-1][2] <= o.loss:
            break
    return found


def measure(o, threads, show=print):
    """{"device", "precision", "steps", "seconds" of training, "loss", "reached": was it?}"""
    nag.set_num_threads(threads)
    with nag.cuda.matmul_precision(o.precision):
        step, seconds, loss = trained(o, show)[-1]
    return {
        "device": o.device,
        "precision": o.precision,
        "steps": step,
        "seconds": seconds,
        "loss": loss,
        "reached": loss <= o.loss,
    }


def main(argv):
    o = options(argv)
    try:
        found = measure(o, cores())
    except (OSError, ValueError, DeviceError) as e:
        return f"python -m benchmarks.time_to_loss: {e}"
    print(
        f"{o.device}, {o.precision}: {found['loss']:.4f} after {found['steps']:,} steps and "
        f"{found['seconds']:.1f} seconds of training; {o.loss} was "
        f"{'' if found['reached'] else 'not '}reached"
    )
    return 0 if found["reached"] else 1


if __name__ == "__main__":
    terminal.run("python -m benchmarks.time_to_loss", lambda: main(sys.argv[1:]))
