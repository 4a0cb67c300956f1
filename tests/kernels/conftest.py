"""What tests of captured steps share."""

import pytest
from fake_gpu import GPU, Array

from nanoautograd import backends
from nanoautograd.kernels.cuda.runtime import capture, device_assertions
from nanoautograd.kernels.cuda.runtime.capture_context import (
    current,
)


@pytest.fixture
def gpu(monkeypatch):
    GPU.now = gpu = GPU()
    monkeypatch.setattr(capture, "_cupy", lambda: gpu)
    monkeypatch.setitem(backends._OWNERS, Array, gpu)
    monkeypatch.setattr(device_assertions, "assertions", lambda *a: None)
    yield gpu
    assert gpu.current is gpu.null and not gpu.allocators and current.context is None
