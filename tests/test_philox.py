"""The counter-based generator: published values, a plain loop, every backend, statistics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoautograd.backends import philox
from nanoautograd.testing import oracle

# Counter, key, result: from the tests that the authors of the paper publish with their code.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, want", KNOWN)
def test_it_gives_the_published_values(backend, counter, key, want):
    found = philox.philox(*(backend.array([c], np.uint64) for c in counter), *key)
    assert tuple(int(backend.numpy(c)[0]) for c in found) == want


@given(n=st.integers(0, 40), seed=st.integers(0, 2**64 - 1), offset=st.integers(0, 2**63))
def test_words_are_those_of_a_plain_loop(backend, n, seed, offset):
    found = philox.words(backend.array(0.0), n, seed, offset)
    assert found.dtype == np.uint32 and found.shape == (n,)
    want = [oracle.random_word(seed, offset + i) for i in range(n)]
    np.testing.assert_array_equal(backend.numpy(found), np.array(want, np.uint32))


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 65535, 65537])
def test_a_part_is_the_part_of_the_whole(offset):
    """Also across the pieces in which they are made."""
    n = 4 * philox.BLOCKS + 9
    whole = philox.words(np.zeros(()), offset + n, 7)
    np.testing.assert_array_equal(philox.words(np.zeros(()), n, 7, offset), whole[offset:])


def test_all_bits_are_even_and_neighbours_independent():
    bits = np.unpackbits(philox.words(np.zeros(()), 100_000, 1).view(np.uint8)).reshape(-1, 32)
    assert abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / 100_000**0.5
    for lag in (1, 2, 3, 4, 5):
        agree = (bits[lag:] == bits[:-lag]).mean(axis=0)
        assert abs(agree - 0.5).max() < 5 * 0.5 / 100_000**0.5
    other = np.unpackbits(philox.words(np.zeros(()), 100_000, 2).view(np.uint8)).reshape(-1, 32)
    assert abs((bits == other).mean() - 0.5) < 0.001


@pytest.mark.parametrize(
    "seed, offset, says", [(-1, 0, "seed.*-1"), (2**64, 0, "seed"), (0, -4, "offset.*-4")]
)
def test_wrong_arguments_are_named(seed, offset, says):
    with pytest.raises(ValueError, match=says):
        philox.words(np.zeros(()), 3, seed, offset)
