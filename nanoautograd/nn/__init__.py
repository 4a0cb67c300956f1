"""Layers: objects that hold parameters. Names, arguments, defaults, initialisation and state_dict
layouts are PyTorch's, so that weights cross over both ways.

What a layer computes is in functional/ and, derived by hand, in manual/; here are only the
weights. Initial weights are drawn on the host with NumPy, so a seed gives the same ones on every
device.
"""

import sys
from typing import TYPE_CHECKING

from .. import functional
from ..safety import names
from .attention import (
    CausalSelfAttention,
    MultiheadAttention,
    RotaryEmbedding,
)
from .crf import CRF
from .functional_call import functional_call
from .kv_cache import KVCache
from .layers import (
    GELU,
    Dropout,
    Embedding,
    Identity,
    Linear,
    ReLU,
    Sigmoid,
    SiLU,
    Tanh,
    load_random_state,
    random_state,
)
from .lora import LoRALinear, adapters, add_adapters, merge_adapters
from .losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from .module import Module, ModuleList, Parameter, Sequential, uniform, xavier_uniform
from .norms import LayerNorm, RMSNorm
from .recurrent import GRU, LSTM, RNN, Recurrent
from .transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "BCEWithLogitsLoss",
    "CRF",
    "CausalSelfAttention",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "GELU",
    "GRU",
    "Identity",
    "KVCache",
    "LSTM",
    "LayerNorm",
    "Linear",
    "LoRALinear",
    "MSELoss",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "Parameter",
    "RMSNorm",
    "RNN",
    "ReLU",
    "Recurrent",
    "RotaryEmbedding",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "adapters",
    "add_adapters",
    "functional",
    "functional_call",
    "load_random_state",
    "merge_adapters",
    "random_state",
    "uniform",
    "xavier_uniform",
]

if not TYPE_CHECKING:  # a checker finds what is missing
    __getattr__, __dir__ = names.public(__name__)

sys.modules[f"{__name__}.functional"] = functional  # import nanoautograd.nn.functional as F
