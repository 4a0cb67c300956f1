"""Optimisers, gradient clipping, learning-rate schedules and averages of weights, with PyTorch's
names and defaults.

An optimiser changes the arrays of its parameters in place, between one backward pass and the next:

    optimizer = AdamW(model.parameters(), lr=1e-3)
    for x, y in batches:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

Gradients add up until `zero_grad`. So for a batch that is too large for the memory, take it in k
parts of equal size, call `(loss / k).backward()` for each, and make one step: the mean over the
batch is the mean of the means over its parts.

In the formulas θ is a parameter, g its gradient, γ the learning rate, λ the weight decay, t the
number of this step from 1. A parameter in float16 or bfloat16 is stepped in float32: the state has
such a copy of it, `master`, beside moments in float32, and θ is that, rounded, after each step
(Micikevicius et al. 2018, "Mixed precision training", section 3.1). What θ is set to in between is
taken over.

The formulas are elementwise: all lines of a formula are computed for one block
of an array after the other, by all threads (backends/threads.py), and for many small arrays at
once, laid end to end.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import NamedTuple

import numpy as np

from .array_interface import array_of
from .backends import array_namespace, device_of, is_array, threads, to_device
from .core.tensor import Tensor, wrap
from .kernels.cuda import can_run
from .kernels.cuda.launchers import adam, clip
from .kernels.cuda.runtime.recording import CaptureError, now
from .nn.module import Module, arrays_of, fitting


def in_blocks(f, jobs):
    """Calls f(*options, *arrays) for each job, (options, arrays): with blocks of rows of the
    arrays, which have one shape, or with all of them where they are small or not NumPy's.

    The threads share the blocks; small arrays go to a thread together. Returns what f returned.
    """
    parts, room = [], 0
    for options, arrays in jobs:
        size, whole = arrays[0].size, array_namespace(*arrays) is not np
        if size <= threads.BLOCK or whole:
            blocks = [...]
        else:
            rows = len(arrays[0])
            step = max(1, threads.BLOCK * rows // size)
            blocks = [slice(i, i + step) for i in range(0, rows, step)]
        for i in blocks:
            if room <= 0:
                parts.append([])
                room = threads.BLOCK
            parts[-1].append((options, arrays, i))
            room -= size // len(blocks)

    def work(part):
        return [f(*options, *(a[i] for a in arrays)) for options, arrays, i in part]

    return [y for ys in threads.share(work, parts) for y in ys]


SMALL = 1 << 12  # numbers: smaller arrays are changed together


def _end_to_end(rows):
    """rows: (θ, g, *buffers) of each parameter -> all θ as one vector, all g as one, ..."""
    return [np.concatenate([a.reshape(-1) for a in column]) for column in zip(*rows)]


def _write_back(rows, ends):
    """The θ and buffers from where `_end_to_end` has put them; g was only read."""
    begin = 0
    for theta, _, *buffers in rows:
        new_theta, _, *new_buffers = [end[begin : begin + theta.size] for end in ends]
        begin += theta.size
        for a, new in zip((theta, *buffers), (new_theta, *new_buffers)):
            a[...] = new.reshape(a.shape)


def listed(who, params):
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


def check_leaf(who, i, p):
    """Raises unless `p`, number i of some parameters, is a Tensor that was not computed."""
    if not isinstance(p, Tensor):
        hint = ": give parameters(), not named_parameters()" if isinstance(p, tuple) else ""
        raise TypeError(
            f"{who}: parameters must be Tensors that require a gradient; number {i} is of "
            f"type {type(p).__name__}{hint}"
        )
    if not p.is_leaf:
        raise ValueError(
            f"{who}: parameter {i}, of shape {p.shape}, was computed by "
            f"{p._edge[0].operation.name}: to change it would change nothing that it was computed "
            "from; give those Tensors"
        )


LARGEST, BELOW_1 = float(np.finfo(np.float64).max), math.nextafter(1.0, 0.0)


def number(who, name, value, low=0.0, high=LARGEST):
    """The value as a Python float. Raises TypeError for what is no number, ValueError unless
    low ≤ value ≤ high."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise TypeError(f"{who}: {name} must be a number; got {type(value).__name__} {value!r}")
    value = value.item() if isinstance(value, np.generic) else value
    if not low <= value <= high:
        most = "below 1" if high == BELOW_1 else f"at most {high:g}"
        limit = most if value > high else f"at least {low:g}"
        raise ValueError(f"{who}: {name} must be {limit}, got {value}")
    return float(value)


def _is_same(a, b):
    """Whether two dicts have the same keys, in one order, and for them the same objects."""
    return [*a] == [*b] and all(map(is_, a.values(), b.values()))


class Step(NamedTuple):
    """Of one parameter; t: what `begin` returned."""

    group: dict
    t: object
    parameter: Tensor
    state: dict

    @property
    def theta(self):
        """The array that is stepped: of 16 bits the master copy."""
        return self.state.get("master", self.parameter.data)


def _wide(a):
    """The array itself, or a copy in float32 of one in float16 or bfloat16."""
    return a.astype(np.float32) if a.dtype.itemsize == 2 else a


class Optimizer:
    """The bookkeeping that all optimisers share; a subclass defines `begin` and `update`.

    `params` is an iterable of parameters, or of dicts {"params": [...], "lr": ..., ...}: groups,
    each with options of its own. `param_groups` holds them, and a schedule writes `group["lr"]`.
    """

    # The most that an option can be; the least is 0.
    highest = {
        "lr": LARGEST,
        "weight_decay": LARGEST,
        "eps": LARGEST,
        "momentum": 1,
        "dampening": 1,
    }

    def __init__(self, params, **defaults):
        name, self.defaults = type(self).__name__, defaults
        groups = listed(name, params)
        if not any(isinstance(g, dict) for g in groups):
            groups = [{"params": groups}]
        self.param_groups = []
        for g in groups:
            if not (isinstance(g, dict) and "params" in g):
                raise TypeError(
                    f'{name}: a group is a dict with "params"; got {type(g).__name__}'
                    + (f" of {', '.join(map(str, g))}" if isinstance(g, dict) else "")
                )
            inside = [g["params"]] if isinstance(g["params"], Tensor) else g["params"]
            self.param_groups.append({**defaults, **g, "params": listed(name, inside)})
            self.check(self.param_groups[-1])
        self._checked = {}  # the groups as `step` last saw them, by number
        self._params = self.parameters()
        for i, p in enumerate(self._params):
            check_leaf(name, i, p)
            if not p.requires_grad:
                raise TypeError(
                    f"{name}: parameters must be Tensors that require a gradient; number {i}, of "
                    f"shape {p.shape}, does not"
                )
        if not self._params:
            raise ValueError(f"{name}: got no parameters to optimise")
        if len({id(p) for p in self._params}) != len(self._params):
            raise ValueError(f"{name}: a parameter is given more than once")
        self.state = [{} for _ in self._params]  # what `update` remembers, one dict a parameter

    def parameters(self):
        """All parameters, in the order of `state`."""
        return [p for group in self.param_groups for p in group["params"]]

    def check(self, group):
        """Makes the numbers among the options Python's. Raises TypeError or ValueError for options
        that are unknown or out of range."""
        name = type(self).__name__
        unknown = sorted(map(str, group.keys() - self.defaults.keys() - {"params"}))
        if unknown:
            raise ValueError(
                f"{name}: unknown option {unknown[0]!r}; it takes {', '.join(self.defaults)}"
            )
        for option, high in self.highest.items():
            if option in group:
                group[option] = number(name, option, group[option], high=high)
        if "betas" in group:
            betas = group["betas"]
            if not isinstance(betas, (tuple, list)) or len(betas) != 2:
                raise ValueError(f"{name}: betas must be two numbers in [0, 1), got {betas!r}")
            group["betas"] = tuple(number(name, "each of betas", b, high=BELOW_1) for b in betas)

    def zero_grad(self):
        """Forget all gradients: each parameter's `grad` becomes None."""
        for p in self.parameters():
            p.grad = None

    def step(self):
        """Update every parameter that has a gradient; one whose `grad` is None, or that no longer
        requires one, stays as it is. Raises ValueError, before anything is changed, for options out
        of range, and where parameters, or their shapes or dtypes, are no longer what they were."""
        recording = now.recording
        self.apply(self.advance() if recording is None else self._recorded(recording))

    def _recorded(self, recording):
        """`advance`, in a step that is recorded, and before each of its replays."""
        params = self.parameters()
        gradients = [p.grad for p in params]

        def advance():
            for p, g in zip(params, gradients):
                if p.grad is not g:  # it was forgotten: the replay computes it again
                    p.grad = g
            return self.advance()

        name, steps = type(self).__name__, recording.before(advance)
        for i, p in enumerate(params):
            recording.parameter(f"parameter {i} of {name}", p)
        recording.same(f"the list of parameters of {name}", self.parameters)
        recording.same(
            f"the state of {name}",
            lambda: [a for state in self.state for k, a in state.items() if k != "step"],
        )
        return self.recorded(steps, recording)

    def recorded(self, steps, recording):
        """The Steps as `apply` is to take them in a step that is recorded: with numbers that are in
        the memory of the device, where Python's would stay as they are now."""
        raise CaptureError(
            f"{type(self).__name__} computes with a learning rate and a step count "
            "that a recording cannot change; SGD, and Adam and AdamW with their "
            "kernels (nag.cuda.use_kernels), can be recorded"
        )

    def advance(self):
        """What of a step is the host's: counts it. Returns for `apply` a Step for each parameter
        that has a gradient. Before a captured `apply` is replayed, this is all that is left to do.
        """
        self._check_unchanged()
        states, steps = iter(self.state), []
        for group in self.param_groups:
            for p, state in zip(group["params"], states):
                if p.grad is not None and p.requires_grad:
                    theta = state["master"] if "master" in state else _wide(p.data)
                    t = self.begin(theta, state, group)
                    if theta is not p.data:
                        state["master"] = theta
                    steps.append(Step(group, t, p, state))
        return steps

    def _check_unchanged(self):
        """Raises ValueError where the options or parameters do not go with the state."""
        name, params = type(self).__name__, self.parameters()
        first = self.buffers[0] if self.buffers else None
        for i, group in enumerate(self.param_groups):
            if not _is_same(group, self._checked.get(i, {})):
                self.check(group)
                self._checked[i] = {**group}
        if [id(p) for p in params] != [id(p) for p in self._params]:
            raise ValueError(
                f"{name}: the parameters in param_groups are not those that it was made with, to "
                "which its state belongs; make a new optimiser"
            )
        for i, (p, state) in enumerate(zip(params, self.state)):
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

    def apply(self, steps):
        """What of a step is left: changes the parameters."""
        self.change(steps)
        for s in steps:
            if "master" in s.state:
                s.parameter.data[...] = s.theta.astype(s.parameter.dtype)

    def change(self, steps):
        """`apply`, but for the rounding to 16 bits."""
        jobs, small = [], {}
        for step in steps:
            options, arrays = (step.group, step.t), self.arrays(step)
            theta = arrays[0]
            if theta.size <= SMALL and type(theta) is np.ndarray:
                alike = small.setdefault((id(step.group), step.t, theta.dtype), (options, []))
                alike[1].append(arrays)
            else:
                jobs.append((options, arrays))
        together = [(options, _end_to_end(rows)) for options, rows in small.values()]
        in_blocks(self.update, together + jobs)
        for (_, rows), (_, ends) in zip(small.values(), together):
            _write_back(rows, ends)

    def arrays(self, step):
        """θ, g and the buffers, for a change of θ in place."""
        p, state = step.parameter, step.state
        theta, g = p.data, p.grad.data
        p.data = theta  # so that a graph which still needs the old value notices
        if "master" in state:  # it is θ, unless θ was set since it was rounded from it
            rounded, theta, g = theta, state["master"], _wide(g)
            same = theta.astype(rounded.dtype) == rounded
            theta[...] = array_namespace(theta).where(same, theta, _wide(rounded))
        return theta, g, *[state[b] for b in self.buffers if b in state]

    buffers = ()  # names of the arrays in a parameter's state

    def begin(self, theta, state, group):
        """Make `state`, the dict of the parameter `theta`, ready for its next step, and return
        what `update` is to know of it: something hashable, as parameters for which it is the same
        may be updated together."""

    def update(self, group, t, theta, g, *buffers):
        """Change theta and the buffers in place, given the gradient g; elementwise, as the arrays,
        of one shape, may be a part of a parameter, or several end to end. t: what `begin` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    def state_dict(self):
        """PyTorch's layout: {"state": {i: {name: array or int}}, "param_groups": [options]}, where
        i counts the parameters over all groups and "params" lists those numbers. Copies."""
        state = {
            i: {key: value if key == "step" else value.copy() for key, value in s.items()}
            for i, s in enumerate(self.state)
            if s
        }
        return {"state": state, "param_groups": self._numbered()}

    def _numbered(self):
        """The groups, with numbers of parameters in the place of these."""
        numbers = iter(range(len(self.state)))
        return [
            {**group, "params": [next(numbers) for _ in group["params"]]}
            for group in self.param_groups
        ]

    def load_state_dict(self, state_dict):
        """Take over what `state_dict` returned: copied, onto each parameter's device. Options that
        only PyTorch has may be there if they are off: None or False.

        Raises TypeError and ValueError, before anything is changed, where it was made for other
        parameters, is incomplete, or holds what no step can have left: arrays of another dtype or
        not finite, options out of range.
        """
        who, params = f"{type(self).__name__}.load_state_dict", self.parameters()
        try:
            groups, states = list(state_dict["param_groups"]), dict(state_dict["state"])
            given = [list(group["params"]) for group in groups]
        except (TypeError, KeyError, ValueError):
            raise TypeError(
                f'{who}: takes what state_dict() returned, a dict with "state" and "param_groups"; '
                f"got {type(state_dict).__name__}"
            ) from None
        own = self._numbered()
        if [len(numbers) for numbers in given] != [len(g["params"]) for g in own]:
            raise ValueError(
                f"{who}: the state is of groups of {[len(numbers) for numbers in given]} "
                f"parameters, this optimiser has groups of {[len(g['params']) for g in own]}"
            )
        if given != [g["params"] for g in own]:
            raise ValueError(f"{who}: parameters must be numbered from 0 on, got {given}")
        groups = [self._options(who, group) for group in groups]
        if unknown := [i for i in states if i not in range(len(params))]:
            raise ValueError(
                f"{who}: there is a state of parameter {unknown[0]!r}; they are numbered from 0 to "
                f"{len(params) - 1}, by integers"
            )
        of = [group for group, numbers in zip(groups, given) for _ in numbers]
        new = [
            self._state(who, i, p, states[i], of[i]) if i in states else {}
            for i, p in enumerate(params)
        ]
        self.state = new
        for group, options in zip(self.param_groups, groups):
            group.update(options)

    elsewhere = {}  # options of PyTorch that are on where they mean what this optimiser is

    def _options(self, who, group):
        """A group of a state, checked, without its parameters."""
        options = {key: group[key] for key in self.defaults if key in group}
        for key, value in group.items():
            is_off = value is None or value == self.elsewhere.get(key, False)
            if key != "params" and key not in self.defaults and not is_off:
                raise ValueError(f"{who}: there is no option {key!r} here, which is {value!r}")
        if lacking := self.defaults.keys() - options.keys():
            raise ValueError(f"{who}: a group lacks {', '.join(sorted(lacking))}")
        self.check(options)
        return options

    def _state(self, who, i, p, state, options):
        """The state of parameter i, copied and checked."""
        if not isinstance(state, dict):
            raise TypeError(
                f"{who}: the state of parameter {i} must be a dict, got {type(state).__name__}"
            )
        state = {key: array_of(a) for key, a in state.items() if a is not None}
        wanted, like = {}, _wide(p.data)
        self.begin(np.empty(0, like.dtype), wanted, options)  # which names there are after a step
        if like is not p.data:
            wanted["master"] = None
        lacking = wanted.keys() - state.keys()
        if wrong := lacking or state.keys() - wanted.keys() - {*self.buffers}:
            raise ValueError(
                f"{who}: the state of parameter {i} {'lacks' if lacking else 'has'} "
                f"{', '.join(map(str, wrong))}; it should be {', '.join(wanted) or 'empty'}"
            )
        new = {}
        for key, a in state.items():
            a = a if is_array(a) else np.asarray(a)
            if key == "step":
                new[key] = _count(f"{who}: step of parameter {i}", a)
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


def _count(who, a):
    """A number of steps in an array (). Raises ValueError for what is none."""
    if a.shape != () or a.dtype.kind not in "iuf" or not 0 <= float(a) < 2**53 or float(a) % 1:
        raise ValueError(f"{who} must be an integer of at least 0, got {a!r}")
    return int(a)


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins & Monro 1951) with momentum (Polyak 1964; Nesterov
    1983).

        g ← g + λ θ
        b ← μ b + (1 − dampening) g         (b = g at the first step; without momentum, b is g)
        θ ← θ − γ b                         (nesterov: θ ← θ − γ (g + μ b))
    """

    def __init__(
        self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False
    ):
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    buffers = ("momentum_buffer",)

    def check(self, group):
        super().check(group)
        mu, dampening, nesterov = (group[o] for o in ("momentum", "dampening", "nesterov"))
        if not isinstance(nesterov, (bool, np.bool_)):
            raise TypeError(f"SGD: nesterov must be True or False, got {nesterov!r}")
        if nesterov and (mu == 0.0 or dampening != 0.0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and no dampening, got "
                f"momentum {mu} and dampening {dampening}"
            )

    def begin(self, theta, state, group):
        """Returns whether b is not there yet."""
        first = "momentum_buffer" not in state
        if group["momentum"] and first:
            state["momentum_buffer"] = array_namespace(theta).empty_like(theta)
        return first

    def recorded(self, steps, recording):
        rates, new = {}, []  # one for each group and dtype
        for s in steps:
            group, dtype = s.group, s.theta.dtype
            if (id(group), dtype) not in rates:
                rates[id(group), dtype] = recording.number(lambda g=group: g["lr"], dtype).array
                for option in ("momentum", "dampening", "weight_decay", "nesterov"):
                    recording.fact(f"SGD's {option}", lambda g=group, o=option: g[o])
            new.append(s._replace(group={**group, "lr": rates[id(group), dtype]}))
        return new

    def update(self, group, first, theta, g, b=None):
        mu = group["momentum"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * theta
        if mu and first:
            b[...] = g
        elif mu:
            b *= mu
            b += (1.0 - group["dampening"]) * g
        if mu:
            g = g + mu * b if group["nesterov"] else b
        theta -= group["lr"] * g


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1); weight decay, if any, is added to the gradient.

        g ← g + λ θ
        m ← β₁ m + (1 − β₁) g               the mean of the gradients
        v ← β₂ v + (1 − β₂) g²              and of their squares
        θ ← θ − γ m̂ / (√v̂ + ε)             m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)

    With c = √(1 − β₂ᵗ) that is θ − γ c / (1 − β₁ᵗ) · m / (√v + c ε), as it is computed.

    On a GPU a kernel does all lines for many parameters at once (kernels/cuda/launchers/adam.py);
    it reads what depends on t and the options in an array there, into which `advance` writes.
    """

    buffers = "exp_avg", "exp_avg_sq"

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        self._tables = {}  # (device, dtype) -> numbers for the kernel

    def advance(self):
        steps = super().advance()
        for kind, alike in self._for_kernels(steps)[0].items():
            if kind not in self._tables:
                self._tables[kind] = adam.table(alike[0][1].theta, len(self.state))
            for row, (group, t, *_) in dict(alike).items():
                adam.write(self._tables[kind], row, self.numbers(group, t))
        return steps

    def change(self, steps):
        for_kernels, others = self._for_kernels(steps)
        for kind, alike in for_kernels.items():
            adam.update([(row, self.arrays(s)) for row, s in alike], self._tables[kind])
        super().change(others)

    def recorded(self, steps, recording):
        return super().recorded(steps, recording) if self._for_kernels(steps)[1] else steps

    def _for_kernels(self, steps):
        """{(device, dtype): [(row, step), ...]} of steps that the kernels take, and those that they
        do not. row: of the table, one for each group and t."""
        taken, others, rows = {}, [], {}
        for step in steps:
            if (
                type(step.parameter.data) is not np.ndarray
                and type(self) in (Adam, AdamW)
                and can_run(theta := step.theta)
                and adam.takes(theta, *(step.state[b] for b in self.buffers))
            ):
                row = rows.setdefault((id(step.group), step.t), len(rows))
                taken.setdefault((device_of(theta), theta.dtype), []).append((row, step))
            else:
                others.append(step)
        return taken, others

    def numbers(self, group, t):
        """What the kernels compute with, by the names in adam.cu."""
        beta1, beta2 = group["betas"]
        c = math.sqrt(1.0 - beta2**t)
        return {
            "lambda": group["weight_decay"],
            "rho": 1.0,
            "beta1_rest": 1.0 - beta1,
            "beta2": beta2,
            "beta2_rest": 1.0 - beta2,
            "r": group["lr"] * c / (1.0 - beta1**t),
            "e": c * group["eps"],
        }

    def begin(self, theta, state, group):
        """Returns t."""
        if "step" not in state:
            xp = array_namespace(theta)
            state.update(step=0, exp_avg=xp.zeros_like(theta), exp_avg_sq=xp.zeros_like(theta))
        state["step"] += 1
        return state["step"]

    def update(self, group, t, theta, g, m, v):
        if group["weight_decay"]:
            g = g + group["weight_decay"] * theta
        self.descend(group, t, theta, g, m, v)

    def descend(self, group, t, theta, g, m, v):
        """The last three lines of the algorithm."""
        xp, d = array_namespace(theta), array_namespace(theta).empty_like(theta)
        beta1, beta2 = group["betas"]
        c = math.sqrt(1.0 - beta2**t)
        xp.subtract(g, m, out=d)
        d *= 1.0 - beta1
        m += d
        xp.multiply(g, g, out=d)
        d *= 1.0 - beta2
        v *= beta2
        v += d
        xp.sqrt(v, out=d)
        d += c * group["eps"]
        xp.divide(m, d, out=d)
        d *= group["lr"] * c / (1.0 - beta1**t)
        theta -= d


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): θ ← θ − γ λ θ comes
    first, and the moments m and v see the gradient alone."""

    elsewhere = {"decoupled_weight_decay": True}

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, group, t, theta, g, m, v):
        theta *= 1.0 - group["lr"] * group["weight_decay"]
        self.descend(group, t, theta, g, m, v)

    def numbers(self, group, t):
        return {
            **super().numbers(group, t),
            "lambda": 0.0,
            "rho": 1.0 - group["lr"] * group["weight_decay"],
        }


# Numbers of a dtype, by its character, that are smaller may have lost bits.
LEAST = {x.dtype.char: float(x.tiny / x.eps) for x in (np.finfo("f"), np.finfo("d"))}


def _norm(p, g):
    """(Σ |g|ᵖ)^(1/p) of the numbers of an array, or max |g|: a float. No power overflows, and none
    that counts vanishes, for where they might they are those of |g| / max |g|.

    Raises FloatingPointError if the norm of finite numbers is above the largest float.
    """
    g = _wide(g)
    if p == 2.0:
        square = float(np.vdot(g, g))
        if g.size * LEAST[g.dtype.char] < square < math.inf:
            return math.sqrt(square)
    top = float(abs(g).max())
    if p == math.inf or not 0.0 < top < math.inf:  # or nan
        return top
    try:
        norm = top * float(((abs(g) / top) ** p).sum()) ** (1.0 / p)
    except OverflowError:
        norm = math.inf
    if norm == math.inf:
        raise FloatingPointError("clip_grad_norm_: the norm of the gradients is above 1.8e308")
    return norm


def _scale(scale, out, g):
    """out ← scale g. A scale that is too small for g's dtype is applied in two parts."""
    g = _wide(g)
    in_two = scale < LEAST[g.dtype.char]
    for factor in [math.sqrt(scale)] * 2 if in_two else [scale]:
        g = np.multiply(g, factor, out=out if out.dtype == g.dtype else None)
    if g is not out:
        out[...] = g


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
    """Scale all gradients together so that their joint norm is at most `max_norm` (Pascanu et al.
    2013): (Σ |g|ᵖ)^(1/p) with p = `norm_type`, above 0, or max |g| for infinity. Gradients of 16
    bits are added up and scaled in float32.

    Returns the norm before: a Python float, or for gradients on a GPU an array () there, as to look
    at it is to wait for it. One that is not finite raises FloatingPointError where that is asked
    for, and otherwise spreads to the gradients as in PyTorch. Raises TypeError and ValueError for
    what are no parameters, and for a `max_norm` below 0 or nan.
    """
    p, who = float(norm_type), "clip_grad_norm_"
    if not p > 0.0:
        raise ValueError(f"{who}: norm_type must be above 0, got {norm_type}")
    max_norm = number(who, "max_norm", max_norm, high=math.inf)  # which clips nothing
    given = [parameters] if isinstance(parameters, Tensor) else listed(who, parameters)
    if not given and isinstance(parameters, Iterator):
        raise ValueError(f"{who}: the iterator gave no parameters; was it used before?")
    for i, w in enumerate(given):
        check_leaf(who, i, w)
    parameters = [w for w in {id(w): w for w in given}.values() if w.grad is not None]
    if array_namespace(*[w.grad.data for w in parameters]) is not np:
        return _clip_on_device(parameters, max_norm, p, error_if_nonfinite)
    gradients = [((p,), (w.grad.data,)) for w in parameters if w.grad.data.size]
    norms = in_blocks(_norm, gradients)
    norm = _norm(p, np.array(norms)) if norms else 0.0
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"{who}: the norm of the gradients is {norm}")
    scale = min(1.0, max_norm / (norm + 1e-6)) if norm == norm else norm
    if scale != 1.0:  # a new array each: two gradients may share one, or be a view
        scaled = [array_namespace(w.grad.data).empty_like(w.grad.data) for w in parameters]
        in_blocks(_scale, [((scale,), (out, w.grad.data)) for out, w in zip(scaled, parameters)])
        for w, new in zip(parameters, scaled):
            w.grad = wrap(new)
    return norm


def _clip_on_device(parameters, max_norm, p, error_if_nonfinite):
    """The same, and nobody waits to see the norm: gradients are scaled also where by 1."""
    if error_if_nonfinite and now.recording is not None:
        raise CaptureError(
            "clip_grad_norm_(error_if_nonfinite=True) looks at the norm, and a step "
            "that is recorded cannot wait for it: look at the losses instead"
        )
    gradients = [w.grad.data for w in parameters]
    xp = array_namespace(*gradients)
    if p == 2.0 and can_run(*gradients) and clip.takes(gradients):
        new, norm = clip.clip(gradients, max_norm)
    else:
        filled = [g for g in gradients if g.size]
        top = xp.zeros((), dtype=xp.float64)
        for g in map(_wide, filled):
            top = xp.maximum(top, abs(g).max().astype(xp.float64))  # a nan stays
        norm = top
        if p != math.inf:
            unit = xp.where(xp.isfinite(top) & (top > 0.0), top, xp.ones_like(top))
            total = xp.zeros_like(top)
            for g in map(_wide, filled):
                total = total + (abs(g / unit.astype(g.dtype)) ** p).sum().astype(xp.float64)
            norm = unit * total ** (1.0 / p)
        scale = xp.minimum(max_norm / (norm + 1e-6), 1.0)
        new = []
        for g in gradients:  # by the root twice: the scale may be too small for the dtype
            wide = _wide(g)
            root = xp.sqrt(scale).astype(wide.dtype)
            new.append((wide * root * root).astype(g.dtype))
        norm = norm.astype(_wide(gradients[0]).dtype)
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    for w, g in zip(parameters, new):
        w.grad = wrap(g)
    return norm


def learning_rate(step, peak, steps, warmup=0, decay="cosine", floor=0.0):
    """The rate for step 0 ≤ step < steps: a linear rise to `peak` over the first `warmup` steps,
    then a fall to `floor` at the last one, along half a cosine (Loshchilov & Hutter 2017, eq. 5) or
    a straight line; decay="constant" stays at `peak`. Raises ValueError and TypeError for what is
    below 0 or not finite."""
    numbers = {"step": step, "peak": peak, "steps": steps, "warmup": warmup, "floor": floor}
    for name, value in numbers.items():
        number("learning_rate", name, value)
    if decay not in ("cosine", "linear", "constant"):
        raise ValueError(f"learning_rate: decay must be cosine, linear or constant, got {decay!r}")
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if decay == "constant":
        return peak
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))  # 0 at the peak, then to 1
    remaining = 1.0 - done if decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return floor + (peak - floor) * remaining


def _move(part, a, theta):
    """a ← (1 − part) a + part θ."""
    if part == 1.0:
        a[...] = theta
    else:
        a += part * (theta - a)


class AveragedModel:
    """The exponential moving average of a model's weights θ (Polyak & Juditsky 1992 for the mean,
    Tarvainen & Valpola 2017, section 2, for this one):

        a ← β a + (1 − β) θ             a = θ at the first update

    It follows the weights as they were about 1 / (1 − β) steps ago, without the noise of the single
    steps. Since it begins at weights and not at zero, it needs no correction as Adam's moments do,
    but for as many steps it is still near the first ones.

        average = AveragedModel(model, 0.999)
        for ...: optimizer.step(); average.update()
        with average.applied(): evaluate(model)

    The averages are arrays beside the weights: where these are when it is made, and in their dtype,
    or float32 for one of 16 bits. What is frozen then has none.
    """

    def __init__(self, model, decay=0.999):
        if not isinstance(model, Module):
            raise TypeError(f"AveragedModel: takes a Module; got {type(model).__name__}")
        if not isinstance(decay, (int, float, np.floating)) or not 0.0 <= decay < 1.0:
            raise ValueError(f"AveragedModel: decay must be in [0, 1), got {decay}")
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.decay, self.updates, self.is_applied = decay, 0, False
        self.averages = {name: _wide(p.data.copy()) for name, p in self.parameters.items()}

    def update(self):
        """Take in the weights as they are now, after a step of the optimiser."""
        if self.is_applied:
            raise RuntimeError(
                "AveragedModel: update() within applied(), where the weights of the "
                "model are the averages themselves; update after it"
            )
        pairs = {name: (self.averages[name], p.data) for name, p in self.parameters.items()}
        for name, (a, theta) in pairs.items():
            if a.shape != theta.shape:
                raise ValueError(
                    f"AveragedModel: {name} has by now the shape {theta.shape}, its average "
                    f"{a.shape}; make a new one"
                )
        part = 1.0 - self.decay if self.updates else 1.0
        in_blocks(_move, [((part,), pair) for pair in pairs.values()])
        if now.recording is None:
            self._count()
        else:
            now.recording.fact("AveragedModel.decay", lambda: self.decay)
            now.recording.same(
                "the averages of AveragedModel (was a state loaded?)",
                lambda: list(self.averages.values()),
            )
            now.recording.before(self._count)

    def _count(self):
        self.updates += 1

    @contextmanager
    def applied(self):
        """Within it the model has the averages for its weights, and its own again afterwards; where
        a KeyboardInterrupt ends it, when that has been handled at the latest. Once at a time:
        raises RuntimeError within another one."""
        if self.is_applied:
            raise RuntimeError("AveragedModel: applied() within applied(); leave that one first")
        own = {name: p.detach() for name, p in self.parameters.items()}  # the arrays themselves
        try:
            try:
                self.is_applied = True
                for name, p in self.parameters.items():
                    p.data = self.averages[name].astype(p.dtype, copy=False)
                yield
            finally:
                self._restore(own)
        except BaseException:  # also KeyboardInterrupt, which may have come in the line above
            self._restore(own)
            raise

    def _restore(self, own):
        for name, p in self.parameters.items():
            p.data = own[name]
        self.is_applied = False

    def state_dict(self):
        """PyTorch's layout: {"n_averaged": updates, "module.<name>": array}. Copies."""
        return {
            "n_averaged": np.array(self.updates),
            **{f"module.{name}": a.copy() for name, a in self.averages.items()},
        }

    def load_state_dict(self, state_dict):
        """Take over what `state_dict` returned: copied, onto each parameter's device. Raises
        ValueError, before anything is changed, where it was made for another model."""
        who = "AveragedModel.load_state_dict"
        wanted = {f"module.{name}": _wide(p.data) for name, p in self.parameters.items()}
        wanted["n_averaged"] = np.zeros(())
        given = arrays_of(who, state_dict)
        lines = [f"missing: {n} {a.shape}" for n, a in wanted.items() if n not in given]
        lines += [f"unexpected: {n}" for n in given if n not in wanted]
        new = fitting(f"{who}: the averages are of another model", wanted, given, lines)
        updates = _count(f"{who}: n_averaged", new.pop("n_averaged"))
        for name, a in new.items():
            if not array_namespace(a).isfinite(a).all():
                raise ValueError(f"{who}: {name} is not finite everywhere")
        self.updates = updates
        self.averages = {name.removeprefix("module."): a for name, a in new.items()}
