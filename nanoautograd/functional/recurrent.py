"""Recurrent networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends import array_namespace, is_array, is_float, to_numpy
from ..core.tensor import Tensor
from ..interface.array_interface import array_of
from ..manual.gru import gru as _gru
from ..manual.lstm import lstm as _lstm
from ..manual.rnn import rnn as _rnn
from ..safety.options import check_flags, check_probability
from ..typing import Array, ArrayLike


def rnn(
    input: ArrayLike,
    hx: ArrayLike | None,
    *weights: ArrayLike,
    nonlinearity: str = "tanh",
    bidirectional: bool = False,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
    masks: ArrayLike | None = None,
) -> tuple[Tensor, Tensor]:
    """Elman's recurrent network, h_t = tanh(W x_t + b_ih + U h_{t-1} + b_hh).

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

    Gradients: `layer_backward` in manual/rnn.py; step into it within `nag.use_manual()`.
    """
    return _rnn(
        input,
        hx,
        *weights,
        nonlinearity=nonlinearity,
        bidirectional=bidirectional,
        lengths=on_host(lengths),
        batch_first=batch_first,
        bias=bias,
        dropout=dropout,
        masks=masks,
    )


def lstm(
    input: ArrayLike,
    hx: Sequence[ArrayLike | None] | None,
    *weights: ArrayLike,
    bidirectional: bool = False,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
    masks: ArrayLike | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Long short-term memory; the semantics of torch.nn.LSTM.

    hx: the pair (h_0, c_0) to begin with, each as in `rnn`; None for zeros, as a whole or in it.
    weights: as in `rnn`, with those of the gates i, f, g, o below one another: W (4H, I; after the
    first layer 4H, D·H), U (4H, H), b_ih (4H,), b_hh (4H,).
    The rest is as in `rnn`.

    Returns (output, (h_n, c_n)). Raises ValueError and TypeError for shapes, dtypes and options.

    Gradients: `layer_backward` in manual/lstm.py; step into it within `nag.use_manual()`.
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
        lengths=on_host(lengths),
        batch_first=batch_first,
        bias=bias,
        dropout=dropout,
        masks=masks,
    )
    return output, (h_n, c_n)


def gru(
    input: ArrayLike,
    hx: ArrayLike | None,
    *weights: ArrayLike,
    bidirectional: bool = False,
    lengths: ArrayLike | None = None,
    batch_first: bool = False,
    bias: bool = True,
    dropout: float = 0.0,
    masks: ArrayLike | None = None,
) -> tuple[Tensor, Tensor]:
    """The gated recurrent unit; the semantics of torch.nn.GRU.

    weights: as in `rnn`, with those of the gates r, z and of n below one another: W (3H, I; after
    the first layer 3H, D·H), U (3H, H), b_ih (3H,), b_hh (3H,).
    The rest is as in `rnn`.

    Returns (output, h_n). Raises ValueError and TypeError for shapes, dtypes and options.

    Gradients: `layer_backward` in manual/gru.py; step into it within `nag.use_manual()`.
    """
    return _gru(
        input,
        hx,
        *weights,
        bidirectional=bidirectional,
        lengths=on_host(lengths),
        batch_first=batch_first,
        bias=bias,
        dropout=dropout,
        masks=masks,
    )


def on_host(lengths: ArrayLike | None) -> np.ndarray | None:
    """The lengths, which say what there is to compute, as an array of NumPy; None is None."""
    if lengths is None:
        return None
    lengths = array_of(lengths)
    return to_numpy(lengths) if is_array(lengths) else np.asarray(lengths)


def check_recurrent(
    name: str,
    G: int,
    x: Array,
    starts: tuple[Array | None, ...],
    weights: tuple[Array, ...],
    bidirectional: bool,
    lengths: Any,
    batch_first: bool,
    bias: bool,
    dropout: float,
    masks: Any,
) -> None:
    """Raises the error that names what does not fit. name: of the operation, for messages. G: its
    gates. starts: h0, or h0 and c0; each may be None."""
    check_flags(name, bidirectional=bidirectional, batch_first=batch_first, bias=bias)
    check_probability(name, dropout=dropout)
    D = 2 if bidirectional else 1
    n = 4 if bias else 2
    if not weights or len(weights) % (n * D):
        raise ValueError(
            f"{name}: with bias={bias} and {D} direction(s) a layer has {n * D} "
            f"weights; got {len(weights)}"
        )
    if x.ndim not in (2, 3):
        raise ValueError(f"{name}: x must be (T, B, I), or (T, I) for one sequence; got {x.shape}")
    states = " and ".join(("h0", "c0")[: len(starts)])
    dtypes = [a.dtype for a in (x, *starts, *weights) if a is not None]
    if not is_float(x.dtype) or any(dtype != x.dtype for dtype in dtypes):
        raise TypeError(
            f"{name}: x, {states} and the weights must be floating and of one dtype; "
            f"got {', '.join(map(str, dtypes))}"
        )
    T = x.shape[1 if batch_first and x.ndim == 3 else 0]
    batch = () if x.ndim == 2 else (x.shape[0 if batch_first else 1],)
    if T == 0:
        raise ValueError(f"{name}: a sequence needs one step or more; got x of shape {x.shape}")
    groups = [weights[i : i + n] for i in range(0, len(weights), n)]
    H = weights[1].shape[-1] if weights[1].ndim else 0
    if weights[0].ndim == 2 and weights[0].shape[1] != x.shape[-1]:
        n_x, n_W = x.shape[-1], weights[0].shape[1]
        raise ValueError(
            f"{name}: x of shape {x.shape} has {n_x} feature{'s' * (n_x != 1)} in the last axis; "
            f"the weights are made for {n_W}, as W of layer 0 has the shape {weights[0].shape}"
        )
    for i, group in enumerate(groups):
        right = [(G * H, x.shape[-1] if i < D else D * H), (G * H, H), (G * H,), (G * H,)][:n]
        if [w.shape for w in group] != right:
            raise ValueError(
                f"{name}: for x of shape {x.shape} and {H} hidden units, the weights "
                f"of layer {i // D}, direction {i % D}, have the shapes {right}; got "
                f"{[w.shape for w in group]}"
            )
    for state, start in zip(("h0", "c0"), starts):
        if start is not None and start.shape != (len(groups), *batch, H):
            raise ValueError(
                f"{name}: {state} must be {(len(groups), *batch, H)}, one state for "
                f"each layer and direction; got {start.shape}"
            )
    if lengths is not None:
        lengths = np.asarray(lengths)
        if lengths.shape != batch or not batch or lengths.size and lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: lengths must be an integer for each sequence of a batch; "
                f"got lengths {lengths.shape} {lengths.dtype} and x {x.shape}"
            )
        if lengths.size and not 1 <= lengths.min() <= lengths.max() <= T:
            raise ValueError(f"{name}: lengths must be from 1 to T = {T}; got {lengths.tolist()}")
    masks = array_of(masks)
    got = f"{masks.shape} {masks.dtype}" if is_array(masks) else f"{masks!r}"
    if dropout and masks is None:
        raise ValueError(
            f"{name}: beside dropout masks are needed that say what is kept; got "
            f"{dropout}, masks: {got}"
        )
    right = (len(groups) // D - 1, *x.shape[:-1], D * H)
    if masks is not None and (
        not is_array(masks) or masks.shape != right or masks.dtype.kind != "b"
    ):
        raise ValueError(
            f"{name}: masks must be {right} bool, True where an output of a layer "
            f"but the last is kept; got {got}"
        )
    array_namespace(x, *starts, *weights, masks)  # all on one device


def check_rnn(
    x: Array, h0: Array | None, *weights: Array, nonlinearity: str = "tanh", **options: Any
) -> None:
    if not isinstance(nonlinearity, str) or nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: nonlinearity must be 'tanh' or 'relu'; got {nonlinearity!r}")
    check_recurrent("rnn", 1, x, (h0,), weights, **options)


def check_lstm(
    x: Array, h0: Array | None, c0: Array | None, *weights: Array, **options: Any
) -> None:
    check_recurrent("lstm", 4, x, (h0, c0), weights, **options)


def check_gru(x: Array, h0: Array | None, *weights: Array, **options: Any) -> None:
    check_recurrent("gru", 3, x, (h0,), weights, **options)


_rnn.check = check_rnn
_lstm.check = check_lstm
_gru.check = check_gru
