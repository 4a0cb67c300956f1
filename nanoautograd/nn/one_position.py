"""Functions for layers, with a fast form for one position on the CPU.

A decoder that writes reads one token at a time, at the cost of one product of each weight with a
vector: as long as it takes to read the weights from memory. The operations on Tensors are made for
many positions, and their calls would cost as much again. So within `with on_arrays():` a layer that
is given one position computes its equation by a few lines of NumPy, and returns an array.

Everything else are the functions of nag.functional and causal_attention.py, and tests hold both
equal.
"""

from contextvars import ContextVar
from functools import lru_cache
from math import pi, sqrt
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..core import operation
from ..core.grad_mode import GRAD_ENABLED
from ..custom_vjp import MANUAL
from ..interface.array_interface import array_of
from ..safety.modes import Mode
from ..safety.options import check_sizes
from ..typing import Shape
from .causal_attention import causal_attention as of_many

ON_ARRAYS: ContextVar[int] = ContextVar("on_arrays", default=False)
LEAST, MOST = 1e-30, 1e30  # of squares: beyond, F's functions scale before they square


class on_arrays(Mode):
    """Within `with on_arrays():`, where nothing is recorded, layers that are given one position
    return arrays."""

    variable, value = ON_ARRAYS, True


def can_compute(weight: Any) -> bool:
    """Whether a model with such a weight is to be computed here: on the CPU, in float32 or float64,
    where neither `use_manual` nor `detect_anomaly` want to see each operation."""
    a = array_of(weight)
    usual = type(a) is np.ndarray and a.dtype.char in "fd"
    return usual and not MANUAL.get() and not operation.call_hook.watching


def embedding(index: Any, weight: Any, padding_idx: Any = None) -> Any:
    """The rows of weight (V, D) that index, integers or a slice, names -> (..., D)."""
    rows = array_of(weight) if _is_on() else weight
    if type(index) is not slice:
        return F.embedding(index, rows, padding_idx)
    start, stop, V = index.start or 0, index.stop, len(rows)
    check_sizes("embedding", start=start, stop=V if stop is None else stop)
    if index.step not in (None, 1) or stop is not None and not start <= stop <= V:
        raise IndexError(f"embedding: the slice {index} is not one of the rows, 0:{V}")
    return rows[index] if padding_idx is None else F.embedding(range(V)[index], rows, padding_idx)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b: (..., I) -> (..., O)."""
    if (arrays := _arrays(x, weight, bias)) is None:
        return F.linear(x, weight, bias)
    a, W, b = arrays
    y = W.dot(a)  # begins a microsecond sooner than W @ a
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], len(y))


def layer_norm(x: Any, normalized_shape: Shape, weight: Any, bias: Any, eps: Any) -> Any:
    """(x - mean x) / √(var x + ε) · w + b: (..., *normalized_shape) -> the same."""
    if (arrays := _arrays(x, weight, bias)) is not None:
        a, w, b = arrays
        d = a - np.add.reduce(a) / len(a)
        v = float(d.dot(d)) / len(d) + eps
        if LEAST < v < MOST and eps >= 0:
            d *= 1 / sqrt(v)
            d *= w
            if b is not None:
                d += b
            return d.reshape(x.shape)
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


def rms_norm(x: Any, normalized_shape: Shape, weight: Any, eps: Any) -> Any:
    """x / √(mean x² + ε) · w: (..., *normalized_shape) -> the same."""
    if (arrays := _arrays(x, weight)) is not None:
        a, w, _ = arrays
        eps = float(np.finfo(a.dtype).eps if eps is None else eps)
        v = float(a.dot(a)) / len(a) + eps
        if LEAST < v < MOST and eps >= 0:
            return (a * (1 / sqrt(v)) * w).reshape(x.shape)
    return F.rms_norm(x, normalized_shape, weight, eps)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x Φ(x), elementwise. See manual/gelu.py."""
    if approximate != "tanh" or not _is_usual(x):
        return F.gelu(x, approximate)
    c, a, half, one, most = _gelu_constants(x.dtype)
    v = np.maximum(x, -most)
    u = np.minimum(v, most)  # beyond, Φ is 0 or 1
    w = u * u
    w *= a
    w += c
    u *= w
    np.tanh(u, out=u)
    u += one
    u *= v
    u *= half
    return u


@lru_cache(maxsize=2)
def _gelu_constants(dtype: Any) -> tuple:
    """As arrays: NumPy takes twice as long to multiply by a number of Python."""
    c = sqrt(2 / pi)
    return tuple(np.array(n, dtype) for n in (c, c * 0.044715, 0.5, 1.0, 40.0))


def silu(x: Any) -> Any:
    """x / (1 + e⁻ˣ), elementwise. See manual/silu.py."""
    if not _is_usual(x):
        return F.silu(x)
    v = np.maximum(x, -800.0)  # beyond, it is 0
    e = np.exp(-abs(v))
    return np.where(v < 0, v * e, v) / (1 + e)


def split(a: Any, n: int) -> Any:
    """`a` as n equal parts along axis 1."""
    if type(a) is not np.ndarray:
        return ops.split(a, n, axis=1)
    m = a.shape[1] // n
    return [a[:, i * m : (i + 1) * m] for i in range(n)]


def causal_attention(q: Any, k: Any, v: Any, dropout: Any = None, seen: Any = None) -> Any:
    """See causal_attention.py. Where there is no padding one query sees all keys, so there is no
    mask, and the heads that share keys are as many queries of one head."""
    (B, H, T, d), K = q.shape, k.shape[1]
    drops = dropout is not None and dropout.training and dropout.p
    if T != 1 or H % K or drops or seen is not None:
        return of_many(q, k, v, dropout, seen)
    if H == K:
        return attention(q, k, v)
    return attention(q.reshape(B, K, H // K, d), k, v).reshape(q.shape)


def attention(q: Any, k: Any, v: Any) -> Any:
    """softmax(q kᵀ / √d) v of queries that see all keys: q (..., T, d), k, v (..., S, d) ->
    (..., T, d)."""
    if not _is_on():
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = map(array_of, (q, k, v))
    E = (q * (1 / sqrt(q.shape[-1]))) @ k.swapaxes(-1, -2)
    E -= np.maximum.reduce(E, axis=-1, keepdims=True)
    np.exp(E, out=E)
    return E @ v / np.add.reduce(E, axis=-1, keepdims=True)


def rotary_embedding(x: Any, base: float, offset: Any) -> Any:
    """The pairs of features of x (..., T, d), turned by angles: of position `offset`, where T = 1.
    See manual/rotary.py."""
    if not _is_on() or x.shape[-2] != 1:
        return F.rotary_embedding(x, base=base, offset=offset)
    x = array_of(x)
    cos, sin = _angles(x.shape[-1], base, offset, x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    y = np.empty_like(x)
    y[..., 0::2] = a * cos - b * sin
    y[..., 1::2] = a * sin + b * cos
    return y


@lru_cache(maxsize=1)  # all layers turn by the same
def _angles(d: int, base: float, position: Any, dtype: Any) -> tuple:
    """cos φ and sin φ (d/2,): what pairs (1, 0) become."""
    x = np.zeros((1, d), dtype)
    x[:, 0::2] = 1
    y = F.rotary_embedding(x, base=base, offset=position)
    return y[0, 0::2], y[0, 1::2]


def _is_on() -> bool:
    return ON_ARRAYS.get() and not GRAD_ENABLED.get()


def _is_usual(x: Any) -> bool:
    """Whether x is an array that a layer gave, here."""
    return type(x) is np.ndarray and x.dtype.char in "fd" and _is_on()


def _arrays(x: Any, weight: Any, bias: Any = None) -> tuple | None:
    """x (..., n), for a weight (n,) or (m, n), as an array (n,), and the arrays of both parameters,
    where it is one position that is to be computed here; else None."""
    if weight is None or not ON_ARRAYS.get() or GRAD_ENABLED.get():
        return None
    a, W = x if type(x) is np.ndarray else array_of(x), weight._array
    n, dtype = a.size, a.dtype
    if not n or not (n,) == a.shape[-1:] == W.shape[-1:] or W.dtype != dtype:
        return None
    if dtype.char not in "fd":
        return None
    if bias is None:
        return a.reshape(-1), W, None
    b = bias._array
    return (a.reshape(-1), W, b) if b.shape == W.shape[:1] and b.dtype == dtype else None
