"""The gated recurrent unit on a GPU: the launcher of gru.cu.

forward and backward are those of manual/gru.py for what `takes` allows.
"""

from functools import partial

from ....manual.recurrent import arrange
from ..runtime.source import source
from . import recurrent
from .recurrent import Cell

CELL = Cell(3, uses_h_prev=True, apart=True)


def takes(
    x,
    h0,
    *weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    """float32 and float64, if the weights from state to state fit in the GPU's shared memory."""
    return recurrent.takes(CELL.G, x, weights, batch_first)


def forward(
    x,
    h0,
    *weights,
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    return recurrent.forward(CELL, partial(source, "gru.cu"), x, (h0,), layers)


def backward(gradients, cache, needs=None):
    return recurrent.backward(CELL, gradients, cache, needs)
