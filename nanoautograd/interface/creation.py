"""New Tensors of zeros, ones or numbers in order, as the functions of NumPy make new arrays.

dtype: NumPy's by default: float64 of zeros, ones, eye and linspace (PyTorch's is float32), and that
of the numbers given to full and arange. device: "cpu" (the default), "cuda", "cuda:N".
requires_grad: as of `Tensor`, whose errors these functions raise. Random numbers come from a
Generator of NumPy: nag.Tensor(np.random.default_rng(0).normal(size=(2, 3))).
"""

import numpy as np

from ..core.tensor import Tensor
from ..ops import broadcast_to
from ..ops.shaping import integers
from ..safety.checks import option
from ..safety.names import explained
from ..safety.options import check_numbers, check_sizes
from ..typing import Array, ArrayLike, DTypeLike, ShapeLike

__all__ = ["arange", "eye", "full", "linspace", "ones", "zeros"]


@explained
def zeros(
    shape: ShapeLike,
    *more: int,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor of zeros: zeros((2, 3)) or zeros(2, 3). float64 by default."""
    return _new(np.zeros(_lengths("zeros", shape, more)), dtype, device, requires_grad)


@explained
def ones(
    shape: ShapeLike,
    *more: int,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor of ones: ones((2, 3)) or ones(2, 3). float64 by default."""
    return _new(np.ones(_lengths("ones", shape, more)), dtype, device, requires_grad)


@explained
def full(
    shape: ShapeLike,
    fill_value: ArrayLike,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor of `fill_value`, a number or what broadcasts to the shape; in its dtype by default.

    It is a new leaf. To keep the gradient of a `fill_value`, use `full_like` or `broadcast_to`.
    """
    value = Tensor(option("full", "fill_value", fill_value), dtype=dtype, device=device)
    filled = broadcast_to(value, integers(shape, "full"))
    return _new(filled.data, None, None, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor (n, m), m = n by default: ones on the diagonal, zeros elsewhere. float64 by default.

    Raises TypeError for lengths that are no integers, ValueError for negative ones.
    """
    check_sizes("eye", n=n, m=n if m is None else m)
    return _new(np.eye(n, m), dtype, device, requires_grad)


@explained
def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ..., before stop: arange(stop), arange(start, stop[, step]).

    In the dtype of the numbers by default: int64 of integers, float64 of Python's floats. Raises
    TypeError for what is no real number. With a fractional step, rounding may add an element at the
    end: prefer `linspace`.
    """
    start, step = option("arange", "start", start), option("arange", "step", step)
    stop = option("arange", "stop", stop)
    check_numbers("arange", start=start, stop=0 if stop is None else stop, step=step)
    if step == 0:
        raise ValueError("arange: step must not be 0")
    numbers = np.arange(start, None, step) if stop is None else np.arange(start, stop, step)
    return _new(numbers, dtype, device, requires_grad)


@explained
def linspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    dtype: DTypeLike | None = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`num` numbers at equal distances from start to stop, both among them. float64 by default.

    Raises TypeError for what is no real number.
    """
    start, stop = option("linspace", "start", start), option("linspace", "stop", stop)
    check_numbers("linspace", start=start, stop=stop)
    check_sizes("linspace", num=num)
    return _new(np.linspace(start, stop, num), dtype, device, requires_grad)


def _lengths(name: str, shape: ShapeLike, more: tuple[int, ...]) -> tuple[int, ...]:
    lengths = (shape, *more) if more else shape
    try:
        return integers(lengths, name)
    except TypeError:
        raise TypeError(
            f"{name} takes lengths, {name}(2, 3) or {name}((2, 3)), and the rest by keyword, as "
            f"dtype=np.float32; got {lengths!r:.100}"
        ) from None


def _new(array: Array, dtype: DTypeLike | None, device: str | None, requires_grad: bool) -> Tensor:
    return Tensor(array, dtype=dtype, device=device, requires_grad=requires_grad)
