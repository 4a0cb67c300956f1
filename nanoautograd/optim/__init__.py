"""Optimisers, gradient clipping, learning-rate schedules and averages of weights, with PyTorch's
names and defaults.

An optimiser changes the arrays of its parameters in place, between one backward pass and the next:

    optimizer = AdamW(model.parameters(), lr=1e-3)
    for x, y in batches:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

Gradients add up until `zero_grad`. So for a batch that is too large for the memory, take it in k
parts of equal size, call `(loss / k).backward()` for each, and make one step: the mean over the
batch is the mean of the means over its parts.
"""

from typing import TYPE_CHECKING

from ..safety import names
from . import adam_fast
from .adam import Adam, AdamW
from .averages import AveragedModel
from .clipping import clip_grad_norm_
from .muon import Muon
from .optimizer import Optimizer
from .schedule import learning_rate
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AveragedModel",
    "Muon",
    "Optimizer",
    "clip_grad_norm_",
    "learning_rate",
]

if not TYPE_CHECKING:  # a checker finds what is missing
    __getattr__, __dir__ = names.public(__name__)

adam_fast.connect()
