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
from functools import cache

from .backends import is_array, namespace
from .graph import backpropagate
from .modes import INSPECTING, RECORDING, enable_grad
from .node import AnomalyError, Kept, Node, inspect_values, keep
from .tensor import Tensor, is_float, wrap

__all__ = ["AnomalyError", "Function", "HandDerived", "by_hand", "function"]


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
        self._reads_for = cache(self._reads_for)

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
        self._reads_for.cache_clear()
        return self

    # ---- forward

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
        results = [wrap(y, (node, i) if is_float(y.dtype) else None, self._memory_of(y, args))
                   for i, y in enumerate(out if several else (out,))]
        node.outputs = [(t._data.shape, t._data.dtype, namespace(t._data)) for t in results]
        node.saved = self.save(parents, args, options, results, cache)
        return tuple(results) if several else results[0]

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

    # ---- the three steps that a hand-derived operation takes otherwise

    def compute(self, arrays, options):
        """The result, and what else the gradient needs from the computation."""
        if self.keywords and not self.variadic:
            n = len(self.names) - len(self.keywords)
            arrays, options = arrays[:n], dict(zip(self.keywords, arrays[n:]))
        return self.forward(*arrays, **options), None

    def save(self, parents, args, options, results, cache):
        """What the rules that are going to be called will read, by name."""
        needs = tuple([edge is not None for edge in parents])
        saved = {}
        for read in self._reads_for(needs):
            name = read.removesuffix("_shape")
            if read == "out":
                kept = tuple([Kept(t, i) for i, t in enumerate(results)])
                saved[read] = kept if len(kept) > 1 else kept[0]
            elif read == "needs":
                saved[read] = needs
            elif read in options:
                saved[read] = keep(options[read])
            elif name == self.variadic:
                saved[read] = keep(args) if read == name else tuple(map(_shape, args))
            elif read in self.names:
                saved[read] = keep(args[self.names.index(read)])
            else:
                saved[read] = _shape(args[self.names.index(name)])
        return saved

    def _reads_for(self, needs):
        """The names that are read by the rules for the arguments that need a gradient."""
        wanted = (self.variadic,) if self.variadic else [
            name for name, need in zip(self.names, needs) if need]
        for name in wanted:
            if name not in self.rules:
                raise TypeError(f"{self.name} has no derivative with respect to {name!r}; give "
                                "it without a gradient, as .detach()")
        return tuple(dict.fromkeys(read for name in wanted for read in self.reads[name]))

    def pull_back(self, node, g, saved, create_graph):
        """Applies the rules: [(edge, gradient)] of the arguments that need one."""
        if self.variadic:
            rule, reads = self.rules[self.variadic], self.reads[self.variadic]
            return _for_edges(node, rule(g, *[saved[read] for read in reads]))
        pairs = []
        for name, edge in zip(self.names, node.parents):
            if edge is not None:
                d = self.rules[name](g, *[saved[read] for read in self.reads[name]])
                if d is not None:
                    pairs.append((edge, d))
        return pairs


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

    def save(self, parents, args, options, results, cache):
        return {"cache": cache, "arrays": keep(args),
                "options": keep(tuple([options[name] for name in self.keywords])),
                "out": tuple([Kept(t, i) for i, t in enumerate(results)
                              if _shares_memory(t._data, cache)])}

    def pull_back(self, node, g, saved, create_graph):
        if not create_graph:
            needs = tuple([edge is not None for edge in node.parents])
            return _for_edges(node, self.backward(g, saved["cache"], needs))
        # Each argument gets an edge of its own, so that the gradient is that of this operation
        # alone, also where one argument was computed from another.
        with enable_grad():
            inputs = [alias(a) if isinstance(a, Tensor) else a for a in saved["arrays"]]
            out = self.composed(*inputs, **dict(zip(self.keywords, saved["options"])))
        outs, gs = (out, g) if node.several else ((out,), (g,))
        used = [(y._edge, dy) for y, dy in zip(outs, gs) if y._edge is not None]
        pairs = [(edge, a._edge) for edge, a in zip(node.parents, inputs) if edge is not None]
        ds = backpropagate([edge for edge, _ in used], [dy for _, dy in used],
                           [own for _, own in pairs], retain_graph=True, create_graph=True)
        return [(edge, d) for (edge, _), d in zip(pairs, ds) if d is not None]


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
    """[(edge, gradient)] of the arguments that need one; no array is given out twice."""
    pairs, given = [], set()
    for edge, d in zip(node.parents, ds, strict=True):
        if edge is not None and d is not None:
            pairs.append((edge, d.copy() if id(d) in given else d))
            given.add(id(d))
    return pairs


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


def _caller():
    """"file:line, in function" of the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(__package__):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
