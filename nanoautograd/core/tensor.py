"""Tensor: an array that remembers where it came from.

A Tensor holds an array (`.data`, NumPy's or CuPy's) and, if it takes part in a differentiation,
the edge of the graph that produced it. Operations make the edges (operation.py); `backward()`
walks along them (backward.py, the last file to read). Elsewhere: shape, dtype and what others ask
of an array, and operators and methods, which are operations (../interface).
"""

import threading

import numpy as np

from ..backends import to_device
from ..interface.array_interface import ArrayInterface
from ..safety import checks
from ..safety.in_place import Storage, check_version, replace_data
from ..typing import Array, ArrayLike, DTypeLike, Gradient
from .backward import Edge, backpropagate


class Leaf:
    """The node of a Tensor that was not computed: here gradients end, and add up in `grad`.
    number, parents, outputs: as of every node, see backward.py."""

    number, parents, lock = -1, (), threading.RLock()  # one lock for all leaves

    def __init__(self, array: Array) -> None:
        self.outputs = [(array.shape, array.dtype)]
        self.grad: Tensor | None = None

    def add(self, g: "Array | Tensor", is_owned: bool) -> None:
        """grad += g, as a new array: what was read before stays. is_owned: nobody else holds g."""
        with Leaf.lock:  # walks in several threads may meet here
            if self.grad is None:
                g = g if is_owned else g.copy()
            else:
                g = (self.grad if isinstance(g, Tensor) else self.grad._array) + g
            self.grad = g if isinstance(g, Tensor) else wrap(g)


class Tensor(ArrayInterface):
    """An array with a gradient.

    data: anything that `np.array` takes, an array of any backend, or a Tensor; it is copied.
    requires_grad: whether operations on it are to be recorded. Floating-point dtypes only.
    dtype: as for `np.array`. device: "cpu", "cuda", "cuda:N"; that of `data` by default. Raises
    TypeError for what cannot be, DeviceError if the device cannot be used.
    """

    __slots__ = ("_array", "_edge", "_leaf", "_storage", "_version", "__weakref__")
    _array: Array
    _edge: Edge | None  # where it came from; None for a constant
    _leaf: Leaf | None  # once it required a gradient; kept, with its grad, if that is unset
    _storage: Storage  # its memory, which other Tensors may share
    _version: int  # the version of the storage for which its edge is right (safety/in_place.py)

    def __init__(
        self,
        data: ArrayLike,
        *,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        device: str | None = None,
    ) -> None:
        array = checks.new_array(data, dtype)
        self._array = array if device is None else to_device(array, device)
        self._edge, self._leaf, self._storage, self._version = None, None, Storage(), 0
        self.requires_grad = requires_grad

    @property
    def data(self) -> Array:
        """The array itself, shared. `t.data = u` puts another in its place, outside of the graph:
        what was computed before keeps its gradient. `t.data -= u`, as an optimiser does it, writes
        into it: what was computed before raises. `t.data[i] = u` nobody can see: between the
        forward and the backward pass it gives the gradient of other values. (`t[i] = u` is seen.)
        """
        return self._array

    @data.setter
    def data(self, value: ArrayLike) -> None:
        replace_data(self, value)

    def detach(self) -> "Tensor":
        """The same value (and memory) without a history: a constant."""
        return wrap(self._array, None, self._storage)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can be had for it. Can be set on a Tensor that was not computed."""
        return self._edge is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if checks.changes_requires_grad(self, value):
            self._leaf = self._leaf or Leaf(self._array)
            self._edge = (self._leaf, 0) if value else None

    @property
    def is_leaf(self) -> bool:
        """True unless it was computed by a recorded operation."""
        return self._edge is None or isinstance(self._edge[0], Leaf)

    @property
    def grad(self) -> "Tensor | None":
        """The gradients of all backward() calls so far, added up: a Tensor, or None. (Only leaves
        that require a gradient collect one; for others there is `nag.autograd.grad`.)"""
        if not self.is_leaf:
            checks.warn_of_grad(self)
        return self._leaf.grad if self._leaf else None

    @grad.setter
    def grad(self, value: ArrayLike | None) -> None:
        if value is not None and not isinstance(value, Tensor):
            value = Tensor(value, dtype=self.dtype)
        checks.check_grad(self, value)
        if self._leaf:
            self._leaf.grad = value

    def backward(
        self, gradient: Gradient = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Adds the gradient of this Tensor with respect to each leaf to that leaf's `.grad`.

        gradient: dL/d(self) for the L that is meant, of this Tensor's shape; 1 for a scalar.
        retain_graph: keep what the graph holds, so that it can be walked again.
        create_graph: record the gradients' own computation, for higher derivatives. (The leaf
        then refers to the graph and the graph to the leaf, a cycle: prefer `nag.autograd.grad`.)
        Raises GraphError if nothing was recorded, or the graph was freed by an earlier walk, or a
        value that it needs was overwritten; ShapeError if `gradient` has another shape.
        """
        check_version(self, "backward")
        g = checks.seed(self, gradient, wrap if create_graph else None)
        backpropagate([self._edge], [g], None, retain_graph or create_graph, create_graph)


def wrap(array: Array, edge: Edge | None = None, storage: Storage | None = None) -> Tensor:
    """A Tensor around an array itself, without a copy."""
    t = object.__new__(Tensor)
    t._array = np.asarray(array) if isinstance(array, np.generic) else array  # no NumPy scalar
    t._edge, t._leaf = edge, None
    t._storage = storage or Storage()
    t._version = t._storage.version
    return t
