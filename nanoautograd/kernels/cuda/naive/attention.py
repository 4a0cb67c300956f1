"""Launches attention.cu: forward and backward as in manual/attention.py."""

from math import prod

from ....backends import array_namespace
from ....manual.attention import scale_of
from . import contiguous, launch

FILE = "attention.cu"


def takes(
    q, k, v, mask=None, *, scale=None, causal=False, return_weights=False, p=0.0, seed=0, offset=0
):
    """The same batch axes for all, one key or more; no mask, no dropout, the output alone."""
    return (
        q.dtype.name in ("float32", "float64")
        and q.dtype == k.dtype == v.dtype
        and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        and q.shape[-1] == k.shape[-1]
        and k.shape[-2] == v.shape[-2] > 0
        and mask is None
        and not return_weights
        and not p
    )


def forward(q, k, v, mask=None, *, scale=None, causal=False, **not_taken):
    xp, (B, N, S, d, e) = array_namespace(q), _sizes(q, v)
    c = scale_of(q, scale)
    q, k, v = contiguous(q, k, v)
    P = xp.empty((*q.shape[:-1], S), dtype=q.dtype)
    o = xp.empty((*q.shape[:-1], e), dtype=q.dtype)
    launch(FILE, "forward", B * N, q, k, v, P, o, B, N, S, d, e, c, causal)
    return o, (q, k, v, P, c)


def backward(d_o, cache, needs=None):
    q, k, v, P, c = cache
    xp, (B, N, S, d, e) = array_namespace(q), _sizes(q, v)
    (d_o,) = contiguous(d_o)
    dA, dq, dk, dv = (xp.empty_like(x) for x in (P, q, k, v))
    launch(FILE, "backward_scores", B * N, P, v, d_o, dA, B, N, S, e)
    launch(FILE, "backward_queries", dq.size, dA, k, dq, B, N, S, d, c)
    launch(FILE, "backward_keys", dk.size, dA, q, dk, B, N, S, d, c)
    launch(FILE, "backward_values", dv.size, P, d_o, dv, B, N, S, e)
    return dq, dk, dv, None


def _sizes(q, v):
    """B, N, S, d, e: all batch axes together are B heads."""
    return prod(q.shape[:-2]), q.shape[-2], v.shape[-2], q.shape[-1], v.shape[-1]
