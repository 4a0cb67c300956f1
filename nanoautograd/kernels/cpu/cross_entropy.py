"""Cross entropy of class numbers, without arrays of the targets and of logarithms.

manual/cross_entropy.py makes a dozen arrays as large as the scores. For class numbers the factor
w_c q_nc has a part at the target and a part that is the same in all rows,

    w_c q_nc = k_n [c = y_n] + a_c         k_n = (1 - ε) w_{y_n},   a_c = (ε/C) w_c

and with s_n = k_n + Σ_c a_c and e_nc = exp(x_nc - m_n)

    ℓ_n = s_n log Z_n - k_n (x_{n y_n} - m_n) - Σ_c a_c (x_nc - m_n)
    dx_nc = g_n (s_n e_nc / Z_n - k_n [c = y_n] - a_c)

so e is the one array that is made of x, and dx is made of e, in blocks that threads share. Without
weights and smoothing k and s are 1 and a is 0. Distributions are computed by the lines of manual/,
and so is the gradient of the class weights, which hardly anybody needs.
"""

import numpy as np

from ...backends import is_float
from ...backends.sums import row_dots, row_sums
from ...backends.threads import by_rows
from ...manual import cross_entropy as manual
from ...manual.cross_entropy import NAN, cross_entropy


def forward(logits, target, weight=None, **options):
    if is_float(target.dtype):
        loss, cache = manual.forward(logits, target, weight, **options)
        return loss, (cache,)
    x = logits if logits.ndim < 3 else np.moveaxis(logits, 1, -1)
    shape, C = x.shape, x.shape[-1]
    x, reduction = x.reshape(-1, C), options.get("reduction", "mean")
    y, kept, W, k, a, s = factors(target, weight, C, x.dtype, **options)
    N = len(y)
    at = np.arange(0, N * C, C) + y  # where the targets are in x
    e = np.empty((N, C), dtype=x.dtype)
    z_y, az, Z = np.empty((3, N), dtype=x.dtype)

    def block(n):
        z = np.subtract(x[n], x[n].max(axis=1)[:, None], out=e[n])
        if kept is not None:
            z[~kept[n]] = 0.0
        z_y[n] = e.reshape(-1)[at[n]]
        if a is not None:
            az[n] = row_dots(z, a)
        Z[n] = row_sums(np.exp(z, out=z))

    by_rows(block, np, N, C)
    ell = s * np.log(Z) - k * z_y
    if a is not None:
        ell -= az
    if kept is not None:
        ell = np.where(kept, ell, 0.0)
    loss = ell.reshape(target.shape) if reduction == "none" else ell.sum()
    loss = loss / W if reduction == "mean" else loss
    arguments = None if weight is None else (logits, target, weight, options)
    return loss, (shape, e, Z, at, kept, W, k, a, s, reduction, arguments)


def backward(dL, cache, needs=None):
    if len(cache) == 1:
        return manual.backward(dL, *cache, needs)
    shape, e, Z, at, kept, W, k, a, s, reduction, arguments = cache
    need_x, _, need_w = needs or (True,) * 3
    dx = dw = None
    if need_x:
        dx = np.empty(shape, dtype=e.dtype)
        d = dx.reshape(e.shape)
        g = dL.reshape(-1) if reduction == "none" else dL / W if reduction == "mean" else dL
        if kept is not None:
            g = np.where(kept, g, 0.0)
        p_factor = g * s / Z

        def block(n):
            np.multiply(e[n], p_factor[n, None], out=d[n])
            if a is not None:
                d[n] -= (g[n, None] if np.ndim(g) else g) * a

        by_rows(block, np, *e.shape)
        d.reshape(-1)[at] -= g * k
        dx = dx if len(shape) < 3 else np.moveaxis(dx, -1, 1)
    if need_w and arguments is not None:
        *arrays, options = arguments
        _, of_manual = manual.forward(*arrays, **options)
        *_, dw = manual.backward(dL, of_manual, (False, False, True))
    return dx, None, dw


cross_entropy.cpu = cross_entropy.form(forward, backward)


def factors(target, weight, C, dtype, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """Class numbers y (N,), 0 for rows that are ignored; which are not, or None for all; what a
    mean divides by; k, a and s."""
    y, ε = target.reshape(-1), float(label_smoothing)
    kept = y != ignore_index
    y, W = y.astype(np.intp, copy=False), np.count_nonzero(kept)
    if W < len(y):
        y = np.where(kept, y, 0)
    else:
        kept = None
    if weight is None and not ε:
        return y, kept, W or NAN, 1.0, None, 1.0
    w = np.ones(C, dtype) if weight is None else weight
    w_y = w[y] if kept is None else np.where(kept, w[y], 0.0)
    k, a = (1 - ε) * w_y, ε / C * w if ε else None
    return y, kept, w_y.sum() or NAN, k, a, k if a is None else k + a.sum()
