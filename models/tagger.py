"""A tagger: a bidirectional LSTM with a conditional random field on top.

It gives each word of a sentence one of K tags. A word is described by several features (itself, how
it begins and ends, its shape), each an integer. One LSTM reads the sentence from the left, one from
the right, so that both together know all words around word t:

    w_t = [E_1[x_t1] ; ... ; E_F[x_tF]]             embeddings      E_f (V_f, D_f)
    →h_t = LSTM(w_t, →h_{t-1})                      from the left   (H,)
    ←h_t = LSTM(w_t, ←h_{t+1})                      from the right  (H,)
    u_t = O [→h_t ; ←h_t] + a                       emissions       O (K, 2H), a (K,)

u_tj is a score: how well tag j suits word t. With output="softmax" that is all, each tag is chosen
alone:

    P(y) = Π_t softmax(u_t)[y_t]

With output="crf" transitions A (K, K) say how well tag j suits after tag i, s and e (K,) at the
beginning and at the end, and the probability is that of the whole sentence of tags:

    S(y) = s_{y_1} + Σ_t u_{t, y_t} + Σ_{t>1} A_{y_{t-1}, y_t} + e_{y_T}
    P(y) = exp(S(y)) / Z,  Z = Σ_y exp(S(y))        over all K^T sequences of tags y

so that it can know that I-person follows B-person, and never O. Trained on −log P(y), it answers
with argmax_y P(y). While training, dropout is on w_t and on [→h_t ; ←h_t].

Sources: Z. Huang, W. Xu and K. Yu, "Bidirectional LSTM-CRF models for sequence tagging", 2015,
sections 2.5 and 4.2 (the network, features of spelling); G. Lample et al., "Neural architectures
for named entity recognition", NAACL 2016, sections 2.2 and 4.3 (s and e as transitions from and to
the ends of the sentence, dropout on the embeddings). The gradients are derived in
nanoautograd/manual/lstm.py and crf.py, where the emissions u are the inputs x.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nanoautograd import argmax, concatenate, no_grad, where
from nanoautograd.functional import cross_entropy
from nanoautograd.nn import CRF, LSTM, Dropout, Embedding, Linear, Module, ModuleList
from nanoautograd.nn.padding import mask

from .inference.sampling import check_logits


@dataclass
class Config:
    features: Annotated[tuple, "values of each feature, V_1, ..., V_F, of the word itself first"]
    tags: Annotated[int, "different tags, K"]
    embedding: Annotated[int, "numbers in the vector of a word, D_1"] = 64
    spelling: Annotated[int, "numbers in the vector of each other feature, D_2 = ... = D_F"] = 24
    hidden: Annotated[int, "numbers in the state of each direction, H"] = 64
    layers: Annotated[int, "recurrent layers, one above the other"] = 1
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.5
    output: Annotated[
        Literal["crf", "softmax"], "crf: all tags of a sentence together; softmax: each alone"
    ] = "crf"


class Tagger(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator.

    In all methods x is (B, T, F), integers, of which the first `lengths` (B,) words are the
    sentence and the rest padding, whatever it holds.
    """

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        H, K = config.hidden, config.tags
        widths = [config.embedding] + [config.spelling] * (len(config.features) - 1)
        self.config = config
        self.embeddings = ModuleList(
            Embedding(V, D, rng=rng, dtype=dtype)  # E_f
            for V, D in zip(config.features, widths)
        )
        self.lstm = LSTM(
            sum(widths),
            H,
            config.layers,
            batch_first=True,
            dropout=config.dropout,
            bidirectional=True,
            rng=rng,
            dtype=dtype,
        )
        self.output = Linear(2 * H, K, rng=rng, dtype=dtype)  # O, a
        self.crf = CRF(K, rng=rng, dtype=dtype) if config.output == "crf" else None
        self.dropout = Dropout(config.dropout, rng=rng)

    def forward(self, x, lengths):
        """-> emissions u (B, T, K)."""
        w = concatenate([E(x[:, :, f]) for f, E in enumerate(self.embeddings)], axis=-1)
        h, _ = self.lstm(self.dropout(w), lengths=lengths)  # (B, T, 2H)
        return self.output(self.dropout(h))

    def loss(self, x, lengths, y):
        """−log P(y) per word, in nats, of all the sentences with the tags y (B, T)."""
        u, m = self(x, lengths), mask(x, lengths)  # m (B, T)
        if self.crf is None:
            y = where(m, y, -100)  # -100 is ignored
            total = cross_entropy(u.reshape(-1, u.shape[-1]), y.reshape(-1), reduction="sum")
        else:
            total = self.crf(u.transpose(1, 0, 2), y.T, m.T, reduction="sum")
        return total / float(m.sum())

    def decode(self, x, lengths):
        """argmax_y P(y): an array of integers (B, T), 0 at padding. Raises LogitsError where u is
        not finite."""
        with no_grad():
            u, m = self(x, lengths), mask(x, lengths)
        check_logits(u.numpy())
        if self.crf is None:
            return where(m, argmax(u.data, axis=-1), 0)
        return self.crf.decode(u.transpose(1, 0, 2), m.T).T
