"""Root mean square normalisation, by hand.

    x    (M, N)   M rows of N features, made of an input as in layer_norm.py
    a    (M, N)   what is added to them before ("residual"), 0 if not given
    w    (N,)     gain ("weight"), 1 if not given
    ε             a small number, so that a row of zeros divides by no zero
    z    (M, N)   x + a, an output too where it is asked for ("return_sum")
    r    (M, 1)   reciprocals of the root mean squares of the rows of z
    x̂    (M, N)   the rows with mean square 1
    s    (M, 1)   powers of two, by which rows are divided before their squares are taken
    d, h          z/s and √ε/s
    sr            s r, of the size of 1
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

In the code each row is first divided by s, as in layer_norm.py:

    d_i = z_i/s,   h = √ε/s,   s r = (1/N Σ_i d_i² + h²)^(-1/2),   x̂_i = d_i (s r),   r = (s r)/s
"""

from ..backends import array_namespace
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of
from ..ops import reshape, sqrt, sum
from .layer_norm import flat, in_range, mean, sizes


def forward(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    """x (..., *normalized_shape), weight of that shape or None, residual like x or None -> y like
    x, or with return_sum the pair (y, z); and the cache."""
    z = x if residual is None else x + residual
    d, h, s = in_range(z.reshape(sizes(x, normalized_shape)), epsilon(x, eps) ** 0.5)
    sr = 1 / array_namespace(x).sqrt(mean(d * d) + h * h)
    xhat, w = d * sr, flat(weight, 1.0)
    y = (w * xhat).reshape(x.shape)
    return (y, z) if return_sum else y, (xhat, sr, s, w, normalized_shape, return_sum)


def backward(dy, cache):
    """dy like y, or the pair (dy, dz) -> dx, dweight, dresidual."""
    xhat, sr, s, w, shape, return_sum = cache
    dy, dz = dy if return_sum else (dy, 0.0)
    x_shape, dy = dy.shape, dy.reshape(xhat.shape)
    dxhat = w * dy
    # dz_k + r (dx̂_k - x̂_k 1/N Σ_i dx̂_i x̂_i),   r = (s r)/s
    dx = sr * (dxhat - xhat * mean(dxhat * xhat)) / s
    dx = dz + dx.reshape(x_shape)
    dw = summed(dy * xhat, 0)  # Σ_m dy_mi x̂_mi
    return dx, dw.reshape(shape), dx


def reference(x, weight=None, residual=None, *, normalized_shape, eps=None, return_sum=False):
    """The same from primitives."""
    M, N = sizes(x, normalized_shape)
    z = x if residual is None else x + residual
    d, h, _ = in_range(reshape(z, (M, N)), epsilon(x, eps) ** 0.5)
    y = d / sqrt(sum(d * d, axis=1, keepdims=True) / max(N, 1) + h * h)
    y = y if weight is None else y * reshape(weight, (N,))
    y = reshape(y, x.shape)
    return (y, z) if return_sum else y


rms_norm = custom_vjp("rms_norm", forward, backward, reference, in_float32=True)


def epsilon(x, eps):
    """ε as a Python float: a NumPy scalar would promote float32."""
    if eps is None and x.dtype.itemsize == 2:
        return 2.0**-23  # that of float32, as in PyTorch
    return float(array_namespace(array_of(x)).finfo(x.dtype).eps if eps is None else eps)
