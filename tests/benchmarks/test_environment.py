"""What a report says of the machine is true, as far as it can be seen from here."""

import os
import subprocess
from types import SimpleNamespace

import psutil
import pytest

from benchmarks import environment
from benchmarks.registry import peer


@pytest.fixture
def files(monkeypatch):
    """{path: text} of a system that is made up."""
    found = {}
    monkeypatch.setattr(environment, "text", found.get)
    return found


def test_the_machine():
    found = environment.machine()
    assert found["processor"] and found["memory"] == psutil.virtual_memory().total
    assert found["processors"] == os.cpu_count() >= found["usable"] >= 1
    assert set(found["caches"]) == {"L1 data", "L1 code", "L2", "L3"}
    assert len(found["family, model, stepping"]) == 3


def test_the_quota_of_a_container_is_found(files):
    assert environment.quota() is None
    files["/sys/fs/cgroup/cpu.max"] = "150000 100000"
    assert environment.quota() == 1.5
    files["/proc/self/cgroup"] = "0::/a/b"
    files["/sys/fs/cgroup/a/b/cpu.max"] = "50000 100000"
    assert environment.quota() == 0.5
    files["/sys/fs/cgroup/a/b/cpu.max"] = "max 100000"  # the one above holds
    assert environment.quota() == 1.5


def test_the_quota_of_an_older_system_is_found(files):
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "-1"
    files["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = "100000"
    assert environment.quota() is None
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "250000"
    assert environment.quota() == 2.5


def test_a_gpu_is_described_by_its_driver(monkeypatch):
    line = "NVIDIA H200, 570.1, 345 MHz, 1980 MHz, 700.00 W\nanother\n"
    answer = SimpleNamespace(returncode=0, stdout=line)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert environment.gpu() == {
        "name": "NVIDIA H200",
        "driver": "570.1",
        "clock": "345 MHz",
        "highest clock": "1980 MHz",
        "power limit": "700.00 W",
    }
    answer.returncode = 9  # the driver does not answer
    assert environment.gpu() is None

    def absent(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", absent)
    assert environment.gpu() is None


def test_a_library_names_its_own_blas(measured):
    import json

    libraries = json.loads(measured[1].read_text())["environment"]["libraries"]
    assert all(one["blas"] not in ("", "unknown") for one in libraries.values())


@pytest.mark.oracle
def test_the_blas_of_torch_is_what_torch_says():
    torch = pytest.importorskip("torch")
    one = peer("torch")
    one.module = torch
    said = torch.__config__.show()
    assert f"BLAS_INFO={one.blas().split()[0]}" in said
    assert one.blas().split()[-1] in said
