"""Node: one recorded call of an operation, and what it keeps for the backward walk.

(An operation is a Function, and its rules are what reads the kept values: function.py.)
"""

from .backends import is_array, namespace
from .graph import GraphError, IndexedGradient
from .modes import INSPECTING
from .tensor import Tensor, array_of, is_float, wrap

__all__ = ["AnomalyError", "Kept", "Node", "inspect_values", "keep"]


class AnomalyError(ArithmeticError):
    """A NaN or an infinity appeared while `detect_anomaly` was watching."""


class Node:
    """One recorded call of a Function. See graph.py for what the walk asks of it.

    `saved` holds what the rules are going to read, by name: Kept values, tuples of them, or plain
    Python values. Nodes refer to the nodes before them and never to their own results, so that a
    graph has no reference cycles.
    """

    __slots__ = ("function", "parents", "outputs", "several", "saved", "where")

    def __init__(self, function, parents, several, where):
        self.function = function
        self.parents = parents          # for each argument: the edge it came from, or None
        self.several = several          # whether the result is a tuple
        self.where = where              # the line that made the call, under detect_anomaly
        # and, once the results exist: `outputs`, as graph.py describes it, and `saved`

    @property
    def name(self):
        return self.function.name

    def free(self):
        self.saved = None

    def vjp(self, gs, create_graph):
        """[(edge, gradient)] of the arguments that need one, given those of the results."""
        if self.saved is None:
            raise GraphError(f"the graph was freed when it was walked before, at {self.name}; to "
                             "walk it twice, the first walk needs retain_graph=True")
        g = self._filled(gs) if self.several else gs[0]
        pairs = self.function.pull_back(self, g, create_graph)
        if INSPECTING.get():
            for _, d in pairs:
                inspect_values(d, f"the gradient of {self.name}", self.where)
        return pairs

    def _filled(self, gs):
        """The gradients of the results, with zeros for those that nobody used."""
        used = next(g for g in gs if g is not None)
        xp = namespace(array_of(used))
        return tuple([_like(used, xp.zeros(*output)) if g is None else g
                      for g, output in zip(gs, self.outputs)])

    def read(self, name, create_graph):
        """A saved value: an array, or with create_graph a Tensor with its history."""
        return self._opened(name, self.saved[name], create_graph)

    def _opened(self, name, kept, create_graph):
        if type(kept) is Kept:
            if kept.memory.writes != kept.writes:
                raise GraphError(
                    f"{self.name} needs its {'result' if name == 'out' else repr(name)} for the "
                    "gradient, but the value was overwritten in place after the operation; assign "
                    "to a copy, or call backward() before the assignment")
            if not create_graph:
                return kept.array
            edge = kept.edge if kept.result is None else (self, kept.result)
            return wrap(kept.array, edge, kept.memory)
        if type(kept) is tuple:
            return tuple([self._opened(name, k, create_graph) for k in kept])
        return kept


def _like(g, array):
    """The array, as a Tensor if g is one."""
    return wrap(array) if isinstance(g, Tensor) else array


class Kept:
    """The value of a Tensor, kept for a rule, and what tells whether it was overwritten since.

    Of the node's own results only the number is kept, and the edge made of it when it is asked
    for.
    """

    __slots__ = ("array", "memory", "writes", "edge", "result")

    def __init__(self, tensor, result=None):
        self.array = tensor._array
        self.memory = tensor._memory
        self.writes = tensor._memory.writes
        self.edge = tensor._edge if result is None else None
        self.result = result


def keep(a):
    """What is kept of an argument. An array cannot tell that it was overwritten; it is copied."""
    if isinstance(a, Tensor):
        return Kept(a)
    if is_array(a):
        return a.copy()
    if type(a) in (tuple, list):
        return type(a)(map(keep, a))
    return a


def inspect_values(y, what, where):
    """Raises AnomalyError if `y` holds a NaN or an infinity."""
    y = y.values if type(y) is IndexedGradient else y
    y = array_of(y)
    xp = namespace(y)
    if is_float(y.dtype) and not bool(xp.isfinite(y).all()):
        kind = "NaN" if bool(xp.isnan(y).any()) else "infinity"
        at = f"called at {where}" if where else "recorded outside of detect_anomaly"
        raise AnomalyError(f"{what}, of shape {y.shape}, holds {kind}; the operation was {at}")
