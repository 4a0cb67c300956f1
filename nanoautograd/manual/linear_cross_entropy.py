"""Cross entropy of the scores that a linear map gives, by hand, without the array of the scores.

These are the last two steps of a language model. One matrix turns the hidden states of its N
positions into scores of V words. With a large vocabulary the scores (N, V) are the largest array of
a step, and their softmax and their gradient are two more. Here only a chunk, a few rows of them,
exists at a time. That is enough: the gradient of a hidden state needs the scores of its own row,
and the gradient of the matrix is a sum over the rows, to which each chunk adds its part.

    h    (N, D)   hidden states; an input (..., D) has N = the product of the other axes
    W    (V, D)   weights
    b    (V,)     bias, 0 if not given
    y    (N,)     targets: class numbers 0 ... V-1
    w    (V,)     class weights, 1 if not given
    ε             label smoothing, 0 ≤ ε ≤ 1
    z    (N, V)   scores (logits), of which only a chunk exists
    m, Z, p, a, s    of the rows of z, as in cross_entropy.py those of x
    q    (N, V)   smoothed targets
    S             what a mean divides by
    ℓ    (N,)     losses of the rows
    L             the loss
    g    (N,)     ∂L/∂ℓ
    δ    (N, V)   ∂L/∂z
    dL            the gradient that arrives at the loss
    dh, dW, db, dw   ∂L/∂h, ∂L/∂W, ∂L/∂b, ∂L/∂w

Forward (linear.py, and then cross_entropy.py):

    z_nv = Σ_d h_nd W_vd + b_v
    log p_nv = z_nv - m_n - log Z_n        m_n = max_v z_nv,   Z_n = Σ_v exp(z_nv - m_n)
    q_nv = (1 - ε) [v = y_n] + ε/V
    ℓ_n = - Σ_v w_v q_nv log p_nv          or 0 where y_n = ignore_index

    L = ℓ                                  reduction "none"
    L = Σ_n ℓ_n                            reduction "sum"
    L = Σ_n ℓ_n / S                        reduction "mean";  S = Σ_n w_{y_n}, rows not ignored

Backward. With g_n = dL_n ("none"), dL ("sum") or dL/S ("mean"), 0 if the row is ignored, the
gradient of the scores is that of cross_entropy.py,

    δ_nv = g_n (s_n p_nv - a_nv)           a_nv = w_v q_nv,   s_n = Σ_v a_nv

It goes through the linear map as in linear.py:

    dh_nd = Σ_v δ_nv W_vd                  dH = δ W
    dW_vd = Σ_n δ_nv h_nd                  dW = δᵀ H
    db_v  = Σ_n δ_nv                       db = δᵀ 1

Row n of dH needs row n of δ and no other. dW and db are sums over n, so over chunks. The class
weights act on ℓ, through q, and on S, as in cross_entropy.py:

    dw_k = - Σ_n g_n q_nk log p_nk                                           "none" and "sum"
    dw_k = - Σ_n g_n q_nk log p_nk  -  dL/S · L · #{n not ignored: y_n = k}  "mean"

The scores of a chunk are gone when the next one is computed, so the way back computes them again.

(The sum over chunks: Hsu et al. 2024, "Liger Kernel: efficient Triton kernels for LLM training",
section 3. Scores that are made again in the backward pass: Wijmans et al. 2024, "Cut your losses in
large-vocabulary language models".)
"""

from ..backends import array_namespace, scatter_add
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import matmul
from . import cross_entropy, linear

CHUNK = 1 << 22  # scores that exist at a time: 16 MiB in float32


def forward(
    hidden,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
):
    """hidden (..., D), weight (V, D), target (...) of integers -> loss, and the cache. The loss has
    the shape of the target with reduction "none", and no axes otherwise."""
    xp, (V, D), dtype = array_namespace(hidden), weight.shape, hidden.dtype
    h, y = hidden.reshape(target.size, D), target.reshape(-1)
    w = xp.ones(V, dtype=dtype) if class_weight is None else class_weight
    rows = h, weight, bias, y, w, ignore_index, label_smoothing
    ell = xp.empty(len(y), dtype=dtype)
    for n, ell_n, _ in chunks(*rows):
        ell[n] = ell_n
    kept = y != ignore_index
    S = summed(xp.where(kept, w[y * kept], 0.0))
    S = xp.where(S == 0, float("nan"), S) if reduction == "mean" else 1.0
    loss = ell.reshape(target.shape) if reduction == "none" else summed(ell) / S
    return loss, (rows, kept, S, loss if reduction == "mean" else 0.0, hidden.shape)


def backward(dL, cache):
    """dL like the loss -> dhidden, dweight, None, dbias, dclass_weight."""
    rows, kept, S, L, shape = cache
    (h, W, _, y, w, *_), xp = rows, array_namespace(kept)
    g = xp.where(kept, dL.reshape(-1) / S, 0.0)  # (N,)
    dh, dW, dw, db = (xp.zeros(a.shape, dtype=a.dtype) for a in (h, W, w, w))
    for n, _, cache_n in chunks(*rows):
        δ, _, dw_n = cross_entropy.backward(g[n], cache_n)
        dh[n] = matmul(δ, W)
        dW += matmul(δ.T, h[n])
        db += summed(δ, 0)  # δᵀ 1
        dw += dw_n
    scatter_add(dw, y * kept, xp.where(kept, -g * L, 0.0))  # through S
    return dh.reshape(shape), dW, None, db, dw


def chunks(h, W, b, y, w, ignore_index, ε):
    """A few rows n at a time: n, their losses, and the cache of cross_entropy.py."""
    M, options = max(1, CHUNK // len(W)), {"reduction": "none", "label_smoothing": ε}
    for n in [slice(i, i + M) for i in range(0, len(h), M)]:
        z = matmul(h[n], W.T)
        z = z if b is None else z + b
        yield n, *cross_entropy.forward(z, y[n], w, ignore_index=ignore_index, **options)


def reference(hidden, weight, target, bias=None, class_weight=None, **options):
    """The same from primitives, with all scores at once. options: those of cross_entropy."""
    z = linear.reference(hidden.reshape(target.size, weight.shape[1]), weight, bias)
    loss = cross_entropy.reference(z, target.reshape(-1), class_weight, **options)
    return loss.reshape(target.shape) if loss.ndim else loss


linear_cross_entropy = custom_vjp(
    "linear_cross_entropy", forward, backward, reference, in_float32=True
)
