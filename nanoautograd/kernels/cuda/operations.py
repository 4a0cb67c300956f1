"""Which operations have kernels: they compute for arrays that are not NumPy's."""

from ...manual.attention import scaled_dot_product_attention
from ...manual.cross_entropy import cross_entropy
from ...manual.dropout import dropout
from ...manual.embedding import embedding
from ...manual.gelu import gelu
from ...manual.gru import gru
from ...manual.layer_norm import layer_norm
from ...manual.linear import linear
from ...manual.linear_cross_entropy import linear_cross_entropy
from ...manual.log_softmax import log_softmax
from ...manual.lstm import lstm
from ...manual.rms_norm import rms_norm
from ...manual.rnn import rnn
from ...manual.silu import silu
from ...manual.softmax import softmax
from . import Kernel

for operation, launcher in {
    scaled_dot_product_attention: "attention",
    cross_entropy: "cross_entropy",
    dropout: "dropout",
    embedding: "embedding",
    gelu: "gelu",
    gru: "gru",
    layer_norm: "layer_norm",
    linear: "linear",
    linear_cross_entropy: "linear_cross_entropy",
    log_softmax: "log_softmax",
    lstm: "lstm",
    rms_norm: "rms_norm",
    rnn: "rnn",
    silu: "silu",
    softmax: "softmax",
}.items():
    operation.cuda = Kernel(launcher, operation, early=operation is linear_cross_entropy)
