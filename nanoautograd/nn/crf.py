"""A layer that scores sequences of tags as a whole."""

import numpy as np

from .. import functional as F
from ..core.tensor import Tensor
from ..functional.losses import check_crf
from ..interface.array_interface import array_of
from ..manual.viterbi import viterbi
from ..safety.options import check_sizes, generator
from ..typing import ArrayLike, DTypeLike, Seed
from .module import Module, Parameter, uniform


class CRF(Module):
    """A linear-chain conditional random field over tags: functional.crf_loss, manual/crf.py.

    `transitions` (num_tags, num_tags), `start_transitions` and `end_transitions` (num_tags,) start
    from U(−0.1, 0.1), drawn from `rng`: a seed, a numpy Generator, or None.
    """

    def __init__(self, num_tags: int, *, rng: Seed = None, dtype: DTypeLike = np.float32) -> None:
        check_sizes("CRF", 1, num_tags=num_tags)
        rng = generator("CRF", rng)
        self.num_tags = num_tags
        self.start_transitions = uniform(rng, 0.1, num_tags, dtype=dtype)
        self.end_transitions = uniform(rng, 0.1, num_tags, dtype=dtype)
        self.transitions = uniform(rng, 0.1, num_tags, num_tags, dtype=dtype)

    def _scores(self) -> tuple[Parameter, ...]:
        return self.transitions, self.start_transitions, self.end_transitions

    def forward(
        self,
        emissions: ArrayLike,
        tags: ArrayLike,
        mask: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> Tensor:
        """-log P(tags). emissions: (T, B, num_tags), of the weights' dtype. tags: (T, B), integers
        from 0 to num_tags - 1. mask: (T, B), booleans, True for the steps of a sequence, then False
        for its padding; None for all True.

        reduction: "mean", over the B sequences, or their "sum": a number; or "none": (B,). Raises
        IndexError for a tag out of range; ValueError and TypeError for shapes, dtypes, options.
        """
        return F.crf_loss(emissions, tags, *self._scores(), mask=mask, reduction=reduction)

    def decode(self, emissions: ArrayLike, mask: ArrayLike | None = None) -> list[list[int]]:
        """The most probable tags, an array of integers (T, B), 0 where the mask is False. Arguments
        and errors as in `forward`."""
        arrays = [array_of(a) for a in (emissions, *self._scores())]
        check_crf(*arrays, mask=mask)
        return viterbi(*arrays, mask=mask)[0]

    def extra_repr(self) -> str:
        return f"{self.num_tags}"
