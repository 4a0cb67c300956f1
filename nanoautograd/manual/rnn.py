"""The recurrent network of Elman, and its gradient through time, by hand.

For one layer in one direction; T steps, B sequences, I inputs, H hidden units:

    x    (T, B, I)   inputs; x_t is a step of all sequences
    h    (T, B, H)   hidden states; h_{-1} = h0 is given, or 0
    a    (T, B, H)   what enters the nonlinearity
    f                tanh, or relu
    W    (H, I)      weights from the input          `weight_ih` in torch.nn.RNN
    U    (H, H)      weights from the state before   `weight_hh`
    b    (H,)        the sum of its two biases, `bias_ih` and `bias_hh`
    h_n  (L·D, B, H) the last states, of L layers in D directions
    dh_t, da_t, ...  ∂L/∂h_t, ∂L/∂a_t, ..., total derivatives: through all later steps, too
    dout, dh_n       what arrives at the output and at the last states

Forward (Elman 1990, "Finding structure in time", figure 2; in this notation torch.nn.RNN):

    a_t = W x_t + U h_{t-1} + b
    h_t = f(a_t)

W x_t needs no state, so it is computed for all steps at once; only U h_{t-1} has to wait for the
step before. In the equations a sequence is a column; in the code it is a row, where W x_t is
x_t Wᵀ.

Backward (backpropagation through time: Werbos 1990, "Backpropagation through time: what it does and
how to do it", section III). h_t acts on L in two ways: through the output at t, whose gradient
dout_t arrives from above, and through a_{t+1}. With ∂a_{t+1}/∂h_t = U the chain rule gives

    dh_t = dout_t + Uᵀ da_{t+1}           beginning at the last step with dh_n instead of Uᵀ da
    da_t = f'(a_t) ⊙ dh_t
    dh0  = Uᵀ da_0

which runs once through time, backward. f' follows from what is at hand: tanh' = 1 - h², and relu'
is 0, 1/2, 1 where a is negative, zero, positive (the choice that this library makes at every tie).

W, U and b are used at every step by every sequence, so their gradients are sums over both. With c
for a sequence,

    dW_ij = Σ_t Σ_c da_tci x_tcj          dW = Σ_t da_t x_tᵀ
    dU_ij = Σ_t Σ_c da_tci h_{t-1,cj}     dU = Σ_t da_t h_{t-1}ᵀ
    db_i  = Σ_t Σ_c da_tci                for each of the two biases
    dx_t  = Wᵀ da_t

and once all da_t are known, each is one matrix product over all steps and sequences: t and c
together are one axis. Layers, directions and padding are in recurrent.py.
"""

from functools import partial

from ..backends import array_namespace
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import matmul, maximum, tanh
from . import recurrent
from .recurrent import arrange, begin, previous, rows


def layer_forward(x, h0, W, U, b_ih=0.0, b_hh=0.0, *, nonlinearity):
    """x (T, B, I), h0 (B, H) -> (h, h_n), and the cache."""
    xp, T = array_namespace(x), len(x)
    a_x, h = matmul(x, W.T) + b_ih, begin(h0, T)  # h[-1] is h0
    a = xp.empty_like(a_x)
    for t in range(T):
        a[t] = a_x[t] + matmul(h[t - 1], U.T) + b_hh
        h[t] = tanh(a[t]) if nonlinearity == "tanh" else maximum(a[t], 0.0)
    return (h[:T], h[T - 1]), (x, a, h, W, U, nonlinearity)


def layer_backward(gradients, cache):
    """(dout, dh_n) -> dx, dh0, dW, dU, db_ih, db_hh."""
    (dout, dh_next), (x, a, h, W, U, nonlinearity) = gradients, cache
    xp, T = array_namespace(dout), len(dout)
    df = 1.0 - h * h if nonlinearity == "tanh" else 0.5 + 0.5 * xp.sign(a)  # f'(a)
    da = xp.empty_like(a)
    for t in reversed(range(T)):
        dh_t = dout[t] + dh_next
        da[t] = df[t] * dh_t
        dh_next = matmul(da[t], U)  # Uᵀ da_t; at last it is dh0
    dW = matmul(rows(da).T, rows(x))  # Σ_t da_t x_tᵀ
    dU = matmul(rows(da).T, rows(previous(h)))  # Σ_t da_t h_{t-1}ᵀ
    db = summed(rows(da), 0)  # Σ_t da_t
    dx = matmul(da, W)  # Wᵀ da_t
    return dx, dh_next, dW, dU, db, db


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
    """L layers in D directions (2 if bidirectional, else 1): -> (out, h_n), and the cache. The
    arguments are described in recurrent.py."""
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    layer = partial(layer_forward, nonlinearity=nonlinearity)
    return recurrent.forward(layer, x, (h0,), layers)


def backward(gradients, cache):
    """gradients, (dout, dh_n) -> dx, dh0, *dweights."""
    return recurrent.backward(layer_backward, gradients, cache)


def reference(x, h0, *weights, nonlinearity="tanh", **options):
    """The same from primitives, one step at a time."""
    one_step = partial(step, nonlinearity=nonlinearity)
    return recurrent.reference(one_step, x, (h0,), arrange(x, weights, **options))


def step(Wx, states, U, b_ih=0.0, b_hh=0.0, *, nonlinearity):
    """h_t from W x_t and h_{t-1}."""
    a = Wx + b_ih + matmul(states[0], U.T) + b_hh
    return (tanh(a) if nonlinearity == "tanh" else maximum(a, 0.0),)


rnn = custom_vjp("rnn", forward, backward, reference, in_float32=True)
