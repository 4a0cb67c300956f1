"""The order in which a text is read: which tokens a step gets."""

import numpy as np

from .seeds import generator
from .sources import DataError


class Streams:
    """The order in which a model that carries its state along reads a long text.

    The text is cut into B parallel streams of equal length; step s gives the next T tokens of each,
    so that the state after one block is the state before the next. At the end of the streams all
    begin again, at an offset drawn anew from (seed, epoch). What a step gives depends on nothing
    but its number, so a run can be taken up anywhere.

    tokens: integers (n,), at least B T + 1 of them; raises DataError if there are fewer.
    """

    def __init__(self, tokens, B, T, seed=0):
        if len(tokens) < B * T + 1:
            raise DataError(
                f"the text to train on has {len(tokens)} tokens, and a batch of {B} "
                f"sequences of {T} needs at least {B * T + 1}; lower --batch or "
                "--block-size, or give more text"
            )
        self.tokens, self.B, self.T, self.seed = tokens, B, T, seed
        self.length = (len(tokens) - 1) // B  # of a stream
        self.blocks = max(1, self.length // T - 1)  # of a stream in an epoch

    def __call__(self, step):
        """(x, y, begins): tokens (B, T), the tokens that follow them (B, T), and whether the
        streams begin anew here, so that a state from before means nothing, an array ()."""
        epoch, block = divmod(step, self.blocks)
        slack = self.length - self.blocks * self.T
        offset = generator(self.seed, "order", epoch).integers(slack + 1)
        start = offset + block * self.T + self.length * np.arange(self.B)
        index = start[:, None] + np.arange(self.T)  # (B, T)
        return self.tokens[index], self.tokens[index + 1], np.array(block == 0)


class Windows:
    """Sequences from anywhere in a long text, for a model that carries nothing from one to the
    next: step s gives B windows of T tokens, whose places are drawn from (seed, s).

    tokens: integers (n,), at least T + 1 of them; raises DataError if there are fewer.
    """

    def __init__(self, tokens, B, T, seed=0):
        if len(tokens) < T + 1:
            raise DataError(
                f"the text to train on has {len(tokens)} tokens, and sequences of {T} "
                f"need at least {T + 1}; lower --block-size, or give more text"
            )
        self.tokens, self.B, self.T, self.seed = tokens, B, T, seed

    def __call__(self, step):
        """(x, y): tokens (B, T), and the tokens that follow them (B, T)."""
        rng = generator(self.seed, "order", step)
        start = rng.integers(len(self.tokens) - self.T, size=self.B)
        index = start[:, None] + np.arange(self.T)  # (B, T)
        return self.tokens[index], self.tokens[index + 1]


def in_order(tokens, B, T):
    """Blocks (x, y) of at most (B, T), in which each of the tokens but the first is once to be
    predicted. The rows of T go on one where the other ends, from the beginning of the text to its
    end, whatever B is; the last row may be shorter, and stands alone."""
    rows, rest = divmod(max(0, len(tokens) - 1), T)
    for i in range(0, rows, B):
        block = tokens[i * T : min(i + B, rows) * T + 1]
        yield block[:-1].reshape(-1, T), block[1:].reshape(-1, T)
    if rest:
        yield tokens[None, -rest - 1 : -1], tokens[None, -rest:]
