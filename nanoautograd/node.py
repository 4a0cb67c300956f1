"""Node: one recorded call of an operation, and what it keeps for the backward walk.

(An operation is a Function, and its rules are what reads the kept values: function.py.)
"""

from .backends import is_array, namespace
from .backends.memory import explain_full
from .graph import GraphError, IndexedGradient
from .modes import INSPECTING
from .tensor import Tensor, array_of, is_float, wrap

__all__ = ["AnomalyError", "Node", "as_is", "copied", "inspect_values", "keep", "keep_result"]


class AnomalyError(ArithmeticError):
    """A NaN or an infinity appeared while `detect_anomaly` was watching."""


class Node:
    """One recorded call of a Function. See graph.py for what the walk asks of it.

    `saved` holds what the rules are going to read, by name: what `keep` returned, or a list of
    that. Nodes refer to the nodes before them and never to their own results, so that a graph has
    no reference cycles.
    """

    __slots__ = ("function", "parents", "plan", "several", "where", "outputs", "saved")

    def __init__(self, function, parents, plan, several, where):
        self.function = function
        self.parents = parents  # for each argument: the edge it came from, or None
        self.plan = plan  # how the gradients that are needed are computed
        self.several = several  # whether the result is a tuple
        self.where = where  # the line that made the call, under detect_anomaly
        self.outputs = []  # as graph.py describes it, once the results exist
        self.saved = None

    @property
    def name(self):
        return self.function.name

    def free(self):
        self.saved = None

    def vjp(self, gs, create_graph):
        """[(edge, gradient)] of the arguments that need one, given those of the results."""
        if self.saved is None:
            raise GraphError(
                f"the graph was freed when it was walked before, at {self.name}; to "
                "walk it twice, the first walk needs retain_graph=True"
            )
        g = self._filled(gs) if self.several else gs[0]
        try:
            pairs = self.function.pull_back(self, g, create_graph)
        except MemoryError as error:
            explain_full(error)
            raise
        if INSPECTING.get():
            for _, d in pairs:
                inspect_values(d, f"the gradient of {self.name}", self.where)
        return pairs

    def _filled(self, gs):
        """The gradients of the results, with zeros for those that nobody used."""
        used = next(g for g in gs if g is not None)
        xp = namespace(array_of(used))
        return tuple(
            [
                _like(used, xp.zeros(*output)) if g is None else g
                for g, output in zip(gs, self.outputs)
            ]
        )

    def opened(self, create_graph):
        """The saved values by name: arrays, or with create_graph Tensors with their history."""
        values = {}
        for name, kept in self.saved.items():
            if type(kept) is list:
                values[name] = tuple([self._opened(name, *k, create_graph) for k in kept])
                continue
            value, memory, writes, edge = kept
            if memory is not None and (create_graph or memory.writes != writes):
                value = self._opened(name, value, memory, writes, edge, create_graph)
            values[name] = value
        return values

    def _opened(self, name, value, memory, writes, edge, create_graph):
        if memory is None:
            return value
        if memory.overwritten:
            raise GraphError(
                f"{self.name} needs an argument for the gradient, in whose place is its gradient "
                f"by now, as {memory.overwritten} was called with overwrite_input; leave the "
                "option out where anything else needs the argument, or the graph is walked again"
            )
        if memory.writes != writes:
            raise GraphError(
                f"{self.name} needs its {'result' if name == 'out' else repr(name)} for the "
                "gradient, but the value was overwritten in place after the operation; assign "
                "to a copy, or call backward() before the assignment"
            )
        if not create_graph:
            return value
        return wrap(value, (self, edge) if type(edge) is int else edge, memory)


def _like(g, array):
    """The array, as a Tensor if g is one."""
    return wrap(array) if isinstance(g, Tensor) else array


# What is kept for a rule is a tuple (value, memory, writes, edge): of a Tensor the array, and what
# tells whether it was overwritten since. Of the node's own results the edge is the number only,
# and made whole when it is asked for. What is no Tensor has no memory that tells, and is copied.


def keep(a):
    """What is kept of an argument."""
    if isinstance(a, Tensor):
        memory = a._memory
        return a._array, memory, memory.writes, a._edge
    return as_is(copied(a))


def keep_result(y, i):
    """What is kept of the i-th result."""
    return y._array, y._memory, y._memory.writes, i


def as_is(value):
    """What is kept of a value that cannot change."""
    return value, None, 0, None


def copied(a):
    """`a`, with copies of the arrays that it is or holds."""
    if type(a) in (tuple, list):
        return type(a)(map(copied, a))
    a = array_of(a)
    return a.copy() if is_array(a) else a


def inspect_values(y, what, where):
    """Raises AnomalyError if `y` holds a NaN or an infinity."""
    y = y.values if type(y) is IndexedGradient else y
    y = array_of(y)
    xp = namespace(y)
    if is_float(y.dtype) and not bool(xp.isfinite(y).all()):
        kind = "NaN" if bool(xp.isnan(y).any()) else "infinity"
        at = f"called at {where}" if where else "recorded outside of detect_anomaly"
        raise AnomalyError(f"{what}, of shape {y.shape}, holds {kind}; the operation was {at}")
