"""gradcheck compares the reference of a custom VJP, which first derivatives do not need."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd.testing import GradientError, gradcheck

X = np.array([[0.3, -1.2, 2.0], [1.1, 0.4, -0.7]])


def forward(x, *, k=1.0):
    return k * np.tanh(x) * x, (x, k)


def backward(dout, cache):
    x, k = cache
    return (dout * k * (np.tanh(x) + x * (1 - np.tanh(x) ** 2)),)


def right(x, *, k=1.0):
    return k * nag.tanh(x) * x


def raises(error):
    def reference(x, *, k=1.0):
        raise error("not here")

    return reference


WRONG = {
    "value": (lambda x, *, k=1.0: 1.000001 * right(x, k=k), "another value"),
    "a term is missing": (lambda x, *, k=1.0: k * nag.tanh(x), "another value"),
    "an option is ignored": (lambda x, *, k=1.0: right(x), "another value"),
    "one entry": (lambda x, *, k=1.0: right(x, k=k) + 1e-6 * (x.data == X[1, 0]), "another value"),
    "nan": (lambda x, *, k=1.0: right(x, k=k) + 0 * nag.log(x), "another value"),
    "summed": (lambda x, *, k=1.0: nag.sum(right(x, k=k)), r"shape .*: \(\), for \(2, 3\)"),
    "an axis more": (lambda x, *, k=1.0: right(x, k=k)[None], r"\(1, 2, 3\), for \(2, 3\)"),
    "two results": (lambda x, *, k=1.0: (right(x, k=k), x), "another shape"),
    "fails": (raises(KeyError), "fails where its forward does not: KeyError"),
}
FUNCTIONS = {
    "itself": lambda f: lambda x: f(x, k=2.0),
    "within": lambda f: lambda x: nag.sum(nag.exp(0.5 * f(x, k=2.0)), axis=0),
    "twice": lambda f: lambda x: right(x) * f(x) + f(1 * x, k=0.5),
}


@pytest.mark.filterwarnings("ignore:invalid value")  # of the log
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_reference_is_said_by_name(mistake, function):
    reference, says = WRONG[mistake]
    f = nag.custom_vjp("swish", forward, backward, reference)
    with pytest.raises(GradientError, match=f"the reference of swish .*{says}") as failure:
        gradcheck(FUNCTIONS[function](f), [X])
    assert failure.value.guess == "reference" and failure.value.operation == "swish"


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("reference", [right, raises(NotImplementedError)])
def test_a_right_reference_or_none_costs_no_call(reference, function):
    calls = [
        gradcheck(FUNCTIONS[function](f), [X]).calls
        for f in (nag.custom_vjp("swish", forward, backward, reference), right)
    ]
    assert calls[0] == calls[1]


def test_a_reference_of_the_digits_of_its_forward_is_right():
    def rounded(x):
        return (np.tanh(x.astype(np.float32)) * x).astype(float), x

    f = nag.custom_vjp("swish", rounded, lambda u, x: backward(u, (x, 1.0)), lambda x: right(x))
    with pytest.warns(UserWarning, match="accurate to about"):
        gradcheck(f, [X])


def test_with_low_precision_the_reference_is_compared_in_float64():
    f = nag.custom_vjp("swish", forward, backward, WRONG["value"][0])
    x = np.tile(X, 20).astype(np.float32)
    with pytest.raises(GradientError, match="the reference of swish"):
        gradcheck(f, [x], reference=f)


@pytest.mark.parametrize("mistake", ["value", "summed"])
def test_on_other_devices(mistake):
    def elsewhere(x, *, k=1.0):
        xp = nag.backends.array_namespace(x)
        return k * xp.tanh(x) * x, (x, k)

    def back(dout, cache):
        x, k = cache
        t = nag.backends.array_namespace(x).tanh(x)
        return (dout * k * (t + x * (1 - t**2)),)

    gradcheck(nag.custom_vjp("swish", elsewhere, back, right), [X], backend="strict")
    f = nag.custom_vjp("swish", elsewhere, back, WRONG[mistake][0])
    with pytest.raises(GradientError, match="the reference of swish"):
        gradcheck(f, [X], backend="strict")
