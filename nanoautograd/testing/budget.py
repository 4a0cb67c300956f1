"""Counts the evaluations of the function under test, and ends a check that has used up its own.

An evaluation is one call of the function, recorded or not; calls of a rule are not counted.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

QUIET = 3.0  # seconds before a check says on a terminal that it is at work
EVERY = 0.5  # seconds between two such lines


class Spent(Exception):
    """The budget is used up."""


class Calls:
    """How often a function was called, and how often it may be.

    most, seconds   what ends the check
    progress        True: after some seconds a line on a terminal's stderr, which is gone at the
                    end; nothing where stderr is no terminal. A function: it is called instead, with
                    the number of calls and the seconds so far. False: neither
    """

    def __init__(
        self,
        most: float = inf,
        seconds: float = inf,
        progress: bool | Callable[[int, float], object] = False,
        name: str = "",
    ) -> None:
        self.count, self.most, self.seconds = 0, most, seconds
        self.begin = time.monotonic()
        self.next, self.name, self.shown = QUIET, name, False
        self.report: Callable[[int, float], object] | None = None
        if callable(progress):
            self.report = progress
        elif progress and sys.stderr is not None and sys.stderr.isatty():
            self.report = self.show

    def one(self) -> None:
        """Counts a call that is about to be made. Raises Spent where it may not be."""
        elapsed = time.monotonic() - self.begin
        if self.count >= self.most or elapsed > self.seconds:
            raise Spent
        self.count += 1
        if self.report is not None and elapsed > self.next:
            self.next = elapsed + EVERY
            self.report(self.count, elapsed)

    @contextmanager
    def at_most(self, count: float) -> Iterator[None]:
        """No more than so many calls in this block."""
        before = self.most
        self.most = min(before, self.count + count)
        try:
            yield
        finally:
            self.most = before

    def limit(self) -> str:
        """What has ended the check, in words."""
        if self.count >= self.most:
            return f"max_calls={self.most}"
        return f"seconds={self.seconds:g}"

    def show(self, count: int, elapsed: float) -> None:
        self.shown = True
        line = f"\rgradcheck of {self.name}: {count:,} calls, {elapsed:.0f} s"
        print(line, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Takes the line away again."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
