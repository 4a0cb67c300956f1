"""nag.cuda: the door to the GPU; most of it is tested where it is written."""

import subprocess
import sys

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.backends import memory
from nanoautograd.core.operation import function
from nanoautograd.kernels.cuda.runtime import device_assertions


class OutOfMemoryError(MemoryError):
    """As CuPy's is called."""


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setattr(memory, "gpu_memory", lambda: (3 * 2**30, 2**30, 2**29, 5 * 2**30))


@function
def asks(x):
    raise OutOfMemoryError("Out of memory allocating 7,000,000 bytes (allocated so far: 1 bytes).")


@function
def asks_later(x):
    return x * 1


asks_later.defvjp(x=lambda g: asks.forward(g))


@pytest.mark.parametrize("call", [lambda x: asks(x), lambda x: asks_later(x).sum().backward()])
def test_a_full_gpu_says_what_helps_once(full, call):
    x = nag.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(MemoryError, match="allocating 7,000,000 bytes") as error:
        call(x)
    notes = [note for note in error.value.__notes__ if "GiB" in note]
    assert len(notes) == 1
    assert "has 5.00 GiB: 3.00 are in arrays, 1.00 are kept" in notes[0]
    assert "0.50 are free. Take a smaller batch" in notes[0] and "free_memory" in notes[0]
    (x * 2).sum().backward()  # the program goes on
    assert x.grad.tolist() == [2.0] * 3


def test_a_full_host_is_not_taken_for_a_gpu():
    error = MemoryError("host")
    memory.explain_full(error)
    assert not hasattr(error, "__notes__")


def test_debug_turns_waiting_for_assertions_on_and_off(monkeypatch):
    monkeypatch.setattr(device_assertions, "debug", False)
    nag.cuda.debug()
    assert device_assertions.debug is True
    nag.cuda.debug(False)
    assert device_assertions.debug is False


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, nanoautograd as nag; assert 'nanoautograd.cuda' not in sys.modules; "
        "assert 'cupy' not in sys.modules; nag.cuda.matmul_precision('tf32'); "
        "assert 'cupy' not in sys.modules; print('nothing')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "nothing\n", done.stderr
