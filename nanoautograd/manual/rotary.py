"""Rotary position embedding, by hand.

    x    (..., T, d)   queries or keys at T positions; d is even
    y    (..., T, d)   output
    a, b               the two numbers of a pair of features; there are d/2 pairs at each position
    θ    (d/2,)        angles by which the pairs turn from one position to the next
    φ    (T, d/2)      angles by which they are turned
    dy, dx             ∂L/∂y, ∂L/∂x

Forward (Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding", equations
15 and 34): at position t, pair i is turned by the angle φ_ti,

    φ_ti = (offset + t) θ_i         θ_i = base^(-2i/d),  i = 0 ... d/2 - 1
    a' = a cos φ - b sin φ
    b' = a sin φ + b cos φ

The pairs are neighbours, (x_0, x_1), (x_2, x_3), ..., if `interleaved`, as in the paper; otherwise
a is from the first half of the features and b from the second, (x_0, x_{d/2}), ..., which is the
same but for the order of the features. Written as a matrix, y_t = R_t x_t.

Turning the query at position t and the key at position s, their product depends on t - s alone:

    (R_t q)ᵀ (R_s k) = qᵀ R_tᵀ R_s k = qᵀ R_{s-t} k

`offset` is the position of the first one. Where keys are kept and one token is added at a time, its
offset is the number of those before.

Backward. y is linear in x, and the transpose of a rotation is its inverse, that by the angle -φ:

    dx = R_tᵀ dy:       da = da' cos φ + db' sin φ        db = db' cos φ - da' sin φ
"""

from ..backends import array_namespace
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of
from ..ops import concatenate, reshape, stack


def forward(x, *, base=10000.0, offset=0, interleaved=True):
    """x (..., T, d) -> y of the same shape and dtype, and the cache."""
    cos, sin = angles(x, base, offset)
    return turned(x, cos, sin, interleaved), (cos, sin, interleaved)


def backward(dy, cache):
    """dy like y -> (dx,)."""
    cos, sin, interleaved = cache
    dx = turned(dy, cos, -sin, interleaved)  # by -φ
    return (dx,)


def angles(x, base, offset):
    """cos φ and sin φ, (T, d/2). The angles are float64, for those of late positions are large."""
    xp = array_namespace(x)
    T, d = x.shape[-2:]
    i = xp.arange(d // 2, dtype=xp.float64)
    t = xp.arange(T, dtype=xp.float64) + float(offset)
    θ = float(base) ** (-2 * i / max(d, 1))
    φ = t[:, None] * θ
    return xp.cos(φ).astype(x.dtype), xp.sin(φ).astype(x.dtype)


def turned(x, cos, sin, interleaved):
    """a' and b' for all pairs, at the places of a and b."""
    first, second = places(x.shape[-1], interleaved)
    a, b = x[..., first], x[..., second]
    y = array_namespace(x).empty(x.shape, dtype=x.dtype)
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y


def places(d, interleaved):
    """Which of d features are a of a pair, and which are b."""
    if interleaved:
        return slice(0, None, 2), slice(1, None, 2)
    return slice(None, d // 2), slice(d // 2, None)


def reference(x, *, base=10000.0, offset=0, interleaved=True):
    """The same from primitives."""
    cos, sin = angles(array_of(x), base, offset)
    first, second = places(x.shape[-1], interleaved)
    a, b = x[..., first], x[..., second]
    turned = [a * cos - b * sin, a * sin + b * cos]
    if interleaved:
        return reshape(stack(turned, axis=-1), x.shape)
    return concatenate(turned, axis=-1)


rotary_embedding = custom_vjp("rotary_embedding", forward, backward, reference)
