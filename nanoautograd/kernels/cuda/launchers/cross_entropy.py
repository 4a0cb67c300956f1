"""Cross entropy with class numbers on a GPU: the launcher of cross_entropy.cu.

forward and backward are those of manual/cross_entropy.py for what `takes` allows.
"""

from ....backends import array_namespace, device_of
from ....backends.sums import sum_dtype
from ..runtime import device_assertions
from ..runtime.source import FLOATS, source, type_of

device_assertions.register(
    1,  # ASSERTION in cross_entropy.cu
    "(linear_)cross_entropy: target {value} at position ({place},) is out of range: there are "
    "{limit} classes, 0 to {last}, and it is not ignore_index",
)


def takes(logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """Rows of scores with class numbers, all classes alike."""
    return (
        weight is None
        and logits.ndim in (1, 2)
        and logits.dtype.name in FLOATS
        and target.dtype.name in ("int32", "int64")
    )


def forward(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    xp, reported = (
        array_namespace(logits, target),
        device_assertions.assertions(array_namespace(logits), device_of(logits)),
    )
    x, y = xp.ascontiguousarray(logits), xp.ascontiguousarray(target)
    N, C = x.size // x.shape[-1], x.shape[-1]
    kernels = source("cross_entropy.cu", T=type_of(x), TargetT=type_of(y))
    A = sum_dtype(x)
    m, log_Z, ell = (xp.empty(N, dtype=A) for _ in range(3))
    kernels.launch(
        "forward",
        N,
        _threads(C),
        x,
        y,
        m,
        log_Z,
        ell,
        reported.array,
        0,
        C,
        ignore_index,
        label_smoothing,
        shared=3 * 32 * m.itemsize,
    )
    device_assertions.check(xp, device_of(x))
    if reduction == "none":
        return ell.astype(x.dtype, copy=False).reshape(target.shape), (
            x,
            y,
            m,
            log_Z,
            None,
            logits.shape,
            ignore_index,
            label_smoothing,
            True,
        )
    loss, W = xp.empty((), dtype=x.dtype), xp.empty((), dtype=A)
    kernels.launch(
        "reduce",
        1,
        256,
        ell,
        y,
        loss,
        W,
        N,
        C,
        ignore_index,
        reduction == "mean",
        shared=32 * m.itemsize,
    )
    return loss, (
        x,
        y,
        m,
        log_Z,
        W if reduction == "mean" else None,
        logits.shape,
        ignore_index,
        label_smoothing,
        False,
    )


def backward(dL, cache, needs=None):
    x, y, m, log_Z, W, shape, ignore_index, ε, each = cache
    if needs is not None and not needs[0]:
        return None, None, None
    xp, C = array_namespace(x), x.shape[-1]
    kernels = source("cross_entropy.cu", T=type_of(x), TargetT=type_of(y))
    dx = xp.empty(shape, dtype=x.dtype)
    kernels.launch(
        "backward",
        x.size // C,
        _threads(C),
        x,
        y,
        m,
        log_Z,
        xp.ascontiguousarray(dL),
        W,
        dx,
        C,
        ignore_index,
        ε,
        each,
    )
    return dx, None, None


def _threads(C):
    """For a row: more where it is long."""
    return 128 if C <= 1024 else 256 if C <= 8192 else 512
