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

The words are computed from a seed and the position of the element (philox.py): w_i is number
offset + i of the seed's words, i counting in the order of the axes. So NumPy and CuPy drop the same
elements, and blocks of them can be drawn by several threads. Of r only [w_i ≥ 2³² p] is kept, a
byte an element. With NumPy, on one core, drawing takes 5 ns an element, of 6 in all (float32).
"""

from math import ceil

from ..array_interface import array_of
from ..backends import array_namespace, is_float
from ..backends.threads import by_rows
from ..custom_vjp import custom_vjp
from ..philox import words


def forward(x, *, p=0.5, training=True, seed, offset=0):
    """x of any shape -> y of the same shape and dtype, and the cache."""
    _check(x, p)
    if p == 0 or not training:
        return x.copy(), None
    kept = _kept(x, p, seed, offset)
    return _times(x, kept, p), (kept, p)


def backward(dy, cache, needs=None):
    """dy like y -> (dx,)."""
    return ((dy.copy() if cache is None else _times(dy, *cache)),)


def _times(x, kept, p):
    """r x, where kept (x.size,) is [w ≥ 2³² p]."""
    xp = array_namespace(x)
    y = xp.empty(x.shape, dtype=x.dtype)
    x_, y_ = x.reshape(-1), y.reshape(-1)

    def part(i):
        xp.multiply(x_[i], kept[i], out=y_[i])
        y_[i] *= _scale(p)

    by_rows(part, xp, x.size, 1)
    return y


def reference(x, *, p=0.5, training=True, seed, offset=0):
    """The same from primitives."""
    r = factors(array_of(x), p, training, seed, offset)
    return x * (1.0 if r is None else r)


dropout = custom_vjp("dropout", forward, backward, reference)


def factors(x, p, training, seed, offset):
    """r for an array like x, or None where it is 1 everywhere."""
    _check(x, p)
    if p == 0 or not training:
        return None
    r = _kept(x, p, seed, offset).astype(x.dtype)
    r *= _scale(p)
    return r.reshape(x.shape)


def _kept(x, p, seed, offset):
    """[w_i ≥ 2³² p] for the elements of x: booleans (x.size,)."""
    xp = array_namespace(x)
    if p == 1:
        return xp.zeros(x.size, dtype=bool)
    kept, least = xp.empty(x.size, dtype=bool), min(ceil(p * 2**32), 2**32 - 1)

    def part(i):
        kept[i] = words(x, len(kept[i]), seed, offset + i.start) >= least

    by_rows(part, xp, x.size, 1)
    return kept


def _scale(p):
    return 1.0 / (1.0 - float(p)) if p < 1 else 1.0


def _check(x, p):
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must be a probability, from 0 to 1; got {p}")
    if not is_float(x.dtype):
        raise TypeError(f"dropout: the input must be floating; got {x.dtype}")
