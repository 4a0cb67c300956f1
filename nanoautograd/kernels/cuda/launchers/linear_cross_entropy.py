"""Cross entropy of the scores of a linear map on a GPU: the host's half, which launches the kernels
of cross_entropy.cu for a chunk of the scores at a time. δ is written in the place of the scores.

forward and backward are those of manual/linear_cross_entropy.py for what `takes` allows, but that a
target out of range is reported (backends/reports.py), so that no step waits.
"""

from functools import partial

from ....backends import array_namespace, device_of, products
from ....backends.sums import sum_dtype
from ....manual import linear_cross_entropy as manual
from ....manual.linear_cross_entropy import LETTERS, NONE, _add_linear, _check, _chunks, backward
from ..runtime import reports
from ..runtime.source import FLOATS, source, type_of
from .cross_entropy import _threads

__all__ = ["backward", "forward", "takes"]


def takes(hidden, weight, target, bias=None, class_weight=None, **options):
    """All classes alike."""
    return (
        class_weight is None
        and hidden.dtype.name in FLOATS
        and target.dtype.name in ("int32", "int64")
    )


def forward(
    hidden,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    gradients=NONE,
):
    _check(hidden, weight, target, bias, class_weight, reduction, float(label_smoothing))
    xp = array_namespace(hidden, weight, target, bias)
    arrays = dict(zip(LETTERS, (hidden, weight, None, bias, None)))
    y = xp.ascontiguousarray(target).reshape(-1)
    kept = y != ignore_index
    compute = partial(_by_chunks, arrays, y=y, ignore_index=ignore_index, ε=label_smoothing)
    w_y = kept.astype(sum_dtype(hidden))
    return manual._forward(compute, arrays, kept, w_y, target.shape, reduction, gradients)


def _by_chunks(arrays, g, wanted, y, ignore_index, ε):
    xp, A, N, (V, D) = array_namespace(g), g.dtype, len(y), arrays["W"].shape
    h, W = products.operands(arrays["h"].reshape(N, D), arrays["W"])
    b = None if arrays["b"] is None else arrays["b"].astype(A, copy=False)
    lse, ell = xp.empty(N, dtype=A), xp.empty(N, dtype=A)
    ds = {x: xp.zeros(arrays[x].shape, dtype=A) for x in wanted}
    kernels = source("cross_entropy.cu", T=type_of(g), Y=type_of(y))
    reported = reports.reports(xp, device_of(g))
    for n, z in _chunks(h, W, A):
        if b is not None:
            z += b
        rows, shared = (len(z), _threads(V), z, y[n], lse[n]), 3 * 32 * lse.itemsize
        kernels.launch(
            "forward", *rows, ell[n], reported.array, n.start, V, ignore_index, ε, shared=shared
        )
        if wanted:
            kernels.launch("backward", *rows, g[n], None, z, V, ignore_index, ε, True)
            _add_linear(ds, n, z, h[n], W)
    reports.check(xp, device_of(g))
    return ell, ds
