"""The core is small, a call is short, and its README says truly which calls are made."""

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.core.backward import backpropagate

PACKAGE = Path(nag.__file__).parent
CORE = sorted((PACKAGE / "core").glob("*.py"))


def calls(f):
    """[(depth, file in the package, name)] of each Python function that f() calls in it; and how
    many frames there were outside of NumPy."""
    found, depth, frames = [], 0, 0
    files = []

    def profile(frame, event, _):
        nonlocal depth, frames
        if event == "call":
            depth += 1
            file = Path(frame.f_code.co_filename)
            files.append(file)
            if "numpy" not in file.parts:
                frames += 1
            if PACKAGE in file.parents:
                name = frame.f_code.co_qualname.replace("<locals>.", "")
                found.append((depth, file.relative_to(PACKAGE).as_posix(), name, files[-2:-1]))
        elif event == "return":
            depth -= 1
            files.pop()

    sys.setprofile(profile)
    try:
        f()
    finally:
        sys.setprofile(None)
    return found, frames - 1  # without f itself


def example():
    w = nag.Tensor([[0.5, -1.0], [2.0, 0.3]], requires_grad=True)
    x = nag.Tensor([1.0, -2.0])

    def run():
        y = nag.tanh(w @ x)
        y.sum().backward()

    run()
    return run


def shown(call):
    """Whether the README shows a call: not the insides of ops/ and backends/."""
    _, file, name, caller = call
    if (
        file.startswith("backends/")
        or file == "interface/array_interface.py"
        or re.search("<[^l]|comp>", name)
    ):
        return False
    return not file.startswith("ops/") or bool(caller) and caller[0].parent.name == "core"


def test_the_readme_says_which_calls_are_made():
    text = (PACKAGE / "core/README.md").read_text(encoding="utf-8")
    block = text.partition("```text\n")[2].partition("```")[0]
    lines = re.findall(r"^    (\S+\.py)( +)(\S+)", block, re.M)
    said = [(file, name, len(file) + len(space)) for file, space, name in lines]
    found = []
    inside = None  # the depth of a rule: what it calls is left out
    for call in calls(example())[0]:
        depth, file, name, _ = call
        if inside is not None and depth > inside:
            continue
        inside = depth if name == "<lambda>" else None
        if shown(call):
            found.append(
                (
                    file,
                    name.rpartition("_attach_operator.")[2].rpartition("_attach_method.")[2],
                    depth,
                )
            )
    assert [line[:2] for line in said] == [line[:2] for line in found]
    # deeper calls are indented, by two columns
    indents, depths = [line[2] for line in said], [line[2] for line in found]
    assert {n - min(indents) for n in indents} == {2 * (n - min(depths)) for n in depths}
    assert all(n - min(indents) == 2 * (m - min(depths)) for n, m in zip(indents, depths))


def code_lines(path):
    """(lines, lines of code, words) of a file; docstrings and comments are no code."""
    text = path.read_text(encoding="utf-8")
    code = set()
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in nothing | {tokenize.ENDMARKER}:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            code -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(text.splitlines()), len(code), len(text.split())


def test_the_core_is_short():
    lines, code, words = map(sum, zip(*map(code_lines, CORE)))
    assert lines <= 565 and code <= 350 and words <= 4000


def test_all_that_a_first_derivative_executes_is_short():
    """The core, and beside it every function of the package that the README's example calls, but
    for those of ops/ and backends/."""
    functions = {(file, name) for _, file, name, _ in calls(example())[0]}
    total = sum(code_lines(path)[0] for path in CORE)
    for file in {
        file for file, _ in functions if not file.startswith(("ops/", "backends/", "core/"))
    }:
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                f == file and name.rpartition(".")[2] == node.name for f, name in functions
            ):
                total += node.end_lineno - node.lineno + 1
    assert total <= 650


w = nag.Tensor(np.ones((3, 3)), requires_grad=True)
v = nag.Tensor(np.ones(3), requires_grad=True)
z = w * 1.0


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="counted in CPython 3.11")
@pytest.mark.parametrize(
    "call, most",
    [
        (lambda: w * z, 4),
        (lambda: z * 0.5, 4),
        (lambda: nag.tanh(z), 4),
        (lambda: z[1:], 6),
        (lambda: z[0, 1], 6),
        (lambda: z[:, 1], 6),
        (lambda: z.sum(), 6),
        (lambda: w @ z, 6),
        (lambda: w @ v, 6),
    ],
    ids=["w * z", "z * 0.5", "tanh(z)", "z[1:]", "z[0, 1]", "z[:, 1]", "z.sum()", "w @ z", "w @ v"],
)
def test_a_call_takes_few_python_frames_and_leaves_one_node(call, most):
    y = call()
    parents = [edge[0] for edge in y._edge[0].parents if edge]
    assert all(node in (w._edge[0], v._edge[0], z._edge[0]) for node in parents)
    assert calls(call)[1] <= most


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="counted in CPython 3.11")
@pytest.mark.parametrize("call", [lambda y: y * z, lambda y: y * 0.5, lambda y: nag.tanh(y)])
def test_a_node_takes_few_frames_backward_beyond_its_rules(call):
    def walk(n):
        y = z
        for _ in range(n):
            y = call(y)
        rules = sum(len(node.steps) for node in _nodes(y))
        frames = calls(lambda: backpropagate([y._edge], [np.ones((3, 3))], None, True, False))[1]
        return frames - rules

    assert walk(11) - walk(1) <= 4 * 10


def _nodes(y):
    from nanoautograd.core.backward import topological_order

    return [node for node in topological_order([y._edge]) if node.parents]
