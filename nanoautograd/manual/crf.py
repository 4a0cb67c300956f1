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

    P(y_t = j) = exp(α_tj + β_tj - log Z)
    P(y_{t-1} = i, y_t = j) = exp(α_{t-1,i} + A_ij + x_tj + β_tj - log Z)

With these, dx = dz p, dA = Σ dz P(i, j), and so on, summed over the sequences of the batch.

A score of -inf forbids a tag or a transition. Where that forbids all sequences, log Z is -inf and
there are no probabilities: the gradients are zero.

The best sequence, `viterbi`, is found by the forward algorithm with max for LSE (Viterbi 1967), and
by remembering at each step from which tag the maximum came.
"""

from ..array_interface import array_of
from ..backends import array_namespace, is_float
from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import exp, expand_dims, log, max, reshape, squeeze, sum, take_along_axis, where

INF = float("inf")


def forward(x, A, s, e, *, mask=None):
    """x (T, B, K), A (K, K), s (K,), e (K,) -> log Z (B,), and the cache."""
    m = _check(x, A, s, e, mask)
    xp = array_namespace(x, A, s, e)
    alpha = xp.empty(x.shape, dtype=x.dtype)
    alpha[0] = s + x[0]
    for t in range(1, len(x)):
        a = x[t] + _lse(alpha[t - 1][:, :, None] + A, axis=1)  # (B, K)
        alpha[t] = xp.where(m[t][:, None], a, alpha[t - 1])
    z = _lse(alpha[-1] + e, axis=1)
    return z, (x, A, e, m, alpha, z)


def backward(dz, cache, needs=None):
    """dz (B,) -> dx, dA, ds, de."""
    x, A, e, m, alpha, z = cache
    need_x, need_A, need_s, need_e = needs or (True,) * 4
    xp = array_namespace(x)
    T, B, K = x.shape
    z = xp.where(z == -INF, 0.0, z)  # where nothing is possible, P = 0
    z, g = z[:, None], dz[:, None]
    dx, dA = xp.zeros((T, B, K), dtype=x.dtype), xp.zeros((K, K), dtype=x.dtype)
    beta = e + xp.zeros((B, K), dtype=x.dtype)
    de = summed(g * xp.exp(alpha[-1] + beta - z), 0)
    for t in range(T - 1, -1, -1):
        mt = m[t][:, None]
        dx[t] = xp.where(mt, g * xp.exp(alpha[t] + beta - z), 0.0)
        if t:
            after = A + (x[t] + beta)[:, None, :]  # (B, i, j)
            if need_A:
                pair = xp.exp(alpha[t - 1][:, :, None] + after - z[:, :, None])
                dA += summed(xp.where(mt[:, :, None], g[:, :, None] * pair, 0.0), 0)
            beta = xp.where(mt, _lse(after, axis=2), beta)
    ds = summed(dx[0], 0)
    return (
        dx if need_x else None,
        dA if need_A else None,
        ds if need_s else None,
        de if need_e else None,
    )


def reference(x, A, s, e, *, mask=None):
    """The same from primitives."""
    m = _check(x, A, s, e, mask)
    alpha = s + x[0]
    for t in range(1, len(x)):
        a = x[t] + _lse(expand_dims(alpha, 2) + A, axis=1)
        alpha = where(m[t][:, None], a, alpha)
    return _lse(alpha + e, axis=1)


crf_log_partition = custom_vjp("crf_log_partition", forward, backward, reference, in_float32=True)


def score(x, A, s, e, tags, *, mask=None):
    """S(y) for the tags (T, B) -> (B,): from primitives, on Tensors and arrays. What the tags are
    where the mask is False does not matter."""
    m = _check(x, A, s, e, mask)
    y = _tags(array_namespace(m).asarray(array_of(tags)), m, x.shape)
    T, B, K = x.shape
    xp = array_namespace(y)
    here = take_along_axis(x, y[:, :, None], axis=2)[:, :, 0]  # x_{t, y_t}
    step = reshape(A, (K * K,))[y[:-1] * K + y[1:]]  # (T-1, B)
    last = xp.max(xp.where(m, xp.arange(T)[:, None], 0), axis=0)  # the last step's t
    S = s[y[0]] + sum(where(m, here, 0.0), axis=0) + e[y[last, xp.arange(B)]]
    return S + sum(where(m[1:], step, 0.0), axis=0)


def viterbi(x, A, s, e, *, mask=None):
    """The best tags (T, B), 0 where the mask is False, and their scores (B,): arrays, no gradient.

    δ_1j = s_j + x_1j,   δ_tj = x_tj + max_i (δ_{t-1,i} + A_ij),   S(y) = max_j (δ_Tj + e_j)
    """
    m = _check(x, A, s, e, mask)
    xp = array_namespace(x, A, s, e)
    T, B, K = x.shape
    delta, came_from = s + x[0], []
    for t in range(1, T):
        d = delta[:, :, None] + A  # (B, i, j)
        came_from.append(xp.argmax(d, axis=1))
        delta = xp.where(m[t][:, None], x[t] + xp.max(d, axis=1), delta)
    delta = delta + e
    y = xp.zeros((T, B), dtype=int)
    rows, tag = xp.arange(B), xp.argmax(delta, axis=1)
    for t in range(T - 1, -1, -1):
        y[t] = xp.where(m[t], tag, 0)
        if t:
            tag = xp.where(m[t], came_from[t - 1][rows, tag], tag)
    return y, xp.max(delta, axis=1)


def _lse(a, axis):
    """log Σ exp along an axis, -inf where all are. The largest is only a shift: what it adds to the
    gradient is zero, so it enters as a constant."""
    top = max(array_of(a), axis=axis, keepdims=True)
    top = where(top == -INF, 0.0, top)
    total = sum(exp(a - top), axis=axis)
    some = array_of(total) != 0  # so NaN stays NaN
    return where(some, log(where(some, total, 1.0)) + squeeze(top, axis), -INF)


def _check(x, A, s, e, mask):
    """The mask, all True if there is none. Raises the error that names what does not fit."""
    got = (
        f"got emissions {x.shape} {x.dtype}, transitions {A.shape} {A.dtype}, start {s.shape} "
        f"{s.dtype}, end {e.shape} {e.dtype}"
    )
    if x.ndim != 3 or x.shape[0] == 0 or x.shape[2] == 0:
        raise ValueError(
            f"crf: emissions must be (T, B, K) with at least one step and one tag; {got}"
        )
    T, B, K = x.shape
    if (A.shape, s.shape, e.shape) != ((K, K), (K,), (K,)):
        raise ValueError(
            f"crf: with {K} tags transitions must be ({K}, {K}), start and end ({K},); {got}"
        )
    if not is_float(x.dtype) or {A.dtype, s.dtype, e.dtype} != {x.dtype}:
        raise TypeError(f"crf: all must be floating and of one dtype; {got}")
    xp = array_namespace(array_of(x))
    if mask is None:
        return xp.ones((T, B), dtype=bool)
    m = xp.asarray(array_of(mask))
    if m.shape != (T, B) or m.dtype != bool:
        raise ValueError(
            f"crf: the mask must be boolean and ({T}, {B}), one for each step; got "
            f"{m.shape} {m.dtype}"
        )
    if not bool(xp.all(m[0])) or bool(xp.any(m[1:] & ~m[:-1])):
        raise ValueError(
            "crf: a sequence is True from its first step to its last in the mask, "
            "and False behind; here one is empty or has a gap"
        )
    return m


def _tags(y, m, shape):
    """The tags with 0 for padding. Raises the error that names what does not fit."""
    T, B, K = shape
    if y.shape != (T, B) or y.dtype.kind not in "iu":
        raise ValueError(
            f"crf: tags must be integers and ({T}, {B}), one for each step; got {y.shape} {y.dtype}"
        )
    xp = array_namespace(y)
    wrong = m & ((y < 0) | (y >= K))
    if bool(xp.any(wrong)):
        worst = int(y.reshape(-1)[int(xp.argmax(wrong))])
        raise IndexError(f"crf: tag {worst} is out of range: there are {K} tags, 0 to {K - 1}")
    return xp.where(m, y, 0)
