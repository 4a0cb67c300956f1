"""A module as a function of its parameters: nn.functional_call."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import nn
from nanoautograd.errors import ShapeError


class Tied(nn.Module):
    """One weight under two names, and one in a tuple."""

    def __init__(self):
        self.first = self.second = nn.Parameter(np.array([2.0, 3.0]))
        self.others = (nn.Parameter(np.array(5.0)), "text")

    def forward(self, x, *, factor=1.0):
        return self.first * self.second * x * self.others[0] * factor


def test_it_is_the_module_with_other_parameters(backend):
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.GRU(4, 2, rng=1)).to(backend.device)
    other = nn.Sequential(nn.Linear(3, 4, rng=2), nn.Tanh(), nn.GRU(4, 2, rng=3)).to(backend.device)
    x = backend.tensor(np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 2, 3))
    before = {name: p.data for name, p in net.named_parameters()}
    given = {name: p.data for name, p in other.named_parameters()}
    y, _ = nn.functional_call(net, given, x)
    np.testing.assert_array_equal(backend.numpy(y), backend.numpy(other(x)[0]))
    assert all(p.data is before[name] and p.is_leaf for name, p in net.named_parameters())


def test_gradients_are_those_of_what_was_given():
    net, x = Tied(), np.array([1.0, -1.0])
    w = nag.Tensor([7.0, 11.0], requires_grad=True)
    y = nn.functional_call(net, {"second": w}, x, {"factor": 2.0})
    y.sum().backward()
    np.testing.assert_array_equal(w.grad.data, 2 * w.data * x * 5 * 2)
    assert net.first.grad is None and net.others[0].grad.item() == (w.data**2 * x * 2).sum()
    np.testing.assert_array_equal(net(x).data, [20.0, -45.0])

    def f(w):
        return (nn.functional_call(net, {"first": w}, (x,)) ** 2).sum()

    hessian = nag.jacobian(nag.grad(f))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(hessian.detach().data, np.diag(12 * 25 * np.array([1.0, 4.0])))


def test_parameters_are_back_after_an_error():
    net = nn.Linear(3, 4, rng=0)
    before = net.weight.data
    with pytest.raises(ValueError):
        nn.functional_call(net, {"weight": np.zeros((4, 3), np.float32)}, np.ones((2, 7)))
    assert net.weight.data is before and net.weight.is_leaf


def test_what_fits_no_parameter_is_refused():
    net, tied, x = nn.Linear(3, 4, rng=0), Tied(), np.ones(2)
    with pytest.raises(ValueError, match="no parameter 'wieght'; it has 'weight', 'bias'"):
        nn.functional_call(net, {"wieght": 1}, x)
    with pytest.raises(ShapeError, match=r"weight has shape \(4, 3\); got \(3, 4\)"):
        nn.functional_call(net, {"weight": np.ones((3, 4))}, x)
    with pytest.raises(ValueError, match="second is a parameter that was given by another"):
        nn.functional_call(tied, {"first": x, "second": x}, x)
    with pytest.raises(TypeError, match="takes a Module; got function"):
        nn.functional_call(lambda x: x, {}, x)


@pytest.mark.parametrize("late", [lambda f: (f() for _ in range(1)), lambda f: f])
def test_what_would_read_the_parameters_later_is_refused(late):
    class Late(nn.Linear):
        def forward(self, x):
            return late(lambda: super(Late, self).forward(x))

    with pytest.raises(TypeError, match="Late returned a (generator|function), which would read"):
        nn.functional_call(Late(3, 4, rng=0), {"bias": np.zeros(4, np.float32)}, np.ones((2, 3)))
