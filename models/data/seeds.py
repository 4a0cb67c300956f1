"""All that a run draws at random: from its seed, for a purpose, and by the number of the step.

What is drawn for, and its number in the key, is said where it is drawn:

    BLANKS = purpose("blanks", 5)
    generator(seed, BLANKS, step)
"""

import numpy as np

__all__ = ["generator", "purpose"]

_numbers = {}


def purpose(name, number):
    """Enters a purpose, and returns its name. A new one gets a number that no other has: two of one
    number would draw the same, so no run may draw both. (Older ones share some.)

    Raises ValueError where the name has another number by now.
    """
    if _numbers.setdefault(name, number) != number:
        raise ValueError(f"purpose: {name!r} has the number {_numbers[name]}, not {number}")
    return name


# What every run draws; the rest is entered by what draws it.
purpose("weights", 0)  # the first ones
purpose("order", 1)  # of the data, by step or epoch
purpose("sampling", 2)  # what a trained model writes


def generator(seed, purpose, step=0):
    """A NumPy Generator that depends on nothing but these: seed and step, integers from 0, and the
    name of a purpose. The same numbers again for the same three, so a run can be taken up anywhere.
    Raises ValueError for a purpose that is not entered."""
    if purpose not in _numbers:
        raise ValueError(
            f"generator: nothing is drawn for {purpose!r}; there are {', '.join(_numbers)}"
        )
    return np.random.default_rng([seed, _numbers[purpose], step])
