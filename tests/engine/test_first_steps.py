"""What is easily written wrong: it works, or the error says what to write."""

import copy
import re
import warnings
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.testing.operations import OPERATIONS
from nanoautograd.testing.programs import Value


def leaf(x, **options):
    return nag.Tensor(x, requires_grad=True, **options)


# ---- making a Tensor


@pytest.mark.parametrize("value", [np.float32, "float32", 1, None, np.ones(1)])
def test_requires_grad_is_a_name_and_a_boolean(value):
    with pytest.raises(TypeError):
        nag.Tensor([1.0], value)
    t = nag.Tensor([1.0])
    for call in (
        lambda: nag.Tensor([1.0], requires_grad=value),
        lambda: setattr(t, "requires_grad", value),
        lambda: t.requires_grad_(value),
    ):
        with pytest.raises(TypeError, match="requires_grad is True or False; got"):
            call()
    t.requires_grad = np.True_
    assert t.requires_grad


def test_a_tensor_is_made_as_it_is_printed():
    t = nag.tensor([1.0, 2.0], dtype=np.float32, requires_grad=True)
    assert isinstance(t, nag.Tensor) and t.requires_grad
    assert eval(repr(t), {"tensor": nag.tensor, "float32": np.float32}).tolist() == [1, 2]


@given(st.lists(st.sampled_from(["replace", "cast", "thaw", "freeze"]), max_size=6))
def test_a_leaf_whose_data_was_replaced_has_gradients_of_its_shape_and_dtype(steps):
    t, n = nag.Tensor([1.0]), 1
    for step in steps:
        if step == "replace":
            n += 1
            t.data = np.arange(n, dtype=t.dtype)
        elif step == "cast":
            t.data = t.data.astype(np.float32)
        else:
            t.requires_grad = step == "thaw"
    t.requires_grad = True
    t.grad = None
    (t * t).sum().backward()
    assert (t.grad.shape, t.grad.dtype) == (t.shape, t.dtype)
    assert t.grad.tolist() == (2 * t.data).tolist()


def test_the_grad_of_a_computed_tensor_is_none_and_a_warning_says_why():
    w = leaf([1.0, 2.0])
    h = w * 2
    with pytest.warns(UserWarning, match=r"nag.autograd.grad\(loss, \[h\]\)") as caught:
        assert h.grad is None
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert w.grad is None and nag.Tensor([1.0]).grad is None


def test_a_shallow_copy_of_a_computed_tensor_has_its_history():
    w = leaf([1.0, 2.0])
    y = w * 3
    u = copy.copy(y)
    u *= 2
    assert y.tolist() == [3, 6] and u.tolist() == [6, 12]
    u.sum().backward()
    assert w.grad.tolist() == [6, 6]
    v = copy.copy(w)
    assert v.is_leaf and v.requires_grad and not np.shares_memory(v.data, w.data)


# ---- operations of one's own


def cube():
    @nag.function
    def cube(a):
        return a**3

    return cube


def test_rules_may_be_given_without_names():
    def check(f):
        assert nag.grad(f)(2.0).item() == 12

    check(cube().defvjp(lambda g, a: 3 * g * a**2))
    f = cube()

    @f.defvjp
    def rule(g, a):
        return 3 * g * a**2

    check(f)
    product = nag.function(lambda a, b: a * b)
    product.defvjp(lambda g, b: g * b, lambda g, a: g * a)
    a, b = nag.grad(product, (0, 1))(2.0, 3.0)
    assert (a.item(), b.item()) == (3, 2)
    several = nag.function(lambda *xs: sum(xs)).defvjp(lambda g, needs: [g] * len(needs))
    assert nag.grad(several)(1.0, 2.0).item() == 1
    with pytest.raises(TypeError, match=r"1 rules for the arguments a, b.*defvjp\(a=..., b=...\)"):
        nag.function(lambda a, b: a * b).defvjp(lambda g: g)
    with pytest.raises(TypeError, match="a rule is a function of g.*got 3"):
        cube().defvjp(a=3)


def falls_off(g, a):
    3 * g * a**2


def returns_in_one_branch(g, a):
    if a.ndim:
        return None
    return 3 * g * a**2


def raises(g, a):
    raise NotImplementedError


def yields(g, a):
    yield g


class Falls:
    def __call__(self, g, a):
        3 * g * a**2


@pytest.mark.parametrize("d", [np.ma.array([1.0, 2.0]), [1.0, 2.0], 1.0, "1"])
def test_a_rule_that_gives_no_array_is_named(d):
    with pytest.raises(TypeError, match="a rule of cube gave a gradient that is"):
        nag.grad(lambda a: cube().defvjp(a=lambda g: d)(a).sum())(np.ones(2))


def test_a_rule_without_a_return_is_refused_where_it_is_set():
    with pytest.raises(TypeError, match="cube: falls_off returns nothing; is a `return` missing"):
        cube().defvjp(a=falls_off)
    for rule in (partial(falls_off), Falls()):
        with pytest.raises(TypeError, match="is a `return` missing"):
            cube().defvjp(a=rule)
    for rule in (returns_in_one_branch, raises, lambda g: None, yields):
        cube().defvjp(a=rule)
    assert nag.grad(cube().defvjp(a=lambda g: None))(2.0).item() == 0

    def forward(x):
        x * 2, x

    def backward(dout, cache, needs=None):
        dout * 2

    def right(*args, needs=None):
        return args

    for functions in ((forward, right, right), (right, backward, right), (right, right, forward)):
        with pytest.raises(TypeError, match="mine: .* returns nothing"):
            nag.custom_vjp("mine", *functions)


@pytest.mark.parametrize("n", [1, 2])
def test_gradients_of_several_arguments_are_a_tuple(n):
    """One array in the place of a tuple would be taken apart into its rows."""

    def forward(*xs):
        return sum(xs), None

    mine = nag.custom_vjp("mine", forward, lambda dout, cache, needs=None: dout, lambda *x: sum(x))
    xs = [leaf(np.ones((n, 2))) for _ in range(n)]
    with pytest.raises(TypeError, match="the rule of mine gave one array; it must give a tuple"):
        mine(*xs).sum().backward()


SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("in_float32", [False, True])
@pytest.mark.parametrize("requires_grad", [None, False, True])
@settings(max_examples=10)
@given(SHAPES)
def test_a_forward_that_forgets_the_cache_is_refused(in_float32, requires_grad, dtype, shape):
    """An array of two rows in the place of the pair would be taken apart: the first row is a result
    that nobody computed."""
    x = np.ones(shape, dtype)
    x = x if requires_grad is None else nag.Tensor(x, requires_grad=requires_grad)
    for returned, what in (
        (lambda a: a * 2, rf"an array of shape {re.escape(str(shape))}$"),
        (lambda a: (a, a, a), "tuple of 3$"),
        (lambda a: [a, a], "list of 2$"),
        (lambda a: None, "NoneType$"),
        (lambda a: "ab", "str$"),
    ):
        mine = nag.custom_vjp(
            "mine", returned, lambda dout, cache: (dout,), lambda a: a, in_float32=in_float32
        )
        with pytest.raises(TypeError, match=rf"mine: forward must return \(out, cache\).*{what}"):
            mine(x)


@pytest.mark.parametrize(
    "reference, what",
    [
        (lambda a: (2 * a, None), r"\(2, 3\), NoneType"),
        (lambda a: [2 * a], "list"),
        (lambda a: (2 * a, 2 * a), r"\(2, 3\), \(2, 3\)"),
        (lambda a: None, "NoneType"),
        (lambda a: (2 * a)[0], r"\(3,\)"),
    ],
)
def test_a_reference_with_other_results_than_forward_is_refused(reference, what):
    """A result that it does not give would have the gradient 0 in the second order."""
    mine = nag.custom_vjp(
        "mine", lambda a: (2 * a, None), lambda dout, cache: (2 * dout,), reference
    )
    x = leaf(np.ones((2, 3)))
    with pytest.raises(TypeError, match=rf"reference must.*forward gave \(2, 3\).*{what}\n"):
        nag.autograd.grad(mine(x).sum(), [x], create_graph=True)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_an_operation_that_returns_a_list_is_refused(requires_grad):
    """It could be one array, or several results; NumPy would make one of it, and a tuple came."""
    listed = nag.function(lambda a: [a[0], 2 * a[1]]).defvjp(a=lambda g, a: a)
    mine = nag.custom_vjp("mine", lambda a: ([a, a], a), lambda *_: None, lambda a: [a, a])
    x = nag.Tensor([1.0, 2.0], requires_grad=requires_grad)
    for f in (listed, mine):
        with pytest.raises(TypeError, match=r"not list; of one result return np.array\(...\)"):
            f(x)


@pytest.mark.parametrize("n", [0, 1, 5, 100_000])
@pytest.mark.parametrize("is_tensor", [False, True])
def test_an_operation_that_writes_into_its_argument_is_refused(n, is_tensor):
    @nag.function
    def doubled(a, b):
        b *= 2
        return a + b

    doubled.defvjp(a=lambda g: g, b=lambda g: 2 * g)

    def forward(a, b):
        a[...] = 0
        return a + b, None

    zeroed = nag.custom_vjp("zeroed", forward, forward, forward)
    for f, at in ((doubled, 1), (zeroed, 0)):
        for _ in range(2):  # it is no first call that makes it right
            args = [leaf(np.ones(n)) if is_tensor else np.ones(n) for _ in range(2)]
            if not n:
                f(*args)
                continue
            with pytest.raises(TypeError, match=f"{f.name} wrote into its argument {at}"):
                f(*args)


@pytest.mark.parametrize("new", [np.ones((2, 2)), np.ones(3, np.float32)])
def test_a_gradient_of_data_that_were_replaced_is_not_dropped_silently(new):
    x = leaf(np.ones(3))
    y = (x * 2).sum()
    x.data = new
    with pytest.warns(UserWarning, match="whose data was replaced"):
        y.backward()
    assert x.grad is None
    (x * 3).sum().backward()
    assert (x.grad.shape, x.grad.dtype) == (new.shape, new.dtype)


@pytest.mark.parametrize("write", ["shape", "dtype", "later"])
def test_an_operation_that_changes_its_argument_otherwise_or_later(write):
    @nag.function
    def f(a):
        if write == "shape":
            a.shape = (4, 1)
        elif write == "dtype":
            a.dtype = np.int64
        else:
            np.maximum(a, 0, out=a)
        return a * 1.0

    f.defvjp(a=lambda g: g)
    with warnings.catch_warnings(action="ignore"):  # NumPy's newest versions warn of shape =
        if write == "later":
            f(leaf(np.ones(4)))
        with pytest.raises(TypeError, match="f wrote into its argument 0"):
            f(leaf(-np.ones(4)))


@pytest.mark.parametrize("argnums", [[0, 1], "0", 0.0, True, None, np.ones(2), (0, "1")])
def test_argnums_that_are_no_integers(argnums):
    for transform in (nag.grad, nag.value_and_grad, nag.jacobian, nag.hessian):
        with pytest.raises(TypeError, match="argnums"):
            transform(lambda x, y: x * y, argnums)


def test_an_operation_that_writes_into_what_it_made_is_fine():
    @nag.function
    def doubled(a):
        y = a.copy()
        y *= 2
        return y

    doubled.defvjp(a=lambda g: 2 * g)
    a = np.array([[np.nan, 1.0], [2.0, 3.0]])[:, ::-1].T
    for _ in range(2):
        np.testing.assert_array_equal(doubled(leaf(a)).detach().numpy(), 2 * a)
        assert doubled(1.0 * a).shape == (2, 2)


def test_an_operation_without_a_rule_tells_its_author_how_to_give_one():
    with pytest.raises(TypeError, match=r"cube.defvjp\(a=lambda g, ...: ...\).*\.detach\(\)"):
        cube()(leaf(2.0))


def test_operations_are_not_made_as_classes():
    with pytest.warns(DeprecationWarning):
        base = nag.Function
    with pytest.raises(TypeError, match="@nag.function"):
        type("F", (base,), {})


def test_a_tensor_from_outside_of_an_operation_is_refused():
    w, c = leaf([1.0, 2.0]), nag.Tensor([3.0, 4.0])
    outside = nag.function(lambda a: a * w).defvjp(a=lambda g: g)
    within = nag.function(lambda a, p: a * p["w"]).defvjp(a=lambda g, p: g * p["w"])
    for call in (lambda: outside(c), lambda: outside(leaf(1.0)), lambda: within(c, {"w": w})):
        with pytest.raises(TypeError, match="computed with a Tensor that it was not given"):
            call()
    y = within(leaf([1.0, 1.0]), {"w": c})
    assert y.requires_grad and y.tolist() == [3, 4]


def test_a_result_that_holds_no_numbers_is_refused():
    of_objects = nag.function(lambda a: a.astype(object)).defvjp(a=lambda g: g)
    with pytest.raises(TypeError, match="holds numbers; this result has dtype object"):
        of_objects(leaf([1.0]))
    with pytest.raises(TypeError):
        leaf([1.0]) * Fraction(1, 2)


# ---- options


@nag.function
def scaled(a, *, k):
    k = k["k"][0] if isinstance(k, dict) else k[0] if isinstance(k, (tuple, list)) else k
    return a * k


scaled.defvjp(a=lambda g: g)
X = np.random.default_rng(0).normal(size=(2, 4))
LAYER_OPTIONS = {
    "scale": lambda x, t: F.scaled_dot_product_attention(x, x, x, scale=t),
    "dropout of attention": lambda x, t: F.scaled_dot_product_attention(
        x, x, x, dropout_p=t, seed=1
    ),
    "eps of layer_norm": lambda x, t: F.layer_norm(x, 4, eps=t),
    "eps of rms_norm": lambda x, t: F.rms_norm(x, 4, eps=t),
    "label_smoothing": lambda x, t: F.cross_entropy(x, [1, 0], label_smoothing=t),
    "linear_cross_entropy": lambda x, t: F.linear_cross_entropy(x, x, [1, 0], label_smoothing=t),
    "p": lambda x, t: F.dropout(x, p=t, seed=1),
    "base": lambda x, t: F.rotary_embedding(x, base=t),
    "dropout of rnn": lambda x, t: F.rnn(x, None, x, x[:, :2], bias=False, dropout=t)[0],
    "an option of a primitive": lambda x, t: scaled(x, k=t),
    "in a list": lambda x, t: scaled(x, k=[t]),
    "in a tuple": lambda x, t: scaled(x, k=(t, 1)),
    "in a dict": lambda x, t: scaled(x, k={"k": [t]}),
}


@pytest.mark.parametrize("name", LAYER_OPTIONS)
def test_an_option_that_requires_a_gradient_is_refused_and_a_constant_is_its_value(name, backend):
    f, x = LAYER_OPTIONS[name], backend.tensor(X)
    value = 0.0 if name == "dropout of rnn" else 0.25
    for dtype in (np.float32, np.float64):
        t = backend.tensor(np.array(value, dtype))
        with pytest.raises(TypeError, match="requires a gradient, and options have none.*item()"):
            f(x, t.requires_grad_())
        found = f(x, backend.tensor(np.array(value, dtype)))
        np.testing.assert_array_equal(backend.numpy(found), backend.numpy(f(x, value)))


def numbers_of(call):
    """The operation of a call, and for each number among its arguments and options that number and
    a function of it."""
    (step,) = call.instructions
    operation = nag
    for part in step.name.split("."):
        operation = getattr(operation, part)

    def value(a):
        return call.inputs[a.number] if isinstance(a, Value) else a

    given = {**dict(enumerate(step.args)), **step.options}
    for key, number in given.items():
        if type(number) in (int, float) and not any(type(a) is list for a in step.args):

            def f(x, key=key):
                new = given | {key: x}
                args = [value(new[i]) for i in range(len(step.args))]
                y = operation(*args, **{k: value(new[k]) for k in step.options})
                return y[0] if isinstance(y, tuple) else y

            yield float(number), f


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_number_that_is_a_tensor_has_its_gradient_or_is_refused(name):
    """A temperature, an eps, a limit of clip, an axis, ..."""

    @settings(max_examples=4)
    @given(OPERATIONS[name].calls)
    def check(call):
        for number, f in numbers_of(call):
            t, h = leaf(number), 1e-6
            try:
                y = f(t)
            except (TypeError, ValueError, nag.GraphError):
                continue
            (g,) = nag.autograd.grad(y, [t], np.ones(y.shape))
            slope = (np.sum(f(number + h)) - np.sum(f(number - h))) / (2 * h)
            np.testing.assert_allclose(g.item(), slope, rtol=1e-5, atol=1e-5)

    check()


def test_a_learnable_temperature_is_a_factor_of_the_query(backend):
    x, t = backend.tensor(X), backend.tensor(0.25, requires_grad=True)
    y = F.scaled_dot_product_attention(x * t, x, x, scale=1.0)
    np.testing.assert_allclose(
        backend.numpy(y), backend.numpy(F.scaled_dot_product_attention(x, x, x, scale=0.25))
    )
    assert nag.autograd.grad(y.sum(), [t])[0].shape == ()


# ---- arrays that are no Tensors


@pytest.mark.oracle
@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_arrays_of_other_libraries_are_refused_by_name(library, requires_grad):
    state = np.random.get_state()  # which the import of JAX changes
    theirs = pytest.importorskip(library).ones(2)
    np.random.set_state(state)
    t = nag.Tensor([1.0, 2.0], requires_grad=requires_grad)

    def add_in_place():
        u = t * 1
        u += theirs

    for call in (
        lambda: t + theirs,
        lambda: theirs + t,
        lambda: t @ theirs,
        lambda: theirs**t,
        lambda: t == theirs,
        lambda: theirs == t,
        lambda: t < theirs,
        add_in_place,
        lambda: nag.multiply(t, theirs),
        lambda: nag.where(t > 0, theirs, t),
        lambda: F.linear(theirs, t),
    ):
        with pytest.raises(TypeError, match=r"another library, (torch|jax).*nag.from_dlpack\(x\)"):
            call()
    assert (t + nag.from_dlpack(theirs)).tolist() == [2, 3]
    assert nag.Tensor(theirs).tolist() == [1, 1]


@pytest.mark.oracle
def test_a_gradient_of_pytorch_is_not_lost_silently():
    torch = pytest.importorskip("torch")
    x, y = torch.ones(2, requires_grad=True), nag.Tensor([1.0, 2.0]) * 1.0
    for call in (
        lambda: nag.Tensor(x),
        lambda: nag.Tensor([x[0], x[1]]),
        lambda: nag.from_dlpack(x),
        lambda: nag.grad(lambda t: (t * t).sum())(x),
        lambda: setattr(y, "data", x),
    ):
        with pytest.raises((TypeError, RuntimeError, BufferError), match="detach|requires? grad"):
            call()
    with pytest.raises(TypeError, match="torch.Tensor; gradients do not pass"):
        y[0] = x[0]
    assert nag.Tensor(x.detach()).tolist() == [1, 1]


@pytest.mark.parametrize("index", [0, slice(2), slice(0, 1), [0, 1], ...])
def test_a_tensor_put_into_an_array_keeps_no_gradient_and_is_refused(index):
    t, array = leaf([1.0, 2.0, 3.0]), np.zeros(3)
    with pytest.raises((nag.GraphError, ValueError)) as error:
        array[index] = t[index]
    assert "array[i] = t" in str(error.value) + str(error.value.__cause__)
    assert array.tolist() == [0, 0, 0]
    array[index] = t.detach()[index]
    assert array[index].tolist() == t.detach()[index].tolist()


def test_an_update_of_a_weights_data_by_a_tensor_names_the_form_that_works():
    w, d = leaf([1.0, 2.0]), nag.Tensor([1.0, 1.0])
    with pytest.raises(TypeError, match=r"takes no out=.*`w -= ...` within no_grad\(\)"):
        w.data -= 0.5 * d
    with nag.no_grad():
        w -= 0.5 * d
    w.data -= 0.5 * d.data
    assert w.tolist() == [0, 1] and w.requires_grad


@pytest.mark.parametrize("name", ["concatenate", "stack"])
def test_several_arrays_are_given_as_a_list(name):
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    with pytest.raises(TypeError, match=rf"{name}\(\[a, b\], axis=0\)"):
        getattr(nag, name)(a, b)
    assert getattr(nag, name)([a, b], np.int64(0)).requires_grad


@given(st.lists(st.integers(-6, 6), max_size=4), st.integers(0, 1))
def test_a_split_whose_parts_overlap_adds_up_the_gradients(backend, at, axis):
    """np.split(x, [2, 1]) gives x[:2], x[2:1], x[1:]."""
    a = np.arange(12.0).reshape(4, 3)
    x = backend.tensor(a, requires_grad=True)
    parts, expected = nag.split(x, at, axis), np.zeros(a.shape)
    rng = np.random.default_rng(0)
    total = 0
    for part, of_a, of_expected in zip(
        parts, np.split(a, at, axis), np.split(expected, at, axis), strict=True
    ):
        np.testing.assert_array_equal(backend.numpy(part), of_a)
        factor = rng.normal(size=of_a.shape)
        total = total + (part * backend.array(factor)).sum()
        of_expected += factor
    total.backward()
    np.testing.assert_allclose(backend.numpy(x.grad), expected)


def test_class_numbers_as_numbers_and_lists(backend):
    row = backend.tensor([1.0, 2.0, 4.0], requires_grad=True)
    rows = backend.tensor(np.eye(2, 3))

    def same(f, target, *args):
        one = f(args[0], *args[1:], backend.array(target))
        np.testing.assert_array_equal(
            backend.numpy(f(args[0], *args[1:], target)), backend.numpy(one)
        )

    same(F.cross_entropy, 1, row)
    for target in ([0, 2], (2, 1), [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]]):
        same(F.cross_entropy, target, rows)
    same(F.linear_cross_entropy, [0, 3], rows, backend.tensor(np.ones((4, 3))))


# ---- results without a derivative


@pytest.mark.parametrize(
    "f", [lambda x: (x > 0).sum(), lambda x: (x > 0).all(), lambda x: nag.argmax(x)]
)
def test_a_count_or_a_comparison_has_no_derivative(f):
    x = np.ones(2)
    for transform in (
        lambda: nag.grad(f)(x),
        lambda: nag.value_and_grad(f)(x),
        lambda: nag.vjp(f, x),
        lambda: nag.jvp(f, (x,), (x,)),
        lambda: nag.jacobian(f)(x),
        lambda: nag.hessian(f)(x),
        lambda: nag.hvp(f, (x,), (x,)),
    ):
        with pytest.raises(TypeError, match="dtype (int64|bool), which has no derivative"):
            transform()


def test_a_jvp_whose_closure_holds_the_variable_is_differentiated():
    g = nag.grad(lambda x: nag.jvp(lambda v: v * v * x, (X[0],), (X[1],))[1].sum())(X[0])
    np.testing.assert_allclose(g.numpy(), 2 * X[0] * X[1])
    assert not g.requires_grad
