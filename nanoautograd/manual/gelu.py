"""Gaussian error linear unit, by hand.

    x   any shape   input
    y   like x      output
    dy  like x      ∂L/∂y, the gradient that arrives
    dx  like x      ∂L/∂x, the gradient that leaves
    Φ, φ            distribution function and density of the standard normal distribution
    c, a            √(2/π) and 0.044715, the constants of the approximation

Forward, elementwise (Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2):

    y = x Φ(x) = x/2 (1 + erf(x/√2))                           approximate "none"
    y = x/2 (1 + tanh u),      u = c (x + a x³)                approximate "tanh"

In words: x times the probability that a normal number is smaller than x.

Backward. With Φ' = φ, φ(x) = exp(-x²/2) / √(2π), the product rule gives for the first

    dx = dy (Φ(x) + x φ(x))

and with tanh' = 1 - tanh², u' = c (1 + 3a x²) for the second

    dx = dy (1/2 (1 + tanh u)  +  x/2 (1 - tanh² u) c (1 + 3a x²))

Beyond ±40 Φ is 0 or 1 to the last digit and φ is 0, in float64 and all the more in float32. So Φ, φ
and u are computed of z, which is x limited to ±40: no power of x overflows, and no ∞·0 can arise.
y(-∞) is 0, the limit, and y(∞) = ∞.

The lines are computed block by block, and only x is kept: Φ is computed again on the way back,
which takes no longer than to write it to memory and read it. There 1 - tanh² u = 4 Φ (1 - Φ).
"""

from math import inf as INF, pi, sqrt

from ..backends import namespace
from ..backends.threads import by_rows
from ..ops import clip, erf, maximum, tanh
from ..tensor import is_float

LIMIT = 40.0
C, A = sqrt(2 / pi), 0.044715


def forward(x, *, approximate="none"):
    """x of any shape -> y of the same shape and dtype, and the cache."""
    _check(x, approximate)
    xp = namespace(x)
    y = xp.empty(x.shape, dtype=x.dtype)
    x_, y_ = x.reshape(-1), y.reshape(-1)

    def part(i):
        Phi = _distribution(xp, xp.clip(x_[i], -LIMIT, LIMIT), approximate)
        xp.multiply(xp.clip(x_[i], -LIMIT, INF), Phi, out=y_[i])

    by_rows(part, xp, x.size, 1)
    return y, (x, approximate)


def backward(dy, cache, needs=None):
    """dy like y -> (dx,)."""
    x, approximate = cache
    xp = namespace(x)
    dx = xp.empty(x.shape, dtype=x.dtype)
    x_, dy_, dx_ = (a.reshape(-1) for a in (x, dy, dx))

    def part(i):
        z = xp.clip(x_[i], -LIMIT, LIMIT)
        Phi = _distribution(xp, z, approximate)
        slope = xp.multiply(z, z, out=dx_[i])
        if approximate == "none":
            slope *= -0.5
            xp.exp(slope, out=slope)
            slope *= 1 / sqrt(2 * pi)                                   # φ
        else:
            slope *= 6 * C * A
            slope += 2 * C                                              # 2 u'
            slope *= Phi
            slope *= 1 - Phi                                            # (1 - tanh²)/2 · u'
        slope *= z
        slope += Phi
        slope *= dy_[i]

    by_rows(part, xp, x.size, 1)
    return dx,


def _distribution(xp, z, approximate):
    """Φ(z), or what stands for it."""
    if approximate == "none":
        Phi = erf(z * sqrt(0.5))
    else:
        u = z * z
        u *= C * A
        u += C
        u *= z
        Phi = xp.tanh(u, out=u)
    Phi += 1
    Phi *= 0.5
    return Phi


def composed(x, *, approximate="none"):
    """The same from primitives."""
    _check(x, approximate)
    z = clip(x, -LIMIT, LIMIT)
    if approximate == "none":
        Phi = (erf(z * sqrt(0.5)) + 1) * 0.5
    else:
        Phi = (tanh(z * (C + C * A * z * z)) + 1) * 0.5
    return maximum(x, -LIMIT) * Phi


def _check(x, approximate):
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh'; got {approximate!r}")
    if not is_float(x.dtype):
        raise TypeError(f"gelu: the input must be floating; got {x.dtype}")
