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
"""

from ..backends import array_namespace
from ..custom_vjp import custom_vjp
from ..ops import maximum, sigmoid

LIMIT = 800.0


def forward(x):
    """x of any shape -> y of the same shape and dtype, and the cache."""
    s = sigmoid(x)
    y = array_namespace(x).maximum(x, -LIMIT) * s
    return y, (x, s)


def backward(dy, cache):
    """dy like y -> (dx,)."""
    x, s = cache
    x = array_namespace(x).clip(x, -LIMIT, LIMIT)
    dx = dy * s * (1 + x * (1 - s))
    return (dx,)


def reference(x):
    """The same from primitives."""
    return maximum(x, -LIMIT) * sigmoid(x)


silu = custom_vjp("silu", forward, backward, reference, in_float32=True)
