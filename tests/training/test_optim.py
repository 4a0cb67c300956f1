"""Optimisers, clipping and schedules: against PyTorch's trajectories, and by hand."""

import numpy as np
import pytest

from nanoautograd.nn import Parameter
from nanoautograd.optim import SGD, Adam, AdamW, clip_grad_norm_, learning_rate
from nanoautograd.tensor import Tensor

OPTIONS = [
    (SGD, dict(lr=0.1)),
    (SGD, dict(lr=0.05, momentum=0.9)),
    (SGD, dict(lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.1)),
    (SGD, dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    (Adam, dict()),
    (Adam, dict(lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1)),
    (AdamW, dict()),
    (AdamW, dict(lr=0.1, betas=(0.8, 0.95), weight_decay=0.3)),
]


def start(rng, dtype=np.float64):
    return [rng.standard_normal(shape).astype(dtype) for shape in [(3, 4), (4,), ()]]


def gradients_of(thetas, target):
    """Of Σ (θ - target)⁴/4: they depend on θ, so that an error at one step shows in all after
    it."""
    return [(theta - target) ** 3 for theta in thetas]


@pytest.mark.oracle
@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_twenty_steps_are_those_of_pytorch(rng, optimizer, options, groups):
    torch = pytest.importorskip("torch")
    ours = [Parameter(a) for a in start(rng)]
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in ours]

    def make(cls, params):
        split = [{"params": params[:1], "lr": 0.02}, {"params": params[1:]}]
        return cls(split if groups else params, **options)

    a, b = make(optimizer, ours), make(getattr(torch.optim, optimizer.__name__), theirs)
    for _ in range(20):
        for p, q, g in zip(ours, theirs, gradients_of([p.data for p in ours], 0.3)):
            p.grad, q.grad = Tensor(g), torch.tensor(g)
        a.step()
        b.step()
        for p, q in zip(ours, theirs):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer, options", OPTIONS)
def test_a_loaded_state_goes_on_to_the_bit(rng, optimizer, options):
    def steps(params, opt, n):
        for _ in range(n):
            for p, g in zip(params, gradients_of([p.data for p in params], 0.3)):
                p.grad = Tensor(g)
            opt.step()

    straight = [Parameter(a) for a in start(rng, np.float32)]
    opt = optimizer(straight, **options)
    steps(straight, opt, 5)
    kept, state = [p.data.copy() for p in straight], opt.state_dict()
    steps(straight, opt, 5)

    resumed = [Parameter(a) for a in kept]
    opt = optimizer(resumed, lr=123.0)
    opt.load_state_dict(state)
    steps(resumed, opt, 5)
    for p, q in zip(straight, resumed):
        assert p.data.dtype == np.float32
        assert np.array_equal(p.data, q.data)


def test_the_array_is_changed_in_place_and_the_gradient_is_not(rng):
    for optimizer, options in OPTIONS:
        p = Parameter(rng.standard_normal(5))
        array, g = p.data, rng.standard_normal(5)
        p.grad = Tensor(g)
        before = array.copy()
        optimizer([p], **options).step()
        assert p.data is array and not np.array_equal(array, before)
        assert np.array_equal(p.grad.data, g)


def test_a_parameter_without_a_gradient_stays(rng):
    p, q = Parameter(np.ones(2)), Parameter(np.ones(2))
    p.grad = Tensor(np.ones(2))
    opt = AdamW([p, q])
    opt.step()
    assert (q.data == 1).all() and (p.data < 1).all()
    opt.zero_grad()
    assert p.grad is None


def test_clip_grad_norm_scales_all_together():
    p, q, none = Parameter(np.zeros(2)), Parameter(np.zeros(())), Parameter(np.zeros(3))
    p.grad, q.grad = Tensor([2.0, 3.0]), Tensor(6.0)
    assert clip_grad_norm_([p, q, none], 100.0) == 7.0
    assert p.grad.data.tolist() == [2.0, 3.0]
    assert clip_grad_norm_([p, q, none], 3.5) == 7.0
    np.testing.assert_allclose(p.grad.data, [1.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(q.grad.data, 3.0, rtol=1e-6)
    assert none.grad is None
    assert clip_grad_norm_([none], 1.0) == 0.0


def test_clip_grad_norm_of_gradients_that_share_an_array():
    p, q = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    p.grad = q.grad = Tensor([3.0])
    clip_grad_norm_([p, q], 1.0)
    np.testing.assert_allclose([p.grad.data[0], q.grad.data[0]], 0.5 ** 0.5, rtol=1e-6)


def test_clip_grad_norm_of_nan():
    p = Parameter(np.zeros(2))
    p.grad = Tensor([np.nan, 1.0])
    assert np.isnan(clip_grad_norm_([p], 1.0))
    assert np.isnan(p.grad.data).all()
    with pytest.raises(FloatingPointError, match="nan"):
        clip_grad_norm_([p], 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_schedule(decay):
    rates = [learning_rate(s, 1.0, 100, warmup=9, decay=decay, floor=0.1) for s in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    if decay == "constant":
        assert set(rates[9:]) == {1.0}
    else:
        assert all(a > b for a, b in zip(rates[9:], rates[10:]))
        assert rates[-1] == pytest.approx(0.1)
        assert (rates[9] + rates[99]) / 2 == pytest.approx(rates[54])       # symmetric


def test_errors():
    p = Parameter(np.ones(2))
    with pytest.raises(ValueError, match="no parameters"):
        SGD([])
    with pytest.raises(ValueError, match="lr must be at least 0, got -1"):
        Adam([p], lr=-1)
    with pytest.raises(ValueError, match="betas"):
        Adam([p], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="more than once"):
        SGD([p, p])
    with pytest.raises(ValueError, match="'speed'"):
        SGD([{"params": [p], "speed": 3}])
    with pytest.raises(TypeError, match="require a gradient"):
        SGD([Tensor([1.0])])
    with pytest.raises(ValueError, match="nesterov"):
        SGD([p], nesterov=True)
    with pytest.raises(ValueError, match="decay must be"):
        learning_rate(0, 1.0, 10, decay="step")


def test_state_of_other_parameters_is_refused():
    p = Parameter(np.ones(2))
    p.grad = Tensor(np.ones(2))
    opt = Adam([p])
    opt.step()
    state = opt.state_dict()
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(2,\).*\(3,\)"):
        Adam([Parameter(np.ones(3))]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"groups of \[1\].*groups of \[2\]"):
        Adam([Parameter(np.ones(2)), Parameter(np.ones(2))]).load_state_dict(state)
