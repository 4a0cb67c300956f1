"""Elementwise operations, with NumPy's broadcasting.

For y = f(x) the rule is x̄ = ȳ f'(x), where x̄ is short for dL/dx; in code ȳ is `g` and y is `out`.

Ties and kinks: where several arguments attain the value of a maximum or minimum, they share the
gradient equally. So maximum(a, a) gives one half to each, relu(x) = maximum(x, 0) has the slope
1/2 at 0, |x| = maximum(x, -x) the slope 0, and clip the slope 1/2 at its bounds. The choice is the
same in max, min and sort (reductions.py), and it is the slope that central differences see.

NaN: where one of the arguments is NaN, so is the result of each of these, and so are all of its
derivatives. A NaN does not turn into a gradient of 0.
"""

import builtins
import math
from typing import Any

import numpy as np

from ..backends import array_namespace, device_of, to_device
from ..backends.threads import parallel_rows
from ..core.operation import function
from ..core.tensor import Tensor
from ..interface.array_interface import array_of
from ..safety.arguments import as_arrays, check_operand
from ..safety.checks import check_complex
from ..typing import ArrayLike, DTypeLike

# ---- what is given


def weak(a: Any, b: Any) -> tuple:
    """The arguments; a Python float beside an array of bfloat16 as an array of it. A Python number
    promotes nothing, but of the dtypes of other packages NumPy does not know that: it goes to
    float32."""
    if type(a) is float and _is_bfloat16(b) or type(b) is float and _is_bfloat16(a):
        return as_arrays(a, b, name="an operation")
    return a, b


def _is_bfloat16(x):
    return hasattr(x, "dtype") and x.dtype.kind == "V"


def namespace_of_reals(name: str, *xs: Any) -> Any:
    """The namespace of the arguments of an operation. Raises TypeError for complex numbers: they
    have no order, or the formula is wrong for them."""
    for x in xs:
        if type(x) is complex or hasattr(x, "dtype") and x.dtype.kind == "c":
            kind = f"an array of dtype {x.dtype}" if hasattr(x, "dtype") else f"{x}"
            raise TypeError(f"{name} is computed of real numbers only, not of {kind}")
    return array_namespace(*xs)


# ---- arithmetic


@function
def add(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a + b:  ā = ȳ,  b̄ = ȳ."""
    if type(b) is float and a.dtype.kind == "V" or type(a) is float and b.dtype.kind == "V":
        a, b = weak(a, b)
    return a + b


add.defvjp(a=lambda g: g, b=lambda g: g)


@function
def subtract(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a - b:  ā = ȳ,  b̄ = -ȳ."""
    if type(b) is float and a.dtype.kind == "V" or type(a) is float and b.dtype.kind == "V":
        a, b = weak(a, b)
    return a - b


subtract.defvjp(a=lambda g: g, b=lambda g: -g)


@function
def multiply(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a · b:  ā = ȳ b,  b̄ = ȳ a."""
    if type(b) is float and a.dtype.kind == "V" or type(a) is float and b.dtype.kind == "V":
        a, b = weak(a, b)
    return a * b


multiply.defvjp(a=lambda g, b: g * b, b=lambda g, a: g * a)


@function
def divide(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a / b:  ā = ȳ / b,  b̄ = -ȳ a / b² = -ȳ y / b."""
    if type(b) is float and a.dtype.kind == "V" or type(a) is float and b.dtype.kind == "V":
        a, b = weak(a, b)
    return a / b


divide.defvjp(a=lambda g, b: g / b, b=lambda g, b, out: -g * (out / b))


@function
def power(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a to the power b:  ā = ȳ b a^(b-1),  b̄ = ȳ aᵇ log a.

    The limits are taken at the edges of the domain: a⁰ has the slope 0 everywhere, and 0ᵇ does
    not depend on b. A negative a with a fractional b gives NaN, as in NumPy.
    """
    a, b = weak(a, b)
    return a**b


power.defvjp(
    a=lambda g, a, b: g * b * _base(a, b) ** _less_one(b),
    b=lambda g, a, out: g * out * _log_base(a),
)


def _base(a, b):
    """a, but 1 where b = 0: ±∞ and NaN have the slope 0 there, too."""
    if isinstance(b, (int, float)):
        return a if b else 1
    return where(b == 0, 1, a)


def _less_one(b):
    """b - 1, but 1 where b = 0: that factor is multiplied by b, and 0 · 0⁻¹ is not wanted."""
    if isinstance(b, (int, float)):  # a Python scalar must stay one, to promote nothing
        return b - 1 if b else 1
    return where(b == 0, 1, b - 1)


def _log_base(a):
    """log a, but 0 where a = 0: that is multiplied by 0ᵇ."""
    if isinstance(a, (int, float)):
        return math.log(a) if a > 0 else 0.0 if a == 0 else math.nan
    return log(where(a == 0, 1, a))


@function
def remainder(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a % b = a - b ⌊a/b⌋, with the sign of b:  ā = ȳ,  b̄ = -ȳ ⌊a/b⌋."""
    namespace_of_reals("remainder", a, b)
    a, b = weak(a, b)
    return a % b


remainder.defvjp(a=lambda g: g, b=lambda g, a, b: -g * (a // b))


@function
def negative(x: ArrayLike) -> Tensor:
    """-x:  x̄ = -ȳ."""
    return -x


negative.defvjp(x=lambda g: -g)


@function
def positive(x: ArrayLike) -> Tensor:
    """+x:  x̄ = ȳ."""
    return +x


positive.defvjp(x=lambda g: g)


@function
def reciprocal(x: ArrayLike) -> Tensor:
    """1 / x:  x̄ = -ȳ / x² = -ȳ y²."""
    return array_namespace(x).reciprocal(x)


reciprocal.defvjp(x=lambda g, out: -g * out * out)


@function
def square(x: ArrayLike) -> Tensor:
    """x²:  x̄ = 2 ȳ x."""
    return array_namespace(x).square(x)


square.defvjp(x=lambda g, x: 2 * (g * x))  # 2 x alone may be out of range


@function
def sqrt(x: ArrayLike) -> Tensor:
    """√x:  x̄ = ȳ / 2y."""
    return array_namespace(x).sqrt(x)


sqrt.defvjp(x=lambda g, out: g / (2 * out))


# ---- absolute value and sign


@function
def abs(x: ArrayLike) -> Tensor:
    """|x|:  x̄ = ȳ sign x; the slope at 0 is 0."""
    return array_namespace(x).abs(x)


abs.defvjp(x=lambda g, x: g * sign(x))


@function
def sign(x: ArrayLike) -> Tensor:
    """-1, 0 or 1, and NaN for NaN; its derivative is 0:  x̄ = 0."""
    xp = array_namespace(x)
    return xp.sign(x) if xp is np else xp.where(x == x, xp.sign(x), x)  # CuPy's sign of NaN is 0


sign.defvjp(x=lambda g: g * 0)


# ---- exponentials and logarithms


@function
def exp(x: ArrayLike) -> Tensor:
    """eˣ:  x̄ = ȳ y."""
    return array_namespace(x).exp(x)


exp.defvjp(x=lambda g, out: g * out)


@function
def expm1(x: ArrayLike) -> Tensor:
    """eˣ - 1, accurate near 0:  x̄ = ȳ eˣ = ȳ (y + 1)."""
    return array_namespace(x).expm1(x)


expm1.defvjp(x=lambda g, out: g * (out + 1))


@function
def log(x: ArrayLike) -> Tensor:
    """The natural logarithm:  x̄ = ȳ / x."""
    return array_namespace(x).log(x)


log.defvjp(x=lambda g, x: g / x)


@function
def log1p(x: ArrayLike) -> Tensor:
    """log(1 + x), accurate near 0:  x̄ = ȳ / (1 + x)."""
    return array_namespace(x).log1p(x)


log1p.defvjp(x=lambda g, x: g / (1 + x))


@function
def sigmoid(x: ArrayLike) -> Tensor:
    """The logistic function 1 / (1 + e⁻ˣ):  x̄ = ȳ y (1 - y). Never overflows."""
    xp = namespace_of_reals("sigmoid", x)
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


sigmoid.defvjp(x=lambda g, out: g * out * (1 - out))


@function
def softplus(x: ArrayLike) -> Tensor:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^-|x|):  x̄ = ȳ sigmoid(x). Never overflows."""
    xp = namespace_of_reals("softplus", x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


softplus.defvjp(x=lambda g, x: g * sigmoid(x))


# ---- trigonometric and hyperbolic functions


@function
def sin(x: ArrayLike) -> Tensor:
    """The sine, of radians:  x̄ = ȳ cos x."""
    return array_namespace(x).sin(x)


sin.defvjp(x=lambda g, x: g * cos(x))


@function
def cos(x: ArrayLike) -> Tensor:
    """The cosine, of radians:  x̄ = -ȳ sin x."""
    return array_namespace(x).cos(x)


cos.defvjp(x=lambda g, x: -g * sin(x))


@function
def tan(x: ArrayLike) -> Tensor:
    """The tangent, of radians:  x̄ = ȳ / cos² x = ȳ (1 + y²)."""
    return array_namespace(x).tan(x)


tan.defvjp(x=lambda g, out: g * (1 + out * out))


@function
def sinh(x: ArrayLike) -> Tensor:
    """The hyperbolic sine:  x̄ = ȳ cosh x."""
    return array_namespace(x).sinh(x)


sinh.defvjp(x=lambda g, x: g * cosh(x))


@function
def cosh(x: ArrayLike) -> Tensor:
    """The hyperbolic cosine:  x̄ = ȳ sinh x."""
    return array_namespace(x).cosh(x)


cosh.defvjp(x=lambda g, x: g * sinh(x))


@function
def tanh(x: ArrayLike) -> Tensor:
    """The hyperbolic tangent:  x̄ = ȳ (1 - y²)."""
    return array_namespace(x).tanh(x)


tanh.defvjp(x=lambda g, out: g * (1 - out * out))


@function
def arcsin(x: ArrayLike) -> Tensor:
    """The inverse sine, in radians:  x̄ = ȳ / √(1 - x²)."""
    return array_namespace(x).arcsin(x)


arcsin.defvjp(x=lambda g, x: g / sqrt((1 - x) * (1 + x)))  # no digits are lost near ±1


@function
def arccos(x: ArrayLike) -> Tensor:
    """The inverse cosine, in radians:  x̄ = -ȳ / √(1 - x²)."""
    return array_namespace(x).arccos(x)


arccos.defvjp(x=lambda g, x: -g / sqrt((1 - x) * (1 + x)))


@function
def arctan(x: ArrayLike) -> Tensor:
    """The inverse tangent, in radians:  x̄ = ȳ / (1 + x²)."""
    return array_namespace(x).arctan(x)


arctan.defvjp(x=lambda g, x: _over_squares(g, 1, x, 1))


@function
def arctan2(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The angle of the point (x2, x1), in radians, from -π to π.

    With r² = x1² + x2²:  x̄1 = ȳ x2 / r²,  x̄2 = -ȳ x1 / r².
    """
    x1, x2 = weak(x1, x2)
    return namespace_of_reals("arctan2", x1, x2).arctan2(x1, x2)


arctan2.defvjp(
    x1=lambda g, x1, x2: _over_squares(g, x2, x1, x2),
    x2=lambda g, x1, x2: -_over_squares(g, x1, x1, x2),
)


def _over_squares(g, x, x1, x2):
    """g x / (x1² + x2²). The squares of large and small numbers are out of range, so x, x1 and x2
    are divided by m = max(|x1|, |x2|) first."""
    m = _largest(x1, x2)
    y1, y2 = x1 / m, x2 / m
    return g / m * (x / m / (y1 * y1 + y2 * y2))


def _largest(x1, x2):
    """max(|x1|, |x2|), as a constant; 1 where that is 0, infinite or NaN."""
    x1, x2 = array_of(x1), array_of(x2)
    xp = array_namespace(x1, x2)
    m = xp.maximum(builtins.abs(x1), builtins.abs(x2))
    return xp.where((m > 0) & (m < math.inf), m, xp.ones_like(m))


# ---- the error function

CELLS = 32  # grid points per unit
EDGE = 6  # erf(6) = 1 - 2e-17
_C = [k / CELLS for k in range(-EDGE * CELLS, EDGE * CELLS + 1)]
_TABLES: dict = {}  # (namespace, dtype) -> erf and its slope at _C

EDGE32 = 4  # erf(4) = 1 - 2e-8, in float32 1
_A = (
    1.12837925,
    0.102769864,
    -1.95288104e-4,
    -6.14838306e-4,
    8.45966151e-5,
    -4.7946128e-6,
    2.75769681e-8,
    5.42156437e-9,
)  # of (artanh erf x) / x, by powers of x²


@function
def erf(x: ArrayLike) -> Tensor:
    """The error function 2/√π ∫₀ˣ e^(-t²) dt:  x̄ = ȳ 2/√π e^(-x²).

    In float64, and to its digits in longdouble, it is computed by Taylor's formula about the
    nearest c of a grid, x = c + d with |d| ≤ 1/64. Since erf'(c) = 2/√π e^(-c²), and each further
    derivative brings a Hermite polynomial,

        erf(c + d) = erf(c) + erf'(c) Σ_n (-1)ⁿ Hₙ(c) dⁿ⁺¹ / (n+1)!

    with Hₙ₊₁ = 2c Hₙ - 2n Hₙ₋₁ (Abramowitz & Stegun 1964, 7.1.19, 22.7.13), to eight terms.

    In float32 it is erf x = tanh(x Σ_k a_k x²ᵏ), since artanh erf x is nearly a straight line. The
    a_k make the largest relative error on |x| ≤ 4 as small as it can be with eight of them, 7e-8
    (least squares, weighted anew until the errors are level: Lawson 1961); rounding makes it 2e-7.
    """
    xp = namespace_of_reals("erf", x)
    x = xp.asarray(x)
    x = x.astype(float) if x.dtype.kind in "iub" else x
    y = xp.empty(x.shape, dtype=x.dtype)
    flat, y_ = x.reshape(-1), y.reshape(-1)
    f = _erf_by_tanh if x.dtype.itemsize <= 4 else _erf_by_taylor
    wide = "float32" if x.dtype.itemsize == 2 else x.dtype  # the a_k are too small for float16

    def erf_of(i):
        y_[i] = f(xp, flat[i].astype(wide, copy=False))

    parallel_rows(erf_of, xp, x.size, 1)
    return y


def _erf_by_tanh(xp, x):
    x = xp.clip(x, -EDGE32, EDGE32)
    s = x * x
    p = s * _A[-1]
    for a in _A[-2:0:-1]:  # Horner's rule
        p += a
        p *= s
    p += _A[0]
    p *= x
    return xp.tanh(p, out=p)


def _erf_by_taylor(xp, x):
    if (xp, x.dtype) not in _TABLES:
        _TABLES[xp, x.dtype] = (
            xp.asarray([math.erf(c) for c in _C], dtype=x.dtype),
            xp.asarray([2 / math.sqrt(math.pi) * math.exp(-c * c) for c in _C], dtype=x.dtype),
        )
    values, slopes = _TABLES[xp, x.dtype]
    inside = xp.clip(xp.where(x == x, x, 0), -EDGE, EDGE)
    k = xp.rint(inside * CELLS).astype("int32")
    c = k.astype(x.dtype) / CELLS
    k = k + EDGE * CELLS
    d = inside - c
    h_before, h = xp.zeros_like(c), xp.ones_like(c)  # Hₙ₋₁ and Hₙ, n = 0
    term = total = d  # (-1)ⁿ dⁿ⁺¹ / (n+1)!
    for n in range(7):
        h_before, h = h, 2 * c * h - 2 * n * h_before
        term = term * d / -(n + 2)
        total = total + h * term
    return xp.where(x == x, values[k] + slopes[k] * total, x)


erf.defvjp(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))


# ---- choice


@function
def maximum(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The larger of x1 and x2:  x̄1 = ȳ where x1 > x2, ȳ/2 where x1 = x2, 0 where x1 < x2, and NaN
    where one is NaN; x̄2 likewise."""
    x1, x2 = weak(x1, x2)
    return namespace_of_reals("maximum", x1, x2).maximum(x1, x2)


@function
def minimum(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The smaller of x1 and x2:  x̄1 = ȳ where x1 < x2, ȳ/2 where x1 = x2, 0 where x1 > x2, and NaN
    where one is NaN; x̄2 likewise."""
    x1, x2 = weak(x1, x2)
    return namespace_of_reals("minimum", x1, x2).minimum(x1, x2)


maximum.defvjp(
    x1=lambda g, x1, x2: g * _share(g, x1, x2), x2=lambda g, x1, x2: g * _share(g, x2, x1)
)
minimum.defvjp(
    x1=lambda g, x1, x2: g * _share(g, x2, x1), x2=lambda g, x1, x2: g * _share(g, x1, x2)
)


def _share(g, x1, x2):
    """1 where x1 > x2, 1/2 where they are equal, 0 where x1 < x2, and NaN, as 0/0, where one of
    them is NaN; a constant, of g's dtype."""
    x1, x2 = array_of(x1), array_of(x2)
    is_largest = (x1 >= x2).astype(g.dtype)
    with np.errstate(invalid="ignore"):  # on the host; CuPy does not warn
        return is_largest / (is_largest + (x1 <= x2))


def clip(
    a: ArrayLike,
    a_min: ArrayLike | None = None,
    a_max: ArrayLike | None = None,
    *,
    min: ArrayLike | None = None,
    max: ArrayLike | None = None,
) -> Tensor:
    """`a` limited to [a_min, a_max], also called min and max; None is no limit.

    ā = ȳ between the limits, ȳ/2 at one, 0 beyond, NaN where something is NaN; a limit gets what
    `a` does not.
    """
    if a_min is not None and min is not None or a_max is not None and max is not None:
        raise TypeError("clip: a_min and min are one limit, as are a_max and max; give one of both")
    a_min, a_max = (min if a_min is None else a_min), (max if a_max is None else a_max)
    if a_min is not None:
        a = maximum(a, a_min)
    if a_max is not None:
        a = minimum(a, a_max)
    return positive(a) if a_min is None and a_max is None else a


@function
def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> Tensor:
    """z = x where the condition holds, elsewhere y.

    x̄ = z̄ where the condition holds, 0 elsewhere;  ȳ = 0 where it holds, z̄ elsewhere.
    """
    xp = array_namespace(condition, x, y)
    holds = xp.asarray(condition)
    if holds.dtype.kind != "b" or x is None or y is None:  # NumPy takes any object
        for a in (condition, x, y):
            check_operand(a, "where")
    return xp.where(holds, *weak(x, y))


where.defvjp(
    x=lambda g, condition: where(condition, g, 0), y=lambda g, condition: where(condition, 0, g)
)


@function
def astype(x: ArrayLike, dtype: DTypeLike) -> Tensor:
    """A copy of x in a dtype:  x̄ = ȳ, in the dtype of x. Raises TypeError for complex numbers that
    would lose their imaginary parts."""
    return cast(x, dtype, copy=True)


astype.defvjp(x=lambda g: g)


def cast(x: Any, dtype: DTypeLike, copy: bool = False) -> Any:
    """An array in a dtype, complex numbers in no real one."""
    if x.dtype.kind == "c" and np.dtype(dtype) != bool:
        check_complex(x, np.dtype(dtype))
    return x.astype(dtype, copy=copy)


def to(a: ArrayLike, device: str) -> Tensor:
    """`a` on a device: "cpu", "cuda", "cuda:N"; itself if it is there. Raises DeviceError.

    ā = ȳ, on the device of `a`.
    """
    x = array_of(a)
    return a if to_device(x, device) is x else _moved(a, device, device_of(x))


@function
def _moved(a, device, origin):
    """`a`, which is on `origin`, on `device`."""
    return to_device(a, device)


_moved.defvjp(a=lambda g, origin: to(g, origin))
