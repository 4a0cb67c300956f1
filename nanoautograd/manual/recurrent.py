"""What the recurrent networks share: layers, directions, padding, and dropout between layers.

The files rnn.py, lstm.py and gru.py derive a cell: one layer in one direction, of sequences of one
length. A cell has G gates (1, 4 and 3) and one or two states, of which the first is its output h.
It is given here as three functions:

    layer_forward(x, *starts, *weights)      (T, B, I), (B, H)... -> (out, *last states), cache
    layer_backward(gradients, cache)         (dout, *dlasts) -> dx, *dstarts, *dweights
    step(Wx_t, states, U, *biases)           one step from primitives: the states after it

Layers. The output of a layer is the input of the next, and so the dx of a layer is the dout of the
one below:

    x^(l+1) = out^(l)          dout^(l) = dx^(l+1)

Directions. In D = 2 directions a second set of weights runs from T-1 to 0 (Schuster and Paliwal
1997, "Bidirectional recurrent neural networks"), and the outputs are put side by side. Both read x,
so

    out = [out→, out←]         dx = dx→ + dx←

Arguments. Each of the three files has the same, by the letters of its own:

    x            (T, B, I), or (B, T, I) if `batch_first`, or one sequence (T, I)
    h0 (and c0)  (L·D, B, H), or (L·D, H) for one sequence, or None for zeros
    weights      for each layer, and in it for each direction, W (G·H, I; after the first layer
                 G·H, D·H), U (G·H, H) and, with `bias`, b_ih and b_hh (G·H,)
    lengths      B integers from 1 to T, or None: all have T steps
    dropout      p
    masks        m: booleans (L-1, *out.shape), True where an output is kept; or None
    out          x with D·H in the place of I: the h of the last layer
    h_n (and c_n)   the last states, like h0

Padding. With `lengths`, sequence c has lengths[c] steps, and the rest of x is padding. Time is cut
where a sequence ends, and in a piece between two cuts there are only the sequences that go on: they
have one length there, and a cell meets no padding. The last states of a piece are the first of the
next,

    first^(p+1) = last^(p)     dlast^(p) = dfirst^(p+1)

so the last state of a sequence is that of its last step; in the reverse direction, where the pieces
come in the reverse order, it begins there with h0. The output and dx are zero at padding, and what
x holds there has no influence. (These are the results of PyTorch's packed sequences.)

Weights. Every piece uses the same ones, so their gradients are sums over the pieces.

Dropout between layers (Zaremba et al. 2014, "Recurrent neural network regularization"): the output
of every layer but the last is multiplied by m / (1 - p), where m is 1 or 0, and so is its gradient.
The masks m are given by the caller: with them the result is a function of its arguments alone.
"""

from math import prod
from typing import Any, NamedTuple

from ..backends import array_namespace
from ..interface.array_interface import array_of
from ..ops import concatenate, matmul, split, where, zeros_like


class Layers(NamedTuple):
    """The weights of each layer and direction, and how the sequences lie in the arrays."""

    groups: list  # (W, U) or (W, U, b_ih, b_hh); layer by layer, in it by direction
    D: int  # directions
    lengths: list | None  # B numbers of steps; None where there is no padding
    masks: Any  # of dropout, one like out for each layer but the last; or None
    scale: float  # 1 / (1 - p)
    alone: bool  # one sequence, no batch
    batch_first: bool

    def dropout(self, x, i):
        """Dropout of x, which enters the layer of groups[i:i + D], or of its gradient."""
        if self.masks is None or i == 0:
            return x
        m = time_first(self.masks[i // self.D - 1], self.batch_first)
        return where(m, x * self.scale, 0.0)

    def valid(self, xp, T):
        """(T, B, 1), False at padding; None where there is none."""
        if self.lengths is None:
            return None
        return xp.arange(T)[:, None, None] < xp.asarray(self.lengths)[:, None]

    def pieces(self, xp, T, direction):
        """Pairs, in the order of a direction: some steps, and the sequences that have them. In the
        second direction the steps run back, so that the cell reads x reversed in time."""
        lengths, found = self.lengths or [T], []
        ends = sorted({*lengths})
        for start, end in zip([0, *ends], ends):
            c = [i for i, length in enumerate(lengths) if length >= end]
            c = xp.asarray(c) if start else slice(None)  # all of them have the first steps
            back = slice(end - 1, start - 1 if start else None, -1)
            found.append((back if direction else slice(start, end), c))
        return found[::-1] if direction else found


def arrange(
    x,
    weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    """The Layers of a call."""
    D, n = 2 if bidirectional else 1, 4 if bias else 2
    groups = [weights[i : i + n] for i in range(0, len(weights), n)]
    if lengths is not None:
        lengths, T = [int(length) for length in lengths], x.shape[1 if batch_first else 0]
        lengths = None if all(length == T for length in lengths) else lengths
    scale = 1.0 / (1.0 - float(dropout)) if dropout < 1 else 0.0
    return Layers(groups, D, lengths, masks, scale, x.ndim == 2, batch_first)


def forward(layer_forward, x, starts, layers):
    """Up the layers: -> (out, *last states), and the cache."""
    xp, groups, D = array_namespace(x), layers.groups, layers.D
    x = time_first(x, layers.batch_first)
    (T, B, _), H = x.shape, groups[0][1].shape[1]
    states = [
        xp.zeros((len(groups), B, H), dtype=x.dtype) if s is None else time_first(s, False).copy()
        for s in starts
    ]
    caches = []
    for i in range(0, len(groups), D):
        x, out = layers.dropout(x, i), xp.zeros((T, B, D * H), dtype=x.dtype)
        for direction in range(D):
            j, of_h = i + direction, slice(direction * H, (direction + 1) * H)
            for t, c in layers.pieces(xp, T, direction):
                first = [s[j, c] for s in states]
                (h, *last), cache = layer_forward(x[t, c], *first, *groups[j])
                out[t, c, of_h] = h
                for s, new in zip(states, last):
                    s[j, c] = new
                caches.append(cache)
        x = out
    lasts = [s[:, 0] if layers.alone else s for s in states]
    return (as_given(x, layers), *lasts), (caches, layers)


def backward(layer_backward, gradients, cache):
    """Down the layers: gradients of (out, *last states) -> dx, *dstarts, *dweights."""
    caches, layers = cache
    caches, groups, D = list(caches), layers.groups, layers.D
    xp = array_namespace(*gradients)
    dout = time_first(gradients[0], layers.batch_first)
    dstates = [time_first(d, False).copy() for d in gradients[1:]]
    (T, B, _), H = dout.shape, groups[0][1].shape[1]
    dgroups = [[xp.zeros_like(w) for w in group] for group in groups]
    for i in reversed(range(0, len(groups), D)):
        dx = xp.zeros((T, B, groups[i][0].shape[1]), dtype=dout.dtype)
        for direction in reversed(range(D)):
            j, of_h = i + direction, slice(direction * H, (direction + 1) * H)
            for t, c in reversed(layers.pieces(xp, T, direction)):
                dlast = [ds[j, c] for ds in dstates]
                dx_tc, *grads = layer_backward((dout[t, c, of_h], *dlast), caches.pop())
                dx[t, c] += dx_tc
                for ds, dfirst in zip(dstates, grads):
                    ds[j, c] = dfirst
                for dw, of_piece in zip(dgroups[j], grads[len(dstates) :]):
                    dw += of_piece  # the sum over the pieces
        dout = layers.dropout(dx, i)
    dstarts = [ds[:, 0] if layers.alone else ds for ds in dstates]
    return [as_given(dout, layers), *dstarts, *[dw for dgroup in dgroups for dw in dgroup]]


def reference(step, x, starts, layers):
    """Up the layers from primitives, one step at a time: -> (out, *last states). At padding the
    states are carried along."""
    groups, D, batch_first = layers.groups, layers.D, layers.batch_first
    x = time_first(x, batch_first)
    T = x.shape[0]
    starts = [s if s is None else time_first(s, False) for s in starts]
    valid = layers.valid(array_namespace(array_of(x)), T)
    if valid is not None:
        x = where(valid, x, 0.0)

    lasts = []
    for i in range(0, len(groups), D):
        x, outs = layers.dropout(x, i), []
        for j, (W, U, *biases) in enumerate(groups[i : i + D], i):
            Wx = split(matmul(x, W.T), T)  # T pieces (1, B, G·H)
            zeros = zeros_like(Wx[0][..., : U.shape[1]])
            states = [zeros if s is None else s[j : j + 1] for s in starts]
            h = [None] * T
            for t in reversed(range(T)) if j > i else range(T):
                new = step(Wx[t], states, U, *biases)
                if valid is not None:
                    new = [where(valid[t], *pair) for pair in zip(new, states)]
                states = new
                h[t] = states[0]
            outs.append(concatenate(h))
            lasts.append(states)
        x = concatenate(outs, axis=-1)
        if valid is not None:
            x = where(valid, x, 0.0)
    lasts = [concatenate(s) for s in zip(*lasts)]
    return as_given(x, layers), *(s[:, 0] if layers.alone else s for s in lasts)


def begin(h0, T):
    """Room for h_0 to h_{T-1} and, as Python counts, for h_{-1} = h0: (T + 1, B, H)."""
    h = array_namespace(h0).empty((T + 1, *h0.shape), dtype=h0.dtype)
    h[-1] = h0
    return h


def previous(h):
    """h_{t-1} for each step t: (T, B, H) from (T + 1, B, H)."""
    return array_namespace(h).concatenate([h[-1:], h[:-2]])


def rows(a):
    """All steps of all sequences, one a row: (T·B, N) from (T, B, N)."""
    return a.reshape(prod(a.shape[:-1]), a.shape[-1])


def time_first(x, batch_first):
    """(T, B, ...) from (T, ...) for one sequence, or (B, T, ...); likewise (L·D, B, H) states."""
    return x[:, None] if x.ndim == 2 else x.swapaxes(0, 1) if batch_first else x


def as_given(x, layers):
    """The inverse of `time_first`."""
    return x[:, 0] if layers.alone else x.swapaxes(0, 1) if layers.batch_first else x
