"""Dates as people in many languages write them, with the same in ISO 8601: made by `babel`."""

import datetime
import unicodedata

from .seeds import generator, purpose
from .sources import SOURCES, DataError, install

DATES = purpose("dates", 3)  # the days, and in which language and length each is written
FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)

# Languages (English twice), in fourteen scripts, whose dates babel writes with the digits 0 to 9.
# In these lengths no text stands for two dates: all four digits of the year are there (the length
# "short", 05/03/87, has two), and where the month is a number too the day or the year is before it.
LOCALES = (
    "af ar az be bg bn bs ca cs cy da de el en en_GB es et eu fa fi fr ga gl he hi hr hu hy "
    "id is it ja ka kk ko ky lt lv mk mn ms nb nl pl pt ro ru sk sl sq sr sv sw ta te th tr "
    "uk ur uz vi zh"
).split()
LENGTHS = "medium", "long", "full"  # 5 Mar 1987, 5 March 1987, Thursday 5 March 1987


def clean(text):
    """A text in the form that is learnt: letters small, in one encoding each (NFKC), one space for
    any white space, and no marks of direction or formatting, which cannot be seen."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(text.split())


def read_dates(seed=0, locales=LOCALES):
    """Every day from 1900 to 2099 once, in a random order, each in one language and length drawn
    from `seed`: (pairs, malformed).

    pairs: a list of (text, ISO date, language), such as ("jeudi 5 mars 1987", "1987-03-05", "fr").
    No date comes twice, so wherever the list is cut, the dates of one part are not in the other.
    malformed: how many were left out, because the year is not in the text, or the text was another
    date before. Raises DataError with the command that installs babel.
    """
    format_date = _babel()
    rng = generator(seed, DATES)
    pairs, meaning, malformed = [], {}, 0
    days = (LAST - FIRST).days + 1
    forms = [(locale, length) for locale in locales for length in LENGTHS]
    for day, form in zip(rng.permutation(days), rng.integers(len(forms), size=days)):
        date, (locale, length) = FIRST + datetime.timedelta(int(day)), forms[form]
        text = clean(format_date(date, length, locale=locale))
        if str(date.year) in text and meaning.setdefault(text, date) == date:
            pairs.append((text, date.isoformat(), locale))
        else:
            malformed += 1
    return pairs, malformed


def _babel():
    # A library here, not a file of data: its tables are pickles of its own, which it reads itself.
    try:
        from babel.dates import format_date
    except ImportError:
        raise DataError(
            f"this data ({SOURCES['babel'][2]}) is made by the package babel, which is "
            f"not installed: {install('babel')}"
        ) from None
    return format_date
