"""What attention's kernels do beyond test_kernels.py: rounded products, layouts in memory, what
is left to manual/."""

import numpy as np
import pytest

from nanoautograd import functional as F
from nanoautograd.backends import strict
from nanoautograd.backends.philox import DeviceOffset
from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.launchers import attention
from nanoautograd.kernels.cuda.runtime.precision import matmul_precision
from nanoautograd.manual import attention as manual

pytestmark = pytest.mark.skipif(not emulator.available(), reason="needs g++")
bfloat16 = pytest.importorskip("ml_dtypes").bfloat16


def heads(rng, *shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(
    "N, S, d, causal, dropout",
    [
        (70, 70, 24, True, 0.0),
        (150, 70, 72, True, 0.3),
        (33, 140, 64, False, 0.0),
        (1, 1, 8, True, 0.0),
        (10, 129, 128, False, 0.5),
    ],
)
@pytest.mark.parametrize(
    "dtype, tolerance", [(bfloat16, 2e-2), (np.float32, 3e-3)], ids=["bfloat16", "tf32"]
)
def test_products_by_tensor_cores_are_rounded_no_more_than_they_must(
    N, S, d, causal, dropout, dtype, tolerance
):
    """Against float64, of the same numbers."""
    rng = np.random.default_rng(0)
    q, k, v, do = (heads(rng, 2, n, d, dtype=dtype) for n in (N, S, S, N))
    options = {"causal": causal, "p": dropout, "seed": 3, "offset": 2}
    assert attention.takes(q, k, v, **options)
    with emulator.emulated(seed=1), matmul_precision("tf32"):
        o, cache = attention.forward(q, k, v, **options)
        found = o, *attention.backward(do, cache)[:3]
    exact, cache = manual.forward(*(x.astype(float) for x in (q, k, v)), **options)
    for a, b in zip(found, (exact, *manual.backward(do.astype(float), cache))):
        assert a.dtype == dtype and a.shape == b.shape
        scale = np.abs(b).max(initial=1.0)
        np.testing.assert_allclose(a.astype(float), b, rtol=0, atol=tolerance * scale)


def test_heads_that_lie_side_by_side_are_not_copied():
    """And the output lies so that they can be joined, whatever the gradient's order in memory."""
    rng = np.random.default_rng(1)
    x = heads(rng, 2, 9, 3, 3, 8).transpose(2, 0, 3, 1, 4)  # (B, T, 3, H, d)
    q, k, v = x
    with emulator.emulated():
        o, cache = attention.forward(q, k, v)
        assert all(a is b for a, b in zip(cache, (q, k, v)))
        assert o.transpose(0, 2, 1, 3).flags.c_contiguous
        do = heads(rng, *o.shape)
        for a, b in zip(
            attention.backward(do, cache)[:3], manual.backward(do, manual.forward(q, k, v)[1])
        ):
            if b is not None:
                np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[..., 1:9],
        lambda x: x[..., :16:2],
        lambda x: x[:, ::-1, :8],
        lambda x: np.broadcast_to(x[:1, :, :8], (2, *x.shape[1:-1], 8)),
    ],
    ids=["shifted", "every other", "backwards", "repeated"],
)
def test_views_give_what_whole_arrays_give(view):
    rng = np.random.default_rng(2)
    q, k, v = (view(heads(rng, 2, 20, 17)) for _ in range(3))
    with emulator.emulated():
        o, _ = attention.forward(q, k, v, causal=True)
    np.testing.assert_allclose(o, manual.forward(q, k, v, causal=True)[0], atol=1e-5)


def test_a_row_of_minus_infinity_is_nan_as_in_manual():
    q, k = np.full((1, 8), -1e30, np.float32), np.full((3, 8), 1e30, np.float32)
    k[2] = 0.0
    for S in (2, 3):  # with another score it is left out
        args = q, k[:S], np.ones((S, 8), np.float32)
        with emulator.emulated(), np.errstate(all="ignore"):
            o = attention.forward(*args)[0]
            np.testing.assert_array_equal(o, manual.forward(*args)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"mask": np.ones((4, 4), bool)},
        {"return_weights": True},
        {"scale": -1.0},
        {"scale": 0.0},
        {"k": np.ones((5, 16), np.float32)},
        {"v": np.ones((4, 8), np.float32)},
        {"q": np.ones((4, 12), np.float32)},
        {"q": np.ones((2, 4, 16), np.float32)},
        {"p": 1.5},
        {"p": 0.5, "seed": -1},
        {"k": np.ones(16, np.float32)},
    ],
    ids=str,
)
def test_the_rest_is_left_to_manual(change):
    x = np.ones((4, 16), np.float32)
    assert attention.takes(x, x, x)
    assert not attention.takes(**{"q": x, "k": x, "v": x, **change})


def test_no_keys_are_left_to_manual():
    x = np.ones((4, 16), np.float32)
    assert not attention.takes(x, x[:0], x[:0])


def test_the_offset_may_be_in_memory():
    x = heads(np.random.default_rng(4), 2, 3, 8)
    options = {"p": 0.5, "seed": 2**63}
    there = DeviceOffset(np.array(2**40, np.uint64)) + 3
    assert attention.takes(x, x, x, **options, offset=there)
    with emulator.emulated():
        (a, cache_a), (b, cache_b) = (
            attention.forward(x, x, x, **options, offset=offset) for offset in (there, 2**40 + 3)
        )
        for y, z in zip(
            (a, *attention.backward(x, cache_a)[:3]), (b, *attention.backward(x, cache_b)[:3])
        ):
            np.testing.assert_array_equal(y, z)


def test_is_the_operation_of_functional():
    x = strict.xp.array(heads(np.random.default_rng(3), 2, 3, 5, 8))
    with emulator.emulated(), strict.no_sync():
        a = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    b = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    np.testing.assert_allclose(a.get(), b.get(), atol=1e-6)
