"""Linear maps, tables of vectors, dropout."""

from ..manual.dropout import dropout as _dropout
from ..manual.embedding import embedding as _embedding
from ..manual.linear import linear as _linear
from .arguments import any_seed, as_array_like


def linear(input, weight, bias=None):
    """x Wᵀ + b: input (..., I), weight (O, I), bias (O,) or None -> (..., O). See manual/linear.py.

    Raises ValueError if the shapes do not fit.
    """
    return _linear(input, weight, bias)


def embedding(input, weight, padding_idx=None):
    """The rows of weight (V, D) that input, integers of any shape, names -> (*input.shape, D).

    The gradient of a row is the sum over all places where it was used, and zero for the row
    padding_idx, from -V to V-1. See manual/embedding.py.

    Raises IndexError for an id outside 0 ... V-1; TypeError and ValueError for dtypes and shapes.
    """
    return _embedding(as_array_like(input, weight), weight, padding_idx=padding_idx)


def dropout(input, p=0.5, training=True, *, seed=None, offset=0):
    """Elements are 0 with probability p, and otherwise divided by 1 - p. See manual/dropout.py.

    input: any shape, floating. training: if False, the result is the input.
    seed: an integer from 0 to 2⁶⁴ - 1 that decides what is dropped, the same on every device; None
    is a new one each time. offset: how many of the seed's random numbers to pass over; a mask takes
    input.size of them.

    Raises ValueError if p is no probability, TypeError for dtypes.
    """
    if seed is None:
        seed = any_seed("dropout") if training and p else 0
    return _dropout(input, p=p, training=training, seed=seed, offset=offset)
