"""Operation: a function of arrays together with its derivative, and the node that a call leaves.

An operation is written once, as a function of arrays and one rule for each argument:

    @function
    def multiply(a, b):
        return a * b

    multiply.defvjp(a=lambda g, b: g * b,
                    b=lambda g, a: g * a)

If L depends on y = multiply(a, b), and g = dL/dy, then the rule for a gives dL/da: the
vector-Jacobian product of g with dy/da. The names of a rule's parameters say what it reads, and
only that is saved until the backward walk:

    g                   the gradient of the result (always first)
    out                 the result
    a, b, axis, ...     an argument
    a_shape, ...        the shape of an argument, when its values are not needed

A rule is written with operators and other operations. Those compute on whatever they are given,
so one rule serves all orders: on arrays it computes at full speed, on Tensors it records itself.
If an argument was broadcast, or has another dtype, the walk mends the gradient (backward.py); a
rule never does. A rule returns an array in the shape of the argument, or in one that it was
broadcast to, or None for zero. It must not change what it is given.

Several results: return a tuple; `g` and `out` are then tuples too, `g` with zeros for a result that
was not used.

    @function
    def polar(x, y):
        return namespace(x).sqrt(x * x + y * y), namespace(x).arctan2(y, x)

    polar.defvjp(x=lambda g, x, y, out: (g[0] * x - g[1] * y / out[0]) / out[0],
                 y=lambda g, x, y, out: (g[0] * y + g[1] * x / out[0]) / out[0])

Any number of arrays: take `*arrays`, and options by keyword. Their one rule returns a gradient for
each, and may read `needs`, a tuple that says for which ones it is wanted.

    @function
    def total(*arrays, scale=1):
        return scale * sum(arrays)

    total.defvjp(arrays=lambda g, needs, scale: [scale * g for _ in needs])
"""

from collections.abc import Callable
from itertools import count, repeat
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy import generic, ndarray

from ..array_interface import array_of
from ..backends import is_float, namespace
from ..safety import checks
from ..safety.in_place import Storage, check_version, copied, opened, save, storage_of
from ..signature import Signature, rule_reads
from .backward import Edge
from .grad_mode import GRAD_ENABLED
from .tensor import Tensor, wrap

# What can stand for an array without further ado, and what is saved without a copy.
PLAIN = {ndarray, float, int, bool, type(None), np.float64, np.float32, np.int64, np.bool_}
IMMUTABLE = (PLAIN - {ndarray}) | {slice, str, range, type(...)}
PLAIN |= {slice, tuple, str, type, np.dtype}  # what is not meant to be an array: options


# A hook around calls, None unless other code sets it (safety/hooks.py). .before(operation, args) is
# asked where an argument is neither a Tensor nor PLAIN, and may return other arguments to call the
# operation with; .after(what, result, values) is told of values while .watching; .failed(operation,
# args, error) of an error.
call_hook: Any = None


class Node:
    """One recorded call of an operation. See backward.py for what the walk asks of it.

    Nodes refer to the nodes before them and never to their own results, so that a graph has no
    reference cycles.
    """

    __slots__ = ("number", "operation", "parents", "plan", "outputs", "saved", "__weakref__")
    number: int
    operation: "Operation"
    parents: list[Edge | None]  # for each argument the edge that it came from, or None
    plan: "Plan"
    outputs: Any  # [(shape, dtype)] of the result; a tuple of such pairs, if it is a tuple
    saved: list[tuple] | None  # what the rules are going to read (`save` in safety/in_place.py)

    @property
    def name(self) -> str:
        return self.operation.name


class Plan(NamedTuple):
    """What is done in all calls in which the same arguments need a gradient.

    needs: for each argument whether it does. reads: what is saved: (its name, the position of the
    argument, or -1 if it is none, whether only the shape is). steps: for each argument that needs a
    gradient its position, its rule, and what takes from the saved values those that the rule reads.
    """

    needs: tuple[bool, ...]
    reads: list[tuple[str, int, bool]]
    steps: list[tuple[int, Callable, Callable]]


_new, _next_number = object.__new__, count().__next__


class Operation:
    """What can be called with Tensors, and differentiated: a Primitive, or a CustomVJP.

    Called with at least one Tensor it returns a Tensor (a tuple of them, if `forward` returns
    one), and records itself if a Tensor requires a gradient; called with arrays only, it returns
    what `forward` returns.
    """

    has_cache = False  # whether `forward` returns (result, what the gradient needs)
    is_meant: Any  # for each argument by position, whether an array is meant

    def __init__(self, name: str, forward: Callable) -> None:
        self.forward, self.signature = forward, Signature(name, forward)
        self.name = self.__name__ = self.__qualname__ = name
        self.__doc__, self.__module__ = forward.__doc__, forward.__module__
        self.__wrapped__ = forward
        s = self.signature
        self.arity = -1 if s.variadic or s.keywords else len(s.names)  # -1: always to be bound
        self.plans: dict[Any, Plan] = {}

    def __repr__(self) -> str:
        return f"<function {self.signature}>"

    def __call__(self, *args: Any, **options: Any) -> Any:
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
                if type(a) not in PLAIN:
                    is_plain = False
            arrays.append(a)
        is_recorded, forward = any(edges) and GRAD_ENABLED.get(), self.forward
        try:
            if not is_plain:  # an array of another library, or something unusual
                usual = call_hook and call_hook.before(self, args)
                if usual:
                    return self(*usual, **options)
                forward = self.forward_for(namespace(*arrays))
            if is_recorded and self.has_cache:  # which may hold an array that changes later
                arrays = [x if isinstance(a, Tensor) else copied(x) for x, a in zip(arrays, args)]
            out = forward(*arrays, **options)
        except Exception as error:
            if call_hook is not None:
                call_hook.failed(self, args, error)
            raise
        if is_recorded:
            result = self.record(edges, args, arrays, options, out)
        else:
            result = out[0] if self.has_cache else out
            if not is_tensor:
                return result
            result = self.tensors(args, result)
        if call_hook is not None and call_hook.watching:
            call_hook.after(f"the result of {self.name}", result, result)
        return result

    def forward_for(self, xp: Any) -> Callable:
        """`forward` for arrays of the library xp."""
        return self.forward

    def tensors(self, args: tuple, out: Any, node: Node | None = None) -> Any:
        """`out`, an array or a tuple of them, as Tensors; with a node they are its results."""
        results: list[Tensor] = []
        for i, y in enumerate(out if type(out) in (tuple, list) else (out,)):
            checks.check_result(self.name, y)
            edge = (node, i) if node is not None and is_float(y.dtype) else None
            results.append(wrap(y, edge, storage_of(y, (*args, *results))))
        if node is not None:
            node.outputs = [(y.shape, y.dtype) for y in results]
        if type(out) not in (tuple, list):
            return results[0]
        if node is not None:
            node.outputs = tuple(node.outputs)
        return tuple(results)

    def record(self, edges: list, args: tuple, arrays: list, options: dict, out: Any) -> Any:
        """The result `out` of a call as Tensors, which know the node that the call leaves. edges:
        those of the arguments."""
        node = _new(Node)  # without an __init__: it would be called too often
        node.number, node.operation, node.parents = _next_number(), self, edges
        key = len(edges) if None not in edges else tuple(map(bool, edges))  # if all need one, fast
        if key not in self.plans:
            self.plans[key] = self.plan(tuple(map(bool, edges)))
        node.plan = plan = self.plans[key]
        node.saved = saved = []
        if self.has_cache:
            out, cache = out
        if type(out) is not ndarray and isinstance(out, generic):
            out = np.asarray(out)  # NumPy's 0-d results are scalars, which cannot be written to
        if type(out) is ndarray and out.dtype.kind == "f":  # as `tensors` does it, but faster
            node.outputs = [(out.shape, out.dtype)]
            is_new = out.base is None
            for a in arrays:
                if a is out:
                    is_new = False
            storage = Storage() if is_new else storage_of(out, args)
            result = _new(Tensor)
            result._array, result._edge = out, (node, 0)
            result._storage, result._version = storage, storage.version
        else:
            result = self.tensors(args, out, node)
        if self.has_cache:
            self.save_cache(node, args, arrays, options, result, cache)
        for name, at, is_shape in plan.reads:
            if is_shape:
                saved.append((getattr(arrays[at], "shape", ()), None, 0, None))
            elif at >= 0:
                a = args[at]
                if isinstance(a, Tensor):
                    saved.append((a._array, a._storage, a._version, a._edge))
                else:
                    saved.append((a, None, 0, None) if type(a) in IMMUTABLE else save(a, node))
            elif name == "out" and type(result) is Tensor:
                saved.append((result._array, result._storage, result._version, 0))
            else:
                a = self.readable(name, args, options, result, plan.needs)
                saved.append(save(a, node))
        return result

    def save_cache(self, node: Node, *call: Any) -> None:
        """Saves what a `forward` that has a cache gave."""

    def plan(self, needs: tuple[bool, ...]) -> Plan:
        """The Plan for calls in which these arguments need a gradient."""
        return Plan(needs, [], [])


class Primitive(Operation):
    """An operation whose derivative is written as rules; see the text above. Made by @function."""

    def __init__(self, forward: Callable) -> None:
        super().__init__(forward.__name__.lstrip("_"), forward)
        self.rules: dict[str, Callable] = {}  # argument -> rule
        self.reads: dict[str, tuple[str, ...]] = {}  # argument -> what its rule reads, after g
        self.defvjp()

    def defvjp(self, **rules: Callable) -> "Primitive":
        """Sets the rule for each argument named; returns the Primitive.

        Raises TypeError for a rule that reads what there is not.
        """
        s, reads = self.signature, {name: rule_reads(rule) for name, rule in rules.items()}
        checks.check_rules(self.name, s, reads)
        self.rules |= rules
        self.reads |= {name: read[1:] for name, read in reads.items()}
        self.is_meant = repeat(True) if s.variadic else [name in self.rules for name in s.names]
        self.plans.clear()
        return self

    def plan(self, needs: tuple[bool, ...]) -> Plan:
        s = self.signature
        wanted = [s.variadic] if s.variadic else [n for n, need in zip(s.names, needs) if need]
        checks.check_differentiable(self.name, wanted, self.rules)
        names = list(dict.fromkeys(read for name in wanted for read in self.reads[name]))
        places = {name: (name, i, False) for i, name in enumerate(s.names)}
        places |= {f"{name}_shape": (name, i, True) for i, name in enumerate(s.names)}
        reads = [places.get(name, (name, -1, False)) for name in names]
        steps = []
        for name in wanted:
            at = [names.index(read) for read in self.reads[name]]
            # itemgetter of one number takes no tuple, but a slice of one does
            take = itemgetter(*at) if len(at) > 1 else itemgetter(slice(*at, sum(at) + len(at)))
            steps.append((-1 if s.variadic else s.names.index(name), self.rules[name], take))
        return Plan(needs, reads, steps)

    def readable(self, name: str, args: tuple, options: dict, result: Any, needs: tuple) -> Any:
        """What a rule reads under a name that is no argument's."""
        if name == "out" or name == self.signature.variadic:
            return result if name == "out" else args
        if name == "needs" or name in options:
            return needs if name == "needs" else options[name]
        return tuple(getattr(a, "shape", ()) for a in args)  # arrays_shape

    def apply_vjp(self, node: Node, gs: list, create_graph: bool) -> list[tuple[Edge, Any]]:
        if node.saved is None:
            raise checks.freed(self.name)
        values: list = []
        for value, storage, version, edge in node.saved:
            if storage is not None and (create_graph or storage.version != version):
                saved, name = (value, storage, version, edge), node.plan.reads[len(values)][0]
                value = opened(saved, node, name, wrap if create_graph else None)
            values.append(value)
        g = gs[0] if type(node.outputs) is list else with_zeros(gs, node)
        pairs = []
        for place, rule, take in node.plan.steps:
            d = rule(g, *take(values))
            if place < 0:
                return for_edges(d, node)
            if d is not None:
                pairs.append((node.parents[place], d))
        return pairs


def function(forward: Callable) -> Primitive:
    """Decorator: makes a Primitive of a function on arrays. Its derivative is set by `.defvjp`."""
    return Primitive(forward)


def with_zeros(gs: list, node: Node) -> tuple:
    """The gradients of several results, with zeros for those that nobody used."""
    used = next(g for g in gs if g is not None)
    zeros = namespace(array_of(used)).zeros
    like = wrap if isinstance(used, Tensor) else array_of
    return tuple(like(zeros(*y)) if g is None else g for g, y in zip(gs, node.outputs))


def for_edges(ds: Any, node: Node) -> list[tuple[Edge, Any]]:
    """[(edge, gradient)] of the arguments that need one, given one for each argument."""
    ds = list(ds)
    checks.check_count(node.name, ds, node.parents)
    return [(edge, d) for edge, d in zip(node.parents, ds) if edge is not None and d is not None]
