"""GPT: a Transformer decoder as a language model.

Every position t < T of a block looks back at the positions 0 ... t, and gives a distribution over
the token that follows it:

    z_t = E[x_t] + P_t                              embedding and position   E (V, D), P (N, D)
    z ← z + attention(norm(z))                      in each of the layers: a look back, then
    z ← z + mlp(norm(z))                            a network at each position
    p_t = softmax(E norm(z_t))                      output: the embedding again

p_t[y] is the probability that x_{t+1} = y. `hidden` below gives norm(z), `logits` that times E, and
`forward` (inference/decoder.py, Decoder) is both; the softmax is part of the loss, or of the choice
of a token. The parts:

    norm(z)_t = w ⊙ (z_t - mean z_t) / √(var z_t + ε) + b           w, b (D,), ε = 10⁻⁵
    mlp(z)_t = W₂ gelu(W₁ z_t + b₁) + b₂            W₁ (4D, D), b₁ (4D,), W₂ (D, 4D), b₂ (D,)

Attention has H heads of width d = D/H and is causal,

    [q_t; k_t; v_t] = W_QKV z_t + b_QKV             query, key, value        W_QKV (3D, D)
    αʰ_ts = softmax_s(qʰ_t · kʰ_s / √d), s ≤ t      h = 1 ... H: each of q, k, v cut in H parts
    oʰ_t = Σ_{s ≤ t} αʰ_ts vʰ_s                     one head                 (d,)
    attention(z)_t = W_O [o¹_t; ...; oᴴ_t] + b_O    all of them              W_O (D, D)

While it is trained, dropout acts on E[x_t] + P_t, on α, and on both results before they are added.

The keys and values of a position do not depend on what follows it, so they are kept while a text is
generated (inference/decoder.py).

Where the parts are, in nanoautograd/, and where their gradients are derived:

    norm                nn/norms.py, LayerNorm              manual/layer_norm.py
    gelu, by tanh       nn/layers.py, GELU                  manual/gelu.py
    q, k, v, W_O        nn/attention.py, `heads`, `_merge`  manual/linear.py
    α, o                nn/causal_attention.py              manual/attention.py
    E, P, dropout       nn/layers.py                        manual/embedding.py, manual/dropout.py

Sources: A. Radford et al., "Improving language understanding by generative pre-training", 2018,
section 3.1 (the model, its equations 1 and 2); "Language models are unsupervised multitask
learners" (GPT-2), 2019, section 2.3 (norm before each part and at the end, smaller initial weights
where a residual is added); D. Hendrycks and K. Gimpel 2016 (gelu, by tanh).
"""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated

import numpy as np

from nanoautograd import functional as F
from nanoautograd.nn import (
    GELU,
    CausalSelfAttention,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
)

from .inference.decoder import Decoder


@dataclass
class Config:
    vocab_size: Annotated[int, "different tokens, V"]
    block_size: Annotated[int, "positions that see one another, N"] = 64
    layers: Annotated[int, "layers of attention and network"] = 4
    heads: Annotated[int, "heads of attention, H, a divisor of D"] = 4
    d_model: Annotated[int, "numbers in the vector of a position, D"] = 128
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.0


class Block(Module):
    """One layer: attention, and the network at each position, each added to its input."""

    def __init__(self, config, rng, dtype):
        D, dropout = config.d_model, config.dropout
        self.norm1 = LayerNorm(D, dtype=dtype)
        self.attention = CausalSelfAttention(D, config.heads, dropout, rng=rng, dtype=dtype)
        self.norm2 = LayerNorm(D, dtype=dtype)
        self.up = Linear(D, 4 * D, rng=rng, dtype=dtype)  # W₁, b₁
        self.gelu = GELU("tanh")
        self.down = Linear(4 * D, D, rng=rng, dtype=dtype)  # W₂, b₂
        self.dropout1, self.dropout2 = Dropout(dropout, rng=rng), Dropout(dropout, rng=rng)

    def forward(self, z, cache=None, seen=None):
        """z (B, T, D) after the positions in `cache`, to which these are added -> z (B, T, D).
        seen (B, 1, 1, t + T): which of all these positions are no padding; None for all."""
        z = z + self.dropout1(self.attention(self.norm1(z), cache, seen))
        z = z + self.dropout2(self.mlp(self.norm2(z)))
        return z

    def mlp(self, z):
        return self.down(self.gelu(self.up(z)))


class GPT(Decoder):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    Matrices start from N(0, 0.02²), those whose result is added to z from a deviation that is
    √(2·layers) times smaller, so that z does not grow with the number of additions; biases from 0.
    """

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.d_model
        self.config = config
        self.embedding = Embedding(config.vocab_size, D, rng=rng, dtype=dtype)  # E
        self.positions = Embedding(config.block_size, D, rng=rng, dtype=dtype)  # P
        self.dropout = Dropout(config.dropout, rng=rng)
        self.layers = ModuleList(Block(config, rng, dtype) for _ in range(config.layers))
        self.norm = LayerNorm(D, dtype=dtype)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data[:] = 0.0
            elif parameter.ndim == 2:
                added = name.endswith(("out_proj.weight", "down.weight"))
                std = 0.02 / sqrt(2 * config.layers) if added else 0.02
                parameter.data[:] = std * rng.standard_normal(parameter.shape)

    def hidden(self, x, past=None, padding=None):
        """Tokens x (B, T) after `past` -> norm(z) (B, T, D), and the past after them; see
        Decoder."""
        t, past, seen = self.begin(x, past, padding)
        places = slice(t, t + x.shape[1])
        if seen is not None:  # each text counts its own
            places = (seen.cumsum(axis=-1) - 1).clip(0)[:, 0, 0, places]  # (B, T)
        z = self.dropout(self.embedding(x) + self.positions(places))  # (B, T, D)
        for layer, cache in zip(self.layers, past, strict=True):
            z = layer(z, cache, seen)
        return self.norm(z), past

    def logits(self, z):
        """norm(z) (..., D) -> (..., V)."""
        return F.linear(z, self.embedding.weight)

    def head(self):
        """(weight, bias) of the output."""
        return self.embedding.weight, None
