"""Names that people type: those that are here are shown; of others an error says what to type."""

import inspect
import pydoc
import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.core.operation import Primitive
from nanoautograd.custom_vjp import CustomVJP
from nanoautograd.safety.names import INSTEAD

PACKAGE = Path(nag.__file__).parent
MODULES = [nag, nag.autograd, nag.cuda, nag.functional, nag.nn, nag.optim]
ROWS = [(place, name) for place in INSTEAD for name in INSTEAD[place]]


def scope():
    """What the advice may name."""
    x = np.array([[0.5, 0.9, 0.2], [0.3, 0.2, 0.1]])
    w, square = nag.Tensor(x, requires_grad=True), np.arange(1.0, 10.0).reshape(3, 3)
    model = nag.nn.Linear(3, 2, rng=0, dtype=np.float64)
    return {
        **{"np": np, "nag": nag, "x": x, "t": nag.Tensor(x), "h": w * 2.0},
        **{"a": nag.Tensor(square - 3.0), "b": nag.Tensor(square / 9.0)},
        **{"i": np.array([[0], [2]]), "labels": np.array([0, 2, 1])},
        **{"model": model, "optimizer": nag.optim.SGD(model.parameters())},
    }


def owners():
    """{place in the table: what stands there}."""
    found = {module.__name__: module for module in MODULES}
    return found | {"Tensor": nag.Tensor([1.0]), "Module": nag.nn.Identity()}


@pytest.mark.parametrize("place, name", ROWS)
def test_what_to_type_instead_is_said_and_runs(place, name):
    instead = INSTEAD[place][name]
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; write ") as error:
        getattr(owners()[place], name)
    assert str(error.value).endswith(f"; write {instead}")
    exec(instead, scope())


@pytest.mark.parametrize("place, name", [row for row in ROWS if row[0] in sys.modules])
def test_an_import_says_the_same(place, name):
    instead = re.escape(INSTEAD[place][name])
    with pytest.raises(ImportError, match=f"no attribute '{name}'; write {instead}$"):
        exec(f"from {place} import {name}")
    with pytest.raises(ImportError, match=f"no attribute '{name}'; write {instead}$"):
        exec(f"from {place} import {[*dir(sys.modules[place])][0]}, {name} as other")


def test_the_table_covers_every_place():
    assert INSTEAD.keys() == owners().keys()


@pytest.mark.oracle
def test_the_names_in_the_table_are_those_that_others_have():
    state = np.random.get_state()  # which the import of JAX changes
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    np.random.set_state(state)
    pytest.importorskip("torch.optim.swa_utils")
    of_torch = {
        "nanoautograd": [torch, np, jax, jax.lax, jax.nn, torch.nn],
        "nanoautograd.autograd": [torch.autograd],
        "nanoautograd.cuda": [torch.cuda],
        "nanoautograd.functional": [torch.nn.functional, jax.nn],
        "nanoautograd.nn": [torch.nn],
        "nanoautograd.optim": [torch.optim, torch.nn.utils],
        "Tensor": [torch.ones(1, 1), np.ones(1), jax.numpy.ones(1)],
        "Module": [torch.nn.Linear(1, 1)],
    }
    of_old = {"Variable", "NLLLoss"}  # torch.autograd.Variable
    for place, name in ROWS:
        assert name in of_old or any(hasattr(x, name) for x in of_torch[place]), f"{place}.{name}"


# The same in PyTorch, T being torch and TF torch.nn.functional, of those that compute something.
IN_TORCH = {
    "Tensor": """
        amax t.amax(0); clamp t.clamp(0.0, 1.0); gather t.gather(1, i); inner T.inner(a, b);
        index_select t.index_select(0, T.tensor([1, 0])); log10 t.log10(); log2 t.log2();
        index_add t.index_add(0, T.tensor([1, 0, 1]), a); masked_fill t.masked_fill(t > 0, 0.0);
        masked_select t.masked_select(t > 0); mm a.mm(b); mv a.mv(b[0]); narrow t.narrow(1, 1, 2);
        rsqrt t.rsqrt(); sub a.sub(b); t t.t(); unsqueeze t.unsqueeze(0); view t.view(3, 2);
        flatten t.flatten(1); expand t.expand(4, 2, 3); mT t.mT; numel t.numel(); dim t.dim();
        roll t.roll(1, 0); tile t.tile(2); flip t.flip(0); pow t.pow(2);
        log_softmax t.log_softmax(-1)
        """,
    "nanoautograd": """
        cat T.cat([a, b]); hstack T.hstack([a, b]); vstack T.vstack([a, b]);
        eye T.eye(3); linspace T.linspace(0, 1, 5); full T.full((2, 3), 0.5); atan2 T.atan2(a, b)
        """,
    "nanoautograd.functional": """
        binary_cross_entropy TF.binary_cross_entropy(T.sigmoid(a), b);
        cosine_similarity TF.cosine_similarity(a, b, dim=-1); elu TF.elu(t); swish TF.silu(t);
        huber_loss TF.huber_loss(a, b); l1_loss TF.l1_loss(a, b); leaky_relu TF.leaky_relu(t);
        logsigmoid TF.logsigmoid(t); nll_loss TF.nll_loss(TF.log_softmax(a, -1), labels);
        normalize TF.normalize(t, dim=-1); one_hot TF.one_hot(labels, 3);
        avg_pool1d TF.avg_pool1d(t, 2); max_pool1d TF.max_pool1d(t, 2); pad TF.pad(t, (1, 1));
        smooth_l1_loss TF.smooth_l1_loss(a, b)
        """,
}


@pytest.mark.oracle
@pytest.mark.parametrize("place", IN_TORCH)
def test_what_to_type_instead_computes_the_same_as_pytorch(place):
    torch = pytest.importorskip("torch")
    theirs = {"T": torch, "TF": torch.nn.functional}
    for name in ("t", "a", "b", "i", "labels"):
        theirs[name] = torch.tensor(np.asarray(scope()[name]))
    for line in IN_TORCH[place].split(";"):
        name, code = line.strip().split(" ", 1)
        last = INSTEAD[place][name].partition("  #")[0].split("; ")
        found = scope()
        exec("; ".join(last[:-1]), found)
        found, expected = eval(last[-1], found), np.asarray(eval(code, theirs))
        found = np.asarray(found.data if isinstance(found, nag.Tensor) else found)
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"{place}.{name}")
        assert found.shape == expected.shape, name


# What is written with PyTorch's keywords, and what to write.
IN_KEYWORDS = {
    **{
        f"{f}(t, dim=0, keepdim=True)": "axis=0, keepdims=True"
        for f in "sum mean max min prod var std norm all any logsumexp count_nonzero".split()
    },
    **{f"{f}(t, dim=0)": "axis=0" for f in "argmax argmin cumsum sort argsort squeeze".split()},
    "argmax(t, dim=0, keepdim=True)": "axis=0, keepdims=True",
    **{f"{f}([t, t], dim=1)": "axis=1" for f in ("concatenate", "stack")},
    "expand_dims(t, dim=0)": "axis=0",
    "flip(t, dims=(0,))": "axis=(0,)",
    "roll(t, shifts=1, dims=0)": "shift=1, axis=0",
    "split(t, 2, dim=0)": "axis=0",
    "take(t, [0], dim=0)": "axis=0",
    "take_along_axis(t, i, dim=0)": "axis=0",
    "repeat(t, 2, dim=0)": "axis=0",
    "tensordot(t, t, dims=2)": "axes=2",
    "transpose(t, dims=(1, 0))": "axes=(1, 0)",
    "swapaxes(t, dim0=0, dim1=1)": "axis1=0, axis2=1",
    "sort(t, descending=True)": "nag.flip(nag.sort(t), axis=-1)",
    "argsort(t, descending=True)": "nag.argsort(-t)",
    "sort(t, stable=True)": 'kind="stable"',
    "std(t, unbiased=False)": "ddof=1, to divide by n - 1, or ddof=0",
    "var(t, correction=0)": "ddof=0",
}


@pytest.mark.parametrize("call", IN_KEYWORDS)
def test_keywords_of_pytorch_are_answered_with_those_here(call):
    def raises(code):
        with pytest.raises(TypeError, match="write .*" + re.escape(IN_KEYWORDS[call])) as error:
            eval(code, scope() | vars(nag))
        assert "positional" not in str(error.value)

    raises(f"nag.{call}")
    name, rest = call.split("(t", 1) if "(t" in call else ("", "")
    if name and hasattr(nag.Tensor, name) and name != "transpose":
        raises(f"t.{name}({rest.removeprefix(', ')}")


def test_other_arguments_that_do_not_fit_are_named():
    t = nag.Tensor([[1.0]])
    for call, says in (
        (lambda: nag.sum(t, nonsense=1), r"sum has no argument nonsense; its signature is sum\(a"),
        (lambda: nag.tanh(t, t), r"tanh got more by position than x; its"),
        (lambda: nag.tanh(), "tanh lacks x; its"),
        (lambda: nag.sum(t, a=t), "sum got a by position and by keyword; its"),
        (lambda: nag.stack([t], nonsense=1), "unexpected keyword argument 'nonsense'"),
    ):
        with pytest.raises(TypeError, match=says):
            call()


# ---- the same name, and another meaning


def meanings():
    """The rows of the table: what is typed, and what to type for what PyTorch does."""
    page = (PACKAGE.parent / "docs" / "differences.md").read_text(encoding="utf-8")
    table = page.partition("## Same name, NumPy's meaning")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`[^|]*\|[^|]*\|[^|]*\| `([^`]+)` \|$", table, re.MULTILINE)


def numbers(y):
    """A result as a list of arrays of NumPy."""
    if isinstance(y, (tuple, list)) and not all(isinstance(n, int) for n in y):
        return [a for part in y for a in numbers(part)]
    return [np.asarray(y.detach() if hasattr(y, "detach") else y)]


def same(a, b):
    return [x.shape for x in a] == [y.shape for y in b] and all(map(np.allclose, a, b))


@pytest.mark.oracle
@pytest.mark.parametrize("typed, instead", meanings())
def test_a_name_with_the_meaning_of_numpy(typed, instead):
    torch = pytest.importorskip("torch")
    x = np.array([[0.5, 4.0, -2.0], [1.5, 1.0, 3.0], [2.5, 0.0, 0.25], [1.0, 2.0, 7.0]])
    ours = {"nag": nag, "np": np, "t": nag.Tensor(x), "u": nag.Tensor(x.copy())}
    theirs = {"nag": torch, "t": torch.tensor(x), "u": torch.tensor(x)}
    expected = numbers(eval(typed, theirs))
    try:
        found = numbers(eval(typed, ours))
    except TypeError:  # of the number t.size, that it is called
        assert typed == "t.size()"
    else:
        assert not same(found, expected)
    assert same(numbers(eval(instead, ours)), expected)


def test_the_table_of_meanings_has_rows():
    assert len(meanings()) > 10


@pytest.mark.parametrize("name", ["nonsense", "_hidden", "__array_struct__"])
def test_other_names_are_missing_as_always(name):
    for place, owner in owners().items():
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'$") as error:
            getattr(owner, name)
        assert (error.value.name, error.value.obj) == (name, owner)
        assert not hasattr(owner, name)
    with pytest.raises(ImportError):
        exec("from nanoautograd.nn import Nonsense")


def test_a_layer_of_ones_own_says_its_name():
    class Net(nag.nn.Module):
        def __init__(self):
            self.first = nag.nn.Linear(2, 3)

    with pytest.raises(AttributeError, match="'Net' object has no attribute 'second'$"):
        Net().second
    with pytest.raises(
        AttributeError, match="'Net' object has no attribute 'cuda'; write model.to"
    ):
        Net().cuda()


# ---- what completion shows


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_completion_shows_what_is_for_users(module):
    assert dir(module) == sorted({*module.__all__})
    for name in dir(module):
        value = getattr(module, name)
        assert name[0] != "_" and value is not None
        if inspect.ismodule(value):
            assert f"nag.{name}" in README or value in MODULES, name
        else:
            assert (value.__module__ or "").partition(".")[0] == "nanoautograd", name


README = (
    "nag.functional nag.nn nag.optim nag.autograd nag.backends nag.checkpoint nag.cuda nag.testing "
    "nag.typing"
)


def test_every_layer_and_function_is_shown():
    for module in (nag.nn, nag.optim, nag.functional):
        public = {
            name
            for name, value in vars(module).items()
            if name[0] != "_" and not inspect.ismodule(value) and callable(value)
        }
        assert public - {"connect"} <= {*dir(module)}


# ---- help


def operations(folder):
    """The operations that the modules of a folder name, also those behind functions; but for parts
    of them that have no docstring."""
    found = {}
    for file in sorted((PACKAGE / folder).glob("[!_]*.py")):
        module = import_module(f"nanoautograd.{folder}.{file.stem}")
        for name, value in vars(module).items():
            if isinstance(value, (Primitive, CustomVJP)) and value.__doc__:
                found[f"{file.stem}.{name}"] = value
    return found


OPERATIONS = operations("ops") | operations("functional")


def documented():
    """(name, object) of what users can ask for help on, and the operations behind it."""
    for module in [*MODULES, nag.testing, nag.backends]:
        for name in sorted(module.__all__):
            yield f"{module.__name__}.{name}", getattr(module, name)
    for name in dir(nag.Tensor):
        if name[0] != "_":
            yield f"Tensor.{name}", getattr(nag.Tensor, name)
    for name, operation in OPERATIONS.items():
        yield f"the operation {name}", operation
    yield from (("Primitive", Primitive), ("CustomVJP", CustomVJP))


DOCUMENTED = dict(documented())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_help_points_at_text_that_exists(name):
    value = DOCUMENTED[name]
    text = pydoc.render_doc(value, renderer=pydoc.plaintext)
    own = inspect.getdoc(value)
    assert own and own.strip().splitlines()[0] in text
    assert not re.search(r"\b(text|table|list|lines?) (above|below)\b|\bbeside this file\b", own)
    here = Path(inspect.getfile(sys.modules[getattr(value, "__module__", "nanoautograd")])).parent
    for path in re.findall(r"\b[\w/]+\.(?:py|md|cu)\b", own):
        assert any((place / path).exists() for place in (here, PACKAGE, PACKAGE.parent)), path


def test_help_on_an_operation_of_ones_own():
    @nag.function
    def cube(a):
        """a³."""
        return a**3

    text = pydoc.render_doc(cube, renderer=pydoc.plaintext)
    assert "cube(a)" in text and "a³." in text
