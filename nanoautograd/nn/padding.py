"""Sequences of different lengths in one array: each begins a row, and padding fills up the rest."""

import numpy as np

from ..backends import array_namespace, device_of, is_array, to_device
from ..interface.array_interface import array_of


def mask(x, lengths):
    """Booleans (B, T), on the device of x: True where row b has one of its lengths[b] tokens, False
    where it has padding. x: array or Tensor (B, T, ...). lengths: B integers, a list or an array
    of any device."""
    x, lengths = array_of(x), array_of(lengths)
    lengths = lengths if is_array(lengths) else np.asarray(lengths)
    return array_namespace(x).arange(x.shape[1]) < to_device(lengths, device_of(x))[:, None]
