"""Cases and peers from files outside of this package (--cases, --peer).

A file of cases has a dict CASES, like those of cases/__init__.py; a file of peers has a dict PEERS,
{name: a subclass of Peer}. The processes of the peers read the same files. templates/ has one of
each, to begin with.
"""

import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from .case import Case, Operation
from .cases import ALL, MODELS, OPERATIONS
from .peers import Peer
from .registry import ADDED, known


def load(path: str | Path) -> tuple[list[str], list[str]]:
    """([names of cases], [names of peers]) that a file adds, once. Raises OSError, ValueError."""
    return added(Path(path).resolve())


@cache
def added(path: Path) -> tuple[list[str], list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"benchmarks.outside_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None:
        raise ValueError(f"{path} is no Python file: its name must end with .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        raise ValueError(f"{path} cannot be imported: {type(e).__name__}: {e}") from None
    cases, peers = getattr(module, "CASES", {}), getattr(module, "PEERS", {})
    if not cases and not peers:
        raise ValueError(f"{path} has neither CASES nor PEERS: nothing to measure is in it")
    for name, (cls, sizes) in cases.items():
        if name in ALL:
            raise ValueError(f"{path}: there is a case {name!r} already; give yours another name")
        if not is_a(cls, Case) or not sizes:
            raise ValueError(f"{path}: {name!r} needs a subclass of Case and a dict of its sizes")
    for name, cls in peers.items():
        if name in known() or not name.isidentifier() or hasattr(Operation, name):
            raise ValueError(
                f"{path}: a peer cannot be called {name!r}; a name is one word, and new"
            )
        if not is_a(cls, Peer):
            raise ValueError(f"{path}: {name!r} needs a subclass of Peer, not {cls!r}")
    for name, case in cases.items():
        kind = OPERATIONS if issubclass(case[0], Operation) else MODELS
        kind[name] = ALL[name] = case
    ADDED.update(peers)
    return list(cases), list(peers)


def is_a(cls: object, base: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, base)
