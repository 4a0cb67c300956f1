"""float16 and bfloat16: what is computed by hand is computed in float32, and rounded at the end.

A sum of many numbers has more digits than 16 bits hold, a square of one may be out of their range,
and what is rounded on the way, as the scores of attention, is wrong by far more in an exponent.
"""

from functools import wraps
from typing import Any, NamedTuple

from ..backends import is_float
from . import astype
from .reductions import wide


class Wide(NamedTuple):
    """The cache of a call in float32 of arguments of 16 bits."""

    cache: Any


def functions_in_float32(forward, backward):
    """The two functions of an operation, for floating arguments of 16 bits too, if all have one
    dtype. The results have that dtype; the gradients are float32, and the walk rounds them, after
    it has summed what was broadcast."""

    @wraps(forward)
    def forward_(*args, **options):
        dtype = of_16_bits(args)
        if dtype is None:
            return forward(*args, **options)
        pair = forward(*map(wide, args), **options)
        if type(pair) is not tuple or len(pair) != 2:
            return pair  # which the operation refuses
        out, cache = pair
        return _cast(out, dtype), Wide(cache)

    @wraps(backward)
    def backward_(dout, cache, needs=None):
        if type(cache) is not Wide:
            return backward(dout, cache, needs)
        return backward(_cast(dout, "float32"), cache.cache, needs)

    return forward_, backward_


def reference_in_float32(reference):
    """The same for the third."""

    @wraps(reference)
    def reference_(*args, **options):
        dtype = of_16_bits(args)
        if dtype is None:
            return reference(*args, **options)
        return _cast(reference(*map(wide, args), **options), dtype)

    return reference_


def of_16_bits(args):
    """The dtype of the floating ones, if it is one, of 16 bits; else None. The first is one."""
    if getattr(args[0], "dtype", None) is None or args[0].dtype.itemsize != 2:  # as most are
        return None
    dtypes = {a.dtype for a in args if hasattr(a, "dtype") and is_float(a.dtype)}
    return next((d for d in dtypes if d.itemsize == 2), None) if len(dtypes) == 1 else None


def _cast(results, dtype):
    """An array, or those of a tuple, in a dtype; None is None."""
    if type(results) in (tuple, list):
        return tuple([_cast(y, dtype) for y in results])
    return None if results is None else astype(results, dtype)
