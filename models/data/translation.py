"""German and English: sentences of a dictionary, or the names of countries, languages, ..."""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from .sources import DEBIAN, SOURCES, DataError, install, installed, read_utf8

DICTIONARY, _ = DEBIAN["trans-de-en"]

NOTE = re.compile(r"\{[^{}]*\}|\[[^][]*\]|\([^()]*\)|<[^<>]*>")  # the innermost ones
SENTENCE = re.compile(r'"?[A-ZÄÖÜ].*[.!?]"?')  # a capital ... a full stop
SIGNS = str.maketrans(
    {
        **dict.fromkeys("’‘‚´`", "'"),
        **dict.fromkeys("“”„»«", '"'),
        **dict.fromkeys("–—", "-"),
        "…": "...",
    }
)


class Dictionary(NamedTuple):
    """Lists of pairs (German, English), each pair once."""

    sentences: list
    phrases: list  # of two German words and more
    words: list
    left_out: str  # a few words on what was, and why


def read_dictionary(path=None):
    """The Dictionary in a file, DICTIONARY where none is given, which has lines

        Freund {m} | Freunde {pl} | Wo ist (denn) mein Freund? :: friend; pal | friends | Where ...

    so that the parts between "|" stand for each other, and ";" separates what means the same. Of
    each part counts the first such, without what is between {}, [], (), <>. It is a sentence if on
    both sides it begins with a capital letter and ends with a full stop, "!" or "?". One with "/"
    inside, "das/es ist", is two, and left out. Quotation marks, dashes and dots are those of ASCII.

    Raises DataError with the command that installs the file, or where it has no sentence.
    """
    path = Path(path or DICTIONARY)
    if not path.is_file():
        raise DataError(
            f"the sentences are in the file {str(path)!r} of Debian's package "
            f"trans-de-en, which is not installed: {install('trans-de-en')}; names to "
            "translate, the preset translation-names, are in babel"
        )
    sentences, phrases, words, malformed, two = {}, {}, {}, 0, 0
    for line in read_utf8(path, errors="replace").splitlines():
        sides = [side.split("|") for side in line.split("::")]
        if line.startswith("#") or not line.strip():  # a comment
            continue
        if len(sides) != 2 or len(sides[0]) != len(sides[1]):
            malformed += 1
            continue
        for parts in zip(*sides):
            pair = german, english = tuple(map(first_meaning, parts))
            if "/" in german + english:
                two += 1
            elif all(map(SENTENCE.fullmatch, pair)):
                sentences[pair] = None
            elif german and english:
                (phrases if " " in german else words)[pair] = None
    if not sentences:
        raise DataError(f"{str(path)!r} has no sentence in it, of lines like 'Ja! :: Yes!'")
    return Dictionary(
        [*sentences],
        [*phrases],
        [*words],
        f"{malformed} malformed lines and {two:,} pairs with alternatives inside left out",
    )


def first_meaning(part):
    """The first of the alternatives in a part of an entry, without notes, its signs made plain."""
    before = None
    while before != part:  # notes may stand in notes
        before, part = part, NOTE.sub(" ", part)
    part = " ".join(part.partition(";")[0].translate(SIGNS).split())
    return re.sub(r" (?=[.,:!?])", "", part)


# What babel.Locale has the names of.
KINDS = "territories", "languages", "scripts", "variants", "currencies", "time_zones", "meta_zones"


def read_names():
    """([(German, English), ...], left out): names of territories, languages, scripts, currencies
    and so on, from the package babel, each pair once, and a few words on what was left out. Raises
    DataError with the command that installs it."""
    if not installed("babel"):
        raise DataError(
            f"these names ({SOURCES['babel'][2]}) are from the package babel, which is "
            f"not installed: {install('babel')}"
        )
    # A library here, not a file of data: its tables are pickles of its own, which it reads itself.
    from babel import Locale

    german, english, pairs, alone = Locale("de"), Locale("en"), {}, 0
    for kind in KINDS:
        names = {key: name for key, name in strings(getattr(english, kind))}
        for key, name in strings(getattr(german, kind)):
            alone += key not in names
            if key in names:
                pairs[unicodedata.normalize("NFC", name), names[key]] = None
    return list(pairs), f"{alone} without an English name left out"


def strings(table, key=()):
    """(key, string) of all strings in a table of tables."""
    for name in table:
        if isinstance(table[name], str):
            yield (*key, name), table[name]
        elif hasattr(table[name], "keys"):
            yield from strings(table[name], (*key, name))
