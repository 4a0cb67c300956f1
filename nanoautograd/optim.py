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
number of this step from 1. They are elementwise: all lines of a formula are computed for one block
of an array after the other, by all threads (backends/threads.py), and for many small arrays at
once, laid end to end.
"""

import math
from contextlib import contextmanager
from functools import reduce
from typing import NamedTuple

import numpy as np

from .backends import array_namespace, device_of, threads, to_device
from .core.tensor import Tensor, wrap
from .kernels import adam, can_run, clip
from .kernels.recording import CaptureError, now


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


SMALL = 1 << 10  # numbers: smaller arrays are changed together


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


class Step(NamedTuple):
    """Of one parameter; t: what `begin` returned."""

    group: dict
    t: object
    parameter: Tensor
    state: dict


class Optimizer:
    """The bookkeeping that all optimisers share; a subclass defines `begin` and `update`.

    `params` is an iterable of parameters, or of dicts {"params": [...], "lr": ..., ...}: groups,
    each with options of its own. `param_groups` holds them, and a schedule writes `group["lr"]`.
    """

    def __init__(self, params, **defaults):
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got no parameters to optimise")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.param_groups = [{**defaults, **g, "params": list(g["params"])} for g in groups]
        for group in self.param_groups:
            self._check(group, known=defaults)
        params = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in params}) != len(params):
            raise ValueError(f"{type(self).__name__}: a parameter is given more than once")
        self.state = [{} for _ in params]  # what `update` remembers, one dict a parameter

    def _check(self, group, known):
        name = type(self).__name__
        unknown = sorted(group.keys() - known.keys() - {"params"})
        if unknown:
            raise ValueError(f"{name}: unknown option {unknown[0]!r}; it takes {', '.join(known)}")
        for p in group["params"]:
            if not (isinstance(p, Tensor) and p.requires_grad):
                raise TypeError(
                    f"{name}: parameters must be Tensors that require a gradient, "
                    f"got {type(p).__name__}"
                )
        for option in ("lr", "momentum", "weight_decay", "eps"):
            if not group.get(option, 0.0) >= 0.0:
                raise ValueError(f"{name}: {option} must be at least 0, got {group[option]}")
        if not all(0.0 <= beta < 1.0 for beta in group.get("betas", ())):
            raise ValueError(f"{name}: betas must be in [0, 1), got {group['betas']}")

    def zero_grad(self):
        """Forget all gradients: each parameter's `grad` becomes None."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self):
        """Update every parameter that has a gradient; one whose `grad` is None stays as it is."""
        recording = now.recording
        self.apply(self.advance() if recording is None else self._recorded(recording))

    def _recorded(self, recording):
        """`advance`, in a step that is recorded, and before each of its replays."""
        params = [p for group in self.param_groups for p in group["params"]]
        gradients = [p.grad for p in params]

        def advance():
            for p, g in zip(params, gradients):
                if p.grad is not g:  # it was forgotten: the replay computes it again
                    p.grad = g
            return self.advance()

        name, steps = type(self).__name__, recording.before(advance)
        for i, p in enumerate(params):
            recording.parameter(f"parameter {i} of {name}", p)
        recording.same(
            f"the list of parameters of {name}",
            lambda: [p for group in self.param_groups for p in group["params"]],
        )
        recording.same(
            f"the state of {name}",
            lambda: [state[b] for state in self.state for b in self.buffers if b in state],
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
        states, steps = iter(self.state), []
        for group in self.param_groups:
            for p, state in zip(group["params"], states):
                if p.grad is not None:
                    steps.append(Step(group, self.begin(p.data, state, group), p, state))
        return steps

    def apply(self, steps):
        """What of a step is left: changes the parameters."""
        jobs, small = [], {}
        for group, t, p, state in steps:
            arrays = theta, *_ = self.arrays(p, state)
            if theta.size <= SMALL and type(theta) is np.ndarray:
                alike = small.setdefault((id(group), t, theta.dtype), ((group, t), []))
                alike[1].append(arrays)
            else:
                jobs.append(((group, t), arrays))
        together = [(options, _end_to_end(rows)) for options, rows in small.values()]
        in_blocks(self.update, together + jobs)
        for (_, rows), (_, ends) in zip(small.values(), together):
            _write_back(rows, ends)

    def arrays(self, p, state):
        """θ, g and the buffers, for a change of θ in place."""
        p.data = p.data  # so that a graph which still needs the old value notices
        return p.data, p.grad.data, *[state[b] for b in self.buffers if b in state]

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
        groups, count = [], 0
        for group in self.param_groups:
            numbers = list(range(count, count + len(group["params"])))
            groups.append({**group, "params": numbers})
            count += len(numbers)
        state = {
            i: {key: value if key == "step" else value.copy() for key, value in s.items()}
            for i, s in enumerate(self.state)
            if s
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict):
        """Take over what `state_dict` returned: copied, onto each parameter's device. Raises
        ValueError where it was made for other parameters."""
        name, params = type(self).__name__, [p for g in self.param_groups for p in g["params"]]
        sizes = [len(g["params"]) for g in self.param_groups]
        given = [len(g["params"]) for g in state_dict["param_groups"]]
        if given != sizes:
            raise ValueError(
                f"{name}.load_state_dict: the state is of groups of {given} "
                f"parameters, this optimiser has groups of {sizes}"
            )
        new = [{} for _ in params]
        for i, state in state_dict["state"].items():
            for key, value in state.items():
                if key == "step":
                    new[i][key] = int(value)
                    continue
                if value.shape != params[i].shape:
                    raise ValueError(
                        f"{name}.load_state_dict: {key} of parameter {i} has shape "
                        f"{value.shape}, the parameter has {params[i].shape}"
                    )
                new[i][key] = to_device(value, params[i].device).astype(params[i].dtype)
        self.state = new
        for group, saved in zip(self.param_groups, state_dict["param_groups"]):
            group.update({k: v for k, v in saved.items() if k != "params"})


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
        if nesterov and (momentum <= 0.0 or dampening != 0.0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and no dampening, got "
                f"momentum {momentum} and dampening {dampening}"
            )
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    buffers = ("momentum_buffer",)

    def begin(self, theta, state, group):
        """Returns whether b is not there yet."""
        first = not state
        if group["momentum"] and first:
            state["momentum_buffer"] = array_namespace(theta).empty_like(theta)
        return first

    def recorded(self, steps, recording):
        rates, new = {}, []  # one for each group and dtype
        for s in steps:
            group, dtype = s.group, s.parameter.dtype
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

    On a GPU a kernel does all lines for many parameters at once (kernels/adam.cu); it reads what
    depends on t and the options in an array there, into which `advance` writes.
    """

    buffers = "exp_avg", "exp_avg_sq"

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        self._tables = {}  # (device, dtype) -> numbers for the kernel

    def advance(self):
        steps = super().advance()
        for kind, alike in self._for_kernels(steps)[0].items():
            if kind not in self._tables:
                self._tables[kind] = adam.table(alike[0][1].parameter.data, len(self.state))
            for row, (group, t, *_) in dict(alike).items():
                adam.write(self._tables[kind], row, self.numbers(group, t))
        return steps

    def apply(self, steps):
        for_kernels, others = self._for_kernels(steps)
        for kind, alike in for_kernels.items():
            adam.update(
                [(row, self.arrays(s.parameter, s.state)) for row, s in alike], self._tables[kind]
            )
        super().apply(others)

    def recorded(self, steps, recording):
        return super().recorded(steps, recording) if self._for_kernels(steps)[1] else steps

    def _for_kernels(self, steps):
        """{(device, dtype): [(row, step), ...]} of steps that the kernels take, and those that they
        do not. row: of the table, one for each group and t."""
        taken, others, rows = {}, [], {}
        for step in steps:
            theta, state = step.parameter.data, step.state
            if (
                type(theta) is not np.ndarray
                and type(self) in (Adam, AdamW)
                and can_run(theta)
                and adam.takes(theta, *(state[b] for b in self.buffers))
            ):
                row = rows.setdefault((id(step.group), step.t), len(rows))
                taken.setdefault((device_of(theta), theta.dtype), []).append((row, step))
            else:
                others.append(step)
        return taken, others

    def numbers(self, group, t):
        """What the kernels compute with, by the names in kernels/adam.cu."""
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
        if not state:
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


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
    """Scale all gradients together so that their joint norm is at most `max_norm` (Pascanu et al.
    2013): (Σ |g|ᵖ)^(1/p) with p = `norm_type`, above 0, or max |g| for infinity.

    Returns the norm before: a Python float, or for gradients on a GPU an array () there, as to look
    at it is to wait for it. One that is not finite raises FloatingPointError where that is asked
    for, and otherwise spreads to the gradients as in PyTorch.
    """
    p = float(norm_type)
    if not p > 0.0:
        raise ValueError(f"clip_grad_norm_: norm_type must be above 0, got {norm_type}")
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    parameters = [w for w in parameters if w.grad is not None]
    if array_namespace(*[w.grad.data for w in parameters]) is not np:
        return _clip_on_device(parameters, max_norm, p, error_if_nonfinite)
    gradients = [((), (w.grad.data,)) for w in parameters if w.grad.data.size]
    if p == math.inf:
        norm = max(in_blocks(lambda g: float(abs(g).max()), gradients), default=0.0)
    elif p == 2.0:
        norm = math.sqrt(float(sum(in_blocks(lambda g: array_namespace(g).vdot(g, g), gradients))))
    else:
        norm = float(sum(in_blocks(lambda g: (abs(g) ** p).sum(), gradients))) ** (1.0 / p)
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    scale = min(1.0, max_norm / (norm + 1e-6)) if norm == norm else norm
    if scale != 1.0:  # a new array each: two gradients may share one, or be a view
        scaled = [array_namespace(w.grad.data).empty_like(w.grad.data) for w in parameters]
        in_blocks(
            lambda out, g: array_namespace(g).multiply(g, scale, out=out),
            [((), (out, w.grad.data)) for out, w in zip(scaled, parameters)],
        )
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
        if p == math.inf:
            norm = reduce(
                xp.maximum,
                [abs(g).max() for g in gradients if g.size],
                xp.zeros((), dtype=gradients[0].dtype),
            )
        elif p == 2.0:
            norm = xp.sqrt(sum((g * g).sum() for g in gradients))
        else:
            norm = sum((abs(g) ** p).sum() for g in gradients) ** (1.0 / p)
        scale = xp.minimum(max_norm / (norm + 1e-6), 1.0)
        new = [g * scale for g in gradients]
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    for w, g in zip(parameters, new):
        w.grad = wrap(g)
    return norm


def learning_rate(step, peak, steps, warmup=0, decay="cosine", floor=0.0):
    """The rate for step 0 ≤ step < steps: a linear rise to `peak` over the first `warmup` steps,
    then a fall to `floor` at the last one, along half a cosine (Loshchilov & Hutter 2017, eq. 5) or
    a straight line; decay="constant" stays at `peak`."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if decay not in ("cosine", "linear", "constant"):
        raise ValueError(f"learning_rate: decay must be cosine, linear or constant, got {decay!r}")
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

    The averages are arrays beside the weights: where these are when it is made, and in their dtype.
    What is frozen then has none.
    """

    def __init__(self, model, decay=0.999):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"AveragedModel: decay must be in [0, 1), got {decay}")
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.decay, self.updates, self.is_applied = decay, 0, False
        self.averages = {name: p.data.copy() for name, p in self.parameters.items()}

    def update(self):
        """Take in the weights as they are now, after a step of the optimiser."""
        if self.is_applied:
            raise RuntimeError(
                "AveragedModel: update() within applied(), where the weights of the "
                "model are the averages themselves; update after it"
            )
        part = 1.0 - self.decay if self.updates else 1.0
        in_blocks(
            _move, [((part,), (self.averages[name], p.data)) for name, p in self.parameters.items()]
        )
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
        """Within it the model has the averages for its weights, and its own again afterwards."""
        own = {name: p.detach() for name, p in self.parameters.items()}  # the arrays themselves
        self.is_applied = True
        try:
            for name, p in self.parameters.items():
                p.data = self.averages[name]
            yield
        finally:
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
        wanted = {f"module.{name}": p.shape for name, p in self.parameters.items()}
        wanted["n_averaged"] = ()
        lines = [
            f"missing: {name} {shape}" for name, shape in wanted.items() if name not in state_dict
        ]
        lines += [f"unexpected: {name}" for name in state_dict if name not in wanted]
        lines += [
            f"mis-shaped: {name} is {state_dict[name].shape}, the model has {shape}"
            for name, shape in wanted.items()
            if name in state_dict and state_dict[name].shape != shape
        ]
        if lines:
            raise ValueError(
                "AveragedModel.load_state_dict: the averages are of another model:\n  "
                + "\n  ".join(lines)
            )
        self.updates = int(state_dict["n_averaged"])
        for name, p in self.parameters.items():
            new = to_device(state_dict[f"module.{name}"], p.device)
            self.averages[name] = array_namespace(p.data).array(new, dtype=p.dtype)
