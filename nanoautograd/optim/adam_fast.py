"""Adam and AdamW, fast.

On the CPU the lines of adam.py, of which each makes a new array, are computed in place in one, d:
so a block meets less memory. On a GPU one kernel does all lines for many parameters at once.
"""

from typing import Any

import numpy as np

from ..backends import device_of
from ..kernels.cuda import can_run
from ..kernels.cuda.launchers import adam
from .adam import Adam, AdamW
from .on_device import options_at


def adam_in_place(group: dict[str, Any], t: Any, theta: Any, g: Any, m: Any, v: Any) -> None:
    if group["weight_decay"]:
        g = g + group["weight_decay"] * theta
    _descend(group, t, theta, g, m, v)


def adamw_in_place(group: dict[str, Any], t: Any, theta: Any, g: Any, m: Any, v: Any) -> None:
    theta *= 1.0 - group["lr"] * group["weight_decay"]
    _descend(group, t, theta, g, m, v)


def _descend(group: dict[str, Any], t: Any, theta: Any, g: Any, m: Any, v: Any) -> None:
    beta1, beta2 = group["betas"]
    c = (1.0 - beta2**t) ** 0.5
    d = np.empty_like(theta)
    np.subtract(g, m, out=d)
    d *= 1.0 - beta1
    m += d
    np.multiply(g, g, out=d)
    d *= 1.0 - beta2
    v *= beta2
    v += d
    np.sqrt(v, out=d)
    d += c * group["eps"]
    np.divide(m, d, out=d)
    d *= group["lr"] * c / (1.0 - beta1**t)
    theta -= d


def by_kernels(optimizer: Adam, jobs: list[tuple]) -> list[tuple]:
    """Makes the steps that the kernels take; returns the other jobs."""
    taken: dict = {}
    others = []
    for job in jobs:
        group, state, theta, g = job
        if type(theta) is np.ndarray or not can_run(theta):
            others.append(job)
            continue
        if "step" not in state:
            optimizer.prepare(theta, state)
        m, v = (state[b] for b in optimizer.buffers)
        if adam.takes(theta, m, v):
            alike = taken.setdefault((device_of(theta), theta.dtype), {})
            options = options_at(theta, group, np.float64)
            alike.setdefault(id(group), (options, []))[1].append((state["step"], theta, g, m, v))
        else:
            others.append(job)
    for alike in taken.values():
        adam.update(list(alike.values()), isinstance(optimizer, AdamW))
    return others


def connect() -> None:
    Adam.in_place, Adam.kernels = adam_in_place, by_kernels
    AdamW.in_place, AdamW.kernels = adamw_in_place, by_kernels
