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
    p    (N, V)   softmax of the rows of z
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

The factor w_v q_nv has a part at the target and a part that is the same in all rows,

    w_v q_nv = c_n [v = y_n] + a_v         c_n = (1 - ε) w_{y_n},   a_v = (ε/V) w_v

so no array (N, V) is needed for it:

    ℓ_n = - c_n log p_{n y_n} - Σ_v a_v (z_nv - m_n) + (Σ_v a_v) log Z_n

Backward. With g_n = dL_n ("none"), dL ("sum") or dL/S ("mean"), 0 if the row is ignored, the
gradient of the scores is that of cross_entropy.py,

    δ_nv = g_n (s_n p_nv - w_v q_nv)       s_n = Σ_v w_v q_nv = c_n + Σ_v a_v
         = g_n (s_n p_nv - c_n [v = y_n] - a_v)

It goes through the linear map as in linear.py:

    dh_nd = Σ_v δ_nv W_vd                  dH = δ W
    dW_vd = Σ_n δ_nv h_nd                  dW = δᵀ H
    db_v  = Σ_n δ_nv                       db = δᵀ 1

Row n of dH needs row n of δ and no other. dW and db are sums over n, so over chunks. The class
weights act on ℓ, through q, and on S, as in cross_entropy.py:

    dw_k = - Σ_n g_n q_nk log p_nk  -  [mean]  dL/S · L · #{n not ignored: y_n = k}

where the first sum is taken apart in the same way:

    Σ_n g_n q_nk log p_nk = (1 - ε) Σ_{n: y_n = k} g_n log p_nk
                            + (ε/V) (Σ_n g_n (z_nk - m_n) - Σ_n g_n log Z_n)

When the gradients are computed. There are three products, for z, dH and dW. If the scores were
computed again in the backward pass, there would be a fourth. With "sum" and "mean" this is not
necessary: dL is one number, and a factor of every gradient. So `forward` is told which gradients
will be needed and computes them for dL = 1, while the scores of the chunk are there; `backward`
multiplies them by dL. With "none" there is a dL_n for each row, which only `backward` knows, so it
computes the scores again.

(The sum over chunks, with the gradients in the forward pass: Hsu et al. 2024, "Liger Kernel:
efficient Triton kernels for LLM training", section 3. Without an array of the scores, made again in
the backward pass: Wijmans et al. 2024, "Cut your losses in large-vocabulary language models".)
"""

from functools import partial
from math import prod

import numpy

from ..array_interface import array_of
from ..backends import array_namespace, is_float, products, scatter_add
from ..backends.sums import column_sums, row_dots, row_sums, sum_dtype, total
from ..backends.threads import ALIGN, by_rows, matmul, parts, share
from ..custom_vjp import custom_vjp
from ..ops import reshape
from . import cross_entropy, linear
from .cross_entropy import NAN, _check_options, _class_numbers

NAME = "linear_cross_entropy"
CHUNK = 1 << 25  # scores that exist at a time: 128 MiB in float32
CLASSES = 1024  # of which dW is computed at a time
LETTERS = "h", "W", "y", "b", "w"  # of the arguments
NONE, ALL = (False,) * 5, (True,) * 5


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
    gradients=NONE,
):
    """hidden (..., D), weight (V, D), target (...) of integers -> loss, and the cache.

    The loss has the shape of the target with reduction "none", and no axes otherwise. gradients:
    for each array whether `backward` will be asked for its gradient.
    """
    ε, mean = float(label_smoothing), reduction == "mean"
    arrays = dict(zip(LETTERS, (hidden, weight, None, bias, class_weight)))
    _check(hidden, weight, target, bias, class_weight, reduction, ε)
    xp, A = array_namespace(hidden, weight, target, bias, class_weight), sum_dtype(hidden)
    kept, y = _class_numbers(xp, target, ignore_index, len(weight), NAME)
    w = xp.ones(len(weight), dtype=A) if class_weight is None else class_weight.astype(A)
    compute = partial(_by_chunks, arrays, kept=kept, y=y, w=w, ε=ε, mean=mean)
    return _forward(compute, arrays, kept, kept * w[y], target.shape, reduction, gradients)


def _forward(compute, arrays, kept, w_y, shape, reduction, gradients):
    """The loss and the cache. compute: (g, wanted) -> ℓ, gradients. w_y: 0 where not kept."""
    xp, each = array_namespace(kept), reduction == "none"
    S = w_y.sum()
    S = xp.where(S == 0, NAN, S)
    g = xp.where(kept, 1 / S, 0.0) if reduction == "mean" else kept.astype(w_y.dtype)  # if dL = 1
    ell, ds = compute(g, () if each else _wanted(arrays, gradients))
    if each:
        loss = ell.reshape(shape)
    else:
        loss = ell.sum() if reduction == "sum" else ell.sum() / S
    return loss.astype(arrays["h"].dtype), (compute, arrays, kept, g, ds, each)


def backward(dL, cache, needs=None):
    """dL like the loss -> dhidden, dweight, None, dbias, dclass_weight (None if not given).

    What `forward` has computed is given away, so that nothing is copied: it leaves the cache, and
    another call, where a graph is walked twice, computes it again.
    """
    compute, arrays, kept, g, ready, each = cache
    wanted, dL = _wanted(arrays, needs or ALL), dL.astype(g.dtype)
    if each:
        g, dL = array_namespace(g).where(kept, dL.reshape(-1), 0.0), 1
    if not each and ready.keys() >= set(wanted):
        ds = {x: ready.pop(x) for x in wanted}
    else:
        _, ds = compute(g, wanted)
    for d in ds.values():
        d *= dL
    return tuple(
        [ds[x].astype(a.dtype, copy=False) if x in ds else None for x, a in arrays.items()]
    )


def _by_chunks(arrays, g, wanted, kept, y, w, ε, mean):
    """ℓ (N,), and the gradients {letter: array} that are wanted, where g (N,) arrives at ℓ."""
    xp, A, N, (V, D) = array_namespace(g), g.dtype, len(y), arrays["W"].shape
    h, W, b = (arrays[x] if arrays[x] is None else arrays[x].astype(A, copy=False) for x in "hWb")
    h, W = products.operands(h.reshape(N, D), W)
    c, a = (1 - ε) * w[y], ε / V * w  # (N,), (V,)
    s = c + a.sum()
    z_y, log_Z, az = (xp.zeros(N, dtype=A) for _ in range(3))
    ds, gz = {x: xp.zeros(arrays[x].shape, dtype=A) for x in wanted}, []

    def part(z, n, m):
        """The rows m of a chunk n with the scores z, from which m_n is taken away first. δ takes
        their place. Returns Σ_n g_n z_n."""
        z, n = z[m], slice(n.start + m.start, n.start + m.stop)
        at = xp.arange(len(z)), y[n]
        if b is not None:
            z += b
        z -= z.max(axis=1)[:, None]
        z_y[n] = z[at]
        if ε:
            az[n] = row_dots(z, a)
        gz = column_sums(g[n, None] * z) if ε and "w" in wanted else None
        Z = row_sums(xp.exp(z, out=z))
        log_Z[n] = xp.log(Z)
        if wanted:
            _to_delta(z, Z, at, g[n], c[n], s[n], a if ε else None)
        return gz

    for n, z in _chunks(h, W, A):
        gz += by_rows(partial(part, z, n), xp, len(z), V)
        _add_linear(ds, n, z, h[n], W)
    log_p_y = xp.where(kept, z_y - log_Z, 0.0)
    ell = xp.where(kept, a.sum() * log_Z - az - c * log_p_y, 0.0)
    if "w" in wanted:
        _add_class_weight(ds["w"], g, y, ε, log_p_y, log_Z, gz, g @ ell if mean else None)
    return ell, ds


def _chunks(h, W, A):
    """For each chunk its rows, a slice, and their scores h Wᵀ, in the same memory for all."""
    N, V = len(h), len(W)
    M = max(1, CHUNK // V)  # rows
    M = M // ALIGN * ALIGN or M
    z = array_namespace(h).empty((min(M, N), V), dtype=A)
    for i in range(0, N, M):
        n = slice(i, min(i + M, N))
        yield n, matmul(h[n], W.T, out=z[: n.stop - i])


def _to_delta(e, Z, at, g, c, s, a):
    """δ of a few rows, in the place of e = exp(z - m). at: where the targets are."""
    e *= (g * s / Z)[:, None]
    e[at] -= g * c
    if a is not None:
        e -= g[:, None] * a


def _add_linear(ds, n, δ, h, W):
    """Adds to dh, dW and db what the rows n, with these δ, give. The classes are shared among the
    threads."""
    xp, A, (V, D) = array_namespace(δ), δ.dtype, W.shape
    δ_ = δ.astype(W.dtype, copy=False)  # rounded, as W was

    def product(a, b):
        return products.matmul(a, b, out=xp.empty((len(a), D), dtype=A))

    def classes(v):
        if "W" in ds:
            ds["W"][v] += product(δ_[:, v].T, h)
        if "b" in ds:
            ds["b"][v] += column_sums(δ[:, v])

    step = CLASSES if xp is numpy else V
    share(classes, [slice(v, v + step) for v in range(0, V, step)])
    if "h" in ds:
        several = share(lambda v: product(δ_[:, v], W[v]), parts(xp, V, δ.size * D))
        ds["h"].reshape(prod(ds["h"].shape[:-1]), D)[n] = total(several)


def _add_class_weight(dw, g, y, ε, log_p_y, log_Z, gz, L):
    """Adds the gradient of the class weights. L: the loss, if it is a mean."""
    scatter_add(dw, y, (ε - 1) * g * log_p_y)
    if ε and gz:
        dw -= ε / len(dw) * (total(gz) - g @ log_Z)
    if L is not None:
        scatter_add(dw, y, -g * L)


def _wanted(arrays, needs):
    """The letters of the arrays of which gradients are needed."""
    return [x for (x, a), need in zip(arrays.items(), needs) if need and a is not None]


def reference(
    hidden,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    gradients=NONE,
):
    """The same from primitives, with all scores at once."""
    _check(hidden, weight, target, bias, class_weight, reduction, float(label_smoothing))
    y, (V, D) = array_of(target), weight.shape
    _class_numbers(array_namespace(y), y, ignore_index, V, NAME)
    loss = cross_entropy.reference(
        linear.reference(reshape(hidden, (y.size, D)), weight, bias),
        y.reshape(-1),
        class_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return reshape(loss, y.shape) if reduction == "none" else loss


linear_cross_entropy = custom_vjp(
    "linear_cross_entropy", forward, backward, reference, in_float32=True
)


def _check(hidden, weight, target, bias, class_weight, reduction, ε):
    """Raises the error that names what does not fit."""
    _check_options(NAME, reduction, ε)
    got = ", ".join(
        f"{name} {a.shape} {a.dtype}"
        for name, a in zip(("hidden", "weight", "target"), (hidden, weight, target))
    )
    if not is_float(hidden.dtype):
        raise TypeError(f"{NAME}: hidden must be floating; got {got}")
    if weight.ndim != 2 or hidden.ndim == 0 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{NAME}: hidden must be (..., D) and weight (V, D), a row for each class; got {got}"
        )
    if len(weight) == 0:
        raise ValueError(f"{NAME}: weight must have a row for at least one class; got {got}")
    if target.dtype.kind not in "iu":
        raise TypeError(
            f"{NAME}: the target must hold class numbers (integers); for distributions use "
            f"cross_entropy(linear(hidden, weight, bias), target); got {got}"
        )
    if target.shape != hidden.shape[:-1]:
        raise ValueError(
            f"{NAME}: there must be one class number for each hidden state: hidden (..., D) with "
            f"target (...); got {got}"
        )
    V, dtype = weight.shape[0], hidden.dtype
    if weight.dtype != dtype:
        raise TypeError(f"{NAME}: weight must have the dtype of hidden; got {got}")
    for name, a in ("bias", bias), ("class_weight", class_weight):
        if a is not None and (a.shape != (V,) or a.dtype != dtype):
            raise (ValueError if a.shape != (V,) else TypeError)(
                f"{NAME}: {name} must be ({V},) {dtype}, one number for each class; "
                f"got {a.shape} {a.dtype}"
            )
