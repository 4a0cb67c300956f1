"""Operations on Tensors reach kernels, with arrays of the fake, which the emulator takes."""

import inspect
import re
from importlib import import_module

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.backends import to_device, to_numpy
from nanoautograd.custom_vjp import CustomVJP
from nanoautograd.kernels.cuda import emulator, launchers, use_kernels
from nanoautograd.kernels.cuda.launchers import cross_entropy
from nanoautograd.kernels.cuda.runtime import device_assertions, source
from nanoautograd.kernels.cuda.runtime.source import HERE

pytestmark = pytest.mark.skipif(not emulator.available(), reason="needs g++")


@pytest.fixture
def launched(monkeypatch):
    """The names of the kernels that are launched."""
    names, launch = [], source.Source.launch

    def noted(self, kernel, *args, **options):
        names.append(f"{self.file} {kernel}")
        return launch(self, kernel, *args, **options)

    monkeypatch.setattr(source.Source, "launch", noted)
    return names


def scores(rng, N=5, C=11):
    return [to_device(a, "strict") for a in (rng.standard_normal((N, C)), rng.integers(0, C, N))]


def test_a_gradient_by_kernels_is_that_of_the_fallback(launched):
    x, y = scores(np.random.default_rng(0))
    found = []
    for on in (True, False):
        t = nag.Tensor(x, requires_grad=True)
        with emulator.emulated(seed=1), use_kernels(on):
            loss = F.cross_entropy(t, y)
        loss.backward()  # by the same as forward, wherever it is called
        found.append((to_numpy(loss.data), to_numpy(t.grad.data)))
        assert bool(launched) == on
        launched.clear()
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_without_the_emulator_the_fake_computes_by_the_fallback(launched):
    x, y = scores(np.random.default_rng(0))
    F.cross_entropy(nag.Tensor(x), y)
    F.cross_entropy(x, y)
    assert not launched


def test_arrays_reach_the_kernels_too(launched):
    x, y = scores(np.random.default_rng(1))
    with emulator.emulated():
        loss = F.cross_entropy(x, y)
    np.testing.assert_allclose(to_numpy(loss), F.cross_entropy(to_numpy(x), to_numpy(y)))
    assert launched == ["cross_entropy.cu forward", "cross_entropy.cu reduce"]


@pytest.mark.parametrize("options", [{"weight": True}, {"distributions": True}, {"axes": True}])
def test_what_no_kernel_takes_is_computed_by_the_fallback(launched, options):
    rng = np.random.default_rng(2)
    x, y, weight = rng.standard_normal((5, 11)), rng.integers(0, 11, 5), None
    if "weight" in options:
        weight = rng.random(11)
    elif "distributions" in options:
        y = rng.random((5, 11))
    else:
        x, y = rng.standard_normal((2, 11, 3)), rng.integers(0, 11, (2, 3))
    there = [None if a is None else to_device(a, "strict") for a in (x, y, weight)]
    with emulator.emulated():
        loss = F.cross_entropy(nag.Tensor(there[0], requires_grad=True), *there[1:])
        loss.backward()
    np.testing.assert_allclose(to_numpy(loss.data), F.cross_entropy(x, y, weight))
    assert not launched


def test_the_second_derivative_goes_through_primitives():
    x, y = scores(np.random.default_rng(3), 3, 4)
    with emulator.emulated():
        t = nag.Tensor(x, requires_grad=True)
        (g,) = nag.autograd.grad(F.cross_entropy(t, y), [t], create_graph=True)
        (h,) = nag.autograd.grad((g * g).sum(), [t])
    s = nag.Tensor(to_numpy(x), requires_grad=True)
    (g,) = nag.autograd.grad(F.cross_entropy(s, to_numpy(y)), [s], create_graph=True)
    (right,) = nag.autograd.grad((g * g).sum(), [s])
    np.testing.assert_allclose(to_numpy(h.data), right.data, atol=1e-12)


def test_a_target_out_of_range_is_named_and_reported_once():
    x, y = scores(np.random.default_rng(4))
    with emulator.emulated():
        with pytest.raises(
            IndexError, match=r"target 11 at position \(3,\) is out of range: there are 11"
        ):
            F.cross_entropy(x, to_device(np.array([0, 1, 2, 11, 12]), "strict"))
        with pytest.raises(IndexError, match=rf"target {-(2**40)} at position \(0,\)"):
            F.cross_entropy(x, to_device(np.array([-(2**40), 1, 2, 3, 4]), "strict"))
        F.cross_entropy(x, y)
        device_assertions.check(*_where(x))


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.item(),
        lambda t: t.numpy(),
        float,
        bool,
        repr,
        lambda t: t.tolist(),
        lambda t: to_numpy(t.data),
    ],
)
def test_what_a_kernel_reported_meanwhile_comes_with_what_is_read(read):
    x, y = scores(np.random.default_rng(5))
    with emulator.emulated():
        loss = F.cross_entropy(nag.Tensor(x), y)
        failed = 1, 3, 0, 99, 0, 11  # as a kernel writes it
        device_assertions.assertions(*_where(x)).host[:] = failed
        with pytest.raises(
            IndexError, match=r"target 99 at position \(3,\) is out of range: there are 11"
        ):
            read(loss)
        read(loss)


def test_an_assertion_has_one_number_and_one_message():
    number = 2**20
    device_assertions.register(number, "a")
    device_assertions.register(number, "a")
    with pytest.raises(ValueError, match="assertion 1048576 says 'a', not 'b'"):
        device_assertions.register(number, "b")
    del device_assertions._messages[number]


@pytest.mark.parametrize(
    "file",
    [path.name for path in HERE.glob("*.cu") if "fail_assertion(" in path.read_text("utf-8")],
)
def test_what_a_kernel_asserts_is_entered_by_its_launcher(file):
    (number,) = re.findall(r"constexpr int ASSERTION = (\d+);", (HERE / file).read_text("utf-8"))
    launcher = inspect.getsource(import_module(f"{launchers.__name__}.{file[:-3]}"))
    assert f"    {number},  # ASSERTION in {file}\n" in launcher
    assert int(number) in device_assertions._messages


def _where(x):
    from nanoautograd.backends import array_namespace, device_of

    return array_namespace(x), device_of(x)


# ---- which there are


def test_the_table_says_which_operations_have_which_forms():
    derived = {}
    for path in (HERE.parents[2] / "manual").glob("*.py"):
        for value in vars(import_module(f"nanoautograd.manual.{path.stem}")).values():
            if isinstance(value, CustomVJP):
                derived[value.name] = value
    text = (HERE.parents[1] / "README.md").read_text("utf-8")
    table = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", text, re.M)
    assert len(table) == len(derived)
    assert {name: (cpu != "-", cuda != "-") for name, cpu, cuda in table} == {
        name: (operation.cpu is not None, operation.cuda is not None)
        for name, operation in derived.items()
    }


# ---- arguments of a launch


def kernels():
    return source.source("cross_entropy.cu", T="float", TargetT="int")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a.pop(), "reduce takes 8 arguments, got 7"),
        (lambda a: a.__setitem__(0, a[0].astype(float)), "ell is an array of float32, got float64"),
        (lambda a: a.__setitem__(0, 3.0), "ell is an array of float32, got 3.0"),
        (lambda a: a.__setitem__(4, a[0]), "N is a number, got"),
        (lambda a: a.__setitem__(0, a[0][::2]), "ell must be contiguous; got the shape \\(3,\\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, message):
    arguments = [
        np.ones(5, np.float32),
        np.zeros(5, np.int32),
        np.empty((), np.float32),
        np.empty((), np.float32),
        5,
        3,
        -100,
        True,
    ]
    kernels().launch("reduce", 1, 32, *arguments, shared=128)
    change(arguments)
    with pytest.raises((TypeError, ValueError), match=message):
        kernels().launch("reduce", 1, 32, *arguments, shared=128)


def test_a_thread_that_misses_a_barrier_is_an_error(monkeypatch):
    text = (
        kernels()
        .text.replace("if (threadIdx.x) return;\n    if (mean)", "if (mean)")
        .replace("sum = 0, kept = 0;", "sum = 0, kept = 0; if (threadIdx.x == 3) return;")
    )
    broken = source.Source("cross_entropy.cu", T="float", TargetT="int")
    broken.text = text
    monkeypatch.setattr(cross_entropy, "source", lambda file, **macros: broken)
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(emulator.KernelError, match="threads wait for others|a barrier was reached"):
        cross_entropy.forward(x, np.zeros(4, np.int32))


def test_a_source_that_does_not_compile_says_so():
    broken = source.Source("cross_entropy.cu", T="float", TargetT="int")
    broken.text += "\nthis is no C"
    with pytest.raises(emulator.KernelError, match="does not compile"):
        emulator.build(broken)


@pytest.mark.parametrize(
    "blocks, threads, shared",
    [(1, 1025, 128), (1, (32, 33), 128), ((1, 65536), 32, 128), (1, 0, 128), (1, 32, 228 << 10)],
)
def test_a_launch_that_no_gpu_could_make_is_refused(blocks, threads, shared):
    arguments = [
        np.ones(5, np.float32),
        np.zeros(5, np.int32),
        np.empty((), np.float32),
        np.empty((), np.float32),
        5,
        3,
        -100,
        True,
    ]
    with pytest.raises(ValueError, match="no GPU has so many"):
        kernels().launch("reduce", blocks, threads, *arguments, shared=shared)
