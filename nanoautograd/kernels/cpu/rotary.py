"""Rotary position embedding as a product of complex numbers.

Neighbours (a, b) lie in memory as NumPy's complex number a + ib does, and to turn a pair is to
multiply it by exp(iφ):

    a' + ib' = (a + ib) (cos φ + i sin φ) = (a cos φ - b sin φ) + i (a sin φ + b cos φ)

So the array is read and written once, where manual/rotary.py makes four products of every other
number. If the pairs are not neighbours it is done as there. The angles of the last few calls are
kept: all layers of a model turn queries and keys by the same.
"""

from functools import lru_cache

import numpy as np

from ...manual.rotary import angles, rotary_embedding, turned

COMPLEX = {"float32": np.complex64, "float64": np.complex128}


def forward(x, *, base=10000.0, offset=0, interleaved=True):
    cos, sin = _angles(*x.shape[-2:], x.dtype, float(base), float(offset))
    return _turned(x, cos, sin, interleaved), (cos, sin, interleaved)


def backward(dy, cache, needs=None):
    cos, sin, interleaved = cache
    dx = _turned(dy, cos, -sin, interleaved)
    return (dx,)


@lru_cache(8)
def _angles(T, d, dtype, base, offset):
    return angles(np.empty((T, d), dtype=dtype), base, offset)


def _turned(x, cos, sin, interleaved):
    pair = COMPLEX.get(x.dtype.name)
    if not interleaved or pair is None:
        return turned(x, cos, sin, interleaved)
    if x.strides[-1] != x.itemsize:
        x = x.copy()
    y = x.view(pair) * (cos + 1j * sin)
    return y.view(x.dtype)


rotary_embedding.cpu = rotary_embedding.form(forward, backward)
