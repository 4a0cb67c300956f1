"""Writing on: how a decoder, GPT or Llama, continues a text token by token.

A token is read by the same `forward` as a whole text. What its layers keep of the positions before,
their keys and values, is the past: for each layer a KVCache (nn/kv_cache.py), so that a token costs
the work of one position (nn/one_position.py).
"""

from contextlib import ExitStack

import numpy as np

from nanoautograd import no_grad
from nanoautograd.backends import to_device, to_numpy
from nanoautograd.backends.threads import of_blas
from nanoautograd.interface.array_interface import array_of
from nanoautograd.nn import KVCache, Module
from nanoautograd.nn.one_position import can_compute, on_arrays

CHUNK = 512  # positions read at once of a long text


class Decoder(Module):
    """A language model whose `layers` see what lies before. A subclass has a `config` with a
    `block_size`, and defines

        hidden(x, past) -> z, past      tokens x (B, T) after `past` -> vectors (B, T, D)
        logits(z)                       (..., D) -> (..., V)
    """

    def forward(self, x, past=None):
        """Tokens x (B, T) at the positions t, ..., t + T - 1 -> logits (B, T, V), whose softmax is
        p, and the past of what comes next: for each layer a KVCache of t + T positions.

        past: of the t positions before, which stays as it is; None where x begins a block, t = 0.
        Raises ValueError where t + T exceeds the block.
        """
        z, past = self.hidden(x, past)
        return self.logits(z), past

    def begin(self, x, past):
        """What `hidden` begins with: t, and for each layer a cache of `past` that can grow. Raises
        ValueError where t positions and those of x exceed the block."""
        after = [KVCache() for _ in self.layers] if past is None else [c.copy() for c in past]
        t = 0 if past is None else len(past[0])
        if t + x.shape[1] > self.config.block_size:
            raise ValueError(
                f"{type(self).__name__}: {t + x.shape[1]} positions, but a block has "
                f"{self.config.block_size}; give fewer tokens, or train with a larger block_size"
            )
        return t, after

    @no_grad()
    def read(self, tokens, past=None):
        """Read a sequence of one token or more after `past`: the logits of the next token, a NumPy
        array (V,), and the past after it. Of a long text CHUNK positions are read at once. Raises
        ValueError as `forward`."""
        if not len(tokens):
            raise ValueError(f"{type(self).__name__}.read: there must be a token or more")
        weight = self.embedding.weight
        x = to_device(np.array(tokens)[None], weight.device)
        with ExitStack() as blocks:
            if len(tokens) == 1 and can_compute(weight):
                blocks.enter_context(of_blas())
                blocks.enter_context(on_arrays())
            for i in range(0, len(tokens), CHUNK):
                z, past = self.hidden(x[:, i : i + CHUNK], past)
            return to_numpy(array_of(self.logits(z[:, -1]))[0]), past

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end.

        choose: the logits of the next token, a NumPy array (V,), -> a token. When a block is full,
        a new one begins with the last half of its tokens, at the positions 0, 1, ...: what lies
        before is forgotten. Of a long prompt the end counts. Raises ValueError where it is empty.
        """
        block = self.config.block_size
        seen = list(prompt)[-block:]
        if not seen:
            raise ValueError(f"{type(self).__name__}.generate: the prompt needs a token or more")
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
