"""Cross entropy of scores (logits) with class numbers or distributions, by hand.

Written for N rows of C scores; an input (N, C, d1, ..., dk) is N·d1·...·dk rows, an input (C,) one.

    x   (N, C)   scores
    y   (N,)     targets: class numbers 0 ... C-1
    t   (N, C)   or targets: distributions over the classes
    w   (C,)     class weights; 1 if not given
    ε            label smoothing, 0 ≤ ε ≤ 1
    p   (N, C)   softmax of the rows of x
    q   (N, C)   smoothed targets
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

Of all that is (N, C) only x is kept and e_nc = exp(x_nc - m_n). On the way back p_nc = e_nc / Z_n
is made of it, and log p_nc, where it is needed, again of x, m and Z. Where C is large, and the
scores come from a linear map, linear_cross_entropy.py needs none of them whole.

Backward. What arrives at a row is g_n = dL_n ("none"), dL ("sum") or dL/W ("mean"), and 0 if the
row is ignored. From log p_nc = x_nc - log Σ_j exp(x_nj) follows ∂log p_nc/∂x_nk = [c = k] - p_nk
(derived in log_softmax.py), so with a_nc = w_c q_nc and s_n = Σ_c a_nc

    dx_nk = - g_n Σ_c a_nc ([c = k] - p_nk)  =  g_n (s_n p_nk - a_nk)

For class numbers without smoothing a row has one a_nc, that of c = y_n, and

    dx_n = g_n w_{y_n} (p_n - onehot(y_n))

which the code makes in one pass over e. From q_nc and from ℓ_n directly:

    dt_nk = - g_n (1 - ε) w_k log p_nk
    dw_k = - Σ_n g_n q_nk log p_nk  -  [mean of class numbers]  dL/W · L · #{n not ignored: y_n = k}

The last term is there because W depends on w: ∂(Σℓ/W)/∂W = -L/W, and ∂W/∂w_k counts the rows of
class k.
"""

from numpy import unravel_index  # of one position, on the host

from ..array_interface import array_of
from ..backends import array_namespace, is_float, scatter_add
from ..backends.sums import column_sums, row_dots, row_sums
from ..backends.threads import by_rows
from ..custom_vjp import custom_vjp
from ..ops import logsumexp, reshape, squeeze, sum, take_along_axis, where

NAN = float("nan")


def forward(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """logits (C,), (N, C) or (N, C, d1, ...) -> loss, and the cache.

    target: integers, shaped like logits without the class axis, or floating, like logits. The loss
    has the shape of the integer targets with reduction "none", and no axes otherwise.
    """
    xp = array_namespace(logits, target, weight)
    ε = float(label_smoothing)
    _check(logits, target, weight, ignore_index, reduction, ε)
    x, w = _rows(logits), weight  # (N, C)
    N, C = x.shape
    m, Z, ell, e = (xp.empty(s, dtype=x.dtype) for s in (N, N, N, (N, C)))

    y = t = None
    if is_float(target.dtype):
        t, kept, W = _rows(target), xp.ones(N, dtype=bool), float(N) or NAN
    else:
        kept, y = _class_numbers(xp, target, ignore_index, C)
        w_y = kept.astype(x.dtype) if w is None else kept * w[y]
        W = w_y.sum()
        W = xp.where(W == 0, NAN, W)

    def part(n):
        m[n] = x[n].max(axis=1)
        xp.subtract(x[n], m[n, None], out=e[n])
        xp.exp(e[n], out=e[n])
        Z[n] = row_sums(e[n])
        if t is not None or ε:
            qlogp = _smoothed(xp, n, y, t, ε, C, x.dtype)
            qlogp *= _log_p(xp, x[n], m[n], Z[n])
            ell[n] = -(row_sums(qlogp) if w is None else row_dots(qlogp, w))

    by_rows(part, xp, N, C)
    logp_y = None
    if t is None and not ε:
        logp_y = xp.where(kept, x[xp.arange(N), y] - m - xp.log(Z), 0.0)  # (N,)
        ell = -w_y * logp_y
    ell = xp.where(kept, ell, 0.0)

    if reduction == "none":
        loss = ell.reshape(logits.shape[:1] * (logits.ndim > 1) + logits.shape[2:])
    else:
        loss = ell.sum() if reduction == "sum" else ell.sum() / W
    return loss, (logits.shape, x, e, m, Z, logp_y, y, t, w, kept, W, loss, reduction, ε)


def backward(dL, cache, needs=None):
    """dL like the loss -> dlogits, dtarget (None for integers), dweight (None without weights)."""
    shape, x, e, m, Z, logp_y, y, t, w, kept, W, loss, reduction, ε = cache
    need_x, need_t, need_w = needs or (True,) * 3
    need_t, need_w = need_t and t is not None, need_w and w is not None
    xp = array_namespace(x)
    N, C = x.shape
    g = dL.reshape(-1) if reduction == "none" else dL / W if reduction == "mean" else dL
    g = xp.where(kept, g, 0.0)  # (N,)
    dx, dt = (
        xp.empty(_with_classes_last(shape), dtype=x.dtype) if need else None
        for need in (need_x, need_t)
    )
    dx_, dt_ = (None if d is None else d.reshape(N, C) for d in (dx, dt))
    dw = xp.zeros_like(w) if need_w else None

    def part_of_class_numbers(n):
        gs = g[n] if w is None else g[n] * w[y[n]]
        d = xp.multiply(e[n], (gs / Z[n])[:, None], out=dx_[n])  # g s p
        d[xp.arange(len(gs)), y[n]] -= gs

    def part(n):
        """Returns Σ g q log p over these rows."""
        logp = _log_p(xp, x[n], m[n], Z[n])
        ga = g[n, None] * _smoothed(xp, n, y, t, ε, C, x.dtype)
        total = column_sums(ga * logp) if need_w else None
        ga = ga if w is None else ga * w
        if need_x:
            d = xp.multiply(e[n], (row_sums(ga) / Z[n])[:, None], out=dx_[n])
            d -= ga
        if need_t:
            logp *= (ε - 1) * g[n, None]
            xp.multiply(logp, 1.0 if w is None else w, out=dt_[n])
        return total

    if logp_y is None:
        totals = by_rows(part, xp, N, C)
        for total in totals if need_w else ():
            dw -= total
    else:
        if need_x:
            by_rows(part_of_class_numbers, xp, N, C)
        if need_w:
            scatter_add(dw, y, -g * logp_y)
    if need_w and y is not None and reduction == "mean":
        scatter_add(dw, y, xp.where(kept, -g * loss, 0.0))
    return (*(d if len(shape) < 3 or d is None else xp.moveaxis(d, -1, 1) for d in (dx, dt)), dw)


def _log_p(xp, x, m, Z):
    """Of rows of scores, with their largest and the sum of exponentials."""
    logp = x - m[:, None]
    logp -= xp.log(Z)[:, None]
    return logp


def _smoothed(xp, n, y, t, ε, C, dtype):
    """The rows n of q, of class numbers or distributions."""
    if t is not None:
        return t[n] * (1 - ε) + ε / C
    q = xp.full((len(y[n]), C), ε / C, dtype=dtype)
    q[xp.arange(len(q)), y[n]] += 1 - ε
    return q


def reference(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """The same from primitives."""
    ε = float(label_smoothing)
    _check(logits, target, weight, ignore_index, reduction, ε)
    axis = 1 if logits.ndim > 1 else 0
    C = logits.shape[axis]
    logp = logits - logsumexp(logits, axis=axis, keepdims=True)
    wlogp = logp if weight is None else logp * reshape(weight, (C,) + (1,) * (logits.ndim - 2))

    if is_float(target.dtype):
        ell = -sum(((1 - ε) * target + ε / C) * wlogp, axis=axis)
        W = float(ell.size) or NAN
    else:
        t = array_of(target)
        xp = array_namespace(t)
        kept, y = _class_numbers(xp, t, ignore_index, C)
        kept, y = kept.reshape(t.shape), y.reshape(t.shape)
        ell = -squeeze(take_along_axis(wlogp, xp.expand_dims(y, axis), axis=axis), axis=axis)
        if ε:
            ell = (1 - ε) * ell - ε / C * sum(wlogp, axis=axis)
        ell = where(kept, ell, 0.0)
        W = sum(kept.astype(logits.dtype) if weight is None else where(kept, weight[y], 0.0))
        W = where(W == 0, NAN, W)

    if reduction == "none":
        return ell
    return sum(ell) if reduction == "sum" else sum(ell) / W


cross_entropy = custom_vjp("cross_entropy", forward, backward, reference, in_float32=True)


def _rows(a):
    """(C,), (N, C) or (N, C, d1, ...) -> (1, C), (N, C) or (N·d1·..., C)."""
    if a.ndim < 3:
        return a if a.ndim == 2 else a.reshape(-1, a.shape[-1])
    a = array_namespace(a).moveaxis(a, 1, -1)
    return a.reshape(-1, a.shape[-1])


def _with_classes_last(shape):
    """The shape of scores, as `_rows` reads them."""
    return (*shape[:1], *shape[2:], *shape[1:2])


def _class_numbers(xp, target, ignore_index, C, name="cross_entropy"):
    """Which rows are kept, and their class numbers (0 for the others), both flat."""
    y = target.reshape(-1)
    kept = y != ignore_index
    wrong = kept & ((y < 0) | (y >= C))
    if bool(wrong.any()):
        n = int(xp.argmax(wrong))
        position = tuple(int(i) for i in unravel_index(n, target.shape))
        raise IndexError(
            f"{name}: target {int(y[n])} at position {position} is out of "
            f"range: there are {C} classes, 0 to {C - 1}, and ignore_index is "
            f"{ignore_index}"
        )
    return kept, xp.where(kept, y, 0)


def _check(logits, target, weight, ignore_index, reduction, ε):
    """Raises the error that names what does not fit."""

    def got():
        return f"got logits {logits.shape} {logits.dtype} and target {target.shape} {target.dtype}"

    _check_options("cross_entropy", reduction, ε)
    if not is_float(logits.dtype):
        raise TypeError(f"cross_entropy: logits must be floating; {got()}")
    if logits.ndim == 0 or logits.shape[min(1, logits.ndim - 1)] == 0:
        raise ValueError(
            "cross_entropy: logits must be (C,), (N, C) or (N, C, d1, ...) with at "
            f"least one class; {got()}"
        )
    C = logits.shape[min(1, logits.ndim - 1)]
    if is_float(target.dtype):
        if target.shape != logits.shape:
            raise ValueError(
                "cross_entropy: a floating target holds distributions over the "
                f"classes and has the shape of the logits; {got()}"
            )
        if target.dtype != logits.dtype:
            raise TypeError(f"cross_entropy: distributions need the dtype of the logits; {got()}")
        if ignore_index >= 0:
            raise ValueError(
                f"cross_entropy: ignore_index has no meaning for distributions; got {ignore_index}"
            )
    elif target.dtype.kind not in "iu":
        raise TypeError(
            "cross_entropy: the target must hold class numbers (integers) or "
            f"distributions (floating); {got()}"
        )
    elif target.shape != logits.shape[:1] * (logits.ndim > 1) + logits.shape[2:]:
        raise ValueError(
            "cross_entropy: there must be one class number for each row of scores: "
            "logits (C,), (N, C), (N, C, d1, ...) with target (), (N,), "
            f"(N, d1, ...); {got()}"
        )
    if weight is not None and (weight.shape != (C,) or weight.dtype != logits.dtype):
        raise (ValueError if weight.shape != (C,) else TypeError)(
            f"cross_entropy: weight must be ({C},) {logits.dtype}, one for each class; "
            f"got {weight.shape} {weight.dtype}"
        )


def _check_options(name, reduction, ε):
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum'; got {reduction!r}")
    if not 0 <= ε <= 1:
        raise ValueError(f"{name}: label_smoothing must be from 0 to 1; got {ε}")
