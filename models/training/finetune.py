"""Fine-tuning: a model that begins with weights learnt elsewhere, on other data.

Pretraining and fine-tuning have one form of loss. A language model is pretrained on all of a text,

    -Σ_i log p(x_i | x_<i)

and fine-tuned on what should follow a given x, a target y, alone:

    -Σ_i log p(y_i | x, y_<i)

What is fine-tuned is θ = (θ_p, θ_n), what is pretrained and what is new. θ_p is the whole model,
or, where a model puts a new head on a pretrained one, the attribute that `pretrained_part` in its
class names. Four ways to treat the two, which can be combined:

    all of it       both learn at the rate γ                                    (nothing to say)
    more gently     θ_p at the rate f γ, f < 1: it is near the goal already     --lr-pretrained f
    frozen          what is frozen stays: no gradient, no moments               --freeze NAME ...
    adapters        θ_p stays, with a low-rank matrix beside each of its        --lora r
                    matrices (nanoautograd/nn/lora.py)

A checkpoint leaves out what is frozen: it comes again from where it came from, and a digest tells
whether it is the same.

Sources: A. Radford et al., "Improving language understanding by generative pre-training", 2018,
section 3 (both losses); J. Howard and S. Ruder, "Universal language model fine-tuning for text
classification", ACL 2018, section 3.2 (rates that differ); E. Hu et al., ICLR 2022 (adapters).
"""

import argparse
import hashlib
import os
from pathlib import Path

import numpy as np

from nanoautograd.backends import to_numpy
from nanoautograd.checkpoint import CheckpointError, load_checkpoint
from nanoautograd.nn import adapters, add_adapters

from ..data import generator, purpose

ADAPTERS = purpose("adapters", 7)  # of the weights that are pretrained
NOTHING = "none"  # of --pretrained
OF_STEPS = (
    "accumulate optimizer lr warmup decay lr_floor weight_decay betas clip average "
    "evaluate_every keep patience freeze"
).split()  # options of a loop that a model without gradients does not run through


def weights_source(text):
    """A checker for argparse: the name of weights, or the path of a run from anywhere."""
    if not text:
        raise argparse.ArgumentTypeError("must be a name or a folder, got an empty text")
    is_folder = os.sep in text or (Path(text) / "checkpoint.json").exists()
    return os.path.abspath(text) if is_folder else text


def is_run(source):
    """Whether --pretrained is the folder of a run, which need not be there any more."""
    return os.path.isabs(source)


def beginning(o):
    """The folder of the run whose checkpoint says what the weights of the run `o` are of: that of
    --pretrained, or its own where it goes on; None where they are of no run."""
    if not is_run(vars(o).get("pretrained", NOTHING)):
        return None
    goes_on = vars(o).get("resume") and (o.out / "checkpoint.json").exists()
    return o.out if goes_on else o.pretrained


def state_of(folder):
    """The state of the run in a folder: its options, what its task knew of its data (Task.known),
    and so on. Raises CheckpointError."""
    state = load_checkpoint(folder)[1]
    if not isinstance(state, dict) or "known" not in state:
        raise CheckpointError(f"the checkpoint in {folder} is of no run of train.py")
    if not isinstance(state.setdefault("options", {}), dict):
        raise CheckpointError(f"the options in the checkpoint in {folder} are none")
    return state


def part(model):
    """The module that is pretrained: the `pretrained_part` of a model that has one, or all."""
    name = getattr(model, "pretrained_part", "")
    return getattr(model, name) if name else model


def check_options(o, default, counts=False):
    """Raise ValueError where an option would do nothing, beside the others or because the model
    counts. default: the name of an option -> its value where nothing is said, in the preset."""
    taken = f"beside --pretrained {o.pretrained}, whose vocabulary is taken over"
    counted = "with a model that counts, and makes no steps"
    for names, why, is_idle in (
        (["lora_to", "lora_alpha"], "without --lora", not o.lora),
        (["lr_pretrained"], "without --pretrained", o.pretrained == NOTHING),
        (["lr_pretrained"], "with --lora, which freezes what is pretrained", o.lora),
        (["lr_pretrained"], "with --freeze pretrained", "pretrained" in o.freeze),
        (["vocab_size"], "without --tokens bpe", vars(o).get("tokens", "bpe") != "bpe"),
        (["min_count"], "with --tokens pieces", vars(o).get("tokens") == "pieces"),
        (["vocab_size", "min_count"], taken, is_run(o.pretrained)),
        (["pieces"], taken, o.pretrained != NOTHING),
        (OF_STEPS, counted, counts),
    ):
        for name in names:
            value = vars(o).get(name, default(name))
            if is_idle and value != default(name):
                shown = " ".join(map(str, value)) if name in ("freeze", "betas") else value
                raise ValueError(f"--{name.replace('_', '-')} {shown} does nothing {why}")


def prepare(model, o, fresh, model_of):
    """Make a new model ready for the run: load what --pretrained names, freeze, add adapters.

    fresh: whether the run begins now; one that is resumed needs only the weights that its
    checkpoint leaves out, the frozen ones. model_of: the folder of a run -> its model, as it is
    used. Raises ValueError, CheckpointError, DataError.
    """
    if o.pretrained == NOTHING:
        if o.lora or "pretrained" in o.freeze:
            raise ValueError(
                "--lora and --freeze pretrained need weights to begin with: give --pretrained"
            )
    elif hasattr(model, "fit"):
        raise ValueError(
            f"{type(model).__name__} counts its own data, in place of what it began "
            f"with: leave out --pretrained {o.pretrained}"
        )
    elif fresh or o.lora or o.freeze:
        load(model, o.pretrained, model_of)
    for name in o.freeze:
        freeze(model, name)
    if o.lora:
        before = part(model).parameters()
        if not any(p.requires_grad for p in before):
            raise ValueError(
                "all layers that --lora would adapt are frozen by --freeze "
                f"{' '.join(o.freeze)}: leave that out, for --lora freezes them too"
            )
        rng = generator(o.seed, ADAPTERS)
        add_adapters(model, o.lora, o.lora_alpha, o.lora_to, part=part(model), rng=rng)
        for p in before:
            p.requires_grad = False
    if o.steps and not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "everything is frozen, so nothing can learn; freeze less, or give --steps 0"
        )


def load(model, source, model_of):
    """Load the weights called so, or of the run in that folder, into what is pretrained. Raises as
    `prepare`."""
    inside = part(model)
    if is_run(source):
        if not (Path(source) / "checkpoint.json").exists():
            raise CheckpointError(f"there is no run in {source}: no checkpoint in {source}")
        try:
            inside.load_state_dict(part(model_of(source)).state_dict())
        except CheckpointError:
            raise
        except ValueError as e:
            raise CheckpointError(
                f"the run in {source} cannot be fine-tuned as this model: {e}"
            ) from None
    elif source == getattr(inside, "weights", None):
        inside.load_pretrained()
    else:
        known = getattr(inside, "weights", None)
        raise ValueError(
            f"there are no weights {source!r} for {type(inside).__name__}: "
            + (f"{known!r} is known to it; " if known else "")
            + "a run of train.py is given by its folder"
        )


def freeze(model, name):
    """Freeze the parameters whose dotted names begin with `name`, or are `pretrained`."""
    chosen = (
        part(model).parameters()
        if name == "pretrained"
        else [p for n, p in model.named_parameters() if f"{n}.".startswith(f"{name}.")]
    )
    if not chosen:
        tops = sorted({n.partition(".")[0] for n, _ in model.named_parameters()})
        raise ValueError(
            f"--freeze {name}: no parameter's name begins so; there are "
            f"{', '.join(tops)} and what is inside them, and 'pretrained'"
        )
    for p in chosen:
        p.requires_grad = False


def groups(model, o):
    """What learns, for an optimiser: ([{"params": ..., "weight_decay": ...}, ...], the factor of
    the learning rate of each). Matrices decay, vectors do not."""
    new = {id(p) for p in adapters(model).values()}
    old = {id(p) for p in part(model).parameters()} - new if o.pretrained != NOTHING else set()
    found, factors = [], []
    for is_old, factor in ((True, o.lr_pretrained), (False, 1.0)):
        learning = [p for p in model.parameters() if p.requires_grad and (id(p) in old) == is_old]
        for decay, params in (
            (o.weight_decay, [p for p in learning if p.ndim > 1]),
            (0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if params:
                found.append({"params": params, "weight_decay": decay})
                factors.append(factor)
    return found, factors


def frozen(model):
    """{dotted name: array} of what does not learn."""
    return {
        name: p.data
        for name, p in model.named_parameters(remove_duplicate=False)
        if not p.requires_grad
    }


def digest(model):
    """SHA-256 of all that is frozen, uint8 (32,)."""
    sha = hashlib.sha256()
    for name, array in frozen(model).items():
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(to_numpy(array)))
    return np.frombuffer(sha.digest(), dtype=np.uint8)
