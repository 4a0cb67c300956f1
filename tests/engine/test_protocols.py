"""NumPy's functions on Tensors, DLPack, and conversions that refuse to lose a gradient."""

import copy
import inspect

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import ops
from nanoautograd.interface.methods import NUMPY


def leaf(x):
    return nag.Tensor(np.array(x, dtype=float), requires_grad=True)


# ---- NumPy's functions

N = np.array([[0.5, 0.25, 0.125], [0.75, 0.375, 0.9]])
UNARY = [
    np.negative,
    np.positive,
    np.abs,
    np.sign,
    np.exp,
    np.expm1,
    np.log,
    np.log1p,
    np.sqrt,
    np.square,
    np.reciprocal,
    np.sin,
    np.cos,
    np.tan,
    np.sinh,
    np.cosh,
    np.tanh,
    np.arcsin,
    np.arccos,
    np.arctan,
    np.ravel,
    np.transpose,
    np.squeeze,
    np.flip,
    np.tril,
    np.triu,
    np.trace,
    np.diagonal,
    np.sum,
    np.mean,
    np.var,
    np.std,
    np.max,
    np.min,
    np.prod,
    np.amax,
    np.cumsum,
    np.sort,
    np.linalg.norm,
    np.copy,
]
BINARY = [
    np.add,
    np.subtract,
    np.multiply,
    np.divide,
    np.power,
    np.remainder,
    np.arctan2,
    np.maximum,
    np.minimum,
    np.outer,
    np.true_divide,
]
OTHERS = [
    lambda t: np.clip(t, 0.2, 0.8),
    lambda t: np.where(N > 0.4, t, 0.0),
    lambda t: np.sum(t, axis=1, keepdims=True),
    lambda t: np.mean(t, 0),
    lambda t: np.std(t, axis=0, ddof=1),
    lambda t: np.max(t, axis=(0, 1)),
    lambda t: np.reshape(t, (3, 2)),
    lambda t: np.transpose(t, (1, 0)),
    lambda t: np.swapaxes(t, 0, 1),
    lambda t: np.moveaxis(t, 0, -1),
    lambda t: np.expand_dims(t, 1),
    lambda t: np.broadcast_to(t, (4, 2, 3)),
    lambda t: np.concatenate([t, N, t], axis=1),
    lambda t: np.stack([t, N]),
    lambda t: np.split(t, 3, axis=1)[1],
    lambda t: np.pad(t, ((1, 0), (0, 2)), mode="edge"),
    lambda t: np.pad(t, 1),
    lambda t: np.flip(t, 1),
    lambda t: np.roll(t, 1, axis=1),
    lambda t: np.tile(t, (2, 1)),
    lambda t: np.repeat(t, 2, axis=0),
    lambda t: np.take(t, [0, 0]),
    lambda t: np.take_along_axis(t, np.array([[1], [0]]), axis=1),
    lambda t: np.matmul(t, N.T),
    lambda t: np.dot(t, N.T),
    lambda t: np.tensordot(t, N, 2),
    lambda t: np.einsum("ij,kj->ik", t, N),
    lambda t: np.einsum("...j->...", t),
    lambda t: np.linalg.norm(t, axis=1),
    lambda t: np.linalg.norm(t, ord=1),
    lambda t: np.float_power(t, 2.0),
    lambda t: np.squeeze(t[:1], axis=0),
    lambda t: np.einsum("ij->i", t, optimize=True),
    lambda t: np.clip(t, min=0.2, max=0.8),
    lambda t: np.sort(t, kind="stable"),
    lambda t: np.sum(t, dtype=np.float64),
    lambda t: np.mean(t, 0, np.float64),
    lambda t: np.cumsum(t, dtype=np.float64),
    lambda t: np.prod(t, dtype=np.float64),
    lambda t: np.std(t, dtype=np.float64),
    lambda t: np.linalg.norm(t, 2, 1, True),
    lambda t: np.reshape(t, (6,), order="C"),
    lambda t: np.ravel(t, order="C"),
    lambda t: np.split(t, np.int64(2))[0],
    lambda t: np.pad(t, np.int64(1)),
    lambda t: np.pad(t, np.array([[1, 1], [0, 0]])),
    lambda t: np.tile(t, np.array([2, 1])),
    lambda t: np.concatenate([t[0], [3.0, 4.0]]),
    lambda t: np.stack([[1.0, 2.0, 3.0], t[0]]),
    lambda t: np.matmul(t, [1.0, 2.0, 3.0]),
    lambda t: np.power(t, [2, 3, 4]),
    lambda t: np.dot(2.0, t),
    lambda t: np.outer([1, 2.0], t),
    lambda t: np.einsum(",ij->ij", 2.0, t),
    lambda t: np.tensordot(t, [1.0, 2.0, 3.0], 1),
    lambda t: np.repeat(t, [1, 0, 2], axis=1),
]


def check_function(f, *args):
    """f on Tensors gives what it gives on arrays, and is differentiated."""
    tensors = [leaf(a) for a in args]
    y = f(*tensors)
    assert isinstance(y, nag.Tensor) and y.requires_grad
    np.testing.assert_allclose(y.detach().numpy(), f(*args), rtol=1e-14)
    v = np.random.default_rng(0).normal(size=y.shape)
    ds = nag.autograd.grad(y, tensors, v)
    for i, d in enumerate(ds):
        u = np.random.default_rng(1).normal(size=args[i].shape)
        h = 1e-6
        up, down = [
            (v * f(*[a + s * h * u if j == i else a for j, a in enumerate(args)])).sum()
            for s in (1, -1)
        ]
        np.testing.assert_allclose(
            (d.numpy() * u).sum(), (up - down) / (2 * h), rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("f", UNARY, ids=lambda f: f.__name__)
def test_functions_of_one_array(f):
    check_function(f, N)


@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
def test_functions_of_two_arrays(f):
    check_function(f, N, N[::-1, ::-1] + 0.01)


@pytest.mark.parametrize("f", OTHERS, ids=lambda f: inspect.getsource(f).strip()[:20] and None)
def test_numpys_functions_take_their_arguments(f):
    check_function(f, N)


@pytest.mark.parametrize(
    "f",
    [
        np.argmax,
        np.argsort,
        np.isnan,
        np.isfinite,
        np.floor,
        np.any,
        np.zeros_like,
        np.ones_like,
        np.round,
        np.count_nonzero,
    ],
)
def test_functions_without_a_gradient(f):
    y = f(leaf(N))
    assert isinstance(y, nag.Tensor) and not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), f(N))


def test_comparisons_are_boolean_tensors():
    t = leaf(N)
    for y, expected in [
        (t > 0.4, N > 0.4),
        (0.4 >= t, 0.4 >= N),
        (t == N, N == N),
        (N != t, N != N),
        (np.less(t, N + 1), N < N + 1),
    ]:
        assert isinstance(y, nag.Tensor) and y.dtype == bool
        np.testing.assert_array_equal(y.numpy(), expected)


def test_every_operation_with_a_numpy_twin_is_reached_through_it():
    for name in ops.__all__:
        if hasattr(np, name):
            assert NUMPY[getattr(np, name)] is getattr(ops, name)


def test_parameters_stand_where_numpys_do():
    """Each parameter that an operation and its NumPy twin both have stands at the same place."""
    for f, operation in NUMPY.items():
        if isinstance(f, np.ufunc) or getattr(np, f.__name__, None) is not f:
            continue
        try:
            theirs = list(inspect.signature(f).parameters)
            ours = inspect.signature(operation).parameters
        except ValueError:  # einsum and where give no signature
            continue
        ours = [
            p.name for p in ours.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        assert ours == theirs[: len(ours)] or f is np.einsum, f.__name__


def test_what_has_no_rule_says_so():
    t = leaf(np.eye(2))
    for call, name in [
        (lambda: np.linalg.svd(t), "numpy.linalg.svd"),
        (lambda: np.add.reduce(t), r"numpy.add.reduce"),
        (lambda: np.gcd(t, t), "numpy.gcd"),
        (lambda: np.nanmean(t), "numpy.nanmean"),
    ]:
        with pytest.raises(TypeError, match=name + r" has no rule.*detach"):
            call()


def test_out_is_refused():
    a = np.ones(3)
    with pytest.raises(TypeError, match="takes no out="):
        np.multiply(a, leaf(np.ones(3)), out=a)
    with pytest.raises(TypeError, match="out="):
        a *= leaf(np.ones(3))
    with pytest.raises(TypeError, match="signature"):
        np.sum(leaf(np.ones(3)), out=a)
    assert a.tolist() == [1, 1, 1]


def test_arrays_on_the_left_of_an_operator():
    t = leaf([1.0, 2.0])
    for y in (
        np.array([3.0, 4.0]) * t,
        np.float64(2) * t,
        2 - t,
        [1.0, 2.0] + t,
        2**t,
        np.array([[1.0, 2.0]]) @ t,
        3 / t,
        3 % t,
    ):
        assert isinstance(y, nag.Tensor) and y.requires_grad


@pytest.mark.parametrize("other", ["text", None, {}])
def test_operators_with_what_is_no_number(other):
    with pytest.raises(TypeError):
        leaf([1.0]) + other
    assert (leaf([1.0]) == other) is False


# ---- lists of Tensors, given to any function of NumPy

LISTS = {
    "f([t, u])": lambda f, t, u: f([t, u]),
    "f((t, u))": lambda f, t, u: f((t, u)),
    "f([t, 1.0])": lambda f, t, u: f([t, 1.0]),
    "f([[t], [u]])": lambda f, t, u: f([[t], [u]]),
    "f([t, u], 0)": lambda f, t, u: f([t, u], 0),
    "f([t, u], [u, t])": lambda f, t, u: f([t, u], [u, t]),
    "f(array, [t, u])": lambda f, t, u: f(np.array([True, False]), [t, u]),
    "f([t, u], array)": lambda f, t, u: f([t, u], np.array([1, 0])),
    "f([t, u], t)": lambda f, t, u: f([t, u], t),
    "f(t, [t, u])": lambda f, t, u: f(t, [t, u]),
    "f(array, [t, u], t)": lambda f, t, u: f(np.array([True, False]), [t, u], t),
    "f([array], [t, u])": lambda f, t, u: f([np.array([True, False])], [t, u]),
    "f[t, u]": lambda f, t, u: f[t, u],
    "f[[t, u], 1.0]": lambda f, t, u: f[[t, u], 1.0],
}
OF_NUMPY = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (np, np.linalg, np.fft)
    for name in module.__all__
    if not inspect.ismodule(getattr(module, name)) and not inspect.isclass(getattr(module, name))
}
LEFT_OUT = {f"numpy.{name}" for name in "save savetxt savez savez_compressed test info".split()}
LEFT_OUT |= {"numpy.array_equal", "numpy.array_equiv"}  # which take any error for False
LEFT_OUT |= {"numpy.bmat"}  # which returns None for what it does not know
CONSTANT = {NUMPY[f] for f in NUMPY if NUMPY[f].__name__ in ops.CONSTANT}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(OF_NUMPY) - LEFT_OUT))
@pytest.mark.parametrize("x", [0.6, [0.7, -1.3]], ids=["0-d", "1-d"])
def test_no_list_of_tensors_loses_its_gradient_in_numpy(name, x):
    """A function that depends on the Tensors in a list returns a gradient, or refuses."""
    f = OF_NUMPY[name]
    for form, call in LISTS.items():
        try:
            y = call(f, leaf(x), leaf(x) + 0.3)
        except Exception:
            continue
        if "requires_grad=True" in repr(y) or "from=" in repr(y) or NUMPY.get(f) in CONSTANT:
            continue
        a = np.array(x)
        there, moved = (_said(call, f, a + h, a + 0.3 + 2 * h) for h in (0, 0.1))
        assert there == moved, f"{form}: {y}"


def _said(call, f, *xs):
    try:
        return repr(call(f, *xs))
    except Exception:
        return "refused"


def test_a_list_of_tensors_is_refused_with_the_way_out():
    t = leaf([1.0, 2.0])
    for f in (np.mean, np.sum, np.sin, np.asarray, lambda ts: np.r_[ts[0], ts[1]], nag.mean):
        with pytest.raises(nag.GraphError, match=r"nag\.stack or nag\.concatenate for a list"):
            f([t, t])
    with pytest.raises(TypeError, match=r"vstack has no rule.*nag\.concatenate"):
        np.vstack([t, t])


def test_functions_without_a_gradient_of_lists_of_tensors():
    t = leaf([1.0, 2.0])
    for f, args in [
        (nag.array_equal, ([t, t], [[1, 2], [1, 2]])),
        (np.array_equal, ([t, t], nag.Tensor([[1, 2], [1, 2]]))),
        (nag.allclose, ([[t], [t]], [[t], [t]])),
        (nag.isclose, ((t, [1.0, 3.0]), t)),
        (nag.argmax, ([t, 2 * t],)),
        (nag.less, (np.array([1.0, 3.0]), [t[0], t[1]])),
        (nag.isfinite, ([t[0], 1.0],)),
    ]:
        y = f(*args)
        expected = f(
            *[np.array(a.tolist() if isinstance(a, nag.Tensor) else _values(a)) for a in args]
        )
        assert not getattr(y, "requires_grad", False)
        np.testing.assert_array_equal(y, expected)


def _values(a):
    if isinstance(a, list | tuple):
        return [*map(_values, a)]
    return a.tolist() if isinstance(a, nag.Tensor) else a


# ---- conversions


def test_conversion_that_would_lose_a_gradient_is_refused():
    t = leaf([1.0, 2.0])
    for convert in (
        np.asarray,
        np.array,
        lambda t: t.numpy(),
        lambda t: t.__dlpack__(),
        lambda t: np.array([t[0], t[1]]),
        lambda t: nag.Tensor([t[0], t[1]]),
    ):
        with pytest.raises((nag.GraphError, TypeError, ValueError), match="detach"):
            convert(t * 2)
    assert np.asarray(t.detach()).tolist() == [1, 2]
    assert np.asarray(nag.Tensor([1, 2]), dtype=float).dtype == float


def test_dlpack_shares_memory_both_ways():
    a = np.arange(3.0)
    t = nag.from_dlpack(a)
    a[0] = 7
    assert t.numpy().tolist() == [7, 1, 2]
    b = np.from_dlpack(t)
    assert np.shares_memory(a, b)
    assert t.__dlpack_device__() == (1, 0)


@pytest.mark.oracle
def test_dlpack_shares_memory_with_torch_and_refuses_recorded_tensors():
    torch = pytest.importorskip("torch")
    t = nag.Tensor([1.0, 2.0, 3.0])
    u = torch.from_dlpack(t)
    u[0] = 9
    assert t.numpy().tolist() == [9, 2, 3]
    v = nag.from_dlpack(torch.ones(2, 3, dtype=torch.float32)[:, 1:])
    assert v.shape == (2, 2) and v.dtype == np.float32
    with pytest.raises(nag.GraphError, match="detach"):
        torch.from_dlpack(leaf([1.0]))


def test_python_gets_lengths_numbers_and_texts():
    t = nag.Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(t) == 2 and [r.tolist() for r in t] == [[1, 2], [3, 4]]
    assert float(t[0, 1]) == 2 and int(t[1, 1]) == 4 and bool(t[0, 0]) and t[0, 0].item() == 1
    assert ["a", "b"][nag.Tensor(1)] == "b"
    assert f"{t[0, 1]:.3f}" == "2.000"
    assert {t: 1}[t] == 1
    with pytest.raises(TypeError, match="0-d"):
        len(nag.Tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(nag.Tensor(1.0))
    with pytest.raises(ValueError, match=r"one element.*\(2, 2\)"):
        t.item()
    with pytest.raises(ValueError):
        bool(t)


def test_a_tensor_is_printed_as_it_is_made():
    assert repr(nag.Tensor([1.0, 2.0])) == "tensor([1., 2.])"
    t = nag.Tensor([1.0, 2.0], dtype=np.float32, requires_grad=True)
    assert repr(t) == "tensor([1., 2.], dtype=float32, requires_grad=True)"
    assert repr(t * 2) == "tensor([2., 4.], dtype=float32, from=multiply)"


def test_deepcopy_copies_leaves_and_refuses_computed_tensors():
    t = leaf([1.0, 2.0])
    u = copy.deepcopy(t)
    assert u.requires_grad and not np.shares_memory(t.data, u.data)
    with pytest.raises(nag.GraphError, match="detach"):
        copy.deepcopy(t * 2)


def test_setting_grad_is_checked():
    t = leaf([1.0, 2.0])
    t.grad = np.array([3.0, 4.0])
    assert t.grad.tolist() == [3, 4]
    with pytest.raises(nag.ShapeError, match=r"\(2,\).*\(3,\)"):
        t.grad = np.ones(3)
    with pytest.raises(nag.GraphError, match="leaf"):
        (t * 2).grad = np.ones(2)


# ---- devices


def test_mixing_devices_names_both():
    t, u = nag.Tensor([1.0]), nag.Tensor([1.0], device="strict")
    for mix in (
        lambda: t + u,
        lambda: nag.concatenate([t, u]),
        lambda: np.ones(1) * u,
        lambda: nag.where(t > 0, u, 0),
        lambda: u.backward(np.ones(1)),
    ):
        with pytest.raises((TypeError, nag.GraphError), match="cpu and strict|requires_grad"):
            mix()
    x = nag.Tensor([1.0], requires_grad=True, device="strict")
    with pytest.raises(TypeError, match="cpu and strict"):
        x.backward(nag.Tensor([1.0]))


def test_to_moves_the_gradient_back():
    x = nag.Tensor([1.0, 2.0], requires_grad=True)
    y = x.to("strict")
    assert y.device == "strict" and x.to("cpu") is x
    (y * y).sum().backward()
    assert x.grad.device == "cpu" and x.grad.numpy().tolist() == [2, 4]


def test_mixed_devices_name_the_operation():
    t, u = nag.Tensor([1.0]), nag.Tensor([1.0], device="strict")
    for call in (lambda: t + u, lambda: nag.functional.softmax(t) @ u):
        with pytest.raises(TypeError) as error:
            call()
        assert any(note.startswith("in ") for note in error.value.__notes__)


def test_tuples_in_the_place_of_arrays():
    t = leaf([3.0, 4.0])
    for y in (nag.matmul((1.0, 2.0), t), (1.0, 2.0) @ t, t @ (1.0, 2.0)):
        assert y.item() == 11 and y.requires_grad
    assert ((1.0, 2.0) * t).tolist() == [3, 8]


def test_an_unknown_device_is_refused_by_name():
    with pytest.raises(TypeError, match="'gpu'.*'cuda'"):
        nag.Tensor([1.0]).to("gpu")
