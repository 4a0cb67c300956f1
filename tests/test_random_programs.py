"""Random programs: many operations at once, values used again, several outputs, mixed shapes."""

import numpy as np
from hypothesis import given, settings

import nanoautograd as nag
from nanoautograd.testing import gradcheck
from nanoautograd.testing.strategies import programs


@settings(max_examples=settings.default.max_examples * 4)
@given(programs())
def test_gradients_of_random_programs_are_those_of_differences(program):
    gradcheck(program, program.inputs)


@given(programs(max_instructions=5))
def test_gradients_of_second_order(program):
    gradcheck(program, program.inputs, order=2)


@settings(max_examples=settings.default.max_examples * 2)
@given(program=programs())
def test_results_are_those_of_plain_numpy_on_every_backend(program, backend):
    results = program(*[backend.tensor(x) for x in program.inputs])
    for result, expected in zip(results, program.in_numpy(), strict=True):
        np.testing.assert_allclose(backend.numpy(result), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=settings.default.max_examples * 2)
@given(program=programs())
def test_gradients_are_the_same_on_every_backend(program, backend):
    def gradients(tensors):
        outs = program(*tensors)
        cotangents = [
            nag.Tensor(np.cos(np.arange(y.size) + 1.0).reshape(y.shape), device=y.device)
            for y in outs
        ]
        return nag.autograd.grad(outs, tensors, cotangents, allow_unused=True)

    expected = gradients([nag.Tensor(x, requires_grad=True) for x in program.inputs])
    found = gradients([backend.tensor(x, requires_grad=True) for x in program.inputs])
    for g, h in zip(found, expected, strict=True):
        assert (g is None) == (h is None)
        if g is not None:
            np.testing.assert_allclose(backend.numpy(g), h.data, rtol=1e-7, atol=1e-7)
