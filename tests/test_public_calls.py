"""Every public function, called with arguments of every kind: a right answer, or a clear refusal.

A call is one that works (from the table of operations, or from BASES in public_names.py), with some
of its arguments replaced by anything: Tensors and arrays of all dtypes, lists, None, huge numbers.
What it answers must be one of two.

A refusal: an error of a kind that is meant for people, whose text names nothing internal.

A result: if it depends on an input that requires a gradient (which is seen by moving that input),
then that input gets a gradient, and where the slope can be measured, that slope.
"""

import math
import warnings

import numpy as np
import pytest
from clear_refusals import BARE, INTERNAL, MEANT_FOR_PEOPLE, limited
from hypothesis import given
from hypothesis import strategies as st
from public_arguments import LEAVES, SCOPE, Made, build, leaves_of
from public_names import BASES, LEFT_OUT, NAMES, SPECIAL, WITHOUT_HISTORY, called, calls

import nanoautograd as nag
from nanoautograd.backends import is_float, to_numpy


def results(f, recipe, tensor_of):
    """The Tensors, arrays and numbers that a call returns, in one list."""
    args, options = build(recipe, tensor_of)
    found = [f(*args, **options)]
    for y in found:  # it grows
        if isinstance(y, list | tuple):
            found.extend(y)
    return [y for y in found if not isinstance(y, list | tuple)]


def weights(shape):
    return (np.cos(np.arange(math.prod(shape))) + 1.5).reshape(shape)


def direction(shape):
    return (np.sin(np.arange(math.prod(shape))) + 1.2).reshape(shape)


def total(ys):
    """(Σ ⟨w, y⟩ over the floating or complex results, the size of its terms, the shapes). Those of
    16 bits, which show no small step, have any size."""
    terms, shapes, size = [], [], 0.0
    for y in ys:
        y = to_numpy(y.data) if isinstance(y, nag.Tensor) else y
        if isinstance(y, np.ndarray | np.generic | float | complex):
            y = np.asarray(y)
            if y.dtype.kind == "c" or is_float(y.dtype):
                size = np.inf if y.itemsize == 2 else size
                y = y.astype(complex if y.dtype.kind == "c" else float)
                terms.append((weights(y.shape) * y).ravel())
                shapes.append(y.shape)
    terms = np.concatenate([np.zeros(1), *terms])
    return terms.sum(), max(size, np.abs(terms).max()), shapes


def measured(f, recipe, which):
    """The slope of a call's total in a direction of one leaf; None if it cannot be measured."""

    def at(h):
        def tensor_of(leaf):
            moves = leaf is which and h
            x = leaf.array + h * direction(leaf.array.shape) if moves else leaf.array
            return nag.Tensor(x, requires_grad=True)

        return total(results(f, recipe, tensor_of))

    try:
        y, size, shapes = at(0)
        slopes = []
        for h in (1e-4, -1e-4, 1e-5, -1e-5):
            moved, _, moved_shapes = at(h)
            assert moved_shapes == shapes
            slopes.append((moved - y) / h)
    except Exception:
        return None
    if not np.isfinite([y, *slopes]).all() or size > 1e4:  # rounding would hide the difference
        return None
    # Where the second derivative is small enough, all four say the same.
    spread = max(abs(s - slopes[-1]) for s in slopes)
    return slopes[-1] if spread <= 1e-2 * abs(slopes[-1]) + 1e-6 * max(1, abs(y)) else None


def claimed(f, recipe, which):
    """The same slope, as the gradient says it."""
    x = []

    def tensor_of(leaf):
        t = nag.Tensor(leaf.array, requires_grad=True)
        x.extend([t] * (leaf is which))
        return t

    ys = [y for y in results(f, recipe, tensor_of) if getattr(y, "requires_grad", False)]
    if not ys:
        return 0.0
    gs = [nag.Tensor(weights(y.shape), dtype=y.dtype, device=y.device) for y in ys]
    found = nag.autograd.grad(ys, x, gs, allow_unused=True)
    d = direction(which.array.shape)
    return sum((to_numpy(g.data) * d).sum() for g in found if g is not None)


def check(name, recipe):
    """Raises AssertionError unless the call is answered as it should be."""
    f = called(name)
    with limited(5), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            results(f, recipe, lambda leaf: nag.Tensor(leaf.array, requires_grad=True))
        except Exception as error:
            text = str(error)
            of_torch = type(error) is RuntimeError and "Tensor" in text
            opaque = (
                INTERNAL if name.startswith("Tensor.__") else BARE
            )  # Python speaks of operators
            is_clear = isinstance(error, MEANT_FOR_PEOPLE) and not opaque.search(text) or of_torch
            assert is_clear and text.strip(), f"{type(error).__name__}: {text}"
            return
        if name not in WITHOUT_HISTORY:
            leaves = [x for x in dict.fromkeys(leaves_of(recipe)) if x.array.dtype == np.float64]
            # Two are enough: first those that were put in the place of something else.
            for which in sorted(leaves, key=lambda x: x not in LEAVES)[:2]:
                check_slope(f, recipe, which)


def check_slope(f, recipe, which):
    slope = measured(f, recipe, which)
    if slope is None:
        return
    try:
        found = claimed(f, recipe, which)
    except nag.GraphError:
        return  # refused, clearly: a value was overwritten in place, say
    assert abs(found - slope) <= 2e-2 * abs(slope) + 1e-4, (
        f"the slope with respect to {which} is {slope}, its gradient says {found}"
    )


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_tensors_of_pytorch_are_answered_too(name, tmp_path, monkeypatch, data):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    foreign = [
        Made("torch.tensor(x)", lambda: torch.tensor(SCOPE["x"])),
        Made("torch.tensor([2, 0])", lambda: torch.tensor([2, 0])),
        Made("a leaf of torch", lambda: torch.tensor(SCOPE["x"], requires_grad=True)),
    ]
    check(name, data.draw(calls(name, st.sampled_from(foreign))))


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_a_call_is_answered_rightly_or_refused_clearly(name, tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    check(name, data.draw(calls(name)))


def test_all_that_is_public_is_called():
    assert {*NAMES} | LEFT_OUT >= {*nag.__all__}
    assert {*BASES} <= {*NAMES} and {*SPECIAL} <= {*NAMES} and WITHOUT_HISTORY <= {*NAMES}
