"""Single operations, forward and backward, in each library."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from ..case import LR, Case, Operation, Work, attention, linear
from ..peers import adam
from . import losses


@dataclass(frozen=True)
class Matmul(Operation):
    """x W: (m, k) and (k, n)."""

    m: int
    n: int
    k: int

    def inputs(self, rng):
        return [rng.standard_normal((self.m, self.k)), rng.standard_normal((self.k, self.n))]

    def shape(self):
        return self.m, self.n

    def work(self):
        return Work(linear(self.m, self.k, self.n))

    def ours(self, nag, x, W):
        return nag.matmul(x, W)

    def torch(self, torch, x, W):
        return torch.matmul(x, W)

    def jax(self, jax, x, W):
        return jax.numpy.matmul(x, W)

    def autograd(self, np, x, W):
        return np.dot(x, W)


@dataclass(frozen=True)
class Elementwise(Operation):
    """tanh(x ⊙ y + b), b (columns,): operations that the engine composes."""

    rows: int
    columns: int

    def inputs(self, rng):
        shape = self.rows, self.columns
        return [
            rng.standard_normal(shape),
            rng.standard_normal(shape),
            rng.standard_normal(self.columns),
        ]

    def work(self):
        return Work((), 9 * self.rows * self.columns)  # x, y, z; dz, z, x, y, dx, dy

    def ours(self, nag, x, y, b):
        return nag.tanh(x * y + b)

    def torch(self, torch, x, y, b):
        return torch.tanh(x * y + b)

    def jax(self, jax, x, y, b):
        return jax.numpy.tanh(x * y + b)

    def autograd(self, np, x, y, b):
        return np.tanh(x * y + b)


@dataclass(frozen=True)
class Rows(Operation):
    """An operation on each row of x (rows, columns)."""

    rows: int
    columns: int

    def inputs(self, rng):
        return [rng.standard_normal((self.rows, self.columns))]

    def work(self):
        """x is read and y written; y, or what stands for it, and dy are read and dx is written."""
        return Work((), 5 * self.rows * self.columns)


class Sum(Rows):
    """Σ over each row."""

    def shape(self):
        return (self.rows,)

    def work(self):
        return Work((), 2 * self.rows * self.columns)  # x is read, dx is written

    def ours(self, nag, x):
        return nag.sum(x, axis=-1)

    def torch(self, torch, x):
        return torch.sum(x, dim=-1)

    def jax(self, jax, x):
        return jax.numpy.sum(x, axis=-1)

    def autograd(self, np, x):
        return np.sum(x, axis=-1)


class Softmax(Rows):
    manual = "softmax"

    def ours(self, nag, x):
        return nag.functional.softmax(x)

    def torch(self, torch, x):
        return torch.softmax(x, dim=-1)

    def jax(self, jax, x):
        return jax.nn.softmax(x)

    def autograd(self, np, x):
        return losses.softmax(np, x)


class Gelu(Rows):
    """By tanh."""

    manual, options = "gelu", {"approximate": "tanh"}

    def ours(self, nag, x):
        return nag.functional.gelu(x, "tanh")

    def torch(self, torch, x):
        return torch.nn.functional.gelu(x, approximate="tanh")

    def jax(self, jax, x):
        return jax.nn.gelu(x, approximate=True)

    def autograd(self, np, x):
        return losses.gelu_tanh(np, x)


class LayerNorm(Rows):
    manual = "layer_norm"

    def inputs(self, rng):
        return [
            *super().inputs(rng),
            rng.standard_normal(self.columns),
            rng.standard_normal(self.columns),
        ]

    @property
    def options(self):
        return {"normalized_shape": (self.columns,)}

    def ours(self, nag, x, w, b):
        return nag.functional.layer_norm(x, self.columns, w, b)

    def torch(self, torch, x, w, b):
        return torch.nn.functional.layer_norm(x, (self.columns,), w, b)

    def jax(self, jax, x, w, b):
        return losses.layer_norm(jax.numpy, x, w, b)

    def autograd(self, np, x, w, b):
        return losses.layer_norm(np, x, w, b)


class RMSNorm(Rows):
    manual = "rms_norm"

    def inputs(self, rng):
        return [*super().inputs(rng), rng.standard_normal(self.columns)]

    @property
    def options(self):
        return {"normalized_shape": (self.columns,), "eps": 1e-5}

    def ours(self, nag, x, w):
        return nag.functional.rms_norm(x, self.columns, w, 1e-5)

    def torch(self, torch, x, w):
        return torch.nn.functional.rms_norm(x, (self.columns,), w, 1e-5)

    def jax(self, jax, x, w):
        return self.autograd(jax.numpy, x, w)

    def autograd(self, np, x, w):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * w


class CrossEntropy(Rows):
    """Logits (rows, columns), and a class for each row; the mean."""

    manual = "cross_entropy"

    def constants(self, rng):
        return [rng.integers(0, self.columns, self.rows)]

    def shape(self):
        return ()

    @property
    def elements(self):
        return self.rows * self.columns

    def work(self):
        return Work((), 3 * self.rows * self.columns)  # the logits are read twice, dx is written

    def ours(self, nag, z, y):
        return nag.functional.cross_entropy(z, y)

    def torch(self, torch, z, y):
        return torch.nn.functional.cross_entropy(z, y)

    def jax(self, jax, z, y):
        logp = jax.nn.log_softmax(z)
        return -jax.numpy.take_along_axis(logp, y[:, None], axis=-1).mean()

    def autograd(self, np, z, y):
        return losses.cross_entropy(np, z, y)


class Dropout(Rows):
    """With p = 0.1. The masks are random, so only sizes can be compared."""

    manual, options = "dropout", {"p": 0.1, "seed": 0}

    @property
    def tolerance(self):
        return 0.1 + 5.0 / (self.rows * self.columns) ** 0.5

    def ours(self, nag, x):
        return nag.functional.dropout(x, 0.1)

    def torch(self, torch, x):
        return torch.nn.functional.dropout(x, 0.1)

    def jax(self, jax, x):
        keep = jax.random.bernoulli(jax.random.key(0), 0.9, x.shape)
        return jax.numpy.where(keep, x / 0.9, 0.0)

    def autograd(self, np, x):
        return x * (np.random.random(x.shape) < 0.9) / 0.9


@dataclass(frozen=True)
class Embedding(Operation):
    """Rows of a table (vocabulary, width); its gradient."""

    rows: int
    vocabulary: int
    width: int
    manual = "embedding"

    def inputs(self, rng):
        return [rng.standard_normal((self.vocabulary, self.width))]

    def constants(self, rng):
        return [rng.integers(0, self.vocabulary, self.rows)]

    def shape(self):
        return self.rows, self.width

    def work(self):
        return Work((), (4 * self.rows + self.vocabulary) * self.width)

    def arguments(self, inputs, constants):
        return *constants, *inputs

    def ours(self, nag, E, ids):
        return nag.functional.embedding(ids, E)

    def torch(self, torch, E, ids):
        return torch.nn.functional.embedding(ids, E)

    def jax(self, jax, E, ids):
        return E[ids]

    def autograd(self, np, E, ids):
        return E[ids]


@dataclass(frozen=True)
class Attention(Operation):
    """Causal, of `heads` heads of width d."""

    B: int
    heads: int
    T: int
    d: int
    manual, options = "attention", {"causal": True}

    def inputs(self, rng):
        return list(rng.standard_normal((3, self.B, self.heads, self.T, self.d)))

    def work(self):
        # q, k, v are read and o written; they and do are read again and their gradients written
        return Work(
            attention(self.B * self.heads, self.T, self.d, causal=True),
            12 * self.B * self.heads * self.T * self.d,
        )

    def ours(self, nag, q, k, v):
        return nag.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    def torch(self, torch, q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    def jax(self, jax, q, k, v):
        q, k, v = (a.swapaxes(1, 2) for a in (q, k, v))
        return jax.nn.dot_product_attention(q, k, v, is_causal=True).swapaxes(1, 2)

    def autograd(self, np, q, k, v):
        return losses.attention(np, q, k, v, np.tri(self.T, dtype=bool))


@dataclass(frozen=True)
class Adam(Case):
    """A step of the optimiser alone, on `count` arrays that have n parameters in all."""

    n: int
    count: int = 16

    def arrays(self, dtype):
        rng = np.random.default_rng(0)
        return {
            what: {
                str(i): rng.standard_normal(self.n // self.count, dtype="float32").astype(dtype)
                for i in range(self.count)
            }
            for what in ("weights", "grads")
        }

    @property
    def elements(self):
        return self.n

    def work(self):
        return Work((), 7 * self.n)  # θ, g, m, v are read and θ, m, v written

    def ours(self, peer, a):
        from nanoautograd.core.tensor import wrap

        nn, optim = peer.module.nn, peer.module.optim
        parameters = {name: nn.Parameter(w) for name, w in a["weights"].items()}
        for name, p in parameters.items():
            p.grad = wrap(a["grads"][name])
        optimizer = optim.Adam(parameters.values(), lr=LR)

        def step():
            optimizer.step()
            return parameters["0"]

        return step

    def captured(self, peer, a):
        step = self.ours(peer, a)
        theta = []  # the parameter that the step returns

        def to_capture():
            theta[:] = [step()]
            return theta[0].data.reshape(-1)[:1]  # one number, as there is no loss

        captured = peer.module.cuda.capture(to_capture)

        def replay():
            captured()
            return theta[0]

        return replay

    def torch(self, peer, a):
        torch = peer.module
        parameters = {name: torch.nn.Parameter(w) for name, w in a["weights"].items()}
        for name, p in parameters.items():
            p.grad = a["grads"][name]
        optimizer = torch.optim.Adam(parameters.values(), lr=LR)

        def step():
            optimizer.step()
            return parameters["0"]

        return step

    def jax(self, peer, a):
        jax = peer.module
        update = jax.jit(lambda state, grads: _adam(jax.numpy.sqrt, state, grads), donate_argnums=0)
        start = jax.device_put(np.int32(0))
        state = SimpleNamespace(now=(a["weights"], *peer.zeros(a["weights"]), start))

        def step():
            state.now = update(state.now, a["grads"])
            peer.pending = state.now
            return state.now[0]["0"]

        return step

    def autograd(self, peer, a):
        zeros = [{k: np.zeros_like(w) for k, w in a["weights"].items()} for _ in range(2)]
        state = SimpleNamespace(now=(a["weights"], *zeros, 0))

        def step():
            state.now = _adam(np.sqrt, state.now, a["grads"])
            return state.now[0]["0"]

        return step


def _adam(sqrt, state, grads):
    weights, m, v, t = state
    return *adam(sqrt, weights, grads, m, v, t + 1), t + 1
