"""A NaN goes missing neither from a value nor from a gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

import nanoautograd as nag
from nanoautograd import functional as F
from nanoautograd.testing.operations import OPERATIONS

# Slopes that are 0 whatever the value is: that of a step; of what was dropped.
SLOPE_0 = {"sign", "functional.dropout"}


def with_nan(call, k):
    """The inputs of a call, one entry of the first a NaN; and which entry it is."""
    xs = [np.array(x) for x in call.inputs]
    k %= max(xs[0].size, 1)
    if xs[0].size:
        xs[0].flat[k] = np.nan
    return xs, k


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_passes_a_nan_on_and_back(name):
    """If the result depends on an entry, and that entry becomes NaN, the result holds NaN, and the
    entry's gradient is not 0."""

    @settings(max_examples=settings.default.max_examples // 2)
    @given(OPERATIONS[name].calls, st.integers(0, 99))
    def check(call, k):
        def run(xs):
            x = [nag.Tensor(a, requires_grad=True) for a in xs]
            ys = [y for y in call(*x) if y.requires_grad]
            seeds = [np.random.default_rng(1).normal(size=y.shape) for y in ys]
            (g,) = nag.autograd.grad(ys, x[:1], seeds, allow_unused=True) if ys else (None,)
            return ys, np.zeros(x[0].shape) if g is None else g.numpy()

        xs, k = with_nan(call, k)
        _, before = run(call.inputs)
        with np.errstate(all="ignore"):
            ys, g = run(xs)
        holds_nan = any(np.isnan(y.detach().numpy()).any() for y in ys)
        if before.size and before.flat[k] != 0:
            assert holds_nan
        if holds_nan and name not in SLOPE_0:
            assert g.flat[k] != 0

    check()


values = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, np.inf, np.nan])
arrays = nps.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    nps.array_shapes(min_dims=0, max_dims=3, max_side=3),
    elements=values,
)


@pytest.mark.parametrize("f", [nag.max, nag.min])
@given(arrays, st.data())
def test_the_extreme_of_what_holds_nan_has_the_slope_nan_for_all(backend, f, a, data):
    axis = data.draw(st.none() | st.integers(0, a.ndim - 1)) if a.ndim else None
    x = backend.tensor(a, requires_grad=True)
    f(x, axis=axis).sum().backward()
    y = f(a, axis=axis, keepdims=True)
    equal = a == y
    with np.errstate(invalid="ignore"):
        expected = equal / equal.sum(axis=axis, keepdims=True)  # 0/0 where y is NaN
    np.testing.assert_allclose(backend.numpy(x.grad), expected, rtol=1e-3)
    assert x.grad.dtype == a.dtype


def slope(a, b):
    """Of max(a, b) in a."""
    return np.where(np.isnan(a) | np.isnan(b), np.nan, np.where(a == b, 0.5, a > b))


@given(arrays, st.data())
def test_choices_between_what_holds_nan_have_the_slope_nan(backend, a, data):
    b = data.draw(nps.arrays(a.dtype, st.sampled_from([a.shape, ()]), elements=values))
    low, high = data.draw(values), data.draw(values)
    for f, others, expected in [
        (nag.maximum, [b], slope(a, b)),
        (nag.minimum, [b], slope(b, a)),
        (lambda x, _: F.relu(x), [b], slope(a, 0.0)),
        (lambda x, *limits: nag.clip(x, *limits), [low, None], slope(a, low)),
        (lambda x, *limits: nag.clip(x, *limits), [None, high], slope(high, a)),
        (
            lambda x, *limits: nag.clip(x, *limits),
            [low, high],
            slope(a, low) * slope(high, np.maximum(a, low)),
        ),
    ]:
        x = backend.tensor(a, requires_grad=True)
        others = [backend.tensor(o) if isinstance(o, np.ndarray) else o for o in others]
        f(x, *others).sum().backward()
        np.testing.assert_array_equal(backend.numpy(x.grad), expected)
        assert x.grad.dtype == a.dtype


@pytest.mark.oracle
@given(nps.arrays(np.float64, st.integers(1, 4), elements=values), st.data())
def test_beside_torch_the_slope_at_a_nan_is_torchs_or_nan(a, data):
    torch = pytest.importorskip("torch")
    b = data.draw(nps.arrays(np.float64, a.shape, elements=values))
    for ours, theirs, inputs in [
        (nag.maximum, torch.maximum, (a, b)),
        (nag.minimum, torch.minimum, (a, b)),
        (nag.max, torch.amax, (a,)),
        (nag.min, torch.amin, (a,)),
    ]:
        here = [nag.Tensor(v, requires_grad=True) for v in inputs]
        there = [torch.tensor(v, requires_grad=True) for v in inputs]
        ours(*here).sum().backward()
        theirs(*there).sum().backward()
        for x, t in zip(here, there):
            x, t = x.grad.numpy(), t.grad.numpy()
            assert np.all(np.isnan(x) | (x == t))


def test_a_hidden_unit_that_met_a_nan_stops_the_training():
    w = nag.Tensor(np.array([[1.0, -1.0], [0.5, 2.0]]), requires_grad=True)
    x = np.array([[1.0, np.nan]])
    F.relu(nag.maximum(x @ w, 0.0)).sum().backward()
    assert np.isnan(w.grad.numpy()).all()


def test_a_chain_of_tags_with_a_nan_has_no_probability(backend):
    x = np.zeros((3, 1, 2))
    x[1, 0, 1] = np.nan
    zeros = [backend.array(np.zeros(shape)) for shape in ((2, 2), (2,), (2,))]
    assert np.isnan(backend.numpy(F.crf_log_partition(backend.tensor(x), *zeros))).all()
