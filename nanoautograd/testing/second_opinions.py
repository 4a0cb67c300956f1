"""Derivatives that come from elsewhere than real differences: they have to agree as well."""

from typing import Any

import numpy as np

from ..backends import is_array, to_device, to_numpy
from ..core.grad_mode import no_grad
from ..core.tensor import Tensor
from .differences import complex_step, noise, sweep
from .directions import SAFETY, Along, Array, Point, random
from .report import GUESSES, GradientError
from .subjects import CheckRefused, Differentiated, Ours, flat


def compare_complex(point: Point, rng: np.random.Generator) -> None:
    """Im f(x + ihv) / h against the gradient: no differences, so no loss of digits."""
    subject, xs, us = point.subject, point.xs, point.us
    if not isinstance(subject.library, Ours):
        raise ValueError("gradcheck: complex_step is for functions of NumPy's or CuPy's arrays")
    device = subject.library.device
    for i, (x, g) in enumerate(zip(xs, point.gs)):
        v = random(x.shape, rng)

        def phi(t: complex) -> complex:
            moved = [to_device(x + t * v if k == i else x + 0j, device) for k, x in enumerate(xs)]
            ys = [to_numpy(y) for y in flat(subject.evaluate(*moved))]
            return sum(np.sum(u * y) for u, y in zip(us, ys))  # vdot would conjugate

        try:
            exact = complex_step(phi)
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckRefused(
                f"{subject.name} cannot be evaluated on complex arrays: {error}"
            ) from error
        scale = np.abs(x).max(initial=0.0) or 1.0
        along = Along(point, {i: v})
        real = sweep(along, noise(along, scale), scale)
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


def compare_forward(point: Point, rng: np.random.Generator) -> None:
    """<u, J v> and <Jᵀ u, v> for a random v: forward and reverse mode are one linear map."""
    subject, xs, us = point.subject, point.xs, point.us
    vs = [random(x.shape, rng) for x in xs]
    dys = subject.jvp(xs, vs)
    if [dy.shape for dy in dys] != [u.shape for u in us]:
        raise GradientError(
            f"the tangents that forward mode gives of {subject.name} have shapes "
            f"{[dy.shape for dy in dys]}, its results {[u.shape for u in us]}",
            operation=subject.name,
        )
    for i, (g, v) in enumerate(zip(point.gs, vs)):  # one at a time, so that the error can name it
        alone = [w if k == i else np.zeros_like(w) for k, w in enumerate(vs)]
        terms = [u * dy for u, dy in zip(us, subject.jvp(xs, alone))]
        forward = float(sum(a.sum() for a in terms))
        reverse = float(np.vdot(g, v))
        size = sum(np.abs(a).sum() for a in terms) + np.abs(g * v).sum()
        if not abs(forward - reverse) <= 1e-10 * size:
            raise subject.error(
                i,
                f"by forward mode differs from that by reverse mode along a random direction: "
                f"{forward:.15g} and {reverse:.15g}",
                "unknown",
                analytic=forward,
                numeric=reverse,
            )


def compare_reference(point: Point, reference: Differentiated) -> None:
    """Two formulas for one function: equal results, equal gradients, but for rounding."""
    subject, xs, ys, zs = point.subject, point.xs, point.ys, reference.values(point.xs)
    if [y.shape for y in ys] != [z.shape for z in zs]:
        raise GradientError(
            f"{subject.name} returns shapes {[y.shape for y in ys]}, the reference "
            f"{reference.name} returns {[z.shape for z in zs]}",
            operation=subject.name,
        )
    for k, (y, z) in enumerate(zip(ys, zs)):
        if np.any(np.abs(y - z) > 1e-10 * largest(z)):
            raise GradientError(
                f"output {k} of {subject.name} differs from that of the reference "
                f"{reference.name} by {np.abs(y - z).max():.1e}",
                operation=subject.name,
            )
    for i, (g, h) in enumerate(zip(point.gs, reference.gradients(xs, point.us))):
        h = np.zeros_like(xs[i]) if h is None else h
        if np.any(np.abs(g - h) > 1e-9 * largest(h) + 1e-300):
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


def compare_custom(point: Point) -> None:
    """Of each custom VJP that the function calls: `reference`, of which second derivatives are
    taken, has the values of `forward`. (A reference that is NotImplemented is none.)"""
    relative = max(1e-10, 10 * point.noise / point.size if point.size else 0.0)
    for f, inputs, options in point.subject.custom:
        arguments = [Tensor(x) if is_array(x) else x for x in inputs]
        with no_grad():
            ys = listed(f(*arguments, **options))
            try:
                zs = listed(f.reference(*arguments, **options))
            except NotImplementedError:
                continue
            except Exception as error:
                said = f"fails where its forward does not: {type(error).__name__}: {error}"
                raise wrong_reference(f.name, said) from error
        shapes = [[y.shape for y in each] for each in (zs, ys)]
        if shapes[0] != shapes[1]:
            given, right = (" and ".join(map(str, each)) for each in shapes)
            said = f"gives another shape than its forward: {given}, for {right}"
            raise wrong_reference(f.name, said)
        for y, z in zip(ys, zs):
            with np.errstate(invalid="ignore"):
                off = np.abs(1.0 * z - y)
            wrong = ~(off <= relative * largest(y)) & ~((z == y) | (z != z) & (y != y))
            if wrong.any():
                j = tuple(int(places[0]) for places in np.atleast_1d(wrong).nonzero())[: y.ndim]
                raise wrong_reference(
                    f.name,
                    f"gives another value than its forward: {z[j]:.9g}, for {y[j]:.9g}, at entry "
                    f"{j} of shape {y.shape}",
                )


def listed(results: Any) -> list[np.ndarray]:
    """The results of an operation as arrays of NumPy."""
    return [np.asarray(to_numpy(y.data) if isinstance(y, Tensor) else y) for y in flat(results)]


def wrong_reference(name: str, said: str) -> GradientError:
    return GradientError(
        f"the reference of {name} {said}. Second derivatives, which are those of the reference, "
        "would be wrong",
        operation=name,
        guess="reference",
        explanation=GUESSES["reference"],
    )


def largest(a: Array) -> float:
    return float(np.abs(a).max(initial=0.0))
