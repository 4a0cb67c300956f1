"""Train a model, watch it learn, and use it.

    python train.py                     the preset gru: a recurrent network learns to write
    python train.py PRESET              another model or task
    python train.py --list              all presets, and what must be installed for their data
    python train.py PRESET --help       all options of one
    python train.py PRESET --resume     goes on after Ctrl-C or a kill
    python train.py PRESET --generate "The "        answers with what was trained

The folder --out gets the checkpoint, metrics.jsonl (one JSON object a line), result.json and
pictures. All that is random in a run is drawn from the seed and the number of the step, and nothing
is state from step to step that is not in the checkpoint: a resumed run ends with the same weights
to the bit. What a task is, its data, loss and scores, is in models/tasks/, one file each; what
surrounds the loop, options, folders and signals, is in models/training/.
"""

import sys

from models.training import terminal

if __name__ == "__main__":  # before what takes long to import
    terminal.prepare("train.py")

import math
import os
import shlex
import time
from contextlib import closing

if "numpy" not in sys.modules:
    # For products of this size more threads gain little, cost much where the cores have other work,
    # and round differently from machine to machine. For a large model set it to what you have.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import nanoautograd as nag
from nanoautograd.backends import DeviceError
from nanoautograd.checkpoint import CheckpointError, save_checkpoint, shortened
from nanoautograd.optim import AveragedModel, clip_grad_norm_, learning_rate

try:
    import safetensors.numpy  # noqa: F401 (what checkpoints are written with)
    from tqdm import tqdm

    from models.data import DataError
    from models.inference.sampling import LogitsError
    from models.training import evaluation, folder
    from models.training.best import Best
    from models.training.build import make_model, trained
    from models.training.evaluation import Diverged, check_finite, eval_mode, format_scores
    from models.training.history import history, remarks
    from models.training.optimizers import make_optimizer
    from models.training.options import (
        OptionError,
        check_data,
        compute_with,
        describe,
        make_task,
        notes,
        notes_on_answers,
        parse,
        presets,
    )
    from models.training.state import check_recurrent_state, pack, unpack, zero_recurrent_state
    from models.training.steps import Steps
except ImportError as e:
    sys.exit(f"train.py needs the package {e.name}: pip install -e '.[train]'")


def train(o, checkpoint):
    """One run: o, its options; checkpoint, the (arrays, state) from which it goes on, or None.
    Returns None, or an exit status where it was stopped."""
    folder.check(o)
    arrays, saved = checkpoint or ({}, {"step": 0})
    start = n = saved["step"]  # n: the last step that was taken

    # The data, the model, and what makes it learn.
    task = make_task(o)
    about = {**describe(o, task), **history(o, task, saved)}  # the run, for its checkpoints
    check_data(o, about, saved)
    model = make_model(task, o, arrays or None)
    # factors: of the learning rate of each group of parameters.
    optimizer, factors = make_optimizer(model, o) if o.steps else (None, [])
    average = AveragedModel(model, o.average) if o.average else None  # what is then evaluated
    if checkpoint:
        recurrent = unpack(arrays, model, optimizer, average, start, task.recurrent_spec(model))
    else:
        recurrent = zero_recurrent_state(task.recurrent_spec(model))
        task.begin(model)
    best = Best(o, task, model, saved, arrays)  # the best weights so far, of --keep and --patience
    # The recurrent state in which a step ends and the next begins: an array on the device, such as
    # (layers, B, H). None for models that are not recurrent.
    recurrent = task.on_device(recurrent)[0]

    def rate(n):
        """The learning rate of step n: it rises to --lr, and falls to --lr-floor."""
        return learning_rate(n - 1, o.lr, o.steps, o.warmup, o.decay, min(o.lr, o.lr_floor))

    def save(n):
        kept = pack(model, optimizer, average, recurrent if n else None, best.weights)
        save_checkpoint(o.out, kept, {**about, **best.state(), "step": n})

    said = *notes(o), *remarks(o, about)
    print(task.summary, evaluation.size_of(model, o), *said, sep="\n")
    metrics = folder.begin(o, start, save)

    def step(parts):  # a function, because with --captured a GPU replays it
        """Learns from --accumulate batches behind their shares, [(share, x, y)] with x and y
        (B, T): the mean loss of all together, and the norm of its gradient."""
        optimizer.zero_grad()
        losses = []
        for share, *part in parts:
            loss, after = task.loss(model, recurrent, *part)
            (loss * share).backward()  # adds to what is in .grad
            losses.append(loss.detach() * share)
            check_recurrent_state(task, recurrent, after)
            if recurrent is not None:
                recurrent[...] = after  # in place: a replay finds it there
        norm = clip_grad_norm_(model.parameters(), o.clip or math.inf)
        optimizer.step()
        return sum(losses), norm

    steps, began = Steps(step, o), time.perf_counter()
    with (
        closing(metrics),
        terminal.catch_signals() as stop,  # empty until Ctrl-C
        tqdm(total=o.steps, initial=start, unit="step", disable=None if o.steps else True) as bar,
    ):
        for n in range(start + 1, 1 + (start if best.is_over else o.steps)):
            for group, factor in zip(optimizer.param_groups, factors):
                group["lr"] = rate(n) * factor
            steps.begin(n, task.parts_of(n))
            if average:
                average.update()

            # What is known by now: on a GPU of earlier steps, if nobody has to wait.
            is_last = n == o.steps or bool(stop)
            is_judged = n == o.steps or n % o.evaluate_every == 0
            for k, loss, norm in steps.finished(wait=is_judged or is_last):
                check_finite(k, {"loss": loss, "norm of the gradient": norm})
                metrics.note(k, loss=loss, norm=norm, lr=rate(k))
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update()

            if is_judged:
                with eval_mode(model, average):
                    scores = {f"validation_{k}": v for k, v in task.evaluate(model).items()}
                    check_finite(n, scores)
                    best.see(n, scores, model)
                metrics.note(n, **scores)
                shown = format_scores(scores).replace("validation_", "")
                bar.write(f"step {n:6}   loss {loss:.3f}   validation: {shown}")
            if is_judged or is_last:
                metrics.sync()  # to the disk: a checkpoint relies on the lines before it
                save(n)
            if is_last or best.is_over:
                break
    seconds = time.perf_counter() - began

    if n < o.steps and not best.is_over:
        evaluation.draw_loss(o, task, task.baseline()[1])
        words = f"--resume --out {shlex.quote(str(o.out))}"
        print(f"stopped after step {n}; to go on: python train.py {o.preset} {words}")
        return 128 + stop[0]
    average = best.put_back(model, average)
    about |= best.state()
    evaluation.report(o, task, model, average, n, None if start else seconds, about)
    print(f"{seconds:.0f} seconds")


def generate(o, checkpoint):
    """Print what the model in the checkpoint answers to --generate, to several texts with an empty
    line between."""
    for line in notes_on_answers(o):
        print(line, file=sys.stderr)
    task, model = trained(o, checkpoint)
    with nag.no_grad():
        for i, answer in enumerate(task.generate_all(model, o.generate)):
            if i:
                print()
            for piece in answer:
                print(piece, end="", flush=True)
            print()


def main(argv=None):
    """Run the command line; what can go wrong for a user ends in one line on stderr."""
    o = None
    try:
        o, checkpoint = parse(sys.argv[1:] if argv is None else argv)
        if o.list:
            print(presets())
            return
        with compute_with(o):
            if o.generate is not None:
                return generate(o, checkpoint)
            with folder.lock(o.out):
                return train(o, checkpoint)
    except Diverged as e:
        return (
            f"train.py: {e}. Training has stopped; {o.out} keeps the last good checkpoint. Try "
            f"a lower --lr (now {o.lr}), a longer --warmup ({o.warmup}), a smaller --clip"
        )
    except (
        OptionError,
        CheckpointError,
        DataError,
        LogitsError,
        DeviceError,
        OSError,
        ImportError,
    ) as e:
        return f"train.py: {shortened(str(e))}"
    except MemoryError as e:
        return f"train.py: {terminal.out_of_memory(e)}"
    except nag.cuda.CaptureError as e:
        return f"train.py: {e}. Without --captured each step is computed as it is written"
    except KeyboardInterrupt:
        print("\ntrain.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a character that the terminal lacks becomes a "?"
        sys.stdout.reconfigure(errors="replace")
    terminal.run("train.py", main)
