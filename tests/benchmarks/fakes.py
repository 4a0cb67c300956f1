"""Processes of peers that measure nothing: each has its results and its seconds."""

import numpy as np

from benchmarks.process import PeerError
from benchmarks.quiet import Reading
from benchmarks.registry import peer
from benchmarks.worker import fingerprint

# Options of a run that is as short as can be, of ours alone.
TINY = "--sizes tiny --vs --threads 1 --passes 1 --rounds 1 --seconds 0.001".split()


class Fake:
    """A process whose peer has these results and takes so long. others: processors that others use
    in its turns, one after the other; the last stays."""

    def __init__(self, results, seconds=0.001, name="numpy", others=(0.0,)):
        self.results, self.seconds, self.asked = results, seconds, []
        self.peer, self.others, self.is_alive = peer(name), list(others), True
        self.now = self.own = self.all = 0.0

    def ask(self, do, **request):
        self.asked.append(do)
        if do == "build":
            return {"prints": [[fingerprint(np.array(r))] for r in self.results]}
        if do == "memory":
            return {"peak": 7}
        taken = request["steps"] * request["samples"] * self.seconds
        if "plan" in self.__dict__:  # in a turn
            others = self.others.pop(0) if len(self.others) > 1 else self.others[0]
            self.all += others * taken
        self.now, self.own, self.all = self.now + taken, self.own + taken, self.all + taken
        return {"seconds": [self.seconds] * request["samples"]}

    def reading(self):
        self.plan = True
        return Reading(self.now, self.own, self.all, 0)


class Fakes:
    """Some, by label. died: the labels of those that were replaced."""

    def __init__(self, precision="float32", **running):
        self.running, self.precision, self.died = running, precision, []

    def replace(self, label):
        self.died.append(label)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def dies(fake, do, times):
    """Makes a fake die when it is asked for that, at that time."""
    ask, turns = fake.ask, []

    def die(what, **request):
        turns.append(what)
        if turns.count(do) == times:
            fake.is_alive = False
            raise PeerError("torch died by SIGKILL: killed")
        return ask(what, **request)

    fake.ask = die
