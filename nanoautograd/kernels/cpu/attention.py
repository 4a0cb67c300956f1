"""Attention in blocks of queries (Dao, Fu, Ermon, Rudra and Ré 2022, "FlashAttention: fast and
memory-efficient exact attention with IO-awareness", section 3.1 and appendix B).

manual/attention.py writes and reads a dozen arrays of T·S numbers, and keeps two of them, P and r.
Here only W is made, if it is asked for, and dA, if a mask needs a gradient. A row of A depends on
no other, so all is done block by block, for a few queries of a few heads, and what is A, P or dA in
such a block stays in the cache; threads share the heads. If `causal`, a block reads only the keys
up to its last query. What is kept for the way back is of each row

    m_t = max_s A_ts,  Z_t = Σ_s E_ts               E_ts = exp(A_ts - m_t)

of which P_ts = E_ts / Z_t is computed again, and r is drawn again. (FlashAttention keeps
m_t + log Z_t, which is rounded as coarsely as the scores are large.) Of ROWS queries or fewer P and
r are kept instead: no more than ROWS numbers for a key and a head.

Where less work is done on a smaller array, it is done there. Not the S numbers of a row of E are
divided by Z_t, but the e numbers of a row of o, and of do:

    o_ti = Σ_s r_ts E_ts v_si / Z_t             dA_ts = E_ts (dP_ts / Z_t - D_t / Z_t)

But D_t = Σ_s dP_ts P_ts is a sum over S numbers, where FlashAttention takes Σ_i do_ti o_ti: where
one P_ts is 1 and the others are 0, dP_ts - D_t is then exactly 0, and not the rounding of two
products.

Keys meet the queries of several blocks: what these give to dk and dv is added up from the last
block to the first.

A key is hidden by an addition of -inf, which takes less time than to put -inf in the place of the
score. If that score is inf or NaN the sum is NaN, and all is computed by the lines of manual/.
"""

from functools import lru_cache
from itertools import product
from math import ceil, prod

import numpy as np

from ...backends import is_float, threads
from ...backends.sums import are_finite, row_dots, row_sums, unbroadcast
from ...manual import attention as manual
from ...manual.attention import INF, scale_of, scaled_dot_product_attention
from ...manual.dropout import factors

ROWS = 64  # queries of a block
SCORES = 2  # scores of a block, in units of threads.BLOCK
ALL = slice(None)


def forward(
    q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, p=0.0, seed=0, offset=0
):
    c, T, S, e = scale_of(q, scale), q.shape[-2], *v.shape[-2:]
    of_A = _broadcast(*[x.shape[:-2] for x in (q, k, mask) if x is not None])
    of_o = _broadcast(of_A, v.shape[:-2])
    blocks = _Blocks(of_A, T, S, q.dtype, causal, (p, seed, offset))
    shapes = [None if x is None else x.shape for x in (q, k, v, mask)]
    given = q, k, v, mask
    q, k, v = _of(q, of_A), _of(k, of_A), _of(v, of_o)
    if mask is not None:
        mask = np.broadcast_to(mask, (*of_A, T, S))
    o = blocks.empty(q, (*of_o, T, e))
    W = np.zeros((*of_A, T, S), dtype=q.dtype) if return_weights else None

    def o_of(h):
        """Of these heads. Returns what is kept of each block: (P, r), or (m, Z). None where -inf
        was added to what is not finite."""
        kept = []
        for t, s in blocks.rows:
            A = blocks.scores(c * q[*h, t, :], k[*h, s, :], mask, h, t, s)
            m = A.max(axis=-1, keepdims=True)
            if mask is not None:  # else every query sees a key
                m = np.where(m == -INF, 0.0, m)
            if (causal or mask is not None) and not are_finite(m):
                return None
            A -= m
            E = np.exp(A, out=A)
            Z = row_sums(E)[..., None]
            if mask is not None:
                Z = np.where(Z == 0, 1.0, Z)
            r = blocks.factors(E, h, t, s)
            if blocks.few:
                E /= Z  # P
                kept.append((E, r))
            else:
                kept.append((m, Z))
            W_t = E if r is None else r * E  # W, or if there are more queries Z W
            o_t = np.matmul(W_t, v[*h, s, :], out=o[*h, t, :])
            if not blocks.few:
                o_t /= Z
            if return_weights:
                W[*h, t, s] = W_t if blocks.few else W_t / Z
        return kept

    kept = threads.parallel_map(o_of, blocks.heads)
    if None in kept:
        options = {"scale": scale, "causal": causal, "return_weights": return_weights}
        out, cache = manual.forward(*given, **options, p=p, seed=seed, offset=offset)
        return out, (cache,)
    cache = q, k, v, mask, c, shapes, blocks, kept, return_weights
    return ((o, W) if return_weights else o), cache


def backward(dout, cache, needs=None):
    if len(cache) == 1:
        return manual.backward(dout, *cache)
    q, k, v, mask, c, shapes, blocks, kept, return_weights = cache
    need_q, need_k, need_v, need_mask = needs or (True,) * 4
    need_mask = need_mask and mask is not None and is_float(mask.dtype)
    do, dweights = dout if return_weights else (dout, None)
    dq = blocks.empty(q, q.shape) if need_q else None
    dk = blocks.empty(k, k.shape) if need_k else None
    dv = blocks.empty(v, v.shape) if need_v else None
    dmask = np.zeros(mask.shape, dtype=q.dtype) if need_mask else None

    def gradients_of(heads):
        h, kept = heads
        for (t, s), kept_t in zip(blocks.rows[::-1], kept[::-1]):
            q_t, k_s, do_t = c * q[*h, t, :], k[*h, s, :], do[*h, t, :]
            if blocks.few:
                (E, r), Z = kept_t, 1.0  # E is P
            else:
                A = blocks.scores(q_t, k_s, mask, h, t, s)
                m, Z = kept_t
                A -= m
                E = np.exp(A, out=A)
                r = blocks.factors(E, h, t, s)
                do_t = do_t / Z
            W = E if r is None else r * E  # Z W
            if need_v:
                _add(dv[*h, :, :], W, do_t, s, t.stop == q.shape[-2])
            if not (need_q or need_k or need_mask):
                continue
            dA = unbroadcast(_product(do_t, v[*h, s, :]), E.shape)  # dW / Z
            if dweights is not None:
                dA += dweights[*h, t, s] / Z
            if r is not None:
                dA *= r  # dP / Z
            dA -= row_dots(E, dA)[..., None] / Z  # D / Z
            dA *= E
            if need_mask:
                dmask[*h, t, s] = dA
            if need_q:
                dq_t = np.matmul(dA, k_s, out=dq[*h, t, :])
                dq_t *= c
            if need_k:
                _add(dk[*h, :, :], dA, q_t, s, t.stop == q.shape[-2])

    threads.parallel_map(gradients_of, zip(blocks.heads, kept))
    return tuple(
        None if d is None else unbroadcast(d, shape)
        for d, shape in zip((dq, dk, dv, dmask), shapes)
    )


class _Blocks:
    """How the scores (*batch, T, S) are cut, and what is done with a block of them.

    rows: pairs of slices, of queries t and of the keys s that they see. heads: an index h of the
    batch axes for each part of them. So x[*h, t, :] are queries of a block. A block does not depend
    on the number of threads. few: whether all queries are in one, so that P and r are kept.
    """

    def __init__(self, batch, T, S, dtype, causal, random):
        self.batch, self.T, self.S, self.random, self.few = batch, T, S, random, T <= ROWS
        t = ceil(T / ceil(T / ROWS)) if T else 1  # equal parts
        together = SCORES * threads.BLOCK // (t * (S or 1)) or 1
        if prod(batch) * T * S > threads.BLOCK:
            together = min(together, ceil(prod(batch) / 2))  # something for two threads
        starts = range(0, T, t) if S else []
        self.rows = [(slice(i, min(i + t, T)), slice(i + t if causal else S)) for i in starts]
        self.heads = _cut(batch, together)
        self.future = _future(t, dtype) if causal else None

    def empty(self, like, shape):
        """An array to be filled by blocks, in the order of memory of another."""
        return (np.empty_like if self.rows else np.zeros_like)(like, shape=shape)

    def scores(self, q, k, mask, h, t, s):
        """A = q kᵀ + mask; q is c times the queries t."""
        A = _product(q, k)
        if self.future is not None:  # of the first query of t, from itself on
            A_ = A[..., t.start :]
            A_ += self.future[: A_.shape[-2], : A_.shape[-1]]
        if mask is not None:
            mask = mask[*h, t, s]
            if not is_float(mask.dtype):
                mask = mask[tuple(slice(1) if n == 0 else ALL for n in mask.strides)]  # no repeats
                mask = np.where(mask, np.zeros((), dtype=A.dtype), -INF)
            A += mask
        return A

    def factors(self, A, h, t, s):
        """r for the scores A, or None."""
        p, seed, offset = self.random
        if not p:
            return None
        T, S, n, rows = self.T, self.S, prod(A.shape[:-2]), A.shape[-2]
        first = int(np.arange(prod(self.batch)).reshape(self.batch)[h].flat[0]) * T + t.start
        if rows == T:  # the numbers of the heads follow one another
            n, rows = 1, n * T
        r = np.empty((n, rows, S), dtype=A.dtype)
        for i in range(n):
            r[i] = factors(r[i], p, True, seed, offset + (first + i * T) * S)
        return r.reshape(*A.shape[:-1], S)[..., s]


@lru_cache(8)
def _future(t, dtype):
    """-inf where the key comes after the query, 0 elsewhere: (t, t), column by column."""
    return np.tril(np.full((t, t), -INF, dtype=dtype), -1).T


def _cut(batch, most):
    """Indices of parts of the batch axes, of `most` elements or fewer, but one at least: the last
    axes whole, the one before cut, those before it one by one."""
    axis, whole = len(batch), 1
    while axis and whole * batch[axis - 1] <= most:
        axis -= 1
        whole *= batch[axis]
    if not axis:
        return [(...,)] if whole else []
    n = batch[axis - 1]
    parts = ceil(n / (most // whole))
    step = ceil(n / (parts + parts % 2))  # an even number, for two threads
    cuts = [[slice(i, i + 1) if m > 1 else ALL for i in range(m)] for m in batch[: axis - 1]]
    cuts += [[slice(i, i + step) for i in range(0, n, step)]]
    return [(..., *slices, *[ALL] * (len(batch) - axis)) for slices in product(*cuts)]


def _broadcast(*shapes):
    """As NumPy's function, which takes longer to find out that they are the same."""
    return shapes[0] if len(set(shapes)) == 1 else np.broadcast_shapes(*shapes)


def _of(x, batch):
    """The array with these batch axes."""
    return x if x.shape[:-2] == batch else np.broadcast_to(x, batch + x.shape[-2:])


def _product(q, k):
    """q kᵀ, or another product of this form. If its rows are short it lies in memory column by
    column: then the maxima of the rows are found for many rows at once, column after column. In a
    row that is a loop of its own."""
    if k.shape[-2] > 2 * q.shape[-2]:
        return np.matmul(q, k.swapaxes(-1, -2))
    return np.matmul(k, q.swapaxes(-1, -2)).swapaxes(-1, -2)


def _add(total, w, x, s, is_first):
    """total[s] += wᵀ x. The first block, which sees all keys, sets what the others add to."""
    w = w.swapaxes(-1, -2)
    if is_first:
        np.matmul(w, x, out=total[..., s, :])
        total[..., s.stop :, :] = 0.0
    else:
        total[..., s, :] += np.matmul(w, x)


scaled_dot_product_attention.cpu = scaled_dot_product_attention.form(forward, backward)
