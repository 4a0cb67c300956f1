"""The most memory that a step has in use.

On the processor it is what the system counts for the process, less what the libraries took before
the case was built: anonymous memory alone, for pages of code are not the step's. Each peer has a
process of its own, so nothing that another one left behind is counted; before the baseline is read
a tiny case of the same kind has run, so that all code is loaded. Memory that was freed but kept by
the allocator is given back (malloc_trim), the high-water mark is reset (Linux can, clear_refs), and
steps run. It contains weights, gradients, the optimiser's state, the data, and all that a step
makes; of JAX also what its compiler keeps of the case.
"""

import ctypes
import gc
from pathlib import Path

PROC = Path("/proc/self")


def status():
    """{name: bytes} of /proc/self/status; empty where there is none."""
    try:
        lines = (PROC / "status").read_text().splitlines()
    except OSError:
        return {}
    return {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if rest.endswith(" kB")
    }


def anonymous():
    """Bytes of memory that are no file's; None where the system does not say."""
    return status().get("RssAnon")


def trim():
    """Give back to the system what is freed."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library
        pass


def peak_of(steps, baseline):
    """The most memory while `steps()` runs, above the baseline (`anonymous` before anything was
    built), in bytes; None where it cannot be known."""
    trim()
    try:
        (PROC / "clear_refs").write_text("5")  # the mark becomes what is in use now
    except OSError:
        return None
    steps()
    after = status()
    return max(0, after["VmHWM"] - after["RssFile"] - after["RssShmem"] - baseline)


class PoolPeak:
    """Keeps account of the most bytes that CuPy's pool has given out at a time, until `close`."""

    def __init__(self):
        import cupy

        self.used = self.most = cupy.get_default_memory_pool().used_bytes()
        account = self

        class Hook(cupy.cuda.MemoryHook):
            name = "benchmarks.memory.PoolPeak"

            def malloc_postprocess(self, mem_size, **_):
                account.used += mem_size
                account.most = max(account.most, account.used)

            def free_postprocess(self, mem_size, **_):
                account.used -= mem_size

        self.hook = Hook()
        self.hook.__enter__()

    def close(self):
        """Ends the account; its figure."""
        self.hook.__exit__()
        return self.most
