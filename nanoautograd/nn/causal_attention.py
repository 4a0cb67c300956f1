"""Causal attention: what GPT and Llama do with queries, keys and values.

There are S positions, whose keys k and values v are known; the last T of them ask, with queries q,
and each sees itself and those before it. H heads ask, and K heads answer: each serves the queries
of H/K heads, a group (H = K in GPT). For the heads h = 0 ... H - 1 and the queries t = 0 ... T - 1:

    αʰ_ts = softmax_s(qʰ_t · kᵍ_s / √d)         s ≤ S - T + t, the place of query t; g = ⌊h K/H⌋
    oʰ_t  = Σ_s αʰ_ts vᵍ_s                      d the features of a head

Source: J. Ainslie et al., "GQA: training generalized multi-query Transformer models from multi-head
checkpoints", 2023, section 2.2 (groups). Softmax and sum are derived in manual/attention.py. While
a text is written T is 1: one_position.py is shorter then.
"""

from typing import Any

from .. import functional as F
from ..backends import array_namespace
from ..interface.array_interface import array_of


def causal_attention(q: Any, k: Any, v: Any, dropout: Any = None, seen: Any = None) -> Any:
    """q (B, H, T, d), k and v (B, K, S, d) -> o (B, H, T, d). dropout: a Dropout for the weights α,
    or None. seen: (B, 1, 1, S), booleans, False for positions s that no query sees, as they are
    padding; None for all True. Raises ValueError where H is no multiple of K."""
    (B, H, T, d), (K, S) = q.shape, k.shape[1:3]
    if H % K:
        raise ValueError(f"causal_attention: {H} heads of queries cannot share {K} heads of keys")
    options = {} if dropout is None else dropout.options(B * H * T * S, q)
    if T == S:
        options["is_causal"] = True
    else:  # is_causal says s ≤ t, and here it is s ≤ S - T + t
        before = array_namespace(array_of(q)).tri(T, S, S - T, dtype=bool)
        seen = before if seen is None else before & seen
    if H == K:
        return F.scaled_dot_product_attention(q, k, v, seen, **options)
    groups = q.reshape(B, K, H // K, T, d)  # each with its one head of keys, and of values
    seen = None if seen is None else seen[..., None, :, :]
    o = F.scaled_dot_product_attention(groups, k[:, :, None], v[:, :, None], seen, **options)
    return o.reshape(q.shape)
