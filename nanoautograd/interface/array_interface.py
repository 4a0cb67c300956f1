"""What Python, NumPy, DLPack and pickle ask of an array, answered for Tensors.

`Tensor` inherits this; here its array is `self._array`. Whatever would hand the value to
code that cannot record refuses to do so for a Tensor that requires a gradient.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import array_namespace, device_of, to_numpy
from ..errors import GraphError
from ..typing import DTypeLike, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .attached import Attached, Tensor
else:
    Attached = object  # operators and methods come when methods.py attaches them

__all__ = ["ArrayInterface", "array_of"]


def array_of(x: Any) -> Any:
    """The array in a Tensor; anything else as it is."""
    return x._array if isinstance(x, ArrayInterface) else x


class ArrayInterface(Attached):
    """The shape and dtype of a Tensor, and its value as something else."""

    __slots__ = ()
    _array: Any
    _edge: Any

    @property
    def shape(self) -> Shape:
        """The length of each axis, a tuple."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """How many elements; along an axis: shape[i]."""
        return self._array.size

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements, NumPy's."""
        return self._array.dtype

    @property
    def device(self) -> str:
        """Where the array is: "cpu", "cuda:0", ..."""
        return device_of(self._array)

    def numpy(self) -> np.ndarray:
        """The value as a NumPy array; on the CPU it shares memory with the Tensor.

        What is written into it, nobody can see: between the forward and the backward pass, also
        through t.detach().numpy(), it gives the gradient of other values. Write into a copy.
        """
        self._refuse_to_leave("numpy()", "write .detach().numpy() for the value alone")
        return to_numpy(self._array)

    def item(self) -> Any:
        """The value of a Tensor of one element, as a Python number."""
        if self._array.size != 1:
            raise ValueError(
                "only a Tensor of one element has an item(); this one has shape "
                f"{self._array.shape}"
            )
        return self._on_host().item()

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        return self._on_host().tolist()

    def _on_host(self) -> np.ndarray:
        return self._array if type(self._array) is np.ndarray else to_numpy(self._array)

    def _refuse_to_leave(self, way: str, instead: str) -> None:
        """Refuses to hand the value to code that would drop the gradient without saying so.
        instead: what to write."""
        if self._edge is not None:
            raise GraphError(
                f"{way} of a Tensor that requires a gradient would lose the gradient silently; "
                f"{instead}"
            )

    # ---- exchange with NumPy, PyTorch, CuPy

    # (Of no dtype in particular: so a checker sees that array + t is for Tensor's __radd__ to do.)
    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> "NDArray[np.generic]":
        self._refuse_to_leave(
            "conversion to a NumPy array",
            "write .detach().numpy() for its value, as to plot it; use nag.stack or "
            "nag.concatenate for a list of Tensors; u[i] = t, of a Tensor u, keeps the gradient, "
            "array[i] = t cannot",
        )
        if array_namespace(self._array) is not np:
            raise TypeError(
                f"a Tensor on {device_of(self._array)} is not converted to a NumPy array silently; "
                "use .numpy()"
            )
        return np.array(self._array, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        """The DLPack capsule, with which other libraries share the memory without a copy.

        (Not if it is read backwards: PyTorch cannot have that, and gets a copy.)
        """
        self._refuse_to_leave("DLPack export", "give .detach()")
        backwards = min(self._array.strides, default=0) < 0
        return (self._array.copy() if backwards else self._array).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    # ---- what Python asks of a value

    def __len__(self) -> int:
        if not self._array.ndim:
            raise TypeError("a 0-d Tensor has no len()")
        return self._array.shape[0]

    def __iter__(self) -> "Iterator[Tensor]":
        if not self._array.ndim:
            raise TypeError("a 0-d Tensor cannot be iterated over")
        return (self[i] for i in range(self._array.shape[0]))

    def __bool__(self) -> bool:
        return bool(self._on_host())

    def __float__(self) -> float:
        self._refuse_to_leave(
            "float(), as by math.exp(t) or array[i] = t,",
            "write .item() for the number alone; nag.exp(t), or u[i] = t of a Tensor u, keeps the "
            "gradient",
        )
        return float(self.item())

    def __int__(self) -> int:
        self._refuse_to_leave("int()", "write int(t.item())")
        return int(self.item())

    def __index__(self) -> int:
        return self._array.__index__()

    __hash__ = object.__hash__

    def __copy__(self: Any) -> "Tensor":
        """Of a leaf another leaf; of a computed Tensor one with the same history."""
        return self.__deepcopy__({}) if self.is_leaf else self.copy()

    def __deepcopy__(self: Any, memo: dict) -> "Tensor":
        self._refuse_to_copy()
        return _leaf_of(type(self), self._array, self.requires_grad)

    def __reduce__(self: Any) -> tuple:
        self._refuse_to_copy()
        return _leaf_of, (type(self), to_numpy(self._array), self.requires_grad)

    def _refuse_to_copy(self: Any) -> None:
        if not self.is_leaf:
            raise GraphError("a computed Tensor cannot be copied or pickled; use .detach() first")

    def __repr__(self: Any) -> str:
        dtype, device = self._array.dtype, device_of(self._array)
        body = np.array2string(to_numpy(self._array), separator=", ", prefix="tensor(")
        # What is in no list: the shape of nothing, and of more than is printed.
        notes = f", shape={self.shape}" if self.size == 0 and self.ndim > 1 or "..." in body else ""
        notes += "" if dtype in (np.float64, np.int64, np.bool_) else f", dtype={dtype}"
        notes += "" if device == "cpu" else f", device={device}"
        notes += ", requires_grad=True" if self.requires_grad and self.is_leaf else ""
        notes += "" if self.is_leaf else f", from={self._edge[0].operation.name}"
        return f"tensor({body}{notes})"

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        if self.size != 1:
            raise TypeError(
                f"a Tensor of shape {self.shape} has no format {spec!r}, only a number has: format "
                "t[i] or t.mean(), or write np.array2string(t.detach().numpy(), precision=2)"
            )
        return format(self.item(), spec)


def _leaf_of(cls: Any, data: Any, requires_grad: bool) -> Any:
    """A Tensor of a given class that was not computed."""
    t = cls.__new__(cls)
    t.__init__(data, requires_grad=requires_grad)
    return t
