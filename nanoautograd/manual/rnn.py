"""The recurrent network of Elman, and its gradient through time, by hand.

For one layer in one direction; T steps, B sequences, I inputs, H hidden units:

    x    (T, B, I)   inputs; x_t is a step of all sequences, one a row
    h    (T, B, H)   hidden states; h_{-1} = h0 is given, or 0
    a    (T, B, H)   what enters the nonlinearity
    f                tanh, or relu
    W    (H, I)      weights from the input          `weight_ih` in torch.nn.RNN
    U    (H, H)      weights from the state before   `weight_hh`
    b    (H,)        the sum of its two biases, `bias_ih` and `bias_hh`
    h_n  (L·D, B, H) the last states, of L layers in D directions
    dh_t, da_t, ...  ∂L/∂h_t, ∂L/∂a_t, ... with all that follows from them
    dout, dh_n       what arrives at the output and at the last states

Forward (Elman 1990, "Finding structure in time", figure 2; in this notation torch.nn.RNN):

    a_t = W x_t + U h_{t-1} + b
    h_t = f(a_t)

W x_t needs no state, so it is computed ahead, for many steps; only U h_{t-1} has to wait for the
step before. A sequence is a row of what is given and returned, and a column in the loop over the
steps, where h_t is (H, B) and the code reads as the equations do (see recurrent.py).

Backward (backpropagation through time: Werbos 1990, "Backpropagation through time: what it does and
how to do it", section III). h_t acts on L in two ways: through the output at t, whose gradient
dout_t arrives from above, and through a_{t+1}. With ∂a_{t+1}/∂h_t = U the chain rule gives

    dh_t = dout_t + Uᵀ da_{t+1}           beginning at the last step with dh_n instead of Uᵀ da
    da_t = f'(a_t) ⊙ dh_t
    dh0  = Uᵀ da_0

which runs once through time, backward. f' follows from what is at hand: tanh' = 1 - h², and relu'
is 0, 1/2, 1 where a is negative, zero, positive (the choice that this library makes at every tie).

W and U are used at every step, and their gradients are sums over all steps, dW = daᵀ x and
dU = daᵀ before, where before_t = h_{t-1}: matrix products over many steps at once (recurrent.py,
which does for all recurrent networks what follows from the da_t, with layers, directions and
padding).
"""

from functools import partial
from typing import Any, NamedTuple

from ..backends import products
from ..custom_vjp import custom_vjp
from ..ops import matmul, maximum, tanh
from . import recurrent
from .recurrent import arrange, memory


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
    """L layers in D directions (2 if bidirectional, else 1): -> (out, h_n), and the cache.

    x (T, B, I), or (B, T, I) if batch_first, or one sequence (T, I). h0 (L·D, B, H), or (L·D, H)
    for one sequence, or None for zeros. weights: for each layer and direction W (H, I; D·H after
    the first layer), U (H, H) and, with `bias`, b_ih (H,), b_hh (H,). lengths: B integers, 1 to T.
    masks: booleans, for each layer but the last an array like out that says which outputs are kept;
    dropout: the probability p that they were drawn with: they are divided by 1-p.

    out is x with D·H in place of I: the states of the last layer. h_n is the last states, like h0.
    """
    _check(nonlinearity)
    layers = arrange(
        "rnn", 1, x, (h0,), weights, bidirectional, lengths, batch_first, bias, dropout, masks
    )
    return recurrent.forward(partial(_begin, nonlinearity=nonlinearity), _run, x, (h0,), layers)


def backward(gradients, cache, needs=None):
    """gradients, (dout, dh_n) -> dx, dh0, *dweights."""
    return recurrent.backward(_through_time, gradients, cache, needs)


def reference(
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
    """The same from primitives, one step at a time."""
    _check(nonlinearity)
    layers = arrange(
        "rnn", 1, x, (h0,), weights, bidirectional, lengths, batch_first, bias, dropout, masks
    )
    return recurrent.reference(partial(_step, nonlinearity=nonlinearity), x, (h0,), layers)


rnn = custom_vjp("rnn", forward, backward, reference, in_float32=True)


class Run(NamedTuple):
    """A block of sequences in one layer and direction, as the gradient needs it."""

    a: Any  # (T, H, B)  W x_t + b; its place is taken by
    h: Any  # (T, H, B)
    before: Any  # (T, H, B)  the state that h_t was computed from
    times: range  # the order of the steps
    df: Any  # (T, H, B)  f'(a_t), for relu
    U: Any
    b: Any  # (H,)       the sum of the biases

    @property
    def states(self):
        return (self.h,)


def _begin(xp, T, starts, times, U, biases, nonlinearity):
    h, before = memory(xp, starts[0], times)
    df = xp.empty_like(h) if nonlinearity == "relu" else None  # tanh' follows from h alone
    return Run(h, h, before, times, df, U, sum(biases))


def _run(xp, this, steps, keep):
    """Some steps of a block in one layer and direction."""
    a, h, before, _, df, U, _ = this
    Uh = xp.empty_like(h[0])
    for t in steps:
        a_t = h_t = a[t]
        a_t += products.matmul(U, before[t], out=Uh)
        if df is None:
            xp.tanh(a_t, out=h_t)
        else:
            df_t = xp.sign(a_t, out=df[t])
            df_t *= 0.5
            df_t += 0.5
            xp.maximum(a_t, 0.0, out=h_t)
        if keep is not None:
            h[t] = xp.where(keep[t], h_t, before[t])


def _through_time(xp, this, steps, keep, dout, dstates, UT, da):
    """Backward through them: fills da (T', H, B), which is also de; and dh before them (H, B)."""
    h, df, (dh,), first = this.h, this.df, dstates, min(steps)
    for t in reversed(steps):
        da_t = da[t - first]
        dh += dout[t - first]
        if df is None:
            xp.multiply(h[t], h[t], out=da_t)
            xp.subtract(1.0, da_t, out=da_t)
            da_t *= dh
        else:
            xp.multiply(df[t], dh, out=da_t)
        if keep is None:
            products.matmul(UT, da_t, out=dh)
        else:
            da_t *= keep[t]
            dh = xp.where(keep[t], products.matmul(UT, da_t), dh)
    return (dh,)


def _step(Wx, states, U, *biases, nonlinearity):
    """h_t from W x_t and h_{t-1}."""
    a = Wx + matmul(states[0], U.T) + sum(biases)
    return (tanh(a) if nonlinearity == "tanh" else maximum(a, 0.0),)


def _check(nonlinearity):
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: nonlinearity must be 'tanh' or 'relu'; got {nonlinearity!r}")
