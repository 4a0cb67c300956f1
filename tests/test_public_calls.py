"""Everything public, called with arguments of every kind: a right answer, or a clear refusal.

A call is one that works (from the table of operations, or from BASES below), with some of its
arguments replaced by anything: Tensors and arrays of all dtypes, lists, None, huge numbers.
What it answers must be one of two.

A refusal: an error of a kind that is meant for people, whose text names nothing internal.

A result: if it depends on an input that requires a gradient (which is seen by moving that input),
then that input gets a gradient, and where the slope can be measured, that slope.
"""

import contextlib
import decimal
import fractions
import math
import re
import signal
import warnings
from array import array
from collections import deque
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import functional, nn, optim
from nanoautograd.backends import is_float, to_numpy
from nanoautograd.testing.operations import OPERATIONS
from nanoautograd.testing.programs import Value

# ---- arguments: how each is made, for it is made anew for every call


@dataclass(frozen=True, eq=False)
class Made:
    """An argument that `make` makes; `text` is what it is written as."""

    text: str
    make: Any

    def __repr__(self):
        return self.text


@dataclass(frozen=True, eq=False)
class Leaf:
    """A Tensor that requires a gradient."""

    array: Any

    def __repr__(self):
        return f"leaf({self.array.tolist()}, {self.array.dtype}, {self.array.shape})"


def made(text):
    return Made(text, lambda: eval(text, SCOPE))


def build(recipe, tensor_of):
    """The argument that a recipe describes; tensor_of makes the Tensor of a Leaf."""
    if isinstance(recipe, Leaf):
        return tensor_of(recipe)
    if isinstance(recipe, Made):
        return recipe.make()
    if isinstance(recipe, list | tuple):
        return type(recipe)(build(r, tensor_of) for r in recipe)
    if isinstance(recipe, dict):
        return {key: build(r, tensor_of) for key, r in recipe.items()}
    return recipe.copy() if isinstance(recipe, np.ndarray) else recipe


def leaves_of(recipe):
    """The leaves in a recipe."""
    if isinstance(recipe, dict):
        recipe = [*recipe.values()]
    if isinstance(recipe, list | tuple):
        return [leaf for r in recipe for leaf in leaves_of(r)]
    return [recipe] if isinstance(recipe, Leaf) else []


def squared_sum(*xs):
    """A function to differentiate."""
    return nag.sum(nag.stack([nag.sum(nag.square(x)) for x in xs]))


SCOPE = {
    "nn": nn,
    "array": array,
    "deque": deque,
    "Fraction": fractions.Fraction,
    "Decimal": decimal.Decimal,
    "bfloat16": ml_dtypes.bfloat16,
    "nag": nag,
    "np": np,
    "x": np.array([0.7, -1.3, 0.4]),
    "m": np.array([[0.3, 1.7, -0.6], [-1.1, 0.2, 0.9]]),
}
SCOPE["loop"] = [1.0]
SCOPE["loop"].append(SCOPE["loop"])
FLOATS = [0.7, -1.3, 0.4]
LEAVES = [
    *map(Leaf, (SCOPE["x"], SCOPE["m"], np.array(0.6), np.zeros(0), np.zeros((2, 0)))),
    *(Leaf(np.array(FLOATS, dtype)) for dtype in ("float32", "float16", ml_dtypes.bfloat16)),
]
TENSORS = [
    made(f"nag.Tensor({text})")
    for text in (
        "x",
        "m",
        "np.int64(1)",
        "[2, 0, 0]",
        "[True, False, True]",
        "m > 0",
        "[1j, 2.0, 0.5]",
        "np.uint8([1, 2, 0])",
        "np.float32([0.5, 0.2, 0.1])",
        "[np.nan, np.inf, -np.inf]",
    )
]
ARRAYS = [
    made(text)
    for text in (
        "x.copy()",
        "m[:, ::-1]",
        "m.T",
        "np.broadcast_to(x, (2, 3))",
        "np.float32([0.5, 0.2, 0.1])",
        "np.float16([0.5, 0.2, 0.1])",
        "x.astype(bfloat16)",
        "np.array([2, 0, 0])",
        "np.array([-1, 5, 7])",
        "np.uint8([1, 2, 0])",
        "m > 0",
        "np.array([1j, 2, 3])",
        "np.array([1, None, 'a'], object)",
        "np.array(['a', 'b', 'c'])",
        "np.array(['2020-01-01'], 'datetime64[D]')",
        "np.zeros(3, 'i4,f8')",
        "np.zeros((0, 3))",
        "np.array(1.5)",
        "np.float32(0.5)",
        "np.int64(1)",
        "np.bool_(True)",
        "np.ma.array([1.0, 2.0, 3.0])",
    )
]
SEQUENCES = [
    [1.0, 2.0, 3.0],
    [[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]],
    [[1.0], [2.0, 3.0]],
    [0, 0, 1],
    (0, 0, 1),
    (1, 0),
    ((0, 0), (1, 1)),
    [],
    (),
    [True, False, True],
    ["a", 1],
    [LEAVES[0], LEAVES[0]],
    (LEAVES[1], 1.0),
    ([LEAVES[0]], LEAVES[2]),
    *map(made, ("array('d', [1, 2, 3])", "deque([0, 0, 1])", "range(3)", "iter([1, 2])")),
    *map(made, ("loop", "[[1.0, 2.0], loop]", "{'a': loop}")),
    *map(made, ("{'a': x}", "{1, 2}", "{}", "(i for i in (0, 1))")),
]
OTHERS = [
    None,
    Ellipsis,
    *("abc", "mean", "float32", "", b"ab", "cpu"),
    *(True, False, 0, 1, -1, 2, 3, 10**15, -(10**15), 10**30),
    *(0.5, -0.5, 1e300, -0.0, float("nan"), float("inf"), 1j),
    *map(made, ("Fraction(1, 2)", "Decimal('0.5')", "float", "np.float32", "np.int64", "complex")),
    *map(made, ("slice(None)", "slice(2, 0, -1)", "slice('a', None)", "slice(0.5)")),
    *map(made, ("nag.sin", "np.sin", "object()", "np.dtype('int8')", "np", "nag.Tensor")),
]
anything = st.one_of(*map(st.sampled_from, (LEAVES, TENSORS, ARRAYS, SEQUENCES, OTHERS)))


# ---- what is called


def transform(name):
    def called(f, *args, **options):
        return getattr(nag, name)(f, **options)(*args)

    return called


def pulled(f, x, v):
    y, pull = nag.vjp(f, x)
    return y, pull(v)


def steps(name):
    def called(params, *args, gradient=1.0, **options):
        optimizer = getattr(optim, name)(params, *args, **options)
        for p in [p for group in optimizer.param_groups for p in group["params"]]:
            p.grad = np.full(p.shape, gradient)
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.zero_grad()

    return called


def clipped(*args, **options):
    for p in args[0] if isinstance(args[0], list) else ():
        if isinstance(p, nag.Tensor) and p.requires_grad:
            p.grad = np.ones(p.shape)
    optim.clip_grad_norm_(*args, **options)


def assigned(name):
    def called(self, value):
        setattr(self, name, value)

    return called


def method(name):
    def called(self, *args, **options):
        return getattr(self, name)(*args, **options)

    return called


def in_place(name):
    def called(self, *args):
        y = self * 1  # a leaf that requires a gradient refuses
        result = getattr(y, name)(*args)
        return y if name == "__setitem__" else result

    return called


X, M, S = LEAVES[:3]
WEIGHTS = [Leaf(np.array([0.5, -0.2])), Leaf(np.array([[0.1]]))]
# Calls that work, of what is not in the table of operations.
BASES = {
    "Tensor": [([FLOATS], {"dtype": "float32"}), ([FLOATS], {"requires_grad": True})],
    "array_equal": [([X, X], {})],
    "allclose": [([X, X], {"rtol": 0.1})],
    "isclose": [([X, X], {"atol": 0.1})],
    "autograd.grad": [([S, S], {}), ([[S, S], [S]], {"grad_outputs": [0.5, 2.0]})],
    "bincount": [([made("np.array([2, 0, 0])")], {"weights": X}), ([TENSORS[3]], {})],
    "from_dlpack": [([made("x.copy()")], {})],
    "full_like": [([M, 2.0], {}), ([M, S], {"dtype": "float32"})],
    "function": [([nag.sin.forward], {})],
    "custom_vjp": [(["f", np.sin, np.cos, np.sin], {})],
    "grad": [([squared_sum, X], {}), ([squared_sum, X, M], {"argnums": (0, 1)})],
    "hessian": [([squared_sum, X], {})],
    "hvp": [([squared_sum, [X], [X]], {})],
    "jacobian": [([nag.sin, X], {"argnums": 0})],
    "jvp": [([nag.sin, [X], [X]], {})],
    "load": [(["abc"], {})],
    "save": [(["saved", {"a": X}], {})],
    "searchsorted": [([made("np.array([0.0, 1.0])"), X], {"side": "left"})],
    "value_and_grad": [([squared_sum, X], {}), ([squared_sum, X, M], {"argnums": 1})],
    "vjp": [([nag.sin, X, X], {})],
    "optim.SGD": [([WEIGHTS], {"lr": 0.1, "momentum": 0.9})],
    "optim.Adam": [([WEIGHTS], {"lr": 0.1, "betas": (0.9, 0.99)})],
    "optim.AdamW": [([WEIGHTS], {"lr": 0.1, "weight_decay": 0.1})],
    "optim.clip_grad_norm_": [([WEIGHTS, 0.5], {"norm_type": 2.0})],
    "optim.learning_rate": [([3, 0.1, 10], {"warmup": 2, "decay": "linear"})],
    "Tensor.backward": [([S], {}), ([X], {"gradient": FLOATS})],
    "Tensor.requires_grad_": [([X, True], {})],
    "Tensor.grad=": [([X, made("x.copy()")], {})],
    "Tensor.data=": [([X, made("x.copy()")], {})],
    "Tensor.requires_grad=": [([made("nag.Tensor(x)"), True], {})],
    "Tensor.__setitem__": [([M, 0, 1.5], {}), ([M, made("slice(1)"), X], {})],
    "Tensor.__iadd__": [([M, X], {})],
    "Tensor.__imul__": [([M, X], {})],
    "Tensor.__ipow__": [([M, 2], {})],
    "Tensor.__format__": [([S, ".2f"], {})],
}
SPECIAL = {
    **{name: transform(name) for name in ("grad", "value_and_grad", "jacobian", "hessian")},
    **{f"optim.{name}": steps(name) for name in ("SGD", "Adam", "AdamW")},
    "vjp": pulled,
    "optim.clip_grad_norm_": clipped,
}
# What is not called here: modules, what lives for a `with` block, and exceptions.
LEFT_OUT = {
    "autograd",
    "backends",
    "checkpoint",
    "cuda",
    "functional",
    "nn",
    "optim",
    "testing",
} | {
    *("detect_anomaly", "enable_grad", "no_grad", "keep_memory", "set_num_threads"),
    *("AnomalyError", "GraphError", "ShapeError"),
}
OPERATORS = [
    f"__{side}{name}__"
    for name in "add sub mul truediv pow matmul mod floordiv and or xor".split()
    for side in ("", "r", "i")
]
OPERATORS += [f"__{name}__" for name in "eq ne lt le gt ge neg pos abs invert".split()]
OPERATORS += [f"__{name}__" for name in "getitem setitem array float format deepcopy".split()]
METHODS = [
    name for name in dir(nag.Tensor) if name[0] != "_" and callable(getattr(nag.Tensor, name))
]
ASSIGNED = ("grad=", "data=", "requires_grad=")
# Those whose purpose is to give the value without its history, or a part of it.
WITHOUT_HISTORY = {
    f"Tensor.{name}"
    for name in "detach item tolist data= requires_grad= requires_grad_ __deepcopy__".split()
}
WITHOUT_HISTORY |= {"functional.embedding"}  # the row padding_idx has the gradient 0

NAMES = (
    sorted(set(nag.__all__) - LEFT_OUT)
    + ["autograd.grad"]
    + [f"functional.{name}" for name in functional.__all__]
    + [f"optim.{n}" for n in ("SGD", "Adam", "AdamW", "clip_grad_norm_", "learning_rate")]
    + [f"Tensor.{name}" for name in (*METHODS, *OPERATORS, *ASSIGNED)]
)


def called(name):
    """The function that a name stands for."""
    if name in SPECIAL:
        return SPECIAL[name]
    *place, last = name.split(".")
    if place != ["Tensor"]:
        home = nag
        for part in place:
            home = getattr(home, part)
        return getattr(home, last)
    if last in ASSIGNED:
        return assigned(last[:-1])
    changes = last == "__setitem__" or last.startswith("__i") and last != "__invert__"
    return (in_place if changes else method)(last)


def row_of(name):
    """The row of the table of operations that has calls for a name, or None."""
    last = name.removeprefix("Tensor.").strip("_")
    full = dict(sub="subtract", mul="multiply", truediv="divide", pow="power", mod="remainder")
    for known in (name, last, full.get(last), full.get(last[1:]), last[1:]):
        if known in OPERATIONS:
            return OPERATIONS[known]
    return None


def filled(arg, inputs):
    """An argument of an instruction as a recipe."""
    if isinstance(arg, Value):
        return Leaf(inputs[arg.number])
    if isinstance(arg, list | tuple):
        return type(arg)(filled(a, inputs) for a in arg)
    return arg


@st.composite
def calls(draw, name, strange=anything):
    """(args, options): recipes for a call that works, in which some arguments were replaced."""
    row = row_of(name)
    if name in BASES:
        args, options = draw(st.sampled_from(BASES[name]))
    elif row is not None:
        program = draw(row.calls)
        step = program.instructions[0]
        args = [filled(a, program.inputs) for a in step.args]
        options = {key: filled(a, program.inputs) for key, a in step.options.items()}
    else:
        args = [draw(st.sampled_from(LEAVES)), *draw(st.lists(strange, max_size=2))]
        options = {}
    args, options = [*args], {**options}
    if name.startswith("Tensor.") and isinstance(args[0], float):
        args[0] = S
    first = 1 if name.startswith("Tensor.") else 0  # the Tensor itself stays
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(first, len(args) + len(options)))
        keys = [*range(len(args)), *options]
        if place < len(args):
            args[place] = draw(strange)
        elif place < len(keys):
            options[keys[place]] = draw(strange)
        elif draw(st.booleans()):
            args.append(draw(strange))
        else:
            options[draw(st.sampled_from(["axis", "dtype", "keepdims", "out", "where"]))] = draw(
                strange
            )
    return args, options


# ---- what is answered

MEANT_FOR_PEOPLE = (
    *(TypeError, ValueError, IndexError, OverflowError, MemoryError, ZeroDivisionError),
    *(OSError, BufferError, NotImplementedError, nag.GraphError),
)
INTERNAL = re.compile(
    r"\b_(array|storage|edge|leaf|version)\b|'NoneType' object|<lambda>|has no attribute"
    r"|local variable|not subscriptable|has no len|to unpack"
)


class Hangs(Exception):
    """The call took longer than the limit."""


@contextlib.contextmanager
def limited(seconds):
    """Raises Hangs if the block takes longer."""

    def stop(*_):
        raise Hangs(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def results(f, recipe, tensor_of):
    """The Tensors, arrays and numbers that a call returns, in one list."""
    args, options = build(recipe, tensor_of)
    found = [f(*args, **options)]
    for y in found:  # it grows
        if isinstance(y, list | tuple):
            found.extend(y)
    return [y for y in found if not isinstance(y, list | tuple)]


def weights(shape):
    return (np.cos(np.arange(math.prod(shape))) + 1.5).reshape(shape)


def direction(shape):
    return (np.sin(np.arange(math.prod(shape))) + 1.2).reshape(shape)


def total(ys):
    """(Σ ⟨w, y⟩ over the floating or complex results, the size of its terms, the shapes)."""
    terms, shapes = [], []
    for y in ys:
        y = to_numpy(y.data) if isinstance(y, nag.Tensor) else y
        if isinstance(y, np.ndarray | np.generic | float | complex):
            y = np.asarray(y)
            if y.dtype.kind == "c" or is_float(y.dtype):
                y = y.astype(complex if y.dtype.kind == "c" else float)
                terms.append((weights(y.shape) * y).ravel())
                shapes.append(y.shape)
    terms = np.concatenate([np.zeros(1), *terms])
    return terms.sum(), np.abs(terms).max(), shapes


def measured(f, recipe, which):
    """The slope of a call's total in a direction of one leaf; None if it cannot be measured."""

    def at(h):
        def tensor_of(leaf):
            moves = leaf is which and h
            x = leaf.array + h * direction(leaf.array.shape) if moves else leaf.array
            return nag.Tensor(x, requires_grad=True)

        return total(results(f, recipe, tensor_of))

    try:
        y, size, shapes = at(0)
        slopes = []
        for h in (1e-4, -1e-4, 1e-5, -1e-5):
            moved, _, moved_shapes = at(h)
            assert moved_shapes == shapes
            slopes.append((moved - y) / h)
    except Exception:
        return None
    if not np.isfinite([y, *slopes]).all() or size > 1e4:  # rounding would hide the difference
        return None
    # Where the second derivative is small enough, all four say the same.
    spread = max(abs(s - slopes[-1]) for s in slopes)
    return slopes[-1] if spread <= 1e-2 * abs(slopes[-1]) + 1e-6 * max(1, abs(y)) else None


def claimed(f, recipe, which):
    """The same slope, as the gradient says it."""
    x = []

    def tensor_of(leaf):
        t = nag.Tensor(leaf.array, requires_grad=True)
        x.extend([t] * (leaf is which))
        return t

    ys = [y for y in results(f, recipe, tensor_of) if getattr(y, "requires_grad", False)]
    if not ys:
        return 0.0
    gs = [nag.Tensor(weights(y.shape), dtype=y.dtype, device=y.device) for y in ys]
    found = nag.autograd.grad(ys, x, gs, allow_unused=True)
    d = direction(which.array.shape)
    return sum((to_numpy(g.data) * d).sum() for g in found if g is not None)


def check(name, recipe):
    """Raises AssertionError unless the call is answered as it should be."""
    f = called(name)
    with limited(5), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            results(f, recipe, lambda leaf: nag.Tensor(leaf.array, requires_grad=True))
        except Exception as error:
            text = str(error)
            of_torch = type(error) is RuntimeError and "Tensor" in text
            is_clear = isinstance(error, MEANT_FOR_PEOPLE) and not INTERNAL.search(text) or of_torch
            assert is_clear and text.strip(), f"{type(error).__name__}: {text}"
            return
        if name not in WITHOUT_HISTORY:
            leaves = [x for x in dict.fromkeys(leaves_of(recipe)) if x.array.dtype == np.float64]
            # Two are enough: first those that were put in the place of something else.
            for which in sorted(leaves, key=lambda x: x not in LEAVES)[:2]:
                check_slope(f, recipe, which)


def check_slope(f, recipe, which):
    slope = measured(f, recipe, which)
    if slope is None:
        return
    try:
        found = claimed(f, recipe, which)
    except nag.GraphError:
        return  # refused, clearly: a value was overwritten in place, say
    assert abs(found - slope) <= 2e-2 * abs(slope) + 1e-4, (
        f"the slope with respect to {which} is {slope}, its gradient says {found}"
    )


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_tensors_of_pytorch_are_answered_too(name, tmp_path, monkeypatch, data):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    foreign = [
        Made("torch.tensor(x)", lambda: torch.tensor(SCOPE["x"])),
        Made("torch.tensor([2, 0])", lambda: torch.tensor([2, 0])),
        Made("a leaf of torch", lambda: torch.tensor(SCOPE["x"], requires_grad=True)),
    ]
    check(name, data.draw(calls(name, st.sampled_from(foreign))))


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_a_call_is_answered_rightly_or_refused_clearly(name, tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    check(name, data.draw(calls(name)))


# ---- layers, and what is no array among the arguments of functions

SEED = {"rng": 0, "dtype": np.float32}
RECURRENT = {
    **{"num_layers": 2, "bias": True, "batch_first": False, "dropout": 0.1},
    **{"bidirectional": True, **SEED},
}
X3 = made("np.ones((5, 2, 4), np.float32)")
BATCH = made("np.ones((2, 3, 4), np.float32)")
ENCODER = {
    **{"dim_feedforward": 8, "dropout": 0.1, "activation": "relu", "layer_norm_eps": 1e-5},
    **{"batch_first": True, "norm_first": False, "bias": True, **SEED},
}
MASKS = {"key_padding_mask": None, "attn_mask": None, "need_weights": True, "is_causal": False}
# name: (arguments, options, what the layer is called with)
LAYERS = {
    "Linear": ([4, 3], {"bias": True, **SEED}, [X3]),
    "Embedding": ([5, 4], {"padding_idx": 1, **SEED}, [made("np.array([0, 4])")]),
    "Dropout": ([0.5], {"rng": 0}, [X3]),
    "GELU": (["tanh"], {}, [X3]),
    "LayerNorm": ([4], {"eps": 1e-5, "elementwise_affine": True, "bias": True}, [X3]),
    "RMSNorm": ([4], {"eps": None, "elementwise_affine": True, "dtype": np.float32}, [X3]),
    "RNN": ([4, 3], {"nonlinearity": "relu", **RECURRENT}, [X3]),
    "LSTM": ([4, 3], RECURRENT, [X3]),
    "GRU": ([4, 3], RECURRENT, [X3]),
    "MultiheadAttention": (
        [4, 2],
        {"dropout": 0.1, "bias": True, "kdim": 4, "vdim": 4, "batch_first": True, **SEED},
        [BATCH, BATCH, BATCH],
    ),
    "CausalSelfAttention": ([4, 2], {"dropout": 0.1, "bias": True, **SEED}, [BATCH]),
    "RotaryEmbedding": ([100.0], {}, [BATCH]),
    "CRF": ([4], SEED, [X3, made("np.zeros((5, 2), int)")]),
    "TransformerEncoderLayer": ([4, 2], ENCODER, [BATCH]),
    "TransformerDecoderLayer": ([4, 2], ENCODER, [BATCH, BATCH]),
    "TransformerEncoder": (
        [made("nn.TransformerEncoderLayer(4, 2, 8)"), 2],
        {"norm": None},
        [BATCH],
    ),
    "TransformerDecoder": (
        [made("nn.TransformerDecoderLayer(4, 2, 8)"), 2],
        {"norm": None},
        [BATCH, BATCH],
    ),
    "LoRALinear": ([made("nn.Linear(4, 3)"), 2], {"alpha": 16.0, "rng": 0}, [X3]),
    "Sequential": ([made("nn.Linear(4, 3)"), made("nn.Tanh()")], {}, [X3]),
    "ModuleList": ([[made("nn.Linear(4, 3)")]], {}, None),
    "Parameter": ([FLOATS], {"dtype": np.float32}, None),
    "KVCache": ([BATCH, BATCH], {}, None),
    "add_adapters": (
        [made("nn.Sequential(nn.Linear(4, 3))"), 2],
        {"alpha": 16.0, "names": (), "rng": 0},
        None,
    ),
    **{name: ([], {}, [X3]) for name in ("Identity", "ReLU", "SiLU", "Tanh")},
    **{name: ([made("nn.Linear(4, 3)")], {}, None) for name in ("adapters", "merge_adapters")},
    "random_state": ([made("nn.Dropout()")], {}, None),
    "load_random_state": ([made("nn.Dropout()"), {"": [1, 2]}], {}, None),
    "uniform": ([0, 0.5, 2, 3], {"dtype": np.float32}, None),
    "xavier_uniform": ([0, 2, 3], {"dtype": np.float32}, None),
}
OF_LAYERS = {"Module", "Recurrent"}  # which others inherit
SIZES = "num_layers", 1  # of which any number is made, in a time that is as long
BARE = re.compile(
    INTERNAL.pattern + r"|not supported between|unsupported operand|as an integer|not callable"
    r"|unhashable|not iterable|truth value|recursion"
)


def replaced(draw, args, options, left=()):
    """(args, options), of which one is anything."""
    args, options = [*args], {**options}
    places = [place for place in (*range(len(args)), *options) if place not in left]
    if places:
        place = draw(st.sampled_from(places))
        (options if isinstance(place, str) else args)[place] = draw(anything)
    return args, options


def leaf(recipe):
    return nag.Tensor(recipe.array, requires_grad=True)


def check_text(call):
    """Raises AssertionError unless `call` returns, or refuses in words."""
    with limited(5), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call()
        except Exception as error:
            text = str(error).partition("\n")[0]
            is_clear = isinstance(error, MEANT_FOR_PEOPLE) and not BARE.search(text)
            assert is_clear and text.strip(), f"{type(error).__name__}: {text}"


@pytest.mark.parametrize("name", sorted(LAYERS))
@given(st.data())
def test_a_layer_is_made_rightly_or_refused_clearly(name, data):
    args, options, inputs = LAYERS[name]
    left = SIZES if name in ("TransformerEncoder", "TransformerDecoder") else SIZES[:1]
    args, options = replaced(data.draw, args, options, left)
    make = getattr(nn, name)
    layer = check_text(lambda: make(*build(args, leaf), **build(options, leaf)))
    if layer is not None and inputs is not None:
        inputs, _ = replaced(data.draw, inputs, {}) if data.draw(st.booleans()) else (inputs, {})
        check_text(lambda: layer(*build(inputs, leaf)))


def test_all_layers_are_made():
    names = {name for name, value in vars(nn).items() if name[0] != "_" and callable(value)}
    assert {*LAYERS} | OF_LAYERS == names


@pytest.mark.parametrize("flag", [float("nan"), None, 1, "yes", [True], np.array([True])])
def test_a_flag_is_true_or_false(flag):
    x = np.ones((2, 3, 4))
    for call in (
        lambda: functional.scaled_dot_product_attention(x, x, x, is_causal=flag),
        lambda: functional.scaled_dot_product_attention(x, x, x, return_weights=flag),
        lambda: functional.rotary_embedding(x, interleaved=flag),
        lambda: functional.layer_norm(x, 4, residual=x, return_sum=flag),
        lambda: functional.dropout(x, training=flag),
        lambda: functional.rnn(x, None, x[0, :, :3], x[0, :, :3], bias=flag),
        lambda: nn.MultiheadAttention(4, 2)(x, x, x, is_causal=flag),
    ):
        with pytest.raises(TypeError, match="is True or False; got"):
            call()


def test_a_slice_of_an_embedding_is_of_its_rows():
    table = nn.Embedding(5, 4, padding_idx=1, rng=0)
    y = table(slice(0, 3))
    np.testing.assert_array_equal(y.data, table.weight.data[:3])
    y.sum().backward()
    assert table.weight.grad.numpy()[:, 0].tolist() == [1, 0, 1, 0, 0]
    for rows in (slice(3, 9), slice(-2, None), slice(4, 2), slice(0, 4, 2), slice("a", None)):
        with pytest.raises((IndexError, TypeError, ValueError), match="embedding: "):
            table(rows)
    with pytest.raises(TypeError, match="num_embeddings must be an integer"):
        nn.Embedding(slice(3, 9), 4)
    with pytest.raises(TypeError, match="padding_idx must be an integer"):
        nn.Embedding(9, 4, padding_idx=slice(3, 9))


@pytest.mark.parametrize("mode", [nag.no_grad, nag.enable_grad, nag.detect_anomaly, nag.use_manual])
def test_a_mode_without_parentheses(mode):
    with pytest.raises(TypeError, match=rf"write `with {mode.__name__}\(\):`"):
        with mode:
            pass


def test_all_that_is_public_is_called():
    assert {*NAMES} | LEFT_OUT >= {*nag.__all__}
    assert {*BASES} <= {*NAMES} and {*SPECIAL} <= {*NAMES} and WITHOUT_HISTORY <= {*NAMES}
