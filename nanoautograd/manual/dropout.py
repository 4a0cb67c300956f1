"""Dropout, by hand.

    x   any shape   input
    p               probability with which an element is dropped, 0 ≤ p ≤ 1
    w   like x      random words, integers from 0 to 2³² - 1, all equally likely
    r   like x      factors: 0 where the element is dropped, 1/(1 - p) where it is kept
    y   like x      output
    dy  like x      ∂L/∂y, the gradient that arrives
    dx  like x      ∂L/∂x, the gradient that leaves

Forward, elementwise (Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
overfitting", section 4; scaled while training, section 10, so that nothing remains to be done
afterwards: the expectation of y is (1 - p) x / (1 - p) = x):

    r_i = [w_i ≥ 2³² p] / (1 - p)
    y_i = r_i x_i                    while training, and y = x otherwise

For p = 1 nothing is kept, and r = 0. As in PyTorch, dropping an infinite number gives nan: 0·∞.

Backward. y is linear in x, and r does not depend on x:

    dx_i = r_i dy_i                  or dx = dy

The words are computed from a seed and the position of the element (backends/philox.py): w_i is
number offset + i of the seed's words, i counting in the order of the axes. So NumPy and CuPy drop
the same elements.
"""

from math import ceil

from ..backends.philox import WORD, words
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of


def forward(x, *, p=0.5, training=True, seed, offset=0):
    """x of any shape -> y of the same shape and dtype, and the cache."""
    r = factors(x, p, training, seed, offset)
    return x.copy() if r is None else r * x, r


def backward(dy, cache):
    """dy like y -> (dx,)."""
    r = cache
    return (dy if r is None else r * dy,)


def factors(x, p, training, seed, offset):
    """r for an array like x, or None where it is 1 everywhere."""
    if p == 0 or not training:
        return None
    w = words(x, x.size, seed, offset)
    r = (w >= least(p)).astype(x.dtype)
    r *= scale(p)
    return r.reshape(x.shape)


def least(p):
    """The smallest word by which an element is kept, 2³² p rounded up."""
    return min(ceil(p * 2**32), WORD)


def scale(p):
    """By which an element that is kept is multiplied: 1/(1 - p)."""
    return 1.0 / (1.0 - float(p)) if p < 1 else 0.0


def reference(x, *, p=0.5, training=True, seed, offset=0):
    """The same from primitives."""
    r = factors(array_of(x), p, training, seed, offset)
    return x * (1.0 if r is None else r)


dropout = custom_vjp("dropout", forward, backward, reference)
