"""Normalisation of features."""

from collections.abc import Callable, Iterable
from operator import index
from typing import Any

from ..backends import is_float
from ..manual.layer_norm import layer_norm as _layer_norm
from ..manual.rms_norm import rms_norm as _rms_norm
from ..safety.options import check_flags, is_real
from ..typing import Array, ArrayLike, Shape, ShapeLike


def as_shape(name: str, n: ShapeLike) -> Shape:
    """The sizes of some axes, or of one, as a tuple. Raises TypeError for what are no integers."""
    if type(n) is int:  # as most are
        return (n,)
    try:
        return tuple(map(index, n if isinstance(n, Iterable) else (n,)))
    except TypeError:
        raise TypeError(
            f"{name}: normalized_shape must be an integer or several; got {n!r}"
        ) from None


def layer_norm(
    input: ArrayLike,
    normalized_shape: ShapeLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    residual: ArrayLike | None = None,
    return_sum: bool = False,
) -> Any:
    """Over the last axes, (x - mean x) / √(var x + eps) · weight + bias.

    input: (..., *normalized_shape), floating. normalized_shape: the sizes of the axes that are
    normalised together, or one integer. weight, bias: of that shape and the input's dtype, or None.
    eps: 0 or more. residual: of the input's shape and dtype; x is then input + residual, in less
    time than one after the other. return_sum: also return that.

    Returns y, an array like the input, or the pair (y, input + residual). Raises ValueError and
    TypeError for shapes and dtypes, and ValueError for eps.

    Gradients: `backward` in manual/layer_norm.py; step into it within `nag.use_manual()`.
    """
    return _layer_norm(
        input,
        weight,
        bias,
        residual,
        normalized_shape=as_shape("layer_norm", normalized_shape),
        eps=eps,
        return_sum=return_sum,
    )


def rms_norm(
    input: ArrayLike,
    normalized_shape: ShapeLike,
    weight: ArrayLike | None = None,
    eps: float | None = None,
    residual: ArrayLike | None = None,
    return_sum: bool = False,
) -> Any:
    """Over the last axes, x / √(mean x² + eps) · weight.

    input, normalized_shape, weight, residual, return_sum: as for layer_norm. eps: None is the
    dtype's machine epsilon; for 16 bits that of float32, as in PyTorch.

    Returns y, an array like the input, or the pair (y, input + residual). Raises ValueError and
    TypeError for shapes and dtypes, and ValueError for eps.

    Gradients: `backward` in manual/rms_norm.py; step into it within `nag.use_manual()`.
    """
    return _rms_norm(
        input,
        weight,
        residual,
        normalized_shape=as_shape("rms_norm", normalized_shape),
        eps=eps,
        return_sum=return_sum,
    )


def check_of(name: str, *names: str) -> Callable:
    """The check of a norm. What it is given is x, parameters of these names, a residual, and
    options."""

    def check(
        x: Array,
        *arrays: Array | None,
        normalized_shape: Shape,
        eps: float | None,
        return_sum: bool,
    ) -> None:
        """Raises the error that names what does not fit."""
        *parameters, residual = arrays
        shape = tuple(normalized_shape)

        def got() -> str:
            return f"got input {x.shape} {x.dtype} and normalized_shape {shape}"

        if not shape or x.shape[-len(shape) :] != shape:
            raise ValueError(
                f"{name}: normalized_shape must be the last axes of the input, one or more; {got()}"
            )
        if not is_float(x.dtype):
            raise TypeError(f"{name}: the input must be floating; {got()}")
        if residual is not None and (residual.shape, residual.dtype) != (x.shape, x.dtype):
            raise (ValueError if residual.shape != x.shape else TypeError)(
                f"{name}: the residual must have the shape and dtype of the input; {got()} and "
                f"residual {residual.shape} {residual.dtype}"
            )
        if return_sum is not False:
            check_flags(name, return_sum=return_sum)
            if return_sum and residual is None:
                raise ValueError(
                    f"{name}: return_sum returns input + residual; there is no residual"
                )
        for what, a in zip(names, parameters):
            if a is None:
                continue
            if a.shape != shape:
                raise ValueError(
                    f"{name}: {what} must have the normalized_shape; {got()} and {what} {a.shape}"
                )
            if a.dtype != x.dtype:
                raise TypeError(
                    f"{name}: {what} must have the dtype of the input; {got()} and {what} {a.dtype}"
                )
        check_eps(name, eps)

    return check


def check_eps(name: str, eps: Any) -> None:
    if not (eps is None and name == "rms_norm" or is_real(eps) and eps >= 0):
        raise ValueError(f"{name}: eps must be a number, 0 or more; got {eps!r}")


_layer_norm.check = check_of("layer_norm", "weight", "bias")
_rms_norm.check = check_of("rms_norm", "weight")
