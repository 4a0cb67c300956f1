"""A module as a function of its parameters."""

from collections.abc import Coroutine, Iterator, Mapping
from types import FunctionType
from typing import Any

from ..core.tensor import Tensor
from ..errors import ShapeError
from ..typing import ArrayLike
from .module import Module, check_module

PARTS = "_array", "_edge", "_storage", "_version"  # what an operation reads of a Tensor


def functional_call(
    module: Module,
    parameters: Mapping[str, ArrayLike],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """module(*args, **kwargs), with other parameters: their gradient is that of a function.

    parameters: Tensors or arrays by the names of `named_parameters`, each of its parameter's shape;
    those that are not named stay as they are. args: a tuple, or one argument.

    Returns what the module returns, which depends on what was given: nag.grad, nag.vjp and
    nag.testing.gradcheck of `lambda w: functional_call(module, {"weight": w}, x)` are with respect
    to w. Raises ValueError for an unknown name, ShapeError for another shape, TypeError for what is
    no module. The name is PyTorch's (torch.func). One thread at a time may call a module so. What
    the module returns must be computed by then: a generator, a function or a coroutine, which would
    read the parameters later, is a TypeError.
    """
    check_module("functional_call", module)
    if not isinstance(parameters, Mapping):
        raise TypeError(
            "functional_call: parameters is a dict of names and Tensors; got "
            f"{type(parameters).__name__}"
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"functional_call: kwargs is a dict, or None; got {type(kwargs).__name__}")
    known = {name: p for name, p in module.named_parameters(remove_duplicate=False)}
    given: list[tuple[Tensor, Tensor]] = []
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(
                f"functional_call: {type(module).__name__} has no parameter {name!r}; it has "
                f"{', '.join(map(repr, known)) or 'none'}"
            )
        t, p = value if isinstance(value, Tensor) else Tensor(value), known[name]
        if t.shape != p.shape:
            raise ShapeError(f"functional_call: {name} has shape {p.shape}; got {t.shape}")
        if any(p is other for other, _ in given):
            raise ValueError(
                f"functional_call: {name} is a parameter that was given by another name"
            )
        given.append((p, t))
    before = [[getattr(p, part) for part in PARTS] for p, _ in given]
    try:
        for p, t in given:
            for part in PARTS:
                setattr(p, part, getattr(t, part))
        out = module(*(args if isinstance(args, tuple) else (args,)), **dict(kwargs or {}))
        if isinstance(out, Iterator | Coroutine | FunctionType):
            raise TypeError(
                f"functional_call: {type(module).__name__} returned a {type(out).__name__}, which "
                "would read the parameters when they are the module's own again"
            )
        return out
    finally:
        for (p, _), parts in zip(given, before):
            for part, value in zip(PARTS, parts):
                setattr(p, part, value)
