"""Derivatives by finite differences, each with an estimate of its own error.

Everything here is about one smooth scalar function of one number, phi(h) with phi(0) = 0, to be
differentiated at h = 0. `gradcheck` makes phi out of the function under test:
phi(h) = sum_k <u_k, f_k(x + h d) - f_k(x)>.

Central differences carry two errors. With step h,

    D(h) = (phi(h) - phi(-h)) / 2h = phi' + h^2 phi'''/6 + ...       truncation, grows with h
                                          + (noise of phi) / h       rounding, grows as h shrinks

Neither phi''' nor the noise is known beforehand, so no fixed step and no fixed tolerance is right
for every function. Three measurements replace them:

  - the noise of phi is read off a difference table (`noise`);
  - the step is swept over powers of ten, and each pair of neighbours, of ratio r, is extrapolated
    to R(h) = (r^2 D(h/r) - D(h)) / (r^2 - 1), which removes the h^2 term (L. F. Richardson, 1911);
  - the error of R(h) is taken as its distance to R of the next wider and the next narrower step,
    plus rounding / h, and the step with the smallest error wins.

On functions of ordinary scale the winner is good to about eleven digits. A step tells nothing of
what the function does on a smaller scale; three conditions keep such steps from winning:

  - the changes of phi shrink with the step (those of a jump, or of many periods, do not);
  - they stand out from the noise, unless that is no more than the rounding of the results;
  - no narrower step contradicts the derivative by more than its own rounding.

Most functions need none of this: near a point they are smooth, and rounded as little as float64
allows. `look` sees that in eight calls of phi, or says nothing; `noise` and `sweep` make fifty.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import comb, factorial, inf, isfinite, nan, sqrt
from typing import Protocol

EPS = 2.0**-52  # spacing of float64 at 1
SMALLEST = 2.0**-1074  # the spacing at 0
STEPS = (0.2, *(10.0**-k for k in range(1, 11)))  # relative to the size of the input

# The steps of a look, relative to the input. Of the first three the widest leaves a truncation of
# about 1e-12 in the extrapolation of sin, the narrowest a rounding of about 1e-11. What bends more,
# as a recurrent network does, needs three that are narrower, and so does what has kinks nearby, as
# many a network with relu; of the last three the rounding is about 1e-9.
WIDE = 3e-3, 3e-4, 3e-5, 3e-6, 3e-7
ROUGH = 1e-8  # a larger error, relative to the slope, may be less with narrower steps
# Narrow ones, at which a smooth function is a line, so that what is left is noise: one to the left,
# relative to the narrowest of the three, where these know the line to one rounding of phi; and to
# the right the narrowest that has digits. (No round multiples of one another, or of the wide ones.)
NARROW = 0.043
NARROWEST = 0.7e-9
ROUNDINGS = 8.0  # of all results together, that may be left


class Phi(Protocol):
    """What is differentiated: see `Along` in directions.py."""

    def __call__(self, h: float) -> float: ...
    def changed(self) -> float: ...
    def unchanged(self) -> float: ...
    def roundings(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Row:
    """One step size of a sweep: the difference quotients and the extrapolation."""

    h: float
    central: float  # (phi(h) - phi(-h)) / 2h
    left: float  # -phi(-h) / h
    right: float  # phi(h) / h
    extrapolated: float  # from `central` of this row and the next
    error: float  # estimate for `extrapolated`; inf where there is none


@dataclass(frozen=True)
class Sweep:
    """phi'(0) over all step sizes; `value` and `error` belong to the best of them."""

    value: float
    error: float
    step: float  # the narrower of the two
    slope: float  # the larger of the one-sided quotients there
    noise: float
    size: float  # of the results that change
    lost: float  # part of `error`: what changes of the others may have been rounded away
    rows: list[Row] = field(repr=False)

    @property
    def constant(self) -> bool:
        """Does phi stand still at narrow steps, and jump at wide ones, if it changes at all?"""
        changes = [abs(q) * row.h for row in self.rows for q in (row.left, row.right)]
        return not any(changes[8:]) and all(
            c == 0 or not c <= 1000 * EPS * self.size for c in changes[:8]
        )

    def kink(self, widest: float = inf) -> tuple[float, float] | None:
        """(left slope, right slope) if phi has a kink at or very near 0, else None.

        One-sided quotients of a smooth function approach each other in proportion to h. Across a
        kink their gap is the same at one step size and the next. The widest steps say nothing,
        and those wider than `widest` are not asked.
        """
        near = [row for row in self.rows[4:] if row.h <= widest]
        found = None
        for wide, row in zip(near, near[1:]):
            gap = row.right - row.left
            if abs(gap) > 50 * self.noise / row.h and _alike(wide.right - wide.left, gap):
                found = row.left, row.right  # the last one is the closest look
        return found

    def seen_nearer(self, value: float) -> bool:
        """Do two narrower steps see the derivative `value`, or one clearly, not the one found?"""
        gap = abs(value - self.value)
        off = [abs(row.central - value) for row in self.rows if row.h < self.step]
        two = any(max(pair) < 0.1 * gap for pair in zip(off, off[1:]))
        return value != 0 and (two or min(off, default=inf) < 1e-3 * gap)

    def jump(self) -> float | None:
        """The height of a discontinuity at or very near 0, else None: then D(h), or the quotient to
        one side, grows like 1/h."""
        heights = [[r.h * q for q in (2 * r.central, r.left, r.right)] for r in self.rows[4:][-3:]]
        for last in zip(*heights):
            if len(last) > 2 and last[-1] and all(_alike(h, last[-1]) for h in last):
                return last[-1]
        return None


def _alike(a: float, b: float) -> bool:
    return isfinite(a) and isfinite(b) and abs(a - b) < 0.1 * abs(b)


def noise(phi: Callable[[float], float], scale: float = 1.0, side: int = 0) -> tuple[float, float]:
    """(least, most): the size of the rounding errors in phi near 0, for an input of size `scale`.

    The k-th differences of a smooth function on a fine grid vanish like spacing^k; what remains is
    noise, whose k-th difference has variance (2k)! / k!^2 times its own. (R. W. Hamming,
    Introduction to Applied Numerical Analysis, 1971, ch. 2; J. Moré and S. Wild, Estimating
    computational noise, SIAM J. Sci. Comput. 33, 2011.) Three spacings are tried: a wide one may
    show how fast phi varies, and a narrow one stay within one step of a phi that is rounded
    coarsely. Zero is no measurement.

    side: 1 or -1 to look to that side of 0 alone. A kink on the other side is then not seen, which
    otherwise passes for noise.
    """
    k, points = 6, 10
    amplification = sqrt(factorial(2 * k)) / factorial(k)
    measured = []
    spacings = 0.7e-3, 1.1e-5, 1.3e-7  # no round multiples of one another
    for spacing in spacings:
        first = -points // 2 if not side else 0
        places = [(i + first) * (side or 1) * spacing * scale for i in range(points)]
        values = [phi(h) if h else 0.0 for h in places]
        differences = [
            sum((-1) ** j * comb(k, j) * values[i + j] for j in range(k + 1))
            for i in range(points - k)
        ]
        if all(map(isfinite, differences)) and any(differences):
            measured.append(max(map(abs, differences)))
    each = [m / spacing for m, spacing in zip(measured, spacings)]
    if len(each) == 3 and _alike(each[0], each[1]) and _alike(each[1], each[2]):
        measured = []  # a kink: its differences shrink with the spacing
    least, most = (m(measured, default=0.0) / amplification for m in (min, max))
    return least, most


def steps_for(scale: float, widest: float = 0.0) -> list[float]:
    """The steps for an input of size `scale`; with `widest`, from there on downward.

    An input of size 1e-8 may belong to a function that varies over 1e-8 or to one that varies over
    1: the first is looked for among steps relative to the input, the second among all up to 1.
    """
    steps = [s * scale for s in STEPS]
    while steps[0] < 0.1 * widest:
        steps[:1] = [20 * steps[1], 10 * steps[1]]
    return steps


def sweep(phi: Phi, measured: tuple[float, float], scale: float, widest: float = 0.0) -> Sweep:
    """Differentiates phi at 0 with every step of `steps_for(scale, widest)`.

    phi       called with a step; phi.changed() is the size (the sum of absolute values) of the last
              results that a step has changed, whenever it was asked, phi.unchanged() that of others
    measured  the noise in phi near 0, (least, most); never taken for less than one rounding of the
              results
    scale     the size of the inputs, which are rounded as well

    Values of phi that are not finite (a step out of the function's domain) are left out.
    """
    steps = steps_for(scale, widest)
    ahead, behind, sizes, lost = evaluated(phi, steps, always=widest > 0)
    central = [(a - b) / (2 * h) for a, b, h in zip(ahead, behind, steps)]
    change = [max(abs(a), abs(b)) for a, b in zip(ahead, behind)]
    least, most = measured
    noise = max(least, missed_noise(ahead, behind, central, change, steps, scale))
    floor = [EPS / 4 * size + SMALLEST for size in sizes]
    rounding = [
        1.5 * (max(noise, f) + max(EPS * scale, SMALLEST) * (c / h)) / h
        for f, c, h in zip(floor, change, steps)
    ]

    pairs = list(zip(steps, steps[1:]))
    ratio = [(wide / narrow) ** 2 for wide, narrow in pairs]
    R = [(r * b - a) / (r - 1) for r, a, b in zip(ratio, central, central[1:])]
    shrinks = [
        change[k + 1] <= 0.9 * change[k] * ratio[k] ** -0.25 + 8 * max(noise, floor[k])
        and (noise <= 400 * floor[k + 1] or change[k + 1] > 30 * noise)
        for k in range(len(pairs))
    ]
    error = [inf] * len(R)
    for k in range(len(R) - 1):
        if k == 0:  # one rounding less, where rounding is what limits
            distance = max(abs(R[0] - central[1]), abs(R[0] - R[1]) - 5 * rounding[2])
        else:
            distance = max(abs(R[k] - R[k - 1]), abs(R[k] - R[k + 1]))
        estimate = distance + rounding[k + 1] + lost
        if isfinite(estimate) and shrinks[k] and shrinks[k + 1]:
            error[k] = estimate

    def contradicted(k: int) -> bool:
        return any(
            abs(central[m] - R[k])
            > 5 * (error[k] + rounding[m] + most / steps[m])
            + 2 * abs(central[k] - R[k]) * (steps[m] / steps[k]) ** 2
            for m in range(k + 2, len(steps))
        )

    order = sorted((k for k in range(len(R)) if error[k] < inf), key=error.__getitem__)
    best = next((k for k in order if not contradicted(k)), None)
    rows = [
        Row(h, c, -b / h, a / h, r, e)
        for h, c, b, a, r, e in zip(steps, central, behind, ahead, [*R, nan], [*error, inf])
    ]
    size = max(filter(isfinite, sizes), default=0.0)
    if best is None:
        return Sweep(nan, inf, 0.0, nan, noise, size, lost, rows)
    step = steps[best + 1]
    return Sweep(R[best], error[best], step, change[best + 1] / step, noise, size, lost, rows)


def evaluated(
    phi: Phi, steps: list[float], always: bool
) -> tuple[list[float], list[float], list[float], float]:
    """(phi(h), phi(-h), the sizes of the results, what those that stand still may have lost).

    always: whether the sizes are asked for at each step, or at the widest alone.
    """
    ahead: list[float] = []
    behind: list[float] = []
    sizes: list[float] = []
    for h in steps:
        ask = always or not sizes
        behind.append(phi(-h))
        size = phi.changed() if ask else 0.0
        ahead.append(phi(h))
        sizes.append(max(size, phi.changed()) if ask else sizes[0])
    # Results that stood still may have lost changes of less than their rounding.
    return ahead, behind, sizes, EPS / 2 * phi.unchanged() / steps[0]


def missed_noise(
    ahead: list[float],
    behind: list[float],
    central: list[float],
    change: list[float],
    steps: list[float],
    scale: float,
) -> float:
    """Noise that the difference table has not seen.

    At the smallest steps, whatever sets neighbours apart is noise; and where phi stands still and
    then moves by more and more, its first move is a rounding (unless it stands still to one side
    however wide the step, as beside a kink).
    """
    missed = [
        abs(a - b) * h / 10
        for a, b, h in zip(central, central[1:], steps)
        if h < 1e-7 * scale and isfinite(a) and isfinite(b)
    ]
    moves = [c for c in reversed(change) if c]
    if not change[-1] and any(ahead) and any(behind) and len(moves) > 2 and moves[2] > 5 * moves[0]:
        missed.append(moves[0] / 4)
    return max(filter(isfinite, missed), default=0.0)


Values = tuple[float, float, float]  # h, phi(-h), phi(h)


@dataclass(frozen=True)
class Look:
    """phi'(0) of a function that is smooth nearby, as far as wide steps show; as of `Sweep`."""

    value: float
    error: float
    slope: float
    noise: float
    size: float
    step: float  # the narrowest
    bends: tuple[float, float, float]  # the coefficients of h^2, h^3, h^4 in phi

    def line(self, h: float) -> float:
        """phi(h) as it is expected."""
        a, b, c = self.bends
        return h * (self.value + h * (a + h * (b + h * c)))


def glance(phi: Phi) -> Look | None:
    """Differentiates phi, for an input of size 1, with three steps: six calls.

    Where these are too wide, because phi varies fast or has a kink nearby, with three that are
    narrower: two calls more, or four. None where phi looks smooth with none of them.
    """
    values: list[Values] = []
    found = None
    for h in WIDE:
        values.append((h, phi(-h), phi(h)))
        if h == WIDE[0]:
            moved, still = phi.roundings()
        if len(values) > 2:
            nearer = extrapolated(values[-3:], moved, still)
            if found is None or nearer is not None and nearer.error < found.error:
                found = nearer
            if found is not None and found.error <= ROUGH * found.slope:
                break
    return found


def extrapolated(values: list[Values], moved: float, still: float) -> Look | None:
    """From [(h, phi(-h), phi(h))] of three steps, and the size of the results that move or do not.

    The error is the distance of two extrapolations, of which the second is far better. None where
    the even part of phi does not shrink like h^2 (beside a kink it shrinks like h), until what is
    left is no more than a few roundings.
    """
    h1, h2, h3 = (h for h, _, _ in values)
    d1, d2, d3 = ((a - b) / (2 * h) for h, b, a in values)
    e1, e2, e3 = ((a + b) / (2 * h * h) for h, b, a in values)
    r, slope = (h1 / h2) ** 2, max(map(abs, values[2][1:])) / h3
    first, second = (r * d2 - d1) / (r - 1), (r * d3 - d2) / (r - 1)
    fourth = (e1 - e2) / (h1**2 - h2**2)
    bends = e2 - fourth * h2**2, (d2 - d3) / (h2**2 - h3**2), fourth
    noise = abs(e3 - bends[0] - fourth * h3**2) * h3**2
    floor = one_rounding(moved, slope)
    error = abs(first - second) + 1.5 * max(noise, floor) / h3 + EPS / 2 * still / WIDE[0]
    if not (isfinite(error) and noise <= ROUNDINGS * floor):
        return None
    return Look(second, error, slope, noise, moved, h3, bends)


def look(phi: Phi) -> Look | None:
    """`glance`, and whether narrower steps agree: eight calls, ten or twelve.

    None where the answer is not clear.
    Whatever bends phi more closely than the wide steps see, by s over a width w, moves it off the
    line by s w at the first narrow step (or, to the right, sets the wide steps apart). A noise that
    is larger than the rounding of the results shows there as well.
    """
    found = glance(phi)
    if found is None or found.error > 1e-4 * found.slope:  # of which a caller would make nothing
        return None
    floor, noise = one_rounding(found.size, found.slope), found.noise
    for h in (-NARROW * found.step, NARROWEST):
        left = abs(phi(h) - found.line(h))
        if not left <= ROUNDINGS * floor + abs(h) * found.error:
            return None
        noise = max(noise, left)
    more = 1.5 * (max(noise, floor) - max(found.noise, floor)) / found.step
    return replace(found, error=found.error + more, noise=noise)


def one_rounding(size: float, slope: float) -> float:
    """Of phi: of the results, which have the root sum of squares `size`, and of the input."""
    return EPS * (size + slope) + SMALLEST


def quotient(phi: Phi) -> float:
    """phi'(0) of a smooth function, for an input of size 1, to about ten digits: four calls."""
    d1, d2 = ((phi(h) - phi(-h)) / (2 * h) for h in WIDE[:2])
    r = (WIDE[0] / WIDE[1]) ** 2
    return (r * d2 - d1) / (r - 1)


def complex_step(phi: Callable[[complex], complex]) -> float:
    """phi'(0) = Im phi(ih) / h with nothing subtracted, hence without rounding.

    phi must be analytic and evaluated in complex arithmetic (J. Lyness and C. Moler, Numerical
    differentiation of analytic functions, 1967).
    """
    h = 1e-150
    return phi(1j * h).imag / h
