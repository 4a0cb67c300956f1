"""Recurrent networks by kernels: how the work is cut, what is not taken, and with Tensors."""

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import nn
from nanoautograd.backends import to_device, to_numpy
from nanoautograd.kernels.cuda import emulator, use_kernels
from nanoautograd.kernels.cuda.launchers import gru, lstm, rnn
from nanoautograd.kernels.cuda.launchers.recurrent import Machine, plan
from nanoautograd.kernels.cuda.runtime.precision import matmul_precision

H100 = Machine(132, 227 << 10, 256)
each_cell = pytest.mark.parametrize(
    "kernel, gates, states", [(rnn, 1, 1), (gru, 3, 1), (lstm, 4, 2)]
)


@pytest.mark.parametrize("G", [1, 3, 4])
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("machine", [H100, Machine(108, 163 << 10, 256), Machine(4, 227 << 10, 64)])
def test_every_plan_fits_and_covers_everything(G, tf32, machine):
    for H in (1, 7, 32, 100, 512, 1000):
        for B in (1, 5, 64, 300):
            p = plan(G, H, B, 4, tf32, machine)
            if p is None:
                continue
            assert p.sets * p.blocks <= machine.processors  # all blocks at once
            assert p.blocks * p.units >= H > (p.blocks - 1) * p.units
            assert p.units * p.seqs <= p.pairs * p.threads
            assert max(p.shared) <= machine.shared
            assert p.tf32 <= tf32


def test_the_network_of_the_benchmark_fills_the_gpu():
    for tf32 in (False, True):
        p = plan(4, 512, 64, 4, tf32, H100)
        assert (p.seqs, p.units, p.blocks, p.sets, p.pairs) == (16, 16, 32, 4, 1) and p.tf32 == tf32


def test_where_tf32_has_no_room_float32_is_used():
    p = plan(1, 1900, 8, 4, True, H100)
    assert not p.tf32


def network(gates, states, T=3, B=2, H=4, dtype="float32"):
    rng = np.random.default_rng(0)
    shapes = [
        (T, B, 3),
        *[(1, B, H)] * states,
        (gates * H, 3),
        (gates * H, H),
        (gates * H,),
        (gates * H,),
    ]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@each_cell
def test_sizes_and_dtypes_that_the_kernel_lacks_are_not_taken(kernel, gates, states):
    with emulator.emulated():
        assert kernel.takes(*network(gates, states))
        assert not kernel.takes(*network(gates, states, B=0))
        assert not kernel.takes(*network(gates, states, dtype="float16"))
        assert not kernel.takes(*network(gates, states, H=1500))  # 4 processors


@pytest.mark.skipif(not emulator.available(), reason="needs g++")
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_gradient_by_kernels_is_that_of_the_fallback(kind, precision):
    rng = np.random.default_rng(0)
    model = kind(3, 6, num_layers=2, bidirectional=True, batch_first=True, rng=1).to("strict")
    x = to_device(rng.standard_normal((3, 4, 3)).astype("float32"), "strict")
    found = []
    for on in (True, False):
        t = nag.Tensor(x, requires_grad=True)
        with emulator.emulated(seed=1), use_kernels(on), matmul_precision(precision):
            out, _ = model(t, lengths=[4, 1, 3])
            (out * out).sum().backward()
        results = out, t.grad, *[p.grad for p in model.parameters()]
        found.append([to_numpy(a.data) for a in results])
        model.zero_grad()
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 if precision == "float32" else 3e-2)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.filterwarnings("ignore")
def test_a_weight_that_is_not_finite_reaches_no_padding(kind):
    if not emulator.available():
        pytest.skip("the emulator needs g++")
    rng = np.random.default_rng(0)
    net = getattr(nn, kind)(3, 4, rng=0, dtype="float32")
    with nag.no_grad():
        net.weight_ih_l0[1, 1] = np.inf
    net.to("strict")
    x = nag.Tensor(rng.standard_normal((4, 2, 3)), dtype="float32", device="strict")
    x.requires_grad = True
    with emulator.emulated(seed=1):
        out, _ = net(x, lengths=[4, 1])
        out.sum().backward()
    assert not to_numpy(x.grad.data)[1:, 1].any()
