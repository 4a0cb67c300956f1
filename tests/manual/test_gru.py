"""gru: what its gates are for. (More of it in test_recurrent.py.)"""

import numpy as np
from cells import GRU, draw_weights
from three_ways import by_hand, close, each_form

import nanoautograd as nag

EACH = each_form("gru")
T, B, H = 50, 2, 3
OPEN, SHUT = 40.0, -1000.0  # σ(40) is 1 in float64, σ(-1000) is 0


def with_biases(r, z, n):
    """Weights without influence, so that the biases from the input alone set the gates."""
    b = np.repeat([r, z, n], H).astype(float)
    return [np.zeros((3 * H, 1)), np.zeros((3 * H, H)), b, np.zeros(3 * H)]


@EACH
def test_an_open_update_gate_keeps_the_state_and_its_gradient(backend, module):
    """Over 50 steps h and dh arrive as they set out; where the gate is half open they vanish."""
    rng = np.random.default_rng(0)
    x, h0, dh_n = np.zeros((T, B, 1)), *rng.standard_normal((2, 1, B, H))
    gs = [np.zeros((T, B, H)), dh_n]
    (_, h_n), _, ds = by_hand(backend, module, [x, h0, *with_biases(0, OPEN, 1)], gs)
    close(h_n, h0, "the state")
    close(ds[1], dh_n, "its gradient")
    (_, h_n), _, ds = by_hand(backend, module, [x, h0, *with_biases(0, 0, 0)], gs)
    close(h_n, h0 / 2**T, "the state", rtol=1e-9)
    close(ds[1], dh_n / 2**T, "its gradient", rtol=1e-9)


@EACH
def test_the_reset_gate_acts_after_the_product(backend, module):
    """Shut, it cuts the bias of n beside U off, and U; that beside W stays."""
    rng = np.random.default_rng(0)
    x, h0, *weights = [
        rng.standard_normal((T, B, 2)),
        rng.standard_normal((1, B, H)),
        *draw_weights(rng, GRU, 1, 1, 2, H),
    ]
    weights[0][:H] = weights[1][:H] = 0.0
    weights[2][:H] = SHUT
    (out, _), _, (_, _, _, dU, db_ih, db_hh) = by_hand(backend, module, [x, h0, *weights])
    assert abs(dU[2 * H :]).max() < 1e-14 and abs(db_hh[2 * H :]).max() < 1e-14
    assert abs(db_ih[2 * H :]).min() > 1e-2
    close(db_ih[H : 2 * H], db_hh[H : 2 * H], "z has one sum, and its biases one gradient")
    weights[1][2 * H :] = weights[3][2 * H :] = 0.0
    close(by_hand(backend, module, [x, h0, *weights])[0][0], out, "without U_n and its bias")


@EACH
def test_one_of_the_two_results_can_be_dropped(backend, module):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 2, 2)), None, *draw_weights(rng, GRU, 1, 1, 2, 3)]
    outs = by_hand(backend, module, arrays)[0]
    for i in range(2):
        x, _, *weights = [a if a is None else backend.tensor(a, requires_grad=True) for a in arrays]
        nag.functional.gru(x, None, *weights)[i].sum().backward()
        gs = [np.ones(y.shape) * (i == j) for j, y in enumerate(outs)]
        close(backend.numpy(x.grad), by_hand(backend, module, arrays, gs)[2][0], "dx")
