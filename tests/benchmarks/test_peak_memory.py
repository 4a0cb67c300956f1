"""The most memory in use is that of the steps alone."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import memory


@pytest.mark.skipif(memory.anonymous() is None, reason="the system does not say")
def test_peak_memory_is_that_of_the_steps():
    memory.trim()
    baseline = memory.anonymous()
    held = np.ones(1 << 21)  # 16 MB

    def steps():
        for _ in range(3):
            np.ones(1 << 22)  # 32 MB, and gone

    peak = memory.peak_of(steps, baseline)
    if peak is None:
        pytest.skip("the mark cannot be reset here")
    assert 46e6 < peak < 70e6 and held.size


def test_the_peak_of_a_pool_counts_what_is_freed(monkeypatch):
    """With a CuPy that has a pool and hooks, and nothing else."""
    hooks = []

    class MemoryHook:
        def __enter__(self):
            hooks.append(self)

        def __exit__(self, *_):
            hooks.remove(self)

    monkeypatch.setitem(
        sys.modules,
        "cupy",
        SimpleNamespace(
            cuda=SimpleNamespace(MemoryHook=MemoryHook),
            get_default_memory_pool=lambda: SimpleNamespace(used_bytes=lambda: 100),
        ),
    )
    account = memory.PoolPeak()
    (hook,) = hooks
    for call, size in (
        (hook.malloc_postprocess, 512),
        (hook.free_postprocess, 512),
        (hook.malloc_postprocess, 1024),
        (hook.free_postprocess, 100),
    ):
        call(device_id=0, mem_size=size, mem_ptr=1, pmem_id=2)
    assert account.close() == 1124 and not hooks
