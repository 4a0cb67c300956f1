"""The roofline of the machine: what a step takes at least, measured like a peer in the same rounds.

`products` computes the matrix products of a step and nothing else, with the BLAS of NumPy (or
cuBLAS, in the precision that is measured) at exactly their shapes, into memory that is there
already; each has arrays of its own, as the layers of a model have, up to an amount that no cache
holds. In bfloat16 they are rounded before. `copy` moves as many bytes as the step has to move
outside of them, with one thread a core. The roofline is the sum of both; a step that overlaps the
two, or whose data stays in a cache that the copy does not fit, may come below it.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np

from .peers import Ours

LARGEST = 1 << 28  # bytes that are copied at a time
DISTINCT = 1 << 26  # bytes in distinct arrays of one shape


class Roofline(Ours):
    """On the device of ours."""

    def prepare(self, threads):
        """The BLAS keeps its own threads, as many as the environment says."""
        self.threads = threads if self.device == "cpu" else 1

    def products(self, case, dtype):
        products, phases = self.module.backends.products, []  # [(count, [(a, b, c)])]
        arrays = Arrays(self.namespace(), dtype)
        for count, alike in groupby(case.work().products, key=lambda p: p.count):
            operands = [arrays.operands(p) for p in alike]
            phases.append((count, [(*products.operands(a, b), c) for a, b, c in operands]))

        def step():
            for count, operands in phases:
                for _ in range(count):
                    for a, b, c in operands:
                        products.matmul(a, b, c)
            return ()

        return step

    def copy(self, case, dtype):
        xp = self.namespace()
        one = xp.dtype(dtype).itemsize
        n = max(1, case.work().moved * one // 2)  # read once and written once
        size = min(n, LARGEST)
        source, target = xp.ones(size, xp.uint8), xp.ones(size, xp.uint8)
        parts = self.threads if size >= 1 << 20 else 1  # handing out less costs more
        cuts = [slice(size * i // parts, size * (i + 1) // parts) for i in range(parts)]
        pool = ThreadPoolExecutor(parts) if parts > 1 else None

        def part(cut):
            xp.copyto(target[cut], source[cut])

        def step():
            done = 0
            while done < n:
                if n - done < size:
                    xp.copyto(target[: n - done], source[: n - done])
                elif pool:
                    list(pool.map(part, cuts))
                else:
                    part(cuts[0])
                done += size
            return ()

        return step

    def namespace(self):
        return self.module.backends.array_namespace(self.put(np.empty(0)))


class Arrays:
    """Arrays of any shape: new ones, until those of a shape take DISTINCT bytes, then again those
    that were given out first."""

    def __init__(self, xp, dtype):
        self.xp, self.dtype, self.made, self.given = xp, dtype, {}, {}

    def operands(self, p):
        """(a, b, c) of the Product p, c = a b."""
        batch = (p.batch,) if p.batch > 1 else ()
        return [self.array((*batch, *shape)) for shape in ((p.m, p.k), (p.k, p.n), (p.m, p.n))]

    def array(self, shape):
        made, n = self.made.setdefault(shape, []), self.given.get(shape, 0)
        self.given[shape] = n + 1
        size = math.prod(shape)
        if not made or (len(made) + 1) * size * self.xp.dtype(self.dtype).itemsize <= DISTINCT:
            made.append((self.xp.arange(size) % 7 - 3).astype(self.dtype).reshape(shape))
        return made[n % len(made)]
