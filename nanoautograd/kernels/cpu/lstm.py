"""Long short-term memory in blocks of sequences and chunks of time, as in rnn.py. A sequence is a
column: h_t is (H, B) and a_t is (4H, B).

One call for all four gates, instead of one for each: where arrays are small, a call takes longer
than what it computes. Since σ(a) = ½ tanh(½a) + ½, both kinds of gate are

    y = s tanh(s a) + 1 - s,        s = ½ for σ, and 1 for tanh

so with s as a column of 4H numbers one call of tanh does all the gates. The derivative has one
form, too:

    y' = s² (1 - tanh²(s a)) = (1 - y)(y + 2s - 1)

which is y (1 - y) for σ and 1 - y² for tanh.
"""

from typing import Any, NamedTuple

import numpy as np

from ...manual.lstm import lstm
from ...manual.recurrent import arrange
from . import recurrent
from .recurrent import memory, padding


def forward(
    x,
    h0,
    c0,
    *weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    return recurrent.forward(_begin, _run, x, (h0, c0), layers)


def backward(gradients, cache, needs=None):
    return recurrent.backward(_bptt, gradients, cache, needs)


lstm.cpu = lstm.form(forward, backward)


class Run(NamedTuple):
    """A block of sequences in one layer and direction, as the gradient needs it."""

    a: Any  # (T, 4H, B) W x_t + b, and after step t the gates i, f, g, o
    h: Any  # (T, H, B)
    h_prev: Any  # (T, H, B)  h_{t-1}
    times: range  # the order of the steps
    c: Any  # (T, H, B)
    c_prev: Any  # (T, H, B)  c_{t-1}
    s: Any  # (4H, B)
    U: Any
    b: Any  # (4H,)      the sum of the biases

    @property
    def states(self):
        return self.h, self.c


def _begin(T, starts, times, U, biases):
    h, h_prev = memory(starts[0], times)
    c, c_prev = memory(starts[1], times)
    a = np.empty((T, len(U), h.shape[2]), dtype=h.dtype)
    s = np.full(a.shape[1:], 0.5, dtype=h.dtype)
    _gates(s)[2][...] = 1.0
    return Run(a, h, h_prev, times, c, c_prev, s, U, sum(biases))


def _run(this, steps, valid):
    """Some steps of a block in one layer and direction."""
    a, h, h_prev, _, c, c_prev, s, U, _ = this
    shift = 1.0 - s
    Uh, scratch = np.empty_like(s), np.empty_like(h[0])
    for t in steps:
        a_t = y_t = a[t]
        a_t += np.matmul(U, h_prev[t], out=Uh)
        a_t *= s
        np.tanh(a_t, out=y_t)
        y_t *= s
        y_t += shift
        i, f, g, o = _gates(y_t)
        c_t = np.multiply(f, c_prev[t], out=c[t])
        c_t += np.multiply(i, g, out=scratch)
        np.multiply(o, np.tanh(c_t, out=scratch), out=h[t])
        if valid is not None:
            h[t] = np.where(valid[t], h[t], h_prev[t])
            c[t] = np.where(valid[t], c_t, c_prev[t])


def _bptt(this, steps, valid, dout, dstates, UT, da):
    """Backward through them: fills da (T', 4H, B), which is also de; and dh, dc before them."""
    y, c, c_prev, first, pad = this.a, this.c, this.c_prev, min(steps), padding(valid)
    k = 2.0 * this.s - 1.0
    dh, dc = dstates
    slope, scratch = np.empty_like(k), np.empty_like(k)
    tanh_c, step = np.empty_like(dh), np.empty_like(dh)
    for t in reversed(steps):
        y_t, da_t = y[t], da[t - first]
        i, f, g, o = _gates(y_t)
        da_i, da_f, da_g, da_o = _gates(da_t)
        dh += dout[t - first]
        np.tanh(c[t], out=tanh_c)
        np.multiply(dh, tanh_c, out=da_o)
        np.multiply(da_o, tanh_c, out=step)
        np.subtract(dh, step, out=step)  # dh (1 - tanh²(c)) o
        step *= o
        if valid is not None:
            step[:, pad[t]] = 0.0
        dc += step
        np.multiply(dc, g, out=da_i)
        np.multiply(dc, c_prev[t], out=da_f)
        np.multiply(dc, i, out=da_g)
        np.subtract(1.0, y_t, out=slope)  # y' = (1 - y)(y + k)
        slope *= np.add(y_t, k, out=scratch)
        da_t *= slope
        if valid is None:
            dc *= f
            np.matmul(UT, da_t, out=dh)
        else:
            da_t[:, pad[t]] = 0.0
            dc = np.where(valid[t], dc * f, dc)
            dh = np.where(valid[t], np.matmul(UT, da_t), dh)
    return dh, dc


def _gates(y):
    """The four pieces of y (4H, B): i, f, g, o."""
    H = len(y) // 4
    return y[:H], y[H : 2 * H], y[2 * H : 3 * H], y[3 * H :]
