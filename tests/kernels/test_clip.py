"""clip_grad_norm_ on the fake, by kernels and line by line: as on NumPy, and nobody waits."""

from contextlib import nullcontext

import numpy as np
import pytest

from nanoautograd import optim
from nanoautograd.backends import available, strict, to_device, to_numpy
from nanoautograd.core.tensor import Tensor
from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.launchers import clip, many
from nanoautograd.nn import Parameter

INF = float("inf")
SHAPES = [(), (40,), (2, 0), (6, 5), (4099,)]


@pytest.fixture(params=["kernels", "lines"])
def mode(request):
    if request.param == "kernels" and not emulator.available():
        pytest.skip("needs g++")
    return emulator.emulated(seed=1) if request.param == "kernels" else nullcontext()


def with_gradients(device, gradients):
    params = [Parameter(to_device(np.zeros_like(g), device)) for g in gradients]
    for p, g in zip(params, gradients):
        p.grad = Tensor(to_device(g, device))
    return params


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, INF])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_is_as_on_numpy(mode, monkeypatch, norm_type, max_norm, dtype):
    monkeypatch.setattr(many, "MAX_PARAMETERS", 4)
    rng = np.random.default_rng(0)
    gradients = [np.array(rng.standard_normal(s), dtype, order="F") for s in SHAPES]
    right = with_gradients("cpu", gradients)
    right_norm = optim.clip_grad_norm_(right, max_norm, norm_type)
    found = with_gradients("strict", gradients)
    with mode, strict.no_sync():
        norm = optim.clip_grad_norm_(found, max_norm, norm_type)
    assert norm.shape == () and norm.dtype == dtype
    assert float(norm) == pytest.approx(right_norm, rel=1e-6)
    for p, q, g in zip(found, right, gradients):
        assert p.grad.shape == g.shape and p.grad.dtype == dtype
        np.testing.assert_allclose(to_numpy(p.grad.data), q.grad.data, rtol=1e-5)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, INF])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, INF])
@pytest.mark.parametrize("number", [INF, -INF, np.nan, 1e200, 0.0])
def test_extremes_are_as_on_numpy_and_spread(mode, norm_type, max_norm, number):
    gradients = [np.array([number, 1.0]), np.array([3.0])]
    right, found = (with_gradients(device, gradients) for device in ("cpu", "strict"))
    with np.errstate(all="ignore"), mode:
        right_norm = optim.clip_grad_norm_(right, max_norm, norm_type)
        norm = optim.clip_grad_norm_(found, max_norm, norm_type)
    np.testing.assert_allclose(float(norm), right_norm)
    for p, q in zip(found, right):
        np.testing.assert_allclose(to_numpy(p.grad.data), q.grad.data)
    if not np.isfinite(right_norm):
        for q, g in zip(right, gradients):
            with np.errstate(invalid="ignore"):
                np.testing.assert_array_equal(q.grad.data, g * (max_norm / right_norm))


@pytest.mark.gpu
def test_is_as_on_numpy_on_a_gpu():
    if not available()["cupy"].usable:
        pytest.skip("there is no GPU")
    gradients = [np.random.default_rng(0).standard_normal(s).astype("f") for s in SHAPES]
    found, right = with_gradients("cuda", gradients), with_gradients("cpu", gradients)
    assert float(optim.clip_grad_norm_(found, 0.5)) == pytest.approx(
        optim.clip_grad_norm_(right, 0.5), rel=1e-5
    )
    for p, q in zip(found, right):
        np.testing.assert_allclose(to_numpy(p.grad.data), q.grad.data, rtol=1e-5)


def test_gradients_that_share_an_array_and_those_that_are_none(mode):
    p, q, none = with_gradients("strict", [np.full(3, 3.0), np.zeros(3), np.zeros(2)])
    q.grad, none.grad = p.grad, None
    with mode:
        norm = optim.clip_grad_norm_([p, q, none], 1.0)
        assert optim.clip_grad_norm_([none], 1.0) == 0.0
    assert float(norm) == pytest.approx(54**0.5) and none.grad is None
    np.testing.assert_allclose(to_numpy(q.grad.data), 3 / 54**0.5, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(p.grad.data), 3 / 54**0.5, rtol=1e-6)


def test_nan_and_no_elements(mode):
    with mode:
        params = with_gradients("strict", [np.array([np.nan, 1.0]), np.ones(2)])
        with pytest.raises(FloatingPointError, match="nan"):
            optim.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
        assert to_numpy(params[1].grad.data).tolist() == [1, 1]
        assert np.isnan(float(optim.clip_grad_norm_(params, 1.0)))
        assert np.isnan(to_numpy(params[1].grad.data)).all()
        for norm_type in (2.0, INF):
            empty = with_gradients("strict", [np.zeros((2, 0))])
            assert float(optim.clip_grad_norm_(empty, 1.0, norm_type)) == 0.0


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_squares_that_are_no_floats(mode, unit):
    gradients = [np.array([3.0, 0.0], "f") * np.float32(unit), np.full((2, 2), 2 * unit, "f")]
    found = with_gradients("strict", gradients)
    with mode, strict.no_sync():
        norm = optim.clip_grad_norm_(found, 1.0)
    assert float(norm) == pytest.approx(5 * unit, rel=1e-6)
    for p, g in zip(found, gradients):
        wanted = g if unit < 1 else g / np.float32(5 * unit)
        np.testing.assert_allclose(to_numpy(p.grad.data), wanted, rtol=1e-5)


def test_other_dtypes_are_left_to_the_fallback():
    assert clip.takes([np.ones(2), np.ones(3)])
    assert not clip.takes([np.ones(2), np.ones(3, "f")])
    assert not clip.takes([np.ones(2, "e")])
