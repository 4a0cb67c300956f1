"""The gated recurrent unit in blocks of sequences and chunks of time, as in rnn.py. A sequence is a
column: h_t is (H, B) and a_t is (3H, B).

One call of tanh for both gates, instead of one of σ for each: σ(a) = ½ tanh(½a) + ½, and where
arrays are small, a call takes longer than what it computes.
"""

from typing import Any, NamedTuple

import numpy as np

from ...manual.gru import gru
from ...manual.recurrent import arrange
from . import recurrent
from .recurrent import memory, padding


def forward(
    x,
    h0,
    *weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    return recurrent.forward(_begin, _run, x, (h0,), layers)


def backward(gradients, cache, needs=None):
    return recurrent.backward(_bptt, gradients, cache, needs, apart=True)


gru.cpu = gru.form(forward, backward)


class Run(NamedTuple):
    """A block of sequences in one layer and direction, as the gradient needs it."""

    a: Any  # (T, 3H, B) W x_t + b_ih, and after step t the gates r and z, and n
    h: Any  # (T, H, B)
    h_prev: Any  # (T, H, B)  h_{t-1}
    times: range  # the order of the steps
    e_n: Any  # (T, H, B)
    U: Any
    b: Any  # (3H,)      b_ih
    b_hh: Any  # (3H, B)    in every column; or None

    @property
    def states(self):
        return (self.h,)


def _begin(T, starts, times, U, biases):
    h, h_prev = memory(starts[0], times)
    a = np.empty((T, len(U), h.shape[2]), dtype=h.dtype)
    b, b_hh = biases or (None, None)
    if biases:
        b_hh = np.broadcast_to(b_hh[:, None], a.shape[1:]).copy()
    return Run(a, h, h_prev, times, np.empty_like(h), U, b, b_hh)


def _run(this, steps, valid):
    """Some steps of a block in one layer and direction."""
    a, h, h_prev, _, e_n, U, _, b_hh = this
    H = len(h[0])
    e, scratch = np.empty_like(a[0]), np.empty_like(h[0])
    for t in steps:
        np.matmul(U, h_prev[t], out=e)
        if b_hh is not None:
            e += b_hh
        e_n[t] = e[2 * H :]
        y_t = a[t]  # a_t, and soon r, z and n
        rz, n, (r, z) = y_t[: 2 * H], y_t[2 * H :], _halves(y_t[: 2 * H])
        rz += e[: 2 * H]
        rz *= 0.5
        np.tanh(rz, out=rz)
        rz *= 0.5
        rz += 0.5
        n += np.multiply(r, e_n[t], out=scratch)
        np.tanh(n, out=n)
        h_t = np.subtract(h_prev[t], n, out=h[t])  # n + z (h - n)
        h_t *= z
        h_t += n
        if valid is not None:
            h[t] = np.where(valid[t], h_t, h_prev[t])


def _bptt(this, steps, valid, dout, dstates, UT, da, de_n):
    """Backward through them: fills da (T', 3H, B) and de_n (T', H, B); and dh before them."""
    y, h_prev, e_n, first = this.a, this.h_prev, this.e_n, min(steps)
    H, pad = len(h_prev[0]), padding(valid)
    d, slope, scratch = np.empty_like(y[0]), np.empty_like(y[0, : 2 * H]), np.empty_like(e_n[0])
    da_rz, da_n, (da_r, da_z) = d[: 2 * H], d[2 * H :], _halves(d[: 2 * H])
    (dh,) = dstates
    for t in reversed(steps):
        rz, n, (r, z) = y[t, : 2 * H], y[t, 2 * H :], _halves(y[t, : 2 * H])
        dh += dout[t - first]
        np.subtract(1.0, rz, out=slope)  # 1 - r and 1 - z
        np.multiply(dh, slope[H:], out=da_n)
        da_n -= np.multiply(da_n, np.multiply(n, n, out=scratch), out=scratch)
        np.multiply(da_n, e_n[t], out=da_r)
        np.subtract(h_prev[t], n, out=da_z)
        da_z *= dh
        slope *= rz
        da_rz *= slope
        da[t - first] = d
        da_n *= r  # which is de_n: d is now de_t
        if valid is not None:
            da[t - first, :, pad[t]] = d[:, pad[t]] = 0.0
        de_n[t - first] = da_n
        new = np.matmul(UT, d)
        new += np.multiply(z, dh, out=scratch)
        dh = new if valid is None else np.where(valid[t], new, dh)
    return (dh,)


def _halves(y):
    return y[: len(y) // 2], y[len(y) // 2 :]
