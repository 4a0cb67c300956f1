"""What NumPy reads as arrays, and what tests of arguments share."""

import numpy as np

import nanoautograd as nag

REFUSALS = TypeError, ValueError, IndexError
X = np.arange(24.0).reshape(2, 3, 4)


def leaf(x):
    return nag.Tensor(x, requires_grad=True)


class Container:
    """What NumPy reads as an array, and is neither array nor sequence."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)


def nested(x, kind):
    return kind(nested(part, kind) for part in x) if isinstance(x, list) else x
