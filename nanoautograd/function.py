"""Function: an operation on arrays together with its derivative.

An operation is written once, as a function of arrays and one rule for each argument:

    @function
    def multiply(a, b):
        return a * b

    multiply.vjp(a=lambda g, b: g * b,
                 b=lambda g, a: g * a)

If L depends on y = multiply(a, b), and g = dL/dy, then the rule for a gives dL/da: the
vector-Jacobian product of g with dy/da. The names of a rule's parameters say what it reads, and
only that is kept until the backward walk:

    g                   the gradient of the result (a tuple of them if there are several results)
    out                 the result
    a, b, axis, ...     an argument
    a_shape, ...        the shape of an argument, when its values are not needed
    needs               for `*arrays`: a tuple that says which of them need a gradient

A rule is written with operators and other operations. Those compute on whatever they are given,
so one rule serves all orders: on arrays it computes at full speed, on Tensors it records itself.
If an argument was broadcast, or has another dtype, the walk mends the gradient (graph.py); a rule
never does. A rule must not change what it is given, nor return a kept value itself.
"""

import inspect
import sys

from .backends import is_array, namespace
from .graph import GraphError, IndexedGradient, backpropagate
from .modes import INSPECTING, RECORDING, enable_grad
from .tensor import Tensor, is_float, wrap

__all__ = ["AnomalyError", "Function", "HandDerived", "by_hand", "function"]


class AnomalyError(ArithmeticError):
    """A NaN or an infinity appeared while `detect_anomaly` was watching."""


class Node:
    """One recorded call of a Function. See graph.py for what the walk asks of it."""

    __slots__ = ("function", "parents", "outputs", "several", "saved", "origins", "where")

    def __init__(self, function, parents, several, where):
        self.function = function
        self.parents = parents          # for each argument: the edge it came from, or None
        self.several = several          # whether the result is a tuple
        self.where = where              # the line that made the call, under detect_anomaly
        self.saved = {}                 # what the rules read: name -> value
        self.origins = {}               # for the Tensors among them: name -> (edge, memory, writes)

    @property
    def name(self):
        return self.function.name

    def free(self):
        self.saved = self.origins = None

    def vjp(self, gs, create_graph):
        """Yields (edge, gradient) for each argument that needs one, from those of the results."""
        if self.saved is None:
            raise GraphError(f"the graph was freed when it was walked before, at {self.name}; to "
                             "walk it twice, the first walk needs retain_graph=True")
        if any(g is None for g in gs):  # a result that nobody used
            gs = [xp.zeros(shape, dtype=dtype) if g is None else g
                  for g, (shape, dtype, xp) in zip(gs, self.outputs)]
            gs = [wrap(g) if create_graph and not isinstance(g, Tensor) else g for g in gs]
        g = tuple(gs) if self.several else gs[0]
        saved = self._unpack(create_graph)
        for edge, d in self.function.pull_back(self, g, saved, create_graph):
            if d is not None:
                if INSPECTING.get():
                    inspect_values(d, f"the gradient of {self.name}", self.where)
                yield edge, d

    def _unpack(self, create_graph):
        """The saved values, checked to be unchanged; with create_graph linked to their history."""
        saved = self.saved
        for name, origin in self.origins.items():
            for _, memory, writes in origin if type(origin) is list else (origin,):
                if memory is not None and memory.writes != writes:
                    raise GraphError(
                        f"{self.name} needs its {'result' if name == 'out' else repr(name)} for "
                        "the gradient, but the value was overwritten in place after the "
                        "operation; assign to a copy, or call backward() before the assignment")
        if create_graph:
            saved = {name: self._linked(name, value) for name, value in saved.items()}
        return saved

    def _linked(self, name, value):
        origin = self.origins.get(name)
        if origin is None:
            return value
        if name == "out":               # the edge back to this node was not kept: no cycles
            origins = origin if self.several else [origin]
            values = [wrap(v, (self, i), memory) for i, (v, (_, memory, _))
                      in enumerate(zip(value if self.several else [value], origins))]
            return tuple(values) if self.several else values[0]
        if type(origin) is list:
            return tuple(wrap(v, edge, memory) if memory else v
                         for v, (edge, memory, _) in zip(value, origin))
        edge, memory, _ = origin
        return wrap(value, edge, memory)


class Function:
    """A differentiable operation; see the text above. Made by `@function`."""

    def __init__(self, forward, shares_memory=False):
        self.forward = forward
        self.name = self.__name__ = self.__qualname__ = forward.__name__.lstrip("_")
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        self.shares_memory = shares_memory      # the result may be a view of the first argument
        self.rules = {}                         # argument -> rule
        self.reads = {}                         # argument -> what its rule reads, after g
        parameters = inspect.signature(forward).parameters.values()
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self.names = tuple(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL)
        self.keywords = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}

    def __repr__(self):
        return f"<function {self.name}{inspect.signature(self.forward)}>"

    def vjp(self, **rules):
        """Sets the rule for each argument named; returns the Function."""
        known = {*self.names, self.variadic} - {None}
        readable = known | {name + "_shape" for name in known} | {"out", "needs"}
        for name, rule in rules.items():
            reads = tuple(inspect.signature(rule).parameters)[1:]
            if name not in known or not readable.issuperset(reads):
                raise TypeError(f"{self.name}: a rule for {name!r} that reads {', '.join(reads)}; "
                                f"the arguments are {', '.join(sorted(known))}, and a rule may "
                                "read them, their shapes <argument>_shape, 'out' and 'needs'")
            self.rules[name], self.reads[name] = rule, reads
        return self

    def __call__(self, *args, **kwargs):
        if self.variadic:
            options = self.defaults | kwargs
        else:
            options = {}
            if kwargs or self.keywords or len(args) != len(self.names):
                args = self._bind(args, kwargs)
        arrays, is_tensor, needs_grad = list(args), False, False
        for i, a in enumerate(args):
            if isinstance(a, Tensor):
                is_tensor = True
                arrays[i] = a._data
                if a._seen != a._memory.writes:
                    a._check_history(self.name)
                if a._edge is not None:
                    needs_grad = True
        if not is_tensor:
            return self.compute(args, options)[0]
        try:
            namespace(*arrays)                  # all on one device
            out, cache = self.compute(arrays, options)
        except Exception as error:
            error.add_note(f"in {self.name}({', '.join(map(_described, args))})")
            raise
        where = None
        if INSPECTING.get():
            where = _caller()
            for y in out if type(out) in (tuple, list) else (out,):
                inspect_values(y, f"the result of {self.name}", where)
        if needs_grad and RECORDING.get():
            return self.recorded(args, out, options, cache, where)
        if type(out) in (tuple, list):
            return tuple([wrap(y, None, self._memory_of(y, args)) for y in out])
        return wrap(out, None, self._memory_of(out, args))

    def recorded(self, args, out, options={}, cache=None, where=None):
        """The result `out` of a call with `args`, as Tensors that know where they came from."""
        several = type(out) in (tuple, list)
        parents = tuple([a._edge if isinstance(a, Tensor) else None for a in args])
        node = Node(self, parents, several, where)
        tensors = [wrap(y, (node, i) if is_float(y.dtype) else None, self._memory_of(y, args))
                   for i, y in enumerate(out if several else (out,))]
        node.outputs = [(t._data.shape, t._data.dtype, namespace(t._data)) for t in tensors]
        self.save(node, args, options, tensors, cache)
        return tuple(tensors) if several else tensors[0]

    def _bind(self, args, kwargs):
        """The arguments in the order of the signature, with defaults filled in."""
        rest = self.names[len(args):]
        given = sum(name in kwargs for name in rest)
        missing = any(name not in kwargs and name not in self.defaults for name in rest)
        if missing or given < len(kwargs) or len(args) > len(self.names) - len(self.keywords):
            raise TypeError(f"{self.name} was called with {len(args)} positional arguments and "
                            f"the keywords {', '.join(kwargs) or '(none)'}; its signature is "
                            f"{self.name}{inspect.signature(self.forward)}")
        return args + tuple([kwargs[name] if name in kwargs else self.defaults[name]
                             for name in rest])

    def _memory_of(self, y, args):
        """The Memory of the first argument if the result `y` is a view of it, else None."""
        if self.shares_memory and isinstance(args[0], Tensor):
            if namespace(y).may_share_memory(y, args[0]._data):
                return args[0]._memory
        return None

    # ---- what a hand-derived operation does otherwise

    def compute(self, arrays, options):
        """The result, and what else the gradient needs from the computation."""
        if self.keywords and not self.variadic:
            n = len(self.names) - len(self.keywords)
            arrays, options = arrays[:n], dict(zip(self.keywords, arrays[n:]))
        return self.forward(*arrays, **options), None

    def save(self, node, args, options, tensors, cache):
        """Keeps in `node` what the rules that are going to be called will read."""
        if self.variadic:
            wanted = (self.variadic,)
        else:
            wanted = [name for name, edge in zip(self.names, node.parents) if edge is not None]
        for name in wanted:
            if name not in self.rules:
                raise TypeError(f"{self.name} has no derivative with respect to {name!r}; give "
                                "it without a gradient, as .detach()")
            for read in self.reads[name]:
                if read not in node.saved:
                    self._save(node, read, args, options, tensors)

    def _save(self, node, read, args, options, tensors):
        if read == "out":
            origins = [(None, t._memory, t._memory.writes) for t in tensors]
            values = tuple(t._data for t in tensors)
            node.saved[read] = values if node.several else values[0]
            node.origins[read] = origins if node.several else origins[0]
        elif read == "needs":
            node.saved[read] = tuple(edge is not None for edge in node.parents)
        elif read in options:
            node.saved[read] = _frozen(options[read])
        elif read == self.variadic:
            node.saved[read] = tuple(map(_kept, args))
            node.origins[read] = [_origin(a) for a in args]
        elif read.endswith("_shape") and read not in self.names:
            name = read.removesuffix("_shape")
            node.saved[read] = (tuple(map(_shape, args)) if name == self.variadic
                                else _shape(args[self.names.index(name)]))
        else:
            i = self.names.index(read)
            node.saved[read] = _kept(args[i])
            if isinstance(args[i], Tensor):
                node.origins[read] = _origin(args[i])

    def pull_back(self, node, g, saved, create_graph):
        """Applies the rules: yields (edge, gradient) for each argument that needs one."""
        if self.variadic:
            name = self.variadic
            ds = self.rules[name](g, *[saved[read] for read in self.reads[name]])
            yield from _for_edges(node, ds)
            return
        for name, edge in zip(self.names, node.parents):
            if edge is not None:
                yield edge, self.rules[name](g, *[saved[read] for read in self.reads[name]])


class HandDerived(Function):
    """An operation of nanoautograd/manual: `forward`, `backward` and `composed`.

    The gradient is computed by `backward`; that of the gradient goes through `composed`.
    """

    def __init__(self, name, forward, backward, composed):
        super().__init__(forward)
        self.name = self.__name__ = self.__qualname__ = name
        self.backward, self.composed = backward, composed
        self.variadic, self.names = "arrays", ()        # whatever they are called in `forward`
        self.signature = inspect.signature(forward)

    def __call__(self, *args, **kwargs):
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return super().__call__(*bound.args, **bound.kwargs)

    def compute(self, arrays, options):
        return self.forward(*arrays, **{name: options[name] for name in self.keywords})

    def save(self, node, args, options, tensors, cache):
        options = {name: _frozen(options[name]) for name in self.keywords}
        node.saved = {"cache": cache, "options": options,
                      "arrays": tuple(map(_kept, args))}
        node.origins = {"arrays": [_origin(a) for a in args],
                        "out": [(None, t._memory, t._memory.writes) for t in tensors
                                if _shares_memory(t._data, cache)]}

    def pull_back(self, node, g, saved, create_graph):
        needs = tuple(edge is not None for edge in node.parents)
        if not create_graph:
            yield from _for_edges(node, self.backward(g, saved["cache"], needs))
            return
        # Each argument gets an edge of its own, so that the gradient is that of this operation
        # alone, also where one argument was computed from another.
        with enable_grad():
            inputs = [alias(a) if isinstance(a, Tensor) else a for a in saved["arrays"]]
            out = self.composed(*inputs, **saved["options"])
        outs, gs = (out, g) if node.several else ((out,), (g,))
        used = [(y._edge, dy) for y, dy in zip(outs, gs) if y._edge is not None]
        wanted = [a._edge for a, need in zip(inputs, needs) if need]
        ds = backpropagate([e for e, _ in used], [d for _, d in used], wanted,
                           retain_graph=True, create_graph=True)
        yield from zip([edge for edge in node.parents if edge is not None], ds)


def function(forward=None, *, shares_memory=False):
    """Decorator: makes a Function of a function on arrays.

    shares_memory: the result may be a view of the first argument.
    """
    if forward is None:
        return lambda forward: Function(forward, shares_memory)
    return Function(forward, shares_memory)


def by_hand(name, forward, backward, composed):
    """The operation on Tensors that the three functions of a file of `manual/` define."""
    return HandDerived(name, forward, backward, composed)


@function(shares_memory=True)
def alias(a):
    """The same value, as a result of its own in the graph."""
    return a


alias.vjp(a=lambda g: g)


def _for_edges(node, ds):
    """(edge, gradient) for those arguments that need one; no array is given out twice."""
    given = set()
    for edge, d in zip(node.parents, ds, strict=True):
        if edge is not None and d is not None:
            if id(d) in given:
                d = d.copy()
            given.add(id(d))
            yield edge, d


def _origin(a):
    """Which edge and memory the kept value of an argument belongs to."""
    return (a._edge, a._memory, a._memory.writes) if isinstance(a, Tensor) else (None, None, 0)


def _kept(a):
    """The value to keep for an argument. Only a Tensor knows when it changes; arrays are copied."""
    return a._data if isinstance(a, Tensor) else _frozen(a)


def _frozen(value):
    if is_array(value):
        return value.copy()
    if type(value) in (tuple, list):
        return type(value)(map(_frozen, value))
    return value


def _shares_memory(array, cache):
    """Whether any array in a cache, which may be nested, overlaps with `array`."""
    if isinstance(cache, dict):
        cache = cache.values()
    elif is_array(cache):
        return bool(namespace(array).may_share_memory(array, cache))
    elif not isinstance(cache, (tuple, list)):
        return False
    return any(_shares_memory(array, part) for part in cache)


def _shape(array):
    return getattr(array, "shape", ())


def _described(a):
    """An argument in a message: shape and dtype for arrays."""
    if isinstance(a, Tensor) or is_array(a):
        return f"{'Tensor' if isinstance(a, Tensor) else 'array'} {a.shape} {a.dtype}"
    text = repr(a)
    return text if len(text) < 60 else text[:57] + "..."


def inspect_values(y, what, where):
    """Raises AnomalyError if `y` holds a NaN or an infinity."""
    y = y.values if type(y) is IndexedGradient else y
    y = y._data if isinstance(y, Tensor) else y
    xp = namespace(y)
    if is_float(y.dtype) and not bool(xp.isfinite(y).all()):
        kind = "NaN" if bool(xp.isnan(y).any()) else "infinity"
        raise AnomalyError(f"{what}, of shape {y.shape}, holds {kind}; "
                           f"the operation was called at {where}")


def _caller():
    """"file:line, in function" of the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(__package__):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
