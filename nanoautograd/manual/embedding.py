"""Embedding, by hand.

    n    any shape, written (M,) here   ids: integers from 0 to V - 1
    E    (V, D)                         table ("weight"): V vectors of D numbers
    y    (M, D)                         output, (*n.shape, D)
    dy, dE                              ∂L/∂y, ∂L/∂E

Forward (the table as parameters to be learnt: Bengio et al. 2003, "A neural probabilistic language
model", section 2, the matrix C):

    y_m = E_{n_m}                       the rows that the ids name

This is a product with one-hot vectors, y_mi = Σ_v [v = n_m] E_vi, that is never formed.

Backward. From that sum, every place at which an id was used adds to the gradient of its row:

    dE_vi = Σ_m [v = n_m] dy_mi

The code must count an id that occurs twice twice, which `dE[n] += dy` does not. Rows that were not
used have the gradient zero. If one id is padding, `padding_idx`, its row is a constant: its
gradient is zero too, though the row is read like any other.
"""

from ..array_interface import array_of
from ..backends import array_namespace, is_float, scatter_add
from ..custom_vjp import custom_vjp
from ..ops import where


def forward(ids, weight, *, padding_idx=None):
    """ids, integers of any shape, weight (V, D) -> y (*ids.shape, D), and the cache."""
    padding = _check(ids, weight, padding_idx)
    _check_range(ids, len(weight))
    return weight[ids], (ids, weight, padding)


def backward(dy, cache, needs=None):
    """dy like y -> None, for the ids, and dweight (V, D)."""
    ids, weight, padding = cache
    _, need_w = needs or (True,) * 2
    dw = None
    if need_w:
        dw = array_namespace(weight).zeros_like(weight)
        scatter_add(dw, ids, dy)
        if padding is not None:
            dw[padding] = 0.0
    return None, dw


def reference(ids, weight, *, padding_idx=None):
    """The same from primitives."""
    n, E = array_of(ids), array_of(weight)
    padding = _check(n, E, padding_idx)
    _check_range(n, len(E))
    y = weight[n]
    return y if padding is None else where((n != padding)[..., None], y, E[n])


embedding = custom_vjp("embedding", forward, backward, reference)


def _check(ids, weight, padding_idx):
    """padding_idx as a number from 0 to V - 1. Raises the error that names what does not fit."""
    if weight.ndim != 2:
        raise ValueError(f"embedding: the weight must be (V, D); got {weight.shape}")
    if not is_float(weight.dtype):
        raise TypeError(f"embedding: the weight must be floating; got {weight.dtype}")
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: the ids must be integers; got {ids.dtype}")
    V = len(weight)
    if padding_idx is None:
        return None
    if not -V <= padding_idx < V:
        raise IndexError(
            f"embedding: padding_idx {padding_idx} is not in the vocabulary; its size "
            f"is {V}, so it goes from {-V} to {V - 1}"
        )
    return padding_idx % V


def _check_range(ids, V):
    """Raises the error that names an id that is not in the vocabulary; waits for the ids."""
    if ids.size:
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= V:
            raise IndexError(
                f"embedding: id {low if low < 0 else high} is not in the vocabulary; "
                f"its size is {V}, so ids go from 0 to {V - 1}"
            )
