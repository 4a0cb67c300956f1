"""Elementwise work on arrays of many sizes: large ones in blocks, small ones together."""

from collections.abc import Callable, Iterable

import numpy as np

from ..backends import array_namespace, threads


def in_blocks(f: Callable, jobs: Iterable[tuple]) -> list:
    """Calls f(*options, *arrays) for each job, (options, arrays): with blocks of rows of the
    arrays, which have one shape, or with all of them where they are small. Returns what f returned.

    The threads share the blocks; small arrays go to a thread together. A GPU's arrays are not cut,
    and stay in the calling thread, which is the one that has their device and stream; their results
    come first.
    """
    chunks: list[list] = []
    room, results = 0, []
    for options, arrays in jobs:
        if array_namespace(*arrays) is not np:
            results.append(f(*options, *arrays))
            continue
        size = arrays[0].size
        if size <= threads.BLOCK:
            blocks = [...]
        else:
            rows = len(arrays[0])
            step = max(1, threads.BLOCK * rows // size)
            blocks = [slice(i, i + step) for i in range(0, rows, step)]
        for i in blocks:
            if room <= 0:
                chunks.append([])
                room = threads.BLOCK
            chunks[-1].append((options, arrays, i))
            room -= size // len(blocks)

    def work(chunk: list) -> list:
        return [f(*options, *(a[i] for a in arrays)) for options, arrays, i in chunk]

    return results + [y for ys in threads.parallel_map(work, chunks) for y in ys]
