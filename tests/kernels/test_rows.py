"""Kernels that hold rows in registers, and those of single numbers: layouts of arrays, masks,
and what is left to the fallback."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.backends import to_device, to_numpy
from nanoautograd.backends.philox import words
from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.launchers import (
    dropout,
    gelu,
    layer_norm,
    log_softmax,
    rms_norm,
    silu,
    softmax,
)
from nanoautograd.kernels.cuda.launchers.rows import MULTIPROCESSORS, THREADS, rows

needs_compiler = pytest.mark.skipif(not emulator.available(), reason="needs g++")

# name -> (kernel, options for rows of N numbers, how many of them are parameters)
CALLS = {
    "dropout": (dropout, lambda N: {"p": 0.4, "seed": 5}, 0),
    "gelu": (gelu, lambda N: {"approximate": "tanh"}, 0),
    "layer_norm": (layer_norm, lambda N: {"normalized_shape": (N,)}, 2),
    "log_softmax": (log_softmax, lambda N: {}, 0),
    "rms_norm": (rms_norm, lambda N: {"normalized_shape": (N,), "eps": 1e-6}, 1),
    "silu": (silu, lambda N: {}, 0),
    "softmax": (softmax, lambda N: {}, 0),
}
CALL = pytest.mark.parametrize("name", CALLS)


def results(name, x, dy, *parameters):
    kernel, options, _ = CALLS[name]
    with emulator.emulated():
        y, cache = kernel.forward(x, *parameters, **options(x.shape[-1]))
        return y, *(d for d in kernel.backward(dy, cache) if d is not None)


def drawn(name, *shape, dtype="float32"):
    rng = np.random.default_rng(0)
    shapes = [shape, shape] + [shape[-1:]] * CALLS[name][2]
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def assert_equal(found, right, tolerance=0.0):
    assert len(found) == len(right)
    for a, b in zip(found, right):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(
            a.astype("float64"), b.astype("float64"), rtol=tolerance, atol=tolerance
        )


@needs_compiler
@CALL
def test_arrays_may_lie_in_memory_in_any_way(name):
    """In strides, and from addresses that are no multiples of 16 bytes."""
    arrays = drawn(name, 3, 5, 16)
    right = results(name, *arrays)
    strided = [np.repeat(a, 2, axis=-1)[..., ::2] for a in arrays]
    shifted = [np.append(np.float32(0), a)[1:].reshape(a.shape) for a in arrays]
    assert all(a.ctypes.data % 16 == 4 for a in shifted)
    assert_equal(results(name, *strided), right)
    assert_equal(results(name, *shifted), right, 1e-5)


@needs_compiler
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**64 - 1, 0x0123456789ABCDEF])
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 2**34 - 5, 2**63 + 2, 2**64 - 4])
def test_the_mask_is_that_of_philox(seed, offset):
    n = 1030
    kept = words(np.zeros(1), n, seed, offset) >= 2**31
    with emulator.emulated():
        y, cache = dropout.forward(np.ones(n, "float32"), p=0.5, seed=seed, offset=offset)
        (dx,) = dropout.backward(np.ones(n, "float32"), cache)
    assert (y == 2.0 * kept).all() and (dx == y).all()


@needs_compiler
def test_many_rows_are_added_up_in_few_blocks():
    """More rows than all blocks hold at a time, so that each goes through several."""
    M = 3 * MULTIPROCESSORS * 4 * THREADS // 32 + 5
    x, dy, w, b = drawn("layer_norm", M, 3)
    y, dx, dw, db = results("layer_norm", x, dy, w, b)
    xhat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(dw, (dy * xhat).sum(0), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(db, dy.sum(0), rtol=1e-4, atol=1e-2)


@needs_compiler
def test_several_axes_are_one_row():
    x, dy = drawn("gelu", 2, 3, 4, 5)
    w = x[0, 0].copy()
    flat = [a.reshape(*a.shape[:-2], 20) for a in (x, dy, w, w)]
    right = results("layer_norm", *flat)
    with emulator.emulated():
        y, cache = layer_norm.forward(x, w, w, normalized_shape=(4, 5))
        found = y, *layer_norm.backward(dy, cache)[:3]
    assert [a.shape for a in found] == [x.shape, x.shape, w.shape, w.shape]
    for a, b in zip(found, right):
        assert (a.ravel() == b.ravel()).all()


@needs_compiler
@pytest.mark.parametrize("x", [np.inf, -np.inf, np.nan, 1e30, -1e30])
def test_numbers_that_are_infinite(x):
    """As in manual/, where they are limited."""
    for name, options in (("gelu", {}), ("gelu", {"approximate": "tanh"}), ("silu", {})):
        kernel = CALLS[name][0]
        by_hand = getattr(nag.manual, name)
        a = np.full(5, x)
        with emulator.emulated(), np.errstate(all="ignore"):
            for found, right in zip(
                *(
                    (y, *m.backward(np.ones(5), cache))
                    for m in (kernel, by_hand)
                    for y, cache in [m.forward(a, **options)]
                )
            ):
                np.testing.assert_array_equal(found, right)


@needs_compiler
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_a_residual_in_any_layout(name):
    x, dy, *parameters = drawn(name, 3, 5, 16)
    kernel, options, n = CALLS[name]
    given = x, *parameters, dy
    strided, shifted = (
        [layout(a) for a in given]
        for layout in (
            lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
            lambda a: np.append(np.float32(0), a)[1:].reshape(a.shape),
        )
    )
    found = []
    for arrays in (given, strided, shifted):
        with emulator.emulated():
            (y, z), cache = kernel.forward(*arrays, **options(16), return_sum=True)
            found.append([y, z, *kernel.backward((arrays[0], arrays[-1]), cache)])
    assert_equal(found[1], found[0])
    assert_equal(found[2], found[0], 1e-5)


@needs_compiler
def test_the_default_epsilon_of_bfloat16():
    """That of float32, as in PyTorch: with that of bfloat16 these would come out as 0.75."""
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    with emulator.emulated():
        y, _ = rms_norm.forward(np.full((1, 8), 0.1, bfloat16), normalized_shape=(8,))
    assert (y == 1).all()


@needs_compiler
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("M, N", [(4, 1), (9, 2), (5, 64), (2, 1101)])
def test_a_residual_in_bfloat16(name, M, N):
    """The sum is rounded before it is normalised, so that both ways see the same numbers: all bits
    are those of the norm of the sum that is returned."""
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, a, dy = (np.random.default_rng(i).standard_normal((M, N)).astype(bfloat16) for i in range(3))
    kernel, options, n = CALLS[name]
    with emulator.emulated():
        _, cache = kernel.forward(x, *[None] * n, a, **options(N))
        (y, z), _ = kernel.forward(x, *[None] * n, a, **options(N), return_sum=True)
        dx, *_ = kernel.backward(dy, cache)
        right, cache = kernel.forward(z, *[None] * n, **options(N))
        assert y.tobytes() == right.tobytes()
        assert dx.tobytes() == kernel.backward(dy, cache)[0].tobytes()
    assert z.tobytes() == (x + a).tobytes()


def test_long_rows_and_other_dtypes_are_not_taken():
    long = np.zeros((1, 32 * THREADS + 1), "float32")
    half = np.zeros((2, 3), "float16")
    for x in (long, half):
        assert not layer_norm.takes(x, normalized_shape=x.shape[-1:])
        assert not rms_norm.takes(x, normalized_shape=x.shape[-1:])
        assert not softmax.takes(x) and not log_softmax.takes(x)
    assert not gelu.takes(half) and not silu.takes(half) and not dropout.takes(half, seed=0)
    x = np.zeros((2, 3), "float32")
    assert softmax.takes(x, axis=1) and not softmax.takes(x, axis=0)
    assert not softmax.takes(np.float32(1).reshape(()))
    assert dropout.takes(x, seed=0)
    for options in ({"p": 0}, {"p": 2}, {"training": False}, {"seed": -1}, {"offset": 2**64}):
        assert not dropout.takes(x, **{"seed": 0, **options})


@needs_compiler
def test_the_functions_give_the_same_with_kernels_and_without():
    """Arrays of the fake, which use kernels where they are on; the same numbers either way."""
    x, dy, w, b = (to_device(a, "strict") for a in drawn("layer_norm", 4, 33))
    calls = (
        lambda: F.layer_norm(x, 33, w, b),
        lambda: F.rms_norm(x, 33, w),
        lambda: F.gelu(x),
        lambda: F.silu(x),
        lambda: F.softmax(x),
        lambda: F.log_softmax(x),
        lambda: F.dropout(x, 0.3, seed=2),
    )
    for call in calls:
        right = to_numpy(call())
        with emulator.emulated(seed=1):
            found = to_numpy(call())
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_every_row_has_a_place_in_registers():
    """Every row has its place, in registers that exist."""
    for dtype in ("float32", "float64"):
        for N in (0, 1, 4, 255, 256, 257, 1024, 1025, 4096):
            of = rows("layer_norm.cu", N, np.zeros((1, N), dtype))
            assert of.items * of.threads >= N and of.threads <= THREADS
            for M in (0, 1, 7, 5000):
                for blocks, (threads, together) in (of.grid(M), of.few(M)):
                    assert threads == of.threads and threads * together <= THREADS
                    assert together == 1 or threads == 32
                assert of.grid(M)[0] * of.grid(M)[1][1] >= M
