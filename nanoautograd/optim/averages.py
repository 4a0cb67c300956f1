"""Averages of a model's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backends import array_namespace
from ..core.tensor import Tensor
from ..kernels.cuda.runtime.capture_context import current
from ..nn.module import Module, arrays_of, fitting
from ..typing import Array, ArrayLike
from .blocks import in_blocks
from .checks import count_in
from .master import wide
from .on_device import counter


def _move(begun: bool, beta: float, a: Any, theta: Any) -> None:
    """a ← β a + (1 − β) θ."""
    if begun and beta:
        a += (1.0 - beta) * (wide(theta) - a)
    else:
        a[...] = theta


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

    _begun: bool

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"AveragedModel: takes a Module; got {type(model).__name__}")
        if not isinstance(decay, (int, float, np.floating)) or not 0.0 <= decay < 1.0:
            raise ValueError(f"AveragedModel: decay must be in [0, 1), got {decay}")
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.decay, self.is_applied = float(decay), False
        self._take({name: wide(p.data.copy()) for name, p in self.parameters.items()}, 0)

    def update(self) -> None:
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
        context = current.context
        if context is not None:  # these must be the same when it is replayed
            context.guard("AveragedModel.decay", lambda: self.decay)
            context.guard("whether AveragedModel has begun", lambda: self._begun)
            context.same(
                "the averages of AveragedModel (was a state loaded?)",
                lambda: [self.updates, *self.averages.values()],
            )
        in_blocks(_move, [((self._begun, self.decay), pair) for pair in pairs.values()])
        self.updates += 1
        self._begun = True

    def _take(self, averages: dict[str, Any], updates: int) -> None:
        """averages: of so many updates, which are counted where the averages are."""
        self.averages, self._begun = averages, updates > 0
        self.updates = counter(next(iter(averages.values()), None), updates)

    def __repr__(self) -> str:
        return f"AveragedModel({len(self.parameters)} parameters, decay={self.decay})"

    @contextmanager
    def applied(self) -> Iterator[None]:
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

    def _restore(self, own: dict[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.data = own[name]
        self.is_applied = False

    def state_dict(self) -> dict[str, Array]:
        """PyTorch's layout: {"n_averaged": updates, "module.<name>": array}. Copies."""
        return {
            "n_averaged": np.array(int(self.updates)),
            **{f"module.{name}": a.copy() for name, a in self.averages.items()},
        }

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Take over what `state_dict` returned: copied, onto each parameter's device. Raises
        ValueError, before anything is changed, where it was made for another model."""
        who = "AveragedModel.load_state_dict"
        wanted = {f"module.{name}": wide(p.data) for name, p in self.parameters.items()}
        wanted["n_averaged"] = np.zeros(())
        given = arrays_of(who, state_dict)
        lines = [f"missing: {n} {a.shape}" for n, a in wanted.items() if n not in given]
        lines += [f"unexpected: {n}" for n in given if n not in wanted]
        new = fitting(f"{who}: the averages are of another model", wanted, given, lines)
        updates = count_in(f"{who}: n_averaged", new.pop("n_averaged"))
        for name, a in new.items():
            if not array_namespace(a).isfinite(a).all():
                raise ValueError(f"{who}: {name} is not finite everywhere")
        self._take({name.removeprefix("module."): a for name, a in new.items()}, updates)
