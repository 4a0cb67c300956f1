"""The table of operations: every public differentiable one, with its domain.

A row says how to draw a call of the operation, as a Program of one instruction (programs.py): with
all forms of its arguments, at points where it is smooth. From a row follow the tests of the result
against plain NumPy, of the gradients of first and second order, of dtypes and shapes, on every
backend (tests/test_operations.py), and the search for mistakes that the tests would miss
(mutants.py). A new operation needs a row here, and nothing else, to be tested.

    >>> from hypothesis import given
    >>> from nanoautograd.testing import gradcheck
    >>> @given(OPERATIONS["tanh"].calls)
    ... def test_tanh(call):
    ...     gradcheck(call, call.inputs, order=2)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..typing import Array, Shape
from . import arguments as some
from .arguments import arrays, axes, broadcastable_shapes, indices, shapes, spread
from .programs import Program, call

__all__ = ["EDGES", "KINKS", "LARGE", "OPERATIONS", "Operation"]

Calls = st.SearchStrategy[Program]
Drawn = Callable[[st.DrawFn], Program]

SIZES = st.one_of(shapes(), shapes(), shapes(min_side=0))  # the last may be empty
FULL = shapes(1, 3)


@dataclass(frozen=True)
class Operation:
    """name: as in `nag.<name>`. calls: a strategy for Programs of one instruction.
    domain: where the operation is smooth, in words; the calls are drawn from there.
    """

    name: str
    calls: Calls
    domain: str = "everywhere"


OPERATIONS: dict[str, Operation] = {}


def row(name: str, calls: Calls, domain: str = "everywhere") -> None:
    OPERATIONS[name] = Operation(name, calls, domain)


def rows(domain: str = "everywhere") -> Callable[[Drawn], Drawn]:
    """Decorator: the function, called with Hypothesis's `draw`, returns a call of the operation
    whose name it has (with an underscore behind it, where Python has the name as well)."""

    def add(draw_call: Drawn) -> Drawn:
        name = draw_call.__name__.rstrip("_").replace("functional_", "functional.")
        row(name, st.composite(draw_call)(), domain)
        return draw_call

    return add


# ---- elementwise


def elementwise(
    name: str,
    low: float = -2.0,
    high: float = 2.0,
    away: Sequence[float] = (),
    margin: float = 0.1,
    domain: str = "everywhere",
) -> None:
    values = arrays(SIZES, low, high, away, margin)
    row(name, values.map(lambda x: call(name, x)), domain)


for _name in (
    "arctan",
    "copy",
    "cos",
    "cosh",
    "erf",
    "exp",
    "expm1",
    "negative",
    "positive",
    "sigmoid",
    "sin",
    "sinh",
    "softplus",
    "square",
    "tanh",
):
    elementwise(_name)
elementwise("abs", away=(0,), domain="x ≠ 0")
elementwise("functional.relu", away=(0,), domain="x ≠ 0")
elementwise("functional.silu")
elementwise("sign", away=(0,), domain="x ≠ 0")
elementwise("arccos", -0.9, 0.9, domain="|x| < 1")
elementwise("arcsin", -0.9, 0.9, domain="|x| < 1")
elementwise("log", 0.2, 3.0, domain="x > 0")
elementwise("log1p", -0.7, 3.0, domain="x > -1")
elementwise("reciprocal", away=(0,), margin=0.3, domain="x ≠ 0")
elementwise("sqrt", 0.2, 3.0, domain="x > 0")
elementwise("tan", -1.2, 1.2, domain="|x| < π/2")
row("astype", arrays(SIZES).map(lambda x: call("astype", x, "float64")))
row(
    "to",
    st.tuples(arrays(SIZES), st.sampled_from(["cpu", "strict"])).map(
        lambda args: call("to", *args)
    ),
)


@st.composite
def pairs(
    draw: st.DrawFn,
    low: tuple[float, float] = (-2.0, -2.0),
    high: tuple[float, float] = (2.0, 2.0),
    away: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> tuple[Array | float, ...]:
    """Two arrays that broadcast together; sometimes a Python number in place of one."""
    sides = draw(st.sampled_from([1, 1, 1, 0]))
    values: list[Array | float] = [
        draw(arrays(*limits))
        for limits in zip(draw(broadcastable_shapes(2, min_side=sides)), low, high, away)
    ]
    number = draw(st.integers(0, 7))
    if number < 2:
        values[number] = float(
            spread((), np.random.default_rng(number), low[number], high[number], away[number])
        )
    return tuple(values)


def pairwise(name: str, domain: str = "everywhere", **limits: Any) -> None:
    row(name, pairs(**limits).map(lambda values: call(name, *values)), domain)


pairwise("add")
pairwise("multiply")
pairwise("subtract")
pairwise("divide", "b ≠ 0", away=((), (0, -0.1, 0.1)))
pairwise("power", "a > 0", low=(0.3, -2.0))
pairwise("arctan2", "not both 0, and not x1 = 0 with x2 < 0", away=((0,), (0,)))


@st.composite
def unequal(draw: st.DrawFn) -> tuple[Array, Array]:
    """Two arrays that broadcast together, of which no two elements are equal."""
    a, b = draw(broadcastable_shapes(2))
    m, n = int(np.prod(a)), int(np.prod(b))
    x = draw(arrays((m + n,)))
    return x[:m].reshape(a), x[m:].reshape(b)


row("maximum", unequal().map(lambda ab: call("maximum", *ab)), "x1 ≠ x2")
row("minimum", unequal().map(lambda ab: call("minimum", *ab)), "x1 ≠ x2")


@rows("a/b not an integer")
def remainder(draw: st.DrawFn) -> Program:
    a, b = draw(broadcastable_shapes(2))
    quotient = draw(arrays(np.broadcast_shapes(a, b), -2.9, 2.9, range(-3, 4), 0.15))
    b = draw(arrays(b, 0.5, 2.0)) * draw(st.sampled_from([-1.0, 1.0]))
    return call("remainder", np.asarray(quotient * b), np.asarray(b))


@rows("a ≠ a_min, a ≠ a_max")
def clip(draw: st.DrawFn) -> Program:
    low, high = draw(st.sampled_from([(-0.5, 0.7), (None, 0.7), (-0.5, None), (None, None)]))
    a = draw(arrays(SIZES, away=(-0.5, 0.7)))
    if low is not None and draw(st.booleans()):
        low = np.asarray(low + spread(a.shape[-1:], np.random.default_rng(0), 0.0, 0.05))
    return call("clip", a, low, high)


@rows()
def where(draw: st.DrawFn) -> Program:
    condition, x, y = draw(broadcastable_shapes(3))
    return call("where", draw(some.masks(condition)), draw(arrays(x)), draw(arrays(y)))


# ---- reductions


def reduction(
    name: str,
    shape: st.SearchStrategy[Shape] = FULL,
    tuples: bool = True,
    domain: str = "everywhere",
    **limits: Any,
) -> None:
    @st.composite
    def calls(draw: st.DrawFn) -> Program:
        a = draw(arrays(shape, **limits))
        return call(name, a, axis=draw(axes(a.ndim, tuples=tuples)), keepdims=draw(st.booleans()))

    row(name, calls(), domain)


reduction("sum", SIZES)
reduction("mean")
reduction("prod", SIZES)
reduction("logsumexp")
reduction("max", domain="no two elements equal")
reduction("min", domain="no two elements equal")


def moments(name: str, domain: str) -> None:
    @st.composite
    def calls(draw: st.DrawFn) -> Program:
        a = draw(arrays(shapes(1, 3, 2, 4)))
        axis = draw(axes(a.ndim))
        if axis == ():  # the variance of one element is 0
            axis = None
        return call(name, a, axis=axis, ddof=draw(st.integers(0, 1)), keepdims=draw(st.booleans()))

    row(name, calls(), domain)


moments("var", "everywhere")
moments("std", "not all elements equal")


@rows("no element 0; and, for ord = ±inf and ±1, no ties")
def norm(draw: st.DrawFn) -> Program:
    if draw(st.booleans()):
        x = draw(arrays(FULL, away=(0,)))
        axis = draw(st.integers(-x.ndim, x.ndim - 1)) if x.ndim > 1 else None
        ord = draw(st.sampled_from([None, 1, 2, 3, 0.5, np.inf, -np.inf]))
    else:
        x = draw(arrays(shapes(2, 3), away=(0,)))
        axis = draw(st.permutations(range(x.ndim))).copy()[:2] if x.ndim > 2 else [0, 1]
        axis = tuple(axis)
        ord = draw(st.sampled_from(["fro", 1, -1, np.inf, -np.inf]))
    return call("norm", x, ord, axis, keepdims=draw(st.booleans()))


@rows()
def cumsum(draw: st.DrawFn) -> Program:
    a = draw(arrays(SIZES))
    return call("cumsum", a, axis=draw(axes(a.ndim, tuples=False)))


@rows("no two elements equal")
def sort(draw: st.DrawFn) -> Program:
    a = draw(arrays(FULL))
    return call("sort", a, axis=draw(axes(a.ndim, tuples=False)))


# ---- shapes


@rows()
def reshape(draw: st.DrawFn) -> Program:
    a = draw(arrays(SIZES))
    shape = draw(st.permutations(a.shape)).copy()
    if a.size and draw(st.booleans()):
        shape.insert(draw(st.integers(0, len(shape))), -1)
    return call("reshape", a, tuple(shape))


row("ravel", arrays(SIZES).map(lambda a: call("ravel", a)))


@rows()
def transpose(draw: st.DrawFn) -> Program:
    a = draw(arrays(SIZES))
    order = tuple(draw(st.permutations(range(a.ndim))))
    return call("transpose", a, draw(st.sampled_from([None, order])))


@rows()
def permute(draw: st.DrawFn) -> Program:
    a = draw(arrays(FULL))
    return call("permute", a, tuple(draw(st.permutations(range(a.ndim)))))


@rows()
def swapaxes(draw: st.DrawFn) -> Program:
    a = draw(arrays(FULL))
    axis = st.integers(-a.ndim, a.ndim - 1)
    return call("swapaxes", a, draw(axis), draw(axis))


@rows()
def moveaxis(draw: st.DrawFn) -> Program:
    a = draw(arrays(FULL))
    source = draw(st.permutations(range(a.ndim)))[: draw(st.integers(1, a.ndim))]
    destination = draw(st.permutations(range(-a.ndim, 0)))[: len(source)]
    if len(source) == 1 and draw(st.booleans()):
        return call("moveaxis", a, source[0], destination[0])
    return call("moveaxis", a, tuple(source), tuple(destination))


@rows()
def expand_dims(draw: st.DrawFn) -> Program:
    a = draw(arrays(SIZES))
    several = (0, -1) if draw(st.booleans()) else draw(st.integers(-a.ndim - 1, a.ndim))
    return call("expand_dims", a, several)


@rows()
def squeeze(draw: st.DrawFn) -> Program:
    a = draw(arrays(broadcastable_shapes(1).map(lambda s: s[0])))
    ones = [i for i, n in enumerate(a.shape) if n == 1]
    axis = draw(st.sampled_from([None, tuple(ones)] + [i - a.ndim for i in ones]))
    return call("squeeze", a, axis)


@rows()
def broadcast_to(draw: st.DrawFn) -> Program:
    small, large = draw(broadcastable_shapes(2))
    return call("broadcast_to", draw(arrays(small)), np.broadcast_shapes(small, large))


# ---- arranging


@rows()
def flip(draw: st.DrawFn) -> Program:
    a = draw(arrays(SIZES))
    return call("flip", a, draw(axes(a.ndim)))


@rows()
def roll(draw: st.DrawFn) -> Program:
    a = draw(arrays(SIZES))
    axis = draw(axes(a.ndim, tuples=False))
    if a.ndim > 1 and draw(st.booleans()):
        return call("roll", a, (1, -2), axis=(0, -1))
    return call("roll", a, draw(st.integers(-4, 4)), axis=axis)


@rows()
def concatenate(draw: st.DrawFn) -> Program:
    shape = draw(FULL)
    axis = draw(st.one_of(st.integers(-len(shape), len(shape) - 1), st.none()))
    sides = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    parts = []
    for side in sides:
        part = list(shape)
        if axis is not None:
            part[axis] = side
        parts.append(draw(arrays(tuple(part))))
    return call("concatenate", parts, axis=axis)


@rows()
def stack(draw: st.DrawFn) -> Program:
    shape = draw(shapes(0, 2))
    several = [draw(arrays(shape)) for _ in range(draw(st.integers(1, 3)))]
    return call("stack", several, axis=draw(st.integers(-len(shape) - 1, len(shape))))


@rows()
def split(draw: st.DrawFn) -> Program:
    shape = list(draw(FULL))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    if draw(st.booleans()):
        sections = draw(st.integers(1, 3))
        shape[axis] = sections * draw(st.integers(1, 2))
        return call("split", draw(arrays(tuple(shape))), sections, axis, results=sections)
    cuts = sorted(draw(st.lists(st.integers(0, shape[axis]), min_size=1, max_size=2)))
    return call("split", draw(arrays(tuple(shape))), cuts, axis, results=len(cuts) + 1)


@rows()
def tile(draw: st.DrawFn) -> Program:
    a = draw(arrays(SIZES))
    counts = st.integers(1, 2)
    return call("tile", a, draw(st.one_of(counts, st.lists(counts, max_size=4).map(tuple))))


@rows()
def repeat(draw: st.DrawFn) -> Program:
    a = draw(arrays(shapes(0, 2)))
    axis = draw(axes(a.ndim, tuples=False))
    n = a.size if axis is None else a.shape[axis]
    each = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    return call("repeat", a, draw(st.one_of(st.integers(0, 3), each)), axis=axis)


@rows()
def full_like(draw: st.DrawFn) -> Program:
    value, a = draw(broadcastable_shapes(2))
    return call("full_like", draw(arrays(np.broadcast_shapes(value, a))), draw(arrays(value)))


@rows()
def pad(draw: st.DrawFn) -> Program:
    a = draw(arrays(shapes(0, 2, 2, 4)))
    if not a.ndim:
        return call("pad", a, draw(st.integers(0, 2)))
    width = draw(
        st.one_of(
            st.integers(0, 1),
            st.just((1, 0)),
            st.just(((0, 1),) * a.ndim),
            st.just(((1, 1), (0, 1))[: a.ndim]),
        )
    )
    mode = draw(st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"]))
    if mode == "constant" and draw(st.booleans()):
        return call("pad", a, width, constant_values=2.0)
    return call("pad", a, width, mode)


def triangle(name: str) -> None:
    @st.composite
    def calls(draw: st.DrawFn) -> Program:
        return call(name, draw(arrays(shapes(2, 3))), draw(st.integers(-3, 3)))

    row(name, calls())


triangle("tril")
triangle("triu")


def along_diagonal(name: str) -> None:
    @st.composite
    def calls(draw: st.DrawFn) -> Program:
        a = draw(arrays(shapes(2, 3)))
        axis1, axis2 = draw(st.permutations(range(a.ndim)))[:2]
        return call(name, a, draw(st.integers(-2, 2)), axis1, axis2 - a.ndim)

    row(name, calls())


along_diagonal("diagonal")
along_diagonal("trace")


# ---- indexing


@rows()
def getitem(draw: st.DrawFn) -> Program:
    x = draw(arrays(SIZES))
    return call("getitem", x, draw(indices(x.shape)))


@rows()
def index_put(draw: st.DrawFn) -> Program:
    x = draw(arrays(SIZES))
    index = draw(indices(x.shape))
    place = x[index].shape
    cut = draw(st.integers(0, len(place))) if draw(st.booleans()) else 0
    shape = tuple(1 if draw(st.integers(0, 3)) == 3 else n for n in place[cut:])
    return call("index_put", x, index, draw(arrays(shape)))


@rows()
def scatter_add(draw: st.DrawFn) -> Program:
    shape = draw(FULL)
    index = draw(indices(shape))
    return call("scatter_add", draw(arrays(np.zeros(shape)[index].shape)), index, shape)


@rows()
def bincount(draw: st.DrawFn) -> Program:
    n = draw(st.integers(0, 5))
    x = draw(some.integers_below(4, (n,)))
    return call("bincount", x, draw(arrays((n,))), draw(st.integers(0, 6)))


@rows()
def take(draw: st.DrawFn) -> Program:
    a = draw(arrays(FULL))
    axis = draw(axes(a.ndim, tuples=False))
    n = a.size if axis is None else a.shape[axis]
    which = st.one_of(st.integers(-n, n - 1), some.integers_below(n, shapes(0, 2), low=-n))
    return call("take", a, draw(which), axis=axis)


@rows()
def take_along_axis(draw: st.DrawFn) -> Program:
    a = draw(arrays(FULL))
    axis = draw(axes(a.ndim, tuples=False))
    shape = list(a.shape) if axis is not None else [a.size]
    n, shape[axis or 0] = shape[axis or 0], draw(st.integers(1, 4))
    return call("take_along_axis", a, draw(some.integers_below(n, tuple(shape))), axis)


# ---- products


@rows()
def matmul(draw: st.DrawFn) -> Program:
    a, b = draw(some.matmul_shapes())
    return call("matmul", draw(arrays(a)), draw(arrays(b)))


@rows()
def dot(draw: st.DrawFn) -> Program:
    k = draw(st.integers(1, 3))
    a = draw(shapes(0, 2, 1, 3)) + (k,)
    b = draw(st.sampled_from([(k,), (k, 2), (2, k, 3), ()]))
    a = () if draw(st.integers(0, 7)) == 7 else a
    return call("dot", draw(arrays(a)), draw(arrays(b)))


@rows()
def outer(draw: st.DrawFn) -> Program:
    return call("outer", draw(arrays(shapes(0, 2, 1, 3))), draw(arrays(shapes(0, 2, 1, 3))))


@rows()
def tensordot(draw: st.DrawFn) -> Program:
    summed = draw(shapes(0, 2, 1, 3))
    n = len(summed)
    a, b = draw(shapes(0, 2, 1, 3)) + summed, summed + draw(shapes(0, 1, 1, 3))
    if draw(st.booleans()):
        return call("tensordot", draw(arrays(a)), draw(arrays(b)), n)
    order = draw(st.permutations(range(n)))
    return call(
        "tensordot",
        draw(arrays(a)),
        draw(arrays(b)),
        ([len(a) - n + i for i in order], [i - len(b) for i in order]),
    )


@rows()
def einsum(draw: st.DrawFn) -> Program:
    subscripts, several = draw(some.einsums())
    return call("einsum", subscripts, *[draw(arrays(shape)) for shape in several])


# ---- functions of neural networks


@rows()
def functional_softmax(draw: st.DrawFn) -> Program:
    x = draw(arrays(FULL))
    return call("functional.softmax", x, draw(st.integers(-x.ndim, x.ndim - 1)))


@rows()
def functional_log_softmax(draw: st.DrawFn) -> Program:
    x = draw(arrays(FULL))
    return call("functional.log_softmax", x, draw(st.integers(-x.ndim, x.ndim - 1)))


@rows()
def functional_gelu(draw: st.DrawFn) -> Program:
    x = draw(arrays(SIZES))
    bias = [draw(arrays(x.shape[-1:]))] if x.ndim and draw(st.booleans()) else []
    return call("functional.gelu", x, draw(st.sampled_from(["none", "tanh"])), *bias)


@rows()
def functional_linear(draw: st.DrawFn) -> Program:
    n, m = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x = draw(arrays(draw(shapes(0, 2)) + (n,)))
    bias = [draw(arrays((m,)))] if draw(st.booleans()) else []
    return call("functional.linear", x, draw(arrays((m, n))), *bias)


@rows()
def functional_embedding(draw: st.DrawFn) -> Program:
    V, D = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    ids = draw(some.integers_below(V, shapes(0, 2)))
    unused = [v for v in range(V) if not (ids == v).any()]  # the slope for used ones is not 0
    return call(
        "functional.embedding", ids, draw(arrays((V, D))), draw(st.sampled_from([None, *unused]))
    )


@rows()
def functional_cross_entropy(draw: st.DrawFn) -> Program:
    shape = draw(shapes(1, 3))
    C = shape[0] if len(shape) == 1 else shape[1]
    targets = shape[:1] * (len(shape) > 1) + shape[2:]
    options: dict[str, Any] = {
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
    }
    if draw(st.booleans()):
        target = draw(some.integers_below(C, targets))
        if draw(st.booleans()) and C > 1 and (target != 0).any():
            options["ignore_index"] = 0
    else:
        target = draw(arrays(shape, 0.1, 1.0))
    weight = [draw(arrays((C,), 0.2, 2.0))] if draw(st.booleans()) else []
    return call("functional.cross_entropy", draw(arrays(shape)), target, *weight, **options)


@rows()
def functional_mse_loss(draw: st.DrawFn) -> Program:
    shape, reduction = draw(shapes()), draw(st.sampled_from(["mean", "sum", "none"]))
    return call("functional.mse_loss", draw(arrays(shape)), draw(arrays(shape)), reduction)


@rows("target between 0 and 1")
def functional_binary_cross_entropy_with_logits(draw: st.DrawFn) -> Program:
    shape, reduction = draw(shapes()), draw(st.sampled_from(["mean", "sum", "none"]))
    weight = [draw(arrays(shape[-1:], 0.2, 2.0))] if draw(st.booleans()) else []
    options: dict[str, Any] = (
        {"pos_weight": draw(arrays(shape, 0.2, 2.0))} if draw(st.booleans()) else {}
    )
    target = draw(arrays(shape, 0.1, 0.9))
    name = "functional.binary_cross_entropy_with_logits"
    return call(name, draw(arrays(shape)), target, *weight, reduction=reduction, **options)


@rows()
def functional_linear_cross_entropy(draw: st.DrawFn) -> Program:
    V = draw(st.integers(2, 3))  # one class is certain: the loss is 0
    D, rows = draw(st.integers(1, 3)), draw(shapes(0, 2))
    target = np.asarray(draw(some.integers_below(V, rows)))
    options: dict[str, Any] = {
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
    }
    if draw(st.booleans()) and (target != 0).any():
        options["ignore_index"] = 0
    bias = draw(arrays((V,))) if draw(st.booleans()) else None
    class_weight = draw(arrays((V,), 0.2, 2.0)) if draw(st.booleans()) else None
    return call(
        "functional.linear_cross_entropy",
        draw(arrays((*rows, D))),
        draw(arrays((V, D))),
        target,
        bias,
        class_weight,
        **options,
    )


@rows()
def functional_scaled_dot_product_attention(draw: st.DrawFn) -> Program:
    T, S, d, e = (draw(st.integers(1, 3)) for _ in range(4))
    of_q, of_k, of_v, of_mask = draw(broadcastable_shapes(4, max_dims=2))
    inputs: list[Array] = [
        draw(arrays(of_q + (T, d))),
        draw(arrays(of_k + (S, d))),
        draw(arrays(of_v + (S, e))),
    ]
    mask = draw(st.sampled_from(["none", "boolean", "added"]))
    if mask == "boolean":  # a query may see no key at all
        inputs.append(draw(some.masks(of_mask + (T, S))))
    if mask == "added":
        inputs.append(draw(arrays(of_mask + (T, S))))
    weights = draw(st.booleans())
    return call(
        "functional.scaled_dot_product_attention",
        *inputs,
        is_causal=draw(st.booleans()),
        scale=draw(st.sampled_from([None, 1.0, 0.3])),
        return_weights=weights,
        dropout_p=draw(st.sampled_from([0.0, 0.4])),
        seed=draw(st.integers(0, 2**64 - 1)),
        results=1 + weights,
    )


def recurrent(
    draw: st.DrawFn, gates: int, options: dict[str, Any]
) -> tuple[Array, Shape, list[Array], dict[str, Any]]:
    """x, the state to begin with (its shape, which may be left out), weights, and options."""
    T, B, n, H = (draw(st.integers(1, 3)) for _ in range(4))
    layers, both, bias = draw(st.integers(1, 2)), draw(st.booleans()), draw(st.booleans())
    D, rows = 2 if both else 1, gates * H
    weights = []
    for k in range(layers):
        for _ in range(D):
            weights += [
                draw(arrays((rows, n if k == 0 else D * H))),
                draw(arrays((rows, H), -0.9, 0.9)),
            ]
            weights += [draw(arrays((rows,))), draw(arrays((rows,)))] if bias else []
    options |= {"bidirectional": both, "bias": bias}
    form = draw(st.sampled_from(["batch", "batch first", "alone"]))
    x, h = {
        "batch": ((T, B, n), (layers * D, B, H)),
        "batch first": ((B, T, n), (layers * D, B, H)),
        "alone": ((T, n), (layers * D, H)),
    }[form]
    if form == "batch first":
        options["batch_first"] = True
    if form != "alone" and draw(st.booleans()):
        options["lengths"] = draw(some.integers_below(T + 1, (B,), low=1))
    if layers > 1 and draw(st.booleans()):
        options |= {"dropout": 0.25, "masks": draw(some.masks((1, *x[:-1], D * H)))}
    return draw(arrays(x)), h, weights, options


def start(draw: st.DrawFn, shape: Shape) -> Array | None:
    return draw(arrays(shape, -0.9, 0.9)) if draw(st.booleans()) else None


@rows("nonlinearity relu: no state exactly 0")
def functional_rnn(draw: st.DrawFn) -> Program:
    nonlinearity = draw(st.sampled_from(["tanh", "tanh", "relu"]))
    x, h, weights, options = recurrent(draw, 1, {"nonlinearity": nonlinearity})
    return call("functional.rnn", x, start(draw, h), *weights, results=2, **options)


@rows()
def functional_lstm(draw: st.DrawFn) -> Program:
    x, h, weights, options = recurrent(draw, 4, {})
    hx = (start(draw, h), start(draw, h)) if draw(st.booleans()) else None
    return call("functional.lstm", x, hx, *weights, results=3, **options)


@rows()
def functional_gru(draw: st.DrawFn) -> Program:
    x, h, weights, options = recurrent(draw, 3, {})
    return call("functional.gru", x, start(draw, h), *weights, results=2, **options)


@rows()
def functional_layer_norm(draw: st.DrawFn) -> Program:
    x = draw(arrays(FULL))
    shape = x.shape[draw(st.integers(0, x.ndim - 1)) :]
    weight, bias = ([None, draw(arrays(shape))][draw(st.integers(0, 1))] for _ in range(2))
    return call("functional.layer_norm", x, shape, weight, bias, 0.1, **residual(draw, x))


@rows()
def functional_rms_norm(draw: st.DrawFn) -> Program:
    x = draw(arrays(FULL))
    shape = x.shape[draw(st.integers(0, x.ndim - 1)) :]
    weight = draw(arrays(shape)) if draw(st.booleans()) else None
    return call("functional.rms_norm", x, shape, weight, 0.1, **residual(draw, x))


def residual(draw: st.DrawFn, x: Array) -> dict[str, Any]:
    """What is added to x before it is normalised, if anything, and whether the sum is a result."""
    added = draw(st.integers(0, 2))
    if not added:
        return {}
    return {"residual": draw(arrays(x.shape)), "return_sum": added == 2, "results": added}


@rows()
def functional_dropout(draw: st.DrawFn) -> Program:
    return call(
        "functional.dropout",
        draw(arrays(SIZES)),
        draw(st.sampled_from([0.5, 0.2, 0, 1])),
        draw(st.sampled_from([True, True, False])),
        seed=draw(st.integers(0, 2**64 - 1)),
        offset=draw(st.integers(0, 2**40)),
    )


@st.composite
def chains(draw: st.DrawFn, fewest: int = 1) -> tuple[list[Array], Array | None, Array]:
    """The scores of a conditional random field, a mask or None, and tags."""
    T, B, K = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(fewest, 3))
    scores = [draw(arrays(shape)) for shape in ((T, B, K), (K, K), (K,), (K,))]
    mask = np.arange(T)[:, None] < draw(some.integers_below(T + 1, (B,), low=1))
    return scores, draw(st.sampled_from([mask, None])), draw(some.integers_below(K, (T, B)))


@rows()
def functional_crf_log_partition(draw: st.DrawFn) -> Program:
    scores, mask, _ = draw(chains())
    return call("functional.crf_log_partition", *scores, mask=mask)


@rows()
def functional_crf_loss(draw: st.DrawFn) -> Program:
    (x, *scores), mask, tags = draw(chains(fewest=2))  # one tag is certain: the loss is 0
    return call(
        "functional.crf_loss",
        x,
        tags,
        *scores,
        mask=mask,
        reduction=draw(st.sampled_from(["mean", "sum", "none"])),
    )


@rows()
def functional_rotary_embedding(draw: st.DrawFn) -> Program:
    x = draw(arrays(draw(shapes(1, 2)) + (2 * draw(st.integers(1, 2)),)))
    return call(
        "functional.rotary_embedding",
        x,
        base=draw(st.sampled_from([10000.0, 10.0])),
        offset=draw(st.integers(0, 9)),
        interleaved=draw(st.booleans()),
    )


@rows()
def functional_gaussian_kl_divergence(draw: st.DrawFn) -> Program:
    shape = draw(FULL)
    first = [draw(arrays(shape)) for _ in range(2)]
    second = [draw(arrays(shape[draw(st.integers(0, len(shape) - 1)) :])) for _ in range(2)]
    return call("functional.gaussian_kl_divergence", *first, *draw(st.sampled_from([(), second])))


# ---- points where two sides meet. The rules share a tie equally, as central differences do.

KINKS = {
    "abs at 0": call("abs", np.array([0.0, 1.0])),
    "clip at its bounds": call("clip", np.array([-1.0, 0.0, 1.0]), -1.0, 1.0),
    "max of two equal": call("max", np.array([2.0, -1.0, 2.0])),
    "max along rows": call("max", np.array([[1.0, 1.0], [0.0, 3.0]]), axis=1),
    "maximum of equals": call("maximum", np.array([1.0, 2.0]), np.array([1.0, -1.0])),
    "min of two equal": call("min", np.array([0.5, 0.5, 1.0])),
    "minimum of equals": call("minimum", np.array([1.0, 2.0]), np.array([1.0, -1.0])),
    "norm at 0": call("norm", np.zeros(3)),
    "relu at 0": call("functional.relu", np.array([-1.0, 0.0, 2.0])),
    "sort of two equal": call("sort", np.array([1.0, -2.0, 1.0, 4.0])),
}

# ---- points where a formula could divide by zero or overflow, but the function is smooth

_Z = np.array([-1.5, 0.0, 0.7])
_some = partial(spread, rng=np.random.default_rng(0))
EDGES = {
    "0 to the power 0": call("power", _Z, 0),
    "0 to the power 1": call("power", _Z, 1),
    "0 to the power 2": call("power", _Z, 2),
    "0 to the power 3.0": call("power", _Z, 3.0),
    "a negative power of a negative number": call("power", np.array([-1.5, 0.7]), -2),
    "1 and 0 to a variable power": call("power", np.array([1.0, 2.0]), np.array([0.0, 1.0])),
    "the number 0 to a power": call("power", 0.0, np.array([0.5, 2.0])),
    "the number 2 to a power": call("power", 2, np.array([-0.5, 0.0, 2.0])),
    "product with a 0": call("prod", np.array([2.0, 0.0, 3.0])),
    "product with two 0s": call("prod", np.array([[0.0, 2.0, 0.0, 3.0]]), axis=1),
    "arctan2 on the positive axis": call("arctan2", np.array([0.0, 1.0]), np.array([1.0, 0.0])),
    "sigmoid far out": call("sigmoid", np.array([-800.0, 0.0, 800.0])),
    "softplus far out": call("softplus", np.array([-800.0, 0.0, 800.0])),
    "gelu far out": call("functional.gelu", np.array([-800.0, 0.0, 800.0])),
    "gelu by tanh far out": call("functional.gelu", np.array([-800.0, 0.0, 800.0]), "tanh"),
    "silu far out": call("functional.silu", np.array([-900.0, 0.0, 900.0])),
    "logsumexp of large numbers": call(
        "logsumexp", np.array([[900.0, 901.0], [-900.0, -901.0]]), axis=1
    ),
    "softmax of large numbers": call("functional.softmax", np.array([900.0, 901.0, 0.0])),
    "log_softmax of large numbers": call("functional.log_softmax", np.array([900.0, 901.0, 0.0])),
    "variance of equal elements": call("var", np.array([2.0, 2.0, 2.0])),
    "attention that sees nothing": call(
        "functional.scaled_dot_product_attention",
        np.array([[0.3, 0.5], [0.1, -0.2]]),
        np.array([[0.7, -0.4]]),
        np.array([[1.0, 2.0]]),
        np.array([[True], [False]]),
    ),
    "cross entropy of large logits": call(
        "functional.cross_entropy", np.array([[90.0, 91.0], [-90.0, 90.0]]), np.array([0, 1])
    ),
    "a class that is ignored": call(
        "functional.cross_entropy", np.eye(3) + 0.3, np.array([0, -100, 2]), label_smoothing=0.1
    ),
    "a class of hidden states that is ignored": call(
        "functional.linear_cross_entropy",
        np.array([[0.3, -0.5], [0.1, 0.2], [-0.4, 0.6]]),
        np.array([[0.7, -0.4], [0.2, 0.9], [-0.6, 0.1]]),
        np.array([0, -100, 2]),
    ),
    "softmax of nothing": call("functional.softmax", np.zeros((0, 3))),
    "log_softmax of nothing": call("functional.log_softmax", np.zeros((0, 3))),
    "a mean over weighted classes": call(
        "functional.cross_entropy", np.eye(3), np.array([0, 2, 2]), np.array([0.5, 1.0, 3.0])
    ),
    "sequences of different lengths": call(
        "functional.rnn",
        _some((3, 2, 1)),
        None,
        _some((2, 1)),
        _some((2, 2)),
        results=2,
        bias=False,
        lengths=np.array([3, 1]),
    ),
    "a conditional random field with large scores": call(
        "functional.crf_log_partition",
        np.array([[[900.0, 901.0]], [[-900.0, -901.0]]]),
        np.array([[0.3, -900.0], [0.1, 0.2]]),
        np.array([0.0, 0.5]),
        np.array([0.3, 0.0]),
    ),
}

# ---- sizes from which on the work is done in other ways: in blocks, in parts, without a copy

_weights = _some((3, 2)), _some((3, 3)) / 4
LARGE = {
    "attention in blocks of queries": call(
        "functional.scaled_dot_product_attention",
        *(_some((140, 2)) for _ in range(3)),
        is_causal=True,
    ),
    "a linear map in parts": call(
        "functional.linear", _some((256, 256)), _some((272, 256)), _some((272,))
    ),
    "sequences in chunks": call(
        "functional.rnn", _some((40, 16, 2)), None, *_weights, results=2, bias=False
    ),
    "a product of many numbers": call("multiply", _some((80, 80)), _some((80, 80))),
    "a sum of many numbers": call("add", _some((80, 80)), _some((80, 80))),
    "a view of many numbers": call("transpose", _some((80, 80))),
}
