"""Train a model, watch it learn, and use it.

    python train.py                     the preset rnn: a recurrent network learns to write
    python train.py PRESET              another model or task
    python train.py --list              all presets, and what must be installed for their data
    python train.py PRESET --help       all options of one
    python train.py PRESET --resume     goes on after Ctrl-C or a kill
    python train.py PRESET --generate "The "        answers with what was trained

The folder --out gets the checkpoint, metrics.jsonl (one JSON object a line), result.json and
pictures. All that is random in a run is drawn from the seed and the number of the step, and nothing
is carried from step to step that is not in the checkpoint: a resumed run ends with the same weights
to the bit. What a task is, its data, loss and scores, is in models/tasks/, one file each.
"""

import sys

if __name__ == "__main__":  # before what takes long to import
    from models.training import terminal

    terminal.prepare("train.py")

import json
import math
import os
import shlex
import signal
import time
from collections import deque
from contextlib import closing, contextmanager, nullcontext
from itertools import chain

if "numpy" not in sys.modules:
    # For products of this size more threads gain little, cost much where the cores have other work,
    # and round differently from machine to machine. For a large model set it to what you have.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import nanoautograd as nag
from models.data import DataError
from models.training.build import make_model, trained
from models.training.finetune import groups
from models.training.folder import alone, check_folder
from models.training.options import OptionError, compute_with, describe, make_task, parse, presets
from models.training.state import Diverged, check_carried, pack, unpack
from models.training.terminal import out_of_memory
from nanoautograd.array_interface import array_of
from nanoautograd.backends import DeviceError
from nanoautograd.checkpoint import (
    CheckpointError,
    error_text,
    save_checkpoint,
    shortened,
    tidy,
    write_whole,
)
from nanoautograd.optim import AdamW, AveragedModel, clip_grad_norm_, learning_rate

try:
    import safetensors.numpy  # noqa: F401 (what checkpoints are written with)
    from tqdm import tqdm

    from models.training.metrics import Metrics, draw_curves, require_tensorboard
except ImportError as e:
    sys.exit(f"train.py needs the package {e.name}: pip install '.[train]'")


# ------------------------------------------------------------------------------------------ train


def train(o, checkpoint):
    """One run: o, its options; checkpoint, the (tensors, state) from which it goes on, or None.
    Returns None, or an exit status where it was stopped."""
    check_folder(o)
    if o.tensorboard:
        require_tensorboard()
    tensors, state = checkpoint or ({}, {"step": 0})
    start = step = state["step"]

    # data, model and optimiser
    task = make_task(o)
    fixed = describe(o, task)
    if checkpoint and any(state[part] != fixed[part] for part in ("data", "known")):
        raise DataError(f"the data of {o.preset} is not what this run was started with")
    model = make_model(task, o, tensors if checkpoint else None)
    learning, factors = groups(model, o) if o.steps else ([], [])
    optimizer = AdamW(learning, betas=o.betas) if o.steps else None
    average = AveragedModel(model, o.average) if o.average else None
    carried = None
    if checkpoint:
        carried = unpack(tensors, model, optimizer, average, start, task.carries(model))
        (carried,) = task.on_device(carried)
    else:
        task.begin(model)
    parameters = sum(p.size for p in model.parameters())
    learn = sum(p.size for p in model.parameters() if p.requires_grad)
    print(
        f"{task.summary}\n{parameters:,} parameters on {o.device}"
        f"{f', of which {learn:,} learn' * (learn < parameters)}; everything goes to {o.out}"
    )

    def save(step):
        save_checkpoint(o.out, pack(model, optimizer, average, carried), {**fixed, "step": step})

    # what is kept, and what is noted down: a run to --overwrite is there until this one is
    if checkpoint:
        tidy(o.out)
    else:
        (o.out / "metrics.jsonl").touch()  # beside every checkpoint
        save(0)
    if not checkpoint or start < o.steps:
        (o.out / "result.json").unlink(missing_ok=True)
    metrics = Metrics(
        o.out / "metrics.jsonl", start, tensorboard=o.out / "tensorboard" if o.tensorboard else None
    )
    if metrics.damaged:
        print(f"{metrics.damaged} damaged lines of {metrics.path} were moved to {metrics.aside}")

    def update(*arrays):
        """One step. arrays: those of --accumulate batches, x₁, y₁, x₂, y₂, ... Returns its loss,
        and the norm of its gradient."""
        nonlocal carried
        optimizer.zero_grad()
        loss, n = 0.0, len(arrays) // o.accumulate  # of a batch
        for i in range(0, len(arrays), n):
            share, after = task.loss(model, carried, *arrays[i : i + n])
            share = share / o.accumulate
            share.backward()
            loss = loss + share.detach()
            if carried is None:  # at the first step; and where nothing is
                carried = after
                check_carried(task, model, after)
            else:  # in place: a recorded step finds it there
                carried[...] = after
        norm = clip_grad_norm_(model.parameters(), o.clip or math.inf)
        optimizer.step()
        return loss, norm

    do_step = steps_of(update, task)
    under_way = deque()  # (step, lr) of those whose results are awaited
    loss = math.nan  # the last that is known

    def note_down(wait=False):
        """What is known by now of the steps that were taken; with `wait`, of all."""
        nonlocal loss
        for loss, norm in do_step.results(wait):
            step, lr = under_way.popleft()
            if not math.isfinite(loss + norm):
                raise Diverged(
                    f"at step {step} the loss is {loss:.4g}, its gradient's norm {norm:.4g}"
                )
            metrics.note(step, loss=loss, norm=norm, lr=lr)

    # loop
    began = time.perf_counter()
    with (
        closing(metrics),
        catch_signals() as stop,
        tqdm(total=o.steps, initial=start, unit="step", disable=not o.steps) as bar,
    ):
        for step in range(start + 1, o.steps + 1):
            lr = learning_rate(step - 1, o.lr, o.steps, o.warmup, o.decay, min(o.lr, o.lr_floor))
            for group, factor in zip(optimizer.param_groups, factors):
                group["lr"] = lr * factor
            do_step(
                *chain.from_iterable(
                    task.batch((step - 1) * o.accumulate + i) for i in range(o.accumulate)
                )
            )
            under_way.append((step, lr))
            if average:
                average.update()

            is_judged = step % o.evaluate_every == 0 or step == o.steps
            note_down(wait=is_judged)
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update()
            if is_judged:
                with in_use(model, average):
                    scores = task.evaluate(model)
                check_scores(scores, step)
                metrics.note(step, **{f"validation_{name}": s for name, s in scores.items()})
                bar.write(f"step {step:6}   loss {loss:.3f}   validation: {written(scores)}")
                metrics.sync()  # a checkpoint relies on the lines before it
                save(step)
            if stop and step < o.steps:
                note_down(wait=True)
                metrics.sync()
                save(step)
                break
    seconds = time.perf_counter() - began

    # report
    what, score = task.baseline()
    pictures = (
        shown(
            draw_curves,
            metrics.path,
            o.out / "loss.png",
            f"{o.preset}: {task.about}",
            task.metric,
            score,
        )
        if o.steps
        else []
    )
    if step < o.steps:
        print(
            f"stopped after step {step}; to go on: python train.py {o.preset} --resume --out "
            f"{shlex.quote(str(o.out))}"
        )
        return 128 + stop[0]
    with in_use(model, average):
        pictures += shown(task.show, model, o.out)
        scores = task.evaluate(model, final=True)
        check_scores(scores, step)
    ours = float(f"{scores[task.metric]:.4g}"), float(f"{score:.4g}")  # as they are printed
    beaten = ours[0] > ours[1] if task.larger_is_better else ours[0] < ours[1]
    print(
        f"\nvalidation: {written(scores)}\nto beat: {task.metric} {score:.4g} ({what}): "
        f"{'' if beaten else 'not '}beaten\n"
        f"{seconds:.0f} seconds; pictures: {', '.join(map(str, pictures)) or 'none'}"
    )
    result = {
        "options": fixed["options"],
        "parameters": parameters,
        "trained": learn,
        "scores": scores,
        "metric": task.metric,
        "baseline": [what, float(score)],
        "to_step": step,
        "seconds": None if start else round(seconds),
    }
    write_whole(o.out / "result.json", json.dumps(result, indent=1).encode())


def steps_of(update, task):
    """A function that does update(*arrays) on the device of the run; its `results(wait)` are those
    of the steps that have ended since the last call, or with `wait` of all."""
    if task.o.device.startswith("cuda"):
        return nag.cuda.capture(update, record=task.o.captured)
    return AtOnce(lambda *arrays: update(*task.on_device(*arrays)))


class AtOnce:
    """As nag.cuda.capture, but a step has ended when its call returns: `wait` changes nothing."""

    def __init__(self, update):
        self.update, self.arrived = update, []

    def __call__(self, *arrays):
        self.arrived.append([float(array_of(x)) for x in self.update(*arrays)])

    def results(self, wait=False):
        arrived, self.arrived = self.arrived, []
        return arrived


def shown(draw, *args):
    """The pictures that draw(*args) makes, a list; where it fails, the scores matter more."""
    try:
        pictures = draw(*args)
        return pictures if isinstance(pictures, list) else [pictures]
    except Exception as e:
        print(f"what there is to see could not be shown: {error_text(e)}", file=sys.stderr)
        return []


def check_scores(scores, step):
    """Raise Diverged unless all are finite."""
    for name, score in scores.items():
        if not math.isfinite(score):
            raise Diverged(f"at step {step} the validation {name} is {score}")


def written(scores):
    """Scores for people: loss 1.238, accuracy 0.671."""
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())


@contextmanager
def in_use(model, average):
    """Within it the model is as it is used: in eval mode, with the average of its weights if there
    is one, and nothing is recorded."""
    model.eval()
    with nag.no_grad(), average.applied() if average else nullcontext():
        yield
    model.train()


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


# ---------------------------------------------------------------------------------- use, and start


def generate(o, checkpoint):
    """Print what the model in the checkpoint answers to --generate."""
    task, model = trained(o, checkpoint)
    with nag.no_grad():
        for piece in task.generate(model, o.generate):
            print(piece, end="", flush=True)
    print()


def main(argv=None):
    """Run the command line; what can go wrong for a user ends in one line on stderr."""
    o = None
    try:
        o, checkpoint = parse(sys.argv[1:] if argv is None else argv)
        if o.list:
            print(presets())
        else:
            with compute_with(o):
                if o.generate is not None:
                    return generate(o, checkpoint)
                with alone(o.out):
                    return train(o, checkpoint)
    except Diverged as e:
        return (
            f"train.py: {e}. Training has stopped; {o.out} keeps the last good checkpoint. Try "
            f"a lower --lr (now {o.lr}), a longer --warmup ({o.warmup}), a smaller --clip"
        )
    except (OptionError, CheckpointError, DataError, DeviceError, OSError, ImportError) as e:
        return f"train.py: {shortened(str(e))}"
    except MemoryError as e:
        return f"train.py: {out_of_memory(e)}"
    except nag.cuda.CaptureError as e:
        return f"train.py: {e}. Without --captured each step is computed as it is written"
    except KeyboardInterrupt:
        print("\ntrain.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a character that the terminal lacks becomes a "?"
        sys.stdout.reconfigure(errors="replace")
    terminal.run("train.py", main)
