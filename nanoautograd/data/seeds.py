"""All that a run draws at random: from its seed, for a purpose, and by the number of the step."""

import numpy as np

# purpose: its number in the key below. A new one gets a number of its own. Older ones that share
# a number are of different tasks, and no run draws both.
PURPOSES = {
    "weights": 0,  # the first ones
    "order": 1,  # of the data, by step or epoch
    "sampling": 2,  # what a trained model writes
    "split by class": 3,  # topics, sentiment, digits, the languages of the wiki
    "sentences": 3,  # answers: how those of an article are shuffled
    "dates": 3,  # the days, and in which language and length each is written
    "unseen words": 3,  # tagging, by step
    "split at random": 4,  # tagging, answers
    "articles": 4,  # language, masked: how those of the wiki are mixed
    "noise": 4,  # variational autoencoder, by step
    "noise to evaluate with": 5,
    "blanks": 5,  # masked, by step
    "blanks to evaluate with": 6,
    "codes to draw": 6,
    "adapters": 7,  # of the weights that are pretrained
}


def generator(seed, purpose, step=0):
    """A NumPy Generator that depends on nothing but these: seed and step, integers from 0, and one
    of PURPOSES. The same numbers again for the same three, so a run can be taken up anywhere."""
    return np.random.default_rng([seed, PURPOSES[purpose], step])
