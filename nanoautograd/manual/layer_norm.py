"""Layer normalisation, by hand.

    x    (M, N)   M rows of N features; in an input (..., n1, ..., nk) the rows are the last k axes,
                  `normalized_shape`, and M is the product of the others
    a    (M, N)   what is added to them before ("residual"), 0 if not given
    w    (N,)     gain ("weight"), 1 if not given
    b    (N,)     bias, 0 if not given
    ε             a small number, so that a row of equal numbers divides by no zero
    z    (M, N)   x + a, an output too where it is asked for ("return_sum")
    s    (M, 1)   powers of two, by which rows are divided before
    μ    (M, 1)   means of the rows of z
    r    (M, 1)   reciprocals of their standard deviations
    x̂    (M, N)   the rows with mean 0 and variance 1
    y    (M, N)   output
    dy, dz        the gradients that arrive at the outputs y and z; dz is 0 where z is none
    dx̂            ∂L/∂x̂
    dx, da, dw, db    ∂L/∂x, ∂L/∂a, ∂L/∂w, ∂L/∂b, the gradients that leave

Forward, for one row (Ba, Kiros and Hinton 2016, "Layer normalization", equations 3 and 4; ε under
the root, as in PyTorch):

    z_i = x_i + a_i
    μ = 1/N Σ_i z_i
    r = (v + ε)^(-1/2)           v = 1/N Σ_i (z_i - μ)²
    x̂_i = (z_i - μ) r
    y_i = w_i x̂_i + b_i

The variance is computed from z - μ and not as the mean of z² less μ², which loses all its digits
where the mean is large beside the deviations.

Backward. A row meets the gain and bias elementwise, and every row meets the same:

    dx̂_mi = w_i dy_mi            dw_i = Σ_m dy_mi x̂_mi            db_i = Σ_m dy_mi

z_k reaches x̂_i in three ways: directly, through μ and through r. With ∂μ/∂z_k = 1/N,

    ∂v/∂z_k = 2/N Σ_j (z_j - μ) ([j = k] - 1/N) = 2/N (z_k - μ)        since Σ_j (z_j - μ) = 0
    ∂r/∂z_k = -1/2 (v + ε)^(-3/2) ∂v/∂z_k = - r³ (z_k - μ)/N = - r² x̂_k/N

    ∂x̂_i/∂z_k = r ([i = k] - 1/N) + (z_i - μ) ∂r/∂z_k  =  r ([i = k] - 1/N - x̂_i x̂_k/N)

    Σ_i dx̂_i ∂x̂_i/∂z_k  =  r (dx̂_k  -  1/N Σ_i dx̂_i  -  x̂_k 1/N Σ_i dx̂_i x̂_i)

In words: what arrives, less its mean, less its component along x̂. These are the two directions in
which a row can move without a change of the output: a shift of all its numbers and (but for ε) a
stretch. x and a both reach L through z alone, and ∂z/∂x = ∂z/∂a = 1, so

    dx_k = da_k = dz_k  +  r (dx̂_k  -  1/N Σ_i dx̂_i  -  x̂_k 1/N Σ_i dx̂_i x̂_i)

Squares of numbers beyond 10¹⁹ are beyond float32, and those below 10⁻¹⁹ are 0 there. So each row is
first divided by s, a power of two near its largest number, which changes no digit, and √ε, too: x̂
and y are the same, and by the chain rule dx less dz is the gradient of z/s, divided by s. What is
left of large numbers without their mean may be small, or 0, so it is divided once more.
"""

from math import prod

from ..array_interface import array_of
from ..backends import array_namespace
from ..backends.sums import column_sums, row_sums
from ..custom_vjp import custom_vjp
from ..ops import reshape, sqrt, sum


def forward(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    """x (..., *normalized_shape), weight and bias of that shape or None, residual like x or None
    -> y like x, or with return_sum the pair (y, z); and the cache."""
    z = x if residual is None else x + residual
    d, h, s1 = in_range(z.reshape(sizes(x, normalized_shape)), float(eps) ** 0.5)
    w, b = flat(weight, 1.0), flat(bias, 0.0)
    d, h, s2 = in_range(d - row_means(d), h)
    r = 1 / array_namespace(x).sqrt(row_means(d * d) + h * h)
    xhat = d * r
    y = (w * xhat + b).reshape(x.shape)
    cache = xhat, r, s1 * s2, weight, bias, residual is not None, return_sum
    return (y, z) if return_sum else y, cache


def backward(dy, cache, needs=None):
    """dy like y, or the pair (dy, dz) -> dx, dweight, dbias, dresidual (None for those that were
    not given); dx and dresidual are one array."""
    xhat, r, s, weight, bias, is_sum, return_sum = cache
    need_x, need_w, need_b, need_a = needs or (True,) * 4
    dy, dz = dy if return_sum else (dy, 0.0)
    shape, dy, w = dy.shape, dy.reshape(xhat.shape), flat(weight, 1.0)
    dxhat = w * dy
    dx = r * (dxhat - row_means(dxhat) - xhat * row_means(dxhat * xhat)) / s
    dx = dz + dx.reshape(shape)
    dw = db = None
    if need_w and weight is not None:
        dw = column_sums(dy * xhat).reshape(weight.shape)
    if need_b and bias is not None:
        db = column_sums(dy).reshape(bias.shape)
    return dx if need_x else None, dw, db, dx if need_a and is_sum else None


def reference(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    """The same from primitives."""
    M, N = sizes(x, normalized_shape)
    z = x if residual is None else x + residual
    d, h, _ = in_range(reshape(z, (M, N)), float(eps) ** 0.5)
    d, h, _ = in_range(d - sum(d, axis=1, keepdims=True) / max(N, 1), h)
    y = d / sqrt(sum(d * d, axis=1, keepdims=True) / max(N, 1) + h * h)
    y = y if weight is None else y * reshape(weight, (N,))
    y = y if bias is None else y + reshape(bias, (N,))
    y = reshape(y, x.shape)
    return (y, z) if return_sum else y


layer_norm = custom_vjp("layer_norm", forward, backward, reference, in_float32=True)


def sizes(x, normalized_shape):
    """(M, N): how many rows of how many features."""
    return prod(x.shape[: x.ndim - len(normalized_shape)]), prod(normalized_shape)


def flat(parameter, without=None):
    """(N,), or `without` it."""
    return without if parameter is None else parameter.reshape(-1)


def row_means(a):
    """(M, N) -> (M, 1)."""
    return row_sums(a)[:, None] / max(a.shape[1], 1)


def in_range(z, h):
    """(z/s, h/s, s) for rows z (M, N), perhaps a Tensor, and h = √ε. Of the powers of two s is the
    last one that is not above the largest number of the row, or h."""
    a = array_of(z)
    if a.size == 0:
        return z, h, 1.0
    xp = array_namespace(a)
    largest = xp.maximum(xp.max(abs(a), axis=1, keepdims=True), h)
    _, exponent = xp.frexp(largest)  # largest = a number from 1/2 to 1, times 2 to this
    s = xp.ldexp(xp.ones_like(largest), exponent - 1)
    return z / s, h / s, s
