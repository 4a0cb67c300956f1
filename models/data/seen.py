"""What a model has read: a sample of it, by which what is held out later is known again.

Weights that are taken over from another run have read its data. Where some of that is held out now,
a score on it says nothing of new texts. So each run keeps a sample of what it was trained on:

    a text is all stretches of WINDOW characters in it (one that is shorter, the whole of it);
    each stretch is a number of 64 bits, its hash h;
    the sample is the MOST smallest of these numbers.

A stretch whose h is not above the largest of a sample is in the sample if and only if it was read.
So two samples can be joined (the MOST smallest of both), and the share of one text in another can
be told from the samples alone.

Source: A. Broder, "On the resemblance and containment of documents", 1997 (the smallest hashes of
all stretches as a sketch of a document).
"""

import base64

import numpy as np

from .sources import DataError

WINDOW = 32  # characters, a power of 2
MOST = 8192  # numbers in a sample
LEAST = 20  # of these, in a text held out, for a share of it to mean something
CHUNK = 1 << 20  # stretches that are hashed at once
BASE, MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9  # odd, of many bits


def sample(texts):
    """The sample of a list of strings: uint64 (n,), each number once, the smallest first."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    joined = "".join(text + "\0" * WINDOW for text in texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    where = np.concatenate([[0], np.cumsum(lengths + WINDOW)])[:-1]
    inside = np.arange(len(codes)) - np.repeat(where, lengths + WINDOW)
    begins = inside < np.repeat(np.maximum(1, lengths - WINDOW + 1), lengths + WINDOW)
    found = np.empty(0, np.uint64)
    for i in range(0, len(codes), CHUNK):
        h, n = codes[i : i + CHUNK + WINDOW - 1].astype(np.uint64), 1
        while n < WINDOW and len(h) > n:  # Σ_j BASE^(n-1-j) c_j of n characters, then of 2 n
            h, n = h[:-n] * np.uint64(pow(BASE, n, 2**64)) + h[n:], 2 * n
        h = h[begins[i : i + len(h)]]
        h = (h ^ (h >> np.uint64(30))) * np.uint64(MIX)  # else its low bits are those of few
        h = h ^ (h >> np.uint64(27))
        found = join(found, h[h <= limit(found)])
    return found


def join(*samples):
    """The sample of all that these are samples of."""
    return np.unique(np.concatenate(samples))[:MOST]


def limit(sample):
    """Up to which number a sample has all that there are."""
    return sample[-1] if len(sample) == MOST else np.uint64(2**64 - 1)


def share(held_out, training, read):
    """Of what is held out, and stands nowhere in one's own training data, the share that was read
    elsewhere: from 0 to 1, of three samples. None where they hold too little of it to tell."""
    up_to = min(map(limit, (held_out, training, read)))
    new = held_out[(held_out <= up_to) & ~np.isin(held_out, training)]
    if len(new) < LEAST and up_to < limit(np.empty(0)):
        return None
    return float(np.isin(new, read).mean()) if len(new) else 0.0


def to_text(sample):
    """A sample as a string, for JSON."""
    return base64.b64encode(sample.astype("<u8").tobytes()).decode()


def from_text(text):
    """The sample that `to_text` wrote. Raises DataError where it is none."""
    try:
        sample = np.frombuffer(base64.b64decode(text, validate=True), dtype="<u8")
    except (ValueError, TypeError):
        sample = None
    if sample is None or len(sample) > MOST or (sample[1:] <= sample[:-1]).any():
        raise DataError(f"this is no sample of what was read: {text!r:.100}")
    return sample.astype(np.uint64)
