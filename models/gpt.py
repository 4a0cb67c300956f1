"""GPT: a Transformer decoder as a language model.

Every position t < T of a block looks back at the positions 0 ... t, and gives a distribution over
the token that follows it:

    x_t = E[token_t] + P[t]                         embedding and position   E (V, D), P (block, D)
    x ← x + attention(norm(x))                      in each of the layers: a look back, then
    x ← x + W₂ gelu(W₁ norm(x) + b₁) + b₂           a network at each position
                                                    W₁ (4D, D), b₁ (4D,), W₂ (D, 4D), b₂ (D,)
    p_t = softmax(E norm(x)_t)                      output: the embedding again

p_t[v] is the probability that token_{t+1} = v. Attention has several heads and is causal,

    attention(x) = W_O [o¹ ... oᴴ] + b_O            oʰ_t = Σ_{s ≤ t} P_ts vʰ_s
                                                    P_t = softmax over s ≤ t of qʰ_t·kʰ_s / √d

with q, k, v the three parts of W_QKV x + b_QKV and d = D/H. The keys and values of a position do
not depend on what follows, so they are kept while a text is generated.

Sources: A. Radford et al., "Improving language understanding by generative pre-training", 2018,
section 3.1 (the model, its equations 1 and 2); "Language models are unsupervised multitask
learners" (GPT-2), 2019, section 2.3 (norm before each part and at the end, smaller initial weights
where a residual is added); D. Hendrycks and K. Gimpel 2016 (gelu, by tanh). Derived by hand in
nanoautograd/manual/: attention.py, layer_norm.py, gelu.py, embedding.py, dropout.py.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from nanoautograd import functional as F
from nanoautograd import no_grad
from nanoautograd.backends import to_device
from nanoautograd.nn import (Dropout, Embedding, LayerNorm, Linear, Module, ModuleList,
                             MultiheadAttention)


@dataclass
class Config:
    vocabulary: int             # V
    block: int = 64             # positions that see one another
    layers: int = 4
    heads: int = 4              # H
    width: int = 128            # D
    dropout: float = 0.0


class Block(Module):
    """One layer: attention, and the network at each position, each added to its input."""

    def __init__(self, config, rng, dtype):
        D, p = config.width, config.dropout
        self.norm1 = LayerNorm(D, dtype=dtype)
        self.attention = MultiheadAttention(D, config.heads, p, batch_first=True, rng=rng,
                                            dtype=dtype)               # W_QKV, b_QKV, W_O, b_O
        self.norm2 = LayerNorm(D, dtype=dtype)
        self.up = Linear(D, 4 * D, rng=rng, dtype=dtype)                # W₁, b₁
        self.down = Linear(4 * D, D, rng=rng, dtype=dtype)              # W₂, b₂
        self.dropout1, self.dropout2 = Dropout(p, rng=rng), Dropout(p, rng=rng)

    def forward(self, x, past=None):
        """x (B, T, D), and the keys and values before, (B, H, t, d) each -> x, and those with
        t + T."""
        y, past = self.attention.step(self.norm1(x), past)
        x = x + self.dropout1(y)
        y = self.down(F.gelu(self.up(self.norm2(x)), "tanh"))
        return x + self.dropout2(y), past


class GPT(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    Matrices start from N(0, 0.02²), those whose result is added to x from a deviation that is
    √(2·layers) times smaller, so that x does not grow with the number of additions; biases from 0.
    """

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.width
        self.config = config
        self.embedding = Embedding(config.vocabulary, D, rng=rng, dtype=dtype)      # E
        self.positions = Embedding(config.block, D, rng=rng, dtype=dtype)           # P
        self.dropout = Dropout(config.dropout, rng=rng)
        self.layers = ModuleList(Block(config, rng, dtype) for _ in range(config.layers))
        self.norm = LayerNorm(D, dtype=dtype)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                p.data[:] = 0.0
            elif p.ndim == 2:
                added = name.endswith(("out_proj.weight", "down.weight"))
                std = 0.02 / sqrt(2 * config.layers) if added else 0.02
                p.data[:] = std * rng.standard_normal(p.shape)

    def forward(self, x, h=None):
        """Tokens x (B, T) -> logits (B, T, V), whose softmax is p, and h.

        h: None, and x begins a block of which nothing is kept. Or the keys and values of the t
        positions before x, one pair a layer, `[None] * layers` where there are none; then those of
        t + T positions are returned. Raises ValueError where t + T exceeds the block.
        """
        T, t = x.shape[1], h[0][0].shape[2] if h and h[0] else 0
        if t + T > self.config.block:
            raise ValueError(f"GPT: {t + T} positions, but a block has {self.config.block}; give "
                             "fewer tokens, or train a model with a longer block")
        x = self.dropout(self.embedding(x) + self.positions.weight[t:t + T])        # (B, T, D)
        after = []
        for layer, past in zip(self.layers, h or [None] * len(self.layers)):
            x, past = layer(x, past)
            after.append(past)
        logits = F.linear(self.norm(x), self.embedding.weight)                      # (B, T, V)
        return logits, None if h is None else after

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end.

        choose: the logits of the next token, a NumPy array (V,), -> a token. Keys and values are
        kept, so a token costs one position. When a block is full, a new one begins with the last
        half of its tokens, at the positions 0, 1, ...: what lies before is forgotten, and the keys
        and values of that half are computed once more. Of a long prompt the end counts.
        """
        block = self.config.block
        seen = list(prompt)[-block:]
        x, h = seen, [None] * self.config.layers
        while True:
            with no_grad():                                     # not around the yield
                x = to_device(np.array(x, dtype=np.int64)[None], self.norm.weight.device)
                logits, h = self(x, h)
                token = choose(logits[0, -1].numpy())
            yield token
            seen.append(token)
            x = [token]
            if len(seen) > block:
                x = seen = seen[-max(1, block // 2):]
                h = [None] * self.config.layers
