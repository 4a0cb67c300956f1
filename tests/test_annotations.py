"""What checkers and editors see: everything public is annotated, the operators and methods that are
attached to Tensor are declared as they are, and mypy understands a user's program."""

import ast
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import nanoautograd as nag
from nanoautograd import interop, transforms
from nanoautograd.core import tensor
from nanoautograd.core.operation import Primitive
from nanoautograd.custom_vjp import CustomVJP
from nanoautograd.interface import methods

PACKAGE = Path(nag.__file__).parent
MODULES = (nag, nag.autograd, nag.backends, nag.checkpoint, nag.cuda, nag.functional)
MODULES += (nag.nn, nag.optim, nag.testing, interop, transforms)


# ---- what is public is annotated


def functions_of(name, value):
    """(name, function) of a public object: itself, or the methods of a class that are its own."""
    if not inspect.isclass(value):
        return [(name, value)] if callable(value) else []
    found = []
    for kind in value.__mro__:
        if kind.__module__.partition(".")[0] != "nanoautograd" or issubclass(kind, BaseException):
            continue
        for key, method in vars(kind).items():
            is_special = key in ("__init__", "__call__", "__getitem__", "__iter__", "__len__")
            if key[0] == "_" and not (is_special or is_operator(key)):
                continue
            for f in (method.fget, method.fset) if isinstance(method, property) else (method,):
                f = getattr(f, "__func__", f)
                if inspect.isfunction(f) and not is_generated(f) or isinstance(f, Primitive):
                    found.append((f"{name}.{key}", f))
    return found


def is_generated(f):
    """Whether it has no source, as the __eq__ of a dataclass."""
    return f.__code__.co_filename.startswith("<")


OPERATORS = methods.OPERATORS | methods.BITWISE | methods.COMPARISONS | methods.OF_ONE


def is_operator(name):
    """Whether it is one of methods.py: of "add" __add__, __radd__ and __iadd__."""
    name = name.removeprefix("__").removesuffix("__")
    return name in OPERATORS or name[1:] in OPERATORS


def public():
    for module in MODULES:
        names = getattr(module, "__all__", None) or [
            key
            for key, value in vars(module).items()
            if key[0] != "_" and getattr(value, "__module__", None) == module.__name__
        ]
        for name in names:
            yield from functions_of(f"{module.__name__}.{name}", getattr(module, name))
    yield from functions_of("Primitive", Primitive)
    yield from functions_of("CustomVJP", CustomVJP)


PUBLIC = dict(public())


def gaps(f):
    """The parameters of a function that have no annotation, and "return"."""
    signature = inspect.signature(f)
    parameters = list(signature.parameters.values())
    is_method = bool(parameters) and parameters[0].name in ("self", "cls")
    found = [p.name for p in parameters[is_method:] if p.annotation is p.empty]
    return found + ["return"] * (signature.return_annotation is signature.empty)


def test_everything_public_is_annotated():
    assert len(PUBLIC) > 400
    found = {name: missing for name, f in PUBLIC.items() if (missing := gaps(f))}
    assert not found, f"not annotated: {found}"


def test_a_gap_is_found():
    def f(self, a, b: int, *c, d=0) -> None: ...

    def g(a: int): ...

    assert gaps(f) == ["a", "c", "d"] and gaps(g) == ["return"]


def test_help_shows_short_names():
    assert str(inspect.signature(nag.split)).startswith("(ary: ArrayLike, indices_or_sections: ")
    longest = max(
        len(inspect.formatannotation(p.annotation))
        for f in PUBLIC.values()
        for p in inspect.signature(f).parameters.values()
    )
    assert longest < 120


def test_errors_and_repr_show_signatures_without_types():
    with pytest.raises(TypeError, match=r"its signature is tanh\(x\)"):
        nag.tanh(1.0, 2.0)
    assert repr(nag.sum) == "<function sum(a, axis=None, dtype=None, *, keepdims=False)>"


# ---- attached.pyi declares what methods.py and torch_names.py attach

STUB = ast.parse((PACKAGE / "interface/attached.pyi").read_text(encoding="utf-8"))
CLASSES = [node for node in STUB.body if isinstance(node, ast.ClassDef)]
DECLARED = {
    node.name: node for c in CLASSES for node in c.body if isinstance(node, ast.FunctionDef)
}
# What NumPy and Python ask for, and nobody calls.
PROTOCOLS = {"__array_function__", "__array_ufunc__", "__getattr__", "__torch_function__"}


def attached():
    """{name: function or property} of what Tensor has beyond the body of its class."""
    (body,) = [
        node
        for node in ast.parse(inspect.getsource(tensor)).body
        if isinstance(node, ast.ClassDef) and node.name == "Tensor"
    ]
    own = {node.name for node in body.body if isinstance(node, ast.FunctionDef)}
    own |= {*nag.Tensor.__slots__} | {name for name in vars(object)}
    own -= {*methods.COMPARISONS, *(f"__{name}__" for name in methods.COMPARISONS)}
    made = {"__module__", "__slots__", "__annotations__", "__weakref__", "__hash__"}
    made |= {"__static_attributes__", "__firstlineno__", "__annotate_func__"}
    made |= {"__annotations_cache__"}
    return {name: f for name, f in vars(nag.Tensor).items() if name not in own | made | PROTOCOLS}


ATTACHED = attached()
NAMES = vars(nag.typing) | {"Tensor": nag.Tensor, "Sequence": Sequence}


def evaluated(node):
    return eval(ast.unparse(node), NAMES)


def test_what_is_attached_is_declared_and_nothing_else():
    assert {*DECLARED} == {*ATTACHED} >= {*methods.METHODS, "__add__", "__rmatmul__", "T"}


@pytest.mark.parametrize("name", [n for n in DECLARED if n != "T"])
def test_a_method_is_declared_with_its_parameters(name):
    given, stub = [*inspect.signature(ATTACHED[name]).parameters.values()], DECLARED[name].args
    kinds = {p.kind for p in given}
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds:  # as in NumPy
        t = nag.Tensor([[0.5, 1.0]])
        options = stub.args[1:], stub.kwonlyargs
        values = {
            a.arg: ast.literal_eval(d)
            for a, d in zip(
                [*options[0], *options[1]], [*stub.defaults, *stub.kw_defaults], strict=True
            )
        }
        assert (getattr(t, name)() == getattr(t, name)(**values)).all()
        return
    said = [*stub.args[1:], *([stub.vararg] if stub.vararg else []), *stub.kwonlyargs]
    assert [p.name for p in given[1:]] == [a.arg for a in said]
    assert [p.default for p in given[1:] if p.default is not p.empty] == [
        ast.literal_eval(d) for d in (*stub.defaults, *stub.kw_defaults)
    ]
    assert [a.arg for a in stub.kwonlyargs] == [p.name for p in given if p.kind is p.KEYWORD_ONLY]
    if name not in ("__eq__", "__ne__"):  # which answer for anything
        assert [p.annotation for p in given[1:]] == [evaluated(a.annotation) for a in said]


# ---- a user's program

PROGRAM = """
from typing import Any
import numpy as np
import nanoautograd as nag
from nanoautograd import nn, optim
from nanoautograd.interop import read_gguf

x = nag.Tensor([[1.0, 2.0]], requires_grad=True)
array = np.ones((2, 2))

def loss(w: nag.Tensor, scale: float = 1.0) -> nag.Tensor:
    return (w * scale).sum()

def of_many(weights: dict[str, nag.Tensor], x: nag.Tensor) -> nag.Tensor:
    return (weights["w"] @ x).sum()

class Net(nn.Module):
    def __init__(self) -> None:
        self.hidden = nn.Linear(3, 4)
        self.lstm = nn.LSTM(4, 5)
        self.w = nn.Parameter(np.ones(5))

    def forward(self, x: nag.Tensor, scale: float = 1.0) -> nag.Tensor:
        y, (h, c) = self.lstm(self.hidden(x))
        return y @ self.w * scale

class Descent(optim.Optimizer):
    buffers = ("mean",)

    def __init__(self, params: nag.typing.Params, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)

    def update(self, group: dict[str, Any], t: Any, theta: Any, g: Any, mean: Any) -> None:
        mean += 0.1 * (g - mean)
        theta -= group["lr"] * mean

@nag.function
def cube(a: nag.typing.ArrayLike) -> nag.Tensor:
    return nag.power(a, 3)

cube.defvjp(a=lambda g, a: 3 * g * a**2)

def reference(x: nag.typing.ArrayLike, *, k: int = 1) -> nag.Tensor:
    return k * nag.exp(x)

own = nag.custom_vjp("own", lambda x, k: (x, None), lambda dout, cache: dout, reference)

@nag.no_grad()
def evaluate(t: nag.Tensor) -> float:
    return float(t.mean())

net = Net()
optimizer = optim.AdamW(net.parameters(), lr=1e-3)
"""
TENSOR = "nanoautograd.core.tensor.Tensor"
REVEALED = {
    "nag.tanh(x)": TENSOR,
    "nag.tanh([[1.0, 2.0], [3, 4]])": TENSOR,
    "x + 1": TENSOR,
    "1 - x": TENSOR,
    "x @ x.T": TENSOR,
    "array + x": TENSOR,
    "array @ x.T": TENSOR,
    "np.float32(2) * x": TENSOR,
    "x < 1": TENSOR,
    "x == 1": TENSOR,
    "-x": TENSOR,
    "x.sum()": TENSOR,
    "x.sum(axis=(0, 1), keepdims=True)": TENSOR,
    "x[1:]": TENSOR,
    "x[None, ..., [0, 1]]": TENSOR,
    "x.T": TENSOR,
    "[row for row in x][0]": TENSOR,
    "x.grad": f"{TENSOR} | None",
    "x.shape": "tuple[int, ...]",
    "x.float().view(-1).softmax(dim=0)": TENSOR,
    "x.std(ddof=0.5).numel()": "int",
    "nag.cat([x, array], dim=1).relu()": TENSOR,
    "nag.softmax(nag.zeros(2, 3, dtype='float32'), 0)": TENSOR,
    "x.detach().numpy()": "numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]",
    "nag.split(x, 2, axis=1)": f"tuple[{TENSOR}, ...]",
    "nag.nonzero(x)": f"tuple[{TENSOR}, ...]",
    "nag.argmax(x, axis=0)": TENSOR,
    "nag.less(x, 1)": TENSOR,
    "nag.functional.softmax(x, dim=0)": TENSOR,
    "nn.Linear(3, 4)(x)": TENSOR,
    "nn.Sequential(nn.Linear(3, 4), nn.Tanh())[0]": "Any",
    "net(x, 2.0)": TENSOR,
    "net.train()": "program.Net",
    "net.parameters()": "list[nanoautograd.nn.module.Parameter]",
    "nag.grad(loss)(x, 2.0)": TENSOR,
    "nag.grad(loss)(array)": TENSOR,
    "nag.grad(of_many)({'w': x}, x)": f"dict[str, {TENSOR}]",
    "nag.grad(nag.grad(lambda t: t.sum()))(x)": "Any",
    "nag.grad(loss, argnums=(0, 1))(x, 1.0)": "Any",
    "nag.value_and_grad(loss)(x)": f"tuple[{TENSOR}, {TENSOR}]",
    "cube(x)": TENSOR,
    "own(x, k=2)": TENSOR,
    "evaluate": f"def (t: {TENSOR}) -> float",
    "optimizer.step": "def ()",
    "nag.load('weights')": "dict[str, numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]]",
}
REFUSED = [
    'nag.tanh("a")',
    "nag.tanh(None)",
    "nag.tanh({1.0})",
    'nag.sum(x, axis="rows")',
    'nag.Tensor("a")',
    "nag.no_such",
    "x.no_such",
    'x + "a"',
    'x["a"]',
    "x.sum(axes=0)",
    'x.mean(keepdims="yes")',
    "nag.less(x)",
    "nag.optim.no_such",
    'nn.Linear("3", 4)',
    'nn.Linear(3, 4)("a")',
    'net(x, scale="a")',
    'optim.SGD(net.parameters(), lr="1")',
    "optim.SGD(net)",
    "nag.grad(3)",
    'cube("a")',
    "own(x, j=2)",
    'evaluate("a")',
    "nag.load(3)",
]
ACCEPTED = [
    "nag.Tensor([x, [1.0, 2.0]], dtype='float32', device='cpu')",
    "x.reshape(2, 1).reshape((1, 2)).reshape(-1)",
    "x.transpose().transpose(1, 0).transpose((0, 1))",
    "x.astype(np.float32).to('cpu').requires_grad_()",
    "nag.where(x > 0, x, 0.0) ** 2 / len(x)",
    "nag.concatenate([x, array], axis=0)",
    "nag.einsum('ij,jk->ik', x, array)",
    "optim.SGD([{'params': [x], 'lr': 0.1}])",
    "optim.clip_grad_norm_(net.parameters(), 1.0)",
    "loss(x).backward()",
    "x[0].__setitem__(0, 1.0)",
    "nag.grad(nag.sum)(x).sum()",
    "nag.grad(lambda t: (t**2).sum())(array)",
    "nag.value_and_grad(lambda t, k: (t**k).sum())(x, 2)",
    "nn.MultiheadAttention(4, 2, rng=0)(x, x, x)[0].sum()",
    "read_gguf('model.gguf').load({'w': (2, 3)})['w'].sum()",
]


@pytest.mark.slow
def test_mypy_understands_a_program(tmp_path):
    api = pytest.importorskip("mypy.api", reason="needs mypy")
    tried = [*(f"reveal_type({e})" for e in REVEALED), *REFUSED, *ACCEPTED]
    lines = [*PROGRAM.splitlines(), *tried]
    file = tmp_path / "program.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    options = "--config-file=", "--strict", "--follow-imports=silent", "--cache-dir"
    out, error, _ = api.run([*options, str(tmp_path), str(file)])
    assert not error, error
    said = {line: [] for line in lines}
    for n, text in re.findall(r"program\.py:(\d+): ((?:error|note: Revealed).*)", out):
        said[lines[int(n) - 1]].append(text)
    of_results = {e: said.pop(f"reveal_type({e})") for e in REVEALED}
    assert of_results == {e: [f'note: Revealed type is "{t}"'] for e, t in REVEALED.items()}
    not_refused = [wrong for wrong in REFUSED if not said.pop(wrong)]
    assert not not_refused
    wrongly_refused = {line: texts for line, texts in said.items() if texts}
    assert not wrongly_refused
