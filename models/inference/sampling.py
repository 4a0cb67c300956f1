"""Choosing the next token from a model's scores, for all language models."""

import numpy as np


def choose(logits, rng, temperature=1.0, top_k=None, top_p=None):
    """A token drawn from p = softmax(logits / temperature), of the likeliest alone where `top_k` or
    `top_p` is given.

    logits: NumPy array (V,). temperature 0 takes the likeliest token (greedy). Tokens are put in
    order, p_1 ≥ p_2 ≥ ..., of equals the smaller first. top_k keeps K of them. top_p keeps the
    nucleus of what is left, the smallest n for which

        p_1 + ... + p_n ≥ top_p (p_1 + ... + p_K)           K = V without top_k

    (Holtzman et al. 2020, "The curious case of neural text degeneration", equation 2), which is one
    token or more; 1 keeps all. Of those kept, each is drawn in proportion to its p. One number is
    drawn from `rng` for a token, so the same seed makes the same choices on every device.
    """
    logits = logits.astype(np.float64)
    if temperature == 0.0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[:top_k]  # likeliest first
    with np.errstate(over="ignore"):  # near 0 to -inf: never chosen
        p = np.exp((logits[order] - logits.max()) / temperature)
    cumulative = np.cumsum(p)
    if top_p is not None:
        nucleus = np.searchsorted(cumulative, top_p * cumulative[-1]) + 1
        order, cumulative = order[:nucleus], cumulative[:nucleus]
    return int(order[np.searchsorted(cumulative, rng.random() * cumulative[-1])])


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
