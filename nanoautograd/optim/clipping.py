"""Gradients scaled so that their norm is limited."""

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..backends import array_namespace
from ..core.tensor import Tensor, wrap
from ..kernels.cuda import can_run
from ..kernels.cuda.launchers import clip
from ..kernels.cuda.runtime.capture_context import CaptureError, current
from ..safety.options import check_flags, check_numbers
from .blocks import in_blocks
from .checks import check_leaf, listed, number
from .master import wide

# Numbers of a dtype, by its character, that are smaller may have lost bits.
LEAST = {x.dtype.char: float(x.tiny / x.eps) for x in (np.finfo("f"), np.finfo("d"))}


def _norm(p: float, g: Any) -> float:
    """(Σ |g|ᵖ)^(1/p) of the numbers of an array, or max |g|: a float. No power overflows, and none
    that counts vanishes, for where they might they are those of |g| / max |g|.

    Raises FloatingPointError if the norm of finite numbers is above the largest float.
    """
    g = wide(g)
    if p == 2.0:
        square = float(np.vdot(g, g))
        if g.size * LEAST[g.dtype.char] < square < math.inf:
            return math.sqrt(square)
    top = float(abs(g).max())
    if p == math.inf or not 0.0 < top < math.inf:  # or nan
        return top
    try:
        norm = top * float(((abs(g) / top) ** p).sum()) ** (1.0 / p)
    except OverflowError:
        norm = math.inf
    if norm == math.inf:
        raise FloatingPointError("clip_grad_norm_: the norm of the gradients is above 1.8e308")
    return norm


def _scale(scale: float, out: Any, g: Any) -> None:
    """out ← scale g. A scale that is too small for g's dtype is applied in two parts."""
    g = wide(g)
    in_two = scale < LEAST[g.dtype.char]
    for factor in [math.sqrt(scale)] * 2 if in_two else [scale]:
        g = np.multiply(g, factor, out=out if out.dtype == g.dtype else None)
    if g is not out:
        out[...] = g


def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Any:
    """Scale all gradients together so that their joint norm is at most `max_norm` (Pascanu et al.
    2013): (Σ |g|ᵖ)^(1/p) with p = `norm_type`, above 0, or max |g| for infinity. Gradients of 16
    bits are added up and scaled in float32.

    Returns the norm before: a Python float, or for gradients on a GPU an array () there, as to look
    at it is to wait for it. One that is not finite raises FloatingPointError where that is asked
    for, and otherwise spreads to the gradients as in PyTorch. Raises TypeError and ValueError for
    what are no parameters, and for a `max_norm` below 0 or nan.
    """
    who = "clip_grad_norm_"
    check_numbers(who, norm_type=norm_type)
    check_flags(who, error_if_nonfinite=error_if_nonfinite)
    p = float(norm_type)
    if not p > 0.0:
        raise ValueError(f"{who}: norm_type must be above 0, got {norm_type}")
    max_norm = number(who, "max_norm", max_norm, high=math.inf)  # which clips nothing
    given = [parameters] if isinstance(parameters, Tensor) else listed(who, parameters)
    if not given and isinstance(parameters, Iterator):
        raise ValueError(f"{who}: the iterator gave no parameters; was it used before?")
    for i, w in enumerate(given):
        check_leaf(who, i, w)
    parameters = [w for w in {id(w): w for w in given}.values() if w.grad is not None]
    if not parameters and any(w.requires_grad for w in given):
        warnings.warn(
            f"{who} scaled nothing, as no parameter has a gradient: call it after loss.backward()",
            stacklevel=2,
        )
    if array_namespace(*[w.grad.data for w in parameters]) is not np:
        return _clip_on_device(parameters, max_norm, p, error_if_nonfinite)
    gradients = [((p,), (w.grad.data,)) for w in parameters if w.grad.data.size]
    norms = in_blocks(_norm, gradients)
    norm = _norm(p, np.array(norms)) if norms else 0.0
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"{who}: the norm of the gradients is {norm}")
    scale = max_norm / (norm + 1e-6)
    scale = 1.0 if scale > 1.0 else scale  # nan stays: of a nan, or of inf/inf
    if scale != 1.0:  # a new array each: two gradients may share one, or be a view
        scaled = [array_namespace(w.grad.data).empty_like(w.grad.data) for w in parameters]
        in_blocks(_scale, [((scale,), (out, w.grad.data)) for out, w in zip(scaled, parameters)])
        for w, new in zip(parameters, scaled):
            w.grad = wrap(new)
    return norm


def _clip_on_device(parameters: list, max_norm: float, p: float, error_if_nonfinite: bool) -> Any:
    """The same, and nobody waits to see the norm: gradients are scaled also where by 1."""
    if error_if_nonfinite and current.context is not None:
        raise CaptureError(
            "clip_grad_norm_(error_if_nonfinite=True) looks at the norm, and a step "
            "that is recorded cannot wait for it: look at the losses instead"
        )
    gradients = [w.grad.data for w in parameters]
    xp = array_namespace(*gradients)
    if p == 2.0 and can_run(*gradients) and clip.takes(gradients):
        new, norm = clip.clip(gradients, max_norm)
    else:
        filled = [g for g in gradients if g.size]
        top = xp.zeros((), dtype=xp.float64)
        for g in map(wide, filled):
            top = xp.maximum(top, abs(g).max().astype(xp.float64))  # a nan stays
        norm = top
        if p != math.inf:
            unit = xp.where(xp.isfinite(top) & (top > 0.0), top, xp.ones_like(top))
            total = xp.zeros_like(top)
            for g in map(wide, filled):
                total = total + (abs(g / unit.astype(g.dtype)) ** p).sum().astype(xp.float64)
            norm = unit * total ** (1.0 / p)
        scale = xp.minimum(max_norm / (norm + 1e-6), 1.0)
        new = []
        for g in gradients:  # by the root twice: the scale may be too small for the dtype
            exact = wide(g)
            root = xp.sqrt(scale).astype(exact.dtype)
            new.append((exact * root * root).astype(g.dtype))
        norm = norm.astype(wide(gradients[0]).dtype)
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    for w, g in zip(parameters, new):
        w.grad = wrap(g)
    return norm
