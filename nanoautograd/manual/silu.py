"""Sigmoid linear unit, by hand.

    x   any shape   input
    s   like x      the logistic function of x, 1 / (1 + e⁻ˣ)
    y   like x      output
    dy  like x      ∂L/∂y, the gradient that arrives
    dx  like x      ∂L/∂x, the gradient that leaves

Forward, elementwise (Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2; as
"swish" with β = 1: Ramachandran, Zoph and Le 2017, "Searching for activation functions"):

    y = x s

Backward. From s = 1 / (1 + e⁻ˣ) follows s' = e⁻ˣ / (1 + e⁻ˣ)² = s (1 - s), so

    dx = dy (s + x s (1 - s))  =  dy s (1 + x (1 - s))

Beyond ±800 s is 0 or 1 to the last digit. What s is multiplied with is limited there, so that no
∞·0 can arise: y(-∞) is 0, the limit, and y(∞) = ∞.

The lines are computed block by block, and only x is kept: s is computed again on the way back.
"""

from math import inf as INF

from ..backends import array_namespace, is_float
from ..backends.threads import by_rows
from ..custom_vjp import custom_vjp
from ..ops import maximum, sigmoid

LIMIT = 800.0


def forward(x):
    """x of any shape -> y of the same shape and dtype, and the cache."""
    _check(x)
    xp = array_namespace(x)
    y = xp.empty(x.shape, dtype=x.dtype)
    x_, y_ = x.reshape(-1), y.reshape(-1)

    def part(i):
        xp.multiply(xp.clip(x_[i], -LIMIT, INF), sigmoid(x_[i]), out=y_[i])

    by_rows(part, xp, x.size, 1)
    return y, x


def backward(dy, cache, needs=None):
    """dy like y -> (dx,)."""
    x = cache
    xp = array_namespace(x)
    dx = xp.empty(x.shape, dtype=x.dtype)
    x_, dy_, dx_ = (a.reshape(-1) for a in (x, dy, dx))

    def part(i):
        s = sigmoid(x_[i])
        d = xp.subtract(1, s, out=dx_[i])
        d *= xp.clip(x_[i], -LIMIT, LIMIT)
        d += 1
        d *= s
        d *= dy_[i]

    by_rows(part, xp, x.size, 1)
    return (dx,)


def reference(x):
    """The same from primitives."""
    _check(x)
    return maximum(x, -LIMIT) * sigmoid(x)


silu = custom_vjp("silu", forward, backward, reference, in_float32=True)


def _check(x):
    if not is_float(x.dtype):
        raise TypeError(f"silu: the input must be floating; got {x.dtype}")
