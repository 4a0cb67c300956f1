"""PyTorch's names for what is here under NumPy's: functions, and methods of a Tensor.

A name whose arguments mean something else in NumPy, as those of `transpose`, `repeat` and `split`,
stays NumPy's (docs/differences.md). Of names that are not here, safety/names.py says what to type.
"""

from collections.abc import Callable, Iterable
from math import prod

import numpy as np

from ..core.tensor import Tensor
from ..ops import astype, concatenate, copy, expand_dims, reshape
from ..ops.shaping import checked
from ..safety.arguments import as_array, as_input
from ..safety.names import explained
from ..typing import ArrayLike, DTypeLike, ShapeLike

__all__ = ["cat", "clone", "flatten", "numel", "unsqueeze"]

# ---- functions, and methods under the same name


@explained
def cat(tensors: Iterable[ArrayLike], dim: int = 0) -> Tensor:
    """`concatenate`: the arrays one after the other along the axis `dim`, which they have.

    The gradient of each is the part of ȳ where it is in y.
    """
    return concatenate(tensors, dim)


def clone(input: ArrayLike) -> Tensor:
    """`copy`: the same elements in memory of their own, with their history:  x̄ = ȳ."""
    return copy(input)


@explained
def unsqueeze(input: ArrayLike, dim: int) -> Tensor:
    """`expand_dims`: with a new axis of length 1, numbered `dim` in the result.

    x̄ = ȳ in the shape of x.
    """
    return expand_dims(input, dim)


def flatten(input: ArrayLike, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """`reshape`: the axes from start_dim to end_dim as one. Shape (1,) of a 0-d array.

    x̄ = ȳ in the shape of x. It shares memory where `reshape` does. Raises ValueError for axes that
    there are not, or in the wrong order.
    """
    a = as_input(input, "flatten")
    first, last = [checked(i, len(a.shape) or 1, "flatten") for i in (start_dim, end_dim)]
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    n = prod(a.shape[first : last + 1])
    return reshape(a, (*a.shape[:first], n, *a.shape[last + 1 :]))


def numel(input: ArrayLike) -> int:
    """How many elements there are: `t.size`."""
    return as_array(input, "numel").size


Tensor.clone, Tensor.unsqueeze, Tensor.flatten, Tensor.numel = clone, unsqueeze, flatten, numel

# ---- methods alone


def view(self: Tensor, *shape: ShapeLike) -> Tensor:
    """`reshape`: the Tensor in another shape, x̄ = ȳ in the shape of x. It shares memory where it
    can, and else copies, where PyTorch's `view` raises. (Not NumPy's `view`, of another dtype.)"""
    return reshape(self, *shape)


def dim(self: Tensor) -> int:
    """How many axes there are: `t.ndim`."""
    return self.ndim


def type_as(self: Tensor, other: ArrayLike) -> Tensor:
    """`astype`: in the dtype of `other`, on the same device;  x̄ = ȳ in the dtype of x."""
    return astype(self, as_input(other, "type_as").dtype)


Tensor.view, Tensor.dim, Tensor.type_as = view, dim, type_as

# Of nag.functional, which is loaded when it is first asked for.


def relu(self: Tensor) -> Tensor:
    """`nag.functional.relu`: max(x, 0), elementwise."""
    from ..functional import relu

    return relu(self)


@explained
def softmax(self: Tensor, dim: int = -1) -> Tensor:
    """`nag.functional.softmax`, along the axis `dim`."""
    from ..functional import softmax

    return softmax(self, dim)


@explained
def log_softmax(self: Tensor, dim: int = -1) -> Tensor:
    """`nag.functional.log_softmax`, along the axis `dim`."""
    from ..functional import log_softmax

    return log_softmax(self, dim)


Tensor.relu, Tensor.softmax, Tensor.log_softmax = relu, softmax, log_softmax

# ---- dtypes

CASTS = {
    "bool": np.bool,
    "double": np.float64,
    "float": np.float32,
    "half": np.float16,
    "int": np.int32,
    "long": np.int64,
}


def _cast(name: str, dtype: DTypeLike) -> Callable[[Tensor], Tensor]:
    def method(self: Tensor) -> Tensor:
        return astype(self, dtype)

    method.__name__, method.__doc__ = name, f"`astype(np.{np.dtype(dtype)})`."
    return method


for _name, _dtype in CASTS.items():
    setattr(Tensor, _name, _cast(_name, _dtype))
