"""Memory of arrays that are gone, for those that come.

The C library hands the memory of a large array back to the system as soon as the array is gone, and
asks for new one for the next; and the system fills what it gives with zeros, page by page, as it is
first touched. A training step makes the same arrays again and again, and may wait for this as long
as for arithmetic. `keep_memory` tells the C library to keep what it has.
"""

__all__ = ["explain_full", "gpu_memory", "keep_memory"]

# Options of mallopt, from malloc.h of the GNU C library.
TRIM_THRESHOLD, MMAP_MAX, PERTURB, ARENA_MAX = -1, -4, -6, -8
DEFAULTS = 128 * 1024, 65536  # of the first two


def keep_memory(keep: bool = True, poison: int = 0) -> bool:
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
    trim, maps = (2**31 - 1, 0) if keep else DEFAULTS
    mallopt(ARENA_MAX, 1)  # what one thread frees, another one can use
    return all(
        mallopt(option, value)
        for option, value in ((TRIM_THRESHOLD, trim), (MMAP_MAX, maps), (PERTURB, poison))
    )


def gpu_memory():
    """(used, kept, free, total): bytes of the current GPU that are in arrays, that CuPy keeps for
    new ones, that are left, and all."""
    import cupy

    pool, (free, total) = cupy.get_default_memory_pool(), cupy.cuda.runtime.memGetInfo()
    return pool.used_bytes(), pool.free_bytes(), free, total


def explain_full(error):
    """Adds to an error about a GPU's memory, which says how much was asked for, what there is, and
    what helps. Arrays are let go of as with any error, and the program can go on."""
    if (
        type(error).__name__ != "OutOfMemoryError"
        or getattr(error, "__notes__", None)
        and any(note.startswith("the GPU has") for note in error.__notes__)
    ):
        return
    used, kept, free, total = gpu_memory()
    error.add_note(
        f"the GPU has {total / 2**30:.2f} GiB: {used / 2**30:.2f} are in arrays, "
        f"{kept / 2**30:.2f} are kept for new ones (in pieces, maybe all too small), "
        f"{free / 2**30:.2f} are free. Take a smaller batch, and call backward() for several of "
        "them before a step; or shorter sequences; or put what needs no gradient under "
        "nag.no_grad(). nag.cuda.free_memory() hands back what is kept"
    )
