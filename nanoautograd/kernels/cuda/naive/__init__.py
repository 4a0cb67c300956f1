"""Three operations as kernels that anybody can read: README.md, which is to be read first."""

from ....backends import array_namespace
from ..runtime.source import source, type_of

THREADS = 128  # of a block


def launch(file, kernel, n, *arguments):
    """Run a kernel of a file with n threads, and a few more that have nothing to do. The type T is
    that of the first argument, an array."""
    kernels = source(f"../naive/{file}", T=type_of(arguments[0]))
    kernels.launch(kernel, -(-n // THREADS), THREADS, *arguments)


def contiguous(*arrays):
    """The arrays with all elements side by side in memory, row after row, as kernels count them."""
    return [array_namespace(a).ascontiguousarray(a) for a in arrays]
