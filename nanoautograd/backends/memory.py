"""Memory of arrays that are gone, for those that come.

The C library hands the memory of a large array back to the system as soon as the array is gone, and
asks for new one for the next; and the system fills what it gives with zeros, page by page, as it is
first touched. A training step makes the same arrays again and again, and may wait for this as long
as for arithmetic. `keep_memory` tells the C library to keep what it has.
"""

__all__ = ["keep_memory"]

# Options of mallopt, from malloc.h of the GNU C library.
TRIM_THRESHOLD, MMAP_MAX, PERTURB, ARENA_MAX = -1, -4, -6, -8
DEFAULTS = 128 * 1024, 65536                    # of the first two


def keep_memory(keep=True, poison=0):
    """Keep freed memory for new arrays, in all of this process, or hand it back again: `keep` False
    sets the library's defaults, but for the one pool that all threads share.

    The process stays as large as it was at its largest. poison: a number from 1 to 254 fills memory
    with it when it is freed, and new memory with its complement to 255, so that a test sees who
    reads what was not written; 0 does not. (255 would fill new memory with zeros.)

    Returns whether it was possible: elsewhere than with the GNU C library nothing happens. Raises
    ValueError for another poison.
    """
    if poison not in range(255):
        raise ValueError(f"keep_memory: poison must be from 1 to 254, or 0 for none; got {poison}")
    import ctypes
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim, maps = (2 ** 31 - 1, 0) if keep else DEFAULTS
    mallopt(ARENA_MAX, 1)                       # what one thread frees, another one can use
    return all(mallopt(option, value) for option, value in (
        (TRIM_THRESHOLD, trim), (MMAP_MAX, maps), (PERTURB, poison)))
