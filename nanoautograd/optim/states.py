"""The states of optimisers: given away as copies, and checked before they are taken over."""

from typing import Any

import numpy as np

from ..backends import array_namespace, is_array, to_device
from ..interface.array_interface import array_of
from .checks import count_in
from .master import wide
from .on_device import counter


def copied(all_states: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """{number of the parameter: {name: array or int}} of those that have taken a step."""
    return {
        i: {key: int(a) if key == "step" else a.copy() for key, a in state.items()}
        for i, state in enumerate(all_states)
        if state
    }


def numbered(optimizer: Any) -> list[dict[str, Any]]:
    """The groups, with numbers of parameters in the place of these."""
    numbers = iter(range(len(optimizer.state)))
    return [
        {**group, "params": [next(numbers) for _ in group["params"]]}
        for group in optimizer.param_groups
    ]


def checked(optimizer: Any, state_dict: Any) -> tuple[list, list]:
    """Of what Optimizer.state_dict returned: the states, copied, one for each parameter, and the
    options of each group."""
    who, params = f"{type(optimizer).__name__}.load_state_dict", optimizer.parameters()
    try:
        groups, states = list(state_dict["param_groups"]), dict(state_dict["state"])
        given = [list(group["params"]) for group in groups]
    except (TypeError, KeyError, ValueError):
        raise TypeError(
            f'{who}: takes what state_dict() returned, a dict with "state" and "param_groups"; '
            f"got {type(state_dict).__name__}"
        ) from None
    own = numbered(optimizer)
    if [len(numbers) for numbers in given] != [len(g["params"]) for g in own]:
        raise ValueError(
            f"{who}: the state is of groups of {[len(numbers) for numbers in given]} "
            f"parameters, this optimiser has groups of {[len(g['params']) for g in own]}"
        )
    if given != [g["params"] for g in own]:
        raise ValueError(f"{who}: parameters must be numbered from 0 on, got {given}")
    groups = [_options(optimizer, who, group) for group in groups]
    if unknown := [i for i in states if i not in range(len(params))]:
        raise ValueError(
            f"{who}: there is a state of parameter {unknown[0]!r}; they are numbered from 0 to "
            f"{len(params) - 1}, by integers"
        )
    of = [group for group, numbers in zip(groups, given) for _ in numbers]
    new = [
        _state(optimizer, who, i, p, states[i], of[i]) if i in states else {}
        for i, p in enumerate(params)
    ]
    return new, groups


def _options(optimizer: Any, who: str, group: dict[str, Any]) -> dict[str, Any]:
    """A group of a state, checked, without its parameters."""
    options = {key: group[key] for key in optimizer.defaults if key in group}
    for key, value in group.items():
        is_off = value is None or value == optimizer.elsewhere.get(key, False)
        if key != "params" and key not in optimizer.defaults and not is_off:
            raise ValueError(f"{who}: there is no option {key!r} here, which is {value!r}")
    if lacking := optimizer.defaults.keys() - options.keys():
        raise ValueError(f"{who}: a group lacks {', '.join(sorted(lacking))}")
    optimizer.check(options)
    return options


def _state(
    optimizer: Any, who: str, i: int, p: Any, state: Any, options: dict[str, Any]
) -> dict[str, Any]:
    """The state of parameter i, copied and checked."""
    if not isinstance(state, dict):
        raise TypeError(
            f"{who}: the state of parameter {i} must be a dict, got {type(state).__name__}"
        )
    state = {key: array_of(a) for key, a in state.items() if a is not None}
    wanted: dict[str, Any] = {}
    like = wide(p.data)
    optimizer.begin(np.empty(0, like.dtype), wanted, options)  # which names there are after a step
    if like is not p.data:
        wanted["master"] = None
    lacking = wanted.keys() - state.keys()
    if wrong := lacking or state.keys() - wanted.keys() - {*optimizer.buffers}:
        raise ValueError(
            f"{who}: the state of parameter {i} {'lacks' if lacking else 'has'} "
            f"{', '.join(map(str, wrong))}; it should be {', '.join(wanted) or 'empty'}"
        )
    new = {}
    for key, a in state.items():
        a = a if is_array(a) else np.asarray(a)
        if key == "step":
            new[key] = counter(p.data, count_in(f"{who}: step of parameter {i}", a))
            continue
        if (a.shape, a.dtype) != (p.shape, like.dtype):
            raise ValueError(
                f"{who}: {key} of parameter {i} has shape {a.shape} and dtype {a.dtype}, it "
                f"should have {p.shape} and {like.dtype}"
            )
        new[key] = to_device(a, p.device).copy()
        if not array_namespace(like).isfinite(new[key]).all():
            raise ValueError(f"{who}: {key} of parameter {i} is not finite everywhere")
        if key.endswith("_sq") and (new[key] < 0).any():
            raise ValueError(f"{who}: {key} of parameter {i} is below 0 somewhere")
    return new
