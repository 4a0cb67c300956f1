"""Launches rnn.cu: forward and backward as in manual/rnn.py."""

from ....backends import array_namespace
from . import contiguous, launch

FILE = "rnn.cu"


def takes(
    x,
    h0,
    *weights,
    nonlinearity="tanh",
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    """One layer in one direction, with biases and h0, of a batch with the steps first. (So there
    is no dropout, which is between layers.)"""
    return (
        x.ndim == 3
        and x.dtype.name in ("float32", "float64")
        and h0 is not None
        and len(weights) == 4
        and bias
        and not bidirectional
        and nonlinearity == "tanh"
        and not batch_first
        and lengths is None
    )


def forward(x, h0, W, U, b_ih, b_hh, **not_taken):
    xp, (steps, B, I) = array_namespace(x), x.shape
    x, W, U, b = contiguous(x, W, U, b_ih + b_hh)
    h = xp.empty((steps + 1, B, len(U)), dtype=x.dtype)  # one more: h[t] is the state before step t
    h[0] = h0[0]
    for t in range(steps):
        launch(FILE, "step", B * len(U), x[t], h[t], W, U, b, h[t + 1], B, I, len(U))
    return (h[1:], h[-1:].copy()), (x, h, W, U)


def backward(gradients, cache, needs=None):
    x, h, W, U = cache
    xp, (steps, B, I), H = array_namespace(x), x.shape, len(U)
    dout, dh_n = contiguous(*gradients)
    da, dh, dx = xp.empty_like(h[1:]), dh_n[0].copy(), xp.empty_like(x)
    dW, dU, db = xp.empty_like(W), xp.empty_like(U), xp.empty(H, dtype=x.dtype)
    for t in range(steps - 1, -1, -1):
        launch(FILE, "step_back", B * H, h[t + 1], dout[t], dh, da[t], B, H)
        launch(FILE, "to_state", B * H, da[t], U, dh, B, H)
    R = steps * B
    launch(FILE, "to_input", R * I, da, W, dx, R, I, H)
    launch(FILE, "to_weights", H * I, da, x, dW, R, I, H)
    launch(FILE, "to_weights", H * H, da, h, dU, R, H, H)
    launch(FILE, "to_bias", H, da, db, R, H)
    return dx, dh[None], dW, dU, db, db.copy()
