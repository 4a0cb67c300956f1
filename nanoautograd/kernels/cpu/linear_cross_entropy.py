"""Cross entropy of the scores that a linear map gives, in chunks whose gradient is computed at once
(../linear_cross_entropy.py), with products and blocks of rows that threads share.

The rows of a chunk are those of cross_entropy.py, in one array: z becomes e, and e becomes δ. The
gradient of the class weights, which hardly anybody needs, is computed by the lines of manual/.
"""

import numpy as np

from ...backends.sums import row_dots, row_sums
from ...backends.threads import parallel_rows
from ...manual import linear_cross_entropy as manual
from ...manual.linear_cross_entropy import linear_cross_entropy
from .. import linear_cross_entropy as shared
from .cross_entropy import factors, is_smoothing_finite


def forward(hidden, weight, target, bias=None, class_weight=None, *, needs=(), **options):
    if not is_smoothing_finite(class_weight, options):
        loss, cache = manual.forward(hidden, weight, target, bias, class_weight, **options)
        return loss, (cache,)
    y, kept, S, k, a, s = factors(target, class_weight, len(weight), hidden.dtype, **options)
    k, s = (np.broadcast_to(1.0 if f is None else f, y.shape).astype(hidden.dtype) for f in (k, s))
    all_kept = kept is None
    kept = np.broadcast_to(True, y.shape) if all_kept else kept

    def losses_of_rows(n, z, g):
        ell = np.empty(len(z), dtype=z.dtype)

        def ell_of(m):
            i, e = slice(n.start + m.start, n.start + m.stop), z[m]
            if bias is not None:
                e += bias
            e -= e.max(axis=1)[:, None]
            if not all_kept:
                e[~kept[i]] = 0.0
            at = np.arange(len(e)), y[i]
            e_y, ae = e[at], None if a is None else row_dots(e, a)
            Z = row_sums(np.exp(e, out=e))
            log_Z = np.log(Z)
            ell[m] = k[i] * (log_Z - e_y)
            if a is not None:
                ell[m] += a.sum() * log_Z - ae
            if g is not None:
                to_delta(e, Z, at, g[m], k[i], a, s[i])

        parallel_rows(ell_of, np, *z.shape)
        return np.where(kept[n], ell, 0.0)

    loss, cache = shared.forward(
        losses_of_rows,
        hidden,
        weight,
        bias,
        kept,
        S,
        target.shape,
        options.get("reduction", "mean"),
        needs,
    )
    arguments = hidden, weight, target, bias, class_weight
    return loss, (cache, arguments, options)


def to_delta(e, Z, at, g, k, a, s):
    """δ of a few rows, in the place of e. at: where the targets are."""
    e *= (g * s / Z)[:, None]
    e[at] -= g * k
    if a is not None:
        e -= g[:, None] * a


def backward(dL, cache, needs=None):
    if len(cache) == 1:
        return manual.backward(dL, *cache)
    cache, arguments, options = cache
    *ds, dw = shared.backward(dL, cache, needs)
    if arguments[-1] is not None and (needs is None or needs[-1]):
        _, of_manual = manual.forward(*arguments, **options)
        *_, dw = manual.backward(dL, of_manual)
    return *ds, dw


linear_cross_entropy.cpu = linear_cross_entropy.form(forward, backward)
