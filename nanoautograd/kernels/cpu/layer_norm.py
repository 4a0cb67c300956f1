"""Layer normalisation in blocks.

manual/layer_norm.py goes through the memory once for each of its lines. Here all lines are computed
for a block of rows, which stays in the cache, before the next one; threads share the blocks. The
cache holds z, μ and r in the place of x̂: one array that was there already. With d = z - μ, x̂ = d r
and e_mi = dy_mi d_mi it is

    dw_i = Σ_m r_m e_mi        Σ_i dx̂_i = Σ_i dy_i w_i        Σ_i dx̂_i x̂_i = r Σ_i e_i w_i
    dx = dz  +  r (w dy  -  1/N Σ_i dx̂_i  -  d r²/N Σ_i e_i w_i)

and the sums along a row are products with w, which the BLAS computes. Rows are divided by s only
where an r tells that squares have left the range of the dtype.
"""

import numpy as np

from ...backends.sums import column_sums, limits, row_dots, row_sums
from ...backends.threads import by_rows
from ...manual.layer_norm import flat, in_range, layer_norm, sizes

FEW = 16  # rows whose numbers are added one after the other


def forward(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    M, N = sizes(x, normalized_shape)
    z = x if residual is None else np.empty(x.shape, x.dtype)
    y, mu, r = np.empty(x.shape, x.dtype), np.empty(M, x.dtype), np.empty(M, x.dtype)
    x_, z_, a, y_ = matrices(M, N, x, z, residual, y)
    w, b, n, ε, s = flat(weight), flat(bias), max(N, 1), float(eps), None

    def part(m):
        """Returns whether these rows are in range."""
        if a is not None:
            np.add(x_[m], a[m], out=z_[m])
        z_m = z_[m]
        mu[m] = mu_m = row_sums(z_m) / n
        y_m = np.subtract(z_m, mu_m[:, None], out=y_[m])
        root = np.sqrt(row_dots(y_m, y_m) / n + (ε if s is None else ε[m, 0]))
        r[m] = r_m = 1 / root
        y_m *= r_m[:, None]  # x̂
        if w is not None:
            y_m *= w
        if b is not None:
            y_m += b
        return fits(root, r_m)

    if not all(by_rows(part, np, M, N)):
        (z_, ε, s), a = in_range(z_, ε), None
        by_rows(part, np, M, N)
    cache = z_, mu, r, s, weight, bias, residual is not None, return_sum
    return (y, z) if return_sum else y, cache


def backward(dy, cache, needs=None):
    z, mu, r, s, weight, bias, is_sum, return_sum = cache
    need_x, need_w, need_b, need_a = needs or (True,) * 4
    need_a, need_w, need_b = (
        need_a and is_sum,
        need_w and weight is not None,
        need_b and bias is not None,
    )
    dy, dz = dy if return_sum else (dy, None)
    M, N = z.shape
    dx = np.empty(dy.shape, z.dtype) if need_x or need_a else None
    dy, dz, dx_ = matrices(M, N, dy, dz, dx)
    w, n, ones = flat(weight), max(N, 1), np.ones(M, z.dtype)

    def part(m):
        """Returns the shares of these rows in dw and db."""
        dy_m, r_m = dy[m], r[m]
        d = np.subtract(z[m], mu[m, None], out=None if dx is None else dx_[m])
        e = dy_m * d
        of_w = shares(r_m, e) if need_w else None
        if dx is not None:
            e_w, dy_w = [row_sums(a) if w is None else row_dots(a, w) for a in (e, dy_m)]
            d *= (e_w * r_m * r_m / n)[:, None]
            d += (dy_w / n)[:, None]
            dxhat = dy_m if w is None else np.multiply(dy_m, w, out=e)
            dx_m = np.subtract(dxhat, d, out=d)
            dx_m *= r_m[:, None]
            if s is not None:
                dx_m /= s[m]
            if dz is not None:
                dx_m += dz[m]
        return of_w, shares(ones[m], dy_m) if need_b else None

    parts = by_rows(part, np, M, N)
    dw = added([of_w for of_w, _ in parts], weight) if need_w else None
    db = added([of_b for _, of_b in parts], bias) if need_b else None
    return dx if need_x else None, dw, db, dx if need_a else None


layer_norm.cpu = layer_norm.form(forward, backward)


def matrices(M, N, *arrays):
    """They as (M, N); None is None."""
    return [None if a is None else a.reshape(M, N) for a in arrays]


def fits(root, r):
    """Whether squares are in range: so are the sums of v + ε and of their reciprocals."""
    return root @ root + r @ r < 1 / limits(r.dtype)[0]


def shares(w, a):
    """Σ_m w_m a_mn over FEW rows at a time: (M,), (M, N) -> (k, N)."""
    k, N = len(a) // FEW, a.shape[1]
    m = k * FEW
    s = (w[:m].reshape(k, 1, FEW) @ a[:m].reshape(k, FEW, N))[:, 0]
    return s if m == len(a) else np.concatenate([s, w[None, m:] @ a[m:]])


def added(shares, parameter):
    """The sum of what `shares` gave for blocks of rows, like the parameter."""
    if not shares:
        return np.zeros(parameter.shape, parameter.dtype)
    s = np.concatenate(shares) if len(shares) > 1 else shares[0]
    return column_sums(s).reshape(parameter.shape)
