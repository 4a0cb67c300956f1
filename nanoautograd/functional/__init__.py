"""Functions with PyTorch's names and argument names: what layers and losses compute.

Each takes Tensors or plain arrays of any backend, and returns what it was given. Those with a
derivation of their own are in manual/, one file each; the rest is written from primitives here.
Arrays of 16 bits are computed in float32 where there is something to add (ops/sixteen_bits.py).

What may be given to an operation that is derived by hand is checked here, before any of its forms
computes: `check` beside the function. Which form computes: README.md.
"""

from typing import TYPE_CHECKING

from ..kernels import connect
from ..safety import names
from .activations import gelu, log_softmax, relu, silu, softmax
from .attention import rotary_embedding, scaled_dot_product_attention
from .layers import dropout, embedding, linear
from .losses import (
    binary_cross_entropy_with_logits,
    crf_log_partition,
    crf_loss,
    cross_entropy,
    gaussian_kl_divergence,
    linear_cross_entropy,
    mse_loss,
)
from .norms import layer_norm, rms_norm
from .recurrent import gru, lstm, rnn

__all__ = [
    "binary_cross_entropy_with_logits",
    "crf_log_partition",
    "crf_loss",
    "cross_entropy",
    "dropout",
    "embedding",
    "gaussian_kl_divergence",
    "gelu",
    "gru",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "lstm",
    "mse_loss",
    "relu",
    "rms_norm",
    "rnn",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "silu",
    "softmax",
]

if not TYPE_CHECKING:  # a checker finds what is missing
    __getattr__, __dir__ = names.public(__name__)

connect()
