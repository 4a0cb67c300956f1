"""What is measured: a Case, and the work in it that no implementation can avoid."""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields

import numpy as np

LR = 1e-3  # of Adam, in all training steps


@dataclass(frozen=True)
class Product:
    """`count` times a batch of matrix products (m, k) @ (k, n), of the same arrays. Products that
    follow one another with the same count take turns."""

    m: int
    n: int
    k: int
    batch: int = 1
    count: int = 1

    @property
    def flops(self):
        return 2 * self.m * self.n * self.k * self.batch * self.count


@dataclass(frozen=True)
class Work:
    """What a step has to do at least: its matrix products, and the numbers that it has to read from
    and write to memory outside of them."""

    products: tuple = ()
    moved: int = 0

    @property
    def flops(self):
        return sum(p.flops for p in self.products)


def linear(rows, inputs, outputs, dx=True):
    """The products of y = x Wᵀ, forward and backward: y, dW, and dx."""
    return (
        Product(rows, outputs, inputs),
        Product(outputs, inputs, rows),
        *[Product(rows, inputs, outputs)] * dx,
    )


def attention(batch, T, d, causal):
    """Those of attention: scores and output, and backward those of each argument. With a causal
    mask a query sees half of the keys in the mean."""
    S = max(1, T // 2) if causal else T
    return (
        Product(T, S, d, batch),
        Product(T, d, S, batch),  # q kᵀ, P v
        Product(S, d, T, batch),
        Product(T, S, d, batch),  # dv = Pᵀ do, dP = do vᵀ
        Product(T, d, S, batch),
        Product(S, d, T, batch),
    )  # dq = dA k, dk = dAᵀ q


def training(products, parameters, kept):
    """The work of a training step. Adam reads θ, g, m, v and writes θ, m, v, after g was written;
    what the gradient needs, `kept` numbers, is written on the way forward and read on the way
    back."""
    return Work(tuple(products), 8 * parameters + 2 * kept)


@dataclass(frozen=True)
class Case(ABC):
    """Something to be measured; its fields are its sizes.

    A subclass has a method for each library that it can be computed with, `ours`, `by_hand` (ours,
    the hand-derived gradient called without the engine), `torch`, `jax`, `autograd`: it takes the
    Peer and what `arrays` returned, as the peer's own arrays, and returns a function `step` without
    arguments. A step is what is timed. It returns the result by which the peers are compared, an
    array or a tuple of them: the loss of a training step, the gradients of an operation.
    """

    @abstractmethod
    def arrays(self, dtype):
        """Weights and inputs, NumPy arrays in dicts and lists: the same for all peers, from a
        seed."""

    @abstractmethod
    def work(self):
        """The Work of a step."""

    def build(self, peer, arrays):
        """A function: one step."""
        return getattr(self, peer.library)(peer, arrays)

    def captured(self, peer, arrays):
        """As a CUDA graph: the step of ours."""
        return self.ours(peer, arrays)

    def has(self, library):
        """Whether it can be computed with that."""
        if library in ("products", "copy"):
            work = self.work()
            return bool(work.products if library == "products" else work.moved)
        return hasattr(self, library)

    @property
    def tolerance(self):
        """How far results may differ, relative, in float32."""
        return 1e-4

    @property
    def items(self):
        """(n, name of the items) that a step gets done, for a rate; or None."""
        return None

    @property
    def sizes(self):
        return asdict(self)

    def __str__(self):
        return " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))


def forms(array, *names):
    """What computes the operations of these files of nanoautograd/manual for such arrays: each has
    `forward` and `backward`."""
    from importlib import import_module

    from nanoautograd import functional  # noqa: F401  it gives the operations their fast forms
    from nanoautograd.backends import array_namespace
    from nanoautograd.custom_vjp import CustomVJP

    found = []
    for name in names:
        module = import_module(f"nanoautograd.manual.{name}")
        operations = [x for x in vars(module).values() if isinstance(x, CustomVJP)]
        (own,) = [x for x in operations if x.__module__ == module.__name__]
        found.append(own.form_for(array_namespace(array)))
    return found


@dataclass(frozen=True)
class Operation(Case):
    """An operation forward and backward: y = f(*inputs, *constants), and from a given gradient of y
    those of the inputs.

    A method for a library takes its module (peer.module), the inputs and the constants, and returns
    y. `manual`, the name of the file of nanoautograd/manual, and `options` make `by_hand`.
    """

    manual = None
    options = {}

    @abstractmethod
    def inputs(self, rng):
        """Arrays that are differentiated, in double precision."""

    def constants(self, rng):
        """Arrays of integers."""
        return []

    def shape(self):
        """Of y; by default that of the first input."""
        return self.inputs(np.random.default_rng(0))[0].shape

    def arrays(self, dtype):
        rng = np.random.default_rng(0)
        inputs = [a.astype(dtype) for a in self.inputs(rng)]
        return {
            "inputs": inputs,
            "constants": self.constants(rng),
            "dy": np.asarray(rng.standard_normal(self.shape()), dtype=dtype),
        }

    def build(self, peer, arrays):
        if peer.library == "by_hand":
            return self.by_hand(peer, **arrays)
        f = getattr(self, peer.library)
        return peer.vjp(lambda *args: f(peer.module, *args), **arrays)

    def by_hand(self, peer, inputs, constants, dy):
        (form,) = forms(dy, self.manual)
        args = self.arguments(inputs, constants)
        needs = [any(a is x for x in inputs) for a in args]

        def step():
            y, cache = form.forward(*args, **self.options)
            ds = form.backward(dy, cache)
            return y, *(d for d, need in zip(ds, needs) if need)

        return step

    def arguments(self, inputs, constants):
        """As `forward` takes them."""
        return *inputs, *constants

    def has(self, library):
        return (
            super().has(library)
            and library != "captured"
            and (library != "by_hand" or self.manual is not None)
        )

    @property
    def elements(self):
        """Numbers in y, or in what it is computed from, if that is more."""
        return math.prod(self.shape())
