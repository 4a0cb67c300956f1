"""Weights that others saved, read without trusting the file: nothing is unpickled, and no array is
made before names, shapes and dtypes are those that the model has."""

from .config import read_config
from .gguf import GGUF, read_gguf
from .names import check_sizes, fill
from .npz import load_npz
from .safetensors import load_safetensors, shapes_of

__all__ = [
    "GGUF",
    "check_sizes",
    "fill",
    "load_npz",
    "load_safetensors",
    "read_config",
    "read_gguf",
    "shapes_of",
]
