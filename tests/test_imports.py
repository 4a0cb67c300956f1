"""Modules import from those below them, and never one another in a circle, not even within
functions."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules(folder):
    """{name: path} of all below a folder."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def imported(name, path, known):
    """The modules among those known that this one names in its imports."""
    found, package = set(), name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                found.add(inside if inside in known else base)
    return (found & known.keys()) - {name}


@pytest.mark.parametrize("folder", ["nanoautograd", "models", "benchmarks"])
def test_no_module_imports_itself_through_others(folder):
    known = modules(folder)
    below = {name: imported(name, path, known) for name, path in known.items()}
    assert sum(map(len, below.values())) > 10
    TopologicalSorter(below).prepare()  # CycleError names the circle


FLOORS = (
    "errors typing",
    "backends",
    "interface array_interface",
    "core safety signature",  # the core, what makes it safe, and what attaches to it
    "ops methods creation autograd transforms dlpack printing",
    "custom_vjp",
    "manual",
    "kernels",
    "deprecated",
    "functional",
    "torch_names",
    "nn",
    "optim",
    "checkpoint cuda interop testing",
)
FLOOR = {name: n for n, names in enumerate(FLOORS) for name in names.split()}


def test_each_floor_imports_only_from_those_below():
    known = modules("nanoautograd")
    # (The files of interface/ stand on several floors: operators are operations.)
    inside = {
        name: name.removeprefix("nanoautograd.").removeprefix("interface.").split(".")[0]
        for name in known
        if "." in name
    }
    assert {*inside.values()} == FLOOR.keys()
    for name, part in inside.items():
        above = [
            other
            for other in imported(name, known[name], known)
            if other not in inside or FLOOR[inside[other]] > FLOOR[part]
        ]
        assert not above, f"{name} imports {', '.join(above)}"


def test_no_file_of_backends_names_one_above():
    above = "|".join(name for name, n in FLOOR.items() if n > FLOOR["backends"])
    for name, path in modules("nanoautograd/backends").items():
        assert not re.search(rf"\b({above})(/|\.py\b)", path.read_text("utf-8")), name
