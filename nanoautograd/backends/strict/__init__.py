"""A strict fake of CuPy, for machines that have no GPU.

`StrictArray` wraps a NumPy array and computes on the CPU, but it behaves as `cupy.ndarray` does,
and `xp` as the module `cupy` does: what would fail on a GPU, would wait for it, or would differ
in its result, fails or differs here in the same way. So a suite that passes on the fake has
said most of what can be said about the GPU without one; README.md lists what is refused, what is
imitated and what a fake cannot see.

    xp.asarray(x)                to this "device";  a.get() back, and nothing else goes back
    with no_sync(): ...          in here whatever makes the CPU wait for the GPU is refused
    with allow_promotion(): ...  in here float32 may meet float64, and a dtype may be left out

What CuPy has (names, parameters) is read from the committed snapshot `cupy_api.json`; facts about
its behaviour were read in the source of CuPy 14.2 (`_core/core.pyx`, `_kernel.pyx`,
`_routines_indexing.pyx`).
"""

from .array import StrictArray
from .namespace import xp
from .rules import StrictError, allow_promotion, no_sync

__all__ = ["StrictArray", "StrictError", "allow_promotion", "no_sync", "xp"]
