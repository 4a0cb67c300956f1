"""Custom VJP: an operation whose gradient is derived by hand for a whole computation.

It is made of three functions of arrays (nanoautograd/manual/ has them, one operation a file):

    forward(x, weight, ..., *, option=...)      -> out, cache
    backward(dout, cache)                       -> dx, dweight, ...
    reference(x, weight, ..., *, option=...)    -> out, from primitives

    softmax = custom_vjp("softmax", forward, backward, reference)

`backward` is the chain rule, and no more. A gradient may have the shape that its argument was
broadcast to, and there may be one that nobody wants: the walk sums the one, casts it, and drops the
other. To save the time of what is not wanted, `backward` may take a third argument `needs`, a tuple
that says for each argument whether it needs a gradient.

The first derivative is `backward`. It computes on plain arrays, so it cannot record itself: where
the gradient is to be differentiated again (`create_graph`), the walk computes `reference` anew, on
Tensors, and differentiates that. So the second order is that of `reference`, and tests hold the two
functions equal.

`forward` and `backward` are written to be read. An operation may have other pairs of the same two
functions, *forms*, which give the same results in less time: one for the CPU and one for GPUs
(nanoautograd/kernels/). Within `with nag.use_manual():` none of those is used.
"""

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Generic, NamedTuple

import numpy as np

from .backends import array_namespace
from .core import operation
from .core.backward import Edge, backpropagate
from .core.grad_mode import GRAD_ENABLED, enable_grad
from .core.operation import PLAIN, Node, function, next_number, tensors, with_zeros
from .core.tensor import Tensor, wrap
from .interface.signature import Signature, parameters
from .ops.sixteen_bits import functions_in_float32, reference_in_float32
from .safety import checks
from .safety.in_place import (
    IMMUTABLE,
    arrays_in,
    check_version,
    copied,
    holds_objects,
    overwritten,
    save,
    storage_of,
    unpack,
)
from .safety.modes import Mode
from .typing import P, R

__all__ = ["CustomVJP", "Form", "custom_vjp", "use_manual"]


ASKED = os.environ.get("NANOAUTOGRAD_MANUAL", "")
if ASKED not in ("", "0", "1"):
    raise ValueError(f"the environment variable NANOAUTOGRAD_MANUAL is 1 or 0; got {ASKED!r}")
MANUAL: ContextVar[int] = ContextVar("manual", default=int(ASKED == "1"))


class use_manual(Mode):
    """Within `with nag.use_manual():`, or a function decorated with it, operations that are derived
    by hand are computed as it is written in nanoautograd/manual/, on any device: to step through
    them, and to see what the fast forms gain. In this thread or task; the environment variable
    NANOAUTOGRAD_MANUAL=1 does it everywhere. A gradient is computed by the form that the call was
    recorded with."""

    variable, value = MANUAL, True


class Form(NamedTuple):
    """One way to compute an operation. early: whether `forward` computes gradients, too, and so
    takes the keyword `needs`, which says of which arguments; () where nothing is recorded. is_ours:
    whether both functions are of this package."""

    forward: Callable
    backward: Callable
    early: bool = False
    is_ours: bool = False


class Saved(NamedTuple):
    """What a node of a CustomVJP saves. backward: that of the form that computed it. inputs: the
    arguments, for `reference`; outs: the results whose memory the cache holds, or may hold in an
    object of a user, so that a write into one is an error. Both as `save` gives them, with
    versions."""

    backward: Callable
    cache: Any
    options: dict
    inputs: list[tuple]
    outs: list[tuple]


class CustomVJP(Generic[P, R]):
    """An operation made of `forward`, `backward` and `reference`: see the top of
    custom_vjp.py.

    Positional arguments are arrays (or None), and each has a gradient in what `backward` returns,
    or None. Options are given by keyword. It is called as a Primitive is.
    """

    check: Callable | None = None  # called with what `forward` gets, before it: raises errors
    cpu: Form | None = None  # for NumPy's arrays
    cuda: Form | None = None  # for others

    def __init__(
        self,
        name: str,
        forward: Callable,
        backward: Callable,
        reference: Callable[P, R],
        in_float32: bool = False,
    ) -> None:
        checks.check_return(name, forward, backward, reference)
        self.name = self.__name__ = self.__qualname__ = name
        self.__doc__, self.__module__ = forward.__doc__, forward.__module__ or ""
        self.__wrapped__, self.in_float32 = forward, in_float32
        self.signature = Signature(name, forward)
        self.backward, self.forward = backward, checks.watched(self, forward)
        self.reference = reference_in_float32(reference) if in_float32 else reference

    @property
    def forward(self) -> Callable:
        return self.manual.forward

    @forward.setter
    def forward(self, forward: Callable) -> None:
        self.manual = self.form(forward, self.backward)

    def form(self, forward: Callable, backward: Callable) -> Form:
        """Two functions as a Form of this operation: with arrays of 16 bits in float32, if so."""
        # (An operation may have an option of that name.)
        early = "needs" in {*parameters(forward)[1]} - self.signature.keyword_set
        is_ours = checks.are_ours(forward, backward)
        backward = given_needs(checks.watched_backward(f"the backward of {self.name}", backward))
        if self.in_float32:
            forward, backward = functions_in_float32(forward, backward)
        return Form(forward, backward, early, is_ours)

    @property
    def is_ours(self) -> bool:
        """Whether all its forms are of this package."""
        return all(form.is_ours for form in (self.manual, self.cpu, self.cuda) if form)

    def form_for(self, xp: Any) -> Form:
        """The Form that computes on the arrays of a namespace."""
        fast = self.cpu if xp is np else self.cuda
        return self.manual if fast is None or MANUAL.get() else fast

    def __repr__(self) -> str:
        return f"<function {self.signature}>"

    def __call__(self, *args: P.args, **options: P.kwargs) -> R:
        args, options = self.signature.bind(args, options)
        arrays, edges, is_tensor, is_plain = [], [], False, True  # as in Primitive.__call__
        for a in args:
            if isinstance(a, Tensor):
                if a._version != a._storage.version:
                    check_version(a, self.name)
                edges.append(a._edge)
                a, is_tensor = a._array, True
            else:
                edges.append(None)
            if type(a) not in PLAIN:
                is_plain = False
            arrays.append(a)
        hook = operation.call_hook
        if not is_plain and hook is not None:
            if usual := hook.before(self, args):
                return self(*usual, **options)
        is_recorded = any(edges) and GRAD_ENABLED.get()
        if is_recorded:  # the cache may hold an array, and nobody would notice that it changed
            for i, a in enumerate(args):
                if a is arrays[i] and a is not None:
                    arrays[i] = copied(a)
            for k, v in options.items():
                if type(v) not in IMMUTABLE:
                    options[k] = copied(v)
        try:
            xp = np if is_plain else array_namespace(*arrays)
            if self.check is not None:
                self.check(*arrays, **options)
            form = self.form_for(xp)
            early = {"needs": tuple(map(bool, edges))} if is_recorded and form.early else {}
            pair = form.forward(*arrays, **options, **early)
        except Exception as error:
            if hook is not None and (usual := hook.failed(self, args, error)):
                return self(*usual, **options)
            raise
        if type(pair) is not tuple or len(pair) != 2:
            raise checks.no_pair(self.name, pair)
        out, cache = pair
        if is_recorded:
            out = self.record(edges, args, arrays, options, out, form, cache)
        elif is_tensor:
            out = tensors(self.name, args, out)
        if is_tensor and hook is not None and hook.watching:
            hook.after(f"the result of {self.name}", out, out)
        return out

    def record(
        self,
        edges: list,
        args: tuple,
        arrays: list,
        options: dict,
        out: Any,
        form: Form,
        cache: Any,
    ) -> Any:
        """The result `out` of a call as Tensors, which know the node that the call leaves. edges,
        arrays: those of the arguments; an array that is no Tensor was copied."""
        node: Any = Node()
        node.number, node.operation = next_number(), self
        node.parents, node.needs = edges, tuple(map(bool, edges))
        if type(out) is np.ndarray and out.dtype.kind == "f":  # as `tensors` does it, but faster
            node.outputs = [(out.shape, out.dtype)]
            result = wrap(out, (node, 0), storage_of(out, args))
        else:
            result = tensors(self.name, args, out, node)
        inputs = [
            (x, a._storage, a._version, a._edge) if isinstance(a, Tensor) else (x, None, 0, None)
            for a, x in zip(args, arrays)
        ]
        kept, unseen = arrays_in(cache), not form.is_ours and holds_objects(cache)
        outs = [
            save(y, node)
            for y in (result if type(result) is tuple else (result,))
            if unseen or _is_among(y._array, kept)
        ]
        node.saved = [(Saved(form.backward, cache, options, inputs, outs), None, 0, None)]
        return result

    def apply_vjp(self, node: Any, gs: list, create_graph: bool) -> list[tuple[Edge, Any]]:
        """As Primitive.apply_vjp."""
        if node.saved is None:
            raise checks.freed(self.name)
        s: Saved = node.saved[0][0]
        for i, (_, storage, version, _) in enumerate(s.inputs + s.outs):
            if storage is not None and storage.version != version:
                names = (*self.signature.names, *["out"] * len(s.outs))
                raise overwritten(self.name, names[i])
        g = gs[0] if type(node.outputs) is list else with_zeros(gs, node)
        if create_graph:
            return self.apply_reference(node, g, s)
        ds = s.backward(g, s.cache, node.needs)
        return list(zip(node.parents, checks.counted(self.name, ds, node.parents)))

    def apply_reference(self, node: Any, g: Any, s: Saved) -> list:
        """The same through `reference`, recorded. Each argument gets an edge of its own, so that
        the gradient is that of this operation alone, also where one argument was computed from
        another."""
        arrays = [unpack(a, node, "argument", wrap) for a in s.inputs]
        with enable_grad():
            inputs = [alias(a) if isinstance(a, Tensor) else a for a in arrays]
            out: Any = self.reference(*inputs, **s.options)
        is_one = type(node.outputs) is list
        outs, gs = (out if type(out) is tuple else (out,)), ((g,) if is_one else g)
        checks.same_results(self.name, outs, node.outputs)
        used = [(y, dy) for y, dy in zip(outs, gs) if isinstance(y, Tensor) and y.requires_grad]
        own = [(edge, a._edge) for edge, a in zip(node.parents, inputs) if edge is not None]
        roots: list = [y._edge for y, _ in used]
        seeds = [dy for _, dy in used]
        ds = backpropagate(
            roots, seeds, [edge for _, edge in own], retain_graph=True, create_graph=True
        )
        return [(edge, d) for (edge, _), d in zip(own, ds) if d is not None]


def custom_vjp(
    name: str,
    forward: Callable,
    backward: Callable,
    reference: Callable[P, R],
    *,
    in_float32: bool = False,
) -> CustomVJP[P, R]:
    """The operation on Tensors that the three functions define: see the top of custom_vjp.py.
    in_float32: whether floating arrays of 16 bits are given to them in float32, and results rounded
    (ops/sixteen_bits.py)."""
    f, b, r = [checks.checked_function("custom_vjp", f) for f in (forward, backward, reference)]
    return CustomVJP(name, f, b, r, in_float32)


def given_needs(backward: Callable) -> Callable:
    """The function, which may be given `needs`, whether it takes it or not."""
    positional, _, variadic, _ = parameters(backward)
    if variadic or len(positional) > 2:
        return backward
    return lambda dout, cache, needs=None: backward(dout, cache)


@function
def alias(a: Any) -> Any:
    """The same value, as a result of its own in the graph."""
    return a


alias.defvjp(a=lambda g: g)


def _is_among(y: Any, arrays: list) -> bool:
    """Whether y shares memory with one of the arrays: it is the same, or one of both is a view."""
    owner = _owner(y)
    for a in arrays:
        if y is a:
            return True
        other = a if a.base is None else _owner(a)
        if owner is other or owner is None or other is None:
            if bool(array_namespace(y).may_share_memory(y, a)):
                return True
    return False


def _owner(a: Any) -> Any:
    """The array whose memory a is, or is a view of; None if an object of another kind owns it."""
    base = a.base
    if base is None:
        return a
    return base if type(base) is type(a) and base.base is None else None
