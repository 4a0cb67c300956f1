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

Each row is first divided by s and √ε, too, as in layer_norm.py, which also has the letters that are
not here.
"""

from ..array_interface import array_of
from ..backends import array_namespace
from ..backends.sums import column_sums
from ..custom_vjp import custom_vjp
from ..ops import reshape, sqrt, sum
from .layer_norm import flat, in_range, row_means, sizes


def forward(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    """x (..., *normalized_shape), weight of that shape or None, residual like x or None -> y like
    x, or with return_sum the pair (y, z); and the cache."""
    z = x if residual is None else x + residual
    z_, h, s = in_range(z.reshape(sizes(x, normalized_shape)), epsilon(x, eps) ** 0.5)
    r = 1 / array_namespace(x).sqrt(row_means(z_ * z_) + h * h)
    xhat = z_ * r
    y = (flat(weight, 1.0) * xhat).reshape(x.shape)
    cache = xhat, r, s, weight, residual is not None, return_sum
    return (y, z) if return_sum else y, cache


def backward(dy, cache, needs=None):
    """dy like y, or the pair (dy, dz) -> dx, dweight, dresidual (None for those that were not
    given); dx and dresidual are one array."""
    xhat, r, s, weight, is_sum, return_sum = cache
    need_x, need_w, need_a = needs or (True,) * 3
    dy, dz = dy if return_sum else (dy, 0.0)
    shape, dy = dy.shape, dy.reshape(xhat.shape)
    dxhat = flat(weight, 1.0) * dy
    dx = r * (dxhat - xhat * row_means(dxhat * xhat)) / s
    dx = dz + dx.reshape(shape)
    dw = None
    if need_w and weight is not None:
        dw = column_sums(dy * xhat).reshape(weight.shape)
    return dx if need_x else None, dw, dx if need_a and is_sum else None


def reference(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    """The same from primitives."""
    M, N = sizes(x, normalized_shape)
    z = x if residual is None else x + residual
    y, h, _ = in_range(reshape(z, (M, N)), epsilon(x, eps) ** 0.5)
    y = y / sqrt(sum(y * y, axis=1, keepdims=True) / max(N, 1) + h * h)
    y = y if weight is None else y * reshape(weight, (N,))
    y = reshape(y, x.shape)
    return (y, z) if return_sum else y


rms_norm = custom_vjp("rms_norm", forward, backward, reference, in_float32=True)


def epsilon(x, eps):
    """ε as a Python float: a NumPy scalar would promote float32."""
    if eps is None and x.dtype.itemsize == 2:
        return 2.0**-23  # that of float32, as in PyTorch
    return float(array_namespace(array_of(x)).finfo(x.dtype).eps if eps is None else eps)
