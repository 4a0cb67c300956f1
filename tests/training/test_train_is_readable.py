"""train.py is read from top to bottom: a short step, the loop right below it, and no more."""

import ast
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "train.py"


def nodes(kind):
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, kind)]


def length(node):
    return node.end_lineno - node.lineno + 1


def test_the_step_stands_above_the_loop_and_both_are_short():
    (step,) = (f for f in nodes(ast.FunctionDef) if f.name == "step")
    (loop,) = (f for f in nodes(ast.For) if ast.unparse(f.iter).startswith("range(start + 1"))
    assert length(step) <= 15 and length(loop) <= 60
    assert 0 < loop.lineno - step.end_lineno <= 10
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 260
