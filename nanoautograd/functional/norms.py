"""Normalisation of features."""

from ..manual.layer_norm import layer_norm as _layer_norm
from ..manual.rms_norm import rms_norm as _rms_norm


def _as_shape(n):
    return (n,) if isinstance(n, int) else tuple(n)


def layer_norm(
    input, normalized_shape, weight=None, bias=None, eps=1e-5, residual=None, return_sum=False
):
    """Over the last axes, (x - mean x) / √(var x + eps) · weight + bias. See manual/layer_norm.py.

    input: (..., *normalized_shape), floating. normalized_shape: the sizes of the axes that are
    normalised together, or one integer. weight, bias: of that shape and the input's dtype, or None.
    residual: of the input's shape and dtype; x is then input + residual, in less time than one
    after the other. return_sum: also return that.

    Returns y, an array like the input, or the pair (y, input + residual). Raises ValueError and
    TypeError for shapes and dtypes.
    """
    return _layer_norm(
        input,
        weight,
        bias,
        residual,
        normalized_shape=_as_shape(normalized_shape),
        eps=eps,
        return_sum=return_sum,
    )


def rms_norm(input, normalized_shape, weight=None, eps=None, residual=None, return_sum=False):
    """Over the last axes, x / √(mean x² + eps) · weight. See manual/rms_norm.py.

    input, normalized_shape, weight, residual, return_sum: as for layer_norm. eps: None is the
    dtype's machine epsilon; for 16 bits that of float32, as in PyTorch.

    Returns y, an array like the input, or the pair (y, input + residual). Raises ValueError and
    TypeError for shapes and dtypes.
    """
    return _rms_norm(
        input,
        weight,
        residual,
        normalized_shape=_as_shape(normalized_shape),
        eps=eps,
        return_sum=return_sum,
    )
