"""An n-gram language model: it counts, and nothing is learnt by gradients.

The probability of a token w depends on the history h, the n−1 tokens before it. A long history is a
good guide where it was seen often, and none where it never was; so what was counted after h is
interpolated with what the history h' without its oldest token says, and so on down to the empty
history, below which all V tokens are equally probable:

    p(w | h) = kept(h w) + rest(h) p(w | h')        rest(h) = 1 − Σ_w kept(h w)

    c(h w)   how often w follows h;  c(h) = Σ_w c(h w)
    N(h)     how many different tokens follow h

Where c(h) = 0, kept is 0 and rest is 1. The two kinds of smoothing differ in what they keep.

"witten-bell": N(h) times a token was new after h. With these as events of their own, another new
token has the probability N(h) of c(h) + N(h):

    p(w | h) = (c(h w) + N(h) p(w | h')) / (c(h) + N(h))

"kneser-ney": every pair h w that was seen gives up the same D,

    p(w | h) = (max(c(h w) − D, 0) + D N(h) p(w | h')) / c(h)
    D = n₁ / (n₁ + 2 n₂)        n₁, n₂: how many different h w have the count 1, and 2

and c(h w) is what it was only for the longest histories. For a shorter one it is the number of
different tokens that come before h w (the beginning of the text counts as one): its p is needed
where a longer history says little, and "Francisco", however frequent, is no likely guess there, for
it comes after one token only.

Sources: I. Witten and T. Bell, "The zero-frequency problem", IEEE Transactions on Information
Theory 37, 1991 (method C); T. Bell, J. Cleary and I. Witten, "Text Compression", 1990 (histories of
characters); R. Kneser and H. Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995;
S. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer
Speech & Language 13, 1999, sections 2.5 to 2.7 (both, interpolated, and D).

How the counts are kept. For histories of k tokens, k = 0, ..., n−1, a sorted array of the numbers

    key = i V + w       i the number of the history h, w the token that follows

of all pairs h w that were seen. The place of a key in that array is the number of h w as a history
of k+1 tokens. So the arrays are a tree in which h is found by one binary search for each of its
tokens, for all positions of a text at once; and no key exceeds V times the length of the text.

The text "abab", with a = 0, b = 1, V = 2 and n = 2, gives

    k   h w    i V + w         place   how often   tokens before it (kneser-ney)
    0   a      0 · 2 + 0 = 0     0         2       2: the beginning, b
        b      0 · 2 + 1 = 1     1         2       1: a
    1   ab     0 · 2 + 1 = 1     0         2
        ba     1 · 2 + 0 = 2     1         1

The empty history has the number 0. As histories, a and b have the numbers 0 and 1, their places for
k = 0. The counts for k = 1 are (2, 1); those for k = 0 are (2, 2), or (2, 1) with "kneser-ney".
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nanoautograd.nn import Module

UNSEEN = -1  # in place of the number of what was never seen


@dataclass
class Config:
    vocab_size: Annotated[int, "different tokens, V"]
    order: Annotated[int, "tokens that are counted together, n: with 1 there is no history"] = 5
    smoothing: Annotated[
        Literal["kneser-ney", "witten-bell"], "how counts are shared with shorter histories"
    ] = "kneser-ney"


class NGramLanguageModel(Module):
    """The model above. Before `fit` nothing was seen, and all tokens are equally probable.

    It is made and saved as the other models are, and has no parameters: nothing is drawn from
    `rng`, `fit` takes the place of training, and all of it stays in NumPy arrays. `dtype` is only
    that of the probabilities it returns: they are computed in float64.
    """

    def __init__(self, config, rng=None, dtype=np.float64):
        if config.vocab_size < 1 or config.order < 1:
            raise ValueError(
                "NGramLanguageModel: vocab_size and order must be at least 1, got "
                f"{config.vocab_size} and {config.order}"
            )
        if config.smoothing not in ("witten-bell", "kneser-ney"):
            raise ValueError(
                "NGramLanguageModel: smoothing must be 'witten-bell' or 'kneser-ney', "
                f"got {config.smoothing!r}"
            )
        self.config, self.dtype = config, dtype
        nothing = np.empty(0, np.int64)
        self._set([nothing] * config.order, [nothing] * config.order)

    def fit(self, tokens):
        """Count `tokens`, integers (m,), in place of what was counted before. Returns the model."""
        x, V, n = self._tokens("fit", tokens), self.config.vocab_size, self.config.order
        keys, counts = [], []
        i = np.zeros(len(x), np.int64)  # for k = 0, all have the empty history
        shorter = None  # the places of h' w, from k = 1 on
        for k in range(n):
            # i and x[k:] are side by side: for each token the number of the k tokens before it.
            key, first, place, c = np.unique(
                i * V + x[k:], return_index=True, return_inverse=True, return_counts=True
            )
            if k and self.config.smoothing == "kneser-ney":
                # Each different h w is a v h' w: one more token v before h' w. The first h' w of
                # the text has no v before it: the beginning counts as one.
                counts[-1] = np.bincount(shorter[1:][first], minlength=len(keys[-1]))
                counts[-1][shorter[:1]] += 1
            keys.append(key)
            counts.append(c)
            shorter = place
            i = place[:-1]  # h w is the history of the token behind it
        self._set(keys, counts)
        return self

    def log_probabilities(self, tokens):
        """log p of each of `tokens`, integers (m,), given those before it -> (m,), in nats."""
        x, V = self._tokens("log_probabilities", tokens), self.config.vocab_size
        p = np.full(len(x), 1.0 / V)
        i = np.zeros(len(x), np.int64)  # as in `fit`
        for k in range(min(self.config.order, len(x))):
            place = self._find(k, i * V + x[k:])
            p[k:] = self.kept[k][place] + self.rest[k][i] * p[k:]
            i = place[:-1]
        return np.log(p).astype(self.dtype)

    def distribution(self, history):
        """p of each token after `history`, a sequence of tokens -> (V,)."""
        x, V = self._tokens("distribution", history), self.config.vocab_size
        p = np.full(V, 1.0 / V)
        for k in range(min(self.config.order, len(x) + 1)):
            i = 0
            for j, w in enumerate(x[len(x) - k :]):
                i = self._find(j, i * V + w)
            if i == UNSEEN:
                break  # nor was a longer one seen
            first, end = np.searchsorted(self.keys[k], [i * V, (i + 1) * V])
            p *= self.rest[k][i]
            p[self.keys[k][first:end] - i * V] += self.kept[k][first:end]
        return p.astype(self.dtype)

    def generate(self, prompt, choose):
        """Continue `prompt`, a sequence of tokens: yields one token after another, without end. It
        may be empty: the first token then has the frequency of all.

        choose: log p of the next token, a NumPy array (V,), -> a token.
        """
        history = list(prompt)
        while True:
            history = history[max(0, len(history) - self.config.order + 1) :]
            token = choose(np.log(self.distribution(history)))
            yield token
            history.append(token)

    def state_dict(self):
        """{name: array int64 (number of pairs,)}: the keys and counts of histories of k tokens."""
        return {
            f"{name}.{k}": array.copy()
            for name in ("keys", "counts")
            for k, array in enumerate(getattr(self, name))
        }

    def load_state_dict(self, state_dict):
        """Copy what `state_dict` of a model with the same config gave. Raises ValueError, before
        anything is changed, where these arrays cannot be that."""

        def refuse(why):
            raise ValueError(f"NGramLanguageModel.load_state_dict: {why}")

        V, n, histories, arrays = self.config.vocab_size, self.config.order, 1, {}
        names = list(self.state_dict())
        if set(names) != set(state_dict):
            refuse(
                f"a model of order {n} has the arrays {', '.join(names)}; got "
                f"{', '.join(map(str, state_dict)) or 'none'}"
            )
        for name in names:
            a = arrays[name] = np.array(state_dict[name])
            if a.dtype != np.int64 or a.ndim != 1:
                refuse(f"{name} must be int64 and (number of pairs,), got {a.dtype} {a.shape}")
        keys, counts = names[:n], names[n:]
        for k, c in zip(keys, counts):
            a, b = arrays[k], arrays[c]
            if a.shape != b.shape:
                refuse(f"{k} and {c} must be of one length, got {len(a)} and {len(b)}")
            if len(a) and (a[0] < 0 or a[-1] // V >= histories or (a[1:] <= a[:-1]).any()):
                refuse(
                    f"{k} must rise, from at least 0 to below {histories} · {V}: there are "
                    f"{histories} histories"
                )
            if len(b) and (b.min() < 1 or b.max() > 2**53 // len(b)):
                refuse(
                    f"{c} must be at least 1 and their sum at most 2⁵³, got {b.min()} to {b.max()}"
                )
            histories = len(a)
        self._set([arrays[k] for k in keys], [arrays[c] for c in counts])

    def _set(self, keys, counts):
        """Take these counts, and prepare from them, for each length k of the history, the two parts
        of p(w | h) = kept(h w) + rest(h) p(w | h'): kept by the place of h w, rest by the number of
        h. Both have one entry more, the last, which UNSEEN = −1 finds: kept 0, rest 1."""
        self.keys, self.counts, self.kept, self.rest = keys, counts, [], []
        histories = 1  # of k tokens
        for key, c in zip(keys, counts):
            i = key // self.config.vocab_size  # of the history h of each h w
            N = np.bincount(i, minlength=histories)
            total = np.bincount(i, c, minlength=histories)  # c(h)
            if self.config.smoothing == "witten-bell":
                D, given, total = 0.0, N, total + N
            else:
                D = self._discount(c)  # c ≥ 1 ≥ D where h w was seen: max(c − D, 0) = c − D
                given = D * N
            self.kept.append(np.append((c - D) / total[i], 0.0))
            self.rest.append(np.append(np.where(N > 0, given / np.maximum(total, 1.0), 1.0), 1.0))
            histories = len(c)

    @staticmethod
    def _discount(c):
        """D; ½ where no count is 1, for with D = 0 what was never seen would be impossible."""
        n1, n2 = (c == 1).sum(), (c == 2).sum()
        return float(n1 / (n1 + 2 * n2)) if n1 else 0.5

    def _find(self, k, key):
        """The places of these keys among those of histories of k tokens, UNSEEN where they are not:
        such are all with i = UNSEEN, for they are negative."""
        keys = self.keys[k]
        if not len(keys):
            return np.full_like(key, UNSEEN)
        place = np.searchsorted(keys, key).clip(max=len(keys) - 1)
        return np.where(keys[place] == key, place, UNSEEN)

    def _tokens(self, name, tokens):
        x, V = np.asarray(tokens), self.config.vocab_size
        if x.ndim != 1 or x.size and x.dtype.kind not in "iu":
            raise TypeError(
                f"NGramLanguageModel.{name}: tokens must be integers (m,), got {x.dtype} {x.shape}"
            )
        if x.size and not 0 <= x.min() <= x.max() < V:
            raise IndexError(
                f"NGramLanguageModel.{name}: tokens must be from 0 to {V - 1}, got "
                f"{x.min()} to {x.max()}"
            )
        return x.astype(np.int64)
