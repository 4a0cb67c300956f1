"""Device-side assertions: kernels find an index that is out of range.

On the CPU an operation looks at its indices before it uses them. On a GPU to look at them from the
host is to wait for them, at every step. So the kernel that reads an index checks it, and if it is
wrong writes what it saw to a few numbers in the memory of the host, which the GPU can reach. The
host reads them, at no cost, at each call of such an operation and wherever it waits for a result
anyway, so the error arrives with the loss at the latest. With `debug` it waits after each call, and
the error comes from the line that made it. Each assertion has a number, and its launcher
enters the message (`register`).
"""

import numpy as np

from ....backends import WHEN_COPIED

__all__ = ["Assertions", "assertions", "check", "register"]

SIZE = 6  # sources/problem.cuh: what, place and value (two words each), limit

_messages = {}
_of_device = {}  # device -> Assertions
debug = False


def register(number, message):
    """Enters the message of the assertion of this number, 1 or more: a format of place, value,
    limit and last. Raises ValueError if the number has another."""
    if _messages.setdefault(number, message) != message:
        raise ValueError(
            f"register: assertion {number} says {_messages[number]!r}, not {message!r}"
        )


class Assertions:
    """What failed. array: for kernels, on their device; host: the same numbers, for NumPy."""

    def __init__(self, array, host, keep=None):
        self.array, self.host, self.keep = array, host, keep

    def check(self):
        """Raises IndexError if one has failed, once."""
        what = int(self.host[0])
        if what <= 0:  # nothing, or it is being written
            return
        *words, limit = (int(n) for n in self.host[1:])
        self.host[:] = 0
        place, value = ((high << 32) + (low & 0xFFFFFFFF) for low, high in (words[:2], words[2:]))
        raise IndexError(
            _messages[what].format(place=place, value=value, limit=limit, last=limit - 1)
        )


def assertions(xp, device):
    """The Assertions of kernels on a device."""
    if device not in _of_device:
        _of_device[device] = _pinned() if xp.__name__ == "cupy" else _plain(xp)
    return _of_device[device]


def check(xp, device):
    """Raise what failed in kernels on the device; with `debug`, after they have ended."""
    if device not in _of_device:
        return
    if xp.__name__ == "cupy" and debug:
        import cupy

        cupy.cuda.get_current_stream().synchronize()
    _of_device[device].check()


def _plain(xp):
    array = xp.zeros(SIZE, dtype=xp.int32)
    return Assertions(array, array if isinstance(array, np.ndarray) else array._host)


def _pinned():
    """Memory of the host that the device writes to; with unified addresses all that is allocated by
    cudaHostAlloc is (CUDA Runtime API, cudaHostAlloc)."""
    import cupy

    memory = cupy.cuda.alloc_pinned_memory(4 * SIZE)
    host = np.frombuffer(memory, dtype=np.int32, count=SIZE)
    host[:] = 0
    owned = cupy.cuda.UnownedMemory(memory.ptr, 4 * SIZE, memory)
    array = cupy.ndarray((SIZE,), cupy.int32, cupy.cuda.MemoryPointer(owned, 0))
    return Assertions(array, host, memory)


WHEN_COPIED.append(check)
