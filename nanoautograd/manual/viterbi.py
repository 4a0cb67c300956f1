"""The best sequence of tags of a conditional random field.

The letters are those of crf.py. The sequence with the largest score S(y) is found as the sum over
all is, with max for LSE (Viterbi 1967, "Error bounds for convolutional codes and an asymptotically
optimum decoding algorithm"):

    δ_1j = s_j + x_1j
    δ_tj = x_tj + max_i (δ_{t-1,i} + A_ij)           δ_tj = δ_{t-1,j} where step t is padding
    max_y S(y) = max_j (δ_Tj + e_j)

δ_tj is the score of the best beginning that ends at step t in tag j. Which i the maximum came from
is remembered, and followed back from the best last tag.
"""

from ..backends import array_namespace
from .crf import steps


def viterbi(x, A, s, e, *, mask=None):
    """The best tags (T, B), 0 where the mask is False, and their scores (B,), of arrays."""
    xp = array_namespace(x, A, s, e)
    m, (T, B) = steps(x, mask), x.shape[:2]
    δ, came_from = s + x[0], []
    for t in range(1, T):
        d = δ[:, :, None] + A  # (B, i, j)
        came_from.append(xp.argmax(d, axis=1))
        δ = xp.where(m[t][:, None], x[t] + xp.max(d, axis=1), δ)
    δ = δ + e
    y = xp.zeros((T, B), dtype=int)
    rows, tag = xp.arange(B), xp.argmax(δ, axis=1)
    for t in range(T - 1, -1, -1):
        y[t] = xp.where(m[t], tag, 0)
        if t:
            tag = xp.where(m[t], came_from[t - 1][rows, tag], tag)
    return y, xp.max(δ, axis=1)
