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

from ..backends import array_namespace, is_float, products
from ..backends.sums import column_sums
from ..backends.threads import parts, share
from ..custom_vjp import custom_vjp
from ..ops import matmul

EVERY = slice(None)


def forward(x, weight, bias=None):
    """x (..., I), weight (O, I), bias (O,) or None -> y (..., O), and the cache."""
    _check(x, weight, bias)
    xp = array_namespace(x, weight, bias)
    M, (O, I) = prod(x.shape[:-1]), weight.shape
    x_, W = products.operands(x if x.ndim == 2 else x.reshape(M, I), weight)
    y = xp.empty((M, O), dtype=xp.result_type(x, weight))
    after = bias is not None and bias.dtype != y.dtype  # of another precision

    def part(m, o):
        """Y of the rows m and the features o."""
        y_mo = products.matmul(x_[m], W[o].T, out=y[m, o])
        if bias is not None and not after:
            y_mo += bias[o]

    if M < O:
        share(lambda o: part(EVERY, o), parts(xp, O, M * O * I))
    else:
        share(lambda m: part(m, EVERY), parts(xp, M, M * O * I))
    if after:
        y = y + bias
    y = y if x.ndim == 2 else y.reshape(*x.shape[:-1], O)
    return y, (x_, W, x.shape, x.dtype, weight.dtype, None if bias is None else bias.dtype)


def backward(dy, cache, needs=None):
    """dy like y -> dx, dweight, dbias (None if there was none)."""
    x, W, shape, of_x, of_w, of_b = cache  # dtypes of the arguments
    need_x, need_w, need_b = needs or (True,) * 3
    need_x, need_b = need_x and is_float(of_x), need_b and of_b is not None
    xp = array_namespace(x)
    (M, I), O = x.shape, len(W)
    dy = dy if dy.ndim == 2 else dy.reshape(M, O)
    dy_ = dy if W.dtype == of_w else dy.astype(W.dtype)  # rounded, as W was
    dx = xp.empty(shape, dtype=dy.dtype) if need_x else None
    dx_ = dx.reshape(M, I) if need_x else None
    dw = xp.empty((O, I), dtype=dy.dtype) if need_w else None
    db = xp.empty(O, dtype=dy.dtype) if need_b else None

    def rows(m):
        products.matmul(dy_[m], W, out=dx_[m])

    def features(o):
        if need_w:
            products.matmul(dy_[:, o].T, x, out=dw[o])
        if need_b:
            db[o] = column_sums(dy[:, o])

    of_rows, of_features = parts(xp, M, M * O * I), parts(xp, O, M * O * I)
    tasks = [(rows, m) for m in of_rows if need_x]
    tasks += [(features, o) for o in of_features if need_w or need_b]
    if len(of_rows) == len(of_features) == 1:
        for task, part in tasks:
            task(part)
    else:
        share(lambda task: task[0](task[1]), tasks)
    return tuple(
        [
            d if d is None else d.astype(dtype, copy=False)
            for d, dtype in ((dx, of_x), (dw, of_w), (db, of_b))
        ]
    )


def reference(x, weight, bias=None):
    """The same from primitives."""
    _check(x, weight, bias)
    y = matmul(x, weight.T)
    return y if bias is None else y + bias


linear = custom_vjp("linear", forward, backward, reference)


def _check(x, weight, bias):
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            "linear: input must be (..., I) and weight (O, I); "
            f"got input {x.shape} and weight {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear: bias must be (O,), one number for each row of the weight; got "
            f"bias {bias.shape} and weight {weight.shape}"
        )
