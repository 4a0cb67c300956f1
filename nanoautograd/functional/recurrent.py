"""Recurrent networks."""

from ..manual.gru import gru as _gru
from ..manual.lstm import lstm as _lstm
from ..manual.rnn import rnn as _rnn


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
