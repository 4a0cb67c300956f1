"""Layers: objects that hold parameters. Names, arguments, defaults, initialisation and state_dict
layouts are PyTorch's, so that weights cross over both ways.

What a layer computes is in functional.py and, derived by hand, in manual/; here are only the
weights. Initial weights are drawn on the host with NumPy, so a seed gives the same ones on every
device.
"""

import math

import numpy as np

from . import functional as F
from .backends import is_array, namespace, to_device
from .manual import crf
from .ops import tanh
from .tensor import Tensor, array_of


class Parameter(Tensor):
    """A Tensor that a Module finds among its attributes, and an optimiser changes."""
    __slots__ = ()

    def __init__(self, data, requires_grad=True, dtype=None, device=None):
        super().__init__(data, requires_grad=requires_grad, dtype=dtype, device=device)


class Module:
    """A part of a model: its attributes that are Parameters or Modules are found by name.

    A subclass sets them in `__init__` and defines `forward`; calling the module calls that.
    """
    training = True

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def named_modules(self, prefix=""):
        """Pairs (name, module): this one and, depth first, all inside it; names are dotted
        paths."""
        yield prefix, self
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def _named_slots(self):
        """Pairs (dotted name, Parameter), each place that holds one, shared parameters repeated."""
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self):
        """Pairs (dotted name, Parameter); a parameter that is used in two places comes once."""
        seen = set()
        for name, p in self._named_slots():
            if id(p) not in seen:
                seen.add(id(p))
                yield name, p

    def parameters(self):
        """The Parameters of this module and all inside it, each once."""
        return [p for _, p in self.named_parameters()]

    def train(self, mode=True):
        """Set `training` here and in all modules inside. Returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self):
        """The same as `train(False)`."""
        return self.train(False)

    def to(self, device):
        """Move all parameters to `device`, in place: optimisers keep their hold on them. Gradients
        are dropped. Returns the module."""
        for p in self.parameters():
            p.grad = None
            p.data = to_device(p.data, device)
        return self

    def zero_grad(self):
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def state_dict(self):
        """{dotted name: array}: copies of all parameters, on the device where they are."""
        return {name: p.data.copy() for name, p in self._named_slots()}

    def load_state_dict(self, state_dict, strict=True):
        """Copy arrays (or Tensors) into the parameters of the same names, cast to their dtype.

        Raises ValueError, before anything is changed, that lists every missing, unexpected and
        mis-shaped key; with `strict=False` missing and unexpected ones are left alone.
        """
        slots = dict(self._named_slots())
        given = {name: v.data if isinstance(v, Tensor) else v for name, v in state_dict.items()}
        given = {name: v if is_array(v) else np.asarray(v) for name, v in given.items()}
        lines = []
        if strict:
            lines += [f"missing: {name} {p.shape}" for name, p in slots.items()
                      if name not in given]
            lines += [f"unexpected: {name} {a.shape}" for name, a in given.items()
                      if name not in slots]
        lines += [f"mis-shaped: {name} is {given[name].shape}, the model has {p.shape}"
                  for name, p in slots.items() if name in given and given[name].shape != p.shape]
        if lines:
            raise ValueError(f"{type(self).__name__}.load_state_dict: the weights are of another "
                             "model:\n  " + "\n  ".join(lines))
        for name, p in slots.items():
            if name in given:
                p.data = namespace(p.data).array(to_device(given[name], p.device), dtype=p.dtype)

    def __repr__(self):
        inside = [f"({name}): {value!r}" for name, value in vars(self).items()
                  if isinstance(value, Module)]
        body = "".join("\n  " + line.replace("\n", "\n  ") for line in inside)
        return f"{type(self).__name__}({self.extra_repr()}{body}{chr(10) if inside else ''})"

    def extra_repr(self):
        """What `repr` shows of the options; a subclass defines it."""
        return ""


def uniform(rng, bound, *shape, dtype):
    """A Parameter drawn from U(−bound, bound)."""
    return Parameter(rng.uniform(-bound, bound, shape), dtype=dtype)


class Linear(Module):
    """y = x Wᵀ + b, for x (..., in_features) -> y (..., out_features).

    W is `weight` (out_features, in_features), b is `bias` (out_features,). Weights and biases start
    from U(−1/√in_features, 1/√in_features), drawn from `rng`: a seed, a numpy Generator, or None
    for a new one each time.
    """

    def __init__(self, in_features, out_features, bias=True, *, rng=None, dtype=np.float32):
        rng, bound = np.random.default_rng(rng), 1.0 / math.sqrt(max(1, in_features))
        self.in_features, self.out_features = in_features, out_features
        self.weight = uniform(rng, bound, out_features, in_features, dtype=dtype)
        self.bias = uniform(rng, bound, out_features, dtype=dtype) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self):
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of vectors: integers (...) -> (..., embedding_dim).

    They are the rows of `weight` (num_embeddings, embedding_dim), and start from N(0, 1), drawn
    from `rng`: a seed, a numpy Generator, or None. The row padding_idx, if there is one, starts
    from 0 and stays, for its gradient is zero.
    """

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, *, rng=None,
                 dtype=np.float32):
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        rows = np.random.default_rng(rng).standard_normal((num_embeddings, embedding_dim))
        if padding_idx is not None:
            rows[padding_idx] = 0.0
        self.weight = Parameter(rows, dtype=dtype)

    def forward(self, index):
        return F.embedding(index, self.weight, self.padding_idx)

    def extra_repr(self):
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Recurrent(Module):
    """What RNN, LSTM and GRU share: layers and directions, their weights, dropout in between.

    The weights are `weight_ih_l{k}` (gates · hidden_size, input size of layer k), `weight_hh_l{k}`
    (gates · hidden_size, hidden_size), `bias_ih_l{k}`, `bias_hh_l{k}` (gates · hidden_size,), and
    those of the backward direction with `_reverse` behind. All start from U(−1/√hidden_size,
    1/√hidden_size), drawn from `rng`: a seed, a numpy Generator, or None. `dropout` is the
    probability with which, while training, an output of a layer but the last is dropped.
    """
    gates = 1

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
                 dropout=0.0, bidirectional=False, *, rng=None, dtype=np.float32):
        if min(input_size, hidden_size, num_layers) < 1:
            raise ValueError(f"{type(self).__name__}: input_size, hidden_size and num_layers must "
                             f"be at least 1, got {input_size}, {hidden_size}, {num_layers}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = dropout
        rng, bound = np.random.default_rng(rng), 1.0 / math.sqrt(hidden_size)
        directions = ("", "_reverse") if bidirectional else ("",)
        rows = self.gates * hidden_size
        self._names = []                    # of the weights, in the order that functional.rnn takes
        for layer in range(num_layers):
            for suffix in directions:
                size = hidden_size * len(directions) if layer else input_size
                for name, shape in (("weight_ih", (rows, size)), ("weight_hh", (rows, hidden_size)),
                                    ("bias_ih", (rows,)), ("bias_hh", (rows,))):
                    if bias or name.startswith("weight"):
                        self._names.append(f"{name}_l{layer}{suffix}")
                        setattr(self, self._names[-1], uniform(rng, bound, *shape, dtype=dtype))
        # Its seed comes from rng after all weights: they are the same with and without dropout.
        self.between = Dropout(dropout, rng=rng) if dropout else None

    def weights_and_options(self, x):
        """What the function in functional.py takes after the states, for input x."""
        weights = [getattr(self, name) for name in self._names]
        options = {"bias": self.bias, "batch_first": self.batch_first,
                   "bidirectional": self.bidirectional}
        if self.between and self.training:
            width = self.hidden_size * (2 if self.bidirectional else 1)
            shape = (self.num_layers - 1, *x.shape[:-1], width)
            ones = namespace(weights[0].data).ones(shape, dtype=weights[0].dtype)
            options |= {"dropout": self.dropout, "masks": self.between(ones) > 0}
        return weights, options

    def extra_repr(self):
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"


class RNN(Recurrent):
    """h_t = tanh(W x_t + b_ih + U h_{t-1} + b_hh), or relu, in layers and directions.

    W is `weight_ih_l{k}`, U `weight_hh_l{k}`; see Recurrent. The equations and their gradients are
    derived in manual/rnn.py.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
                 batch_first=False, dropout=0.0, bidirectional=False, *, rng=None,
                 dtype=np.float32):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, rng=rng, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x, hx=None, lengths=None):
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

    def forward(self, x, hx=None, lengths=None):
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

    def forward(self, x, hx=None, lengths=None):
        """Arguments and results are those of RNN."""
        weights, options = self.weights_and_options(x)
        return F.gru(x, hx, *weights, lengths=lengths, **options)


class LayerNorm(Module):
    """(x - mean) / √(variance + eps) · weight + bias, over the last axes: functional.layer_norm.

    normalized_shape: the sizes of those axes, or one integer. `weight` and `bias` have that shape
    and start from 1 and 0; without elementwise_affine there are none.
    """

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, *,
                 dtype=np.float32):
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(shape), eps
        self.weight = Parameter(np.ones(shape), dtype=dtype) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape), dtype=dtype) if elementwise_affine and bias else None

    def forward(self, x):
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """x / √(mean x² + eps) · weight, over the last axes: functional.rms_norm.

    normalized_shape: the sizes of those axes, or one integer. eps: None is the machine epsilon of
    the input's dtype. `weight` has that shape and starts from 1; without elementwise_affine there
    is none.
    """

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, *, dtype=np.float32):
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(shape), eps
        self.weight = Parameter(np.ones(shape), dtype=dtype) if elementwise_affine else None

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}"


class Dropout(Module):
    """While training, elements are 0 with probability p, and the others divided by 1 - p:
    functional.dropout.

    `seed` is drawn from `rng` (a seed, a numpy Generator, or None), and `offset` counts the random
    numbers that were used: both together, two integers, are what to save for the same masks again.
    """

    def __init__(self, p=0.5, *, rng=None):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be a probability, from 0 to 1; got {p}")
        self.p, self.offset = p, 0
        self.seed = int(np.random.default_rng(rng).integers(2**63))

    def forward(self, x):
        offset = self.offset
        if self.training:
            self.offset += x.size
        return F.dropout(x, self.p, self.training, seed=self.seed, offset=offset)

    def extra_repr(self):
        return f"p={self.p}"


class Tanh(Module):
    """tanh x, elementwise."""

    def forward(self, x):
        return tanh(x)


class ReLU(Module):
    """max(x, 0), elementwise: functional.relu."""

    def forward(self, x):
        return F.relu(x)


class GELU(Module):
    """x Φ(x), elementwise: functional.gelu. approximate: "none" or "tanh"."""

    def __init__(self, approximate="none"):
        self.approximate = approximate

    def forward(self, x):
        return F.gelu(x, self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x / (1 + e⁻ˣ), elementwise: functional.silu."""

    def forward(self, x):
        return F.silu(x)


class CRF(Module):
    """A linear-chain conditional random field over tags: functional.crf_loss, manual/crf.py.

    `transitions` (num_tags, num_tags), `start_transitions` and `end_transitions` (num_tags,) start
    from U(−0.1, 0.1), drawn from `rng`: a seed, a numpy Generator, or None.
    """

    def __init__(self, num_tags, *, rng=None, dtype=np.float32):
        if num_tags < 1:
            raise ValueError(f"CRF: num_tags must be at least 1, got {num_tags}")
        rng = np.random.default_rng(rng)
        self.num_tags = num_tags
        self.start_transitions = uniform(rng, 0.1, num_tags, dtype=dtype)
        self.end_transitions = uniform(rng, 0.1, num_tags, dtype=dtype)
        self.transitions = uniform(rng, 0.1, num_tags, num_tags, dtype=dtype)

    def _scores(self):
        return self.transitions, self.start_transitions, self.end_transitions

    def forward(self, emissions, tags, mask=None, reduction="mean"):
        """-log P(tags): emissions (T, B, num_tags), tags (T, B) -> a number, or (B,) for
        reduction "none"."""
        return F.crf_loss(emissions, tags, *self._scores(), mask=mask, reduction=reduction)

    def decode(self, emissions, mask=None):
        """The most probable tags, an array of integers (T, B), 0 where the mask is False."""
        arrays = [array_of(a) for a in (emissions, *self._scores())]
        return crf.viterbi(*arrays, mask=mask)[0]

    def extra_repr(self):
        return f"{self.num_tags}"


class Sequential(Module):
    """Modules one after the other: each gets what the one before returned.

    layers: Modules, which are named "0", "1", ..., or one dict of names and Modules.
    """

    def __init__(self, *layers):
        named = layers[0] if len(layers) == 1 and isinstance(layers[0], dict) else dict(
            zip(map(str, range(len(layers))), layers))
        for name, layer in named.items():
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: takes Modules; {name!r} is of type "
                                f"{type(layer).__name__}")
            setattr(self, name, layer)

    def forward(self, x):
        for layer in self:
            x = layer(x)
        return x

    def __iter__(self):
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self):
        return sum(1 for _ in self)

    def __getitem__(self, index):
        """The layer with that number, or the Sequential of a slice of them."""
        layers = list(self)[index]
        return Sequential(*layers) if isinstance(index, slice) else layers
