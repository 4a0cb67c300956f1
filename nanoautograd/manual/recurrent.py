"""What the recurrent networks share: layers, directions, padding, dropout, and what may be given.

The files rnn.py, lstm.py and gru.py derive a cell: one layer in one direction. A cell has G gates
(1, 4 and 3) and one or two states, of which the first is its output h. It reads a step through two
products only,

    a_t = W x_t + b_ih        ahead, for many steps           W (G·H, I)
    e_t = U h_{t-1} + b_hh    step after step                 U (G·H, H)

and is given here as four functions:

    begin(xp, T, starts, times, U, biases)          room for T steps: a Run
    run(xp, this, steps, keep)                      forward through some steps of the Run `this`
    through_time(xp, this, steps, keep, dout, dstates, UT, da)
                                                    and back: fills da, which is de too, and returns
                                                    the gradients of the states before
    step(Wx_t, states, U, *biases)                  one step from primitives: the states after it

A Run has a (T, G·H, B), which is filled with W x_t + b before `run` comes to it, the bias b (G·H,)
of that, the states h and before (T, H, B), the order of the steps `times`, and `states`, all of
which a step hands on. starts are (H, B); keep is (T, 1, B), False at padding, or None. The GRU's
last gate has a de_n that is not da_n, which its `through_time` fills as well.

Blocks and columns. Sequences do not depend on each other. So a large batch is cut in blocks, and
all steps of a block are done before the next block, or by another thread at the same time: what
belongs to a step of a block stays in the cache. In a block, and so in all that a cell is given, a
sequence is a column: h_t is (H, B) and a_t is (G·H, B), as in the equations. Then U h_{t-1} reads U
in the order it lies in memory, and a gate is a piece of a_t, a_t[:H]. Outside of blocks a sequence
is a row, as it was given.

Stretches of time. Only U h_{t-1} and Uᵀ da_{t+1} wait for the step before. So the steps of a block
are cut in stretches. Forward, while one thread goes through a stretch step by step, another that
has no block has the products W x_t of the next; backward, it has what follows from the da_t of the
last one: the gradients of the weights and of x.

Gradients of the weights. Each is used at every step, so its gradient is a sum over all of them.
With c for a sequence, and da in rows (T·B, G·H) (in the code it is the transpose, `_matrix`),

    dW_ij = Σ_t Σ_c da_tci x_tcj          dW = daᵀ x           (t and c together as one axis)
    dU_ij = Σ_t Σ_c de_tci before_tcj     dU = deᵀ before      (before_t = h_{t-1})
    db_i  = Σ_t Σ_c da_tci, or de_tci     for b_ih, and for b_hh
    dx_tc = Wᵀ da_tc                      dx = da W

so for a stretch of steps, once its da_t and de_t are known, each is one matrix product over all its
steps and sequences; and the sum of the stretches is the gradient.

Layers. The output of a layer is the input of the next. In D = 2 directions a second set of weights
runs from T-1 to 0 (Schuster and Paliwal 1997), and the outputs are put side by side.

Padding. With `lengths`, sequence c has lengths[c] steps, and the rest of x is padding. There the
states are carried along, as h_t = h_{t-1}. So the last state is that of the last valid step, and in
the reverse direction, which meets the padding first, every sequence begins at its last valid step
with h0. In the backward pass the padding likewise has da_t = de_t = 0 and hands the gradients of
the states through unchanged. The output at padding is zero. (These are the results of PyTorch's
packed sequences.)

Dropout between layers (Zaremba et al. 2014, "Recurrent neural network regularization"): the output
of every layer but the last is multiplied by m / (1 - p), where m is 1 or 0, and so is its gradient.
The masks m are given by the caller: with them the result is a function of its arguments alone.
"""

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from ..array_interface import array_of
from ..backends import array_namespace, is_array, is_float, products, threads, to_numpy
from ..backends.sums import row_sums, total
from ..ops import concatenate, matmul, split, where, zeros_like

# There is a block for each thread, if it has at least
COLUMNS = 16  # sequences, as the BLAS is slow with fewer columns, and
PRODUCTS = 1 << 21  # multiplications in U h_{t-1}: with fewer, calls would take the time;
LARGEST = 64  # and more blocks where one would have more sequences than this.
STRETCH = 256  # columns in the steps of a stretch together: enough for the gradients
WAITING = 4  # stretches whose da is kept, if the other threads do not keep up


class Layers(NamedTuple):
    """The weights of each layer and direction, and how the sequences lie in the arrays."""

    groups: list  # (W, U) or (W, U, b_ih, b_hh); layer by layer, in it by direction
    D: int  # directions
    keep: Any  # (T, B, 1), False at padding; None where there is none
    masks: Any  # of dropout, one like out for each layer but the last; or None
    scale: float  # 1 / (1 - p)
    alone: bool  # one sequence, no batch
    batch_first: bool

    def dropout(self, x, i):
        """Dropout of x, the output of the layer whose weights are groups[i:i + D], or of its
        gradient."""
        if self.masks is None or i + self.D >= len(self.groups):
            return x
        m = _time_first(self.masks[i // self.D], self.batch_first)
        return where(m, x * self.scale, 0.0)

    def empty(self, xp, T, B, width, dtype):
        """Room for an array (T, B, width), in memory in the order of x."""
        if self.batch_first:
            return xp.empty((B, T, width), dtype=dtype).swapaxes(0, 1)
        return xp.empty((T, B, width), dtype=dtype)

    def blocks(self, xp, B):
        """Pairs: a direction, and a slice of the B sequences. On other libraries than NumPy, which
        have threads of their own, it is all sequences."""
        width, H = self.groups[0][1].shape
        n = 1
        if xp is np:
            n = min(B // COLUMNS, width * H * B // PRODUCTS, threads.pieces() // self.D)
            n = max(n, -(-B // LARGEST), 1)
        return [(d, slice(i * B // n, (i + 1) * B // n)) for d in range(self.D) for i in range(n)]


def forward(begin, run, x, starts, layers):
    """Up the layers: -> (out, *last states), and the cache."""
    groups, D, keep, _, _, alone, batch_first = layers
    xp = array_namespace(x)
    x = _time_first(x, batch_first)
    T, B, _ = x.shape
    H = groups[0][1].shape[1]
    given = [s is not None for s in starts]
    starts = [
        xp.zeros((len(groups), B, H), dtype=x.dtype) if s is None else _time_first(s, False)
        for s in starts
    ]
    lasts = [xp.empty_like(s) for s in starts]
    blocks = layers.blocks(xp, B)
    busy = len(blocks) >= threads.get_num_threads()  # no thread is free
    if keep is not None:
        x = xp.where(keep, x, 0.0)

    levels = []  # for each layer its input, and the runs of its blocks
    for i in range(0, len(groups), D):
        out = layers.empty(xp, T, B, D * H, x.dtype)

        def part(block):
            d, c = block
            W, U, *biases = groups[i + d]
            times = _times(T, d)
            kept = None if keep is None else columns(keep[:, c])
            this = begin(xp, T, [columns(s[i + d, c]) for s in starts], times, U, biases)

            def from_input(steps):  # W x_t + b
                t = _slice(steps)
                a = products.matmul(W, columns(x[t, c]), out=this.a[t])
                if biases:
                    a += this.b[:, None]

            def give_out(steps):
                t = _slice(steps)
                h = this.h[t] if keep is None else xp.where(kept[t], this.h[t], 0.0)
                out[t, c, d * H : (d + 1) * H] = columns(h)

            stretches, tasks = _stretches(times, c), []
            from_input(stretches[0])
            for steps, following in zip(stretches, [*stretches[1:], None]):
                ahead = following and threads.later(from_input, following, now=busy)
                run(xp, this, steps, kept)
                tasks.append(threads.later(give_out, steps, now=busy))
                if ahead:
                    ahead.result()
            for task in tasks:
                task.result()
            for last, states in zip(lasts, this.states):
                last[i + d, c] = columns(states[times[-1]])
            return this, kept

        levels.append((x, threads.share(part, blocks)))
        x = layers.dropout(out, i)
    cache = levels, blocks, layers, given
    return (_as_given(x, alone, batch_first), *(s[:, 0] if alone else s for s in lasts)), cache


def backward(through_time, gradients, cache, needs=None, apart=False):
    """Down the layers: gradients of (out, *last states) -> dx, *dstarts, *dweights.

    apart: whether the last gate has a de that differs from its da.
    """
    levels, blocks, layers, given = cache
    groups, D, keep, _, _, alone, batch_first = layers
    n, S = len(groups[0]), len(given)  # weights, states of a cell
    needs = needs or (True,) * (1 + S + n * len(groups))
    need_x, need = needs[0], needs[1 + S :]
    need_starts = [wanted and here for wanted, here in zip(needs[1 : 1 + S], given)]
    busy = len(blocks) >= threads.get_num_threads()  # no thread is free
    xp = array_namespace(*gradients)
    dout = _time_first(gradients[0], batch_first)
    dlasts = [_time_first(d, False) for d in gradients[1:]]
    T, B, _ = dout.shape
    H = groups[0][1].shape[1]
    if keep is not None:
        dout = xp.where(keep, dout, 0.0)

    dstarts = [xp.zeros_like(d) if wanted else None for d, wanted in zip(dlasts, need_starts)]
    dweights = [None] * len(need)

    for i in range(len(groups) - D, -1, -D):
        x, runs = levels[i // D]
        below = need_x or i > 0 and (any(need_starts) or any(need[: n * i]))
        UTs = [xp.ascontiguousarray(U.T) for _, U, *_ in groups[i : i + D]]
        dxs = [layers.empty(xp, T, B, x.shape[2], x.dtype) if below else None for _ in range(D)]

        def part(block_and_run):
            (d, c), (this, kept) = block_and_run
            W, wanted = groups[i + d][0], need[n * (i + d) : n * (i + d + 1)]

            def weights(steps, da, de_n=None):
                """The gradients of the weights, as far as they come from these steps; and dx."""
                t, da = _slice(steps), _matrix(da)
                de = da if de_n is None else xp.concatenate([da[:-H], _matrix(de_n)])
                if below:
                    dx_t = dxs[d][t, c]
                    dx_t[...] = products.matmul(da.T, W).reshape(dx_t.shape)
                terms = (
                    lambda: products.matmul(da, x[t, c].reshape(-1, x.shape[2])),
                    lambda: products.matmul(de, _matrix(this.before[t]).T),
                    lambda: row_sums(da),
                    lambda: row_sums(de),
                )
                return [term() for term, need in zip(terms, wanted) if need]

            dstates = [columns(s[i + d, c]).copy(order="C") for s in dlasts]
            tasks, sums = deque(), None
            for steps in reversed(_stretches(this.times, c)):
                dout_t = columns(dout[_slice(steps), c, d * H : (d + 1) * H])
                fill = [
                    xp.empty((len(steps), *s), dtype=dout.dtype)
                    for s in (this.a.shape[1:], this.h.shape[1:])[: 1 + apart]
                ]
                dstates = through_time(
                    xp, this, steps, kept, xp.ascontiguousarray(dout_t), dstates, UTs[d], *fill
                )
                tasks.append(threads.later(weights, steps, *fill, now=busy))
                while tasks and (tasks[0].done() or len(tasks) == WAITING):
                    sums = _sums(sums, tasks.popleft().result())
            for task in reversed(tasks):  # others take the first of them
                task.result()
            for task in tasks:  # in one order, whoever was the faster
                sums = _sums(sums, task.result())
            for ds, s in zip(dstarts, dstates):
                if ds is not None:
                    ds[i + d, c] = columns(s)
            return sums

        sums = threads.share(part, zip(blocks, runs))
        for d in range(D):
            j = n * (i + d)
            wanted = [k for k in range(j, j + n) if need[k]]
            for k, *terms in zip(wanted, *[s for (of, _), s in zip(blocks, sums) if of == d]):
                dweights[k] = total(terms)
        dx = total(dxs) if below else None
        if not below:
            break
        if i > 0:
            dout = layers.dropout(dx, i - D)  # of the layer below
    dx = _as_given(dx, alone, batch_first) if need_x else None
    dstarts = [d[:, 0] if alone and d is not None else d for d in dstarts]
    return dx, *dstarts, *dweights


def reference(step, x, starts, layers):
    """Up the layers from primitives, one step at a time: -> (out, *last states)."""
    groups, D, keep, _, _, alone, batch_first = layers
    x = _time_first(x, batch_first)
    T = x.shape[0]
    starts = [s if s is None else _time_first(s, False) for s in starts]
    if keep is not None:
        x = where(keep, x, 0.0)

    lasts = []
    for i in range(0, len(groups), D):
        outs = []
        for d, (W, U, *biases) in enumerate(groups[i : i + D]):
            Wx = split(matmul(x, W.T), T)  # T pieces (1, B, G·H)
            zeros = zeros_like(Wx[0][..., : U.shape[1]])
            states = [zeros if s is None else s[i + d : i + d + 1] for s in starts]
            h = [None] * T
            for t in _times(T, d):
                new = step(Wx[t], states, U, *biases)
                if keep is not None:
                    new = [where(keep[t], *pair) for pair in zip(new, states)]
                states = new
                h[t] = states[0]
            outs.append(concatenate(h))
            lasts.append(states)
        x = concatenate(outs, axis=-1)
        if keep is not None:
            x = where(keep, x, 0.0)
        x = layers.dropout(x, i)
    lasts = [concatenate(s) for s in zip(*lasts)]
    return _as_given(x, alone, batch_first), *(s[:, 0] if alone else s for s in lasts)


def columns(x):
    """Sequences as columns where they were rows: (..., H, B) from (..., B, H), and back."""
    return x.swapaxes(-1, -2)


def memory(xp, start, times):
    """Room for a state at all steps, and the same a step earlier: (T, H, B) twice, one memory."""
    room = xp.empty((len(times) + 1, *start.shape), dtype=start.dtype)
    now, before = (room[1:], room[:-1]) if times.step == 1 else (room[:-1], room[1:])
    before[times[0]] = start
    return now, before


def _times(T, d):
    """The order of the steps in direction d."""
    return range(T - 1, -1, -1) if d else range(T)


def _stretches(times, c):
    """The times, in stretches of a few steps, of a block with the sequences c."""
    n = max(1, STRETCH // max(1, c.stop - c.start))
    return [times[k : k + n] for k in range(0, len(times), n)]


def _slice(steps):
    """Of the axis of time."""
    return slice(min(steps), max(steps) + 1)


def _matrix(a):
    """(m, T·B) from (T, m, B)."""
    return a.swapaxes(0, 1).reshape(a.shape[1], -1)


def _sums(sums, terms):
    """The sums, with one more term in each."""
    return terms if sums is None else [total(pair) for pair in zip(sums, terms)]


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
    return to_numpy(lengths) if is_array(lengths) else np.asarray(lengths)  # on the host


def arrange(name, G, x, starts, weights, bidirectional, lengths, batch_first, bias, dropout, masks):
    """The Layers of a call; raises the error that names what does not fit.

    name: of the operation, for messages. G: its gates. starts: h0, or h0 and c0; each may be None.
    """
    D = 2 if bidirectional else 1
    n = 4 if bias else 2
    if not weights or len(weights) % (n * D):
        raise ValueError(
            f"{name}: with bias={bias} and {D} direction(s) a layer has {n * D} "
            f"weights; got {len(weights)}"
        )
    if x.ndim not in (2, 3):
        raise ValueError(f"{name}: x must be (T, B, I), or (T, I) for one sequence; got {x.shape}")
    states = " and ".join(("h0", "c0")[: len(starts)])
    dtypes = [a.dtype for a in (x, *starts, *weights) if a is not None]
    if not is_float(x.dtype) or any(dtype != x.dtype for dtype in dtypes):
        raise TypeError(
            f"{name}: x, {states} and the weights must be floating and of one dtype; "
            f"got {', '.join(map(str, dtypes))}"
        )
    T = x.shape[1 if batch_first and x.ndim == 3 else 0]
    batch = () if x.ndim == 2 else (x.shape[0 if batch_first else 1],)
    if T == 0:
        raise ValueError(f"{name}: a sequence needs one step or more; got x of shape {x.shape}")
    groups = [weights[i : i + n] for i in range(0, len(weights), n)]
    H = weights[1].shape[-1] if weights[1].ndim else 0
    for i, group in enumerate(groups):
        right = [(G * H, x.shape[-1] if i < D else D * H), (G * H, H), (G * H,), (G * H,)][:n]
        if [w.shape for w in group] != right:
            raise ValueError(
                f"{name}: for x of shape {x.shape} and {H} hidden units, the weights "
                f"of layer {i // D}, direction {i % D}, have the shapes {right}; got "
                f"{[w.shape for w in group]}"
            )
    for state, start in zip(("h0", "c0"), starts):
        if start is not None and start.shape != (len(groups), *batch, H):
            raise ValueError(
                f"{name}: {state} must be {(len(groups), *batch, H)}, one state for "
                f"each layer and direction; got {start.shape}"
            )
    if lengths is not None:
        lengths = _on_host(lengths)
        if lengths.shape != batch or not batch or lengths.size and lengths.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: lengths must be an integer for each sequence of a batch; "
                f"got lengths {lengths.shape} {lengths.dtype} and x {x.shape}"
            )
        if lengths.size and not 1 <= lengths.min() <= lengths.max() <= T:
            raise ValueError(f"{name}: lengths must be from 1 to T = {T}; got {lengths.tolist()}")
    if not 0 <= dropout <= 1 or dropout and masks is None:
        raise ValueError(
            f"{name}: dropout must be a probability, from 0 to 1, and beside it masks "
            f"are needed that say what is kept; got {dropout}, masks: "
            f"{None if masks is None else masks.shape}"
        )
    if masks is not None:
        masks, right = array_of(masks), (len(groups) // D - 1, *x.shape[:-1], D * H)
        if masks.shape != right or masks.dtype.kind != "b":
            raise ValueError(
                f"{name}: masks must be {right} bool, True where an output of a layer "
                f"but the last is kept; got {masks.shape} {masks.dtype}"
            )
    xp = array_namespace(*map(array_of, (x, *starts, *weights, masks)))
    scale = 1.0 / (1.0 - float(dropout)) if dropout < 1 else 0.0
    return Layers(groups, D, _keep(xp, lengths, T), masks, scale, x.ndim == 2, batch_first)
