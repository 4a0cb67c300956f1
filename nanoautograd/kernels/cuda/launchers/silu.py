"""SiLU on a GPU: the launcher of silu.cu. forward and backward are those of manual/silu.py."""

from ....backends import array_namespace
from ..runtime.source import FLOATS
from .elementwise import launch


def takes(x):
    return x.dtype.name in FLOATS


def forward(x):
    flat = array_namespace(x).ascontiguousarray(x)
    return launch("silu.cu", "forward", flat).reshape(x.shape), flat


def backward(dy, cache, needs=None):
    return (
        launch("silu.cu", "backward", cache, array_namespace(dy).ascontiguousarray(dy)).reshape(
            dy.shape
        ),
    )
