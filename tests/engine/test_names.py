"""Names that people type: those that are here are shown; of others an error says what to type."""

import inspect
import pydoc
import re
import subprocess
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
    found = {module.__name__: module for module in [*MODULES, nag.testing]}
    optimizer = nag.optim.SGD([nag.Tensor([1.0], requires_grad=True)])
    objects = {"Tensor": nag.Tensor([1.0]), "Module": nag.nn.Identity(), "Optimizer": optimizer}
    return found | objects


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


# ---- what follows from the names that are here


def said(place, name):
    """What an error says to type for a name that a place does not have."""
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; write ") as error:
        getattr(owners()[place], name)
    return str(error.value).partition("; write ")[2]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_a_name_of_another_module(module):
    for other in MODULES:
        for name in {*other.__all__} - {*dir(module), *INSTEAD[module.__name__]}:
            if hasattr(module, name):  # what it imports
                continue
            found = said(module.__name__, name)
            assert found.startswith("nag.") and f".{name}" in found
            assert eval(found, scope()) is not None


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_a_name_in_other_letters(module):
    place = f"nag{module.__name__.removeprefix('nanoautograd')}"
    for name in {name for name in module.__all__ if name.lower() != name.replace("_", "")}:
        for letters in {name.upper(), name.capitalize(), name.replace("_", "")} - {name}:
            assert said(module.__name__, letters) in (f"{place}.{name}", f"nag.{name}")
    assert said("nanoautograd.optim", "RMSProp") == INSTEAD["nanoautograd.optim"]["RMSprop"]
    assert said("Tensor", "requiresGrad") == "t.requires_grad"


@pytest.mark.parametrize("name", ["optim_", "nn_", "Tensor_", "testing_", "_"])
def test_what_is_no_function_has_no_form_in_place(name):
    with pytest.raises(AttributeError) as error:
        getattr(nag, name)
    assert "t[...]" not in str(error.value)


NO_METHODS = {*nag.ops.__all__, *nag.functional.__all__} - {*dir(nag.Tensor), *INSTEAD["Tensor"]}
OF_OTHER_ARRAYS = {"bincount", "invert", "rotary_embedding"}  # than t


@pytest.mark.parametrize("name", sorted(NO_METHODS - OF_OTHER_ARRAYS))
def test_a_function_that_is_no_method(name):
    instead = said("Tensor", name)
    call = f"nag.{name}(t" if hasattr(nag, name) else f"nag.functional.{name}(t"
    assert instead in (f"{call})", f"{call}, ...)")
    if instead == f"{call})":
        assert eval(instead, scope()) is not None
    else:
        with pytest.raises((TypeError, ValueError, IndexError)):
            eval(f"{call})", scope())


IN_PLACE = (
    "abs acos asin atan ceil cos cosh erf exp expm1 floor frac log log10 log1p log2 logit neg "
    "reciprocal relu round rsqrt sgn sigmoid sign sin sinh sqrt square tan tanh tril triu trunc"
)


@pytest.mark.oracle
@pytest.mark.parametrize("name", IN_PLACE.split())
def test_a_form_in_place(name):
    torch = pytest.importorskip("torch")
    instead, found = said("Tensor", f"{name}_"), scope()
    assert instead.startswith("t[...] = ")
    t = getattr(torch.tensor(found["x"]), f"{name}_")()
    exec(instead, found)
    np.testing.assert_allclose(found["t"].numpy(), t.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", "copysign cov gcd heaviside percentile quantile unwrap".split())
def test_a_function_of_numpy_alone(name):
    call = rf"np\.{name}\(t\.detach\(\)\.numpy\(\)(, \.\.\.)?\)  # without a gradient"
    assert re.fullmatch(call, said("nanoautograd", name))
    assert re.fullmatch(call, said("Tensor", name))


def test_a_type_of_numpy():
    for name in ("int8", "uint64", "longdouble", "complex128"):
        assert eval(said("nanoautograd", name), scope()).dtype == np.dtype(name)


@pytest.mark.parametrize(
    "statement, instead",
    {
        "from nanoautograd.utils.data import DataLoader": INSTEAD["nanoautograd"]["utils"],
        "from nanoautograd.optim.lr_scheduler import StepLR": "optimizer.param_groups",
        "from nanoautograd.nn.utils import clip_grad_norm_": "nag.optim.clip_grad_norm_",
        "import nanoautograd.numpy as jnp": "nag.tanh(t)",
        "from nanoautograd.nn import Relu": "nag.nn.ReLU",
        "from nanoautograd import Linear": "nag.nn.Linear",
    }.items(),
)
def test_an_import_of_pytorch_or_jax(statement, instead):
    with pytest.raises(ImportError, match=re.escape(f"; write {instead}")):
        exec(statement)


def test_the_functions_under_the_name_that_pytorch_has():
    import nanoautograd.nn.functional as F

    assert F is nag.functional and F.relu is nag.nn.functional.relu


def test_a_submodule_is_imported_without_a_search():
    code = "import sys, nanoautograd; from nanoautograd import interop; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "nanoautograd.interop" in found.stdout.split(), found.stderr
    assert "nanoautograd.testing" not in found.stdout.split()


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
        "nanoautograd.testing": [torch.testing],
        "Tensor": [torch.ones(1, 1), np.ones(1), jax.numpy.ones(1), torch, np],
        "Module": [torch.nn.Linear(1, 1)],
        "Optimizer": [torch.optim.SGD(torch.nn.Linear(1, 1).parameters())],
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
        rsqrt t.rsqrt(); sub a.sub(b); t t.t();
        expand t.expand(4, 2, 3); mT t.mT;
        roll t.roll(1, 0); tile t.tile(2); flip t.flip(0); pow t.pow(2);
        acosh T.acosh(1 + t); absolute t.abs();
        arccosh T.acosh(1 + t); arcsinh t.asinh(); asinh t.asinh(); atanh t.atanh();
        arctanh t.atanh(); addmm T.addmm(a, b, a); adjoint t.adjoint();
        argwhere t.argwhere(); baddbmm T.addmm(a, b, a); erfc t.erfc();
        clamp_max t.clamp_max(1.0); clamp_min t.clamp_min(0.0); cumprod t.cumprod(-1);
        deg2rad t.deg2rad(); det a.det(); diag T.diag(a[0]); diff t.diff(); dist a.dist(b);
        exp2 t.exp2(); fliplr t.fliplr(); flipud t.flipud(); float_power t.float_power(2);
        fmod t.fmod(0.7); frac t.frac(); hypot a.hypot(b); inverse (b + T.eye(3)).inverse();
        is_floating_point T.tensor(t.is_floating_point()); is_complex T.tensor(t.is_complex());
        isneginf t.isneginf(); isposinf t.isposinf(); kron T.kron(a, b); lerp a.lerp(b, 0.3);
        logaddexp a.logaddexp(b); logit t.logit(); median t.median(-1).values;
        movedim t.movedim(0, 1); nan_to_num t.nan_to_num(); nanmean t.nanmean();
        nansum t.nansum(); rad2deg t.rad2deg(); repeat_interleave t.repeat_interleave(2, 0);
        rsub T.rsub(a, b); scatter t.scatter(1, i, 1.0); select t.select(1, 1); sgn t.sgn();
        std_mean T.stack(T.std_mean(t)); var_mean T.stack(T.var_mean(t)); topk t.topk(2).values;
        take_along_dim t.take_along_dim(i, 1); unflatten t.unflatten(1, (3, 1));
        vdot T.vdot(a.ravel(), b.ravel()); xlogy a.xlogy(b); squeeze_ t.squeeze(); t_ t.t();
        unsqueeze_ t.unsqueeze(0); nelement T.tensor(t.nelement());
        new_ones t.new_ones((2, 3)); new_zeros t.new_zeros((2, 3));
        kthvalue t.kthvalue(2).values; broadcast_tensors t.expand(4, 2, 3)
        """,
    "nanoautograd": """
        hstack T.hstack([a, b]); vstack T.vstack([a, b]);
        atan2 T.atan2(a, b)
        """,
    "nanoautograd.functional": """
        binary_cross_entropy TF.binary_cross_entropy(T.sigmoid(a), b);
        cosine_similarity TF.cosine_similarity(a, b, dim=-1); elu TF.elu(t); swish TF.silu(t);
        huber_loss TF.huber_loss(a, b); l1_loss TF.l1_loss(a, b); leaky_relu TF.leaky_relu(t);
        logsigmoid TF.logsigmoid(t); nll_loss TF.nll_loss(TF.log_softmax(a, -1), labels);
        normalize TF.normalize(t, dim=-1); one_hot TF.one_hot(labels, 3);
        avg_pool1d TF.avg_pool1d(t, 2); max_pool1d TF.max_pool1d(t, 2); pad TF.pad(t, (1, 1));
        smooth_l1_loss TF.smooth_l1_loss(a, b); celu TF.celu(t); glu TF.glu(a[:, :2]);
        gaussian_nll_loss TF.gaussian_nll_loss(a, t[:1].expand(3, 3), b);
        hardsigmoid TF.hardsigmoid(t); hardtanh TF.hardtanh(t);
        kl_div TF.kl_div(a, b, reduction="batchmean"); mish TF.mish(t);
        margin_ranking_loss TF.margin_ranking_loss(a, b, T.ones(3, 3), margin=0.1);
        poisson_nll_loss TF.poisson_nll_loss(a, b); relu6 TF.relu6(t); selu TF.selu(t);
        prelu TF.prelu(t, 0.25 * T.ones(1).double()); softmin TF.softmin(t, dim=-1);
        softsign TF.softsign(t); threshold TF.threshold(t, 0.1, 0.0);
        hardswish TF.hardswish(t); tanhshrink TF.tanhshrink(t);
        interpolate TF.interpolate(t[None], scale_factor=2)[0];
        multilabel_soft_margin_loss TF.multilabel_soft_margin_loss(a, b);
        pairwise_distance TF.pairwise_distance(a, b, eps=0);
        soft_margin_loss TF.soft_margin_loss(a, b);
        triplet_margin_loss TF.triplet_margin_loss(a, b, 0 * a, eps=0)
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
        *before, last = INSTEAD[place][name].partition("  #")[0].split("; ")
        found, expected = scope(), np.asarray(eval(code, theirs))
        exec("; ".join([*before, f"_ = {last}"]), found)
        found = np.asarray(found["_"])
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
    "zeros(size=(2, 3))": "shape=(2, 3)",
    "arange(0, end=3)": "stop=3",
    "linspace(0.0, 1.0, steps=5)": "num=5",
    "cat([t, t], axis=1)": "dim=1",
    "unsqueeze(t, axis=0)": "dim=0",
    "softmax(t, axis=0)": "dim=0",
    "log_softmax(t, axis=0)": "dim=0",
}
DESCENDING = "descending" in inspect.signature(np.argsort).parameters  # from NumPy 2.5 on
if DESCENDING:
    del IN_KEYWORDS["argsort(t, descending=True)"]


@pytest.mark.skipif(not DESCENDING, reason="NumPy has no argsort(descending=)")
def test_positions_from_the_largest_on():
    assert nag.argsort([1.0, 3.0, 2.0], descending=True).data.tolist() == [1, 2, 0]


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


OTHERS = [nag.backends, nag.checkpoint, nag.testing, nag.typing]


def test_every_module_that_completion_shows_shows_its_own():
    shown = {value for name in dir(nag) if inspect.ismodule(value := getattr(nag, name))}
    assert shown == {*MODULES, *OTHERS} - {nag}


@pytest.mark.parametrize("module", MODULES + OTHERS, ids=lambda m: m.__name__)
def test_completion_shows_what_is_for_users(module):
    needs_more = {"operations", "programs", "shrink", "strategies"}  # Hypothesis
    assert {*dir(module)} - (needs_more if module is nag.testing else set()) == {*module.__all__}
    assert dir(module) == sorted(dir(module))
    for name in dir(module):
        value = getattr(module, name)
        assert name[0] != "_" and value is not None
        if inspect.ismodule(value):
            assert f"nag.{name}" in README or value in MODULES or module is nag.testing, name
        elif module is not nag.typing:
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
