"""Layers: objects that hold parameters. Names, arguments, defaults, initialisation and state_dict
layouts are PyTorch's, so that weights cross over both ways.

What a layer computes is in functional.py and, derived by hand, in manual/; here are only the
weights. Initial weights are drawn on the host with NumPy, so a seed gives the same ones on every
device.
"""

from .crf import CRF
from .layers import GELU, Dropout, Embedding, Linear, ReLU, SiLU, Tanh
from .module import Module, Parameter, Sequential, uniform
from .norms import LayerNorm, RMSNorm
from .recurrent import GRU, LSTM, RNN, Recurrent
