"""Tests the tests: plants mistakes in the rules, one at a time, and counts how many are caught.

    python -m nanoautograd.testing.mutants                    all of them, which takes long
    python -m nanoautograd.testing.mutants --sample 60        some, evenly spread
    python -m nanoautograd.testing.mutants --only multiply    those whose place contains a word

Mistakes are generated from the source of everything that computes gradients: the rules of ops/
with the functions that only rules use, the `backward` functions of manual/ and of kernels/cpu/, and
the un-broadcasting and adding-up of the engine. Each is a small change of the syntax tree of one
function (`changes`), and is planted by giving the function the code of the changed one.

A mistake is *caught* if `gradcheck` refuses one of the calls that the table of operations draws for
an operation that runs the changed function: by its finite differences, or because the code fails.
A change that leaves all gradients of these calls as they are is *equivalent* on the operations'
domain. What changes a gradient, and is not caught, *survives*, and so does a change of a line that
no call executes. For the engine there are more calls: of `backward()`, which adds to leaves, of
large arrays, and of what must be refused (`runs`).
(DeMillo, Lipton and Sayward, Hints on test data selection, 1978.)
"""

import argparse
import ast
import copy
import importlib
import pkgutil
import signal
import sys
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from .. import backends, functional, manual, ops
from ..autograd import grad
from ..backends import device_of, is_float, sums, threads, to_device, to_numpy
from ..core import backward as walk
from ..core import operation
from ..core.operation import Primitive, function
from ..core.tensor import Leaf, Tensor
from ..custom_vjp import CustomVJP, use_manual
from ..errors import GraphError, ShapeError
from ..interface.array_interface import array_of
from ..kernels import cpu, linear_cross_entropy
from ..kernels.cpu.linear_cross_entropy import to_delta
from ..safety import in_place
from ..safety.anomaly import AnomalyError, detect_anomaly
from ..typing import Array
from .gradcheck import gradcheck
from .operations import EDGES, KINKS, LARGE, OPERATIONS, Calls
from .programs import Program, programs
from .report import GradientError

CALLS = 50  # calls drawn for each operation, some of them twice
SECONDS = 20  # for one call; a mistake that loops for ever is caught, too

# Survivors that are no gap in the tests: (place, change) -> the reason.
BY_ROUNDING = "off by what y was rounded by, 1e-13 here; tests/test_precision.py sees it in float32"
EXPLAINED: dict[tuple[str, str], str] = dict.fromkeys(
    (
        ("ops.reductions._softmax", "s == 0  ->  s != 0"),
        ("ops.reductions._softmax", "where(s == 0, 1, s)  ->  1"),
        ("ops.reductions._softmax", "e / where(s == 0, 1, s)  ->  e * where(s == 0, 1, s)"),
    ),
    BY_ROUNDING,
)

Tree = Any  # ast.Lambda or ast.FunctionDef
Change = tuple[str, ast.AST]  # the kind of a mistake, and what is put in place of a node
Order = int | str  # 1, 2, LEAVES or REFUSED
Found = list[Any]  # gradients: an array, or None for zero, for each input
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


# ---- where mistakes are planted


@dataclass(frozen=True)
class Site:
    """A function that takes part in computing gradients, and its syntax tree."""

    place: str  # "ops.elementwise.multiply.defvjp(a)", "manual.rnn.backward"
    function: types.FunctionType
    tree: Tree

    @property
    def namespace(self) -> dict[str, Any]:
        return self.function.__globals__


@cache
def tree_of(module: types.ModuleType) -> ast.Module:
    with open(str(module.__file__), encoding="utf-8") as file:
        return ast.parse(file.read())


def sites() -> list[Site]:
    """All of them, in the order of the source."""
    found = {}
    forward, backward = set(), set()
    for module in (*_modules(ops), *_modules(manual), *_modules(cpu)):
        for rule, place, tree in _rules(module):
            backward |= _reached(rule)
            if isinstance(tree, ast.Lambda):
                found[rule.__code__] = Site(place, rule, tree)
        for value in vars(module).values():
            if isinstance(value, Primitive):
                forward |= _reached(value.forward)
            elif isinstance(value, types.FunctionType):
                (backward if value.__name__.endswith("backward") else forward).update(
                    _reached(value) if not value.__name__.startswith("_") else ()
                )
    for f in (backward - forward) | engine():
        if f.__code__ not in found and isinstance(f, types.FunctionType):
            tree = _definition(f)
            if tree is not None:
                found[f.__code__] = Site(f"{_short(f.__module__)}.{f.__qualname__}", f, tree)
    return sorted(
        found.values(), key=lambda s: (s.function.__module__, s.tree.lineno, s.tree.col_offset)
    )


def engine() -> set[Any]:
    """The functions and methods of core/backward.py, and those that add up gradients elsewhere."""
    found: set[Any] = {backends.scatter_add, backends._add_rows, operation.with_zeros, Leaf.add}
    found |= {CustomVJP.apply_vjp, CustomVJP.apply_reference, in_place.new_among, in_place.unpack}
    found |= {Primitive.apply_vjp, ops.indexing.IndexedGradient.add_to, sums.unbroadcast}
    found |= {linear_cross_entropy.backward, linear_cross_entropy.add_linear}
    found.add(to_delta)
    for value in vars(walk).values():
        if getattr(value, "__module__", "") == walk.__name__:
            found |= {
                f
                for f in (vars(value).values() if isinstance(value, type) else [value])
                if isinstance(f, types.FunctionType) and f.__name__ != "__init__"
            }
    return found


def _modules(package: types.ModuleType) -> Iterator[types.ModuleType]:
    for info in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{info.name}")


def _short(module: str) -> str:
    return module.removeprefix("nanoautograd.")


def _rules(module: types.ModuleType) -> Iterator[tuple[types.FunctionType, str, ast.expr]]:
    """(rule, place, tree) for each `name.defvjp(argument=rule, ...)` in a module."""
    for call in ast.walk(tree_of(module)):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "defvjp"
            and isinstance(call.func.value, ast.Name)
        ):
            name = call.func.value.id
            for keyword in call.keywords:
                rule = getattr(module, name).rules[keyword.arg]
                place = f"{_short(module.__name__)}.{name}.defvjp({keyword.arg})"
                yield rule, place, keyword.value


def _reached(f: types.FunctionType) -> set[types.FunctionType]:
    """f and the functions of this package that it calls, but for the operations themselves."""
    found, waiting = set(), [f]
    while waiting:
        f = waiting.pop()
        if f in found or not f.__module__.startswith("nanoautograd."):
            continue
        found.add(f)
        for name in _names(f.__code__):
            g = f.__globals__.get(name)
            if isinstance(g, types.FunctionType) and g.__name__ not in ops.__all__:
                waiting.append(g)
    return found


def _names(code: types.CodeType) -> list[str]:
    """All names that a code object reads, and those in the functions inside it."""
    return [name for part in _parts(code) for name in part.co_names]


def _definition(f: types.FunctionType) -> ast.FunctionDef | None:
    """The FunctionDef of a function or method in its module, or None."""
    body = tree_of(sys.modules[f.__module__]).body
    for part in f.__qualname__.split("."):
        node = next((n for n in body if getattr(n, "name", None) == part), None)
        body = getattr(node, "body", [])
    return node if isinstance(node, ast.FunctionDef) else None


# ---- what mistakes are made

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
}
COMPARISONS = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


def changes(node: Any, arguments: list[str]) -> Iterator[Change]:
    """(kind, replacement) for every mistake that can be made at one node of a rule's tree.

    arguments: the names of the rule's parameters.
    """
    if isinstance(node, ast.Lambda):
        yield from ((kind, _lambda(node, body)) for kind, body in _spoiled(node.body))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield from ((kind, ast.Return(value)) for kind, value in _spoiled(node.value))
    elif isinstance(node, ast.BinOp):
        left, op, right = node.left, node.op, node.right
        if type(op) in OPERATORS:
            yield "operator", ast.BinOp(left, OPERATORS[type(op)](), right)
        if isinstance(op, (ast.Sub, ast.Div, ast.MatMult, ast.Pow)):
            yield "swapped operands", ast.BinOp(right, op, left)
        kind = "dropped term" if isinstance(op, (ast.Add, ast.Sub)) else "dropped factor"
        yield kind, left
        yield kind, right
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
        yield "sign" if isinstance(node.op, ast.USub) else "condition", node.operand
    elif isinstance(node, ast.Compare):
        if type(node.ops[0]) in COMPARISONS:
            yield (
                "condition",
                ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators),
            )
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield "condition", value
    elif isinstance(node, ast.IfExp):
        yield "missing case", node.body
        yield "missing case", node.orelse
    elif isinstance(node, ast.Call):
        yield from _changed_call(node)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield "option", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "off by one", ast.Constant(node.value + 1)
        yield "off by one", ast.BinOp(ast.Constant(node.value), ast.Sub(), ast.Constant(1))
    elif isinstance(node, ast.Constant) and type(node.value) is float:
        yield "factor", ast.BinOp(ast.Constant(2), ast.Mult(), ast.Constant(node.value))
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield "not transposed", node.value
    elif (
        isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and node.id in arguments
        and len(arguments) < 5
    ):
        for other in arguments:
            if other != node.id and "needs" not in (other, node.id):
                kind = "stale value" if "out" in (other, node.id) else "swapped arguments"
                yield kind, ast.Name(other, ast.Load())
    elif isinstance(node, ast.Slice):
        if node.lower is not None:
            yield "off by one", ast.Slice(None, node.upper, node.step)
        if node.upper is not None:
            yield "off by one", ast.Slice(node.lower, None, node.step)
    elif isinstance(node, ast.AugAssign):
        target = copy.deepcopy(node.target)
        if isinstance(target, ast.Name) or isinstance(node.op, ast.Add):
            yield "lost duplicates", ast.Assign([target], node.value)
        yield "missing step", ast.Pass()
        if type(node.op) in OPERATORS:
            yield "operator", ast.AugAssign(target, OPERATORS[type(node.op)](), node.value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "missing step", ast.Pass()
    elif isinstance(node, ast.If):
        for truth in (True, False):
            yield "condition", ast.If(ast.Constant(truth), node.body, node.orelse)


def _lambda(node: Any, body: ast.expr) -> ast.Lambda:
    return ast.Lambda(node.args, body)


def _spoiled(value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """A returned gradient (or each of several) with the wrong sign, or a wrong factor."""
    if isinstance(value, ast.Tuple):
        for k, item in enumerate(value.elts):
            if not isinstance(item, ast.Starred):
                for kind, worse in _spoiled(item):
                    yield (
                        kind,
                        ast.Tuple([*value.elts[:k], worse, *value.elts[k + 1 :]], ast.Load()),
                    )
    else:
        yield "sign", ast.UnaryOp(ast.USub(), value)
        yield "factor", ast.BinOp(value, ast.Mult(), ast.Constant(1 + 1e-5))


def _changed_call(node: Any) -> Iterator[Change]:
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    first = [a for a in node.args if not isinstance(a, ast.Starred)]
    if name == "where" and len(first) == 3:
        yield "missing mask", first[1]
        yield "missing mask", first[2]
        yield "condition", ast.Call(node.func, [first[0], first[2], first[1]], [])
        return
    if name in {"scatter_add", "scatter_add_"} and len(first) == 3:
        buffer, index, values = first
        assign = ast.Call(
            ast.Attribute(copy.deepcopy(buffer), "__setitem__", ast.Load()), [index, values], []
        )
        yield "lost duplicates", assign
    if len(first) > 1:
        yield (
            "swapped arguments",
            ast.Call(node.func, [first[1], first[0], *node.args[2:]], node.keywords),
        )
    if first and isinstance(node.func, ast.Name) and name not in {"len", "range", "isinstance"}:
        yield "missing call", first[0]
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield "missing call", node.func.value  # x.sum(...) -> x
    for k, keyword in enumerate(node.keywords):
        if keyword.arg == "axis":
            others = [*node.keywords[:k], *node.keywords[k + 1 :]]
            for axis in (0, -1):
                yield (
                    "wrong axis",
                    ast.Call(
                        node.func,
                        node.args,
                        [*others, ast.keyword("axis", ast.parse(str(axis), mode="eval").body)],
                    ),
                )


def _is_module(node: Any) -> bool:
    return isinstance(node, ast.Name) and node.id in {"xp", "np", "math"}


@dataclass(frozen=True)
class Mutant:
    """One mistake: the site, the kind, the change in words, and the changed code."""

    site: Site
    kind: str
    change: str
    code: types.CodeType
    lines: range  # those of the source that are changed

    def __str__(self) -> str:
        return f"{self.site.place}, line {self.site.tree.lineno}: {self.kind}: {self.change}"


Result = tuple[Mutant, str, str]  # with its status, and how or where


def mutants(site: Site) -> Iterator[Mutant]:
    """Every mistake that can be made in the function of a site, each once."""
    arguments = [a.arg for a in site.tree.args.args]
    seen = {ast.dump(site.tree)}
    places: list[Any] = [
        n for n in ast.walk(site.tree) if n is not site.tree or isinstance(n, ast.Lambda)
    ]
    hidden, slots = {id(n) for n in _without_effect(site.tree)}, _slots(site.tree)
    for node in places:
        if id(node) in hidden:
            continue
        for kind, new in changes(node, arguments):
            ast.fix_missing_locations(ast.copy_location(new, node))
            before = ast.unparse(node)
            with _replaced(site.tree, slots, node, new) as tree:
                text = ast.dump(tree)
                if text in seen:
                    continue
                seen.add(text)
                try:
                    code = _compiled(site, tree)
                except (SyntaxError, ValueError):
                    continue
                change = f"{_line(before)}  ->  {_line(ast.unparse(new))}"
            yield Mutant(site, kind, change, code, range(node.lineno, node.end_lineno + 1))


def _without_effect(tree: Tree) -> Iterator[ast.AST]:
    """Nodes that say nothing about gradients: docstrings, annotations, raised errors, defaults."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Raise, ast.arguments, ast.JoinedStr)):
            yield from ast.walk(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield from ast.walk(node)


Slots = dict[int, tuple[Any, str, int | None]]


def _slots(tree: Tree) -> Slots:
    """{id of a node: where it hangs in the tree, as (parent, field, place if that is a list)}."""
    found: Slots = {}
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, list):
                found |= {id(node): (parent, field, k) for k, node in enumerate(value)}
            elif isinstance(value, ast.AST):
                found[id(value)] = parent, field, None
    return found


@contextmanager
def _replaced(tree: Tree, slots: Slots, old: Any, new: Any) -> Iterator[Tree]:
    """The tree with a node replaced, for as long as the block lasts: it is not copied."""
    if old is tree:
        yield new
        return
    parent, field, k = slots[id(old)]

    def hang(node: Any) -> None:
        if k is None:
            setattr(parent, field, node)
        else:
            getattr(parent, field)[k] = node

    hang(new)
    try:
        yield tree
    finally:
        hang(old)


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) < 90 else text[:87] + "..."


def _compiled(site: Site, tree: Tree) -> types.CodeType:
    """The code object of a changed function."""
    space = dict(site.namespace)
    if isinstance(tree, ast.Lambda):
        return eval(compile(ast.Expression(tree), "<mutant>", "eval"), space).__code__
    bare = copy.copy(tree)
    bare.decorator_list = []
    exec(compile(ast.Module([bare], []), "<mutant>", "exec"), space)
    return space[tree.name].__code__


# ---- whether they are caught


def examples(strategy: Calls, count: int) -> list[Program]:
    """Up to `count` calls from a Hypothesis strategy, always the same ones, the largest first."""
    found = {}

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(call: Program) -> None:
        found[repr(call)] = call

    collect()
    return sorted(found.values(), key=lambda call: -sum(x.size for x in call.inputs))


@cache
def table() -> dict[str, list[Program]]:
    """{name of operation: its calls}; random programs, where gradients are added up; and what is
    done in another way where it is large."""
    calls = {name: examples(row.calls, CALLS) for name, row in OPERATIONS.items()}
    for call in [*KINKS.values(), *EDGES.values()]:
        calls[call.instructions[0].name].append(call)
    calls |= {AS_READ + name: calls[name] for name in calls if name.startswith("functional.")}
    return calls | {PROGRAMS: examples(programs(), 2 * CALLS), LARGE_CALLS: [*LARGE.values()]}


PROGRAMS, LARGE_CALLS = "random programs", "large calls"
AS_READ = "manual/ of "  # before the name of an operation: computed as it is written there
# Beside the orders 1 and 2: backward(), which adds to the leaves' `.grad`; and what must not go on.
LEAVES, REFUSED = "leaves", "refused"


@contextmanager
def in_threads(n: int) -> Iterator[None]:
    """`with in_threads(n):` work is cut for n threads, and they do it; the BLAS keeps its own."""
    before = vars(threads._team).copy()
    threads._team.size, threads._team.piece_count, threads._team.pool = n, n, None
    try:
        yield
    finally:
        if threads._team.pool is not None:
            threads._team.pool.shutdown()
        vars(threads._team).clear()
        vars(threads._team).update(before)


def switched(name: str) -> AbstractContextManager[object]:
    """The context in which the calls of that name are computed."""
    if name.startswith(AS_READ):
        return use_manual()
    return in_threads(2) if name == LARGE_CALLS else nullcontext()


def runs() -> list[tuple[Order, str, int]]:
    """[(order, name, how many)] of all that is computed with a mistake, first order first."""
    calls = {name: len(calls) for name, calls in table().items()}
    found: list[tuple[Order, str, int]] = [(1, *item) for item in calls.items()]
    found += [
        (2, name, n)
        for name, n in calls.items()
        if name != LARGE_CALLS and not name.startswith(AS_READ)
    ]
    found += [(LEAVES, name, calls[name]) for name in (PROGRAMS, LARGE_CALLS)]
    return [*found, (REFUSED, "refusals", len(REFUSALS))]


@dataclass
class Coverage:
    """Of the code of a site: which of the `runs` run it, and which of its lines are executed."""

    where: list[tuple[Order, str, int]]
    lines: set[int]


@cache
def coverage() -> dict[types.CodeType, Coverage]:
    """{code of a site: its Coverage}."""
    found = {site.function.__code__: Coverage([], set()) for site in sites()}
    outer = {part: code for code in found for part in _parts(code)}
    seen = set()

    def trace_lines(frame: types.FrameType, event: str, _: object) -> Any:
        found[outer[frame.f_code]].lines.add(frame.f_lineno)
        return trace_lines

    def trace(frame: types.FrameType, event: str, _: object) -> Any:
        if frame.f_code in outer:
            seen.add(outer[frame.f_code])
            return trace_lines(frame, event, _)

    for order, name, count in runs():
        seen.clear()
        for k in range(count):
            sys.settrace(trace)
            try:
                gradients.__wrapped__(order, name, k)
            finally:
                sys.settrace(None)
        for code in seen:
            if all(where[:2] != (1, name) for where in found[code].where):
                found[code].where.append((order, name, count))
    return found


def _parts(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object, and those of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _parts(constant)


@cache
def gradients(order: Order, name: str, k: int) -> Found:
    """The gradients of the k-th call of an operation, as arrays.

    Those of first order also for each input alone: rules leave out what nobody needs.
    """
    if order == REFUSED:
        return [np.array(REFUSALS[k]())]
    call = table()[name][k]
    with switched(name):
        return _gradients_of(call, order)


def _gradients_of(call: Program, order: Order) -> Found:
    if order == LEAVES:
        us = [_cotangent(y, False).data for y in _values(call)]
        return into_leaves(call, us, *call.inputs)
    xs = [Tensor(x, requires_grad=True) for x in call.inputs]
    if order == 2:
        outs = call(*xs)
        us = [_cotangent(y, True) for y in outs]
        gs = grad(outs, xs, us, create_graph=True, allow_unused=True)
        return _arrays(gs) + _gradients([g for g in gs if g is not None], [*xs, *us])
    found = _gradients(call(*xs), xs)
    for i in range(len(xs) if len(xs) > 1 else 0):
        alone = [Tensor(x, requires_grad=i == j) for j, x in enumerate(call.inputs)]
        found += _gradients(call(*alone), [alone[i]])
    return found


def into_leaves(call: Program, us: list[Array], *xs: Array) -> Found:
    """The gradients of a call, as `backward` adds them to the leaves: once, then twice more into
    the same `.grad`, the last time recorded. What was read is filled with NaN, in case that it was
    somebody else's as well."""
    leaves = [Tensor(x, requires_grad=True) for x in xs]
    outs = [y for y in call(*leaves) if is_float(y.dtype)]
    gradients, found = [y for y in zip(outs, us) if y[0].requires_grad], []
    for times in (1, 2):
        for time in range(times):
            for y, u in gradients:
                y.backward(u.copy(), retain_graph=True, create_graph=time == 1)
        for i, leaf in enumerate(leaves):
            found.append(None if leaf.grad is None else leaf.grad.data.copy())
            if leaf.grad is not None:
                leaf.grad.data[...] = np.nan
                leaf.grad = None
    once, twice = found[: len(xs)], found[len(xs) :]
    return [None if g is None else (g + h) / 3 for g, h in zip(once, twice)]


def _values(call: Program) -> list[Any]:
    return [y for y in call(*map(np.copy, call.inputs)) if is_float(y.dtype)]


def _gradients(outs: Any, xs: list[Any]) -> Found:
    outs = [y for y in outs if y.requires_grad]
    return _arrays(grad(outs, xs, [_cotangent(y, False) for y in outs], allow_unused=True))


def _arrays(gs: Any) -> Found:
    return [None if g is None else to_numpy(g.data) for g in gs]


def _cotangent(y: Any, requires_grad: bool) -> Tensor:
    u = 1.5 + np.cos(np.arange(y.size) + 1.0).reshape(y.shape)
    return Tensor(u, requires_grad=requires_grad, device=device_of(array_of(y)))


# ---- what is to be refused, explained, or right where no call goes: each returns whether it was


def _raises(
    error: type[Exception], words: str, f: Callable[..., Any], *args: Any, **options: Any
) -> bool:
    try:
        f(*args, **options)
    except Exception as raised:
        return isinstance(raised, error) and words in "".join(
            [str(raised), *getattr(raised, "__notes__", [])]
        )
    return False


def freed_graph() -> bool:
    x = Tensor([1.0, 2.0], requires_grad=True)
    found = True
    for f in (lambda x: x * x, functional.softmax):
        y = ops.sum(f(x))
        y.backward()
        found &= _raises(GraphError, "freed", y.backward)
    return found


def overwritten_value() -> bool:
    found = True
    for f in (lambda x: x * x, ops.exp, functional.softmax, functional.gelu):
        for which in (0, 1):
            x = Tensor([1.0, 2.0], requires_grad=True) * 1.0
            y = f(x)
            z = ops.sum(y)
            (x, y)[which][0] = 7.0
            found &= _raises(GraphError, "overwritten", z.backward) == (
                f is ops.exp
                and which == 1
                or f is functional.softmax
                or f is not ops.exp
                and which == 0
            )
    return found


def gradient_that_is_nan() -> bool:
    with detect_anomaly():
        x = Tensor([0.0], requires_grad=True)
        y = ops.sum(ops.sqrt(x) * 0.0)
        return _raises(AnomalyError, "sqrt", y.backward)


@function
def _broken(x: Any, kind: str) -> Any:
    return x * 1.0


def _broken_rule(g: Any, kind: str) -> Any:
    if kind == "error":
        raise KeyError("lost")
    return {"shape": np.ones(7), "type": "text"}[kind]


_broken.defvjp(x=_broken_rule)


def rule_that_fails() -> bool:
    x, found = Tensor([1.0, 2.0], requires_grad=True), True
    for kind, error, words in (
        ("error", KeyError, "in the gradient of broken"),
        ("shape", ShapeError, "broken gave a gradient of shape (7,)"),
        ("type", TypeError, "broken gave a gradient that is str"),
    ):
        found &= _raises(error, words, ops.sum(_broken(x, kind)).backward) and x.grad is None
    return found


def row_out_of_range() -> bool:
    return _raises(
        IndexError, "out of range", backends.scatter_add, np.zeros((3, 2)), np.array([3]), 1.0
    )


def sums_at_repeated_indices() -> bool:
    """`scatter_add` of every dtype, on each device, and of many numbers: as it is in float64."""
    found, rng = True, np.random.default_rng(0)
    for device in ("cpu", "strict"):
        for dtype in ("float16", "float32", "float64"):
            for shape, n in (((3,), 2), ((3,), 5), ((3, 2), 5), ((20_000,), backends.MANY)):
                rows = rng.integers(0, min(shape[0], 2 * n), n)
                index = rows if len(shape) == 1 else (rows, rng.integers(0, 2, n))
                places: tuple[Any, ...] = (index, slice(0, 2), 1)
                for at in places:
                    buffer, values = np.ones(shape), np.float64(3.0)
                    if not isinstance(at, (int, slice)):
                        values = rng.integers(0, 4, n) / 4
                    y = to_device(buffer.astype(dtype), device)
                    backends.scatter_add(y, _on(at, device), _on(values.astype(dtype), device))
                    np.add.at(buffer, at, values)
                    found &= to_numpy(y).tolist() == buffer.astype(dtype).tolist()
    return found


def what_is_left_to_manual() -> bool:
    """Where the fast form of an operation is out of range, the gradients are those of manual/: of
    classes smoothed by weights of which one is infinite, and of norms whose squares overflow."""
    rng, weight, y = np.random.default_rng(0), np.array([1.0, np.inf]), np.array([0, 1])
    hidden, scores = (Tensor(rng.standard_normal((2, 2)), requires_grad=True) for _ in range(2))
    w, b = (Tensor(rng.standard_normal(2), requires_grad=True) for _ in range(2))
    huge = Tensor(rng.standard_normal((3, 2)) * 1e200, requires_grad=True)
    linear: Any = functional.linear_cross_entropy
    smoothed: dict[str, Any] = {"label_smoothing": 0.1}

    def gradients() -> Found:
        calls = (
            (functional.cross_entropy(scores, y, weight, **smoothed), [scores]),
            (linear(hidden, scores, y, None, weight, **smoothed), [hidden, scores]),
            (functional.layer_norm(huge, 2, w, b), [huge, w, b]),
            (functional.rms_norm(huge, 2, w), [huge, w]),
        )
        return [
            g.data
            for out, inputs in calls
            for g in grad(out, inputs, np.cos(np.arange(out.size)).reshape(out.shape))
        ]

    with np.errstate(all="ignore"):
        found = gradients()
        with use_manual():
            return all(np.array_equal(g, h, equal_nan=True) for g, h in zip(found, gradients()))


def _on(x: Any, device: str) -> Any:
    """An array, or a tuple of them, on a device; anything else as it is."""
    if type(x) is tuple:
        return tuple(_on(part, device) for part in x)
    return to_device(x, device) if isinstance(x, np.ndarray) else x


REFUSALS = [
    freed_graph,
    overwritten_value,
    gradient_that_is_nan,
    rule_that_fails,
    row_out_of_range,
    sums_at_repeated_indices,
    what_is_left_to_manual,
]


# ---- the verdict


class Planted:
    """`with Planted(function, code)`: the function runs the code."""

    def __init__(self, function: types.FunctionType, code: types.CodeType) -> None:
        self.function, self.code = function, code

    def __enter__(self) -> None:
        self.original, self.function.__code__ = self.function.__code__, self.code

    def __exit__(self, *_: object) -> None:
        self.function.__code__ = self.original


def verdict(mutant: Mutant) -> tuple[str, str]:
    """("caught", how), ("equivalent", ""), or ("survived", the operations that it passed, or that
    nothing executes it)."""
    covered, passed = coverage()[mutant.site.function.__code__], []
    if covered.lines.isdisjoint(mutant.lines):
        return "survived", "nothing executes it"
    for order, name, count in covered.where:
        for k in range(count):
            if _differs(mutant, order, name, k):
                passed.append(name)
                try:
                    with Planted(mutant.site.function, mutant.code), _time_limit(SECONDS):
                        _check(order, name, k)
                except GradientError as error:
                    return "caught", f"difference ({error.guess})"
                except Exception as error:  # whatever the wrong code leads to
                    return "caught", f"error ({type(error).__name__})"
    if not passed:
        return "equivalent", ""
    return "survived", ", ".join(dict.fromkeys(passed))


def _check(order: Order, name: str, k: int) -> None:
    """Raises if the gradients of a call are wrong, or something is not refused."""
    if order == REFUSED:
        assert REFUSALS[k]()
        return
    call = table()[name][k]
    options = {"vjp": partial(into_leaves, call)} if order == LEAVES else {"order": order}
    with switched(name):
        gradcheck(call, call.inputs, **options)


class _time_limit:
    """Raises TimeoutError in the block after some seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        def stop(*_: object) -> None:
            raise TimeoutError

        self.before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(self.seconds)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)


def _differs(mutant: Mutant, order: Order, name: str, k: int) -> bool:
    """Does the mistake change a gradient of the k-th call of an operation?"""
    expected = gradients(order, name, k)
    try:
        with Planted(mutant.site.function, mutant.code), _time_limit(SECONDS):
            found = gradients.__wrapped__(order, name, k)
    except Exception:
        return True
    return not all(map(_same, found, expected))


def _same(a: Array | None, b: Array | None) -> bool:
    """Equal but for rounding."""
    if a is None or b is None:
        return a is b
    return (a.shape, a.dtype) == (b.shape, b.dtype) and np.allclose(
        a, b, rtol=0, atol=1e-13 * np.abs(b).max(initial=0.0), equal_nan=True
    )


# ---- the command


def all_mutants() -> list[Mutant]:
    return [mutant for site in sites() for mutant in mutants(site)]


def sample(everything: list[Mutant], count: int) -> list[Mutant]:
    """`count` of a list, evenly spread."""
    step = max(1.0, len(everything) / count)
    return [everything[int(k * step)] for k in range(min(count, len(everything)))]


def _verdict_of(number: int) -> tuple[int, tuple[str, str]]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return number, verdict(_CHOSEN[number])


_CHOSEN: list[Mutant] = []  # what the processes work on: they are forked, and inherit it


def judge(
    chosen: list[Mutant], jobs: int, progress: Progress = lambda done, total: done
) -> list[Result]:
    """[(mutant, status, detail)] for every mutant of a list."""
    _CHOSEN[:] = chosen
    coverage()
    results = {}
    if jobs == 1:
        results = dict(map(_verdict_of, progress(range(len(chosen)), len(chosen))))
        return [(mutant, *results[k]) for k, mutant in enumerate(chosen)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        waiting = [pool.submit(_verdict_of, number) for number in range(len(chosen))]
        for done in progress(as_completed(waiting), len(chosen)):
            number, result = done.result()
            results[number] = result
    return [(mutant, *results[k]) for k, mutant in enumerate(chosen)]


def bar(iterator: Iterable[Any], total: int) -> Iterable[Any]:
    """A progress bar, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return iterator
    return tqdm(iterator, total=total, unit=" mistakes", disable=None)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nanoautograd.testing.mutants",
        description="Plants mistakes in the rules, one at a time, and counts those caught.",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="plant N, evenly spread")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="plant those whose place contains WORD"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="list every mistake")
    options = parser.parse_args(argv)
    chosen = [m for m in all_mutants() if options.only in m.site.place]
    if options.sample:
        chosen = sample(chosen, options.sample)
    results = judge(chosen, options.jobs, bar)
    return report(results, options.verbose)


def report(results: list[Result], verbose: bool = False) -> int:
    """Prints the result; returns the number of survivors without an explanation."""
    kinds: dict[str, Counter[str]] = {}
    for mutant, status, _ in results:
        kinds.setdefault(mutant.kind, Counter())[status] += 1
    print(f"{'mistake':<20}{'planted':>9}{'caught':>9}{'equivalent':>12}{'survived':>10}")
    for kind, counts in sorted(kinds.items()):
        print(
            f"{kind:<20}{counts.total():>9}{counts['caught']:>9}{counts['equivalent']:>12}"
            f"{counts['survived']:>10}"
        )
    total = sum(kinds.values(), Counter[str]())
    how = Counter(detail.partition(" ")[0] for _, status, detail in results if status == "caught")
    print(
        f"{'all':<20}{total.total():>9}{total['caught']:>9}{total['equivalent']:>12}"
        f"{total['survived']:>10}"
    )
    print(
        f"caught: {how['difference']} by comparison with finite differences or between two ways "
        f"to a gradient,\n        {how['error']} because the wrong code failed"
    )
    print(
        f"caught / planted that change the function: {total['caught']} / "
        f"{total['caught'] + total['survived']}"
    )
    unexplained = 0
    for mutant, status, detail in results:
        if status == "survived":
            reason = EXPLAINED.get((mutant.site.place, mutant.change))
            unexplained += reason is None
            print(f"SURVIVED  {mutant}\n          {reason or 'not explained; ran in: ' + detail}")
        elif verbose:
            print(f"{status:<12}{mutant}  {detail}")
    return unexplained


if __name__ == "__main__":
    sys.exit(min(main(), 1))
