"""Recurrent networks on a GPU: what lstm.py, gru.py and rnn.py share, the host's half of
recurrent.cuh.

Layers, directions and what may be given are those of manual/recurrent.py. W x of all steps is one
product before the launch; dW, dU, the biases' gradients and dx are products and sums after it. The
arrays between are columns, as in manual/: (G·H, T, B), of which (G·H, T·B) is a matrix.
"""

from functools import cache, lru_cache
from typing import NamedTuple

from ..backends import namespace, products
from ..backends.sums import row_sums, total
from ..manual.recurrent import _as_given, _time_first
from .precision import precision
from .source import Strided, type_of


class Plan(NamedTuple):
    """How the work is cut: see recurrent.cuh."""
    tf32: bool              # in this precision, or in that of the arrays
    S: int                  # sequences of a group
    units: int              # of a block
    blocks: int             # of a set
    sets: int
    threads: int            # of a block
    pairs: int              # of a thread
    splits: tuple           # of the products, forward and back
    shared: tuple           # bytes of shared memory, forward and back
    padded: int             # H, in the product of the way back


class Machine(NamedTuple):
    processors: int
    shared: int             # bytes that a block may ask for
    threads: int


def machine(xp):
    """The GPU; a small one if there is none, so that the emulator runs several blocks and sets."""
    if xp.__name__ != "cupy":
        return Machine(4, 227 << 10, 64)
    import cupy
    return _gpu(cupy.cuda.Device().id)


@cache
def _gpu(number):
    import cupy
    has = cupy.cuda.Device(number).attributes
    return Machine(has["MultiProcessorCount"], has["MaxSharedMemoryPerBlockOptin"], 256)


@lru_cache(256)
def plan(G, H, B, size, tf32, machine):
    """The quickest Plan that fits, or None. size: bytes of a number. tf32: asked for;
    it takes more room."""
    def up(n, to):
        return -(-n // to) * to

    def block(M, K, S):
        """Of a product: (splits, bytes of shared memory, M padded)."""
        M, K = up(M, 16 if tf32 else 8), up(K, 8 if tf32 else 1)
        tiles = -(-M // 64) if tf32 else M // 8 * (S // 4)
        workers = machine.threads // 32 if tf32 else machine.threads
        splits = max(1, min(workers // tiles, K // 8))
        apart = 24 if tf32 and S == 16 else S
        return splits, (K * (M + 8 * tf32) + K * apart + splits * M * S) * size, M

    best = None
    for S in (8, 16) if tf32 else (4, 8, 16):
        for blocks in range(1, machine.processors + 1):
            units = -(-H // blocks)
            pairs = -(-units * S // machine.threads)
            there, back = block(G * units, H, S), block(H, G * units, S)
            if (units * (blocks - 1) >= H or pairs * size > 16
                    or max(there[1], back[1]) > machine.shared):
                continue                # superfluous blocks, too many registers, too much memory
            groups = -(-B // S)
            sets = min(groups, machine.processors // blocks)
            # Cycles of a step, roughly: the barrier, what crosses it, and the product.
            time = 2500 + H * S * size / 32 + there[2] * H * S / (500 if tf32 else 100)
            time *= -(-groups // sets)
            if best is None or time < best[0]:
                best = time, Plan(tf32, S, units, blocks, sets, machine.threads, pairs,
                                  (there[0], back[0]), (there[1], back[1]), back[2])
    return best[1] if best else plan(G, H, B, size, False, machine) if tf32 else None


def takes(G, x, weights, batch_first):
    """Are there sequences, and is there room for the weights? (Errors are left to manual/.)"""
    if (x.dtype.name not in ("float32", "float64") or x.ndim not in (2, 3) or not x.size
            or len(weights) < 2 or weights[1].ndim != 2 or not weights[1].size):
        return False
    return _plan(G, x, weights[1], 1 if x.ndim == 2 else x.shape[not batch_first]) is not None


def _plan(G, x, U, B):
    tf32 = x.dtype.name == "float32" and precision() != "float32"
    return plan(G, U.shape[1], B, x.itemsize, tf32, machine(namespace(x)))


class Cell(NamedTuple):
    """What the host has to know of a cell."""
    G: int                          # gates
    keeps_more: bool = True         # what its `step` returns
    uses_before: bool = False       # its way back needs h_{t-1}
    apart: bool = False             # de of the last gate is not its da


class Run(NamedTuple):
    """One layer and direction, as the gradient needs it."""
    y: object               # (G·H, T, B)  the gates
    before: object          # (H, T, B)    h_{t-1}
    more: object            # (H, T, B)    or None


def forward(cell, source, x, starts, layers):
    """Up the layers: -> (out, *last states), and the cache. source: makes a Source of macros."""
    groups, D, keep, _, _, alone, batch_first = layers
    xp = namespace(x)
    x = _time_first(x, batch_first)
    x = xp.ascontiguousarray(x if keep is None else xp.where(keep, x, 0.0))
    T, B, _ = x.shape
    H = groups[0][1].shape[1]
    p = _plan(cell.G, x, groups[0][1], B)
    kernels = source(T=type_of(x), SEQUENCES=p.S, PAIRS=p.pairs, TF32=int(p.tf32))
    given = [s is not None for s in starts]
    starts = [s if s is None else xp.ascontiguousarray(_time_first(s, False)) for s in starts]
    lasts = [xp.empty((len(groups), B, H), dtype=x.dtype) for _ in starts]
    kept = None if keep is None else keep.reshape(T, B).astype(xp.uint8)
    exchange = xp.empty((2, p.sets, H, p.S), dtype=x.dtype)

    levels = []                             # for each layer its input, and its runs
    for i in range(0, len(groups), D):
        out = (xp.empty((T, B, D * H), dtype=x.dtype) if i + D < len(groups)
               else layers.empty(xp, T, B, D * H, x.dtype))         # in memory in the order of x
        runs = []
        for d, (W, U, *biases) in enumerate(groups[i:i + D]):
            y = products.matmul(W, x.reshape(T * B, -1).T).reshape(-1, T, B)
            before = xp.empty((H, T, B), dtype=x.dtype)
            more = xp.empty_like(before) if cell.keeps_more else None
            U, *biases = (xp.ascontiguousarray(w) for w in (U, *biases))
            _launch(kernels, "forward", p, (H, B, T), d, out, y, U, *(biases or (None, None)),
                    *_two([s if s is None else s[i + d] for s in starts]), kept, before, more,
                    _direction(out, d, H), *_two([s[i + d] for s in lasts]), exchange)
            runs.append(Run(y, before, more))
        levels.append((x, runs))
        x = out if i + D == len(groups) else xp.ascontiguousarray(layers.dropout(out, i))
    cache = levels, layers, given, kept, p, kernels
    return (_as_given(x, alone, batch_first), *(s[:, 0] if alone else s for s in lasts)), cache


def backward(cell, gradients, cache, needs=None):
    """Down the layers: gradients of (out, *last states) -> dx, *dstarts, *dweights."""
    levels, layers, given, kept, p, kernels = cache
    groups, D, keep, _, _, alone, batch_first = layers
    n, states = len(groups[0]), len(given)
    needs = needs or (True,) * (1 + states + n * len(groups))
    need_x, need = needs[0], needs[1 + states:]
    need_starts = [wanted and here for wanted, here in zip(needs[1:1 + states], given)]
    xp = namespace(*gradients)
    dout = _time_first(xp.ascontiguousarray(gradients[0]), batch_first)
    dlasts = [xp.ascontiguousarray(_time_first(d, False)) for d in gradients[1:]]
    T, B, _ = dout.shape
    H = groups[0][1].shape[1]
    dstarts = [xp.empty_like(d) if wanted else None for d, wanted in zip(dlasts, need_starts)]
    exchange = xp.empty((2, p.sets, p.blocks, p.padded, p.S), dtype=dout.dtype)
    dweights = [None] * len(need)

    for i in range(len(groups) - D, -1, -D):
        x, runs = levels[i // D]
        below = need_x or i > 0 and (any(need_starts) or any(need[:n * i]))
        dxs = []
        for d, (this, (W, U, *_)) in enumerate(zip(runs, groups[i:i + D])):
            da = xp.empty_like(this.y)
            de_last = xp.empty_like(this.before) if cell.apart else None
            _launch(kernels, "backward", p, (H, B, T), d, dout, this.y, xp.ascontiguousarray(U),
                    this.before if cell.uses_before else None, this.more, kept,
                    _direction(dout, d, H), *_two([s[i + d] for s in dlasts]), da, de_last,
                    *_two([s if s is None else s[i + d] for s in dstarts]), exchange)
            columns, da = T * B, da.reshape(-1, T * B)
            # The rows of e, in pieces: their gradients, one or two matrices.
            de = [da] if de_last is None else [da[:-H], de_last.reshape(-1, columns)]
            before = this.before.reshape(-1, columns).T
            terms = (lambda: products.matmul(da, x.reshape(columns, -1)),
                     lambda: _joined(xp, [products.matmul(part, before) for part in de]),
                     lambda: row_sums(da), lambda: _joined(xp, [row_sums(part) for part in de]))
            first = n * (i + d)
            for k in range(first, first + n):
                if need[k]:
                    dweights[k] = terms[k - first]()
            if below:
                dxs.append(products.matmul(da.T, W).reshape(x.shape))
        if not below:
            break
        dx = total(dxs)
        dout = xp.ascontiguousarray(layers.dropout(dx, i - D)) if i else dx     # of the layer below
    dx = _as_given(dx, alone, batch_first) if need_x else None
    return dx, *[s[:, 0] if alone and s is not None else s for s in dstarts], *dweights


def _launch(kernels, name, p, sizes, d, out, *arrays):
    """out: the array, or its gradient, whose steps in memory the kernel is told."""
    xp, size = namespace(out), out.itemsize
    back = name == "backward"
    arrived = xp.zeros(32 * p.sets, dtype=xp.uint32)            # one in every 128 bytes is used
    kernels.launch(name, p.sets * p.blocks, p.threads, *arrays, arrived, *sizes, p.units, p.blocks,
                   p.splits[back], d, *(step // size for step in out.strides[:2]),
                   shared=p.shared[back], cooperative=True)


def _direction(out, d, H):
    """The part of out (T, B, D·H) that belongs to direction d."""
    return Strided(out[..., d * H:(d + 1) * H])


def _two(states):
    """h and c, for kernels that take both; c is None where a cell has none."""
    return states if len(states) == 2 else [*states, None]


def _joined(xp, parts):
    return parts[0] if len(parts) == 1 else xp.concatenate(parts)
