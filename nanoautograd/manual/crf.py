"""Conditional random field over a chain of tags, by hand.

Written for one sequence, with steps t = 1, ..., T; the arrays hold B of them, padded to T steps,
and in the code t = 0, ..., T-1.

    x   (T, B, K)   emissions: x_tj is the score of tag j at step t
    A   (K, K)      transitions: A_ij is the score of tag j after tag i
    s   (K,)        scores of the first tag
    e   (K,)        scores of the last tag
    m   (T, B)      mask: True for the steps of a sequence, then False for its padding
    y   (T, B)      a sequence of tags, integers from 0 to K - 1
    α   (T, B, K)   log of the sum of exp(score) over all beginnings that end at step t in tag j
    β   (T, B, K)   the same over all ends that follow after tag j at step t
    z   (B,)        log Z, the logarithm of the sum over all sequences of tags
    p   (T, B, K)   marginals: the probability of tag j at step t
    dz, dx, ...     ∂L/∂z, ∂L/∂x, ...

The model (Lafferty, McCallum and Pereira 2001, "Conditional random fields", section 3): a sequence
of tags has a score, and its probability is the share of exp(score) in the sum over all of them,

    S(y) = s_{y_1} + Σ_t x_{t, y_t} + Σ_{t>1} A_{y_{t-1}, y_t} + e_{y_T}
    P(y) = exp(S(y)) / Z,        Z = Σ_y exp(S(y)),        - log P(y) = log Z - S(y)

Forward. There are K^T sequences, but those that agree in their last tag share what follows. With
LSE for log Σ exp (the forward algorithm: Rabiner 1989, "A tutorial on hidden Markov models",
equations 19 to 21, in logarithms):

    α_1j = s_j + x_1j
    α_tj = x_tj + LSE_i (α_{t-1,i} + A_ij)           α_tj = α_{t-1,j} where step t is padding
    log Z = LSE_j (α_Tj + e_j)

and in the other direction (Rabiner, equations 24 and 25)

    β_Tj = e_j
    β_{t-1,i} = LSE_j (A_ij + x_tj + β_tj)           β_{t-1,i} = β_ti where step t is padding

Backward: the gradient of log Z is the marginals. S is a sum, in which x_tj occurs as often as y has
tag j at step t: ∂S(y)/∂x_tj = [y_t = j]. Therefore

    ∂log Z/∂x_tj = 1/Z Σ_y exp(S(y)) ∂S(y)/∂x_tj = Σ_y P(y) [y_t = j] = P(y_t = j) = p_tj

and likewise A_ij occurs once for each step from i to j, s_j if y_1 = j, e_j if y_T = j:

    ∂log Z/∂A_ij = Σ_{t>1} P(y_{t-1} = i, y_t = j)
    ∂log Z/∂s_j = P(y_1 = j)        ∂log Z/∂e_j = P(y_T = j)

The probabilities are sums of exp(S(y))/Z over the sequences that pass through. Every such sequence
is a beginning and an end, whose sums α and β have:

    p_tj = P(y_t = j) = exp(α_tj + β_tj - log Z)
    P(y_{t-1} = i, y_t = j) = exp(α_{t-1,i} + A_ij + x_tj + β_tj - log Z)

Each sequence has a dz of its own, and all share A, s and e, so with Σ over the sequences

    dx_tj = dz p_tj                                  0 where step t is padding
    dA_ij = Σ dz Σ_{t>1} P(y_{t-1} = i, y_t = j)
    ds_j  = Σ dz p_1j
    de_j  = Σ dz p_Tj

A score of -inf forbids a tag or a transition. Where that forbids all sequences, log Z is -inf and
there are no probabilities: the gradients are zero.

The best sequence is found by the same algorithm with max for LSE: viterbi.py.
"""

from ..backends import array_namespace
from ..backends.sums import summed, total
from ..custom_vjp import custom_vjp
from ..interface.array_interface import array_of
from ..ops import exp, expand_dims, log, max, reshape, squeeze, sum, take_along_axis, where

INF = float("inf")


def forward(x, A, s, e, *, mask=None):
    """x (T, B, K), A (K, K), s (K,), e (K,) -> log Z (B,), and the cache."""
    xp, m = array_namespace(x), steps(x, mask)
    α = xp.empty(x.shape, dtype=x.dtype)
    α[0] = s + x[0]
    for t in range(1, len(x)):
        a = x[t] + lse(α[t - 1][:, :, None] + A, axis=1)  # (B, K)
        α[t] = xp.where(m[t][:, None], a, α[t - 1])
    z = lse(α[-1] + e, axis=1)
    return z, (x, A, e, m, α, z)


def backward(dz, cache):
    """dz (B,) -> dx, dA, ds, de."""
    x, A, e, m, α, z = cache
    xp, dz, m = array_namespace(x), dz[:, None], m[:, :, None]
    z = xp.where(z == -INF, 0.0, z)[:, None]  # where nothing is possible, P = 0
    β, dAs = xp.empty_like(α), [xp.zeros_like(A)]  # dAs: what each step gives to dA
    β[-1] = e
    for t in reversed(range(1, len(x))):
        after = A + (x[t] + β[t])[:, None, :]  # (B, i, j)
        pairs = xp.exp(α[t - 1][:, :, None] + after - z[:, :, None])  # P(y_{t-1} = i, y_t = j)
        dAs.append(summed(xp.where(m[t][:, :, None], dz[:, :, None] * pairs, 0.0), 0))
        β[t - 1] = xp.where(m[t], lse(after, axis=2), β[t])
    p = xp.exp(α + β - z)
    dx = xp.where(m, dz * p, 0.0)
    ds, de = summed(dz * p[0], 0), summed(dz * p[-1], 0)
    return dx, total(dAs), ds, de


def reference(x, A, s, e, *, mask=None):
    """The same from primitives."""
    m = steps(x, mask)
    α = s + x[0]
    for t in range(1, len(x)):
        a = x[t] + lse(expand_dims(α, 2) + A, axis=1)
        α = where(m[t][:, None], a, α)
    return lse(α + e, axis=1)


crf_log_partition = custom_vjp("crf_log_partition", forward, backward, reference, in_float32=True)


def score(x, A, s, e, tags, *, mask=None):
    """S(y) for the tags (T, B) -> (B,): from primitives, on Tensors and arrays. What the tags are
    where the mask is False does not matter."""
    m, (T, B, K) = steps(x, mask), x.shape
    xp = array_namespace(m)
    y = xp.where(m, xp.asarray(array_of(tags)), 0)
    here = take_along_axis(x, y[:, :, None], axis=2)[:, :, 0]  # x_{t, y_t}
    step = reshape(A, (K * K,))[y[:-1] * K + y[1:]]  # (T-1, B)
    last = xp.max(xp.where(m, xp.arange(T)[:, None], 0), axis=0)  # the last step's t
    S = s[y[0]] + sum(where(m, here, 0.0), axis=0) + e[y[last, xp.arange(B)]]
    return S + sum(where(m[1:], step, 0.0), axis=0)


def steps(x, mask):
    """The mask (T, B) as an array where x is; all True if there is none."""
    xp = array_namespace(array_of(x))
    return xp.ones(x.shape[:2], dtype=bool) if mask is None else xp.asarray(array_of(mask))


def lse(a, axis):
    """log Σ exp along an axis, -inf where all are. The largest is only a shift: what it adds to the
    gradient is zero, so it enters as a constant."""
    top = max(array_of(a), axis=axis, keepdims=True)
    top = where(top == -INF, 0.0, top)
    total = sum(exp(a - top), axis=axis)
    some = array_of(total) != 0  # so NaN stays NaN
    return where(some, log(where(some, total, 1.0)) + squeeze(top, axis), -INF)
