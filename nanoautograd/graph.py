"""The backward walk: reverse-mode differentiation of a recorded graph.

A *node* is one recorded operation, or a leaf. An *edge* (node, i) stands for its i-th output, and
every recorded Tensor carries the edge that it came from. A node has

    node.name          what to call it in an error
    node.parents       the edges of its inputs; None for an input that needs no gradient
    node.outputs       what each of its outputs looks like: (shape, dtype)
    node.vjp(gs, create_graph)
                       given the gradients of its outputs (None for an unused one), those of its
                       inputs, as pairs (edge, gradient): the vector-Jacobian product
    node.free()        drops what was kept for it

or, for a leaf (a Tensor that was not computed), no parents, and leaf.add(g, is_owned), which adds
to its gradient.

The walk applies the chain rule: it visits the nodes so that each comes after all that used its
results, adds up what arrives on every edge, and calls each node's rule once. (Speelpenning 1980;
Griewank & Walther 2008, "Evaluating Derivatives", section 3.2.) Nothing here recurses, and no node
is visited twice, so a graph of a million nodes costs a million steps.
"""

from contextlib import nullcontext

from .backends import namespace, scatter_add
from .modes import enable_grad

__all__ = [
    "GraphError",
    "IndexedGradient",
    "ShapeError",
    "backpropagate",
    "nodes_below",
    "unbroadcast",
]


class GraphError(RuntimeError):
    """The graph cannot be walked: it was freed, or a value in it was overwritten."""


class ShapeError(ValueError):
    """A gradient does not have the shape of what it is the gradient of."""


class IndexedGradient:
    """What y = x[index] contributes to the gradient of x: `values` there, zero everywhere else.

    It stays in this form until it is added, so that reading T slices of x costs one array of x's
    size, and not T of them.
    """

    dtype = None  # it has no array yet

    def __init__(self, index, values, shape):
        self.index, self.values, self.shape = index, values, shape

    def add_to(self, buffer):
        """Adds it to an array of x's shape, in place, and returns the array."""
        scatter_add(buffer, self.index, self.values)
        return buffer

    def dense(self, dtype):
        """It as an array of x's shape."""
        return self.add_to(namespace(self.values).zeros(self.shape, dtype=dtype))


def unbroadcast(g, shape):
    """Sums `g` over the axes along which an input of `shape` was broadcast.

    If y_ij = x_j for every i, then the gradient of x_j is the sum over i of that of y_ij. Raises
    ShapeError if `shape` does not broadcast to that of `g`.
    """
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    if added < 0 or any(n != 1 and n != m for n, m in zip(shape, g.shape[added:])):
        raise ShapeError(f"a gradient of shape {g.shape} for an argument of shape {shape}")
    axes = tuple(range(added)) + tuple(
        added + i for i, n in enumerate(shape) if n == 1 != g.shape[added + i]
    )
    if axes:
        g = g.sum(axis=axes, keepdims=True)
    return g.reshape(shape)


class Sums:
    """The gradients that have arrived at each node, one for each of its outputs, added up."""

    def __init__(self):
        self.totals = {}  # node -> [gradient or None]
        self.shared = set()  # edges whose total someone else holds: it is not added into

    def add(self, edge, d, gs):
        """Adds d, which was computed from the gradients gs, to the total of an edge. With gs None,
        d is never added into, whatever it is."""
        node, i = edge
        totals = self.totals.get(node)
        if totals is None:
            totals = self.totals[node] = [None] * len(node.outputs)
        total = totals[i]
        if type(d) is IndexedGradient:
            if total is not None and edge not in self.shared:
                d.add_to(total)
                return
            d = d.dense(node.outputs[i][1])
        if total is None:
            totals[i] = d
            if not _is_new(d, gs):
                self.shared.add(edge)
        elif edge not in self.shared:
            total += d
        else:
            totals[i] = total = total + d
            if _is_new(total, gs):
                self.shared.remove(edge)


def backpropagate(roots, gradients, wanted=None, retain_graph=False, create_graph=False):
    """Walks from the edges `roots`, which have `gradients`, to the leaves.

    With `wanted`, a list of edges, returns their gradients in a list (None where there is none)
    and visits only the nodes that lead there. Without, adds each leaf's gradient to that leaf.
    With `create_graph` the gradients are Tensors, and the rules record themselves.
    """
    with enable_grad() if create_graph else nullcontext():
        return _walk(roots, gradients, wanted, retain_graph, create_graph)


def _walk(roots, gradients, wanted, retain_graph, create_graph):
    order = nodes_below(roots)
    results, useful = None, None
    if wanted is not None:
        results, useful = dict.fromkeys(wanted), _leading_to(wanted, order)
    leaves = []  # written at the end: an error on the way changes no gradient
    sums = Sums()
    for edge, g in zip(roots, gradients):
        sums.add(edge, g, None)

    for node in order:
        gs = sums.totals.pop(node, None)
        if gs is None:
            continue
        if wanted is None:
            if not node.parents:
                leaves.append((node, gs[0], (node, 0) not in sums.shared))
                continue
        else:
            results.update(((node, i), g) for i, g in enumerate(gs) if (node, i) in results)
            if node not in useful:
                continue
        for edge, d in node.vjp(gs, create_graph):
            try:
                fits = (d.shape, d.dtype) == edge[0].outputs[edge[1]]
            except AttributeError:
                fits = False
            if not fits:
                d = _fitted(d, edge, node)
            sums.add(edge, d, None if create_graph else gs)
        if not retain_graph:
            node.free()

    for leaf, g, is_owned in leaves:
        leaf.add(g, is_owned)
    # A gradient may be a view, or stand for several edges: each caller gets an array of its own.
    return [None if results[edge] is None else results[edge].copy() for edge in wanted or ()]


def _fitted(d, edge, node):
    """`d`, which a rule of `node` returned, in the shape and dtype of what it is a gradient of."""
    if type(d) is IndexedGradient:
        return d
    shape, dtype = edge[0].outputs[edge[1]]
    try:
        if d.shape != shape:
            d = unbroadcast(d, shape)
    except ShapeError as error:
        raise ShapeError(f"a rule of {node.name} gave {error}") from None
    except AttributeError:
        raise TypeError(
            f"a rule of {node.name} gave {type(d).__name__} {d!r}; it must give an "
            "array, or None for zero"
        ) from None
    return d if d.dtype == dtype else d.astype(dtype)


def _is_new(d, gs):
    """Whether d is an array that nobody else holds, so that it may be added into: not a view, nor
    one of the gradients gs that a rule was given.

    (NumPy's 0-d results may be scalars, which cannot be added into. With gs None, nothing is new.)
    """
    if gs is None or d.base is not None or d.ndim == 0:
        return False
    for g in gs:
        if d is g:
            return False
    return True


def nodes_below(roots):
    """The nodes from which `roots` were computed, each after all nodes that use its outputs.

    (Kahn 1962, counting for every node the uses that have not been visited yet.)
    """
    uses = {node: 0 for node, _ in roots}  # being a root is not a use
    stack = list(uses)
    while stack:
        for edge in stack.pop().parents:
            if edge is not None:
                node = edge[0]
                if node in uses:
                    uses[node] += 1
                else:
                    uses[node] = 1
                    stack.append(node)
    ready = [node for node in dict.fromkeys(node for node, _ in roots) if not uses[node]]
    order = []
    while ready:
        node = ready.pop()
        order.append(node)
        for edge in node.parents:
            if edge is not None:
                node = edge[0]
                uses[node] = left = uses[node] - 1
                if not left:
                    ready.append(node)
    return order


def _leading_to(wanted, order):
    """Those nodes of `order` that have a wanted edge somewhere below them."""
    targets = {node for node, _ in wanted}
    useful = set()
    for node in reversed(order):
        if any(e is not None and (e[0] in useful or e[0] in targets) for e in node.parents):
            useful.add(node)
    return useful
