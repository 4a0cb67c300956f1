"""Layers that treat each position on its own: linear, embedding, dropout, activations."""

import math
from typing import Any

import numpy as np

from .. import functional as F
from ..backends.philox import DeviceOffset
from ..core.tensor import Tensor
from ..functional.activations import check_approximate
from ..functional.layers import check_padding
from ..interface.array_interface import array_of
from ..kernels.cuda.runtime.capture_context import current
from ..ops import sigmoid, tanh
from ..safety.arguments import as_input
from ..safety.options import check_flags, check_probability, check_sizes, generator
from ..typing import ArrayLike, DTypeLike, Seed
from . import one_position
from .counter import Counter
from .module import Module, Parameter, check_module, uniform


class Linear(Module):
    """y = x Wᵀ + b, for x (..., in_features) -> y (..., out_features).

    W is `weight` (out_features, in_features), b is `bias` (out_features,). Weights and biases start
    from U(−1/√in_features, 1/√in_features), drawn from `rng`: a seed, a numpy Generator, or None
    for a new one each time.
    """

    optional_parameters = ("bias",)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        check_flags("Linear", bias=bias)
        rng, bound = generator("Linear", rng), 1.0 / math.sqrt(max(1, in_features))
        self.in_features, self.out_features = in_features, out_features
        self.weight = uniform(rng, bound, out_features, in_features, dtype=dtype)
        self.bias = uniform(rng, bound, out_features, dtype=dtype) if bias else None

    def forward(self, x: ArrayLike) -> Tensor:
        """x (..., in_features) -> y, of the dtype to which x and the weights promote. Raises
        ValueError for another number of features."""
        return one_position.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of vectors: integers (...) -> (..., embedding_dim).

    They are the rows of `weight` (num_embeddings, embedding_dim), and start from N(0, 1), drawn
    from `rng`: a seed, a numpy Generator, or None. The row padding_idx, if there is one, starts
    from 0 and stays, for its gradient is zero.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        V = num_embeddings
        check_sizes("Embedding", num_embeddings=V, embedding_dim=embedding_dim)
        check_padding("Embedding", padding_idx, V)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        rows = generator("Embedding", rng).standard_normal((V, embedding_dim))
        if padding_idx is not None:
            rows[padding_idx] = 0.0
        self.weight = Parameter(rows, dtype=dtype)

    def forward(self, index: ArrayLike) -> Tensor:
        """index: integers of any shape, from 0 to num_embeddings - 1, an array, Tensor or list ->
        (*index.shape, embedding_dim), of the weights' dtype; or a slice of the rows. Raises
        IndexError for others, TypeError for dtypes."""
        return one_position.embedding(index, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Identity(Module):
    """What comes in goes out."""

    def forward(self, x: ArrayLike) -> Tensor:
        return x


class Dropout(Module):
    """While training, elements are 0 with probability p, and the others divided by 1 - p:
    functional.dropout.

    `seed` is drawn from `rng` (a seed, a numpy Generator, or None), and `offset` counts the random
    numbers that were used: both together, two integers, are what to save for the same masks again.
    On a GPU it is counted there, and to read `offset` is to wait.
    """

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        check_probability("Dropout", p=p)
        self.p, self._count = p, Counter()
        self.seed = int(generator("Dropout", rng).integers(2**63))

    @property
    def offset(self) -> int:
        return self._count.value

    @offset.setter
    def offset(self, n: int) -> None:
        self._count.value = n

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_input(x, "Dropout")
        if not (self.training and self.p):
            return x
        return F.dropout(x, self.p, seed=self.seed, offset=self.take(x.size, x))

    def options(self, n: int, like: ArrayLike) -> dict[str, Any]:
        """The arguments of a function that drops n numbers of its own, as attention its weights,
        where the array or Tensor `like` lives."""
        p = self.p if self.training else 0.0
        return {"dropout_p": p, "seed": self.seed, "offset": self.take(n, like) if p else 0}

    def take(self, n: int, like: ArrayLike) -> int | DeviceOffset:
        """The offset of the next n random numbers, which are used up, for use where `like` lives:
        an integer, or on a GPU a DeviceOffset."""
        offset, context = self._count.take(n, array_of(like)), current.context
        if context is not None:
            context.module(self)
            context.same("the array of Dropout.offset", lambda: [self._count.array])
        return offset

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Tanh(Module):
    """tanh x, elementwise."""

    def forward(self, x: ArrayLike) -> Tensor:
        return tanh(as_input(x, "Tanh"))


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ), elementwise."""

    def forward(self, x: ArrayLike) -> Tensor:
        return sigmoid(as_input(x, "Sigmoid"))


class ReLU(Module):
    """max(x, 0), elementwise: functional.relu."""

    def forward(self, x: ArrayLike) -> Tensor:
        return F.relu(as_input(x, "ReLU"))


class GELU(Module):
    """x Φ(x), elementwise: functional.gelu. approximate: "none" or "tanh"."""

    def __init__(self, approximate: str = "none") -> None:
        check_approximate("GELU", approximate)
        self.approximate = approximate

    def forward(self, x: ArrayLike) -> Tensor:
        return one_position.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x / (1 + e⁻ˣ), elementwise: functional.silu."""

    def forward(self, x: ArrayLike) -> Tensor:
        return one_position.silu(x)


def random_state(module: Module) -> Any:
    """{dotted name: [seed, offset]} of every Dropout in a module: what decides the masks to come.

    A checkpoint holds it beside the weights; it is what JSON can hold.
    """
    check_module("random_state", module)
    return {
        name: [m.seed, m.offset] for name, m in module.named_modules() if isinstance(m, Dropout)
    }


def load_random_state(module: Module, state: Any) -> None:
    """Take over what `random_state` returned. Raises TypeError for what is no dict; ValueError,
    before anything is changed, that lists every missing and unexpected name, and every value that
    is not two integers in range."""
    check_module("load_random_state", module)
    if not isinstance(state, dict):
        raise TypeError(
            "load_random_state: takes what random_state() returned, a dict of names and pairs; got "
            f"{type(state).__name__}"
        )
    drops = {name: m for name, m in module.named_modules() if isinstance(m, Dropout)}
    lines = [f"missing: {name}" for name in drops if name not in state]
    lines += [f"unexpected: {name}" for name in state if name not in drops]
    lines += [
        f"{name} is {value!r}, not [seed, offset], integers from 0 to 2**64 - 1"
        for name, value in state.items()
        if not (
            isinstance(value, (list, tuple))
            and len(value) == 2
            and all(isinstance(n, int) and 0 <= n < 2**64 for n in value)
        )
    ]
    if lines:
        raise ValueError(
            f"{type(module).__name__}: the random state is of another model:\n  "
            + "\n  ".join(lines)
        )
    for name, m in drops.items():
        m.seed, m.offset = state[name]
