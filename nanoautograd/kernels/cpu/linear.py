"""Linear map with its products cut among the threads.

Where a product is large, each thread computes a part of the rows or of the features, and adds the
bias to it while it is in the cache; the two products of the way back and the sum are one list of
tasks, so no thread waits for another in between. Elsewhere these are the lines of manual/linear.py,
but that the bias is added in place.
"""

from math import prod

import numpy as np

from ...backends.products import matmul
from ...backends.sums import column_sums
from ...backends.threads import parallel_map, slices_for_product
from ...manual.linear import linear

EVERY = slice(None)


def forward(x, weight, bias=None):
    (O, I), M = weight.shape, prod(x.shape[:-1])
    X = x if x.ndim == 2 else x.reshape(M, I)
    slices = slices_for_product(np, max(M, O), M * O * I)
    if len(slices) == 1:
        Y = matmul(X, weight.T)
        Y = Y if bias is None else add(Y, bias)
    else:
        dtypes = [a.dtype for a in (x, weight, bias) if a is not None]
        Y = np.empty((M, O), dtype=np.result_type(*dtypes))

        def Y_of(i):
            m, o = (i, EVERY) if M >= O else (EVERY, i)
            Y_mo = matmul(X[m], weight[o].T, out=Y[m, o])
            if bias is not None:
                Y_mo += bias[o]

        parallel_map(Y_of, slices)
    Y = Y if x.ndim == 2 else Y.reshape(*x.shape[:-1], O)
    return Y, (x, weight, bias)


def backward(dy, cache, needs=None):
    x, W, bias = cache
    need_x, need_w, need_b = needs or (True, True, True)
    need_b = need_b and bias is not None
    (O, I), M = W.shape, prod(x.shape[:-1])
    X, dY = (x, dy) if x.ndim == 2 else (x.reshape(M, I), dy.reshape(M, O))
    row_slices, feature_slices = (slices_for_product(np, n, M * O * I) for n in (M, O))
    if len(row_slices) == len(feature_slices) == 1:
        dX = matmul(dY, W) if need_x else None
        dW = matmul(dY.T, X) if need_w else None
        db = column_sums(dY) if need_b else None
    else:
        dX = np.empty((M, I), dtype=np.result_type(dY, W)) if need_x else None
        dW = np.empty((O, I), dtype=np.result_type(dY, X)) if need_w else None
        db = np.empty(O, dtype=dY.dtype) if need_b else None

        def dX_of(m):
            matmul(dY[m], W, out=dX[m])

        def dW_of(o):
            if need_w:
                matmul(dY[:, o].T, X, out=dW[o])
            if need_b:
                db[o] = column_sums(dY[:, o])

        tasks = [(dX_of, m) for m in row_slices if need_x]
        tasks += [(dW_of, o) for o in feature_slices if need_w or need_b]
        parallel_map(lambda task: task[0](task[1]), tasks)
    return dX if dX is None or x.ndim == 2 else dX.reshape(x.shape), dW, db


linear.cpu = linear.form(forward, backward)


def add(Y, bias):
    """Y + b, in Y if it has the dtype of the sum."""
    if Y.dtype != bias.dtype:
        return Y + bias
    Y += bias
    return Y
