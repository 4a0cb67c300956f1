"""Recurrent layers: RNN, LSTM, GRU."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..backends import array_namespace
from ..core.tensor import Tensor
from ..safety.arguments import as_input
from ..safety.options import check_flags, check_probability, check_sizes, generator
from ..typing import ArrayLike, DTypeLike, Seed
from .layers import Dropout
from .module import Module, Parameter, uniform


class Recurrent(Module):
    """What RNN, LSTM and GRU share: layers and directions, their weights, dropout in between.

    The weights are `weight_ih_l{k}` (gates · hidden_size, input size of layer k), `weight_hh_l{k}`
    (gates · hidden_size, hidden_size), `bias_ih_l{k}`, `bias_hh_l{k}` (gates · hidden_size,), and
    those of the backward direction with `_reverse` behind. All start from U(−1/√hidden_size,
    1/√hidden_size), drawn from `rng`: a seed, a numpy Generator, or None. `dropout` is the
    probability with which, while training, an output of a layer but the last is dropped.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = type(self).__name__
        check_sizes(name, 1, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_flags(name, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        check_probability(name, dropout=dropout)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = dropout
        rng, bound = generator(name, rng), 1.0 / math.sqrt(hidden_size)
        directions = ("", "_reverse") if bidirectional else ("",)
        rows = self.gates * hidden_size
        self._names = []  # of the weights, in the order that functional.rnn takes
        for layer in range(num_layers):
            for suffix in directions:
                size = hidden_size * len(directions) if layer else input_size
                for name, shape in (
                    ("weight_ih", (rows, size)),
                    ("weight_hh", (rows, hidden_size)),
                    ("bias_ih", (rows,)),
                    ("bias_hh", (rows,)),
                ):
                    if bias or name.startswith("weight"):
                        self._names.append(f"{name}_l{layer}{suffix}")
                        setattr(self, self._names[-1], uniform(rng, bound, *shape, dtype=dtype))
        # Its seed comes from rng after all weights: they are the same with and without dropout.
        self.between = Dropout(dropout, rng=rng) if dropout else None

    def weights_and_options(self, x: ArrayLike) -> tuple[list[Parameter], dict[str, Any]]:
        """What the function in functional/ takes after the states, for input x."""
        shape = as_input(x, type(self).__name__).shape
        weights = [getattr(self, name) for name in self._names]
        options: dict[str, Any] = {
            "bias": self.bias,
            "batch_first": self.batch_first,
            "bidirectional": self.bidirectional,
        }
        if self.between and self.training:
            width = self.hidden_size * (2 if self.bidirectional else 1)
            shape = (self.num_layers - 1, *shape[:-1], width)
            # The layers apply the dropout themselves, in between, and take what it keeps as masks.
            # Of ones dropout makes 0 or 1/(1 - p): above 0 where an element is kept.
            ones = array_namespace(weights[0].data).ones(shape, dtype=weights[0].dtype)
            options |= {"dropout": self.dropout, "masks": self.between(ones) > 0}
        return weights, options

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"


class RNN(Recurrent):
    """h_t = tanh(W x_t + b_ih + U h_{t-1} + b_hh), or relu, in layers and directions.

    W is `weight_ih_l{k}`, U `weight_hh_l{k}`; see Recurrent. The equations and their gradients are
    derived in manual/rnn.py.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if not isinstance(nonlinearity, str) or nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            rng=rng,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity

    def forward(
        self, x: ArrayLike, hx: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> tuple[Tensor, Tensor]:
        """x (T, B, input_size), or (B, T, input_size) if batch_first, or (T, input_size) for one
        sequence; hx (num_layers·directions, B, hidden_size), None for zeros; lengths: the number of
        steps of each sequence that are not padding -> outputs like x with directions·hidden_size
        last, and the last state of each layer and direction, like hx."""
        weights, options = self.weights_and_options(x)
        return F.rnn(x, hx, *weights, nonlinearity=self.nonlinearity, lengths=lengths, **options)


class LSTM(Recurrent):
    """Long short-term memory, in layers and directions.

    The rows of each weight are those of the gates i, f, g, o in turn; see Recurrent. The equations
    and their gradients are derived in manual/lstm.py.
    """

    gates = 4

    def forward(
        self,
        x: ArrayLike,
        hx: Sequence[ArrayLike | None] | None = None,
        lengths: ArrayLike | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x and lengths as for RNN; hx the pair (h_0, c_0), each (num_layers·directions, B,
        hidden_size), None for zeros -> outputs, and the pair of the last states (h_n, c_n)."""
        weights, options = self.weights_and_options(x)
        return F.lstm(x, hx, *weights, lengths=lengths, **options)


class GRU(Recurrent):
    """The gated recurrent unit, in layers and directions.

    The rows of each weight are those of the gates r, z and of n in turn; see Recurrent. The
    equations and their gradients are derived in manual/gru.py.
    """

    gates = 3

    def forward(
        self, x: ArrayLike, hx: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> tuple[Tensor, Tensor]:
        """Arguments and results are those of RNN."""
        weights, options = self.weights_and_options(x)
        return F.gru(x, hx, *weights, lengths=lengths, **options)
