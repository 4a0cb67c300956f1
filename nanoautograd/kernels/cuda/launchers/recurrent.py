"""Recurrent networks on a GPU: what lstm.py, gru.py and rnn.py share, to launch the
kernels of recurrent.cuh.

Layers and directions are those of manual/recurrent.py; at padding the states are carried along.
W x of all steps is one product before the launch; dW, dU, the biases' gradients and dx are products
and sums after it. In the arrays between, a sequence is a column: (G·H, steps, B), of which
(G·H, steps·B) is a matrix.
"""

from functools import cache, lru_cache
from typing import NamedTuple

from ....backends import array_namespace, device_of, products
from ....backends.sums import row_sums, total
from ....manual.recurrent import as_given, time_first
from ..runtime.precision import precision
from ..runtime.source import Strided, shared_memory, type_of

# By these the plans are compared. They are estimates for an H100, not measured.
BARRIER = 2500  # cycles for the barrier of a set: a few trips to the second cache
BYTES = 32  # that a multiprocessor reads from that cache in a cycle
TF32, FLOAT = 500, 100  # multiplications of a multiprocessor in a cycle: at most 1024 by
#                                 tensor cores, 128 in float32


class Plan(NamedTuple):
    """How the work is cut: see recurrent.cuh."""

    tf32: bool  # in this precision, or in that of the arrays
    seqs: int  # sequences of a group: SEQUENCES_PER_GROUP
    units: int  # of a block
    blocks: int  # of a set
    sets: int
    threads: int  # of a block
    pairs: int  # of a thread
    splits: tuple  # of the products, forward and back
    shared: tuple  # bytes of shared memory, forward and back
    padded: int  # H, in the product of the way back


class Machine(NamedTuple):
    processors: int
    shared: int  # bytes that a block may ask for
    threads: int


@cache
def machine(device):
    """The GPU; a small one if there is none, so that the emulator runs several blocks and sets."""
    if not device.startswith("cuda"):
        return Machine(4, shared_memory(device), 64)
    import cupy

    processors = cupy.cuda.Device(int(device.partition(":")[2])).attributes["MultiProcessorCount"]
    return Machine(processors, shared_memory(device), 256)


class Layout(NamedTuple):
    """Of the operands of a product in shared memory: the constants with these names in
    recurrent_tf32.cuh or recurrent_float.cuh, where the compiler compares them with these."""

    rows: int
    depth: int
    w_padding: int
    x_stride: int


def _layout(tf32, seqs):
    return Layout(16, 8, 8, seqs if seqs % 16 else seqs + 8) if tf32 else Layout(8, 1, 0, seqs)


@lru_cache(256)
def plan(G, H, B, size, tf32, machine):
    """The quickest Plan that fits, or None. size: bytes of a number. tf32: asked for;
    it takes more room."""

    def up(n, to):
        return -(-n // to) * to

    def block(M, K, seqs):
        """Of a product: (splits, bytes of shared memory for w, x and sums, M padded)."""
        of = _layout(tf32, seqs)
        M, K = up(M, of.rows), up(K, of.depth)
        if tf32:  # a warp computes 64 × seqs numbers
            tiles, workers = -(-M // 64), machine.threads // 32
        else:  # a thread 8 × 4
            tiles, workers = M // 8 * (seqs // 4), machine.threads
        splits = max(1, min(workers // tiles, K // 8))  # worth it for 8 rows of x or more
        return splits, (K * (M + of.w_padding) + K * of.x_stride + splits * M * seqs) * size, M

    best = None
    for seqs in (8, 16) if tf32 else (4, 8, 16):
        for blocks in range(1, machine.processors + 1):
            units = -(-H // blocks)
            pairs = -(-units * seqs // machine.threads)
            there, back = block(G * units, H, seqs), block(H, G * units, seqs)
            if (
                units * (blocks - 1) >= H
                or pairs * size > 16
                or max(there[1], back[1]) > machine.shared
            ):
                continue  # superfluous blocks, too many registers, too much memory
            groups = -(-B // seqs)
            sets = min(groups, machine.processors // blocks)
            speed = TF32 if tf32 else FLOAT
            time = BARRIER + H * seqs * size / BYTES + there[2] * H * seqs / speed
            time *= -(-groups // sets)
            if best is None or time < best[0]:
                best = (
                    time,
                    Plan(
                        tf32,
                        seqs,
                        units,
                        blocks,
                        sets,
                        machine.threads,
                        pairs,
                        (there[0], back[0]),
                        (there[1], back[1]),
                        back[2],
                    ),
                )
    return best[1] if best else plan(G, H, B, size, False, machine) if tf32 else None


def takes(G, x, weights, batch_first):
    """Are there sequences, and is there room for the weights?"""
    if x.dtype.name not in ("float32", "float64") or not x.size or not weights[1].size:
        return False
    return _plan(G, x, weights[1], 1 if x.ndim == 2 else x.shape[not batch_first]) is not None


def _plan(G, x, U, B):
    tf32 = x.dtype.name == "float32" and precision() != "float32"
    return plan(G, U.shape[1], B, x.itemsize, tf32, machine(device_of(x)))


class Cell(NamedTuple):
    """What a launcher has to know of a cell."""

    G: int  # gates
    keeps_more: bool = True  # what its `step` returns
    uses_h_prev: bool = False  # its way back needs h_{t-1}
    apart: bool = False  # de of the last gate is not its da


class Run(NamedTuple):
    """One layer and direction, as the gradient needs it."""

    y: object  # (G·H, steps, B)  the gates
    h_prev: object  # (H, steps, B)    h_{t-1}
    more: object  # (H, steps, B)    what the cell's `step` returns; or None


def forward(cell, source, x, starts, layers):
    """Up the layers: -> (out, *last states), and the cache. source: makes a Source of macros."""
    groups, D = layers.groups, layers.D
    xp = array_namespace(x)
    x = time_first(x, layers.batch_first)
    steps, B, _ = x.shape
    valid = layers.valid(xp, steps)
    x = x if valid is None else xp.where(valid, x, 0.0)
    H = groups[0][1].shape[1]
    p = _plan(cell.G, x, groups[0][1], B)
    kernels = source(
        T=type_of(x),
        SEQUENCES_PER_GROUP=p.seqs,
        PAIRS_PER_THREAD=p.pairs,
        TF32=int(p.tf32),
        LAUNCHER_EXPECTS=", ".join(map(str, _layout(p.tf32, p.seqs))),
    )
    given = [s is not None for s in starts]
    starts = [s if s is None else xp.ascontiguousarray(time_first(s, False)) for s in starts]
    lasts = [xp.empty((len(groups), B, H), dtype=x.dtype) for _ in starts]
    valid = None if valid is None else valid.reshape(steps, B).astype(xp.uint8)
    exchange = xp.empty((2, p.sets, H, p.seqs), dtype=x.dtype)

    levels = []  # for each layer its input, and its runs
    for i in range(0, len(groups), D):
        x = xp.ascontiguousarray(layers.dropout(x, i))
        if layers.batch_first and i + D == len(groups):  # in memory in the order of x
            out = xp.empty((B, steps, D * H), dtype=x.dtype).swapaxes(0, 1)
        else:
            out = xp.empty((steps, B, D * H), dtype=x.dtype)
        runs = []
        for d, (W, U, *biases) in enumerate(groups[i : i + D]):
            y = products.matmul(W, x.reshape(steps * B, -1).T).reshape(-1, steps, B)
            h_prev = xp.empty((H, steps, B), dtype=x.dtype)
            more = xp.empty_like(h_prev) if cell.keeps_more else None
            U, *biases = (xp.ascontiguousarray(w) for w in (U, *biases))
            _launch(
                kernels,
                "forward",
                p,
                (H, B, steps),
                d,
                out,
                y,
                U,
                *(biases or (None, None)),
                *_two([s if s is None else s[i + d] for s in starts]),
                valid,
                h_prev,
                more,
                _direction(out, d, H),
                *_two([s[i + d] for s in lasts]),
                exchange,
            )
            runs.append(Run(y, h_prev, more))
        levels.append((x, runs))
        x = out
    lasts = [s[:, 0] if layers.alone else s for s in lasts]
    return (as_given(x, layers), *lasts), (levels, layers, given, valid, p, kernels)


def backward(cell, gradients, cache, needs=None):
    """Down the layers: gradients of (out, *last states) -> dx, *dstarts, *dweights."""
    levels, layers, given, valid, p, kernels = cache
    groups, D, alone = layers.groups, layers.D, layers.alone
    n, states = len(groups[0]), len(given)
    needs = needs or (True,) * (1 + states + n * len(groups))
    need_x, need = needs[0], needs[1 + states :]
    need_starts = [wanted and here for wanted, here in zip(needs[1 : 1 + states], given)]
    xp = array_namespace(*gradients)
    dout = time_first(xp.ascontiguousarray(gradients[0]), layers.batch_first)
    dlasts = [xp.ascontiguousarray(time_first(d, False)) for d in gradients[1:]]
    steps, B, _ = dout.shape
    H = groups[0][1].shape[1]
    dstarts = [xp.empty_like(d) if wanted else None for d, wanted in zip(dlasts, need_starts)]
    exchange = xp.empty((2, p.sets, p.blocks, p.padded, p.seqs), dtype=dout.dtype)
    dweights = [None] * len(need)

    for i in range(len(groups) - D, -1, -D):
        x, runs = levels[i // D]
        below = need_x or i > 0 and (any(need_starts) or any(need[: n * i]))
        dxs = []
        for d, (this, (W, U, *_)) in enumerate(zip(runs, groups[i : i + D])):
            da = xp.empty_like(this.y)
            de_last = xp.empty_like(this.h_prev) if cell.apart else None
            _launch(
                kernels,
                "backward",
                p,
                (H, B, steps),
                d,
                dout,
                this.y,
                xp.ascontiguousarray(U),
                this.h_prev if cell.uses_h_prev else None,
                this.more,
                valid,
                _direction(dout, d, H),
                *_two([s[i + d] for s in dlasts]),
                da,
                de_last,
                *_two([s if s is None else s[i + d] for s in dstarts]),
                exchange,
            )
            columns, da = steps * B, da.reshape(-1, steps * B)
            # The rows of e, in pieces: their gradients, one or two matrices.
            de = [da] if de_last is None else [da[:-H], de_last.reshape(-1, columns)]
            h_prev = this.h_prev.reshape(-1, columns).T
            terms = (
                lambda: products.matmul(da, x.reshape(columns, -1)),
                lambda: _joined(xp, [products.matmul(part, h_prev) for part in de]),
                lambda: row_sums(da),
                lambda: _joined(xp, [row_sums(part) for part in de]),
            )
            first = n * (i + d)
            for k in range(first, first + n):
                if need[k]:
                    dweights[k] = terms[k - first]()
            if below:
                dxs.append(products.matmul(da.T, W).reshape(x.shape))
        if not below:
            break
        dx = total(dxs)
        if valid is not None:  # 0 · w is NaN if w is not finite
            dx = xp.where(valid[:, :, None], dx, 0.0)
        dout = xp.ascontiguousarray(layers.dropout(dx, i))  # of the layer below
    dx = as_given(dx, layers) if need_x else None
    return dx, *[s[:, 0] if alone and s is not None else s for s in dstarts], *dweights


def _launch(kernels, name, p, sizes, d, out, *arrays):
    """out: the array, or its gradient, whose steps in memory the kernel is told."""
    xp, size = array_namespace(out), out.itemsize
    back = name == "backward"
    arrived = xp.zeros(32 * p.sets, dtype=xp.uint32)  # one in every 128 bytes is used
    kernels.launch(
        name,
        p.sets * p.blocks,
        p.threads,
        *arrays,
        arrived,
        *sizes,
        p.units,
        p.blocks,
        p.splits[back],
        d,
        *(n // size for n in out.strides[:2]),
        shared=p.shared[back],
        cooperative=True,
    )


def _direction(out, d, H):
    """The part of out (T, B, D·H) that belongs to direction d."""
    return Strided(out[..., d * H : (d + 1) * H])


def _two(states):
    """h and c, for kernels that take both; c is None where a cell has none."""
    return states if len(states) == 2 else [*states, None]


def _joined(xp, parts):
    return parts[0] if len(parts) == 1 else xp.concatenate(parts)
