"""Layers that normalise their input, each position by its own statistics."""

import numpy as np

from ..core.tensor import Tensor
from ..functional.norms import as_shape, check_eps
from ..safety.options import check_flags
from ..typing import ArrayLike, DTypeLike, ShapeLike
from . import one_position
from .module import Module, Parameter


class LayerNorm(Module):
    """(x - mean) / √(variance + eps) · weight + bias, over the last axes: functional.layer_norm.

    normalized_shape: the sizes of those axes, or one integer. `weight` and `bias` have that shape
    and start from 1 and 0; without elementwise_affine there are none.
    """

    optional_parameters = "weight", "bias"

    def __init__(
        self,
        normalized_shape: ShapeLike,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = as_shape("LayerNorm", normalized_shape)
        check_flags("LayerNorm", elementwise_affine=elementwise_affine, bias=bias)
        check_eps("layer_norm", eps)
        self.normalized_shape, self.eps = shape, eps
        self.weight = Parameter(np.ones(shape), dtype=dtype) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape), dtype=dtype) if elementwise_affine and bias else None

    def forward(self, x: ArrayLike) -> Tensor:
        """x (..., *normalized_shape) -> y like x."""
        return one_position.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """x / √(mean x² + eps) · weight, over the last axes: functional.rms_norm.

    normalized_shape: the sizes of those axes, or one integer. eps: as in functional.rms_norm.
    `weight` has that shape and starts from 1; without elementwise_affine there is none.
    """

    optional_parameters = ("weight",)

    def __init__(
        self,
        normalized_shape: ShapeLike,
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = as_shape("RMSNorm", normalized_shape)
        check_flags("RMSNorm", elementwise_affine=elementwise_affine)
        check_eps("rms_norm", eps)
        self.normalized_shape, self.eps = shape, eps
        self.weight = Parameter(np.ones(shape), dtype=dtype) if elementwise_affine else None

    def forward(self, x: ArrayLike) -> Tensor:
        """x (..., *normalized_shape) -> y like x."""
        return one_position.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
