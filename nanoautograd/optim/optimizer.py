"""What all optimisers share: groups of parameters, what is remembered of each, and a step.

In the formulas θ is a parameter, g its gradient, γ the learning rate, λ the weight decay, t the
number of this step from 1. A parameter in float16 or bfloat16 is stepped in float32: the state has
such a copy of it, `master`, beside moments in float32, and θ is that, rounded, after each step
(Micikevicius et al. 2018, "Mixed precision training", section 3.1). What θ is set to in between is
taken over.

What changes from step to step is where the parameters are: the moments, the number of steps, and on
a GPU the learning rate (on_device.py). So a step that is captured there and replayed
(kernels/cuda/runtime) goes on as the step would, and has only to be told what must stay as it was.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..backends import is_array
from ..core.tensor import Tensor
from ..custom_vjp import MANUAL
from ..kernels.cuda.runtime.capture_context import CaptureError, current
from ..safety.names import INSTEAD, missing
from ..typing import Params
from . import checks, fast, states
from .master import master, wide
from .on_device import Group, options_at


class Optimizer:
    """The bookkeeping that all optimisers share; a subclass defines `begin` and `update`.

    `params` is an iterable of parameters, or of dicts {"params": [...], "lr": ..., ...}: groups,
    each with options of its own. `param_groups` holds them, and a schedule writes `group["lr"]`.
    """

    buffers: tuple[str, ...] = ()  # names of the arrays in a parameter's state that `update` takes
    elementwise = True  # whether `update` may be given parts of a parameter, or several end to end
    # options of PyTorch that are on where they mean what this optimiser is
    elsewhere: dict[str, bool] = {}
    # forms of just this class that are fast (adam_fast.py)
    in_place: Callable | None = None
    kernels: Callable | None = None

    def __init__(self, params: Params, **defaults: Any) -> None:
        name, self.defaults = type(self).__name__, defaults
        self.param_groups: list[Group] = []
        for group in checks.listed_groups(name, params):
            self.param_groups.append(Group({**defaults, **group}))
            self.check(self.param_groups[-1])
        checks.check_parameters(name, self.parameters())
        # what is remembered, one dict a parameter
        self.state: list[dict[str, Any]] = [{} for _ in self.parameters()]
        self._checked: dict = {}  # what checks.py has seen, and the parameters
        self._params = self.parameters()
        self._together: list = []  # small parameters (fast.py)
        self._warned = False  # of a step without a gradient

    if not TYPE_CHECKING:  # a checker says so itself

        def __setattr__(self, name, value):
            """Raises AttributeError for an option: no step would read it."""
            if name in vars(self).get("defaults", ()):
                kind = type(self).__name__
                raise AttributeError(
                    f"{kind} has its options in groups, which may differ: "
                    f'for group in optimizer.param_groups: group["{name}"] = ...'
                )
            super().__setattr__(name, value)

        def __getattr__(self, name):
            instead = INSTEAD["Optimizer"].get(name)
            if name in vars(self).get("defaults", ()):
                instead = f'optimizer.param_groups[0]["{name}"]'
            raise missing(f"{type(self).__name__!r} object", name, instead, self)

    def parameters(self) -> list[Tensor]:
        """All parameters, in the order of `state`."""
        return [p for group in self.param_groups for p in group["params"]]

    def check(self, group: dict[str, Any]) -> None:
        """Makes the numbers among the options Python's. Raises TypeError or ValueError for options
        that are unknown or out of range."""
        checks.check_options(type(self).__name__, group, self.defaults)

    def zero_grad(self) -> None:
        """Forget all gradients: each parameter's `grad` becomes None."""
        for p in self.parameters():
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; one whose `grad` is None, or that no longer
        requires one, stays as it is. Raises ValueError, before anything is changed, for options out
        of range, and where parameters, or their shapes or dtypes, are no longer what they were."""
        checks.check_unchanged(self)
        if current.context is not None:
            self.guard(current.context)
        jobs, rounded, all_states = [], [], iter(self.state)
        for group in self.param_groups:
            for p, state in zip(group["params"], all_states):
                if p.requires_grad and (g := p.grad) is not None:
                    p.data = theta = p.data  # so that a graph which needs the old value notices
                    g = g.data
                    if theta.dtype.itemsize == 2:
                        rounded.append((theta, master(theta, state)))
                        theta, g = state["master"], wide(g)
                    jobs.append((group, state, theta, g))
        if not (jobs or self._warned) and any(p.requires_grad for p in self._params):
            self._warned = True
            checks.warn_of_no_gradient(type(self).__name__)
        if MANUAL.get() or not self.elementwise:
            self.change(jobs)
        else:
            fast.change(self, jobs)
        for theta, exact in rounded:
            theta[...] = exact.astype(theta.dtype)

    def change(self, jobs: list[tuple]) -> None:
        """A step as it is written; fast.py has a faster way to the same. jobs: the options, the
        state, θ and g of each parameter, which are changed in place but for g."""
        for group, state, theta, g in jobs:
            options = options_at(theta, group)
            t = self.begin(theta, state, options)
            self.update(options, t, theta, g, *[state[b] for b in self.buffers if b in state])

    def begin(self, theta: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
        """Make `state`, the dict of the parameter `theta`, ready for its next step, and return
        what `update` is to know of it: on the CPU something hashable, as parameters for which it is
        the same may be updated together."""

    if TYPE_CHECKING:
        update: Callable[..., None]  # of a subclass: with the buffers that it has
    else:

        def update(self, group: dict[str, Any], t: Any, theta: Any, g: Any, *buffers: Any) -> None:
            """Change theta and the buffers in place, given the gradient g; elementwise, as the
            arrays, of one shape, may be a part of a parameter, or several end to end (unless the
            class says `elementwise = False`). t: what `begin` returned. On a GPU group["lr"] is an
            array () of θ's dtype, and t may be one of int64.
            """
            raise NotImplementedError(f"{type(self).__name__} does not define update")

    def __repr__(self) -> str:
        groups = []
        for group in self.param_groups:
            n, numbers = len(group["params"]), sum(p.size for p in group["params"])
            options = ", ".join(f"{name}={v}" for name, v in group.items() if name != "params")
            groups.append(f"{n} parameter{'s' * (n != 1)} of {numbers:,} numbers, {options}")
        return f"{type(self).__name__}(" + ";\n  ".join(groups) + ")"

    def guard(self, context: Any) -> None:
        """Tells a step that is recorded what must be the same when it is replayed."""
        name = type(self).__name__
        for key, value in chain.from_iterable(state.items() for state in self.state):
            if not is_array(value):
                raise CaptureError(
                    f"{name} keeps {key!r} of a parameter as a {type(value).__name__} of Python, "
                    "which a replay would not change: keep an array on the device"
                )
        for i, p in enumerate(self.parameters()):
            context.parameter(f"parameter {i} of {name}", p)
        context.same(f"the list of parameters of {name}", self.parameters)
        context.same(f"the list of groups of {name}", lambda: self.param_groups)
        context.same(
            f"the state of {name}",
            lambda: [
                *(a for state in self.state for a in state.values()),
                *(rate for group in self.param_groups for _, rate in getattr(group, "rates", ())),
            ],
        )
        context.guard(f"what {name} is made of", lambda: checks.check_unchanged(self))
        for group in self.param_groups:
            on_device = {"lr"} if type(group) is Group else set()
            for option in group.keys() - on_device - {"params"}:
                context.guard(f"{name}'s {option}", lambda g=group, o=option: g[o])

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's layout: {"state": {i: {name: array or int}}, "param_groups": [options]}, where
        i counts the parameters over all groups and "params" lists those numbers. Copies."""
        return {"state": states.copied(self.state), "param_groups": states.numbered(self)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned: copied, onto each parameter's device. Options that
        only PyTorch has may be there if they are off: None or False.

        Raises TypeError and ValueError, before anything is changed, where it was made for other
        parameters, is incomplete, or holds what no step can have left: arrays of another dtype or
        not finite, options out of range.
        """
        self.state, groups = states.checked(self, state_dict)
        for group, options in zip(self.param_groups, groups):
            group.update(options)
