"""Derivatives by finite differences, each with an estimate of its own error.

Everything here is about one smooth scalar function of one number, phi(t), to be differentiated at
t = 0. `gradcheck` makes phi out of the function under test: phi(t) = sum_k <u_k, f_k(x + t v)>.

Central differences carry two errors. With step h,

    D(h) = (phi(h) - phi(-h)) / 2h = phi' + h^2 phi'''/6 + ...       truncation, grows with h
                                          + (noise of phi) / h       rounding, grows as h shrinks

Neither phi''' nor the noise is known beforehand, so no fixed step and no fixed tolerance is right
for every function. Three measurements replace them:

  - the noise of phi is read off a difference table (`noise`);
  - the step is swept over powers of ten, and each pair of neighbours is extrapolated to
    R(h) = (100 D(h/10) - D(h)) / 99, which removes the h^2 term (L. F. Richardson, 1911);
  - the error of R(h) is taken as its distance to R(10 h) and R(h/10) plus rounding / h, and the
    step with the smallest error wins.

On functions of ordinary scale the winner is good to about eleven digits.
"""

from dataclasses import dataclass, field
from math import comb, factorial, inf, isfinite, log10, nan, sqrt

EPS = 2.0**-52  # spacing of float64 at 1
TINY = 1e-300  # below this, numbers lose digits
STEPS = tuple(10.0**-k for k in range(1, 11))


@dataclass(frozen=True)
class Row:
    """One step size of a sweep: the difference quotients and the extrapolation."""

    h: float
    central: float  # (phi(h) - phi(-h)) / 2h
    left: float  # (phi(0) - phi(-h)) / h
    right: float  # (phi(h) - phi(0)) / h
    extrapolated: float  # (100 central(h/10) - central(h)) / 99
    error: float  # estimate for `extrapolated`; inf where there is none


@dataclass(frozen=True)
class Sweep:
    """phi'(0) over all step sizes; `value` and `error` belong to the best of them."""

    value: float
    error: float
    noise: float
    rows: list = field(repr=False)

    def kink(self, below=1e-3):
        """(left slope, right slope) if phi has a kink at or very near 0, else None.

        One-sided quotients of a smooth function approach each other in proportion to h. Across a
        kink their gap is the same at one step size and the next. Steps under `below` are looked at.
        """
        near = [row for row in self.rows if row.h < below]
        found = None
        for wide, row in zip(near, near[1:]):
            gap = row.right - row.left
            if abs(gap) > 50 * self.noise / row.h and _alike(wide.right - wide.left, gap):
                found = row.left, row.right  # the last one is the closest look
        return found

    def jump(self, below=1e-3):
        """The height of a discontinuity at or very near 0, else None: then D(h) grows like 1/h."""
        heights = [2 * row.h * row.central for row in self.rows if row.h < below]
        if len(heights) > 2 and heights[-1] and all(_alike(h, heights[-1]) for h in heights[-3:]):
            return heights[-1]
        return None


def _alike(a, b):
    return isfinite(a) and isfinite(b) and abs(a - b) < 0.1 * abs(b)


def noise(phi, size):
    """The size of the rounding errors in phi near 0.

    The k-th differences of a smooth function on a fine grid vanish like spacing^k; what remains is
    noise, whose k-th difference has variance (2k)! / k!^2 times its own. (R. W. Hamming,
    Introduction to Applied Numerical Analysis, 1971, ch. 2; J. Moré and S. Wild, Estimating
    computational noise, SIAM J. Sci. Comput. 33, 2011.) Three spacings are tried, because phi may
    vary fast, and the smallest result is kept; but not zero, which is what a phi computed in low
    precision shows where the grid is finer than its own steps. The result is never less than the
    rounding of one addition of terms whose absolute values sum to `size`.
    """
    k, points = 6, 10
    amplification = sqrt(factorial(2 * k)) / factorial(k)
    measured = []
    spacings = 0.7e-3, 1.1e-5, 1.3e-7  # no round multiples of one another
    for spacing in spacings:
        values = [phi((i - points // 2) * spacing) for i in range(points)]
        differences = [
            sum((-1) ** j * comb(k, j) * values[i + j] for j in range(k + 1))
            for i in range(points - k)
        ]
        if all(map(isfinite, differences)) and any(differences):
            measured.append(max(map(abs, differences)))
    each = [m / spacing for m, spacing in zip(measured, spacings)]
    if len(each) == 3 and _alike(each[0], each[1]) and _alike(each[1], each[2]):
        measured = []
    return max(min(measured, default=0.0) / amplification, EPS * size / 4, TINY)


def steps_for(scale):
    """Powers of ten, relative to `scale`, that reach from 1/10 (absolute, too) down to 1e-10.

    An input of size 1e-8 may belong to a function that varies over 1e-8 or to one that varies over
    1: both step sizes have to be in the sweep.
    """
    extra = max(0, -round(log10(scale))) if scale else 0
    return tuple(10.0**k for k in range(extra - 1, -1, -1)) + STEPS if extra else STEPS


def sweep(phi, noise, steps=STEPS):
    """Differentiate phi at 0 with every step of `steps` (each a tenth of the one before).

    Values of phi that are not finite (a step out of the function's domain) are left out.
    """
    here = phi(0.0)
    ahead, behind = [phi(h) for h in steps], [phi(-h) for h in steps]
    central = [(a - b) / (2 * h) for a, b, h in zip(ahead, behind, steps)]
    # at the smallest steps, whatever sets neighbours apart is noise that the table has missed
    noise = max(
        [noise]
        + [
            abs(a - b) * h / 10
            for a, b, h in zip(central, central[1:], steps)
            if h < 1e-7 and isfinite(a) and isfinite(b)
        ]
    )
    R = [(100 * fine - coarse) / 99 for coarse, fine in zip(central, central[1:])] + [nan]
    error = [inf] * len(R)
    for k in range(1, len(R) - 2):
        # The smaller of the two steps in R(h) is h/10, where phi is rounded, and x + tv as well.
        slope = max(abs(ahead[k] - here), abs(behind[k] - here)) / steps[k]
        rounding = 10 * (noise + EPS * slope) / steps[k]
        estimate = max(abs(R[k] - R[k - 1]), abs(R[k] - R[k + 1])) + rounding
        error[k] = estimate if isfinite(estimate) else inf
    best = min(range(len(R)), key=error.__getitem__)
    rows = [
        Row(h, central[k], (here - behind[k]) / h, (ahead[k] - here) / h, R[k], error[k])
        for k, h in enumerate(steps)
    ]
    return Sweep(R[best] if error[best] < inf else nan, error[best], noise, rows)


def complex_step(phi):
    """phi'(0) = Im phi(ih) / h with nothing subtracted, hence without rounding.

    phi must be analytic and evaluated in complex arithmetic (J. Lyness and C. Moler, Numerical
    differentiation of analytic functions, 1967).
    """
    h = 1e-150
    return phi(1j * h).imag / h
