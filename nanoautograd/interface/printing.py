"""How operations and the graph are printed: `repr` of an operation and a node, and the graph of a
Tensor as a tree. (`repr` of a Tensor: array_interface.py.)"""

from collections import Counter
from typing import Any

from ..core.operation import Node, Primitive
from ..core.tensor import Leaf, Tensor

__all__ = ["graph_text"]

DEEPEST = 24  # levels of indentation; what is deeper goes on at the margin


def graph_text(tensor: Tensor, depth: int | None = None) -> str:
    """The graph that `backward()` would walk, as a tree to print: a line for each operation and,
    indented below it, for those of its arguments that need a gradient. They end in the leaves.

        w = nag.Tensor([[0.5, -1.0], [2.0, 0.3]], requires_grad=True)
        print(nag.graph_text(((w @ w) ** 2).sum()))

        sum () float64
          power (2, 2) float64
            matmul (2, 2) float64
              #1 leaf (2, 2) float64
              -> #1

    What is used more than once has a number, and is shown where it is nearest to the result; so is
    what is too deep for a page, which goes on at the margin. `split[1]` is the second result.

    depth: how many levels to show below the result, None for all; "..." stands for what is left
    out. Raises TypeError and ValueError for other arguments.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"graph_text takes a Tensor, as a loss; got {type(tensor).__name__}")
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
        raise ValueError(f"graph_text: depth is an integer of at least 0, or None; got {depth!r}")
    if tensor._edge is None:
        return f"constant {tensor.shape} {tensor.dtype}"
    places, uses, levels = _nearest(tensor._edge[0], depth)
    numbers: dict[Any, int] = {}

    def number(node: Any) -> str:
        return f"#{numbers.setdefault(node, len(numbers) + 1)}"

    # A tree for each edge in `trees`, which grows where one is too deep; `left` is a stack.
    lines, trees = [], [(tensor._edge, None)]
    for edge, place in trees:
        left: list = [(edge, place, 0)]
        while left:
            (node, i), place, level = left.pop()
            indent = "  " * level
            if place != places[node] or level > DEEPEST:
                lines.append(f"{indent}-> {number(node)}{_part(node, i)}")
                if place == places[node]:
                    trees.append(((node, i), place))
                continue
            name = f"{number(node)} " if uses[node] > 1 or node in numbers else ""
            below = [(e, (node, at), level + 1) for at, e in enumerate(node.parents) if e]
            is_cut = bool(below) and levels[node] == depth
            lines.append(f"{indent}{name}{_described(node, i)}{' ...' if is_cut else ''}")
            left += [] if is_cut else reversed(below)
    return "\n".join(lines)


def _nearest(root: Any, depth: int | None) -> tuple[dict, Counter, dict]:
    """For each node at most so many edges from the root: the place where it is shown, (user, number
    of the argument), nearest to the root; how many places there are; how many edges it is away."""
    places: dict[Any, tuple | None] = {root: None}
    uses, levels, nodes = Counter([root]), {root: 0}, [root]
    for user in nodes:  # which grows
        if levels[user] == depth:
            continue
        for at, edge in enumerate(user.parents):
            if edge is not None:
                uses[edge[0]] += 1
                if edge[0] not in places:
                    places[edge[0]], levels[edge[0]] = (user, at), levels[user] + 1
                    nodes.append(edge[0])
    return places, uses, levels


def _part(node: Any, i: int) -> str:
    return f"[{i}]" if len(node.outputs) > 1 else ""


def _described(node: Any, i: int) -> str:
    name = node.operation.name if node.parents else "leaf"
    return f"{name}{_part(node, i)} {' '.join(map(str, node.outputs[i]))}"


def _repr_of_primitive(self: Primitive) -> str:
    return f"<function {self.signature}>"


def _repr_of_node(self: Any) -> str:
    if not hasattr(self, "outputs"):  # seen in a debugger, within `record`
        return "<node that is being made>"
    given = ", ".join(str(edge[0].outputs[edge[1]][0]) for edge in self.parents if edge)
    made = ", ".join(" ".join(map(str, output)) for output in self.outputs)
    return f"<node {self.operation.name} of {given} -> {made}>"


def _repr_of_leaf(self: Leaf) -> str:
    return f"<{_described(self, 0)}>"


Primitive.__repr__ = _repr_of_primitive
Node.__repr__, Leaf.__repr__ = _repr_of_node, _repr_of_leaf
