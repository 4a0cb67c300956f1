"""Linear map on a GPU whose products of float32 are computed in bfloat16 (runtime/precision.py).

forward and backward are those of manual/linear.py, but that an operand is rounded once, and not by
each product that reads it: x and W on the way there, for the way back too, where dy is.
"""

from math import prod

from ....backends import array_namespace, products
from ....backends.sums import column_sums
from ..runtime.precision import precision


def takes(x, weight, bias=None):
    """There is nothing to round in another precision, or of another dtype."""
    float32 = all(a is None or a.dtype.name == "float32" for a in (x, weight, bias))
    return float32 and precision() == "bfloat16"


def forward(x, weight, bias=None):
    *axes, I = x.shape
    X, W = products.operands(x.reshape(prod(axes), I), weight)
    Y = product(X, W.T)
    if bias is not None:
        Y += bias
    return Y.reshape(*axes, len(W)), (X, W, bias, x.shape)


def backward(dy, cache, needs=None):
    X, W, bias, shape = cache
    need_x, need_w, need_b = needs or (True, True, True)
    dY = dy.reshape(len(X), len(W))
    rounded = dY.astype(W.dtype, copy=False)
    dX = product(rounded, W).reshape(shape) if need_x else None
    dW = product(rounded.T, X) if need_w else None
    db = column_sums(dY) if need_b and bias is not None else None
    return dX, dW, db


def product(A, B):
    """A B in float32, of what is rounded."""
    xp = array_namespace(A, B)
    return products.matmul(A, B, out=xp.empty((len(A), B.shape[1]), dtype="float32"))
