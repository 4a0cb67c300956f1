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

from ..array_interface import array_of
from ..backends import array_namespace, is_float
from ..custom_vjp import custom_vjp
from ..ops import concatenate, reshape, stack


def forward(x, *, base=10000.0, offset=0, interleaved=True):
    """x (..., T, d) -> y of the same shape and dtype, and the cache."""
    cos, sin = _angles(x, base, offset)
    return _turned(x, cos, sin, interleaved), (cos, sin, interleaved)


def backward(dy, cache, needs=None):
    """dy like y -> (dx,)."""
    cos, sin, interleaved = cache
    return (_turned(dy, cos, -sin, interleaved),)


def reference(x, *, base=10000.0, offset=0, interleaved=True):
    """The same from primitives."""
    cos, sin = _angles(array_of(x), base, offset)
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        return reshape(stack([a * cos - b * sin, a * sin + b * cos], axis=-1), x.shape)
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


rotary_embedding = custom_vjp("rotary_embedding", forward, backward, reference)


def _turned(x, cos, sin, interleaved):
    """The pairs of features, turned."""
    half = x.shape[-1] // 2
    first, second = (
        (slice(0, None, 2), slice(1, None, 2))
        if interleaved
        else (slice(None, half), slice(half, None))
    )
    a, b = x[..., first], x[..., second]
    y = array_namespace(x).empty(x.shape, dtype=x.dtype)
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y


def _angles(x, base, offset):
    """cos φ and sin φ, (T, d/2). The angles are float64, for those of late positions are large."""
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ValueError(
            "rotary_embedding: the input must be (..., time, features) with an even "
            f"number of features; got {x.shape}"
        )
    if not is_float(x.dtype):
        raise TypeError(f"rotary_embedding: the input must be floating; got {x.dtype}")
    if not base > 0:
        raise ValueError(f"rotary_embedding: base must be positive; got {base}")
    xp = array_namespace(x)
    T, d = x.shape[-2:]
    i = xp.arange(d // 2, dtype=xp.float64)
    t = xp.arange(T, dtype=xp.float64) + offset
    phi = t[:, None] * float(base) ** (-2 * i / max(d, 1))
    return xp.cos(phi).astype(x.dtype), xp.sin(phi).astype(x.dtype)
