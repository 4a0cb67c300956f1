"""Gradients clipped by their norm on a GPU: the launcher of clip.cu."""

from ....backends import array_namespace
from ....backends.sums import sum_dtype
from ..runtime.source import FLOATS
from .many import kernels, tables


def takes(gradients):
    """Arrays of one floating dtype."""
    dtypes = {g.dtype.name for g in gradients}
    return len(dtypes) == 1 and dtypes <= set(FLOATS)


def clip(gradients, max_norm):
    """Returns new arrays, so scaled that their joint norm is at most max_norm, and the norm before,
    an array ()."""
    xp, dtype = array_namespace(*gradients), gradients[0].dtype
    launch = kernels("clip.cu", gradients[0]).launch
    A = sum_dtype(gradients[0])
    together = [xp.ascontiguousarray(g) for g in gradients]
    launches = list(tables([(0, (g,)) for g in together]))
    chunks = sum(n for n, _ in launches)
    norms, norm, scale = xp.empty(chunks, dtype=A), xp.empty((), dtype=A), xp.empty((), dtype=A)
    at = 0
    for n, many in launches:
        launch("chunk_norms", n, 256, many, norms[at : at + n], shared=32 * norms.itemsize)
        at += n
    launch("total", 1, 1024, norms, norm, scale, chunks, max_norm, shared=32 * norms.itemsize)
    new = [xp.empty(g.shape, dtype=dtype) for g in gradients]
    for n, many in tables([(0, pair) for pair in zip(together, new)]):
        launch("scaled", n, 256, many, scale)
    return new, norm
