"""Activations: elementwise functions, and softmax."""

from functools import partial

from ..backends import is_float
from ..core.operation import function
from ..core.tensor import Tensor
from ..manual.gelu import gelu as _gelu
from ..manual.log_softmax import log_softmax as _log_softmax
from ..manual.silu import silu as _silu
from ..manual.softmax import softmax as _softmax
from ..ops import sign
from ..ops.elementwise import namespace_of_reals
from ..ops.shaping import checked
from ..safety.names import explained
from ..typing import Array, ArrayLike


@function
def relu(input: ArrayLike) -> Tensor:
    """y = max(x, 0), elementwise:  x̄ = ȳ where x > 0, ȳ/2 at 0, as at every tie of this library,
    and NaN where x is NaN."""
    return namespace_of_reals("relu", input).maximum(input, 0)


relu.defvjp(input=lambda g, input: g * (0.5 * sign(input) + 0.5))


def gelu(input: ArrayLike, approximate: str = "none", bias: ArrayLike | None = None) -> Tensor:
    """x Φ(x), Φ the normal distribution function; elementwise.

    input: any shape, floating. approximate: "none", or "tanh" for the approximation
    x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))). bias: (N,), of the input's dtype, is added to an input
    (..., N) before: gelu(linear(x, W), bias=b) is gelu(linear(x, W, b)) in fewer passes over
    memory.

    Returns an array like the input. Raises ValueError and TypeError for others.

    Gradients: `backward` in manual/gelu.py; step into it within `nag.use_manual()`.
    """
    return _gelu(input, bias, approximate=approximate)


def check_approximate(name: str, approximate: str) -> None:
    if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
        raise ValueError(f"{name}: approximate must be 'none' or 'tanh'; got {approximate!r}")


def check_gelu(x: Array, bias: Array | None = None, *, approximate: str = "none") -> None:
    check_approximate("gelu", approximate)
    if not is_float(x.dtype):
        raise TypeError(f"gelu: the input must be floating; got {x.dtype}")
    if bias is None:
        return
    if not x.ndim or bias.shape != x.shape[-1:]:
        raise ValueError(
            "gelu: the bias must be (N,), one number for each feature of an input "
            f"(..., N); got input {x.shape} and bias {bias.shape}"
        )
    if bias.dtype != x.dtype:
        raise TypeError(
            f"gelu: the bias must have the dtype of the input; got input {x.dtype} and "
            f"bias {bias.dtype}"
        )


def silu(input: ArrayLike) -> Tensor:
    """x / (1 + e⁻ˣ), elementwise; any shape, floating (else TypeError).

    Gradients: `backward` in manual/silu.py; step into it within `nag.use_manual()`.
    """
    return _silu(input)


def check_silu(x: Array) -> None:
    if not is_float(x.dtype):
        raise TypeError(f"silu: the input must be floating; got {x.dtype}")


@explained
def softmax(input: ArrayLike, dim: int = -1) -> Tensor:
    """exp(x_i) / Σ_j exp(x_j) along the axis `dim`; any shape, floating.

    Gradients: `backward` in manual/softmax.py; step into it within `nag.use_manual()`.
    """
    return _softmax(input, axis=dim)


def check_softmax(x: Array, *, axis: int = -1, name: str = "softmax") -> None:
    if not is_float(x.dtype):
        raise TypeError(f"{name}: x must be floating; got {x.dtype}")
    checked(axis, x.ndim, name)


@explained
def log_softmax(input: ArrayLike, dim: int = -1) -> Tensor:
    """log softmax(x) along the axis `dim`, also where softmax is 0.

    Gradients: `backward` in manual/log_softmax.py; step into it within `nag.use_manual()`.
    """
    return _log_softmax(input, axis=dim)


_gelu.check = check_gelu
_silu.check = check_silu
_softmax.check = check_softmax
_log_softmax.check = partial(check_softmax, name="log_softmax")
