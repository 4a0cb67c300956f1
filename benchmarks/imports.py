"""How long `import` takes, beside `import numpy`: one after the other in new processes, in turn.

All modules are compiled before, as an installation compiles them.
"""

import os
import statistics
import subprocess
import sys
from importlib.util import find_spec

from .clock import ROOT, quartiles

MODULES = "numpy", "nanoautograd", "torch", "jax", "autograd"
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module):
    """In a new process, without what Python itself needs to start."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.run([sys.executable, "-c", CODE.format(module)], cwd=ROOT, check=True,
                                env=environment, capture_output=True, text=True).stdout)


def measure(rounds, show, modules=None):
    """{module: {"seconds": median, "quartiles", "ratio": median of the ratios to numpy}} of the
    modules (MODULES) that are installed. The first round fills the caches of files and is not
    counted."""
    modules = [m for m in modules or MODULES if find_spec(m)]
    taken = {m: [] for m in modules}
    for i in range(rounds + 1):
        for m in modules:
            show(f"import {m}, round {i} of {rounds}")
            s = seconds(m)
            if i:
                taken[m].append(s)
    return {m: {"seconds": statistics.median(s), "quartiles": quartiles(s),
                "ratio": statistics.median(a / b for a, b in zip(s, taken["numpy"]))}
            for m, s in taken.items()}
