"""What was checked, as source code: the rules, the function, and the call with its inputs.

gradcheck is decorated with `remembered`, so that the error that it raises knows.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from ..backends import to_numpy
from ..core.backward import topological_order
from ..core.grad_mode import enable_grad
from ..core.tensor import Tensor
from ..safety.checks import is_ours
from .frameworks import library_of
from .report import GradientError
from .subjects import flat, name_of, unbound

LINES = 120  # of one function
NUMBERS = 2000  # of all inputs
JAX = "fwd", "bwd", "jvp"  # the rules of jax.custom_vjp and custom_jvp
F = TypeVar("F", bound=Callable)


@dataclass(frozen=True, eq=False)
class Check:
    """What gradcheck was called with."""

    f: Callable
    inputs: Sequence
    options: dict[str, Any]

    def functions(self) -> dict[str, str]:
        """{source: title} of the rules that were checked, and of the function, where known."""
        known = {id(f): (title, f) for title, f in reversed(_functions(self))}
        texts: dict[str, str] = {}
        for title, f in reversed(known.values()):
            texts.setdefault(source(f), title)  # two lambdas may be on one line
        return {text: title for text, title in texts.items() if text}

    def call(self) -> str:
        """The call as code, with the inputs."""
        lines, names, left = [], [], NUMBERS
        for i, x in enumerate(self.inputs):
            names.append(f"x{i}")
            left -= size(x)
            if left < 0:
                lines.append(f"# x{i}: {size(x):,} numbers, which are too many to write here")
            else:
                lines.append(f"x{i} = {code(x)}")
        options = "".join(f", {name}={_option(name, v)}" for name, v in self.options.items())
        call = f"gradcheck({_option('f', self.f)}, [{', '.join(names)}]{options})"
        return "\n".join([*lines, call])


def remembered(check: F) -> F:
    """Decorator of gradcheck: what it raises knows what was checked."""

    @wraps(check)
    def gradcheck(f: Callable, inputs: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # in the reports of pytest
        inputs = list(inputs) if isinstance(inputs, Iterator) else inputs
        try:
            return check(f, inputs, **options)
        except GradientError as error:
            error.check = Check(f, inputs, options)
            raise

    return cast(F, gradcheck)


# ---- functions


def _functions(check: Check) -> list[tuple[str, Any]]:
    """[(title, function or class)]: the rules that were checked, and the function itself."""
    name = name_of(check.f)
    found = [
        (f"{option}, the derivative by hand", check.options[option])
        for option in ("vjp", "jvp")
        if check.options.get(option) is not None
    ]
    if not found:
        with suppress(Exception):  # the function is called once more, and may be anything
            found = list(_rules(check))
    return [*found, (f"{name}, the function", _underlying(check.f))]


def _rules(check: Check) -> Iterator[tuple[str, Any]]:
    """The rules that are no library's own, in the order in which the graph is walked."""
    inputs, framework = list(check.inputs), check.options.get("framework")
    library = library_of(inputs, framework)
    if library == "jax":
        f = inspect.unwrap(_underlying(check.f), stop=lambda g: any(hasattr(g, r) for r in JAX))
        yield from ((f"{name_of(f)}: its {r}", getattr(f, r)) for r in JAX if hasattr(f, r))
    elif library == "torch":
        yield from _rules_of_torch(check.f, inputs)
    else:
        yield from _our_rules(check.f, inputs)


def _rules_of_torch(f: Callable, inputs: list) -> Iterator[tuple[str, Any]]:
    torch = sys.modules["torch"]
    ts = [torch.as_tensor(x).detach().clone().requires_grad_() for x in inputs]
    nodes = [y.grad_fn for y in flat(f(*ts)) if getattr(y, "grad_fn", None) is not None]
    seen = {*nodes, None}
    for node in nodes:  # which grows
        found = [n for n, _ in node.next_functions if n not in seen]
        nodes += found
        seen |= {*found}
        owner = getattr(type(node), "_forward_cls", None)  # of torch.autograd.Function
        if owner is not None:
            yield f"{owner.__name__}, a torch.autograd.Function", owner


def _our_rules(f: Callable, inputs: list) -> Iterator[tuple[str, Any]]:
    ts = [Tensor(x.data if isinstance(x, Tensor) else x) for x in inputs]
    for t in ts:
        t.requires_grad = True
    with enable_grad():
        edges = [y._edge for y in flat(f(*ts)) if isinstance(y, Tensor) and y._edge is not None]
    for node in topological_order(edges):
        operation: Any = getattr(node, "operation", None)  # a leaf has none
        rules = {f"rule for {name}": rule for name, rule in getattr(operation, "rules", {}).items()}
        rules["backward"] = getattr(operation, "backward", None)  # of custom_vjp
        for what, rule in rules.items():
            if rule is not None and not is_ours(inspect.unwrap(rule)):
                yield f"{operation.name}: its {what}", rule


def _underlying(f: Any) -> Any:
    """The function in a partial, the class of an `apply`, the `forward` of a module."""
    f = unbound(f)
    owner = getattr(f, "__self__", None)
    if isinstance(owner, type) and getattr(f, "__name__", "") == "apply":
        return owner
    return f


def source(f: Any) -> str:
    """Its source as text, or "" where there is none, as of what is compiled."""
    f = inspect.unwrap(f) if callable(f) else f
    if not (inspect.isroutine(f) or isinstance(f, type)):
        f = getattr(type(f), "forward", None) or type(f).__call__
    try:
        lines = textwrap.dedent(inspect.getsource(f)).splitlines()
    except (OSError, TypeError):
        return ""
    rest = len(lines) - LINES
    return "\n".join(lines[:LINES] + [f"# ... {rest} more lines"] * (rest > 0))


def _option(name: str, value: Any) -> str:
    """A value as code; a function by its name, or by that of the option if it has none."""
    if not callable(value):
        return repr(value)
    own = name_of(value)
    return own if all(map(str.isidentifier, own.split("."))) else name


# ---- inputs


def size(x: Any) -> int:
    """How many numbers an input holds, which may be nested."""
    return sum(int(np.prod(np.shape(part))) for part in flat(x))


def code(x: Any) -> str:
    """An input as Python: an array of whichever library, or a nest of them."""
    if isinstance(x, dict):
        return "{" + ", ".join(f"{key!r}: {code(part)}" for key, part in x.items()) + "}"
    if isinstance(x, (list, tuple)):
        parts = ", ".join(map(code, x))
        return f"[{parts}]" if isinstance(x, list) else f"({parts},)"
    if not hasattr(x, "shape") or isinstance(x, np.generic):
        return repr(x.item() if isinstance(x, np.generic) else x)
    library = type(x).__module__.partition(".")[0]
    dtype = str(x.dtype).rpartition(".")[2]
    exact = dtype == "float64"
    if library == "torch":
        place = "" if x.device.type == "cpu" else f", device={str(x.device)!r}"
        return f"torch.tensor({x.tolist()}, dtype={x.dtype}{place}){_reshaped(x)}"
    if library in ("jax", "jaxlib"):
        more = "" if exact else f", dtype=jnp.{dtype}"
        return f"jnp.array({x.tolist()}{more}){_reshaped(x)}"
    values = to_numpy(x.data if isinstance(x, Tensor) else x).tolist()
    more = "" if exact else f", dtype={dtype!r}"
    make = "nag.Tensor" if isinstance(x, Tensor) else "np.array"
    return f"{make}({values}{more}){_reshaped(x)}"


def _reshaped(x: Any) -> str:
    """Lists of nothing have lost their shape."""
    return "" if size(x) or tuple(x.shape) == (0,) else f".reshape({tuple(x.shape)})"
