"""linear_cross_entropy with the gradients in the forward pass: what its forms for the CPU and for
GPUs share.

There are three products, for z, dH and dW. manual/linear_cross_entropy.py computes the scores again
in the backward pass, which is a fourth. With "sum" and "mean" this is not necessary: dL is one
number, and a factor of every gradient. So `forward` is told which gradients will be needed and
computes them for dL = 1, while the scores of the chunk are there; `backward` multiplies them by dL.
With "none" there is a dL_n for each row, which only `backward` knows, so it computes the scores
again. (Hsu et al. 2024, "Liger Kernel: efficient Triton kernels for LLM training", section 3.)

For each chunk all of W is read, and all of dW is read and written. So a chunk has as many rows as
128 MiB hold, 8 times those in manual/. It is one array: δ is written in the place of z.

Letters: manual/linear_cross_entropy.py. Arrays are held in dicts by their letters, {"h": ..., "W":
..., "b": ...}.
"""

from math import prod

import numpy as np

from ..backends import array_namespace, products
from ..backends.sums import column_sums, sum_dtype, total
from ..backends.threads import ALIGN, matmul, parallel_map, slices_for_product

CHUNK = 1 << 25  # scores that exist at a time: 128 MiB in float32
CLASSES = 1024  # of which dW is computed at a time


def forward(losses_of_rows, h, W, b, kept, S, shape, reduction, gradients):
    """The loss, and the cache. kept (N,): which rows are not ignored. S: what a mean divides by.

    losses_of_rows(n, z, g): ℓ of the rows n, whose scores without the bias are z. If g (N,), what
    arrives at ℓ, is not None, δ takes the place of z.
    """
    xp, arrays, per_row = array_namespace(kept), {"h": h, "W": W, "b": b}, reduction == "none"
    g = xp.where(kept, 1 / S, 0.0) if reduction == "mean" else kept  # if dL = 1
    g = g.astype(sum_dtype(h))
    ell, ds = by_chunks(losses_of_rows, arrays, g, [] if per_row else wanted(arrays, gradients))
    if per_row:
        loss = ell.reshape(shape)
    else:
        loss = ell.sum() if reduction == "sum" else ell.sum() / S
    return loss.astype(h.dtype), (losses_of_rows, arrays, kept, g, ds, per_row)


def backward(dL, cache, needs=None):
    """dL like the loss -> dhidden, dweight, None, dbias (None if not given), None.

    What `forward` has computed is given away, so that nothing is copied: it leaves the cache, and
    another call, where a graph is walked twice, computes it again. (In threads they may meet here:
    each takes what it finds.)
    """
    losses_of_rows, arrays, kept, g, ready, per_row = cache
    needed, dL = wanted(arrays, needs or (True,) * 5), dL.astype(g.dtype)
    if per_row:
        g, dL = array_namespace(g).where(kept, dL.reshape(-1), 0.0), 1
    ds = {x: ready.pop(x, None) for x in needed}
    if any(d is None for d in ds.values()):
        _, ds = by_chunks(losses_of_rows, arrays, g, needed)
    for d in ds.values():
        d *= dL
    dh, dW, db = (ds[x].astype(a.dtype, copy=False) if x in ds else None for x, a in arrays.items())
    return dh, dW, None, db, None


def wanted(arrays, needs):
    """The letters of the arrays that are given and need gradients. needs: of h, W, y, b, w."""
    need = dict(zip(("h", "W", "y", "b", "w"), needs))
    return [x for x, a in arrays.items() if a is not None and need.get(x)]


def by_chunks(losses_of_rows, arrays, g, wanted):
    """ℓ (N,), and the gradients {letter: array} that are wanted, where g (N,) arrives at ℓ."""
    A, N, (V, D) = g.dtype, len(g), arrays["W"].shape
    h, W = (arrays[x].astype(A, copy=False) for x in ("h", "W"))
    h, W = products.operands(h.reshape(N, D), W)
    xp, M = array_namespace(g), max(1, CHUNK // V)
    M = M // ALIGN * ALIGN or M
    ell, scores = xp.empty(N, dtype=A), xp.empty((min(M, N), V), dtype=A)
    ds = {x: xp.zeros(arrays[x].shape, dtype=A) for x in wanted}
    for n in [slice(i, min(i + M, N)) for i in range(0, N, M)]:
        z = matmul(h[n], W.T, out=scores[: n.stop - n.start])
        ell[n] = losses_of_rows(n, z, g[n] if wanted else None)
        add_linear(ds, n, z, h[n], W)
    return ell, ds


def add_linear(ds, n, δ, h, W):
    """Adds to dh, dW and db what the rows n, with these δ, give. The classes v are cut among the
    threads: they have different rows of dW, and dH is the sum of their terms."""
    xp, A, (V, D) = array_namespace(δ), δ.dtype, W.shape
    δ_ = δ.astype(W.dtype, copy=False)  # rounded, as W was

    def product(a, b):
        return products.matmul(a, b, out=xp.empty((len(a), D), dtype=A))

    def add_classes(v):
        if "W" in ds:
            ds["W"][v] += product(δ_[:, v].T, h)  # δᵀ H
        if "b" in ds:
            ds["b"][v] += column_sums(δ[:, v])  # δᵀ 1

    step = CLASSES if xp is np else V
    parallel_map(add_classes, [slice(v, v + step) for v in range(0, V, step)])
    if "h" in ds:
        slices = slices_for_product(xp, V, δ.size * D)
        terms = parallel_map(lambda v: product(δ_[:, v], W[v]), slices)
        ds["h"].reshape(prod(ds["h"].shape[:-1]), D)[n] = total(terms)  # δ W = Σ_slices δ_v W_v
