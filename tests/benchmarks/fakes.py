"""Processes of peers that measure nothing: each has its results and its seconds."""

import numpy as np

from benchmarks.worker import fingerprint


class Fake:
    """A process whose peer has these results and takes so long."""

    def __init__(self, results, seconds=0.001):
        self.results, self.seconds, self.asked = results, seconds, []
        self.process = self

    def poll(self):
        return None

    def ask(self, do, **request):
        self.asked.append(do)
        if do == "build":
            return {"prints": [[fingerprint(np.array(r))] for r in self.results]}
        return {"peak": 7} if do == "memory" else {"seconds": [self.seconds] * request["samples"]}


class Fakes:
    def __init__(self, precision="float32", **running):
        self.running, self.precision = running, precision
