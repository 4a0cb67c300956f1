"""Adam and AdamW on a GPU: the launcher of adam.cu."""

from ....backends import array_namespace
from ....backends.sums import sum_dtype
from ..runtime.source import FLOATS
from .many import kernels, tables

NUMBERS = 7  # in the struct of adam.cu


def takes(theta, m, v):
    """Arrays that are contiguous, of one floating dtype; that of g is θ's."""
    return theta.dtype.name in FLOATS and all(
        a.dtype == theta.dtype and a.flags.c_contiguous for a in (theta, m, v)
    )


def update(groups, decoupled):
    """groups: (options, [(step, θ, g, m, v), ...]), with parameters of one dtype. Adds 1 to each
    step, an array () of int64, and changes θ, m and v. options["lr"]: an array () of float64.
    decoupled: whether weight decay is AdamW's."""
    jobs = [job for _, jobs in groups for job in jobs]
    like, at = jobs[0][1], 0
    xp, launch = array_namespace(like), kernels("adam.cu", like).launch
    numbers = xp.empty((len(jobs), NUMBERS), dtype=sum_dtype(like))
    for o, jobs_of_group in groups:
        for n, steps in tables([(at + i, job[:1]) for i, job in enumerate(jobs_of_group)]):
            options = o["lr"], *o["betas"], o["eps"], o["weight_decay"], decoupled
            launch("count", 1, n, steps, numbers, *options)
        at += len(jobs_of_group)
    arrays = [(theta, xp.ascontiguousarray(g), m, v) for _, theta, g, m, v in jobs]
    for chunks, many in tables(list(enumerate(arrays))):
        launch("update", chunks, 256, many, numbers)
