"""Names for annotations, as `numpy.typing` has them; `nag.typing.ArrayLike` is what most take.

    def loss(w: nag.Tensor, x: nag.typing.ArrayLike) -> nag.Tensor:
        return ((w * x) ** 2).sum()

The result of an operation is a Tensor if an argument is one; of arrays alone it is an array, and of
numbers alone a number of NumPy. An annotation cannot tell which, and says `Tensor`, of which
programs are made. So a checker does not notice that nag.tanh(array) has no `backward`. (And of
NumPy's functions it believes that they give arrays: write nag.tanh(t), not np.tanh(t).)

    Array       an array of NumPy or CuPy
    ArrayLike   that, a Tensor, a number, or lists and tuples of these
    Axes        one axis, a tuple of axes, or None for all
    DTypeLike   what np.dtype takes
    File        a path
    Gradient    dL/dy, of the shape of y; None stands for 1 where y is a scalar
    Index       what stands in t[...]
    Params      parameters, or groups of them with options of their own
    Seed        an integer or several, a Generator of NumPy, or None for another one each time
    Shape       a tuple of lengths
    ShapeLike   that, a list of lengths, or one
"""

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, NewType, ParamSpec, TypeVar

import numpy as np

__all__ = [
    "Array",
    "ArrayLike",
    "Axes",
    "DTypeLike",
    "File",
    "Gradient",
    "Index",
    "Params",
    "Seed",
    "Shape",
    "ShapeLike",
]

P = ParamSpec("P")  # the parameters of a function
R = TypeVar("R")  # its result
F = TypeVar("F", bound=Callable)  # a function, of which a decorator makes one of the same type

Axes = int | tuple[int, ...] | None
Shape = tuple[int, ...]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import EllipsisType
    from typing import Protocol, SupportsIndex

    from numpy.typing import DTypeLike, NDArray

    class _Tensor(Protocol):
        """Tensor, by what it alone has: the class is made on a floor above this one."""

        _edge: Any

    class _Nested(Protocol):
        """A list, tuple or range, and lists of them. (A str is none: it holds no other objects.)"""

        def __len__(self) -> int: ...
        def __contains__(self, x: object, /) -> bool: ...
        def __getitem__(self, i: int, /) -> "ArrayLike": ...
        def __iter__(self) -> Iterator["ArrayLike"]: ...
        def __reversed__(self) -> Iterator["ArrayLike"]: ...
        def count(self, value: Any, /) -> int: ...

    Array = NDArray[Any]  # CuPy's arrays have the same attributes
    ArrayLike = complex | np.number | np.bool | Array | _Tensor | _Nested
    Index = SupportsIndex | slice | EllipsisType | None | ArrayLike | tuple["Index", ...]
    ShapeLike = SupportsIndex | Sequence[SupportsIndex]
    Gradient = ArrayLike | None
    File = str | PathLike[str]
    Params = Iterable[_Tensor] | Iterable[dict[str, Any]]
    Seed = int | Sequence[int] | np.random.Generator | None
else:

    class _Name(NewType):
        """While a program runs it is a name alone: `help` shows that, not what it stands for."""

        def __repr__(self) -> str:
            return self.__name__

    Array, ArrayLike, DTypeLike, File, Gradient, Index, Params, Seed, ShapeLike = [
        _Name(name, object)
        for name in "Array ArrayLike DTypeLike File Gradient Index Params Seed ShapeLike".split()
    ]


def __dir__() -> list[str]:
    return sorted(__all__)
