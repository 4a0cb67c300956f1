"""The pieces of words that weights were learnt with."""

from ..data import DataError, WordPieces
from ..training.finetune import is_run, known_to


def pieces_of(o):
    """The word pieces that the weights of --pretrained were learnt with: those of a run of
    `masked`, or else MiniLM's. Raises DataError."""
    return (
        WordPieces(pieces_known(o.pretrained)) if is_run(o.pretrained) else WordPieces.pretrained()
    )


def pieces_known(folder):
    """The pieces of words that the run in a folder was trained with. Raises DataError."""
    known = known_to(folder)
    if not isinstance(known, dict) or "pieces" not in known:
        raise DataError(
            f"the run in {folder} knows no pieces of words, so its weights are of no "
            "use here; give a run of a preset that reads them"
        )
    return known["pieces"]


def check_longest(o):
    """Raise DataError where texts of --longest tokens are longer than the model can read."""
    if o.longest > vars(o).get("positions", o.longest):  # recurrent networks read any length
        raise DataError(
            f"texts may have {o.longest} tokens, and the model reads {o.positions}: "
            "lower --longest, or raise --positions"
        )
