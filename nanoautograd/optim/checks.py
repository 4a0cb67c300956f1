"""What makes optimisers safe: options, parameters and numbers of steps that are none are refused,
with the values and what would be right. (States that are loaded: states.py.)"""

import math
import warnings
from collections.abc import Iterable
from operator import is_
from typing import Any

import numpy as np

from ..backends import device_of
from ..core.tensor import Tensor
from ..nn.held import library_of
from ..nn.module import Module

LARGEST, BELOW_1 = float(np.finfo(np.float64).max), math.nextafter(1.0, 0.0)

# The most that an option can be; the least is 0.
HIGHEST = {
    "lr": LARGEST,
    "weight_decay": LARGEST,
    "eps": LARGEST,
    "momentum": 1,
    "dampening": 1,
}


def number(who: str, name: str, value: Any, low: float = 0.0, high: float = LARGEST) -> float:
    """The value as a Python float. Raises TypeError for what is no number, ValueError unless
    low ≤ value ≤ high."""
    no_number = bool, np.timedelta64  # which count as integers in Python, and in NumPy
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, no_number):
        raise TypeError(f"{who}: {name} must be a number; got {type(value).__name__} {value!r}")
    value = value.item() if isinstance(value, np.generic) else value
    if not low <= value <= high:
        most = "below 1" if high == BELOW_1 else f"at most {high:g}"
        limit = most if value > high else f"at least {low:g}"
        raise ValueError(f"{who}: {name} must be {limit}, got {value}")
    return float(value)


def listed(who: str, params: Any) -> list:
    """The iterable `params` as a list. Raises TypeError for what is one by accident: a Module, a
    Tensor (of rows), a dict (of names); and for a set, which has no order."""
    right = {
        Module: "give its .parameters()",
        Tensor: "put it in a list, [w]",
        dict: "a group is a dict in a list",
        (set, frozenset): "a set has no order, so give a list",
    }
    instead = [words for kind, words in right.items() if isinstance(params, kind)]
    if instead or not isinstance(params, Iterable):
        raise TypeError(
            f"{who}: takes an iterable of parameters, as model.parameters(); got "
            + ": ".join([type(params).__name__, *instead])
        )
    return list(params)


def listed_groups(name: str, params: Any) -> list[dict[str, Any]]:
    """The groups that an optimiser is made with, each a dict with a list of parameters."""
    groups = listed(name, params)
    if not any(isinstance(g, dict) for g in groups):
        groups = [{"params": groups}]
    for g in groups:
        if not (isinstance(g, dict) and "params" in g):
            raise TypeError(
                f'{name}: a group is a dict with "params"; got {type(g).__name__}'
                + (f" of {', '.join(map(str, g))}" if isinstance(g, dict) else "")
            )
    return [
        {**g, "params": [p] if isinstance(p := g["params"], Tensor) else listed(name, p)}
        for g in groups
    ]


def warn_of_no_gradient(name: str) -> None:
    """Warns of a step that changes nothing."""
    warnings.warn(
        f"{name}.step changed nothing, as no parameter has a gradient: call loss.backward() after "
        "zero_grad() and before step(), with the parameters that the optimiser was given",
        stacklevel=3,
    )


def check_leaf(who: str, i: int, p: Any) -> None:
    """Raises unless `p`, number i of some parameters, is a Tensor that was not computed."""
    if not isinstance(p, Tensor):
        kind, hint = type(p).__name__, ""
        if isinstance(p, tuple):
            hint = ": give parameters(), not named_parameters()"
        elif library := library_of(p):
            kind, hint = f"{library}.{kind}", f": it belongs to {library}, whose optimisers take it"
        raise TypeError(
            f"{who}: parameters must be Tensors that require a gradient; number {i} is of "
            f"type {kind}{hint}"
        )
    if not p.is_leaf:
        raise ValueError(
            f"{who}: parameter {i}, of shape {p.shape}, was computed by "
            f"{p._edge[0].operation.name}: to change it would change nothing that it was computed "
            "from; give those Tensors"
        )


def check_parameters(name: str, params: list[Tensor]) -> None:
    """Raises unless an optimiser can have the Tensors `params`."""
    for i, p in enumerate(params):
        check_leaf(name, i, p)
        if not p.requires_grad:
            raise TypeError(
                f"{name}: parameters must be Tensors that require a gradient; number {i}, of "
                f"shape {p.shape}, does not"
            )
    if not params:
        raise ValueError(
            f"{name}: got no parameters to optimise; give model.parameters(), or [w]. (A generator "
            "gives them once: keep a list. A Module finds those that are set on it in __init__.)"
        )
    if len({id(p) for p in params}) != len(params):
        raise ValueError(f"{name}: a parameter is given more than once")


def check_options(name: str, group: dict[str, Any], known: dict[str, Any]) -> None:
    """Makes the numbers among the options of a group Python's. Raises TypeError or ValueError for
    options that are not `known`, missing, or out of range."""
    unknown = sorted(map(str, group.keys() - known.keys() - {"params"}))
    if unknown:
        raise ValueError(f"{name}: unknown option {unknown[0]!r}; it takes {', '.join(known)}")
    if lacking := known.keys() - group.keys():
        raise ValueError(f"{name}: a group lacks {', '.join(sorted(lacking))}")
    for option, high in HIGHEST.items():
        if option in group:
            group[option] = number(name, option, group[option], high=high)
    if "betas" in group:
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{name}: betas must be two numbers in [0, 1), got {betas!r}")
        group["betas"] = tuple(number(name, "each of betas", b, high=BELOW_1) for b in betas)
    if "ns_steps" in group:
        check_iteration(name, group)
    if "nesterov" in group and not isinstance(group["nesterov"], (bool, np.bool_)):
        raise TypeError(f"{name}: nesterov must be True or False, got {group['nesterov']!r}")
    if group.keys() >= {"momentum", "dampening", "nesterov"}:
        mu, dampening, nesterov = (group[o] for o in ("momentum", "dampening", "nesterov"))
        if nesterov and (mu == 0.0 or dampening != 0.0):
            raise ValueError(
                f"{name}: nesterov needs a momentum above 0 and no dampening, got "
                f"momentum {mu} and dampening {dampening}"
            )


def check_iteration(name: str, group: dict[str, Any]) -> None:
    """What check_options does, for the options that only Muon has."""
    steps, abc, how = (group[o] for o in ("ns_steps", "ns_coefficients", "adjust_lr_fn"))
    if not isinstance(steps, (int, np.integer)) or isinstance(steps, bool):
        raise TypeError(f"{name}: ns_steps must be an integer, got {steps!r}")
    if not 0 < steps < 100:
        raise ValueError(f"{name}: ns_steps must be from 1 to 99, got {steps}")
    if not isinstance(abc, (tuple, list)) or len(abc) != 3:
        raise ValueError(f"{name}: ns_coefficients must be three numbers, got {abc!r}")
    group["ns_coefficients"] = tuple(
        number(name, "each of ns_coefficients", x, low=-LARGEST) for x in abc
    )
    if how not in (None, "original", "match_rms_adamw"):
        raise ValueError(
            f'{name}: adjust_lr_fn must be None, "original" or "match_rms_adamw", got {how!r}'
        )


def _is_same(a: dict, b: dict) -> bool:
    """Whether two dicts have the same keys, in one order, and for them the same objects."""
    return [*a] == [*b] and all(map(is_, a.values(), b.values()))


def check_unchanged(optimizer: Any) -> None:
    """Raises ValueError where the options or parameters do not go with the state."""
    name = type(optimizer).__name__
    seen = optimizer._checked  # the groups as they were, by number
    for i, group in enumerate(optimizer.param_groups):
        if not _is_same(group, seen.get(i, {})):
            optimizer.check(group)
            seen[i] = {**group}
    params, first = optimizer.parameters(), [*optimizer.buffers, None][0]
    if len(params) != len(optimizer._params) or not all(map(is_, params, optimizer._params)):
        raise ValueError(
            f"{name}: the parameters in param_groups are not those that it was made with, to "
            "which its state belongs; make a new optimiser"
        )
    for i, (p, state) in enumerate(zip(params, optimizer.state)):
        theta, a = p.data, state.get("master") if "master" in state else state.get(first)
        if a is not None and (
            a.shape != theta.shape
            or type(a) is not type(theta)
            or a.dtype != theta.dtype
            and not (a.dtype == np.float32 and theta.dtype.itemsize == 2)
        ):
            raise ValueError(
                f"{name}: the state of parameter {i} is {a.shape}, {a.dtype}, on "
                f"{device_of(a)}; it has by now {p.shape}, {p.dtype}, on {p.device}: make a "
                "new optimiser, or, where only the device is another, "
                "load_state_dict(state_dict())"
            )


def count_in(who: str, a: Any) -> int:
    """A number of steps in an array (). Raises ValueError for what is none."""
    if a.shape != () or a.dtype.kind not in "iuf" or not 0 <= float(a) < 2**53 or float(a) % 1:
        raise ValueError(f"{who} must be an integer of at least 0, got {a!r}")
    return int(a)
