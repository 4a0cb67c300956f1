"""What is wrong with a gradient that a sweep has refused: the entry, the values, a guess.

A mistake is seen along a direction. The entries that it may come from are narrowed down by halves,
the numeric gradient of those is computed, and `report.py` compares it with the one that is claimed.
All of that is bounded (`EXPLAINING`): what it does not reach is left out of the guess.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import isfinite
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from . import report
from .budget import Spent
from .differences import Sweep, glance, noise, quotient, sweep
from .directions import SAFETY, Along, Array, Part, Point, direction
from .report import GradientError, Inconclusive, KinkNearby
from .verdict import explained, judge_entry

BLOCK = 64  # so many entries are examined one by one when a check has failed
EXPLAINING = 1_000  # calls of the function

Entries = NDArray[np.int_]


def explain(
    point: Point,
    i: int,
    entries: Entries,
    along: Sweep,
    v: Array | None = None,
    judged: Mapping[int, Sweep] | None = None,
) -> None:
    """Raises the error that says what is wrong with the gradient of argument i.

    along: the sweep that failed, in the direction v if several entries were moved. judged: sweeps
    of entries that are known to be wrong. Returns where no single entry is seen to be wrong, and
    one is undecided or a kink explains what the sweep has found.
    """
    __tracebackhide__ = True
    with point.subject.calls.at_most(EXPLAINING):
        try:
            if v is not None:
                entries = suspects(point, i, entries, v)
            Explanation(point, i, along, dict(judged or {})).raised(entries)
        except Spent:
            raise without_entry(point, i, along) from None


def suspects(point: Point, i: int, entries: Entries, v: Array) -> Entries:
    """At most BLOCK of the entries, that hold the worst of the mistake: halved until so few."""

    def mistake(half: Entries) -> float:
        scale = float(np.abs(point.xs[i].flat[half]).max() or 1.0)
        d = direction(point, [Part(i, half, scale)], {i: v})
        phi, claimed = Along(point, d), float(np.vdot(point.gs[i], d[i]))
        value = quotient(phi)
        if not isfinite(value):  # a step leaves the domain
            value = sweep(phi, noise(phi), 1.0).value
        return abs(claimed - value) / scale

    with suppress(Spent), point.subject.calls.at_most(EXPLAINING // 2):
        while len(entries) > BLOCK:
            entries = max(np.array_split(entries, 2), key=mistake)
    return entries[:BLOCK]


class Explanation:
    """Of argument i: the numeric gradient N beside the claimed one, A, as far as it is computed."""

    def __init__(self, point: Point, i: int, along: Sweep, judged: dict[int, Sweep]) -> None:
        self.point, self.i, self.along, self.judged = point, i, along, judged
        self.A = point.gs[i]
        self.N = np.full(self.A.shape, np.nan)
        self.error = np.full(self.A.shape, np.nan)
        self.wrong = set(judged)
        self.undecided = False

    def raised(self, entries: Iterable[int]) -> None:
        """Raises the error, or Spent where no entry was reached; returns as `explain` does."""
        __tracebackhide__ = True
        examined = list(self.judged)
        for j in examined:
            self.note(j, self.judged[j].value, self.judged[j].error)
        with suppress(Spent):
            for j in (int(j) for j in entries):
                if j not in self.judged:
                    self.examine(j)
                    examined.append(j)
        if not examined:
            raise Spent
        with np.errstate(all="ignore"):
            off = np.abs(self.A - self.N).flat
            order = sorted(examined, key=lambda j: -np.nan_to_num(off[j], posinf=np.inf))
        worst = self.worst(order)
        if worst is None and (self.undecided or self.along.kink()):
            return
        if worst is None:
            text = "the mistake shows along a random direction, but in no single entry"
            self.fail(order[0], "unknown", text)
        self.fail(worst, *self.guess())

    def worst(self, order: list[int]) -> int | None:
        """The first entry that is wrong as the whole sweep sees it, too."""
        j = None
        try:
            for j in order:
                if j in self.wrong and self.confirmed(j):
                    return j
        except Spent:  # no sweep, then, and no table
            assert j is not None
            value, error = float(self.N.flat[j]), float(self.error.flat[j])
            self.judged[j] = replace(self.along, value=value, error=error, rows=[])
            return j
        return None

    def examine(self, j: int) -> None:
        """The numeric value of entry j: by a glance, or, where that is not clear, a sweep."""
        point, i, scale = self.point, self.i, self.point.scale(self.i, j)
        found = None
        if np.isfinite(self.A.flat[j]) and scale >= 1e-4:
            v = {i: np.ones(self.A.shape)}
            found = glance(Along(point, direction(point, [Part(i, j, scale)], v)))
        if found is None:
            self.confirmed(j)
        else:
            self.note(j, found.value / scale, found.error / scale)
            if abs(self.A.flat[j] - self.N.flat[j]) > self.tolerance().flat[j]:
                self.wrong.add(j)

    def confirmed(self, j: int) -> bool:
        """Is entry j wrong, as the whole sweep sees it?"""
        if j not in self.judged:
            word, found, _ = judge_entry(self.point, self.i, j)
            self.judged[j] = found
            if np.isnan(self.N.flat[j]):  # else: of one accuracy with the other entries
                self.note(j, found.value, found.error)
            self.wrong.discard(j)
            if word == "wrong" and not explained(self.A.flat[j], found):
                self.wrong.add(j)
            elif word != "right":
                self.undecided = True
        return j in self.wrong

    def note(self, j: int, value: float, error: float) -> None:
        self.N.flat[j], self.error.flat[j] = value, error

    def tolerance(self) -> Array:
        """Of the entries of N."""
        along, one = self.along, self.point.tolerance(self.along, 1.0)
        with np.errstate(all="ignore"):
            return np.asarray(SAFETY * self.error + (one - SAFETY * along.error) * np.abs(self.A))

    def guess(self) -> tuple[str, str]:
        """(key of report.GUESSES, sentence)."""
        A, N, tolerance, known = self.A, self.N, self.tolerance(), self.known()
        try:
            key, text = report.guess(
                A, N, tolerance, known, self.others, self.with_ones, self.beside
            )
        except Spent:  # in what takes more calls
            nothing = np.zeros(1), np.zeros(1)
            key, text = report.guess(
                A, N, tolerance, known, dict, lambda: nothing, lambda distance: [A] * 9
            )
        if key == "unknown":
            key, text = self.kept() or (key, text)
        seen = np.isfinite(N)
        if not seen.all() and "examined" not in text:
            text += f" (of {int(seen.sum())} examined)"
        return key, text

    def kept(self) -> tuple[str, str] | None:
        """Is the gradient that of the first call, which was at another point?"""
        begun = self.point.subject.begun
        if begun is None or (g := begun[self.i]) is None or not g.any():
            return None
        with suppress(Spent):
            point = self.point
            now = point.subject.gradients(point.xs, [np.ones_like(u) for u in point.us])[self.i]
            if now is not None and np.array_equal(now, g):
                return "kept", (
                    "the gradient is the same at another point, where the function was called "
                    "first: it leaves the point out, or something is kept from that call"
                )
        return None

    def fail(self, j: int, key: str, text: str) -> NoReturn:
        __tracebackhide__ = True
        self.confirmed(j)
        found, advice = self.judged[j], ""
        if found.kink() and j in self.wrong:
            advice = "\n  (There is a kink here as well, but it does not explain this value.)"
        if lost := self.point.subject.detached:
            names = ", ".join(f"out[{k}]" for k in lost)
            advice += (
                f"\n  (Of what is returned, {names} requires no gradient: where it depends on the "
                "inputs, that counts as a mistake. If it is meant, leave it out, as "
                "lambda *xs: f(*xs)[0] does.)"
            )
        raise failure(
            GradientError,
            self.point,
            self.i,
            j,
            found,
            key,
            text,
            advice,
            gradient=self.A,
            numeric_gradient=self.N,
        )

    # ---- what a gradient is compared with

    def known(self) -> dict[str, Array]:
        """Arrays that a rule may have forgotten to multiply with; the argument itself first."""
        point = self.point
        names = point.subject.names(len(point.xs))
        known = {names[self.i]: point.xs[self.i]} | dict(zip(names, point.xs))
        many = len(point.ys) > 1
        known |= {f"out[{k}]" if many else "out": y for k, y in enumerate(point.ys)}
        return {k: a for k, a in known.items() if a.ndim <= self.A.ndim}

    def others(self) -> dict[str, tuple[Array, Array]]:
        """The (claimed, numeric) gradients of other arguments of this shape."""
        point = self.point
        names = point.subject.names(len(point.xs))
        return {
            names[k]: (point.gs[k], self.numeric(k, point.us))
            for k, x in enumerate(point.xs)
            if k != self.i and x.shape == self.A.shape and 1 < x.size <= BLOCK
        }

    def with_ones(self) -> tuple[Array, Array]:
        """(claimed, numeric) for cotangents of ones."""
        point = self.point
        us = [np.ones_like(u) for u in point.us]
        g = point.subject.gradients(point.xs, us)[self.i]
        return (np.zeros_like(self.A) if g is None else g), self.numeric(self.i, us)

    def beside(self, distance: float) -> list[Array]:
        """The claimed gradients at points in a row, each that far from the next, relative to x."""
        point, i, x = self.point, self.i, self.point.xs[self.i]
        moved = [[*point.xs[:i], x * (1 + distance * k), *point.xs[i + 1 :]] for k in range(1, 10)]
        gs = [point.subject.gradients(xs, point.us)[i] for xs in moved]
        return [np.zeros_like(x) if g is None else g for g in gs]

    def numeric(self, i: int, us: list[Array]) -> Array:
        """The numeric gradient of argument i."""
        point, x = self.point, self.point.xs[i]
        N, v = np.zeros(x.shape), {i: np.ones(x.shape)}
        for j in range(N.size):
            scale = point.scale(i, j)
            phi = Along(point, direction(point, [Part(i, j, scale)], v), us)
            value = quotient(phi)
            if not isfinite(value):  # a step leaves the domain
                value = sweep(phi, noise(phi), 1.0).value
            N.flat[j] = value / scale
        return N


# ---- errors


def unresolved(point: Point, i: int, j: int, found: Sweep) -> GradientError:
    """The error for an entry at which differences do not decide."""
    A = point.gs[i].flat[j]
    sides = found.kink()
    if sides and explained(A, found):
        text = (
            f"a kink: the one-sided derivatives are {sides[0] + 0.0:.6g} and {sides[1] + 0.0:.6g} "
            "however small the step, and the gradient lies between them"
        )
        return failure(KinkNearby, point, i, j, found, "kink", text)
    jump = found.jump()
    text = (
        f"the function jumps by {abs(jump):.3g} here"
        if jump
        else "it is too rough, too ill-conditioned, or too large beside its changes, near this "
        "point"
    )
    return failure(Inconclusive, point, i, j, found, "kink" if jump else "precision", text)


def without_entry(point: Point, i: int, along: Sweep) -> GradientError:
    """The error where the budget has ended before an entry was found."""
    name = point.subject.names(len(point.xs))[i]
    text = f"the budget was used up before the entry was found ({point.subject.calls.limit()})"
    return GradientError(
        f"the gradient of {point.subject.name} with respect to argument {i} ({name}) is wrong "
        f"along a random direction; {text}",
        operation=point.subject.name,
        argument=i,
        name=name,
        table=along.rows,
        gradient=point.gs[i],
        explanation=text,
    )


def failure(
    kind: type[GradientError],
    point: Point,
    i: int,
    j: int,
    found: Sweep,
    key: str,
    text: str,
    advice: str = "",
    **more: object,
) -> GradientError:
    """The error about entry j of argument i."""
    name = point.subject.names(len(point.xs))[i]
    shape = point.xs[i].shape
    index = tuple(int(k) for k in np.unravel_index(j, shape))
    A = float(point.gs[i].flat[j])
    only = np.full(shape, np.nan)
    only[index] = found.value
    if kind is Inconclusive:
        said = (
            f"finite differences of {point.subject.name} with respect to argument {i} ({name}) "
            f"do not settle at any step size, at entry {index}: {text}\n"
            f"{report.table(found.rows, A)}"
        )
    elif kind is KinkNearby:
        said = report.kink_message(point.subject.name, i, name, index, shape, found, A, text)
    else:
        said = report.message(point.subject.name, i, name, index, shape, found, A, text, advice)
    return kind(
        said,
        operation=point.subject.name,
        argument=i,
        name=name,
        index=index,
        analytic=A,
        numeric=found.value,
        error=found.error,
        table=found.rows,
        guess=key,
        explanation=text,
        **{"gradient": point.gs[i], "numeric_gradient": only} | more,
    )
