"""The Transformer: an encoder and a decoder of attention, without recurrence.

It reads a source of S tokens x all at once, and writes a target of T tokens y, each from the source
and all targets before it, y_0 the symbol for the beginning:

    z_t = √D E_x[x_t] + P_t                     embedding and position      E_x (N, D), P (·, D)
    P_t[2j] = sin(t / 10000^(2j/D)),  P_t[2j+1] = cos(t / 10000^(2j/D))     (section 3.5)

    z ← z + attention(n, n),  n = norm(z)       encoder: in each layer every position looks at all,
    z ← z + mlp(norm(z))                        then computes by itself             (3.1, 3.3)
    m = norm(z)                                 at the end: the memory              m (S, D)

    z_t = √D E_y[y_t] + P_t                                                 E_y (R, D)
    z ← z + attention(n, n),  n = norm(z)       decoder: looks at itself and the targets before it,
    z ← z + attention(norm(z), m)               causal; at the source;
    z ← z + mlp(norm(z))                        and computes
    p_t = softmax(E_y norm(z_t))                the embedding again                 (3.4)

p_t[r] is the probability that y_{t+1} = r. Every norm has a gain w and a bias b of its own,
attention H heads of width d = D/H (eq. 1, 3.2.2), the mlp, a network, U hidden units (eq. 2):

    norm(z)_t = w ⊙ (z_t - mean z_t) / √(var z_t + ε) + b           w, b (D,), ε = 10⁻⁵
    q_t = W_Q a_t + b_Q                         query               W_Q, W_K, W_V (D, D)
    k_s = W_K e_s + b_K,  v_s = W_V e_s + b_V   key and value; each of the three cut in H parts
    oʰ_t = Σ_s softmax_s(qʰ_t · kʰ_s / √d) vʰ_s     h = 1 ... H; causal: over s ≤ t alone
    attention(a, e)_t = W_O [o¹_t; ...; oᴴ_t] + b_O                 W_O (D, D)
    mlp(z)_t = W₂ max(0, W₁ z_t + b₁) + b₂      W₁ (U, D), b₁ (U,), W₂ (D, U), b₂ (D,)

This is norm="pre", the default (Xiong et al. 2020), which trains without warm-up too. With "post",
as published, z ← z + f(norm(z)) becomes z ← norm(z + f(z)); m and p_t stay. Dropout is applied to z
at the beginning and to f(z) (section 5.4), and as in PyTorch inside the mlp, after max, and to the
weights of attention. As in PyTorch too, a last norm gives m and stands in p_t, and there are
b_Q, b_K, b_V and b_O: the paper has none of these.

With `copy` a symbol may also be taken from the source, whose symbols then are the same (N = R),
from where one more attention looks; pointer_generator.py has the equations, its u_t is [n_t; c_t]:

    β_ti = softmax_i(n_t · G m_i / √D),  c_t = Σ_i β_ti m_i         n = norm(z), G (D, D)

Sums over the source, Σ_s, Σ_i and those of softmax, leave out its padding.

Below are z_t and m (`embed`, `encode`), P (`positions`), p_t and β (`write`). All else is in
nanoautograd/:

    z ← z + f(norm(z))      nn/transformer.py, `add`, for each f in `forward`; mlp: `feed_forward`
    norm                    nn/norms.py; manual/layer_norm.py
    q, k, v                 nn/attention.py, `heads`
    o                       manual/attention.py, by `attend` in nn/attention.py, and there W_O
    embedding, dropout      manual/embedding.py, manual/dropout.py

Source: A. Vaswani et al., "Attention is all you need", NeurIPS 2017; the numbers above are its
sections and equations. R. Xiong et al., "On layer normalization in the Transformer architecture",
ICML 2020.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Any, Literal, NamedTuple

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
    source: Annotated[int, "symbols of the source, N"]
    target: Annotated[int, "symbols of the target, R"]
    d_model: Annotated[int, "numbers in the vector of a position, D"] = 128
    heads: Annotated[int, "heads of attention, H, a divisor of D"] = 4
    layers: Annotated[int, "layers of the encoder, and of the decoder"] = 2
    feed_forward: Annotated[int, "hidden units of the network of a layer, U"] = 512
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.1
    norm: Annotated[Literal["pre", "post"], "norm what a layer reads, or its result"] = "pre"
    longest: Annotated[int, "positions of the longest source or target"] = 256
    copy: Annotated[bool, "let the target take symbols from the source"] = False


class LayerState(NamedTuple):
    """What a layer of the decoder keeps while it writes: keys and values, (B, H, ·, d) each."""

    memory_k: Any  # of the memory
    memory_v: Any
    k: Any = None  # of the targets so far; None before the first
    v: Any = None


class State(NamedTuple):
    """What writing goes on from, for B sequences, as inference/decoding.py takes it."""

    x: Any  # source tokens (B, S)
    seen: Any  # which of them are no padding (B, S)
    m: Any  # memory (B, S, D); None without `copy`
    layers: list[LayerState]


class Transformer(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    Embeddings start from N(0, 1/D), so that √D E[x] has deviations of 1; matrices from
    U(±√(6 / (rows + columns))), biases from 0.
    """

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.d_model
        self.config = config
        self.source = Embedding(config.source, D, rng=rng, dtype=dtype)  # E_x
        self.target = Embedding(config.target, D, rng=rng, dtype=dtype)  # E_y
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
        for name, parameter in self.named_parameters():
            shape = parameter.shape
            if name in ("source.weight", "target.weight"):
                parameter.data[:] = rng.normal(0.0, 1.0 / sqrt(D), shape)
            elif len(shape) == 2:
                parameter.data[:] = rng.uniform(-1.0, 1.0, shape) * sqrt(6.0 / sum(shape))
            elif name.endswith("bias"):
                parameter.data[:] = 0.0

    def forward(self, x, x_lengths, y):
        """Source tokens x (B, S), of which row b has x_lengths[b] and then padding, and target
        tokens y (B, T), the first of them the begin symbol -> logits (B, T, R), whose softmax is
        p: at t those of what follows y[:, t]."""
        m, seen = self.encode(x, x_lengths)
        n = self.decoder(
            self.embed(self.target, y), m, tgt_is_causal=True, memory_key_padding_mask=~seen
        )  # (B, T, D)
        return self.write(n, m, seen, x, y)

    def write(self, n, m, seen, x, y):
        """The decoder's norm(z), n (B, T, D), after the targets y (B, T) -> logits (B, T, R); of
        the source its memory m (B, S, D), which positions are no padding, seen (B, S), and its
        tokens x."""
        logits = linear(n, self.target.weight)
        if self.copy is None:
            return logits
        c, beta = scaled_dot_product_attention(
            n, self.align(m), m, seen[:, None], return_weights=True
        )
        return self.copy(logits, [n, c], beta, x, y)

    def encode(self, x, x_lengths):
        """The memory m (B, S, D), and which of its positions are no padding (B, S)."""
        seen = mask(x, x_lengths)
        return self.encoder(self.embed(self.source, x), src_key_padding_mask=~seen), seen

    def embed(self, table, x, first=0):
        """Tokens x (B, T), the positions first, first + 1, ... -> z (B, T, D)."""
        T, longest, D = x.shape[1], self.config.longest, self.config.d_model
        if first + T > longest:
            raise ValueError(
                f"Transformer: a sequence of {first + T} tokens, but the model takes "
                f"{longest}, its option `longest`; shorten it, or train a model with "
                "more"
            )
        P = to_device(positions(first, T, D).astype(table.weight.dtype), device_of(x))
        return self.dropout(table(x) * sqrt(D) + P)

    def start(self, x, x_lengths):
        """The State from which writing begins."""
        m, seen = self.encode(x, x_lengths)
        layers = [
            LayerState(*layer.multihead_attn.heads(None, m, m)[1:]) for layer in self.decoder.layers
        ]
        return State(x, seen, m if self.copy else None, layers)

    def next(self, tokens, state):
        """One more token of each target, integers (B,), after `state` -> the logits of the next
        one (B, R), and the state after."""
        y, seen = tokens[:, None], state.seen[:, None, None]  # (B, 1), (B, 1, 1, S)
        caches = [KVCache(of.k, of.v) for of in state.layers]
        z = self.embed(self.target, y, first=len(caches[0]))  # (B, 1, D)
        for layer, cache, of in zip(self.decoder.layers, caches, state.layers):
            z = layer.step(z, cache, (of.memory_k, of.memory_v), seen)
        n = self.decoder.norm(z)
        after = [of._replace(k=cache.k, v=cache.v) for of, cache in zip(state.layers, caches)]
        logits = self.write(n, state.m, state.seen, state.x, y)
        return logits[:, 0], state._replace(layers=after)


def positions(first, T, D):
    """P_t for t = first ... first + T - 1: a NumPy array (T, D), float64."""
    t = np.arange(first, first + T)[:, None]
    angle = t / 10000.0 ** (np.arange(0, D, 2) / D)  # (T, D/2), rounded up
    P = np.empty((T, D))
    P[:, 0::2], P[:, 1::2] = np.sin(angle), np.cos(angle[:, : D // 2])
    return P
