"""Tensor: an array that remembers where it came from.

A Tensor holds an array (`.data`, NumPy's or CuPy's) and, if it takes part in a differentiation,
the edge of the graph that produced it (see graph.py). Its operators and methods are operations of
`nanoautograd/ops/`, attached to the class in `methods.py`.
"""

import threading

import numpy as np

from .backends import device_of, is_array, namespace, to_device, to_numpy
from .graph import GraphError, ShapeError, backpropagate

__all__ = ["Tensor", "from_dlpack"]


def is_float(dtype):
    """True for dtypes that can carry a gradient: float16, bfloat16, float32, float64."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def array_of(x):
    """The array in a Tensor; anything else as it is."""
    if isinstance(x, Tensor):
        if x._memory.overwritten:
            x._refuse_overwritten()
        return x._array
    return x


def shape_of(x):
    """The shape of a Tensor or array; () for a number."""
    return getattr(x, "shape", ())


def as_arrays(*xs):
    """The arguments, lists among them as arrays of the library that owns the others.

    A Python number becomes an array of the first one's dtype, so that it promotes nothing.
    """
    arrays = [array_of(x) for x in xs if hasattr(x, "shape")]
    xp = namespace(*arrays)
    dtype = arrays[0].dtype if arrays else None
    return [
        x
        if hasattr(x, "shape")
        else xp.asarray(x, dtype=None if isinstance(x, (list, tuple)) else dtype)
        for x in xs
    ]


class Memory:
    """What Tensors that share memory share: how often it was written to.

    `writes` counts all writes through a Tensor, `recorded` is the count after the last one that
    became part of a graph. Operations note the count when they keep a value (node.py), and
    every Tensor notes it when it is made, so that a change behind their back is seen.

    `computed`: whether it is that of results of recorded operations, and of nothing else; then an
    operation may be allowed to overwrite them in the backward pass. `overwritten`: the name of one
    that has done so.
    """

    writes = 0
    recorded = 0
    computed = False
    overwritten = ""


class Leaf:
    """The node of a Tensor that was not computed: here gradients end, and add up in `grad`."""

    parents = ()
    name = "leaf"

    def __init__(self, data):
        self.outputs = ((data.shape, data.dtype),)
        self.grad = None

    def add(self, g, is_owned):
        """grad += g, into a new array: what the caller has read before stays as it is."""
        with _ADDING:  # walks in several threads may meet here
            if isinstance(g, Tensor):
                self.grad = g.copy() if self.grad is None else self.grad + g
            elif self.grad is None:
                self.grad = wrap(g if is_owned else namespace(g).array(g))
            else:
                self.grad = wrap(self.grad._array + g)


_ADDING = threading.RLock()


_new = object.__new__


def wrap(data, edge=None, memory=None):
    """A Tensor around `data` itself, without a copy."""
    t = _new(Tensor)
    # An operation on 0-d arrays gives NumPy scalars, which cannot be written to.
    t._array = np.asarray(data) if isinstance(data, np.generic) else data
    t._edge = edge
    t._leaf = None
    if memory is None:
        memory = Memory()
        if edge is not None:
            memory.computed = True
    t._memory = memory
    t._seen = memory.writes
    return t


class Tensor:
    """An array with a gradient.

    data: anything that `np.array` takes, an array of any backend, or a Tensor; it is copied.
    requires_grad: whether operations on it are to be recorded. Floating-point dtypes only.
    dtype: as for `np.array`. device: "cpu", "cuda", "cuda:N"; that of `data` by default.

    Raises TypeError if `data` does not hold numbers, or a gradient is asked for a dtype that
    cannot have one; DeviceError if the device cannot be used.
    """

    __slots__ = ("_array", "_edge", "_leaf", "_memory", "_seen", "__weakref__")

    def __init__(self, data, requires_grad=False, dtype=None, device=None):
        data = _untensored(data)
        self._array = namespace(data).array(data, dtype=dtype)
        if self._array.dtype.kind not in "biufc" and not is_float(self._array.dtype):
            raise TypeError(f"a Tensor holds numbers; this data has dtype {self._array.dtype}")
        if device is not None:
            self._array = to_device(self._array, device)
        self._edge = self._leaf = None
        self._memory = Memory()
        self._seen = 0
        self.requires_grad = requires_grad

    # ---- what it holds

    @property
    def data(self):
        """The array itself, shared. Assigning (also `t.data -= u`, as an optimiser does) changes
        the value outside the graph: what was computed before keeps its gradient, or says that
        the value it needs is gone. A write into the array, `t.data[i] = u`, is not seen.
        """
        return self._array

    @data.setter
    def data(self, value):
        if not self.is_leaf:
            raise GraphError(
                "the data of a computed Tensor cannot be replaced, because its "
                "gradient would be that of the old value; use .detach() first"
            )
        if array_of(value) is self._array:
            self._memory.writes += 1
        else:
            like = (self._array.shape, self._array.dtype, type(self._array))
            if isinstance(value, Tensor):
                value._refuse_overwritten()
                new, memory = value._array, value._memory
            elif is_array(value):
                new, memory = value.copy(), Memory()
            else:
                new, memory = namespace(self._array).asarray(value, dtype=self.dtype), Memory()
            if self.requires_grad and not is_float(new.dtype):
                raise TypeError(
                    f"the data of a Tensor that requires a gradient must be "
                    f"floating-point; got dtype {new.dtype}"
                )
            self._array, self._memory = new, memory
            if (new.shape, new.dtype, type(new)) != like and self.requires_grad:
                self._leaf = Leaf(new)  # what was computed before leads to the old one
                self._edge = (self._leaf, 0)
            memory.computed = False
        self._seen = self._memory.writes

    @property
    def shape(self):
        return self._array.shape

    @property
    def ndim(self):
        return self._array.ndim

    @property
    def size(self):
        return self._array.size

    @property
    def dtype(self):
        return self._array.dtype

    @property
    def device(self):
        """ "cpu", "cuda:0", ..."""
        return device_of(self._array)

    def numpy(self):
        """The value as a NumPy array; on the CPU it shares memory with the Tensor."""
        self._refuse_to_leave("numpy()")
        return to_numpy(self._array)

    def item(self):
        """The value of a Tensor of one element, as a Python number."""
        if self.size != 1:
            raise ValueError(
                f"only a Tensor of one element has an item(); this one has shape {self.shape}"
            )
        return self._on_host().item()

    def tolist(self):
        """The value as nested lists of Python numbers."""
        return self._on_host().tolist()

    def _on_host(self):
        self._refuse_overwritten()
        return self._array if type(self._array) is np.ndarray else to_numpy(self._array)

    # ---- its place in the graph

    @property
    def requires_grad(self):
        """Whether a gradient can be had for it. Can be set on a Tensor that was not computed."""
        return self._edge is not None

    @requires_grad.setter
    def requires_grad(self, value):
        if bool(value) == self.requires_grad:
            return
        if not self.is_leaf:
            raise GraphError(
                "requires_grad cannot be unset on a computed Tensor; "
                "use .detach() for one without a gradient"
            )
        if value and not is_float(self.dtype):
            raise TypeError(
                f"a Tensor of dtype {self.dtype} cannot require a gradient; only "
                "floating-point ones can: use .astype(np.float64) first"
            )
        if self._leaf is None:
            self._leaf = Leaf(self._array)
        self._edge = (self._leaf, 0) if value else None
        self._memory.computed = False

    def requires_grad_(self, value=True):
        """Sets `requires_grad` and returns the Tensor."""
        self.requires_grad = value
        return self

    @property
    def is_leaf(self):
        """True unless it was computed by a recorded operation."""
        return self._edge is None or isinstance(self._edge[0], Leaf)

    @property
    def grad(self):
        """The gradients of all backward() calls so far, added up: a Tensor, or None.

        Only leaves that require a gradient collect one. For others: `nag.autograd.grad`.
        """
        return None if self._leaf is None else self._leaf.grad

    @grad.setter
    def grad(self, value):
        if value is None and self._edge is None:
            return
        if self._edge is None or not self.is_leaf:
            raise GraphError("only a leaf that requires a gradient has a .grad to set")
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value, dtype=self.dtype)
            value._refuse_overwritten()
            if (value.shape, value.dtype) != (self.shape, self.dtype):
                raise ShapeError(
                    f"the gradient of a Tensor of shape {self.shape} and dtype "
                    f"{self.dtype} has the same; got {value.shape}, {value.dtype}"
                )
        self._leaf.grad = value

    def backward(self, gradient=None, retain_graph=False, create_graph=False):
        """Adds the gradient of this Tensor with respect to each leaf to that leaf's `.grad`.

        gradient: dL/d(self) for the L that is meant, of this Tensor's shape; 1 for a scalar.
        retain_graph: keep what the graph holds, so that it can be walked again.
        create_graph: record the gradients' own computation, for higher derivatives. (The leaf
        then refers to the graph and the graph to the leaf: prefer `nag.autograd.grad`.)

        Raises GraphError if nothing was recorded, or the graph was freed by an earlier walk, or a
        value that it needs was overwritten; ShapeError if `gradient` has another shape.
        """
        if self._edge is None:
            raise GraphError(
                "backward() of a Tensor that does not depend on any Tensor with "
                "requires_grad=True (or was computed within no_grad)"
            )
        g = self._seed(gradient, create_graph)
        self._check_history("backward")
        backpropagate(
            [self._edge], [g], retain_graph=retain_graph or create_graph, create_graph=create_graph
        )

    def _seed(self, gradient, create_graph):
        """The gradient to start a walk from, checked: an array, or with create_graph a Tensor."""
        xp = namespace(self._array)
        if gradient is None:
            if self.size != 1:
                raise ShapeError(
                    f"the Tensor to differentiate has shape {self.shape}; without a "
                    "gradient only a scalar will do: give one of that shape, or "
                    "take .sum() or .mean() first"
                )
            gradient = xp.ones(self.shape, dtype=self.dtype)
        elif not isinstance(gradient, Tensor):
            gradient = xp.asarray(gradient, dtype=self.dtype)
        if gradient.shape != self.shape:
            raise ShapeError(
                f"the gradient has shape {gradient.shape}, but the Tensor that it "
                f"belongs to has shape {self.shape}"
            )
        data = array_of(gradient)
        namespace(data, self._array)  # both on one device
        if not create_graph:
            return data.astype(self.dtype, copy=False)
        return gradient if isinstance(gradient, Tensor) else wrap(gradient)

    def detach(self):
        """The same value (and memory) without a history: a constant."""
        self._refuse_overwritten()
        return wrap(self._array, None, self._memory)

    def _check_history(self, name):
        """Raises if the memory was written through another Tensor since this one was made.

        A constant may change. But if either side is part of a graph, then this Tensor's value no
        longer is what its edge says, and its gradient would be wrong.
        """
        memory = self._memory
        if self._seen != memory.writes:
            self._refuse_overwritten()
            if memory.recorded > self._seen or not self.is_leaf:
                raise GraphError(
                    f"{name} was given a Tensor of shape {self.shape} that shares memory with "
                    "another, into which something was assigned in the meantime; take the view "
                    "again after the assignment, or assign to a .copy()"
                )
            self._seen = memory.writes

    def _refuse_overwritten(self):
        """Raises if the value is no longer there, but its gradient (option overwrite_input)."""
        if self._memory.overwritten:
            raise GraphError(
                f"in the place of this Tensor of shape {self.shape} is its gradient by now, as "
                f"{self._memory.overwritten} was called with overwrite_input; read it before the "
                "backward pass, or leave the option out"
            )

    def _refuse_to_leave(self, way):
        """Refuses to hand the value to code that would drop the gradient without saying so."""
        self._refuse_overwritten()
        if self._edge is not None:
            raise GraphError(
                f"{way} of a Tensor that requires a gradient would lose the gradient "
                "silently; use .detach() first if that is what you want, or .item() "
                "for a number"
            )

    # ---- exchange with NumPy, PyTorch, CuPy

    def __array__(self, dtype=None, copy=None):
        self._refuse_to_leave("conversion to a NumPy array")
        if namespace(self._array) is not np:
            raise TypeError(
                f"a Tensor on {self.device} is not converted to a NumPy array "
                "silently; use .numpy()"
            )
        return np.array(self._array, dtype=dtype, copy=copy)

    def __dlpack__(self, **options):
        """The DLPack capsule, with which other libraries share the memory without a copy.

        (Not if it is read backwards: PyTorch cannot have that, and gets a copy.)
        """
        self._refuse_to_leave("DLPack export")
        backwards = min(self._array.strides, default=0) < 0
        return (self._array.copy() if backwards else self._array).__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()

    # ---- what Python asks of a value

    def __len__(self):
        if not self.ndim:
            raise TypeError("a 0-d Tensor has no len()")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise TypeError("a 0-d Tensor cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self):
        return bool(self._on_host())

    def __float__(self):
        self._refuse_to_leave("float()")  # also called by array[i] = t
        return float(self.item())

    def __int__(self):
        self._refuse_to_leave("int()")
        return int(self.item())

    def __index__(self):
        return self._array.__index__()

    __hash__ = object.__hash__

    def __deepcopy__(self, memo):
        if not self.is_leaf:
            raise GraphError("a computed Tensor cannot be copied or pickled; use .detach() first")
        self._refuse_overwritten()
        return _leaf_of(type(self), self._array, self.requires_grad)

    def __reduce__(self):
        if not self.is_leaf:
            raise GraphError("a computed Tensor cannot be copied or pickled; use .detach() first")
        self._refuse_overwritten()
        return _leaf_of, (type(self), to_numpy(self._array), self.requires_grad)

    def __repr__(self):
        body = np.array2string(to_numpy(self._array), separator=", ", prefix="tensor(")
        notes = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        notes += "" if self.device == "cpu" else f", device={self.device}"
        notes += ", requires_grad=True" if self.requires_grad and self.is_leaf else ""
        notes += "" if self.is_leaf else f", from={self._edge[0].name}"
        notes += ", overwritten by its gradient" if self._memory.overwritten else ""
        return f"tensor({body}{notes})"

    def __format__(self, spec):
        return format(self.item(), spec) if spec and self.size == 1 else repr(self)


def _leaf_of(cls, data, requires_grad):
    """A Tensor of a given class that was not computed."""
    t = cls.__new__(cls)
    Tensor.__init__(t, data, requires_grad=requires_grad)
    return t


def _untensored(data):
    """A Tensor's array, and nested lists with the Tensors in them replaced by theirs."""
    if isinstance(data, (list, tuple)):
        return [_untensored(x) for x in data]
    if isinstance(data, Tensor):
        data._refuse_to_leave("making a new Tensor")
        return data._array
    return data


def from_dlpack(x):
    """A Tensor that shares the memory of `x`, any object with `__dlpack__` (PyTorch, CuPy, ...).

    Writes through one side are seen by the other, and by no version counter.
    """
    if isinstance(x, Tensor):
        return x.detach()
    on_cpu = x.__dlpack_device__()[0] == 1  # kDLCPU
    if on_cpu:
        return wrap(np.from_dlpack(x))
    import cupy

    return wrap(cupy.from_dlpack(x))
