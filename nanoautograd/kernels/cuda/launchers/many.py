"""Many arrays in few launches: what launchers need for many.cuh."""

import numpy as np

from ..runtime.source import address, source, type_of

MAX_PARAMETERS = 64  # in a launch: a power of two; the table has to fit into 4 KiB
CHUNK_SIZE = 4096  # elements for a block


def kernels(file, like):
    """The source for arrays of this dtype."""
    return source(file, T=type_of(like), MAX_PARAMETERS=MAX_PARAMETERS, CHUNK_SIZE=CHUNK_SIZE)


def tables(jobs):
    """(chunks, table) for each launch: the number of blocks and the argument. jobs: (row, arrays)
    with a few contiguous arrays of one size each; those without elements are left out."""
    jobs = [(row, arrays) for row, arrays in jobs if arrays[0].size]
    for at in range(0, len(jobs), MAX_PARAMETERS):
        rows, arrays = zip(*jobs[at : at + MAX_PARAMETERS])
        sizes = [first.size for first, *_ in arrays]
        begins = np.cumsum([0, *(-(-size // CHUNK_SIZE) for size in sizes)])
        table = np.zeros(
            (),
            [
                ("x", np.int64, (len(arrays[0]), MAX_PARAMETERS)),  # on the host
                *((name, np.int64, MAX_PARAMETERS) for name in ("size", "begin", "row")),
            ],
        )
        n = len(rows)
        table["x"][:, :n] = np.transpose([[address(a) for a in of_one] for of_one in arrays])
        table["size"][:n], table["row"][:n] = sizes, rows
        table["begin"][:n], table["begin"][n:] = begins[:-1], begins[-1]
        yield int(begins[-1]), table
