"""What a captured step cannot do is refused, where it happens."""

import numpy as np
import pytest
from fake_gpu import batches, captured_after, model, on, stepping, training

import nanoautograd as nag
from nanoautograd import backends, nn
from nanoautograd import functional as F
from nanoautograd.kernels.cuda import _state
from nanoautograd.kernels.cuda.runtime import capture, device_assertions
from nanoautograd.kernels.cuda.runtime.capture_context import (
    CaptureError,
)
from nanoautograd.kernels.cuda.runtime.precision import _state as precisions
from nanoautograd.kernels.cuda.runtime.precision import matmul_precision
from nanoautograd.optim import SGD, AveragedModel


def refused(gpu, step, match):
    """It is refused, with a reason, and then the step goes on uncaptured."""
    x, y = batches(1)[0]
    with pytest.raises(CaptureError, match=match) as error:
        captured = captured_after(gpu, step)
        captured(x, y)
    assert gpu.written is None and gpu.current is gpu.null
    return error.value


@pytest.mark.parametrize(
    "wait",
    [
        lambda loss: loss.item(),
        lambda loss: float(loss.detach()),
        lambda loss: bool(loss > 0),
        lambda loss: loss.tolist(),
    ],
)
def test_waiting_is_refused_where_it_happens(gpu, wait):
    step, _ = training(on(gpu, model()))

    def waits(x, y):
        loss = step(x, y)
        wait(loss)
        return loss

    error = refused(gpu, waits, "cannot be recorded: .*it waits for the GPU")
    assert "StreamCapture" in str(error) and error.__cause__ is not None


def test_a_copy_from_the_host_is_refused(gpu):
    step, _ = training(on(gpu, model()))

    def copies(x, y):
        return step(x, y * gpu.asarray(np.ones((7, 3), "f4")))

    refused(gpu, copies, r"fake_gpu.py:\d+, `.*copies from the host.*the batch")


def test_other_errors_of_the_step_are_its_own(gpu):
    def fails(x, y):
        if gpu.written is not None:
            raise ZeroDivisionError("mine")
        return (x**2).sum()

    captured = captured_after(gpu, fails)
    with pytest.raises(ZeroDivisionError, match="mine"):
        captured(*batches(1)[0])
    assert gpu.written is None and gpu.current is gpu.null
    assert len(captured.results(wait=True)) == 2


def test_adding_to_old_gradients_is_refused(gpu):
    net = on(gpu, model())
    optimizer = SGD(net.parameters())

    def step(x, y):
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    refused(gpu, step, "gradient of the step before; call zero_grad")
    assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())


def test_an_optimiser_that_counts_in_python_is_refused(gpu):
    class Counting(SGD):
        def begin(self, theta, state, group):
            state["step"] = state.get("step", 0) + 1
            return super().begin(theta, state, group)

    net = on(gpu, model())
    message = "Counting keeps 'step' of a parameter as a int of Python"
    refused(gpu, stepping(net, Counting(net.parameters())), message)


def test_other_batches_are_refused(gpu):
    captured = captured_after(gpu, training(on(gpu, model()))[0], 4)
    x, y = batches(1)[0]
    for batch, message in (
        ((x[:5], y[:5]), r"\(\(7, 5\) float32, .*got \(\(5, 5\)"),
        ((x.astype("f8"), y), "got .*float64"),
        ((x,), "got"),
        ((x, 3), "got .*int"),
    ):
        with pytest.raises(CaptureError, match=f"shapes and dtypes of its first.*{message}"):
            captured(*batch)
    captured(x, y)
    assert len(captured.results(wait=True)) == 5
    with pytest.raises(CaptureError, match="moves arrays and Tensors.*got float"):
        capture.Captured(training(on(gpu, model()))[0])(x, 0.5)


def test_a_step_must_return_its_loss(gpu):
    for result, got in ((None, "NoneType"), (np.float32(1), ""), (0.5, "float")):
        with pytest.raises(CaptureError, match=f"returns its loss.*got.*{got}"):
            capture.Captured(lambda x: result)(batches(1)[0][0])
    with pytest.raises(CaptureError, match=r"of shape \(7, 5\)"):
        capture.Captured(lambda x: x)(batches(1)[0][0])


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda net, o: net.eval(),
            "training changed after .* from True to False.*capture the step",
        ),
        (
            lambda net, o: o.param_groups[0].update(momentum=0.5),
            "SGD's momentum changed .* 0.9 to 0.5",
        ),
        (lambda net, o: o.param_groups[0]["params"].pop(), "list of parameters of SGD changed"),
        (lambda net, o: o.load_state_dict(o.state_dict()), "the state of SGD changed"),
        (
            lambda net, o: o.param_groups.__setitem__(0, {**o.param_groups[0]}),
            "list of groups of SGD changed",
        ),
        (
            lambda net, o: net.load_state_dict(net.state_dict()),
            "the array of Linear.weight .*changed",
        ),
        (lambda net, o: setattr(net[2], "seed", 5), "Dropout.seed changed"),
        (lambda net, o: setattr(net[2], "p", 0.0), "Dropout.p changed .* from 0.3 to 0.0"),
        (lambda net, o: net[0].weight.requires_grad_(False), "weight.requires_grad changed"),
        (
            lambda net, o: setattr(net[0], "weight", nn.Parameter(np.ones((8, 5), "f4"))),
            "what Linear is made of changed",
        ),
        (lambda net, o: matmul_precision("tf32"), "matmul_precision changed .* float32 to tf32"),
        (lambda net, o: _state.update(on=False), "use_kernels changed"),
    ],
)
def test_what_python_changed_is_refused(gpu, change, message, monkeypatch):
    monkeypatch.setitem(_state, "on", True)
    monkeypatch.setitem(precisions, "precision", "float32")
    net = on(gpu, model())
    step, optimizer = training(net)
    captured = captured_after(gpu, step, 4)
    before = nn.layers.random_state(net)
    change(net, optimizer)
    with pytest.raises(CaptureError, match=message):
        captured(*batches(1)[0])
    assert nn.layers.random_state(net)["2"][1] == before["2"][1]  # no step was made


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda average: average.load_state_dict(average.state_dict()),
            "averages of AveragedModel",
        ),
        (lambda average: setattr(average, "decay", 0.9), "AveragedModel.decay changed"),
    ],
)
def test_an_average_that_changed_is_refused(gpu, change, message):
    net = on(gpu, model())
    average, (step, _) = AveragedModel(net, 0.5), training(net)

    def both(x, y):
        loss = step(x, y)
        average.update()
        return loss

    captured = captured_after(gpu, both, 4)
    change(average)
    with pytest.raises(CaptureError, match=message):
        captured(*batches(1)[0])


def test_a_mask_that_would_be_the_same_for_ever_is_refused(gpu):
    step, _ = training(on(gpu, model()))

    def drops(x, y):
        return step(F.dropout(x, 0.5), y)

    with pytest.raises(CaptureError, match="dropout draws a new seed at each call"):
        captured_after(gpu, drops)


def test_numbers_that_each_replay_would_draw_anew_are_refused(gpu):
    """A Dropout that the first calls do not reach would begin at 0 in each replay."""
    net, calls = on(gpu, model(p=0.0)), []
    step, _ = training(net)

    def drops_later(x, y):
        calls.append(x)
        return step(drop(x) if len(calls) > capture.WARM_UP else x, y)

    drop = nn.Dropout(0.5)
    with pytest.raises(CaptureError, match="did not draw at its first calls"):
        captured_after(gpu, drops_later, 3)


def test_what_was_refused_stays_refused_and_leaves_the_gradients(gpu):
    net = on(gpu, model())
    step, _ = training(net)

    def waits(x, y):
        loss = step(x, y)
        return loss if gpu.written is None else loss * loss.item()

    captured = captured_after(gpu, waits)
    gradients = [p.grad for p in net.parameters()]
    for _ in range(3):
        with pytest.raises(CaptureError, match="it waits for the GPU"):
            captured(*batches(1)[0])
        counted = nn.layers.random_state(net)
        assert [p.grad for p in net.parameters()] == gradients
    assert nn.layers.random_state(net) == counted


def test_use_manual_is_refused(gpu):
    """Before, while and after the step is recorded; nothing of the step is done."""
    net = on(gpu, model())
    step, _ = training(net)
    captured, x, y = capture.Captured(step), *batches(1)[0]
    for n in range(5):
        counted = nn.layers.random_state(net)
        with nag.use_manual():
            with pytest.raises(CaptureError, match=r"within nag.use_manual\(\).*record=False"):
                captured(x, y)
            with pytest.raises(CaptureError, match="call the step itself"):
                capture.Captured(step)
        assert captured.count == n and nn.layers.random_state(net) == counted
        captured(x, y)
    assert len(captured.results(wait=True)) == 5
    with nag.use_manual():  # not recorded, the step is computed as it is written
        written = capture.Captured(step, record=False)
        written(x, y)
        assert len(written.results(wait=True)) == 1


def test_debug_and_another_device_are_refused(gpu, monkeypatch):
    captured = captured_after(gpu, training(on(gpu, model()))[0])
    monkeypatch.setattr(device_assertions, "debug", True)
    with pytest.raises(CaptureError, match="debug"):
        captured(*batches(1)[0])
    monkeypatch.setattr(device_assertions, "debug", False)
    captured(*batches(1)[0])
    gpu.device = 1
    with pytest.raises(CaptureError, match="captured on cuda:0, .* current device is cuda:1"):
        captured(*batches(1)[0])


def test_reports_of_kernels_come_with_the_losses(gpu, monkeypatch):
    captured = captured_after(gpu, training(on(gpu, model()))[0], 4)

    def check(xp, device):
        raise IndexError("embedding: id 9")

    monkeypatch.setattr(device_assertions, "check", check)
    with pytest.raises(IndexError, match="id 9"):
        captured.results(wait=True)


def test_without_a_gpu_it_says_what_is_missing():
    if nag.cuda.is_available():
        pytest.skip("there is one")
    for call in (
        lambda: nag.cuda.capture(lambda x: x),
        nag.cuda.synchronize,
        nag.cuda.memory,
        nag.cuda.free_memory,
    ):
        with pytest.raises(backends.DeviceError, match="GPU"):
            call()
