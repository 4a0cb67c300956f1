"""The pieces of words that weights were learnt with."""

from ..data import DataError, WordPieces

PIECES = "pieces", "pieces of words"  # in `known`, and in words


def pieces_of(task):
    """The word pieces that the weights of --pretrained were learnt with: those of a run of
    `masked`, or else MiniLM's. Raises DataError."""
    pieces = task.taken_over(*PIECES)
    return WordPieces.pretrained() if pieces is None else WordPieces(pieces)


def check_longest(o):
    """Raise DataError where texts of --longest tokens are longer than the model can read."""
    if o.longest > vars(o).get("positions", o.longest):  # recurrent networks read any length
        raise DataError(
            f"texts may have {o.longest} tokens, and the model reads {o.positions}: "
            "lower --longest, or raise --positions"
        )
