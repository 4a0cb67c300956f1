"""Linear map with a bias, by hand.

    x    (M, I)   M rows of I features; an input (..., I) has M = the product of the other axes
    W    (O, I)   weights
    b    (O,)     bias, 0 if not given
    y    (M, O)   output, (..., O)
    dy, dx, dW, db   ∂L/∂y, ∂L/∂x, ∂L/∂W, ∂L/∂b

Forward, for one row and for all of them in one matrix product:

    y_mo = Σ_i x_mi W_oi + b_o                      Y = X Wᵀ + 1 bᵀ

Backward. y_mo depends on the row x_m, on the row W_o and on b_o, and the derivatives can be read
off: ∂y_mo/∂x_mi = W_oi, ∂y_mo/∂W_oi = x_mi, ∂y_mo/∂b_o = 1. The sum over all y that a variable
reaches is for x_mi one over the features o, and for W_oi and b_o, which every row uses, one over
the rows m:

    dx_mi = Σ_o dy_mo W_oi                          dX = dY W
    dW_oi = Σ_m dy_mo x_mi                          dW = dYᵀ X
    db_o  = Σ_m dy_mo                               db = dYᵀ 1

(Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors",
equations 1 and 4 to 7, for one unit and one pattern. As products of matrices: Giles 2008,
"Collected matrix derivative results for forward and reverse mode algorithmic differentiation",
section 2.2.2.)
"""

from math import prod

from ..backends import namespace
from ..backends.sums import column_sums
from ..backends.threads import by_rows, matmul
from ..ops import matmul as product
from ..tensor import is_float


def forward(x, weight, bias=None):
    """x (..., I), weight (O, I), bias (O,) or None -> y (..., O), and the cache."""
    _check(x, weight, bias)
    xp = namespace(x, weight, bias)
    M, (O, I) = prod(x.shape[:-1]), weight.shape
    x_ = x if x.ndim == 2 else x.reshape(M, I)
    y = matmul(x_, weight.T)
    if bias is not None and bias.dtype != y.dtype:
        y = y + bias                            # of another precision
    elif bias is not None:
        by_rows(lambda m: xp.add(y[m], bias, out=y[m]), xp, M, O)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], O), (x_, weight, bias, x.shape)


def backward(dy, cache, needs=None):
    """dy like y -> dx, dweight, dbias (None if there was none)."""
    x, weight, bias, shape = cache
    need_x, need_w, need_b = needs or (True,) * 3
    dy = dy if dy.ndim == 2 else dy.reshape(len(x), len(weight))
    dx = dw = db = None
    if need_x and is_float(x.dtype):
        dx = namespace(x).empty(shape, dtype=dy.dtype)
        matmul(dy, weight, out=dx.reshape(x.shape))
        dx = dx.astype(x.dtype, copy=False)
    if need_w:
        dw = matmul(dy.T, x).astype(weight.dtype, copy=False)
    if need_b and bias is not None:
        db = column_sums(dy).astype(bias.dtype, copy=False)
    return dx, dw, db


def composed(x, weight, bias=None):
    """The same from primitives."""
    _check(x, weight, bias)
    y = product(x, weight.T)
    return y if bias is None else y + bias


def _check(x, weight, bias):
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError("linear: input must be (..., I) and weight (O, I); "
                         f"got input {x.shape} and weight {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias must be (O,), one number for each row of the weight; got "
                         f"bias {bias.shape} and weight {weight.shape}")
