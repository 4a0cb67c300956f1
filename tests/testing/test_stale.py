"""What a rule keeps between calls: the gradient of another point, or of another cotangent."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.testing import GradientError, gradcheck

X = np.random.default_rng(0).uniform(0.3, 2, (3, 4))
KEYS = {
    "of a shape": lambda u, x: x.shape,
    "of the first call": lambda u, x: None,
    "of a point": lambda u, x: x.tobytes(),
}


def keeping(key, compute):
    """compute(u, x), but what it once gave for key(u, x) is given again."""
    kept = {}
    return lambda u, x: kept.setdefault(key(u, x), compute(u, x))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "x",
    [X, np.zeros((2, 3)), 1e-9 * X[0], X[0, 0]],
    ids=lambda x: str(x.shape) if np.any(x) else "zeros",
)
def test_a_gradient_that_is_kept_is_refused(key, x):
    if key == "of a point":  # which is right but for the cotangent
        vjp = keeping(KEYS[key], lambda u, x: u * np.exp(x))
    else:
        slope = keeping(KEYS[key], lambda u, x: np.exp(x))
        vjp = lambda u, x: u * slope(u, x)  # noqa: E731
    with pytest.raises(GradientError):
        gradcheck(np.exp, [x], vjp=vjp)


@pytest.mark.parametrize("backend", ["numpy", "strict"])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_what_an_operation_keeps_of_its_first_call_is_refused(where, backend):
    kept = {}

    def forward(x):
        if where == "forward":
            kept.setdefault(x.shape, 2 * x)
        return x * x, x

    def backward(u, x):
        return (u * kept.setdefault(x.shape, 2 * x),)

    f = nag.custom_vjp("square", forward, backward, lambda x: x * x)
    with pytest.raises(GradientError) as failure:
        gradcheck(f, [X], backend=backend)
    assert failure.value.guess == "kept"


def test_a_gradient_that_is_added_to_an_earlier_one_is_refused():
    total = [np.zeros(X.shape)]

    def vjp(u, x):
        total[0] = total[0] + 2 * u * x
        return total[0]

    with pytest.raises(GradientError, match="computed a second time"):
        gradcheck(lambda x: x * x, [X], vjp=vjp)


def test_a_buffer_that_is_written_anew_is_right():
    buffer = np.empty(X.shape)
    gradcheck(lambda x: x * x, [X], vjp=lambda u, x: np.multiply(2 * u, x, out=buffer))
