"""The operations in plain NumPy, as simply as they can be written: for comparing results.

Finite differences confirm the gradient of whatever is computed, right or wrong. So the results
themselves are compared with these. Attribute access falls back to `numpy`: `oracle.tanh` is
`numpy.tanh`, and only what NumPy lacks is written out here, one formula or loop each.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..typing import Array, Axes
from .differences import EPS

Step = Callable[[Array, Array, Sequence[Array]], tuple[Array, ...]]  # of a recurrent network


def __getattr__(name: str) -> Any:
    return getattr(np, name)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.log(1 + np.exp(x))


def erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[float])(x)


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.0)


def logsumexp(a: Array, axis: Axes = None, keepdims: bool = False) -> Array:
    return np.log(np.exp(a).sum(axis=axis, keepdims=keepdims))


def norm(x: Array, ord: Any = None, axis: Axes = None, keepdims: bool = False) -> Array:
    return np.linalg.norm(x, ord, axis, keepdims)


def permute(a: Array, axes: tuple[int, ...]) -> Array:
    return np.transpose(a, axes)


def getitem(x: Array, index: Any) -> Array:
    return x[index]


def index_put(x: Array, index: Any, value: Array) -> Array:
    y = x.copy()
    y[index] = value
    return y


def scatter_add(values: Array, index: Any, shape: tuple[int, ...]) -> Array:
    y = np.zeros(shape)
    np.add.at(y, index, values)
    return y


def astype(a: Array, dtype: str) -> Array:
    return np.asarray(a).astype(dtype)


def softmax(x: Array, axis: Axes = -1) -> Array:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def log_softmax(x: Array, axis: Axes = -1) -> Array:
    return np.log(softmax(x, axis))


def find(name: str) -> Callable[..., Any]:
    """The function that stands for `nag.<name>`."""
    return globals().get(name.split(".")[-1]) or getattr(np, name)


def copy(a: Array) -> Array:
    return np.array(a)


def to(a: Array, device: str) -> Array:
    return np.array(a)


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.einsum("...i,oi->...o", input, weight)
    return y if bias is None else y + bias


def embedding(input: Array, weight: Array, padding_idx: int | None = None) -> Array:
    rows = [weight[i] for i in input.ravel()]
    return np.array(rows).reshape(*input.shape, weight.shape[1])


def gelu(input: Array, approximate: str = "none", bias: Array | None = None) -> Array:
    x = input if bias is None else input + bias
    if approximate == "tanh":
        return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x / 2 * (1 + erf(x / math.sqrt(2)))


def silu(input: Array) -> Array:
    return input * sigmoid(input)


def layer_norm(
    input: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    residual: Array | None = None,
    return_sum: bool = False,
) -> Array | tuple[Array, Array]:
    z = input if residual is None else input + residual
    y = np.empty_like(z)
    for i in np.ndindex(z.shape[: -len(normalized_shape)]):
        y[i] = (z[i] - z[i].mean()) / np.sqrt(z[i].var() + eps)
        y[i] = y[i] * (1 if weight is None else weight) + (0 if bias is None else bias)
    return (y, z) if return_sum else y


def rms_norm(
    input: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None = None,
    eps: float = EPS,
    residual: Array | None = None,
    return_sum: bool = False,
) -> Array | tuple[Array, Array]:
    z = input if residual is None else input + residual
    y = np.empty_like(z)
    for i in np.ndindex(z.shape[: -len(normalized_shape)]):
        y[i] = z[i] / np.sqrt((z[i] ** 2).mean() + eps)
        y[i] = y[i] * (1 if weight is None else weight)
    return (y, z) if return_sum else y


def random_word(seed: int, n: int) -> int:
    """Number n of the seed's random words: Philox 4x32-10, with Python's integers."""
    word, (c0, c1, c2, c3) = 2**32, (n // 4 % 2**32, n // 4 >> 32, 0, 0)
    k0, k1 = seed % word, seed // word
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, word)
        high1, low1 = divmod(0xCD9E8D57 * c2, word)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % word, (k1 + 0xBB67AE85) % word
    return (c0, c1, c2, c3)[n % 4]


def dropout(
    input: Array, p: float = 0.5, training: bool = True, *, seed: int, offset: int = 0
) -> Array:
    if not training:
        return np.array(input)
    kept = [random_word(seed, offset + i) >= p * 2**32 for i in range(input.size)]
    return np.array([x / (1 - p) if k else 0.0 for x, k in zip(input.ravel(), kept)]).reshape(
        input.shape
    )


def crf_score(
    emissions: Array, tags: Sequence[int], transitions: Array, start: Array, end: Array
) -> float:
    """The score of one sequence of tags; emissions are (T, K)."""
    steps = zip(tags, tags[1:])
    return (
        start[tags[0]]
        + np.add.reduce([x[y] for x, y in zip(emissions, tags)])
        + np.add.reduce([transitions[i, j] for i, j in steps])
        + end[tags[-1]]
    )


def crf_log_partition(
    emissions: Array, transitions: Array, start: Array, end: Array, *, mask: Array | None = None
) -> Array:
    out = []
    for b in range(emissions.shape[1]):
        x = emissions[:, b] if mask is None else emissions[mask[:, b], b]
        every = itertools.product(range(x.shape[1]), repeat=len(x))
        out.append(logsumexp(np.array([crf_score(x, y, transitions, start, end) for y in every])))
    return np.array(out)


def crf_loss(
    emissions: Array,
    tags: Array,
    transitions: Array,
    start: Array,
    end: Array,
    *,
    mask: Array | None = None,
    reduction: str = "mean",
) -> Array:
    out = crf_log_partition(emissions, transitions, start, end, mask=mask)
    for b in range(emissions.shape[1]):
        n = len(emissions) if mask is None else mask[:, b].sum()
        out[b] -= crf_score(emissions[:n, b], tags[:n, b].tolist(), transitions, start, end)
    return {"none": out, "sum": out.sum(), "mean": out.mean()}[reduction]


def mse_loss(input: Array, target: Array, reduction: str = "mean") -> Array:
    out = (input - target) ** 2
    return {"none": out, "sum": out.sum(), "mean": out.mean()}[reduction]


def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Any = 1.0,
    *,
    reduction: str = "mean",
    pos_weight: Any = 1.0,
) -> Array:
    p = 1 / (1 + np.exp(-input))
    out = -weight * (pos_weight * target * np.log(p) + (1 - target) * np.log(1 - p))
    return {"none": out, "sum": out.sum(), "mean": out.mean()}[reduction]


def rotary_embedding(
    input: Array, *, base: float = 10000.0, offset: int = 0, interleaved: bool = True
) -> Array:
    T, d = input.shape[-2:]
    y = np.empty_like(input)
    for t in range(T):
        for i in range(d // 2):
            pair = [2 * i, 2 * i + 1] if interleaved else [i, i + d // 2]
            angle = (offset + t) * base ** (-2 * i / d)
            rotation = np.array(
                [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            )
            y[..., t, pair] = input[..., t, pair] @ rotation.T
    return y


def gaussian_kl_divergence(
    mu: Array, logvar: Array, mu_2: Array | float = 0.0, logvar_2: Array | float = 0.0
) -> Array:
    ratio = np.exp(logvar - logvar_2)
    return ((ratio - 1 - np.log(ratio) + (mu - mu_2) ** 2 / np.exp(logvar_2)) / 2).sum(axis=-1)


def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    if input.ndim == 1:  # one row, a batch of it
        out = cross_entropy(
            input[None],
            target[None],
            weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
        return out[0] if reduction == "none" else out
    C = input.shape[1]
    w = np.ones(C) if weight is None else weight
    x = np.moveaxis(input, 1, -1).reshape(-1, C)
    numbers = target.dtype.kind in "iu"
    targets = target.ravel() if numbers else np.moveaxis(target, 1, -1).reshape(-1, C)
    losses, total = [], 0.0
    for row, t in zip(x, targets):
        if numbers and t == ignore_index:
            losses.append(0.0)
            continue
        total += w[t] if numbers else 1.0
        q = (1 - label_smoothing) * (np.eye(C)[t] if numbers else t) + label_smoothing / C
        losses.append(-np.sum(w * q * log_softmax(row)))
    if reduction == "none":
        return np.reshape(losses, input.shape[:1] + input.shape[2:])
    return np.sum(losses) / (total if reduction == "mean" else 1.0)


def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    *,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    return_weights: bool = False,
    seed: int = 0,
    offset: int = 0,
) -> Array | tuple[Array, Array]:
    T, S, d = query.shape[-2], key.shape[-2], query.shape[-1]
    scores = np.einsum("...td,...sd->...ts", query, key) * (d**-0.5 if scale is None else scale)
    visible = np.ones((T, S), dtype=bool)
    if is_causal:
        visible = visible & (np.arange(S)[None, :] <= np.arange(T)[:, None])
    if attn_mask is not None and attn_mask.dtype == bool:
        visible = visible & attn_mask
    elif attn_mask is not None:
        scores = scores + attn_mask
    e = np.exp(scores) * visible
    total = e.sum(axis=-1, keepdims=True)
    weights = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    weights = dropout(weights, dropout_p, seed=seed, offset=offset)
    out = np.einsum("...ts,...se->...te", weights, value)
    return (out, weights) if return_weights else out


def rnn(
    input: Array, hx: Array | None, *weights: Array, nonlinearity: str = "tanh", **options: Any
) -> tuple[Array, ...]:
    f = np.tanh if nonlinearity == "tanh" else relu

    def step(a: Array, e: Array, states: Sequence[Array]) -> tuple[Array, ...]:
        return (f(a + e),)

    return recurrent(step, input, (hx,), weights, **options)


def lstm(
    input: Array, hx: tuple[Array, Array] | None, *weights: Array, **options: Any
) -> tuple[Array, tuple[Array, Array]]:
    def step(a: Array, e: Array, states: Sequence[Array]) -> tuple[Array, ...]:
        i, f, g, o = np.split(a + e, 4)
        c = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    out, h_n, c_n = recurrent(step, input, hx or (None, None), weights, **options)
    return out, (h_n, c_n)


def gru(input: Array, hx: Array | None, *weights: Array, **options: Any) -> tuple[Array, ...]:
    def step(a: Array, e: Array, states: Sequence[Array]) -> tuple[Array, ...]:
        (a_r, a_z, a_n), (e_r, e_z, e_n) = np.split(a, 3), np.split(e, 3)
        r, z = sigmoid(a_r + e_r), sigmoid(a_z + e_z)
        return ((1 - z) * np.tanh(a_n + r * e_n) + z * states[0],)

    return recurrent(step, input, (hx,), weights, **options)


def recurrent(
    step: Step,
    input: Array,
    starts: Sequence[Array | None],
    weights: Sequence[Array],
    bidirectional: bool = False,
    lengths: Array | None = None,
    batch_first: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
    masks: Array | None = None,
) -> tuple[Array, ...]:
    if input.ndim == 2:  # one sequence, a batch of it
        starts = [s if s is None else s[:, None] for s in starts]
        masks = masks if masks is None else masks[:, :, None]
        out, *last = recurrent(
            step,
            input[:, None],
            starts,
            weights,
            bidirectional,
            lengths,
            False,
            bias,
            dropout,
            masks,
        )
        return out[:, 0], *(s[:, 0] for s in last)
    x = input.swapaxes(0, 1) if batch_first else input
    T, B, _ = x.shape
    each, D, H = (4 if bias else 2), (2 if bidirectional else 1), weights[1].shape[1]
    steps = [T] * B if lengths is None else [int(n) for n in lengths]
    last = [np.zeros((len(weights) // each, B, H)) for _ in starts]
    for layer in range(len(weights) // (each * D)):
        if layer and masks is not None:
            kept = masks[layer - 1]
            x = x * (kept.swapaxes(0, 1) if batch_first else kept) / (1 - dropout)
        y = np.zeros((T, B, D * H))
        for way in range(D):
            k = layer * D + way
            W, U, *b = weights[each * k : each * (k + 1)]
            b_ih, b_hh = b or (0.0, 0.0)
            for c in range(B):
                states = [np.zeros(H) if s is None else s[k, c] for s in starts]
                for t in range(steps[c]) if way == 0 else reversed(range(steps[c])):
                    states = step(W @ x[t, c] + b_ih, U @ states[0] + b_hh, states)
                    y[t, c, way * H : (way + 1) * H] = states[0]
                for s, state in zip(last, states):
                    s[k, c] = state
        x = y
    return (x.swapaxes(0, 1) if batch_first else x), *last


def linear_cross_entropy(
    hidden: Array,
    weight: Array,
    target: Array,
    bias: Array | None = None,
    class_weight: Array | None = None,
    **options: Any,
) -> Array:
    scores = linear(hidden, weight, bias).reshape(-1, len(weight))
    out = cross_entropy(scores, np.ravel(target), class_weight, **options)
    return out.reshape(target.shape) if options["reduction"] == "none" else out
