"""Gradients of Tensors with respect to Tensors, as values."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .core.backward import backpropagate
from .core.tensor import Tensor, wrap
from .errors import GraphError
from .safety.checks import seed
from .safety.in_place import check_version
from .safety.names import public
from .typing import ArrayLike, Gradient

__all__ = ["grad"]

if not TYPE_CHECKING:  # a checker finds what is missing
    __getattr__, __dir__ = public(__name__)


def grad(
    outputs: Tensor | Iterable[Tensor],
    inputs: Tensor | Iterable[Tensor],
    grad_outputs: ArrayLike | Sequence[Gradient] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, as a tuple of Tensors.

    outputs: a Tensor, or a sequence of them, whose gradients are added up.
    inputs: a Tensor or a sequence; leaves, or computed Tensors on the way to `outputs`.
    grad_outputs: dL/d(output) for each output, of its shape; 1 for scalars by default.
    retain_graph: keep the graph for another walk; by default, if `create_graph`.
    create_graph: record the computation of the gradients, so that they can be differentiated.
    allow_unused: give None for an input that the outputs do not depend on, instead of an error.

    No `.grad` is touched. Raises GraphError if an output or input has no history, or an input is
    not used; ShapeError if a gradient has another shape than its output.
    """
    outputs, inputs = _tensors("output", outputs), _tensors("input", inputs)
    if grad_outputs is None:
        grad_outputs = (None,) * len(outputs)
    elif hasattr(grad_outputs, "shape") or not isinstance(grad_outputs, (tuple, list)):
        grad_outputs = (grad_outputs,)
    if len(grad_outputs) != len(outputs):
        raise ValueError(
            f"grad: {len(outputs)} outputs, but {len(grad_outputs)} grad_outputs; "
            "each output needs one (or None, for a scalar)"
        )
    for what, tensors in (("output", outputs), ("input", inputs)):
        for i, t in enumerate(tensors):
            if t._edge is None:
                raise GraphError(
                    f"grad: {what} {i}, of shape {t.shape}, requires no gradient; "
                    "is it computed within no_grad, or detached?"
                )
            check_version(t, "grad")
    seeds = [seed(y, g, wrap if create_graph else None) for y, g in zip(outputs, grad_outputs)]
    retain_graph = create_graph if retain_graph is None else retain_graph
    gradients = backpropagate(
        [y._edge for y in outputs], seeds, [x._edge for x in inputs], retain_graph, create_graph
    )
    for i, g in enumerate(gradients):
        if g is None and not allow_unused:
            raise GraphError(
                f"grad: the outputs do not depend on input {i}, of shape "
                f"{inputs[i].shape}; with allow_unused=True its gradient is None"
            )
    return tuple(g if g is None or isinstance(g, Tensor) else wrap(g) for g in gradients)


def _tensors(what: str, given: Any) -> tuple[Tensor, ...]:
    """A Tensor, or a sequence of them, as a tuple. Raises TypeError for anything else."""
    found = (given,) if isinstance(given, Tensor) or not hasattr(given, "__iter__") else given
    found = tuple(found)
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(
                f"grad: each {what} must be a Tensor; got {type(t).__name__} (for functions of "
                "arrays there is nag.grad)"
            )
    return found
