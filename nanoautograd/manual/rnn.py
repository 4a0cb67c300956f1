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

The rows of a matrix are sequences here, so W x_t reads x_t Wᵀ in the code. W x_t needs no state, so
it is one matrix product over all steps at once; only U h_{t-1} has to wait for the step before.

Backward (backpropagation through time: Werbos 1990, "Backpropagation through time: what it does and
how to do it", section III). h_t acts on L in two ways: through the output at t, whose gradient
dout_t arrives from above, and through a_{t+1}. With ∂a_{t+1}/∂h_t = U the chain rule gives

    dh_t = dout_t + Uᵀ da_{t+1}           beginning at the last step with dh_n instead of Uᵀ da
    da_t = f'(a_t) ⊙ dh_t
    dh0  = Uᵀ da_0

which runs once through time, backward. f' follows from what is at hand: tanh' = 1 - h², and relu'
is 0, 1/2, 1 where a is negative, zero, positive (the choice that this library makes at every tie).

W is used at every step, and its gradient is the sum over all of them. With c for a sequence,

    dW_ij = Σ_t Σ_c da_tci x_tcj          dW = daᵀ x           (t and c together as one axis)
    dU_ij = Σ_t Σ_c da_tci before_tcj     dU = daᵀ before      (before_t = h_{t-1})
    db_i  = Σ_t Σ_c da_tci                and the same for each of the two biases
    dx_tc = Wᵀ da_tc                      dx = da W

so once all da_t are known each of these is one matrix product over all steps, not a sum of T small
ones. For the rows da_t, h_t of the code, Uᵀ da_t reads da_t U.

Padding. With `lengths`, sequence c has lengths[c] steps, and the rest of x is padding. There the
state is carried along: h_t = h_{t-1}. So the last state is that of the last valid step, and in the
reverse direction, which meets the padding first, every sequence begins at its last valid step with
h0. In the backward pass the padding likewise has da_t = 0 and hands dh_t through unchanged. The
output at padding is zero. (These are the results of PyTorch's packed sequences.)

Several layers: the output of a layer is the input of the next. Both directions: a second set of
weights runs from T-1 to 0 (Schuster and Paliwal 1997), and the outputs are put side by side.
"""

from typing import Any, NamedTuple

import numpy as np

from ..backends import is_array, namespace, to_numpy
from ..ops import concatenate, matmul, maximum, split, tanh, where, zeros_like
from ..tensor import array_of, is_float


def forward(x, h0, *weights, nonlinearity="tanh", bidirectional=False, lengths=None,
            batch_first=False, bias=True):
    """L layers in D directions (2 if bidirectional, else 1): -> (out, h_n), and the cache.

    x (T, B, I), or (B, T, I) if batch_first, or one sequence (T, I). h0 (L·D, B, H), or (L·D, H)
    for one sequence, or None for zeros. weights: for each layer and direction W (H, I; D·H after
    the first layer), U (H, H) and, with `bias`, b_ih (H,), b_hh (H,). lengths: B integers, 1 to T.

    out is x with D·H in place of I: the states of the last layer. h_n is the last states, like h0.
    """
    D = 2 if bidirectional else 1
    layers = _check(x, h0, weights, nonlinearity, D, lengths, batch_first, bias)
    xp = namespace(x, h0, *weights)
    alone = x.ndim == 2                                             # one sequence, no batch
    x = _time_first(x, batch_first)
    T, B, _ = x.shape
    h = _time_first(h0, False) if h0 is not None else None
    keep = _keep(xp, lengths, T)
    if keep is not None:
        x = xp.where(keep, x, 0.0)

    runs, h_n = [], []
    for i in range(0, len(layers), D):                              # up the layers
        x, outs = xp.ascontiguousarray(x), []
        for d, (W, U, *biases) in enumerate(layers[i:i + D]):
            H = len(U)
            start = xp.zeros((B, H), dtype=x.dtype) if h is None else h[i + d]
            run = _run(xp, x, start, W, U, biases, nonlinearity, keep, reverse=d == 1)
            outs.append(run.h)
            h_n.append(run.h[run.times[-1]])
            runs.append(run)
        x = outs[0] if D == 1 else xp.concatenate(outs, axis=-1)
        if keep is not None:
            x = xp.where(keep, x, 0.0)
    out, h_n = _as_given(x, alone, batch_first), xp.stack(h_n)
    cache = runs, D, len(layers[0]), keep, alone, batch_first, h0 is not None
    return (out, h_n[:, 0] if alone else h_n), cache


class Run(NamedTuple):
    """One layer in one direction, as the gradient needs it."""
    x: Any                  # (T, B, I)
    h: Any                  # (T, B, H)
    before: Any             # (T, B, H)  the state that h_t was computed from
    times: range            # the order of the steps
    df: Any                 # (T, B, H)  f'(a_t), for relu
    W: Any
    U: Any


def _run(xp, x, h0, W, U, biases, nonlinearity, keep, reverse):
    """All the states of one layer in one direction."""
    T, B, _ = x.shape
    H = len(U)
    memory = xp.empty((T + 1, B, H), dtype=x.dtype)                 # the states, and h0 before them
    h, before = (memory[:-1], memory[1:]) if reverse else (memory[1:], memory[:-1])
    times = range(T - 1, -1, -1) if reverse else range(T)
    before[times[0]] = h0
    a = h                                                           # h_t takes the place of a_t
    xp.matmul(x.reshape(T * B, W.shape[1]), W.T, out=a.reshape(T * B, H))
    for b in biases:
        a += b
    df = xp.empty_like(h) if nonlinearity == "relu" else None       # tanh' follows from h alone
    UT = xp.ascontiguousarray(U.T)                                  # in the order it is read in
    Uh = xp.empty((B, H), dtype=x.dtype)
    for t in times:
        a_t = a[t]
        a_t += xp.matmul(before[t], UT, out=Uh)
        if df is None:
            xp.tanh(a_t, out=h[t])
        else:
            xp.heaviside(a_t, 0.5, out=df[t])
            xp.maximum(a_t, 0.0, out=h[t])
        if keep is not None:
            h[t] = xp.where(keep[t], h[t], before[t])
    return Run(x, h, before, times, df, W, U)


def backward(gradients, cache, needs=None):
    """gradients, (dout, dh_n) -> dx, dh0, *dweights."""
    runs, D, n, keep, alone, batch_first, given_h0 = cache        # n weights each
    needs = needs or (True,) * (2 + n * len(runs))
    need_x, need_h0, need = needs[0], needs[1] and given_h0, needs[2:]
    dout, dh_n = gradients
    xp = namespace(dout, dh_n)
    dout = _time_first(dout, batch_first)
    dh_n = _time_first(dh_n, False)
    if keep is not None:
        dout = xp.where(keep, dout, 0.0)

    dh0 = xp.zeros_like(dh_n) if need_h0 else None
    dweights = [None] * len(need)
    for i in range(len(runs) - D, -1, -D):                        # down the layers
        dx = None
        below = need_x or i > 0 and (need_h0 or any(need[:n * i]))
        for d in range(D):
            x, h, before, _, _, W, U = run = runs[i + d]
            T, B, H = h.shape
            above = dout[..., d * H:(d + 1) * H]
            da, dh = _through_time(xp, above, dh_n[i + d], run, keep)
            if need_h0:
                dh0[i + d] = dh
            da = da.reshape(T * B, H)
            j = n * (i + d)
            if need[j]:
                dweights[j] = xp.matmul(da.T, x.reshape(T * B, W.shape[1]))
            if need[j + 1]:
                dweights[j + 1] = xp.matmul(da.T, before.reshape(T * B, H))
            for k in range(j + 2, j + n):
                if need[k]:
                    dweights[k] = da.sum(axis=0)
            if below:
                dx_d = xp.matmul(da, W).reshape(x.shape)
                dx = dx_d if d == 0 else dx + dx_d
        if not below:
            break
        dout = dx                                                   # of the layer below
    dx = _as_given(dx, alone, batch_first) if need_x else None
    return dx, dh0[:, 0] if alone and need_h0 else dh0, *dweights


def _through_time(xp, dout, dh, run, keep):
    """Backward through time in one layer and direction: da (T, B, H), and dh0 (B, H)."""
    h, df, U = run.h, run.df, run.U
    da = 1.0 - h * h if df is None else df.copy()                   # f'(a_t), and soon da_t
    if keep is not None:
        da *= keep
    dh = dh.copy()
    for t in reversed(run.times):
        dh += dout[t]
        da_t = da[t]
        da_t *= dh
        if keep is None:
            xp.matmul(da_t, U, out=dh)
        else:
            dh = xp.where(keep[t], xp.matmul(da_t, U), dh)
    return da, dh


def composed(x, h0, *weights, nonlinearity="tanh", bidirectional=False, lengths=None,
             batch_first=False, bias=True):
    """The same from primitives, one step at a time."""
    D = 2 if bidirectional else 1
    layers = _check(x, h0, weights, nonlinearity, D, lengths, batch_first, bias)
    xp = namespace(array_of(x))
    alone = x.ndim == 2
    x = _time_first(x, batch_first)
    T = x.shape[0]
    h0 = _time_first(h0, False) if h0 is not None else None
    keep = _keep(xp, lengths, T)
    if keep is not None:
        x = where(keep, x, 0.0)

    h_n = []
    for i in range(0, len(layers), D):
        outs = []
        for d, (W, U, *biases) in enumerate(layers[i:i + D]):
            Wx = split(matmul(x, W.T), T)                           # T pieces (1, B, H)
            h = zeros_like(Wx[0]) if h0 is None else h0[i + d:i + d + 1]
            states = [None] * T
            for t in reversed(range(T)) if d else range(T):
                a = Wx[t] + matmul(h, U.T) + sum(biases)
                new = tanh(a) if nonlinearity == "tanh" else maximum(a, 0.0)
                h = states[t] = new if keep is None else where(keep[t], new, h)
            outs.append(concatenate(states))
            h_n.append(h)
        x = concatenate(outs, axis=-1)
        if keep is not None:
            x = where(keep, x, 0.0)
    h_n = concatenate(h_n)
    return _as_given(x, alone, batch_first), h_n[:, 0] if alone else h_n


def _time_first(x, batch_first):
    """(T, B, ...) from (T, ...) for one sequence, or (B, T, ...); likewise (L·D, B, H) states."""
    return x[:, None] if x.ndim == 2 else x.swapaxes(0, 1) if batch_first else x


def _as_given(x, alone, batch_first):
    """The inverse of `_time_first`."""
    return x[:, 0] if alone else x.swapaxes(0, 1) if batch_first else x


def _keep(xp, lengths, T):
    """(T, B, 1), False at padding; None where there is no padding."""
    if lengths is None:
        return None
    lengths = _on_host(lengths)
    if (lengths == T).all():
        return None
    return xp.arange(T)[:, None, None] < xp.asarray(lengths)[:, None]


def _on_host(lengths):
    """The lengths, given as a list or any array, as a NumPy array: they are checked there."""
    lengths = array_of(lengths)
    return to_numpy(lengths) if is_array(lengths) else np.asarray(lengths)      # on the host


def _check(x, h0, weights, nonlinearity, D, lengths, batch_first, bias):
    """Raises the error that names what does not fit; returns the weights in groups."""
    n = 4 if bias else 2
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: nonlinearity must be 'tanh' or 'relu'; got {nonlinearity!r}")
    if not weights or len(weights) % (n * D):
        raise ValueError(f"rnn: with bias={bias} and {D} direction(s) a layer has {n * D} weights; "
                         f"got {len(weights)}")
    if x.ndim not in (2, 3):
        raise ValueError(f"rnn: x must be (T, B, I), or (T, I) for one sequence; got {x.shape}")
    dtypes = [a.dtype for a in (x, h0, *weights) if a is not None]
    if not is_float(x.dtype) or any(dtype != x.dtype for dtype in dtypes):
        raise TypeError("rnn: x, h0 and the weights must be floating and of one dtype; got "
                        + ", ".join(map(str, dtypes)))
    T = x.shape[1 if batch_first and x.ndim == 3 else 0]
    batch = () if x.ndim == 2 else (x.shape[0 if batch_first else 1],)
    if T == 0:
        raise ValueError(f"rnn: a sequence needs one step or more; got x of shape {x.shape}")
    groups = [weights[i:i + n] for i in range(0, len(weights), n)]
    H = weights[0].shape[0]
    for i, group in enumerate(groups):
        right = [(H, x.shape[-1] if i < D else D * H), (H, H), (H,), (H,)][:n]
        if [w.shape for w in group] != right:
            raise ValueError(f"rnn: for x of shape {x.shape} and {H} hidden units, the weights of "
                             f"layer {i // D}, direction {i % D}, have the shapes {right}; got "
                             f"{[w.shape for w in group]}")
    if h0 is not None and h0.shape != (len(groups), *batch, H):
        raise ValueError(f"rnn: h0 must be {(len(groups), *batch, H)}, one state for each layer "
                         f"and direction; got {h0.shape}")
    if lengths is not None:
        lengths = _on_host(lengths)
        if lengths.shape != batch or not batch or lengths.size and lengths.dtype.kind not in "iu":
            raise ValueError("rnn: lengths must be an integer for each sequence of a batch; "
                             f"got lengths {lengths.shape} {lengths.dtype} and x {x.shape}")
        if lengths.size and not 1 <= lengths.min() <= lengths.max() <= T:
            raise ValueError(f"rnn: lengths must be from 1 to T = {T}; got {lengths.tolist()}")
    return groups
