"""What train.py asks of a task: its data, a batch, a loss, scores, and something to show."""

import argparse
import math
import sys
from abc import ABC, abstractmethod

import numpy as np

from nanoautograd.backends import is_array, to_device

from ..data import DataError, generator, installed
from ..inference.sampling import OPTIONS, Sampler, out_of_range
from ..training.finetune import beginning, state_of


def number(kind, least=-math.inf, above=-math.inf, below=None, most=math.inf):
    """A checker for argparse: a finite number of this kind and range, a whole one below 10⁹ where
    `below` does not say otherwise (the product of two still counts bytes in 64 bits)."""
    below = below or (10**9 if kind is int else math.inf)

    def check(text):
        value = kind(text)
        if allowed := out_of_range(value, least, above, below, most):
            raise argparse.ArgumentTypeError(f"must be {allowed}, got {text}")
        return value

    check.__name__ = kind.__name__  # argparse says "invalid int value"
    return check


def share_or_fold(text):
    """A checker for argparse of what is held out: a share of the data, a float, or a fold of
    cross-validation, a string such as "2/5"."""
    if "/" not in text:
        return number(float, above=0, below=1)(text)
    k, K = map(int, text.split("/"))  # more or less of them: a ValueError
    if not 1 <= k <= K < 10**9 or K < 2:
        raise argparse.ArgumentTypeError(
            "must be a share above 0 and below 1, or a fold from 1/K "
            f"to K/K with K at least 2, got {text}"
        )
    return f"{k}/{K}"


share_or_fold.__name__ = "share or fold"  # argparse says "invalid ... value"


def sampling_options(add, temperature=None, length=None):
    """Options of answers that are written token by token, with these defaults, for
    `answer_options`: what models/inference/sampling.py takes, and how long they may be."""
    if length:
        add("--length", number(int, least=1), length, "tokens to write, at most")

    def option(name, default, help, **kwargs):
        kind, bounds = OPTIONS[name.lstrip("-").replace("-", "_")]
        add(name, number(kind, **bounds), default, help, **kwargs)

    option(
        "--temperature",
        temperature,
        "above 1 bolder, below 1 safer; 0 for the likeliest, without chance",
    )
    option("--top-k", None, "choose among the K likeliest only", metavar="K")
    option(
        "--top-p",
        None,
        "choose among the fewest of the likeliest that have the probability P together",
        metavar="P",
    )
    option(
        "--min-p",
        None,
        "choose among those only that have P times the probability of the likeliest, or more",
        metavar="P",
    )
    option(
        "--repetition-penalty",
        None,
        "above 1: what was written already becomes less likely; 1.2 is usual",
        metavar="X",
    )


def sampling(o):
    """Those of the options o that models/inference/sampling.py takes, where they are given."""
    return {name: value for name, value in vars(o).items() if name in OPTIONS and value is not None}


def sampler(o, **others):
    """What chooses the tokens of one answer, as the options o say, or `others` in their place."""
    return Sampler(generator(o.seed, "sampling"), **sampling(o) | others)


def stride(n, about, final):
    """Every which of n held-out examples is judged: all of them at the end, and while a model
    trains about so many."""
    return 1 if final else max(1, n // about)


def cut_off(lengths, most, what):
    """A few words for a summary: how many of the texts of these lengths are not read to the end."""
    n = sum(length > most for length in lengths)
    return f"{n:,} of {len(lengths):,} {what} are longer than {most}, and are cut off there"


def note_cut(length, most, what, part="first"):
    """Says on stderr of a text that was typed that its end is not read; or with "last" its
    beginning."""
    if length > most:
        print(f"the text has {length} {what}, of which the {part} {most} are read", file=sys.stderr)


def typed(text):
    """A text that was typed, its lines ending with \\n as those of all data do."""
    return text.replace("\r\n", "\n")


class Task(ABC):
    """A subclass is one file in this folder: adding a task is adding a file. It sets the attributes
    below that differ from these, and defines the abstract methods.

    A model class is made as `Model(config, rng=None, dtype=np.float32)` from its `Config`, a
    dataclass: fields without a default are sizes that the data decides, the others become options
    of the command line (int: at least 1; float: from 0 to below 1; bool; Literal: one of its
    strings), explained by what is beside the type, as in Annotated[int, "numbers in the state"].
    Where the task has an option of the same name, the model's field takes its value.
    """

    about = ""  # a few words for --list
    source = "made by itself"  # where the data is from, if it is in no package
    needs = {}  # preset: a tuple, the packages with its data and weights
    models = {}  # name: (Config, model class)
    presets = {}  # name: {"model": name, option: value other than the default}
    prompt = ""  # a text that --generate answers, as an example
    metric = "loss"  # the score, of those that evaluate gives, that stands in the table
    larger_is_better = False  # of that score
    by_class = {}  # scores of each class (training/scores.py, class_scores), after `show`
    published = {}  # preset, with the text behind a "-" if there is one: what others report

    @staticmethod
    def options(add):
        """Options of this task alone: add(name, type, default, help, **of add_argument)."""

    @staticmethod
    def answer_options(add):
        """Options of `generate`, which may differ from one answer to the next."""

    @classmethod
    def missing(cls, preset):
        """Those of the packages that a preset needs which are not installed."""
        return [package for package in cls.needs.get(preset, ()) if not installed(package)]

    @staticmethod
    def uses_seed(o):
        """Whether runs of these options that differ by their seeds may differ in their results: by
        what is held out, by the order of the data, or by the weights at the beginning."""
        return True

    def __init__(self, o, known=None):
        """o: all options of the run, those of this task, of the model and of the loop (o.seed,
        o.batch, o.steps, o.device, ...). known: None to read the data; in a run that is used but
        not trained, what `self.known` was when it began, so that no data is needed.

        A subclass sets `known` (what the trained model needs to know of the data: vocabularies,
        tags; lists, dicts, strings and numbers), `sizes` (of the Config, by field), and, where the
        data is read, `fingerprint` (a check sum of all of it) and `summary` (a line about it, with
        what was malformed and left out). Raises DataError.
        """
        self.o = o

    def texts_read(self):
        """(what is trained on, what is held out): two lists of strings, by which a later run that
        begins with the weights of this one finds out whether they have read what it holds out; or
        None where that cannot be said."""
        return None

    def numbering(self, known):
        """That part of `known` which says what the numbers in the weights stand for, such as which
        row is which word's. A run begins only with weights of which it is the same, so what it
        begins with decides it: `taken_over`."""
        return known

    def taken_over(self, name, what, outputs=None):
        """What the run of --pretrained knew of its data under a name of `known`; None where it is
        no run that this one begins with. what: in words. outputs: where it is a list of what the
        model tells apart, those that it must have; None too for a model with a new output. Raises
        DataError, which names the run, where it knows no such thing, or not all of these."""
        folder = beginning(self.o)
        if folder is None or outputs and not self.begins_whole:
            return None
        known = state_of(folder)["known"]
        is_there = isinstance(known, dict) and name in known
        if not is_there or outputs and not isinstance(known[name], list):
            raise DataError(
                f"the run in {folder} knows no {what}, so its weights are of no use here; give a "
                "run of a preset that reads them"
            )
        missing = [x for x in outputs or () if x not in known[name]]
        if missing:
            raise DataError(
                f"the run in {folder} knows the {what} {', '.join(map(str, known[name]))}, and "
                f"not {', '.join(missing)}, which the data has: its weights are of no use here"
            )
        return known[name]

    @property
    def begins_whole(self):
        """Whether a run begins with all of another's model, its output too, and not only with a
        part of it, below a new one."""
        Model = self.models[self.presets[self.o.preset]["model"]][1]
        return not getattr(Model, "pretrained_part", "")

    def begin(self, model):
        """Before the first step of a run: what a model learns without gradients."""

    @abstractmethod
    def batch(self, step):
        """A tuple of NumPy arrays: what step 0, 1, ... trains on, from the seed and `step` alone.
        Always of the same shapes, where --captured is to work."""

    @abstractmethod
    def loss(self, model, state, *batch):
        """(the mean loss of a batch, a Tensor; the recurrent state after it, an array, or None).
        state: that which the step before returned, None at the first. The batch is on the
        device."""

    def count(self, *batch):
        """How many losses the mean in `loss` is of, a number: of the examples, where a subclass
        does not say that it is of tokens, those alone that are no padding and have a label."""
        return len(batch[0])

    def parts_of(self, step):
        """What step 1, 2, ... trains on: --accumulate batches, each behind its share of all that
        is counted in them, (share, *batch). Σ share · loss is the mean over all of it, as of one
        large batch: the means of parts that count unequally are not averaged."""
        n = self.o.accumulate
        batches = [self.batch(i) for i in range((step - 1) * n, step * n)]
        counts = [float(self.count(*batch)) for batch in batches]
        return [
            (np.array(count / sum(counts), self.o.dtype), *batch)
            for count, batch in zip(counts, batches)
        ]

    def recurrent_spec(self, model):
        """(shape, dtype) of the recurrent state that `loss` returns and the next step begins with;
        None where there is none."""
        return None

    @abstractmethod
    def evaluate(self, model, final=False):
        """Scores on the validation data, {"loss": as it is trained on, other names: finite
        numbers}; `final`: after training, on all that is held out, where that takes long. The model
        is in eval mode, and nothing is recorded."""

    @abstractmethod
    def baseline(self):
        """(what it is, its score in `metric`): a method that learns nothing, or only counts."""

    def show(self, model, out):
        """Print what the trained model does, and draw it: a list of paths of pictures, in `out`."""
        return []

    def generate(self, model, prompt):
        """The model's answer to a text that the user typed, in pieces (for a terminal). Raises
        DataError where it cannot be answered."""
        raise DataError(f"the preset {self.o.preset} answers no text")

    def generate_all(self, model, prompts):
        """The answers to several texts, one after another, each as `generate` gives it. A model
        that can read them side by side does so."""
        return (self.generate(model, prompt) for prompt in prompts)

    def on_device(self, *values):
        """The same values, arrays among them on the device of the run."""
        return tuple(to_device(v, self.o.device) if is_array(v) else v for v in values)
