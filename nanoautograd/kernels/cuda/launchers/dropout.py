"""Dropout on a GPU: the launcher of dropout.cu.

forward and backward are those of manual/dropout.py where something is dropped.
"""

from ....backends import array_namespace
from ....backends.philox import DeviceOffset
from ....manual.dropout import least, scale
from ..runtime.source import FLOATS, source, type_of
from .elementwise import THREADS


def takes(x, *, p=0.5, training=True, seed, offset=0):
    return (
        x.dtype.name in FLOATS
        and training
        and 0 < p <= 1
        and 0 <= seed < 2**64
        and (isinstance(offset, DeviceOffset) or 0 <= offset < 2**64)
    )


def forward(x, *, p=0.5, training=True, seed, offset=0):
    return _times(x, p, seed, offset), (p, seed, offset)


def backward(dy, cache, needs=None):
    return (_times(dy, *cache),)


def _times(x, p, seed, offset):
    """r x."""
    xp = array_namespace(x)
    y = xp.empty(x.shape, dtype=x.dtype)
    blocks = -(-(x.size + 3) // (4 * THREADS)) if x.size else 0
    source("dropout.cu", T=type_of(x)).launch(
        "forward", blocks, THREADS, xp.ascontiguousarray(x), y, x.size, *numbers(p, seed, offset)
    )
    return y


def numbers(p, seed, offset):
    """seed, offset, there, least and scale, as dropout.cu takes them."""
    there = None
    if isinstance(offset, DeviceOffset):
        offset, there = offset.plus, offset.array
    return seed, offset, there, least(p), scale(p)
