"""Primitive: a function of arrays together with its derivative. Node: what one call of it leaves.

An operation is a function of arrays, with a rule for each argument that can have a gradient:

    @function
    def multiply(a, b):
        return a * b

    multiply.defvjp(a=lambda g, b: g * b,
                    b=lambda g, a: g * a)

If L depends on y = multiply(a, b), and g = dL/dy, then the rule for a gives dL/da: the
vector-Jacobian product of g with dy/da. The names of a rule's parameters say what it reads, and
only that is saved until the backward walk: `g`, the gradient of the result, always first; `out`,
the result; an argument or option, as `b`; or its shape, as `a_shape`, if that is all it needs.

A rule is written with operators and other operations. Those compute on whatever they are given,
so one rule serves all orders: on arrays it computes at full speed, on Tensors it records itself.
It returns an array in the shape of the argument, or in one that the argument was broadcast to
(backward.py undoes that, and casts the dtype), or None for zero. It must not change what it gets,
nor return an array that is kept elsewhere.

Several results: return a tuple; `g` and `out` are then tuples, `g` with zeros for an unused result.
Any number of arrays: take `*arrays`, and options by keyword; their one rule returns a gradient for
each, and may read `needs`, a tuple that says for which ones it is wanted.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import count
from operator import itemgetter
from typing import Any, Generic

import numpy as np
from numpy import generic, ndarray

from ..backends import array_namespace, is_float
from ..interface.array_interface import array_of
from ..interface.signature import Signature, rule_reads
from ..safety import checks
from ..safety.in_place import IMMUTABLE, Storage, check_version, save, storage_of, unpack
from ..typing import P, R
from .grad_mode import GRAD_ENABLED
from .tensor import Tensor, wrap

# Types that go to `forward` without asking `call_hook`.
PLAIN = IMMUTABLE | {ndarray, tuple, type, np.dtype}

# A hook around calls, None unless other code sets it; see CallHook in safety/hooks.py.
call_hook: Any = None


class Node:
    """One recorded call of an operation. backward.py says what the walk asks of it.

    needs: for each argument whether it needs a gradient. outputs: (shape, dtype) of each result; a
    list for one result, a tuple if the result is a tuple. reads, steps: see Primitive.plan. saved:
    for each of `reads` what `save` in safety/in_place.py makes; of w @ x, whose rule reads x and
    the shape of w, [(x's array, storage, version, edge), ((2, 2), None, 0, None)]. Nodes refer to
    nodes before them, never to their own Tensors.
    """

    __slots__ = "number operation parents needs outputs reads steps saved __weakref__".split()


_new, next_number = object.__new__, count().__next__
# `outputs` of a node with one result: one list for all alike, as the collector looks at each.
one_output = lru_cache(4096)(lambda *output: [output])


class Primitive(Generic[P, R]):
    """An operation whose derivative is written as rules. Called with a Tensor it returns a Tensor,
    or a tuple of them, and records itself if one requires a gradient; with arrays, arrays."""

    def __init__(self, forward: Callable[P, R]) -> None:
        self.name = self.__name__ = self.__qualname__ = forward.__name__.lstrip("_")
        self.__doc__, self.__module__ = forward.__doc__, forward.__module__ or ""
        # (A user's may not write into its arguments, and may return anything.)
        self.__wrapped__, self.forward = forward, checks.watched(self, forward)
        self.signature = s = Signature(self.name, forward)
        self.arity = -1 if s.variadic or s.keywords else len(s.names)  # -1: always to be bound
        self.rules: dict[str, Callable] = {}  # argument -> rule
        self.reads: dict[str, tuple[str, ...]] = {}  # argument -> what its rule reads, after g
        self.plans: dict[Any, tuple] = {}
        self.defvjp()

    def __init_subclass__(cls) -> None:
        raise TypeError(checks.NO_SUBCLASS)

    def defvjp(self, *in_order: Callable, **rules: Callable) -> "Primitive[P, R]":
        """Sets the rule for each argument named (or for all, in their order), and returns the
        Primitive. Raises TypeError for a rule that reads what there is not, or returns nothing."""
        rules |= checks.named_rules(self.signature, in_order)
        checks.check_return(self.name, *rules.values())
        reads = {name: rule_reads(rule) for name, rule in rules.items()}
        checks.check_rules(self.name, self.signature, reads)
        self.rules |= checks.watched_rules(self.name, rules)
        self.reads |= {name: read[1:] for name, read in reads.items()}
        self.plans.clear()
        self.is_ours = checks.are_ours(self.__wrapped__, *self.rules.values())
        # A tuple may be axes or a shape; where every argument has a rule, it is numbers.
        self.plain = PLAIN - {tuple} if self.rules.keys() >= {*self.signature.names} else PLAIN
        return self

    def __call__(self, *args: P.args, **options: P.kwargs) -> R:
        if options or len(args) != self.arity:
            args, options = self.signature.bind(args, options)
        arrays, edges, is_tensor, is_plain = [], [], False, True
        for a in args:
            if isinstance(a, Tensor):
                if a._version != a._storage.version:
                    check_version(a, self.name)
                edges.append(a._edge)
                a, is_tensor = a._array, True
                if type(a) is not ndarray:
                    is_plain = False
            else:
                edges.append(None)
                if type(a) not in self.plain:
                    is_plain = False
            arrays.append(a)
        if not is_plain and call_hook is not None and (usual := call_hook.before(self, args)):
            return self(*usual, **options)  # of another library, or something unusual
        try:
            if not is_plain:
                array_namespace(*arrays)  # raises where arrays of two libraries are mixed
            out = self.forward(*arrays, **options) if options else self.forward(*arrays)
        except Exception as error:
            if call_hook is not None and (usual := call_hook.failed(self, args, error)):
                return self(*usual, **options)
            raise
        if any(edges) and GRAD_ENABLED.get():
            out = self.record(edges, args, arrays, options, out)
        elif is_tensor:
            out = tensors(self.name, args, out)
        if call_hook is not None and call_hook.watching and is_tensor:
            call_hook.after(f"the result of {self.name}", out, out)
        return out

    def record(self, edges: list, args: tuple, arrays: list, options: dict, out: Any) -> Any:
        """The result `out` of a call as Tensors, which know the node that the call leaves."""
        node: Any = _new(Node)  # without an __init__: it would be called too often
        node.number, node.operation, node.parents = next_number(), self, edges
        key = len(edges) if None not in edges else tuple(map(bool, edges))  # fast, if all need one
        if key not in self.plans:
            self.plans[key] = self.plan(tuple(map(bool, edges)))
        node.needs, node.reads, node.steps = self.plans[key]
        if type(out) is not ndarray and isinstance(out, generic):
            out = np.asarray(out)  # NumPy's 0-d results are scalars, which cannot be written to
        if type(out) is ndarray and out.dtype.kind == "f":  # as `tensors` does it, but faster
            node.outputs = one_output(out.shape, out.dtype)
            is_new = self.is_ours and out.base is None
            for a in arrays:
                if a is out:
                    is_new = False
            storage = Storage() if is_new else storage_of(out, args)
            result = _new(Tensor)
            result._array, result._edge, result._leaf = out, (node, 0), None
            result._storage, result._version = storage, storage.version
        else:
            result = tensors(self.name, args, out, node)
        saved: list[tuple] = []
        node.saved, values = saved, (*args, result)  # `out` is the last
        for name, at, is_shape in node.reads:
            a = self.readable(name, args, options, node.needs) if at is None else values[at]
            if is_shape:
                saved.append((getattr(arrays[at], "shape", ()), None, 0, None))
            elif isinstance(a, Tensor):
                edge = 0 if a is result else a._edge  # no cycle; `unpack` puts the node to it
                saved.append((a._array, a._storage, a._version, edge))
            else:
                saved.append((a, None, 0, None) if type(a) in IMMUTABLE else save(a, node))
        return result

    def readable(self, name: str, args: tuple, options: dict, needs: tuple) -> Any:
        """What a rule reads under a name that is neither an argument's nor "out"."""
        variadic, shapes = self.signature.variadic, tuple(getattr(a, "shape", ()) for a in args)
        found = {"needs": needs, variadic: args, f"{variadic}_shape": shapes}
        return (options | found)[name]

    def plan(self, needs: tuple[bool, ...]) -> tuple:
        """(needs, reads, steps) of the nodes of all calls in which these arguments need a gradient.

        Of w @ x where only w does, with the rule x1=lambda g, x2, x1_shape: ..., they are
            reads    [("x2", 1, False), ("x1", 0, True)]        name, place, is it only the shape?
            steps    [(0, that rule, itemgetter(0, 1, 2))]      place, rule, what it takes of
                                                                [g, *saved]
        """
        s = self.signature
        wanted = [s.variadic] if s.variadic else [n for n, need in zip(s.names, needs) if need]
        checks.check_differentiable(self, wanted)
        names = list(dict.fromkeys(read for name in wanted for read in self.reads[name]))
        places = {name: (name, i, False) for i, name in enumerate(s.names)}
        places["out"] = ("out", -1, False)
        places |= {f"{name}_shape": (name, i, True) for i, name in enumerate(s.names)}
        steps = []
        for name in wanted:
            at = [0, *(1 + names.index(read) for read in self.reads[name])]  # g is the first
            take = itemgetter(*at) if len(at) > 1 else itemgetter(slice(1))  # [g], no bare g
            steps.append((-1 if s.variadic else s.names.index(name), self.rules[name], take))
        return needs, [places.get(name, (name, None, False)) for name in names], steps

    def apply_vjp(self, node: Any, gs: list, create_graph: bool) -> list[tuple]:
        """[(edge, gradient)] of the arguments, given the gradients of the results (None for an
        unused one): the vector-Jacobian product. With `create_graph` it records itself."""
        if node.saved is None:
            raise checks.freed(self.name)
        pairs: list[tuple] = []
        values = [gs[0] if type(node.outputs) is list else with_zeros(gs, node)]
        for saved in node.saved:
            value, storage, version, _ = saved
            if storage is not None and (create_graph or storage.version != version):
                name = node.reads[len(values) - 1][0]
                value = unpack(saved, node, name, wrap if create_graph else None)
            values.append(value)
        for place, rule, take in node.steps:
            d = rule(*take(values))
            if place < 0:  # one rule for all arguments
                pairs += zip(node.parents, checks.counted(self.name, d, node.parents))
            else:
                pairs.append((node.parents[place], d))
        return pairs


def function(forward: Callable[P, R]) -> Primitive[P, R]:
    """Decorator: makes a Primitive of a function on arrays; `.defvjp` sets its derivative."""
    return Primitive(checks.checked_function("function", forward))


def tensors(name: str, args: tuple, out: Any, node: Any = None) -> Any:
    """The result `out` of an operation as a Tensor or a tuple of them; that of a node, if given."""
    if node is None and type(out) is ndarray and out.dtype.kind in "fiub":  # as most are
        return wrap(out, None, storage_of(out, args))
    is_tuple, outputs = type(out) is tuple, []
    results: list[Tensor] = []
    for y in out if is_tuple else (out,):
        y = checks.result(name, y, node is not None)
        edge = (node, len(results)) if node is not None and is_float(y.dtype) else None
        results.append(wrap(y, edge, storage_of(y, (*args, *results))))
        outputs.append((y.shape, y.dtype))
    if node is not None:
        node.outputs = tuple(outputs) if is_tuple else outputs
    return tuple(results) if is_tuple else results[0]


def with_zeros(gs: list, node: Any) -> tuple:
    """The gradients of several results, with zeros for those that nobody used."""
    used = next(g for g in gs if g is not None)
    zeros = array_namespace(array_of(used)).zeros
    like = wrap if isinstance(used, Tensor) else array_of
    return tuple(like(zeros(*y)) if g is None else g for g, y in zip(gs, node.outputs))
