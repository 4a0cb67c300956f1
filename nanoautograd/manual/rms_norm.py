"""Root mean square normalisation, by hand.

    x    (M, N)   M rows of N features, made of an input as in layer_norm.py
    w    (N,)     gain ("weight"), 1 if not given
    ε             a small number, so that a row of zeros divides by no zero
    r    (M, 1)   reciprocals of the rows' root mean squares
    x̂    (M, N)   the rows with mean square 1
    y    (M, N)   output
    dy, dx̂, dx, dw   ∂L/∂y, ∂L/∂x̂, ∂L/∂x, ∂L/∂w

Forward, for one row (Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4;
ε under the root, as in PyTorch, and by default the distance from 1 to the next number of the
dtype):

    r = (v + ε)^(-1/2)           v = 1/N Σ_i x_i²
    x̂_i = x_i r
    y_i = w_i x̂_i

It is layer normalisation without the means: the row is stretched, but not shifted.

Backward. A row meets the gain elementwise, and every row meets the same:

    dx̂_mi = w_i dy_mi            dw_i = Σ_m dy_mi x̂_mi

x_k reaches x̂_i directly and through r. With ∂v/∂x_k = 2 x_k/N

    ∂r/∂x_k = -1/2 (v + ε)^(-3/2) 2 x_k/N = - r³ x_k/N = - r² x̂_k/N

    ∂x̂_i/∂x_k = r [i = k] + x_i ∂r/∂x_k  =  r ([i = k] - x̂_i x̂_k/N)

    dx_k = Σ_i dx̂_i ∂x̂_i/∂x_k  =  r (dx̂_k - x̂_k 1/N Σ_i dx̂_i x̂_i)

The code goes through a block of rows after the other. It keeps x and r and not x̂ = x r. With
e_mi = dy_mi x_mi this is

    dw_i = Σ_m r_m e_mi        Σ_i dx̂_i x̂_i = r Σ_i e_i w_i
    dx = r (w dy  -  x r²/N Σ_i e_i w_i)
"""

from ..backends import namespace
from ..backends.sums import row_dots, row_sums, total
from ..backends.threads import by_rows
from ..ops import reshape, sqrt, sum
from ..tensor import array_of
from .layer_norm import flat, rows


def forward(x, weight=None, *, normalized_shape, eps=None):
    """x (..., *normalized_shape), weight of that shape or None -> y like x, and the cache."""
    M, N = rows("rms_norm", x, normalized_shape, weight=weight)
    xp = namespace(x, weight)
    x_, y = x.reshape(M, N), xp.empty(x.shape, dtype=x.dtype)
    w, y_, r = flat(weight), y.reshape(M, N), xp.empty((M, 1), dtype=x.dtype)
    ε = _epsilon(x, eps)

    def part(m):
        x_m, r_m = x_[m], r[m]
        r_m[:, 0] = 1 / xp.sqrt(row_dots(x_m, x_m) / max(N, 1) + ε)
        xhat = xp.multiply(x_m, r_m, out=y_[m])
        if w is not None:
            xhat *= w

    by_rows(part, xp, M, N)
    return y, (x_, r, weight, x.shape)


def backward(dy, cache, needs=None):
    """dy like y -> dx, dweight (None if there was none)."""
    x, r, weight, shape = cache
    need_x, need_w = needs or (True,) * 2
    need_w = need_w and weight is not None
    xp = namespace(x)
    M, N = x.shape
    dy, w = dy.reshape(M, N), flat(weight)
    dx = dw = None
    if need_x:
        dx = xp.empty(shape, dtype=x.dtype)
        dx_ = dx.reshape(M, N)

    def part(m):
        """Returns the share of these rows in dw."""
        g = dy[m]
        e = g * x[m]
        if need_x:
            c = (row_sums(e) if w is None else e @ w) * r[m, 0] ** 2 / max(N, 1)
            dxhat = xp.multiply(g, 1.0 if w is None else w, out=dx_[m])
            dxhat -= x[m] * c[:, None]
            dxhat *= r[m]
        return r[m, 0] @ e if need_w else None

    sums = by_rows(part, xp, M, N) or [xp.zeros(N, dtype=x.dtype)]
    if need_w:
        dw = total(sums).reshape(weight.shape)
    return dx, dw


def composed(x, weight=None, *, normalized_shape, eps=None):
    """The same from primitives."""
    M, N = rows("rms_norm", x, normalized_shape, weight=weight)
    y = reshape(x, (M, N))
    y = y / sqrt(sum(y * y, axis=1, keepdims=True) / max(N, 1) + _epsilon(x, eps))
    y = y if weight is None else y * reshape(weight, (N,))
    return reshape(y, x.shape)


def _epsilon(x, eps):
    """ε as a Python float: a NumPy scalar would promote float32."""
    return float(namespace(array_of(x)).finfo(x.dtype).eps if eps is None else eps)
