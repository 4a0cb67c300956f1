"""What train.py asks of a task: its data, a batch, a loss, scores, and something to show."""


class Task:
    """A subclass is one file in this folder: adding a task is adding a file.

    It sets `about`, `models`, `presets`, `metric`, and what `__init__` promises below. A model class
    is made as `Model(config, rng=None, dtype=np.float32)` from its `Config`, a dataclass: fields
    without a default are sizes that the data decides, the others become options of the command line
    (int: at least 1; float: from 0 to below 1; bool; Literal: one of its strings).
    """
    about = ""                  # one line for --list
    needs = ()                  # the packages, of nanoautograd.data.SOURCES, with its data
    models = {}                 # name for --model: (Config, model class)
    presets = {}                # name: {"model": name, option: value, ...}
    metric = "loss"             # the score, of those that evaluate gives, that stands in the table
    larger_is_better = False    # of that score

    @staticmethod
    def options(add):
        """Options of this task alone: add(name, type, default, help, **of add_argument)."""

    def __init__(self, o, known=None):
        """o: all options of the run. known: None to read the data; in a run that is used but not
        trained, what `self.known` was when it began, so that no data is needed.

        Sets `known` (whatever JSON holds: vocabularies, tags), `sizes` (of the Config), and, where
        the data is read, `fingerprint` (a check sum of all of it) and `summary` (a line about it,
        with what was malformed and left out). Raises DataError.
        """
        raise NotImplementedError

    def batch(self, step):
        """A tuple of NumPy arrays: what step 0, 1, ... trains on, from the seed and `step` alone."""
        raise NotImplementedError

    def loss(self, model, carried, *arrays):
        """(mean loss, a Tensor; what to carry into the next step: None, or an array): of a batch,
        its arrays now on the model's device."""
        raise NotImplementedError

    def evaluate(self, model, final=False):
        """Scores on the validation data, {"loss": nats, ...}; `final`: once, after training, on all
        that is held out, where that takes long. Called under no_grad and in eval mode."""
        raise NotImplementedError

    def baseline(self):
        """(what it is, its score in `metric`): a method that learns nothing, or only counts."""
        raise NotImplementedError

    def show(self, model, out):
        """Print what the trained model does, and draw it: a list of paths of pictures, in `out`."""
        return []

    def generate(self, model, prompt):
        """The model's answer to a text that the user typed, in pieces (for a terminal)."""
        raise NotImplementedError
