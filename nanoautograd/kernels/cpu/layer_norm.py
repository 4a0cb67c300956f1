"""Layer normalisation in blocks.

manual/layer_norm.py goes through the memory once for each of its lines. Here all lines are computed
for a block of rows, which stays in the cache, before the next one; threads share the blocks. The
cache holds z, μ, r and q = N (v + ε) in the place of x̂: one array that was there already. With
d = z - μ, x̂ = d r and e_mi = dy_mi d_mi it is

    dw_i = Σ_m r_m e_mi        Σ_i dx̂_i = Σ_i dy_i w_i        Σ_i dx̂_i x̂_i = r Σ_i e_i w_i
    dx = dz  +  r (w dy  -  1/N Σ_i dx̂_i  -  d/q Σ_i e_i w_i)

and the sums along a row are products with w, which the BLAS computes. No row is divided by s. Where
the squares of one have left the range of the dtype, as q shows, or a sum of e is not finite, all is
computed again by the lines of manual/.
"""

from math import sqrt

import numpy as np

from ...backends.sums import ROWS, are_finite, column_sums, limits, row_dots, row_sums, total
from ...backends.threads import parallel_rows
from ...manual import layer_norm as manual
from ...manual.layer_norm import flat, layer_norm, sizes

FEW = 16  # rows whose numbers are added one after the other
WIDE = 8192  # numbers of a row from which on NumPy loses no time between rows
LARGE = 1 << 15
SHARED = 1 << 20  # numbers from which on threads gain: the lines of a block are short


def forward(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    M, N = sizes(x, normalized_shape)
    z = x if residual is None else np.empty(x.shape, x.dtype)
    y, dtype = np.empty(x.shape, x.dtype), x.dtype
    mu, r, q = np.empty(M, dtype), np.empty(M, dtype), np.empty(M, dtype)
    x_, z_, a, y_ = matrices(M, N, x, z, residual, y)
    w, b, n, ε = repeated(weight, M), repeated(bias, M), max(N, 1), float(eps)

    def y_of(m):
        """Returns whether these rows are in range."""
        if a is not None:
            np.add(x_[m], a[m], out=z_[m])
        z_m, y_m = z_[m], y_[m]
        mu[m] = mu_m = row_sums(z_m) / n
        np.subtract(z_m, mu_m[:, None], out=y_m)
        q[m] = q_m = row_dots(y_m, y_m) + n * ε
        root = np.sqrt(q_m)
        r[m] = r_m = sqrt(n) / root
        y_m *= r_m[:, None]  # x̂
        if w is not None:
            with_columns(np.multiply, y_m, w, y_m)
        if b is not None:
            with_columns(np.add, y_m, b, y_m)
        return fits(root, r_m)

    options = {"normalized_shape": normalized_shape, "eps": eps, "return_sum": return_sum}
    if not all(parallel_rows(y_of, np, M, N, SHARED)) and N:
        out, cache = manual.forward(x, weight, bias, residual, **options)
        return out, (cache,)
    cache = z_, mu, r, q, weight, bias, residual is not None, options
    return (y, z) if return_sum else y, cache


def backward(dy, cache, needs=None):
    if len(cache) == 1:
        return manual.backward(dy, *cache)
    z, mu, r, q, weight, bias, is_sum, options = cache
    need_x, need_w, need_b, need_a = needs or (True,) * 4
    need_w, need_b = need_w and weight is not None, need_b and bias is not None
    need_a = need_a and is_sum
    dout, (dy, dz) = dy, dy if options["return_sum"] else (dy, None)
    M, N = z.shape
    dx = np.empty(dy.shape, z.dtype) if need_x or need_a else None
    shape, (dy, dz, dx_) = dy.shape, matrices(M, N, dy, dz, dx)
    w, n, ones = repeated(weight, M), max(N, 1), np.ones(M, z.dtype)

    def dx_of(m):
        """Returns what these rows add to dw and db, and whether their sums of e are finite."""
        dy_m, r_m = dy[m], r[m]
        d = np.subtract(z[m], mu[m, None], out=None if dx is None else dx_[m])
        e = dy_m * d
        of_w = column_dots(r_m, e) if need_w else None
        if dx is not None:
            e_w, dy_w = [row_sums(a) if w is None else row_dots(a, w[:N]) for a in (e, dy_m)]
            d *= (e_w / q[m])[:, None]
            d += (dy_w / n)[:, None]
            dxhat = dy_m if w is None else with_columns(np.multiply, dy_m, w, e)
            dx_m = np.subtract(dxhat, d, out=d)
            dx_m *= r_m[:, None]
            if dz is not None:
                dx_m += dz[m]
        sums = of_w if dx is None else e_w
        finite = sums is None or are_finite(sums)
        return of_w, column_dots(ones[m], dy_m) if need_b else None, finite

    terms = parallel_rows(dx_of, np, M, N, SHARED) or [(np.zeros(N, z.dtype),) * 2 + (True,)]
    of_ws, of_bs, finite = zip(*terms)
    if not all(finite):
        _, of_manual = manual.forward(z.reshape(shape), weight, bias, **options)
        return manual.backward(dout, of_manual)
    dw = total(of_ws).reshape(weight.shape) if need_w else None
    db = total(of_bs).reshape(bias.shape) if need_b else None
    return dx if need_x else None, dw, db, dx if need_a else None


layer_norm.cpu = layer_norm.form(forward, backward)


def matrices(M, N, *arrays):
    """They as (M, N); None is None."""
    return [None if a is None else a.reshape(M, N) for a in arrays]


def repeated(w, M):
    """(N,), or for many numbers as often as makes a row that is WIDE; None is None."""
    if w is None or M * w.size < LARGE:
        return flat(w)
    times = 1
    while times * w.size < WIDE:
        times *= 2
    return np.tile(flat(w), times)


def with_columns(f, a, w, out):
    """f(a, w) for a (M, N) and what `repeated` gave."""
    N = a.shape[1]
    if w.size == N or a.size % w.size:
        return f(a, w[:N], out=out)
    f(a.reshape(-1, w.size), w, out=out.reshape(-1, w.size))
    return out


def fits(root, r):
    """Whether sums of squares are in range: so are the sums of all and of their reciprocals."""
    return root.dot(root) + r.dot(r) < 1 / limits(r.dtype)[0]


def column_dots(w, a):
    """Σ_m w_m a_mn of few rows at a time: (M,), (M, N) -> (N,)."""
    M, N = a.shape
    if M <= 8 * ROWS:
        y = w[: 2 * ROWS].dot(a[: 2 * ROWS])
        for i in range(2 * ROWS, M, 2 * ROWS):
            y += w[i : i + 2 * ROWS].dot(a[i : i + 2 * ROWS])
        return y
    k = M // FEW
    m = k * FEW
    s = (w[:m].reshape(k, 1, FEW) @ a[:m].reshape(k, FEW, N))[:, 0]
    y = s.sum(0) if k <= FEW else column_sums(s)
    return y if m == M else y + w[m:] @ a[m:]
