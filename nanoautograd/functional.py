"""Functions with PyTorch's names and argument names: what layers and losses compute.

Each takes Tensors or plain arrays of any backend, and returns what it was given. Those with a
derivation of their own are in manual/, one file each; the rest is written from primitives here.
Arrays of 16 bits are computed in float32 where there is something to add (manual/sixteen_bits.py).
"""

from os import urandom

import numpy as np

from . import _deprecated
from .array_interface import array_of
from .backends import array_namespace, device_of, is_array, to_device
from .core.grad_mode import is_grad_enabled
from .core.operation import function
from .kernels import Kernel
from .kernels.recording import CaptureError, now
from .manual.attention import scaled_dot_product_attention as _scaled_dot_product_attention
from .manual.crf import crf_log_partition as _crf_log_partition
from .manual.crf import score as _crf_score
from .manual.cross_entropy import cross_entropy as _cross_entropy
from .manual.dropout import dropout as _dropout
from .manual.embedding import embedding as _embedding
from .manual.gelu import gelu as _gelu
from .manual.gru import gru as _gru
from .manual.kl_divergence import gaussian_kl_divergence as _gaussian_kl_divergence
from .manual.layer_norm import layer_norm as _layer_norm
from .manual.linear import linear as _linear
from .manual.linear_cross_entropy import linear_cross_entropy as _linear_cross_entropy
from .manual.log_softmax import log_softmax as _log_softmax
from .manual.lstm import lstm as _lstm
from .manual.rms_norm import rms_norm as _rms_norm
from .manual.rnn import rnn as _rnn
from .manual.rotary import rotary_embedding as _rotary_embedding
from .manual.silu import silu as _silu
from .manual.sixteen_bits import of_16_bits
from .manual.softmax import softmax as _softmax
from .ops import astype, mean, sign, sum
from .ops.reductions import wide
from .safety.arguments import as_array

__all__ = [
    "crf_log_partition",
    "crf_loss",
    "cross_entropy",
    "dropout",
    "embedding",
    "gaussian_kl_divergence",
    "gelu",
    "gru",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "lstm",
    "relu",
    "rms_norm",
    "rnn",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "silu",
    "softmax",
]


# Where there are kernels, they compute for arrays that are not NumPy's.
for _operation, _name in {
    _scaled_dot_product_attention: "attention",
    _cross_entropy: "cross_entropy",
    _dropout: "dropout",
    _embedding: "embedding",
    _gelu: "gelu",
    _gru: "gru",
    _layer_norm: "layer_norm",
    _linear_cross_entropy: "linear_cross_entropy",
    _log_softmax: "log_softmax",
    _lstm: "lstm",
    _rms_norm: "rms_norm",
    _rnn: "rnn",
    _silu: "silu",
    _softmax: "softmax",
}.items():
    _operation.elsewhere = Kernel(_name, _operation)


def _as_array(x, like):
    """A number, or a list of them, as an array where `like` is; an array as it is."""
    if is_array(array_of(x)):
        return x
    x, like = np.asarray(x), array_of(as_array(like))
    return to_device(x.astype(like.dtype) if x.dtype.kind == "f" else x, device_of(like))


def _any_seed(name):
    if now.recording is not None:
        raise CaptureError(
            f"{name} draws a new seed at each call, and a recorded step would have "
            "one for ever: use nn.Dropout, or give a seed and an offset that moves "
            "on"
        )
    return int.from_bytes(urandom(8), "little")


def _as_shape(n):
    return (n,) if isinstance(n, int) else tuple(n)


@function
def relu(input):
    """y = max(x, 0), elementwise:  x̄ = ȳ where x > 0, ȳ/2 at 0, as at every tie of this library,
    and NaN where x is NaN."""
    return array_namespace(input).maximum(input, 0)


relu.defvjp(input=lambda g, input: g * (0.5 * sign(input) + 0.5))


def gelu(input, approximate="none", bias=None):
    """x Φ(x), Φ the normal distribution function; elementwise. See manual/gelu.py.

    input: any shape, floating. approximate: "none", or "tanh" for the approximation
    x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))). bias: (N,), of the input's dtype, is added to an input
    (..., N) before: gelu(linear(x, W), bias=b) is gelu(linear(x, W, b)) in fewer passes over
    memory.

    Returns an array like the input. Raises ValueError and TypeError for others.
    """
    return _gelu(input, bias, approximate=approximate)


def silu(input):
    """x / (1 + e⁻ˣ), elementwise; any shape, floating (else TypeError). See manual/silu.py."""
    return _silu(input)


def softmax(input, dim=-1):
    """exp(x_i) / Σ_j exp(x_j) along the axis `dim`; any shape, floating. See manual/softmax.py."""
    return _softmax(input, axis=dim)


def log_softmax(input, dim=-1):
    """log softmax(x) along the axis `dim`, also where softmax is 0. See manual/log_softmax.py."""
    return _log_softmax(input, axis=dim)


def linear(input, weight, bias=None):
    """x Wᵀ + b: input (..., I), weight (O, I), bias (O,) or None -> (..., O). See manual/linear.py.

    Raises ValueError if the shapes do not fit.
    """
    return _linear(input, weight, bias)


def embedding(input, weight, padding_idx=None):
    """The rows of weight (V, D) that input, integers of any shape, names -> (*input.shape, D).

    The gradient of a row is the sum over all places where it was used, and zero for the row
    padding_idx, from -V to V-1. See manual/embedding.py.

    Raises IndexError for an id outside 0 ... V-1; TypeError and ValueError for dtypes and shapes.
    """
    return _embedding(_as_array(input, weight), weight, padding_idx=padding_idx)


def layer_norm(
    input, normalized_shape, weight=None, bias=None, eps=1e-5, residual=None, return_sum=False
):
    """Over the last axes, (x - mean x) / √(var x + eps) · weight + bias. See manual/layer_norm.py.

    input: (..., *normalized_shape), floating. normalized_shape: the sizes of the axes that are
    normalised together, or one integer. weight, bias: of that shape and the input's dtype, or None.
    residual: of the input's shape and dtype; x is then input + residual, in less time than one
    after the other. return_sum: also return that.

    Returns y, an array like the input, or the pair (y, input + residual). Raises ValueError and
    TypeError for shapes and dtypes.
    """
    return _layer_norm(
        input,
        weight,
        bias,
        residual,
        normalized_shape=_as_shape(normalized_shape),
        eps=eps,
        return_sum=return_sum,
    )


def rms_norm(input, normalized_shape, weight=None, eps=None, residual=None, return_sum=False):
    """Over the last axes, x / √(mean x² + eps) · weight. See manual/rms_norm.py.

    input, normalized_shape, weight, residual, return_sum: as for layer_norm. eps: None is the
    dtype's machine epsilon; for 16 bits that of float32, as in PyTorch.

    Returns y, an array like the input, or the pair (y, input + residual). Raises ValueError and
    TypeError for shapes and dtypes.
    """
    return _rms_norm(
        input,
        weight,
        residual,
        normalized_shape=_as_shape(normalized_shape),
        eps=eps,
        return_sum=return_sum,
    )


def dropout(input, p=0.5, training=True, *, seed=None, offset=0):
    """Elements are 0 with probability p, and otherwise divided by 1 - p. See manual/dropout.py.

    input: any shape, floating. training: if False, the result is the input.
    seed: an integer from 0 to 2⁶⁴ - 1 that decides what is dropped, the same on every device; None
    is a new one each time. offset: how many of the seed's random numbers to pass over; a mask takes
    input.size of them.

    Raises ValueError if p is no probability, TypeError for dtypes.
    """
    if seed is None:
        seed = _any_seed("dropout") if training and p else 0
    return _dropout(input, p=p, training=training, seed=seed, offset=offset)


def cross_entropy(
    input,
    target,
    weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    overwrite_input=None,
):
    """Cross entropy of logits: -log softmax(input) at the target. See manual/cross_entropy.py.

    input: logits (C,), (N, C) or (N, C, d1, ..., dk), floating.
    target: class numbers, integers (), (N,) or (N, d1, ..., dk); or distributions over the classes,
    floating and like input, which are differentiated too.
    weight: (C,), one factor a class, or None.
    ignore_index: class numbers equal to it add nothing to the loss.
    reduction: "none" (a loss for each class number), "sum", or "mean", which for class numbers
    divides by the sum of their weights and for distributions by their number.
    label_smoothing: ε; the target becomes 1-ε of itself and ε of the uniform distribution.
    overwrite_input: deprecated, and without effect.

    Raises IndexError for a class number out of range; ValueError and TypeError for shapes, options
    and dtypes. If all targets are ignored the mean is nan (and its gradient zero).
    """
    if overwrite_input is not None:
        _deprecated.overwrite_input()
    return _cross_entropy(
        input,
        _as_array(target, input),
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def linear_cross_entropy(
    hidden,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
):
    """Cross entropy of the logits linear(hidden, weight, bias), which never exist as a whole.

    The same as cross_entropy(linear(hidden, weight, bias), target, class_weight, ...), but only a
    few rows of the logits (N, V) are in memory at a time: 128 MiB in float32. For many classes,
    where the logits would be the largest array. See manual/linear_cross_entropy.py.

    hidden: (..., D), floating: the states before the last layer.
    weight, bias: (V, D) and (V,) or None, as in nn.Linear, of the dtype of hidden.
    target: (...), integers, class numbers from 0 to V-1.
    class_weight: (V,), of the dtype of hidden, one factor a class, or None.
    ignore_index, reduction, label_smoothing: as for cross_entropy.

    Returns the loss, (...) with reduction "none" and () otherwise. All floating arguments have
    gradients. With "mean" and "sum" the call itself computes those that are needed, so call it
    under no_grad() where none is. With "none", and in a second backward pass through a retained
    graph, the backward pass computes the logits again. The gradient of a gradient needs all logits
    at once. Arrays of 16 bits are computed in float32.

    Raises IndexError for a class number out of range; ValueError and TypeError for shapes, options
    and dtypes. If all targets are ignored the mean is nan (and its gradient zero).
    """
    arrays = hidden, weight, _as_array(target, hidden), bias, class_weight
    return _linear_cross_entropy(
        *arrays,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        gradients=tuple([is_grad_enabled() and getattr(a, "requires_grad", False) for a in arrays]),
    )


def crf_log_partition(emissions, transitions, start_transitions, end_transitions, *, mask=None):
    """log Σ exp(score) over all sequences of tags of a linear-chain conditional random field. Its
    gradient is the marginal probabilities of tags and transitions. See manual/crf.py.

    emissions: (T, B, K), scores of K tags at T steps of B sequences; floating.
    transitions: (K, K), from the row's tag to the column's; start_transitions, end_transitions:
    (K,), for the first and the last tag; of the same dtype. -inf forbids.
    mask: (T, B), booleans, True for the steps of a sequence and then False; None for all True.

    Returns (B,). Raises ValueError and TypeError for shapes, dtypes and masks with gaps.
    """
    return _crf_log_partition(emissions, transitions, start_transitions, end_transitions, mask=mask)


def crf_loss(
    emissions, tags, transitions, start_transitions, end_transitions, *, mask=None, reduction="mean"
):
    """-log P(tags) of a linear-chain conditional random field. Its gradient is the marginal
    probabilities less 1 for the tags and transitions that are in `tags`. See manual/crf.py.

    tags: (T, B), integers from 0 to K-1; anything where the mask is False. The rest is as for
    crf_log_partition. reduction: "none" (a loss for each sequence, (B,)), "sum", or "mean".

    Raises IndexError for a tag out of range; ValueError and TypeError for shapes, dtypes, options.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"crf_loss: reduction must be 'none', 'mean' or 'sum'; got {reduction!r}")
    scores = emissions, transitions, start_transitions, end_transitions
    if dtype := of_16_bits(scores):  # a small difference of large numbers
        ell = crf_loss(
            wide(emissions), tags, *map(wide, scores[1:]), mask=mask, reduction=reduction
        )
        return astype(ell, dtype)
    ell = crf_log_partition(*scores, mask=mask) - _crf_score(*scores, tags, mask=mask)
    return ell if reduction == "none" else sum(ell) if reduction == "sum" else mean(ell)


def rotary_embedding(input, *, base=10000.0, offset=0, interleaved=True):
    """Turns pairs of features by angles that grow with the position. See manual/rotary.py.

    input: (..., T, d), queries or keys, floating, d even. At position offset + t, pair i is turned
    by (offset + t) base^(-2i/d). interleaved: pairs are neighbours, (0, 1), (2, 3), ...; otherwise
    feature i of the first half goes with i of the second.

    Returns an array like the input. Raises ValueError and TypeError for shapes and dtypes.
    """
    return _rotary_embedding(input, base=base, offset=offset, interleaved=interleaved)


def gaussian_kl_divergence(mu, logvar, mu_2=None, logvar_2=None):
    """KL(N(mu, exp logvar), N(mu_2, exp logvar_2)) of diagonal Gaussians. See
    manual/kl_divergence.py.

    mu, logvar: (..., d), means and logarithms of variances; floating. mu_2, logvar_2: arrays that
    broadcast to that, of the same dtype; None for both is N(0, 1).

    Returns (...), the sums over the d dimensions. Raises ValueError and TypeError for shapes and
    dtypes.
    """
    return _gaussian_kl_divergence(mu, logvar, mu_2, logvar_2)


def scaled_dot_product_attention(
    query,
    key,
    value,
    attn_mask=None,
    *,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    return_weights=False,
    seed=None,
    offset=0,
):
    """softmax(scale · query keyᵀ + attn_mask) value. See manual/attention.py.

    query (..., T, d), key (..., S, d), value (..., S, e) -> (..., T, e); batch axes, such as heads,
    broadcast.
    attn_mask: broadcasts to (..., T, S); boolean, True = takes part, or floating and added to the
    scores, in which case it is differentiated too. is_causal: query t sees the keys 0 to t only.
    scale: 1/√d if None. return_weights: also return the weights (..., T, S), after dropout.
    dropout_p, seed, offset: as in `dropout`, for the weights; a mask takes as many random numbers
    as there are weights.

    A query that sees no key gives zeros. Raises ValueError and TypeError for shapes and dtypes.
    """
    if seed is None and dropout_p:
        seed = _any_seed("scaled_dot_product_attention")
    return _scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask,
        scale=scale,
        causal=is_causal,
        return_weights=return_weights,
        dropout=dropout_p,
        seed=seed,
        offset=offset,
    )


def rnn(
    input,
    hx,
    *weights,
    nonlinearity="tanh",
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    """Elman's recurrent network, h_t = tanh(W x_t + b_ih + U h_{t-1} + b_hh). See manual/rnn.py.

    L layers, D = 2 directions if `bidirectional`, else 1; the semantics of torch.nn.RNN.

    input: (T, B, I), or (B, T, I) if batch_first, or (T, I) for one sequence; floating.
    hx: the state to begin with, (L·D, B, H), or (L·D, H) for one sequence; None for zeros.
    weights: for each layer, and in it for each direction, W (H, I; after the first layer H, D·H),
    U (H, H) and, if `bias`, b_ih (H,) and b_hh (H,).
    nonlinearity: "tanh" or "relu".
    lengths: B integers from 1 to T; what is beyond a sequence's length is padding: it has no
    influence, the output there is zero, and the reverse direction begins before it.
    dropout, masks: a probability p, and booleans (L-1, *output.shape), drawn by the caller: True
    keeps an output of a layer but the last, divided by 1 - p; False drops it.

    Returns (output, h_n): input with D·H in place of I, and the last states, like hx. Raises
    ValueError and TypeError for shapes, dtypes and options.
    """
    return _rnn(
        input,
        hx,
        *weights,
        nonlinearity=nonlinearity,
        bidirectional=bidirectional,
        lengths=lengths,
        batch_first=batch_first,
        bias=bias,
        dropout=dropout,
        masks=masks,
    )


def lstm(
    input,
    hx,
    *weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    """Long short-term memory; the semantics of torch.nn.LSTM. See manual/lstm.py.

    hx: the pair (h_0, c_0) to begin with, each as in `rnn`; None for zeros, as a whole or in it.
    weights: as in `rnn`, with those of the gates i, f, g, o below one another: W (4H, I; after the
    first layer 4H, D·H), U (4H, H), b_ih (4H,), b_hh (4H,).
    The rest is as in `rnn`.

    Returns (output, (h_n, c_n)). Raises ValueError and TypeError for shapes, dtypes and options.
    """
    if hx is not None and not (isinstance(hx, (tuple, list)) and len(hx) == 2):
        raise TypeError(
            f"lstm: hx must be a pair of arrays (h_0, c_0), or None; got {type(hx).__name__}"
        )
    h0, c0 = hx or (None, None)
    output, h_n, c_n = _lstm(
        input,
        h0,
        c0,
        *weights,
        bidirectional=bidirectional,
        lengths=lengths,
        batch_first=batch_first,
        bias=bias,
        dropout=dropout,
        masks=masks,
    )
    return output, (h_n, c_n)


def gru(
    input,
    hx,
    *weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    """The gated recurrent unit; the semantics of torch.nn.GRU. See manual/gru.py.

    weights: as in `rnn`, with those of the gates r, z and of n below one another: W (3H, I; after
    the first layer 3H, D·H), U (3H, H), b_ih (3H,), b_hh (3H,).
    The rest is as in `rnn`.

    Returns (output, h_n). Raises ValueError and TypeError for shapes, dtypes and options.
    """
    return _gru(
        input,
        hx,
        *weights,
        bidirectional=bidirectional,
        lengths=lengths,
        batch_first=batch_first,
        bias=bias,
        dropout=dropout,
        masks=masks,
    )
