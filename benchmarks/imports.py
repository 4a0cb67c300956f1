"""How long `import` takes, beside `import numpy`: one after the other in new processes, in turn.

All modules are compiled before, as an installation compiles them.
"""

import os
import sys
from importlib.util import find_spec

from .figure import figure
from .process import LIMIT, PeerError, output

MODULES = "numpy", "nanoautograd", "torch", "jax", "autograd"
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module, limit=LIMIT):
    """In a new process, without what Python itself needs to start."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return float(output([sys.executable, "-c", CODE.format(module)], environment, limit))


def measure(rounds, show, peers=MODULES, limit=LIMIT):
    """({module: {"seconds", "ratio": to numpy in the same round, with intervals; "values": the
    seconds of each process}}, {module: error}) of ours, and of the peers that are installed. The
    first round fills the caches of files and is not counted."""
    modules = [m for m in MODULES if find_spec(m) and m in ("numpy", "nanoautograd", *peers)]
    taken, errors = {m: [] for m in modules}, {}
    for i in range(rounds + 1):
        for m in list(taken):
            show(f"import {m}, round {i} of {rounds}")
            try:
                s = seconds(m, limit)
            except PeerError as e:
                errors[m] = str(e)
                del taken[m]
                continue
            if i:
                taken[m].append(s)
    return {
        m: {
            "seconds": list(figure(s)),
            "ratio": list(figure([a / b for a, b in zip(s, taken["numpy"])])),
            "values": s,
        }
        for m, s in taken.items()
    }, errors
