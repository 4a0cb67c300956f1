"""Gaussian error linear unit, by hand.

    x   (M, N)      input, of any shape if there is no bias
    b   (N,)        bias, 0 if not given
    v   (M, N)      x + b
    z   (M, N)      v limited to ±40
    y   (M, N)      output
    dy  (M, N)      ∂L/∂y, the gradient that arrives
    dx, db          ∂L/∂x, ∂L/∂b, the gradients that leave
    Φ, φ            distribution function and density of the standard normal distribution
    u               by whose tanh Φ is approximated
    C, A            √(2/π) and 0.044715, the constants of u

Forward, elementwise (Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2):

    v_mn = x_mn + b_n
    y = v Φ(v) = v/2 (1 + erf(v/√2))                           approximate "none"
    y = v/2 (1 + tanh u),      u = C (v + A v³)                approximate "tanh"

In words: v times the probability that a normal number is smaller than v. The bias is that of the
linear map before.

Backward. With Φ' = φ, φ(v) = exp(-v²/2) / √(2π), the product rule gives for the first

    dx = dy (Φ(v) + v φ(v))

and with tanh' = 1 - tanh², u' = C (1 + 3A v²) for the second

    dx = dy (1/2 (1 + tanh u)  +  v/2 (1 - tanh² u) u')  =  dy (Φ + 2v Φ (1 - Φ) u')

where 1/2 (1 + tanh u), too, is called Φ, so that 1 - tanh² u = 4 Φ (1 - Φ). All rows have the same
bias: db_n = Σ_m dx_mn.

Beyond ±40 Φ is 0 or 1 to the last digit and φ is 0, in float64 and all the more in float32. So Φ, φ
and u are computed of z, and y = max(v, -40) Φ(z): no power of v overflows, and no ∞·0 can arise.
y(-∞) is 0, the limit, and y(∞) = ∞.
"""

from math import pi, sqrt

from ..backends import array_namespace
from ..backends.sums import unbroadcast
from ..custom_vjp import custom_vjp
from ..ops import clip, erf, maximum, tanh

LIMIT = 40.0
C, A = sqrt(2 / pi), 0.044715


def forward(x, bias=None, *, approximate="none"):
    """x of any shape, or (..., N) with a bias (N,) -> y of the same shape and dtype, and the
    cache."""
    xp = array_namespace(x)
    v = x if bias is None else x + bias
    z = xp.clip(v, -LIMIT, LIMIT)
    Φ = distribution(xp, z, approximate)
    y = xp.maximum(v, -LIMIT) * Φ
    return y, (z, Φ, bias, approximate)


def distribution(xp, z, approximate):
    """Φ(z), or what stands for it."""
    if approximate == "none":
        return (erf(z * sqrt(0.5)) + 1) / 2
    return (xp.tanh(C * (z + A * z * z * z)) + 1) / 2


def backward(dy, cache):
    """dy like y -> dx, dbias (None if there was none)."""
    z, Φ, bias, approximate = cache
    if approximate == "none":
        φ = array_namespace(z).exp(-z * z / 2) / sqrt(2 * pi)
        dx = dy * (Φ + z * φ)
    else:
        du = C * (1 + 3 * A * z * z)  # u'
        dx = dy * (Φ + 2 * z * Φ * (1 - Φ) * du)
    db = None if bias is None else unbroadcast(dx, bias.shape)  # Σ_m dx_mn
    return dx, db


def reference(x, bias=None, *, approximate="none"):
    """The same from primitives."""
    v = x if bias is None else x + bias
    z = clip(v, -LIMIT, LIMIT)
    if approximate == "none":
        Φ = (erf(z * sqrt(0.5)) + 1) * 0.5
    else:
        Φ = (tanh(z * (C + C * A * z * z)) + 1) * 0.5
    return maximum(v, -LIMIT) * Φ


gelu = custom_vjp("gelu", forward, backward, reference, in_float32=True)
