"""PyTorch's names for what NumPy calls otherwise, and new Tensors: to PyTorch and NumPy."""

import subprocess
import sys
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nanoautograd as nag
from nanoautograd.interface.torch_names import CASTS

SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)
DIMS = st.integers(-6, 5)


def numbers(shape):
    """Different ones, none of them 0 and none of them halfway between integers."""
    return 3 * np.cos(1.0 + np.arange(prod(shape))).reshape(shape)


# ---- functions and methods, L being the library

OF_NUMPY = {
    "L.cat([t, 2 * t], i)": lambda x, i, j: np.concatenate([x, 2 * x], i),
    "L.cat([t, 2 * t])": lambda x, i, j: np.concatenate([x, 2 * x]),
    "L.cat(tensors=(t, t), dim=i)": lambda x, i, j: np.concatenate([x, x], i),
    "L.unsqueeze(t, i)": lambda x, i, j: np.expand_dims(x, i),
    "t.unsqueeze(dim=i)": lambda x, i, j: np.expand_dims(x, i),
    "L.clone(t)": lambda x, i, j: x.copy(),
    "t.clone()": lambda x, i, j: x.copy(),
    "L.flatten(t, i, j)": lambda x, i, j: joined(x, i, j),
    "t.flatten(start_dim=i, end_dim=j)": lambda x, i, j: joined(x, i, j),
    "t.flatten(i)": lambda x, i, j: joined(x, i, -1),
    "t.flatten()": lambda x, i, j: x.flatten(),
    "t.view(t.shape[::-1])": lambda x, i, j: x.reshape(x.shape[::-1]),
    "t.view(*t.shape, 1)": lambda x, i, j: x.reshape((*x.shape, 1)),
    "t.view(-1)": lambda x, i, j: x.reshape(-1),
    "L.relu(t)": lambda x, i, j: np.maximum(x, 0),
    "t.relu()": lambda x, i, j: np.maximum(x, 0),
    "L.softmax(t, i)": lambda x, i, j: softmax(x, i),
    "t.softmax(dim=i)": lambda x, i, j: softmax(x, i),
    "L.log_softmax(t, dim=i)": lambda x, i, j: np.log(softmax(x, i)),
    "t.log_softmax(i)": lambda x, i, j: np.log(softmax(x, i)),
    "L.numel(t)": lambda x, i, j: x.size,
    "t.numel()": lambda x, i, j: x.size,
    "t.dim()": lambda x, i, j: x.ndim,
    "t.type_as(t.float())": lambda x, i, j: x.astype(np.float32),
    **{f"t.{name}()": lambda x, i, j, dtype=CASTS[name]: x.astype(dtype) for name in CASTS},
}


def softmax(x, axis):
    y = np.exp(x)
    return y / y.sum(axis, keepdims=True)


def joined(x, i, j):
    """With the axes i to j as one; a 0-d array as one of one axis."""
    ndim = max(x.ndim, 1)
    i, j = range(ndim)[i], range(ndim)[j]
    if i > j:
        raise ValueError
    lengths = x.shape or (1,)
    return x.reshape((*lengths[:i], prod(lengths[i : j + 1]), *lengths[j + 1 :]))


def has_dims(code, x, i):
    """False where PyTorch alone has an axis: its softmax gives a number one, and its `cat` leaves
    out what has shape (0,), whatever the axis."""
    if "cat(" in code and code.endswith("i)"):
        return x.shape != (0,) or i in (0, -1)
    return x.ndim > 0 or "softmax" not in code


@pytest.mark.parametrize("code", OF_NUMPY)
@given(SHAPES, DIMS, DIMS)
def test_a_name_of_pytorch_computes_what_numpy_does(code, backend, shape, i, j):
    x = numbers(shape)
    t = backend.tensor(x)
    try:
        expected = OF_NUMPY[code](x, i, j) if has_dims(code, x, i) else None
    except (ValueError, IndexError):
        expected = None
    if expected is None:
        with pytest.raises(ValueError):
            eval(code, {"L": nag, "t": t, "i": i, "j": j})
        return
    y = eval(code, {"L": nag, "t": t, "i": i, "j": j})
    assert isinstance(y, int) or y.device == t.device
    y = y if isinstance(y, int) else backend.numpy(y)
    assert np.asarray(y).dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(y, expected, rtol=1e-12, strict=not isinstance(y, int))


@pytest.mark.oracle
@pytest.mark.parametrize("code", OF_NUMPY)
@given(SHAPES, DIMS, DIMS)
def test_a_name_of_pytorch_is_the_same_as_there(code, backend, shape, i, j):
    torch = pytest.importorskip("torch")
    x = numbers(shape)
    t, theirs = backend.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    try:
        expected = eval(code, {"L": torch, "t": theirs, "i": i, "j": j})
    except (IndexError, RuntimeError):
        expected = None
    if expected is None or not has_dims(code, x, i):
        with pytest.raises(ValueError):
            eval(code, {"L": nag, "t": t, "i": i, "j": j})
        return
    y = eval(code, {"L": nag, "t": t, "i": i, "j": j})
    if isinstance(expected, int):
        assert type(y) is int and y == expected
        return
    assert y.requires_grad == expected.requires_grad
    assert f"torch.{y.dtype}" == str(expected.dtype)
    np.testing.assert_allclose(
        backend.numpy(y.detach()), expected.detach().numpy(), rtol=1e-12, strict=True
    )
    if y.requires_grad:
        w = np.sin(1.0 + np.arange(y.size)).reshape(y.shape).astype(y.dtype)
        y.backward(backend.array(w))
        expected.backward(torch.tensor(w))
        np.testing.assert_allclose(
            backend.numpy(t.grad), theirs.grad.numpy(), rtol=1e-9, atol=1e-12, strict=True
        )


def test_what_functional_has_is_the_same_function():
    for name in ("relu", "softmax", "log_softmax"):
        assert getattr(nag, name) is getattr(nag.functional, name)


def test_layers_are_loaded_when_they_are_asked_for():
    code = """
import sys, nanoautograd as nag
assert "nanoautograd.functional" not in sys.modules
nag.Tensor([1.0, 2.0]).relu()
assert "nanoautograd.functional" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_view_shares_memory_where_it_can():
    t = nag.zeros(2, 3)
    t.view(6)[1] = 5.0
    t.T.view(6)[0] = 7.0  # of a copy
    t.clone()[0, 0] = 7.0
    assert t.tolist() == [[0, 5, 0], [0, 0, 0]]


# ---- new Tensors

LENGTHS = st.integers(0, 4)
NUMBERS = st.integers(-8, 8) | st.integers(-16, 16).map(lambda n: n / 4)
STEPS = NUMBERS.filter(lambda n: n != 0)
CREATED = {  # name: the arguments
    "zeros": st.tuples(SHAPES),
    "ones": st.tuples(SHAPES),
    "full": st.tuples(SHAPES, NUMBERS | st.booleans() | st.just(1 + 2j)),
    "eye": st.tuples(LENGTHS) | st.tuples(LENGTHS, LENGTHS),
    "arange": st.tuples(NUMBERS) | st.tuples(NUMBERS, NUMBERS, STEPS),
    "linspace": st.tuples(NUMBERS, NUMBERS, LENGTHS),
}


@pytest.mark.parametrize("name", CREATED)
@given(st.data())
def test_new_tensors_are_new_arrays_of_numpy(name, backend, data):
    args = data.draw(CREATED[name])
    expected = getattr(np, name)(*args)
    t = getattr(nag, name)(*args, device=backend.device)
    assert t.device == backend.tensor(0.0).device and t.is_leaf and not t.requires_grad
    np.testing.assert_array_equal(backend.numpy(t), expected, strict=True)
    if name in ("zeros", "ones") and args[0]:
        np.testing.assert_array_equal(getattr(nag, name)(*args[0]), expected, strict=True)
    if expected.dtype.kind != "c":
        t = getattr(nag, name)(*args, dtype="float32", device=backend.device, requires_grad=True)
        assert t.requires_grad and t.is_leaf
        np.testing.assert_array_equal(backend.numpy(t), np.float32(expected), strict=True)
        t.sum().backward()
        assert backend.numpy(t.grad).tolist() == np.ones(t.shape).tolist()


@pytest.mark.oracle
@pytest.mark.parametrize("name", CREATED)
@given(st.data())
def test_new_tensors_are_those_of_pytorch(name, data):
    torch = pytest.importorskip("torch")
    args = data.draw(CREATED[name])
    try:
        expected = getattr(torch, name)(*args, dtype=torch.float64)
    except RuntimeError:  # of complex numbers; of a stop on the wrong side, where NumPy has none
        assert name == "full" or name == "arange" and not nag.arange(*args).size
        return
    t = getattr(nag, name)(*args, dtype="float64")
    np.testing.assert_allclose(t.numpy(), expected.numpy(), rtol=1e-14, strict=True)


def test_new_tensors_share_no_memory():
    x = np.ones(3)
    t = nag.full((2, 3), x)
    t[0, 0] = 5.0
    assert x.tolist() == [1, 1, 1] and t.tolist() == [[5, 1, 1], [1, 1, 1]]


LEAF = nag.Tensor(2.0, requires_grad=True)


@pytest.mark.parametrize(
    "code, says",
    {
        "nag.zeros(2, np.float32)": r"zeros\(2, 3\) or .* by keyword, as dtype=np.float32; got",
        "nag.ones(2.5)": r"ones takes lengths",
        "nag.zeros({2})": r"zeros takes lengths",
        "nag.full(2, t)": "fill_value holds a Tensor that requires a gradient",
        "nag.full(2, [t])": "fill_value holds a Tensor that requires a gradient",
        "nag.full((2,), 'a')": "takes numbers",
        "nag.full(2, np.complex64(1j), dtype=float)": "complex numbers",
        "nag.eye(2.0)": "eye: n must be an integer",
        "nag.eye(2, True)": "eye: m must be an integer",
        "nag.arange(t)": "start holds a Tensor that requires a gradient",
        "nag.arange('a')": "arange: start must be a number",
        "nag.arange(1j)": "arange: start must be a number",
        "nag.arange(0, [3])": "arange: stop must be a number",
        "nag.linspace(0, t, 3)": "stop holds a Tensor that requires a gradient",
        "nag.linspace(0, 1, 2.5)": "linspace: num must be an integer",
        "nag.arange(3, requires_grad=True)": "only floating-point ones can",
        "nag.zeros(3, requires_grad=1)": "requires_grad is True or False",
        "nag.Tensor([1.0, 2.0]).view(np.int64)": "neither an integer nor a sequence of integers",
        "nag.Tensor([1.0, 2.0]).flatten('F')": "an axis is an integer",
        "nag.Tensor([1.0, 2.0]).type_as('float32')": "type_as takes Tensors",
        "nag.cat(t, t)": "takes arrays in a sequence",
    }.items(),
)
def test_what_is_wrong_is_said(code, says):
    with pytest.raises(TypeError, match=says):
        eval(code, {"nag": nag, "np": np, "t": LEAF})


def test_numbers_that_do_not_fit_are_named():
    for call, says in (
        (lambda: nag.arange(0, 1, 0), "step must not be 0"),
        (lambda: nag.eye(-1), "eye: n must be an integer, 0 or more; got -1"),
        (lambda: nag.linspace(0, 1, -1), "num must be an integer, 0 or more; got -1"),
        (lambda: nag.flatten(nag.ones(2, 3), 1, 0), "start_dim 1 comes after end_dim 0"),
        (lambda: nag.flatten(nag.ones(2, 3), 2), "axis 2 is out of range for 2 dimensions"),
    ):
        with pytest.raises(ValueError, match=says):
            call()
