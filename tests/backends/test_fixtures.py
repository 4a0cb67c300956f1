"""The fixtures of conftest.py do what the other tests rely on."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nanoautograd.backends import device_of
from nanoautograd.backends.strict import StrictError

LEAKY = """
import random
import numpy as np
from nanoautograd import detect_anomaly, no_grad
from nanoautograd.backends.strict import allow_promotion, no_sync

def test_clean():
    with no_grad(), detect_anomaly(), no_sync(), np.errstate(all="ignore"):
        np.random.default_rng(0).normal()

kept = []  # a block is closed when its object goes

def test_recording():
    kept.append(no_grad().__enter__())

def test_inspecting():
    kept.append(detect_anomaly().__enter__())

def test_errstate():
    np.seterr(divide="raise")

def test_numpys():
    np.random.rand()

def test_pythons():
    random.random()

def test_stand():
    kept.append(allow_promotion())
    kept[-1].__enter__()

def test_clean_afterwards():
    pass
"""


def test_leaks_of_global_state_fail_their_test(tmp_path):
    conftest = Path(__file__).parents[1] / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rE",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-c",
            "/dev/null",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        cwd=conftest.parents[1],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "500"},
    )
    failed = [line for line in run.stdout.splitlines() if line.startswith("ERROR")]
    for name, what in {
        "test_recording": "recording",
        "test_inspecting": "inspecting",
        "test_errstate": "errstate",
        "test_numpys": "numpy's global random state",
        "test_pythons": "Python's global random state",
        "test_stand": "the fake's modes",
    }.items():
        assert any(name in line and what in line for line in failed), (name, run.stdout)
    assert len(failed) == 6 and "8 passed, 6 errors" in run.stdout


def test_backend_makes_arrays_and_tensors(backend):
    x = backend.array([[1, 2]], dtype=np.float32)
    assert device_of(x).partition(":")[0] == backend.device and x.dtype == np.float32
    t = backend.tensor([[1.0, 2.0]], requires_grad=True, dtype=np.float32)
    assert t.requires_grad and t.dtype == np.float32 and t.device == device_of(x)
    for y in (x, t):
        assert type(backend.numpy(y)) is np.ndarray
        np.testing.assert_array_equal(backend.numpy(y), [[1, 2]])
    assert repr(backend) == backend.name


def test_promotion_is_refused_by_the_fake_alone(backend):
    x, y = backend.array(np.float32([1])), backend.array(np.float64([1]))
    with backend.allow_promotion():
        assert (x + y).dtype == np.float64
    if backend.name == "strict":
        with pytest.raises(StrictError):
            x + y
