"""Recurrent networks in blocks of sequences and chunks of time: what rnn.py, lstm.py and gru.py
share here.

manual/recurrent.py takes one direction after the other, and all sequences at once; in a cell, the
products W x_t come before the loop over the steps, and the gradients of the weights after it. Here
the work is cut so that it stays in the cache, and so that threads can share it. A cell is given as
three functions:

    begin(T, starts, times, U, biases)         memory for T steps: a Run
    run(this, steps, valid)                    forward through some steps of the Run `this`
    bptt(this, steps, valid, dout, dstates, UT, da)
                                               and back: fills da, which is de too, and returns the
                                               gradients of the states before

A Run has a (T, G·H, B), which is filled with W x_t + b before `run` comes to it, the bias b (G·H,)
of that, the states h and h_prev (T, H, B), the order of the steps `times`, and `states`, all of
which a step hands on. starts are (H, B); valid is (T, 1, B), False at padding, or None: there the
states are carried along, as h_t = h_{t-1}, and da_t = de_t = 0. The GRU's last gate has a de_n that
is not da_n, which its `bptt` fills as well.

Blocks and columns. Sequences do not depend on each other. So a large batch is cut in blocks, and
all steps of a block are done before the next block, or by another thread at the same time: what
belongs to a step of a block stays in the cache. In a block, and so in all that a cell is given, a
sequence is a column: h_t is (H, B) and a_t is (G·H, B), as in the equations. Then U h_{t-1} reads U
in the order it lies in memory, and a gate is a piece of a_t, a_t[:H]. Outside of blocks a sequence
is a row, as it was given.

Chunks of time. Only U h_{t-1} and Uᵀ da_{t+1} wait for the step before. So the steps of a block
are cut in chunks. Forward, while one thread goes through a chunk step by step, another that
has no block has the products W x_t of the next; backward, it has what follows from the da_t of the
last one: the gradients of the weights and of x.

Gradients of the weights. For a chunk of steps each is one product, with da as a matrix
(G·H, T·B) (`_matrix`), and the sum of the chunks is the gradient.
"""

from collections import deque

import numpy as np

from ...backends import threads
from ...backends.sums import row_sums, total
from ...manual.recurrent import as_given, time_first

# There is a block for each thread, if it has at least
COLUMNS = 16  # sequences, as the BLAS is slow with fewer columns, and
PRODUCTS = 1 << 21  # multiplications in U h_{t-1}: with fewer, calls would take the time;
LARGEST = 64  # and more blocks where one would have more sequences than this.
CHUNK = 256  # columns in the steps of a chunk together: enough for the gradients
WAITING = 4  # chunks whose da is kept, if the other threads do not keep up


def blocks(layers, B):
    """Pairs: a direction, and a slice of the B sequences."""
    width, H = layers.groups[0][1].shape
    n = min(B // COLUMNS, width * H * B // PRODUCTS, threads.piece_count() // layers.D)
    n = max(n, -(-B // LARGEST), 1)
    return [(d, slice(i * B // n, (i + 1) * B // n)) for d in range(layers.D) for i in range(n)]


def empty(layers, T, B, width, dtype):
    """A new array (T, B, width), in memory in the order of x."""
    if layers.batch_first:
        return np.empty((B, T, width), dtype=dtype).swapaxes(0, 1)
    return np.empty((T, B, width), dtype=dtype)


def forward(begin, run, x, starts, layers):
    """Up the layers: -> (out, *last states), and the cache."""
    groups, D, alone = layers.groups, layers.D, layers.alone
    x = time_first(x, layers.batch_first)
    T, B, _ = x.shape
    valid = layers.valid(np, T)
    H = groups[0][1].shape[1]
    given = [s is not None for s in starts]
    starts = [
        np.zeros((len(groups), B, H), dtype=x.dtype) if s is None else time_first(s, False)
        for s in starts
    ]
    lasts = [np.empty_like(s) for s in starts]
    pairs = blocks(layers, B)
    busy = len(pairs) >= threads.get_num_threads()  # no thread is free
    if valid is not None:
        x = np.where(valid, x, 0.0)

    levels = []  # for each layer its input, and the runs of its blocks
    for i in range(0, len(groups), D):
        x, out = layers.dropout(x, i), empty(layers, T, B, D * H, x.dtype)

        def block_forward(block):
            d, c = block
            W, U, *biases = groups[i + d]
            times = _times(T, d)
            valid_c = None if valid is None else columns(valid[:, c])
            this = begin(T, [columns(s[i + d, c]) for s in starts], times, U, biases)

            def from_input(steps):  # W x_t + b
                t = _slice(steps)
                a = np.matmul(W, columns(x[t, c]), out=this.a[t])
                if biases:
                    a += this.b[:, None]

            def give_out(steps):
                t = _slice(steps)
                h = this.h[t] if valid is None else np.where(valid_c[t], this.h[t], 0.0)
                out[t, c, d * H : (d + 1) * H] = columns(h)

            chunks, tasks = _chunks(times, c), []
            from_input(chunks[0])
            for steps, following in zip(chunks, [*chunks[1:], None]):
                ahead = following and threads.Future(from_input, following, now=busy)
                run(this, steps, valid_c)
                tasks.append(threads.Future(give_out, steps, now=busy))
                if ahead:
                    ahead.result()
            for task in tasks:
                task.result()
            for last, states in zip(lasts, this.states):
                last[i + d, c] = columns(states[times[-1]])
            return this, valid_c

        levels.append((x, threads.parallel_map(block_forward, pairs)))
        x = out
    lasts = [s[:, 0] if alone else s for s in lasts]
    return (as_given(x, layers), *lasts), (levels, pairs, layers, given)


def backward(bptt, gradients, cache, needs=None, apart=False):
    """Down the layers: gradients of (out, *last states) -> dx, *dstarts, *dweights.

    apart: whether the last gate has a de that differs from its da.
    """
    levels, pairs, layers, given = cache
    groups, D, alone = layers.groups, layers.D, layers.alone
    n, S = len(groups[0]), len(given)  # weights, states of a cell
    needs = needs or (True,) * (1 + S + n * len(groups))
    need_x, need = needs[0], needs[1 + S :]
    need_starts = [wanted and here for wanted, here in zip(needs[1 : 1 + S], given)]
    busy = len(pairs) >= threads.get_num_threads()  # no thread is free
    dout = time_first(gradients[0], layers.batch_first)
    dlasts = [time_first(d, False) for d in gradients[1:]]
    T, B, _ = dout.shape
    valid = layers.valid(np, T)
    H = groups[0][1].shape[1]
    if valid is not None:
        dout = np.where(valid, dout, 0.0)

    dstarts = [np.zeros_like(d) if wanted else None for d, wanted in zip(dlasts, need_starts)]
    dweights = [None] * len(need)

    for i in range(len(groups) - D, -1, -D):
        x, runs = levels[i // D]
        below = need_x or i > 0 and (any(need_starts) or any(need[: n * i]))
        UTs = [np.ascontiguousarray(U.T) for _, U, *_ in groups[i : i + D]]
        dxs = [empty(layers, T, B, x.shape[2], x.dtype) if below else None for _ in range(D)]

        def block_backward(block_and_run):
            (d, c), (this, valid_c) = block_and_run
            W, wanted = groups[i + d][0], need[n * (i + d) : n * (i + d + 1)]

            def weights(steps, da, de_n=None):
                """The gradients of the weights, as far as they come from these steps; and dx."""
                t, da = _slice(steps), _matrix(da)
                h = this.h_prev[t] if valid is None else np.where(valid_c[t], this.h_prev[t], 0.0)
                de = da if de_n is None else np.concatenate([da[:-H], _matrix(de_n)])
                if below:
                    dx_t = dxs[d][t, c]
                    dx_t[...] = np.matmul(da.T, W).reshape(dx_t.shape)
                terms = (
                    lambda: np.matmul(da, x[t, c].reshape(da.shape[1], x.shape[2])),
                    lambda: np.matmul(de, _matrix(h).T),
                    lambda: row_sums(da),
                    lambda: row_sums(de),
                )
                return [term() for term, need in zip(terms, wanted) if need]

            dstates = [columns(s[i + d, c]).copy(order="C") for s in dlasts]
            tasks, sums = deque(), None
            for steps in reversed(_chunks(this.times, c)):
                dout_t = columns(dout[_slice(steps), c, d * H : (d + 1) * H])
                fill = [
                    np.empty((len(steps), *s), dtype=dout.dtype)
                    for s in (this.a.shape[1:], this.h.shape[1:])[: 1 + apart]
                ]
                dstates = bptt(
                    this, steps, valid_c, np.ascontiguousarray(dout_t), dstates, UTs[d], *fill
                )
                tasks.append(threads.Future(weights, steps, *fill, now=busy))
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

        sums = threads.parallel_map(block_backward, zip(pairs, runs))
        for d in range(D):
            j = n * (i + d)
            wanted = [k for k in range(j, j + n) if need[k]]
            for k, *terms in zip(wanted, *[s for (of, _), s in zip(pairs, sums) if of == d]):
                dweights[k] = total(terms)
        if not below:
            break
        dx = total(dxs)
        if valid is not None:  # 0 · w is NaN if w is not finite
            dx = np.where(valid, dx, 0.0)
        dout = layers.dropout(dx, i)  # of the layer below
    dx = as_given(dx, layers) if need_x else None
    dstarts = [d[:, 0] if alone and d is not None else d for d in dstarts]
    return dx, *dstarts, *dweights


def columns(x):
    """Sequences as columns where they were rows: (..., H, B) from (..., B, H), and back."""
    return x.swapaxes(-1, -2)


def memory(start, times):
    """Memory for a state after all steps, and the same before them: (T, H, B) twice, one buffer."""
    buffer = np.empty((len(times) + 1, *start.shape), dtype=start.dtype)
    after, before = (buffer[1:], buffer[:-1]) if times.step == 1 else (buffer[:-1], buffer[1:])
    before[times[0]] = start
    return after, before


def padding(valid):
    """(T, B), True at padding, where a gradient is set to 0: 0 times what is not finite is NaN."""
    return None if valid is None else ~valid[:, 0]


def _times(T, d):
    """The order of the steps in direction d."""
    return range(T - 1, -1, -1) if d else range(T)


def _chunks(times, c):
    """The times, in chunks of a few steps, of a block with the sequences c."""
    n = max(1, CHUNK // max(1, c.stop - c.start))
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
