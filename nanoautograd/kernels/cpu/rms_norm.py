"""Root mean square normalisation in blocks, as in layer_norm.py.

The cache holds z, r and q = N (v + ε) in the place of x̂ = z r. With e_mi = dy_mi z_mi it is

    dw_i = Σ_m r_m e_mi        Σ_i dx̂_i x̂_i = r Σ_i e_i w_i
    dx = dz  +  r (w dy  -  z/q Σ_i e_i w_i)
"""

from math import sqrt

import numpy as np

from ...backends.sums import are_finite, row_dots, row_sums, total
from ...backends.threads import parallel_rows
from ...manual import rms_norm as manual
from ...manual.layer_norm import sizes
from ...manual.rms_norm import epsilon, rms_norm
from .layer_norm import SHARED, column_dots, fits, matrices, repeated, with_columns


def forward(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    M, N = sizes(x, normalized_shape)
    z = x if residual is None else np.empty(x.shape, x.dtype)
    y, r, q = np.empty(x.shape, x.dtype), np.empty(M, x.dtype), np.empty(M, x.dtype)
    x_, z_, a, y_ = matrices(M, N, x, z, residual, y)
    w, n, ε = repeated(weight, M), max(N, 1), epsilon(x, eps)

    def y_of(m):
        """Returns whether these rows are in range."""
        if a is not None:
            np.add(x_[m], a[m], out=z_[m])
        z_m = z_[m]
        q[m] = q_m = row_dots(z_m, z_m) + n * ε
        root = np.sqrt(q_m)
        r[m] = r_m = sqrt(n) / root
        y_m = np.multiply(z_m, r_m[:, None], out=y_[m])  # x̂
        if w is not None:
            with_columns(np.multiply, y_m, w, y_m)
        return fits(root, r_m)

    options = {"normalized_shape": normalized_shape, "eps": eps, "return_sum": return_sum}
    if not all(parallel_rows(y_of, np, M, N, SHARED)) and N:
        out, cache = manual.forward(x, weight, residual, **options)
        return out, (cache,)
    cache = z_, r, q, weight, residual is not None, options
    return (y, z) if return_sum else y, cache


def backward(dy, cache, needs=None):
    if len(cache) == 1:
        return manual.backward(dy, *cache)
    z, r, q, weight, is_sum, options = cache
    need_x, need_w, need_a = needs or (True,) * 3
    need_w, need_a = need_w and weight is not None, need_a and is_sum
    dout, (dy, dz) = dy, dy if options["return_sum"] else (dy, None)
    M, N = z.shape
    dx = np.empty(dy.shape, z.dtype) if need_x or need_a else None
    shape, (dy, dz, dx_) = dy.shape, matrices(M, N, dy, dz, dx)
    w = repeated(weight, M)

    def dx_of(m):
        """Returns what these rows add to dw, and whether their sums of e are finite."""
        dy_m, z_m, r_m = dy[m], z[m], r[m]
        e = dy_m * z_m
        of_w = column_dots(r_m, e) if need_w else None
        if dx is not None:
            e_w = row_sums(e) if w is None else row_dots(e, w[:N])
            dxhat = dy_m if w is None else with_columns(np.multiply, dy_m, w, dx_[m])
            np.multiply(z_m, (e_w / q[m])[:, None], out=e)
            dx_m = np.subtract(dxhat, e, out=dx_[m])
            dx_m *= r_m[:, None]
            if dz is not None:
                dx_m += dz[m]
        sums = of_w if dx is None else e_w
        return of_w, sums is None or are_finite(sums)

    terms = parallel_rows(dx_of, np, M, N, SHARED) or [(np.zeros(N, z.dtype), True)]
    of_ws, finite = zip(*terms)
    if not all(finite):
        _, of_manual = manual.forward(z.reshape(shape), weight, **options)
        return manual.backward(dout, of_manual)
    dw = total(of_ws).reshape(weight.shape) if need_w else None
    return dx if need_x else None, dw, dx if need_a else None


rms_norm.cpu = rms_norm.form(forward, backward)
