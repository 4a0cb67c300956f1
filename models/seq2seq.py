"""Sequence to sequence: a recurrent encoder, self-attention over its states, a recurrent decoder.

It reads a source of S tokens x and writes a target of T tokens y, each from all before it, y_0 the
symbol for the beginning. "Cell" is a gated recurrent unit or a long short-term memory, in one or
more layers, in the encoder in one direction or in both, whose states then stand side by side; M is
the width of an encoder's state, H of a decoder's.

Encoder:

    e_i  = E[x_i]                           embedding               E (N, D)
    h_i  = Cell(e_i, h_{i-1})               and from the other end  (S, M), M = H or 2H
    q_i, k_j, v_j = Q h_i, K h_j, V h_j     query, key, value       Q, K (A, M), V (M, M)
    α_ij = softmax_j(q_i · k_j)             self-attention          (S, S)
    c_i  = Σ_j α_ij v_j                     weighted context        (S, M)
    m_i  = tanh(W [h_i; c_i])               memory                  W (H, 2M)

Decoder:

    s_{-1} = tanh(Z h_end)                  from the last states    Z (H, M)
    s_t  = Cell(F[y_t], s_{t-1})            decoder                 F (R, D)
    β_ti = softmax_i(s_t · G m_i)           attention               (T, S), G (H, H)
    d_t  = Σ_i β_ti m_i                     weighted context        (T, H)
    o_t  = tanh(U [s_t; d_t])               output                  U (H, 2H)
    p_t  = softmax(O o_t)                   of the target symbols   O (R, H)

W, Z, U and O have biases. p_t[r] is the probability that y_{t+1} = r. With `scaled`, q_i · k_j is
divided by √A and s_t · G m_i by √H. The cells of a long short-term memory begin likewise, without
the tanh, by a Z of their own. The gradients are derived in nanoautograd/manual: gru.py, lstm.py,
attention.py, embedding.py.

With `copy` a symbol may also be taken from the source, whose symbols then are the same (N = R),
from where β looks; pointer_generator.py has the equations, its u_t is [s_t; d_t].

The attention comes after the decoder's recurrence and does not feed into it (no d_{t-1} beside
F[y_t]). So while the right beginning of the target is given (teacher forcing), all s_t are one
call of functional.gru, all β one matrix product for each sequence, and no loop over time is needed.

Sources: I. Sutskever et al., "Sequence to sequence learning with neural networks", NeurIPS 2014,
and K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
machine translation", EMNLP 2014 (encoder and decoder); D. Bahdanau et al., "Neural machine
translation by jointly learning to align and translate", ICLR 2015 (a decoder that attends, both
directions, s_{-1}); T. Luong et al., "Effective approaches to attention-based neural machine
translation", EMNLP 2015, section 3.1 (β with "general" scores, d, o after the recurrence); A.
Vaswani et al., "Attention is all you need", NeurIPS 2017 (queries, keys and values of one sequence,
and the scaling); A. See et al., "Get to the point: summarization with pointer-generator networks",
ACL 2017 (copying).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nanoautograd import concatenate, tanh
from nanoautograd.functional import scaled_dot_product_attention
from nanoautograd.nn import GRU, LSTM, Dropout, Embedding, Linear, Module
from nanoautograd.nn.padding import mask

from .pointer_generator import Copy


@dataclass
class Config:
    source: Annotated[int, "symbols of the source, N"]
    target: Annotated[int, "symbols of the target, R"]
    embedding: Annotated[int, "numbers in the vector of a symbol, D"] = 64
    hidden: Annotated[int, "numbers in the state, H; in the encoder, of each direction"] = 128
    attention: Annotated[int, "numbers in a query and in a key of the encoder, A"] = 64
    layers: Annotated[int, "recurrent layers of the encoder, and of the decoder"] = 1
    cell: Annotated[Literal["gru", "lstm"], "kind of recurrent cell"] = "gru"
    bidirectional: Annotated[bool, "read the source from both ends"] = True
    scaled: Annotated[bool, "divide the scores of attention by √A and √H"] = False
    # of e, of F[y], of o, and between layers
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.0
    copy: Annotated[bool, "let the target take symbols from the source"] = False


class Seq2Seq(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator."""

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        D, H, A = config.embedding, config.hidden, config.attention
        M = 2 * H if config.bidirectional else H
        Cell = {"gru": GRU, "lstm": LSTM}[config.cell]
        new = {"rng": rng, "dtype": dtype}
        options = {
            "num_layers": config.layers,
            "dropout": config.dropout,
            "batch_first": True,
            **new,
        }
        self.config = config
        self.source = Embedding(config.source, D, **new)  # E
        self.encoder = Cell(D, H, bidirectional=config.bidirectional, **options)
        self.query = Linear(M, A, bias=False, **new)  # Q
        self.key = Linear(M, A, bias=False, **new)  # K
        self.value = Linear(M, M, bias=False, **new)  # V
        self.memory = Linear(2 * M, H, **new)  # W
        self.bridge = Linear(M, H, **new)  # Z, of h
        self.bridge_cells = Linear(M, H, **new) if config.cell == "lstm" else None  # their Z
        self.target = Embedding(config.target, D, **new)  # F
        self.decoder = Cell(D, H, **options)
        self.align = Linear(H, H, bias=False, **new)  # G
        self.combine = Linear(2 * H, H, **new)  # U
        self.output = Linear(H, config.target, **new)  # O
        self.copy = Copy(2 * H, config.source, config.target, **new) if config.copy else None
        self.dropout = Dropout(config.dropout, rng=rng)
        self.scale = None if config.scaled else 1.0  # None: 1/√ of the width

    def forward(self, x, x_lengths, y):
        """Source tokens x (B, S), of which row b has x_lengths[b] and then padding, and target
        tokens y (B, T), the first of them the begin symbol -> logits (B, T, R), whose softmax is
        p: at t those of what follows y[:, t]."""
        return self.run(x, x_lengths, y)[0]

    def run(self, x, x_lengths, y):
        """As `forward` -> (logits (B, T, R), α (B, S, S), β (B, T, S)), the weights of attention
        for pictures."""
        state, alpha = self.encode(x, x_lengths)
        logits, beta, _ = self.decode(y, state)
        return logits, alpha, beta

    def encode(self, x, x_lengths):
        """The state from which the decoder begins, as in `start`, and α (B, S, S)."""
        seen = mask(x, x_lengths)[:, None]  # (B, 1, S)
        h, end = self.encoder(self.dropout(self.source(x)), lengths=x_lengths)  # (B, S, M)
        c, alpha = scaled_dot_product_attention(
            self.query(h), self.key(h), self.value(h), seen, scale=self.scale, return_weights=True
        )
        m = tanh(self.memory(concatenate([h, c], axis=-1)))  # (B, S, H)
        h_end, cells = end if self.bridge_cells else (end, None)
        s = tanh(self.bridge(self.by_layer(h_end)))  # (B, layers, H)
        if self.bridge_cells:
            cells = self.bridge_cells(self.by_layer(cells))
        return {
            "memory": m,
            "keys": self.align(m),
            "seen": seen,
            "s": s,
            "cells": cells,
            "x": x if self.copy else None,
        }, alpha

    def by_layer(self, end):
        """The last states (layers · directions, B, H) of an encoder -> (B, layers, M)."""
        (n, B, H), L = end.shape, self.config.layers
        return end.reshape(L, n // L, B, H).transpose(2, 0, 1, 3).reshape(B, L, n // L * H)

    def decode(self, y, state):
        """Target tokens y (B, T) after `state` -> logits (B, T, R), β (B, T, S), the state
        after."""
        m, keys, seen = state["memory"], state["keys"], state["seen"]
        s, cells = (None if a is None else a.swapaxes(0, 1) for a in (state["s"], state["cells"]))
        f = self.dropout(self.target(y))  # (B, T, D)
        s_all, last = self.decoder(f, s if cells is None else (s, cells))  # (B, T, H)
        d, beta = scaled_dot_product_attention(
            s_all, keys, m, seen, scale=self.scale, return_weights=True
        )
        o = tanh(self.combine(concatenate([s_all, d], axis=-1)))
        logits = self.output(self.dropout(o))  # (B, T, R)
        if self.copy:
            logits = self.copy(logits, [s_all, d], beta, state["x"], y)
        s, cells = (last, None) if cells is None else last
        after = {
            **state,
            "s": s.swapaxes(0, 1),
            "cells": None if cells is None else cells.swapaxes(0, 1),
        }
        return logits, beta, after

    def start(self, x, x_lengths):
        """What writing begins from, for inference/decoding.py: a dict of arrays, Tensors or None,
        each with the B sequences along its first axis."""
        return self.encode(x, x_lengths)[0]

    def next(self, tokens, state):
        """One more token of each target, integers (B,), after `state` -> the logits of the next
        one (B, R), and the state after."""
        logits, _, state = self.decode(tokens[:, None], state)
        return logits[:, 0], state
