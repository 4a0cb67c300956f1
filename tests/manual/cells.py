"""Calls of the recurrent operations, the equations of their cells word for word, and PyTorch's."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import nanoautograd as nag

SEEDS = st.integers(0, 2**32 - 1)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def rnn_step(x, states, W, U, b_ih, b_hh):
    (h,) = states
    return (np.tanh(W @ x + b_ih + U @ h + b_hh),)


def lstm_step(x, states, W, U, b_ih, b_hh):
    h, c = states
    a_i, a_f, a_g, a_o = np.split(W @ x + b_ih + U @ h + b_hh, 4)
    c = sigmoid(a_f) * c + sigmoid(a_i) * np.tanh(a_g)
    return sigmoid(a_o) * np.tanh(c), c


def gru_step(x, states, W, U, b_ih, b_hh):
    (h,) = states
    (W_r, W_z, W_n), (U_r, U_z, U_n) = np.split(W, 3), np.split(U, 3)
    (b_ir, b_iz, b_in), (b_hr, b_hz, b_hn) = np.split(b_ih, 3), np.split(b_hh, 3)
    r = sigmoid(W_r @ x + b_ir + U_r @ h + b_hr)
    z = sigmoid(W_z @ x + b_iz + U_z @ h + b_hz)
    n = np.tanh(W_n @ x + b_in + r * (U_n @ h + b_hn))
    return ((1 - z) * n + z * h,)


@dataclass(frozen=True)
class Cell:
    name: str  # that of the class in torch.nn
    gates: int
    states: int
    step: object  # one step of one sequence

    def __repr__(self):
        return self.name

    def function(self, x, *arrays, **options):
        """That of nag.functional, given the states and weights in a row; its results in a row."""
        f = getattr(nag.functional, self.name.lower())
        if self.states == 1:
            return f(x, *arrays, **options)
        out, states = f(x, arrays[: self.states], *arrays[self.states :], **options)
        return out, *states


RNN = Cell("RNN", 1, 1, rnn_step)
LSTM = Cell("LSTM", 4, 2, lstm_step)
GRU = Cell("GRU", 3, 1, gru_step)
CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def draw_weights(rng, cell, layers, D, inputs, H, bias=True):
    G, weights = cell.gates, []
    for i in range(layers * D):
        weights += [
            rng.standard_normal((G * H, inputs if i < D else D * H)),
            rng.standard_normal((G * H, H)) / np.sqrt(H),
        ]
        weights += [rng.standard_normal(G * H), rng.standard_normal(G * H)] if bias else []
    return weights


def draw_masks(rng, layers, batch, T, width, batch_first):
    """What dropout with p = 1/4 keeps."""
    shape = (layers - 1, *batch, T, width) if batch_first else (layers - 1, T, *batch, width)
    return rng.random(shape) > 0.25


@st.composite
def cases(draw, cell):
    """x, states and weights of all the shapes there are, and options."""
    rng = np.random.default_rng(draw(SEEDS))
    T, B, inputs, H = (draw(st.integers(low, 4)) for low in (1, 0, 1, 1))
    L, D = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    options = {
        "bidirectional": D == 2,
        "batch_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    alone = draw(st.booleans())
    batch = () if alone else (B,)
    if not alone and draw(st.booleans()):
        options["lengths"] = rng.integers(1, T + 1, B).tolist()
    first = options["batch_first"]
    if draw(st.booleans()):
        options |= {"dropout": 0.25, "masks": draw_masks(rng, L, batch, T, D * H, first)}
    x = rng.standard_normal((*batch, T, inputs) if first else (T, *batch, inputs))
    starts = [
        rng.standard_normal((L * D, *batch, H)) if draw(st.booleans()) else None
        for _ in range(cell.states)
    ]
    return [x, *starts, *draw_weights(rng, cell, L, D, inputs, H, options["bias"])], options


def one_sequence_at_a_time(
    cell,
    arrays,
    bidirectional=False,
    batch_first=False,
    bias=True,
    lengths=None,
    dropout=0.0,
    masks=None,
):
    """out and the last states as `forward` returns them, from one step of one sequence."""
    x, starts, weights = arrays[0], arrays[1 : 1 + cell.states], arrays[1 + cell.states :]
    alone, D, n = x.ndim == 2, 1 + bidirectional, 4 if bias else 2

    def time_first(a):
        return a[:, None] if alone else a.swapaxes(0, 1) if batch_first else a

    x = time_first(x)
    T, B, _ = x.shape
    groups = [weights[i : i + n] for i in range(0, len(weights), n)]
    H = groups[0][1].shape[1]
    lasts = [np.zeros((len(groups), B, H)) for _ in starts]
    out = np.zeros((T, B, D * H))
    for c, length in enumerate(lengths or [T] * B):
        sequence = x[:length, c]
        for i in range(0, len(groups), D):
            if i and masks is not None:
                m = time_first(masks[i // D - 1])[:length, c]
                sequence = m * sequence / (1 - dropout)
            outputs = np.zeros((length, D * H))
            for d, (W, U, *biases) in enumerate(groups[i : i + D]):
                b_ih, b_hh = biases or (np.zeros(len(W)), np.zeros(len(W)))
                states = [
                    np.zeros(H) if s is None else s[i + d] if alone else s[i + d, c] for s in starts
                ]
                for t in range(length)[:: -1 if d else 1]:
                    states = cell.step(sequence[t], states, W, U, b_ih, b_hh)
                    outputs[t, d * H : (d + 1) * H] = states[0]
                for last, s in zip(lasts, states, strict=True):
                    last[i + d, c] = s
            sequence = outputs
        out[:length, c] = sequence
    out = out[:, 0] if alone else out.swapaxes(0, 1) if batch_first else out
    return [out, *(s[:, 0] if alone else s for s in lasts)]


def in_pytorch(
    torch, cell, arrays, gs, bidirectional=False, batch_first=False, bias=True, lengths=None
):
    """Results and gradients of torch.nn's layer of the same name; None stands for zeros."""
    x, starts, weights = arrays[0], arrays[1 : 1 + cell.states], arrays[1 + cell.states :]
    starts = [np.zeros(g.shape) if s is None else s for s, g in zip(starts, gs[1:], strict=True)]
    layers = len(weights) // ((4 if bias else 2) * (1 + bidirectional))
    net = getattr(torch.nn, cell.name)(
        x.shape[-1],
        weights[1].shape[1],
        layers,
        bias=bias,
        batch_first=batch_first,
        bidirectional=bidirectional,
        dtype=torch.float64,
    )
    with torch.no_grad():
        for p, w in zip(net.parameters(), weights, strict=True):
            p.copy_(torch.tensor(w))
    x, *starts = inputs = [torch.tensor(a, requires_grad=True) for a in (x, *starts)]
    hx = tuple(starts) if cell.states > 1 else starts[0]
    if lengths is None:
        out, lasts = net(x, hx)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first, enforce_sorted=False
        )
        packed, lasts = net(packed, hx)
        out, _ = torch.nn.utils.rnn.pad_packed_sequence(
            packed, batch_first, total_length=x.shape[1 - (not batch_first)]
        )
    outs = [out, *(lasts if cell.states > 1 else [lasts])]
    ds = torch.autograd.grad(outs, [*inputs, *net.parameters()], [torch.tensor(g) for g in gs])
    return [o.detach().numpy() for o in outs], [d.numpy() for d in ds]
