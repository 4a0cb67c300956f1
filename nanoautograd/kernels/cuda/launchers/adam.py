"""Adam and AdamW on a GPU: the host's half of adam.cu."""

from ....backends import array_namespace
from ....backends.sums import sum_dtype
from ..runtime.source import FLOATS
from .many import kernels, tables

# In the order of the struct Numbers of adam.cu, and of the parameters of `write` there.
NUMBERS = "lambda", "rho", "beta1_rest", "beta2", "beta2_rest", "r", "e"


def takes(theta, m, v):
    """Arrays that are contiguous, of one floating dtype; that of g is θ's."""
    return theta.dtype.name in FLOATS and all(
        a.dtype == theta.dtype and a.flags.c_contiguous for a in (theta, m, v)
    )


def table(like, rows):
    """An array for the numbers of a step, in `rows` different ways, for parameters like `like`."""
    return array_namespace(like).empty((rows, len(NUMBERS)), dtype=sum_dtype(like))


def write(numbers, row, values):
    """A row of such an array; values: a dict of NUMBERS."""
    values = [values[name] for name in NUMBERS]
    kernels("adam.cu", numbers).launch("write", 1, 1, numbers, row, *values)


def update(jobs, numbers):
    """jobs: (row, (θ, g, m, v)) for each parameter, all of one dtype. Changes θ, m and v."""
    xp = array_namespace(numbers)
    jobs = [(row, (theta, xp.ascontiguousarray(g), m, v)) for row, (theta, g, m, v) in jobs]
    for chunks, many in tables(jobs):
        kernels("adam.cu", jobs[0][1][0]).launch("update", chunks, 256, many, numbers)
