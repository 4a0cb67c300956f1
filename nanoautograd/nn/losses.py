"""Losses as layers, which keep their options."""

from typing import TYPE_CHECKING, Any

from .. import functional as F
from ..backends import device_of, to_device
from ..core.tensor import Tensor
from ..functional.losses import check_options, check_reduction
from ..interface.array_interface import array_of
from ..safety.arguments import as_input
from ..typing import ArrayLike
from .module import Module


class Loss(Module):
    """What losses share: they are made with options, and called with an input and a target."""

    if not TYPE_CHECKING:  # a checker says so itself

        def __new__(cls, *args, **options):
            if len(args) > 1:
                name = cls.__name__
                raise TypeError(
                    f"{name} is made first and called then: {name}()(input, target); its options "
                    "are given by keyword"
                )
            return super().__new__(cls)


class MSELoss(Loss):
    """The squared error of a prediction and a target of its shape: functional.mse_loss."""

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction("MSELoss", reduction)
        self.reduction = reduction

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        return F.mse_loss(input, target, self.reduction)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class BCEWithLogitsLoss(Loss):
    """Cross entropy of yes and no, with a target of the shape of the scores, as they are, without a
    sigmoid before it: functional.binary_cross_entropy_with_logits. weight, pos_weight: a factor for
    each loss, and one for each yes; constants, or None."""

    def __init__(
        self,
        weight: ArrayLike | None = None,
        *,
        reduction: str = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        check_reduction("BCEWithLogitsLoss", reduction)
        self.weight, self.pos_weight = _constant(weight), _constant(pos_weight)
        self.reduction = reduction

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        input = as_input(input, "BCEWithLogitsLoss")
        w, p = _like(self.weight, input), _like(self.pos_weight, input)
        return F.binary_cross_entropy_with_logits(
            input, target, w, reduction=self.reduction, pos_weight=p
        )

    def extra_repr(self) -> str:
        given = {"weight": self.weight, "pos_weight": self.pos_weight}
        factors = [f"{name}={a.tolist()}" for name, a in given.items() if a is not None]
        return ", ".join([*factors, f"reduction={self.reduction!r}"])


class CrossEntropyLoss(Loss):
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
        self.weight = _constant(weight)
        self.options = dict(
            ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
        )

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        input = as_input(input, "CrossEntropyLoss")
        return F.cross_entropy(input, target, _like(self.weight, input), **self.options)

    def extra_repr(self) -> str:
        weight = {} if self.weight is None else {"weight": self.weight.tolist()}
        return ", ".join(f"{name}={value!r}" for name, value in (weight | self.options).items())


def _constant(weight: ArrayLike | None) -> Any:
    """A copy of weights as an array."""
    return None if weight is None else Tensor(weight).data


def _like(weight: Any, input: Any) -> Any:
    """Weights in the dtype of the scores, and where these are."""
    if weight is None:
        return None
    return to_device(weight.astype(input.dtype), device_of(array_of(input)))
