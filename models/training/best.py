"""The best weights of a run so far, by their score on what is held out; and its end, where it gets
no better.

With --keep best a checkpoint has them beside the last ones, and they are what is judged in the end,
generates, and is begun with; with --patience k a run ends after k evaluations without a better
score (L. Prechelt, "Early stopping - but when?", 1998).
"""

import math

from nanoautograd.checkpoint import CheckpointError

from .finetune import frozen
from .state import under


class Best:
    """score: the best one, after `step` steps; waited: how many evaluations there were since;
    weights: {name: array}, those of --keep best, {} before there is a score.

    saved, tensors: of the checkpoint of a run that goes on. Raises CheckpointError where they are
    not of this model."""

    def __init__(self, o, task, model, saved, tensors):
        check_best(saved)
        self.o, self.task, self.weights = o, task, under("best.", tensors)
        found = saved.get("best", {"step": 0, "score": None, "waited": 0})
        self.step, self.score, self.waited = (found[name] for name in ("step", "score", "waited"))
        wanted = self.learnt(model) if o.keep == "best" and self.step else {}
        shapes, others = (
            {n: (a.shape, a.dtype) for n, a in d.items()} for d in (wanted, self.weights)
        )
        if shapes != others:
            raise CheckpointError(
                "the checkpoint does not fit its own options: the best weights in it are of "
                "another model"
            )

    @staticmethod
    def learnt(model):
        """{name: array} of what learns, copies."""
        still = frozen(model)
        return {n: a for n, a in model.state_dict().items() if n not in still}

    def see(self, n, scores, model):
        """Take note of the scores {"validation_loss": ...} after step n, and keep the weights of
        the model, as they were judged, where it is better than before."""
        name, sign = self.task.metric, 1.0 if self.task.larger_is_better else -1.0
        if f"validation_{name}" not in scores:  # that is found at the end alone
            name, sign = "loss", -1.0
        score = float(scores[f"validation_{name}"])
        self.waited += 1
        if self.score is None or sign * score > sign * self.score:
            self.score, self.step, self.waited = score, n, 0
            if self.o.keep == "best":
                self.weights = self.learnt(model)

    @property
    def is_over(self):
        """Whether --patience is at its end."""
        return 0 < self.o.patience <= self.waited

    def state(self):
        """For the state of a checkpoint; nothing where no option asks for it."""
        if self.o.keep == "last" and not self.o.patience:
            return {}
        return {"best": {"step": self.step, "score": self.score, "waited": self.waited}}

    def put_back(self, model, average):
        """Give the model the weights that --keep says. Returns the average of weights that is to be
        judged in their place, or None."""
        if not self.weights:
            return average
        model.load_state_dict(self.weights, strict=False)  # what is frozen is there
        return None


def check_best(state):
    """Raises CheckpointError where a state has not what `Best.state` makes."""
    found = state.get("best", {"step": 0, "score": None, "waited": 0})
    try:
        step, score, waited = (found[name] for name in ("step", "score", "waited"))
        is_known = type(score) is float and math.isfinite(score) if step else score is None
        fits = all(type(n) is int and n >= 0 for n in (step, waited)) and is_known
        fits = fits and step <= state["step"] and len(found) == 3
    except (TypeError, LookupError):
        fits = False
    if not fits:
        raise CheckpointError("the checkpoint does not say which weights were the best")
