"""A training whose steps are captured is the training: on a GPU that is made of NumPy arrays."""

import copy

import numpy as np
import pytest
from fake_gpu import (
    Array,
    batches,
    captured_after,
    model,
    on,
    on_device,
    plain,
    rates,
    stepping,
    training,
)

import nanoautograd as nag
from nanoautograd import nn
from nanoautograd.kernels.cuda.runtime import capture
from nanoautograd.kernels.cuda.runtime.capture_context import (
    CaptureError,
)
from nanoautograd.optim import SGD, Adam, AdamW, AveragedModel, clip_grad_norm_


@pytest.mark.parametrize("clip", [None, 0.5, 100.0])
@pytest.mark.parametrize("ask", [True, False])
def test_captured_steps_are_the_steps(gpu, clip, ask):
    """The losses, the weights, and what Python keeps count of: with a rate that changes, momentum,
    dropout and clipping."""
    data, expected, found = batches(12), [], []
    plain_net = model()
    step, optimizer = training(plain_net, clip)
    for (x, y), lr in zip(data, rates(12)):
        optimizer.param_groups[0]["lr"] = lr
        expected.append(step(nag.Tensor(x), nag.Tensor(y)).item())

    net = on(gpu, model())
    step, optimizer = training(net, clip)
    captured = capture.Captured(step)
    for (x, y), lr in zip(data, rates(12)):
        optimizer.param_groups[0]["lr"] = lr
        x, y = x.copy(), y.copy()
        assert captured(x, y) is None
        x[...] = y[...] = np.nan  # the caller may use them again
        if ask:
            found += captured.results()
    found += captured.results(wait=True)
    assert captured.results(wait=True) == [] and gpu.captures == 1
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for p, q in zip(net.parameters(), plain_net.parameters()):
        np.testing.assert_allclose(plain(p.data), q.data, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(plain(p.grad.data), q.grad.data, rtol=1e-3, atol=1e-5)
    assert nn.layers.random_state(net) == nn.layers.random_state(plain_net)


def test_random_numbers_go_on_where_the_host_says(gpu):
    """What is assigned to a Dropout's offset between two replays is where the next one begins."""
    found = []
    for is_captured in (True, False):
        net = on(gpu, model()) if is_captured else model()
        step, _ = training(net)
        take = capture.Captured(step) if is_captured else step
        for i, (x, y) in enumerate(batches(8)):
            if i in (5, 7):
                net[2].offset = 1000 * i + 1
            take(*((x, y) if is_captured else map(nag.Tensor, (x, y))))
        if is_captured:
            take.results(wait=True)
        found.append([plain(p.data) for p in net.parameters()])
        assert net[2].offset == 7001 + 7 * 8
    for p, q in zip(*found):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)


def test_a_batch_may_be_on_the_device_and_in_tensors(gpu):
    net, same = on(gpu, model(p=0.0)), on(gpu, model(p=0.0))
    a, b = (capture.Captured(training(m)[0]) for m in (net, same))
    for x, y in batches(6):
        a(x, y)
        b(on_device(x.copy()), nag.Tensor(y))
    assert a.results(wait=True) == b.results(wait=True)


def test_the_host_is_only_a_little_ahead(gpu):
    net = on(gpu, model())
    captured = capture.Captured(training(net)[0])
    for i, (x, y) in enumerate(batches(8)):
        captured(x, y)
        assert len(gpu.null.work) <= 6 * capture.AHEAD
        if i > capture.WARM_UP:
            assert captured.results() and gpu.null.work  # arrived, and more is to come


def test_gradients_that_were_forgotten_in_between_are_back(gpu):
    net, same = on(gpu, model()), on(gpu, model())
    (step, optimizer), (other, _) = training(net), training(same)
    captured, reference = capture.Captured(step), capture.Captured(other)
    for x, y in batches(8):
        captured(x, y)
        assert all(p.grad is not None for p in net.parameters())
        optimizer.zero_grad()
        reference(x, y)
    assert captured.results(wait=True) == reference.results(wait=True)


def adam_with_groups(net):
    first, *rest = net.parameters()
    return Adam([{"params": [first], "lr": 1}, {"params": rest}], betas=(0.5, 0.9), eps=1e-3)


OPTIMISERS = [
    lambda net: SGD(net.parameters(), lr=1, weight_decay=0.1),
    lambda net: SGD(net.parameters(), momentum=0.9, nesterov=True),
    lambda net: AdamW(net.parameters(), weight_decay=0.1),
    adam_with_groups,
]
SET_RATE = [
    lambda group, lr: group.__setitem__("lr", lr),
    lambda group, lr: group.update(lr=lr),
    lambda group, lr: group.__ior__({"lr": np.float32(lr)}),
    lambda group, lr: (group.pop("lr"), group.setdefault("lr", lr)),
]


@pytest.mark.parametrize("make", OPTIMISERS)
@pytest.mark.parametrize("set_rate", SET_RATE)
def test_what_changes_from_step_to_step_is_on_the_device(gpu, make, set_rate):
    """Replays count on, and read the rates that were set since; without kernels, line by line."""
    found = []
    for device in ("cpu", "gpu"):
        net = model(p=0.0) if device == "cpu" else on(gpu, model(p=0.0))
        optimizer = make(net)
        step = captured = stepping(net, optimizer)
        if device == "gpu":
            captured = capture.Captured(step)
        for i, (x, y) in enumerate(batches(7)):
            if i:
                for k, group in enumerate(optimizer.param_groups):
                    set_rate(group, 0.01 / (i + k))
            captured(x, y)
        if device == "gpu":
            captured.results(wait=True)
        found.append((net, optimizer.state_dict()))
    (right, state), (net, there) = found
    for p, q in zip(net.parameters(), right.parameters()):
        np.testing.assert_allclose(plain(p.data), q.data, rtol=1e-4, atol=1e-6)
    assert there["param_groups"] == state["param_groups"]
    for i, s in state["state"].items():
        assert list(there["state"][i]) == list(s) and there["state"][i].get("step") == s.get("step")


def test_a_rate_that_is_none_is_refused_before_a_replay_and_the_next_one_counts(gpu):
    net, same = on(gpu, model(p=0.0)), model(p=0.0)
    step, optimizer = training(net)
    captured, (plain_step, other) = captured_after(gpu, step, 4), training(same)
    for x, y in [*batches(4), *batches(1)]:
        other.param_groups[0]["lr"] = 0.1
        plain_step(x, y)
    for bad in (-1.0, np.nan, 10**400, 1j, "fast", None, np.ones(2)):
        optimizer.param_groups[0]["lr"] = bad
        with pytest.raises((ValueError, TypeError), match="SGD: lr must be"):
            captured(*batches(1)[0])
    optimizer.param_groups[0]["lr"] = 0.1
    captured(*batches(1)[0])
    captured.results(wait=True)
    for p, q in zip(net.parameters(), same.parameters()):
        np.testing.assert_allclose(plain(p.data), q.data, rtol=1e-4, atol=1e-6)


def test_an_optimiser_that_begins_in_the_recorded_step_is_refused(gpu):
    """What it makes there would be made again at each replay."""
    net, calls = on(gpu, model()), []
    optimizer = SGD(net.parameters())  # which has no state but the rate

    def step(x, y):
        optimizer.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        calls.append(1)
        if len(calls) > capture.WARM_UP:
            optimizer.step()
        return loss

    captured = captured_after(gpu, step, capture.WARM_UP + 1)
    with pytest.raises(CaptureError, match="the state of SGD changed"):
        captured(*batches(1)[0])


def test_a_group_that_is_a_plain_dict_is_captured_with_its_rate(gpu):
    step, optimizer = training(on(gpu, model()))
    optimizer.param_groups[0] = {**optimizer.param_groups[0]}
    captured = captured_after(gpu, step, 4)
    optimizer.param_groups[0]["lr"] = 0.2
    with pytest.raises(CaptureError, match="SGD's lr changed .* 0.1 to 0.2"):
        captured(*batches(1)[0])


def test_copies_of_an_optimiser_have_rates_of_their_own(gpu):
    net = on(gpu, model(p=0.0))
    step, optimizer = training(net)
    step(*map(on_device, batches(1)[0]))
    (group,) = optimizer.param_groups
    rate = group.rate(net[0].weight.data, "float32")
    for other in (copy.copy(group), copy.deepcopy(group), group.copy(), {**group}):
        other["lr"] = 7.0
    assert rate == np.float32(0.1) and group["lr"] == 0.1


def test_an_average_counts_on(gpu):
    net = on(gpu, model())
    step, _ = training(net)
    average = AveragedModel(net, 0.5)

    def both(x, y):
        loss = step(x, y)
        average.update()
        return loss

    captured = capture.Captured(both)
    for x, y in batches(6):
        captured(x, y)
    captured.results(wait=True)
    assert average.updates == 6


def test_a_step_may_return_several_numbers(gpu):
    net, optimizer = on(gpu, model()), None
    step, optimizer = training(net)

    def both(x, y):
        loss = step(x, y)
        return loss, clip_grad_norm_(net.parameters(), 100.0)

    captured = capture.Captured(both)
    for x, y in batches(6):
        captured(x, y)
    found = captured.results(wait=True)

    net = model()
    step, optimizer = training(net)
    for (x, y), (loss, norm) in zip(batches(6), found, strict=True):
        assert step(nag.Tensor(x), nag.Tensor(y)).item() == pytest.approx(loss, rel=1e-6)
        assert float(clip_grad_norm_(net.parameters(), 100.0)) == pytest.approx(norm, rel=1e-6)


@pytest.mark.parametrize(
    "returned", [(), (1.0,), None, [on_device(np.ones(()))], on_device(np.ones((), complex))]
)
def test_what_a_step_may_not_return_is_refused(gpu, returned):
    with pytest.raises(CaptureError, match="returns its loss, a Tensor of one number on the"):
        capture.Captured(lambda x, y: returned)(*batches(1)[0])


@pytest.mark.parametrize("ask", [True, False])
def test_steps_that_are_not_recorded(gpu, ask):
    """Of batches of any shape; also of one that waits, and so could not be recorded."""
    data = [(x[:n], y[:n]) for (x, y), n in zip(batches(9), (7, 7, 3, 3, 7, 1, 1, 1, 2))]
    found = []
    for net, array in ((model(), nag.Tensor), (on(gpu, model()), None)):
        step, _ = training(net, 0.5)

        def waiting(x, y):
            loss = step(x, y)
            assert loss.item() >= 0
            return loss

        if array:
            found.append([waiting(array(x), array(y)).item() for x, y in data])
            continue
        late = capture.Captured(waiting, record=False)
        found.append([])
        for x, y in data:
            late(x, y)
            found[-1] += late.results() if ask else []
        found[-1] += late.results(wait=True)
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert gpu.captures == 0


def test_batches_of_other_shapes_do_not_make_steps_wait(gpu):
    """Unless one is larger than all before by a quarter."""
    captured = capture.Captured(lambda x: (x * 1.0).sum(), record=False)
    for i, n in enumerate((8, 3, 8, 9, 1, 8)):
        captured(np.full((n, 100), 1.0, "f4"))
        assert len(captured._results) == max(0, i - 1)  # those whose places were needed
    assert captured.results(wait=True) == [800, 300, 800, 900, 100, 800]


def test_a_batch_that_cannot_be_moved_changes_nothing(gpu):
    for record in (True, False):
        captured = capture.Captured(lambda x: (x * 1.0).sum(), record=record)
        for _ in range(2):
            with pytest.raises(TypeError):
                captured(np.array([None, 1]))
        captured(np.ones(3, "f4"))
        assert captured.results(wait=True) == [3]


def test_whether_an_argument_is_a_tensor_may_change(gpu):
    seen = []

    def step(x):
        seen.append(type(x))
        return (x * 1.0).sum()

    captured = capture.Captured(step, record=False)
    for x in (np.ones(3, "f4"), nag.Tensor(np.ones(3, "f4"))):
        captured(x)
    assert seen == [Array, nag.Tensor]


@pytest.mark.parametrize("fails", ["zeros", "alloc_pinned_memory", "empty"])
def test_a_batch_for_which_there_is_no_memory_changes_nothing(gpu, monkeypatch, fails):
    def full(*args, **options):
        raise MemoryError("out of memory")

    captured = capture.Captured(lambda x: (x * 1.0).sum(), record=False)
    captured(np.ones((1, 3), "f4"))
    with monkeypatch.context() as patch:
        patch.setattr(gpu, fails, full, raising=False)
        with pytest.raises(MemoryError):
            captured(np.ones((400, 300), "f4"))
    captured(np.ones((2, 3), "f4"))
    captured(np.ones((400, 300), "f4"))
    captured(np.ones((1, 3), "f4"))
    assert captured.results(wait=True) == [3, 6, 120000, 3]
