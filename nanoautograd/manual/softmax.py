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

A row of nothing but -inf has no largest score to compare with and gives nan, as in PyTorch;
`attention` is where such rows occur, and it says what they mean there.
"""

from ..backends import array_namespace
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import exp, logsumexp


def forward(x, *, axis=-1):
    """x of any shape -> p of the same shape and dtype, and the cache."""
    if x.size == 0:  # no row has a maximum
        return x.copy(), (x, axis)
    e = array_namespace(x).exp(x - x.max(axis=axis, keepdims=True))
    p = e / summed(e, axis, keepdims=True)
    return p, (p, axis)


def backward(dp, cache):
    """dp like p -> (dx,)."""
    p, axis = cache
    dx = p * (dp - summed(dp * p, axis, keepdims=True))  # p_k (dp_k - Σ_i dp_i p_i)
    return (dx,)


def reference(x, *, axis=-1):
    """The same from primitives: exp(x - log Σ exp(x))."""
    if x.size == 0:
        return x * 1.0
    return exp(x - logsumexp(x, axis=axis, keepdims=True))


softmax = custom_vjp("softmax", forward, backward, reference, in_float32=True)
