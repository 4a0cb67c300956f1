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

    g                   the gradient of the result (always first)
    out                 the result
    a, b, axis, ...     an argument
    a_shape, ...        the shape of an argument, when its values are not needed

A rule is written with operators and other operations. Those compute on whatever they are given,
so one rule serves all orders: on arrays it computes at full speed, on Tensors it records itself.
If an argument was broadcast, or has another dtype, the walk mends the gradient (graph.py); a rule
never does. A rule returns an array in the shape of the argument, or in one that it was broadcast
to, or None for zero. It must not change what it is given, nor return a kept value itself.

Several results: return a tuple; `g` and `out` are then tuples too, `g` with zeros for a result that
was not used.

    @function
    def polar(x, y):
        return namespace(x).sqrt(x * x + y * y), namespace(x).arctan2(y, x)

    polar.vjp(x=lambda g, x, y, out: (g[0] * x - g[1] * y / out[0]) / out[0],
              y=lambda g, x, y, out: (g[0] * y + g[1] * x / out[0]) / out[0])

Any number of arrays: take `*arrays`, and options by keyword. Their one rule returns a gradient for
each, and may read `needs`, a tuple that says for which ones it is wanted.

    @function
    def total(*arrays, scale=1):
        return scale * sum(arrays)

    total.vjp(arrays=lambda g, needs, scale: [scale * g for _ in needs])
"""

import inspect
import sys
from types import FunctionType
from typing import NamedTuple

import numpy
from numpy import ndarray

from .backends import is_array, namespace
from .backends.memory import explain_full
from .graph import GraphError, backpropagate
from .modes import INSPECTING, RECORDING, enable_grad
from .node import Node, as_is, copied, inspect_values, keep, keep_result
from .tensor import Memory, Tensor, as_arrays, is_float, shape_of, wrap

__all__ = ["Function", "HandDerived", "by_hand", "function"]


class Plan(NamedTuple):
    """What a Function does in all calls in which the same arguments need a gradient.

    needs: for each argument whether it does.
    steps: for each that does (its number, f), where f(g, values) is its rule.
    reads: for each name that the rules read (name, i, None), if a node saves the argument i for it,
    or (name, None, make), if it saves make(node, args, options, results).
    """

    needs: tuple
    steps: list
    reads: list


class Plans(dict):
    """needs -> Plan of a Function, made when it is first asked for."""

    def __init__(self, function):
        self.function = function

    def __missing__(self, needs):
        plan = self[needs] = self.function.plan(needs)
        return plan


def _by_name(rule, reads):
    """The rule as a function of g and of a dict of values. (A call without * is faster.)"""
    if len(reads) == 0:
        return lambda g, values: rule(g)
    if len(reads) == 1:
        (name,) = reads
        return lambda g, values: rule(g, values[name])
    return lambda g, values: rule(g, *[values[name] for name in reads])


class Function:
    """A differentiable operation; see the text above. Made by `@function`.

    Called with at least one Tensor it returns a Tensor (a tuple of them, if `forward` returns
    one), and records itself if a Tensor requires a gradient; called with arrays only, it returns
    what `forward` returns.
    """

    def __init__(self, forward):
        self.forward = forward
        self.name = self.__name__ = self.__qualname__ = forward.__name__.lstrip("_")
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        self.rules = {}  # argument -> rule
        self.reads = {}  # argument -> what its rule reads, after g
        self.names, self.keywords, self.variadic, self.defaults = _parameters(forward)
        self.plans = Plans(self)

    def __repr__(self):
        return f"<function {self.name}{inspect.signature(self.forward)}>"

    def vjp(self, **rules):
        """Sets the rule for each argument named; returns the Function."""
        known = {*self.names, *self.keywords, self.variadic} - {None}
        shapes = {name + "_shape" for name in known}
        if clash := known & ({"g", "out", "needs"} | shapes):
            raise TypeError(
                f"{self.name}: the argument {clash.pop()!r} has a name that means "
                "something else in a rule; give it another"
            )
        if self.variadic and self.names:
            raise TypeError(
                f"{self.name}: beside *{self.variadic} there can only be options by "
                f"keyword; put {', '.join(self.names)} after it"
            )
        for name, rule in rules.items():
            positional, by_keyword, variadic, _ = _parameters(rule)
            parameters = (*positional, *by_keyword, *(["*" + variadic] if variadic else []))
            if name not in {*self.names, self.variadic}:
                raise TypeError(
                    f"{self.name} has no argument {name!r} that could need a gradient; "
                    f"it has {', '.join(self.names) or '*' + self.variadic}"
                )
            if not parameters or not (known | shapes | {"out", "needs"}).issuperset(parameters[1:]):
                raise TypeError(
                    f"{self.name}: a rule takes g and then what it reads: arguments "
                    f"({', '.join(sorted(known))}), their shapes (<argument>_shape), "
                    f"'out' or 'needs'; that for {name!r} takes "
                    f"({', '.join(parameters)})"
                )
            self.rules[name], self.reads[name] = rule, parameters[1:]
        self.plans.clear()
        return self

    # ---- forward

    def __call__(self, *args, **kwargs):
        options = None
        if kwargs or self.keywords or len(args) != len(self.names):
            args, options = self._bind(args, kwargs)
        is_tensor = False
        for a in args:
            if isinstance(a, Tensor):
                is_tensor = True
            elif type(a) is list:
                return self(*self._without_lists(args), **options or {})
        if not is_tensor:
            out = self.on(namespace(*args))(*args, **options or {})
            return out[0] if self.has_cache else out

        arrays, edges, needs, uniform = [], [], [], True
        for a in args:
            edge = None
            if isinstance(a, Tensor):
                if a._seen != a._memory.writes:
                    a._check_history(self.name)
                edge, a = a._edge, a._array
            if type(a) is not ndarray:
                uniform = False
            arrays.append(a)
            edges.append(edge)
            needs.append(edge is not None)
        try:
            # Of another library, or of none; all on one device.
            forward = self.forward if uniform else self.on(namespace(*arrays))
            out = forward(*arrays, **options) if options else forward(*arrays)
        except Exception as error:
            self._explain(error, args)
            raise
        cache = node = None
        if self.has_cache:
            out, cache = out
        several = type(out) in (tuple, list)
        where = caller() if INSPECTING.get() else None
        if True in needs and RECORDING.get():
            node = Node(self, edges, self.plans[tuple(needs)], several, where)
        if several:
            results = self._as_tensors(out, args, node)
        else:
            results = (self._as_tensor(out, args, node, 0),)
        if where is not None:
            for y in results:
                inspect_values(y, f"the result of {self.name}", where)
        if node is not None:
            node.saved = self.save(node, args, options, results, cache)
        return results if several else results[0]

    def on(self, xp):
        """`forward` for arrays of the library xp."""
        return self.forward

    def _explain(self, error, args):
        """Adds the name of the operation to an error of `forward`; NumPy's on shapes that do not
        fit together becomes one that says so."""
        if isinstance(error, ValueError) and "could not be broadcast" in str(error):
            shapes = ", ".join(str(a.shape) for a in args if hasattr(a, "shape"))
            raise ValueError(
                f"{self.name}: the shapes {shapes} do not fit together; counted "
                "from the last axis, lengths must be equal, or 1"
            ) from None
        error.add_note(f"in {self.name}({', '.join(map(_described, args))})")
        explain_full(error)

    def _as_tensor(self, y, args, node, i):
        """The result y, the i-th of a recorded node (or None), as a Tensor."""
        if type(y) is not ndarray and not hasattr(y, "dtype"):
            raise TypeError(
                f"{self.name} must return an array, or a tuple of them, not {type(y).__name__}"
            )
        edge, dtype = None, y.dtype
        if node is not None:
            node.outputs.append((y.shape, dtype))
            if is_float(dtype):
                edge = node, i
        return wrap(y, edge, _memory_of(y, args))

    def _as_tensors(self, ys, args, node):
        results = ()
        for i, y in enumerate(ys):
            results = *results, self._as_tensor(y, (*args, *results), node, i)
        return results

    def _without_lists(self, args):
        """The arguments, with lists of numbers as arrays where an array is meant."""
        meant = [self.variadic is not None or name in self.rules for name in self.names or args]
        return [
            b if mean and type(a) is list else a
            for a, b, mean in zip(args, as_arrays(*args), meant)
        ]

    def recorded(self, args, out, where=None):
        """The result `out` of a call with `args`, as a Tensor that knows where it came from."""
        edges = [a._edge if isinstance(a, Tensor) else None for a in args]
        plan = self.plans[tuple([edge is not None for edge in edges])]
        node = Node(self, edges, plan, False, where)
        result = self._as_tensor(out, args, node, 0)
        node.saved = self.save(node, args, None, (result,), None)
        return result

    def _bind(self, args, kwargs):
        """(args, options): the arguments by position, and those that are keyword-only."""
        rest = self.names[len(args) :]
        known = [name for name in kwargs if name in rest or name in self.keywords]
        if len(known) == len(kwargs) and (self.variadic or len(args) <= len(self.names)):
            values = {**self.defaults, **kwargs}
            try:
                return (
                    args + tuple([values[name] for name in rest]),
                    {name: values[name] for name in self.keywords},
                )
            except KeyError:
                pass
        raise TypeError(
            f"{self.name} was called with {len(args)} positional arguments and the "
            f"keywords {', '.join(kwargs) or '(none)'}; its signature is "
            f"{self.name}{inspect.signature(self.forward)}"
        )

    # ---- what a hand-derived operation does otherwise

    has_cache = False  # does `forward` return (result, what the gradient needs)?

    def save(self, node, args, options, results, cache):
        """What the rules that are going to be called will read, by name."""
        saved = {}
        for name, i, make in node.plan.reads:
            saved[name] = keep(args[i]) if make is None else make(node, args, options, results)
        return saved

    def pull_back(self, node, g, create_graph):
        """Applies the rules: [(edge, gradient)] of the arguments that need one."""
        values, pairs = node.opened(create_graph), []
        for i, rule in node.plan.steps:
            d = rule(g, values)
            if self.variadic:
                return _for_edges(node, d)
            if d is not None:
                pairs.append((node.parents[i], d))
        return pairs

    # ---- plans

    def plan(self, needs):
        """The Plan for calls in which these arguments (a tuple of booleans) need a gradient."""
        wanted = (
            (self.variadic,)
            if self.variadic
            else [name for name, need in zip(self.names, needs) if need]
        )
        for name in wanted:
            if name not in self.rules:
                raise TypeError(
                    f"{self.name} has no rule for the gradient of {name!r}; give the "
                    "argument without one, as .detach()"
                )
        steps = [
            (
                0 if self.variadic else self.names.index(name),
                _by_name(self.rules[name], self.reads[name]),
            )
            for name in wanted
        ]
        names = dict.fromkeys(read for name in wanted for read in self.reads[name])
        return Plan(needs, steps, [(name, *self._saves(name)) for name in names])

    def _saves(self, name):
        """(i, None) for the argument i, or (None, make); see Plan."""
        if name in self.names:
            return self.names.index(name), None
        if name == "out":
            return (
                None,
                lambda node, args, options, results: (
                    [keep_result(y, i) for i, y in enumerate(results)]
                    if node.several
                    else keep_result(results[0], 0)
                ),
            )
        if name == "needs":
            return None, lambda node, args, options, results: as_is(node.plan.needs)
        if name in self.keywords:
            return None, lambda node, args, options, results: keep(options[name])
        if name == self.variadic:
            return None, lambda node, args, options, results: [keep(a) for a in args]
        if self.variadic:  # arrays_shape
            return None, lambda node, args, options, results: as_is(tuple(map(shape_of, args)))
        i = self.names.index(name.removesuffix("_shape"))
        return None, lambda node, args, options, results: as_is(shape_of(args[i]))


class HandDerived(Function):
    """An operation of nanoautograd/manual: `forward`, `backward` and `composed`.

    The gradient is computed by `backward`; that of the gradient goes through `composed`. `kernel`,
    where there is one, has another `forward` for arrays that are not NumPy's, and a `backward` for
    the caches of both. With an option `overwrite_input` that is true, `backward` may write the
    gradient of the operation's first argument into the memory of that argument.
    """

    def __init__(self, name, forward, backward, composed, kernel=None):
        super().__init__(forward)
        self.name = self.__name__ = self.__qualname__ = name
        self.backward, self.composed = kernel.backward if kernel else backward, composed
        self.kernel = kernel
        self.signature = inspect.signature(forward)
        self.positional, self.takes_more = len(self.names), self.variadic is not None
        self.known = frozenset(self.keywords)
        self.options = {k: self.defaults[k] for k in self.keywords if k in self.defaults}
        self.variadic, self.names = "arrays", ()  # whatever they are called in `forward`

    def _bind(self, args, kwargs):
        """The arguments by position, and those by keyword, with the defaults; arrays among them are
        copied if the call is going to be recorded."""
        options = {**self.options, **kwargs}
        all_given = len(args) == self.positional or self.takes_more and len(args) > self.positional
        if not all_given or options.keys() != self.known:  # seldom
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, options = bound.args, bound.kwargs
        if RECORDING.get():
            # The cache may hold an argument. Of an array nobody would notice that it changed.
            for a in args:
                if isinstance(a, Tensor) and a._edge is not None:
                    return (
                        [a.copy() if is_array(a) else a for a in args],
                        {name: copied(a) for name, a in options.items()},
                    )
        return args, options

    has_cache = True

    def on(self, xp):
        return self.forward if self.kernel is None or xp is numpy else self.kernel.forward

    def plan(self, needs):
        return Plan(needs, [], [])  # there are no rules

    def save(self, node, args, options, results, cache):
        if self._overwrites(node, options):
            self._check_overwritable(args[0]._memory)
        saved = {
            "cache": as_is(cache),
            "options": as_is(options),
            "arrays": [keep(a) if isinstance(a, Tensor) else as_is(a) for a in args],
        }
        # Results that are part of the cache are kept so that a change of one is noticed.
        arrays = _arrays_in(cache)
        saved["out"] = [
            keep_result(y, i) for i, y in enumerate(results) if _is_among(y._array, arrays)
        ]
        return saved

    def pull_back(self, node, g, create_graph):
        values = node.opened(create_graph)  # refuses where one was overwritten
        if not create_graph:
            if self._overwrites(node, values["options"]):
                return _for_edges(node, self._overwriting(node, g, values["cache"]))
            return _for_edges(node, self.backward(g, values["cache"], node.plan.needs))
        # Each argument gets an edge of its own, so that the gradient is that of this operation
        # alone, also where one argument was computed from another.
        with enable_grad():
            inputs = [alias(a) if isinstance(a, Tensor) else a for a in values["arrays"]]
            out = self.composed(*inputs, **values["options"])
        outs, gs = (out, g) if node.several else ((out,), (g,))
        used = [
            (y._edge, dy)
            for y, dy in zip(outs, gs)
            if isinstance(y, Tensor) and y._edge is not None
        ]
        pairs = [(edge, a._edge) for edge, a in zip(node.parents, inputs) if edge is not None]
        ds = backpropagate(
            [edge for edge, _ in used],
            [dy for _, dy in used],
            [own for _, own in pairs],
            retain_graph=True,
            create_graph=True,
        )
        return [(edge, d) for (edge, _), d in zip(pairs, ds) if d is not None]

    def _overwrites(self, node, options):
        """Will `backward` write to the first argument?"""
        return options.get("overwrite_input") and node.plan.needs[0]

    def _overwriting(self, node, g, cache):
        """`backward`, which may write to the first argument: whoever has kept that is told."""
        x, memory, _, _ = node.saved["arrays"][0]
        self._check_overwritable(memory)  # it may have become a leaf's since
        memory.overwritten = self.name
        ds = self.backward(g, cache, node.plan.needs)
        if namespace(x).may_share_memory(ds[0], x):
            memory.writes += 1
        else:
            memory.overwritten = ""
        return ds

    def _check_overwritable(self, memory):
        """Raises GraphError if there is more in it than results of recorded operations."""
        if not memory.computed:
            raise GraphError(
                f"{self.name}: with overwrite_input the gradient of the input would "
                "take the place of a Tensor that was not computed, such as a "
                "parameter, or a view of one; leave the option out"
            )


def _parameters(f):
    """The names of its parameters by position, of those by keyword alone, of *arrays or None, and
    the defaults. (inspect.signature tells the same in longer time, of hundreds of rules.)"""
    if type(f) is not FunctionType or hasattr(f, "__wrapped__"):
        parameters = inspect.signature(f).parameters.values()
        return (
            tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD),
            tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
            next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None),
            {p.name: p.default for p in parameters if p.default is not p.empty},
        )
    code, defaults = f.__code__, f.__defaults__ or ()
    n, m = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames
    return (
        names[:n],
        names[n:m],
        names[m] if code.co_flags & inspect.CO_VARARGS else None,
        {**dict(zip(names[n - len(defaults) : n], defaults)), **(f.__kwdefaults__ or {})},
    )


def function(forward):
    """Decorator: makes a Function of a function on arrays. Its derivative is set by `.vjp`."""
    return Function(forward)


def by_hand(name, forward, backward, composed, kernel=None):
    """The operation on Tensors that the three functions of a file of `manual/` define."""
    return HandDerived(name, forward, backward, composed, kernel)


@function
def alias(a):
    """The same value, as a result of its own in the graph."""
    return a


alias.vjp(a=lambda g: g)


def _for_edges(node, ds):
    """[(edge, gradient)] of the arguments that need one; no array is given out twice."""
    ds = list(ds)
    if len(ds) != len(node.parents):
        raise TypeError(
            f"the rule of {node.name} gave {len(ds)} gradients for "
            f"{len(node.parents)} arrays; it must give one, or None, for each"
        )
    pairs, given = [], set()
    for edge, d in zip(node.parents, ds):
        if edge is not None and d is not None:
            pairs.append((edge, d.copy() if id(d) in given else d))
            given.add(id(d))
    return pairs


def _arrays_in(cache):
    """The arrays in a cache, which may be nested."""
    parts, found = [cache], []
    for part in parts:  # it grows
        if is_array(part):
            found.append(part)
        elif isinstance(part, (tuple, list)):
            parts.extend(part)
        elif isinstance(part, dict):
            parts.extend(part.values())
    return found


def _is_among(y, arrays):
    """Whether y shares memory with one of the arrays: it is the same, or one of both is a view."""
    for a in arrays:
        if (
            y is a
            or (y.base is not None or a.base is not None)
            and bool(namespace(y).may_share_memory(y, a))
        ):
            return True
    return False


def _memory_of(y, args):
    """That of the last of the Tensors of which an array is a view, or which it is; a new one if it
    is so of an array; or None."""
    memory, is_view = None, y.base is not None
    for a in args:
        if isinstance(a, Tensor):
            if y is a._array or is_view and namespace(y).may_share_memory(y, a._array):
                memory = a._memory
        elif y is a or is_view and is_array(a) and namespace(y).may_share_memory(y, a):
            memory = Memory()
    return memory


def _described(a):
    """An argument in a message: shape and dtype for arrays."""
    if isinstance(a, Tensor) or is_array(a):
        return f"{'Tensor' if isinstance(a, Tensor) else 'array'} {a.shape} {a.dtype}"
    text = repr(a)
    return text if len(text) < 60 else text[:57] + "..."


def caller():
    """ "file:line, in function" of the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(__package__):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
