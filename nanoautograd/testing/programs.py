"""Random programs: small computations of many operations, as readable Python.

A program is a list of instructions on numbered values. Values are used again and again, so the
graph has shared nodes; what nobody uses is an output, so there are several; shapes are mixed, and
some instructions have several results. Every instruction is tried out on the actual values when it
is drawn, and only taken where the operation is smooth, so any program can be gradient-checked.

    >>> from hypothesis import given
    >>> @given(programs())
    ... def test(program):
    ...     gradcheck(program, program.inputs, order=2)

A failing program shrinks to the fewest instructions, and prints as a function that can be pasted
into a file and run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .. import functional, ops
from ..backends import device_of, is_array, to_device
from ..core.tensor import Tensor
from ..typing import Array
from . import arguments, oracle

Constant = Callable[[Any], Any]  # what an array among the arguments of an instruction becomes


@dataclass(frozen=True)
class Value:
    """Stands for the value `v<number>` among the arguments of an instruction."""

    number: int

    def __repr__(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True)
class Instruction:
    """results = nag.<name>(*args, **options)"""

    name: str
    args: tuple
    options: dict = field(default_factory=dict)
    results: tuple = ()

    def __repr__(self) -> str:
        args = [_text(a) for a in self.args]
        args += [f"{key}={_text(value)}" for key, value in self.options.items()]
        left = ", ".join(f"v{n}" for n in self.results)
        return f"{left} = nag.{self.name}({', '.join(args)})"


@dataclass(frozen=True)
class Program:
    """inputs: float64 arrays, the values v0, v1, ...; then the instructions; outputs: numbers."""

    inputs: tuple
    instructions: tuple
    outputs: tuple

    @property
    def __name__(self) -> str:
        return self.instructions[0].name if len(self.instructions) == 1 else "program"

    @property
    def __signature__(self) -> Signature:
        return Signature(
            [Parameter(f"v{n}", Parameter.POSITIONAL_ONLY) for n in range(len(self.inputs))]
        )

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The outputs, computed with this package from Tensors or arrays of any backend."""
        first = inputs[0].data if isinstance(inputs[0], Tensor) else inputs[0]
        device = device_of(first)
        return self._run(_operation, inputs, lambda a: to_device(a, device))

    def in_numpy(self) -> tuple[Any, ...]:
        """The outputs at `inputs` as plain NumPy computes them (see oracle.py)."""
        return self._run(oracle.find, self.inputs, lambda a: a)

    def _run(
        self, find: Callable[[str], Callable[..., Any]], inputs: Sequence[Any], constant: Constant
    ) -> tuple[Any, ...]:
        values = dict(enumerate(inputs))
        for step in self.instructions:
            args = [_filled(a, values, constant) for a in step.args]
            options = {key: _filled(a, values, constant) for key, a in step.options.items()}
            out = find(step.name)(*args, **options)
            values.update(zip(step.results, _leaves(out), strict=True))
        return tuple(values[n] for n in self.outputs)

    def __repr__(self) -> str:
        names = [f"v{n}" for n in range(len(self.inputs))]
        lines = [
            f"def program({', '.join(names)}):",
            *map("    {!r}".format, self.instructions),
            f"    return {', '.join(f'v{n}' for n in self.outputs)}",
        ]
        lines += [f"v{n} = np.array({x.tolist()})" for n, x in enumerate(self.inputs)]
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How Hypothesis shows a failing example."""
        for k, line in enumerate(repr(self).splitlines()):
            if k:
                printer.break_()
            printer.text(line)


def _leaves(value: Any) -> list[Any]:
    """The results in a tuple that may be nested, from left to right."""
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()})"
    if isinstance(value, tuple):
        inside = ", ".join(map(_text, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)


def _operation(name: str) -> Callable[..., Any]:
    """The function that `nag.<name>` is."""
    return getattr(functional if name.startswith("functional.") else ops, name.split(".")[-1])


def _filled(arg: Any, values: Mapping[int, Any], constant: Constant) -> Any:
    """An argument with the values filled in, and with `constant` applied to arrays in it."""
    if isinstance(arg, Value):
        return values[arg.number]
    if isinstance(arg, (list, tuple)):
        return type(arg)(_filled(a, values, constant) for a in arg)
    return constant(arg) if is_array(arg) else arg


def call(name: str, *args: Any, results: int = 1, **options: Any) -> Program:
    """A Program of one instruction: each float64 array among the arguments is an input.

    call("concatenate", [x, y], axis=0)
    """
    inputs = []

    def numbered(arg: Any) -> Any:
        if isinstance(arg, (list, tuple)):
            return type(arg)(map(numbered, arg))
        if is_array(arg) and arg.dtype == np.float64:
            inputs.append(arg)
            return Value(len(inputs) - 1)
        return arg

    args = tuple(map(numbered, args))
    options = {key: numbered(value) for key, value in options.items()}
    n = len(inputs)
    outputs = tuple(range(n, n + results))
    return Program(tuple(inputs), (Instruction(name, args, options, outputs),), outputs)


# ---- what may happen to one, two or more values. `ok` says where an operation is smooth, and tame.


def _everywhere(*arrays: Array) -> bool:
    return True


def _apart(x: Array) -> Any:
    """No two elements nearly equal."""
    return x.size < 2 or np.diff(np.sort(x, axis=None)).min() > 0.01


ELEMENTWISE: dict[str, Callable[[Array], Any]] = {
    "tanh": _everywhere,
    "sin": _everywhere,
    "cos": _everywhere,
    "sigmoid": _everywhere,
    "softplus": _everywhere,
    "erf": _everywhere,
    "arctan": _everywhere,
    "negative": _everywhere,
    "square": _everywhere,
    "functional.relu": lambda x: np.abs(x).min() > 0.01,
    "exp": lambda x: x.max() < 3,
    "expm1": lambda x: x.max() < 3,
    "sinh": lambda x: np.abs(x).max() < 3,
    "cosh": lambda x: np.abs(x).max() < 3,
    "log": lambda x: x.min() > 0.2,
    "sqrt": lambda x: x.min() > 0.2,
    "log1p": lambda x: x.min() > -0.7,
    "reciprocal": lambda x: np.abs(x).min() > 0.3,
    "abs": lambda x: np.abs(x).min() > 0.01,
    "arcsin": lambda x: np.abs(x).max() < 0.9,
    "arccos": lambda x: np.abs(x).max() < 0.9,
    "tan": lambda x: np.abs(np.cos(x)).min() > 0.3,
}
PAIRWISE: dict[str, Callable[[Array, Array], Any]] = {
    "add": _everywhere,
    "subtract": _everywhere,
    "multiply": _everywhere,
    "divide": lambda a, b: np.abs(b).min() > 0.3,
    "power": lambda a, b: a.min() > 0.2 and np.abs(b).max() < 4,
    "maximum": lambda a, b: np.abs(a - b).min() > 0.01,
    "minimum": lambda a, b: np.abs(a - b).min() > 0.01,
    "arctan2": lambda a, b: (a * a + b * b).min() > 0.1,
}
REDUCTIONS: dict[str, Callable[[Array], Any]] = {
    "sum": _everywhere,
    "mean": _everywhere,
    "prod": _everywhere,
    "logsumexp": _everywhere,
    "var": _everywhere,
    "max": _apart,
    "min": _apart,
    "norm": lambda x: np.abs(x).min() > 0.1,
}
KINDS = [
    "none",
    "elementwise",
    "pairwise",
    "reduction",
    "matmul",
    "shape",
    "axis",
    "join",
    "index",
    "split",
    "choice",
]
SIZE, LARGEST = 40, 30.0  # of a value: elements, absolute value


@st.composite
def programs(draw: st.DrawFn, max_instructions: int = 7, max_inputs: int = 3) -> Program:
    """Random programs (see the top of programs.py), each with inputs at which it is smooth."""
    first = draw(arguments.shapes(0, 2, 1, 3))
    shapes = [first] + [
        draw(st.one_of(st.just(first), arguments.shapes(0, 2, 1, 3)))
        for _ in range(draw(st.integers(0, max_inputs - 1)))
    ]
    inputs = tuple(draw(arguments.arrays(shape, low=-1.5, high=1.5)) for shape in shapes)
    values, steps = dict(enumerate(inputs)), []
    for _ in range(max_instructions):
        kind = draw(st.sampled_from(KINDS))
        if kind == "none":  # to which an instruction shrinks, if it can
            continue
        step = _draw_instruction(draw, kind, values)
        out = _tried(step, values)
        if out is not None:
            results = tuple(range(len(values), len(values) + len(out)))
            steps.append(Instruction(step.name, step.args, step.options, results))
            values.update(zip(results, out))
    return _without_dead_code(inputs, steps, draw(st.integers(0, 1)))


def _draw_instruction(draw: st.DrawFn, kind: str, values: Mapping[int, Array]) -> Instruction:
    def pick() -> int:
        return draw(st.integers(0, len(values) - 1))

    a = pick()
    x, va = values[a], Value(a)
    if kind == "elementwise":
        return Instruction(draw(st.sampled_from([*ELEMENTWISE])), (va,))
    if kind == "pairwise":
        return Instruction(draw(st.sampled_from([*PAIRWISE])), (va, Value(pick())))
    if kind == "reduction":
        name = draw(st.sampled_from([*REDUCTIONS]))
        axis = draw(arguments.axes(x.ndim, tuples=name != "norm"))
        return Instruction(name, (va,), {"axis": axis, "keepdims": draw(st.booleans())})
    if kind == "matmul":
        return Instruction(draw(st.sampled_from(["matmul", "dot", "outer"])), (va, Value(pick())))
    if kind == "shape":
        return draw(
            st.sampled_from(
                [
                    Instruction("reshape", (va, (-1,))),
                    Instruction("transpose", (va,)),
                    Instruction("expand_dims", (va, 0)),
                    Instruction("squeeze", (va,)),
                    Instruction("tile", (va, (2,))),
                    Instruction("broadcast_to", (va, (2, *x.shape))),
                    Instruction("tril", (va,)),
                    Instruction("triu", (va,)),
                    Instruction("trace", (va,)),
                    Instruction("diagonal", (va,)),
                    Instruction("pad", (va, 1)),
                ]
            )
        )
    if kind == "axis" and x.ndim:
        axis = draw(st.integers(-x.ndim, x.ndim - 1))
        return draw(
            st.sampled_from(
                [
                    Instruction("cumsum", (va,), {"axis": axis}),
                    Instruction("flip", (va, axis)),
                    Instruction("roll", (va, 1, axis)),
                    Instruction("sort", (va, axis)),
                    Instruction("repeat", (va, 2, axis)),
                    Instruction("functional.softmax", (va, axis)),
                    Instruction("functional.log_softmax", (va, axis)),
                    Instruction("swapaxes", (va, 0, axis)),
                ]
            )
        )
    if kind == "join" and x.ndim:
        same = [n for n, y in values.items() if y.shape == x.shape]
        others = draw(st.lists(st.sampled_from(same), min_size=1, max_size=2))
        return Instruction(
            draw(st.sampled_from(["concatenate", "stack"])),
            ([va, *map(Value, others)],),
            {"axis": draw(st.integers(0, x.ndim - 1))},
        )
    if kind == "index":
        return Instruction("getitem", (va, draw(arguments.indices(x.shape))))
    if kind == "split" and x.ndim and x.shape[-1] > 1:
        return Instruction("split", (va, [draw(st.integers(1, x.shape[-1] - 1))], -1))
    if kind == "choice":
        return Instruction("where", (draw(arguments.masks(x.shape)), va, Value(pick())))
    return Instruction("multiply", (va, va))


def _tried(step: Instruction, values: Mapping[int, Array]) -> list[Array] | None:
    """The results of an instruction, or None where it is not defined, not smooth or too large."""
    args = [_filled(a, values, lambda constant: constant) for a in step.args]
    smooth: dict[str, Callable[..., Any]] = {**ELEMENTWISE, **PAIRWISE, **REDUCTIONS}
    ok = (smooth | {"sort": _apart}).get(step.name, _everywhere)
    arrays = [a for a in args if isinstance(a, np.ndarray) and a.dtype == float]
    if not all(a.size for a in arrays):
        return None
    try:
        arrays = np.broadcast_arrays(*arrays) if step.name in PAIRWISE else arrays
        if not ok(*arrays):
            return None
        out = oracle.find(step.name)(*args, **step.options)
    except (ValueError, IndexError, TypeError):
        return None  # shapes that do not fit
    out = [np.asarray(y) for y in (out if isinstance(out, (tuple, list)) else (out,))]
    fits = all(0 < y.size <= SIZE and y.ndim < 5 and np.abs(y).max() < LARGEST for y in out)
    return out if fits else None


def _without_dead_code(inputs: tuple[Array, ...], steps: list[Instruction], also: int) -> Program:
    """The Program, of which all unused values are outputs, and perhaps one that is used."""
    used = {v.number for step in steps for v in _values_in(step.args)}
    every = [n for step in steps for n in step.results]
    if not every:
        steps = [Instruction("sin", (Value(0),), {}, (len(inputs),))]
        every, used = [len(inputs)], {0}
    outputs = [n for n in every if n not in used or also and n == every[0]]
    return Program(inputs, tuple(steps), tuple(outputs))


def _values_in(args: Any) -> Iterator[Value]:
    for arg in args:
        if isinstance(arg, Value):
            yield arg
        elif isinstance(arg, (list, tuple)):
            yield from _values_in(arg)
