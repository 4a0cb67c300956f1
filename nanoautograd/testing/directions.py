"""The question that a gradient check asks: one point, one cotangent, and directions from there.

For outputs f_k(x_1, x_2, ...), cotangents u_k and a direction d in some of the arguments, let

    phi(h) = sum_k <u_k, f_k(x + h d) - f_k(x)>

The gradients g_i that are to be checked, the vector-Jacobian product with u, must satisfy
sum_i <g_i, d_i> = phi'(0), and `differences.py` measures phi'(0) together with its error. One
random direction finds a mistake in any entry of any argument, with certainty but for rounding,
because wrong gradients satisfy the equation on a set of d of measure zero. That is also why u is
random: against a cotangent of ones, many wrong rules are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .differences import EPS, SMALLEST, STEPS, Look, Sweep
from .report import GradientError
from .subjects import CheckRefused, Differentiated

Array = NDArray[np.float64]
Index = Any  # of entries of a flattened array: a number, an array of them, or slice(None)

SAFETY = 5.0  # over many thousand correct gradients the worst ratio seen was 1.5


class Point:
    """One point xs, results ys there, a cotangent us, and the gradients gs that are claimed."""

    def __init__(
        self,
        subject: Differentiated,
        xs: list[Array],
        ys: list[Array],
        us: list[Array],
        elsewhere: list[Array],
    ) -> None:
        self.subject, self.xs, self.ys, self.us = subject, xs, ys, us
        self.shapes = [y.shape for y in ys]
        self.given = subject.gradients(xs, us, elsewhere)
        if subject.disturbed is not None:
            self.refuse_other_shapes(subject.disturbed)
        self.gs = [np.zeros_like(x) if g is None else g for x, g in zip(xs, self.given)]
        self.is_finite = [bool(np.isfinite(g).all()) for g in self.gs]
        self.largest = [float(np.abs(x).max(initial=0.0)) or 1.0 for x in xs]
        self.size = float(sum(np.abs(u * y).sum() for u, y in zip(us, ys)))
        self.noise = 0.0  # the largest that a sweep has found
        self.undecided: list[GradientError] = []  # raised if no mistake is found elsewhere
        for i, g in enumerate(self.gs):
            if np.isnan(g).any():
                first = tuple(int(k[0]) for k in np.atleast_1d(np.isnan(g)).nonzero())[: g.ndim]
                raise subject.error(
                    i,
                    f"holds nan where the function is finite, at entry {first}",
                    "not finite",
                    index=first,
                    analytic=np.nan,
                    gradient=g,
                    numeric_gradient=np.full(g.shape, np.nan),
                )

    def scale(self, i: int, j: int) -> float:
        """The size of entry j of argument i, or, where it is zero, that of the largest."""
        return float(abs(self.xs[i].flat[j])) or self.largest[i]

    def results(self, moved: Mapping[int, Array]) -> list[Array]:
        """Those of f where some arguments are others. Refuses results of other shapes."""
        ys = self.subject.values([moved.get(i, x) for i, x in enumerate(self.xs)])
        self.refuse_other_shapes(ys)
        return ys

    def refuse_other_shapes(self, ys: list[Array]) -> None:
        shapes = [y.shape for y in ys]
        if shapes != self.shapes:
            here, there = (" and ".join(map(str, s)) for s in (self.shapes, shapes))
            raise CheckRefused(
                f"the shape of what {self.subject.name} returns depends on the values of its "
                f"inputs: {here} at this point, {there} within a step of it. There is no "
                "difference to take: fix what is selected outside of the function"
            )

    def tolerance(self, found: Sweep | Look, magnitude: float) -> float:
        """Of <g, d>: the error of the differences, and the rounding of g.

        g comes from other steps than f, so its rounding cannot be read off the differences. It is
        allowed for, relative to the sum of the absolute terms of <g, d>, the `magnitude`:

            100 EPS     for about as many roundings on the way to an entry. Beside the same in 80
                        bits, half of 7,900 gradients of our operations were off by 0.1 EPS or less,
                        3 by more than 100
            10 noise    where f has fewer digits than float64, g may have one less than f. With an
                        erf of seven digits, the gradients of GELU lost up to 5 times what it lost

        These decide only where the differences are almost exact: for 2,230 right gradients in a
        row the first term was enough.
        """
        size = max(self.size, found.size)
        relative = found.noise / size if size else 0.0
        return SAFETY * found.error + (100 * EPS + 10 * relative) * magnitude + 100 * SMALLEST


class Along:
    """phi(h) for directions ds, {argument: direction}, from a point.

    Results that they do not move cancel, and so does their rounding.
    """

    def __init__(
        self, point: Point, ds: Mapping[int, Array], us: Sequence[Array] | None = None
    ) -> None:
        self.point, self.ds, self.us = point, ds, point.us if us is None else us
        self.ys = point.ys
        self.moved = [np.zeros(y.shape, bool) for y in point.ys]

    def __call__(self, h: float) -> float:
        xs = self.point.xs
        self.ys = self.point.results({i: xs[i] + h * d for i, d in self.ds.items()})
        changes = zip(self.us, self.ys, self.point.ys)
        return float(sum(np.vdot(u, y - y0) for u, y, y0 in changes))

    def changed(self) -> float:
        """The size of the last results, as far as they have changed when this was called."""
        self.moved = [moved | (y != y0) for moved, y, y0 in zip(self.moved, self.ys, self.point.ys)]
        return self.size(self.ys, self.moved)

    def unchanged(self) -> float:
        """The size of those that have not."""
        return self.size(self.point.ys, [~moved for moved in self.moved])

    def size(self, ys: Sequence[Array], chosen: Sequence[NDArray[np.bool]]) -> float:
        return float(sum(np.abs(u * y)[c].sum() for u, y, c in zip(self.us, ys, chosen)))

    def roundings(self) -> tuple[float, float]:
        """(root sum of squares of the last results, those that differ; size of the others)."""
        square = still = 0.0
        for u, y, y0 in zip(self.us, self.ys, self.point.ys):
            term, moved = u * y, y != y0
            if not moved.all():
                still += float(np.abs(term[~moved]).sum())
                term = term[moved]
            square += float(np.vdot(term, term))
        return float(np.sqrt(square)), still

    def stands_still(self, h: float) -> bool:
        """Does no result change with this step?"""
        self(h)
        return all(np.array_equal(y, y0) for y, y0 in zip(self.ys, self.point.ys))


class Part(NamedTuple):
    """Some entries of one argument, that are moved by about `scale` times the step."""

    i: int
    entries: Index
    scale: float


def direction(
    point: Point, parts: Iterable[Part], vs: Sequence[Array] | Mapping[int, Array]
) -> dict[int, Array]:
    """{argument: d}, where d is vs in the parts, as large as they are, and elsewhere zero."""
    ds: dict[int, Array] = {}
    for i, entries, scale in parts:
        if i not in ds:
            ds[i] = np.zeros_like(point.xs[i])
        ds[i].reshape(-1)[entries] = vs[i].reshape(-1)[entries] * scale
    return ds


def by_size(x: Array, ratio: float) -> list[tuple[float, NDArray[np.bool]]]:
    """[(size, mask)]: the entries of about one size, smallest first; zeros are with the largest.

    Steps relative to the largest of a group suit all of it.
    """
    groups: list[tuple[float, NDArray[np.bool]]] = []
    sizes = np.asarray(np.abs(x))
    rest = np.ones(x.shape, bool)
    while rest.any():
        size = sizes.max(where=rest, initial=0.0)
        group = rest & ((sizes >= ratio * size) | (sizes == 0))
        groups.insert(0, (float(size) or 1.0, group))
        rest &= ~group
    return groups


def across_zero(xs: Sequence[Array], vs: Sequence[Array]) -> list[Array]:
    """A wide step nearer to zero, and beyond it: most of what is selected by values is selected by
    sign. (Looks cross zero where it is near.)"""
    largest = [float(np.abs(x).max(initial=0.0)) or 1.0 for x in xs]
    return [x - STEPS[0] * s * np.copysign(v, x) for x, v, s in zip(xs, vs, largest)]


def random(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """±1 times something in [0.5, 1.5]: random, and no entry too small to be seen."""
    signs = 2.0 * rng.integers(0, 2, shape) - 1.0
    return np.asarray(signs * rng.uniform(0.5, 1.5, shape))
