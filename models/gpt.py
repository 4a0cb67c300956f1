"""GPT: a Transformer decoder as a language model.

Every position t < T of a block looks back at the positions 0 ... t, and gives a distribution over
the token that follows it:

    z_t = E[x_t] + P_t                              embedding and position   E (V, D), P (block, D)
    z ← z + attention(norm(z))                      in each of the layers: a look back, then
    z ← z + network(norm(z))                        a network at each position
    p_t = softmax(E norm(z_t))                      output: the embedding again

    network(z)_t = W₂ gelu(W₁ z_t + b₁) + b₂        W₁ (4D, D), b₁ (4D,), W₂ (D, 4D), b₂ (D,)

p_t[v] is the probability that x_{t+1} = v. Attention has H heads of width d = D/H and is causal,

    [q_t; k_t; v_t] = W_QKV z_t + b_QKV             query, key, value        W_QKV (3D, D)
    αʰ_ts = softmax_s(qʰ_t · kʰ_s / √d), s ≤ t      h = 1 ... H: each of q, k, v cut in H parts
    oʰ_t = Σ_{s ≤ t} αʰ_ts vʰ_s                     one head                 (d,)
    attention(z)_t = W_O [o¹_t; ...; oᴴ_t] + b_O    all of them              W_O (D, D)

While it is trained, dropout acts on E[x_t] + P_t, on α, and on both results before they are added.

The keys and values of a position do not depend on what follows it, so they are kept while a text is
generated.

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
from nanoautograd.array_interface import array_of
from nanoautograd.backends import array_namespace, to_device, to_numpy
from nanoautograd.backends.threads import of_blas
from nanoautograd.nn import (
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    MultiheadAttention,
)

from .past import Past


@dataclass
class Config:
    vocabulary: int  # V
    block: int = 64  # positions that see one another
    layers: int = 4
    heads: int = 4  # H
    width: int = 128  # D
    dropout: float = 0.0


class Block(Module):
    """One layer: attention, and the network at each position, each added to its input."""

    def __init__(self, config, rng, dtype):
        D, p = config.width, config.dropout
        self.norm1 = LayerNorm(D, dtype=dtype)
        self.attention = MultiheadAttention(
            D, config.heads, p, batch_first=True, rng=rng, dtype=dtype
        )  # W_QKV, b_QKV, W_O, b_O
        self.norm2 = LayerNorm(D, dtype=dtype)
        self.up = Linear(D, 4 * D, rng=rng, dtype=dtype)  # W₁, b₁
        self.down = Linear(4 * D, D, rng=rng, dtype=dtype)  # W₂, b₂
        self.dropout1, self.dropout2 = Dropout(p, rng=rng), Dropout(p, rng=rng)

    def forward(self, z, past=None):
        """z (B, T, D) after t positions with the keys and values `past`, a pair (B, H, t, d) each,
        None for t = 0 -> z (B, T, D), and the pair for all t + T."""
        a, past = self.attention.step(self.norm1(z), past)
        n, z = self.norm2(self.dropout1(a), residual=z, return_sum=True)  # z ← z + a
        u = self.up(n, bias=False)  # gelu adds b₁
        return z + self.dropout2(self.down(F.gelu(u, "tanh", bias=self.up.bias))), past


class GPT(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    Matrices start from N(0, 0.02²), those whose result is added to z from a deviation that is
    √(2·layers) times smaller, so that z does not grow with the number of additions; biases from 0.
    """

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.width
        self.config = config
        self.embedding = Embedding(config.vocabulary, D, rng=rng, dtype=dtype)  # E
        self.positions = Embedding(config.block, D, rng=rng, dtype=dtype)  # P
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

    def forward(self, x, past=None):
        """Tokens x (B, T) at the positions t, ..., t + T - 1 -> logits (B, T, V), whose softmax is
        p, and the keys and values of all t + T positions, which are `past` for what comes next.

        past: for each layer a pair of Tensors (B, H, t, d), the keys and values of the t positions
        before; None where x begins a block, t = 0. Raises ValueError where t + T exceeds the block.
        """
        z, past = self.hidden(x, past)
        return self.logits(z), past

    def hidden(self, x, past=None):
        """As forward, without the output: norm(z) (B, T, D), and the keys and values."""
        T, t = x.shape[1], 0 if past is None else past[0][0].shape[2]
        self._check(t + T)
        z = self.dropout(self.embedding(x) + self.positions.weight[t : t + T])  # (B, T, D)
        after = []
        for i, layer in enumerate(self.layers):
            z, pair = layer(z, None if past is None else past[i])
            after.append(pair)
        return self.norm(z), after

    def logits(self, z):
        """norm(z) (..., D) -> (..., V)."""
        return F.linear(z, self.embedding.weight)

    def head(self):
        """(weight, bias) of the output."""
        return self.embedding.weight, None

    def _check(self, positions):
        """Raises ValueError if there are more than a block has."""
        if positions > self.config.block:
            raise ValueError(
                f"GPT: {positions} positions, but a block has {self.config.block}; "
                "give fewer tokens, or train a model with a longer block"
            )

    def read(self, tokens, past=None):
        """Read a sequence of one token or more after `past`: the logits of the next token, a NumPy
        array (V,), and for each layer the Past after it. Raises ValueError as `forward`."""
        dropped = self.training and self.dropout.p
        with no_grad():
            if len(tokens) == 1 and past is not None and not dropped:
                with of_blas():
                    return self.step(tokens[0], past)
            x = to_device(np.array(tokens, dtype=np.int64)[None], self.norm.weight.device)
            logits, pairs = self(x, None if past is None else [(p.k, p.v) for p in past])
            return logits[0, -1].numpy(), [Past(k, v) for k, v in pairs]

    def step(self, token, past):
        """Read one token: the same as forward without dropout, by hand on arrays, for one position.
        A token costs one product of each weight with a vector, and that is limited by how fast
        memory is read; a hundred small operations on Tensors would cost as much again."""
        xp, t, H = array_namespace(self.norm.weight.data), len(past[0]), self.config.heads
        self._check(t + 1)

        def affine(linear, x):  # W x + b; an adapter (nn/lora.py) has more to multiply
            if type(linear) is not Linear:
                return array_of(linear(x))
            return linear.weight.data @ x + linear.bias.data

        def normed(z, norm):
            d = z - z.sum() / len(z)
            return d / xp.sqrt(d @ d / len(d) + norm.eps) * norm.weight.data + norm.bias.data

        z = array_of(self.embedding(token)) + self.positions.weight.data[t]  # (D,)
        after = []
        for layer, kept in zip(self.layers, past):
            attention, n = layer.attention, normed(z, layer.norm1)
            qkv = attention.in_proj_weight.data @ n + attention.in_proj_bias.data  # (3D,)
            q, k, v = qkv.reshape(3, H, 1, -1)  # (H, 1, d) each
            kept = kept.followed_by(k[None], v[None])
            z = z + affine(attention.out_proj, kept.attention(q).reshape(-1))
            u = affine(layer.up, normed(z, layer.norm2))
            z = z + affine(layer.down, F.gelu(u, "tanh"))
            after.append(kept)
        return to_numpy(self.embedding.weight.data @ normed(z, self.norm)), after

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end.

        choose: the logits of the next token, a NumPy array (V,), -> a token. Keys and values are
        kept, so a token costs one position. When a block is full, a new one begins with the last
        half of its tokens, at the positions 0, 1, ...: what lies before is forgotten, and the keys
        and values of that half are computed once more. Of a long prompt the end counts.
        """
        block = self.config.block
        seen = list(prompt)[-block:]
        if not seen:
            raise ValueError("GPT.generate: the prompt needs a token or more")
        new, past = seen, None
        while True:
            logits, past = self.read(new, past)
            token = choose(logits)
            yield token
            seen.append(token)
            new = [token]
            if len(seen) > block:
                new = seen = seen[-max(1, block // 2) :]
                past = None
