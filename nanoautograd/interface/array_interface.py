"""What Python, NumPy, DLPack and pickle ask of an array, answered for Tensors.

`Tensor` inherits this; here its array is `self._array`. Whatever would hand the value to
code that cannot record refuses to do so for a Tensor that requires a gradient.
"""

import numpy as np

from ..backends import array_namespace, device_of, to_numpy
from ..errors import GraphError

__all__ = ["ArrayInterface", "array_of"]


def array_of(x):
    """The array in a Tensor; anything else as it is."""
    return x._array if isinstance(x, ArrayInterface) else x


class ArrayInterface:
    """The shape and dtype of a Tensor, and its value as something else."""

    __slots__ = ()

    shape = property(lambda self: self._array.shape, doc="The length of each axis, a tuple.")
    ndim = property(lambda self: self._array.ndim, doc="How many axes there are.")
    size = property(
        lambda self: self._array.size, doc="How many elements; along an axis: shape[i]."
    )
    dtype = property(lambda self: self._array.dtype, doc="The type of the elements, NumPy's.")

    @property
    def device(self) -> str:
        """Where the array is: "cpu", "cuda:0", ..."""
        return device_of(self._array)

    def numpy(self):
        """The value as a NumPy array; on the CPU it shares memory with the Tensor.

        What is written into it, nobody can see: between the forward and the backward pass, also
        through t.detach().numpy(), it gives the gradient of other values. Write into a copy.
        """
        self._refuse_to_leave("numpy()")
        return to_numpy(self._array)

    def item(self):
        """The value of a Tensor of one element, as a Python number."""
        if self._array.size != 1:
            raise ValueError(
                "only a Tensor of one element has an item(); this one has shape "
                f"{self._array.shape}"
            )
        return self._on_host().item()

    def tolist(self):
        """The value as nested lists of Python numbers."""
        return self._on_host().tolist()

    def _on_host(self):
        return self._array if type(self._array) is np.ndarray else to_numpy(self._array)

    def _refuse_to_leave(self, way):
        """Refuses to hand the value to code that would drop the gradient without saying so."""
        if self._edge is not None:
            raise GraphError(
                f"{way} of a Tensor that requires a gradient would lose the gradient silently; use "
                "nag.stack or nag.concatenate for a list of Tensors, .item() for a number, or "
                ".detach() first if that is what you want; what is assigned into a Tensor, as by "
                "u[i] = t, keeps its gradient"
            )

    # ---- exchange with NumPy, PyTorch, CuPy

    def __array__(self, dtype=None, copy=None):
        self._refuse_to_leave("conversion to a NumPy array, as by array[i] = t,")
        if array_namespace(self._array) is not np:
            raise TypeError(
                f"a Tensor on {device_of(self._array)} is not converted to a NumPy array silently; "
                "use .numpy()"
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
        if not self._array.ndim:
            raise TypeError("a 0-d Tensor has no len()")
        return self._array.shape[0]

    def __iter__(self):
        if not self._array.ndim:
            raise TypeError("a 0-d Tensor cannot be iterated over")
        return (self[i] for i in range(self._array.shape[0]))

    def __bool__(self):
        return bool(self._on_host())

    def __float__(self):
        self._refuse_to_leave("float(), as by array[i] = t,")
        return float(self.item())

    def __int__(self):
        self._refuse_to_leave("int()")
        return int(self.item())

    def __index__(self):
        return self._array.__index__()

    __hash__ = object.__hash__

    def __copy__(self):
        """Of a leaf another leaf; of a computed Tensor one with the same history."""
        return self.__deepcopy__({}) if self.is_leaf else self.copy()

    def __deepcopy__(self, memo):
        self._refuse_to_copy()
        return _leaf_of(type(self), self._array, self.requires_grad)

    def __reduce__(self):
        self._refuse_to_copy()
        return _leaf_of, (type(self), to_numpy(self._array), self.requires_grad)

    def _refuse_to_copy(self):
        if not self.is_leaf:
            raise GraphError("a computed Tensor cannot be copied or pickled; use .detach() first")

    def __repr__(self):
        dtype, device = self._array.dtype, device_of(self._array)
        body = np.array2string(to_numpy(self._array), separator=", ", prefix="tensor(")
        # What is in no list: the shape of nothing, and of more than is printed.
        notes = f", shape={self.shape}" if self.size == 0 and self.ndim > 1 or "..." in body else ""
        notes += "" if dtype in (np.float64, np.int64, np.bool_) else f", dtype={dtype}"
        notes += "" if device == "cpu" else f", device={device}"
        notes += ", requires_grad=True" if self.requires_grad and self.is_leaf else ""
        notes += "" if self.is_leaf else f", from={self._edge[0].operation.name}"
        return f"tensor({body}{notes})"

    def __format__(self, spec):
        if not spec:
            return repr(self)
        if self.size != 1:
            raise TypeError(
                f"a Tensor of shape {self.shape} has no format {spec!r}, only a number has: format "
                "t[i] or t.mean(), or write np.array2string(t.detach().numpy(), precision=2)"
            )
        return format(self.item(), spec)


def _leaf_of(cls, data, requires_grad):
    """A Tensor of a given class that was not computed."""
    t = cls.__new__(cls)
    t.__init__(data, requires_grad=requires_grad)
    return t
