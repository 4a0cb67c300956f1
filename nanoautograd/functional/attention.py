"""Attention, and the positions that it sees."""

from ..manual.attention import scaled_dot_product_attention as _scaled_dot_product_attention
from ..manual.rotary import rotary_embedding as _rotary_embedding
from .arguments import any_seed


def scaled_dot_product_attention(
    query,
    key,
    value,
    attn_mask=None,
    *,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    return_weights=False,
    seed=None,
    offset=0,
):
    """softmax(scale · query keyᵀ + attn_mask) value. See manual/attention.py.

    query (..., T, d), key (..., S, d), value (..., S, e) -> (..., T, e); batch axes, such as heads,
    broadcast.
    attn_mask: broadcasts to (..., T, S); boolean, True = takes part, or floating and added to the
    scores, in which case it is differentiated too. is_causal: query t sees the keys 0 to t only.
    scale: 1/√d if None. return_weights: also return the weights (..., T, S), after dropout.
    dropout_p, seed, offset: as in `dropout`, for the weights; a mask takes as many random numbers
    as there are weights.

    A query that sees no key gives zeros. Raises ValueError and TypeError for shapes and dtypes.
    """
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
        dropout=dropout_p,
        seed=seed,
        offset=offset,
    )


def rotary_embedding(input, *, base=10000.0, offset=0, interleaved=True):
    """Turns pairs of features by angles that grow with the position. See manual/rotary.py.

    input: (..., T, d), queries or keys, floating, d even. At position offset + t, pair i is turned
    by (offset + t) base^(-2i/d). interleaved: pairs are neighbours, (0, 1), (2, 3), ...; otherwise
    feature i of the first half goes with i of the second.

    Returns an array like the input. Raises ValueError and TypeError for shapes and dtypes.
    """
    return _rotary_embedding(input, base=base, offset=offset, interleaved=interleaved)
