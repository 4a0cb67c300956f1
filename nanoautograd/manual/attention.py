"""Scaled dot-product attention, by hand.

    q     (..., T, d)     queries
    k     (..., S, d)     keys
    v     (..., S, e)     values, one per key
    mask  (..., T, S)     boolean, True = this query may see this key; or floating, added to scores
    A     (..., T, S)     scores
    P     (..., T, S)     weights: P_ts is how much query t takes of value s
    r     (..., T, S)     factors of dropout, 0 or 1/(1 - p); 1 without
    W     (..., T, S)     weights after dropout
    o     (..., T, e)     output
    L     (..., T, 1)     logarithm of the sum of a row of exp(A)
    do, dP, dA, dq, ...   ∂L/∂o, ∂L/∂P, ∂L/∂A, ∂L/∂q, ..., where ∂L is of the loss

The axes "..." are batches and heads; they broadcast, so that one set of keys can serve many heads.

Forward (Vaswani et al. 2017, "Attention is all you need", equation 1, with the mask of its
section 3.2.3; c is the scale, 1/√d unless given):

    A = c q kᵀ + mask       A_ts = -inf where a boolean mask is False, and where s > t if `causal`
    P = softmax(A)          along s, row by row
    W = r P                 elementwise (dropout.py)
    o = W v

A query that sees no key, because its row of A is all -inf or because S = 0, takes nothing: its
weights are zero, and so are its output and all gradients through it. In the code below: such a row
has the maximum m = -inf, which is replaced by 0; then E = exp(A - m) = 0, and the sum Z = 0 of the
row is replaced by 1.

Backward, one product at a time. From o_ti = Σ_s W_ts v_si:

    dv_si = Σ_t W_ts do_ti       dv = Wᵀ do
    dW_ts = Σ_i do_ti v_si       dW = do vᵀ, and dweights added to it
    dP_ts = r_ts dW_ts

where dweights is what arrives at W itself, if the weights were asked for and used. The rows of P
are softmaxes, ∂P_ts/∂A_tj = P_ts ([s = j] - P_tj) (derived in softmax.py), so

    dA_tj = P_tj (dP_tj - D_t)   D_t = Σ_s dP_ts P_ts

A masked entry has P = 0, hence dA = 0, and so has every entry of a row that sees nothing. The
mask is added to A, so dmask = dA. From A_ts = c Σ_i q_ti k_si + mask_ts:

    dq_ti = c Σ_s dA_ts k_si     dq = c dA k
    dk_si = c Σ_t dA_ts q_ti     dk = c dAᵀ q

Each gradient is summed over the batch axes along which its array was broadcast.

Arrays of T·S numbers are what takes memory, and time to be read and written. So for more than ROWS
queries only W of those above is made, if it is asked for, and dA, if a mask needs a gradient (Dao,
Fu, Ermon, Rudra and Ré 2022, "FlashAttention: fast and memory-efficient exact attention with
IO-awareness", section 3.1 and appendix B). A row of A depends on no other, so all is done block by
block, for a few queries of a few heads, and what is A, P or dA in such a block stays in the cache;
if `causal`, a block reads only the keys up to its last query. What is kept for the way back is o,
and of each row

    L_t = log Σ_s exp(A_ts) = m_t + log Z_t         m_t = max_s A_ts, Z_t = Σ_s E_ts,
                                                    E_ts = exp(A_ts - m_t)

of which P_ts = E_ts / Z_t = exp(A_ts - L_t) is computed again, and r is drawn again. Of ROWS
queries or fewer P and r are kept instead of L: no more than ROWS numbers for a key and a head. What
can be done to a smaller array is not done to a block: c multiplies q; if E is not divided by Z, o
is, o = (r E) v / Z; and D is a sum over e numbers instead of S,

    D_t = Σ_s r_ts dW_ts P_ts = Σ_s W_ts (Σ_i do_ti v_si + dweights_ts)
        = Σ_i do_ti o_ti + Σ_s W_ts dweights_ts

Keys meet the queries of several blocks: what these give to dk and dv is added up from the last
block to the first.
"""

from functools import lru_cache
from itertools import product
from math import ceil, prod, sqrt

import numpy as np

from ..array_interface import array_of
from ..backends import array_namespace, is_float, products, threads
from ..backends.sums import row_dots, row_sums, unbroadcast
from ..custom_vjp import custom_vjp
from ..ops import exp, matmul, max, sum, swapaxes, where
from .dropout import factors

INF = float("inf")
ROWS = 64  # queries of a block
SCORES = 2  # scores of a block, in units of threads.BLOCK
ALL = slice(None)


def forward(
    q,
    k,
    v,
    mask=None,
    *,
    scale=None,
    causal=False,
    return_weights=False,
    dropout=0.0,
    seed=0,
    offset=0,
):
    """q (..., T, d), k (..., S, d), v (..., S, e) -> o (..., T, e), or (o, W); and the cache."""
    xp = array_namespace(q, k, v, mask)
    of_A, of_o = _check(q, k, v, mask)
    T, S, e = q.shape[-2], *v.shape[-2:]
    c, blocks = _scale(q, scale), _Blocks(xp, of_A, T, S, q.dtype, causal, dropout, seed, offset)
    o = blocks.result(q, (*of_o, T, e))
    L = None if blocks.keep else xp.empty((*of_A, T, 1), dtype=q.dtype)
    W = xp.zeros((*of_A, T, S), dtype=q.dtype) if return_weights else None

    def part(heads):
        q_, k_, v_, mask_, o_, L_, W_ = (_of(x, heads) for x in (q, k, v, mask, o, L, W))
        for t, s in blocks.rows:
            A = blocks.scores(c * q_[..., t, :], k_[..., s, :], mask_, t, s)
            m = A.max(axis=-1, keepdims=True)
            if mask is not None:  # else every query sees a key
                m = xp.where(m == -INF, 0.0, m)
            A -= m
            E = xp.exp(A, out=A)
            Z = row_sums(E)[..., None]
            if mask is not None:
                Z = xp.where(Z == 0, 1.0, Z)
            r = blocks.factors(E, heads, t, s)
            if blocks.keep:
                E /= Z
                blocks.P[heads[0]], Z = E, None
            else:
                L_[..., t, :] = m + xp.log(Z)
            W_t = E if r is None else r * E  # W, or where Z is left Z W
            o_t = products.matmul(W_t, v_[..., s, :], out=o_[..., t, :])
            if Z is not None:
                o_t /= Z
            if return_weights:
                W_[..., t, s] = W_t if Z is None else W_t / Z

    threads.share(part, blocks.heads)
    return ((o, W) if return_weights else o), (q, k, v, mask, c, blocks, o, L, return_weights)


def backward(dout, cache, needs=None):
    """do, or (do, dweights) if the weights were returned -> dq, dk, dv, dmask."""
    q, k, v, mask, c, blocks, o, L, return_weights = cache
    need_q, need_k, need_v, need_mask = needs or (True,) * 4
    need_mask = need_mask and _is_added(mask)
    xp = array_namespace(q)
    do, dweights = dout if return_weights else (dout, None)
    of_A, of_o, T, S = blocks.batch, o.shape[:-2], q.shape[-2], k.shape[-2]
    dq = blocks.result(q, of_A + q.shape[-2:]) if need_q else None
    dk = blocks.result(k, of_A + k.shape[-2:]) if need_k else None
    dv = blocks.result(v, of_o + v.shape[-2:]) if need_v else None
    dmask = xp.zeros((*of_A, T, S), dtype=q.dtype) if need_mask else None

    def part(heads):
        q_, k_, v_, mask_, o_, L_ = (_of(x, heads) for x in (q, k, v, mask, o, L))
        do_, dweights_, dq_, dk_, dv_, dmask_ = (
            _of(x, heads) for x in (do, dweights, dq, dk, dv, dmask)
        )
        for t, s in reversed(blocks.rows):
            q_t, k_s, do_t = c * q_[..., t, :], k_[..., s, :], do_[..., t, :]
            if blocks.keep:
                P = blocks.P[heads[0]]
            else:
                A = blocks.scores(q_t, k_s, mask_, t, s)
                A -= L_[..., t, :]
                P = xp.exp(A, out=A)
            r = blocks.factors(P, heads, t, s)
            W = P if r is None else r * P
            if need_v:
                _put(dv_, t, s, W, do_t, T)
            if not (need_q or need_k or need_mask):
                continue
            dA = _product(do_t, v_[..., s, :])
            dA = unbroadcast(dA, P.shape)  # dW
            D = unbroadcast(row_dots(do_t, o_[..., t, :]), P.shape[:-1])
            if dweights is not None:
                dA += dweights_[..., t, s]
                D += row_dots(W, dweights_[..., t, s])
            if r is not None:
                dA *= r  # dP
            dA -= D[..., None]
            dA *= P
            if need_mask:
                dmask_[..., t, s] = dA
            if need_q:
                dq_t = products.matmul(dA, k_s, out=dq_[..., t, :])
                dq_t *= c
            if need_k:
                _put(dk_, t, s, dA, q_t, T)

    threads.share(part, blocks.heads)
    return tuple(
        None if d is None else unbroadcast(d, x.shape)
        for d, x in zip((dq, dk, dv, dmask), (q, k, v, mask))
    )


def _product(q, k):
    """q kᵀ, or another product of this form. If its rows are short it lies in memory column by
    column: then the maxima of the rows are found for many rows at once, column after column. In a
    row that is a loop of its own."""
    if k.shape[-2] > 2 * q.shape[-2]:
        return products.matmul(q, k.swapaxes(-1, -2))
    return products.matmul(k, q.swapaxes(-1, -2)).swapaxes(-1, -2)


def _put(total, t, s, w, x, T):
    """total[s] = Σ_t w_tsᵀ x_t, from the last block of t, which sees all keys and sets what the
    others add to, to the first."""
    w = w.swapaxes(-1, -2)
    if t.stop == T:
        products.matmul(w, x, out=total[..., s, :])
        total[..., s.stop :, :] = 0.0
    else:
        total[..., s, :] += products.matmul(w, x)


class _Blocks:
    """How the scores (*batch, T, S) are cut, and what is done with a block of them.

    rows: pairs of slices, of queries and of the keys that they see. heads: those that are done
    together, as `_of` takes them. A block does not depend on the number of threads. For CuPy there
    is one. keep: whether queries are so few that P and r of the heads, by the number of the first,
    are kept.
    """

    def __init__(self, xp, batch, T, S, dtype, causal, dropout, seed, offset):
        self.xp, self.T, self.S = xp, T, S
        self.batch, self.keep, self.P, self.r = batch, T <= ROWS, {}, {}
        self.dropout, self.seed, self.offset = dropout, seed, offset
        t, together = T or 1, prod(batch) or 1
        if xp.__name__ != "cupy":
            t = ceil(t / ceil(t / ROWS))  # equal parts
            together = SCORES * threads.BLOCK // (t * (S or 1)) or 1
            if prod(batch) * T * S > threads.BLOCK:
                together = min(together, ceil(prod(batch) / 2))  # something for two threads
        self.rows = (
            [(slice(i, min(i + t, T)), slice(i + t if causal else S)) for i in range(0, T, t)]
            if T and S
            else []
        )
        self.heads = _cut(batch, together)
        future = _future if xp is np else _future.__wrapped__  # CuPy has many devices
        self.future = future(xp, t, dtype) if causal else None

    def result(self, like, shape):
        """An array to be filled by blocks, in the order of memory of another."""
        new = self.xp.empty_like if self.rows and self.heads else self.xp.zeros_like
        return new(like, shape=shape)

    def scores(self, q, k, mask, t, s):
        """A = q kᵀ + mask of the queries t and the keys s; q is c times the queries."""
        A = _product(q, k)
        if self.future is not None:  # of the first query of t, from itself on
            A_ = A[..., t.start :]
            A_ += self.future[: A_.shape[-2], : A_.shape[-1]]
        if mask is not None:
            mask = self.xp.atleast_2d(mask)
            mask = mask[..., t if mask.shape[-2] > 1 else ALL, s if mask.shape[-1] > 1 else ALL]
            if not _is_added(mask):
                mask = self.xp.where(mask, self.xp.zeros((), dtype=A.dtype), -INF)
            A = A + mask
        return A

    def factors(self, A, heads, t, s):
        """r for the scores A of these heads, of the queries t and the keys s, or None."""
        first, T, S = heads[0], self.T, self.S
        if not self.dropout or first in self.r:
            return self.r.get(first)
        n, rows = prod(A.shape[:-2]), A.shape[-2]
        is_all = rows == T
        if is_all:  # the numbers of the heads follow one another
            n, rows = 1, n * T
        r = self.xp.empty((n, rows, S), dtype=A.dtype)
        for i in range(n):
            r[i] = factors(
                r[i], self.dropout, True, self.seed, self.offset + ((first + i) * T + t.start) * S
            )
        r = r.reshape(*A.shape[:-1], S)[..., s]
        if self.keep:
            self.r[first] = r
        return r


@lru_cache(8)
def _future(xp, t, dtype):
    """-inf where the key comes after the query, 0 elsewhere: (t, t), column by column."""
    return xp.tril(xp.full((t, t), -INF, dtype=dtype), -1).T


def _cut(batch, most):
    """Parts of the batch axes of `most` elements or fewer, but one at least: the last axes whole,
    the one before cut, those before it one by one. An element of a list is the number of a part's
    first element, and a slice for each axis, or None where there is one part."""
    axis, whole = len(batch), 1
    while axis and whole * batch[axis - 1] <= most:
        axis -= 1
        whole *= batch[axis]
    if not axis:
        return [(0, None)] if whole else []
    n = batch[axis - 1]
    parts = ceil(n / (most // whole))
    step = ceil(n / (parts + parts % 2))  # an even number, for two threads
    cuts = [[slice(i, i + 1) if m > 1 else ALL for i in range(m)] for m in batch[: axis - 1]]
    cuts += [[slice(i, i + step) for i in range(0, n, step)]]
    cuts += [[ALL] for _ in batch[axis:]]
    firsts = [
        i * n * whole + j.start * whole
        for i in range(prod(batch[: axis - 1]))
        for j in cuts[axis - 1]
    ]
    return list(zip(firsts, product(*cuts)))


def _of(x, heads):
    """A view of an array with batch axes, which may be missing or 1, for a part of them."""
    _, index = heads
    if x is None or index is None:
        return x
    if len(index) != x.ndim - 2 or 1 in x.shape[:-2]:
        index = [i if n > 1 else ALL for i, n in zip(index[::-1], x.shape[-3::-1])][::-1]
        index = (..., *index, ALL, ALL) if index else ...
    return x[index]


def reference(
    q,
    k,
    v,
    mask=None,
    *,
    scale=None,
    causal=False,
    return_weights=False,
    dropout=0.0,
    seed=0,
    offset=0,
):
    """The same from primitives."""
    _check(q, k, v, mask)
    A = matmul(q, swapaxes(k, -1, -2)) * _scale(q, scale)
    if causal:
        A = where(array_namespace(array_of(A)).tri(*A.shape[-2:], dtype=bool), A, -INF)
    if mask is not None:
        A = A + mask if _is_added(mask) else where(mask, A, -INF)
    P = A
    if A.size:
        m = max(A, axis=-1, keepdims=True)
        P = exp(A - where(m == -INF, 0.0, m))
        Z = sum(P, axis=-1, keepdims=True)
        P = P / where(Z == 0, 1.0, Z)
    r = factors(array_of(P), dropout, True, seed, offset)
    W = P if r is None else P * r
    o = matmul(W, v)
    return (o, W) if return_weights else o


scaled_dot_product_attention = custom_vjp(
    "scaled_dot_product_attention", forward, backward, reference, in_float32=True
)


def _scale(q, scale):
    """The factor c, as a Python float: a NumPy scalar would promote float32."""
    return 1.0 / sqrt(q.shape[-1]) if scale is None else float(scale)


def _is_added(mask):
    return mask is not None and is_float(mask.dtype)


def _check(q, k, v, mask):
    """The batch axes of the scores, and of the output. Raises the error that names what does not
    fit."""

    def got():
        return f"got q {q.shape}, k {k.shape}, v {v.shape}"

    if q.ndim < 2 or k.ndim < 2 or v.ndim < 2:
        raise ValueError(
            f"attention: q, k, v need two axes or more, (..., time, features); {got()}"
        )
    if q.shape[-1] != k.shape[-1] or q.shape[-1] == 0:
        raise ValueError(
            f"attention: q and k need the same number of features, and one or more; {got()}"
        )
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"attention: there must be one value for each key; {got()}")
    if not is_float(q.dtype) or k.dtype != q.dtype or v.dtype != q.dtype:
        raise TypeError(
            "attention: q, k, v must be floating and of one dtype; "
            f"got {q.dtype}, {k.dtype}, {v.dtype}"
        )
    try:
        batch = _broadcast(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ValueError(f"attention: the batch axes do not broadcast; {got()}") from None
    of_A = _broadcast(q.shape[:-2], k.shape[:-2])
    if mask is None:
        return of_A, batch
    if mask.dtype != bool and mask.dtype != q.dtype:
        raise TypeError(
            "attention: the mask must be boolean (True = takes part) or, to be added "
            f"to the scores, {q.dtype} like q; got {mask.dtype}"
        )
    scores = (*batch, q.shape[-2], k.shape[-2])
    try:
        fits = _broadcast(scores, mask.shape)[-2:] == scores[-2:]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"attention: a mask of shape {mask.shape} does not broadcast to the "
            f"scores, {scores}; {got()}"
        )
    return tuple(_broadcast(axes, mask.shape[:-2]) for axes in (of_A, batch))


def _broadcast(*shapes):
    """As NumPy's function, which takes longer to find out that they are the same."""
    return shapes[0] if len(set(shapes)) == 1 else np.broadcast_shapes(*shapes)
