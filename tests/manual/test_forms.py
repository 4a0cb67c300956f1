"""Every operation that is derived by hand, in all its forms: one table says which there are.

By hand (manual/) = kernels/cpu = kernels/cuda, emulated = line by line on the fake of CuPy =
`reference` = finite differences = PyTorch, over the calls that the table of operations draws
(nanoautograd/testing/operations.py).
"""

import ast
import re
import sys
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import manual
from nanoautograd.backends import is_float, to_device, to_numpy
from nanoautograd.custom_vjp import CustomVJP
from nanoautograd.kernels.cuda import Kernel, emulator, use_kernels
from nanoautograd.testing import gradcheck
from nanoautograd.testing.operations import OPERATIONS, call


class Row(NamedTuple):
    """cpu, cuda: True where there is such a form, or the reason why there is none. torch: the call
    as PyTorch computes it, with the arguments of the function in nag.functional; or the reason why
    it is not compared. A torch function returns None for options that PyTorch does not have."""

    cpu: object
    cuda: object
    torch: object


def flat_weights(torch, kind, x, hx, weights, options):
    """A recurrent network of PyTorch as a function of its weights."""
    options = dict(options)
    lengths, masks = options.pop("lengths", None), options.pop("masks", None)
    options.pop("dropout", None)
    if masks is not None:
        return None  # it draws its own
    H, D = weights[1].shape[1], 2 if options["bidirectional"] else 1
    layers = len(weights) // (D * (4 if options["bias"] else 2))
    time_first = x if x.ndim == 2 or not options.get("batch_first") else x.transpose(0, 1)
    net = getattr(torch.nn, kind)(x.shape[-1], H, layers, dtype=x.dtype, **options)
    names = [n for group in net._all_weights for n in group]
    parameters = dict(zip(names, weights, strict=True))
    if lengths is not None:
        x = torch.nn.utils.rnn.pack_padded_sequence(
            time_first, torch.as_tensor(lengths), enforce_sorted=False
        )
        net.batch_first = False
    if kind == "LSTM" and hx is not None:
        batch = () if time_first.ndim == 2 else (time_first.shape[1],)
        zeros = torch.zeros((layers * D, *batch, H), dtype=weights[0].dtype)
        hx = tuple(zeros if h is None else h for h in hx)
    out, last = torch.func.functional_call(net, parameters, (x, hx))
    if lengths is not None:
        out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, total_length=len(time_first))
        out = out.transpose(0, 1) if options.get("batch_first") else out
    return out, last


def attention(
    torch, q, k, v, mask=None, *, dropout_p, is_causal, scale, return_weights=False, seed=None
):
    if dropout_p:
        return None
    A = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        A = A.masked_fill(~torch.ones(A.shape[-2:], dtype=bool).tril(), -torch.inf)
    if mask is not None:
        A = A.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else A + mask
    P = torch.softmax(A, -1)
    P = torch.where((A == -torch.inf).all(-1, keepdim=True), 0.0, P)
    return (P @ v, P) if return_weights else P @ v


def normalised(name):
    def f(torch, x, shape, weight=None, *rest, residual=None, return_sum=False):
        z = x if residual is None else x + residual
        y = getattr(torch.nn.functional, name)(z, shape, weight, *rest)
        return (y, z) if return_sum else y

    return f


def kl(torch, mu, logvar, mu_2=None, logvar_2=None):
    normal = torch.distributions.Normal
    zero = torch.zeros_like(mu)
    q = normal(
        zero if mu_2 is None else mu_2 + zero,
        ((logvar_2 + zero if mu_2 is not None else zero) / 2).exp(),
    )
    return torch.distributions.kl_divergence(normal(mu, (logvar / 2).exp()), q).sum(-1)


def cross_entropy(torch, x, target, weight=None, *, reduction, label_smoothing, ignore_index=-100):
    """PyTorch's own has no gradient for the weights of the classes."""
    f, axis = torch.nn.functional, min(1, x.ndim - 1)
    if weight is None:
        options = {"reduction": reduction, "label_smoothing": label_smoothing}
        return f.cross_entropy(x, target, ignore_index=ignore_index, **options)
    logp, C = torch.log_softmax(x, axis), x.shape[axis]
    w = weight.reshape(-1, *[1] * (x.ndim - 1 - axis))
    kept = torch.ones(logp.select(axis, 0).shape, dtype=bool)
    q, W = target, kept.sum()
    if not target.is_floating_point():
        kept = target != ignore_index
        y = torch.where(kept, target, 0)
        q = f.one_hot(y, C).to(x.dtype).movedim(-1, axis)
        W = torch.where(kept, weight[y], 0).sum()
    q = (1 - label_smoothing) * q + label_smoothing / C
    ell = torch.where(kept, -(w * q * logp).sum(axis), 0)
    return ell if reduction == "none" else ell.sum() if reduction == "sum" else ell.sum() / W


def linear_cross_entropy(torch, h, W, target, bias=None, class_weight=None, **options):
    x = torch.nn.functional.linear(h, W, bias)
    loss = cross_entropy(torch, x.reshape(-1, len(W)), target.reshape(-1), class_weight, **options)
    return loss.reshape(target.shape) if options["reduction"] == "none" else loss


MASKS = "the masks of dropout are drawn by our own generator"
GENERIC = "a few lines on CuPy are launched as they are in manual/"
TABLE = {
    "softmax": Row(True, True, lambda torch, x, dim: torch.softmax(x, dim)),
    "log_softmax": Row(True, True, lambda torch, x, dim: torch.log_softmax(x, dim)),
    "gelu": Row(
        True,
        True,
        lambda torch, x, approximate, bias=None: torch.nn.functional.gelu(
            x if bias is None else x + bias, approximate=approximate
        ),
    ),
    "silu": Row(True, True, lambda torch, x: torch.nn.functional.silu(x)),
    "linear": Row(True, True, lambda torch, *args: torch.nn.functional.linear(*args)),
    "embedding": Row(
        "rows are copied, and added, by single calls of NumPy",
        True,
        lambda torch, ids, W, padding: torch.nn.functional.embedding(ids, W, padding),
    ),
    "dropout": Row(True, True, MASKS),
    "cross_entropy": Row(True, True, cross_entropy),
    "linear_cross_entropy": Row(True, True, linear_cross_entropy),
    "layer_norm": Row(True, True, normalised("layer_norm")),
    "rms_norm": Row(True, True, normalised("rms_norm")),
    "scaled_dot_product_attention": Row(True, True, attention),
    "rotary_embedding": Row(True, GENERIC, "PyTorch has no rotary embedding"),
    "gaussian_kl_divergence": Row("a few lines on few numbers", GENERIC, kl),
    "crf_log_partition": Row(
        "each step waits for the one before, and is small", GENERIC, "PyTorch has no CRF"
    ),
    "rnn": Row(True, True, lambda torch, x, hx, *ws, **o: flat_weights(torch, "RNN", x, hx, ws, o)),
    "lstm": Row(
        True, True, lambda torch, x, hx, *ws, **o: flat_weights(torch, "LSTM", x, hx, ws, o)
    ),
    "gru": Row(True, True, lambda torch, x, hx, *ws, **o: flat_weights(torch, "GRU", x, hx, ws, o)),
}
each_operation = pytest.mark.parametrize("name", TABLE)


def derived_by_hand():
    """{name: operation} of all that manual/ defines."""
    modules = [import_module(f"{manual.__name__}.{m.name}") for m in iter_modules(manual.__path__)]
    found = [x for module in modules for x in vars(module).values() if isinstance(x, CustomVJP)]
    return {operation.name: operation for operation in found}


def test_the_table_is_whole():
    operations = derived_by_hand()
    assert set(operations) == set(TABLE)
    for name, operation in operations.items():
        for form in ("cpu", "cuda"):
            there, said = getattr(operation, form) is not None, getattr(TABLE[name], form)
            assert there == (said is True), f"{name} has {'a' if there else 'no'} form for {form}"
            assert said, f"why has {name} no form for {form}?"
        assert TABLE[name].torch, f"why is {name} not compared with PyTorch?"


SOURCES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in Path(manual.__file__).parent.glob("*.py")
}


def code_lines(text, tree):
    """The lines of code in a part of a file, without blank ones, comments and docstrings."""
    kinds = ast.Module | ast.FunctionDef | ast.ClassDef
    documented = [n for n in ast.walk(tree) if isinstance(n, kinds) and ast.get_docstring(n)]
    firsts = [node.body[0] for node in documented]
    docstrings = {n for first in firsts for n in range(first.lineno, first.end_lineno + 1)}
    first, last = getattr(tree, "lineno", 1), getattr(tree, "end_lineno", None)
    lines = list(enumerate(map(str.strip, text.splitlines()), 1))[first - 1 : last]
    return [n for n, line in lines if line and line[0] != "#" and n not in docstrings]


def test_what_is_read_is_short():
    found = {name: code_lines(text, ast.parse(text)) for name, text in SOURCES.items()}
    limits = dict.fromkeys(found, 60) | {"recurrent": 150}
    assert not {n: len(code) for n, code in found.items() if len(code) > limits[n]}
    assert sum(map(len, found.values())) <= 900
    assert sum(len(text.splitlines()) for text in SOURCES.values()) <= 2200


def test_what_is_read_is_neither_fast_nor_safe():
    """No closures, threads, blocks, arrays to write into, or checks: these are elsewhere."""
    for name, text in SOURCES.items():
        tree = ast.parse(text)
        for node in ast.walk(tree):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.Lambda)]
            assert not isinstance(node, ast.FunctionDef) or inner == [node], f"{name}: a closure"
            assert not isinstance(node, ast.Lambda | ast.Raise | ast.Assert), (name, node.lineno)
            if isinstance(node, ast.Call):
                assert not {"out", "needs"} & {k.arg for k in node.keywords}, (name, node.lineno)
            if isinstance(node, ast.arguments):
                assert "needs" not in {a.arg for a in [*node.args, *node.kwonlyargs]}, name
            if isinstance(node, ast.ImportFrom):
                source = node.module or ""
                assert not re.search("threads|safety|kernels|functional", source), (name, source)


GRADIENTS = re.compile(r"Gradients: `(\w+)` in manual/(\w+)\.py; step into it within `nag.use_man")
LINES = {"lstm": 17, "gru": 17}  # of the gradient; of the others 15 at most


@each_operation
def test_the_docstring_names_the_gradient_into_which_a_debugger_steps(name):
    ((function, file),) = GRADIENTS.findall(getattr(nag.functional, name).__doc__)
    gradient = getattr(import_module(f"{manual.__name__}.{file}"), function)
    (tree,) = [f for f in ast.parse(SOURCES[file]).body if getattr(f, "name", "") == function]
    assert len(code_lines(SOURCES[file], tree)) - 1 <= LINES.get(name, 15)  # without `def`
    seen = set()

    @settings(max_examples=5)
    @given(OPERATIONS[f"functional.{name}"].calls)
    def check(call):
        xs = [nag.Tensor(x, requires_grad=True) for x in call.inputs]
        with nag.use_manual():
            outs = call(*xs)
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, arg: seen.add(frame.f_code))
        try:
            nag.autograd.grad([y.sum() for y in outs], xs, allow_unused=True)
        finally:
            sys.setprofile(before)

    check()
    assert gradient.__code__ in seen


def test_a_gradient_may_ask_what_is_needed_and_what_nobody_needs_is_dropped():
    asked = []

    def forward(a, b, c=None):
        return a + b, None

    def with_needs(dy, cache, needs):
        asked.append(needs)
        return dy, dy, dy

    a, b = nag.Tensor(np.ones((2, 3)), requires_grad=True), np.ones(3)
    for backward in (with_needs, lambda dy, cache: (dy, dy, dy)):
        f = nag.custom_vjp("f", forward, backward, lambda a, b, c=None: a + b)
        f(a, b).sum().backward()
        x = nag.Tensor(b, requires_grad=True)
        f(a.detach(), x).sum().backward()
        assert x.grad.tolist() == [2, 2, 2]  # summed where it was broadcast
    assert (
        asked == [(True, False, False), (False, True, False)] and a.grad.tolist() == [[2] * 3] * 2
    )


def test_needs_is_an_option_as_others():
    f = nag.custom_vjp(
        "f",
        lambda x, *, needs=2.0: (x * needs, needs),
        lambda dy, cache: (dy * cache,),
        lambda x, *, needs=2.0: x * needs,
    )
    assert nag.grad(lambda x: f(x, needs=3.0))(1.0).item() == 3.0


@contextmanager
def by_reference(name):
    """The operation computes `reference`, and differentiates that."""
    operation = derived_by_hand()[name]

    def forward(*arrays, **options):
        inputs = [
            nag.Tensor(a, requires_grad=True) if hasattr(a, "dtype") and is_float(a.dtype) else a
            for a in arrays
        ]
        with nag.enable_grad():
            out = operation.reference(*inputs, **options)
        outs = out if isinstance(out, tuple) else (out,)
        results = tuple(y.detach().data for y in outs)
        return results if isinstance(out, tuple) else results[0], (inputs, outs)

    def backward(dout, cache, needs=None):
        inputs, outs = cache
        leaves = [x for x in inputs if isinstance(x, nag.Tensor)]
        douts = dout if isinstance(dout, tuple) else (dout,)
        used = [(y, nag.Tensor(d)) for y, d in zip(outs, douts) if y.requires_grad]
        ys, gs = zip(*used) if used else ((), ())
        ds = iter(nag.autograd.grad(ys, leaves, gs, allow_unused=True) if used else ())
        return tuple(_data(next(ds, None)) if isinstance(x, nag.Tensor) else None for x in inputs)

    before = operation.cpu, operation.manual
    operation.cpu, operation.manual = None, operation.form(forward, backward)
    try:
        yield
    finally:
        operation.cpu, operation.manual = before


def _data(d):
    return None if d is None else d.data


FORMS = {  # (device, what is switched on); each is compared with manual/ on the CPU
    "cpu": ("cpu", lambda name: nullcontext()),
    "cuda": ("strict", lambda name: emulator.emulated(seed=1)),
    "line by line": ("strict", lambda name: use_kernels(False)),
    "reference": ("cpu", by_reference),
}
CLOSE = {
    "float64": {"rtol": 1e-9, "atol": 1e-11},
    "float32": {"rtol": 2e-4, "atol": 2e-5},
}


@st.composite
def heads_of_eight(draw):
    """Attention as its kernels take it: the table has heads of fewer features, and masks."""
    rng, batch = (
        np.random.default_rng(draw(st.integers(0, 99))),
        draw(st.sampled_from([(), (2, 2)])),
    )
    T, S = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return call(
        "functional.scaled_dot_product_attention",
        *[rng.standard_normal((*batch, n, 8)) for n in (T, S, S)],
        is_causal=draw(st.booleans()),
        scale=draw(st.sampled_from([None, 1.0, 0.3])),
        dropout_p=draw(st.sampled_from([0.0, 0.4])),
        seed=draw(st.integers(0, 2**64 - 1)),
    )


MORE = {"scaled_dot_product_attention": [heads_of_eight()]}
UNUSED = {"linear"}  # its launcher takes float32 where products are computed in bfloat16 alone


def results(call, device, dtype, inputs=None):
    """The outputs and the gradients of a call, as NumPy's arrays."""
    inputs = call.inputs if inputs is None else inputs
    xs = [nag.Tensor(x, dtype=dtype, device=device, requires_grad=True) for x in inputs]
    outs = call(*xs)
    us = [nag.Tensor(weights(y.shape, dtype), device=device) for y in outs]
    ds = nag.autograd.grad(outs, xs, us, allow_unused=True)
    return [to_numpy(y.detach().data) for y in outs], [
        d if d is None else to_numpy(d.data) for d in ds
    ]


def weights(shape, dtype):
    return np.asarray(1.5 + np.cos(np.arange(np.prod(shape, dtype=int)) + 1.0), dtype).reshape(
        shape
    )


@pytest.mark.parametrize(
    "form, dtype",
    [
        pytest.param(form, dtype, marks=[pytest.mark.slow] * ((form, dtype) == ("cuda", "float64")))
        for form in FORMS
        for dtype in ("float64", "float32")
    ],
)
@each_operation
def test_each_form_is_that_by_hand(name, form, dtype, monkeypatch):
    if form == "cuda" and not emulator.available():
        pytest.skip("the emulator needs g++")
    if form in ("cpu", "cuda") and getattr(TABLE[name], form) is not True:
        return  # test_the_table_is_whole asks for the reason
    device, switched = FORMS[form]
    launcher, takes, taken = derived_by_hand()[name].cuda, Kernel.takes, []

    def noted(kernel, *args, **options):
        is_taken = takes(kernel, *args, **options)
        taken.append(is_taken and kernel is launcher)
        return is_taken

    monkeypatch.setattr(Kernel, "takes", noted)

    @settings(max_examples=settings.default.max_examples // 2)
    @given(st.one_of(OPERATIONS[f"functional.{name}"].calls, *MORE.get(name, [])))
    def check(call):
        with nag.use_manual():
            expected = results(call, "cpu", dtype)
        with switched(name):
            found = results(call, device, dtype)
        for ours, right in zip(found, expected, strict=True):
            for a, b in zip(ours, right, strict=True):
                if b is None or a is None:
                    assert a is b or not np.any(a if b is None else b)
                else:
                    assert (a.shape, a.dtype) == (b.shape, b.dtype)
                    np.testing.assert_allclose(a, b, **CLOSE[dtype])

    check()
    assert any(taken) == (form == "cuda" and name not in UNUSED), "were the kernels compared?"


@st.composite
def extreme(draw, call, dtype):
    """The inputs of a call, of which one number is NaN, infinite, or near an end of the range."""
    limits = np.finfo(dtype)
    numbers = [np.nan, np.inf, limits.max / 4, 9 * limits.max**0.5, limits.smallest_normal**0.6]
    inputs = [np.array(x, dtype=dtype) for x in call.inputs]
    if full := [x for x in inputs if x.size]:
        x = draw(st.sampled_from(full))
        at = draw(st.integers(0, x.size - 1))
        x.flat[at] = draw(st.sampled_from(numbers)) * draw(st.sampled_from([1, -1]))
    return inputs


@pytest.mark.parametrize(
    "name, form",
    [
        (name, form)
        for name, row in TABLE.items()
        for form in ("cpu", "cuda", "line by line")
        if getattr(row, form, True) is True
        # (Their kernels give NaN at padding where a weight is not finite.)
        and not (form == "cuda" and name in ("rnn", "lstm", "gru"))
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_finite_by_hand_is_so_in_each_form(name, form):
    if form == "cuda" and not emulator.available():
        pytest.skip("the emulator needs g++")
    device, switched = FORMS[form]

    @settings(max_examples=2 * settings.default.max_examples)
    @given(OPERATIONS[f"functional.{name}"].calls, st.data())
    def check(call, data):
        dtype = data.draw(st.sampled_from(["float32", "float64"] if form == "cpu" else ["float32"]))
        inputs = data.draw(extreme(call, dtype))
        with nag.use_manual():
            expected = results(call, "cpu", dtype, inputs)
        with switched(name):
            found = results(call, device, dtype, inputs)
        for a, b in zip(sum(found, []), sum(expected, []), strict=True):
            if a is not None and b is not None:
                where = np.isfinite(b)
                np.testing.assert_allclose(a[where], b[where], **CLOSE[dtype])

    check()


F = nag.functional
HIDDEN = np.array([[True, False], [True, True]])
TARGET = np.array([0, 1])
SMOOTHED = {"label_smoothing": 1.0, "reduction": "none"}  # nothing is left of the target itself
OVERFLOW = np.array([[1e30], [1e-30]]), np.array([[1e-30], [1e30]]), np.ones((2, 3))
EDGES = {  # (function, which is given what puts an array on the device; inputs)
    "causal attention": (
        lambda put, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        OVERFLOW,  # of a product that no query may see
    ),
    "masked attention": (
        lambda put, q, k, v: F.scaled_dot_product_attention(q, k, v, put(HIDDEN)),
        OVERFLOW,
    ),
    "cross_entropy": (
        lambda put, x: F.cross_entropy(x, put(TARGET), **SMOOTHED),
        [np.array([[-np.inf, 1.0], [2.0, 0.5]])],
    ),
    "linear_cross_entropy": (
        lambda put, h, W, b: F.linear_cross_entropy(h, W, put(TARGET), b, **SMOOTHED),
        [np.zeros((2, 1)), np.zeros((2, 1)), np.array([-np.inf, 1.0])],
    ),
    "large scores": (
        lambda put, x: F.cross_entropy(x, put(TARGET), label_smoothing=0.1),
        [np.array([[1e7, 1e7 + 1], [-1e30, -1e30]])],
    ),
    "layer_norm": (
        lambda put, x, w: F.layer_norm(x, (2,), w),
        [np.array([[1e16, -2e16]]), np.array([1e23, 1e23])],
    ),
    "rms_norm": (
        lambda put, x, w: F.rms_norm(x, (2,), w),
        [np.array([[1e16, -2e16]]), np.array([1e23, 1e22])],
    ),
    "large rms_norm": (lambda put, x: F.rms_norm(x, (2,)), [np.array([[1e25, -2e25]])]),
    "padding": (  # of the second sequence, in which 0 meets an infinite weight
        lambda put, W, U: F.rnn(
            put(np.ones((2, 2, 1), "float32")),
            None,
            W,
            U,
            nonlinearity="relu",
            bias=False,
            lengths=[2, 1],
        )[0],
        [np.array([[-np.inf], [0.5]]), np.array([[0.5, 0.0], [0.0, 0.5]])],
    ),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("form", ["cpu", "cuda"])
@pytest.mark.filterwarnings("ignore")
def test_at_the_edges_of_the_range_each_form_is_that_by_hand(form, edge):
    if form == "cuda" and not emulator.available():
        pytest.skip("the emulator needs g++")
    f, inputs = EDGES[edge]

    def found(device):
        xs = [nag.Tensor(x, dtype="float32", device=device, requires_grad=True) for x in inputs]
        y = f(lambda a: to_device(a, device), *xs)
        y.sum().backward()
        return [to_numpy(a.data) for a in (y.detach(), *[x.grad for x in xs])]

    with nag.use_manual():
        expected = found("cpu")
    with emulator.emulated(seed=1) if form == "cuda" else nullcontext():
        ours = found("strict" if form == "cuda" else "cpu")
    assert any(np.isfinite(b).all() for b in expected)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


@each_operation
def test_by_hand_is_finite_differences(name):
    @settings(max_examples=settings.default.max_examples // 2)
    @given(OPERATIONS[f"functional.{name}"].calls)
    def check(call):
        with nag.use_manual():
            gradcheck(call, call.inputs)

    check()


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@each_operation
def test_by_hand_is_pytorch(name, dtype):
    torch = pytest.importorskip("torch")
    if isinstance(TABLE[name].torch, str):
        return
    compared = 0

    @given(OPERATIONS[f"functional.{name}"].calls)
    def check(call):
        nonlocal compared
        xs = [torch.tensor(x, dtype=getattr(torch, dtype), requires_grad=True) for x in call.inputs]

        def f(*args, **options):
            return TABLE[name].torch(torch, *args, **options)

        outs = of_torch(torch, call, f, xs)
        if outs is None:
            return
        compared += 1
        us = [torch.tensor(weights(tuple(y.shape), dtype)) for y in outs]
        ds = torch.autograd.grad(outs, xs, us, allow_unused=True)
        with nag.use_manual():
            ours = results(call, "cpu", dtype)
        for a, b in zip(ours[0] + ours[1], [*outs, *ds], strict=True):
            if b is None:
                assert a is None or not np.any(a)
            else:
                np.testing.assert_allclose(a, b.detach().numpy(), **CLOSE[dtype])

    check()
    assert compared > settings.default.max_examples // 5


class Lacking(Exception):
    """PyTorch does not have an option."""


def of_torch(torch, call, f, xs):
    """The outputs of a call by the function f of PyTorch, or None."""

    def found(*args, **options):
        out = f(*args, **options)
        if out is None:
            raise Lacking
        return out

    try:
        return call._run(lambda _: found, xs, torch.tensor)
    except Lacking:
        return None
