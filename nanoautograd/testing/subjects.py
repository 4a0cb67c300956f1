"""What a gradient check examines: functions of NumPy arrays, whatever computes behind them.

Each subject has a name and two methods on lists of float64 arrays:

    values(xs)          the results f_k(xs)
    gradients(xs, us)   the gradients of sum_k <u_k, f_k(xs)>, as claimed; None for zero. With a
                        third list, f is called there in between

`Differentiated` is a function of tensors that record themselves. What it asks of the library that
these are of stands in `Library`, which is `Ours`, or another in frameworks.py.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import fields, is_dataclass
from itertools import combinations
from types import FrameType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..autograd import grad
from ..backends import device_of, is_array, is_float, to_numpy
from ..core.backward import topological_order
from ..core.grad_mode import enable_grad, no_grad
from ..core.tensor import Tensor
from ..custom_vjp import CustomVJP
from ..safety.checks import is_ours
from ..safety.data import DEEPEST, check_depth
from ..transforms import jvp
from ..typing import Shape
from .budget import Calls
from .report import GUESSES, GradientError, plural, shape_guess

Array = NDArray[np.float64]
Gradients = Sequence[Array | None]  # one for each argument; None for zero

LOW = "bfloat16", "float16", "float32"  # checked beside a reference, low_precision.py


class CheckRefused(ValueError):
    """The check would prove nothing about this function at this point; the message says why."""


class NoValue(CheckRefused):
    """The function has no finite value at this point."""


class Custom(NamedTuple):
    """A call of a custom VJP, with arrays."""

    operation: CustomVJP
    inputs: list[Any]
    options: dict[str, Any]


class Library(Protocol):
    """What a check asks of the library whose tensors (written Any) a function computes with."""

    of: str
    detached: str  # what leaves the graph

    def recording(self) -> AbstractContextManager[object]: ...
    def constant(self) -> AbstractContextManager[object]: ...
    def is_tensor(self, y: Any) -> bool: ...
    def is_float(self, y: Any) -> bool: ...

    def tensor(self, x: Array, like: Any = None) -> Any:
        """A leaf that holds a copy of a NumPy array, of the kind of the tensor `like`."""
        ...

    def numpy(self, t: Any) -> Array:
        """The value of a tensor as a NumPy array of real numbers."""
        ...

    def grad(
        self, outs: Any, tensors: Sequence[Any], cotangents: Sequence[Any], **options: Any
    ) -> list[Any]:
        """[gradient or None] of the tensors. options: retain_graph, create_graph."""
        ...

    def jvp(self, f: Callable[..., Any], tensors: Sequence[Any], tangents: Sequence[Any]) -> Any:
        """The tangents of the results of f."""
        ...

    def other_leaves(self, outs: Any, tensors: Sequence[Any]) -> list[Shape]:
        """The shapes of the leaves that the results depend on, beside the tensors."""
        ...

    def custom(self, outs: Any) -> list[Custom]:
        """The calls of custom VJPs that the results depend on, but for those of this package."""
        ...


class Ours:
    """The Library that this package is, on a device."""

    of = "this package"
    recording, constant = enable_grad, no_grad
    detached = ".detach(), .data, Tensor(...), no_grad"

    def __init__(self, device: str) -> None:
        self.device = device

    def tensor(self, x: Any, like: Any = None) -> Any:
        if like is None:
            return Tensor(x, device=self.device)
        return Tensor(x, device=like.device, dtype=like.dtype)

    def numpy(self, t: Any) -> Array:
        return to_numpy(t.data)

    def is_tensor(self, y: Any) -> bool:
        return isinstance(y, Tensor)

    def is_float(self, y: Any) -> bool:
        return is_float(y.dtype)

    def grad(
        self, outs: list[Any], tensors: Sequence[Any], cotangents: Sequence[Any], **options: Any
    ) -> list[Any]:
        return list(grad(outs, tensors, cotangents, allow_unused=True, **options))

    def jvp(self, f: Callable[..., Any], tensors: Sequence[Any], tangents: Sequence[Any]) -> Any:
        return list(jvp(f, tuple(tensors), tuple(tangents))[1])

    def other_leaves(self, outs: list[Any], tensors: Sequence[Any]) -> list[Shape]:
        own = {t._edge[0] for t in tensors}
        nodes = topological_order([y._edge for y in outs])
        return [node.outputs[0][0] for node in nodes if not node.parents and node not in own]

    def custom(self, outs: Sequence[Any]) -> list[Custom]:
        found = []
        for node in topological_order([y._edge for y in outs]):
            f = getattr(node, "operation", None)  # a leaf has none
            if isinstance(f, CustomVJP) and not is_ours(inspect.unwrap(f.backward)):
                saved = node.saved[0][0]
                found.append(Custom(f, [x for x, *_ in saved.inputs], saved.options))
        return found


class Differentiated:
    """A function of tensors: NumPy arrays go in and come out, whatever happens in between. likes:
    for each input a tensor of its kind, or None."""

    library: Library  # (JAX has none: JaxFunction calls it directly)
    order = 1
    begun: Gradients | None = None  # those of the first call; see `begin`
    detached: Sequence[int] = ()  # the results that require no gradient, where others do
    rounding = 1e-11  # by which two ways to one gradient may differ, relative to its largest entry
    doubt: GradientError | None = None  # raised where differences see no mistake
    # The results of the call whose gradient was the last to be computed.
    recorded: list[Array] | None = None
    custom: Sequence[Custom] = ()  # the calls of custom VJPs within that call
    others: Sequence[Shape] = ()  # the shapes of leaves that they depend on, and that are no inputs

    def __init__(self, f: Callable[..., Any], library: Any, likes: list[Any] | None = None) -> None:
        self.f, self.library, self.likes = f, library, likes
        self.name = name_of(f)
        self.calls = Calls()  # without an end

    def evaluate(self, *args: Any) -> Any:
        """f(*args), which counts. Raises Spent where no more calls may be made."""
        self.calls.one()
        return self.f(*args)

    def tensors(self, xs: list[Array], requires_grad: bool) -> list[Any]:
        tensors = [self.library.tensor(*pair) for pair in zip(xs, self.likes or [None] * len(xs))]
        for t in tensors:
            t.requires_grad = requires_grad
        return tensors

    def cotangents(self, outs: Sequence[Any], us: Sequence[Array]) -> list[Any]:
        return [self.library.tensor(u, y) for y, u in zip(outs, us)]

    def of_gradient(self, xs: list[Array], us: list[Array]) -> Differentiated:
        """The gradients as a subject, of inputs and cotangents: for order 2."""
        gradient = Gradient(self, xs)
        gradient.compare_recorded(xs + us)
        return gradient

    def call(self, tensors: Sequence[Any]) -> list[Any]:
        """The floating results, in one list."""
        outs, library = list(flat(self.evaluate(*tensors))), self.library
        for out in outs:
            if not library.is_tensor(out):
                raise CheckRefused(
                    f"{self.name} returned {type(out).__name__} where it was given Tensors, so the "
                    f"graph is lost: return Tensors, computed by operations of {library.of}"
                )
        return [out for out in outs if library.is_float(out)]

    def values(self, xs: list[Array]) -> list[Array]:
        with self.library.constant():
            return [self.library.numpy(y) for y in self.call(self.tensors(xs, False))]

    def gradients(
        self, xs: list[Array], us: list[Array], elsewhere: list[Array] | None = None
    ) -> Gradients:
        """The gradients of sum_k <u_k, f_k>, as NumPy arrays (None where there is none)."""
        tensors, library = self.tensors(xs, True), self.library
        xs = [np.array(library.numpy(t)) for t in tensors]  # copies: a function may write into them
        with library.recording():
            outs = self.call(tensors)
        self._unchanged(tensors, xs)
        self.recorded = [np.array(library.numpy(y)) for y in outs]
        connected = [(y, u) for y, u in zip(outs, us) if y.requires_grad]
        if not connected:
            if self.order == 2:
                return [None] * len(xs)  # f is linear: its gradient is a constant
            raise CheckRefused(
                f"the result of {self.name} does not depend on any input: it was computed from "
                f"detached values ({library.detached}) or not from the inputs"
            )
        self.detached = [k for k, y in enumerate(outs) if not y.requires_grad]
        outs, given = map(list, zip(*connected))
        self.others = library.other_leaves(outs, tensors)
        self.custom = library.custom(outs)
        cotangents = self.cotangents(outs, given)
        given = [np.array(library.numpy(u)) for u in cotangents]
        self.disturb(xs, elsewhere)
        first = library.grad(outs, tensors, cotangents, retain_graph=True)
        self._unchanged(tensors, xs, "input")
        self._unchanged(cotangents, given, "cotangent")
        gs = [
            None if g is None else self._examined(i, x, g)
            for i, (x, g) in enumerate(zip(tensors, first))
        ]

        def pull(us: list[Array]) -> Gradients:
            gs = library.grad(outs, tensors, self.cotangents(outs, us), retain_graph=True)
            return [None if g is None else library.numpy(g) for g in gs]

        self.compare_negated(xs, gs, [u for _, u in connected], pull)
        return gs

    def begin(self, xs: list[Array]) -> None:
        """Calls the function and its rules elsewhere, before all else: what they keep from a first
        call, whatever they know it by, is then not that of the point which is checked."""
        for there in elsewhere(xs):
            with np.errstate(all="ignore"), suppress(Exception):  # which may be no place for f
                self.begun = self.once(there)
                return

    def once(self, xs: list[Array], us: list[Array] | None = None) -> Gradients:
        """The gradients, for cotangents us or of ones, and no more than that."""
        tensors, library = self.tensors(xs, True), self.library
        with library.recording():
            outs = self.call(tensors)
        us = [np.ones(library.numpy(y).shape) for y in outs] if us is None else us
        outs, us = zip(*[(y, u) for y, u in zip(outs, us) if y.requires_grad])
        gs = library.grad(outs, tensors, self.cotangents(outs, us))
        return [None if g is None else library.numpy(g) for g in gs]

    def disturb(self, xs: list[Array], elsewhere: list[Array] | None = None) -> None:
        """Calls the function at another point, and keeps its results: what the function keeps
        itself, other than with the call, is then that of another call."""
        self.disturbed = None
        for there in (elsewhere, [x * (1 - 2**-10) for x in xs]):
            if there is not None and self.disturbed is None:
                with np.errstate(all="ignore"), suppress(Exception):  # which may be no place for f
                    self.disturbed = self.values(there)

    def compare_layouts(self, xs: list[Array], us: list[Array], gs: Gradients) -> None:
        """Gradients do not depend on how inputs and cotangents lie in memory."""

    def jvp(self, xs: list[Array], vs: list[Array]) -> list[Array]:
        """The tangents of the results along vs, as forward mode gives them."""
        tangents = [self.library.tensor(v, t) for v, t in zip(vs, self.tensors(xs, False))]
        dys = self.library.jvp(lambda *ts: tuple(self.call(ts)), self.tensors(xs, False), tangents)
        return [self.library.numpy(dy) for dy in dys]

    def compare_alone(self, xs: list[Array], us: list[Array], gs: Gradients) -> None:
        """The gradient of each input, when it is the only one that needs one, must be the same."""
        rounding = 1e-3 * self.rounding * _largest([g for g in gs if g is not None])
        for i, expected in enumerate(gs):
            tensors = self.tensors(xs, False)
            tensors[i].requires_grad = True
            with self.library.recording():
                outs = self.call(tensors)
            connected = [(y, u) for y, u in zip(outs, us) if y.requires_grad]
            found = None
            if connected:
                outs, given = zip(*connected)
                (found,) = self.library.grad(outs, [tensors[i]], self.cotangents(outs, given))
            zero = np.zeros_like(xs[i])
            found = zero if found is None else self.library.numpy(found)
            expected = zero if expected is None else expected
            close = self.rounding * _largest([expected]) + rounding
            same = found.shape == expected.shape
            off = found - expected if same else np.full(expected.shape, np.inf)
            if np.any(np.abs(off) > close) and not self.is_rounding(i, xs, us, off):
                raise self.error(
                    i,
                    "is another one when no other input needs a gradient; what a "
                    "rule leaves out for inputs that need none is wrong",
                    "unknown",
                )

    def _examined(self, i: int, x: Any, g: Any) -> Array:
        if g.shape != x.shape or g.dtype != x.dtype:
            wrong_shape = g.shape != x.shape
            key = shape_guess(tuple(g.shape), tuple(x.shape)) if wrong_shape else "precision"
            raise self.error(
                i,
                f"is {g.dtype} of shape {g.shape}, but the argument is {x.dtype} "
                f"of shape {x.shape}",
                key,
            )
        if g.device != x.device:
            raise self.error(i, f"is on {g.device}, but the argument is on {x.device}", "unknown")
        return self.library.numpy(g)

    def compare_negated(
        self,
        xs: list[Array],
        gs: Gradients,
        us: list[Array],
        pull: Callable[[list[Array]], Gradients],
    ) -> None:
        """A second call of the rules, for minus the cotangents, gives minus the gradients: to the
        last digit, as rounding is symmetric. pull: the gradients for cotangents."""
        minus = [-u for u in us]
        negated, again = filled(xs, pull(minus)), None
        for i, (g, h) in enumerate(zip(filled(xs, gs), negated)):
            if alike(g, -h):
                continue
            again = again or filled(xs, pull(minus))
            if not alike(h, again[i]):
                raise self.error(
                    i,
                    "is not the same when it is computed a second time: a rule changes what it was "
                    "given, keeps something from an earlier call or adds to it, or is random",
                    "unknown",
                )
            text = "is not linear in the cotangent: for minus that it is not minus itself"
            self.doubt = self.error(i, text, "unknown")

    def compare(
        self, xs: list[Array], us: list[Array], expected: Gradients, found: Gradients, text: str
    ) -> None:
        """Raises the error that says `text` unless two ways give the same gradients at xs, us."""
        for i, (a, b) in enumerate(zip(filled(xs, expected), filled(xs, found))):
            if a.shape != b.shape or not (
                alike(a, b, self.rounding) or self.is_rounding(i, xs, us, a - b)
            ):
                raise self.error(i, text, "unknown")

    def is_rounding(self, i: int, xs: list[Array], us: list[Array], off: Array) -> bool:
        """Does gradient i jump by as much between points that are some roundings apart? It does
        where its terms cancel, as those of a normalisation of two numbers."""
        step = self.rounding / 1000  # some roundings
        moved = [[x * (1 + step * k) for x in xs] for k in range(1, 7)]
        near = np.stack([filled(xs, self.once(there, us))[i] for there in moved])
        jumps = np.abs(near[2:] - 2 * near[1:-1] + near[:-2])
        return bool(np.abs(off).max(initial=0.0) <= 3 * jumps.max(initial=0.0))

    def _unchanged(self, tensors: Sequence[Any], xs: list[Array], read_backwards: str = "") -> None:
        """Refuses a function that changed an array; a rule that did is wrong, as others read it."""
        for i, (t, x) in enumerate(zip(tensors, xs)):
            if np.array_equal(self.library.numpy(t), x):
                continue
            if read_backwards:
                raise GradientError(
                    f"the backward computation of {self.name} changed {read_backwards} {i}, of "
                    f"shape {x.shape}, which other rules may read after it; compute on a copy",
                    operation=self.name,
                )
            raise CheckRefused(
                f"{self.name}: input {i}, of shape {x.shape}, was changed by the forward "
                "computation, so nothing can be compared; compute on a copy"
            )

    def error(self, i: int, text: str, guess: str, **found: Any) -> GradientError:
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

    def names(self, count: int) -> list[str]:
        """Names of the arguments, as f declares them."""
        if hasattr(self.f, "__arguments__"):  # of gradcheck_module
            return self.f.__arguments__
        if isinstance(self.f, np.ufunc):  # which says so itself from NumPy 2.4 on
            return ["x"] if self.f.nin == 1 else [f"x{k + 1}" for k in range(count)]
        try:
            parameters = list(inspect.signature(_declared(self.f)).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        if parameters and parameters[0].name == "ctx":  # of PyTorch
            del parameters[0]
        names: list[str] = []
        for p in parameters:
            if p.kind is p.VAR_POSITIONAL:
                names += [f"{p.name}[{k}]" for k in range(count - len(names))]
            elif p.kind is not p.KEYWORD_ONLY:
                names.append(p.name)
        return (names + [f"x{k}" for k in range(len(names), count)])[:count]


class Gradient(Differentiated):
    """The gradient of f as a function, of f's inputs and cotangents: checked for order 2."""

    order = 2

    def __init__(self, first: Differentiated, xs: list[Array]) -> None:
        with first.library.constant():
            outs = first.call(first.tensors(xs, False))
        likes = [*(first.likes or [None] * len(xs)), *outs]
        super().__init__(first.f, first.library, likes)
        self.first, self.count, self.calls = first, len(xs), first.calls
        self.name = f"the gradient of {first.name}"

    def call(self, tensors: Sequence[Any]) -> list[Any]:
        xs, us = tensors[: self.count], tensors[self.count :]
        recorded = xs[0].requires_grad
        if not recorded:  # plain values are wanted
            xs = self.first.tensors([self.library.numpy(x) for x in xs], True)
        with self.library.recording():
            outs = self.first.call(xs)
        outs, us = zip(*[(y, u) for y, u in zip(outs, us) if y.requires_grad])
        gs = self.library.grad(outs, xs, us, create_graph=recorded)
        zeros = [self.library.tensor(0 * self.library.numpy(x), x) for x in xs]
        return [zero if g is None else g for zero, g in zip(zeros, gs)]

    def compare_recorded(self, xs: list[Array]) -> None:
        """Gradients under create_graph must be those without, but for rounding."""
        plain = self.values(xs)
        rounding = 1e-14 * _largest([*plain, *xs])
        recorded = [self.library.numpy(g) for g in self.call(self.tensors(xs, True))]
        for i, (a, b) in enumerate(zip(recorded, plain)):
            if a.shape != b.shape or np.any(np.abs(a - b) > 1e-10 * _largest([b]) + rounding):
                raise self.first.error(
                    i,
                    "differs under create_graph=True by "
                    f"{np.abs(a - b).max():.1e}: the rule or the reference "
                    "that is used for higher orders is not the same function",
                    "unknown",
                )

    def names(self, count: int) -> list[str]:
        outs = count - self.count
        return self.first.names(self.count) + [
            "the cotangent" if outs == 1 else f"cotangent {k}" for k in range(outs)
        ]


class ByHand(Differentiated):
    """A function of plain arrays with a gradient written by hand."""

    def __init__(
        self,
        f: Callable[..., Any],
        vjp: Callable[..., Any],
        jvp: Callable[..., Any] | None = None,
        likes: list[Any] | None = None,
    ) -> None:
        super().__init__(f, Ours("cpu"), likes)
        self.vjp, self.forward_mode = vjp, jvp
        self.dtypes: list[Any] = []  # of the results

    def arguments(self, xs: list[Array]) -> list[Array]:
        """Copies, of the dtypes of the inputs."""
        return [x.astype(like.dtype) for x, like in zip(xs, self.likes or xs)]

    def values(self, xs: list[Array]) -> list[Array]:
        given = self.arguments(xs)
        copies = list(map(np.copy, given))
        found = self.evaluate(*given)
        if isinstance(found, dict):
            raise CheckRefused(
                f"{self.name} returns a dict. With vjp it is to return an array or a tuple of "
                "arrays, as that is what the cotangent is that vjp is given"
            )
        self.several = isinstance(found, (tuple, list))  # results, and so cotangents
        ys = [np.array(y) for y in flat(found)]
        self._kept(copies, given, CheckRefused, self.name)
        ys = [y for y in ys if y.dtype.kind == "f" or y.dtype.name in LOW]
        self.dtypes = [y.dtype for y in ys]
        return ys if self.likes is None else [y.astype(float) for y in ys]

    def gradients(
        self, xs: list[Array], us: list[Array], elsewhere: list[Array] | None = None
    ) -> Gradients:
        gs = self.given(xs, us)
        self.disturb(xs, elsewhere)
        self.compare_negated(xs, gs, us, lambda us: self.given(xs, us))
        return gs

    def once(self, xs: list[Array], us: list[Array] | None = None) -> Gradients:
        return self.given(xs, [np.ones(y.shape) for y in self.values(xs)] if us is None else us)

    def given(
        self,
        xs: list[Array],
        us: list[Array],
        lay: Callable[[Array], Array] = np.copy,
        lay_cotangent: Callable[[Array], Array] | None = None,
    ) -> Gradients:
        """What `vjp` returns, checked and copied. lay: how what it is given lies in memory."""
        given = list(map(lay, self.arguments(xs)))
        narrow = us if self.likes is None else [u.astype(t) for u, t in zip(us, self.dtypes)]
        cotangents = list(map(lay_cotangent or lay, narrow))
        before = list(map(np.copy, given + cotangents))
        gs = self.vjp(tuple(cotangents) if self.several else cotangents[0], *given)
        self._kept(before, given + cotangents, GradientError, f"the gradient of {self.name}")
        gs = gs if isinstance(gs, (tuple, list)) else (gs,)
        if len(gs) != len(xs):
            raise CheckRefused(
                f"{self.name}: vjp returned {plural(len(gs), 'gradient')} for "
                f"{plural(len(xs), 'input')}; it is to return one for each (None for zero)"
            )
        return [
            None if g is None else self._shaped(i, x, np.array(g, dtype=float))
            for i, (x, g) in enumerate(zip(xs, gs))
        ]

    def compare_layouts(self, xs: list[Array], us: list[Array], gs: Gradients) -> None:
        for what, lay in LAYOUTS.items():
            with noted(what):
                found = self.given(xs, us, lay)
                self.compare(xs, us, gs, found, f"is another one with {what}")
        ones = [np.ones(u.shape) for u in us]
        with_ones = self.given(xs, ones)
        with noted(BROADCAST):
            found = self.given(
                xs, ones, read_only, lambda u: np.broadcast_to(u.dtype.type(1), u.shape)
            )
            self.compare(xs, ones, with_ones, found, f"is another one with {BROADCAST}")

    def jvp(self, xs: list[Array], vs: list[Array]) -> list[Array]:
        assert self.forward_mode is not None
        dys = self.forward_mode(tuple(map(np.copy, vs)), *map(np.copy, xs))
        return [np.asarray(dy) for dy in (dys if isinstance(dys, (tuple, list)) else (dys,))]

    def _kept(
        self, before: list[Array], after: list[Array], error: type[Exception], by: str
    ) -> None:
        for a, b in zip(before, after):
            if not np.array_equal(a, b):
                raise error(f"{by} changes what it is given; compute on a copy")

    def _shaped(self, i: int, x: Array, g: Array) -> Array:
        if g.shape != x.shape:
            key = shape_guess(g.shape, x.shape)
            raise self.error(i, f"has shape {g.shape}, but the argument has {x.shape}", key)
        return g


SMALL = 1e-300


def spread(a: Array) -> Array:
    """The same numbers, which are every second of a larger array."""
    larger = np.full((*a.shape, 2), np.nan, a.dtype)
    larger[..., 0] = a
    return larger[..., 0]


def read_only(a: Array) -> Array:
    """A copy that cannot be written to."""
    a = a.copy()
    a.flags.writeable = False
    return a


# How else arrays may lie in memory.
WITH_GAPS = "arrays that are every second number of larger ones"
BY_COLUMNS = "arrays that are stored by columns"
BROADCAST = "a cotangent that is one broadcast number, and cannot be written to"
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    WITH_GAPS: spread,
    BY_COLUMNS: functools.partial(np.array, order="F"),
}


@contextmanager
def noted(what: str) -> Iterator[None]:
    """An error in this block says for which layout it was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(
            f"gradcheck: this was with {what}; layouts=False leaves it out, as for a function "
            "whose random numbers depend on how its inputs lie in memory"
        )
        raise


def alike(a: Array, b: Array, rounding: float = 1e-11) -> bool:
    """Are two gradients the same, but for rounding? NaN and inf have to be in the same places."""
    with np.errstate(invalid="ignore"):
        off = np.abs(a - b).max(initial=0.0)
    if np.isfinite(off):
        return bool(off <= rounding * _largest([a]) + SMALL)
    size = _largest([a[np.isfinite(a)]])
    return np.allclose(a, b, rtol=0, atol=rounding * size + SMALL, equal_nan=True)


def _largest(arrays: Iterable[Array]) -> float:
    return max((float(np.abs(a).max(initial=0.0)) for a in arrays), default=0.0)


def filled(xs: list[Array], gs: Gradients) -> list[Array]:
    """The gradients of xs, with zeros where there is none."""
    return [np.zeros(x.shape) if g is None else g for x, g in zip(xs, gs)]


def elsewhere(xs: list[Array]) -> Iterator[list[Array]]:
    """Two other points: one that is far, as inputs go, and one that is near."""
    yield [x - 0.2 * np.copysign(np.abs(x).max(initial=0.0) or 1.0, x) for x in xs]
    yield [x * (1 - 2**-10) for x in xs]


def name_of(f: Any) -> str:
    """What to call a function in a message."""
    f = unbound(f)
    name = getattr(f, "__name__", None) or type(f).__name__
    return name if _declared(f) is f else f"{f.__self__.__name__}.{name}"


def unbound(f: Any) -> Any:
    """The function in a partial."""
    while isinstance(f, functools.partial):
        f = f.func
    return f


def _declared(f: Any) -> Any:
    """Where the arguments of f are named: of a torch.autograd.Function in its `forward`."""
    owner = getattr(f, "__self__", None)
    is_apply = isinstance(owner, type) and getattr(f, "__name__", "") == "apply"
    return getattr(owner, "forward", f) if is_apply else f


def flat(value: Any, deepest: int = DEEPEST) -> Iterator[Any]:
    """The leaves of nested tuples, lists and dicts."""
    if isinstance(value, (tuple, list, dict)):
        check_depth(deepest)
        for item in value.values() if isinstance(value, dict) else value:
            yield from flat(item, deepest - 1)
    elif value is not None:
        yield value


# ---- what is refused


def device_for(inputs: list[Any], backend: str | None) -> str:
    if backend is not None:
        if not isinstance(backend, str):
            raise TypeError(f"backend is a name, such as 'numpy' or 'cuda'; got {backend!r:.100}")
        return {"numpy": "cpu", "cupy": "cuda"}.get(backend, backend)
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
    return next((device_of(a) for a in arrays if is_array(a)), "cpu")


def listed(inputs: Any) -> list:
    """The inputs as a list, or CheckRefused."""
    if is_array(inputs) or hasattr(inputs, "shape"):
        raise CheckRefused(
            "inputs is a sequence with one array for each argument; for a function "
            "of one array x write [x]"
        )
    if isinstance(inputs, dict):
        raise CheckRefused(
            "inputs is a sequence with one array for each argument, as [x, y]; got a dict. "
            "(A function of JAX that takes that dict is given [inputs].) Elsewhere:"
            + _unnested({"inputs": inputs})
        )
    if isinstance(inputs, (str, bytes, set)) or not isinstance(inputs, Iterable):
        raise CheckRefused(f"inputs is a sequence of arrays, as [x]; got {inputs!r:.100}")
    inputs = list(inputs)
    if not inputs:
        raise CheckRefused("there are no inputs to differentiate with respect to")
    return inputs


def our_inputs(inputs: list) -> list[np.ndarray]:
    """The inputs as NumPy arrays, or CheckRefused for those of another library, and for nests."""
    for i, x in enumerate(inputs):
        for part in flat(x):
            refuse_foreign(f"input {i}", part)
    refuse_nested(inputs)
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
    return [to_numpy(a) if is_array(a) else np.asarray(a) for a in arrays]


def refuse_nested(inputs: list) -> None:
    """CheckRefused for inputs that hold arrays: those of all libraries but JAX are single ones. A
    list of numbers, or of equally long lists of them, is an array."""
    for i, x in enumerate(inputs):
        if isinstance(x, dict) or _parts(x) and any(map(_is_one, flat(_parts(x)))):
            raise CheckRefused(
                f"input {i} is a {type(x).__name__} of arrays, and each array has to be an "
                "argument of its own, as nests of them are for functions of JAX alone:"
                + _unnested({f"inputs[{k}]": x for k, x in enumerate(inputs)})
            )
        try:
            np.asarray(x) if isinstance(x, (list, tuple)) else None
        except ValueError:  # NumPy has no arrays of several lengths
            raise CheckRefused(
                f"input {i} is a {type(x).__name__} whose parts differ in their shapes: give each "
                "as an array, an argument of its own"
            ) from None


def _is_one(x: Any) -> bool:
    return hasattr(x, "shape") and not isinstance(x, np.generic)


def _names(x: Any) -> list[str]:
    """Of the fields of a named tuple, or of a dataclass."""
    if is_dataclass(x) and not isinstance(x, type):
        return [field.name for field in fields(x)]
    return list(getattr(x, "_fields", ())) if isinstance(x, tuple) else []


def _parts(x: Any) -> list[Any]:
    """What a list, a tuple or a dataclass holds; of anything else, nothing."""
    if names := _names(x):
        return [getattr(x, name) for name in names]
    return list(x) if isinstance(x, (list, tuple)) else []


def _unnested(arguments: dict) -> str:
    """Code that checks a function of these arguments, {code: value}, one array at a time."""
    arrays: list[str] = []

    def written(code: str, x: Any) -> str:
        if isinstance(x, dict):
            items = (f"{k!r}: {written(f'{code}[{k!r}]', item)}" for k, item in x.items())
            return f"{{{', '.join(items)}}}"
        if _parts(x) and any(map(_is_one, flat(_parts(x)))):
            names = _names(x)
            places = [f".{name}" for name in names] or [f"[{k}]" for k in range(len(x))]
            parts = ", ".join(written(code + at, y) for at, y in zip(places, _parts(x)))
            if names:
                return f"{type(x).__name__}({parts})"
            return f"[{parts}]" if isinstance(x, list) else f"({parts},)"
        if not _is_one(x):
            return code
        arrays.append(code)
        return f"x{len(arrays) - 1}"

    call = ", ".join(written(code, x) for code, x in arguments.items())
    names = ", ".join(f"x{k}" for k in range(len(arrays)))
    return f"\n  gradcheck(lambda {names}: f({call}), [{', '.join(arrays)}])"


def accepted(arrays: list[Array], dtypes: Sequence[str] = ("float64",)) -> list[Array]:
    """Copies of arrays of numbers that can be moved, each by itself, or CheckRefused."""
    for i, a in enumerate(arrays):
        if a.dtype.name not in dtypes:
            raise wrong_dtype(i, a.dtype, "complex128" in dtypes)
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


def wrong_dtype(i: int | None, dtype: Any, takes_complex: bool = False) -> CheckRefused:
    """The error for an input, or all of them, that is no float64. takes_complex: whether it may be
    complex128, too."""
    name = str(dtype).rpartition(".")[2]  # of torch.float32
    if name in LOW:
        advice = (
            f"convert it, x.astype(np.float64) or x.double(), since with the digits of {name} a "
            "difference quotient has 3 or fewer; or give a reference, the same function in float64"
        )
    elif name.startswith("complex") and takes_complex:
        advice = "convert it to complex128, whose real and imaginary parts are float64"
    elif name.startswith("complex"):
        advice = (
            "its real and its imaginary parts are two inputs of a function f(re, im) with real "
            "results. (Functions of PyTorch and JAX may be given complex128.)"
        )
    elif name.startswith("float"):
        advice = "convert it, x.astype(np.float64) or x.double()"
    elif name.startswith(("int", "uint")):
        advice = (
            "if these are numbers that f computes with, convert them, as 1.0 * x; indices and "
            "labels, which have no gradient, go into f, as in lambda x: take(x, indices)"
        )
    elif name == "bool":
        advice = "a mask has no gradient, and goes into f, as in lambda x: where(mask, x, 0)"
    else:
        advice = (
            "that is no array of numbers. An argument that is none goes into f, as in "
            "lambda x: f(x, 'mean')"
        )
    what = "an input" if i is None else f"input {i}"
    return CheckRefused(f"{what} is {name}, and finite differences need float64: {advice}")


def refuse_foreign(what: str, x: Any) -> None:
    """CheckRefused for an array of another library."""
    if isinstance(x, (Tensor, np.generic)) or is_array(x):
        return
    if any(hasattr(x, name) for name in ARRAY_INTERFACES):
        raise CheckRefused(
            f"{what} is a {_full_name(type(x))}: gradcheck knows the arrays of this package, of "
            "PyTorch and of JAX, and what another library differentiates would not be looked at. "
            "Give NumPy arrays, and that gradient as vjp, a function from arrays to arrays"
        )


def refuse_foreign_function(f: Any) -> None:
    """CheckRefused for a function that is another library's, and brings its derivative with it."""
    f = unbound(f)
    library = (getattr(f, "__module__", None) or "").partition(".")[0]
    if library in AUTOGRADS:
        raise CheckRefused(_foreign(f"{name_of(f)} is", library, f.__module__))
    for owner in (f, getattr(f, "__self__", None)):
        for cls in owner.__mro__ if isinstance(owner, type) else type(owner).__mro__:
            library = cls.__module__.partition(".")[0]
            if library in AUTOGRADS:
                raise CheckRefused(_foreign(f"{name_of(f)} is", library, _full_name(cls)))


def refuse_foreign_calls(subject: Differentiated, xs: list[Array]) -> None:
    """CheckRefused if the subject, called at xs, calls a torch.autograd.Function. That computes on
    our Tensors, too, and our rules are used, not the one that it defines."""
    if "torch" not in sys.modules or not isinstance(subject.library, Ours):
        return
    found = []

    def watch(frame: FrameType, event: str, _: object) -> None:
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


def _foreign(what: str, library: str, name: str) -> str:
    return (
        f"{what} {library}'s ({name}): the derivative that it defines is {library}'s to call, and "
        f"would not be looked at. Give arrays of {library}, or "
        + (f"framework={library!r}" if library in ("torch", "jax") else "the derivative as vjp")
    )


ARRAY_INTERFACES = "__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__"
AUTOGRADS = {"torch", "jax", "jaxlib", "tensorflow", "mygrad"}


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _overlaps_itself(a: Array) -> bool:
    steps = sorted((abs(stride), n) for stride, n in zip(a.strides, a.shape) if n > 1)
    reach = 0
    for stride, n in steps:  # each axis steps over all that is inside of it, as in most arrays
        if stride <= reach:
            break
        reach += stride * (n - 1)
    else:
        return False
    places = sum(
        (
            np.arange(n).reshape([-1] + [1] * (a.ndim - 1 - k)) * stride
            for k, (n, stride) in enumerate(zip(a.shape, a.strides))
        ),
        np.int64(0),
    )
    return np.unique(places).size < a.size
