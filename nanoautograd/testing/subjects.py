"""What a gradient check examines: functions of NumPy arrays, whatever computes behind them.

Each subject has a name and two methods on lists of float64 arrays:

    values(xs)          the results f_k(xs)
    gradients(xs, us)   the gradients of sum_k <u_k, f_k(xs)>, as claimed; None for zero
"""

import functools
import inspect
import sys
from collections.abc import Iterable
from itertools import combinations

import numpy as np

from ..autograd import grad
from ..backends import device_of, is_array, is_float, to_numpy
from ..core.grad_mode import enable_grad, no_grad
from ..core.tensor import Tensor
from ..safety.checks import DEEPEST, check_depth
from .report import GUESSES, GradientError


class CheckRefused(ValueError):
    """The check would prove nothing about this function at this point; the message says why."""


class Differentiated:
    """A function of Tensors: NumPy arrays go in and come out, whatever happens in between."""

    order = 1

    def __init__(self, f, device):
        self.f, self.device = f, device
        self.name = name_of(f)

    def tensors(self, xs, requires_grad):
        return [Tensor(x, device=self.device, requires_grad=requires_grad) for x in xs]

    def call(self, tensors):
        """The floating results, in one list."""
        outs = list(flat(self.f(*tensors)))
        for out in outs:
            if not isinstance(out, Tensor):
                raise CheckRefused(
                    f"{self.name} returned {type(out).__name__} where it was given Tensors, so the "
                    "graph is lost: return Tensors, computed by operations of this package"
                )
        return [out for out in outs if is_float(out.dtype)]

    def values(self, xs):
        with no_grad():
            return [to_numpy(y.data) for y in self.call(self.tensors(xs, False))]

    def gradients(self, xs, us):
        """The gradients of sum_k <u_k, f_k>, as NumPy arrays (None where there is none)."""
        tensors = self.tensors(xs, True)
        with enable_grad():
            outs = self.call(tensors)
        self._unchanged(tensors, xs, "the forward computation")
        connected = [(y, u) for y, u in zip(outs, us) if y.requires_grad]
        if not connected:
            if self.order == 2:
                return [None] * len(xs)  # f is linear: its gradient is a constant
            raise CheckRefused(
                f"the result of {self.name} does not depend on any input: it was computed from "
                "detached values (.detach(), .data, Tensor(...), no_grad) or not from the inputs"
            )
        outs, given = zip(*connected)
        cotangents = [Tensor(u, device=y.device) for y, u in connected]
        first = grad(outs, tensors, cotangents, retain_graph=True, allow_unused=True)
        again = grad(outs, tensors, cotangents, allow_unused=True)
        self._unchanged(tensors, xs, "the backward computation")
        self._unchanged(
            cotangents, given, "the backward computation, which was given it as the cotangent,"
        )
        return [
            None if g is None else self._examined(i, x, g, h)
            for i, (x, g, h) in enumerate(zip(tensors, first, again))
        ]

    def compare_alone(self, xs, us, gs):
        """The gradient of each input, when it is the only one that needs one, must be the same."""
        rounding = 1e-14 * _largest([g for g in gs if g is not None])
        for i, expected in enumerate(gs):
            tensors = self.tensors(xs, False)
            tensors[i].requires_grad = True
            with enable_grad():
                outs = self.call(tensors)
            connected = [
                (y, Tensor(u, device=y.device)) for y, u in zip(outs, us) if y.requires_grad
            ]
            found = None
            if connected:
                outs, cotangents = zip(*connected)
                (found,) = grad(outs, tensors[i], cotangents, allow_unused=True)
            zero = np.zeros_like(xs[i])
            found = zero if found is None else to_numpy(found.data)
            expected = zero if expected is None else expected
            close = 1e-11 * _largest([expected]) + rounding
            if found.shape != expected.shape or np.any(np.abs(found - expected) > close):
                raise self.error(
                    i,
                    "is another one when no other input needs a gradient; what a "
                    "rule leaves out for inputs that need none is wrong",
                    "unknown",
                )

    def _examined(self, i, x, g, again):
        if g.shape != x.shape or g.dtype != x.dtype:
            key = "broadcast" if g.shape != x.shape else "precision"
            raise self.error(
                i,
                f"is {g.dtype} of shape {g.shape}, but the argument is {x.dtype} "
                f"of shape {x.shape}",
                key,
            )
        if g.device != x.device:
            raise self.error(i, f"is on {g.device}, but the argument is on {x.device}", "unknown")
        g, again = to_numpy(g.data), to_numpy(again.data)
        if not np.array_equal(g, again, equal_nan=True):
            raise self.error(
                i,
                "is not the same when the graph is walked a second time: a rule "
                "changes what it was given, or is random",
                "unknown",
            )
        return g

    def _unchanged(self, tensors, xs, by):
        for i, (t, x) in enumerate(zip(tensors, xs)):
            if not np.array_equal(to_numpy(t.data), x):
                raise CheckRefused(
                    f"{self.name}: array {i}, of shape {x.shape}, was changed by "
                    f"{by} so nothing can be compared; compute on a copy"
                )

    def error(self, i, text, guess, **found):
        name = self.names(i + 1)[i]
        return GradientError(
            f"the gradient of {self.name} with respect to argument {i} ({name}) {text}",
            operation=self.name,
            argument=i,
            name=name,
            guess=guess,
            explanation=GUESSES[guess],
            **found,
        )

    def names(self, count):
        """Names of the arguments, as f declares them."""
        try:
            parameters = inspect.signature(self.f).parameters.values()
        except (TypeError, ValueError):
            parameters = ()
        names = []
        for p in parameters:
            if p.kind is p.VAR_POSITIONAL:
                names += [f"{p.name}[{k}]" for k in range(count - len(names))]
            elif p.kind is not p.KEYWORD_ONLY:
                names.append(p.name)
        return (names + [f"x{k}" for k in range(len(names), count)])[:count]


class Gradient(Differentiated):
    """The gradient of f as a function, of f's inputs and cotangents: checked for order 2."""

    order = 2

    def __init__(self, f, device, count):
        super().__init__(f, device)
        self.first, self.count = Differentiated(f, device), count
        self.name = f"the gradient of {self.first.name}"
        self.recorded = True

    def call(self, tensors):
        xs, us = tensors[: self.count], tensors[self.count :]
        if not xs[0].requires_grad:  # plain values are wanted
            xs, recorded = self.first.tensors([x.data for x in xs], True), False
        else:
            recorded = True
        with enable_grad():
            outs = self.first.call(xs)
        outs, us = zip(*[(y, u.to(y.device)) for y, u in zip(outs, us) if y.requires_grad])
        gs = grad(outs, xs, us, create_graph=recorded, allow_unused=True)
        return [
            Tensor(np.zeros(x.shape), device=self.device) if g is None else g
            for x, g in zip(xs, gs)
        ]

    def compare_recorded(self, xs):
        """Gradients under create_graph must be those without, but for rounding."""
        plain = self.values(xs)
        rounding = 1e-14 * _largest([*plain, *xs])
        recorded = [to_numpy(g.data) for g in self.call(self.tensors(xs, True))]
        for i, (a, b) in enumerate(zip(recorded, plain)):
            if a.shape != b.shape or np.any(np.abs(a - b) > 1e-10 * _largest([b]) + rounding):
                raise self.first.error(
                    i,
                    "differs under create_graph=True by "
                    f"{np.abs(a - b).max():.1e}: the rule or the reference "
                    "that is used for higher orders is not the same function",
                    "unknown",
                )

    def names(self, count):
        outs = count - self.count
        return self.first.names(self.count) + [
            "the cotangent" if outs == 1 else f"cotangent {k}" for k in range(outs)
        ]


class ByHand(Differentiated):
    """A function of plain arrays with a gradient written by hand."""

    def __init__(self, f, vjp):
        super().__init__(f, "cpu")
        self.vjp = vjp

    def values(self, xs):
        ys = [np.asarray(y) for y in flat(self.f(*map(np.copy, xs)))]
        return [y for y in ys if y.dtype.kind == "f"]

    def gradients(self, xs, us):
        several = isinstance(self.f(*map(np.copy, xs)), (tuple, list))
        copies, given = list(map(np.copy, xs)), list(map(np.copy, us))
        gs = self.vjp(tuple(given) if several else given[0], *copies)
        for before, after in zip(list(xs) + list(us), copies + given):
            if not np.array_equal(before, after):
                raise CheckRefused(f"{self.name}: the gradient changes what it is given")
        gs = gs if isinstance(gs, (tuple, list)) else (gs,)
        if len(gs) != len(xs):
            raise CheckRefused(
                f"{self.name}: vjp returned {len(gs)} gradients for {len(xs)} "
                "inputs; it is to return one for each (None for zero)"
            )
        return [
            None if g is None else self._shaped(i, x, np.asarray(g))
            for i, (x, g) in enumerate(zip(xs, gs))
        ]

    def _shaped(self, i, x, g):
        if g.shape != x.shape:
            raise self.error(i, f"has shape {g.shape}, but the argument has {x.shape}", "broadcast")
        return g


def _largest(arrays):
    return max((float(np.abs(a).max(initial=0.0)) for a in arrays), default=0.0)


def name_of(f):
    """What to call a function in a message."""
    while isinstance(f, functools.partial):
        f = f.func
    return getattr(f, "__name__", None) or type(f).__name__


def flat(value, deepest=DEEPEST):
    """The leaves of nested tuples, lists and dicts."""
    if isinstance(value, (tuple, list, dict)):
        check_depth(deepest)
        for item in value.values() if isinstance(value, dict) else value:
            yield from flat(item, deepest - 1)
    elif value is not None:
        yield value


# ---- what is refused


def device_for(inputs, backend):
    if backend is not None:
        if not isinstance(backend, str):
            raise TypeError(f"backend is a name, such as 'numpy' or 'cuda'; got {backend!r:.100}")
        return {"numpy": "cpu", "cupy": "cuda"}.get(backend, backend)
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
    return next((device_of(a) for a in arrays if is_array(a)), "cpu")


def accepted(inputs):
    """The inputs as NumPy arrays, or CheckRefused."""
    refuse_foreign("inputs", inputs)
    if is_array(inputs) or isinstance(inputs, Tensor):
        raise CheckRefused(
            "inputs is a sequence with one array for each argument; for a function "
            "of one array x write [x]"
        )
    if not isinstance(inputs, Iterable):
        raise CheckRefused(f"inputs is a sequence of arrays, as [x]; got {inputs!r:.100}")
    inputs = list(inputs)
    for i, x in enumerate(inputs):
        for part in flat(x):
            refuse_foreign(f"input {i}", part)
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
    arrays = [to_numpy(a) if is_array(a) else np.asarray(a) for a in arrays]
    if not arrays:
        raise CheckRefused("there are no inputs to differentiate with respect to")
    for i, a in enumerate(arrays):
        if a.dtype != np.float64:
            advice = (
                f"convert it, x.astype(np.float64); with the 7 digits of {a.dtype} a "
                "difference quotient has 3"
                if a.dtype.kind == "f"
                else "what has no gradient (indices, masks, labels) goes into f, as in "
                "lambda x: nag.take(x, indices)"
            )
            raise CheckRefused(
                f"input {i} is {a.dtype}, and finite differences need float64: {advice}"
            )
        if not np.isfinite(a).all():
            raise CheckRefused(
                f"input {i} holds {a[~np.isfinite(a)][0]}; there is no gradient "
                "where the function has no finite value"
            )
        if _overlaps_itself(a):
            raise CheckRefused(
                f"input {i}, of shape {a.shape} and strides {a.strides}, holds one "
                "number in several entries (a broadcast view?): moving one moves "
                "all. Give a copy, x.copy()"
            )
    for (i, a), (j, b) in combinations(enumerate(arrays), 2):
        if np.may_share_memory(a, b) and np.shares_memory(a, b):
            raise CheckRefused(
                f"inputs {i} and {j} share memory, so they are not two arguments "
                "but one. Give copies, or f(x, x) as a function of one x"
            )
    return [np.array(a) for a in arrays]


def refuse_foreign(what, x):
    """CheckRefused for an array of another library."""
    if isinstance(x, (Tensor, np.generic)) or is_array(x):
        return
    if any(hasattr(x, name) for name in ARRAY_INTERFACES):
        raise CheckRefused(
            f"{what} is a {_full_name(type(x))}: gradcheck calls f with Tensors of this package "
            "and differentiates what f does with these, so derivatives that are written for "
            "another library would not be looked at. Give NumPy arrays; a gradient from elsewhere "
            "goes into vjp, as a function from arrays to arrays"
        )


def refuse_foreign_function(f):
    """CheckRefused for a function that is another library's, and brings its derivative with it."""
    while isinstance(f, functools.partial):
        f = f.func
    for owner in (f, getattr(f, "__self__", None)):
        for cls in owner.__mro__ if isinstance(owner, type) else type(owner).__mro__:
            library = cls.__module__.partition(".")[0]
            if library in AUTOGRADS:
                raise CheckRefused(_foreign(f"{name_of(f)} is", library, _full_name(cls)))


def refuse_foreign_calls(subject, xs):
    """CheckRefused if the subject, called at xs, calls a torch.autograd.Function. That computes on
    our Tensors, too, and our rules are used, not the one that it defines."""
    if "torch" not in sys.modules:
        return
    found = []

    def watch(frame, event, _):
        if event == "call" and frame.f_globals.get("__name__") == "torch.autograd.function":
            found.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        subject.values(xs)
    finally:
        sys.setprofile(before)
    if found:
        raise CheckRefused(_foreign(f"{subject.name} calls one that is", "torch", found[0]))


def _foreign(what, library, name):
    return (
        f"{what} {library}'s ({name}): the derivative that it defines is {library}'s to call, and "
        "would not be looked at. Give it as vjp, a function from arrays to arrays"
    )


ARRAY_INTERFACES = "__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__"
AUTOGRADS = {"torch", "jax", "jaxlib", "tensorflow", "mygrad"}


def _full_name(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def _overlaps_itself(a):
    if a.size < 2:
        return False
    places = sum(
        (
            np.arange(n).reshape([-1] + [1] * (a.ndim - 1 - k)) * stride
            for k, (n, stride) in enumerate(zip(a.shape, a.strides))
        ),
        np.int64(0),
    )
    return np.unique(places).size < a.size
