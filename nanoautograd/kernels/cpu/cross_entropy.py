"""Cross entropy of class numbers, without arrays of the targets and of logarithms.

manual/cross_entropy.py makes a dozen arrays as large as the scores. For class numbers the factor
w_c q_nc has a part at the target and a part that is the same in all rows,

    w_c q_nc = k_n [c = y_n] + a_c         k_n = (1 - ε) w_{y_n},   a_c = (ε/C) w_c

and with s_n = k_n + Σ_c a_c and e_nc = exp(x_nc - m_n)

    ℓ_n = k_n (log Z_n - (x_{n y_n} - m_n)) + Σ_c a_c (log Z_n - (x_nc - m_n))
    dx_nc = g_n (s_n e_nc / Z_n - k_n [c = y_n] - a_c)

so e is the one array that is made of x, and dx is made of e, in blocks that threads share. Without
weights and smoothing k and s are 1, and a is 0. Distributions are computed by the lines of manual/,
and so are ε = 1, infinite a_c, and the gradient of the class weights, which hardly anybody needs.
"""

import numpy as np

from ...backends import is_float
from ...backends.sums import row_dots, row_sums
from ...backends.threads import parallel_map, parallel_rows
from ...manual import cross_entropy as manual
from ...manual.cross_entropy import NAN, cross_entropy


def forward(logits, target, weight=None, **options):
    if is_float(target.dtype) or not is_smoothing_finite(weight, options):
        loss, cache = manual.forward(logits, target, weight, **options)
        return loss, (cache,)
    x = logits if logits.ndim < 3 else np.moveaxis(logits, 1, -1)
    shape, C = x.shape, x.shape[-1]
    x, reduction = x.reshape(-1, C), options.get("reduction", "mean")
    y, kept, W, k, a, s = factors(target, weight, C, x.dtype, **options)

    def ell_of(n):
        x_n = x[n]
        z = x_n - x_n.max(axis=1, keepdims=True)
        if kept is not None:
            z[~kept[n]] = 0.0
        at = np.arange(0, z.size, C) + y[n]  # where the targets are
        z_y, az = z.take(at), None if a is None else row_dots(z, a)
        e = np.exp(z, out=z)
        Z = row_sums(e)
        log_Z = np.log(Z)
        ell = log_Z - z_y if k is None else k[n] * (log_Z - z_y)
        if a is not None:
            ell += a.sum() * log_Z - az
        return ell, (n, e, Z, at)

    ells, blocks = zip(*parallel_rows(ell_of, np, len(y), C)) if len(y) else ([x[:, 0]], ())
    ell = ells[0] if len(ells) == 1 else np.concatenate(ells)
    if kept is not None:
        ell = np.where(kept, ell, 0.0)
    loss = ell.reshape(target.shape) if reduction == "none" else ell.sum()
    loss = loss / W if reduction == "mean" else loss
    arguments = None if weight is None else (logits, target, weight, options)
    return loss, (shape, x.dtype, blocks, kept, W, k, a, s, reduction, arguments)


def backward(dL, cache, needs=None):
    if len(cache) == 1:
        return manual.backward(dL, *cache)
    shape, dtype, blocks, kept, W, k, a, s, reduction, arguments = cache
    need_x, _, need_w = needs or (True,) * 3
    dx = dw = None
    if need_x:
        dx = np.empty(shape, dtype=dtype)
        rows = dx.reshape(-1, shape[-1])
        g = dL.reshape(-1) if reduction == "none" else dL / W if reduction == "mean" else dL
        if kept is not None:
            g = np.where(kept, g, 0.0)

        def dx_of(block):
            n, e, Z, at = block
            g_n = g[n] if np.ndim(g) else g
            gk, gs = (g_n, g_n) if k is None else (g_n * k[n], g_n * s[n])
            d = np.multiply(e, (gs / Z)[:, None], out=rows[n])
            d.reshape(-1)[at] -= gk
            if a is not None:
                d -= np.reshape(g_n, (-1, 1)) * a

        parallel_map(dx_of, blocks)
        dx = dx if len(shape) < 3 else np.moveaxis(dx, -1, 1)
    if need_w and arguments is not None:
        *arrays, options = arguments
        _, of_manual = manual.forward(*arrays, **options)
        *_, dw = manual.backward(dL, of_manual)
    return dx, None, dw


cross_entropy.cpu = cross_entropy.form(forward, backward)


def is_smoothing_finite(weight, options):
    """Whether there is no ∞ · 0: all a_c are finite, as x_nc - m_n is 0 at the largest score, and
    1 - ε is not 0, as x_nc - m_n may be -∞ at the target."""
    ε = options.get("label_smoothing", 0.0)
    return ε == 0 or ε < 1 and (weight is None or bool(np.isfinite(weight).all()))


def factors(target, weight, C, dtype, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """Class numbers y (N,), 0 for rows that are ignored; which are not, or None for all; what a
    mean divides by; k, a and s, or None for those that are 1 and 0."""
    y, ε = target.reshape(-1), label_smoothing
    kept = y != ignore_index
    y, W = y.astype(np.intp, copy=False), int(np.count_nonzero(kept))
    if W < len(y):
        y = np.where(kept, y, 0)
    else:
        kept = None
    if weight is None and not ε:
        return y, kept, W or NAN, None, None, None
    w = np.ones(C, dtype) if weight is None else weight
    w_y = w[y] if kept is None else np.where(kept, w[y], 0.0)
    k, a = (1 - float(ε)) * w_y, float(ε) / C * w if ε else None
    return y, kept, w_y.sum() or NAN, k, a, k if a is None else k + a.sum()
