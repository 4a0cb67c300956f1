"""What is measured, at which sizes.

tiny is for the tests; small, medium and large are a sweep on the processor; gpu is for a GPU. Not
every case has every size.
"""

from . import operations as op
from .bert import Bert
from .gpt import GPT, Generation
from .recurrent import Recurrent
from .small import MLP, Chain

_LANGUAGE = {
    "tiny": {"T": 5, "B": 3, "vocabulary": 11, "embedding": 4, "hidden": 6},
    "small": {"T": 32, "B": 12, "hidden": 128},
    "medium": {"T": 64, "B": 32},
    "large": {"T": 128, "B": 32, "embedding": 256, "hidden": 512},
    "gpu": {"T": 256, "B": 64, "embedding": 512, "hidden": 512, "layers": 2},
}

# name: (the class of the case, {name of the size: its fields})
MODELS = {
    "rnn": (Recurrent, {size: {"cell": "rnn", **sizes} for size, sizes in _LANGUAGE.items()}),
    "lstm": (Recurrent, {size: {"cell": "lstm", **sizes} for size, sizes in _LANGUAGE.items()}),
    "gru": (Recurrent, {size: {"cell": "gru", **sizes} for size, sizes in _LANGUAGE.items()}),
    "gpt": (
        GPT,
        {
            "tiny": {"layers": 2, "width": 8, "heads": 2, "T": 6, "B": 2, "vocabulary": 11},
            "small": {"layers": 4, "width": 128, "heads": 4, "T": 64, "B": 12},
            "medium": {"layers": 6, "width": 384, "heads": 6, "T": 128, "B": 8},
            "gpu": {"layers": 6, "width": 384, "heads": 6, "T": 256, "B": 64},
        },
    ),
    "bert": (
        Bert,
        {
            "tiny": {
                "T": 6,
                "B": 3,
                "layers": 1,
                "width": 8,
                "heads": 2,
                "vocabulary": 11,
                "positions": 8,
            },
            "medium": {"T": 64, "B": 8},
            "gpu": {"T": 128, "B": 64},
        },
    ),
    "mlp": (
        MLP,
        {
            "tiny": {"B": 3, "I": 4, "H": 4, "O": 2},
            "small": {"B": 8, "I": 16, "H": 16, "O": 4},
            "medium": {"B": 128, "I": 784, "H": 256, "O": 10},
            "gpu": {"B": 8, "I": 16, "H": 16, "O": 4},
        },
    ),
    "chain": (Chain, {"tiny": {"length": 20}, "small": {"length": 1000}, "gpu": {"length": 1000}}),
    "generation": (
        Generation,
        {
            "tiny": {
                "layers": 1,
                "width": 8,
                "heads": 2,
                "T": 12,
                "prompt": 3,
                "new": 4,
                "vocabulary": 11,
            },
            "medium": {"layers": 6, "width": 384, "heads": 6, "T": 128, "prompt": 16, "new": 64},
            "gpu": {"layers": 6, "width": 384, "heads": 6, "T": 256, "prompt": 16, "new": 64},
        },
    ),
}


def _rows(gpu):
    return {
        "tiny": {"rows": 5, "columns": 7},
        "small": {"rows": 64, "columns": 64},
        "medium": {"rows": 512, "columns": 512},
        "large": {"rows": 4096, "columns": 1024},
        "gpu": gpu,
    }


OPERATIONS = {
    "matmul": (
        op.Matmul,
        {
            "tiny": {"m": 3, "n": 4, "k": 5},
            "small": {"m": 64, "n": 64, "k": 64},
            "medium": {"m": 512, "n": 512, "k": 512},
            "large": {"m": 1024, "n": 1536, "k": 384},
            "gpu": {"m": 4096, "n": 4096, "k": 4096},
        },
    ),
    "elementwise": (op.Elementwise, _rows({"rows": 16384, "columns": 1024})),
    "sum": (op.Sum, _rows({"rows": 16384, "columns": 1024})),
    "softmax": (op.Softmax, _rows({"rows": 16384, "columns": 1024})),
    "gelu": (op.Gelu, _rows({"rows": 16384, "columns": 1024})),
    "layer_norm": (op.LayerNorm, _rows({"rows": 16384, "columns": 1024})),
    "rms_norm": (op.RMSNorm, _rows({"rows": 16384, "columns": 1024})),
    "dropout": (op.Dropout, _rows({"rows": 16384, "columns": 1024})),
    "cross_entropy": (
        op.CrossEntropy,
        {**_rows({"rows": 8192, "columns": 50257}), "large": {"rows": 2048, "columns": 10000}},
    ),
    "embedding": (
        op.Embedding,
        {
            "tiny": {"rows": 5, "vocabulary": 7, "width": 3},
            "small": {"rows": 64, "vocabulary": 96, "width": 64},
            "medium": {"rows": 2048, "vocabulary": 96, "width": 128},
            "large": {"rows": 2048, "vocabulary": 10000, "width": 384},
            "gpu": {"rows": 16384, "vocabulary": 50257, "width": 768},
        },
    ),
    "attention": (
        op.Attention,
        {
            "tiny": {"B": 2, "heads": 2, "T": 5, "d": 3},
            "small": {"B": 1, "heads": 4, "T": 32, "d": 16},
            "medium": {"B": 4, "heads": 4, "T": 128, "d": 32},
            "large": {"B": 8, "heads": 8, "T": 256, "d": 64},
            "gpu": {"B": 16, "heads": 12, "T": 1024, "d": 64},
        },
    ),
    "adam": (
        op.Adam,
        {
            "tiny": {"n": 64},
            "small": {"n": 4096},
            "medium": {"n": 262144},
            "large": {"n": 10_000_000},
            "gpu": {"n": 100_000_000},
        },
    ),
}

# Precisions in which a case is measured, where it is not in float32 alone.
PRECISIONS = {
    ("gpt", "gpu"): ("float32", "tf32", "bfloat16"),
    ("attention", "gpu"): ("float32", "bfloat16"),
}

ALL = MODELS | OPERATIONS
SWEEP = "small", "medium", "large"


def make(name, sizes):
    """The Case of that name; sizes: the name of one, or a dict of them."""
    cls, named = ALL[name]
    return cls(**(named[sizes] if isinstance(sizes, str) else sizes))
