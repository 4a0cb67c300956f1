"""Data: where it comes from, as integers, and in which order."""

from .batches import Batches, by_length, mask, pad
from .dates import clean, read_dates
from .order import Streams, Windows, in_order
from .sources import SOURCES, DataError, install, installed, package_path
from .text import BytePairs, Characters, fingerprint, read_text, split
from .vocabulary import Vocabulary
