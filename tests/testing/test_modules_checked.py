"""Gradients of parameters: gradcheck_module, and what is said where they are not checked."""

import warnings

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import nn
from nanoautograd.testing import (
    CheckRefused,
    GradientError,
    UncheckedWarning,
    gradcheck,
    gradcheck_module,
)

X = np.random.default_rng(0).standard_normal((5, 2, 3))


@nag.function
def product(x, w):
    return x @ w


product.defvjp(x=lambda g, w: g @ w.T, w=lambda g, x: 2 * (x.T @ g))  # twice too large


class Wrong(nn.Module):
    def __init__(self):
        self.w = nn.Parameter(np.eye(3), dtype="float64")

    def forward(self, x):
        return product(x, self.w)


def model():
    return nn.Sequential(
        nn.Linear(3, 4, rng=0, dtype="float64"),
        nn.Tanh(),
        nn.GRU(4, 2, rng=1, dtype="float64"),
    )


class Called(nn.Module):
    def __init__(self):
        self.model = model()

    def forward(self, x, factor=1.0):
        return self.model(x)[0] * factor


@pytest.mark.parametrize("batch", [X, (X, 2.0), {"x": X, "factor": 3.0}])
def test_all_parameters_of_a_module_are_checked(batch):
    net = Called()
    before = [p.data for p in net.parameters()]
    assert gradcheck_module(net, batch).checks == len(before)
    assert all(p.data is a for p, a in zip(net.parameters(), before))


def test_a_wrong_parameter_is_named():
    net = nn.Sequential(nn.Linear(3, 3, rng=0, dtype="float64"), Wrong())
    with pytest.raises(GradientError, match=r"of Sequential with respect to argument 2 \(1\.w\)"):
        gradcheck_module(net, X[0])
    with pytest.raises(GradientError, match="2 × numeric"):
        gradcheck_module(net, X[0], entries=True)


def test_parameters_that_are_not_checked_are_said():
    with pytest.warns(UncheckedWarning, match=r"Wrong also .* of shape \(3, 3\): .*gradcheck_mod"):
        gradcheck(Wrong(), [X[0]])
    w = nag.Tensor(np.eye(3), requires_grad=True)
    with pytest.warns(UncheckedWarning, match="detach them"):
        gradcheck(lambda x: product(x, w) + w.sum(), [X[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradcheck(lambda x: product(x, w.detach()), [X[0]])
        gradcheck(lambda x: x @ nag.Tensor(np.eye(3)), [X[0]], order=2)


@pytest.mark.oracle
def test_parameters_of_pytorch_are_said_too():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 4).double()
    with pytest.warns(UncheckedWarning, match=r"Linear also .* of shape \(4,\), \(4, 3\): their"):
        gradcheck(model, [torch.tensor(X[0])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradcheck_module(model, torch.tensor(X[0]))
        gradcheck(lambda x: x, [torch.tensor(X[0])])


def test_what_is_no_module_or_has_no_parameters_is_refused():
    with pytest.raises(CheckRefused, match="Tanh has no parameter that requires a gradient"):
        gradcheck_module(nn.Tanh(), X)
    with pytest.raises(TypeError, match="of this package or of PyTorch; got"):
        gradcheck_module(np.tanh, X)
    with pytest.raises(CheckRefused, match="(?s)float32"):
        gradcheck_module(nn.Linear(3, 4, rng=0), X)
