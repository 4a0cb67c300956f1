"""The limit of the machine, measured like a peer in the same rounds.

`products` computes the matrix products of a step and nothing else, with the BLAS of NumPy (or
cuBLAS, by CuPy) at exactly their shapes, into memory that is there already. `copy` moves as many
bytes as the step has to move outside of them, with one thread a core. What a step takes at least is
the sum of both; a step that overlaps the two, or whose data stays in a cache that the copy does not
fit, may come below it.
"""

from concurrent.futures import ThreadPoolExecutor

from .peers import Ours

LARGEST = 1 << 28               # bytes that are copied at a time


class Limit(Ours):
    """On the device of ours."""

    def start(self, threads, precision):
        super().start(threads, precision)
        self.threads = threads if self.device == "cpu" else 1

    def products(self, case, dtype):
        xp = self.namespace()
        tasks = []
        for p in case.work().products:
            batch = (p.batch,) if p.batch > 1 else ()
            a, b, c = (xp.ones((*batch, *shape), dtype)
                       for shape in ((p.m, p.k), (p.k, p.n), (p.m, p.n)))
            tasks.append((a, b, c, p.count))

        def step():
            for a, b, c, count in tasks:
                for _ in range(count):
                    xp.matmul(a, b, out=c)
            return ()
        return step

    def copy(self, case, dtype):
        xp = self.namespace()
        one = xp.dtype(dtype).itemsize
        n = max(1, case.work().moved * one // 2)            # read once and written once
        size = min(n, LARGEST)
        source, target = xp.ones(size, xp.uint8), xp.ones(size, xp.uint8)
        parts = self.threads if size >= 1 << 20 else 1      # handing out less costs more
        cuts = [slice(size * i // parts, size * (i + 1) // parts) for i in range(parts)]
        pool = ThreadPoolExecutor(parts) if parts > 1 else None

        def part(cut):
            xp.copyto(target[cut], source[cut])

        def step():
            done = 0
            while done < n:
                if n - done < size:
                    xp.copyto(target[:n - done], source[:n - done])
                elif pool:
                    list(pool.map(part, cuts))
                else:
                    part(cuts[0])
                done += size
            return ()
        return step

    def namespace(self):
        if self.device == "cuda":
            import cupy
            return cupy
        import numpy
        return numpy
