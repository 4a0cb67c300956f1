"""Where this gradient check and PyTorch's come to different results: the table in README.md."""

import numpy as np
import pytest

from nanoautograd.testing import CheckRefused, GradientError, gradcheck

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

X = np.array([0.3, -1.2, 2.0])
SMALL = np.array([1e-5, 2e-5])

# function of (library, x); its gradient, as it is planted; x; do PyTorch's check and this one pass?
CASES = {
    "right": (lambda xp, x: xp.sin(x), lambda xp, u, x: u * xp.cos(x), X, True, True),
    "factor 1.0005": (
        lambda xp, x: xp.sin(x),
        lambda xp, u, x: u * xp.cos(x) * 1.0005,
        X,
        True,
        False,
    ),
    "factor 1.00000001": (
        lambda xp, x: xp.sin(x),
        lambda xp, u, x: u * xp.cos(x) * 1.00000001,
        X,
        True,
        False,
    ),
    "small, and zero": (lambda xp, x: 1e-6 * xp.sin(x), lambda xp, u, x: 0 * u, X, True, False),
    "small, wrong sign": (
        lambda xp, x: 1e-6 * xp.sin(x),
        lambda xp, u, x: -1e-6 * u * xp.cos(x),
        X,
        True,
        False,
    ),
    "near a pole": (lambda xp, x: xp.log(x), lambda xp, u, x: u / x, SMALL, False, True),
}


@pytest.mark.parametrize("name", CASES)
def test_what_each_gradient_check_says(name):
    f, gradient, x, torch_passes, passes = CASES[name]

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return f(torch, x)

        @staticmethod
        def backward(ctx, u):
            return gradient(torch, u, *ctx.saved_tensors)

    tensor = torch.tensor(x, requires_grad=True)
    assert torch.autograd.gradcheck(Planted.apply, tensor, raise_exception=False) == torch_passes
    try:
        gradcheck(lambda x: f(np, x), [x], vjp=lambda u, x: gradient(np, u, x))
        passed = True
    except GradientError:
        passed = False
    assert passed == passes


def test_a_function_of_torch_is_refused_wherever_it_is_called():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, u):
            return u * 3

    def inner(x):
        return Wrong.apply(x) + 1

    for f in (Wrong.apply, lambda x: Wrong.apply(x), lambda x: [inner(y) for y in x]):
        with pytest.raises(CheckRefused, match="torch's"):
            gradcheck(f, [X])
    gradcheck(lambda x: x * 2, [X])
