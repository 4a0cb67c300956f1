"""The arrays of a checkpoint: all that the next step depends on, taken out and put back."""

import numpy as np

from nanoautograd.backends import array_namespace, is_array, is_float, to_numpy
from nanoautograd.checkpoint import CheckpointError
from nanoautograd.interop.names import listed
from nanoautograd.nn import load_random_state, random_state

from .evaluation import Diverged
from .finetune import digest, frozen


def pack(model, optimizer, average, carried, best=()):
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
    if carried is not None:
        tensors["carried"] = carried
    tensors |= {f"best.{name}": array for name, array in dict(best).items()}
    if wrong := not_finite(tensors):
        raise Diverged(f"what is to be saved is no longer finite, in\n  {listed(wrong)}\n")
    return tensors


def unpack(tensors, model, optimizer=None, average=None, step=None, carried=None):
    """Put them back; returns what is carried into the next step, or None. With an optimizer they
    must be all that `pack` makes at this step; carried: the (shape, dtype) of what is carried, or
    None."""
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
        if wrong := wrong_moments(others, optimizer, step, carried):
            raise CheckpointError(
                f"the run cannot go on, for what its optimiser remembers is not of step {step}:"
                f"\n  {listed(wrong)}\nIts weights are whole: --generate TEXT uses them, and "
                "--pretrained FOLDER, with this folder, begins another run with them; to start "
                "anew, give --overwrite, or another --out"
            )
        state = {}
        for name, array in under("optimizer.", tensors).items():
            i, _, name = name.partition(".")
            if tensors[f"optimizer.{i}.step"]:  # else it has no state yet
                state.setdefault(int(i), {})[name] = array
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return tensors.get("carried", first_carried(carried))


def check_carried(task, before, after):
    """Raises TypeError unless what a step leaves is like what it was given, the array that the task
    says it carries or None: else it could not be checked when the run goes on."""
    said, found = (None if a is None else (a.shape, a.dtype) for a in (before, after))
    if found != said:
        raise TypeError(
            f"{type(task).__name__}.loss carries {found or 'nothing'} from step to step, and its "
            f"method carries says {said or 'nothing'}: let it return the shape and dtype"
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


def wrong_moments(found, optimizer, step, carried):
    """Where {name: array} is not what `pack` makes at this step beside the weights: a list of
    lines."""
    wanted = {}
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for i, p in enumerate(params):
        name = f"optimizer.{i}."
        taken = found.get(f"{name}step", np.array(step))  # older versions wrote no step 0
        if taken.shape or taken.dtype != np.int64 or taken:
            wanted |= {name + buffer: (p.shape, p.dtype) for buffer in optimizer.buffers}
        if step or f"{name}step" in found:
            wanted[f"{name}step"] = ((), np.dtype(np.int64))
    if carried and step:
        wanted["carried"] = carried
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
    if step and not any(name.endswith(".exp_avg") for name in wanted):
        lines.append("no parameter has ever had a gradient")
    return sorted(lines) + [f"not finite: {name}" for name in not_finite(found)]


def under(prefix, tensors):
    """Those whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }


def first_carried(carries):
    """What the first step is given of one before: zeros, or None; carries: (shape, dtype), or
    None."""
    return None if carries is None else np.zeros(*carries)
