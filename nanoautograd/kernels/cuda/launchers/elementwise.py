"""Functions of single numbers on a GPU: what launchers need for elementwise.cuh."""

from ....backends import array_namespace
from ..runtime.source import source, type_of

THREADS = 256


def launch(file, kernel, *arrays, numbers=()):
    """Run kernel(*arrays, n, *numbers) of a file; returns the array y that it makes, the last of
    its arrays. arrays: contiguous, n elements each; y gets the dtype of the first."""
    a = arrays[0]
    y = array_namespace(a).empty(a.size, dtype=a.dtype)
    in_block = THREADS * 16 // a.itemsize
    source(file, T=type_of(a)).launch(
        kernel, -(-a.size // in_block), THREADS, *arrays, y, a.size, *numbers
    )
    return y
