"""How good a model is by now, and at the end: scores, pictures, result.json."""

import json
import math
import sys
from contextlib import contextmanager, nullcontext

import nanoautograd as nag
from nanoautograd.checkpoint import error_text, write_whole

from .history import is_new, remarks
from .metrics import draw_curves


class Diverged(ArithmeticError):
    """The loss, a gradient or a weight is no longer finite."""


@contextmanager
def eval_mode(model, average=None):
    """Within it the model is as it is used: in eval mode, with the average of its weights if there
    is one, and nothing is recorded."""
    model.eval()
    with nag.no_grad(), average.applied() if average else nullcontext():
        yield
    model.train()


def check_finite(step, scores):
    """Raises Diverged unless all are finite."""
    if not all(map(math.isfinite, scores.values())):
        raise Diverged(f"at step {step} not all is finite: {format_scores(scores)}")


def format_scores(scores):
    """Scores for people: loss 1.238, accuracy 0.671."""
    return ", ".join(f"{name} {value:.4g}" for name, value in scores.items())


def size_of(model, o):
    """A line about a new model."""
    sizes = [(p.size, p.requires_grad) for p in model.parameters()]
    n, learn = sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)
    some = f", of which {learn:,} learn" * (learn < n)
    return f"{n:,} parameters on {o.device}{some}; everything goes to {o.out}"


def report(o, task, model, average, step, seconds, state):
    """At the end: prints the scores beside the baseline's, draws pictures, writes result.json.
    seconds: of training, or None where it did not begin here; state: that of the checkpoint."""
    baseline, score = task.baseline()
    pictures = draw_loss(o, task, score) if o.steps else []
    with eval_mode(model, average):
        pictures += drawn(task.show, model, o.out)
        scores = task.evaluate(model, final=True)
    check_finite(step, scores)
    ours, theirs = (float(f"{s:.4g}") for s in (scores[task.metric], score))  # as they are printed
    is_better = ours > theirs if task.larger_is_better else ours < theirs
    said = f", which the model is {'' if is_better else 'not '}better than"
    if best := state.get("best"):
        early = f", and ended after {step}, for it got no better" if step < o.steps else ""
        print(f"\nthe run was at its best after {best['step']} steps{early}")
    print(
        f"\nvalidation: {format_scores(scores)}\n"
        + "".join(f"{line}\n" for line in remarks(o, state))
        + f"baseline: {task.metric} {score:.4g} ({baseline}){said * is_new(o, state)}\n"
        f"pictures: {', '.join(map(str, pictures)) or 'none'}"
    )
    parameters = list(model.parameters())
    result = {
        "options": state["options"],
        "parameters": sum(p.size for p in parameters),
        "trained": sum(p.size for p in parameters if p.requires_grad),
        "scores": scores,
        "metric": task.metric,
        "classes": task.by_class,
        "baseline": [baseline, float(score)],
        "to_step": step,
        "best": state.get("best"),
        "changed": state["changed"],
        "seen": state["seen"],
        "seconds": seconds and round(seconds),
    }
    write_whole(o.out / "result.json", json.dumps(result, indent=1).encode())


def draw_loss(o, task, score):
    """The picture of what was noted down so far, in a list."""
    title = f"{o.preset}: {task.about}"
    return drawn(
        draw_curves, o.out / "metrics.jsonl", o.out / "loss.png", title, task.metric, score
    )


def drawn(draw, *args):
    """The pictures that draw(*args) makes, a list; where it fails, the scores matter more."""
    try:
        pictures = draw(*args)
        return pictures if isinstance(pictures, list) else [pictures]
    except Exception as e:
        print(f"what there is to see could not be shown: {error_text(e)}", file=sys.stderr)
        return []
