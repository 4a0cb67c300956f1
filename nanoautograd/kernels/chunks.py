"""linear_cross_entropy with the gradients in the forward pass: what its forms for the CPU and for
GPUs share.

There are three products, for z, dH and dW. manual/linear_cross_entropy.py computes the scores again
in the backward pass, which is a fourth. With "sum" and "mean" this is not necessary: dL is one
number, and a factor of every gradient. So `forward` is told which gradients will be needed and
computes them for dL = 1, while the scores of the chunk are there; `backward` multiplies them by dL.
With "none" there is a dL_n for each row, which only `backward` knows, so it computes the scores
again. (Hsu et al. 2024, "Liger Kernel: efficient Triton kernels for LLM training", section 3.)

A chunk is one array, of many rows, so that products are long; δ is written in the place of z.
"""

from math import prod

import numpy as np

from ..backends import array_namespace, products
from ..backends.sums import column_sums, sum_dtype, total
from ..backends.threads import ALIGN, matmul, parallel_map, slices_for_product

CHUNK = 1 << 25  # scores that exist at a time: 128 MiB in float32
CLASSES = 1024  # of which dW is computed at a time


def forward(rows, h, W, b, kept, S, shape, reduction, gradients):
    """The loss, and the cache. kept (N,): which rows are not ignored. S: what a mean divides by.

    rows(n, z, g): ℓ of the rows n, whose scores without the bias are z. If g (N,), what arrives at
    ℓ, is not None, δ takes the place of z.
    """
    xp, arrays, each = array_namespace(kept), {"h": h, "W": W, "b": b}, reduction == "none"
    g = xp.where(kept, 1 / S, 0.0) if reduction == "mean" else kept  # if dL = 1
    g = g.astype(sum_dtype(h))
    ell, ds = by_chunks(rows, arrays, g, "" if each else wanted(arrays, gradients))
    if each:
        loss = ell.reshape(shape)
    else:
        loss = ell.sum() if reduction == "sum" else ell.sum() / S
    return loss.astype(h.dtype), (rows, arrays, kept, g, ds, each)


def backward(dL, cache, needs=None):
    """dL like the loss -> dhidden, dweight, None, dbias (None if not given), None.

    What `forward` has computed is given away, so that nothing is copied: it leaves the cache, and
    another call, where a graph is walked twice, computes it again.
    """
    rows, arrays, kept, g, ready, each = cache
    needed, dL = wanted(arrays, needs or (True,) * 5), dL.astype(g.dtype)
    if each:
        g, dL = array_namespace(g).where(kept, dL.reshape(-1), 0.0), 1
    if not each and ready.keys() >= set(needed):
        ds = {x: ready.pop(x) for x in needed}
    else:
        _, ds = by_chunks(rows, arrays, g, needed)
    for d in ds.values():
        d *= dL
    dh, dW, db = (ds[x].astype(a.dtype, copy=False) if x in ds else None for x, a in arrays.items())
    return dh, dW, None, db, None


def wanted(arrays, needs):
    """The letters of the arrays of which gradients are needed."""
    return "".join([x for x, need in zip("hWybw", needs) if need and arrays.get(x) is not None])


def by_chunks(rows, arrays, g, wanted):
    """ℓ (N,), and the gradients {letter: array} that are wanted, where g (N,) arrives at ℓ."""
    A, N, (V, D) = g.dtype, len(g), arrays["W"].shape
    h, W = (arrays[x].astype(A, copy=False) for x in "hW")
    h, W = products.operands(h.reshape(N, D), W)
    xp, M = array_namespace(g), max(1, CHUNK // V)
    M = M // ALIGN * ALIGN or M
    ell, scores = xp.empty(N, dtype=A), xp.empty((min(M, N), V), dtype=A)
    ds = {x: xp.zeros(arrays[x].shape, dtype=A) for x in wanted}
    for n in [slice(i, min(i + M, N)) for i in range(0, N, M)]:
        z = matmul(h[n], W.T, out=scores[: n.stop - n.start])
        ell[n] = rows(n, z, g[n] if wanted else None)
        add_linear(ds, n, z, h[n], W)
    return ell, ds


def add_linear(ds, n, δ, h, W):
    """Adds to dh, dW and db what the rows n, with these δ, give. The classes are shared among the
    threads."""
    xp, A, (V, D) = array_namespace(δ), δ.dtype, W.shape
    δ_ = δ.astype(W.dtype, copy=False)  # rounded, as W was

    def product(a, b):
        return products.matmul(a, b, out=xp.empty((len(a), D), dtype=A))

    def classes(v):
        if "W" in ds:
            ds["W"][v] += product(δ_[:, v].T, h)
        if "b" in ds:
            ds["b"][v] += column_sums(δ[:, v])

    step = CLASSES if xp is np else V
    parallel_map(classes, [slice(v, v + step) for v in range(0, V, step)])
    if "h" in ds:
        slices = slices_for_product(xp, V, δ.size * D)
        terms = parallel_map(lambda v: product(δ_[:, v], W[v]), slices)
        ds["h"].reshape(prod(ds["h"].shape[:-1]), D)[n] = total(terms)
