"""Scaled dot-product attention, by hand.

    q     (..., T, d)     queries
    k     (..., S, d)     keys
    v     (..., S, e)     values, one per key
    mask  (..., T, S)     boolean, True = this query may see this key; or floating, added to scores
    A     (..., T, S)     scores
    P     (..., T, S)     weights: P_ts is how much query t takes of value s
    r     (..., T, S)     factors of dropout, 0 or 1/(1 - p); 1 without
    W     (..., T, S)     weights after dropout
    o     (..., T, e)     output
    do, dP, dA, dq, ...   ∂L/∂o, ∂L/∂P, ∂L/∂A, ∂L/∂q, ...

The axes "..." are batches and heads; they broadcast, so that one set of keys can serve many heads.

Forward (Vaswani et al. 2017, "Attention is all you need", equation 1, with the mask of its
section 3.2.3; c is the scale, 1/√d unless given):

    A = c q kᵀ + mask       A_ts = -inf where a boolean mask is False, and where s > t if `causal`
    P = softmax(A)          along s, row by row
    W = r P                 elementwise (dropout.py)
    o = W v

A query that sees no key, because its row of A is all -inf or because S = 0, takes nothing: its
weights are zero, and so are its output and all gradients through it. In the code below: such a row
has the maximum m = -inf, which is replaced by 0; then exp(A - m) = 0, and the sum Z = 0 of the row
is replaced by 1.

Backward, one product at a time. From o_ti = Σ_s W_ts v_si:

    dv_si = Σ_t W_ts do_ti       dv = Wᵀ do
    dW_ts = Σ_i do_ti v_si       dW = do vᵀ, and dweights added to it
    dP_ts = r_ts dW_ts

where dweights is what arrives at W itself, if the weights were asked for and used. The rows of P
are softmaxes, ∂P_ts/∂A_tj = P_ts ([s = j] - P_tj) (derived in softmax.py), so

    dA_tj = P_tj (dP_tj - Σ_s dP_ts P_ts)

A masked entry has P = 0, hence dA = 0, and so has every entry of a row that sees nothing. The
mask is added to A, so dmask = dA. From A_ts = c Σ_i q_ti k_si + mask_ts:

    dq_ti = c Σ_s dA_ts k_si     dq = c dA k
    dk_si = c Σ_t dA_ts q_ti     dk = c dAᵀ q

Each gradient is summed over the batch axes along which its array was broadcast.
"""

from math import sqrt

from numpy import broadcast_shapes

from ..backends import namespace
from ..graph import unbroadcast
from ..ops import exp, matmul, max, sum, swapaxes, where
from ..tensor import array_of, is_float
from .dropout import factors

INF = float("inf")


def forward(q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, dropout=0.0,
            seed=0, offset=0):
    """q (..., T, d), k (..., S, d), v (..., S, e) -> o (..., T, e), or (o, W); and the cache."""
    xp = namespace(q, k, v, mask)
    _check(q, k, v, mask)
    c = _scale(q, scale)
    A = xp.matmul(q, k.swapaxes(-1, -2))                            # (..., T, S)
    A *= c
    if causal:
        A = xp.where(xp.tri(*A.shape[-2:], dtype=bool), A, -INF)
    if mask is not None:
        A = A + mask if _is_added(mask) else xp.where(mask, A, -INF)
    P = _softmax(xp, A)
    r = factors(P, dropout, True, seed, offset)
    W = P if r is None else r * P
    o = xp.matmul(W, v)
    return ((o, W) if return_weights else o), (q, k, v, mask, c, P, r, return_weights)


def _softmax(xp, A):
    """Softmax of the rows of A, in its memory; zeros for a row of -inf."""
    if A.size == 0:
        return A
    m = xp.max(A, axis=-1, keepdims=True)
    A -= xp.where(m == -INF, 0.0, m)
    P = xp.exp(A, out=A)
    Z = xp.sum(P, axis=-1, keepdims=True)
    P /= xp.where(Z == 0, 1.0, Z)
    return P


def backward(dout, cache, needs=None):
    """do, or (do, dweights) if the weights were returned -> dq, dk, dv, dmask."""
    q, k, v, mask, c, P, r, return_weights = cache
    need_q, need_k, need_v, need_mask = needs or (True,) * 4
    need_mask = need_mask and _is_added(mask)
    xp = namespace(P)
    do, dweights = dout if return_weights else (dout, None)
    dq = dk = dv = dmask = None
    if need_v:
        W = P if r is None else r * P
        dv = unbroadcast(xp.matmul(W.swapaxes(-1, -2), do), v.shape)
    if need_q or need_k or need_mask:
        dP = unbroadcast(xp.matmul(do, v.swapaxes(-1, -2)), P.shape)    # (..., T, S)
        if dweights is not None:
            dP += dweights
        if r is not None:
            dP *= r
        dA = dP * P
        dA -= P * dA.sum(axis=-1, keepdims=True)                    # P dP - P Σ P dP
        if need_mask:
            dmask = unbroadcast(dA, mask.shape)
        if need_q:
            dq = unbroadcast(xp.matmul(dA, k), q.shape)
            dq *= c
        if need_k:
            dk = unbroadcast(xp.matmul(dA.swapaxes(-1, -2), q), k.shape)
            dk *= c
    return dq, dk, dv, dmask


def composed(q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, dropout=0.0,
             seed=0, offset=0):
    """The same from primitives."""
    _check(q, k, v, mask)
    A = matmul(q, swapaxes(k, -1, -2)) * _scale(q, scale)
    if causal:
        A = where(namespace(array_of(A)).tri(*A.shape[-2:], dtype=bool), A, -INF)
    if mask is not None:
        A = A + mask if _is_added(mask) else where(mask, A, -INF)
    P = A
    if A.size:
        m = max(A, axis=-1, keepdims=True)
        P = exp(A - where(m == -INF, 0.0, m))
        Z = sum(P, axis=-1, keepdims=True)
        P = P / where(Z == 0, 1.0, Z)
    r = factors(array_of(P), dropout, True, seed, offset)
    W = P if r is None else P * r
    o = matmul(W, v)
    return (o, W) if return_weights else o


def _scale(q, scale):
    """The factor c, as a Python float: a NumPy scalar would promote float32."""
    return 1.0 / sqrt(q.shape[-1]) if scale is None else float(scale)


def _is_added(mask):
    return mask is not None and is_float(mask.dtype)


def _check(q, k, v, mask):
    """Raises the error that names what does not fit."""
    got = f"got q {q.shape}, k {k.shape}, v {v.shape}"
    if q.ndim < 2 or k.ndim < 2 or v.ndim < 2:
        raise ValueError(f"attention: q, k, v need two axes or more, (..., time, features); {got}")
    if q.shape[-1] != k.shape[-1] or q.shape[-1] == 0:
        raise ValueError(f"attention: q and k need the same number of features, and one or more; "
                         f"{got}")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"attention: there must be one value for each key; {got}")
    if not is_float(q.dtype) or k.dtype != q.dtype or v.dtype != q.dtype:
        raise TypeError("attention: q, k, v must be floating and of one dtype; "
                        f"got {q.dtype}, {k.dtype}, {v.dtype}")
    try:
        batch = broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ValueError(f"attention: the batch axes do not broadcast; {got}") from None
    if mask is None:
        return
    if mask.dtype != bool and mask.dtype != q.dtype:
        raise TypeError("attention: the mask must be boolean (True = takes part) or, to be added "
                        f"to the scores, {q.dtype} like q; got {mask.dtype}")
    scores = (*batch, q.shape[-2], k.shape[-2])
    try:
        fits = broadcast_shapes(scores, mask.shape)[-2:] == scores[-2:]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"attention: a mask of shape {mask.shape} does not broadcast to the "
                         f"scores, {scores}; {got}")
