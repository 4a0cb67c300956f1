"""Modules import from those below them: in no folder do they import one another in a circle, not
even within functions."""

import ast
from functools import cache
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


@pytest.mark.parametrize("folder", ["nanoautograd/kernels", "benchmarks"])
def test_no_module_imports_itself_through_others(folder):
    known = modules(folder)
    below = {name: imported(name, path, known) for name, path in known.items()}
    assert sum(map(len, below.values())) > 10

    @cache
    def reached(name, way=()):
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        for other in below[name]:
            reached(other, (*way, name))

    for name in known:
        reached(name)
