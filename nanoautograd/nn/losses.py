"""Losses as layers, which keep their options."""

from typing import Any

from .. import functional as F
from ..backends import device_of, to_device
from ..core.tensor import Tensor
from ..functional.losses import check_options, check_reduction
from ..interface.array_interface import array_of
from ..safety.arguments import as_input
from ..typing import ArrayLike
from .module import Module


class MSELoss(Module):
    """The squared error of a prediction and a target of its shape: functional.mse_loss."""

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction("MSELoss", reduction)
        self.reduction = reduction

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        return F.mse_loss(input, target, self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class CrossEntropyLoss(Module):
    """-log softmax(input) at the target: functional.cross_entropy. It takes scores as they are,
    without a softmax before it. weight: one factor for each class, or None; a constant."""

    def __init__(
        self,
        weight: ArrayLike | None = None,
        *,
        ignore_index: Any = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        check_options("CrossEntropyLoss", ignore_index, reduction, label_smoothing)
        self.weight = None if weight is None else Tensor(weight).data
        self.options = dict(
            ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
        )

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        input, weight = as_input(input, "CrossEntropyLoss"), self.weight
        if weight is not None:
            weight = to_device(weight.astype(input.dtype), device_of(array_of(input)))
        return F.cross_entropy(input, target, weight, **self.options)

    def extra_repr(self) -> str:
        weight = {} if self.weight is None else {"weight": self.weight.tolist()}
        return ", ".join(f"{name}={value!r}" for name, value in (weight | self.options).items())
