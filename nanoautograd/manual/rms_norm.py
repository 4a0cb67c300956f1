"""Root mean square normalisation, by hand.

    x    (M, N)   M rows of N features, made of an input as in layer_norm.py
    a    (M, N)   what is added to them before ("residual"), 0 if not given
    w    (N,)     gain ("weight"), 1 if not given
    ε             a small number, so that a row of zeros divides by no zero
    z    (M, N)   x + a, an output too where it is asked for ("return_sum")
    r    (M, 1)   reciprocals of the root mean squares of the rows of z
    x̂    (M, N)   the rows with mean square 1
    y    (M, N)   output
    dy, dz        the gradients that arrive at the outputs y and z; dz is 0 where z is none
    dx̂            ∂L/∂x̂
    dx, da, dw    ∂L/∂x, ∂L/∂a, ∂L/∂w, the gradients that leave

Forward, for one row (Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4;
ε under the root, as in PyTorch, and by default the distance from 1 to the next number of the
dtype, or of float32):

    z_i = x_i + a_i
    r = (v + ε)^(-1/2)           v = 1/N Σ_i z_i²
    x̂_i = z_i r
    y_i = w_i x̂_i

It is layer normalisation without the means: the row is stretched, but not shifted.

Backward. A row meets the gain elementwise, and every row meets the same:

    dx̂_mi = w_i dy_mi            dw_i = Σ_m dy_mi x̂_mi

z_k reaches x̂_i directly and through r. With ∂v/∂z_k = 2 z_k/N

    ∂r/∂z_k = -1/2 (v + ε)^(-3/2) 2 z_k/N = - r³ z_k/N = - r² x̂_k/N

    ∂x̂_i/∂z_k = r [i = k] + z_i ∂r/∂z_k  =  r ([i = k] - x̂_i x̂_k/N)

and x and a reach L through z alone:

    dx_k = da_k = dz_k + Σ_i dx̂_i ∂x̂_i/∂z_k  =  dz_k + r (dx̂_k - x̂_k 1/N Σ_i dx̂_i x̂_i)

The code goes through a block of rows after the other. It keeps z and r and not x̂ = z r. With
e_mi = dy_mi z_mi this is

    dw_i = Σ_m r_m e_mi        Σ_i dx̂_i x̂_i = r Σ_i e_i w_i
    dx = dz  +  r (w dy  -  z r²/N Σ_i e_i w_i)

Rows whose squares leave the range of the dtype are divided by s before, as in layer_norm.py.
"""

from ..array_interface import array_of
from ..backends import array_namespace
from ..backends.sums import column_dots, row_dots, row_sums, total
from ..backends.threads import by_rows
from ..custom_vjp import custom_vjp
from ..ops import reshape, sqrt, sum
from .layer_norm import flat, in_range, reciprocal_roots, rows, scales


def forward(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    """x (..., *normalized_shape), weight of that shape or None, residual like x or None -> y like
    x, or with return_sum the pair (y, z); and the cache."""
    M, N = rows("rms_norm", x, normalized_shape, residual, return_sum, weight=weight)
    xp = array_namespace(x, weight, residual)
    z = x if residual is None else xp.empty(x.shape, dtype=x.dtype)
    y, r = xp.empty(x.shape, dtype=x.dtype), xp.empty((M, 1), dtype=x.dtype)
    x_, y_ = x.reshape(M, N), y.reshape(M, N)
    z_ = x_ if z is x else z.reshape(M, N)
    a, w = None if residual is None else residual.reshape(M, N), flat(weight)
    s, ε = None, _epsilon(x, eps)

    def part(m):
        z_m, r_m = z_[m], r[m]
        if a is not None:
            xp.add(x_[m], a[m], out=z_m)
        r_m[:, 0] = reciprocal_roots(row_dots(z_m, z_m) / max(N, 1), ε, s, m)
        y_m = xp.multiply(z_m, r_m, out=y_[m])  # x̂
        if w is not None:
            y_m *= w

    by_rows(part, xp, M, N)
    s = scales(z_, r)
    if s is not None:
        z_, a = z_ / s, None
        by_rows(part, xp, M, N)
    is_sum = residual is not None
    return (y, z) if return_sum else y, (z_, r, weight, is_sum, return_sum, x.shape, s)


def backward(dy, cache, needs=None):
    """dy like y, or the pair (dy, dz) -> dx, dweight, dresidual (None for those that were not
    given). dx and dresidual are two views of one array."""
    z, r, weight, is_sum, return_sum, shape, s = cache
    need_x, need_w, need_a = needs or (True,) * 3
    need_a = need_a and is_sum
    dy, dz = dy if return_sum else (dy, None)
    need_w = need_w and weight is not None
    xp = array_namespace(z)
    M, N = z.shape
    dy, dz, w = dy.reshape(M, N), None if dz is None else dz.reshape(M, N), flat(weight)
    dx = dw = None
    if need_x or need_a:
        dx = xp.empty(shape, dtype=z.dtype)
        dx_ = dx.reshape(M, N)

    def part(m):
        """Returns the share of these rows in dw."""
        e = dy[m] * z[m]
        if dx is not None:
            c = (row_sums(e) if w is None else row_dots(e, w)) * r[m, 0] ** 2 / max(N, 1)
            dx_m = xp.multiply(dy[m], 1.0 if w is None else w, out=dx_[m])  # dx̂
            dx_m -= z[m] * c[:, None]
            dx_m *= r[m]
            if s is not None:
                dx_m /= s[m]
            if dz is not None:
                dx_m += dz[m]
        return column_dots(r[m, 0], e) if need_w else None

    sums = by_rows(part, xp, M, N) or [xp.zeros(N, dtype=z.dtype)]
    if need_w:
        dw = total(sums).reshape(weight.shape)
    dx, da = dx if need_x else None, dx if need_a else None  # they are equal
    return dx, dw, da


def reference(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    """The same from primitives."""
    M, N = rows("rms_norm", x, normalized_shape, residual, return_sum, weight=weight)
    z = x if residual is None else x + residual
    y, ε = in_range(reshape(z, (M, N)), _epsilon(x, eps))
    y = y / sqrt(sum(y * y, axis=1, keepdims=True) / max(N, 1) + ε)
    y = y if weight is None else y * reshape(weight, (N,))
    y = reshape(y, x.shape)
    return (y, z) if return_sum else y


rms_norm = custom_vjp("rms_norm", forward, backward, reference, in_float32=True)


def _epsilon(x, eps):
    """ε as a Python float: a NumPy scalar would promote float32."""
    if eps is None and x.dtype.itemsize == 2:
        return 2.0**-23  # that of float32, as in PyTorch
    return float(array_namespace(array_of(x)).finfo(x.dtype).eps if eps is None else eps)
