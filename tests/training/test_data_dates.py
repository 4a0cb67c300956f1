"""Localized dates: reproducible, unambiguous, cleaned, and each day once."""

import sys
from datetime import date, timedelta

import pytest

from models.data import DataError, clean, read_dates
from models.data.dates import LENGTHS, LOCALES


@pytest.mark.data
def test_every_day_comes_once():
    pytest.importorskip("babel")
    pairs, malformed = read_dates(seed=0)
    assert len(pairs) + malformed == 73_049 and malformed < 10
    assert len({iso for _, iso, _ in pairs}) == len(pairs)
    assert min(iso for _, iso, _ in pairs) == "1900-01-01"
    assert max(iso for _, iso, _ in pairs) == "2099-12-31"
    assert {language for _, _, language in pairs} == set(LOCALES)
    for text, iso, _ in pairs:
        assert text == clean(text) and iso[:4] in text and text.lower() == text


@pytest.mark.data
def test_the_seed_decides_texts_and_order():
    pytest.importorskip("babel")
    a, b, c = (read_dates(seed, locales=["de", "ja"])[0] for seed in (1, 1, 2))
    assert a == b != c and sorted(a, key=lambda p: p[1]) != sorted(c, key=lambda p: p[1])
    assert [iso for _, iso, _ in a] != sorted(iso for _, iso, _ in a)


@pytest.mark.data
def test_no_text_stands_for_two_dates():
    """All days of a leap year in all languages and lengths."""
    format_date = pytest.importorskip("babel.dates").format_date
    meaning = {}
    for day in (date(2000, 1, 1) + timedelta(i) for i in range(366)):
        for locale in LOCALES:
            for length in LENGTHS:
                text = clean(format_date(day, length, locale=locale))
                assert meaning.setdefault(text, day) == day, (text, locale, length)
                assert "2000" in text


@pytest.mark.data
def test_what_is_ambiguous_is_counted_and_left_out(monkeypatch):
    babel = pytest.importorskip("babel.dates")

    def american_or_british(day, length, locale):
        return f"{day:%m/%d/%Y}" if locale == "us" else f"{day:%d/%m/%Y}"

    monkeypatch.setattr(babel, "format_date", american_or_british)
    pairs, malformed = read_dates(0, locales=["us", "gb"])
    assert malformed > 1000 and len(pairs) + malformed == 73_049
    assert len({text for text, _, _ in pairs}) == len(pairs)
    monkeypatch.setattr(babel, "format_date", lambda day, length, locale: f"{day:%d.%m.%y}")
    assert read_dates(0) == ([], 73_049)  # no text has its year


@pytest.mark.parametrize(
    "text, right",
    [
        ("Thursday,  5 March\u202f1987\n", "thursday, 5 march 1987"),  # a narrow space
        ("5\u200f/3\u200f/1987", "5/3/1987"),  # marks of direction
        ("\uff11\uff19\uff18\uff17\u5e74", "1987\u5e74"),  # wide digits
        ("ma\u0301rcius", "m\u00e1rcius"),
        ("M\u00c4RZ", "m\u00e4rz"),
        ("  ", ""),
    ],
)
def test_clean_leaves_nothing_to_clean(text, right):
    assert clean(text) == right == clean(right)


def test_missing_babel_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel", None)
    monkeypatch.setitem(sys.modules, "babel.dates", None)
    with pytest.raises(DataError, match="pip install --no-deps babel==2.18.0"):
        read_dates()
