"""Checks a gradient against finite differences, and explains what is wrong with it.

    >>> import numpy as np, nanoautograd as nag
    >>> from nanoautograd.testing import gradcheck
    >>> x = np.array([0.3, -1.2, 2.0])
    >>> gradcheck(nag.tanh, [x], order=2).sharpness < 1e-6
    True

This file is what a caller sees. What a check does is told, in this order, by `directions.py` (the
question), `differences.py` (how it is measured), `check.py` (a look first, sweeps where it is not
clear), `verdict.py` (what a sweep says) and `explanation.py` (what is said of a mistake).
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from ..nn import Module, functional_call
from ..safety.options import check_flags, check_numbers, check_sizes, generator
from . import low_precision
from .budget import Calls, Spent
from .check import PrecisionWarning, Tally, check
from .directions import Array, Point
from .frameworks import numbers, subjects
from .report import GradientError, Inconclusive, plural
from .second_opinions import compare_complex, compare_custom, compare_forward, compare_reference
from .source import remembered
from .subjects import (
    ByHand,
    CheckRefused,
    Differentiated,
    Ours,
    listed,
    name_of,
    our_inputs,
    refuse_foreign_calls,
    wrong_dtype,
)

__all__ = [
    "CheckRefused",
    "Passed",
    "PrecisionWarning",
    "UncheckedWarning",
    "gradcheck",
    "gradcheck_module",
    "gradgradcheck",
]


class UncheckedWarning(UserWarning):
    """The function depends on more than its inputs, and so on gradients that were not checked."""


@dataclass(frozen=True)
class Passed:
    """The result of a check that found nothing wrong.

    sharpness   the smallest relative mistake that would have been found in every gradient: 1e-10
                means that a factor of 1 + 1e-10 would have been refused. Gradients that are zero,
                but for rounding, are left out
    checks      how many derivatives were compared
    calls       how often the function was called
    """

    sharpness: float
    checks: int
    calls: int = 0


@remembered
def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    *,
    order: int = 1,
    backend: str | None = None,
    entries: bool = False,
    directions: int = 1,
    seed: Any = 0,
    vjp: Callable[..., Any] | None = None,
    complex_step: bool = False,
    reference: Callable[..., Any] | None = None,
    framework: str | None = None,
    jvp: Callable[..., Any] | None = None,
    forward_mode: bool = False,
    layouts: bool = True,
    max_calls: int | None = None,
    seconds: float | None = None,
    progress: bool | Callable[[int, float], Any] = True,
) -> Passed:
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
    entries     True: instead of whole arguments, every entry of every input by itself. Sees a
                mistake in a small entry beside large ones; slower where entries have kinks
    directions  how many random cotangents and directions are tried
    vjp         checks a gradient written by hand instead: f maps arrays to an array or a tuple of
                them, and vjp(cotangent, *inputs) returns one gradient for each input (or None for
                zero); `cotangent` is a tuple if f returns one. The engine is not used
    complex_step  True: also compares with the complex-step derivative, exact to rounding. For
                analytic functions of which each operation accepts complex arrays
    reference   a second formula for f; its results and gradients must equal those of f. With it,
                inputs may be float32, float16 or bfloat16: the gradient of the reference is checked
                in float64, and that of f beside it (low_precision.py). It may be f itself, but
                beside vjp, where it is a function of Tensors
    framework   "torch" or "jax", where inputs are NumPy's; else it is that of the inputs
    layouts     False: f and its rules need not bear inputs and cotangents that lie in memory with
                gaps, by columns, or as one number that is broadcast. (Of functions by hand, and of
                PyTorch's. The engine and JAX give a rule what they choose.)
    forward_mode  True: also compares the Jacobian-vector product of the library, J v, with the
                vector-Jacobian product that was checked: <u, J v> = <Jᵀ u, v>
    jvp         the same for one by hand, beside vjp: jvp(tangents, *inputs) returns the tangent of
                what f returns; `tangents` is a tuple, one for each input
    max_calls   how often f may be called; when these are used up, the answer is the best that they
                allow: GradientError where a mistake was seen, else Inconclusive, which says what
                agreed so far. Without it, only the explanation of a mistake is bounded, by 1,000
    seconds     the same in seconds, looked at before each call
    progress    on a terminal, a check says on stderr after three seconds that it is at work, and
                takes that away at the end. False: it never does. A function: it is called instead,
                twice a second, with the number of calls and the seconds so far

    The tolerance is not an option: it is estimated from f itself (differences.py), at each point.

    Raises
        GradientError   some step sees that the gradient is wrong; says where, by how much and
                        probably why. Its subclass Inconclusive says that differences cannot tell:
                        a factor of 1.01 would not be seen; KinkNearby, that they cannot because of
                        a kink. Its `calls` are how often f was called
        CheckRefused    inputs that are not float64, not finite, of another library, or overlap in
                        memory; a function that is not deterministic, changes its inputs, returns
                        nothing that depends on them, or results whose shape depends on their values
    Warns with PrecisionWarning if f computes in less than double precision, with UncheckedWarning
    if it depends on more that requires a gradient than its inputs, as on a module's parameters.
    """
    __tracebackhide__ = True  # in the reports of pytest
    flags = dict(entries=entries, complex_step=complex_step, layouts=layouts)
    flags |= dict(forward_mode=forward_mode, progress=callable(progress) or progress)
    check_flags("gradcheck", **flags)
    _refuse_numbers(order, directions, max_calls, seconds)
    _refuse_functions(f, vjp, jvp, reference, forward_mode)
    if vjp is not None and (framework is not None or order == 2):
        given = "order=2" if order == 2 else f"framework={framework!r}"
        raise ValueError(
            f"gradcheck: {given} is for a function that a library differentiates, not "
            "for one that is given by vjp"
        )
    rng, tally = generator("gradcheck", seed), Tally()
    calls = Calls(max_calls or inf, seconds or inf, progress, name_of(f))

    def counted(subject: Differentiated) -> Differentiated:
        subject.calls = calls
        return subject

    def checked(subject: Differentiated, xs: list[Array]) -> Point:
        __tracebackhide__ = True
        point = check(subject, xs, tally, entries, directions, rng)
        if subject.doubt is not None:
            raise subject.doubt
        return point

    try:
        if vjp is not None:
            likes = our_inputs(listed(inputs))
            xs, precision = numbers(likes, False)
            low = precision != "float64"
            subject: Differentiated = ByHand(f, vjp, jvp, likes if low else None)
            make: Callable[[Any], Differentiated] = lambda g: Differentiated(g, Ours("cpu"))
            exact = make
        else:
            make, exact, xs, precision = subjects(f, listed(inputs), framework, backend)
            subject = make(f)
        counted(subject).begin(xs)
        if precision != "float64":
            if reference is None:
                raise wrong_dtype(None, precision)
            if order == 2 or complex_step or forward_mode or jvp is not None:
                raise ValueError(f"gradcheck: in {precision} first derivatives alone are checked")
            second = counted(exact(reference))
            compare_custom(checked(second, xs))
            sharpness = low_precision.compare(subject, second, xs, precision, rng, layouts)
            return Passed(max(tally.sharpness, sharpness), tally.checks + len(xs), calls.count)
        if vjp is None:
            refuse_foreign_calls(subject, xs)
        point = checked(subject, xs)
        if subject.others:
            shapes = ", ".join(map(str, subject.others[:5])) + ", ..." * (len(subject.others) > 5)
            warnings.warn(
                f"{subject.name} also depends on tensors that require a gradient and are no "
                f"inputs, of shape {shapes}: their gradients were not checked. gradcheck_module "
                "checks those of a module; give others as inputs, or detach them",
                UncheckedWarning,
                stacklevel=3,
            )
        compare_custom(point)
        if complex_step:
            compare_complex(point, rng)
        if reference is not None:
            compare_reference(point, counted(make(reference)))
        if vjp is None and len(xs) > 1:
            subject.compare_alone(xs, point.us, point.given)
        if layouts:
            subject.compare_layouts(xs, point.us, point.given)
        if forward_mode or jvp is not None:
            compare_forward(point, rng)
        if order == 2:
            checked(subject.of_gradient(xs, point.us), xs + point.us)
    except Spent:
        raise _unfinished(calls, tally) from None
    except GradientError as error:
        error.calls = calls.count
        raise
    finally:
        calls.close()
    return Passed(tally.sharpness, tally.checks, calls.count)


def _refuse_numbers(order: Any, directions: Any, max_calls: Any, seconds: Any) -> None:
    if not isinstance(order, int) or order not in (1, 2):
        raise ValueError(f"gradcheck: order is 1 or 2; got {order!r:.100}")
    check_sizes("gradcheck", 1, directions=directions)
    if max_calls is not None:
        check_sizes("gradcheck", 1, max_calls=max_calls)
    if seconds is not None:
        check_numbers("gradcheck", seconds=seconds)
        if not seconds > 0:
            raise ValueError(f"gradcheck: seconds must be above 0; got {seconds}")


def _refuse_functions(f: Any, vjp: Any, jvp: Any, reference: Any, forward_mode: bool) -> None:
    for name, given in (("f", f), ("vjp", vjp), ("jvp", jvp), ("reference", reference)):
        if not (callable(given) or given is None and name != "f"):
            raise TypeError(f"gradcheck: {name} is a function; got {given!r:.100}")
    if jvp is not None and vjp is None or forward_mode and vjp is not None and jvp is None:
        raise ValueError("gradcheck: jvp is compared with vjp: give both, or neither")


def _unfinished(calls: Calls, tally: Tally) -> Inconclusive:
    """The answer where the budget was used up before a mistake was seen."""
    known = "no derivative was compared"
    if tally.checks:
        known = f"{plural(tally.checks, 'derivative')} agree{'s' * (tally.checks == 1)}"
    known += f"; {tally.doubt}" if tally.doubt else ", and no mistake was seen"
    error = Inconclusive(
        f"the check of {calls.name} was not finished: {calls.limit()} allowed "
        f"{plural(calls.count, 'call')}. So far {known}",
        operation=calls.name,
        explanation="the budget was used up",
    )
    error.calls = calls.count
    return error


def gradgradcheck(f: Callable[..., Any], inputs: Any, **options: Any) -> Passed:
    """`gradcheck` with order=2."""
    return gradcheck(f, inputs, order=2, **options)


def gradcheck_module(model: Any, batch: Any, **options: Any) -> Passed:
    """`gradcheck` of a module with respect to all its parameters that need a gradient.

    model: an nn.Module of this package, or a torch.nn.Module; in float64, as model.double() is, or
    layers made with dtype="float64". Its parameters and buffers are not changed. A Dropout must
    be in eval mode. batch: what it is called with: one argument, or a tuple of them, or a dict of
    them by name. options: as of `gradcheck`; parameters lie in memory without gaps, so `layouts` is
    False by default.

    Returns and raises what `gradcheck` does, and names parameters as `named_parameters` does.
    Raises TypeError for what is no such module, CheckRefused for one without parameters.
    """
    __tracebackhide__ = True
    functional_call = functional_call_of(model)
    parameters = {k: p for k, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise CheckRefused(f"{type(model).__name__} has no parameter that requires a gradient")
    args, kwargs = (batch if isinstance(batch, tuple) else (batch,)), {}
    if isinstance(batch, dict):
        args, kwargs = (), batch

    def call(*given: Any) -> Any:
        return functional_call(model, dict(zip(parameters, given)), args, kwargs)

    call.__name__ = type(model).__name__
    call.__arguments__ = list(parameters)  # type: ignore[attr-defined]
    call.__wrapped__ = type(model).forward  # type: ignore[attr-defined]  # the source to show
    given = [p.detach() for p in parameters.values()]
    return gradcheck(call, given, **{"layouts": False} | options)


def functional_call_of(model: Any) -> Callable[..., Any]:
    """What calls a module with other parameters: that of this package, or PyTorch's."""
    if isinstance(model, Module):
        return functional_call
    torch = sys.modules.get("torch")  # which has made the model
    if torch is None or not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"gradcheck_module: the model is an nn.Module, of this package or of PyTorch; got "
            f"{model!r:.100}. A function whose arguments are the parameters goes to gradcheck"
        )

    def call(model: Any, parameters: dict, args: Any, kwargs: Any) -> Any:
        # Buffers, such as running means, are written to by a forward pass.
        buffers = {k: b.clone() for k, b in model.named_buffers()}
        return torch.func.functional_call(model, {**parameters, **buffers}, args, kwargs)

    return call
