"""Three operations as kernels that anybody can read: the first thing to read in kernels/cuda/.

A *kernel* is a function that a GPU calls many times at once. Each call is a *thread*; it finds its
number, and computes one number of the result, or one row, as the equation says:

    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;     // the number of this thread
    if (i >= n) return;                                                 // there are a few too many
    y[i] = tanh(x[i]);

Threads are started in blocks of blockDim.x; `launch` below starts enough of them for n numbers.
Nothing here is done to be fast: every thread reads what it needs from the GPU's memory, however
often others read it too. So each equation of manual/ is a line, with the equation beside it.

    cross_entropy.cu     softmax and cross entropy: a thread a row, and a thread an element
    attention.cu         a thread a query, and then a thread an element of each gradient
    rnn.cu               a launch a step, and then a thread an element of each gradient

The Python files of these names launch them: `takes`, `forward` and `backward`, as in launchers/.
They are run and tested (tests/kernels/test_naive.py), but nothing computes with them: the same
operations, made fast, are in sources/.
"""

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
