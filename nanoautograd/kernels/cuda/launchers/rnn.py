"""Elman's recurrent network on a GPU: the launcher of rnn.cu.

forward and backward are those of manual/rnn.py for what `takes` allows.
"""

from functools import partial

from ....manual.recurrent import arrange
from ..runtime.source import source
from . import recurrent
from .recurrent import Cell

CELL = Cell(1, keeps_more=False)


def takes(
    x,
    h0,
    *weights,
    nonlinearity="tanh",
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
    nonlinearity="tanh",
    bidirectional=False,
    lengths=None,
    batch_first=False,
    bias=True,
    dropout=0.0,
    masks=None,
):
    layers = arrange(x, weights, bidirectional, lengths, batch_first, bias, dropout, masks)
    kernels = partial(source, "rnn.cu", RELU=int(nonlinearity == "relu"))
    return recurrent.forward(CELL, kernels, x, (h0,), layers)


def backward(gradients, cache, needs=None):
    return recurrent.backward(CELL, gradients, cache, needs)
