"""Where arithmetic is nothing and bookkeeping all: a chain of tiny operations, a small network."""

from dataclasses import dataclass

import numpy as np

from ..case import Case, Operation, Work, linear, training
from .losses import cross_entropy


@dataclass(frozen=True)
class Chain(Operation):
    """y ← tanh(w ⊙ y), length / 2 times: a chain of that many operations."""

    length: int
    n: int = 8

    def inputs(self, rng):
        return [rng.standard_normal(self.n), 1.0 + 0.1 * rng.standard_normal(self.n)]

    def work(self):
        return Work((), 2 * self.length * self.n)

    @property
    def items(self):
        return self.length, "operations"

    def ours(self, nag, y, w):
        for _ in range(self.length // 2):
            y = nag.tanh(w * y)
        return y

    def torch(self, torch, y, w):
        for _ in range(self.length // 2):
            y = torch.tanh(w * y)
        return y

    def jax(self, jax, y, w):
        return jax.lax.scan(lambda y, _: (jax.numpy.tanh(w * y), None), y, length=self.length // 2)[
            0
        ]

    def autograd(self, np, y, w):
        for _ in range(self.length // 2):
            y = np.tanh(w * y)
        return y


@dataclass(frozen=True)
class MLP(Case):
    """A training step of a network with widths I, H, H, O, relu between them."""

    B: int
    I: int
    H: int
    O: int

    @property
    def widths(self):
        return list(zip((self.I, self.H, self.H), (self.H, self.H, self.O)))

    def arrays(self, dtype):
        rng, weights = np.random.default_rng(0), {}
        for i, (n, m) in enumerate(self.widths):
            weights[f"{2 * i}.weight"] = (rng.standard_normal((m, n)) / np.sqrt(n)).astype(dtype)
            weights[f"{2 * i}.bias"] = (0.1 * rng.standard_normal(m)).astype(dtype)
        return {
            "weights": weights,
            "x": rng.standard_normal((self.B, self.I)).astype(dtype),
            "y": rng.integers(0, self.O, self.B),
        }

    def work(self):
        products = [p for i, (n, m) in enumerate(self.widths) for p in linear(self.B, n, m, i > 0)]
        return training(
            products,
            sum((n + 1) * m for n, m in self.widths),
            self.B * (self.I + 2 * self.H + self.O),
        )

    @property
    def items(self):
        return 1, "steps"

    def ours(self, peer, a):
        nn, F = peer.module.nn, peer.module.functional
        layers = [nn.Linear(n, m, rng=0, dtype=peer.dtype) for n, m in self.widths]
        model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        model = peer.model(model, a["weights"])
        return peer.train(model, lambda: F.cross_entropy(model(a["x"]), a["y"]))

    def torch(self, peer, a):
        nn = peer.module.nn
        (I, H), _, (_, O) = self.widths
        model = peer.model(
            nn.Sequential(nn.Linear(I, H), nn.ReLU(), nn.Linear(H, H), nn.ReLU(), nn.Linear(H, O)),
            a["weights"],
        )
        return peer.train(model, lambda: nn.functional.cross_entropy(model(a["x"]), a["y"]))

    def jax(self, peer, a):
        return peer.train(
            a["weights"], lambda w, x, y: _loss(peer.module.numpy, w, x, y), a["x"], a["y"]
        )

    def autograd(self, peer, a):
        return peer.train(a["weights"], lambda w, x, y: _loss(peer.module, w, x, y), a["x"], a["y"])


def _loss(np, w, x, y):
    for i in (0, 2):
        x = np.maximum(np.dot(x, w[f"{i}.weight"].T) + w[f"{i}.bias"], 0.0)
    return cross_entropy(np, np.dot(x, w["4.weight"].T) + w["4.bias"], y)
