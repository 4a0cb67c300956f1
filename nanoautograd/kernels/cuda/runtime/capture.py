"""A training step as one CUDA graph: recorded once, and then replayed.

On a GPU a step is hundreds of small kernels, and to launch one takes 10 µs of Python, often longer
than it runs. A graph holds them all, with their arguments, and is launched as one.

    def step(x, y):                             # x, y: arrays on the device
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = nag.cuda.capture(step)
    for x, y in batches:                        # of one shape; on the host, or on the device
        step(x, y)                              # waits only if AHEAD steps are under way
        losses += step.results()                # of the steps that have ended
    losses += step.results(wait=True)

The first calls compute the step as it is written: kernels are compiled, the optimiser makes its
state. The next one records: the kernels are noted down, not run. Then, and at each later call, the
graph is launched. All calls are steps of the same training, and give what the step itself would.

What is fixed. A replay runs the same kernels on the same addresses. So

    - the memory of all that the step makes comes from a pool of its own, which lives as long as the
      graph and serves nobody else;
    - the batch is copied to where the recorded step reads it;
    - what changes from step to step is in the device's memory, where kernels read it and move it
      on: the learning rate and the count of steps (optim/on_device.py), the offset of a dropout's
      random numbers (nn/counter.py);
    - what modules and optimisers consist of (modes, numbers among their attributes, parameters and
      whether they learn) is looked at before each replay, which is refused if it has changed.

Whatever else Python computes in the step, a counter, a number of NumPy's, the max_norm of clipping,
stays what it was while the step was recorded: nobody can see that it would change. And what is kept
from step to step, other than by an optimiser, must be written in place: after `state[...] = new`
the next replay finds it; after `state = new` it would read the old one, whose memory may be
another's.
A recording that was refused stays refused.

How the batch arrives. It is written into pinned memory, which the GPU reads by itself; from there a
stream of its own copies it to a slot on the device, while the step before is computed; and
from there it goes to where the step reads it. There are AHEAD slots, so the host is at most
so many steps ahead. What the step returns comes back in the same way: copied to pinned memory
behind it, and read when its event is over. With record=False a step does all that, but is computed
as it is written at every call, and its batches may have any shapes.

(CUDA C++ Programming Guide, release 13: "Creating a Graph Using Stream Capture"; the private pool
as in PyTorch's CUDAGraph.)
"""

import gc
import traceback
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ....backends import array_namespace, is_array
from ....backends.memory import explain_full
from ....core.tensor import Tensor, wrap
from ....custom_vjp import MANUAL
from ....interface.array_interface import array_of
from .. import _state
from . import device_assertions
from .capture_context import CaptureContext, CaptureError, current
from .precision import precision

__all__ = ["Captured", "CaptureError"]

WARM_UP = 2  # calls before the one that records
AHEAD = 2  # steps that are under way while the host goes on
MOST = 8  # numbers that a step can return
ALIGN = 256  # bytes: where an array of the batch begins


class Captured:
    """What `nag.cuda.capture` returns."""

    def __init__(self, step, record=True):
        _check_forms(record)
        self.step, self.record, self.count = step, record, 0
        self._cupy = self._graph = self._context = None
        self._layout = self._are_tensors = None
        self._known, self._results, self._refused = [], [], None

    def __call__(self, *batch):
        """One step. batch: the arrays (or Tensors) that the step takes, of the shapes and dtypes of
        the first call. Returns nothing. Raises CaptureError where a replay would not be what the
        step is now, and IndexError where a kernel of an earlier step met an index out of range."""
        if self._refused:
            raise self._refused
        _check_forms(self.record)
        are_tensors, batch = [isinstance(a, Tensor) for a in batch], [array_of(a) for a in batch]
        if (
            self._layout is None
            or not self.record
            and ((_layout(batch), are_tensors) != (self._layout, self._are_tensors))
        ):
            self._begin(batch, are_tensors)
        self._check(batch)
        if self._cupy.cuda.runtime.getDevice() != self._device:
            raise CaptureError(
                f"the step was captured on cuda:{self._device}, and the current "
                f"device is cuda:{self._cupy.cuda.runtime.getDevice()}"
            )
        slot = self._slots[self.count % AHEAD]
        self._take_result(slot)
        if not self.record:
            self._send(slot, batch)
            self._returned = self._checked_results(self.step(*self._arguments))
        elif self.count < WARM_UP:
            self._send(slot, batch)
            self._returned = self._warm_up()
        else:
            if self._graph is None:
                self._record()
            else:
                self._context.check()
                for t, g in self._gradients:
                    if t.grad is not g:  # it was forgotten: the replay computes it again
                        t.grad = g
            self._send(slot, batch)
            self._graph.launch()
        self._fetch(slot)
        self.count += 1
        if device_assertions.debug:
            self._take_result(slot)

    def results(self, wait=False):
        """What has arrived since the last call of what the steps returned, oldest first: a Python
        float for each step, or a tuple of them; with `wait`, of all steps that were begun. Raises
        IndexError where a kernel met an index out of range."""
        for i in range(AHEAD):
            slot = self._slots[(self.count + i) % AHEAD] if self._cupy else None
            if slot and slot.returned and not wait and not slot.ended.done:
                break
            if slot:
                self._take_result(slot)
        arrived, self._results = self._results, []
        return arrived

    # ---- the first call, and where not recorded those of other batches

    def _begin(self, batch, are_tensors):
        """Arranges for batches like this one. are_tensors: which of its arrays are Tensors to the
        step."""
        for a in batch:
            if not is_array(a):
                raise CaptureError(
                    "nag.cuda.capture moves arrays and Tensors to the step, and "
                    "other arguments would stay what they were; got "
                    f"{type(a).__name__}"
                )
        layout, begins, size = _layout(batch), [], 0
        for shape, dtype in layout:
            begins.append(size)
            size += _aligned(int(np.prod(shape)) * dtype.itemsize)
        size = max(size, ALIGN)  # a step may take nothing
        if self._cupy is None or size > self._bytes.nbytes:
            self._make_slots(size if self.record else _aligned(size + size // 4))
        inputs = [_view(self._bytes, begin, *s) for begin, s in zip(begins, layout)]
        self._arguments = [wrap(a) if is_one else a for a, is_one in zip(inputs, are_tensors)]
        self._inputs, self._begins, self._size = inputs, begins, size
        self._layout, self._are_tensors = layout, are_tensors

    def _make_slots(self, size):
        """Of so many bytes for a batch. Where memory is lacking, all is as before."""
        cupy = self._cupy or _cupy()
        if self._cupy:
            self._results = self.results(wait=True)  # what is here is in use
        device, copying = cupy.cuda.runtime.getDevice(), cupy.cuda.Stream(non_blocking=True)
        try:
            memory = cupy.zeros(size, dtype=np.uint8)  # what the step reads
            slots = [_Slot(cupy, size) for _ in range(AHEAD)]
        except MemoryError as error:
            explain_full(error)
            raise
        device_assertions.assertions(cupy, f"cuda:{device}")
        self._bytes, self._slots = memory, slots
        self._device, self._copying, self._cupy = device, copying, cupy

    def _check(self, batch):
        given = _layout(batch)
        if given != self._layout:
            expected, got = (
                ", ".join(f"{s[0]} {s[1]}" if type(s) is tuple else s for s in part)
                for part in (self._layout, given)
            )
            raise CaptureError(
                f"a captured step takes the shapes and dtypes of its first call, "
                f"({expected}); got ({got}). Call the step itself for a batch of "
                "another size, or capture another"
            )

    # ---- a step, not recorded and recorded

    def _warm_up(self):
        """The step, computed as it is written."""
        context = CaptureContext()
        with current.using(context), self._without_gradients():
            returned = self._checked_results(self.step(*self._arguments))
        self._known = context.tensors()
        return returned

    def _record(self):
        cupy = self._cupy
        if device_assertions.debug:
            raise CaptureError(
                "with nag.cuda.debug(True) the host waits after each operation; a "
                "step is recorded without"
            )
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pool = cupy.cuda.MemoryPool()
        context = CaptureContext(is_recording=True)
        context.guard("nag.cuda.matmul_precision", precision)
        context.guard("nag.cuda.use_kernels", lambda: _state["on"])
        collecting = gc.isenabled()
        gc.disable()  # what it finds may be anything, on any stream
        try:
            with (
                current.using(context),
                self._without_gradients(),
                cupy.cuda.using_allocator(self._pool.malloc),
                self._stream,
            ):
                self._stream.begin_capture()
                try:
                    returned = self._checked_results(self.step(*self._arguments))
                except BaseException as error:
                    self._break_off()
                    self._refused = _explained(error)
                    raise self._refused from error
                try:
                    graph = self._stream.end_capture()
                except RuntimeError as error:
                    self._refused = _explained(error)
                    raise self._refused from error
        finally:
            if collecting:
                gc.enable()
        self._graph, self._context, self._returned = graph, context, returned
        self._gradients = [(t, t.grad) for t in context.tensors()]

    def _break_off(self):
        """Ends a recording that failed: the stream is as before."""
        try:
            self._stream.end_capture()
        except RuntimeError:  # that it failed is known
            pass

    @contextmanager
    def _without_gradients(self):
        """In here the gradients of earlier steps cannot be read: a replay would add to one that is
        gone. Those that are left are put back."""
        before = [(t, t.grad) for t in self._known if t.requires_grad and t.is_leaf]
        for t, g in before:
            t._leaf.grad = None if g is None else _Old()
        failed = True
        try:
            yield
            failed = False
        finally:
            for t, g in before:
                if failed or type(t._leaf.grad) is _Old:  # what was only recorded is nothing
                    t._leaf.grad = g

    def _checked_results(self, returned):
        """What the step returned, as arrays of one number, and whether it was a tuple."""
        is_tuple = type(returned) is tuple
        arrays = [array_of(y) for y in (returned if is_tuple else (returned,))]
        xp = array_namespace(self._bytes)
        if not 0 < len(arrays) <= MOST or not all(
            is_array(y) and array_namespace(y) is xp and y.size == 1 and y.dtype.kind != "c"
            for y in arrays
        ):
            raise CaptureError(
                "nag.cuda.capture: a step returns its loss, a Tensor of one number "
                f"on the device, or a tuple of up to {MOST} of them; got "
                f"{', '.join(map(_described, arrays)) or 'an empty one'}"
            )
        return arrays, is_tuple

    # ---- to the device and back

    def _send(self, slot, batch):
        """The batch to where the step reads it. The slot is free, for its last step has ended
        (`_take_result`). It is copied in one piece: where arrays of the device will lie is nothing
        yet."""
        stream = self._cupy.cuda.get_current_stream()
        for begin, (shape, dtype), a in zip(self._begins, self._layout, batch):
            if array_namespace(a) is np:
                _view(slot.host, begin, shape, dtype)[...] = a
        slot.device.data.copy_from_host_async(slot.pinned.ptr, self._size, self._copying)
        slot.sent.record(self._copying)
        stream.wait_event(slot.sent)
        self._bytes.data.copy_from_device_async(slot.device.data, self._size, stream)
        for there, a in zip(self._inputs, batch):
            if array_namespace(a) is not np:  # it is on the device
                there[...] = a

    def _fetch(self, slot):
        """What the step returned, behind it."""
        stream, (arrays, _) = self._cupy.cuda.get_current_stream(), self._returned
        at = slot.pinned.ptr + slot.host.nbytes
        for i, y in enumerate(arrays):
            y.data.copy_to_host_async(at + 8 * i, y.dtype.itemsize, stream)
        slot.ended.record(stream)
        slot.returned = self._returned

    def _take_result(self, slot):
        """Waits for the step that used a slot before, and notes down what it returned."""
        if not slot.returned:
            return
        (arrays, is_tuple), slot.returned = slot.returned, None
        slot.ended.synchronize()
        device_assertions.check(self._cupy, f"cuda:{self._device}")
        numbers = tuple(
            float(slot.back[8 * i : 8 * i + 8].view(y.dtype)[0]) for i, y in enumerate(arrays)
        )
        self._results.append(numbers if is_tuple else numbers[0])


class _Slot:
    """What one step that is under way occupies. host: pinned memory of `size` bytes, the batch;
    device: where they wait, once `sent` is over; back: pinned memory, where what the
    step returns has arrived once `ended` is over. returned: what is on its way there, the arrays
    and whether they are a tuple, or None."""

    def __init__(self, cupy, size):
        self.pinned = cupy.cuda.alloc_pinned_memory(size + 8 * MOST)
        everything = np.frombuffer(self.pinned, np.uint8, size + 8 * MOST)
        self.host, self.back = everything[:size], everything[size:]
        self.host[:] = 0
        self.device = cupy.empty(size, dtype=np.uint8)
        self.sent = cupy.cuda.Event(disable_timing=True)
        self.ended = cupy.cuda.Event(disable_timing=True)
        self.returned = None


class _Old:
    """In the place of a gradient of an earlier step."""

    def __getattr__(self, name):
        raise CaptureError(
            "the step uses a gradient of the step before; call zero_grad() in it, before backward()"
        )


def _check_forms(record):
    """Raises CaptureError where operations are to be computed in another form than kernels."""
    if record and MANUAL.get():
        raise CaptureError(
            "a captured step replays the kernels that it was recorded with, and within "
            "nag.use_manual() no operation is computed by kernels: call the step itself here, or "
            "capture it with record=False"
        )


def _layout(batch):
    """[(shape, dtype), ...] of its arrays; of what is none, the name of its type."""
    return [(a.shape, np.dtype(a.dtype)) if is_array(a) else type(a).__name__ for a in batch]


def _aligned(n):
    """n bytes, or a few more."""
    return -(-n // ALIGN) * ALIGN


def _view(memory, begin, shape, dtype):
    """A part of some bytes as an array."""
    n = int(np.prod(shape)) * dtype.itemsize
    return memory[begin : begin + n].view(dtype).reshape(shape)


def _cupy():
    import cupy

    return cupy


def _described(a):
    if is_array(a) or isinstance(a, Tensor):
        return f"an array of shape {a.shape}, of {array_namespace(a).__name__}"
    return type(a).__name__


# ---- what cannot be recorded

REASONS = (
    (
        "currently unsupported",
        "CuPy computes this by a library that it lets nobody record, as for "
        "einsum, tensordot, vdot or products with vectors. Products by `@` and nag.matmul can be; "
        "so can operations with kernels (is nag.cuda.use_kernels on?)",
    ),
    (
        "H2D",
        "it copies from the host, a list or an array of NumPy, or joins more than 8 small "
        "arrays, of which CuPy copies a list. Give arrays as part of the batch",
    ),
    (
        "out of memory",
        "the memory of the GPU is full. A recorded step has memory of its own, "
        "beside what the steps before it left: take a smaller batch, or call "
        "nag.cuda.free_memory() before",
    ),
    (
        "",
        "it waits for the GPU: .item(), float(), .numpy(), `if tensor:`, print, a boolean mask "
        "as an index, or an operation that looks at its indices (is nag.cuda.use_kernels on?)",
    ),
)
WAITED = "StreamCapture", "capturing", "D2H", "H2D", "currently unsupported", "out of memory"


def _explained(error):
    """A CaptureError that names the line and the reason, if it is about recording; else the
    error."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, CaptureError) or not any(word.lower() in text.lower() for word in WAITED):
        return error
    reason = next(reason for word, reason in REASONS if word.lower() in text.lower())
    return CaptureError(f"the step cannot be recorded: {_where(error)}{reason}. ({text})")


def _where(error):
    """The last line on the way to the error that is neither ours nor CuPy's."""
    package = Path(__file__).parents[3]
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if package not in Path(f.filename).parents and "cupy" not in Path(f.filename).parts
    ]
    return "".join(f"in {f.filename}:{f.lineno}, `{f.line}`, " for f in frames[-1:])
