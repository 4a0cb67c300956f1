"""gradcheck of functions of PyTorch and JAX: their derivatives, and mistakes planted in them."""

import html
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.testing import (
    CheckRefused,
    GradientError,
    Inconclusive,
    gradcheck,
    gradcheck_module,
    page,
    source,
)

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = jax.numpy
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.usefixtures("jax_in_float64"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

X = np.array([0.3, -1.2, 2.0])
A, B = np.arange(6.0).reshape(2, 3) / 5 - 0.7, np.arange(12.0).reshape(3, 4) / 9 - 0.4
Z = np.array([0.3 + 0.4j, -1.2 - 0.7j])


def array(library, a):
    return torch.tensor(a) if library is torch else library.numpy.asarray(a)


def planted(library, forward, backward):
    """A function of one argument with this gradient: backward(u, x)."""
    if library is torch:

        class Planted(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return forward(torch, x)

            @staticmethod
            def backward(ctx, u):
                return backward(torch, u, *ctx.saved_tensors)

        return Planted.apply
    f = jax.custom_vjp(lambda x: forward(jnp, x))
    f.defvjp(lambda x: (forward(jnp, x), x), lambda x, u: (backward(jnp, u, x),))
    return f


libraries = pytest.mark.parametrize("library", [torch, jax], ids=["torch", "jax"])


@libraries
def test_right_gradients_pass_at_both_orders(library):
    xp = torch if library is torch else jnp
    for f, inputs in [
        (lambda x: xp.tanh(x) * x, [X]),
        (lambda a, b: {"product": a @ b, "more": [(a * a).sum(), xp.sin(b)]}, [A, B]),
        (lambda x: xp.exp(x), [np.array(0.3)]),
        (lambda x: 2 * x, [X]),
        (lambda z: z * z.conj() * z, [Z]),
        (lambda x, z: xp.exp(1j * x) * z, [X[:2], Z]),
    ]:
        result = gradcheck(f, [array(library, a) for a in inputs], order=2, forward_mode=True)
        assert result.sharpness < 1e-6


@libraries
@pytest.mark.parametrize(
    "wrong, guess",
    [
        (lambda xp, u, x: 1.5 * u * xp.cos(x), "a constant factor"),
        (lambda xp, u, x: -u * xp.cos(x), "wrong sign"),
        (lambda xp, u, x: 1.00001 * u * xp.cos(x), "a constant factor"),
        (lambda xp, u, x: 0 * u, ""),
    ],
)
def test_a_wrong_rule_is_found_and_named(library, wrong, guess):
    f = planted(library, lambda xp, x: xp.sin(x), wrong)
    gradcheck(planted(library, lambda xp, x: xp.sin(x), lambda xp, u, x: u * xp.cos(x)), [
        array(library, X)
    ])  # fmt: skip
    with pytest.raises(GradientError, match=guess) as failure:
        gradcheck(f, [array(library, X)])
    assert failure.value.name == "x" and not isinstance(failure.value, Inconclusive)
    if library is torch:
        assert failure.value.operation == "Planted.apply"


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("what", ["input", "cotangent"])
def test_a_rule_that_writes_over_what_it_was_given_is_wrong(what, seen):
    """Whether PyTorch sees it or not, as of a kernel that is given a pointer."""

    def over(_, u, x):
        target = x if what == "input" else u
        return (target if seen else target.data).copy_(2 * u * x)

    with pytest.raises(GradientError, match=f"changed {what} 0"):
        gradcheck(planted(torch, lambda xp, x: x * x, over), [array(torch, X)])


@libraries
def test_a_complex_rule_that_forgets_the_conjugate_is_found(library):
    right = (
        (lambda xp, u, z: 2 * u * z.conj()) if library is torch else (lambda xp, u, z: 2 * u * z)
    )
    wrong = (
        (lambda xp, u, z: 2 * u * z) if library is torch else (lambda xp, u, z: 2 * u * z.conj())
    )
    gradcheck(planted(library, lambda xp, z: z * z, right), [array(library, Z)])
    with pytest.raises(GradientError):
        gradcheck(planted(library, lambda xp, z: z * z, wrong), [array(library, Z)])


def test_jax_takes_pytrees_and_compiled_functions():
    @jax.jit
    def f(parameters, x):
        return jnp.tanh(parameters["layer"]["w"] @ x + parameters["layer"]["b"])

    inputs = [{"layer": {"w": jnp.asarray(A), "b": jnp.ones(2)}}, jnp.asarray(X)]
    assert gradcheck(f, inputs, order=2).sharpness < 1e-6
    wrong = planted(jax, lambda xp, w: w * w, lambda xp, u, w: u * w)
    with pytest.raises(GradientError) as failure:
        gradcheck(lambda parameters: wrong(parameters["layer"]["w"]), inputs[:1])
    assert failure.value.name == "parameters['layer']['w']"


def test_jax_takes_what_is_registered_with_it_and_one_array_twice():
    @jax.tree_util.register_dataclass
    @dataclass
    class Layer:
        w: jax.Array
        b: jax.Array

    x = jnp.asarray(X)
    gradcheck(lambda layer, x: jnp.tanh(layer.w * x + layer.b), [Layer(x, x), x])
    wrong = planted(jax, lambda xp, w: w * w, lambda xp, u, w: u * w)
    with pytest.raises(GradientError) as failure:
        gradcheck(lambda layer: wrong(layer.b) + layer.w, [Layer(x, x)])
    assert failure.value.name == "layer.b"


def test_a_wrong_custom_jvp_is_found_by_reverse_and_by_forward_mode():
    @jax.custom_jvp
    def f(x):
        return jnp.sin(x)

    f.defjvp(lambda primals, tangents: (jnp.sin(primals[0]), 1.001 * tangents[0]))
    with pytest.raises(GradientError):
        gradcheck(f, [jnp.asarray(X)])


def test_a_forward_mode_that_differs_from_reverse_mode_is_found():
    class Sin(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return torch.sin(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, u):
            return u * torch.cos(*ctx.saved_tensors)

        @staticmethod
        def jvp(ctx, t):
            return t * torch.cos(*ctx.saved_tensors) * 1.001

    gradcheck(Sin.apply, [torch.tensor(X)])
    with pytest.raises(GradientError, match="forward mode"):
        gradcheck(Sin.apply, [torch.tensor(X)], forward_mode=True)


def test_rules_that_take_the_layout_of_memory_for_granted_are_found():
    def as_stored(g):
        """The numbers as they lie in memory, as a kernel reads them that ignores strides."""
        found, n = torch.zeros(g.numel(), dtype=g.dtype), g.untyped_storage().nbytes() // 8
        stored = torch.empty(0, dtype=g.dtype)
        stored.set_(g.untyped_storage(), 0, (min(n, g.numel()),))
        found[: len(stored)] = stored
        return found.reshape(g.shape)

    f = planted(torch, lambda xp, x: x * x, lambda xp, u, x: 2 * as_stored(u) * x)
    with pytest.raises(GradientError, match="every second number|broadcast number|by columns"):
        gradcheck(f, [torch.tensor(A)])


def test_what_a_rule_keeps_from_another_call_is_found():
    class Stale(torch.autograd.Function):
        kept = None

        @staticmethod
        def forward(ctx, x):
            Stale.kept = x.detach().clone()
            return x * x

        @staticmethod
        def backward(ctx, u):
            return 2 * u * Stale.kept

    with pytest.raises(GradientError):
        gradcheck(Stale.apply, [torch.tensor(X)])


def test_a_rule_that_is_wrong_where_one_input_alone_needs_a_gradient_is_found():
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, u):
            a, b = ctx.saved_tensors
            return u * b if all(ctx.needs_input_grad) else u, u * a

    with pytest.raises(GradientError, match="no other input needs"):
        gradcheck(Product.apply, [torch.tensor(X), torch.tensor(X + 1)])


def test_functions_that_differentiate_within_themselves():
    def f(x):
        return torch.func.grad(lambda y: (y**3).sum())(x)

    gradcheck(f, [torch.tensor(X)], order=2)
    gradcheck(jax.grad(lambda y: (y**3).sum()), [jnp.asarray(X)], order=2)


def test_modules_are_checked_by_the_names_of_their_parameters():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh())
    model.double()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    batch = torch.tensor(np.random.default_rng(0).standard_normal((5, 3)))
    assert gradcheck_module(model, batch).checks == 4
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert gradcheck_module(torch.nn.Bilinear(3, 3, 2).double(), (batch, batch)).checks == 2

    wrong = planted(torch, lambda xp, x: x * 1, lambda xp, u, x: 2 * u)

    class Wrong(torch.nn.Linear):
        def forward(self, input):
            return torch.nn.functional.linear(input, self.weight, wrong(self.bias))

    with pytest.raises(GradientError) as failure:
        gradcheck_module(torch.nn.Sequential(Wrong(3, 2).double()), {"input": batch})
    assert failure.value.name == "0.bias"
    batch_norm = torch.nn.BatchNorm1d(3).double()
    gradcheck_module(batch_norm, batch)
    with pytest.raises(CheckRefused, match="float32"):
        gradcheck_module(torch.nn.Linear(3, 2), batch)
    with pytest.raises(TypeError, match=r"an nn\.Module, of this package or of PyTorch"):
        gradcheck_module(torch.tanh, batch)
    with pytest.raises(CheckRefused, match="no parameter that requires a gradient"):
        gradcheck_module(torch.nn.Tanh(), batch)


def test_numpy_arrays_with_the_name_of_the_library():
    gradcheck(torch.tanh, [X], framework="torch")
    gradcheck(jnp.tanh, [X], framework="jax")
    for f, name in ((torch.tanh, "torch"), (jnp.tanh, "jax")):
        with pytest.raises(CheckRefused, match=f"framework='{name}'"):
            gradcheck(f, [X])
    with pytest.raises(ValueError, match="'torch', 'jax' or None"):
        gradcheck(torch.tanh, [X], framework="tensorflow")


@pytest.mark.parametrize(
    "inputs, says",
    [
        (lambda: [torch.ones(3)], "float32.*float64"),
        (lambda: [torch.ones(3, dtype=torch.bfloat16)], "bfloat16|float"),
        (lambda: [torch.tensor([1, 2])], "no gradient"),
        (lambda: torch.ones(3, dtype=torch.float64), r"write \[x\]"),
        (lambda: [torch.ones(1, dtype=torch.float64).expand(3)], "one number in several entries"),
        (lambda: [torch.tensor(X), nag.Tensor(X)], "several libraries"),
        (lambda: [torch.tensor(X), jnp.asarray(X)], "several libraries"),
        (lambda: [torch.tensor(X).to_sparse()], "layout"),
        (lambda: [torch.tensor([np.nan])], "float32|holds nan"),
    ],
)
def test_inputs_that_cannot_be_checked_are_refused(inputs, says):
    with pytest.raises(CheckRefused, match=says):
        gradcheck(lambda *xs: sum(x.sum() for x in xs), inputs())


def test_jax_in_float32_is_refused_with_the_way_out():
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(CheckRefused, match="jax_enable_x64"):
        gradcheck(jnp.tanh, [jnp.ones(3)])


def test_what_is_random_detached_or_no_tensor_is_refused():
    x = torch.tensor(X)
    for f, says in [
        (lambda x: torch.nn.functional.dropout(x.expand(50, 3)), "not deterministic"),
        (lambda x: x.detach() * 2, "does not depend"),
        (lambda x: x.detach().numpy() * 2, "returned ndarray"),
        (lambda x: x[x > 0], "shape"),
        (lambda x: x > 0, "nothing that can have a gradient"),
    ]:
        with pytest.raises(CheckRefused, match=says):
            gradcheck(f, [x], seed=1)
    with pytest.raises(ValueError, match="complex_step"):
        gradcheck(torch.tanh, [x], complex_step=True)
    with pytest.raises(ValueError, match="backend"):
        gradcheck(torch.tanh, [x], backend="strict")


def test_a_second_formula_in_the_same_library():
    x = torch.tensor(X)
    gradcheck(torch.sigmoid, [x], reference=lambda x: 1 / (1 + torch.exp(-x)))
    with pytest.raises(GradientError, match="reference"):
        gradcheck(torch.sigmoid, [x], reference=torch.tanh)


def test_the_examples_of_the_readme():
    text = (Path(nag.__file__).parent / "testing" / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Functions of PyTorch and JAX")[2].partition("\n## ")[0]
    wrong, printed, module = re.findall(r"^```\w*\n(.*?)^```$", section, re.S | re.M)
    scope = {}
    with pytest.raises(GradientError) as failure:
        exec(wrong, scope)
    for line in printed.replace("GradientError: ", "").splitlines():
        assert line.strip() == "..." or line in str(failure.value)
    exec(module, scope)


def test_nothing_is_imported_that_is_not_used():
    code = (
        "import sys, numpy as np, nanoautograd as nag; from nanoautograd.testing import gradcheck; "
        "gradcheck(nag.tanh, [np.ones(3)]); print(sorted({'torch', 'jax'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- pages and code


class Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, u):
        return 7 * u * ctx.saved_tensors[0]


@jax.custom_vjp
def cubed(p):
    return p["a"] ** 3


def cubed_bwd(a, u):
    return ({"a": 8 * u * a},)


cubed.defvjp(lambda p: (p["a"] ** 3, p["a"]), cubed_bwd)


@pytest.mark.parametrize(
    "f, x, rule, code",
    [
        (Cubed.apply, torch.tensor(X), "7 * u * ctx", "torch.tensor([0.3, -1.2"),
        (lambda x: Cubed.apply(x.sin()), torch.tensor(X), "7 * u * ctx", "torch.tensor([0.3, -1.2"),
        (cubed, {"a": X}, "8 * u * a", "{'a': jnp.array([0.3, -1.2"),
        (jax.jit(cubed), {"a": X}, "8 * u * a", "{'a': jnp.array([0.3, -1.2"),
    ],
)
def test_a_page_shows_the_rules_of_a_library(f, x, rule, code):
    x = {"a": jnp.array(X)} if isinstance(x, dict) else x  # in float64, from here on
    with pytest.raises(GradientError) as failure:
        gradcheck(f, [x])
    shown = html.unescape(page.html(failure.value))
    assert rule in shown and code in shown


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 2)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "complex128"])
def test_inputs_of_a_library_as_code(shape, dtype):
    for library, make in ((torch, torch.ones), (jnp, jnp.ones)):
        x = make(shape, dtype=getattr(library, dtype)) * 1.5
        again = eval(source.code(x), {"torch": torch, "jnp": jnp})
        assert (again.dtype, again.shape) == (x.dtype, x.shape) and bool((again == x).all())


def test_a_page_about_a_module_shows_its_forward():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3).double())

        def forward(self, x):
            return Cubed.apply(self.weight * x)

    with pytest.raises(GradientError) as failure:
        gradcheck_module(Scaled(), torch.tensor(X))
    shown = html.unescape(page.html(failure.value))
    assert "return Cubed.apply(self.weight * x)" in shown and "7 * u * ctx" in shown


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("library", [torch, jax])
def test_what_a_rule_keeps_of_its_first_call_is_refused(library, where):
    kept = {}

    def keep(x, here):
        return here == where and kept.setdefault(x.shape, 2 * np.asarray(x))

    def forward(module, x):
        keep(x.detach() if library is torch else x, "forward")
        return x * x

    def backward(module, u, x):
        keep(x, "backward")
        return u * array(library, kept[x.shape])

    with pytest.raises(GradientError) as failure:
        gradcheck(planted(library, forward, backward), [array(library, X)])
    assert failure.value.guess == "kept"


def test_a_function_that_refuses_a_layout_is_checked_with_others():
    def f(x):
        return x.view(-1).sin()  # an error where x has gaps

    x = torch.tensor(A)
    gradcheck(f, [x])

    def wrong(x, u):
        return 2 * x * torch.as_strided(u, x.shape, (3, 1))

    g = planted(torch, lambda module, x: x * x, lambda module, u, x: wrong(x, u))
    with pytest.raises(GradientError, match="every second number") as failure:
        gradcheck(lambda x: g(x.view(2, 3)), [x])
    assert any("layouts=False" in note for note in failure.value.__notes__)


def test_a_gradient_that_is_rounding_may_depend_on_the_layout():
    x = torch.tensor(np.random.default_rng(0).standard_normal((2, 1)))
    gradcheck(lambda x: torch.nn.functional.batch_norm(x, None, None, training=True), [x])
    y = torch.tensor(np.random.default_rng(0).standard_normal((3, 2, 3, 4)))
    gradcheck(lambda x: torch.nn.functional.batch_norm(x, None, None, training=True), [y])
