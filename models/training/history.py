"""What was done in a run: with which options, and what its weights have read. A checkpoint keeps
it, and a result says it, beside the score."""

from nanoautograd.checkpoint import CheckpointError

from ..data import DataError, seen
from .finetune import NOTHING, is_run, state_of
from .options import CHANGEABLE, OptionError, option

CLEARLY = 0.01  # of what is held out: with less of it read before, a score is still one


def history(o, task, saved):
    """What the state of a checkpoint says of what was done, of a run that goes on from the state
    `saved`, or begins:

    changed: [{"to_step": n, option: its value up to there}, ...], the options that were changed
    when it went on. read: a sample of all that its weights were trained on (data/seen.py), as a
    string; None where that is not known. seen: the share of what is held out that the weights it
    began with had read; None where that is not known, as of weights that others trained.

    Raises OptionError where the options are of steps that it cannot take, DataError and
    CheckpointError where a state is none.
    """
    check(saved)
    check_steps(o, saved)
    changed = [*saved.get("changed", []), *changes(o, saved)]
    if "read" in saved:  # older versions did not say
        return {"changed": changed, "read": saved["read"], "seen": saved["seen"]}
    before = read_before(o, saved)
    texts, share = task.texts_read(), 0.0 if o.pretrained == NOTHING else None
    if texts is None or before is None:
        return {"changed": changed, "read": None, "seen": share}
    training, held_out = map(seen.sample, texts)
    before = seen.from_text(before)
    if is_run(o.pretrained):
        share = seen.share(held_out, training, before)
    return {"changed": changed, "read": seen.to_text(seen.join(before, training)), "seen": share}


def read_before(o, saved):
    """The sample that the weights come with, as a string; None where that is not known."""
    if not is_run(o.pretrained):
        return ""
    try:
        return state_of(o.pretrained).get("read")
    except CheckpointError:
        if saved["step"]:  # the run goes on, and what it began with need not be there
            return None
        raise


def check(state):
    """Raises CheckpointError where a state has what `history` does not make."""
    share, read, changed = state.get("seen"), state.get("read"), state.get("changed", [])
    try:
        if read is not None:
            seen.from_text(read)
        steps = [change["to_step"] for change in changed]
        fits = (
            isinstance(changed, list)
            and all(type(n) is int and 0 < n <= state["step"] for n in steps)
            and (share is None or type(share) is float and 0 <= share <= 1)
        )
    except (TypeError, LookupError, DataError):
        fits = False
    if not fits:
        raise CheckpointError(
            "the checkpoint does not say, as this train.py writes it, what was done in the run"
        )


def check_steps(o, saved):
    """Raises OptionError where a run is to go on with options of steps that it cannot take: its
    result would say of them what was reached with others."""
    taken, kept = saved["step"], saved.get("options")
    if o.steps < taken:
        raise OptionError(
            f"this run has taken {taken} steps already, and cannot go back to {o.steps}: give "
            f"--steps {taken} or more; a run of {o.steps} begins anew, with another --out"
        )
    for name in sorted(CHANGEABLE - {"steps", "evaluate_every", "patience"}):
        if taken and taken == o.steps and getattr(o, name) != kept[name]:
            raise OptionError(
                f"this run has taken its {taken} steps with {option(name)} {kept[name]}, and none "
                f"is left to take with {getattr(o, name)}: give more --steps"
            )


def changes(o, saved):
    """[what is new of `changed`], or []."""
    kept = saved.get("options", {})
    former = {name: kept[name] for name in sorted(CHANGEABLE & kept.keys())}
    former = {name: value for name, value in former.items() if value != getattr(o, name)}
    return [{"to_step": saved["step"], **former}] if former and saved["step"] else []


def remarks(o, state):
    """What is to be said beside a score, of the options `o` and the state: lines."""
    lines = [
        f"up to step {c['to_step']} this run had "
        + ", ".join(f"{option(name)} {value}" for name, value in c.items() if name != "to_step")
        for c in state["changed"]
    ]
    if is_run(o.pretrained) and state["seen"] is None:
        lines.append(
            f"WARNING: whether the run in {o.pretrained} has read what is held out here is not "
            "known; the score may be too good"
        )
    elif state["seen"]:
        lines.append(
            "WARNING: " * (not is_new(o, state)) + f"of what is held out here {state['seen']:.2%} "
            f"was read by the run in {o.pretrained}, with whose weights this one began"
            + "; the score says nothing of new texts"
            * (not is_new(o, state))
        )
    return lines


def is_new(o, state):
    """Whether what is held out is new to the weights that the run began with, so that its score can
    be compared."""
    return not is_run(o.pretrained) or state["seen"] is not None and state["seen"] < CLEARLY
