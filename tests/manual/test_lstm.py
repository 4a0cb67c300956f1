"""lstm: what its gates are for, and its two states. (More of it in test_recurrent.py.)"""

import numpy as np
import pytest
from cells import LSTM, draw_weights
from three_ways import by_hand, close, each_form, each_form_on_numpy

import nanoautograd as nag

EACH = each_form("lstm")
ON_NUMPY = each_form_on_numpy("lstm")
T, B, H = 50, 2, 3
OPEN, SHUT = 40.0, -1000.0  # σ(40) is 1 in float64, σ(-1000) is 0


def with_biases(i, f, g, o):
    """Weights without influence, so that the biases alone set the gates."""
    b = np.repeat([i, f, g, o], H).astype(float)
    return [np.zeros((4 * H, 1)), np.zeros((4 * H, H)), b, np.zeros(4 * H)]


@EACH
def test_an_open_forget_gate_keeps_the_cell_and_its_gradient(backend, module):
    """Over 50 steps c and dc arrive as they set out; where the gate is half open they vanish."""
    rng = np.random.default_rng(0)
    x, h0, c0, dc_n = np.zeros((T, B, 1)), *rng.standard_normal((3, 1, B, H))
    gs = [np.zeros((T, B, H)), np.zeros((1, B, H)), dc_n]
    (_, _, c_n), _, ds = by_hand(backend, module, [x, h0, c0, *with_biases(SHUT, OPEN, 1, 1)], gs)
    close(c_n, c0, "the cell")
    close(ds[2], dc_n, "its gradient")
    (_, _, c_n), _, ds = by_hand(backend, module, [x, h0, c0, *with_biases(SHUT, 0, 1, 1)], gs)
    close(c_n, c0 / 2**T, "the cell", rtol=1e-9)
    close(ds[2], dc_n / 2**T, "its gradient", rtol=1e-9)


@EACH
def test_a_shut_output_gate_hides_the_cell(backend, module):
    x, h0, c0 = np.ones((T, B, 1)), np.zeros((1, B, H)), np.ones((1, B, H))
    gs = [np.ones((T, B, H)), np.ones((1, B, H)), np.zeros((1, B, H))]
    outs, _, ds = by_hand(backend, module, [x, h0, c0, *with_biases(OPEN, OPEN, OPEN, SHUT)], gs)
    assert abs(outs[0]).max() < 1e-15 and abs(ds[2]).max() < 1e-15
    close(outs[2], c0 + T, "the cell, which counts the steps")


@ON_NUMPY
@pytest.mark.parametrize("dtype, accuracy", [("float32", 2e-7), ("float64", 4e-16)])
def test_the_gates_are_sigmoids(module, dtype, accuracy):
    """σ by way of tanh is as accurate as the dtype, at all sizes."""
    a = np.linspace(-30, 30, 601).astype(dtype)
    zero = np.zeros((4, 1), dtype)
    c0 = np.ones((1, 601, 1), dtype)
    W = np.array([[0], [1], [0], [0]], dtype)  # x is what enters the forget gate
    (_, _, c_n), _ = module.forward(a.reshape(1, 601, 1), None, c0, W, zero, bias=False)
    assert c_n.dtype == dtype
    wanted = 1 / (1 + np.exp(-a.astype("float64")))
    np.testing.assert_allclose(c_n.ravel(), wanted, rtol=0, atol=accuracy)


@EACH
def test_each_of_the_results_can_be_dropped(backend, module):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 2, 2)), None, None, *draw_weights(rng, LSTM, 1, 1, 2, 3)]
    outs = by_hand(backend, module, arrays)[0]
    for i in range(3):
        x, _, _, *weights = [
            a if a is None else backend.tensor(a, requires_grad=True) for a in arrays
        ]
        out, (h_n, c_n) = nag.functional.lstm(x, None, *weights)
        (out, h_n, c_n)[i].sum().backward()
        gs = [np.ones(y.shape) * (i == j) for j, y in enumerate(outs)]
        close(backend.numpy(x.grad), by_hand(backend, module, arrays, gs)[2][0], "dx")


@pytest.mark.parametrize("hx", [np.zeros((1, 2, 3)), [np.zeros((1, 2, 3))], (None,) * 3])
def test_the_state_is_a_pair(hx):
    with pytest.raises(TypeError, match=r"lstm: hx must be a pair of arrays \(h_0, c_0\), or None"):
        nag.functional.lstm(np.zeros((T, B, 1)), hx, *with_biases(0, 0, 0, 0))
