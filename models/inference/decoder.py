"""Writing on: how a decoder, GPT or Llama, continues a text token by token.

A token is read by the same `forward` as a whole text. What its layers keep of the positions before,
their keys and values, is the past: for each layer a KVCache (nn/kv_cache.py), so that a token costs
the work of one position (nn/one_position.py).
"""

from contextlib import ExitStack
from itertools import islice

import numpy as np

from nanoautograd import no_grad
from nanoautograd.backends import to_device, to_numpy
from nanoautograd.backends.threads import of_blas
from nanoautograd.interface.array_interface import array_of
from nanoautograd.nn import KVCache, Module
from nanoautograd.nn.one_position import can_compute, on_arrays
from nanoautograd.nn.padding import mask_before

CHUNK = 512  # positions read at once of a long text


class Decoder(Module):
    """A language model whose `layers` see what lies before. A subclass has a `config` with a
    `block_size`, and defines

        hidden(x, past, padding) -> z, past     tokens x (B, T) after `past` -> vectors (B, T, D)
        logits(z)                               (..., D) -> (..., V)

    Texts of different lengths are one batch if they end together: padding (B,), integers, says with
    how many tokens, whatever they are, each row of x begins that are none of its text. No position
    sees these, and those of the text count from behind them, so that a row gives what its text
    gives alone. At padding itself z has no meaning. None is for no padding. It is told where a
    block begins; the past keeps it.
    """

    def forward(self, x, past=None, padding=None):
        """Tokens x (B, T) at the positions t, ..., t + T - 1 -> logits (B, T, V), whose softmax is
        p, and the past of what comes next: for each layer a KVCache of t + T positions.

        past: of the t positions before, which stays as it is; None where x begins a block, t = 0.
        Raises ValueError where t + T exceeds the block, where a row is nothing but padding, and for
        padding after a past.
        """
        z, past = self.hidden(x, past, padding)
        return self.logits(z), past

    def begin(self, x, past, padding):
        """What `hidden` begins with: t; for each layer a cache of `past` that can grow; and which
        of the t + T positions are of a text, (B, 1, 1, t + T), None for all. Raises ValueError as
        `forward`."""
        if x.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: tokens are (B, T), a row for each text; got {x.shape}"
            )
        if past is None:
            t, after = 0, [KVCache(padding=padding) for _ in self.layers]
        elif padding is None:
            t, after, padding = len(past[0]), [cache.copy() for cache in past], past[0].padding
        else:
            raise ValueError(
                f"{type(self).__name__}: padding is told where a block begins, and the past keeps "
                "it; give None after a past"
            )
        if t + x.shape[1] > self.config.block_size:
            raise ValueError(
                f"{type(self).__name__}: {t + x.shape[1]} positions, but a block has "
                f"{self.config.block_size}; give fewer tokens, or train with a larger block_size"
            )
        if padding is None:
            return t, after, None
        return t, after, mask_before(x, padding, t + x.shape[1])[:, None, None]

    def read(self, tokens, past=None):
        """Read a sequence of one token or more after `past`: the logits of the next token, a NumPy
        array (V,), and the past after it. Of a long text CHUNK positions are read at once. Raises
        ValueError as `forward`."""
        logits, past = self.read_batch(np.array(tokens)[None], past)
        return logits[0], past

    @no_grad()
    def read_batch(self, x, past=None, padding=None):
        """As `read`, B texts side by side: tokens x (B, T), a NumPy array -> logits (B, V). past,
        padding as for `forward`."""
        if x.ndim != 2 or not x.size:
            raise ValueError(
                f"{type(self).__name__}.read: there must be a token or more, one after another in "
                f"each text; got an array of shape {x.shape} for (texts, tokens)"
            )
        weight, T = self.embedding.weight, x.shape[1]
        x = to_device(x, weight.device)
        chunk = CHUNK if padding is None else T  # no text has a chunk of padding alone
        with ExitStack() as blocks:
            if x.size == 1 and can_compute(weight):
                blocks.enter_context(of_blas())
                blocks.enter_context(on_arrays())
            for i in range(0, T, chunk):
                z, past = self.hidden(x[:, i : i + chunk], past, padding)
            return to_numpy(array_of(self.logits(z[:, -1]))), past

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end.

        choose: the logits of the next token, a NumPy array (V,), -> a token. When a block is full,
        a new one begins with the last half of its tokens, at the positions 0, 1, ...: what lies
        before is forgotten. Of a long prompt the end counts. Raises ValueError where it is empty.
        """
        for (token,) in self.generate_batch([prompt], [choose]):
            yield token

    def generate_batch(self, prompts, choose):
        """Continue several prompts at once, each as `generate` does: yields lists with a token for
        each of them, without end. choose: for each prompt a function, as for `generate`."""
        block = self.config.block_size
        texts, past = [list(prompt)[-block:] for prompt in prompts], None
        if not all(texts):
            raise ValueError(f"{type(self).__name__}.generate: the prompt needs a token or more")
        while texts:
            if past is None:
                x, padding = side_by_side(texts)
            logits, past = self.read_batch(x, past, padding)
            padding = None
            tokens = [pick(row) for pick, row in zip(choose, logits, strict=True)]
            yield tokens
            for text, token in zip(texts, tokens):
                text.append(token)
            x = np.array(tokens)[:, None]
            if max(map(len, texts)) > block:
                texts = [t[-max(1, block // 2) :] if len(t) > block else t for t in texts]
                past = None  # those that go on are read again, as what they were

    def write(self, prompts, choose, length, ends=()):
        """What `generate_batch` adds to each of the prompts: lists of at most `length` tokens, up
        to one of `ends`, which is not among them."""
        prompts = list(prompts)
        written, going_on = [[] for _ in prompts], set(range(len(prompts)))
        for tokens in islice(self.generate_batch(prompts, choose), length):
            going_on -= {i for i in going_on if tokens[i] in ends}
            for i in going_on:
                written[i].append(tokens[i])
            if not going_on:
                break
        return written


def side_by_side(texts):
    """Lists of tokens that end together: x (B, T), and with how many tokens that are none of its
    text each row begins, (B,); None where there are none."""
    T = max(map(len, texts))
    padding = np.array([T - len(text) for text in texts])
    x = np.array([[0] * n + text for n, text in zip(padding, texts)])
    return x, padding if padding.any() else None
