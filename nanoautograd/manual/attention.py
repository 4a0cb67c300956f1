"""Scaled dot-product attention, by hand.

    q     (..., T, d)     queries
    k     (..., S, d)     keys
    v     (..., S, e)     values, one per key
    mask  (..., T, S)     boolean, True = this query may see this key; or floating, added to scores
    c                     scale, 1/√d unless given
    A     (..., T, S)     scores
    m, Z  (..., T, 1)     the largest score of a row, and Σ_s E_ts with E_ts = exp(A_ts - m_t)
    P     (..., T, S)     weights: P_ts is how much query t takes of value s
    p                     probability with which a weight is dropped
    r     (..., T, S)     factors of dropout, 0 or 1/(1 - p); 1 without
    W     (..., T, S)     weights after dropout
    o     (..., T, e)     output
    do, dP, dA, dq, ...   ∂L/∂o, ∂L/∂P, ∂L/∂A, ∂L/∂q, ...; L is the loss
    dweights              what arrives at W itself, if the weights were asked for; else 0
    D     (..., T, 1)     Σ_s dP_ts P_ts

The axes "..." are batches and heads; they broadcast, so that one set of keys can serve many heads.

Forward (Vaswani et al. 2017, "Attention is all you need", equation 1, with the mask of its
section 3.2.3; ⊙ is elementwise):

    A = c q kᵀ + mask       A_ts = -inf where a boolean mask is False, and where s > t if `causal`
    P = softmax(A)          along s, row by row: P = E / Z
    W = r ⊙ P               (dropout.py)
    o = W v

A query that sees no key, because its row of A is all -inf or because S = 0, takes nothing: its
weights are zero, and so are its output and all gradients through it. In the code below: such a row
has the maximum m = -inf, which is replaced by 0; then E = 0, and the sum Z = 0 is replaced by 1.
(Without a mask m = -inf is an overflow, and gives nan.)

Backward, one product at a time. From o_ti = Σ_s W_ts v_si:

    dv_si = Σ_t W_ts do_ti       dv = Wᵀ do
    dW_ts = Σ_i do_ti v_si       dW = do vᵀ + dweights
    dP_ts = r_ts dW_ts           dP = r ⊙ dW

The rows of P are softmaxes, ∂P_ts/∂A_tj = P_ts ([s = j] - P_tj) (derived in softmax.py), so

    dA_tj = P_tj (dP_tj - D_t)   dA = P ⊙ (dP - D)

A masked entry has P = 0, hence dA = 0, and so has every entry of a row that sees nothing. The
mask is added to A, so dmask = dA. From A_ts = c Σ_i q_ti k_si + mask_ts:

    dq_ti = c Σ_s dA_ts k_si     dq = c dA k
    dk_si = c Σ_t dA_ts q_ti     dk = c dAᵀ q
"""

from math import sqrt

from ..backends import array_namespace, is_float
from ..backends.sums import summed, unbroadcast
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of
from ..ops import exp, matmul, max, sum, swapaxes, where
from .dropout import factors

INF = float("inf")


def forward(
    q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, p=0.0, seed=0, offset=0
):
    """q (..., T, d), k (..., S, d), v (..., S, e) -> o (..., T, e), or (o, W); and the cache."""
    c = scale_of(q, scale)
    P = softmax_of_scores(q, k, mask, c, causal)
    r = factors_of(P, p, seed, offset)
    W = r * P
    o = matmul(W, v)
    return ((o, W) if return_weights else o), (q, k, v, c, P, r, return_weights)


def softmax_of_scores(q, k, mask, c, causal):
    """P, of arrays or of Tensors."""
    A = matmul(c * q, swapaxes(k, -1, -2))
    if mask is not None:
        A = A + mask if is_float(mask.dtype) else where(mask, A, -INF)
    if causal:
        A = where(array_namespace(array_of(A)).tri(*A.shape[-2:], dtype=bool), A, -INF)
    if A.size == 0:  # no row has a maximum
        return A
    m = max(A, axis=-1, keepdims=True)
    if mask is not None:
        m = where(m == -INF, 0.0, m)
    E = exp(A - m)
    Z = sum(E, axis=-1, keepdims=True)
    return E / where(Z == 0, 1.0, Z)


def backward(dout, cache):
    """do, or (do, dweights) if the weights were returned -> dq, dk, dv, dmask."""
    q, k, v, c, P, r, return_weights = cache
    do, dweights = dout if return_weights else (dout, 0.0)
    W = r * P
    dv = matmul(swapaxes(W, -1, -2), do)  # Wᵀ do
    dW = unbroadcast(matmul(do, swapaxes(v, -1, -2)), W.shape) + dweights  # do vᵀ + dweights
    dP = r * dW
    D = summed(dP * P, -1, keepdims=True)  # Σ_s dP_ts P_ts
    dA = P * (dP - D)
    dq = c * matmul(dA, k)  # c dA k
    dk = c * matmul(swapaxes(dA, -1, -2), q)  # c dAᵀ q
    return dq, dk, dv, dA


def reference(q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, **dropout):
    """The same from primitives."""
    P = softmax_of_scores(q, k, mask, scale_of(q, scale), causal)
    W = P * factors_of(array_of(P), **dropout)
    o = matmul(W, v)
    return (o, W) if return_weights else o


scaled_dot_product_attention = custom_vjp(
    "scaled_dot_product_attention", forward, backward, reference, in_float32=True
)


def scale_of(q, scale):
    """The factor c, as a Python float: a NumPy scalar would promote float32."""
    return 1.0 / sqrt(q.shape[-1]) if scale is None else float(scale)


def factors_of(P, p=0.0, seed=0, offset=0):
    """r."""
    r = factors(P, p, training=True, seed=seed, offset=offset)
    return 1.0 if r is None else r
