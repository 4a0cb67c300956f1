"""Fast forms for the CPU, one operation a file: `forward` and `backward` with the arguments and the
results of those in manual/. Each file says what it does differently, and why that is faster."""

from . import log_softmax, softmax

__all__ = ["log_softmax", "softmax"]
