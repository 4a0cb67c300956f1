"""Gaussian error linear unit, by hand.

    x   (M, N)      input, of any shape if there is no bias
    b   (N,)        bias, 0 if not given
    v   (M, N)      x + b
    z   (M, N)      v limited to ±40
    y   (M, N)      output
    dy  (M, N)      ∂L/∂y, the gradient that arrives
    dx, db          ∂L/∂x, ∂L/∂b, the gradients that leave
    Φ, φ            distribution function and density of the standard normal distribution
    c, a            √(2/π) and 0.044715, the constants of the approximation

Forward, elementwise (Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2):

    v_mn = x_mn + b_n
    y = v Φ(v) = v/2 (1 + erf(v/√2))                           approximate "none"
    y = v/2 (1 + tanh u),      u = c (v + a v³)                approximate "tanh"

In words: v times the probability that a normal number is smaller than v. The bias is that of the
linear map before: added here, and its gradient summed up here, it takes no pass over memory of its
own.

Backward. With Φ' = φ, φ(v) = exp(-v²/2) / √(2π), the product rule gives for the first

    dx = dy (Φ(v) + v φ(v))

and with tanh' = 1 - tanh², u' = c (1 + 3a v²) for the second

    dx = dy (1/2 (1 + tanh u)  +  v/2 (1 - tanh² u) c (1 + 3a v²))

and all rows have the same bias: db_n = Σ_m dx_mn.

Beyond ±40 Φ is 0 or 1 to the last digit and φ is 0, in float64 and all the more in float32. So Φ, φ
and u are computed of z, and y = max(v, -40) Φ(z): no power of v overflows, and no ∞·0 can arise.
y(-∞) is 0, the limit, and y(∞) = ∞.

The lines are computed block by block, and only x and b are kept: v and Φ are computed again on the
way back, which takes no longer than to write them to memory and read them. There 1 - tanh² u =
4 Φ (1 - Φ).
"""

from math import inf as INF
from math import pi, prod, sqrt

from ..backends import array_namespace, is_float
from ..backends.sums import column_sums, total
from ..backends.threads import by_rows
from ..custom_vjp import custom_vjp
from ..ops import clip, erf, maximum, tanh

LIMIT = 40.0
C, A = sqrt(2 / pi), 0.044715


def forward(x, bias=None, *, approximate="none"):
    """x of any shape, or (..., N) with a bias (N,) -> y of the same shape and dtype, and the
    cache."""
    M, N = checked_rows(x, bias, approximate)
    xp = array_namespace(x)
    y = xp.empty(x.shape, dtype=x.dtype)
    x_, y_ = x.reshape(M, N), y.reshape(M, N)

    def part(m):
        v = x_[m] if bias is None else xp.add(x_[m], bias, out=y_[m])
        Phi = _distribution(xp, xp.clip(v, -LIMIT, LIMIT), approximate)
        xp.multiply(xp.clip(v, -LIMIT, INF), Phi, out=y_[m])

    by_rows(part, xp, M, N)
    return y, (x_, bias, approximate)


def backward(dy, cache, needs=None):
    """dy like y -> dx, dbias (None if there was none)."""
    x, bias, approximate = cache
    need_x, need_b = needs or (True,) * 2
    need_b = need_b and bias is not None
    xp, (M, N) = array_namespace(x), x.shape
    dx = xp.empty(dy.shape, dtype=x.dtype)
    dy_, dx_ = dy.reshape(M, N), dx.reshape(M, N)

    def part(m):
        """Returns the share of these rows in db."""
        z = xp.clip(x[m] if bias is None else x[m] + bias, -LIMIT, LIMIT)
        Phi = _distribution(xp, z, approximate)
        slope = xp.multiply(z, z, out=dx_[m])
        if approximate == "none":
            slope *= -0.5
            xp.exp(slope, out=slope)
            slope *= 1 / sqrt(2 * pi)  # φ
        else:
            slope *= 6 * C * A
            slope += 2 * C  # 2 u'
            slope *= Phi
            slope *= 1 - Phi  # (1 - tanh²)/2 · u'
        slope *= z
        slope += Phi  # dy/dv
        slope *= dy_[m]
        return column_sums(slope) if need_b else None

    sums = by_rows(part, xp, M, N)
    db = (total(sums) if sums else xp.zeros_like(bias)) if need_b else None
    return dx if need_x else None, db


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


def reference(x, bias=None, *, approximate="none"):
    """The same from primitives."""
    checked_rows(x, bias, approximate)
    v = x if bias is None else x + bias
    z = clip(v, -LIMIT, LIMIT)
    if approximate == "none":
        Phi = (erf(z * sqrt(0.5)) + 1) * 0.5
    else:
        Phi = (tanh(z * (C + C * A * z * z)) + 1) * 0.5
    return maximum(v, -LIMIT) * Phi


gelu = custom_vjp("gelu", forward, backward, reference, in_float32=True)


def checked_rows(x, bias, approximate):
    """(M, N), the rows of x with as many columns as there are biases; one column without. Raises
    the error that names what does not fit."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh'; got {approximate!r}")
    if not is_float(x.dtype):
        raise TypeError(f"gelu: the input must be floating; got {x.dtype}")
    if bias is None:
        return prod(x.shape), 1
    if not x.ndim or bias.shape != x.shape[-1:]:
        raise ValueError(
            "gelu: the bias must be (N,), one number for each feature of an input "
            f"(..., N); got input {x.shape} and bias {bias.shape}"
        )
    if bias.dtype != x.dtype:
        raise TypeError(
            f"gelu: the bias must have the dtype of the input; got input {x.dtype} and "
            f"bias {bias.dtype}"
        )
    return prod(x.shape[:-1]), len(bias)
