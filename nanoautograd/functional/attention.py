"""Attention, and the positions that it sees."""

from typing import Any

from numpy import broadcast_shapes

from ..backends import is_float
from ..core.tensor import Tensor
from ..manual.attention import scaled_dot_product_attention as _scaled_dot_product_attention
from ..manual.rotary import rotary_embedding as _rotary_embedding
from ..safety.options import check_flags, check_numbers, check_probability
from ..typing import Array, ArrayLike
from .arguments import any_seed, check_integers


def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike | None = None,
    *,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    return_weights: bool = False,
    seed: int | None = None,
    offset: int = 0,
) -> Any:
    """softmax(scale · query keyᵀ + attn_mask) value.

    query (..., T, d), key (..., S, d), value (..., S, e) -> (..., T, e); batch axes, such as heads,
    broadcast.
    attn_mask: broadcasts to (..., T, S); boolean, True = takes part, or floating and added to the
    scores, in which case it is differentiated too. is_causal: query t sees the keys 0 to t only.
    scale: 1/√d if None. return_weights: also return the weights (..., T, S), after dropout.
    dropout_p, seed, offset: as in `dropout`, for the weights; a mask takes as many random numbers
    as there are weights.

    A query that sees no key gives zeros. Raises ValueError and TypeError for shapes and dtypes.

    Gradients: `backward` in manual/attention.py; step into it within `nag.use_manual()`.
    """
    check_probability("attention", dropout_p=dropout_p)
    if seed is None and dropout_p:
        seed = any_seed("scaled_dot_product_attention")
    return _scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask,
        scale=scale,
        causal=is_causal,
        return_weights=return_weights,
        p=dropout_p,
        seed=seed,
        offset=offset,
    )


def check_attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    *,
    scale: float | None = None,
    causal: bool = False,
    return_weights: bool = False,
    p: float = 0.0,
    seed: int = 0,
    offset: int = 0,
) -> None:
    def got() -> str:
        return f"got q {q.shape}, k {k.shape}, v {v.shape}"

    if q.ndim < 2 or k.ndim < 2 or v.ndim < 2:
        raise ValueError(
            f"attention: q, k, v need two axes or more, (..., time, features); {got()}"
        )
    if q.shape[-1] != k.shape[-1] or q.shape[-1] == 0:
        raise ValueError(
            f"attention: q and k need the same number of features, and one or more; {got()}"
        )
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"attention: there must be one value for each key; {got()}")
    if not is_float(q.dtype) or k.dtype != q.dtype or v.dtype != q.dtype:
        raise TypeError(
            "attention: q, k, v must be floating and of one dtype; "
            f"got {q.dtype}, {k.dtype}, {v.dtype}"
        )
    check_flags("attention", is_causal=causal, return_weights=return_weights)
    check_probability("attention", dropout_p=p)
    if scale is not None:
        check_numbers("attention", scale=scale)
    if p:
        check_integers("attention", seed=seed, offset=offset)
    batch = q.shape[:-2]
    if not batch == k.shape[:-2] == v.shape[:-2]:
        try:
            batch = broadcast_shapes(batch, k.shape[:-2], v.shape[:-2])
        except ValueError:
            raise ValueError(f"attention: the batch axes do not broadcast; {got()}") from None
    if mask is None:
        return
    if mask.dtype != bool and mask.dtype != q.dtype:
        raise TypeError(
            "attention: the mask must be boolean (True = takes part) or, to be added "
            f"to the scores, {q.dtype} like q; got {mask.dtype}"
        )
    scores = (*batch, q.shape[-2], k.shape[-2])
    try:
        fits = broadcast_shapes(scores, mask.shape)[-2:] == scores[-2:]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"attention: a mask of shape {mask.shape} does not broadcast to the "
            f"scores, {scores}; {got()}"
        )


def rotary_embedding(
    input: ArrayLike, *, base: float = 10000.0, offset: int = 0, interleaved: bool = True
) -> Tensor:
    """Turns pairs of features by angles that grow with the position.

    input: (..., T, d), queries or keys, floating, d even. At position offset + t, pair i is turned
    by (offset + t) base^(-2i/d). interleaved: pairs are neighbours, (0, 1), (2, 3), ...; otherwise
    feature i of the first half goes with i of the second.

    Returns an array like the input. Raises ValueError and TypeError for shapes and dtypes.

    Gradients: `backward` in manual/rotary.py; step into it within `nag.use_manual()`.
    """
    return _rotary_embedding(input, base=base, offset=offset, interleaved=interleaved)


def check_rotary(
    x: Array, *, base: float = 10000.0, offset: int = 0, interleaved: bool = True
) -> None:
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ValueError(
            "rotary_embedding: the input must be (..., time, features) with an even "
            f"number of features; got {x.shape}"
        )
    if not is_float(x.dtype):
        raise TypeError(f"rotary_embedding: the input must be floating; got {x.dtype}")
    check_base("rotary_embedding", base)
    check_numbers("rotary_embedding", offset=offset)
    check_flags("rotary_embedding", interleaved=interleaved)


def check_base(name: str, base: float) -> None:
    check_numbers(name, base=base)
    if not base > 0:
        raise ValueError(f"{name}: base must be positive; got {base}")


_scaled_dot_product_attention.check = check_attention
_rotary_embedding.check = check_rotary
