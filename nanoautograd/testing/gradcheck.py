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

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from ..backends import to_device, to_numpy
from ..safety.options import check_flags, check_sizes, generator
from . import low_precision, report
from .differences import EPS, SMALLEST, noise, sweep
from .differences import complex_step as imaginary_step
from .frameworks import subjects
from .report import GradientError, Inconclusive, KinkNearby
from .source import remembered
from .subjects import (
    ByHand,
    CheckRefused,
    Differentiated,
    Ours,
    accepted,
    flat,
    listed,
    our_inputs,
    wrong_dtype,
)

__all__ = [
    "CheckRefused",
    "Passed",
    "PrecisionWarning",
    "gradcheck",
    "gradcheck_module",
    "gradgradcheck",
]

SAFETY = 5.0  # over many thousand correct gradients the worst ratio seen was 1.5
PROMISE = 5e-3  # what passes has no mistake larger than this, relative to the whole gradient
BLOCK = 100  # so many entries are examined one by one when a check has failed


class PrecisionWarning(UserWarning):
    """The function computes with so few digits that small mistakes cannot be seen."""


@dataclass(frozen=True)
class Passed:
    """The result of a check that found nothing wrong.

    sharpness   the smallest relative mistake that would have been found in every gradient: 1e-10
                means that a factor of 1 + 1e-10 would have been refused. Gradients that are zero,
                but for rounding, are left out
    checks      how many derivatives were compared
    """

    sharpness: float
    checks: int


@remembered
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
    framework=None,
    jvp=None,
    forward_mode=False,
    layouts=True,
):
    """Checks the gradient of `f` at `inputs`; returns a `Passed` or raises.

    f           called with one Tensor for each input, returns a Tensor or any nesting of tuples,
                lists and dicts of them; outputs that are not floating are ignored. Options, and
                arguments without a gradient (indices, masks), go into a lambda or a partial
    inputs      arrays (NumPy's, CuPy's) or Tensors, float64, which is what finite differences
                need; not changed. Or tensors of PyTorch, or arrays of JAX, perhaps in pytrees, of
                which one may be complex: then f is called with such, and the derivatives of that
                library are checked (frameworks.py)
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
    reference   a second formula for f; its results and gradients must equal those of f. With it,
                inputs may be float32, float16 or bfloat16: the gradient of the reference is checked
                in float64, and that of f beside it (low_precision.py). It may be f itself
    framework   "torch" or "jax", where inputs are NumPy's; else it is that of the inputs
    layouts     False: f and its rules need not bear inputs and cotangents that lie in memory with
                gaps, by columns, or as one number that is broadcast. (Of functions by hand, and of
                PyTorch's. The engine and JAX give a rule what they choose.)
    forward_mode  True: also compares the Jacobian-vector product of the library, J v, with the
                vector-Jacobian product that was checked: <u, J v> = <Jᵀ u, v>
    jvp         the same for one by hand, beside vjp: jvp(tangents, *inputs) returns the tangent of
                what f returns; `tangents` is a tuple, one for each input

    The tolerance is not an option: it is estimated from f itself (differences.py), at each point.

    Raises
        GradientError   some step sees that the gradient is wrong; says where, by how much and
                        probably why. Its subclass Inconclusive says that differences cannot tell:
                        a factor of 1.01 would not be seen; KinkNearby, that they cannot because of
                        a kink
        CheckRefused    inputs that are not float64, not finite, of another library, or overlap in
                        memory; a function that is not deterministic, changes its inputs, returns
                        nothing that depends on them, or results whose shape depends on their values
    Warns with PrecisionWarning if f computes in less than double precision.
    """
    __tracebackhide__ = True  # in the reports of pytest
    if not isinstance(order, int) or order not in (1, 2):
        raise ValueError(f"gradcheck: order is 1 or 2; got {order!r:.100}")
    check_sizes("gradcheck", 1, directions=directions)
    check_flags("gradcheck", entries=entries, complex_step=complex_step)
    check_flags("gradcheck", forward_mode=forward_mode, layouts=layouts)
    for name, given in (("f", f), ("vjp", vjp), ("jvp", jvp), ("reference", reference)):
        if not (callable(given) or given is None and name != "f"):
            raise TypeError(f"gradcheck: {name} is a function; got {given!r:.100}")
    if jvp is not None and vjp is None or forward_mode and vjp is not None and jvp is None:
        raise ValueError("gradcheck: jvp is compared with vjp: give both, or neither")
    if vjp is not None and (framework is not None or order == 2):
        given = "order=2" if order == 2 else f"framework={framework!r}"
        raise ValueError(
            f"gradcheck: {given} is for a function that a library differentiates, not "
            "for one that is given by vjp"
        )
    if vjp is not None:
        xs = accepted(our_inputs(listed(inputs)))
        subject, again = ByHand(f, vjp, jvp), lambda g: Differentiated(g, Ours("cpu"))
    else:
        again, exact, xs, precision = subjects(f, listed(inputs), framework, backend)
        subject = again(f)
    options = dict(entries=entries, directions=directions, seed=seed)
    rng = generator("gradcheck", seed)
    if vjp is None and precision != "float64":
        if reference is None:
            raise wrong_dtype(None, precision)
        if order == 2 or complex_step or forward_mode:
            raise ValueError(f"gradcheck: in {precision} first derivatives alone are checked")
        result = _check(exact(reference), xs, **options)
        sharpness = low_precision.compare(subject, exact(reference), xs, precision, rng)
        return Passed(max(result.sharpness, sharpness), result.checks + len(xs))
    result = _check(subject, xs, **options)
    if complex_step:
        _compare_complex(subject, xs, rng)
    if reference is not None:
        _compare_reference(subject, again(reference), xs, rng)
    us = [_random(y.shape, rng) for y in subject.values(xs)]
    gs = subject.gradients(xs, us)
    if vjp is None and len(xs) > 1:
        subject.compare_alone(xs, us, gs)
    if layouts:
        subject.compare_layouts(xs, us, gs)
    if forward_mode or jvp is not None:
        _compare_forward(subject, xs, us, gs, rng)
    if order == 2:
        second = subject.of_gradient(xs, us)
        again = _check(second, xs + us, **options)
        result = Passed(max(result.sharpness, again.sharpness), result.checks + again.checks)
    return result


def gradgradcheck(f, inputs, **options):
    """`gradcheck` with order=2."""
    return gradcheck(f, inputs, order=2, **options)


def gradcheck_module(model, batch, **options):
    """`gradcheck` of a torch.nn.Module with respect to all its parameters that need a gradient.

    model: in float64, as model.double() is; its parameters and buffers are not changed. batch: what
    it is called with: one argument, or a tuple of them, or a dict of them by name. options: as of
    `gradcheck`; parameters lie in memory without gaps, so `layouts` is False by default.

    Returns and raises what `gradcheck` does, and names parameters as `named_parameters` does.
    Raises TypeError for what is no such module, CheckRefused for one without parameters.
    """
    __tracebackhide__ = True
    torch = sys.modules.get("torch")  # which has made the model
    if torch is None or not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"gradcheck_module: the model is a torch.nn.Module; got {model!r:.100}. A function "
            "whose arguments are the parameters goes to gradcheck"
        )
    parameters = {k: p for k, p in model.named_parameters() if p.requires_grad}
    args, kwargs = (batch if isinstance(batch, tuple) else (batch,)), {}
    if isinstance(batch, dict):
        args, kwargs = (), batch

    def call(*given):
        # Buffers, such as running means, are written to by a forward pass.
        buffers = {k: b.clone() for k, b in model.named_buffers()}
        state = {**dict(zip(parameters, given)), **buffers}
        return torch.func.functional_call(model, state, args, kwargs)

    call.__name__ = type(model).__name__
    call.__arguments__ = list(parameters)
    call.__wrapped__ = type(model).forward  # which is the source to show
    given = [p.detach() for p in parameters.values()]
    return gradcheck(call, given, **{"layouts": False} | options)


# ---- the check


def _check(subject, xs, entries, directions, seed):
    __tracebackhide__ = True
    rng = generator("gradcheck", seed)
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
                stacklevel=4,
            )
    if not ys:
        raise CheckRefused(f"{subject.name} returns nothing that can have a gradient")
    sharpness, checks = 0.0, 0
    for _ in range(directions):
        point = Point(subject, xs, ys, [_random(y.shape, rng) for y in ys])
        for i, x in enumerate(xs):
            if x.size:
                with np.errstate(all="ignore"):  # a step may leave the domain
                    sharp, count = (
                        point.check_entries(i, np.arange(x.size))
                        if entries
                        else point.check_direction(i, _random(x.shape, rng))
                    )
                sharpness, checks = max(sharpness, sharp), checks + count
        if point.undecided:
            raise point.undecided[0]
        point.warn()
    return Passed(sharpness, checks)


class Along:
    """phi(h) = <u, f(x + h d) - f(x)> for a direction d in argument i.

    Results that d does not move cancel, and so does their rounding.
    """

    def __init__(self, point, i, d, us=None):
        self.point, self.i, self.d, self.us = point, i, d, us or point.us
        self.ys = point.ys
        self.moved = [np.zeros(y.shape, bool) for y in point.ys]

    def __call__(self, h):
        point, i = self.point, self.i
        x = point.xs[i] + h * self.d
        self.ys = point.subject.values([*point.xs[:i], x, *point.xs[i + 1 :]])
        point.check_shapes(self.ys)
        return float(sum(np.vdot(u, y - y0) for u, y, y0 in zip(self.us, self.ys, point.ys)))

    def changed(self):
        """The size of the last results, as far as they have changed when this was called."""
        self.moved = [moved | (y != y0) for moved, y, y0 in zip(self.moved, self.ys, self.point.ys)]
        return self.size(self.ys, self.moved)

    def unchanged(self):
        return self.size(self.point.ys, [~moved for moved in self.moved])

    def size(self, ys, chosen):
        return float(sum(np.abs(u * y)[c].sum() for u, y, c in zip(self.us, ys, chosen)))


class Point:
    """One point x with one cotangent u: here phi(h) = <u, f(x + h d) - f(x)> is taken apart."""

    def __init__(self, subject, xs, ys, us):
        self.subject, self.xs, self.ys, self.us = subject, xs, ys, us
        self.shapes = [y.shape for y in ys]
        self.given = subject.gradients(xs, us)
        self.gs = [np.zeros_like(x) if g is None else g for x, g in zip(xs, self.given)]
        self.size = float(sum(np.abs(u * y).sum() for u, y in zip(us, ys)))
        self.noise = 0.0
        self.undecided = []  # errors, raised if no mistake is found elsewhere
        for i, g in enumerate(self.gs):
            if np.isnan(g).any():
                raise subject.error(i, "holds nan where the function is finite", "unknown")

    def check_shapes(self, ys):
        shapes = [y.shape for y in ys]
        if shapes != self.shapes:
            raise CheckRefused(
                f"the shape of what {self.subject.name} returns depends on the values of its "
                f"inputs: {_listed(self.shapes)} at this point, {_listed(shapes)} within a step of "
                "it. There is no difference to take: fix what is selected outside of the function"
            )

    # ---- one direction

    def tolerance(self, found, magnitude):
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

    def judge(self, i, d, scale):
        """(verdict, sweep, sharpness) for the gradient along d, of inputs of size `scale`.

        The verdict is "right", "wrong", "kink" (right if a kink is at this very point) or
        "unknown". Steps relative to the inputs come first. Only where these do not tell, or inputs
        are so small that they may tell of rounding alone, wider steps are looked at.
        """
        scale = max(float(scale), 1e-296)
        tiny = scale < 1e-4
        phi = Along(self, i, d)
        measured = noise(phi, scale)
        found = near = sweep(phi, measured, scale)
        verdict, sharpness = self.compare(i, d, found)
        if verdict == "wrong":
            sides = [noise(Along(self, i, d), scale, side) for side in (1, -1)]
            if max(least := min(sides, key=max)) < 1e-2 * max(measured):
                measured = least  # it was a kink beside x that passed for noise
                found = near = sweep(Along(self, i, d), measured, scale)
                verdict, sharpness = self.compare(i, d, found)
        if verdict == "unknown" and scale < 1 or tiny and found.lost > 1e-9 * found.slope:
            found = sweep(Along(self, i, d), measured, scale, widest=1.0)
            verdict, sharpness = self.compare(i, d, found)
            if found.kink(found.step) or found.kink() and found.step <= scale:
                verdict = "kink" if verdict == "right" else verdict
        else:
            if tiny:
                verdict = self.confirmed(i, d, scale, found, verdict)
            if verdict == "right" and found.kink() and not self.on_kink(i, d, found, scale):
                verdict = "kink"
        if verdict == "wrong" and self.between_kinks(i, d, found, scale):
            verdict = "unknown"
        if verdict == "unknown" and self.at_rest(i, d, near):
            verdict = "right"
        return verdict, found, sharpness

    def confirmed(self, i, d, scale, found, verdict):
        """`verdict`, or "unknown" where what is seen so near to x may be rounding alone.

        As with exp(x) - 1, which stands still at 1e-20, and not only up to 0, as relu at -1e-20.
        """
        phi = Along(self, i, d)
        wide = sweep(phi, noise(phi, 1.0), 1.0)
        other, _ = self.compare(i, d, wide)
        if other != "unknown" and not wide.kink():
            return verdict if other == verdict else "unknown"
        still = found.constant and not (phi(100 * scale) or phi(-100 * scale))
        return "unknown" if still else verdict

    def compare(self, i, d, found):
        """(verdict, sharpness): is <g, d> what was found, as far as the sweep can tell?"""
        g = self.gs[i][d != 0]
        analytic = float(np.vdot(g, d[d != 0]))
        magnitude = float(np.abs(g * d[d != 0]).sum())
        if np.isinf(g).any():
            settled = SAFETY * found.error < PROMISE * abs(found.value) or found.constant
            return ("wrong" if settled else "unknown"), 0.0
        if not g.any() and found.constant:
            return "right", 0.0
        tolerance = self.tolerance(found, magnitude)
        if not (isfinite(analytic) and isfinite(tolerance) and isfinite(found.value)):
            return "unknown", 0.0
        if magnitude * EPS * np.abs(self.xs[i][d != 0]).max() > max(self.size, found.size):
            return "unknown", 0.0  # f has no digits: x's own rounding moves it by all of its size
        if not abs(analytic - found.value) <= tolerance:
            return ("unknown" if found.seen_nearer(analytic) else "wrong"), 0.0
        if not g.any():
            return ("right" if tolerance <= PROMISE * found.slope else "unknown"), 0.0
        if tolerance > PROMISE * abs(analytic):
            return "unknown", 0.0
        return "right", tolerance / abs(analytic)

    def between_kinks(self, i, d, found, scale):
        """May the gradient be right after all, between kinks that all steps of `found` cross?

        It is where two steps in a row see it that are narrower still. It may be where one kink is
        seen however narrow they are, until rounding hides it: that may be several. (Rounding is
        measured aside as well, as kinks here pass for noise. Where f stands still, it must move
        aside: else that, too, is rounding.)
        """
        x, g, away = self.xs[i], self.gs[i], 0.01 * scale
        left, right = found.kink() or (0.0, 0.0)
        gap, bend = abs(np.vdot(g, d) - found.value), abs(right - left)
        phi, agreed, bends = Along(self, i, d), False, True
        measured = min(noise(lambda h: phi(a + h) - phi(a), scale)[1] for a in (away, -away))
        h = 1e-7 * scale
        while h > 4 * np.spacing(scale):
            ahead, behind = phi(h), phi(-h)
            step = (x + h * d) - (x - h * d)  # as rounded
            rounding = 4 * (EPS * phi.changed() + measured + SMALLEST)
            if rounding > gap * h:
                return bends and gap < 3 * bend
            agrees = abs(ahead - behind - np.vdot(g, step)) + rounding < gap * h
            if agrees and agreed and (ahead != behind or phi(away + h) != phi(away - h)):
                return True
            agreed, bends = agrees, abs(ahead + behind) > 0.2 * bend * h
            h /= 2
        return False

    def at_rest(self, i, d, near):
        """Is f constant here, and the gradient zero, but for rounding?

        Either the gradient is seen to be rounding, because it is another one right beside x and
        u. Or f has come to a limit, as tanh at 50: to one side it is constant however wide the
        step, and halfway to 0 the gradient was far larger. Or the gradient is zero, and no slope
        comes out of the rounding when the steps get wider.
        """
        x, moved = self.xs[i], d != 0
        g = self.gs[i][moved]

        def gradient(factor):
            """With x and u multiplied; by nearly 1, a gradient hardly changes."""
            xs = [*self.xs[:i], np.where(moved, x * factor, x), *self.xs[i + 1 :]]
            g = self.subject.gradients(xs, [u * factor for u in self.us])[i]
            return np.zeros(moved.sum()) if g is None else g[moved]

        def flat(changes, most):
            return all(abs(change) <= most for change in changes)

        changes = [q * row.h for row in near.rows for q in (row.left, row.right)]
        size = max(self.size, near.size)
        rounding = 16 * (EPS * size + near.noise)
        small = np.abs(g).max() * np.abs(x[moved]).max() < 10 * rounding
        if g.any() and small and flat(changes, rounding):
            beside = [gradient(1 + k * 1e-6) for k in range(1, 9)]
            if max(np.abs(h - g).max() for h in beside) > 0.1 * np.abs(g).max():
                return True
        phi, h = Along(self, i, d), near.rows[0].h
        if np.abs(gradient(0.5)).max() > 1e4 * np.abs(g).max():
            most = 1e-6 * size
            return flat(changes, most) and any(
                flat((phi(side * h * 10.0**k) for k in (1, 4, 8, 16, 32, 64)), most)
                for side in (1, -1)
            )

        def slope(side):
            slopes = [side * phi(side * h * 10**k) / 10**k for k in (1.5, 2, 2.5, 3, 3.5, 4, 4.5)]
            return all(
                5 * abs(a) > EPS * size and (a > 0) == (b > 0) and abs(b) > 0.4 * abs(a)
                for a, b in zip(slopes, slopes[1:])
            )

        if g.any() or abs(near.jump() or 0.0) > 16 * EPS * size:  # which passes for noise
            return False
        return flat(changes, rounding) and not (slope(1) or slope(-1))

    def on_kink(self, i, d, found, scale):
        """Is a kink at x itself, as far as the rounding of f shows?

        Then central differences give the mean of both slopes at the very smallest steps, too.
        """
        x, g = self.xs[i], self.gs[i]
        nonzero = np.abs(x[(d != 0) & (x != 0)])
        if nonzero.size and nonzero.min() < found.rows[-1].h:
            return False
        one = np.count_nonzero(d) == 1 and nonzero.size
        left, right = found.kink()
        for h in (np.spacing(scale) * (1 if one else 16), 1e-20, 1e-50, 1e-100, 1e-200, 1e-290):
            phi = Along(self, i, d)
            central = (phi(h) - phi(-h)) / (2 * h)
            step = ((x + h * d) - (x - h * d)) / (2 * h)  # as rounded
            rounding = 10 * (EPS * phi.changed() + SMALLEST) / h
            if rounding < 0.1 * abs(right - left):
                if abs(central - np.vdot(g, step)) > 0.1 * abs(right - left) + rounding:
                    return False
        return True

    # ---- one argument

    def check_direction(self, i, direction):
        __tracebackhide__ = True
        x = self.xs[i]
        if x.size == 1 or not np.isfinite(self.gs[i]).all():
            return self.check_entries(i, np.arange(x.size))
        rest = np.zeros(x.shape, bool)
        sharpness, checks = 0.0, 0
        *smaller, (scale, largest) = _by_size(x)
        if smaller:
            for h in (0.1 * scale, -0.1 * scale):
                Along(self, i, direction)(h)  # refuses results whose shape changes
        for size, entries in [*smaller, (scale, largest)]:
            last = entries is largest
            entries = entries | rest if last else entries
            d = np.where(entries, direction, 0.0)
            verdict, found, sharp = self.judge(i, d, size)
            if verdict == "right":
                self.noise = max(self.noise, found.noise)
                sharpness, checks = max(sharpness, sharp), checks + 1
            elif verdict == "unknown" and not last:
                rest |= entries  # no step of its own tells: moved together with larger ones
            else:
                chosen = np.flatnonzero(entries)
                if verdict == "wrong":
                    self.explain(i, self.suspects(i, chosen, direction), found)
                # No step suits all entries together, but each may have one of its own.
                sharp, count = self.check_entries(i, chosen)
                sharpness, checks = max(sharpness, sharp), checks + count
        return sharpness, checks

    def entry(self, i, j):
        """`judge` for entry j of argument i alone."""
        x = self.xs[i]
        d = np.zeros_like(x)
        d.flat[j] = 1.0
        return self.judge(i, d, abs(x.flat[j]) or _size([x]) or 1.0)

    def check_entries(self, i, entries):
        __tracebackhide__ = True
        wrong, sharpness = {}, 0.0
        for j in entries:
            verdict, found, sharp = self.entry(i, j)
            if verdict == "right":
                self.noise = max(self.noise, found.noise)
                sharpness = max(sharpness, sharp)
            elif verdict == "wrong" and not _explained(self.gs[i].flat[j], found):
                wrong[j] = found
            else:
                self.undecided.append(self.unresolved(i, j, found))
        if wrong:
            first = sorted(entries, key=lambda j: j not in wrong)[:BLOCK]
            self.explain(i, np.array(first), next(iter(wrong.values())))
        return sharpness, len(entries)

    def suspects(self, i, entries, direction):
        """At most BLOCK of the entries, that hold the worst of the mistake: halved until so few."""
        while len(entries) > BLOCK:
            halves = np.array_split(entries, 2)
            entries = max(halves, key=lambda half: self.mistake(i, half, direction))
        return entries

    def mistake(self, i, entries, direction):
        d = np.zeros_like(self.xs[i])
        d.flat[entries] = direction.flat[entries]
        scale = np.abs(self.xs[i].flat[entries]).max() or 1.0
        phi = Along(self, i, d)
        return abs(np.vdot(self.gs[i], d) - sweep(phi, noise(phi, scale), scale).value)

    def numeric(self, i, us=None):
        """The numeric gradient of argument i."""
        N = np.zeros(self.xs[i].shape)
        for j in range(N.size):
            d = np.zeros(N.shape)
            d.flat[j] = 1.0
            scale = abs(self.xs[i].flat[j]) or _size([self.xs[i]]) or 1.0
            phi = Along(self, i, d, us)
            N.flat[j] = sweep(phi, noise(phi, scale), scale).value
        return N

    # ---- what to say

    def explain(self, i, entries, along):
        """Raises the error that says what is wrong with the gradient of argument i.

        along: the sweep that failed. Returns where no single entry is seen to be wrong, and one is
        undecided or a kink explains what the sweep has found.
        """
        __tracebackhide__ = True
        x, A = self.xs[i], self.gs[i]
        N, error = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        found, wrong, undecided = {}, [], False
        for j in entries:
            verdict, found[j], _ = self.entry(i, j)
            N.flat[j], error.flat[j] = found[j].value, found[j].error
            if verdict == "wrong" and not _explained(A.flat[j], found[j]):
                wrong.append(j)
            elif verdict != "right":
                undecided = True
        tolerance = SAFETY * error + (self.tolerance(along, 1.0) - SAFETY * along.error) * np.abs(A)
        if not wrong and (undecided or along.kink()):
            return
        with np.errstate(all="ignore"):
            j = max(wrong if wrong else entries, key=lambda j: abs(A.flat[j] - N.flat[j]))
        if wrong:
            key, text = report.guess(
                A, N, tolerance, self.known(i), self.others(i), self.with_ones(i), self.beside(i)
            )
        else:
            key = "unknown"
            text = "the mistake shows along a random direction, but in no single entry"
        advice = ""
        if found[j].kink():
            advice = "\n  (There is a kink here as well, but it does not explain this value.)"
        raise self.failure(
            GradientError, i, j, found[j], key, text, advice, gradient=A, numeric_gradient=N
        )

    def unresolved(self, i, j, found):
        """The error for an entry at which differences do not decide."""
        A = self.gs[i].flat[j]
        if _explained(A, found):
            left, right = found.kink()
            text = (
                f"a kink: the one-sided derivatives are {left + 0.0:.6g} and {right + 0.0:.6g} "
                "however small the step, and the gradient lies between them"
            )
            return self.failure(KinkNearby, i, j, found, "kink", text)
        jump = found.jump()
        text = (
            f"the function jumps by {abs(jump):.3g} here"
            if jump
            else "it is too rough, too ill-conditioned, or too large beside its changes, near this "
            "point"
        )
        return self.failure(Inconclusive, i, j, found, "kink" if jump else "precision", text)

    def failure(self, kind, i, j, found, key, text, advice="", **more):
        name = self.subject.names(len(self.xs))[i]
        shape = self.xs[i].shape
        index = tuple(int(k) for k in np.unravel_index(j, shape))
        A = float(self.gs[i].flat[j])
        if kind is Inconclusive:
            said = (
                f"finite differences of {self.subject.name} with respect to argument {i} ({name}) "
                f"do not settle at any step size, at entry {index}: {text}\n"
                f"{report.table(found.rows, A)}"
            )
        elif kind is KinkNearby:
            said = report.kink_message(self.subject.name, i, name, index, shape, found, A, text)
        else:
            said = report.message(self.subject.name, i, name, index, shape, found, A, text, advice)
        return kind(
            said,
            operation=self.subject.name,
            argument=i,
            name=name,
            index=index,
            analytic=A,
            numeric=found.value,
            error=found.error,
            table=found.rows,
            guess=key,
            explanation=text,
            **{"gradient": self.gs[i], "numeric_gradient": _only(index, shape, found.value)} | more,
        )

    def known(self, i: int) -> dict[str, np.ndarray]:
        """Arrays that a rule may have forgotten to multiply with; the argument itself first."""
        names = self.subject.names(len(self.xs))
        known = {names[i]: self.xs[i]} | dict(zip(names, self.xs))
        known |= {"out" if len(self.ys) == 1 else f"out[{k}]": y for k, y in enumerate(self.ys)}
        return {k: a for k, a in known.items() if a.ndim <= self.xs[i].ndim}

    def others(self, i: int) -> Callable[[], dict[str, tuple[np.ndarray, np.ndarray]]]:
        def others() -> dict[str, tuple[np.ndarray, np.ndarray]]:
            names = self.subject.names(len(self.xs))
            return {
                names[k]: (self.gs[k], self.numeric(k))
                for k, x in enumerate(self.xs)
                if k != i and x.shape == self.xs[i].shape and 1 < x.size <= BLOCK
            }

        return others

    def with_ones(self, i: int) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        def with_ones() -> tuple[np.ndarray, np.ndarray]:
            us = [np.ones_like(u) for u in self.us]
            g = self.subject.gradients(self.xs, us)[i]
            return np.zeros_like(self.xs[i]) if g is None else g, self.numeric(i, us)

        return with_ones

    def beside(self, i: int) -> Callable[[float], list[np.ndarray]]:
        def beside(distance: float) -> list[np.ndarray]:
            x = self.xs[i]
            moved = (
                [*self.xs[:i], x * (1 + distance * k), *self.xs[i + 1 :]] for k in range(1, 10)
            )
            gs = [self.subject.gradients(xs, self.us)[i] for xs in moved]
            return [np.zeros_like(x) if g is None else g for g in gs]

        return beside

    def warn(self):
        if self.size and self.noise > 1e-10 * self.size:
            warnings.warn(
                f"{self.subject.name} is accurate to about {self.noise / self.size:.0e} "
                "only (does it compute in float32, or cancel?): mistakes smaller than "
                "this cannot be seen",
                PrecisionWarning,
                stacklevel=5,
            )


def _explained(value, found):
    """Does `value` lie between the slopes on both sides of a kink?"""
    sides = found.kink()
    if sides is None:
        return False
    low, high = sorted(sides)
    slack = 0.01 * (high - low) + SAFETY * found.noise / found.rows[-1].h
    slack = min(slack, 0.1 * (high - low))
    return low - slack <= value <= high + slack


def _by_size(x):
    """[(size, mask)]: the entries of about one size, smallest first; zeros are with the largest.

    Steps relative to the largest of a group suit all of it.
    """
    groups = []
    sizes = np.abs(x)
    rest = np.ones(x.shape, bool)
    while rest.any():
        size = sizes[rest].max()
        group = rest & ((sizes >= 1e-4 * size) | (sizes == 0))
        groups.insert(0, (float(size) or 1.0, group))
        rest &= ~group
    return groups


# ---- second opinions


def _compare_complex(subject, xs, rng):
    """Im f(x + ihv) / h against the gradient: no differences, so no loss of digits."""
    if not isinstance(subject.library, Ours):
        raise ValueError("gradcheck: complex_step is for functions of NumPy's or CuPy's arrays")
    device = subject.library.device
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
        along = Along(Point(subject, xs, ys, us), i, v)
        real = sweep(along, noise(along, scale), scale)
        g = np.zeros_like(x) if g is None else g
        size = np.abs(v * g).sum() + abs(exact)
        if abs(real.value - exact) > 2 * SAFETY * real.error + 1e-6 * size:
            raise CheckRefused(
                f"{subject.name} is not analytic in argument {i}: its complex-step "
                f"derivative is {exact:.9g}, the real one {real.value:.9g}. "
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


def _compare_forward(subject, xs, us, gs, rng):
    """<u, J v> and <Jᵀ u, v> for a random v: forward and reverse mode are one linear map."""
    vs = [_random(x.shape, rng) for x in xs]
    dys = subject.jvp(xs, vs)
    if [dy.shape for dy in dys] != [u.shape for u in us]:
        raise GradientError(
            f"the tangents that forward mode gives of {subject.name} have shapes "
            f"{[dy.shape for dy in dys]}, its results {[u.shape for u in us]}",
            operation=subject.name,
        )
    for i, (g, v) in enumerate(zip(gs, vs)):  # one input at a time, so that the error can name it
        alone = [w if k == i else np.zeros_like(w) for k, w in enumerate(vs)]
        terms = [u * dy for u, dy in zip(us, subject.jvp(xs, alone))]
        forward = float(sum(a.sum() for a in terms))
        reverse = 0.0 if g is None else float(np.vdot(g, v))
        size = sum(np.abs(a).sum() for a in terms) + (0.0 if g is None else np.abs(g * v).sum())
        if not abs(forward - reverse) <= 1e-10 * size:
            raise subject.error(
                i,
                f"by forward mode differs from that by reverse mode along a random direction: "
                f"{forward:.15g} and {reverse:.15g}",
                "unknown",
                analytic=forward,
                numeric=reverse,
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


def _only(index: tuple, shape: tuple, value: float) -> np.ndarray:
    """An array of NaN but for one entry."""
    a = np.full(shape, np.nan)
    a[index] = value
    return a


def _random(shape, rng):
    """±1 times something in [0.5, 1.5]: random, and no entry too small to be seen."""
    return np.asarray(rng.choice((-1.0, 1.0), shape) * rng.uniform(0.5, 1.5, shape))


def _listed(shapes):
    return " and ".join(map(str, shapes))


def _size(arrays):
    return max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)
