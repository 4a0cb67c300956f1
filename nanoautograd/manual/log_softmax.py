"""Logarithm of the softmax, by hand.

    x   (..., C, ...)   scores; C is the length of `axis`, the other axes are independent
    y   like x          log-probabilities
    dy  like x          ∂L/∂y, the gradient that arrives
    dx  like x          ∂L/∂x, the gradient that leaves

Forward, for one row of scores:

    y_i = log( exp(x_i) / Σ_j exp(x_j) ) = x_i - log Σ_j exp(x_j) = (x_i - m) - log Σ_j exp(x_j - m)

with m = max_j x_j. Taking the logarithm of a finished softmax would lose everything: a probability
below 1e-308 is 0 and its logarithm -inf, while y_i itself is a harmless number such as -10000.

Backward. The derivative of log Σ_j exp(x_j) with respect to x_k is exp(x_k) / Σ_j exp(x_j) = p_k =
exp(y_k), so

    ∂y_i/∂x_k = [i = k] - exp(y_k)

    dx_k = Σ_i dy_i ([i = k] - exp(y_k))  =  dy_k - p_k Σ_i dy_i

Source: the softmax is Bridle (1990); the shift by the maximum is analysed by Blanchard, Higham and
Higham (2021), "Accurately computing the log-sum-exp and softmax functions", equations 1.1 and 1.2
and their shifted forms.
"""

from ..backends import array_namespace
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import logsumexp


def forward(x, *, axis=-1):
    """x of any shape -> y of the same shape and dtype, and the cache."""
    xp = array_namespace(x)
    if x.size == 0:  # no row has a maximum
        return x.copy(), (x, axis)
    x = x - x.max(axis=axis, keepdims=True)  # x - m
    y = x - xp.log(summed(xp.exp(x), axis, keepdims=True))
    return y, (y, axis)


def backward(dy, cache):
    """dy like y -> (dx,)."""
    y, axis = cache
    p = array_namespace(y).exp(y)
    dx = dy - p * summed(dy, axis, keepdims=True)  # dy_k - p_k Σ_i dy_i
    return (dx,)


def reference(x, *, axis=-1):
    """The same from primitives: x - log Σ exp(x)."""
    if x.size == 0:
        return x * 1.0
    return x - logsumexp(x, axis=axis, keepdims=True)


log_softmax = custom_vjp("log_softmax", forward, backward, reference, in_float32=True)
