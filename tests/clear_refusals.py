"""What a clear refusal is: an error of a kind that is meant for people, and no word in it of what
only the library knows."""

import contextlib
import re
import signal
import warnings

import numpy as np

import nanoautograd as nag

MEANT_FOR_PEOPLE = (
    *(TypeError, ValueError, IndexError, OverflowError, MemoryError, ZeroDivisionError),
    *(OSError, BufferError, NotImplementedError, nag.GraphError),
)
INTERNAL = re.compile(
    r"\b_(array|storage|edge|leaf|version)\b|'NoneType' object|<lambda>|has no attribute"
    r"|local variable|not subscriptable|has no len|to unpack"
)


class Hangs(Exception):
    """The call took longer than the limit."""


@contextlib.contextmanager
def limited(seconds):
    """Raises Hangs if the block takes longer."""

    def stop(*_):
        raise Hangs(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


BARE = re.compile(
    INTERNAL.pattern + r"|not supported between|unsupported operand|as an integer|not callable"
    r"|unhashable|not iterable|truth value|recursion"
)


def check_text(call):
    """Raises AssertionError unless `call` returns, or refuses in words."""
    with limited(5), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call()
        except Exception as error:
            text = str(error).partition("\n")[0]
            is_clear = isinstance(error, MEANT_FOR_PEOPLE) and not BARE.search(text)
            assert is_clear and text.strip(), f"{type(error).__name__}: {text}"
