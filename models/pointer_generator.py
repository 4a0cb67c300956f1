"""Copying: a target symbol is written from a vocabulary, or taken from the source.

    p_t[r] = g_t softmax(logits_t)[r] + (1 - g_t) Σ_i γ_ti [x_i = r]
    g_t    = σ(w · u_t + b)
    γ_ti   = β_ti exp(λ [x_{i-1} = y_t]) / Σ_j β_tj exp(λ [x_{j-1} = y_t])

x_i are the symbols of the source, of the same R as the target's; β_t is a distribution over their
places, what attention looks at; y_t is the last symbol written, u_t a vector that says what the
decoder knows. g_t is between 0, all from the source, and 1. The sum runs over all places where r
stands, so a copied symbol is as likely as all its places together. γ leans to the places right
behind one where y_t stands, by a learnt number λ: what was copied goes on as it does there, also
where a word is several symbols.

Source: A. See et al., "Get to the point: summarization with pointer-generator networks", ACL 2017,
equations 8 and 9, which have λ = 0, so that γ = β: that γ leans forward is added here.
"""

import numpy as np

from nanoautograd import concatenate, exp, log, matmul, sigmoid, where
from nanoautograd.backends import array_namespace
from nanoautograd.functional import softmax
from nanoautograd.interface.array_interface import array_of
from nanoautograd.nn import Linear, Module, Parameter

TINY = 1e-9  # added to p, whose logarithm is taken


class Copy(Module):
    """From scores of the target's symbols to those with copies. width: of u. source, target: how
    many symbols the source and the target have, R both. Raises ValueError where they differ."""

    def __init__(self, width, source, target, rng=None, dtype=np.float32):
        if source != target:
            raise ValueError(
                "Copy: source and target must have the same symbols; got "
                f"{source} and {target} of them"
            )
        self.gate = Linear(width, 1, rng=rng, dtype=dtype)  # w, b
        self.follow = Parameter(np.ones(1), dtype=dtype)  # λ

    def forward(self, logits, u, beta, x, y):
        """logits (B, T, R), u a list of parts that are (B, T, ·), β (B, T, S), Tensors; x (B, S)
        and y (B, T), integers below R -> log p (B, T, R), whose softmax is p again: logits too.
        Where β is 0 everywhere, as attention to a source without symbols is, nothing is copied, and
        that softmax is the one of `logits`.

        y is what the decoder reads, as in the equations, not the target, which is one symbol ahead.
        """
        x, y, dtype = array_of(x), array_of(y), beta.dtype
        xp = array_namespace(x)
        g = sigmoid(self.gate(concatenate(u, axis=-1)))  # (B, T, 1)
        before = xp.concatenate([xp.full_like(x[:, :1], -1), x[:, :-1]], axis=1)
        behind = (before[:, None] == y[:, :, None]).astype(dtype)  # (B, T, S)
        gamma = beta * exp(self.follow * behind)
        total = gamma.sum(axis=-1, keepdims=True)
        gamma = gamma / where(total == 0, 1.0, total)
        # Where each symbol stands: S numbers for each symbol, as the logits are T, so it fits too.
        here = (x[..., None] == xp.arange(logits.shape[-1])).astype(dtype)  # (B, S, R)
        return log(g * softmax(logits) + (1.0 - g) * matmul(gamma, here) + TINY)
