"""Cross entropy of scores (logits) with class numbers or distributions, by hand.

Written for N rows of C scores; an input (N, C, d1, ..., dk) is N·d1·...·dk rows, an input (C,) one.

    x   (N, C)   scores
    y   (N,)     targets: class numbers 0 ... C-1
    t   (N, C)   or targets: distributions over the classes
    w   (C,)     class weights; 1 if not given
    ε            label smoothing, 0 ≤ ε ≤ 1
    m   (N,)     largest scores of the rows of x
    Z   (N,)     sums of the exponentials of x less m
    p   (N, C)   softmax of the rows of x
    q   (N, C)   smoothed targets
    a   (N, C)   w q
    s   (N,)     sums of the rows of a
    W            what a mean divides by
    ℓ   (N,)     losses of the rows
    L            the loss
    g   (N,)     ∂L/∂ℓ, what arrives at each row
    dL           the gradient that arrives at the loss
    dx, dt, dw   ∂L/∂x, ∂L/∂t, ∂L/∂w

Forward (cross entropy of a softmax: Bridle 1990; label smoothing: Szegedy et al. 2016, "Rethinking
the inception architecture for computer vision", section 7; weights and means as in PyTorch):

    log p_nc = x_nc - m_n - log Z_n        m_n = max_c x_nc,   Z_n = Σ_c exp(x_nc - m_n)
    q_nc = (1 - ε) [c = y_n] + ε/C         or    q_nc = (1 - ε) t_nc + ε/C
    ℓ_n = - Σ_c w_c q_nc log p_nc          or 0 where y_n = ignore_index

    L = ℓ                                  reduction "none"
    L = Σ_n ℓ_n                            reduction "sum"
    L = Σ_n ℓ_n / W                        reduction "mean"
    W = Σ_n w_{y_n} over the rows not ignored, for class numbers;    W = N, for distributions

No logarithm is taken of a finished probability, so scores of ±10000 are harmless. Where every row
is ignored the mean is 0/0: the loss is nan, as in PyTorch, and its gradient is zero.

Where C is large, and the scores come from a linear map, linear_cross_entropy.py needs no array
(N, C) as a whole.

Backward. What arrives at a row is g_n = dL_n ("none"), dL ("sum") or dL/W ("mean"), and 0 if the
row is ignored. From log p_nc = x_nc - log Σ_j exp(x_nj) follows ∂log p_nc/∂x_nk = [c = k] - p_nk
(derived in log_softmax.py), so with a_nc = w_c q_nc and s_n = Σ_c a_nc

    dx_nk = - g_n Σ_c a_nc ([c = k] - p_nk)  =  g_n (s_n p_nk - a_nk)

For class numbers without smoothing a row has one a_nc, that of c = y_n, and

    dx_n = g_n w_{y_n} (p_n - onehot(y_n))

From q_nc and from ℓ_n directly:

    dt_nk = - g_n (1 - ε) w_k log p_nk
    dw_k = - Σ_n g_n q_nk log p_nk

and for the mean of class numbers W depends on w, too: ∂(Σℓ/W)/∂W = -L/W, and ∂W/∂w_k counts the
rows of class k. There

    dw_k = - Σ_n g_n q_nk log p_nk  -  dL/W · L · #{n not ignored: y_n = k}

In the code `axis` is that of c, and class numbers are distributions too: t_nc = [c = y_n], and none
where a row is ignored. They are booleans, which choose, so that 0 · ∞ is 0 for a score of -∞, or
for the infinite weight of a class that does not occur. The scores of a row that is ignored count as
0, whatever they are.
"""

from ..backends import array_namespace, is_float
from ..backends.sums import summed, unbroadcast
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of
from ..ops import logsumexp, reshape, squeeze, sum, where

NAN = float("nan")


def forward(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """logits (C,), (N, C) or (N, C, d1, ...) -> loss, and the cache.

    target: integers, shaped like logits without the class axis, or floating, like logits. The loss
    has the shape of the integer targets with reduction "none", and no axes otherwise.
    """
    xp, ε = array_namespace(logits), float(label_smoothing)
    x, t, q, w, W, kept, axis = arguments(logits, target, weight, ignore_index, ε)
    x = x - x.max(axis=axis, keepdims=True)  # x - m
    log_p = x - xp.log(summed(xp.exp(x), axis, keepdims=True))
    ell = xp.where(kept, -summed(times(q, w * log_p), axis, keepdims=True), 0.0)  # (N, 1)
    loss = ell.squeeze(axis) if reduction == "none" else summed(ell)
    loss = loss / W if reduction == "mean" else loss
    return loss, (log_p, t, q, w, W, kept, axis, loss, reduction, ε)


def backward(dL, cache):
    """dL like the loss -> dlogits, dtarget (None for class numbers), dweight."""
    log_p, t, q, w, W, kept, axis, loss, reduction, ε = cache
    xp, numbers = array_namespace(log_p), t.dtype == bool
    g = xp.expand_dims(dL, axis) if reduction == "none" else dL / W if reduction == "mean" else dL
    g = xp.where(kept, g, 0.0)  # (N, 1)
    a = times(q, w)
    s = summed(a, axis, keepdims=True)
    dx = g * (s * xp.exp(log_p) - a)  # g_n (s_n p_nk - a_nk)
    dt = None if numbers else -g * (1 - ε) * w * log_p
    by_W = times(t, loss) if numbers and reduction == "mean" else 0.0  # L [k = y_n], through W
    dw = -unbroadcast(g * (times(q, log_p) + by_W), w.shape)  # - Σ_n g_n (q_nk log p_nk + by_W)
    return dx, dt, dw.reshape(-1)


def reference(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """The same from primitives."""
    ε = float(label_smoothing)
    x, t, q, w, W, kept, axis = arguments(logits, target, weight, ignore_index, ε)
    log_p = x - logsumexp(x, axis=axis, keepdims=True)
    ell = where(kept, -sum(times(q, w * log_p), axis=axis, keepdims=True), 0.0)
    loss = squeeze(ell, axis=axis) if reduction == "none" else sum(ell)
    return loss / W if reduction == "mean" else loss


cross_entropy = custom_vjp("cross_entropy", forward, backward, reference, in_float32=True)


def arguments(logits, target, weight, ignore_index, ε):
    """x, t, q, w and W, arrays or Tensors that broadcast; which rows are kept; and the axis of the
    classes."""
    axis, xp, y = min(1, logits.ndim - 1), array_namespace(array_of(logits)), array_of(target)
    C, dtype = logits.shape[axis], logits.dtype
    w = xp.ones(C, dtype=dtype) if weight is None else weight
    w = reshape(w, (C, *(1,) * (logits.ndim - axis - 1)))
    if is_float(y.dtype):
        kept, t, W = xp.asarray(True), target, xp.full((), logits.size / C, dtype=dtype)
    else:
        y = xp.expand_dims(y, axis)
        kept = y != ignore_index
        t = (xp.arange(C).reshape(w.shape) == y) & kept
        W = sum(times(t, w))
    q = (1 - ε) * t.astype(dtype) + ε / C if ε else t
    return where(kept, logits, 0.0), t, q, w, where(W == 0, NAN, W), kept, axis


def times(q, a):
    """q a; where q are booleans, they choose."""
    return where(q, a, 0.0) if q.dtype == bool else q * a
