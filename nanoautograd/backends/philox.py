"""Random numbers that depend on a seed and a position, and on nothing else: Philox 4x32-10.

A generator with a state gives its numbers one after the other; on a GPU thousands are drawn at a
time, and NumPy's and CuPy's states differ. A counter-based generator has no state. Its n-th number
is a function of n, a cipher that scrambles the counter n under a key, the seed. So every element of
an array is computed on its own, and any library that multiplies integers gets the same ones.

    c = (c0, c1, c2, c3)    a block: the counter to begin with, four random words in the end
    k = (k0, k1)            the key, from the seed
    hi, lo                  upper and lower 32 bits of a product of two words, which has 64

All words have 32 bits. A block goes through ten rounds (Salmon, Moraes, Dror and Shaw 2011,
"Parallel random numbers: as easy as 1, 2, 3", section 3.3 and its equations for N = 4, W = 32):

    c0, c1, c2, c3  ←  hi(M1 c2) ⊕ c1 ⊕ k0,  lo(M1 c2),  hi(M0 c0) ⊕ c3 ⊕ k1,  lo(M0 c0)
    k0, k1          ←  k0 + W0,  k1 + W1     modulo 2³²

    M0 = D2511F53,  M1 = CD9E8D57            chosen so that a changed bit spreads as fast as it can
    W0 = 9E3779B9,  W1 = BB67AE85            the golden ratio and √3 - 1, times 2³²

The words of the blocks 0, 1, 2, ... one after the other are the random numbers of a seed.
"""

import numpy as np

from . import array_namespace
from .threads import parallel_map

WORD = 2**32 - 1
M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
BLOCKS = 32768  # so many at a time on the CPU: they stay in its cache


class DeviceOffset:
    """An offset in the memory of a device: the uint64 in array[()], which the host does not know,
    plus an integer."""

    def __init__(self, array, plus=0):
        self.array, self.plus = array, plus

    def __add__(self, n):
        return DeviceOffset(self.array, self.plus + n)

    __radd__ = __add__


def words(like, n, seed, offset=0):
    """n random words, uint32 (n,), where the array `like` lives: those with the numbers offset,
    offset + 1, ... of this seed. Both are integers from 0 to 2⁶⁴ - 1 (else ValueError); the offset
    may also be a DeviceOffset."""
    if isinstance(offset, DeviceOffset):
        return _words_from(array_namespace(like), n, seed, offset)
    for name, value in (("seed", seed), ("offset", offset)):
        if not 0 <= value < 2**64:
            raise ValueError(f"philox: {name} must be from 0 to 2**64 - 1; got {value}")
    xp = array_namespace(like)
    first, last = offset // 4, (offset + n + 3) // 4
    out = xp.empty((last - first, 4), dtype=xp.uint32)
    step = max(1, BLOCKS if xp is np else len(out))

    def draw(i):
        rows = out[i : i + step]
        c0 = xp.arange(first + i, first + i + len(rows), dtype=xp.uint64)
        c = [c0, c0 >> 32, xp.zeros_like(c0), xp.zeros_like(c0)]
        c0 &= WORD
        philox(*c, seed & WORD, seed >> 32)
        for lane in range(4):
            rows[:, lane] = c[lane]

    parallel_map(draw, range(0, len(out), step))
    return out.reshape(-1)[offset % 4 :][:n]


def _words_from(xp, n, seed, offset):
    """The same for an offset that is in the memory of the device."""
    first = offset.array + offset.plus
    c0 = xp.arange(n // 4 + 2, dtype=xp.uint64) + (first >> 2)
    c = philox(c0 & WORD, c0 >> 32, xp.zeros_like(c0), xp.zeros_like(c0), seed & WORD, seed >> 32)
    numbers = xp.arange(n, dtype=xp.int64) + (first & 3).astype(xp.int64)
    return xp.stack(c, axis=-1).astype(xp.uint32).reshape(-1)[numbers]


def philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds, in place: arrays of words, kept in uint64 to have room for products, and integers
    k. Returns the arrays."""
    xp = array_namespace(c0)
    p0, p1 = xp.empty_like(c0), xp.empty_like(c0)
    for _ in range(10):
        xp.multiply(c0, M0, out=p0)
        xp.multiply(c2, M1, out=p1)
        xp.right_shift(p1, 32, out=c0)
        c0 ^= c1
        c0 ^= k0
        xp.right_shift(p0, 32, out=c2)
        c2 ^= c3
        c2 ^= k1
        xp.bitwise_and(p1, WORD, out=c1)
        xp.bitwise_and(p0, WORD, out=c3)
        k0, k1 = k0 + W0 & WORD, k1 + W1 & WORD
    return c0, c1, c2, c3
