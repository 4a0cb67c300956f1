"""What a failed gradient check says: where, by how much, and probably why.

`gradcheck` finds that a gradient is wrong along some direction. This file finds the entry, and
compares the whole analytic gradient A with the whole numeric gradient N of one argument: most
mistakes leave a relation between the two, such as A = -N, A = cN or A = N transposed.
"""

from collections.abc import Callable, Sequence
from itertools import chain, permutations
from math import isfinite, prod
from os import PathLike
from typing import Any, cast

import numpy as np

from . import page
from .differences import EPS, Row, Sweep


class GradientError(AssertionError):
    """A gradient disagrees with finite differences.

    operation   name of the function
    argument    number of the argument, and `name` its name
    index       the worst entry of that argument (a tuple)
    analytic    the gradient's value there, `numeric` the difference quotient and
    error       the estimated error of `numeric`
    table       the rows of the step sweep there (differences.Row)
    guess       one word for the probable cause, see `GUESSES`; `explanation` says it in a sentence
    gradient    the whole gradient of that argument, and `numeric_gradient` what was computed of the
                numeric one; NaN elsewhere
    calls       how often the function was called
    check       what was checked (source.Check), but not in a copy that pickle has made
    """

    operation: str | None = None
    argument: int | None = None
    name: str | None = None
    index: tuple[int, ...] | None = None
    analytic: float | None = None
    numeric: float | None = None
    error: float | None = None
    gradient: np.ndarray | None = None
    numeric_gradient: np.ndarray | None = None
    check: Any = None
    calls = 0
    table: Sequence[Row] = ()
    guess = "unknown"
    explanation = ""

    def __init__(self, message: str, **found: Any) -> None:
        super().__init__(message)
        self.__dict__.update(found)

    def __reduce__(self) -> tuple:
        make, args, *state = cast(tuple, super().__reduce__())
        return make, args, {k: v for k, v in (state or [{}])[0].items() if k != "check"}

    def show(self, path: str | PathLike | None = None) -> str:
        """Writes a page about this failure, one file of HTML, and returns its path.

        Without a path it is a temporary file, which is also opened in the browser, and printed.
        Raises OSError where the path cannot be written.
        """
        return page.write(self, path) if path is not None else page.show(self)


class Inconclusive(GradientError):
    """Finite differences cannot tell whether the gradient is right at this point."""


class KinkNearby(Inconclusive):
    """The point lies on a kink, or so near that every usable step crosses it.

    The gradient lies between the two one-sided derivatives, so it may well be right: check it at
    another point. (Exactly on a kink the central difference is the mean of the two sides. Rules
    that share a tie equally, as those of this package do, agree with it and pass; the same value
    beside a kink does not.)
    """


GUESSES = {
    "broadcast": "one of several contributions is kept, as where an argument was broadcast",
    "cancellation": "terms cancel in the formula of the gradient, and its digits are rounding",
    "detached": "the result is not connected to the argument, or its gradient is zero",
    "duplicates": "some contributions are lost, as where repeated indices overwrite each other",
    "factor": "a constant factor",
    "kept": "the gradient is that of another point, where the function was called first",
    "kink": "the function has a kink here",
    "missing factor": "the gradient lacks a factor (or has one too many) that is known by name",
    "not finite": "the gradient is infinite or nan where the derivative is not",
    "offset": "a constant is missing or too much",
    "other factor": "one factor of the gradient stands in the place of another",
    "precision": "something has too few digits, as if it were computed in float32",
    "reference": "the reference of a custom VJP is another function than its forward",
    "shape": "the gradient has another shape than the argument",
    "shared": "two arguments are given one gradient, which is right for one of them",
    "shift": "the gradient is shifted along an axis (off by one)",
    "sign": "wrong sign",
    "some entries": "right except at some entries",
    "swapped": "the gradient belongs to another argument",
    "transposed": "axes are in the wrong order, or reversed",
    "unknown": "no simple relation was found",
}


def plural(n: int, noun: str) -> str:
    """1 call, 2 calls."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def number(x: float) -> str:
    """A number as a reader would write it: 2, 1/3, 1.00001, 1 + 3e-10."""
    if 0 < abs(x - 1) < 5e-9:
        return f"(1 {'+' if x > 1 else '-'} {abs(x - 1):.1e})"
    for n in range(1, 13) if isfinite(12 * x) else ():
        if abs(x * n - round(x * n)) < 1e-9 * abs(x * n) + 1e-300 and round(x * n):
            return f"{round(x * n)}" + (f"/{n}" if n > 1 else "")
    return f"{x:.9g}"


def guess(
    A: np.ndarray,
    N: np.ndarray,
    tolerance: np.ndarray,
    known: dict[str, np.ndarray],
    others: Callable[[], dict[str, tuple[np.ndarray, np.ndarray]]],
    with_ones: Callable[[], tuple[np.ndarray, np.ndarray]],
    beside: Callable[[float], list[np.ndarray]],
) -> tuple[str, str]:
    """(key of GUESSES, sentence) for an analytic gradient A and a numeric gradient N.

    tolerance   error of the entries of N, an array like N
    known       {name: array} that may have been left out as a factor, the argument itself first
    others      function -> {name: (analytic, numeric) gradient of another argument of this shape}
    with_ones   function -> (A, N) for a cotangent of ones
    beside      function of a distance, relative to x -> the analytic gradients at 9 points, each
                that far from the next
    Entries of N that were not computed are NaN.
    """
    seen = np.isfinite(N)
    if n := np.count_nonzero(seen & ~np.isfinite(A)):
        return "not finite", f"{n} of {A.size} entries are infinite, where the numeric one is not"
    whole = seen.all()
    A1, N1, tol = A[seen], N[seen], tolerance[seen]
    off = np.abs(A1 - N1)
    wrong = off > tol
    size = np.abs(N1).max()
    every = "every entry" if whole else f"each of {N1.size} entries examined"

    def same(P: np.ndarray, Q: np.ndarray) -> bool:
        # A relation between gradients that are both known to six digits is no accident.
        return bool(np.all(np.abs(P - Q) <= tol + 1e-6 * np.minimum(size, np.abs(Q) + 1e-3 * size)))

    if not A.any():
        return "detached", "the gradient is zero: detached, ignored, masked, or rounded away"
    relative = off.max() / size if size else np.inf

    def rough(distance: float) -> float:
        return _roughness([g[seen] for g in beside(distance)], off, wrong)

    if jump := rough(37 * EPS):
        return "cancellation", (
            f"the analytic gradient jumps by up to {jump:.0e} between points that are some "
            "roundings apart, which is as much as it is off: terms cancel in its formula"
        )
    if same(-A1, N1):
        return "sign", f"wrong sign: analytic = -numeric in {every}"
    unit = N1 / size if size else N1  # whose square is neither too large nor too small
    c = np.vdot(A1, unit) / np.vdot(unit, unit) / size if size else 0.0
    known_to = np.vdot(tol, np.abs(unit)) / np.vdot(unit, unit) / size if size else 0.0  # c
    off_factor = (tol + known_to * np.abs(N1)) * max(1, abs(c))
    factor_fits = c and np.all(np.abs(A1 - c * N1) <= off_factor)
    if factor_fits and (
        np.count_nonzero(N1) > 1 or "/" in number(c) or number(c).lstrip("-").isdigit()
    ):
        return "factor", f"a constant factor: analytic = {number(c)} × numeric in {every}"
    if not same(A1, N1):  # else whatever is nearly N would pass for A, too
        found = _related(A, N, seen, tol, size, same, known, others, with_ones)
        if found:
            return found
    if whole and N.size > 2 and np.ptp(A1 - N1) < 1e-6 * off.max():
        return "offset", f"analytic = numeric + {number(np.mean(A1 - N1))} in every entry"
    ratio = A1[wrong] / N1[wrong] if N1[wrong].all() else np.zeros(1)
    one_ratio = ratio.size > 1 and np.ptp(ratio) < 1e-6 * abs(ratio[0] - 1)
    if relative < 1e-4 and not one_ratio:
        if relative < 1e-5 and (jump := rough(relative)):
            return "precision", (
                f"relative error {relative:.0e}; near this point the analytic gradient jumps by up "
                f"to {jump:.0e}: something is in float32, or rounded in large terms that cancel"
            )
        if np.all(A1.astype(np.float32) == A1):
            return "precision", (
                f"relative error {relative:.0e}, as if computed in float32: its values are all "
                "numbers of that"
            )
        if relative < 3e-6:
            return "precision", (
                f"relative error {relative:.0e}, as if something were computed in float32, "
                "or a constant had too few digits"
            )
    if not wrong.all():
        text = _where(seen & (np.abs(A - N) > tolerance), seen, A, known)
        if one_ratio:
            text += f"; there, analytic = {number(ratio[0])} × numeric"
        return "some entries", text
    if factor_fits:  # as of any two numbers
        return "unknown", f"analytic = {number(c)} × numeric, in the only entry that is not zero"
    return "unknown", "no simple relation between the two gradients was found"


def _related(
    A: np.ndarray,
    N: np.ndarray,
    seen: np.ndarray,
    tol: np.ndarray,
    size: float,
    same: Callable[[np.ndarray, np.ndarray], bool],
    known: dict[str, np.ndarray],
    others: Callable[[], dict[str, tuple[np.ndarray, np.ndarray]]],
    with_ones: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> tuple[str, str] | None:
    """Is A another arrangement of N, of another argument, or N without something?"""
    A1, N1 = A[seen], N[seen]
    if seen.all() and A.ndim:
        found = _rearranged(A, N, lambda P, Q: np.all(np.abs(P - Q) <= 1e-6 * size + tol.max()))
        if found:
            return found
    for name, (given, G) in others().items():
        if not same(A1, G[seen]):
            continue
        if np.allclose(given, G, rtol=1e-6, atol=tol.max()):
            return "shared", (
                f"this is the gradient of {name}, which is given for both arguments: one buffer "
                "for two gradients, or one name"
            )
        swapped = np.allclose(given[seen], N1, rtol=1e-6, atol=tol.max())
        return "swapped", f"this is the gradient of {name}" + (
            ": two arguments are swapped" if swapped else ""
        )
    if seen.all():
        found = _lost(A, N, tol.max(), with_ones)
        if found:
            return found
    for name, B in known.items():
        try:
            B = np.broadcast_to(B, A.shape)[seen]
        except ValueError:
            continue
        if np.ptp(B) == 0 and B.size > 1:
            continue
        if same(A1 * B, N1):
            return "missing factor", f"a factor {name} is missing: numeric = analytic × {name}"
        if same(A1, N1 * B):
            return "missing factor", f"a factor {name} too many: analytic = numeric × {name}"
    return _exchanged(A1, N1, seen, same, known)


def _exchanged(
    A1: np.ndarray,
    N1: np.ndarray,
    seen: np.ndarray,
    same: Callable[[np.ndarray, np.ndarray], bool],
    known: dict[str, np.ndarray],
) -> tuple[str, str] | None:
    """Is one of the factors that derivatives often have in the place of another? Those of tanh are
    tried first, then those of arctan and arcsinh as well."""
    own = {name: B[seen] for name, B in known.items() if B.shape == seen.shape}
    factors = {"1": np.ones(A1.shape)}
    for name, b in own.items():
        factors |= {name: b, f"{name}²": b**2}
        factors |= {f"(1 - {name})": 1 - b, f"(1 - {name}²)": 1 - b**2}
    more = dict(factors)
    for name, b in own.items():
        more |= {f"(1 + {name})": 1 + b, f"(1 + {name}²)": 1 + b**2}
    with np.errstate(invalid="ignore"):  # a root that is nan is in no derivative
        more |= {f"√{name}": np.sqrt(b) for name, b in more.items() if name != "1"}
    one_first = sorted(
        permutations(more.items(), 2), key=lambda pair: "1" not in (pair[0][0], pair[1][0])
    )
    pairs = chain(permutations(factors.items(), 2), one_first)
    for (p, P), (q, Q) in pairs if A1.size > 2 else ():
        if P.all() and same(A1 * (Q / P), N1):
            left, right = (f" × {name}" if name != "1" else "" for name in (q, p))
            return "other factor", (
                f"analytic{left} = numeric{right}: one factor stands in the place of another"
            )
    return None


def _roughness(gs: list[np.ndarray], off: np.ndarray, wrong: np.ndarray) -> float:
    """The largest jump from one of gs to the next, if that explains how far the gradient is off,
    else 0.

    gs: gradients at points in a row, so near that second differences of a smooth function vanish.
    """
    if not wrong.any():
        return 0.0
    a, b, c = (np.stack(gs)[k : len(gs) - 2 + k][:, wrong] for k in range(3))
    jumps, off = np.abs(a - 2 * b + c), off[wrong]
    explained = off <= 3 * jumps.max(axis=0)
    often = jumps > 0.01 * off  # one step of a staircase is none
    if off.max() > 3 * jumps.max() or explained.mean() < 0.5 or often.mean() < 0.3:
        return 0.0
    return float(jumps.max())


def _rearranged(
    A: np.ndarray, N: np.ndarray, same: Callable[[np.ndarray, np.ndarray], Any]
) -> tuple[str, str] | None:
    """Are the entries of A those of N, in another order?"""
    for axes in permutations(range(A.ndim)) if A.ndim < 6 else ():
        if axes != tuple(range(A.ndim)) and A.transpose(axes).shape == N.shape:
            if same(A.transpose(axes), N):
                return "transposed", f"transposed: analytic.transpose{axes} = numeric"
    for axis, n in enumerate(A.shape):
        if n < 2:
            continue
        if same(np.flip(A, axis), N):
            return "transposed", f"reversed along axis {axis}"
        for step, (a, b) in {
            1: (slice(1, None), slice(None, -1)),
            -1: (slice(None, -1), slice(1, None)),
        }.items():
            moved, still = np.moveaxis(A, axis, 0)[a], np.moveaxis(N, axis, 0)[b]
            if n > 2 and same(moved, still) and np.ptp(still):
                return "shift", (
                    f"shifted along axis {axis}: the value at position i belongs to "
                    f"position i{-step:+d} (off by one)"
                )
    return None


def _lost(
    A: np.ndarray,
    N: np.ndarray,
    tolerance: float,
    with_ones: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> tuple[str, str] | None:
    """Under a cotangent of ones, equal contributions add up to a multiple: 2, 3, ... times. Under a
    random one they do not, and where they do, it is a factor that is missing."""
    ones, exact = with_ones()
    small = 1e-9 * np.abs(exact).max()
    both_zero = (np.abs(ones) <= small) & (np.abs(exact) <= small)
    if np.any((np.abs(ones) <= small) & ~both_zero) or both_zero.all():
        return None
    ratio = exact[~both_zero] / ones[~both_zero]
    counts = np.rint(ratio)
    if not np.all(np.abs(ratio - counts) <= 1e-5) or counts.min() < 1 or counts.max() < 2:
        return None
    multiple = np.abs(counts * A[~both_zero] - N[~both_zero]) <= tolerance + 1e-6 * np.abs(
        N[~both_zero]
    )
    if np.any(multiple & (counts > 1)):
        return None
    if counts.min() == counts.max():
        return "broadcast", (
            f"with a cotangent of ones, numeric = {int(counts.max())} × analytic, "
            "though not with a random one: one of several contributions is taken "
            "instead of their sum, as where an argument was broadcast"
        )
    n = int(np.sum(counts > 1))
    return "duplicates", (
        f"{n} of {counts.size} entries lack contributions: with a cotangent of ones numeric is up "
        f"to {int(counts.max())} times analytic there, as where repeated indices overwrite each "
        "other instead of adding up"
    )


def _where(wrong: np.ndarray, seen: np.ndarray, A: np.ndarray, known: dict[str, np.ndarray]) -> str:
    """In words, which entries are wrong."""
    text = f"{int(wrong.sum())} of {int(seen.sum())} entries are wrong, the others are right"
    if not seen.all():
        text = text.replace(" entries", " examined entries")
    if not A[wrong].any():
        text += "; the wrong ones are zero"
    for axis, n in enumerate(wrong.shape):
        along = wrong.any(axis=tuple(k for k in range(wrong.ndim) if k != axis))
        if n > 1 and along.sum() == 1:
            at = int(np.argmax(along))
            edge = {0: " (the first)", n - 1: " (the last)"}.get(at, "")
            text += f"; all have index {at}{edge} along axis {axis}"
    for name, B in known.items():
        if B.shape != A.shape or seen.sum() < 3:
            continue
        for relation, holds in (("<", B < 0), (">", B > 0), ("=", B == 0)):
            if np.array_equal(holds[seen], wrong[seen]):
                return f"{text}; they are those where {name} {relation} 0"
    return text


def shape_guess(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """The key of GUESSES for a gradient of one shape, of an argument of another, `wanted`."""
    try:
        is_broadcast = np.broadcast_shapes(given, wanted) == given
    except ValueError:
        is_broadcast = False
    if is_broadcast and prod(given) > prod(wanted):
        return "broadcast"
    return "transposed" if given == wanted[::-1] else "shape"


def table(rows: Sequence[Row], analytic: float) -> str:
    """The error across step sizes, as text."""
    lines = [
        "      step h    central difference        left             right        |central - "
        "analytic|"
    ]
    lines += [
        f"    {row.h:8.0e}  {row.central:20.12g}  {row.left:15.8g}  {row.right:15.8g}  "
        f"{abs(row.central - analytic):12.2e}"
        for row in rows
        if isfinite(row.central)
    ]
    return "\n".join(lines)


def message(
    operation: str,
    argument: int,
    name: str,
    index: tuple,
    shape: tuple,
    sweep: Sweep,
    analytic: float,
    explanation: str,
    advice: str = "",
) -> str:
    """The whole text of a GradientError."""
    return (
        f"the gradient of {operation} with respect to argument {argument} ({name}) is wrong\n"
        f"  at {_entry(index, shape)}\n"
        f"    analytic {analytic:21.13g}\n"
        f"    numeric  {sweep.value:21.13g}   ± {sweep.error:.1e}\n"
        f"{table(sweep.rows, analytic)}\n"
        f"  guess: {explanation}{advice}"
    )


def kink_message(
    operation: str,
    argument: int,
    name: str,
    index: tuple,
    shape: tuple,
    sweep: Sweep,
    analytic: float,
    explanation: str,
) -> str:
    """The whole text of a KinkNearby."""
    return (
        f"the gradient of {operation} with respect to argument {argument} ({name}) cannot be "
        f"checked at this point\n"
        f"  at {_entry(index, shape)} there is {explanation}\n"
        f"    analytic {analytic:21.13g}\n"
        f"{table(sweep.rows, analytic)}\n"
        "  Move the point away from the kink and check again."
    )


def _entry(index: tuple, shape: tuple) -> str:
    return f"entry {index} of shape {shape}" if shape else "a scalar"
