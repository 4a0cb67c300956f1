"""Choosing the next token from a model's scores, for all language models."""

import numpy as np


def choose(logits, rng, temperature=1.0, top_k=None):
    """A token drawn from softmax(logits / temperature), of the `top_k` likeliest where that is
    given.

    logits: NumPy array (V,). temperature 0 takes the likeliest token (greedy). One number is drawn
    from `rng` for a token, so the same seed makes the same choices on every device.
    """
    logits = logits.astype(np.float64)
    if temperature == 0.0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[:top_k]          # likeliest first
    with np.errstate(over="ignore"):                            # near 0 to -inf: never chosen
        p = np.exp((logits[order] - logits.max()) / temperature)
    cumulative = np.cumsum(p)
    return int(order[np.searchsorted(cumulative, rng.random() * cumulative[-1])])
