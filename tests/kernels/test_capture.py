"""Captured steps: on a GPU that is made of NumPy arrays and does all as late as it may; and, where
there is one, on a GPU."""

import copy
import ctypes
import json
import os
import signal
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

import nanoautograd as nag
from models.tasks import PRESETS
from models.tasks.task import Task
from models.training import steps
from nanoautograd import backends, nn
from nanoautograd import functional as F
from nanoautograd.backends import available, strict, to_device
from nanoautograd.checkpoint import load_checkpoint
from nanoautograd.kernels import linear_cross_entropy as shared
from nanoautograd.kernels.cuda import _state, emulator
from nanoautograd.kernels.cuda.runtime import capture, reports
from nanoautograd.kernels.cuda.runtime.capture_context import (
    ROOM,
    CaptureContext,
    CaptureError,
    current,
)
from nanoautograd.kernels.cuda.runtime.precision import _state as precisions
from nanoautograd.kernels.cuda.runtime.precision import matmul_precision
from nanoautograd.optim import SGD, Adam, AdamW, AveragedModel, clip_grad_norm_

REPORTS = reports.reports


# ---- a GPU to test with


class Array(np.ndarray):
    """An array on it. Each operation is computed at once, or, while a stream is capturing, written
    down and not computed: what it would have written is nan."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        inputs = [plain(a) for a in inputs]
        if method == "at":
            return GPU.now.do(lambda: ufunc.at(*inputs, **options), inputs[0])
        if out is not None:
            GPU.now.do(
                lambda: getattr(ufunc, method)(*inputs, out=tuple(map(plain, out)), **options),
                out[0],
            )
            return out[0]
        return GPU.now.do(lambda: getattr(ufunc, method)(*inputs, **options))

    def __array_function__(self, f, types, args, options):
        args, options = plain(args), plain(options)
        return GPU.now.do(lambda: f(*args, **options), options.get("out"))

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and not isinstance(value, Array):
            GPU.now.waits("H2D transfers are disallowed")
        index, value = plain(index), plain(value)
        GPU.now.do(lambda: plain(self).__setitem__(index, value), self)

    def __getitem__(self, index):
        index = plain(index)
        return GPU.now.do(lambda: plain(self)[index])

    def _method(name):
        def call(self, *args, **options):
            return GPU.now.do(lambda: getattr(plain(self), name)(*args, **options))

        return call

    reshape, astype, copy, ravel = map(_method, ("reshape", "astype", "copy", "ravel"))

    def fill(self, value):
        self[...] = value

    def _waiting(name):
        def call(self, *args):
            GPU.now.waits("operation not permitted when stream is capturing")
            return getattr(plain(self), name)(*args)

        return call

    item, tolist, __float__, __bool__ = map(_waiting, ("item", "tolist", "__float__", "__bool__"))
    get = _waiting("copy")

    @property
    def data(self):
        return self

    @property
    def ptr(self):
        return self.__array_interface__["data"][0]

    def copy_from_host_async(self, address, size, stream):
        stream.later(lambda: ctypes.memmove(self.ptr, address, size))

    def copy_from_device_async(self, other, size, stream):
        stream.later(lambda: ctypes.memmove(self.ptr, other.ptr, size))

    def copy_to_host_async(self, address, size, stream):
        stream.later(lambda: ctypes.memmove(address, self.ptr, size))


def plain(a):
    if isinstance(a, Array):
        return a.view(np.ndarray)
    if type(a) in (list, tuple):
        return type(a)(map(plain, a))
    return {k: plain(v) for k, v in a.items()} if type(a) is dict else a


class GPU:
    """As much of CuPy as is used. A stream does its work when somebody waits for it."""

    now = None
    __name__ = "fake"

    def __init__(self):
        self.cuda = self.runtime = self
        self.null = self.current = Stream(self)
        self.written, self.capturing, self.replaying = None, None, False
        self.kept = []
        self.allocators, self.captures, self.device, self.fails = [], 0, 0, None

    def do(self, run, target=None):
        """Computes run(), which writes to `target`, or returns something new, or a view."""
        if self.written is None or self.current is not self.capturing:
            if not self.replaying:
                self.current.drain()
            return on_device(run())
        if target is not None:
            self.written.append(run)
            return target
        result = on_device(run())
        self.kept.append(result)  # the memory is the graph's
        if is_view(result):
            return result

        def again():
            plain(result)[...] = plain(run())

        self.written.append(again)
        if result.dtype.kind == "f":
            plain(result).fill(np.nan)
        return result

    def waits(self, what):
        self.current.drain()
        if self.written is not None and self.current is self.capturing:
            self.capturing.broken = True
            raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")

    def __getattr__(self, name):
        f = getattr(np, name)
        if isinstance(f, type) or not callable(f) or isinstance(f, np.ufunc):
            return f

        def call(*args, **options):
            if name in ("array", "asarray", "ascontiguousarray"):
                if not isinstance(args[0], Array):
                    self.waits("H2D transfers are disallowed")
                return self.do(lambda: f(plain(args[0]), **options))
            if (
                any(isinstance(a, Array) for a in args)
                or type(args[0]) in (list, tuple)
                and any(isinstance(a, Array) for a in args[0])
            ):
                return f(*args, **options)
            return self.do(lambda: f(*args, **options))

        return call

    # cupy.cuda
    def Stream(self, non_blocking=False):
        assert non_blocking
        return Stream(self)

    def Event(self, disable_timing):
        return Event()

    def get_current_stream(self):
        return self.current

    def getDevice(self):
        return self.device

    def MemoryPool(self):
        self.malloc = object()
        return self

    @contextmanager
    def using_allocator(self, malloc):
        self.allocators.append(malloc)
        try:
            yield
        finally:
            self.allocators.pop()

    def alloc_pinned_memory(self, n):
        return Pinned(n)


def on_device(x):
    if isinstance(x, (tuple, list)):
        return type(x)(map(on_device, x))
    return np.asarray(x).view(Array) if isinstance(x, (np.ndarray, np.generic)) else x


def is_view(x):
    if not isinstance(x, Array):  # pieces, or what is no array
        return True
    base = x.base  # the plain array, which is one's own or a view
    return base.base is not None


class Pinned(bytearray):
    @property
    def ptr(self):
        return np.frombuffer(self, np.uint8).ctypes.data


class Event:
    stream, at = None, 0

    def record(self, stream):
        self.stream, self.at = stream, stream.begun + len(stream.work)

    def synchronize(self):
        self.stream.drain(self.at)

    @property
    def done(self):
        return self.stream is None or self.stream.begun >= self.at


class Stream:
    ptr = 1

    def __init__(self, gpu):
        self.gpu, self.work, self.begun, self.broken, self.before = gpu, [], 0, False, []

    def later(self, f):
        assert self.gpu.capturing is not self
        self.work.append(f)

    def wait_event(self, event):
        self.later(event.synchronize)

    def drain(self, end=None):
        while self.work and (end is None or self.begun < end):
            self.begun += 1
            self.work.pop(0)()

    def synchronize(self):
        self.gpu.waits("synchronize")
        self.drain()

    def __enter__(self):
        self.before.append(self.gpu.current)
        self.gpu.current = self

    def __exit__(self, *exception):
        self.gpu.current = self.before.pop()

    def begin_capture(self):
        assert self.gpu.allocators, "its memory would be given to others"
        self.gpu.written, self.gpu.capturing, self.broken = [], self, False
        self.gpu.captures += 1

    def end_capture(self):
        written, self.gpu.written, self.gpu.capturing = self.gpu.written, None, None
        if self.broken:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(self.gpu, written)


class Graph:
    def __init__(self, gpu, written):
        self.gpu, self.written = gpu, written

    def launch(self):
        def run():
            self.gpu.replaying = True
            try:
                for f in self.written:
                    f()
            finally:
                self.gpu.replaying = False

        self.gpu.current.later(run)


@pytest.fixture
def gpu(monkeypatch):
    GPU.now = gpu = GPU()
    monkeypatch.setattr(capture, "_cupy", lambda: gpu)
    monkeypatch.setitem(backends._OWNERS, Array, gpu)
    monkeypatch.setattr(reports, "reports", lambda *a: None)
    yield gpu
    assert gpu.current is gpu.null and not gpu.allocators and current.context is None


def on(gpu, model):
    for p in model.parameters():
        p.data = on_device(p.data)
    return model


# ---- a training that is captured is the training


def model(seed=0, p=0.3):
    return nn.Sequential(
        nn.Linear(5, 8, rng=seed),
        nn.ReLU(),
        nn.Dropout(p, rng=seed + 1),
        nn.Linear(8, 3, rng=seed + 2),
    )


def batches(n, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((7, 5)).astype("f4"), rng.standard_normal((7, 3)).astype("f4"))
        for _ in range(n)
    ]


def stepping(net, optimizer, clip=None):
    def step(x, y):
        optimizer.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        if clip:
            clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        return loss

    return step


def training(net, clip=None, momentum=0.9, **more):
    optimizer = SGD(net.parameters(), lr=0.1, momentum=momentum, **more)
    return stepping(net, optimizer, clip), optimizer


def rates(n):
    return [0.1 / (i + 1) for i in range(n)]


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


# ---- what a step returns, and steps that are not recorded


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
def test_what_a_step_may_not_return(gpu, returned):
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


# ---- train.py takes such steps


class Line(nn.Module):
    def __init__(self, config, rng=None, dtype=np.float32):
        self.linear, self.drop = nn.Linear(5, 3, rng=rng, dtype=dtype), nn.Dropout(0.2, rng=rng)

    def forward(self, x):
        return self.drop(self.linear(x))


@dataclass
class LineConfig:
    width: int = 3


class Lines(Task):
    """Predicts numbers, beside a state that is carried along and forgotten at every fifth step."""

    models, presets = {"line": (LineConfig, Line)}, {"lines": {"model": "line"}}

    def __init__(self, o, known=None):
        super().__init__(o, known)
        self.known, self.sizes, self.fingerprint, self.summary = [], {}, "none", "lines"

    def batch(self, step):
        x, y = batches(1, step)[0]
        return x, y, np.array(step % 5 == 0)

    def loss(self, model, carried, x, y, begins):
        if carried is not None:
            carried = backends.array_namespace(carried).where(begins, 0.0, carried)
        z = model(x) if carried is None else model(x) + carried * 0.5
        return ((z - y) ** 2).mean(), z.data

    def carries(self, model):
        return (7, 3), np.dtype(np.float32)

    def evaluate(self, model, final=False):
        x, y, _ = self.on_device(*self.batch(1000))
        return {"loss": float(((model(x) - y) ** 2).mean().item())}

    def baseline(self):
        return "nothing", 1.0


class Stopped(Exception):
    pass


@pytest.fixture
def train(gpu, monkeypatch, tmp_path):
    """train.py with the steps of a device; returns what it noted down, and what is carried."""
    pytest.importorskip("tqdm"), pytest.importorskip("safetensors")
    script = import_module("train")
    monkeypatch.setitem(PRESETS, "lines", Lines)
    monkeypatch.setattr(strict, "xp", SimpleNamespace(array=on_device))

    def run(name, *options, record=None):
        device = "cpu" if record is None else "strict"
        with monkeypatch.context() as patch:
            if record is not None:
                patch.setattr(steps, "begin", lambda step, o: capture.Captured(step, record))
            status = script.main(
                [
                    "lines",
                    "--out",
                    str(tmp_path / name),
                    "--device",
                    device,
                    "--evaluate-every",
                    "4",
                    "--lr",
                    "0.1",
                    *options,
                ]
            )
        if status:
            raise Stopped(status)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], load_checkpoint(tmp_path / name)[0]

    return run


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("options", [(), ("--accumulate", "3"), ("--average", "0.5")])
def test_train_py_notes_down_the_same(train, record, options):
    """Each step with its own loss, norm and rate, though they come later; the same weights, and
    the same state to go on from."""
    right, weights = train("cpu", "--steps", "11", *options)
    found, others = train("gpu", "--steps", "11", *options, record=record)
    assert [line["step"] for line in found] == [line["step"] for line in right]
    for a, b in zip(found, right):
        assert a.keys() == b.keys()
        np.testing.assert_allclose([a[k] for k in b], [b[k] for k in b], rtol=1e-4)
    assert weights.keys() == others.keys() and "carried" in weights
    for name, array in weights.items():
        np.testing.assert_allclose(others[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_train_py_goes_on(train):
    constant = "--decay", "constant"
    right, weights = train("straight", "--steps", "12", *constant, record=False)
    train("resumed", "--steps", "8", *constant, record=False)
    found, others = train("resumed", "--steps", "12", "--resume", *constant, record=False)
    assert found == right
    for name, array in weights.items():
        np.testing.assert_array_equal(others[name], array, err_msg=name)


@pytest.mark.parametrize("record", [True, False])
def test_train_py_notes_down_what_is_under_way_when_it_is_stopped(
    train, tmp_path, monkeypatch, record
):
    def batch(self, step, batch=Lines.batch):
        if step == 5:  # of the sixth step, between two evaluations
            os.kill(os.getpid(), signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(Lines, "batch", batch)
    with pytest.raises(Stopped, match="130"):
        train("run", "--steps", "20", record=record)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [line["step"] for line in map(json.loads, lines) if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_train_py_stops_where_a_step_diverged(train, tmp_path):
    """It is known two steps later, under its own number, and the checkpoint before it stays."""
    options = "--steps", "30", "--lr", "1e25", "--clip", "0", "--warmup", "0"
    said = []
    for name, record in (("cpu", None), ("gpu", True)):
        with pytest.raises(Stopped) as stopped:
            train(name, *options, record=record)
        said.append(str(stopped.value).replace(str(tmp_path / name), "the folder"))
        state = json.loads((tmp_path / name / "checkpoint.json").read_text())["state"]
        assert state["step"] == 0
    assert said[0] == said[1] and "at step " in said[0]


# ---- what is refused


def captured_after(gpu, step, n=2, size=7):
    captured = capture.Captured(step)
    for x, y in batches(n):
        captured(x[:size], y[:size])
    return captured


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

    refused(gpu, copies, r"test_capture.py:\d+, `.*copies from the host.*the batch")


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
    monkeypatch.setattr(reports, "debug", True)
    with pytest.raises(CaptureError, match="debug"):
        captured(*batches(1)[0])
    monkeypatch.setattr(reports, "debug", False)
    captured(*batches(1)[0])
    gpu.device = 1
    with pytest.raises(CaptureError, match="captured on cuda:0, .* current device is cuda:1"):
        captured(*batches(1)[0])


def test_reports_of_kernels_come_with_the_losses(gpu, monkeypatch):
    captured = captured_after(gpu, training(on(gpu, model()))[0], 4)

    def check(xp, device):
        raise IndexError("embedding: id 9")

    monkeypatch.setattr(reports, "check", check)
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


# ---- numbers


def test_too_many_numbers():
    context = CaptureContext(np.zeros(8 * ROOM, np.uint8), live=True)
    for i in range(ROOM):
        assert context.number(lambda: i, "uint64").array == i
    with pytest.raises(CaptureError, match=f"can read {ROOM} numbers"):
        context.number(lambda: 0, "uint64")


@pytest.mark.parametrize("offset", [0, 3, 4, 2**33 + 1])
@pytest.mark.parametrize("plus", [0, 5])
@pytest.mark.parametrize("device", ["cpu", "strict"])
def test_random_words_from_an_offset_on_the_device(offset, plus, device):
    from nanoautograd.backends.philox import words

    memory = to_device(np.zeros(8 * ROOM, np.uint8), device)
    number = plus + CaptureContext(memory, live=True).number(lambda: offset, "uint64")
    for n in (0, 1, 7, 64):
        found = words(memory, n, 2**40 + 7, number)
        right = words(np.zeros(1), n, 2**40 + 7, offset + plus)
        assert backends.to_numpy(found).tolist() == right.tolist() and found.dtype == right.dtype


# ---- real models take such steps: tried on the fake, where waiting is an error


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
        memory = to_device(np.zeros(8 * ROOM, np.uint8), device)
        losses.append([])
        for x, y in data:
            x, y = (to_device(a, device) for a in (x, y))
            with ExitStack() as stack:
                if device == "strict":
                    stack.enter_context(current.using(CaptureContext(memory, live=True)))
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
    monkeypatch.setattr(reports, "reports", REPORTS)
    monkeypatch.setattr(reports, "_of_device", {})
    with emulator.emulated():
        yield gpu


@pytest.mark.skipif(not emulator.available(), reason="needs g++")
@pytest.mark.parametrize("whole", [True, False])
def test_a_gpt_that_is_captured_with_kernels_trains(gpu_with_kernels, monkeypatch, whole):
    """Replays of attention, norms, gelu, dropout, embedding, cross-entropy, clipping and AdamW: the
    losses and weights of NumPy, with a rate that changes and masks that do. whole: whether there
    are all logits at once, or those of 10 of the 24 rows at a time."""
    monkeypatch.setattr(shared, "CHUNK", 10 * 11)
    rng = np.random.default_rng(0)
    data, found = rng.integers(0, 11, (7, 2, 3, 8)), []
    for device in ("cpu", "gpu"):
        net = gpt() if device == "cpu" else on(gpu_with_kernels, gpt())
        optimizer = AdamW(net.parameters(), lr=1e-2)

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
            optimizer.param_groups[0]["lr"] = lr
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


# ---- for real


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

    def test_a_gpt(self):
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

    def test_memory_stays(self):
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
