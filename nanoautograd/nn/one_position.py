"""Functions of nag.functional for layers, with a fast form for one position.

A decoder that writes reads one token at a time, at the cost of one product of each weight with a
vector: as long as it takes to read the weights from memory. The operations on Tensors are made for
many positions; for one, their calls take half as long again. So where the input is one position on
the CPU, in float32 or float64, and nothing is recorded, the equations are computed here by a few
lines of NumPy. Everywhere else, and within `use_manual` and `detect_anomaly`, these are the
functions of nag.functional, and tests hold both equal. (On a GPU there is a kernel for each.)
"""

from math import sqrt

import numpy as np

from .. import functional as F
from ..array_interface import array_of
from ..core import operation
from ..core.grad_mode import GRAD_ENABLED
from ..core.tensor import wrap
from ..custom_vjp import MANUAL

# Of squares: beyond these, F's functions scale before they square.
LEAST, MOST = 1e-30, 1e30


def linear(x, weight, bias=None):
    """x Wᵀ + b: (..., I) -> (..., O)."""
    a = _vector(x, weight, bias)
    if a is None:
        return F.linear(x, weight, bias)
    y = array_of(weight) @ a
    if bias is not None:
        y += array_of(bias)
    return wrap(y.reshape(*x.shape[:-1], len(y)))


def layer_norm(x, normalized_shape, weight, bias, eps):
    """(x - mean x) / √(var x + ε) · w + b: (..., *normalized_shape) -> the same."""
    a = _vector(x, weight, bias)
    if a is not None:
        d = a - a.sum() / len(a)
        v = d @ d / len(d) + eps
        if LEAST < v < MOST:
            y = d * (1 / sqrt(v))
            y *= array_of(weight)
            if bias is not None:
                y += array_of(bias)
            return wrap(y.reshape(x.shape))
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


def rms_norm(x, normalized_shape, weight, eps):
    """x / √(mean x² + ε) · w: (..., *normalized_shape) -> the same."""
    a = _vector(x, weight)
    if a is not None:
        v = a @ a / len(a) + (np.finfo(a.dtype).eps if eps is None else eps)
        if LEAST < v < MOST:
            y = a * (1 / sqrt(v))
            y *= array_of(weight)
            return wrap(y.reshape(x.shape))
    return F.rms_norm(x, normalized_shape, weight, eps)


def attention(q, k, v):
    """softmax(q kᵀ / √d) v of queries that all see all keys: q (..., T, d), k, v (..., S, d) ->
    (..., T, d). Fast where T is small: the queries of one position."""
    arrays = [array_of(a) for a in (q, k, v)]
    if not all(map(_is_usual, arrays)):
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = arrays
    E = (q * (1 / sqrt(q.shape[-1]))) @ k.swapaxes(-1, -2)
    E -= E.max(axis=-1, keepdims=True)
    np.exp(E, out=E)
    o = E @ v
    o /= E.sum(axis=-1, keepdims=True)
    return wrap(o)


def _is_usual(a):
    """Whether a is an array that is computed with here, and a Tensor around the result is all that
    anybody wants to know."""
    return (
        type(a) is np.ndarray
        and a.dtype.char in "fd"
        and a.size > 0
        and not GRAD_ENABLED.get()
        and not MANUAL.get()
        and not operation.call_hook.watching
    )


def _vector(x, weight, *more):
    """x (..., n), for a weight (n,) or (m, n), as an array (n,) where it is one position that is
    computed with here; None where it is not."""
    if GRAD_ENABLED.get() or weight is None:  # most calls
        return None
    a, W = array_of(x), array_of(weight)
    if not _is_usual(a) or a.shape[-1:] != (a.size,) or W.shape[-1] != a.size:
        return None
    for p in (W, *map(array_of, more)):
        if p is not None and (type(p) is not np.ndarray or p.dtype != a.dtype):
            return None
    return a.reshape(-1)
