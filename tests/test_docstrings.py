"""The docstring of every differentiable operation says what its gradient is, or links to it."""

import ast
import re
from pathlib import Path
from unicodedata import normalize

import pytest

from nanoautograd import functional, ops
from nanoautograd.interface import torch_names

MANUAL = Path(functional.__file__).parents[1] / "manual"
FORMULA = re.compile(
    r"[^\W\d_]\u0304[\w\u0304\[\],.]*(?:\s\w+)?\s*\+?= ?\S"
)  # x̄ = ..., x̄[i] += ...
WORD = re.compile(r"\b(?:gradients?|slopes?|derivatives?)\b")
PATH = re.compile(r"\bmanual/(\w+\.py)\b")

OPERATIONS = {f"nag.{name}": getattr(ops, name) for name in ops.DIFFERENTIABLE}
FUNCTIONS = {f"functional.{name}": getattr(functional, name) for name in functional.__all__}
FUNCTIONS |= {
    f"torch_names.{name}": getattr(torch_names, name)
    for name in ("cat", "clone", "flatten", "type_as", "unsqueeze", "view")
}


def states_a_gradient(docstring):
    """Whether a docstring has an equation for a cotangent, explains the gradient in a sentence of
    five words or more, or names a file in manual/ that derives it."""
    text = docstring or ""
    sentences = re.split(r"(?<=[.;:])\s", text)
    explained = any(WORD.search(s) and len(re.findall(r"\w+", s)) >= 5 for s in sentences)
    return bool(
        FORMULA.search(normalize("NFD", text))
        or explained
        or any(derives(MANUAL / name) for name in PATH.findall(text))
    )


def derives(path):
    """Whether a file is there that defines `backward`, under a docstring on the way back."""
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return "backward" in functions and "backward" in (ast.get_docstring(tree) or "").lower()


def missing(functions):
    """The names of those whose docstrings do not say what the gradient is."""
    return [name for name, f in functions.items() if not states_a_gradient(f.__doc__)]


@pytest.mark.parametrize("functions, least", [(OPERATIONS, 79), (FUNCTIONS, 19)])
def test_each_docstring_states_the_gradient(functions, least):
    assert len(functions) >= least
    without = missing(functions)
    assert not without, (
        "no gradient in the docstring (an equation such as x̄ = ȳ y, a sentence on it, or the path "
        f"of the file in nanoautograd/manual/ that derives it): {', '.join(without)}"
    )


@pytest.mark.parametrize(
    "name", sorted({p for f in FUNCTIONS.values() for p in PATH.findall(f.__doc__ or "")})
)
def test_each_path_in_a_docstring_leads_to_a_derivation(name):
    assert derives(MANUAL / name)


@pytest.mark.parametrize(
    "docstring",
    [
        "a + b:  ā = ȳ,  b̄ = ȳ.",
        "The angle.\n\n    With r² = x1² + x2²:  x̄1 = ȳ x2 / r².",
        "Reads:  x̄[i] += ȳ.",
        "For C = AB:  B̄ = Aᵀ C̄.",
        "The elements are shifted; the gradient is shifted back.",
        "softmax(x). See manual/softmax.py.",
    ],
)
def test_a_gradient_is_found(docstring):
    assert states_a_gradient(docstring)


@pytest.mark.parametrize(
    "docstring",
    [
        None,
        "",
        "1 / x, elementwise.",
        "The sum: y = Σ a.",
        "Takes ȳ.",  # what arrives, but not what comes of it
        "Has a gradient.",
        "x Φ(x). See manual/nothing.py.",
        "x Φ(x). See manual/__init__.py.",  # which derives nothing
        "As softmax(x) / softmax.py.",
    ],
)
def test_a_docstring_without_a_gradient_is_found(docstring):
    def f():
        pass

    f.__doc__ = docstring
    assert not states_a_gradient(docstring)
    assert missing({"good": ops.exp, "bad": f}) == ["bad"]
