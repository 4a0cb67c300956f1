"""Long short-term memory, and its gradient through time, by hand.

For one layer in one direction; T steps, B sequences, I inputs, H hidden units:

    x    (T, B, I)   inputs; x_t is a step of all sequences, one a row
    h    (T, B, H)   hidden states, the output; h_{-1} = h0 is given, or 0
    c    (T, B, H)   cells, the memory;         c_{-1} = c0 is given, or 0
    a    (T, B, 4H)  what enters the gates: a_i, a_f, a_g, a_o side by side
    i, f, o          input, forget and output gate, each (T, B, H), from 0 to 1
    g    (T, B, H)   what the input gate lets into the cell, from -1 to 1
    W    (4H, I)     weights from the input, of i, f, g, o in turn   `weight_ih` in torch.nn.LSTM
    U    (4H, H)     weights from the state before                   `weight_hh`
    b    (4H,)       the sum of its two biases, `bias_ih` and `bias_hh`
    h_n, c_n         (L·D, B, H) the last states, of L layers in D directions
    dh_t, dc_t, ...  ∂L/∂h_t, ∂L/∂c_t, ... with all that follows from them
    dout, dh_n, dc_n what arrives at the output and at the last states

Forward (Hochreiter and Schmidhuber 1997, "Long short-term memory", equations 3 to 9; with the
forget gate of Gers, Schmidhuber and Cummins 2000, "Learning to forget", equations 3 and 4; in this
notation torch.nn.LSTM). With σ(a) = 1 / (1 + exp(-a)) and ⊙ elementwise:

    a_t = W x_t + U h_{t-1} + b
    i_t = σ(a_i),  f_t = σ(a_f),  g_t = tanh(a_g),  o_t = σ(a_o)        of a_t
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

One function for all four. Since σ(a) = ½ tanh(½a) + ½, both kinds of gate are

    y = s tanh(s a) + 1 - s,        s = ½ for σ, and 1 for tanh

so with s as a column of 4H numbers one call of tanh does all the gates. The derivative has one
form, too:

    y' = s² (1 - tanh²(s a)) = (1 - y)(y + 2s - 1)

which is y (1 - y) for σ and 1 - y² for tanh.

Backward. h_t acts on L through the output at t and through a_{t+1}; c_t through h_t and through
c_{t+1} = f_{t+1} ⊙ c_t + ... . Beginning at the last step with dh_n and dc_n in place of what comes
from t+1,

    dh_t = dout_t + Uᵀ da_{t+1}
    dc_t = f_{t+1} ⊙ dc_{t+1} + dh_t ⊙ o_t ⊙ (1 - tanh²(c_t))

and from the two products in c_t and h_t, times the derivative of the gate,

    da_i = (dc_t ⊙ g_t)     ⊙ i'         da_g = (dc_t ⊙ i_t)       ⊙ g'
    da_f = (dc_t ⊙ c_{t-1}) ⊙ f'         da_o = (dh_t ⊙ tanh(c_t)) ⊙ o'

    dh0 = Uᵀ da_0,  dc0 = f_0 ⊙ dc_0

Along the cells the gradient is only multiplied by f, once a step: where the forget gate is open it
arrives unchanged from however far. (In a network without gates it meets Uᵀ and tanh' at each step.)

From da follow dW, dU, the gradients of the biases and dx: see recurrent.py, which also has the
layers, the directions and the padding, where c_t = c_{t-1} as h_t = h_{t-1}. A sequence is a row in
the shapes above, and a column in the loop over the steps, where h_t is (H, B) and a_t is (4H, B).
"""

from typing import Any, NamedTuple

from ..backends import products
from ..custom_vjp import custom_vjp
from ..ops import matmul, sigmoid, split, tanh
from . import recurrent
from .recurrent import arrange, memory


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
    """L layers in D directions (2 if bidirectional, else 1): -> (out, h_n, c_n), and the cache.

    x (T, B, I), or (B, T, I) if batch_first, or one sequence (T, I). h0 and c0 (L·D, B, H), or
    (L·D, H) for one sequence, or None for zeros. weights: for each layer and direction W (4H, I;
    D·H after the first layer), U (4H, H) and, with `bias`, b_ih (4H,), b_hh (4H,). lengths: B
    integers, 1 to T. masks: booleans, for each layer but the last an array like out that says which
    outputs are kept; dropout: the probability p that they were drawn with: they are divided by 1-p.

    out is x with D·H in place of I: the h of the last layer. h_n, c_n are the last states, like h0.
    """
    layers = arrange(
        "lstm", 4, x, (h0, c0), weights, bidirectional, lengths, batch_first, bias, dropout, masks
    )
    return recurrent.forward(_begin, _run, x, (h0, c0), layers)


def backward(gradients, cache, needs=None):
    """gradients, (dout, dh_n, dc_n) -> dx, dh0, dc0, *dweights."""
    return recurrent.backward(_through_time, gradients, cache, needs)


def reference(
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
    """The same from primitives, one step at a time."""
    layers = arrange(
        "lstm", 4, x, (h0, c0), weights, bidirectional, lengths, batch_first, bias, dropout, masks
    )
    return recurrent.reference(_step, x, (h0, c0), layers)


lstm = custom_vjp("lstm", forward, backward, reference, in_float32=True)


class Run(NamedTuple):
    """A block of sequences in one layer and direction, as the gradient needs it."""

    a: Any  # (T, 4H, B) W x_t + b, and after step t the gates i, f, g, o
    h: Any  # (T, H, B)
    before: Any  # (T, H, B)  h_{t-1}
    times: range  # the order of the steps
    c: Any  # (T, H, B)
    c_before: Any  # (T, H, B)  c_{t-1}
    s: Any  # (4H, B)
    U: Any
    b: Any  # (4H,)      the sum of the biases

    @property
    def states(self):
        return self.h, self.c


def _begin(xp, T, starts, times, U, biases):
    h, before = memory(xp, starts[0], times)
    c, c_before = memory(xp, starts[1], times)
    a = xp.empty((T, len(U), h.shape[2]), dtype=h.dtype)
    s = xp.full(a.shape[1:], 0.5, dtype=h.dtype)
    _gates(s)[2][...] = 1.0
    return Run(a, h, before, times, c, c_before, s, U, sum(biases))


def _run(xp, this, steps, keep):
    """Some steps of a block in one layer and direction."""
    a, h, before, _, c, c_before, s, U, _ = this
    shift = 1.0 - s
    Uh, room = xp.empty_like(s), xp.empty_like(h[0])
    for t in steps:
        a_t = y_t = a[t]
        a_t += products.matmul(U, before[t], out=Uh)
        a_t *= s
        xp.tanh(a_t, out=y_t)
        y_t *= s
        y_t += shift
        i, f, g, o = _gates(y_t)
        c_t = xp.multiply(f, c_before[t], out=c[t])
        c_t += xp.multiply(i, g, out=room)
        xp.multiply(o, xp.tanh(c_t, out=room), out=h[t])
        if keep is not None:
            h[t] = xp.where(keep[t], h[t], before[t])
            c[t] = xp.where(keep[t], c_t, c_before[t])


def _through_time(xp, this, steps, keep, dout, dstates, UT, da):
    """Backward through them: fills da (T', 4H, B), which is also de; and dh, dc before them."""
    y, c, c_before, first = this.a, this.c, this.c_before, min(steps)
    k = 2.0 * this.s - 1.0
    dh, dc = dstates
    slope, room = xp.empty_like(k), xp.empty_like(k)
    tanh_c, step = xp.empty_like(dh), xp.empty_like(dh)
    for t in reversed(steps):
        y_t, da_t = y[t], da[t - first]
        i, f, g, o = _gates(y_t)
        da_i, da_f, da_g, da_o = _gates(da_t)
        dh += dout[t - first]
        xp.tanh(c[t], out=tanh_c)
        xp.multiply(dh, tanh_c, out=da_o)
        xp.multiply(da_o, tanh_c, out=step)
        xp.subtract(dh, step, out=step)  # dh (1 - tanh²(c)) o
        step *= o
        dc += step if keep is None else step * keep[t]
        xp.multiply(dc, g, out=da_i)
        xp.multiply(dc, c_before[t], out=da_f)
        xp.multiply(dc, i, out=da_g)
        xp.subtract(1.0, y_t, out=slope)  # y' = (1 - y)(y + k)
        slope *= xp.add(y_t, k, out=room)
        da_t *= slope
        if keep is None:
            dc *= f
            products.matmul(UT, da_t, out=dh)
        else:
            da_t *= keep[t]
            dc = xp.where(keep[t], dc * f, dc)
            dh = xp.where(keep[t], products.matmul(UT, da_t), dh)
    return dh, dc


def _gates(y):
    """The four pieces of y (4H, B): i, f, g, o."""
    H = len(y) // 4
    return y[:H], y[H : 2 * H], y[2 * H : 3 * H], y[3 * H :]


def _step(Wx, states, U, *biases):
    """(h_t, c_t) from W x_t and (h_{t-1}, c_{t-1})."""
    h, c = states
    i, f, g, o = split(Wx + matmul(h, U.T) + sum(biases), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c
