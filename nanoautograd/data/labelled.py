"""Examples with a class each: how they are split, and texts with a topic or an opinion."""

import bz2
import csv
import json
import re

import numpy as np

from .sources import DataError, package_path


def stratified(y, share, seed=0):
    """(training, held out): the numbers of examples, int64, each in order. Of every class of y (n,)
    the `share`, rounded, is held out, drawn from the seed. Raises DataError where a class would
    have no example on one side."""
    rng = np.random.default_rng([seed, 3])
    held_out = np.zeros(len(y), dtype=bool)
    for c in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == c))
        n = round(share * len(members))
        if not 0 < n < len(members):
            raise DataError(f"of the {len(members)} examples of class {c} a share of {share} leaves "
                            f"{n} to hold out, and both sides need one; change --validation, or "
                            "give more data")
        held_out[members[:n]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
