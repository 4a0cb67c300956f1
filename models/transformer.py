"""The Transformer: an encoder and a decoder of attention, without recurrence.

It reads a source of S tokens x all at once, and writes a target of T tokens y, each from the source
and all targets before it, y_0 the symbol for the beginning:

    z_t = √D E[x_t] + P_t                       embedding and position      E (N, D), P (·, D)
    P_t[2i] = sin(t / 10000^(2i/D)),  P_t[2i+1] = cos(t / 10000^(2i/D))     (section 3.5)

    z ← z + attention(z, z)                     encoder: in each layer every position looks at all,
    z ← z + mlp(z)                              then computes by itself             (3.1, 3.3)
    m = z at the end                            the memory (S, D)

    z_t = √D F[y_t] + P_t                                                   F (R, D)
    z ← z + attention(z, z), causal             decoder: looks at itself and the targets before it,
    z ← z + attention(z, m)                     at the source,
    z ← z + mlp(z)                              and computes
    p_t = softmax(F z_t)                        F the embedding again               (3.4)

p_t[r] is the probability that y_{t+1} = r. Attention has H heads of width d = D/H (eq. 1, 3.2.2),
the mlp, a network, U hidden units (eq. 2):

    q_t = W_Q z_t,  k_s = W_K m_s,  v_s = W_V m_s       W_Q, W_K, W_V (D, D); each cut in H parts,
    oʰ_t = Σ_s softmax_s(qʰ_t · kʰ_s / √d) vʰ_s         h = 1 ... H; causal: over s ≤ t alone
    attention(z, m)_t = W_O [o¹_t; ...; oᴴ_t]           W_O (D, D)
    mlp(z)_t = W₂ max(0, W₁ z_t + b₁) + b₂          W₁ (U, D), b₁ (U,), W₂ (D, U), b₂ (D,)

Above, normalisation is left out. With norm="pre", the default, it is z ← z + f(norm(z)) (Xiong et
al. 2020), which trains without warm-up too; with "post", as published, z ← norm(z + f(z)). Dropout
is applied to z at the beginning and to f(z) (section 5.4), and as in PyTorch inside the network and
to the weights of attention. As in PyTorch too, a last norm follows the encoder and the decoder, and
all projections have biases, which the paper does not have.

With `copy` a symbol may also be taken from the source, whose symbols then are the same (N = R),
from where one more attention looks; copying.py has the equations, its u_t is [z_t; d_t]:

    β_ti = softmax_i(z_t · G m_i / √D),  d_t = Σ_i β_ti m_i         G (D, D)

Source: A. Vaswani et al., "Attention is all you need", NeurIPS 2017; the numbers above are its
sections and equations. R. Xiong et al., "On layer normalization in the Transformer architecture",
ICML 2020. The layers are in nanoautograd/nn/transformer.py; their gradients are derived in
nanoautograd/manual: attention.py, layer_norm.py, embedding.py, dropout.py.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from nanoautograd.backends import device_of, to_device
from nanoautograd.functional import linear, scaled_dot_product_attention
from nanoautograd.nn import (
    Dropout,
    Embedding,
    KVCache,
    LayerNorm,
    Linear,
    Module,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from nanoautograd.nn.padding import mask

from .pointer_generator import Copy


@dataclass
class Config:
    source: int  # N, symbols of the source
    target: int  # R, symbols of the target
    width: int = 128  # D
    heads: int = 4  # H
    layers: int = 2  # of the encoder, and of the decoder
    feed_forward: int = 512  # U
    dropout: float = 0.1
    norm: Literal["pre", "post"] = "pre"
    longest: int = 256  # positions of a source or target
    copy: bool = False  # symbols from the source; N = R


class Transformer(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    Embeddings start from N(0, 1/D), so that √D E[x] has deviations of 1; matrices from
    U(±√(6 / (rows + columns))), biases from 0.
    """

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.width
        self.config = config
        self.source = Embedding(config.source, D, rng=rng, dtype=dtype)  # E
        self.target = Embedding(config.target, D, rng=rng, dtype=dtype)  # F
        self.dropout = Dropout(config.dropout, rng=rng)
        new = {
            "dim_feedforward": config.feed_forward,
            "dropout": config.dropout,
            "norm_first": config.norm == "pre",
            "batch_first": True,
            "rng": rng,
            "dtype": dtype,
        }
        self.encoder = TransformerEncoder(
            TransformerEncoderLayer(D, config.heads, **new),
            config.layers,
            LayerNorm(D, dtype=dtype),
        )
        self.decoder = TransformerDecoder(
            TransformerDecoderLayer(D, config.heads, **new),
            config.layers,
            LayerNorm(D, dtype=dtype),
        )
        new = {"rng": rng, "dtype": dtype}
        self.align = Linear(D, D, bias=False, **new) if config.copy else None  # G
        self.copy = Copy(2 * D, config.source, config.target, **new) if config.copy else None
        for name, p in self.named_parameters():
            if p.ndim == 2:
                embedding = name in ("source.weight", "target.weight")
                p.data[:] = (
                    rng.normal(0.0, 1.0 / sqrt(D), p.shape)
                    if embedding
                    else rng.uniform(-1.0, 1.0, p.shape) * sqrt(6.0 / sum(p.shape))
                )
            elif name.endswith("bias"):
                p.data[:] = 0.0

    def forward(self, x, x_lengths, y):
        """Source tokens x (B, S), of which row b has x_lengths[b] and then padding, and target
        tokens y (B, T), the first of them the begin symbol -> logits (B, T, R), whose softmax is
        p: at t those of what follows y[:, t]."""
        m, seen = self.encode(x, x_lengths)
        z = self.decoder(
            self.embed(self.target, y), m, tgt_is_causal=True, memory_key_padding_mask=~seen
        )  # (B, T, D)
        return self.write(z, m, seen, x, y)

    def write(self, z, m, seen, x, y):
        """The decoder's z (B, T, D), after the targets y (B, T) -> logits (B, T, R); of the source
        its memory m (B, S, D), which positions are no padding, seen (B, S), and its tokens x."""
        logits = linear(z, self.target.weight)
        if self.copy is None:
            return logits
        d, beta = scaled_dot_product_attention(
            z, self.align(m), m, seen[:, None], return_weights=True
        )
        return self.copy(logits, [z, d], beta, x, y)

    def encode(self, x, x_lengths):
        """The memory (B, S, D), and which of its positions are no padding (B, S)."""
        seen = mask(x, x_lengths)
        return self.encoder(self.embed(self.source, x), src_key_padding_mask=~seen), seen

    def embed(self, table, x, first=0):
        """Tokens x (B, T), the positions first, first + 1, ... -> z (B, T, D)."""
        T, longest, D = x.shape[1], self.config.longest, self.config.width
        if first + T > longest:
            raise ValueError(
                f"Transformer: a sequence of {first + T} tokens, but the model takes "
                f"{longest}, its option `longest`; shorten it, or train a model with "
                "more"
            )
        P = to_device(positions(first, T, D).astype(table.weight.dtype), device_of(x))
        return self.dropout(table(x) * sqrt(D) + P)

    def start(self, x, x_lengths):
        """What writing begins from, for inference/decoding.py: a dict of arrays, Tensors or None,
        each with the B sequences along its first axis. For each layer i of the decoder the keys and
        values of the memory, "memory k i", and of the targets so far, "k i", (B, H, t, d)."""
        m, seen = self.encode(x, x_lengths)
        state = {"seen": seen, "memory": m if self.copy else None, "x": x}
        for i, layer in enumerate(self.decoder.layers):
            _, k, v = layer.multihead_attn.heads(None, m, m)
            state |= {f"memory k {i}": k, f"memory v {i}": v, f"k {i}": None, f"v {i}": None}
        return state

    def next(self, tokens, state):
        """One more token of each target, integers (B,), after `state` -> the logits of the next
        one (B, R), and the state after."""
        t = 0 if state["k 0"] is None else state["k 0"].shape[2]
        z, state = self.embed(self.target, tokens[:, None], first=t), dict(state)  # (B, 1, D)
        seen = state["seen"][:, None, None]  # (B, 1, 1, S)
        for i, layer in enumerate(self.decoder.layers):
            cache = KVCache(state[f"k {i}"], state[f"v {i}"])
            memory = state[f"memory k {i}"], state[f"memory v {i}"]
            z = layer.step(z, cache, memory, seen)
            state |= {f"k {i}": cache.k, f"v {i}": cache.v}
        logits = self.write(
            self.decoder.norm(z), state["memory"], state["seen"], state["x"], tokens[:, None]
        )
        return logits[:, 0], state


def positions(first, T, D):
    """P_t for t = first ... first + T - 1: a NumPy array (T, D), float64."""
    t = np.arange(first, first + T)[:, None]
    angle = t / 10000.0 ** (np.arange(0, D, 2) / D)  # (T, D/2), rounded up
    P = np.empty((T, D))
    P[:, 0::2], P[:, 1::2] = np.sin(angle), np.cos(angle[:, : D // 2])
    return P
