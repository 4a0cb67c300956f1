"""Elman's recurrent network in blocks of sequences and chunks of time, which stay in the cache and
which threads share: see recurrent.py. A sequence is a column: h_t is (H, B).

A step is a few short calls of NumPy, so each writes into memory that is there, and asks for no new.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...manual.recurrent import arrange
from ...manual.rnn import rnn
from . import recurrent
from .recurrent import memory, padding


def forward(
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
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    return recurrent.forward(partial(_begin, nonlinearity=nonlinearity), _run, x, (h0,), layers)


def backward(gradients, cache, needs=None):
    return recurrent.backward(_bptt, gradients, cache, needs)


rnn.cpu = rnn.form(forward, backward)


class Run(NamedTuple):
    """A block of sequences in one layer and direction, as the gradient needs it."""

    a: Any  # (T, H, B)  W x_t + b, until step t writes h_t there: one memory with h
    h: Any  # (T, H, B)
    h_prev: Any  # (T, H, B)  the state that h_t was computed from
    times: range  # the order of the steps
    df: Any  # (T, H, B)  f'(a_t), for relu
    U: Any
    b: Any  # (H,)       the sum of the biases

    @property
    def states(self):
        return (self.h,)


def _begin(T, starts, times, U, biases, nonlinearity):
    h, h_prev = memory(starts[0], times)
    df = np.empty_like(h) if nonlinearity == "relu" else None  # tanh' follows from h alone
    return Run(h, h, h_prev, times, df, U, sum(biases))


def _run(this, steps, valid):
    """Some steps of a block in one layer and direction."""
    a, h, h_prev, _, df, U, _ = this
    Uh = np.empty_like(h[0])
    for t in steps:
        a_t = h_t = a[t]
        a_t += np.matmul(U, h_prev[t], out=Uh)
        if df is None:
            np.tanh(a_t, out=h_t)
        else:
            df_t = np.sign(a_t, out=df[t])
            df_t *= 0.5
            df_t += 0.5
            np.maximum(a_t, 0.0, out=h_t)
        if valid is not None:
            h[t] = np.where(valid[t], h_t, h_prev[t])


def _bptt(this, steps, valid, dout, dstates, UT, da):
    """Backward through them: fills da (T', H, B), which is also de; and dh before them (H, B)."""
    h, df, (dh,), first, pad = this.h, this.df, dstates, min(steps), padding(valid)
    for t in reversed(steps):
        da_t = da[t - first]
        dh += dout[t - first]
        if df is None:
            np.multiply(h[t], h[t], out=da_t)
            np.subtract(1.0, da_t, out=da_t)
            da_t *= dh
        else:
            np.multiply(df[t], dh, out=da_t)
        if valid is None:
            np.matmul(UT, da_t, out=dh)
        else:
            da_t[:, pad[t]] = 0.0
            dh = np.where(valid[t], np.matmul(UT, da_t), dh)
    return (dh,)
