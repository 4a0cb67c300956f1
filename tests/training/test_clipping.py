"""Gradients are clipped to their norm, of every kind and size, as by PyTorch."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd.backends import to_device
from nanoautograd.core.tensor import Tensor
from nanoautograd.nn import Parameter
from nanoautograd.optim import clip_grad_norm_

NAN, INF = math.nan, math.inf


def with_gradients(arrays, device="cpu"):
    params = [Parameter(to_device(np.zeros_like(a), device)) for a in arrays]
    for p, a in zip(params, arrays):
        p.grad = Tensor(to_device(a, device))
    return [*params, Parameter(np.zeros(2))]  # and one without


def exact_norm(arrays, p):
    """In Python's integers and fractions of floats: no power can overflow."""
    values = [abs(float(x)) for a in arrays for x in a.astype(np.float64).ravel()]
    if any(math.isnan(x) for x in values):
        return NAN
    top = max(values, default=0.0)
    if p == INF or top in (0.0, INF):
        return top
    return top * math.fsum((x / top) ** p for x in values) ** (1 / p)


shapes = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)


@st.composite
def gradient_arrays(draw):
    dtype = draw(st.sampled_from(["float16", "float32", "float64"]))
    width = np.finfo(dtype).bits
    values = draw(
        st.sampled_from(
            [
                st.floats(-10, 10, width=width),
                st.floats(width=width, allow_nan=False, allow_infinity=False),
                st.floats(width=width),
            ]
        )
    )
    return draw(st.lists(hnp.arrays(dtype, shapes, elements=values), min_size=1, max_size=3))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    gradient_arrays(),
    st.sampled_from([0.5, 1.0, 2.0, 3.5, INF]),
    st.sampled_from([0.0, 1e-3, 1.0, 1e30, INF]),
    st.sampled_from(["cpu", "strict"]),
)
@example([np.array([1.0]), np.array([NAN])], INF, 1.0, "cpu")
@example([np.array([INF]), np.array([NAN])], 2.0, 1.0, "cpu")
@example([np.array([3e200, 4e200])], 2.0, 1.0, "cpu")
@example([np.array([3e200, 4e200])], 2.0, 1.0, "strict")
@example([np.array([3e-200, 4e-200])], 2.0, 1.0, "cpu")
@example([np.array([3e30, 4e30], "f")], 2.0, 1.0, "strict")
@example([np.full(300, 300.0, "e")], 2.0, 1.0, "cpu")
@example([np.full((100, 100), 6e4, "e")], 2.0, 1.0, "strict")
def test_gradients_are_clipped_to_their_exact_norm(arrays, p, max_norm, device):
    right = exact_norm(arrays, p)
    params = with_gradients(arrays, device)
    bits = np.finfo(arrays[0].dtype).bits
    if right == INF and all(np.isfinite(a).all() for a in arrays):
        if device == "cpu":
            with pytest.raises(FloatingPointError, match="above 1.8e308"):
                clip_grad_norm_(params, max_norm, p)
        return
    norm = float(clip_grad_norm_(params, max_norm, p))
    tolerance = 1e-9 if bits == 64 else 1e-4
    if right > 1e38 and bits < 64 and device != "cpu":
        assert norm == INF or norm == pytest.approx(right, rel=tolerance)
    else:
        assert norm == pytest.approx(right, rel=tolerance, abs=0, nan_ok=True)
    if not math.isfinite(right):
        with pytest.raises(FloatingPointError, match=str(right)):
            clip_grad_norm_(with_gradients(arrays, device), 1.0, p, error_if_nonfinite=True)
    if math.isnan(right):
        assert all(np.isnan(nag.backends.to_numpy(w.grad.data)).all() for w in params[:-1])
    elif right < INF:
        scale = min(1.0, max_norm / (right + 1e-6))
        for w, a in zip(params, arrays):
            assert w.grad.dtype == a.dtype and w.grad.shape == a.shape
            wanted = (a.astype(np.longdouble) * np.longdouble(scale)).astype(a.dtype)
            np.testing.assert_allclose(
                nag.backends.to_numpy(w.grad.data),
                wanted,
                rtol=2e-3 if bits == 16 else tolerance,
                atol=2 * float(np.finfo(a.dtype).smallest_subnormal),
            )
    assert params[-1].grad is None


def test_a_parameter_that_is_given_twice_counts_once():
    (w, *_) = with_gradients([np.array([3.0, 4.0])])
    assert clip_grad_norm_([w, w], 1.0) == 5.0
    np.testing.assert_allclose(w.grad.data, [0.6, 0.8], rtol=1e-5)


@pytest.mark.parametrize("max_norm", [NAN, -1.0, -INF, None, "1", True, 1j, np.ones(2)])
def test_limits_that_are_none(max_norm):
    params = with_gradients([np.array([3.0, 4.0])])
    with pytest.raises((TypeError, ValueError), match="clip_grad_norm_: max_norm must be"):
        clip_grad_norm_(params, max_norm)
    for norm_type in (0, -1, NAN):
        with pytest.raises(ValueError, match="norm_type must be above 0"):
            clip_grad_norm_(params, 1.0, norm_type)
    assert params[0].grad.data.tolist() == [3.0, 4.0]


@pytest.mark.oracle
@given(
    hnp.arrays(np.float64, 5, elements=st.floats(-1e100, 1e100)),
    st.sampled_from([1.0, 2.0, 3.5, INF]),
    st.sampled_from([0.0, 1e-3, 1.0, INF]),
    st.sampled_from([None, NAN, INF, -INF]),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_clipping_is_that_of_pytorch(g, p, max_norm, odd):
    torch = pytest.importorskip("torch")
    if odd is not None:
        g[0] = odd
    assume(p in (1.0, INF) or odd is not None or 1e-50 < abs(g).max() < 1e80)  # its powers overflow
    assume(max_norm < INF or odd not in (INF, -INF))  # there nan: infinity times 1 / infinity
    theirs = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    theirs.grad = torch.tensor(g)
    norm_t = float(torch.nn.utils.clip_grad_norm_([theirs], max_norm, p))
    (ours, _) = with_gradients([g])
    norm = clip_grad_norm_([ours], max_norm, p)
    assert norm == pytest.approx(norm_t, rel=1e-12, nan_ok=True)
    np.testing.assert_allclose(ours.grad.data, theirs.grad.numpy(), rtol=1e-12)
