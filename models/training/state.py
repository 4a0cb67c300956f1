"""The arrays of a checkpoint: all that the next step depends on, taken out and put back."""

import numpy as np

from nanoautograd.backends import array_namespace, is_array, is_float, to_numpy
from nanoautograd.checkpoint import CheckpointError
from nanoautograd.interop.names import listed
from nanoautograd.nn import load_random_state, random_state

from .evaluation import Diverged
from .finetune import digest, frozen

RECURRENT = "carried"  # the name of the recurrent state in the file, as version 0.1 wrote it


def pack(model, optimizer, average, recurrent, best=()):
    """All arrays that the next step depends on, by name; of what is frozen a digest; and `best`,
    {name: array}. A parameter that never had a gradient has taken no step of the optimiser."""
    still = frozen(model)
    tensors = {
        f"model.{name}": array for name, array in model.state_dict().items() if name not in still
    }
    for i, state in enumerate(optimizer.state if optimizer else ()):
        for name, value in (state or {"step": 0}).items():
            tensors[f"optimizer.{i}.{name}"] = value if is_array(value) else np.array(value)
    if average:
        tensors |= {f"average.{name}": array for name, array in average.state_dict().items()}
    if still:
        tensors["frozen"] = digest(model)
    tensors |= {f"random.{name}": np.array(pair) for name, pair in random_state(model).items()}
    if recurrent is not None:
        tensors[RECURRENT] = recurrent
    tensors |= {f"best.{name}": array for name, array in dict(best).items()}
    if wrong := not_finite(tensors):
        raise Diverged(f"what is to be saved is no longer finite, in\n  {listed(wrong)}\n")
    return tensors


def unpack(tensors, model, optimizer=None, average=None, step=None, recurrent_spec=None):
    """Put them back; returns the recurrent state in which the next step begins, or None. With an
    optimizer they must be all that `pack` makes at this step; recurrent_spec: the (shape, dtype) of
    that state, or None."""
    weights = {name: a for name, a in tensors.items() if name.startswith(("model.", "average."))}
    best = {name: a for name, a in tensors.items() if name.startswith("best.")}
    if wrong := not_finite(weights | best):
        raise CheckpointError(
            f"the weights in the checkpoint are of no use: not all are finite, in\n  "
            f"{listed(wrong)}\nTo start anew, give --overwrite, or another --out"
        )
    still = frozen(model)
    try:
        if still and not np.array_equal(tensors.get("frozen"), digest(model)):
            raise ValueError(
                "what is frozen is not what it was; the weights of --pretrained have changed"
            )
        model.load_state_dict({**still, **under("model.", tensors)})
        random = under("random.", tensors)
        load_random_state(model, {name: to_numpy(pair).tolist() for name, pair in random.items()})
        if average:
            average.load_state_dict(under("average.", tensors))
        if wrong := other_dtypes(weights, model, average):
            raise ValueError(f"its arrays are of another dtype:\n  {listed(wrong)}")
    except (ValueError, TypeError, LookupError) as e:
        raise CheckpointError(f"the checkpoint does not fit its own options: {e}") from None
    if optimizer:
        put_back = [
            "model.",
            "random.",
            "best.",
            *["average."] * bool(average),
            *["frozen"] * bool(still),
        ]
        others = {name: a for name, a in tensors.items() if not name.startswith(tuple(put_back))}
        if wrong := wrong_moments(others, optimizer, step, recurrent_spec):
            raise CheckpointError(
                f"the run cannot go on, for what its optimiser remembers is not of step {step}:"
                f"\n  {listed(wrong)}\nIts weights are whole: --generate TEXT uses them, and "
                "--pretrained FOLDER, with this folder, begins another run with them; to start "
                "anew, give --overwrite, or another --out"
            )
        state = {}
        for name, array in under("optimizer.", tensors).items():
            i, _, name = name.partition(".")
            if tensors.get(f"optimizer.{i}.step", 1):  # else it has no state yet
                state.setdefault(int(i), {})[name] = array
        optimizer.load_state(state)
    return tensors.get(RECURRENT, zero_recurrent_state(recurrent_spec))


def check_recurrent_state(task, before, after):
    """Raises TypeError unless the recurrent state after a step is like the one before it, an array
    as the task specifies it or None: else it could not be checked when the run goes on."""
    wanted, found = (None if a is None else (a.shape, a.dtype) for a in (before, after))
    if found != wanted:
        name = type(task).__name__
        raise TypeError(
            f"{name}.loss returned a recurrent state of {found or 'nothing'}, and "
            f"{name}.recurrent_spec says {wanted or 'nothing'}: let it return the shape and dtype"
        )


def not_finite(tensors):
    """The names of arrays that hold a NaN or an infinity."""
    return [
        name
        for name, a in tensors.items()
        if is_float(a.dtype) and not bool(array_namespace(a).isfinite(a).all())
    ]


def other_dtypes(weights, model, average):
    """Where {name: array} is not of the dtype that it would be put into: a list of lines."""
    dtypes = {
        f"model.{name}": a.dtype for name, a in model.named_parameters(remove_duplicate=False)
    }
    if average:
        dtypes |= {f"average.{name}": a.dtype for name, a in average.state_dict().items()}
    return [
        f"{name} is {a.dtype}, not {dtypes[name]}"
        for name, a in weights.items()
        if a.dtype != dtypes.get(name, a.dtype)
    ]


def wrong_moments(found, optimizer, step, recurrent_spec):
    """Where {name: array} is not what `pack` makes at this step beside the weights: a list of
    lines."""
    wanted = {}
    for i, (p, names) in enumerate(optimizer.remembered()):
        step_of = f"optimizer.{i}.step"
        taken = found.get(step_of, np.array(step))  # older versions wrote no step 0
        if taken.shape or taken.dtype != np.int64 or taken:
            wanted |= {f"optimizer.{i}.{name}": (p.shape, p.dtype) for name in names}
        wanted.pop(step_of, None)
        if step and "step" in names or step_of in found:
            wanted[step_of] = ((), np.dtype(np.int64))
    if recurrent_spec and step:
        wanted[RECURRENT] = recurrent_spec
    lines = [f"missing: {name}" for name in wanted.keys() - found.keys()]
    lines += [f"unexpected: {name}" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        a, (shape, dtype) = found[name], wanted[name]
        if (a.shape, a.dtype) != (shape, dtype):
            lines.append(f"{name} is {a.shape} {a.dtype}, not {shape} {dtype}")
        elif name.endswith(".step") and int(a) not in (0, step):
            lines.append(f"{name} is {a}")
        elif name.endswith(".exp_avg_sq") and (a < 0).any():
            lines.append(f"{name} has negative squares")
    if step and not any(name.endswith((".exp_avg", ".momentum_buffer")) for name in wanted):
        lines.append("no parameter has ever had a gradient")
    return sorted(lines) + [f"not finite: {name}" for name in not_finite(found)]


def under(prefix, tensors):
    """Those whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }


def zero_recurrent_state(recurrent_spec):
    """The state in which the first step begins: zeros of this (shape, dtype); None for None."""
    return None if recurrent_spec is None else np.zeros(*recurrent_spec)
