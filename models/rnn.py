"""Recurrent networks over characters or words: a language model, and a classifier of texts.

Each token x_t (an integer < V) is looked up and joined with the state that sums up everything
before; what is read off the new state is a distribution:

    e_t = E[x_t]                                    embedding          E (V, D)
    h_t = cell(e_t, h_{t-1})                        recurrent layer    h_t (H,); one of three, below
    p_t = softmax(O h_t + a)                        language model     O (V, H), a (V,)

p_t[v] is the probability that x_{t+1} = v. The classifier has one distribution for all n tokens of
a text, over C classes, from a summary of its states (each of them with those of a second layer
beside it, which reads from the end, if it is bidirectional):

    v = Σ_t h_t / n,  or max_t h_t elementwise,  or the last h      pooling
    p = softmax(O v + a)                                            O (C, H or 2H), a (C,)

A cell has weights W (·, D) for what comes in, U (·, H) for the state before, and biases b. With
σ(u) = 1/(1 + exp(-u)) and ⊙ elementwise, `cell` is one of

    rnn     h_t = tanh(W e_t + U h_{t-1} + b)       or relu in place of tanh

    lstm    i_t = σ(W_i e_t + U_i h_{t-1} + b_i)    what is let into the memory c_t,
            f_t = σ(W_f e_t + U_f h_{t-1} + b_f)    how much of it stays,
            o_t = σ(W_o e_t + U_o h_{t-1} + b_o)    and what is shown of it
            g_t = tanh(W_g e_t + U_g h_{t-1} + b_g)
            c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
            h_t = o_t ⊙ tanh(c_t)

    gru     r_t = σ(W_r e_t + U_r h_{t-1} + b_r)    how much of the state is read,
            z_t = σ(W_z e_t + U_z h_{t-1} + b_z)    and how much is kept
            n_t = tanh(W_n e_t + b_n + r_t ⊙ (U_n h_{t-1} + b'_n))
            h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

With several layers, h_t of one is e_t of the next. Dropout, while training, is on every connection
that is not recurrent: e_t of each layer, and what O reads.

The language model is trained by truncated backpropagation through time: blocks of T tokens follow
one another in the text, the state at the end of one (without its history) starts the next.

Sources: J. L. Elman, "Finding structure in time", Cognitive Science 14, 1990 (rnn); S. Hochreiter
and J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997, equations 3 to 9, with the
forget gate of F. Gers, J. Schmidhuber and F. Cummins, "Learning to forget", 2000 (lstm); K. Cho et
al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, equations 5 to 8 (gru;
there r_t is applied to h_{t-1} before U_n, here after, as in PyTorch); M. Schuster and K. Paliwal,
"Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing 45, 1997 (both
directions); T. Mikolov et al., "Recurrent neural network based language model", Interspeech 2010,
section 2; W. Zaremba et al., "Recurrent neural network regularization", 2014 (dropout). The
gradients of the cells are derived in nanoautograd/manual/rnn.py, lstm.py and gru.py.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

import nanoautograd as nag
from nanoautograd.backends import to_device
from nanoautograd.nn import GRU, LSTM, RNN, Dropout, Embedding, Linear, Module
from nanoautograd.nn.padding import mask


@dataclass
class Config:
    """Of the language model."""

    vocab_size: Annotated[int, "different tokens, V"]
    embedding: Annotated[int, "numbers in the vector of a token, D"] = 128
    hidden: Annotated[int, "numbers in the state, H"] = 256
    layers: Annotated[int, "recurrent layers, one above the other"] = 1
    nonlinearity: Annotated[Literal["tanh", "relu"], "function of the cell rnn"] = "tanh"
    cell: Annotated[Literal["rnn", "lstm", "gru"], "kind of recurrent cell"] = "rnn"
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.0


@dataclass
class ClassifierConfig:
    """Of the classifier."""

    vocab_size: Annotated[int, "different tokens, V"]
    classes: Annotated[int, "classes, C"]
    embedding: Annotated[int, "numbers in the vector of a token, D"] = 128
    hidden: Annotated[int, "numbers in the state of each direction, H"] = 128
    layers: Annotated[int, "recurrent layers, one above the other"] = 1
    nonlinearity: Annotated[Literal["tanh", "relu"], "function of the cell rnn"] = "tanh"
    cell: Annotated[Literal["rnn", "lstm", "gru"], "kind of recurrent cell"] = "lstm"
    bidirectional: Annotated[bool, "read the text from both ends"] = True
    pooling: Annotated[
        Literal["mean", "max", "last"], "what is taken of all states: mean, largest, or the last"
    ] = "mean"
    dropout: Annotated[float, "share of the numbers set to 0 while training"] = 0.0


class RNNLanguageModel(Module):
    """p_t above; weights drawn from `rng`, a seed or a numpy Generator."""

    carries_state = True  # from one block of a text to the next

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.embedding, rng=rng, dtype=dtype)  # E
        self.rnn = recurrent_layers(config, rng, dtype)
        self.output = Linear(config.hidden, config.vocab_size, rng=rng, dtype=dtype)  # O, a
        self.dropout = Dropout(config.dropout, rng=rng) if config.dropout else None

    def state_shape(self, B):
        """Of the state of B sequences: h_t of all layers (layers, B, H); of the LSTM
        (2, layers, B, H), h_t and c_t."""
        c = self.config
        return (*[2] * (c.cell == "lstm"), c.layers, B, c.hidden)

    def forward(self, x, h=None):
        """Tokens x (B, T) and the state before them h, None for a beginning -> logits (B, T, V),
        whose softmax is p, and the state after them, one Tensor of `state_shape(B)`."""
        h_all, h = self.hidden(x, h)
        return self.logits(h_all), h

    def hidden(self, x, h=None):
        """As forward, without the output: what O reads, h_t of the last layer (B, T, H), and the
        state."""
        e = self.embedding(x)  # (B, T, D)
        if self.dropout:
            e = self.dropout(e)
        if self.config.cell == "lstm":
            h_all, pair = self.rnn(e, h if h is None else (h[0], h[1]))
            h = nag.stack(pair)
        else:
            h_all, h = self.rnn(e, h)  # (B, T, H)
        if self.dropout:
            h_all = self.dropout(h_all)
        return h_all, h

    def logits(self, h_all):
        """(..., H) -> (..., V)."""
        return self.output(h_all)

    def head(self):
        """(O, a); None where the output has an adapter, and is no Linear."""
        return (self.output.weight, self.output.bias) if type(self.output) is Linear else None

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end.

        choose: the logits of the next token, a NumPy array (V,), -> a token. Only the state is
        carried from token to token, so each costs the same however long the text is.
        """
        if not len(prompt):
            raise ValueError("RNNLanguageModel.generate: the prompt needs a token or more")
        x, h = prompt, None
        while True:
            with nag.no_grad():  # not around the yield: it would hold for the caller too
                x = to_device(np.asarray(x)[None], self.output.weight.device)
                logits, h = self(x, h)
                token = choose(logits[0, -1].numpy())
            yield token
            x = [token]


class RNNClassifier(Module):
    """p above; weights drawn from `rng`, a seed or a numpy Generator."""

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        self.config = config
        self.directions = 2 if config.bidirectional else 1
        self.embedding = Embedding(config.vocab_size, config.embedding, rng=rng, dtype=dtype)  # E
        # From N(0, 0.01) where the language model's E is from N(0, 1): most words are rare, and
        # what one means cannot be learnt from a few texts, so it must not say much either.
        self.embedding.weight.data *= 0.1
        self.rnn = recurrent_layers(config, rng, dtype, config.bidirectional)
        self.output = Linear(
            self.directions * config.hidden, config.classes, rng=rng, dtype=dtype
        )  # O, a
        self.dropout = Dropout(config.dropout, rng=rng) if config.dropout else None

    def forward(self, x, lengths):
        """Tokens x (B, T), of which `lengths` (B,), 1 to T, are each text's own and what follows is
        padding, without influence -> logits (B, C), whose softmax is p."""
        e = self.embedding(x)  # (B, T, D)
        if self.dropout:
            e = self.dropout(e)
        h_all, h = self.rnn(e, lengths=lengths)  # (B, T, H or 2H)
        v = self.pool(h_all, h, lengths)  # (B, H or 2H)
        if self.dropout:
            v = self.dropout(v)
        return self.output(v)  # (B, C)

    def pool(self, h_all, h, lengths):
        """v (B, H or 2H) from the states of the last layer h_all (B, T, H or 2H), 0 at padding, and
        h, the last state of each layer and direction."""
        inside = mask(h_all, lengths)[..., None]  # (B, T, 1)
        if self.config.pooling == "mean":
            return nag.sum(h_all, axis=1) / inside.sum(axis=1).astype(h_all.dtype)
        if self.config.pooling == "max":
            return nag.max(nag.where(inside, h_all, -np.inf), axis=1)
        h = h[0] if self.config.cell == "lstm" else h  # (layers · directions, B, H)
        return nag.concatenate([h[-d] for d in range(self.directions, 0, -1)], axis=-1)


def recurrent_layers(config, rng, dtype, bidirectional=False):
    """The layers with the cell that `config` asks for: W, U, b."""
    cell = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[config.cell]
    options = {"nonlinearity": config.nonlinearity} if config.cell == "rnn" else {}
    return cell(
        config.embedding,
        config.hidden,
        config.layers,
        batch_first=True,
        dropout=config.dropout,
        bidirectional=bidirectional,
        rng=rng,
        dtype=dtype,
        **options,
    )
