"""What a failed gradient check says: where, by how much, and probably why.

`gradcheck` finds that a gradient is wrong along some direction. This file finds the entry, and
compares the whole analytic gradient A with the whole numeric gradient N of one argument: most
mistakes leave a relation between the two, such as A = -N, A = cN or A = N transposed.
"""

from itertools import permutations
from math import isfinite

import numpy as np


class GradientError(AssertionError):
    """A gradient disagrees with finite differences.

    operation   name of the function
    argument    number of the argument, and `name` its name
    index       the worst entry of that argument (a tuple)
    analytic    the gradient's value there, `numeric` the difference quotient and
    error       the estimated error of `numeric`
    table       the rows of the step sweep there (differences.Row)
    guess       one word for the probable cause, see `GUESSES`; `explanation` says it in a sentence
    calls       how often the function was called
    """

    operation = argument = name = index = analytic = numeric = error = None
    table = ()
    guess = "unknown"
    explanation = ""
    calls = 0

    def __init__(self, message, **found):
        super().__init__(message)
        self.__dict__.update(found)


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
    "broadcast": "an argument was broadcast, and its gradient is not summed over the copies",
    "detached": "the result is not connected to the argument, or its gradient is zero",
    "duplicates": "repeated indices: only one of several contributions is kept",
    "factor": "a constant factor",
    "kink": "the function has a kink here",
    "missing factor": "the gradient lacks a factor (or has one too many) that is known by name",
    "offset": "a constant is missing or too much",
    "precision": "something is computed in float32",
    "shift": "the gradient is shifted along an axis (off by one)",
    "sign": "wrong sign",
    "some entries": "right except at some entries",
    "swapped": "the gradient belongs to another argument",
    "transposed": "axes are in the wrong order, or reversed",
    "unknown": "no simple relation was found",
}


def number(x):
    """A number as a reader would write it: 2, 1/3, 1.00001."""
    for n in range(1, 13) if isfinite(12 * x) else ():
        if abs(x * n - round(x * n)) < 1e-9 * abs(x * n) + 1e-300 and round(x * n):
            return f"{round(x * n)}" + (f"/{n}" if n > 1 else "")
    return f"{x:.9g}"


def guess(A, N, tolerance, known, others, with_ones):
    """(key of GUESSES, sentence) for an analytic gradient A and a numeric gradient N.

    tolerance   error of the entries of N, an array like N
    known       {name: array} that may have been left out as a factor
    others      function -> {name: numeric gradient of another argument of this shape}
    with_ones   function -> (A, N) for a cotangent of ones
    Entries of N that were not computed are NaN.
    """
    seen = np.isfinite(N)
    whole = seen.all()
    A1, N1, tol = A[seen], N[seen], tolerance[seen]
    wrong = np.abs(A1 - N1) > tol
    size = np.abs(N1).max()

    def same(P, Q):
        # A relation between gradients that are both known to six digits is no accident.
        return np.all(np.abs(P - Q) <= tol + 1e-6 * np.minimum(size, np.abs(Q) + 1e-3 * size))

    if not A1.any():
        return "detached", "the gradient is zero: the argument is ignored, detached or masked"
    if same(-A1, N1):
        return "sign", "wrong sign: analytic = -numeric in every entry"
    unit = N1 / size if size else N1  # whose square is neither too large nor too small
    c = np.vdot(A1, unit) / np.vdot(unit, unit) / size if size else 0.0
    factor_fits = c and np.all(np.abs(A1 - c * N1) <= tol * max(1, abs(c)))
    if factor_fits and (N1.size > 1 or "/" in number(c) or number(c).lstrip("-").isdigit()):
        return "factor", f"a constant factor: analytic = {number(c)} × numeric in every entry"
    if whole and A.ndim:
        found = _rearranged(A, N, lambda P, Q: np.all(np.abs(P - Q) <= 1e-6 * size + tol.max()))
        if found:
            return found
    for name, G in others().items():
        if same(A1, G[seen]):
            return "swapped", f"this is the gradient of {name}: two arguments are swapped"
    if whole:
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
    if factor_fits:
        return "factor", f"analytic = {number(c)} × numeric"
    relative = np.abs(A1 - N1).max() / size if size else np.inf
    if relative < 1e-4 and (relative < 3e-6 or np.all(A1.astype(np.float32) == A1)):
        return "precision", (
            f"relative error {relative:.0e}: something is computed in float32, "
            "or a constant has too few digits"
        )
    if whole and N.size > 2 and np.ptp(A1 - N1) < 1e-6 * np.abs(A1 - N1).max():
        return "offset", f"analytic = numeric + {number(np.mean(A1 - N1))} in every entry"
    if not wrong.all():
        text = _where(seen & (np.abs(A - N) > tolerance), A)
        ratio = A1[wrong] / N1[wrong] if N1[wrong].all() else np.zeros(1)
        if ratio.size > 1 and np.ptp(ratio) < 1e-6 * abs(ratio[0]):
            text += f"; there, analytic = {number(ratio[0])} × numeric"
        return "some entries", text + ("" if whole else f" (of {int(seen.sum())} examined)")
    return "unknown", "no simple relation between the two gradients was found"


def _rearranged(A, N, same):
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


def _lost(A, N, tolerance, with_ones):
    """Under a cotangent of ones, equal contributions add up to a multiple: 2, 3, ... times."""
    ones, exact = with_ones()
    small = 1e-9 * np.abs(exact).max()
    both_zero = (np.abs(ones) <= small) & (np.abs(exact) <= small)
    if np.any((np.abs(ones) <= small) & ~both_zero) or both_zero.all():
        return None
    ratio = exact[~both_zero] / ones[~both_zero]
    counts = np.rint(ratio)
    if not np.all(np.abs(ratio - counts) <= 1e-5) or counts.min() < 1 or counts.max() < 2:
        return None
    if counts.min() == counts.max():
        return "broadcast", (
            f"with a cotangent of ones, numeric = {int(counts.max())} × analytic, "
            "though not with a random one: the argument was broadcast, and one "
            "copy's gradient is taken instead of the sum over all"
        )
    n = int(np.sum(counts > 1))
    return "duplicates", (
        f"{n} of {counts.size} entries lack contributions: with a cotangent of "
        f"ones numeric is up to {int(counts.max())} times analytic there, so "
        "repeated indices overwrite each other instead of adding up"
    )


def _where(wrong, A):
    """In words, which entries are wrong."""
    text = f"{int(wrong.sum())} of {wrong.size} entries are wrong, the others are right"
    if not A[wrong].any():
        text += "; the wrong ones are zero"
    for axis, n in enumerate(wrong.shape):
        along = wrong.any(axis=tuple(k for k in range(wrong.ndim) if k != axis))
        if n > 1 and along.sum() == 1:
            at = int(np.argmax(along))
            edge = {0: " (the first)", n - 1: " (the last)"}.get(at, "")
            text += f"; all have index {at}{edge} along axis {axis}"
    return text


def table(rows, analytic):
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


def message(operation, argument, name, index, shape, sweep, analytic, explanation, advice=""):
    """The whole text of a GradientError."""
    entry = f"entry {index} of shape {shape}" if shape else "a scalar"
    return (
        f"the gradient of {operation} with respect to argument {argument} ({name}) is wrong\n"
        f"  at {entry}\n"
        f"    analytic {analytic:21.13g}\n"
        f"    numeric  {sweep.value:21.13g}   ± {sweep.error:.1e}\n"
        f"{table(sweep.rows, analytic)}\n"
        f"  guess: {explanation}{advice}"
    )
