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

from ..backends import array_namespace, scatter_add
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of
from ..ops import where


def forward(ids, weight, *, padding_idx=None):
    """ids, integers of any shape, weight (V, D) -> y (*ids.shape, D), and the cache."""
    return weight[ids], (ids, weight, padding_idx)


def backward(dy, cache):
    """dy like y -> None, for the ids, and dweight (V, D)."""
    n, E, padding_idx = cache
    dE = array_namespace(E).zeros_like(E)
    scatter_add(dE, n, dy)  # Σ_m [v = n_m] dy_m
    if padding_idx is not None:
        dE[padding_idx] = 0.0
    return None, dE


def reference(ids, weight, *, padding_idx=None):
    """The same from primitives."""
    n, E = array_of(ids), weight
    y = E[n]
    if padding_idx is None:
        return y
    is_padding = n == padding_idx % len(E)
    return where(is_padding[..., None], array_of(y), y)  # the same numbers, there as constants


embedding = custom_vjp("embedding", forward, backward, reference)
