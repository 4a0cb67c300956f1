"""Whether a gradient is right along one direction, with all steps: the whole sweep.

Sweeps are in `differences.py`. What is here is what a sweep alone does not tell: kinks, limits,
functions that stand still, and inputs so small that rounding is all that their steps show.
"""

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np

from .differences import EPS, SMALLEST, Look, Sweep, noise, sweep
from .directions import SAFETY, Along, Array, Point

MOST_ROUNDING = 1e-4  # of a function's size: noise above it is no rounding, not even of float32
PROMISE = 5e-3  # what passes has no mistake larger than this, relative to the whole gradient


class Verdict(NamedTuple):
    """word: "right", "wrong", "kink" (right if a kink is at this very point) or "unknown".
    found: the sweep it rests on. sharpness: the smallest relative mistake that would be seen."""

    word: str
    found: Sweep
    sharpness: float


def judge(point: Point, i: int, d: Array, scale: float) -> Verdict:
    """Of the gradient of argument i along d, which moves entries of about the size `scale`."""
    return Direction(point, i, d, scale).judged()


def judge_entry(point: Point, i: int, j: int) -> Verdict:
    """Of entry j of the gradient of argument i."""
    d = np.zeros_like(point.xs[i])
    d.flat[j] = 1.0
    return judge(point, i, d, point.scale(i, j))


def explained(value: float, found: Sweep) -> bool:
    """Does `value` lie between the slopes on both sides of a kink?"""
    sides = found.kink()
    if sides is None:
        return False
    low, high = sorted(sides)
    slack = 0.01 * (high - low) + SAFETY * found.noise / found.rows[-1].h
    slack = min(slack, 0.1 * (high - low))
    return low - slack <= value <= high + slack


class Direction:
    """The gradient of one argument along one direction."""

    def __init__(self, point: Point, i: int, d: Array, scale: float) -> None:
        self.point, self.i, self.d = point, i, d
        self.scale = max(float(scale), 1e-296)
        self.x = point.xs[i]
        self.moved = d != 0
        self.g = point.gs[i][self.moved]
        with np.errstate(all="ignore"):
            self.analytic = float(np.vdot(self.g, d[self.moved]))
            self.magnitude = float(np.abs(self.g * d[self.moved]).sum())

    def phi(self) -> Along:
        return Along(self.point, {self.i: self.d})

    def judged(self) -> Verdict:
        """Steps relative to the inputs come first. Only where these do not tell, or inputs are so
        small that they may tell of rounding alone, wider steps are looked at."""
        scale, phi = self.scale, self.phi()
        tiny = scale < 1e-4
        measured = noise(phi, scale)
        found = near = sweep(phi, measured, scale)
        word, sharpness = self.compared(found)
        if word == "wrong" and max(measured) > EPS * found.size:
            one_sided = [noise(self.phi(), scale, side) for side in (1, -1)]
            if max(least := min(one_sided, key=max)) < 1e-2 * max(measured):
                measured = least  # it was a kink beside x that passed for noise
                found = near = sweep(self.phi(), measured, scale)
                word, sharpness = self.compared(found)
        if word == "unknown" and scale < 1 or tiny and found.lost > 1e-9 * found.slope:
            found = sweep(self.phi(), measured, scale, widest=1.0)
            word, sharpness = self.compared(found)
            if found.kink(found.step) or found.kink() and found.step <= scale:
                word = "kink" if word == "right" else word
        else:
            if tiny:
                word = self.confirmed(found, word)
            if word == "right" and (sides := found.kink()) and not self.on_kink(found, sides):
                word = "kink"
        if word == "wrong" and self.between_kinks(found):
            word = "unknown"
        if word in ("right", "wrong") and self.g.any():
            gap = abs(self.analytic - found.value)
            within = 0.2 * gap if word == "wrong" else 2 * PROMISE * abs(self.analytic)
            slope = self.narrow_slope(found, measured, within)
            if slope is not None and (abs(slope - self.analytic) <= within) == (word == "wrong"):
                word = "unknown"
        if word == "unknown" and self.at_rest(near):
            word = "right"
        return Verdict(word, found, sharpness)

    def compared(self, found: Sweep) -> tuple[str, float]:
        """(word, sharpness): is <g, d> what was found, as far as the sweep can tell?"""
        if np.isinf(self.g).any():
            settled = SAFETY * found.error < PROMISE * abs(found.value) or found.constant
            return ("wrong" if settled else "unknown"), 0.0
        if not self.g.any() and found.constant:
            return "right", 0.0
        tolerance = self.point.tolerance(found, self.magnitude)
        if not (isfinite(self.analytic) and isfinite(tolerance) and isfinite(found.value)):
            return "unknown", 0.0
        if has_no_digits(self.magnitude * np.abs(self.x[self.moved]).max(), self.point, found):
            return "unknown", 0.0
        if not abs(self.analytic - found.value) <= tolerance:
            return ("unknown" if found.seen_nearer(self.analytic) else "wrong"), 0.0
        if not self.g.any():
            return ("right" if tolerance <= PROMISE * found.slope else "unknown"), 0.0
        if tolerance > PROMISE * abs(self.analytic):
            return "unknown", 0.0
        return "right", tolerance / abs(self.analytic)

    def confirmed(self, found: Sweep, word: str) -> str:
        """`word`, or "unknown" where what is seen so near to x may be rounding alone.

        As with exp(x) - 1, which stands still at 1e-20, and not only up to 0, as relu at -1e-20.
        """
        phi = self.phi()
        wide = sweep(phi, noise(phi, 1.0), 1.0)
        other, _ = self.compared(wide)
        if other != "unknown" and not wide.kink():
            return word if other == word else "unknown"
        still = found.constant and not (phi(100 * self.scale) or phi(-100 * self.scale))
        return "unknown" if still else word

    def between_kinks(self, found: Sweep) -> bool:
        """May the gradient be right after all, between kinks that all steps of `found` cross?

        It is where two steps in a row see it that are narrower still. It may be where one kink is
        seen however narrow they are, until rounding hides it: that may be several. (Rounding is
        measured aside as well, as kinks here pass for noise. Where f stands still, it must move
        aside: else that, too, is rounding.)
        """
        x, d, scale, away = self.x, self.d, self.scale, 0.01 * self.scale
        g = self.point.gs[self.i]
        left, right = found.kink() or (0.0, 0.0)
        gap, bend = abs(np.vdot(g, d) - found.value), abs(right - left)
        phi, agreed, bends = self.phi(), False, True
        measured = min(noise(beside(phi, a), scale)[1] for a in (away, -away))
        h = 1e-7 * scale
        while h > 4 * np.spacing(scale):
            ahead, behind = phi(h), phi(-h)
            step = (x + h * d) - (x - h * d)  # as rounded
            rounding = 4 * (EPS * phi.changed() + measured + SMALLEST)
            if rounding > gap * h:
                return bool(bends and gap < 3 * bend)
            agrees = abs(ahead - behind - np.vdot(g, step)) + rounding < gap * h
            if agrees and agreed and (ahead != behind or phi(away + h) != phi(away - h)):
                return True
            agreed, bends = agrees, abs(ahead + behind) > 0.2 * bend * h
            h /= 2
        return False

    def narrow_slope(
        self, found: Sweep, measured: tuple[float, float], within: float
    ) -> float | None:
        """The slope that three narrow steps in a row see, as near to one another as `within`, where
        what passed for noise may be a part of f that varies fast, as sin(1e9 x) / 1e9.

        (Noise is measured again, as narrowly. An f that is rounded coarsely, if only in a part,
        jumps: see `jumps`.)"""
        if max(measured) < 100 * EPS * found.size:
            return None
        phi, x, d, scale = self.phi(), self.x, self.d, self.scale
        several = np.count_nonzero(self.moved) > 1
        slopes: list[float] = []
        narrow, _ = noise(phi, 1e-4 * scale)
        for k in range(2, 20):
            h = 1e-8 * scale / 2**k
            ahead, behind = phi(h), phi(-h)
            step = np.vdot(d, (x + h * d) - (x - h * d)) / np.vdot(d, d)  # as rounded
            slope = float((ahead - behind) / step) if step else 0.0
            error = 4 * (EPS * phi.changed() + narrow + SMALLEST)
            error += several * EPS * scale * abs(slope)
            slopes = [*slopes, slope][-3:] if slope and error < within * h else []
            if len(slopes) == 3 and max(slopes) - min(slopes) < within:
                # As far as what passed for noise may set f off the line.
                reach = 16 * max(measured) / max(abs(found.value - slope), within)
                return None if self.jumps(phi, reach) else slopes[-1]
        return None

    def jumps(self, phi: Along, reach: float) -> bool:
        """Does f change at once, as a rounded one does, and not gradually? The half within which it
        changes by more is halved again, from `reach` down to a few spacings of x."""
        a, b = 0.0, float(np.clip(reach, 1e-8 * self.scale, 0.1 * self.scale))
        there = {a: 0.0, b: phi(b)}
        first = last = abs(there[b])
        while b - a > 16 * np.spacing(self.scale):
            middle = (a + b) / 2
            there[middle] = phi(middle)
            halves = [(a, middle), (middle, b)]
            last, (a, b) = max((abs(there[y] - there[x]), (x, y)) for x, y in halves)
        return last > 1e-4 * first

    def at_rest(self, near: Sweep) -> bool:
        """Is f constant here, and the gradient zero, but for rounding?

        Either the gradient is seen to be rounding, because it is another one right beside x and
        u. Or f has come to a limit, as tanh at 50: to one side it is constant however wide the
        step, and halfway to 0 the gradient was far larger. Or the gradient is zero, and no slope
        comes out of the rounding when the steps get wider.
        """
        changes = [q * row.h for row in near.rows for q in (row.left, row.right)]
        size = max(self.point.size, near.size)
        rounding = 16 * (EPS * size + near.noise)
        largest = np.abs(self.g).max()
        small = largest * np.abs(self.x[self.moved]).max() < 10 * rounding
        if largest and small and flat(changes, rounding):
            beside = [self.gradient_beside(1 + k * 1e-6) for k in range(1, 9)]
            if max(np.abs(h - self.g).max() for h in beside) > 0.1 * largest:
                return True
        phi, h = self.phi(), near.rows[0].h
        if np.abs(self.gradient_beside(0.5)).max() > 1e4 * largest:
            most = 1e-6 * size
            return flat(changes, most) and any(
                flat([phi(side * h * 10.0**k) for k in (1, 4, 8, 16, 32, 64)], most)
                for side in (1, -1)
            )
        if largest or abs(near.jump() or 0.0) > 16 * EPS * size:  # which passes for noise
            return False
        if near.noise > MOST_ROUNDING * size:  # as of sin at 1e10, which varies within any step
            return False
        if not flat(changes, rounding):
            return False
        return not any(has_slope(phi, side * h, EPS * size) for side in (1, -1))

    def gradient_beside(self, factor: float) -> Array:
        """With x and u multiplied; by nearly 1, a gradient hardly changes."""
        point, i = self.point, self.i
        x = np.where(self.moved, self.x * factor, self.x)
        xs = [*point.xs[:i], x, *point.xs[i + 1 :]]
        g = point.subject.gradients(xs, [u * factor for u in point.us])[i]
        return np.zeros(self.moved.sum()) if g is None else g[self.moved]

    def on_kink(self, found: Sweep, sides: tuple[float, float]) -> bool:
        """Is a kink at x itself, as far as the rounding of f shows?

        Then central differences give the mean of both slopes at the very smallest steps, too.
        """
        x, d, g, scale = self.x, self.d, self.point.gs[self.i], self.scale
        nonzero = np.abs(x[self.moved & (x != 0)])
        if nonzero.size and nonzero.min() < found.rows[-1].h:
            return False
        one = np.count_nonzero(self.moved) == 1 and nonzero.size
        bend = abs(sides[1] - sides[0])
        for h in (np.spacing(scale) * (1 if one else 16), 1e-20, 1e-50, 1e-100, 1e-200, 1e-290):
            phi = self.phi()
            central = (phi(h) - phi(-h)) / (2 * h)
            step = ((x + h * d) - (x - h * d)) / (2 * h)  # as rounded
            rounding = 10 * (EPS * phi.changed() + SMALLEST) / h
            if rounding < 0.1 * bend and abs(central - np.vdot(g, step)) > 0.1 * bend + rounding:
                return False
        return True


def has_no_digits(change: float, point: Point, found: Sweep | Look) -> bool:
    """Does x's own rounding move f by all of its size? change: of f, where x moves by its size. (An
    f that is zero at every step has no size to lose.)"""
    return bool(change * EPS > max(point.size, found.size) > 0)


def beside(phi: Along, a: float) -> Callable[[float], float]:
    """phi from another point on."""
    there = phi(a)
    return lambda h: phi(a + h) - there


def flat(changes: list[float], most: float) -> bool:
    return all(abs(change) <= most for change in changes)


def has_slope(phi: Along, h: float, rounding: float) -> bool:
    """Does a slope come out of the rounding, the same one in seven steps from 30 h on?"""
    side = 1 if h > 0 else -1
    slopes = [side * phi(h * 10**k) / 10**k for k in (1.5, 2, 2.5, 3, 3.5, 4, 4.5)]
    return all(
        5 * abs(a) > rounding and (a > 0) == (b > 0) and abs(b) > 0.4 * abs(a)
        for a, b in zip(slopes, slopes[1:])
    )
