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
    dh_t, da_t, ...  ∂L/∂h_t, ∂L/∂a_t, ..., total derivatives: through all later steps, too
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

Backward. h_t acts on L through the output at t and, at t+1, through e and directly through the last
term. Beginning at the last step with dh_n in place of what comes from t+1,

    dh_t = dout_t + Uᵀ de_{t+1} + z_{t+1} ⊙ dh_{t+1}

and from the products in h_t and n_t, with σ' = σ (1 - σ) and tanh' = 1 - tanh²,

    da_n = dh_t ⊙ (1 - z_t) ⊙ (1 - n_t²)            de_n = da_n ⊙ r_t
    da_r = da_n ⊙ e_n ⊙ r_t ⊙ (1 - r_t)             de_r = da_r
    da_z = dh_t ⊙ (h_{t-1} - n_t) ⊙ z_t ⊙ (1 - z_t)  de_z = da_z

    dh0 = Uᵀ de_0 + z_0 ⊙ dh_0

W, U and the biases are used at every step by every sequence, and as in rnn.py

    dW = Σ_t da_t x_tᵀ       db_ih = Σ_t da_t       dx_t = Wᵀ da_t
    dU = Σ_t de_t h_{t-1}ᵀ   db_hh = Σ_t de_t

In the equations a sequence is a column; in the code it is a row, where W x_t is x_t Wᵀ. Layers,
directions and padding are in recurrent.py.
"""

from ..backends import array_namespace
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import matmul, sigmoid, split, tanh
from . import recurrent
from .recurrent import arrange, begin, previous, rows


def layer_forward(x, h0, W, U, b_ih=0.0, b_hh=0.0):
    """x (T, B, I), h0 (B, H) -> (h, h_n), and the cache."""
    xp, T = array_namespace(x), len(x)
    a, h = matmul(x, W.T) + b_ih, begin(h0, T)  # h[-1] is h0
    r, z, n, e_n = kept = xp.empty((4, *h[:T].shape), dtype=x.dtype)
    for t in range(T):
        a_r, a_z, a_n = split(a[t], 3, axis=-1)
        e_r, e_z, e_n[t] = split(matmul(h[t - 1], U.T) + b_hh, 3, axis=-1)
        r[t] = sigmoid(a_r + e_r)
        z[t] = sigmoid(a_z + e_z)
        n[t] = tanh(a_n + r[t] * e_n[t])
        h[t] = (1.0 - z[t]) * n[t] + z[t] * h[t - 1]
    return (h[:T], h[T - 1]), (x, h, kept, W, U)


def layer_backward(gradients, cache):
    """(dout, dh_n) -> dx, dh0, dW, dU, db_ih, db_hh."""
    (dout, dh_next), (x, h, (r, z, n, e_n), W, U) = gradients, cache
    xp, T = array_namespace(dout), len(dout)
    da, de = xp.empty((2, *x.shape[:2], len(W)), dtype=x.dtype)
    for t in reversed(range(T)):
        dh_t = dout[t] + dh_next
        da_n = dh_t * (1.0 - z[t]) * (1.0 - n[t] ** 2)
        da_r = da_n * e_n[t] * r[t] * (1.0 - r[t])
        da_z = dh_t * (h[t - 1] - n[t]) * z[t] * (1.0 - z[t])
        da[t] = xp.concatenate([da_r, da_z, da_n], axis=-1)
        de[t] = xp.concatenate([da_r, da_z, da_n * r[t]], axis=-1)
        dh_next = matmul(de[t], U) + z[t] * dh_t  # Uᵀ de_t + z_t ⊙ dh_t; at last dh0
    dW = matmul(rows(da).T, rows(x))  # Σ_t da_t x_tᵀ
    dU = matmul(rows(de).T, rows(previous(h)))  # Σ_t de_t h_{t-1}ᵀ
    db_ih, db_hh = summed(rows(da), 0), summed(rows(de), 0)  # Σ_t da_t, Σ_t de_t
    dx = matmul(da, W)  # Wᵀ da_t
    return dx, dh_next, dW, dU, db_ih, db_hh


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
    """L layers in D directions (2 if bidirectional, else 1): -> (out, h_n), and the cache. The
    arguments are described in recurrent.py."""
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    return recurrent.forward(layer_forward, x, (h0,), layers)


def backward(gradients, cache):
    """gradients, (dout, dh_n) -> dx, dh0, *dweights."""
    return recurrent.backward(layer_backward, gradients, cache)


def reference(x, h0, *weights, **options):
    """The same from primitives, one step at a time."""
    return recurrent.reference(step, x, (h0,), arrange(x, weights, **options))


def step(Wx, states, U, b_ih=0.0, b_hh=0.0):
    """h_t from W x_t and h_{t-1}."""
    (h,) = states
    a_r, a_z, a_n = split(Wx + b_ih, 3, axis=-1)
    e_r, e_z, e_n = split(matmul(h, U.T) + b_hh, 3, axis=-1)
    r, z = sigmoid(a_r + e_r), sigmoid(a_z + e_z)
    n = tanh(a_n + r * e_n)
    return ((1.0 - z) * n + z * h,)


gru = custom_vjp("gru", forward, backward, reference, in_float32=True)
