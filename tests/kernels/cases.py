"""Kernels, their reference implementations, and calls of both to compare.

A Case draws calls of an operation: `shapes` is a Hypothesis strategy of what `make` takes after a
random generator and a dtype, and returns (args, options) of `forward`. `examples` are a few shapes
for tests that take long: among them more than one block, and lengths that are no multiple of
anything.
"""

from importlib import import_module
from typing import Callable, NamedTuple

import numpy as np
from hypothesis import strategies as st

from nanoautograd import optim
from nanoautograd.backends import array_namespace
from nanoautograd.core.tensor import Tensor
from nanoautograd.nn import Parameter


class Case(NamedTuple):
    name: str  # of the file: nanoautograd/kernels/cuda/sources/<name>.cu, or naive/...
    shapes: object  # strategy of tuples
    make: Callable  # (rng, dtype, *shape) -> (args, options)
    examples: tuple
    manual: str = ""  # nanoautograd/manual/<manual>.py, if its name is another
    host: str = ""  # cuda/<host>.py, if it is not launchers/<name>.py
    dtypes: tuple = ("float32", "float64")
    sources: tuple = ()  # ({macro: value}, ...) with which the .cu is compiled for a GPU
    results: Callable = None  # (module, args, options) -> arrays, if forward has no backward
    headers: tuple = ()  # of which mutants are tested, beside those of the .cu
    precision: str = "float32"  # of products
    tolerance: float = 0  # 0: that of the dtype

    @property
    def title(self):
        return self.name if self.precision == "float32" else f"{self.name}-{self.precision}"

    @property
    def kernel(self):
        host = self.host or f"launchers/{self.name}"
        return import_module(f"nanoautograd.kernels.cuda.{host.replace('/', '.')}")

    @property
    def file(self):
        """From sources/, as a Source takes it."""
        return f"{'../' * self.name.startswith('naive/')}{self.name}.cu"

    @property
    def reference(self):
        return import_module(f".{self.manual or self.name}", "nanoautograd.manual")


def normal(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def cross_entropy(rng, dtype, N, C, reduction, ignored, smoothing):
    y = rng.integers(0, C, N)
    y[rng.random(N) < ignored] = -100
    x = 4 * normal(rng, dtype, N, C)
    x[rng.random((N, C)) < 0.1] = -np.inf if C > 1 else 0.0
    x[np.arange(N), np.maximum(y, 0)] = 1.0  # no loss is infinite
    if smoothing:
        x = np.maximum(x, -50.0)
    return (x, y.astype(rng.choice(["int32", "int64"]))), {
        "reduction": reduction,
        "label_smoothing": smoothing,
    }


def embedding(rng, dtype, M, V, D, padding, often):
    """often: how many of the ids are one and the same."""
    ids = rng.integers(0, V, M)
    ids[rng.random(M) < often] = V // 2
    return (ids.astype(rng.choice(["uint8", "int32", "int64"])), normal(rng, dtype, V, D)), {
        "padding_idx": int(rng.integers(-V, V)) if padding else None
    }


def attention(rng, dtype, axes, N, S, d, causal, dropout):
    """axes: batch axes; 3: the heads lie side by side, as in one product for q, k and v."""
    options = {
        "causal": causal,
        "scale": rng.choice([None, 0.5]),
        "p": dropout,
        "seed": int(rng.integers(2**64, dtype="uint64")),
        "offset": int(rng.integers(9)),
    }
    if axes == 3:
        x = normal(rng, dtype, 2, S, 6, d).transpose(0, 2, 1, 3)
        return (x[:, :2], x[:, 2:4], x[:, 4:]), options
    return tuple(normal(rng, dtype, *(2, 2)[:axes], n, d) for n in (N, S, S)), options


ATTENTION = st.tuples(
    st.integers(0, 3),
    st.integers(0, 140),
    st.integers(1, 140),
    st.sampled_from([8, 24, 64, 128]),
    st.booleans(),
    st.sampled_from([0.0, 0.0, 0.3, 1.0]),
)
SOME_ATTENTION = (
    (3, 70, 70, 24, True, 0.0),
    (0, 150, 70, 32, True, 0.0),
    (1, 70, 150, 16, False, 0.3),
)


def dropout(rng, dtype, n, p, offset):
    return (normal(rng, dtype, n),), {
        "p": p,
        "seed": int(rng.integers(2**64, dtype="uint64")),
        "offset": offset,
    }


def gelu(rng, dtype, M, N, bias, approximate):
    return (5 * normal(rng, dtype, M, N), normal(rng, dtype, N) if bias else None), {
        "approximate": approximate
    }


def rms_norm(rng, dtype, M, N, weight, residual):
    x, a = 3 * normal(rng, dtype, M, N), normal(rng, dtype, M, N)
    return (x, normal(rng, dtype, N) if weight else None, a if residual else None), {
        "normalized_shape": (N,),
        "eps": 1e-3,
        "return_sum": residual == 2,
    }


def silu(rng, dtype, n):
    return (5 * normal(rng, dtype, n),), {}


def softmax(rng, dtype, M, C):
    x = 3 * normal(rng, dtype, M, C)
    x[rng.random((M, C)) < 0.1] = -np.inf
    x[:, :1] = 0.0  # no row is -inf throughout
    return (x - 200,), {"axis": -1}  # exp(-200) is 0: m is needed


def layer_norm(rng, dtype, M, N, weight, bias, residual):
    """residual: 0, none; 1, one; 2, one, and the sum is returned."""
    x = 3 * normal(rng, dtype, M, N) + normal(rng, dtype, M, 1)
    w, b = (normal(rng, dtype, N) if given else None for given in (weight, bias))
    a = normal(rng, dtype, M, N) if residual else None
    return (x, w, b, a), {"normalized_shape": (N,), "eps": 1e-3, "return_sum": residual == 2}


# (M, N) of rows.cuh: several rows a block, one row a block; with wide and narrow loads.
ROWS_SHAPES = st.tuples(
    st.integers(0, 20) | st.just(300), st.integers(0, 300) | st.sampled_from([512, 1100, 2052])
)
# Macros of rows.cuh: the most registers, for each way of reading and of adding up.
ROWS = tuple(
    {"T": T, "ITEMS_PER_THREAD": most, "VEC": vec, "THREADS_PER_ROW": threads}
    for T, most, max_vec in (("float", 32, 4), ("double", 16, 2), ("bf16", 32, 8))
    for vec, threads in ((max_vec, 256), (1, 32))
)


def recurrent(gates, states, **more):
    """`make` of a network whose cell has so many gates and states. more: name of an option -> what
    it is drawn from."""

    def make(rng, dtype, T, B, inputs, H, L, D, plain):
        first, bias, some = rng.random(3) < 0.5
        x = normal(rng, dtype, *((B, T) if first else (T, B)), inputs)
        starts = [
            normal(rng, dtype, L * D, B, H) if plain or rng.random() < 0.7 else None
            for _ in range(states)
        ]
        weights = []
        for i in range(L * D):
            rows = gates * H
            shapes = (rows, inputs if i < D else D * H), (rows, H), (rows,), (rows,)
            weights += [
                normal(rng, dtype, *s) / np.sqrt(H).astype(dtype)
                for s in shapes[: 4 if bias or plain else 2]
            ]
        options = {
            "bidirectional": D == 2,
            "batch_first": bool(first),
            "bias": bool(bias or plain),
            "lengths": rng.integers(1, T + 1, B) if some else None,
        }
        if L > 1 and not plain:
            options |= {"dropout": 0.3, "masks": rng.random((L - 1, *x.shape[:2], D * H)) < 0.7}
        options |= {name: rng.choice(values) for name, values in more.items()}
        return (x, *starts, *weights), options

    return make


# T, B, inputs, H, L, D, whether nothing is left out. Examples: several blocks, of one set and of
# several; more sequences than all sets take at once; more pairs than threads.
NETWORKS = st.tuples(
    st.integers(1, 4),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 20) | st.just(40),
    st.integers(1, 2),
    st.integers(1, 2),
    st.booleans(),
)
SOME_NETWORKS = (
    (3, 4, 2, 29, 1, 1, True),
    (2, 7, 3, 18, 2, 2, False),
    (2, 70, 1, 3, 1, 1, True),
    (2, 20, 2, 40, 1, 1, False),
)
# Macros of recurrent.cuh: the least and the most registers.
CUTS = tuple(
    {"T": T, "TF32": tf32, "SEQUENCES_PER_GROUP": S, "PAIRS_PER_THREAD": pairs}
    for T, tf32, S, pairs in (
        ("float", 0, 4, 1),
        ("float", 0, 16, 1),
        ("float", 0, 16, 4),
        ("float", 1, 8, 1),
        ("float", 1, 16, 4),
        ("double", 0, 4, 1),
        ("double", 0, 16, 2),
    )
)


CASES = [
    Case(
        "attention",
        ATTENTION,
        attention,
        SOME_ATTENTION,
        sources=tuple(
            {"T": T, "MAX_HEAD_DIM": D, "DROPOUT": r}
            for T in ("float", "double")
            for D in (64, 128)
            for r in (0, 1)
        ),
        headers=("attention.cuh",),
    ),
    Case(
        "attention_mma",
        ATTENTION,
        attention,
        SOME_ATTENTION,
        host="launchers/attention",
        manual="attention",
        dtypes=("float32",),
        precision="tf32",
        tolerance=5e-2,  # with few keys dP - D is a small difference of rounded numbers
        sources=tuple(
            {"T": T, "MAX_HEAD_DIM": D, "DROPOUT": r}
            for T in ("float", "bf16")
            for D in (64, 128)
            for r in (0, 1)
        ),
    ),
    Case(
        "cross_entropy",
        st.tuples(
            st.integers(0, 9),
            st.integers(1, 700) | st.sampled_from([1024, 2000]),
            st.sampled_from(["mean", "sum", "none"]),
            st.sampled_from([0.0, 0.3, 1.0]),
            st.sampled_from([0.0, 0.1]),
        ),
        cross_entropy,
        (
            (5, 1100, "mean", 0.3, 0.1),
            (3, 16, "sum", 0.0, 0.0),
            (4, 333, "none", 0.3, 0.0),
            (40, 3, "mean", 0.3, 0.0),
        ),
        sources=tuple(
            {"T": T, "TargetT": Y}
            for T, Y in (("float", "int"), ("double", "long long"), ("bf16", "int"))
        ),
        headers=("common.cuh",),
    ),
    Case(
        "dropout",
        st.tuples(
            st.integers(0, 3000),
            st.sampled_from([0.1, 0.5, 1.0]),
            st.integers(0, 9) | st.integers(0, 2**64 - 4000),
        ),
        dropout,
        ((1500, 0.5, 2**40), (1101, 0.3, 3)),
        sources=tuple({"T": T} for T in ("float", "double", "bf16")),
        headers=("philox.cuh",),
    ),
    Case(
        "embedding",
        st.tuples(
            st.integers(0, 150),
            st.integers(1, 9),
            st.integers(0, 40) | st.sampled_from([64, 200]),
            st.booleans(),
            st.sampled_from([0.0, 0.5, 1.0]),
        ),
        embedding,
        (
            (150, 5, 8, False, 0.5),
            (70, 3, 33, True, 0.0),
            (300, 2, 3, False, 1.0),
            (20, 9, 140, False, 0.3),
            (32, 9, 12, True, 0.0),
        ),
        sources=tuple(
            {"T": T, "IdT": ID}
            for T, ID in (("float", "int"), ("double", "long long"), ("bf16", "unsigned char"))
        ),
    ),
    Case(
        "gelu",
        st.tuples(
            st.integers(0, 40),
            st.integers(0, 70) | st.sampled_from([512, 1101]),
            st.booleans(),
            st.sampled_from(["none", "tanh"]),
        ),
        gelu,
        (
            (1, 1500, False, "none"),
            (3, 367, False, "tanh"),
            (300, 12, True, "tanh"),
            (7, 1101, True, "none"),
        ),
        sources=tuple({"T": T} for T in ("float", "double", "bf16")),
        headers=("elementwise.cuh", "partials.cuh"),
    ),
    Case(
        "layer_norm",
        st.tuples(ROWS_SHAPES, st.booleans(), st.booleans(), st.integers(0, 2)).map(
            lambda a: (*a[0], *a[1:])
        ),
        layer_norm,
        (
            (300, 9, True, True, 0),
            (3, 1100, True, True, 2),
            (2, 1101, True, False, 2),
            (5, 64, False, True, 1),
        ),
        sources=ROWS,
        headers=("columns.cuh", "rows.cuh"),
    ),
    Case(
        "log_softmax",
        ROWS_SHAPES,
        softmax,
        ((9, 12), (3, 1100), (2, 1101)),
        sources=ROWS,
        headers=("rows.cuh", "common.cuh"),
    ),
    Case("softmax", ROWS_SHAPES, softmax, ((9, 12), (3, 1100), (2, 1101)), sources=ROWS),
    Case(
        "rms_norm",
        st.tuples(ROWS_SHAPES, st.booleans(), st.integers(0, 2)).map(lambda a: (*a[0], *a[1:])),
        rms_norm,
        ((300, 9, True, 0), (3, 1100, True, 2), (2, 1101, True, 2), (5, 64, False, 1)),
        sources=ROWS,
        headers=("columns.cuh",),
    ),
    Case(
        "silu",
        st.tuples(st.integers(0, 3000)),
        silu,
        ((1500,), (1101,)),
        sources=tuple({"T": T} for T in ("float", "double", "bf16")),
        headers=("elementwise.cuh",),
    ),
    Case(
        "gru",
        NETWORKS,
        recurrent(3, 1),
        SOME_NETWORKS,
        sources=CUTS,
        headers=("recurrent.cuh", "recurrent_float.cuh", "common.cuh"),
    ),
    Case(
        "lstm", NETWORKS, recurrent(4, 2), SOME_NETWORKS, sources=CUTS, headers=("recurrent.cuh",)
    ),
    Case(
        "lstm",
        NETWORKS,
        recurrent(4, 2),
        SOME_NETWORKS,
        dtypes=("float32",),
        headers=("recurrent_tf32.cuh",),
        precision="tf32",
        tolerance=3e-3,
    ),
    Case(
        "rnn",
        NETWORKS,
        recurrent(1, 1, nonlinearity=["tanh", "relu"]),
        SOME_NETWORKS,
        sources=tuple({**cut, "RELU": i % 2} for i, cut in enumerate(CUTS)),
        headers=("recurrent.cuh",),
    ),
]


def adam(rng, dtype, sizes, cut, optimizer, weight_decay):
    """cut: the arrays do not begin at multiples of 16 bytes. Args: θ, g, m, v of each parameter."""
    arrays = [normal(rng, dtype, size + cut)[int(cut) :] for size in sizes for _ in range(4)]
    for v in arrays[3::4]:
        np.abs(v, out=v)
    return arrays, {
        "optimizer": optimizer,
        "lr": 0.1,
        "betas": (0.8, 0.9),
        "eps": 1e-3,
        "weight_decay": weight_decay,
    }


def stepped(module, args, options):
    """θ, m and v after a step: the first for every other parameter, the fourth for the rest. They
    are changed in place."""
    arrays, options = args, dict(options)
    jobs = [(i // 4 % 2, arrays[i : i + 4]) for i in range(0, len(arrays), 4)]
    optimizer = getattr(optim, options.pop("optimizer"))([Parameter(np.zeros(1))], **options)
    (group,), t = optimizer.param_groups, (1, 4)
    if module is optim:
        for odd, (theta, g, m, v) in jobs:
            optimizer.update(group, t[odd], theta, g, m, v)
    elif jobs:
        xp = array_namespace(arrays[0])
        steps = [xp.full((), t[odd] - 1, dtype=np.int64) for odd, _ in jobs]
        options = {**group, "lr": group.rate(arrays[0], "float64")}
        rows = [(step, *arrays) for step, (_, arrays) in zip(steps, jobs)]
        module.update([(options, rows[:3]), (options, rows[3:])], type(optimizer) is optim.AdamW)
        assert [int(step) for step in steps] == [t[odd] for odd, _ in jobs]
    return [a for i, a in enumerate(arrays) if i % 4 != 1]


def gradients(rng, dtype, sizes, cut, max_norm, unit):
    """Args: the gradients, which do not begin at multiples of 16 bytes if `cut`."""
    arrays = [
        normal(rng, dtype, size + cut)[int(cut) :] * np.dtype(dtype).type(unit) for size in sizes
    ]
    return arrays, {"max_norm": max_norm}


def clipped(module, args, options):
    """The gradients and the norm before."""
    if module is not optim:
        new, norm = module.clip(args, **options)
        return [*new, norm]
    params = [Parameter(g) for g in args]
    for p in params:
        p.grad = Tensor(p.data)
    norm = optim.clip_grad_norm_(params, **options)
    return [*(p.grad.data for p in params), np.array(norm) if type(norm) is float else norm]


# Macros of many.cuh.
MANY = tuple(
    {"T": T, "MAX_PARAMETERS": 64, "CHUNK_SIZE": 4096} for T in ("float", "double", "bf16")
)
# Second implementations of what is in optim/, not in manual/.
OTHERS = [
    Case(
        "adam",
        st.tuples(
            st.lists(st.integers(0, 90) | st.just(4500), min_size=1, max_size=9),
            st.booleans(),
            st.sampled_from(["Adam", "AdamW"]),
            st.sampled_from([0.0, 0.3]),
        ),
        adam,
        (
            ((3, 4097, 64), False, "Adam", 0.3),
            ((5, 40) * 34, False, "AdamW", 0.3),
            ((300, 7), True, "Adam", 0.0),
        ),
        manual=".optim",
        results=stepped,
        sources=MANY,
        headers=("many.cuh",),
    ),
    Case(
        "clip",
        st.tuples(
            st.lists(st.integers(0, 90) | st.just(4500), min_size=1, max_size=9),
            st.booleans(),
            st.sampled_from([0.5, 1000.0]),
            st.sampled_from([1.0, 1e25, 1e-25]),  # whose squares are no floats
        ),
        gradients,
        (
            ((3, 4097, 64, 8200), False, 0.5, 1.0),
            ((5, 40) * 34, False, 7.0, 1.0),
            ((1300, 7), True, 1000.0, 1.0),
            ((3, 4097, 64), False, 0.5, 1e25),
        ),
        manual=".optim",
        results=clipped,
        sources=MANY,
        headers=("many.cuh",),
    ),
]


def network(rng, dtype, T, B, inputs, H):
    """One layer in one direction, with all that can be given."""
    shapes = (T, B, inputs), (1, B, H), (H, inputs), (H, H), (H,), (H,)
    return [normal(rng, dtype, *s) / np.sqrt(H).astype(dtype) for s in shapes], {}


# In naive/, where they are written to be read.
IN_TWO_TYPES = {"T": "float"}, {"T": "double"}
NAIVE = [
    Case(
        "naive/cross_entropy",
        st.tuples(
            st.integers(0, 200),
            st.integers(1, 30),
            st.sampled_from(["mean", "sum", "none"]),
            st.just(0.0),
            st.just(0.0),
        ),
        cross_entropy,
        ((9, 30, "mean", 0.0, 0.0), (200, 3, "none", 0.0, 0.0)),
        manual="cross_entropy",
        host="naive/cross_entropy",
        sources=IN_TWO_TYPES,
    ),
    Case(
        "naive/attention",
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 30),
            st.integers(1, 30),
            st.integers(1, 20),
            st.booleans(),
            st.just(0.0),
        ),
        attention,
        ((1, 20, 9, 7, False, 0.0), (2, 40, 40, 5, True, 0.0), (0, 3, 30, 1, True, 0.0)),
        manual="attention",
        host="naive/attention",
        sources=IN_TWO_TYPES,
    ),
    Case(
        "naive/rnn",
        st.tuples(*[st.integers(1, n) for n in (5, 20, 9, 20)]),
        network,
        ((3, 7, 5, 20), (1, 1, 1, 1), (2, 20, 9, 7)),
        manual="rnn",
        host="naive/rnn",
        sources=IN_TWO_TYPES,
    ),
]

ALL = CASES + OTHERS + NAIVE
IN_BFLOAT16 = [case for case in ALL if any(m["T"] == "bf16" for m in case.sources)]
