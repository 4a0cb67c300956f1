"""Record CuPy's names and signatures in `cupy_api.json`, beside this file.

    python -m nanoautograd.backends.snapshot            write it (needs cupy, but no GPU)
    python -m nanoautograd.backends.snapshot --check    compare it, and say what differs

The fake (`strict/`) and the namespace lint read that file, so both know what CuPy can do on
machines where CuPy is not installed.
"""

import ast
import inspect
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np

__all__ = ["Signature", "load", "record"]

PATH = Path(__file__).with_name("cupy_api.json")


@cache
def load():
    """The committed snapshot: {"version": ..., "functions": {name: signature}, ...}."""
    return json.loads(PATH.read_text())


class Signature:
    """What a call may pass: `names` by position, `keywords` by name; * and ** allow any."""

    def __init__(self, text):
        arguments = ast.parse(f"def f({text}): 0").body[0].args
        by_place = [a.arg for a in arguments.posonlyargs + arguments.args]
        self.names = tuple(by_place)
        self.keywords = frozenset(
            by_place[len(arguments.posonlyargs) :] + [a.arg for a in arguments.kwonlyargs]
        )
        self.any_place = arguments.vararg is not None
        self.any_keyword = arguments.kwarg is not None

    def fault(self, places, keywords):
        """Why a call with that many positional arguments and these keywords fails, or None."""
        if places > len(self.names) and not self.any_place:
            return f"takes {len(self.names)} positional arguments, not {places}"
        if not self.any_keyword:
            for word in keywords:
                if word not in self.keywords:
                    return f"takes no keyword {word!r}"
        return None


def _signature(f):
    """The parameters of `f` as text; Cython's functions keep theirs in the docstring."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        text = (f.__doc__ or "").split("\n")[0].partition(") ->")[0]
        return _without_types(text.partition("(")[2].rstrip(")"))
    bare = [p.replace(annotation=p.empty) for p in parameters if p.name != "self"]
    bare = [
        p
        if p.default is p.empty or isinstance(p.default, (int, float, str, type(None)))
        else p.replace(default=...)
        for p in bare
    ]
    return str(inspect.Signature(bare)).replace("Ellipsis", "...")[1:-1]


def _without_types(text):
    """'self, int axis=-1, *shape' -> 'axis=-1, *shape'."""
    parts = [p.strip().rpartition(" ")[2] for p in text.split(",")]
    return ", ".join(p for p in parts if p != "self")


def _functions(module, names):
    return {n: _signature(getattr(module, n)) for n in names}


def record():
    """The snapshot of the CuPy that is installed here, as `load` returns it."""
    import cupy

    shared, ufuncs, functions = [], {}, {}
    for name in sorted(n for n in dir(cupy) if not n.startswith("_")):
        value = getattr(cupy, name)
        if hasattr(np, name) and (value is getattr(np, name) or isinstance(value, float)):
            if not inspect.ismodule(value):
                shared.append(name)
        elif type(value).__name__ == "ufunc":
            ufuncs[name] = f"{value.nin} -> {value.nout}"
        elif name == "einsum":  # its signature is only in its documentation
            functions[name] = "*operands, dtype=None, optimize=False"
        elif callable(value) and not inspect.isclass(value):
            functions[name] = _signature(value)
    methods, attributes = {}, []
    for name in sorted(n for n in dir(cupy.ndarray) if not n.startswith("_")):
        value = getattr(cupy.ndarray, name)
        if callable(value):
            methods[name] = _signature(value)
        else:
            attributes.append(name)
    return {
        "version": cupy.__version__,
        "shared": " ".join(shared),
        "ufuncs": ufuncs,
        "scatter": {n: op for n in ufuncs if (op := getattr(cupy, n)._scatter_op)},
        "functions": functions,
        "linalg": _functions(
            cupy.linalg,
            [n for n in dir(cupy.linalg) if inspect.isfunction(getattr(cupy.linalg, n))]
            + ["matmul"],
        ),
        "ndarray": {"methods": methods, "attributes": " ".join(attributes)},
        "missing": " ".join(n for n in dir(np) if n[0] != "_" and not hasattr(cupy, n)),
    }


def main(arguments):
    fresh = record()
    if arguments == ["--check"]:
        stale = [part for part in fresh if fresh[part] != load().get(part)]
        print(
            f"{PATH.name} differs from cupy {fresh['version']} in: {', '.join(stale)}"
            if stale
            else f"{PATH.name} describes cupy {fresh['version']}"
        )
        return bool(stale)
    PATH.write_text(json.dumps(fresh, indent=0) + "\n")
    print(
        f"{PATH}: cupy {fresh['version']}, {len(fresh['ufuncs'])} elementwise and "
        f"{len(fresh['functions'])} other functions, {PATH.stat().st_size} bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
