"""Copying: a target symbol is written from a vocabulary, or taken from the source.

    p_t[r] = g_t softmax(logits_t)[r] + (1 - g_t) Σ_i β_ti [x_i = r]

x_i are the symbols of the source, of the same R as the target's; β_t is a distribution over their
places, what attention looks at; g_t is between 0, all from there, and 1. The sum runs over all
places where r stands, so a copied symbol is as likely as all its places together.

Source: A. See et al., "Get to the point: summarization with pointer-generator networks", ACL 2017,
equation 9; their g_t (equation 8) looks at one thing more, the last symbol.
"""

from nanoautograd import log, matmul
from nanoautograd.backends import namespace
from nanoautograd.functional import softmax

TINY = 1e-9                     # added to p, whose logarithm is taken


def mix(logits, g, beta, x):
    """logits (B, T, R), g (B, T, 1), β (B, T, S), Tensors; x (B, S), integers below R -> log p
    (B, T, R), whose softmax is p again: logits as well."""
    here = x[..., None] == namespace(x).arange(logits.shape[-1])                # (B, S, R)
    copied = matmul(beta, here.astype(beta.dtype))                              # (B, T, R)
    return log(g * softmax(logits) + (1.0 - g) * copied + TINY)
