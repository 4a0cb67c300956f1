"""One check: a look at all arguments together, and whole sweeps for what that does not settle.

A look (`differences.look`) makes eight calls of the function, and passes what is plainly right: the
function is smooth near the point and rounded as little as float64 allows, its slope is the one that
the gradient says, and each part of the gradient would have been seen to be wrong by a factor of
1 + CLEAR. A part is an argument, or, with entries=True, an entry. Parts that are too small to be
seen beside others are looked at again without those, and where a look is not clear, its parts are
looked at by halves. A look never refuses: what is not clear alone is judged by whole sweeps
(`verdict.py`).
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .differences import NARROWEST, STEPS, WIDE, look
from .directions import Along, Array, Part, Point, across_zero, by_size, direction, random
from .explanation import BLOCK, Entries, explain, unresolved
from .subjects import CheckRefused, Differentiated, NoValue
from .verdict import explained, has_no_digits, judge, judge_entry

CLEAR = 1e-6  # a mistake of that size is seen in what a look passes
CLEAR_ENTRY = 1e-8  # in an entry that is looked at together with others
LEAST = (
    1e-4  # the size of inputs that are looked at: beside smaller ones, steps may tell of rounding
)
# Entries of one argument take steps of one size in a look, unless some are smaller by more than
# that: then they are left to sweeps. (The narrowest step is 1/100 of the smallest entry.)
ALIKE = 1e-7
APART = 1e-4  # the same in a sweep, which refuses


class PrecisionWarning(UserWarning):
    """The function computes with so few digits that small mistakes cannot be seen."""


class Term(NamedTuple):
    """What a part adds to <g, d>, and to the sum of its absolute terms; is its gradient zero?"""

    part: Part
    value: float
    magnitude: float
    is_zero: bool


def results(subject: Differentiated, xs: list[Array]) -> list[Array]:
    """Those of the function, or CheckRefused where there is nothing to differentiate."""
    ys = subject.values(xs)
    for k, y in enumerate(ys):
        if not np.isfinite(y).all():
            raise NoValue(
                f"output {k} of {subject.name} holds {y[~np.isfinite(y)][0]} at "
                "this point; there is nothing to differentiate"
            )
        if y.dtype != np.float64:
            warnings.warn(
                f"{subject.name} returns {y.dtype} for float64 inputs: mistakes below "
                "about 1e-3 cannot be seen",
                PrecisionWarning,
                stacklevel=6,
            )
    if not ys:
        raise CheckRefused(f"{subject.name} returns nothing that can have a gradient")
    return ys


def refuse_random(point: Point) -> None:
    """CheckRefused where the function has given other results when its gradient was computed (and
    does so once more: when it records itself, it may compute in another order)."""
    subject = point.subject
    for again in (subject.recorded, None):
        ys = subject.values(point.xs) if again is None else again
        if len(ys) == len(point.ys) and all(map(np.array_equal, ys, point.ys)):
            return
    raise CheckRefused(
        f"{subject.name} is not deterministic: called twice with the same "
        "inputs, it gave different results. Fix the seed inside it"
    )


@dataclass
class Tally:
    """What is known so far.

    sharpness   the smallest relative mistake that would have been found in all that agreed
    checks      how many derivatives that are
    doubt       what a look has seen that is not judged yet
    """

    sharpness: float = 0.0
    checks: int = 0
    doubt: str = ""

    def agree(self, sharpness: float) -> None:
        self.sharpness, self.checks = max(self.sharpness, sharpness), self.checks + 1


class Check:
    """The gradients at one point, along random vs."""

    def __init__(self, point: Point, vs: Sequence[Array], tally: Tally) -> None:
        self.point, self.vs, self.tally, self.agree = point, vs, tally, tally.agree

    def run(self, entries: bool) -> None:
        """Raises GradientError."""
        __tracebackhide__ = True
        with np.errstate(all="ignore"):  # a step may leave the domain
            if entries:
                self.every_entry()
            else:
                self.every_argument()
        if self.point.undecided:
            raise self.point.undecided[0]
        self.warn()

    # ---- looks

    def every_argument(self) -> None:
        __tracebackhide__ = True
        whole = [
            Part(i, slice(None), self.point.largest[i])
            for i, x in enumerate(self.point.xs)
            if x.size
        ]
        for part in self.unclear(whole):
            self.sweep_argument(part.i)

    def every_entry(self) -> None:
        __tracebackhide__ = True
        for i, x in enumerate(self.point.xs):
            self.entries(i, np.arange(x.size))

    def entries(self, i: int, entries: Entries, most: float = np.inf) -> None:
        """Each entry by itself, of those that are given. most: as of `sweep_entries`."""
        __tracebackhide__ = True
        parts = self.unclear([Part(i, int(j), self.point.scale(i, int(j))) for j in entries])
        self.sweep_entries(i, [part.entries for part in parts], most)

    def unclear(self, parts: list[Part]) -> list[Part]:
        """The parts that looks do not see to be right; the others have agreed."""
        terms: list[Term] = []
        left: list[Term] = []
        for part in parts:
            (terms if self.is_plain(part) else left).append(self.term(part))
        zero, other = [t for t in terms if t.is_zero], [t for t in terms if not t.is_zero]
        waiting = [some for some in (zero, other) if some]
        while waiting:
            some = waiting.pop()
            rest = self.stand_still(some) if some[0].is_zero else self.look(some)
            if len(rest) == len(some) > 1:  # those of one size together
                rest.sort(key=lambda t: abs(t.value))
                waiting += [rest[: len(rest) // 2], rest[len(rest) // 2 :]]
            elif len(rest) == len(some):
                left += rest
            elif rest:
                waiting.append(rest)
        return sorted((t.part for t in left), key=lambda part: (part.i, part.entries))

    def is_plain(self, part: Part) -> bool:
        """Do looks suit the part?"""
        i, entries, scale = part
        if not (self.point.is_finite[i] and LEAST <= scale):
            return False
        if not isinstance(entries, slice):
            return True
        sizes = np.abs(self.point.xs[i])
        return not np.any((sizes < ALIKE * scale) & (sizes > 0))

    def term(self, part: Part) -> Term:
        g = self.point.gs[part.i].reshape(-1)[part.entries]
        terms = g * self.vs[part.i].reshape(-1)[part.entries] * part.scale
        return Term(part, float(np.sum(terms)), float(np.abs(terms).sum()), not np.any(g))

    def look(self, terms: list[Term]) -> list[Term]:
        """Those that a look at all of them does not see to be right."""
        point = self.point
        found = look(Along(point, direction(point, (t.part for t in terms), self.vs)))
        magnitude = sum(t.magnitude for t in terms)
        if found is None or has_no_digits(magnitude, point, found):
            return terms
        tolerance = point.tolerance(found, magnitude)
        claimed = sum(t.value for t in terms)
        if not abs(claimed - found.value) <= tolerance:
            self.tally.doubt = (
                f"along a random direction the slope is {found.value:.9g}, and the gradient says "
                f"{claimed:.9g}"
            )
            return terms
        rest = []
        entries = len(terms) > 1 and not isinstance(terms[0].part.entries, slice)
        most = CLEAR_ENTRY if entries else CLEAR
        for term in terms:
            if tolerance <= most * abs(term.value):
                self.agree(tolerance / abs(term.value))
            else:
                rest.append(term)
        return rest

    def stand_still(self, terms: list[Term]) -> list[Term]:
        """The same where the gradients are zero: then nothing may change at any step."""
        phi = Along(self.point, direction(self.point, (t.part for t in terms), self.vs))
        steps = (STEPS[0], WIDE[0], WIDE[3], NARROWEST)
        if not all(phi.stands_still(side * h) for h in steps for side in (1, -1)):
            return terms
        for _ in terms:
            self.agree(0.0)
        return []

    # ---- sweeps

    def sweep_argument(self, i: int) -> None:
        """Groups of entries of one size, each along its part of vs."""
        __tracebackhide__ = True
        x, v = self.point.xs[i], self.vs[i]
        if x.size == 1 or not self.point.is_finite[i]:
            return self.sweep_entries(i, range(x.size))
        rest = np.zeros(x.shape, bool)
        *smaller, (scale, largest) = by_size(x, APART)
        if smaller:
            for step in (0.1 * scale, -0.1 * scale):
                Along(self.point, {i: v})(step)  # refuses results of another shape
        for scale, group in [*smaller, (scale, largest)]:
            is_last = group is largest
            group = group | rest if is_last else group
            word, found, sharpness = judge(self.point, i, np.where(group, v, 0.0), scale)
            if word == "right":
                self.point.noise = max(self.point.noise, found.noise)
                self.agree(sharpness)
            elif word == "unknown" and not is_last:
                rest |= group  # no step of its own tells: moved together with larger ones
            else:
                chosen = np.flatnonzero(group)
                if word == "wrong":
                    explain(self.point, i, chosen, found, v)
                # No step suits all entries together, but each may have one of its own.
                self.entries(i, chosen, BLOCK)
        return None

    def sweep_entries(self, i: int, entries: Iterable[int], most: float = np.inf) -> None:
        """Each by itself, until one is wrong, or so many are undecided."""
        __tracebackhide__ = True
        point, entries = self.point, list(entries)
        undecided = 0
        for k, j in enumerate(entries):
            word, found, sharpness = judge_entry(point, i, j)
            if word == "right":
                point.noise = max(point.noise, found.noise)
                self.agree(sharpness)
            elif word == "wrong" and not explained(point.gs[i].flat[j], found):
                others = [*entries[k + 1 :], *entries[:k]] or [
                    other for other in range(point.xs[i].size) if other != j
                ]
                explain(point, i, np.array(others[: BLOCK - 1], int), found, judged={j: found})
            else:
                point.undecided.append(unresolved(point, i, j, found))
                undecided += 1
                if undecided >= most:
                    break

    # ---- what else there is to say

    def warn(self) -> None:
        point = self.point
        if point.size and point.noise > 1e-10 * point.size:
            warnings.warn(
                f"{point.subject.name} is accurate to about {point.noise / point.size:.0e} "
                "only (does it compute in float32, or cancel?): mistakes smaller than "
                "this cannot be seen",
                PrecisionWarning,
                stacklevel=7,
            )


def check(
    subject: Differentiated,
    xs: list[Array],
    tally: Tally,
    entries: bool,
    directions: int,
    rng: np.random.Generator,
) -> Point:
    """Checks the gradients of a subject at xs, and returns the (last) point. Raises GradientError,
    CheckRefused, or Spent."""
    __tracebackhide__ = True
    ys = results(subject, xs)
    for k in range(directions):
        us = [random(y.shape, rng) for y in ys]
        vs = [random(x.shape, rng) for x in xs]
        point = Point(subject, xs, ys, us, across_zero(xs, vs))
        if k == 0:
            refuse_random(point)
        Check(point, vs, tally).run(entries)
    return point
