"""GELU on a GPU: the host's half of gelu.cu. forward and backward are those of manual/gelu.py."""

from ..backends import namespace
from ..manual.gelu import _check
from .elementwise import launch
from .source import FLOATS


def takes(x, *, approximate="none"):
    return x.dtype.name in FLOATS


def forward(x, *, approximate="none"):
    _check(x, approximate)
    flat, tanh = namespace(x).ascontiguousarray(x), approximate == "tanh"
    return launch("gelu.cu", "forward", flat, numbers=(tanh,)).reshape(x.shape), (flat, tanh)


def backward(dy, cache, needs=None):
    x, tanh = cache
    dy_ = namespace(dy).ascontiguousarray(dy)
    return launch("gelu.cu", "backward", x, dy_, numbers=(tanh,)).reshape(dy.shape),
