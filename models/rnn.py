"""A recurrent language model: Elman's simple recurrent network over characters or words.

Each token x_t (an integer < V) is looked up, joined with the state that sums up everything before,
and the new state gives a distribution over the next token:

    e_t = E[x_t]                                    embedding         E (V, D)
    h_t = tanh(W e_t + U h_{t-1} + b)               recurrent layer   W (H, D), U (H, H), b (H,)
    p_t = softmax(O h_t + c)                        output            O (V, H), c (V,)

p_t[v] is the probability that x_{t+1} = v. With several layers, h_t of one is e_t of the next.
Trained by truncated backpropagation through time: blocks of T tokens follow one another in the
text, the state at the end of one (without its history) starts the next.

Sources: J. L. Elman, "Finding structure in time", Cognitive Science 14, 1990 (the network);
T. Mikolov et al., "Recurrent neural network based language model", Interspeech 2010 (as a language
model, section 2). The gradients of the recurrent layer are derived in nanoautograd/manual/rnn.py.
"""

from dataclasses import dataclass

import numpy as np

from nanoautograd import no_grad
from nanoautograd.backends import to_device
from nanoautograd.nn import RNN, Embedding, Linear, Module


@dataclass
class Config:
    vocabulary: int             # V
    embedding: int = 128        # D
    hidden: int = 256           # H
    layers: int = 1
    nonlinearity: str = "tanh"  # or "relu"


class RNNLanguageModel(Module):
    """The model above; weights drawn from `rng`, a seed or a numpy Generator."""

    def __init__(self, config, rng=None, dtype=np.float32):
        rng = np.random.default_rng(rng)
        V, D, H = config.vocabulary, config.embedding, config.hidden
        self.config = config
        self.embedding = Embedding(V, D, rng=rng, dtype=dtype)             # E
        self.rnn = RNN(D, H, config.layers, config.nonlinearity, batch_first=True, rng=rng,
                       dtype=dtype)
        self.output = Linear(H, V, rng=rng, dtype=dtype)                    # O, c

    def forward(self, x, h=None):
        """Tokens x (B, T) and the state before them h (layers, B, H), None for a beginning
        -> logits (B, T, V), whose softmax is p, and the state after them (layers, B, H)."""
        e = self.embedding(x)                                   # (B, T, D)
        h_all, h = self.rnn(e, h)                               # (B, T, H), (layers, B, H)
        return self.output(h_all), h                            # (B, T, V)

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end.

        choose: the logits of the next token, a NumPy array (V,), -> a token. Only the state is
        carried from token to token, so each costs the same however long the text is.
        """
        x, h = prompt, None
        while True:
            with no_grad():                                     # not around the yield
                x = to_device(np.asarray(x, dtype=np.int64)[None], self.output.weight.device)
                logits, h = self(x, h)
                token = choose(logits[0, -1].numpy())
            yield token
            x = [token]
