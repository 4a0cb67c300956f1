"""The backward walk: reverse-mode differentiation of a recorded graph.

A *node* is one recorded operation, or a leaf (a Tensor that was not computed). An *edge* (node, i)
stands for its i-th result. A recorded Tensor carries the edge that it came from, and a node has

    number      larger than those of all nodes that were made before it; -1 for a leaf
    parents     the edges of its arguments; None for one that needs no gradient; () for a leaf
    outputs     (shape, dtype) of each result
    saved       what its rules read; None once a walk has passed and freed it
    operation.apply_vjp(node, gs, create_graph)
                [(edge, gradient or None)] of its arguments, given the gradients of its results

The walk applies the chain rule: it visits the nodes so that each comes after all that used its
results, adds up what arrives on every edge, and calls each node's rules once. (Speelpenning 1980;
Griewank and Walther 2008, "Evaluating Derivatives", section 3.2.) No node is visited twice, however
many paths lead to it: time grows as the number of nodes does. And nothing recurses:
Python allows about 1,000 calls within each other, and a network that reads 300 words needs more.
"""

from contextlib import nullcontext
from operator import attrgetter
from typing import Any

from numpy import ndarray

from ..backends.sums import unbroadcast_as
from ..safety.in_place import LARGE, new_among
from .grad_mode import enable_grad

Edge = tuple[Any, int]  # (node, number of the result)

# A hook around the rules of a node, None unless other code sets it: RuleHook in safety/hooks.py.
rule_hook: Any = None


class GradientAccumulator:
    """The gradients that have arrived on each edge, added up.

    What a rule returned is never added into, since others may hold the same array. In x*5 + (x + y)
    the rule of the inner + gives one array to x and to y; if what x*5 brings to x were added into
    it, y would get 6 instead of 1. So the first sum is a new array, `owned`, for later ones.
    """

    def __init__(self) -> None:
        self.totals: dict[Any, list] = {}  # node -> for each result its gradient, or None
        self.owned: set[Edge] = set()

    def add(self, edge: Edge, d: Any, create_graph: bool) -> None:
        """Adds d to the total of an edge."""
        node, i = edge
        totals = self.totals.setdefault(node, [None] * len(node.outputs))
        total = totals[i]
        if type(d) is not ndarray and hasattr(d, "add_to"):  # IndexedGradient, ops/indexing.py
            totals[i] = d.add_to(total, edge in self.owned, *node.outputs[i])
        elif total is None:
            totals[i] = d
        elif edge in self.owned:
            totals[i] += d
        else:
            totals[i] = total + d
        if totals[i] is not d and not create_graph:  # (no write into Tensors)
            self.owned.add(edge)


def backpropagate(
    roots: list, gradients: list, wanted: Any, retain_graph: bool, create_graph: bool
) -> list:
    """Walks from the edges `roots`, which have `gradients`, to the leaves.

    wanted: None, then each leaf's gradient is added to that leaf; or edges, then their gradients
    are returned (None where there is none), and only rules that lead there are called.
    retain_graph: keep what the nodes saved. create_graph: the gradients are Tensors, and the rules
    record themselves.
    """
    order = topological_order(roots)
    leaves = {node for node in order if not node.parents}
    # targets: the nodes whose gradients are wanted; useful: those whose rules lead there; new: the
    # edges of leaves whose gradient is an array that nobody else holds.
    targets = leaves if wanted is None else {node for node, _ in wanted}
    useful = set(order) - leaves if targets >= leaves else _leading_to(targets, order)
    sums, found = GradientAccumulator(), {}  # found: what arrived at the targets
    add, totals, new, large = sums.add, sums.totals, set(), []  # large: gradients of leaves
    with enable_grad() if create_graph else nullcontext():
        for edge, g in zip(roots, gradients):
            add(edge, g, create_graph)
        for node in order:
            gs = totals.pop(node, None)
            if gs is not None and node in targets:
                found[node] = gs
            if gs is None or node not in useful:  # nothing arrived, or nobody wants it
                continue
            try:
                pairs = node.operation.apply_vjp(node, gs, create_graph)
                if rule_hook is not None and rule_hook.watching:
                    rule_hook.after(node, pairs)
                for edge, d in pairs:
                    if edge is None or d is None:  # needs no gradient, or it is zero
                        continue
                    target, i = edge
                    if type(d) is not ndarray or (d.shape, d.dtype) != target.outputs[i]:
                        d = unbroadcast_as(d, *target.outputs[i])
                    add(edge, d, create_graph)
                    if d.size > LARGE and not (target.parents or create_graph):
                        large.append((edge, d))
                if large:  # if nothing else arrives, the leaf need not copy it
                    new.update(new_among(large, node, gs, pairs))
                    large.clear()
            except Exception as error:
                if rule_hook is not None:
                    rule_hook.failed(node, error)
                raise
            if not retain_graph:
                node.saved = None
        # A gradient may be a view, or one array may be that of two edges: every caller gets an
        # array of its own. `.grad` is set at the end, so that an error on the way changes nothing.
        own = dict.fromkeys(new | sums.owned, True)  # what one caller may have as it is
        for leaf in found if wanted is None else ():
            leaf.add(found[leaf][0], (leaf, 0) in own)
        results = [(e, found[e[0]][e[1]] if e[0] in found else None) for e in wanted or ()]
        return [g if g is None or own.pop(e, False) else g.copy() for e, g in results]


def topological_order(roots: list[Edge]) -> list:
    """The nodes from which `roots` were computed, each after all nodes that use its results.

    A node gets its number after the nodes of its arguments: it is the numbers' order, backwards.
    """
    order = list({node: None for node, _ in roots})
    found = set(order)
    for node in order:  # which grows as parents are found
        for edge in node.parents:
            if edge is not None and edge[0] not in found:
                found.add(edge[0])
                order.append(edge[0])
    return sorted(order, key=attrgetter("number"), reverse=True)


def _leading_to(targets: set, order: list) -> set:
    """Those nodes of `order` that were computed from one of `targets`."""
    useful: set = set()
    for node in reversed(order):
        for edge in node.parents:
            if edge is not None and (edge[0] in useful or edge[0] in targets):
                useful.add(node)
    return useful
