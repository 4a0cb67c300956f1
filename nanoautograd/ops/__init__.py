"""The primitive operations, under the names that `nanoautograd` exports."""

from .arranging import (concatenate, diagonal, flip, pad, repeat, roll, split, stack, tile, trace,
                        tril, triu)
from .constants import (all, allclose, any, argmax, argmin, argsort, array_equal, bincount,
                        bitwise_and, bitwise_or, bitwise_xor, ceil, count_nonzero, equal, floor,
                        floor_divide, full_like, greater, greater_equal, invert, isclose,
                        isfinite, isinf, isnan, less, less_equal, logical_and, logical_not,
                        logical_or, logical_xor, nonzero, not_equal, ones_like, rint, round,
                        searchsorted, trunc, zeros_like)
from .elementwise import (abs, add, arccos, arcsin, arctan, arctan2, astype, clip, cos, cosh,
                          divide, erf, exp, expm1, log, log1p, maximum, minimum, multiply,
                          negative, positive, power, reciprocal, remainder, sigmoid, sign, sin,
                          sinh, softplus, sqrt, square, subtract, tan, tanh, to, where)
from .indexing import getitem, index_put, scatter_add, take, take_along_axis
from .linalg import dot, einsum, matmul, outer, tensordot
from .reductions import (cumsum, logsumexp, max, mean, min, norm, prod, sort, std, sum, var)
from .shaping import (broadcast_to, copy, expand_dims, moveaxis, permute, ravel, reshape, squeeze,
                      swapaxes, transpose)

# Those with a derivative, and those without.
DIFFERENTIABLE = (
    "abs", "add", "arccos", "arcsin", "arctan", "arctan2", "astype", "broadcast_to", "clip",
    "concatenate", "copy", "cos", "cosh", "cumsum", "diagonal", "divide", "dot", "einsum",
    "erf", "exp", "expand_dims", "expm1", "flip", "getitem", "index_put", "log", "log1p",
    "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum", "moveaxis", "multiply",
    "negative", "norm", "outer", "pad", "permute", "positive", "power", "prod", "ravel",
    "reciprocal", "remainder", "repeat", "reshape", "roll", "scatter_add", "sigmoid", "sign",
    "sin", "sinh", "softplus", "sort", "split", "sqrt", "square", "squeeze", "stack", "std",
    "subtract", "sum", "swapaxes", "take", "take_along_axis", "tan", "tanh", "tensordot",
    "tile", "to", "trace", "transpose", "tril", "triu", "var", "where")
CONSTANT = (
    "all", "allclose", "any", "argmax", "argmin", "argsort", "array_equal", "bincount",
    "bitwise_and", "bitwise_or", "bitwise_xor", "ceil", "count_nonzero", "equal", "floor",
    "floor_divide", "full_like", "greater", "greater_equal", "invert", "isclose", "isfinite",
    "isinf", "isnan", "less", "less_equal", "logical_and", "logical_not", "logical_or",
    "logical_xor", "nonzero", "not_equal", "ones_like", "rint", "round", "searchsorted",
    "trunc", "zeros_like")
__all__ = [*DIFFERENTIABLE, *CONSTANT]
