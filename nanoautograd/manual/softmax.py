"""Softmax: scores to probabilities, by hand.

    x   (..., C, ...)   scores; C is the length of `axis`, the other axes are independent
    p   like x          probabilities: positive, and they sum to 1 along `axis`
    dp  like x          ∂L/∂p, the gradient that arrives
    dx  like x          ∂L/∂x, the gradient that leaves

Forward, for one row of scores (Bridle 1990, "Probabilistic interpretation of feedforward
classification network outputs", the normalised exponential):

    p_i = exp(x_i) / Σ_j exp(x_j)

A shift of the whole row changes nothing, because in exp(x_i - m) / Σ_j exp(x_j - m) the factor
exp(-m) is in the numerator and in the denominator. With m = max_j x_j the largest exponent is 0, so
nothing overflows, and the sum is at least 1, so nothing divides by zero. The maximum is taken along
`axis` only: a maximum of the whole array would let a row of small scores underflow to 0/0.

Backward. With s = Σ_j exp(x_j), the quotient rule gives

    ∂p_i/∂x_k = [i = k] exp(x_i)/s - exp(x_i) exp(x_k)/s²  =  p_i ([i = k] - p_k)

and the chain rule sums over the outputs i:

    dx_k = Σ_i dp_i ∂p_i/∂x_k = Σ_i dp_i p_i [i = k] - p_k Σ_i dp_i p_i = p_k (dp_k - Σ_i dp_i p_i)

In words: the gradient, minus its mean under p, times p. The dx of a row sum to zero, as they must:
a shift of the row changes nothing.

The code sees any input as (A, C, B), where B = 1 if `axis` is the last, and computes all lines for
a block of a few A before the next one.

A row of nothing but -inf has no largest score to compare with and gives nan, as in PyTorch;
`attention` is where such rows occur, and it says what they mean there.
"""

from math import prod

from ..backends import array_namespace, is_float
from ..backends.sums import row_sums, summed
from ..backends.threads import by_rows
from ..custom_vjp import custom_vjp
from ..ops import exp, logsumexp
from ..ops.shaping import checked
from .sixteen_bits import in_float32


def forward(x, *, axis=-1):
    """x of any shape -> p of the same shape and dtype, and the cache."""
    if not is_float(x.dtype):
        raise TypeError(f"softmax: x must be floating; got {x.dtype}")
    xp = array_namespace(x)
    if x.size == 0:  # no row has a maximum
        return xp.zeros_like(x), (x, axis)
    p = xp.empty(x.shape, dtype=x.dtype)
    x_, p_ = (rows(a, axis) for a in (x, p))

    def part(a):
        e = xp.subtract(x_[a], xp.max(x_[a], axis=1, keepdims=True), out=p_[a])
        xp.exp(e, out=e)
        e /= sums(e)

    by_rows(part, xp, len(x_), x_[0].size)
    return p, (p, axis)


def backward(dp, cache, needs=None):
    """dp like p -> (dx,)."""
    p, axis = cache
    xp = array_namespace(p)
    dx = xp.empty(p.shape, dtype=p.dtype)
    if p.size == 0:
        return (dx,)
    p_, dp_, dx_ = (rows(a, axis) for a in (p, dp, dx))

    def part(a):
        d = xp.multiply(dp_[a], p_[a], out=dx_[a])
        d -= p_[a] * sums(d)  # p dp - p Σ p dp

    by_rows(part, xp, len(p_), p_[0].size)
    return (dx,)


def rows(a, axis):
    """(A, C, B), with C along the axis; a view where `a` is contiguous."""
    axis = checked(axis, a.ndim, "softmax")
    return a.reshape(prod(a.shape[:axis]), a.shape[axis], prod(a.shape[axis + 1 :]))


def sums(a):
    """Σ along the axis: (A, C, B) -> (A, 1, B)."""
    return row_sums(a[..., 0])[:, None, None] if a.shape[2] == 1 else summed(a, 1, keepdims=True)


def reference(x, *, axis=-1):
    """The same from primitives: exp(x - log Σ exp(x))."""
    if x.size == 0:
        return x * 1.0
    return exp(x - logsumexp(x, axis=axis, keepdims=True))


softmax = custom_vjp("softmax", *in_float32(forward, backward, reference))
