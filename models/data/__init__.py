"""Data: where it comes from, as integers, what is held out of it, and in which order."""

from .batches import Batches, by_length, pad
from .byte_level import ByteLevel
from .dates import clean, read_dates
from .digits import read_digits
from .families import alike, families, split_families
from .held_out import split, split_at_random, split_by_class
from .labelled import read_reviews, read_topics
from .order import Streams, Windows, in_order
from .pieces import Pieces
from .pronunciations import read_pronunciations
from .questions import read_questions
from .seeds import generator, purpose
from .sources import DEBIAN, SOURCES, DataError, fingerprint, install, installed, package_path
from .summaries import read_descriptions, read_docstrings
from .tagging import read_entities, read_parts_of_speech
from .text import BytePairs, Characters, read_text
from .translation import read_dictionary, read_names
from .vocabulary import Vocabulary
from .wiki import first_characters, read_articles, read_wiki
from .wordpieces import WordPieces
