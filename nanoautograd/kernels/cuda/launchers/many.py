"""Many arrays in few launches: the host's half of many.cuh."""

import numpy as np

from ..runtime.source import address, source, type_of

MOST = 64  # in a launch: a power of two; the table has to fit into 4 KiB
CHUNK = 4096  # elements for a block


def kernels(file, like):
    """The source for arrays of this dtype."""
    return source(file, T=type_of(like), MOST=MOST, CHUNK=CHUNK)


def tables(jobs):
    """(chunks, table) for each launch: the number of blocks and the argument. jobs: (row, arrays)
    with a few contiguous arrays of one size each; those without elements are left out."""
    jobs = [(row, arrays) for row, arrays in jobs if arrays[0].size]
    for at in range(0, len(jobs), MOST):
        rows, arrays = zip(*jobs[at : at + MOST])
        sizes = [first.size for first, *_ in arrays]
        begins = np.cumsum([0, *(-(-size // CHUNK) for size in sizes)])
        table = np.zeros(
            (),
            [
                ("x", np.int64, (len(arrays[0]), MOST)),  # on the host
                *((name, np.int64, MOST) for name in ("size", "begin", "row")),
            ],
        )
        n = len(rows)
        table["x"][:, :n] = np.transpose([[address(a) for a in of_one] for of_one in arrays])
        table["size"][:n], table["row"][:n] = sizes, rows
        table["begin"][:n], table["begin"][n:] = begins[:-1], begins[-1]
        yield int(begins[-1]), table
