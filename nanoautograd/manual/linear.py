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

from ..backends.sums import summed
from ..custom_vjp import custom_vjp
from ..ops import matmul


def forward(x, weight, bias=None):
    """x (..., I), weight (O, I), bias (O,) or None -> y (..., O), and the cache."""
    *axes, I = x.shape
    X, W = x.reshape(prod(axes), I), weight
    Y = matmul(X, W.T)
    if bias is not None:
        Y = Y + bias
    return Y.reshape(*axes, len(W)), (X, W, x.shape)


def backward(dy, cache):
    """dy like y -> dx, dweight, dbias."""
    X, W, shape = cache
    dY = dy.reshape(len(X), len(W))
    dX = matmul(dY, W)
    dW = matmul(dY.T, X)
    db = summed(dY, 0)  # dYᵀ 1
    return dX.reshape(shape), dW, db


def reference(x, weight, bias=None):
    """The same from primitives."""
    y = matmul(x, weight.T)
    return y if bias is None else y + bias


linear = custom_vjp("linear", forward, backward, reference)
