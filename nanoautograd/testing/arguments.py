"""Strategies for the arguments of operations: shapes, arrays, axes, indices, einsums.

Offered as `strategies`, which says how to use them.
"""

import math
from collections.abc import Iterable, Iterator
from string import ascii_lowercase
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ..safety.arguments import is_sequence
from ..safety.options import check_flags, check_numbers, check_sizes
from ..typing import Shape, ShapeLike

__all__ = [
    "arrays",
    "axes",
    "broadcastable_shapes",
    "einsums",
    "indices",
    "integers_below",
    "masks",
    "matmul_shapes",
    "shapes",
    "spread",
]

Array = NDArray[np.float64]
Shapes = ShapeLike | st.SearchStrategy[Shape]


# ---- shapes


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[Shape]:
    """Shapes: tuples of ints. Simplest: the fewest dimensions, sides of `min_side`."""
    return hnp.array_shapes(
        min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    )


@st.composite
def broadcastable_shapes(
    draw: st.DrawFn, count: int = 2, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> tuple[Shape, ...]:
    """`count` shapes that broadcast together, with ones and missing dimensions: a tuple."""
    check_sizes("broadcastable_shapes", count=count)
    whole = draw(shapes(0, max_dims, min_side, max_side))
    result = []
    for _ in range(count):
        shape = [1 if draw(st.integers(0, 3)) == 3 else n for n in whole]
        result.append(
            tuple(shape[draw(st.integers(0, len(shape))) if draw(st.booleans()) else 0 :])
        )
    return tuple(result)


@st.composite
def matmul_shapes(draw: st.DrawFn, max_side: int = 3) -> tuple[Shape, Shape]:
    """Two shapes that `matmul` takes: vectors, matrices, and batches that broadcast."""
    n, k, m = (draw(st.integers(1, max_side)) for _ in range(3))
    batch_a, batch_b = draw(broadcastable_shapes(2, max_dims=2, max_side=max_side))
    a = (k,) if draw(st.integers(0, 3)) == 3 else (*batch_a, n, k)
    b = (k,) if draw(st.integers(0, 3)) == 3 else (*batch_b, k, m)
    return a, b


# ---- values


def arrays(
    shape: Shapes = shapes(),
    low: float = -2.0,
    high: float = 2.0,
    away: Iterable[float] = (),
    margin: float = 0.1,
) -> st.SearchStrategy[Array]:
    """Float64 arrays with distinct values in [low, high], at least `margin` from every point of
    `away` (where the function has a kink or a pole).

    shape: a shape (as NumPy takes it: 3 is short for (3,)), or a strategy for one. The values are
    spread evenly and then shuffled, so that none are nearly equal: `sort` and `max` have no
    near-ties. Raises TypeError for what are no numbers, ValueError where there are no such values.
    """
    away = tuple(away) if isinstance(away, Iterator) else away
    _rooms(low, high, away, margin)
    return st.builds(
        lambda shape, seed: spread(shape, np.random.default_rng(seed), low, high, away, margin),
        _shape(shape),
        st.integers(0, 2**20),
    )


def _shape(shape: Shapes) -> st.SearchStrategy[Shape]:
    """A strategy for a shape, which may be given as a strategy, a tuple or a number."""
    return shape if isinstance(shape, st.SearchStrategy) else st.just(_sides(shape))


def _sides(shape: ShapeLike) -> Shape:
    sides = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if any(not isinstance(n, (int, np.integer)) or n < 0 for n in sides):
        raise ValueError(f"a shape is a tuple of sides, integers from 0; got {shape!r}")
    return sides


def spread(
    shape: Shape,
    rng: np.random.Generator,
    low: float = -2.0,
    high: float = 2.0,
    away: Iterable[float] = (),
    margin: float = 0.1,
) -> Array:
    """What `arrays` makes, from a NumPy random generator."""
    rooms = _rooms(low, high, away, margin)
    widths = np.array([b - a for a, b in rooms])
    n = math.prod(shape)
    places = (rng.permutation(n) + rng.uniform(0.2, 0.8, n)) / max(n, 1) * widths.sum()
    room = np.minimum(np.searchsorted(np.cumsum(widths), places, side="right"), len(rooms) - 1)
    starts = np.array([a for a, _ in rooms])
    before = np.concatenate(([0.0], np.cumsum(widths)[:-1]))
    values = starts[room] + places - before[room]
    if np.unique(values).size < n:
        raise ValueError(f"there are no {n} distinct numbers, evenly spread, in {rooms}")
    return values.reshape(shape)


def _rooms(
    low: float, high: float, away: Iterable[float], margin: float
) -> list[tuple[float, float]]:
    """[(start, end)]: what of [low, high] is at least `margin` from each point of `away`."""
    check_numbers("arrays", low=low, high=high, margin=margin)
    if not is_sequence(away):
        raise TypeError(f"arrays: away is a sequence of points, such as (0, 1); got {away!r:.100}")
    for point in away:
        check_numbers("arrays", **{"a point of away": point})
    if not (low < high and math.isfinite(high - low) and 0 <= margin < math.inf):
        raise ValueError(
            "arrays are drawn from an interval: low < high, both finite and less than 1.8e308 "
            f"apart, and a margin from 0; got low={low!r}, high={high!r}, margin={margin!r}"
        )
    edges = [
        low,
        *(
            e
            for p in sorted(away)
            if low - margin < p < high + margin
            for e in (p - margin, p + margin)
        ),
        high,
    ]
    rooms = [(a, b) for a, b in zip(edges[::2], edges[1::2]) if b > a]
    if not rooms:
        raise ValueError(
            f"no number from {low!r} to {high!r} is {margin!r} or more away from all of {away!r}"
        )
    return rooms


@st.composite
def masks(draw: st.DrawFn, shape: Shapes = shapes()) -> NDArray[np.bool]:
    """Boolean arrays."""
    shape = draw(_shape(shape))
    return np.asarray(np.random.default_rng(draw(st.integers(0, 2**20))).random(shape) < 0.6)


@st.composite
def integers_below(
    draw: st.DrawFn, n: int, shape: Shapes = shapes(), low: int = 0
) -> NDArray[np.int_]:
    """Integer arrays with values from `low` to n - 1, repeated ones included."""
    for name, i in dict(n=n, low=low).items():
        if not isinstance(i, (int, np.integer)):
            raise TypeError(f"integers_below: {name} must be an integer; got {i!r:.100}")
    sides = draw(_shape(shape))
    if not low < n and 0 not in sides:
        raise ValueError(f"there is no integer from {low!r} to {n - 1!r}")
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    return np.asarray(rng.integers(low, n, sides))


# ---- arguments


def axes(ndim: int, none: bool = True, tuples: bool = True) -> st.SearchStrategy[Any]:
    """What `axis=` takes for `ndim` dimensions: None, an int (also negative), or a tuple."""
    check_sizes("axes", ndim=ndim)
    check_flags("axes", none=none, tuples=tuples)
    kinds: list[st.SearchStrategy[Any]] = [st.none()] if none or not ndim else []
    if ndim:
        kinds.append(st.integers(-ndim, ndim - 1))
    if tuples and ndim:
        several = st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim)
        kinds.append(
            several.flatmap(
                lambda chosen: st.tuples(*(st.sampled_from([i, i - ndim]) for i in chosen))
            )
        )
    return st.one_of(*kinds)


@st.composite
def indices(draw: st.DrawFn, shape: ShapeLike) -> Any:
    """What goes between brackets for an array of `shape`, in all of NumPy's forms.

    Integers, slices (also with negative steps), ellipsis, newaxis, integer arrays with repeated
    and negative entries, and boolean masks; alone or mixed.
    """
    shape = _sides(shape)
    kind = draw(st.sampled_from(["basic", "mixed", "mask"]))
    if kind == "mask":
        ndim = draw(st.integers(min(1, len(shape)), len(shape)))
        return draw(masks(shape[:ndim]))
    if kind == "basic" or not shape:
        return draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    together = draw(shapes(1, 2, 1, 3))  # arrays in one index broadcast together
    parts: list[Any] = []
    for n in shape[: draw(st.integers(1, len(shape)))]:
        part = draw(st.sampled_from(["array", "slice", "integer"]))
        if part == "array" and n:
            parts.append(draw(integers_below(n, together, low=-n)))
        elif part == "integer" and n:
            parts.append(draw(st.integers(-n, n - 1)))
        else:
            parts.append(draw(st.slices(n)))
    if draw(st.integers(0, 3)) == 3:
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.integers(0, 3)) == 3:
        parts.append(Ellipsis)
    return tuple(parts)


@st.composite
def einsums(
    draw: st.DrawFn, max_operands: int = 3, max_side: int = 3
) -> tuple[str, tuple[Shape, ...]]:
    """(subscripts, shapes of the operands) for `einsum`.

    Repeated indices (diagonals), indices that are summed out of one operand alone, ellipses that
    broadcast, implicit output.
    """
    letters = ascii_lowercase[8:12]  # i, j, k, l
    side = {letter: draw(st.integers(1, max_side)) for letter in letters}
    operands = draw(st.integers(1, max_operands))
    dots = draw(st.booleans())
    batch = draw(broadcastable_shapes(operands, max_dims=1, max_side=max_side))
    terms, result = [], []
    for k in range(operands):
        term = "".join(draw(st.lists(st.sampled_from(letters), max_size=3)))
        shape = tuple(side[letter] for letter in term)
        if dots and (k == 0 or draw(st.booleans())):
            cut = draw(st.integers(0, len(term)))
            term, shape = (f"{term[:cut]}...{term[cut:]}", shape[:cut] + batch[k] + shape[cut:])
        terms.append(term)
        result.append(shape)
    text = ",".join(terms)
    if draw(st.booleans()):
        used = sorted(set(text) & set(letters))
        out = draw(st.permutations(used)) if used else []
        out = "".join(out[: draw(st.integers(0, len(out)))])
        text += f"->{'...' if dots else ''}{out}"
    return text, tuple(result)
