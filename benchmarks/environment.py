"""What figures depend on: the machine, the system, the libraries, and how quiet it was."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from . import quiet
from .process import ROOT


def environment(threads: int, precision: str, libraries: dict[str, Any]) -> dict[str, Any]:
    """libraries: {peer: what its process says of itself}. Takes a second, in which it is measured
    how many processors others use."""
    return {
        **machine(),
        "threads": threads,
        "precision": precision,
        "gpu": gpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit(),
        "date": now(),
        "load before": quiet.load(),
        "others before": quiet.others(),
        "libraries": libraries,
    }


@cache
def machine() -> dict[str, Any]:
    """The processor and the memory, as py-cpuinfo and psutil tell; None for what they do not."""
    import cpuinfo  # asks the processor itself, which takes a second

    found, rate = cpuinfo.get_cpu_info(), quiet.mhz()
    return {
        "processor": " ".join([found.get("brand_raw") or platform.machine(), *widest(found)]),
        "family, model, stepping": [found.get(n) for n in ("family", "model", "stepping")],
        "caches": {
            name: found.get(key)
            for name, key in (
                ("L1 data", "l1_data_cache_size"),
                ("L1 code", "l1_instruction_cache_size"),
                ("L2", "l2_cache_size"),
                ("L3", "l3_cache_size"),
            )
        },
        "processors": psutil.cpu_count(),
        "cores": psutil.cpu_count(logical=False),
        "usable": usable(),
        "quota": quota(),
        "MHz": rate,
        "governor": text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory": psutil.virtual_memory().total,
    }


def widest(found: Mapping[str, Any]) -> list[str]:
    """The widest vectors that the processor computes with, as a list of one word or none."""
    return [flag for flag in ("avx512f", "avx2", "asimd") if flag in found.get("flags", ())][:1]


def usable() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def quota() -> float | None:
    """How many processors' time the control group may use (a container's limit); None where it has
    no limit."""
    group = text("/proc/self/cgroup") or ""
    inside = [line.partition("::")[2] for line in group.splitlines() if line.startswith("0::")]
    for folder in [*(path.rstrip("/") for path in inside), ""]:
        limit, _, period = (text(f"/sys/fs/cgroup{folder}/cpu.max") or "").partition(" ")
        if limit.isdigit():
            return int(limit) / int(period)
    limit = text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "-1"
    period = text("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    return int(limit) / int(period) if period and int(limit) > 0 else None


def text(path: str) -> str | None:
    """What a file of the system says; None where it is not there."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def gpu() -> dict[str, str] | None:
    """{"name", "driver", "clock", "highest clock", "power limit"} of the first GPU, as nvidia-smi
    tells; None where there is none."""
    asked = {
        "name": "name",
        "driver": "driver_version",
        "clock": "clocks.sm",
        "highest clock": "clocks.max.sm",
        "power limit": "power.limit",
    }
    query = ["nvidia-smi", f"--query-gpu={','.join(asked.values())}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode or not done.stdout.strip():
        return None
    return dict(zip(asked, done.stdout.splitlines()[0].split(", ")))


def commit(folder: Path = ROOT) -> str | None:
    """Of this project, with a + where files are others; None outside of its repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=10", "--dirty=+"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
    except OSError:  # no git
        return None
    return done.stdout.strip() or None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
