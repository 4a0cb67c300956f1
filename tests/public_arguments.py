"""Arguments of every kind for everything public, each made anew for every call."""

import decimal
import fractions
from array import array
from collections import deque
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import nn


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
    "float8": ml_dtypes.float8_e5m2,
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
        "np.zeros((0, 3))",
        "np.array(1.5)",
        "np.float32(0.5)",
        "np.int64(1)",
        "np.bool_(True)",
    )
]
NO_NUMBERS = [
    None,
    *map(
        made,
        (
            "np.array(None)",
            "np.array([1, None, 'a'], object)",
            "np.array([0.5, -1.0, 2.0], object)",
            "np.array([object(), x], object)",
            "np.array('a')",
            "np.array(['a', 'b', 'c'])",
            "np.array(['1', '2', '3'])",
            "np.array([b'1', b'2'])",
            "np.array(['1', '2'], np.dtypes.StringDType())",
            "np.str_('a')",
            "np.array(['2020-01-01', 'NaT'], 'datetime64[D]')",
            "np.array([1, 2, 3], 'timedelta64[s]')",
            "np.timedelta64(1, 's')",
            "np.zeros(3, 'i4,f8')",
            "np.zeros((2, 3), [('a', 'f8')])",
            "np.zeros((), 'f8,f8')[()]",
            "np.ma.array([1.0, 2.0, 3.0])",
            "np.ma.array([1.0, np.nan, 3.0], mask=[0, 1, 0])",
            "np.ma.masked",
            "np.matrix([[1.0, 2.0, 3.0]])",
            "x.astype(float8)",
        ),
    ),
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
    Ellipsis,
    *("abc", "mean", "float32", "", b"ab", "cpu"),
    *(True, False, 0, 1, -1, 2, 3, 10**15, -(10**15), 10**30),
    *(0.5, -0.5, 1e300, -0.0, float("nan"), float("inf"), 1j),
    *map(made, ("Fraction(1, 2)", "Decimal('0.5')", "float", "np.float32", "np.int64", "complex")),
    *map(made, ("slice(None)", "slice(2, 0, -1)", "slice('a', None)", "slice(0.5)")),
    *map(made, ("nag.sin", "np.sin", "object()", "np.dtype('int8')", "np", "nag.Tensor")),
]
anything = st.one_of(
    *map(st.sampled_from, (LEAVES, TENSORS, ARRAYS, NO_NUMBERS, SEQUENCES, OTHERS))
)
