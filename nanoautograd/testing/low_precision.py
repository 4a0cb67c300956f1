"""Gradients in float32, float16 or bfloat16, beside a reference in float64.

A kernel may exist in low precision alone, in which differences have few digits or none. So what it
computes is compared with a second formula, `reference`, which computes in float64, and whose own
gradient is checked there. How far two right computations may be apart is measured: the reference is
computed at inputs and cotangents that are moved at random by one rounding of the low precision, and
what that does to an entry of the gradient h is σ_j (root mean square, and at least ε |h_j|). Then

    |g_j - h_j| ≤ ENTRY (σ_j + ε max |h|)           no entry lacks a term
    |α - 1| ≤ FACTOR s + 2 ε                        no factor: α = <g, h> / <h, h>,
                                                    s² = Σ_j σ_j² h_j² / <h, h>²

The second is sharper than any entry by itself, since roundings are independent and a factor is not.
One that is not independent, as that of y in exp(x - y), is another one at another point, where a
factor is the same: where α is off, its mean over some points is judged, beside its scatter t there.
A factor of 1 + FACTOR s + 2 ε + 2 (s + t) would be seen: that is the `sharpness`. Where it is more
than 1.01 the answer is Inconclusive. A function that makes more of its roundings than that, as
x + 1e6 - 1e6, is an error: low precision is not enough for it.
"""

from collections.abc import Callable

import numpy as np

from .directions import Array
from .report import GradientError, Inconclusive
from .subjects import Differentiated, filled

ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Of 2,520 right gradients, of 20 functions of PyTorch in the three precisions, 99 % of the worst
# entries were off by 4.8 (σ_j + ε max |h|) or less, one by 7.2; α by 1.25 (s + ε) at most.
ENTRY, FACTOR = 16.0, 4.0
POINTS = 8  # at which α is computed again where it is off
MOVED = 12  # computations with other roundings
SEEN = 1e-2  # a mistake of that factor has to be seen


def compare(
    subject: Differentiated,
    reference: Differentiated,
    xs: list[Array],
    precision: str,
    rng: np.random.Generator,
    layouts: bool,
) -> float:
    """The sharpness. Raises GradientError, or Inconclusive.

    subject: what computes in low precision. reference: the same function, in float64. xs: float64
    numbers that the low precision has. precision: the name of its dtype. layouts: as of
    `gradcheck`.
    """
    ε = ROUNDING[precision]
    zs = reference.values(xs)
    # Cotangents of few bits, which every precision has.
    us = [rng.choice((-1.0, 1.0), z.shape) * rng.integers(32, 97, z.shape) / 64 for z in zs]
    us = list(map(np.asarray, us))

    def rounded(arrays: list[Array]) -> list[Array]:
        return [a * (1 + ε * rng.uniform(-1, 1, a.shape)) for a in arrays]

    ys = subject.values(xs)
    if [y.shape for y in ys] != [z.shape for z in zs]:
        raise GradientError(
            f"{subject.name} returns shapes {[y.shape for y in ys]}, the reference "
            f"{reference.name} {[z.shape for z in zs]}",
            operation=subject.name,
        )
    moved = [reference.values(rounded(xs)) for _ in range(MOVED)]
    for k, (y, z) in enumerate(zip(ys, zs)):
        far = ENTRY * (_spread([m[k] for m in moved], z, ε) + ε * np.abs(z).max(initial=0.0))
        if not np.all(np.abs(y - z) <= far):
            raise GradientError(
                f"output {k} of {subject.name} is off by {np.abs(y - z).max():.2g} from the "
                f"reference {reference.name}; the roundings of {precision} explain "
                f"{far.max():.2g}",
                operation=subject.name,
            )
    gs, hs = subject.gradients(xs, us), reference.gradients(xs, us)
    beside = [reference.gradients(rounded(xs), rounded(us)) for _ in range(MOVED)]

    def factors(i: int) -> list[float]:
        """α of argument i at other points: nearer to 0, which most functions take."""
        found = []
        for k in range(1, POINTS + 1):
            there = [_stored(x * (1 - k / 32), precision) for x in xs]
            g, h = (filled(xs, f.once(there, us))[i] for f in (subject, reference))
            found.append(float(np.vdot(g, h) / np.vdot(h, h)))
        return [α for α in found if np.isfinite(α)]

    sharpness = 0.0
    for i, (g, h) in enumerate(zip(filled(xs, gs), filled(xs, hs))):
        near = [filled(xs, m)[i] for m in beside]
        sharpness = max(sharpness, _compare(subject, i, g, h, near, precision, factors))
    if subject.doubt is not None:
        raise subject.doubt
    subject.rounding = 16 * ε
    if len(xs) > 1:
        subject.compare_alone(xs, us, gs)
    if layouts:
        subject.compare_layouts(xs, us, gs)
    return sharpness


def _compare(
    subject: Differentiated,
    i: int,
    g: Array,
    h: Array,
    near: list[Array],
    precision: str,
    factors: Callable[[int], list[float]],
) -> float:
    """Of the gradient g of argument i, beside h: the sharpness, or an error."""
    ε, square = ROUNDING[precision], np.vdot(h, h)
    σ = _spread(near, h, ε)
    far = ENTRY * (σ + ε * np.abs(h).max(initial=0.0))
    wrong = ~(np.abs(g - h) <= far)  # NaN is wrong
    if square == 0:
        sharpness, off = 0.0, False
    else:
        s, t = np.sqrt(np.sum((σ * h) ** 2)) / square, 0.0
        α = float(np.vdot(g, h) / square)
        off = not abs(α - 1) <= FACTOR * s + 2 * ε
        if off and not wrong.any():
            several = [α, *factors(i)]
            t = float(np.std(several))
            off = not abs(np.mean(several) - 1) <= FACTOR * s + 2 * ε + t
        sharpness = float((FACTOR + 2) * s + 2 * ε + 2 * t)
    if wrong.any() or off:
        j = np.unravel_index(np.argmax(np.where(np.isnan(g), np.inf, np.abs(g - h) / far)), g.shape)
        what = f"in {precision} is off by more than its roundings explain"
        fits = off and bool(np.all(np.abs(g - α * h) <= 2 * far * max(1, abs(α))))
        if fits:
            what += f": it is {α:.6g} times the reference's, to ± {sharpness:.2g}"
        what += f"; at entry {tuple(map(int, j))} it is {g[j]:.9g}, for {h[j]:.9g} ± {far[j]:.2g}"
        place = dict(index=tuple(map(int, j)), analytic=float(g[j]), numeric=float(h[j]))
        key = "factor" if fits else "unknown" if wrong.all() else "some entries"
        raise subject.error(i, what, key, **place)
    if sharpness > SEEN:
        name = subject.names(i + 1)[i]
        raise Inconclusive(
            f"the gradient of {subject.name} with respect to argument {i} ({name}) agrees with the "
            f"reference, but in {precision} a factor of {1 + sharpness:.3f} would not be seen in "
            f"{h.size} numbers: check at a point with more of them",
            operation=subject.name,
            argument=i,
            name=name,
        )
    return sharpness


def _stored(x: Array, precision: str) -> Array:
    """x, rounded to the 8, 11 or 24 binary digits that the low precision has."""
    digits, exponent = np.frexp(x)
    ε = ROUNDING[precision]
    return np.ldexp(np.rint(digits / ε) * ε, exponent)


def _spread(near: list[Array], a: Array, ε: float) -> Array:
    """How far the arrays `near` are from a, root mean square of each element."""
    return np.sqrt(np.mean([(b - a) ** 2 for b in near], axis=0)) + ε * np.abs(a)
