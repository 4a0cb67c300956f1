"""Cross entropy of the scores of a linear map on a GPU: the launcher of the kernels of
cross_entropy.cu, for a chunk of the scores at a time (../../linear_cross_entropy.py).

forward and backward are those of manual/linear_cross_entropy.py for what `takes` allows, but that a
target out of range is reported (runtime/device_assertions.py), so that no step waits.
"""

from ....backends import array_namespace, device_of
from ....backends.sums import sum_dtype
from ... import linear_cross_entropy as shared
from ...linear_cross_entropy import backward
from ..runtime import device_assertions
from ..runtime.source import FLOATS, source, type_of
from .cross_entropy import _threads

__all__ = ["backward", "forward", "takes"]


def takes(
    hidden,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
):
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
    needs=(),
):
    xp, V, A = array_namespace(hidden, weight, target, bias), len(weight), sum_dtype(hidden)
    y = xp.ascontiguousarray(target).reshape(-1)
    kept = y != ignore_index
    S = kept.astype(A).sum()
    S = xp.where(S == 0, float("nan"), S)
    m, log_Z = xp.empty((2, len(y)), dtype=A)
    b = None if bias is None else bias.astype(A, copy=False)
    kernels = source("cross_entropy.cu", T=type_of(m), TargetT=type_of(y))
    device, of_options = device_of(hidden), (V, ignore_index, label_smoothing)
    reported = device_assertions.assertions(xp, device)

    def losses_of_rows(n, z, g):
        if b is not None:
            z += b
        ell = xp.empty(len(z), dtype=A)
        of_rows, size = (len(z), _threads(V), z, y[n], m[n], log_Z[n]), 3 * 32 * m.itemsize
        kernels.launch("forward", *of_rows, ell, reported.array, n.start, *of_options, shared=size)
        if g is not None:
            kernels.launch("backward", *of_rows, g, None, z, *of_options, True)
        return ell

    result = shared.forward(
        losses_of_rows, hidden, weight, bias, kept, S, target.shape, reduction, needs
    )
    device_assertions.check(xp, device)
    return result
