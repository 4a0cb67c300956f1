"""Finds, without running the code, what CuPy would refuse: a lint over the syntax tree.

Checked against the committed snapshot of CuPy's API (nanoautograd/backends/cupy_api.json):
every `xp.name`, `xp.linalg.name`, `array_namespace(x).name` and `getattr(xp, "name")` must exist,
and a call must use parameters that CuPy's function has. The fake refuses the same at run time;
the lint also sees the lines that no test reaches.

In the folders where arrays of either library are computed with, `np.name` is reported too: it
would send a CuPy array through NumPy. What is the same object in both libraries (dtypes,
constants) may be used, and so may a line whose comment says that it works on the host.
"""

import ast
from pathlib import Path
from typing import NamedTuple

from nanoautograd.backends.snapshot import Signature, load

__all__ = ["Finding", "lint", "lint_file"]

UFUNC_KEYWORDS = {"out", "casting", "dtype"}
ALSO_THE_SAME = {"ndarray"}


class Finding(NamedTuple):
    path: str
    line: int
    message: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.message}"


def lint_file(path, numpy_allowed=True):
    """The findings in one file; see `lint`."""
    return lint(Path(path).read_text(encoding="utf-8"), str(path), numpy_allowed)


def lint(source, path="<source>", numpy_allowed=True):
    """A list of Finding, in the order of the lines, for the code in `source`."""
    tree = ast.parse(source, path)
    found = _Visitor(source.splitlines(), numpy_allowed)
    found.visit(tree)
    return sorted(Finding(path, line, message) for line, message in set(found.findings))


def _is_namespace_call(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "array_namespace"
    )


class _Visitor(ast.NodeVisitor):
    def __init__(self, lines, numpy_allowed):
        self.lines, self.numpy_allowed = lines, numpy_allowed
        self.findings = []
        self.spaces = {"xp"}  # variables that hold a namespace
        self.numpys = set()  # names under which NumPy was imported

    def report(self, node, message):
        self.findings.append((node.lineno, message))

    # --- which names mean what

    def visit_Assign(self, node):
        if _is_namespace_call(node.value):
            self.spaces |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        self.generic_visit(node)

    def visit_Import(self, node):
        self.numpys |= {a.asname or a.name for a in node.names if a.name == "numpy"}

    def visit_ImportFrom(self, node):
        if (node.module or "").split(".")[0] == "numpy":
            for name in node.names:
                self.check_numpy(node, name.name)

    def path_in_namespace(self, node):
        """xp.linalg.norm -> ["linalg", "norm"]; None for anything else."""
        names = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        is_space = isinstance(node, ast.Name) and node.id in self.spaces
        return names[::-1] if names and (is_space or _is_namespace_call(node)) else None

    # --- what is used

    def visit_Attribute(self, node):
        names = self.path_in_namespace(node)
        if names is not None:
            self.check_name(node, names)
            if _is_namespace_call(_root(node)):
                self.generic_visit(_root(node))
            return
        if isinstance(node.value, ast.Name) and node.value.id in self.numpys:
            self.check_numpy(node, node.attr)
        self.generic_visit(node)

    def visit_Call(self, node):
        names = self.path_in_namespace(node.func)
        if names is not None:
            self.check_call(node, names)
        elif isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1:
            space, name = node.args[:2]
            if (
                isinstance(space, ast.Name)
                and space.id in self.spaces
                and isinstance(name, ast.Constant)
                and len(node.args) == 2
            ):
                self.check_name(node, [name.value])
        self.generic_visit(node)

    def check_name(self, node, names):
        api = load()
        first = names[0]
        if first == "linalg":
            if len(names) > 1 and names[1] not in api["linalg"]:
                self.report(node, f"cupy.linalg has no {names[1]!r}")
        elif first in api["ufuncs"]:
            self.check_ufunc_method(node, first, names[1:])
        elif (
            first not in api["functions"]
            and first not in api["shared"].split()
            and first not in ALSO_THE_SAME | {"__name__"}
        ):
            self.report(node, f"cupy has no {first!r}")

    def check_ufunc_method(self, node, name, rest):
        if rest[:1] == ["at"] and name not in load()["scatter"]:
            self.report(node, f"cupy.{name} has no 'at'")
        elif rest[:1] and rest[0] in ("reduce", "accumulate") and name not in ("add", "multiply"):
            self.report(node, f"cupy.{name} has no {rest[0]!r}")
        elif rest[:1] == ["reduceat"] and name != "add":
            self.report(node, f"cupy.{name} has no 'reduceat'")

    def check_call(self, node, names):
        api = load()
        words = [k.arg for k in node.keywords if k.arg is not None]
        places = len(node.args)
        starred = any(isinstance(a, ast.Starred) for a in node.args)
        if len(names) == 1 and names[0] in api["ufuncs"]:
            for word in set(words) - UFUNC_KEYWORDS:
                self.report(node, f"cupy.{names[0]} takes no keyword {word!r}")
            return
        table = api["linalg"] if names[0] == "linalg" else api["functions"]
        text = table.get(names[-1]) if len(names) == (2 if names[0] == "linalg" else 1) else None
        if text is not None:
            fault = Signature(text).fault(0 if starred else places, words)
            if fault:
                self.report(node, f"cupy.{'.'.join(names)} {fault}")

    def check_numpy(self, node, name):
        same = name in load()["shared"].split() or name in ALSO_THE_SAME
        on_host = "host" in self.lines[node.lineno - 1].partition("#")[2]
        if not (self.numpy_allowed or same or on_host):
            self.report(
                node,
                f"uses numpy.{name}; take it from the array's namespace, or say in "
                "a comment on this line that it works on the host",
            )


def _root(node):
    while isinstance(node, ast.Attribute):
        node = node.value
    return node
