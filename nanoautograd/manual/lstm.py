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
    dh_t, dc_t, ...  ∂L/∂h_t, ∂L/∂c_t, ..., total derivatives: through all later steps, too
    dout, dh_n, dc_n what arrives at the output and at the last states

Forward (Hochreiter and Schmidhuber 1997, "Long short-term memory", equations 3 to 9; with the
forget gate of Gers, Schmidhuber and Cummins 2000, "Learning to forget", equations 3 and 4; in this
notation torch.nn.LSTM). With σ(a) = 1 / (1 + exp(-a)) and ⊙ elementwise:

    a_t = W x_t + U h_{t-1} + b
    i_t = σ(a_i),  f_t = σ(a_f),  g_t = tanh(a_g),  o_t = σ(a_o)        of a_t
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

Backward. h_t acts on L through the output at t and through a_{t+1}; c_t through h_t and through
c_{t+1} = f_{t+1} ⊙ c_t + ... . Beginning at the last step with dh_n and dc_n in place of what comes
from t+1,

    dh_t = dout_t + Uᵀ da_{t+1}
    dc_t = f_{t+1} ⊙ dc_{t+1} + dh_t ⊙ o_t ⊙ (1 - tanh²(c_t))

and from the two products in c_t and h_t, times σ' = σ (1 - σ) or tanh' = 1 - tanh²,

    da_i = dc_t ⊙ g_t     ⊙ i_t ⊙ (1 - i_t)        da_g = dc_t ⊙ i_t       ⊙ (1 - g_t²)
    da_f = dc_t ⊙ c_{t-1} ⊙ f_t ⊙ (1 - f_t)        da_o = dh_t ⊙ tanh(c_t) ⊙ o_t ⊙ (1 - o_t)

    dh0 = Uᵀ da_0,  dc0 = f_0 ⊙ dc_0

Along the cells the gradient is only multiplied by f, once a step: where the forget gate is open it
arrives unchanged from however far. (In a network without gates it meets Uᵀ and tanh' at each step.)

W, U and b are used at every step by every sequence, and as in rnn.py

    dW = Σ_t da_t x_tᵀ,  dU = Σ_t da_t h_{t-1}ᵀ,  db = Σ_t da_t,  dx_t = Wᵀ da_t

In the equations a sequence is a column; in the code it is a row, where W x_t is x_t Wᵀ. Layers,
directions and padding are in recurrent.py.
"""

from ..backends import array_namespace
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import matmul, sigmoid, split, tanh
from . import recurrent
from .recurrent import arrange, begin, previous, rows


def layer_forward(x, h0, c0, W, U, b_ih=0.0, b_hh=0.0):
    """x (T, B, I), h0 and c0 (B, H) -> (h, h_n, c_n), and the cache."""
    xp, T = array_namespace(x), len(x)
    a_x, h, c = matmul(x, W.T) + b_ih, begin(h0, T), begin(c0, T)  # h[-1] is h0, c[-1] is c0
    i, f, g, o = gates = xp.empty((4, *h[:T].shape), dtype=x.dtype)
    for t in range(T):
        a = a_x[t] + matmul(h[t - 1], U.T) + b_hh
        a_i, a_f, a_g, a_o = split(a, 4, axis=-1)
        i[t], f[t], g[t], o[t] = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
        c[t] = f[t] * c[t - 1] + i[t] * g[t]
        h[t] = o[t] * tanh(c[t])
    return (h[:T], h[T - 1], c[T - 1]), (x, h, c, gates, W, U)


def layer_backward(gradients, cache):
    """(dout, dh_n, dc_n) -> dx, dh0, dc0, dW, dU, db_ih, db_hh."""
    (dout, dh_next, dc_next), (x, h, c, (i, f, g, o), W, U) = gradients, cache
    xp, T = array_namespace(dout), len(dout)
    da = xp.empty((*x.shape[:2], len(W)), dtype=x.dtype)
    for t in reversed(range(T)):
        dh_t, tanh_c = dout[t] + dh_next, tanh(c[t])
        dc_t = dc_next + dh_t * o[t] * (1.0 - tanh_c**2)
        da_i = dc_t * g[t] * i[t] * (1.0 - i[t])
        da_f = dc_t * c[t - 1] * f[t] * (1.0 - f[t])
        da_g = dc_t * i[t] * (1.0 - g[t] ** 2)
        da_o = dh_t * tanh_c * o[t] * (1.0 - o[t])
        da[t] = xp.concatenate([da_i, da_f, da_g, da_o], axis=-1)
        dh_next, dc_next = matmul(da[t], U), f[t] * dc_t  # Uᵀ da_t; at last dh0 and dc0
    dW = matmul(rows(da).T, rows(x))  # Σ_t da_t x_tᵀ
    dU = matmul(rows(da).T, rows(previous(h)))  # Σ_t da_t h_{t-1}ᵀ
    db = summed(rows(da), 0)  # Σ_t da_t
    dx = matmul(da, W)  # Wᵀ da_t
    return dx, dh_next, dc_next, dW, dU, db, db


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
    """L layers in D directions (2 if bidirectional, else 1): -> (out, h_n, c_n), and the cache. The
    arguments are described in recurrent.py."""
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    return recurrent.forward(layer_forward, x, (h0, c0), layers)


def backward(gradients, cache):
    """gradients, (dout, dh_n, dc_n) -> dx, dh0, dc0, *dweights."""
    return recurrent.backward(layer_backward, gradients, cache)


def reference(x, h0, c0, *weights, **options):
    """The same from primitives, one step at a time."""
    return recurrent.reference(step, x, (h0, c0), arrange(x, weights, **options))


def step(Wx, states, U, b_ih=0.0, b_hh=0.0):
    """(h_t, c_t) from W x_t and (h_{t-1}, c_{t-1})."""
    h, c = states
    i, f, g, o = split(Wx + b_ih + matmul(h, U.T) + b_hh, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


lstm = custom_vjp("lstm", forward, backward, reference, in_float32=True)
