"""Checks a gradient against finite differences, and explains what is wrong with it.

    >>> import numpy as np, nanoautograd as nag
    >>> from nanoautograd.testing import gradcheck
    >>> x = np.array([0.3, -1.2, 2.0])
    >>> gradcheck(nag.tanh, [x], order=2).sharpness < 1e-6
    True

For outputs f_k(x_1, x_2, ...), random cotangents u_k and a random direction v in one argument x_i,
let phi(t) = sum_k <u_k, f_k(..., x_i + t v, ...)>. The gradient g_i that is to be checked, the
vector-Jacobian product with u, must satisfy <g_i, v> = phi'(0), and `differences.py` measures
phi'(0) together with its error. One random direction finds a mistake in any entry, with certainty
but for rounding, because a wrong g_i satisfies the equation on a set of v of measure zero. That is
also why u is random: against a cotangent of ones, many wrong rules are right.
"""

import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from ..backends import to_device, to_numpy
from . import report
from .differences import EPS, noise, steps_for, sweep
from .differences import complex_step as imaginary_step
from .report import GradientError, Inconclusive, KinkNearby
from .subjects import ByHand, CheckRefused, Differentiated, Gradient, accepted, device_for, flat

__all__ = ["CheckRefused", "Passed", "PrecisionWarning", "gradcheck", "gradgradcheck"]

SAFETY = 5.0  # over many thousand correct gradients the worst ratio seen was 1.5
BLOCK = 100  # so many entries are examined one by one when a check has failed


class PrecisionWarning(UserWarning):
    """The function computes with so few digits that small mistakes cannot be seen."""


@dataclass(frozen=True)
class Passed:
    """The result of a check that found nothing wrong.

    sharpness   the smallest relative mistake that would have been found in every gradient: 1e-10
                means that a factor of 1 + 1e-10 would have been refused
    checks      how many derivatives were compared
    """

    sharpness: float
    checks: int


def gradcheck(
    f,
    inputs,
    *,
    order=1,
    backend=None,
    entries=False,
    directions=1,
    seed=0,
    vjp=None,
    complex_step=False,
    reference=None,
):
    """Checks the gradient of `f` at `inputs`; returns a `Passed` or raises.

    f           called with one Tensor for each input, returns a Tensor or any nesting of tuples,
                lists and dicts of them; outputs that are not floating are ignored. Options, and
                arguments without a gradient (indices, masks), go into a lambda or a partial
    inputs      arrays or Tensors, float64, which is what finite differences need; not changed
    order       2: afterwards checks the gradient of the gradient likewise, and that gradients
                which record themselves equal those which do not
    backend     "numpy", "cupy", "strict" or a device; by default, that of the inputs
    entries     True: instead of random directions, every entry of every input by itself. Slower,
                but sees a mistake in a small entry beside large ones
    directions  how many random cotangents and directions are tried
    vjp         checks a gradient written by hand instead: f maps arrays to an array or a tuple of
                them, and vjp(cotangent, *inputs) returns one gradient for each input (or None for
                zero); `cotangent` is a tuple if f returns one. The engine is not used
    complex_step  True: also compares with the complex-step derivative, exact to rounding. For
                analytic functions of which each operation accepts complex arrays
    reference   a second formula for f; its results and gradients must equal those of f

    The tolerance is not an option: it is estimated from f itself (differences.py), at each point.

    Raises
        GradientError   the gradient is wrong; says where, by how much and probably why. Its
                        subclass Inconclusive says that differences cannot tell; KinkNearby, that
                        they cannot because of a kink
        CheckRefused    inputs that are not float64, not finite, or overlap in memory; a function
                        that is not deterministic, changes its inputs, or returns nothing that
                        depends on them
    Warns with PrecisionWarning if f computes in less than double precision.
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is 1 or 2; got {order!r}")
    device = device_for(inputs, backend)
    xs = accepted(inputs)
    options = dict(entries=entries, directions=directions, seed=seed)
    subject = ByHand(f, vjp) if vjp else Differentiated(f, device)
    result = _check(subject, xs, **options)
    rng = np.random.default_rng(seed)
    if complex_step:
        _compare_complex(subject, xs, device, rng)
    if reference is not None:
        _compare_reference(subject, Differentiated(reference, device), xs, rng)
    if not vjp and len(xs) > 1:
        us = [_random(y.shape, rng) for y in subject.values(xs)]
        subject.compare_alone(xs, us, subject.gradients(xs, us))
    if order == 2:
        if vjp:
            raise ValueError("gradcheck: order=2 needs a function that the engine differentiates")
        second = Gradient(f, device, len(xs))
        us = [_random(y.shape, rng) for y in subject.values(xs)]
        second.compare_recorded(xs + us)
        again = _check(second, xs + us, **options)
        result = Passed(max(result.sharpness, again.sharpness), result.checks + again.checks)
    return result


def gradgradcheck(f, inputs, **options):
    """`gradcheck` with order=2."""
    return gradcheck(f, inputs, order=2, **options)


# ---- the check


def _check(subject, xs, entries, directions, seed):
    rng = np.random.default_rng(seed)
    ys, again = subject.values(xs), subject.values(xs)
    for k, (y, y2) in enumerate(zip(ys, again)):
        if not np.isfinite(y).all():
            raise CheckRefused(
                f"output {k} of {subject.name} holds {y[~np.isfinite(y)][0]} at "
                "this point; there is nothing to differentiate"
            )
        if y.tobytes() != y2.tobytes():
            raise CheckRefused(
                f"{subject.name} is not deterministic: called twice with the same "
                "inputs, it gave different results. Fix the seed inside it"
            )
        if y.dtype != np.float64:
            warnings.warn(
                f"{subject.name} returns {y.dtype} for float64 inputs: mistakes below "
                "about 1e-3 cannot be seen",
                PrecisionWarning,
                stacklevel=3,
            )
    if not ys:
        raise CheckRefused(f"{subject.name} returns nothing that can have a gradient")
    sharpness, checks = 0.0, 0
    for _ in range(directions):
        point = Point(subject, xs, ys, [_random(y.shape, rng) for y in ys])
        for i, x in enumerate(xs):
            if x.size:
                sharp, count = (
                    point.check_entries(i, np.arange(x.size))
                    if entries
                    else point.check_direction(i, _random(x.shape, rng))
                )
                sharpness, checks = max(sharpness, sharp), checks + count
        point.warn()
    return Passed(sharpness, checks)


class Point:
    """One point x with one cotangent u: here phi(t) = <u, f(x + t v)> is taken apart."""

    def __init__(self, subject, xs, ys, us):
        self.subject, self.xs, self.ys, self.us = subject, xs, ys, us
        self.given = subject.gradients(xs, us)
        self.gs = [np.zeros_like(x) if g is None else g for x, g in zip(xs, self.given)]
        self.size = sum(np.abs(u * y).sum() for u, y in zip(us, ys))
        self.noise = 0.0

    def phi(self, i, v, us=None):
        def phi(t):
            with np.errstate(all="ignore"):
                moved = self.xs[i] + t * v
                ys = self.subject.values([*self.xs[:i], moved, *self.xs[i + 1 :]])
                return float(sum(np.vdot(u, y) for u, y in zip(us or self.us, ys)))

        return phi

    def rounding(self, magnitude, found):
        """Error to expect in <g, v>: f's own, relative, times the sum of its absolute terms."""
        relative = found.noise / self.size if self.size else 0.0
        return (100 * EPS + 10 * relative) * magnitude

    def resolved(self, tolerance, magnitude):
        """Is the derivative known well enough for a comparison to mean anything?

        To a thousandth of its size, or of f's; or, where both are zero but for rounding, to
        something like the rounding of the inputs.
        """
        smallest = 1e-12 * (_size(self.xs) or 1.0)
        return tolerance <= max(1e-3 * magnitude, 1e-3 * self.size, smallest)

    def sharpness(self, tolerance, magnitude):
        """Relative; a gradient that is zero but for rounding is left out."""
        return float(tolerance / magnitude) if magnitude > 1e-10 * self.size else 0.0

    def check_direction(self, i, direction):
        x, g = self.xs[i], self.gs[i]
        scale = np.abs(x).max() or 1.0
        v = scale * direction
        phi = self.phi(i, v)
        found = sweep(phi, noise(phi, self.size), steps_for(scale))
        magnitude = np.abs(g * v).sum()
        tolerance = SAFETY * found.error + self.rounding(magnitude, found)
        analytic = np.vdot(g, v)
        if not self.resolved(tolerance, magnitude):
            # No step suits all entries together, but each may have one of its own.
            return self.check_entries(i, np.arange(x.size))
        self.noise = max(self.noise, found.noise)
        if not abs(analytic - found.value) <= tolerance:
            self.explain(i, self.suspects(i, direction), found)
        return self.sharpness(tolerance, magnitude), 1

    def entry(self, i, j, us=None):
        """(sweep, scale) of the derivative with respect to entry j of argument i."""
        x = self.xs[i]
        scale = abs(x.flat[j]) or np.abs(x).max() or 1.0
        v = np.zeros_like(x)
        v.flat[j] = scale
        phi = self.phi(i, v, us)
        return sweep(phi, noise(phi, self.size), steps_for(scale)), scale

    def near(self, i, scale):
        """A thousandth of the argument's size, in units of an entry's scale."""
        return 1e-3 * (np.abs(self.xs[i]).max() or 1.0) / scale

    def check_entries(self, i, entries):
        g = self.gs[i]
        worst, sharpness = None, 0.0
        for j in entries:
            found, scale = self.entry(i, j)
            analytic = g.flat[j] * scale
            tolerance = SAFETY * found.error + self.rounding(abs(analytic), found)
            if not self.resolved(tolerance, abs(analytic)):
                raise self.unresolved(i, j, found, scale)
            self.noise = max(self.noise, found.noise)
            difference = abs(analytic - found.value)
            if not difference <= tolerance and (worst is None or difference > worst[0]):
                worst = difference, found
            sharpness = max(sharpness, self.sharpness(tolerance, abs(analytic)))
        if worst:
            self.explain(i, entries[:BLOCK] if len(entries) > BLOCK else entries, worst[1])
        return sharpness, len(entries)

    def suspects(self, i, direction):
        """At most BLOCK entries that hold the worst of the mistake: halved until so few remain."""
        entries = np.arange(self.xs[i].size)
        while len(entries) > BLOCK:
            halves = np.array_split(entries, 2)
            entries = max(halves, key=lambda half: self.mistake(i, half, direction))
        return entries

    def mistake(self, i, entries, direction):
        v = np.zeros_like(self.xs[i])
        v.flat[entries] = direction.flat[entries] * (np.abs(self.xs[i]).max() or 1.0)
        phi = self.phi(i, v)
        return abs(np.vdot(self.gs[i], v) - sweep(phi, noise(phi, self.size)).value)

    def numeric(self, i, entries, us=None):
        """(N, error, {j: (sweep, scale)}): the numeric gradient; NaN where not computed."""
        N, error = np.full((2, *self.xs[i].shape), np.nan)
        sweeps = {}
        for j in entries:
            sweeps[j] = found, scale = self.entry(i, j, us)
            N.flat[j], error.flat[j] = found.value / scale, found.error / scale
        return N, error, sweeps

    # ---- what to say

    def explain(self, i, entries, along):
        """Raises the error that says what is wrong with the gradient of argument i.

        along: the sweep that failed.
        """
        subject, x, A = self.subject, self.xs[i], self.gs[i]
        N, error, sweeps = self.numeric(i, entries)
        tolerance = SAFETY * error + self.rounding(np.abs(A), along)
        excess = np.where(np.isfinite(N), np.abs(A - N) - tolerance, -np.inf).ravel()
        order = np.argsort(-excess)
        kinks = {}
        for j in order[:20]:
            if j in sweeps and excess[j] > 0:
                found, scale = sweeps[j]
                sides = found.kink(self.near(i, scale))
                if sides is None or not _between(A.flat[j] * scale, sides, found):
                    break
                kinks[j] = sides[0] / scale, sides[1] / scale
        else:
            j = order[0]
        if kinks and (j in kinks or not excess[j] > 0):
            j = next(iter(kinks))
        elif not excess[j] > 0 and len(entries) == x.size and along.kink():
            return  # only the long way along the direction crosses the kink
        found, scale = sweeps[j]
        index = tuple(int(k) for k in np.unravel_index(j, x.shape))
        rows = [_rescaled(row, scale) for row in found.rows]
        value = SimpleNamespace(value=found.value / scale, error=found.error / scale, rows=rows)
        if j in kinks:
            left, right = kinks[j]
            key, kind = "kink", KinkNearby
            text = (
                f"a kink: the one-sided derivatives are {left:.6g} and {right:.6g} however "
                "small the step, and the gradient lies between them, so it may be right"
            )
            advice = "\n  Move the point away from the kink and check again."
        else:
            kind, advice = GradientError, ""
            if not excess[j] > 0:
                key, text = (
                    "unknown",
                    ("the mistake shows along a random direction, but in no single entry"),
                )
            else:
                key, text = report.guess(
                    A, N, tolerance, self.known(i), self.others(i), self.with_ones(i)
                )
            if found.kink(self.near(i, scale)):
                advice = "\n  (There is a kink here as well, but it does not explain this value.)"
        name = subject.names(len(self.xs))[i]
        raise kind(
            report.message(subject.name, i, name, index, x.shape, value, A.flat[j], text, advice),
            operation=subject.name,
            argument=i,
            name=name,
            index=index,
            analytic=float(A.flat[j]),
            numeric=value.value,
            error=value.error,
            table=rows,
            guess=key,
            explanation=text,
            gradient=A,
            numeric_gradient=N,
        )

    def known(self, i):
        """Arrays that a rule may have forgotten to multiply with."""
        names = self.subject.names(len(self.xs))
        known = {name: x for name, x in zip(names, self.xs)}
        known |= {"out" if len(self.ys) == 1 else f"out[{k}]": y for k, y in enumerate(self.ys)}
        return {k: a for k, a in known.items() if a.ndim <= self.xs[i].ndim}

    def others(self, i):
        def others():
            names = self.subject.names(len(self.xs))
            return {
                names[k]: self.numeric(k, np.arange(x.size))[0]
                for k, x in enumerate(self.xs)
                if k != i and x.shape == self.xs[i].shape and 1 < x.size <= BLOCK
            }

        return others

    def with_ones(self, i):
        def with_ones():
            us = [np.ones_like(u) for u in self.us]
            g = self.subject.gradients(self.xs, us)[i]
            return g, self.numeric(i, np.arange(self.xs[i].size), us)[0]

        return with_ones

    def unresolved(self, i, j, found, scale):
        name = self.subject.names(len(self.xs))[i]
        index = tuple(int(k) for k in np.unravel_index(j, self.xs[i].shape))
        jump = found.jump(self.near(i, scale))
        cause = (
            f"the function jumps by {abs(jump):.3g} here"
            if jump
            else "it is too rough or too ill-conditioned near this point"
        )
        A = float(self.gs[i].flat[j])
        rows = [_rescaled(row, scale) for row in found.rows]
        return Inconclusive(
            f"finite differences of {self.subject.name} with respect to argument {i} ({name}) do "
            f"not settle at any step size, at entry {index}: {cause}\n{report.table(rows, A)}",
            operation=self.subject.name,
            argument=i,
            name=name,
            index=index,
            analytic=A,
            numeric=found.value / scale,
            error=found.error / scale,
            table=rows,
            guess="kink" if jump else "precision",
            explanation=cause,
        )

    def warn(self):
        if self.size and self.noise > 1e-10 * self.size:
            warnings.warn(
                f"{self.subject.name} is accurate to about {self.noise / self.size:.0e} "
                "only (does it compute in float32, or cancel?): mistakes smaller than "
                "this cannot be seen",
                PrecisionWarning,
                stacklevel=4,
            )


def _between(value, sides, found):
    low, high = sorted(sides)
    slack = 0.01 * (high - low) + SAFETY * found.noise / found.rows[-1].h
    return low - min(slack, 0.1 * (high - low)) <= value <= high + min(slack, 0.1 * (high - low))


def _rescaled(row, scale):
    return type(row)(
        row.h * scale,
        row.central / scale,
        row.left / scale,
        row.right / scale,
        row.extrapolated / scale,
        row.error / scale,
    )


# ---- second opinions


def _compare_complex(subject, xs, device, rng):
    """Im f(x + ihv) / h against the gradient: no differences, so no loss of digits."""
    ys = subject.values(xs)
    us = [_random(y.shape, rng) for y in ys]
    gs = subject.gradients(xs, us)
    for i, (x, g) in enumerate(zip(xs, gs)):
        v = _random(x.shape, rng)

        def phi(t):
            moved = [to_device(x + t * v if k == i else x + 0j, device) for k, x in enumerate(xs)]
            ys = [to_numpy(y) for y in flat(subject.f(*moved))]
            return sum(np.sum(u * y) for u, y in zip(us, ys))  # vdot would conjugate

        try:
            exact = imaginary_step(phi)
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckRefused(
                f"{subject.name} cannot be evaluated on complex arrays: {error}"
            ) from error
        scale = np.abs(x).max(initial=0.0) or 1.0
        along = Point(subject, xs, ys, us).phi(i, v * scale)
        real = sweep(along, noise(along, _size(ys)), steps_for(scale))
        g = np.zeros_like(x) if g is None else g
        size = np.abs(v * g).sum() + abs(exact)
        if abs(real.value / scale - exact) > 2 * SAFETY * real.error / scale + 1e-6 * size:
            raise CheckRefused(
                f"{subject.name} is not analytic in argument {i}: its complex-step "
                f"derivative is {exact:.9g}, the real one {real.value / scale:.9g}. "
                "(abs, max, comparisons and real parts are not analytic)"
            )
        analytic = np.vdot(g, v)
        if abs(analytic - exact) > 1e-11 * size:
            raise subject.error(
                i,
                f"differs from the complex-step derivative along a random "
                f"direction: {analytic:.15g} and {exact:.15g}",
                "precision" if abs(analytic - exact) < 1e-4 * size else "unknown",
                analytic=float(analytic),
                numeric=float(exact),
            )


def _compare_reference(subject, reference, xs, rng):
    """Two formulas for one function: equal results, equal gradients, but for rounding."""
    ys, zs = subject.values(xs), reference.values(xs)
    if [y.shape for y in ys] != [z.shape for z in zs]:
        raise GradientError(
            f"{subject.name} returns shapes {[y.shape for y in ys]}, the reference "
            f"{reference.name} returns {[z.shape for z in zs]}",
            operation=subject.name,
        )
    for k, (y, z) in enumerate(zip(ys, zs)):
        if np.any(np.abs(y - z) > 1e-10 * _size([z])):
            raise GradientError(
                f"output {k} of {subject.name} differs from that of the reference "
                f"{reference.name} by {np.abs(y - z).max():.1e}",
                operation=subject.name,
            )
    us = [_random(y.shape, rng) for y in ys]
    for i, (g, h) in enumerate(zip(subject.gradients(xs, us), reference.gradients(xs, us))):
        g, h = (np.zeros_like(xs[i]) if a is None else a for a in (g, h))
        if np.any(np.abs(g - h) > 1e-9 * _size([h]) + 1e-300):
            j = np.unravel_index(np.argmax(np.abs(g - h)), g.shape)
            raise subject.error(
                i,
                f"differs from that of the reference {reference.name} at entry "
                f"{tuple(map(int, j))}: {g[j]:.15g} and {h[j]:.15g}",
                "unknown",
                index=tuple(map(int, j)),
                analytic=float(g[j]),
                numeric=float(h[j]),
            )


# ---- small things


def _random(shape, rng):
    """±1 times something in [0.5, 1.5]: random, and no entry too small to be seen."""
    return rng.choice((-1.0, 1.0), shape) * rng.uniform(0.5, 1.5, shape)


def _size(arrays):
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)
