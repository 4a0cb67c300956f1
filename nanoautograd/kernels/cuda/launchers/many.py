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
        part, chunks = jobs[at : at + MOST], 0
        table = np.zeros(
            (),
            [
                ("x", np.int64, (len(part[0][1]), MOST)),  # on the host
                *((name, np.int64, MOST) for name in ("size", "begin", "row")),
            ],
        )
        for i, (row, arrays) in enumerate(part):
            table["x"][:, i] = [address(a) for a in arrays]
            table["size"][i], table["begin"][i], table["row"][i] = arrays[0].size, chunks, row
            chunks += -(-arrays[0].size // CHUNK)
        table["begin"][len(part) :] = chunks
        yield chunks, table
