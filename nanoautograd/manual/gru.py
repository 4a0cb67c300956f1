"""The gated recurrent unit, and its gradient through time, by hand.

For one layer in one direction; T steps, B sequences, I inputs, H hidden units:

    x    (T, B, I)   inputs; x_t is a step of all sequences, one a row
    h    (T, B, H)   hidden states; h_{-1} = h0 is given, or 0
    a    (T, B, 3H)  what comes from the input: a_r, a_z, a_n side by side
    e    (T, B, 3H)  what comes from the state before: e_r, e_z, e_n
    r, z             reset and update gate, each (T, B, H), from 0 to 1
    n    (T, B, H)   the new state that is proposed, from -1 to 1
    W    (3H, I)     weights from the input, of r, z, n in turn   `weight_ih` in torch.nn.GRU
    U    (3H, H)     weights from the state before                `weight_hh`
    b_ih, b_hh (3H,) biases beside each of the two
    h_n  (L·D, B, H) the last states, of L layers in D directions
    dh_t, da_t, ...  ∂L/∂h_t, ∂L/∂a_t, ... with all that follows from them
    dout, dh_n       what arrives at the output and at the last states

Forward (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical
machine translation", equations 5 to 8). With σ(a) = 1 / (1 + exp(-a)) and ⊙ elementwise:

    a_t = W x_t + b_ih
    e_t = U h_{t-1} + b_hh
    r_t = σ(a_r + e_r)
    z_t = σ(a_z + e_z)
    n_t = tanh(a_n + r_t ⊙ e_n)
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

In the paper the reset gate acts before the product, tanh(W_n x_t + U_n (r_t ⊙ h_{t-1})), and there
are no biases. Here it acts after it, on e_n with its bias, as in torch.nn.GRU: then all that needs
h_{t-1} is one product, which does not have to wait for r_t; and the two biases of n differ.

σ(a) = ½ tanh(½a) + ½, so both gates are one call of tanh.

Backward. h_t acts on L through the output at t and, at t+1, through e and directly through the last
term. Beginning at the last step with dh_n in place of what comes from t+1,

    dh_t = dout_t + Uᵀ de_{t+1} + z_{t+1} ⊙ dh_{t+1}

and from the products in h_t and n_t, with σ' = σ (1 - σ) and tanh' = 1 - tanh²,

    da_n = dh_t ⊙ (1 - z_t) ⊙ (1 - n_t²)            de_n = da_n ⊙ r_t
    da_r = da_n ⊙ e_n ⊙ r_t ⊙ (1 - r_t)             de_r = da_r
    da_z = dh_t ⊙ (h_{t-1} - n_t) ⊙ z_t ⊙ (1 - z_t)  de_z = da_z

    dh0 = Uᵀ de_0 + z_0 ⊙ dh_0

From da and de follow dW, dU, the gradients of the biases and dx: see recurrent.py, which also has
the layers, the directions and the padding. A sequence is a row in the shapes above, and a column in
the loop over the steps, where h_t is (H, B) and a_t is (3H, B).
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
    *weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    """L layers in D directions (2 if bidirectional, else 1): -> (out, h_n), and the cache.

    x (T, B, I), or (B, T, I) if batch_first, or one sequence (T, I). h0 (L·D, B, H), or (L·D, H)
    for one sequence, or None for zeros. weights: for each layer and direction W (3H, I; D·H after
    the first layer), U (3H, H) and, with `bias`, b_ih (3H,), b_hh (3H,). lengths: B integers, 1 to
    T. masks: booleans, for each layer but the last an array like out that says which outputs are
    kept; dropout: the probability p that they were drawn with: they are divided by 1-p.

    out is x with D·H in place of I: the states of the last layer. h_n is the last states, like h0.
    """
    layers = arrange(
        "gru", 3, x, (h0,), weights, bidirectional, lengths, batch_first, bias, dropout, masks
    )
    return recurrent.forward(_begin, _run, x, (h0,), layers)


def backward(gradients, cache, needs=None):
    """gradients, (dout, dh_n) -> dx, dh0, *dweights."""
    return recurrent.backward(_through_time, gradients, cache, needs, apart=True)


def reference(
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
    """The same from primitives, one step at a time."""
    layers = arrange(
        "gru", 3, x, (h0,), weights, bidirectional, lengths, batch_first, bias, dropout, masks
    )
    return recurrent.reference(_step, x, (h0,), layers)


gru = custom_vjp("gru", forward, backward, reference, in_float32=True)


class Run(NamedTuple):
    """A block of sequences in one layer and direction, as the gradient needs it."""

    a: Any  # (T, 3H, B) W x_t + b_ih, and after step t the gates r and z, and n
    h: Any  # (T, H, B)
    before: Any  # (T, H, B)  h_{t-1}
    times: range  # the order of the steps
    e_n: Any  # (T, H, B)
    U: Any
    b: Any  # (3H,)      b_ih
    b_hh: Any  # (3H, B)    in every column; or None

    @property
    def states(self):
        return (self.h,)


def _begin(xp, T, starts, times, U, biases):
    h, before = memory(xp, starts[0], times)
    a = xp.empty((T, len(U), h.shape[2]), dtype=h.dtype)
    b, b_hh = biases or (None, None)
    if biases:
        b_hh = xp.broadcast_to(b_hh[:, None], a.shape[1:]).copy()
    return Run(a, h, before, times, xp.empty_like(h), U, b, b_hh)


def _run(xp, this, steps, keep):
    """Some steps of a block in one layer and direction."""
    a, h, before, _, e_n, U, _, b_hh = this
    H = len(h[0])
    e, room = xp.empty_like(a[0]), xp.empty_like(h[0])
    for t in steps:
        products.matmul(U, before[t], out=e)
        if b_hh is not None:
            e += b_hh
        e_n[t] = e[2 * H :]
        y_t = a[t]  # a_t, and soon r, z and n
        rz, n, (r, z) = y_t[: 2 * H], y_t[2 * H :], _halves(y_t[: 2 * H])
        rz += e[: 2 * H]
        rz *= 0.5
        xp.tanh(rz, out=rz)
        rz *= 0.5
        rz += 0.5
        n += xp.multiply(r, e_n[t], out=room)
        xp.tanh(n, out=n)
        h_t = xp.subtract(before[t], n, out=h[t])  # n + z (h - n)
        h_t *= z
        h_t += n
        if keep is not None:
            h[t] = xp.where(keep[t], h_t, before[t])


def _through_time(xp, this, steps, keep, dout, dstates, UT, da, de_n):
    """Backward through them: fills da (T', 3H, B) and de_n (T', H, B); and dh before them."""
    y, before, e_n, first = this.a, this.before, this.e_n, min(steps)
    H = len(before[0])
    d, slope, room = xp.empty_like(y[0]), xp.empty_like(y[0, : 2 * H]), xp.empty_like(e_n[0])
    da_rz, da_n, (da_r, da_z) = d[: 2 * H], d[2 * H :], _halves(d[: 2 * H])
    (dh,) = dstates
    for t in reversed(steps):
        rz, n, (r, z) = y[t, : 2 * H], y[t, 2 * H :], _halves(y[t, : 2 * H])
        dh += dout[t - first]
        xp.subtract(1.0, rz, out=slope)  # 1 - r and 1 - z
        xp.multiply(dh, slope[H:], out=da_n)
        da_n -= xp.multiply(da_n, xp.multiply(n, n, out=room), out=room)
        xp.multiply(da_n, e_n[t], out=da_r)
        xp.subtract(before[t], n, out=da_z)
        da_z *= dh
        slope *= rz
        da_rz *= slope
        if keep is not None:
            d *= keep[t]
        da[t - first] = d
        da_n *= r  # which is de_n: d is now de_t
        de_n[t - first] = da_n
        new = products.matmul(UT, d)
        new += xp.multiply(z, dh, out=room)
        dh = new if keep is None else xp.where(keep[t], new, dh)
    return (dh,)


def _halves(y):
    return y[: len(y) // 2], y[len(y) // 2 :]


def _step(Wx, states, U, *biases):
    """h_t from W x_t and h_{t-1}."""
    (h,) = states
    b_ih, b_hh = biases or (0.0, 0.0)
    a_r, a_z, a_n = split(Wx + b_ih, 3, axis=-1)
    e_r, e_z, e_n = split(matmul(h, U.T) + b_hh, 3, axis=-1)
    r, z = sigmoid(a_r + e_r), sigmoid(a_z + e_z)
    n = tanh(a_n + r * e_n)
    return ((1.0 - z) * n + z * h,)
