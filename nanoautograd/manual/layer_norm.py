"""Layer normalisation, by hand.

    x    (M, N)   M rows of N features; in an input (..., n1, ..., nk) the rows are the last k axes,
                  `normalized_shape`, and M is the product of the others
    w    (N,)     gain ("weight"), 1 if not given
    b    (N,)     bias, 0 if not given
    ε             a small number, so that a row of equal numbers divides by no zero
    μ    (M, 1)   means of the rows
    r    (M, 1)   reciprocals of their standard deviations
    x̂    (M, N)   the rows with mean 0 and variance 1
    y    (M, N)   output
    dy, dx̂, dx, dw, db   ∂L/∂y, ∂L/∂x̂, ∂L/∂x, ∂L/∂w, ∂L/∂b

Forward, for one row (Ba, Kiros and Hinton 2016, "Layer normalization", equations 3 and 4; ε under
the root, as in PyTorch):

    μ = 1/N Σ_i x_i
    r = (v + ε)^(-1/2)           v = 1/N Σ_i (x_i - μ)²
    x̂_i = (x_i - μ) r
    y_i = w_i x̂_i + b_i

The variance is computed from x - μ and not as the mean of x² less μ², which loses all its digits
where the mean is large beside the deviations.

Backward. A row meets the gain and bias elementwise, and every row meets the same:

    dx̂_mi = w_i dy_mi            dw_i = Σ_m dy_mi x̂_mi            db_i = Σ_m dy_mi

x_k reaches x̂_i in three ways: directly, through μ and through r. With ∂μ/∂x_k = 1/N,

    ∂v/∂x_k = 2/N Σ_j (x_j - μ) ([j = k] - 1/N) = 2/N (x_k - μ)        since Σ_j (x_j - μ) = 0
    ∂r/∂x_k = -1/2 (v + ε)^(-3/2) ∂v/∂x_k = - r³ (x_k - μ)/N = - r² x̂_k/N

    ∂x̂_i/∂x_k = r ([i = k] - 1/N) + (x_i - μ) ∂r/∂x_k  =  r ([i = k] - 1/N - x̂_i x̂_k/N)

    dx_k = Σ_i dx̂_i ∂x̂_i/∂x_k  =  r (dx̂_k  -  1/N Σ_i dx̂_i  -  x̂_k 1/N Σ_i dx̂_i x̂_i)

In words: what arrives, less its mean, less its component along x̂. These are the two directions in
which a row can move without a change of the output: a shift of all its numbers and (but for ε) a
stretch.

The code goes through a block of rows after the other. It keeps x, μ and r, not x̂. With d = x - μ,
x̂ = d r and e_mi = dy_mi d_mi this is

    dw_i = Σ_m r_m e_mi        Σ_i dx̂_i = Σ_i dy_i w_i        Σ_i dx̂_i x̂_i = r Σ_i e_i w_i
    dx = r (w dy  -  1/N Σ_i dx̂_i  -  d r²/N Σ_i e_i w_i)
"""

from math import prod

from ..backends import namespace
from ..backends.sums import column_sums, row_dots, row_sums, total
from ..backends.threads import by_rows
from ..ops import reshape, sqrt, sum
from ..tensor import is_float


def forward(x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    """x (..., *normalized_shape), weight and bias of that shape or None -> y like x; the cache."""
    M, N = rows("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    xp = namespace(x, weight, bias)
    x_, y = x.reshape(M, N), xp.empty(x.shape, dtype=x.dtype)
    w, b, y_ = flat(weight), flat(bias), y.reshape(M, N)
    mu, r = (xp.empty((M, 1), dtype=x.dtype) for _ in range(2))

    def part(m):
        mu_m, r_m = mu[m], r[m]
        mu_m[:, 0] = row_sums(x_[m]) / max(N, 1)
        d = xp.subtract(x_[m], mu_m, out=y_[m])
        r_m[:, 0] = 1 / xp.sqrt(row_dots(d, d) / max(N, 1) + float(eps))
        d *= r_m
        if w is not None:
            d *= w
        if b is not None:
            d += b

    by_rows(part, xp, M, N)
    return y, (x_, mu, r, weight, bias, x.shape)


def backward(dy, cache, needs=None):
    """dy like y -> dx, dweight, dbias (None for those that were not given)."""
    x, mu, r, weight, bias, shape = cache
    need_x, need_w, need_b = needs or (True,) * 3
    need_w, need_b = need_w and weight is not None, need_b and bias is not None
    xp = namespace(x)
    M, N = x.shape
    dy, w = dy.reshape(M, N), flat(weight)
    dx = dw = db = None
    if need_x:
        dx = xp.empty(shape, dtype=x.dtype)
        dx_ = dx.reshape(M, N)

    def part(m):
        """Returns the shares of these rows in dw and db."""
        g, d = dy[m], x[m] - mu[m]
        e = g * d
        if need_x:
            weighted_sums = row_sums if w is None else lambda a: a @ w
            d *= (weighted_sums(e) * r[m, 0] ** 2 / max(N, 1))[:, None]
            d += (weighted_sums(g) / max(N, 1))[:, None]
            dxhat = xp.multiply(g, 1.0 if w is None else w, out=dx_[m])
            dxhat -= d
            dxhat *= r[m]
        return r[m, 0] @ e if need_w else None, column_sums(g) if need_b else None

    sums = by_rows(part, xp, M, N) or [(xp.zeros(N, dtype=x.dtype),) * 2]
    if need_w:
        dw = total([a for a, _ in sums]).reshape(weight.shape)
    if need_b:
        db = total([b for _, b in sums]).reshape(bias.shape)
    return dx, dw, db


def composed(x, weight=None, bias=None, *, normalized_shape, eps=1e-5):
    """The same from primitives."""
    M, N = rows("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    d = reshape(x, (M, N))
    d = d - sum(d, axis=1, keepdims=True) / max(N, 1)
    y = d / sqrt(sum(d * d, axis=1, keepdims=True) / max(N, 1) + float(eps))
    y = y if weight is None else y * reshape(weight, (N,))
    y = y if bias is None else y + reshape(bias, (N,))
    return reshape(y, x.shape)


def flat(parameter):
    """(N,), or None."""
    return None if parameter is None else parameter.reshape(-1)


def rows(name, x, normalized_shape, **parameters):
    """(M, N): how many rows of how many features. Raises the error that names what does not fit."""
    shape = tuple(normalized_shape)

    def got():
        return f"got input {x.shape} {x.dtype} and normalized_shape {shape}"

    if not shape or x.shape[-len(shape):] != shape:
        raise ValueError(f"{name}: normalized_shape must be the last axes of the input, one or "
                         f"more; {got()}")
    if not is_float(x.dtype):
        raise TypeError(f"{name}: the input must be floating; {got()}")
    for what, a in parameters.items():
        if a is not None and a.shape != shape:
            raise ValueError(f"{name}: {what} must have the normalized_shape; {got()} and {what} "
                             f"{a.shape}")
        if a is not None and a.dtype != x.dtype:
            raise TypeError(f"{name}: {what} must have the dtype of the input; {got()} and {what} "
                            f"{a.dtype}")
    return prod(x.shape[:-len(shape)]), prod(shape)
