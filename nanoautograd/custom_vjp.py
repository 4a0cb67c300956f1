"""Custom VJP: an operation whose gradient is derived by hand for a whole computation.

It is made of three functions of arrays (nanoautograd/manual/ has them, one operation a file):

    forward(x, weight, ..., *, option=...)      -> out, cache
    backward(dout, cache, needs=None)           -> dx, dweight, ...
    reference(x, weight, ..., *, option=...)    -> out, from primitives

    softmax = custom_vjp("softmax", forward, backward, reference)

The first derivative is `backward`, at full speed. It computes on plain arrays, so it cannot record
itself: where the gradient is to be differentiated again (`create_graph`), the walk computes
`reference` anew, on Tensors, and differentiates that. So the second order is that of `reference`,
and tests hold the two functions equal.
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np

from .backends import is_array, namespace
from .core.backward import Edge, backpropagate
from .core.grad_mode import enable_grad
from .core.operation import Node, Operation, for_edges, function, with_zeros
from .core.tensor import Tensor, wrap
from .safety import checks
from .safety.in_place import SEVERAL, copied, opened, save

__all__ = ["CustomVJP", "custom_vjp"]


class CustomVJP(Operation):
    """An operation made of `forward`, `backward` and `reference`; see the text above.

    Positional arguments are arrays (or None), and each has a gradient in what `backward` returns:
    None where there is none, or where `needs`, a tuple of booleans, says that nobody wants it.
    Options are given by keyword.
    """

    elsewhere: Any = (
        None  # has a `forward` for arrays that are not NumPy's, and a `backward` for all
    )

    has_cache = True
    is_meant = repeat(True)

    def __init__(
        self,
        name: str,
        forward: Callable,
        backward: Callable,
        reference: Callable,
    ) -> None:
        super().__init__(name, forward)
        self.backward, self.reference = backward, reference

    def forward_for(self, xp: Any) -> Callable:
        return self.forward if self.elsewhere is None or xp is np else self.elsewhere.forward

    def save_cache(
        self, node: Node, args: tuple, arrays: list, options: dict, result: Any, cache: Any
    ) -> None:
        kept = arrays_in(cache)
        # Results that are part of the cache are saved so that a change of one is noticed.
        outs = [
            y for y in (result if type(result) is tuple else (result,)) if _is_among(y._array, kept)
        ]
        node.saved = [
            (cache, None, 0, None),
            (copied(options), None, 0, None),
            # of what is no Tensor, `forward` had a copy already
            (
                tuple(
                    save(a, node) if isinstance(a, Tensor) else (x, None, 0, None)
                    for a, x in zip(args, arrays)
                ),
                SEVERAL,
                -1,
                None,
            ),
            (tuple(save(y, node) for y in outs), SEVERAL, -1, None),
        ]

    def apply_vjp(self, node: Node, gs: list, create_graph: bool) -> list[tuple[Edge, Any]]:
        if node.saved is None:
            raise checks.freed(self.name)
        names = ("cache", "options", "argument", "out")
        cache, options, arrays, _ = (
            opened(saved, node, name, wrap if create_graph else None)
            for saved, name in zip(node.saved, names)
        )
        g = gs[0] if type(node.outputs) is list else with_zeros(gs, node)
        if not create_graph:
            held = {id(x) for x in cache} if type(cache) is tuple else {id(cache)}
            backward = (self.elsewhere or self).backward
            ds = for_edges(backward(g, cache, node.plan.needs), node)
            return [(edge, d.copy() if id(d) in held else d) for edge, d in ds]
        # Each argument gets an edge of its own, so that the gradient is that of this operation
        # alone, also where one argument was computed from another.
        with enable_grad():
            inputs = [alias(a) if isinstance(a, Tensor) else a for a in arrays]
            out = self.reference(*inputs, **options)
        outs, gs = ((out,), (g,)) if type(node.outputs) is list else (out, g)
        used = [
            (y._edge, dy) for y, dy in zip(outs, gs) if isinstance(y, Tensor) and y.requires_grad
        ]
        own = [(edge, a._edge) for edge, a in zip(node.parents, inputs) if edge is not None]
        ds = backpropagate(
            [e for e, _ in used], [dy for _, dy in used], [e for _, e in own], True, True
        )
        return [(edge, d) for (edge, _), d in zip(own, ds) if d is not None]


def custom_vjp(name: str, forward: Callable, backward: Callable, reference: Callable) -> CustomVJP:
    """The operation on Tensors that the three functions define; see the text above."""
    return CustomVJP(name, forward, backward, reference)


@function
def alias(a: Any) -> Any:
    """The same value, as a result of its own in the graph."""
    return a


alias.defvjp(a=lambda g: g)


def arrays_in(cache: Any) -> list:
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


def _is_among(y: Any, arrays: list) -> bool:
    """Whether y shares memory with one of the arrays: it is the same, or one of both is a view."""
    for a in arrays:
        if y is a or (
            (y.base is not None or a.base is not None) and bool(namespace(y).may_share_memory(y, a))
        ):
            return True
    return False
