"""What is still accepted for one version, with a warning, and removed in the next."""

import warnings

__all__ = ["overwrite_input"]


def overwrite_input():
    """The option `overwrite_input` of cross_entropy was given; it has no effect any more."""
    _warn(
        "cross_entropy: overwrite_input has no effect any more and will be removed; leave it out. "
        "Where the logits are too large, nag.functional.linear_cross_entropy needs no array of them"
    )


def _warn(message):
    """Names the line that called the public function, which called a function of this file."""
    warnings.warn(message, DeprecationWarning, stacklevel=4)
