"""A GPU made of NumPy arrays, which does all as late as it may, and trainings to capture on it."""

import ctypes
from contextlib import contextmanager

import numpy as np

from nanoautograd import nn
from nanoautograd.kernels.cuda.runtime import capture
from nanoautograd.optim import SGD, clip_grad_norm_


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


def on(gpu, model):
    for p in model.parameters():
        p.data = on_device(p.data)
    return model


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


def captured_after(gpu, step, n=2, size=7):
    captured = capture.Captured(step)
    for x, y in batches(n):
        captured(x[:size], y[:size])
    return captured
