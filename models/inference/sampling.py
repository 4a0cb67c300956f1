"""Choosing the next token from a model's scores, for all language models."""

from math import inf, isfinite
from numbers import Integral, Real

import numpy as np

# What `choose` may be told: a kind of number, and its range. The command line asks here too.
OPTIONS = {
    "temperature": (float, dict(least=0)),
    "top_k": (int, dict(least=1)),
    "top_p": (float, dict(above=0, most=1)),
    "min_p": (float, dict(least=0, most=1)),
    "repetition_penalty": (float, dict(above=0)),
}


def choose(
    logits,
    rng,
    temperature=1.0,
    top_k=None,
    top_p=None,
    min_p=None,
    repetition_penalty=1.0,
    written=(),
):
    """A token drawn from p = softmax(logits / temperature), of the likeliest alone where `top_k`,
    `top_p` or `min_p` is given.

    logits: NumPy array (V,). temperature 0 takes the likeliest token (greedy). Tokens are put in
    order, p_1 ≥ p_2 ≥ ..., of equals the smaller first. top_k keeps K of them. top_p keeps the
    nucleus of what is left, the smallest n for which

        p_1 + ... + p_n ≥ top_p (p_1 + ... + p_K)           K = V without top_k

    (Holtzman et al. 2020, "The curious case of neural text degeneration", equation 2), which is one
    token or more; 1 keeps all. min_p keeps of these the tokens with

        p_i ≥ min_p p_1

    (Nguyen et al. 2025, "Turning up the heat: min-p sampling for creative and coherent LLM
    outputs", section 3): few where the model is sure, many where it is not. Of those kept, each is
    drawn in proportion to its p.

    repetition_penalty θ makes tokens less likely, with θ below 1 likelier, that are among those
    `written` before: their logits x become

        x / θ where x > 0,  θ x elsewhere

    (Keskar et al. 2019, "CTRL: a conditional transformer language model for controllable
    generation", section 4.1, which divides all x, and so makes tokens with x < 0 likelier).

    One number is drawn from `rng` for a token, so the same seed makes the same choices on every
    device; greedily none, and rng may be None. Raises TypeError and ValueError for arguments that
    cannot be, LogitsError, a ValueError, for logits of which none is the largest.
    """
    check_options(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
    )
    logits = np.asarray(logits)
    if logits.ndim != 1 or logits.dtype.kind not in "fiuV":  # V: bfloat16
        raise ValueError(
            f"choose: the logits of one token are numbers (V,); got {logits.dtype} {logits.shape}"
        )
    logits = logits.astype(np.float64)
    check_logits(logits)
    if repetition_penalty != 1.0:
        logits = penalized(logits, repetition_penalty, written)
    if temperature == 0.0:
        return int(logits.argmax())
    if rng is None:
        raise TypeError(f"choose: a temperature of {temperature} needs an rng; got None")
    order = np.argsort(-logits, kind="stable")[:top_k]  # likeliest first
    with np.errstate(over="ignore"):  # near 0 to -inf: never chosen
        p = np.exp((logits[order] - logits.max()) / temperature)
    cumulative = np.cumsum(p)
    n = len(order)
    if top_p is not None:
        n = np.searchsorted(cumulative, top_p * cumulative[-1]) + 1
    if min_p is not None:
        n = min(n, np.count_nonzero(p >= min_p * p[0]))
    order, cumulative = order[:n], cumulative[:n]
    return int(order[np.searchsorted(cumulative, rng.random() * cumulative[-1])])


def penalized(logits, penalty, written):
    """The logits (V,), those of the tokens `written` less likely by this penalty; what would be out
    of the range of floats is its end."""
    tokens = np.unique(np.asarray(written))
    if tokens.size and tokens.dtype.kind not in "iu":
        raise TypeError(f"choose: the tokens written must be integers; got {tokens.dtype}")
    tokens = tokens.astype(np.int64)
    if tokens.size and not 0 <= tokens[0] <= tokens[-1] < len(logits):
        raise ValueError(
            f"choose: the tokens written are from 0 to {len(logits) - 1}, of which there are "
            f"logits; got {tokens[0]} to {tokens[-1]}"
        )
    logits, x = logits.copy(), logits[tokens]
    with np.errstate(over="ignore"):
        less = np.where(x > 0, x / penalty, x * penalty)
    end = np.finfo(np.float64).max
    logits[tokens] = np.where(x > -np.inf, less.clip(-end, end), x)  # ruled out: stays so
    return logits


class Sampler:
    """`choose` for the tokens of one text, one after another, with these options: it knows those
    that it chose before."""

    def __init__(self, rng, **options):
        check_options(**options)
        self.rng, self.options, self.written = rng, options, []

    def __call__(self, logits):
        token = choose(logits, self.rng, **self.options, written=self.written)
        self.written.append(token)
        return token


def check_options(**options):
    """Raises TypeError for an option of `choose` that is no number of its kind, ValueError for one
    out of its range. None is what is not asked for."""
    for name, x in options.items():
        if name not in OPTIONS:
            raise TypeError(f"choose: there is no option {name}; there are {', '.join(OPTIONS)}")
        kind, bounds = OPTIONS[name]
        if x is None and name not in ("temperature", "repetition_penalty"):
            continue
        if isinstance(x, bool) or not isinstance(x, Integral if kind is int else Real):
            raise TypeError(f"choose: {name} must be of type {kind.__name__}; got {x!r:.100}")
        if allowed := out_of_range(x, **bounds):
            raise ValueError(f"choose: {name} must be {allowed}; got {x}")


def out_of_range(x, least=-inf, above=-inf, below=inf, most=inf):
    """None where a number x is finite and within these bounds, else what they are, in words."""
    if least <= x <= most and above < x < below:
        return None
    bounds = {"at least": least, "above": above, "below": below, "at most": most}
    finite = [f"{word} {bound}" for word, bound in bounds.items() if isfinite(bound)]
    return " and ".join(finite) or "finite"


class LogitsError(ValueError):
    """Scores of which none is the largest, so that they choose no token."""


def check_logits(logits):
    """Raises LogitsError unless each row of logits (..., V), a NumPy array, has a largest number:
    none may be NaN or inf, nor all of a row -inf."""
    if not logits.shape[-1]:
        raise LogitsError("there are logits of no token, and so none to choose")
    largest = logits.max(axis=-1)  # NaN where there is one
    if not np.isfinite(largest).all():
        wrong = largest[~np.isfinite(largest)].ravel()[0]
        raise LogitsError(
            f"the model gives logits of which the largest is {wrong}, so no token can be chosen: "
            "its weights, or what it read, are not finite, or it rules out every token"
        )


def as_text(tokens, decode):
    """Tokens, one after another -> their text in pieces that together are decode(tokens). Each
    comes as soon as its characters are there; where a token ends inside a character, this one waits
    for the next token.

    decode: a list of tokens -> their text, in which U+FFFD stands for bytes that are no character.
    What a token is in it may depend on the one before, such as a space between words.
    """
    window, given = [], 0  # the last tokens, and how many characters of their text are given out
    for token in tokens:
        window.append(token)
        text = decode(window)
        waiting = text.endswith("\ufffd")  # which may be a character that has only begun
        end = len(text) - waiting
        if end > given:
            yield text[given:end]
            # What waits has begun in this token, so those before it are needed no more.
            window = [token]
            given = len(decode(window)) - waiting
    yield decode(window)[given:]
