"""Real models take captured steps, with kernels and without; and, where there is one, on a GPU."""

from contextlib import ExitStack

import numpy as np
import pytest
from fake_gpu import batches, model, on, plain, rates, training

import nanoautograd as nag
from nanoautograd import backends
from nanoautograd import functional as F
from nanoautograd.backends import available, strict, to_device
from nanoautograd.backends.philox import DeviceOffset, words
from nanoautograd.kernels import linear_cross_entropy as shared
from nanoautograd.kernels.cuda import emulator
from nanoautograd.kernels.cuda.runtime import capture, device_assertions
from nanoautograd.kernels.cuda.runtime.capture_context import (
    CaptureContext,
    CaptureError,
    current,
)
from nanoautograd.kernels.cuda.runtime.precision import matmul_precision
from nanoautograd.optim import SGD, AdamW, Muon, clip_grad_norm_

# Before `gpu` replaces it.
ASSERTIONS = device_assertions.assertions


@pytest.mark.parametrize("offset", [0, 3, 4, 2**33 + 1])
@pytest.mark.parametrize("plus", [0, 5])
@pytest.mark.parametrize("device", ["cpu", "strict"])
def test_random_words_from_an_offset_on_the_device(offset, plus, device):
    there = to_device(np.array(offset, np.uint64), device)
    for n in (0, 1, 7, 64):
        found = words(there, n, 2**40 + 7, plus + DeviceOffset(there))
        right = words(np.zeros(1), n, 2**40 + 7, offset + plus)
        assert backends.to_numpy(found).tolist() == right.tolist() and found.dtype == right.dtype


def gpt():
    from models.gpt import GPT, Config

    return GPT(
        Config(vocab_size=11, block_size=8, layers=2, d_model=16, heads=2, dropout=0.2), rng=0
    )


@pytest.mark.skipif(not emulator.available(), reason="needs g++")
def test_a_gpt_can_be_warmed_up_with_kernels():
    """With numbers in memory, and without waiting: the losses of NumPy."""
    warm_up(lambda net: AdamW(net.parameters(), lr=1e-2), True)


def test_a_gpt_can_be_warmed_up_without_kernels():
    """Where operations look at their indices."""
    warm_up(lambda net: SGD(net.parameters(), lr=0.1), False)


def warm_up(make_optimizer, by_kernels):
    rng = np.random.default_rng(0)
    data, losses = [rng.integers(0, 11, (2, 3, 8)) for _ in range(3)], []
    for device in ("cpu", "strict"):
        net = gpt().to(device)
        optimizer = make_optimizer(net)
        losses.append([])
        for x, y in data:
            x, y = (to_device(a, device) for a in (x, y))
            with ExitStack() as stack:
                if device == "strict":
                    stack.enter_context(current.using(CaptureContext()))
                    if by_kernels:
                        stack.enter_context(strict.no_sync())
                        stack.enter_context(emulator.emulated())
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x)[0].reshape(-1, 11), y.reshape(-1))
                loss.backward()
                clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.fixture
def gpu_with_kernels(gpu, monkeypatch):
    """The same GPU, on which kernels run too: launched, or written down."""
    gpu.__name__, launch = "strict", emulator.run

    def run(source, kernel, grid, block, arguments, *more):
        arguments = [plain(a) for a in arguments]
        gpu.do(lambda: launch(source, kernel, grid, block, arguments, *more), gpu)

    monkeypatch.setattr(emulator, "run", run)
    monkeypatch.setattr(device_assertions, "assertions", ASSERTIONS)
    monkeypatch.setattr(device_assertions, "_of_device", {})
    with emulator.emulated():
        yield gpu


@pytest.mark.skipif(not emulator.available(), reason="needs g++")
@pytest.mark.parametrize("whole, muon", [(True, False), (False, False), (True, True)])
def test_a_gpt_that_is_captured_with_kernels_trains(gpu_with_kernels, monkeypatch, whole, muon):
    """Replays of attention, norms, gelu, dropout, embedding, cross-entropy, clipping and AdamW: the
    losses and weights of NumPy, with a rate that changes and masks that do. whole: whether there
    are all logits at once, or those of 10 of the 24 rows at a time. muon: whether the matrices
    inside learn by Muon."""
    from models.training.optimizers import Several, inner_matrices

    monkeypatch.setattr(shared, "CHUNK", 10 * 11)
    rng = np.random.default_rng(0)
    data, found = rng.integers(0, 11, (7, 2, 3, 8)), []
    for device in ("cpu", "gpu"):
        net = gpt() if device == "cpu" else on(gpu_with_kernels, gpt())
        inside = {id(p) for p in inner_matrices(net)} if muon else ()
        matrices = [p for p in net.parameters() if id(p) in inside]
        optimizer = AdamW([p for p in net.parameters() if id(p) not in inside], lr=1e-2)
        if muon:
            optimizer = Several([optimizer, Muon(matrices, adjust_lr_fn="match_rms_adamw")])

        def step(x, y):
            optimizer.zero_grad()
            if whole:
                loss = F.cross_entropy(net(x)[0].reshape(-1, 11), y.reshape(-1))
            else:
                loss = F.linear_cross_entropy(net.hidden(x)[0], net.embedding.weight, y)
            loss.backward()
            norm = clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            return loss, norm

        captured = capture.Captured(step)
        for lr, (x, y) in zip(rates(7), data):
            for group in optimizer.param_groups:
                group["lr"] = lr
            if device == "cpu":
                found.append([float(getattr(v, "data", v)) for v in step(x, y)])
            else:
                captured(x, y)
        came = captured.results(wait=True)
        weights = {name: plain(p.data) for name, p in net.named_parameters()}
        for name in weights:  # of keys the bias changes nothing: Adam makes steps
            if name.endswith("in_proj_bias"):  # of the rounding in its gradient
                weights[name] = np.delete(weights[name], slice(16, 32))
        if device == "cpu":
            right = weights
    np.testing.assert_allclose(came, found, rtol=1e-4)
    for name, array in weights.items():
        np.testing.assert_allclose(array, right[name], rtol=1e-3, atol=5e-4, err_msg=name)
    assert gpu_with_kernels.captures == 1 and captured.count == 7


@pytest.mark.gpu
@pytest.mark.skipif(not available()["cupy"].usable, reason="needs a GPU")
class TestOnGPU:
    @pytest.mark.parametrize("optimiser", [SGD, AdamW])
    @pytest.mark.parametrize("asked", ["float32", "bfloat16"])
    def test_captured_steps_are_the_steps(self, optimiser, asked):
        """200 of them."""
        data, losses = batches(200), []
        for is_captured in (False, True):
            net = model().to("cuda")
            optimizer = optimiser(net.parameters(), lr=0.01)

            def step(x, y):
                optimizer.zero_grad()
                loss = ((net(x) - y) ** 2).mean()
                loss.backward()
                clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                return loss

            with matmul_precision(asked):
                losses.append([])
                f = nag.cuda.capture(step) if is_captured else step
                for x, y in data:
                    optimizer.param_groups[0]["lr"] *= 0.99
                    if is_captured:
                        f(x, y)
                    else:
                        losses[-1].append(
                            f(nag.Tensor(x, device="cuda"), nag.Tensor(y, device="cuda")).item()
                        )
            if is_captured:
                losses[-1] = f.results(wait=True)
        np.testing.assert_allclose(*losses, rtol=1e-4)

    def test_a_captured_gpt_has_the_same_losses(self):
        rng, losses = np.random.default_rng(0), []
        data = [rng.integers(0, 11, (2, 3, 8)) for _ in range(50)]
        for is_captured in (False, True):
            net = gpt().to("cuda")
            optimizer = AdamW(net.parameters(), lr=1e-3)

            def step(x, y):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x)[0].reshape(-1, 11), y.reshape(-1))
                loss.backward()
                clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                return loss

            if is_captured:
                f = nag.cuda.capture(step)
                for x, y in data:
                    f(x, y)
                losses.append(f.results(wait=True))
            else:
                losses.append([step(*(to_device(a, "cuda") for a in xy)).item() for xy in data])
        np.testing.assert_allclose(*losses, rtol=1e-4)

    def test_captured_steps_take_no_more_memory(self):
        net = model().to("cuda")
        f = nag.cuda.capture(training(net)[0])
        data, free = batches(1000), []
        for i, (x, y) in enumerate(data):
            f(x, y)
            if i in (100, 999):
                f.results(wait=True)
                free.append(nag.cuda.memory().free)
        assert free[0] == free[1]

    def test_waiting_is_refused_and_the_program_goes_on(self):
        net = model().to("cuda")
        step, _ = training(net)

        def waits(x, y):
            loss = step(x, y)
            loss.item()
            return loss

        x, y = batches(1)[0]
        f = nag.cuda.capture(waits)
        f(x, y)
        f(x, y)
        with pytest.raises(CaptureError, match="it waits for the GPU"):
            f(x, y)
        f = nag.cuda.capture(step)
        for _ in range(5):
            f(x, y)
        assert len(f.results(wait=True)) == 5
