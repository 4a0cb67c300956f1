"""Writing a target, token by token: the likeliest each time, drawn at random, or by beam search.

For every model with two methods:

    start(x, x_lengths) -> state                    reads sources x (B, S), padded; lengths (B,)
    next(tokens, state) -> (logits (B, V), state)   tokens (B,), the last ones written, after
                                                    `state` -> scores of the next ones

A state is made of arrays, Tensors and None, in dicts, lists and NamedTuples, with the B sequences
along the first axis of each: so that a search can drop some and go on twice with others.

All three give, for each source, a list of tokens without the begin symbol, up to and with the end
symbol, or `longest` tokens if it did not come before; of no sources none. The model should be in
eval mode. They raise LogitsError where it gives scores of which none is the largest, such as NaN.
"""

import numpy as np

from nanoautograd import no_grad
from nanoautograd.backends import device_of, to_device
from nanoautograd.functional import log_softmax
from nanoautograd.interface.array_interface import array_of
from nanoautograd.safety.options import check_numbers, check_sizes

from .sampling import Sampler, check_logits, check_options


def greedy(model, x, x_lengths, begin, end, longest):
    """The likeliest token at each step: B lists of tokens."""

    def likeliest(logits):
        check_logits(logits)
        return logits.argmax(axis=-1)

    return _write(model, x, x_lengths, begin, end, longest, likeliest)


def sample(model, x, x_lengths, begin, end, longest, rng, temperature=1.0, **options):
    """Tokens drawn as by sampling.choose, with its options; rng: a numpy Generator, from which B
    numbers are drawn a step. B lists of tokens. Raises as `choose` does."""
    check_options(temperature=temperature, **options)
    samplers = [Sampler(rng, temperature=temperature, **options) for _ in range(len(x))]

    def drawn(logits):
        return np.array([sampler(row) for sampler, row in zip(samplers, logits)])

    return _write(model, x, x_lengths, begin, end, longest, drawn)


@no_grad()
def _write(model, x, x_lengths, begin, end, longest, pick):
    """pick: logits, a NumPy array (B, V), -> tokens (B,)."""
    check_sizes("decoding", longest=longest)
    if not len(x):
        return []
    state = model.start(x, x_lengths)
    tokens, written = np.full(len(x), begin), []
    ended = np.zeros(len(x), dtype=bool)
    while len(written) < longest and not ended.all():
        logits, state = model.next(to_device(tokens, device_of(x)), state)
        check_end(end, logits.shape[-1])
        tokens = pick(logits.numpy())
        written.append(tokens)
        ended |= tokens == end
    written = np.array(written, dtype=np.int64).reshape(len(written), len(x))
    return [_until(end, row) for row in written.T]


@no_grad()
def beam_search(model, x, x_lengths, begin, end, longest, width=4, alpha=0.0):
    """The `width` likeliest beginnings are followed at once (Sutskever et al. 2014, section 3.2).

    A target y of length |y| (its end symbol counted) is worth log P(y) / |y|^alpha: with 0, its
    probability; with 1, that of a token on average (Wu et al. 2016, section 7, give another norm to
    the same end). One that has ended keeps its place for as long as it is among the `width` best.
    With width V^longest all targets are compared; with width 1 the search is `greedy`. Equals go to
    the smaller token.

    Returns for each source one to `width` pairs (worth, tokens), the best first. Raises ValueError
    and TypeError for a width below 1, a negative `longest`, and an alpha that is not finite, or
    with which |y|^alpha overflows.
    """
    check_sizes("beam_search", 1, width=width)
    check_sizes("beam_search", longest=longest)
    check_numbers("beam_search", alpha=alpha)
    with np.errstate(over="ignore"):
        if not np.isfinite([alpha, np.float64(max(longest, 1)) ** abs(alpha)]).all():
            raise ValueError(
                f"beam_search: alpha must be finite, and so must {longest}^|alpha|; got {alpha}"
            )
    B, W = len(x), width
    if not B:
        return []
    state = _take(model.start(x, x_lengths), np.repeat(np.arange(B), W))  # (B W, ...)
    written = np.empty((B, W, 0), dtype=np.int64)
    log_p = np.full((B, W), -np.inf)  # one beginning, and W - 1 free places
    log_p[:, 0] = 0.0
    length, ended = np.zeros((B, W)), np.zeros((B, W), dtype=bool)
    last = np.full(B * W, begin)
    for _ in range(longest):
        logits, state = model.next(to_device(last, device_of(x)), state)
        logits, V = logits.numpy().astype(np.float64).reshape(B, W, -1), logits.shape[-1]
        check_end(end, V)
        goes_on = ~ended & (log_p > -np.inf)  # (B, W)
        check_logits(logits[goes_on])
        new = np.full((B, W, V), -np.inf)
        new[goes_on] = log_softmax(logits[goes_on])
        new[ended, end] = 0.0  # stays as it is: one candidate
        new = log_p[..., None] + new
        lengths = (length + ~ended)[..., None] + np.zeros(V)
        worth = (new / lengths**alpha).reshape(B, W * V)
        best = np.argsort(-worth, axis=1, kind="stable")[:, :W]  # (B, W)
        parent, token = np.divmod(best, V)

        def of(a):  # (B, W, V) -> (B, W)
            return np.take_along_axis(a.reshape(B, W * V), best, axis=1)

        log_p, length = of(new), of(lengths)
        written = np.concatenate(
            [np.take_along_axis(written, parent[..., None], axis=1), token[..., None]], axis=-1
        )
        ended = np.take_along_axis(ended, parent, axis=1) | (token == end)
        if (ended | np.isneginf(log_p)).all():
            break
        last = token.ravel()
        state = _take(state, (np.arange(B)[:, None] * W + parent).ravel())
    worth = log_p / np.maximum(length, 1.0) ** alpha
    return [
        [
            (float(worth[b, i]), _until(end, written[b, i]))
            for i in range(W)
            if worth[b, i] > -np.inf
        ]
        for b in range(B)
    ]


def check_end(end, V):
    """Raises ValueError for an end symbol that is none of V tokens, so that it would never come."""
    if not 0 <= end < V:
        raise ValueError(f"decoding: the end symbol must be from 0 to {V - 1}, a token; got {end}")


def _take(state, rows):
    """The state with these of its sequences, in this order."""
    if state is None:
        return None
    if isinstance(state, dict):
        return {name: _take(part, rows) for name, part in state.items()}
    if isinstance(state, list):
        return [_take(part, rows) for part in state]
    if isinstance(state, tuple):
        return type(state)(*(_take(part, rows) for part in state))
    return state[to_device(rows, device_of(array_of(state)))]


def _until(end, tokens):
    """A list of the tokens up to the end symbol."""
    tokens = tokens.tolist()
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
