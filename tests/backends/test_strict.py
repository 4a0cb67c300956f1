"""The fake of CuPy refuses what it must, and computes what NumPy computes.

Each refusal has its test here, and each test fails if that refusal is taken out.
"""

import copy
import pickle
import weakref

import numpy as np
import pytest

from nanoautograd.backends.snapshot import Signature, load
from nanoautograd.backends.strict import StrictArray, StrictError, allow_promotion, no_sync, xp

HOST = np.linspace(-1, 2, 12).reshape(3, 4).astype(np.float32)


@pytest.fixture
def a():
    return xp.asarray(HOST)


@pytest.fixture
def i():
    return xp.asarray(np.array([2, 0]))


def same(strict, host):
    """Equal in type, shape, dtype and value."""
    host = np.asarray(host)
    assert type(strict) is StrictArray
    assert (strict.shape, strict.dtype) == (host.shape, host.dtype)
    np.testing.assert_array_equal(strict.get(), host)


# --- it computes what NumPy computes --------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda np, x: x + x,
        lambda np, x: 2.0 - x,
        lambda np, x: x / 3,
        lambda np, x: -x,
        lambda np, x: x**2,
        lambda np, x: 2**x,
        lambda np, x: x @ x.T,
        lambda np, x: abs(x),
        lambda np, x: x > 0,
        lambda np, x: x == x[0],
        lambda np, x: ~(x > 0),
        lambda np, x: 1 < x,
        lambda np, x: np.float32(2) * x,
        lambda np, x: np.float32(2) <= x,
        lambda np, x: x // 2,
        lambda np, x: np.tanh(x),
        lambda np, x: np.add(x, 1.0),
        lambda np, x: np.add.reduce(x),
        lambda np, x: np.multiply.accumulate(x),
        lambda np, x: np.subtract.outer(x[0], x[1]),
        lambda np, x: np.sum(x, axis=1, keepdims=True),
        lambda np, x: x.mean(),
        lambda np, x: x.max(0),
        lambda np, x: x.sum(dtype=np.float64),
        lambda np, x: np.argmax(x, axis=1),
        lambda np, x: np.concatenate([x, x], axis=1),
        lambda np, x: np.stack((x, x)),
        lambda np, x: np.where(x > 0, x, 0.0),
        lambda np, x: np.clip(x, -0.5, 0.5),
        lambda np, x: np.einsum("ij,kj->ik", x, x),
        lambda np, x: np.linalg.norm(x, axis=1),
        lambda np, x: x.reshape(4, 3),
        lambda np, x: x.reshape((2, -1)),
        lambda np, x: x.transpose(),
        lambda np, x: x.T,
        lambda np, x: x.mT,
        lambda np, x: x.astype(np.float64),
        lambda np, x: x[1],
        lambda np, x: x[1, 2],
        lambda np, x: x[..., None, 1:],
        lambda np, x: x[x > 0],
        lambda np, x: x[:, [3, 0, 3]],
        lambda np, x: np.sort(x, axis=0),
        lambda np, x: x.argsort(),
        lambda np, x: np.take(x, np.argsort(x[:, 0]), axis=0),
        lambda np, x: np.repeat(x, 2, axis=1),
        lambda np, x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
        lambda np, x: x.ravel(),
        lambda np, x: np.split(x, 2, axis=1)[1],
        lambda np, x: np.pad(x, ((0, 1), (2, 0))),
        lambda np, x: np.nonzero(x > 0)[1],
        lambda np, x: np.zeros_like(x),
        lambda np, x: x.repeat(2),
        lambda np, x: np.arange(5),
        lambda np, x: np.zeros((2, 3), dtype=np.float32),
        lambda np, x: np.meshgrid(x[0], x[1])[1],
        lambda np, x: np.divmod(x, 2.0)[1],
        lambda np, x: np.count_nonzero(x),
        lambda np, x: np.allclose(x, x),
        lambda np, x: x.dot(x[0]),
    ],
)
def test_results_are_numpys(f, a):
    same(f(xp, a), f(np, HOST))


def test_writes_are_numpys(a, i):
    host = HOST.copy()
    for x, n, j in ((a, xp, i), (host, np, np.array([2, 0]))):
        x += 1.0
        x *= x
        x[0] = 5.0
        x[j, 1:] = x[:2, :3] / 2
        x[x > 4] = -1.0
        x[1, 1] -= 7.0
        n.add.at(x, (j, j), 1.0)
        n.add.at(x, n.where(j > 0, 0, 0), x[1])
        n.maximum.at(x, j, 0.25)
        np_or_own = n.tanh(x, out=x)
        assert np_or_own is x
        n.copyto(x[2], x[0])
    same(a, host)


def test_attributes_are_numpys(a):
    for name in ("shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides"):
        assert getattr(a, name) == getattr(HOST, name)
    assert len(a) == 3 and a.device == "strict"
    assert a.flags.c_contiguous and not a.T.flags["C_CONTIGUOUS"]
    assert a.tolist() == HOST.tolist() and a.tobytes() == HOST.tobytes()
    assert f"{a[0, 0]:.1f}" == "-1.0" and "array" in repr(a) and str(a) == str(HOST)


def test_copies_are_independent_and_references_are_not(a):
    for b in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a)), a.copy(), xp.array(a)):
        same(b, HOST)
        b += 1.0
    same(a, HOST)
    assert xp.asarray(a) is a
    assert weakref.ref(a)() is a


def test_the_host_is_copied():
    host = HOST.copy()
    a = xp.asarray(host)
    host[:] = 0
    same(a, HOST)
    out = a.get()
    out[:] = 0
    same(a, HOST)
    b = xp.zeros((3, 4), dtype=np.float32)
    b.set(HOST)
    same(b, HOST)
    for wrong in (HOST[0], HOST.astype(np.float64), 1.0):
        with pytest.raises(StrictError, match="set"):
            b.set(wrong)


# --- what differs from NumPy without an error -----------------------------------------------------


def test_results_without_axes_are_0d_arrays(a):
    for y in (
        a.sum(),
        a[0, 0],
        xp.max(a),
        a[0] @ a[0],
        xp.tanh(a[0, 0]),
        a[0, 0] + 1,
        next(iter(a[0])),
    ):
        assert type(y) is StrictArray and y.shape == ()


def test_one_element_is_a_view(a):
    first = a[0, 0]
    first += 10.0
    assert a[0, 0].item() == HOST[0, 0] + 10


def test_an_index_array_out_of_range_wraps_around(a, i):
    far = xp.asarray(np.array([7, -9]))  # 1 and 3 of 4, 1 and 0 of 3
    same(a[far], HOST[[1, 0]])
    same(a[..., far], HOST[:, [3, 3]])
    same(a[None, 1:, far, None], HOST[None, 1:, [3, 3], None])
    same(a[:, far][i], HOST[:, [3, 3]][[2, 0]])
    same(xp.take(a, far, axis=0), HOST[[1, 0]])
    same(a.take(far, 1), HOST[:, [3, 3]])
    same(xp.take_along_axis(a[:2], far[:, None], 1)[:, 0], HOST[[0, 1], [3, 3]])
    b = xp.zeros((3,), dtype=np.float32)
    xp.add.at(b, far, 1.0)
    same(b, np.float32([1, 1, 0]))
    b[xp.asarray(np.array([5]))] = 3.0
    same(b, np.float32([1, 1, 3]))
    with pytest.raises(IndexError):
        a[3]  # a Python int does not wrap


# --- refused: conversion and mixing ---------------------------------------------------------------

N = HOST
REFUSED = {
    "implicit conversion": [
        lambda a: np.asarray(a),
        lambda a: np.array([a, a]),
        lambda a: np.zeros((3, 4)).__setitem__(..., a),
    ],
    "called on arrays of the device": [
        lambda a: np.tanh(a),
        lambda a: np.multiply(2.0, a),
        lambda a: np.add.reduce(a),
        lambda a: np.add(a, N),
        lambda a: N + a,
        lambda a: N @ a.T,
        lambda a: N < a,
        lambda a: N.copy().__iadd__(a),
        lambda a: np.sum(a),
        lambda a: np.concatenate([a, a]),
        lambda a: np.concatenate([N, a]),
        lambda a: np.where(N > 0, N, a),
    ],
    "was mixed with": [
        lambda a: a + N,
        lambda a: a @ N.T,
        lambda a: a == N,
        lambda a: a.__iadd__(N),
        lambda a: a * N[0, :1].reshape(()),
        lambda a: xp.sum(N),
        lambda a: xp.add(a, N),
        lambda a: xp.concatenate([a, N]),
        lambda a: xp.tanh(N),
        lambda a: xp.tanh(a, out=N),
        lambda a: xp.where(a > 0, a, N),
        lambda a: a[np.array([0, 1])],
        lambda a: a[N > 0],
        lambda a: a[:, np.array([0])],
        lambda a: a.__setitem__(0, N[0]),
        lambda a: a.fill(N[:1]),
        lambda a: a.__setitem__(np.array([0]), 1.0),
        lambda a: xp.take(a, np.array([0])),
        lambda a: xp.add.at(a, np.array([0]), 1.0),
        lambda a: xp.copyto(a, N),
        lambda a: xp.add.at(a, 0, N[0]),
        lambda a: a.dot(N[0]),
        lambda a: xp.einsum("ij->i", N),
    ],
    "takes arrays of the device and scalars": [
        lambda a: a + [1, 2, 3, 4],
        lambda a: a == [1, 2, 3, 4],
        lambda a: xp.add(a, [1.0]),
        lambda a: a.__setitem__(0, [1, 2, 3, 4]),
        lambda a: xp.maximum(a, None),
    ],
    "takes an array of the device": [
        lambda a: xp.sum([1, 2]),
        lambda a: xp.sum(3),
        lambda a: xp.sum([a, a]),
        lambda a: xp.reshape([1, 2], (2, 1)),
        lambda a: xp.dot(a, [1, 2, 3, 4]),
    ],
    "condition must be an array": [lambda a: xp.where(True, a, a)],
    "one boolean mask": [lambda a: a[a[:, 0] > 0, a[0] > 0]],
    "make arrays with": [lambda a: StrictArray(3)],
}


@pytest.mark.parametrize("message, f", [(m, f) for m, fs in REFUSED.items() for f in fs])
def test_conversion_and_mixing_are_refused(message, f, a):
    with pytest.raises(StrictError, match=message):
        f(a)
    same(a, HOST)


def test_memory_is_not_handed_out(a):
    with pytest.raises(BufferError, match="GPU's memory"):
        np.from_dlpack(a)
    with pytest.raises(BufferError, match="the host's"):
        xp.from_dlpack(HOST)
    with pytest.raises(TypeError):
        memoryview(a)
    b = xp.from_dlpack(a)
    if np.lib.NumpyVersion(np.__version__) >= "2.3.0":  # before, what is imported is read-only
        b[0, 0] = 7.0
        assert a[0, 0].item() == 7.0  # among themselves they share


def test_an_array_is_no_integer(i):
    for f in (range, [1, 2, 3].__getitem__, lambda n: "a" * n):
        with pytest.raises(TypeError):
            f(i[0])
    with pytest.raises(TypeError, match="unhashable"):
        {i: 1}


def test_other_types_get_their_say(a):
    class Other:
        __array_ufunc__ = None

        def __radd__(self, left):
            return "theirs"

    class Overrides(Other):
        def __array_ufunc__(self, *args, **kwargs):
            return "theirs"

        def __array_function__(self, *args, **kwargs):
            return "theirs"

    assert a + Other() == a + Overrides() == "theirs"
    assert np.add(a, Overrides()) == np.concatenate([a, Overrides()]) == "theirs"


# --- refused: what CuPy does not have -------------------------------------------------------------


@pytest.mark.parametrize("name", ["vecdot", "errstate", "nditer", "block", "frompyfunc", "no_such"])
def test_missing_functions_are_missing(name):
    assert not hasattr(xp, name)
    with pytest.raises(AttributeError, match=name):
        getattr(xp, name)


def test_random_numbers_come_from_the_host():
    with pytest.raises(AttributeError, match="draw on the host"):
        xp.random


@pytest.mark.parametrize("name", ["ctypes", "setflags", "newbyteorder", "__index__", "no_such"])
def test_missing_attributes_are_missing(name, a):
    assert not hasattr(a, name)
    with pytest.raises(AttributeError):
        a.new_attribute = 1


def test_all_methods_are_cupys():
    ours = {n for n in dir(StrictArray) if not n.startswith("_")}
    api = load()["ndarray"]
    assert ours <= set(api["methods"]) | set(api["attributes"].split())


@pytest.mark.parametrize(
    "f",
    [
        lambda a: xp.sum(a, where=a > 0),
        lambda a: a.sum(where=a > 0),
        lambda a: xp.max(a, initial=0),
        lambda a: xp.tanh(a, where=a > 0),
        lambda a: xp.einsum("ij->i", a, out=a[:, 0]),
        lambda a: xp.argsort(a, stable=True),
        lambda a: xp.take(a, 0, mode="clip"),
        lambda a: xp.clip(a, min=0.0),
        lambda a: xp.sum(a, 0, None, None, False, 0),
        lambda a: xp.asarray(a, device=None),
        lambda a: a.item(0),
        lambda a: xp.concatenate([a], where=1),
    ],
)
def test_unknown_parameters_are_refused(f, a):
    with pytest.raises(TypeError):
        f(a)


def test_other_limits_of_cupy(a, i):
    for f in (
        lambda: xp.sort(a, kind="quicksort"),
        lambda: a.argsort(kind="mergesort"),
        lambda: a.sort(kind="heapsort"),
        lambda: xp.array(["text"]),
        lambda: xp.array([None]),
    ):
        with pytest.raises(ValueError):
            f()
    with pytest.raises(IndexError, match="integers or booleans"):
        a[xp.asarray(np.float32([0, 1]))]
    with pytest.raises(TypeError, match="iteration over a 0-d"):
        iter(a[0, 0])
    for f in (lambda: xp.maximum.reduce(a), lambda: xp.maximum.accumulate(a)):
        with pytest.raises(AttributeError):
            f()
    with pytest.raises(NotImplementedError):
        xp.multiply.at(a, 0, 2.0)
    with pytest.raises(StrictError, match="no atomic operation for bool"):
        xp.add.at(a > 0, i, True)


def test_a_write_whose_winner_is_open_is_refused(a):
    twice = xp.asarray(np.array([1, 1]))
    with pytest.raises(StrictError, match="twice"):
        a[twice] = a[:2]
    with pytest.raises(StrictError, match="twice"):
        a[:, twice] = a[:, :2]
    a[twice] = 1.0
    a[twice] = a[1:2]
    a[twice] = xp.asarray(np.array(np.nan, np.float32))
    a[twice, xp.asarray(np.array([0, 1]))] = xp.asarray(np.float32([1, 2]))[None]


# --- refused: a dtype that slips in ---------------------------------------------------------------

D = HOST.astype(np.float64)
MEET = [
    lambda a, d: a + d,
    lambda a, d: d - a,
    lambda a, d: a < d,
    lambda a, d: a.__iadd__(d),
    lambda a, d: a @ d.T,
    lambda a, d: xp.maximum(a, d),
    lambda a, d: xp.where(a > 0, a, d),
    lambda a, d: xp.concatenate([a, d]),
    lambda a, d: xp.einsum("ij,ij->", a, d),
    lambda a, d: xp.array([a, d]),
    lambda a, d: a.dot(d[0]),
    lambda a, d: xp.stack([a, d]),
]
BECOMES = [
    lambda a: a * np.float64(2),
    lambda a: np.float64(2) * a,
    lambda a: a * xp.arange(4),
    lambda a: xp.multiply(a, np.float64(2)),
    lambda a: xp.where(a > 0, a, np.float64(0)),
    lambda a: xp.add(a, xp.arange(4)),
    lambda a: xp.bincount(xp.arange(4), weights=a[0]),
    lambda a: xp.stack([a[0], xp.arange(4)]),
    lambda a: xp.arange(4) / a,
]
DEFAULT = [
    lambda: xp.zeros(3),
    lambda: xp.ones((2, 2)),
    lambda: xp.empty(3),
    lambda: xp.eye(2),
    lambda: xp.full(3, 0.5),
    lambda: xp.arange(0.0, 1.0, 0.25),
    lambda: xp.linspace(0, 1, 5),
    lambda: xp.array([0.5, 1.5]),
    lambda: xp.asarray(0.5),
    lambda: xp.sqrt(2.0),
    lambda: xp.tri(3),
]


@pytest.mark.parametrize("f", MEET)
def test_float32_and_float64_do_not_meet(f, a):
    with pytest.raises(StrictError, match="float32 and float64 meet"):
        f(a, xp.asarray(D))
    same(a, HOST)
    with allow_promotion():
        f(a, xp.asarray(D))


@pytest.mark.parametrize("f", BECOMES)
def test_float32_does_not_become_float64(f, a):
    with pytest.raises(StrictError, match="float32 became float64"):
        f(a)
    with allow_promotion():
        assert f(a).dtype == np.float64


@pytest.mark.parametrize("f", DEFAULT)
def test_an_array_without_a_dtype_is_refused(f):
    with pytest.raises(StrictError, match="no dtype was given"):
        f()
    with allow_promotion():
        assert f().dtype == np.float64


def test_dtypes_that_were_asked_for_pass(a):
    d = xp.asarray(D)
    assert xp.sum(a, dtype=np.float64).dtype == a.sum(0, np.float64).dtype == np.float64
    assert xp.add(a, a, dtype=np.float64).dtype == xp.array(a, dtype=np.float64).dtype == np.float64
    assert xp.zeros(3, np.float64).dtype == xp.array(np.float64([1])).dtype == np.float64
    assert xp.mean(xp.arange(4)).dtype == np.float64  # of integers: nothing was widened
    assert xp.result_type(a, d) == np.float64
    a[0] = d[1]
    xp.copyto(a[1], d[1])
    assert xp.array_equal(a[0], a[1])
    assert a.dtype == np.float32


# --- refused: waiting for the GPU -----------------------------------------------------------------

WAIT = [
    lambda a: float(a.sum()),
    lambda a: int(a.sum()),
    lambda a: bool(a.sum()),
    lambda a: complex(a.sum()),
    lambda a: a.get(),
    lambda a: a.sum().item(),
    lambda a: a.tolist(),
    lambda a: a.tobytes(),
    lambda a: str(a),
    lambda a: repr(a),
    lambda a: f"{a[0, 0]:.2f}",
    lambda a: a[a > 0],
    lambda a: a.__setitem__(a > 0, 1.0),
    lambda a: a[[0, 1]],
    lambda a: xp.nonzero(a),
    lambda a: a.nonzero(),
    lambda a: xp.where(a > 0),
    lambda a: xp.unique(a),
    lambda a: xp.asarray(HOST),
    lambda a: xp.array(1.0, dtype=np.float32),
    lambda a: a.set(HOST),
    lambda a: xp.asnumpy(a),
    lambda a: 1 in a[0],
    lambda a: copy_out(a),
    lambda a: xp.repeat(a, [1, 2, 3], axis=0),
    lambda a: pickle.dumps(a),
]


def copy_out(a):
    return a.get(out=np.empty_like(HOST))


@pytest.mark.parametrize("f", WAIT)
def test_waiting_is_refused_in_no_sync(f, a):
    f(a)
    with pytest.raises(StrictError, match="wait for the GPU"), no_sync():
        f(a)
    f(a)


def test_work_that_does_not_wait_passes_in_no_sync(a, i):
    with no_sync():
        b = xp.where(a > 0, a, 0.0)[i].sum(axis=0) / a.size
        b[1:] = 0.0
        a[i] = b
        xp.add.at(a, i, b)


# --- the snapshot ---------------------------------------------------------------------------------


def test_a_signature_says_what_is_wrong_with_a_call():
    text = "a, /, axis=None, *, dtype=None"
    assert Signature(text).fault(2, ["dtype"]) is None
    assert "'a'" in Signature(text).fault(0, ["a"])
    assert "not 3" in Signature(text).fault(3, [])
    assert Signature("*shape, order='C'").fault(9, ["order"]) is None
    assert Signature("a, **kwargs").fault(1, ["anything"]) is None


def test_snapshot_says_what_cupy_lacks():
    api = load()
    lacking = api["missing"].split()
    assert {"vecdot", "errstate", "nditer", "block"} <= set(lacking)
    assert not set(lacking) & (set(api["functions"]) | set(api["ufuncs"]))


@pytest.mark.oracle
def test_snapshot_is_that_of_the_cupy_that_is_installed():
    cupy = pytest.importorskip("cupy")
    from nanoautograd.backends.snapshot import record

    if cupy.__version__ != load()["version"]:
        pytest.skip(f"the snapshot is of cupy {load()['version']}, not {cupy.__version__}")
    fresh = record()
    assert {part for part in fresh if fresh[part] != load()[part]} - {"shared", "missing"} == set()
