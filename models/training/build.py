"""The model of a run: new, or as a checkpoint has it."""

import dataclasses
import math
import os

import numpy as np

from nanoautograd.checkpoint import CheckpointError
from nanoautograd.nn import merge_adapters
from nanoautograd.optim import AveragedModel

from ..data import DataError, generator
from .best import Best
from .finetune import check_options, is_run, prepare, state_of
from .options import OptionError, make_task, option, parse, parser, renamed
from .state import under, unpack

FREE = {"dropout", "block_size", "longest"}  # weights that fit mean the same with any of these


def make_model(task, o, tensors=None, behind=()):
    """A new model for the task, its weights from the seed and from --pretrained; for a run that
    goes on, with these tensors, only what they lack is loaded. behind: the folders of the runs
    whose weights are to begin with it, on the way to which it is made."""
    Config, Model = task.models[task.presets[o.preset]["model"]]
    own = {
        f.name: getattr(o, f.name)
        for f in dataclasses.fields(Config)
        if f.default is not dataclasses.MISSING
    }
    missing = {f.name for f in dataclasses.fields(Config)} - own.keys() - task.sizes.keys()
    if missing:
        raise OptionError(
            f"{type(task).__name__}.sizes lacks what the Config in "
            f"{Config.__module__} wants to know: {', '.join(sorted(missing))}"
        )
    try:
        if tensors is None:
            check_options(o, parser(o.preset).get_default, hasattr(Model, "fit"))
        rng = generator(o.seed, "weights")
        if tensors is not None:
            rng = WeightBudget(rng.bit_generator, tensors)
        model = Model(Config(**task.sizes, **own), rng=rng, dtype=o.dtype)
        behind = (*behind, os.path.realpath(o.out))
        if tensors is None and is_run(o.pretrained):
            check_numbering(task, o.pretrained)
            check_fields(Config, Model, own, o.pretrained)
        prepare(model, o, tensors is None, lambda folder: model_of(folder, behind))
    except (CheckpointError, DataError):
        raise
    except ValueError as e:  # such as heads that do not fit d_model
        raise OptionError(f"these options do not fit together: {e}") from None
    return model.to(o.device)


def check_numbering(task, folder):
    """Raises DataError where the weights of the run in a folder are of other symbols than those of
    the task, though they may be as many."""
    state = state_of(folder)
    try:
        fits = task.numbering(state["known"]) == task.numbering(task.known)
    except (LookupError, TypeError):
        fits = False
    if not fits:
        raise DataError(
            f"the run in {folder}, of the preset {state['options'].get('preset')}, has another "
            "vocabulary, or other classes or tags, so its weights are of no use here"
        )


def check_fields(Config, Model, own, folder):
    """Raises DataError where the weights of the run in a folder would mean something else in this
    model, though they may fit: they were learnt with as many numbers, but with other heads of
    attention, say. own: {field of the Config: value}, those that are options."""
    if getattr(Model, "pretrained_part", ""):  # what the Config adds is of the part that is new
        Config = [c for c in Config.__mro__ if dataclasses.is_dataclass(c)][-1]
    learnt = renamed(state_of(folder)["options"])
    names = {f.name for f in dataclasses.fields(Config)} & own.keys() & learnt.keys() - FREE
    if others := sorted(name for name in names if own[name] != learnt[name]):
        there, here = (
            " ".join(f"{option(name)} {values[name]}" for name in others)
            for values in (learnt, own)
        )
        raise DataError(
            f"the weights of the run in {folder} were learnt with {there}, so they are of no use "
            f"with {here}: give the same"
        )


class WeightBudget(np.random.Generator):
    """A budget of random weights, hardly more than a checkpoint has: what its options say of the
    model's sizes is not believed before its arrays are seen. Each may be drawn three times, and
    SPARE more, so that of a small model each array that is missing is named. What is frozen is not
    in the checkpoint, and has FROZEN numbers at most. Raises CheckpointError."""

    SPARE, FROZEN = 1_000_000, 200_000_000

    def __init__(self, bit_generator, tensors):
        super().__init__(bit_generator)
        weights = under("model.", tensors).values()
        self.left = self.SPARE + 3 * sum(a.size for a in weights)
        if "frozen" in tensors:
            self.left += 3 * self.FROZEN

    def take(self, size):
        self.left -= math.prod(np.atleast_1d(1 if size is None else size).tolist())
        if self.left < 0:
            raise CheckpointError(
                "the checkpoint does not fit its own options: they are of a "
                "larger model than its arrays"
            )

    def uniform(self, low=0.0, high=1.0, size=None):
        self.take(size)
        return super().uniform(low, high, size)

    def normal(self, loc=0.0, scale=1.0, size=None):
        self.take(size)
        return super().normal(loc, scale, size)

    def standard_normal(self, size=None):
        self.take(size)
        return super().standard_normal(size)


def trained(o, checkpoint, behind=()):
    """The task of a checkpoint, without its data, and the model as it is used: in eval mode, with
    the average of its weights if there is one, and its adapters, if it has any, merged. behind: as
    for `make_model`."""
    tensors, state = checkpoint
    task = make_task(o, state["known"])
    model = make_model(task, o, tensors, behind)
    average = AveragedModel(model, o.average) if o.average else None
    unpack(tensors, model, average=average)
    average = Best(o, task, model, state, tensors).put_back(model, average)
    if average:
        model.load_state_dict(average.averages, strict=False)  # what is frozen has none
    return task, merge_adapters(model.eval())


def model_of(folder, behind=()):
    """The model of the run in a folder, as it is used. behind: as for `make_model`. Raises
    CheckpointError, DataError."""
    if os.path.realpath(folder) in behind:
        raise CheckpointError(
            f"the run in {folder} begins with weights that began with its own: "
            f"{' from '.join(map(str, behind))}; the first ones are lost"
        )
    return trained(*parse(["--out", str(folder), "--generate", ""]), behind)[1]
