"""Data: where it comes from, as integers, and in which order."""

from .batches import Batches, by_length, mask, pad
from .order import Streams, in_order
from .sources import SOURCES, DataError, package_path
from .text import Characters, fingerprint, read_text, split
from .vocabulary import Vocabulary
