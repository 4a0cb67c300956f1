"""The process of one peer: it builds cases and takes steps when it is told to.

    python -m benchmarks.worker PEER THREADS PRECISION [FILE ...]      (of --cases and --peer)

reads a JSON object a line from stdin and answers each with one on stdout. One process a peer, and
one of them at work at a time: no library's threads, memory or settings are in another's way.

    {"do": "hello"}                 -> {"versions": ..., "blas": ..., "pools": ...}
    {"do": "build", "case": ..., "sizes": ...}      builds the case, takes three steps of it
                -> {"prints": ...}                  what the results of these are compared by
    {"do": "memory"}                -> {"peak": bytes or null}
    {"do": "measure", "steps": n, "samples": k, "warm": w}      k times n steps, after w others
                -> {"seconds": [...]}               seconds a step

An error is answered with {"error": ...}, and the process goes on, until stdin is closed.
"""

import base64
import json
import os
import queue
import sys
import threading
import time

import numpy as np

from . import outside
from .cases import make
from .memory import anonymous, peak_of, trim
from .registry import ROOFLINE, peer

CHECKED = 3  # steps before anything is timed, whose results are compared


def fingerprint(array):
    """What is compared of a result: its norm, and its product with a vector of length 1 that has
    no symmetry."""
    a = array.ravel()
    r = np.cos(np.arange(a.size) ** 1.5)
    return [float(np.linalg.norm(a)), float(a @ r / (np.linalg.norm(r) or 1.0))]


class Worker:
    def __init__(self, name, threads, precision):
        self.peer = peer(name)
        if precision not in self.peer.precisions:
            raise TypeError(f"{name} has no {precision}")
        self.peer.dtype = "float64" if precision == "float64" else "float32"
        self.peer.start(threads, precision)
        self.step = self.baseline = None

    def hello(self):
        from threadpoolctl import threadpool_info

        pools = [
            {
                k: pool[k]
                for k in ("internal_api", "version", "num_threads", "threading_layer")
                if k in pool
            }
            for pool in threadpool_info()
        ]
        return {"versions": self.peer.versions(), "blas": self.peer.blas(), "pools": pools}

    def build(self, case=None, sizes=None, function=None, path=(), folder=None):
        """Of a case at these sizes; or of a function, as cloudpickle has sent it from a process
        with this search path and this folder."""
        if function is not None:
            return self.build_function(function, path, folder)
        tiny, case = make(case, "tiny"), make(case, sizes)
        self.step = None
        if case != tiny:
            self.prepare(tiny)
            self.take_steps()  # what is loaded when it is first used, is
        self.step = None
        self.peer.fresh()
        trim()
        self.baseline = anonymous()
        self.peer.forget_peak()
        self.prepare(case)
        return {"prints": self.take_steps()}

    def build_function(self, function, path, folder):
        import cloudpickle

        sys.path += [entry for entry in path if entry not in sys.path]
        os.chdir(folder)
        trim()
        self.baseline = anonymous()
        self.step = cloudpickle.loads(base64.b64decode(function))
        return {"prints": self.take_steps()}

    def prepare(self, case):
        """Make `step` for a case."""
        if self.peer.library in ROOFLINE:
            self.step = getattr(self.peer, self.peer.library)(case, self.peer.dtype)
        else:
            self.step = case.build(self.peer, self.peer.put_all(case.arrays(self.peer.dtype)))

    def take_steps(self):
        """Take some; the fingerprints of their results."""
        prints = []
        for _ in range(CHECKED):
            result = self.step()
            self.peer.wait(result)
            results = result if isinstance(result, tuple) else (result,) * (result is not None)
            prints.append([fingerprint(self.peer.get(a)) for a in results])
        return prints

    def memory(self):
        def steps():
            for _ in range(2):
                self.peer.wait(self.step())

        if self.peer.device == "cuda":
            steps()
            return {"peak": self.peer.peak()}
        return {"peak": None if self.baseline is None else peak_of(steps, self.baseline)}

    def measure(self, steps, samples, warm):
        for _ in range(warm):
            self.peer.wait(self.step())
        seconds = []
        for _ in range(samples):
            begin = time.perf_counter()
            for _ in range(steps):
                result = self.step()
            self.peer.wait(result)
            seconds.append((time.perf_counter() - begin) / steps)
        return {"seconds": seconds}


def listen(lines):
    """Hands on what is read. Where nothing more comes, the other side has ended, or does not want
    to wait: the process ends at once, in the middle of a step too."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    worker, lines = None, queue.SimpleQueue()
    threading.Thread(target=listen, args=(lines,), daemon=True).start()
    while True:
        line = lines.get()
        try:
            if worker is None:
                for path in sys.argv[4:]:
                    outside.load(path)
                worker = Worker(sys.argv[1], int(sys.argv[2]), sys.argv[3])
            request = json.loads(line)
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
