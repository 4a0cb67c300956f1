"""Layer normalisation, by hand.

    x    (M, N)   M rows of N features; in an input (..., n1, ..., nk) the rows are the last k axes,
                  `normalized_shape`, and M is the product of the others
    a    (M, N)   what is added to them before ("residual"), 0 if not given
    w    (N,)     gain ("weight"), 1 if not given
    b    (N,)     bias, 0 if not given
    ε             a small number, so that a row of equal numbers divides by no zero
    z    (M, N)   x + a, an output too where it is asked for ("return_sum")
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
where the mean is large beside the deviations. In a Transformer each norm follows an addition; done
together, the sum is still in the cache when it is normalised.

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

The code goes through a block of rows after the other. It keeps z, μ and r, not x̂. With d = z - μ,
x̂ = d r and e_mi = dy_mi d_mi this is

    dw_i = Σ_m r_m e_mi        Σ_i dx̂_i = Σ_i dy_i w_i        Σ_i dx̂_i x̂_i = r Σ_i e_i w_i
    dx = dz  +  r (w dy  -  1/N Σ_i dx̂_i  -  d r²/N Σ_i e_i w_i)

Squares of numbers beyond 10¹⁹ are beyond float32. Rows that have such are divided by their largest
number s, and ε by s²: x̂ and y are the same, and dx less dz is the gradient of z/s, divided by s.
"""

from math import prod

from ..array_interface import array_of
from ..backends import array_namespace, is_float
from ..backends.sums import column_dots, column_sums, limits, row_dots, row_sums, total
from ..backends.threads import by_rows
from ..custom_vjp import custom_vjp
from ..ops import reshape, sqrt, sum

INF = float("inf")
EVERY = slice(None)


def forward(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    """x (..., *normalized_shape), weight and bias of that shape or None, residual like x or None
    -> y like x, or with return_sum the pair (y, z); and the cache."""
    M, N = rows("layer_norm", x, normalized_shape, residual, return_sum, weight=weight, bias=bias)
    xp = array_namespace(x, weight, bias, residual)
    z = x if residual is None else xp.empty(x.shape, dtype=x.dtype)
    y = xp.empty(x.shape, dtype=x.dtype)
    x_, y_ = x.reshape(M, N), y.reshape(M, N)
    z_ = x_ if z is x else z.reshape(M, N)
    a, w, b = None if residual is None else residual.reshape(M, N), flat(weight), flat(bias)
    mu, r = (xp.empty((M, 1), dtype=x.dtype) for _ in range(2))
    s, ε = None, float(eps)

    def part(m):
        mu_m, r_m = mu[m], r[m]
        if a is not None:
            xp.add(x_[m], a[m], out=z_[m])
        mu_m[:, 0] = row_sums(z_[m]) / max(N, 1)
        y_m = xp.subtract(z_[m], mu_m, out=y_[m])
        r_m[:, 0] = reciprocal_roots(row_dots(y_m, y_m) / max(N, 1), ε, s, m)
        y_m *= r_m  # x̂
        if w is not None:
            y_m *= w
        if b is not None:
            y_m += b

    by_rows(part, xp, M, N)
    s = scales(z_, r)
    if s is not None:
        z_, a = z_ / s, None
        by_rows(part, xp, M, N)
    return (y, z) if return_sum else y, (
        z_,
        mu,
        r,
        weight,
        bias,
        residual is not None,
        return_sum,
        x.shape,
        s,
    )


def backward(dy, cache, needs=None):
    """dy like y, or the pair (dy, dz) -> dx, dweight, dbias, dresidual (None for those that were
    not given). dx and dresidual are two views of one array."""
    z, mu, r, weight, bias, is_sum, return_sum, shape, s = cache
    need_x, need_w, need_b, need_a = needs or (True,) * 4
    need_a = need_a and is_sum
    dy, dz = dy if return_sum else (dy, None)
    need_w, need_b = need_w and weight is not None, need_b and bias is not None
    xp = array_namespace(z)
    M, N = z.shape
    dy, dz, w = dy.reshape(M, N), None if dz is None else dz.reshape(M, N), flat(weight)
    dx = dw = db = None
    if need_x or need_a:
        dx = xp.empty(shape, dtype=z.dtype)
        dx_ = dx.reshape(M, N)

    def part(m):
        """Returns the shares of these rows in dw and db."""
        dy_m, d = dy[m], z[m] - mu[m]
        e = dy_m * d
        if dx is not None:
            weighted_sums = row_sums if w is None else lambda rows: row_dots(rows, w)
            less = d
            less *= (weighted_sums(e) * r[m, 0] ** 2 / max(N, 1))[:, None]
            less += (weighted_sums(dy_m) / max(N, 1))[:, None]
            dx_m = xp.multiply(dy_m, 1.0 if w is None else w, out=dx_[m])  # dx̂
            dx_m -= less
            dx_m *= r[m]
            if s is not None:
                dx_m /= s[m]
            if dz is not None:
                dx_m += dz[m]
        return column_dots(r[m, 0], e) if need_w else None, column_sums(dy_m) if need_b else None

    sums = by_rows(part, xp, M, N) or [(xp.zeros(N, dtype=z.dtype),) * 2]
    if need_w:
        dw = total([of_w for of_w, _ in sums]).reshape(weight.shape)
    if need_b:
        db = total([of_b for _, of_b in sums]).reshape(bias.shape)
    dx, da = dx if need_x else None, dx if need_a else None  # they are equal
    return dx, dw, db, da


def reference(
    x, weight=None, bias=None, residual=None, *, normalized_shape, eps=1e-5, return_sum=False
):
    """The same from primitives."""
    M, N = rows("layer_norm", x, normalized_shape, residual, return_sum, weight=weight, bias=bias)
    z = x if residual is None else x + residual
    d, ε = in_range(reshape(z, (M, N)), float(eps))
    d = d - sum(d, axis=1, keepdims=True) / max(N, 1)
    y = d / sqrt(sum(d * d, axis=1, keepdims=True) / max(N, 1) + ε)
    y = y if weight is None else y * reshape(weight, (N,))
    y = y if bias is None else y + reshape(bias, (N,))
    y = reshape(y, x.shape)
    return (y, z) if return_sum else y


layer_norm = custom_vjp("layer_norm", forward, backward, reference, in_float32=True)


def reciprocal_roots(v, ε, s=None, m=EVERY):
    """(v + ε)^(-1/2), or of rows m that were divided by s, (v + ε/s²)^(-1/2)."""
    return 1 / array_namespace(v).sqrt(v + (ε if s is None else (ε**0.5 / s[m, 0]) ** 2))


def scales(z, r):
    """s (M, 1), to divide rows of z (M, N) by where their r (M, 1) tells that squares have left the
    range of the dtype, and 1 for the others; or None if that is none. (A GPU is not asked: that is
    to wait for it.)"""
    xp = array_namespace(z)
    if xp.__name__ != "numpy":
        return None
    fits = (r > 0) & (r < limits(z.dtype)[0] ** -0.5)
    if fits.all():
        return None
    s = xp.max(abs(z), axis=1, keepdims=True) if z.size else r
    s = xp.where(~fits & (s > 0) & (s < INF), s, 1)
    return s if (s != 1).any() else None


def in_range(z, ε):
    """(z/s, ε/s²) for rows z (M, N), perhaps a Tensor."""
    a = array_of(z)
    s = scales(a, reciprocal_roots(row_dots(a, a) / max(z.shape[1], 1), ε)[:, None])
    return (z, ε) if s is None else (z / s, (ε**0.5 / s) ** 2)


def flat(parameter):
    """(N,), or None."""
    return None if parameter is None else parameter.reshape(-1)


def rows(name, x, normalized_shape, residual=None, return_sum=False, **parameters):
    """(M, N): how many rows of how many features. Raises the error that names what does not fit."""
    shape = tuple(normalized_shape)

    def got():
        return f"got input {x.shape} {x.dtype} and normalized_shape {shape}"

    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{name}: normalized_shape must be the last axes of the input, one or more; {got()}"
        )
    if not is_float(x.dtype):
        raise TypeError(f"{name}: the input must be floating; {got()}")
    if residual is not None and (residual.shape, residual.dtype) != (x.shape, x.dtype):
        raise (ValueError if residual.shape != x.shape else TypeError)(
            f"{name}: the residual must have the shape and dtype of the input; {got()} and "
            f"residual {residual.shape} {residual.dtype}"
        )
    if return_sum and residual is None:
        raise ValueError(f"{name}: return_sum returns input + residual; there is no residual")
    for what, a in parameters.items():
        if a is not None and a.shape != shape:
            raise ValueError(
                f"{name}: {what} must have the normalized_shape; {got()} and {what} {a.shape}"
            )
        if a is not None and a.dtype != x.dtype:
            raise TypeError(
                f"{name}: {what} must have the dtype of the input; {got()} and {what} {a.dtype}"
            )
    return prod(x.shape[: -len(shape)]), prod(shape)
