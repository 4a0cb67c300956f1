"""Attention with several heads."""

import math
from typing import Any

import numpy as np

from .. import functional as F
from ..backends import is_float
from ..core.tensor import Tensor
from ..functional.attention import check_base
from ..interface.array_interface import array_of
from ..ops import expand_dims, mean, reshape, split, squeeze, where
from ..safety.arguments import as_input
from ..safety.options import check_flags, check_probability, check_sizes, generator
from ..typing import ArrayLike, DTypeLike, Seed
from . import one_position
from .kv_cache import KVCache
from .layers import Dropout, Linear
from .module import Module, Parameter, xavier_uniform


class MultiheadAttention(Module):
    """[head_1 ... head_H] W_Oᵀ + b_O, head_i = softmax(q_i k_iᵀ / √d) v_i, H = num_heads (Vaswani
    et al. 2017, section 3.2.2; the heads are derived in manual/attention.py).

    q_i, k_i, v_i, of d = embed_dim / num_heads features each, are slices of query W_Qᵀ + b_Q and so
    on. W_Q, W_K, W_V lie below one another in `in_proj_weight` (3 embed_dim, embed_dim), which is
    one product in self-attention; where kdim or vdim, the features of keys and values, are others
    they are `q_proj_weight`, `k_proj_weight`, `v_proj_weight`. The biases are `in_proj_bias`
    (3 embed_dim,), and W_O and b_O are `out_proj`.

    The first three start from U(±√(6 / (rows + columns))), `out_proj.weight` from U(±1/√embed_dim),
    drawn from `rng` (a seed, a numpy Generator, or None), biases from 0. `dropout` is the
    probability with which, while training, a weight of attention is dropped.
    """

    optional_parameters = "in_proj_weight", "in_proj_bias"

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = type(self).__name__
        check_sizes(name, 1, embed_dim=embed_dim, num_heads=num_heads)
        for size, n in (("kdim", kdim), ("vdim", vdim)):
            if n is not None:
                check_sizes(name, 1, **{size: n})
        check_flags(name, bias=bias, batch_first=batch_first)
        check_probability(name, dropout=dropout)
        if embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: embed_dim must be a multiple of num_heads, both "
                f"at least 1; got {embed_dim} and {num_heads}"
            )
        rng, E = generator(name, rng), embed_dim
        self.embed_dim, self.num_heads, self.batch_first = embed_dim, num_heads, batch_first
        self.kdim, self.vdim = E if kdim is None else kdim, E if vdim is None else vdim
        self.in_proj_weight: Parameter | None
        if self.kdim == self.vdim == E:
            self.in_proj_weight = xavier_uniform(rng, 3 * E, E, dtype=dtype)
        else:
            self.in_proj_weight = None
            self.q_proj_weight = xavier_uniform(rng, E, E, dtype=dtype)
            self.k_proj_weight = xavier_uniform(rng, E, self.kdim, dtype=dtype)
            self.v_proj_weight = xavier_uniform(rng, E, self.vdim, dtype=dtype)
        self.in_proj_bias = Parameter(np.zeros(3 * E), dtype=dtype) if bias else None
        self.out_proj = Linear(E, E, bias, rng=rng, dtype=dtype)
        if bias:
            self.out_proj.bias.data[:] = 0.0
        self.dropout = Dropout(dropout, rng=rng)

    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike,
        key_padding_mask: ArrayLike | None = None,
        need_weights: bool = True,
        attn_mask: ArrayLike | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Any]:
        """query (T, B, embed_dim), key (S, B, kdim), value (S, B, vdim), with B first if
        batch_first, without B for one sequence -> (output, like query; weights, or None).

        key_padding_mask (B, S) and attn_mask (T, S) or (B·num_heads, T, S): boolean, True = is NOT
        seen (as in PyTorch; the other way round in functional.scaled_dot_product_attention), or
        floating and added to the scores. is_causal: query t sees the keys 0 to t only; needs no
        attn_mask. The weights, after dropout, are (B, T, S), the mean of the heads, or
        (B, num_heads, T, S).

        A query that sees no key takes nothing: its weights are zero, and its output is the bias of
        `out_proj`. (PyTorch's are nan there.) Raises ValueError and TypeError for shapes and
        dtypes.
        """
        inputs = {id(a): as_input(a, "MultiheadAttention") for a in (query, key, value)}
        query, key, value = (inputs[id(a)] for a in (query, key, value))
        check_flags("MultiheadAttention", need_weights=need_weights, is_causal=is_causal)
        check_flags("MultiheadAttention", average_attn_weights=average_attn_weights)
        single = query.ndim == key.ndim == value.ndim == 2
        if single:
            axis = 0 if self.batch_first else 1
            query, key, value = self._one_batch(axis, query, key, value)
            if key_padding_mask is not None:
                key_padding_mask = as_input(key_padding_mask, "MultiheadAttention's mask")
                key_padding_mask = expand_dims(key_padding_mask, 0)
        q, k, v = self.heads(query, key, value)
        mask = _joined(self._attn_mask(attn_mask, q, k), self._padding(key_padding_mask, k))
        output, weights = self.attend(q, k, v, mask, is_causal, need_weights)
        if need_weights and average_attn_weights:
            weights = mean(weights, axis=1)
        if single:
            output = squeeze(output, axis)
            weights = squeeze(weights, 0) if need_weights else None
        return output, weights

    def heads(self, query: Any, key: Any, value: Any) -> list[Any]:
        """Inputs as in `forward`, with B -> q (B, num_heads, T, d) and k, v (B, num_heads, S, d);
        None for an input that is None."""
        W, b = self.in_proj_weight, self.in_proj_bias
        is_self = W is not None and query is key is value
        if not (is_self and query.shape[2:] == (self.embed_dim,)):
            self._check(query, key, value)
        if is_self:
            qkv = self._cut(one_position.linear(query, W, b))  # one product instead of 3
            return one_position.split(qkv, 3)
        Ws = (
            (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            if W is None
            else (split(W, 3))
        )
        bs = (None,) * 3 if b is None else split(b, 3)
        return [
            None if x is None else self._cut(one_position.linear(x, W, b))
            for x, W, b in zip((query, key, value), Ws, bs)
        ]

    def _cut(self, x: Any) -> Any:
        """(T, B, n·d), or with B first, -> the n heads (B, n, T, d)."""
        d = self.embed_dim // self.num_heads
        x = x.reshape(*x.shape[:2], x.shape[2] // d, d)
        return x.transpose(0, 2, 1, 3) if self.batch_first else x.transpose(1, 2, 0, 3)

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: ArrayLike | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Tensor, Any]:
        """What `heads` gives, and a mask as functional.scaled_dot_product_attention takes it
        -> output (B, T, embed_dim), or (T, B, embed_dim); weights (B, num_heads, T, S), or None."""
        B, H, T, _ = q.shape
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            mask,
            is_causal=is_causal,
            return_weights=need_weights,
            **self.dropout.options(B * H * T * k.shape[2], q),
        )
        out, weights = out if need_weights else (out, None)
        return self._merge(out), weights

    def _merge(self, o: Any) -> Tensor:
        """The heads' results o (B, num_heads, T, d) -> output (B, T, embed_dim), or
        (T, B, embed_dim)."""
        o = o.transpose(0, 2, 1, 3) if self.batch_first else o.transpose(2, 0, 1, 3)
        return self.out_proj(o.reshape(*o.shape[:2], self.embed_dim))

    def causal(
        self, x: ArrayLike, cache: KVCache | None = None, seen: ArrayLike | None = None
    ) -> Tensor:
        """Causal self-attention (causal_attention.py) of x, T positions, after the t positions of
        `cache`, a KVCache to which they are added; None for t = 0 -> output like x. seen:
        (B, 1, 1, t + T), booleans, False where there is padding; None for all True."""
        q, k, v = self.heads(x, x, x)
        if cache is not None:
            k, v = cache.extend(k, v)
        return self._merge(one_position.causal_attention(q, k, v, self.dropout, seen))

    @staticmethod
    def _one_batch(axis: int, query: Any, key: Any, value: Any) -> list:
        """Each with an axis for a batch of one; the same array stays the same."""
        added = {id(a): expand_dims(a, axis) for a in (query, key, value)}
        return [added[id(a)] for a in (query, key, value)]

    def _check(self, query: Any, key: Any, value: Any) -> None:
        """Raises the error that names what does not fit."""
        inputs = {
            "query": (query, self.embed_dim),
            "key": (key, self.kdim),
            "value": (value, self.vdim),
        }
        inputs = {name: (a.shape, n) for name, (a, n) in inputs.items() if a is not None}
        shapes, batch = [shape for shape, _ in inputs.values()], 0 if self.batch_first else 1
        problem = None
        if any(len(shape) != 3 for shape in shapes):
            problem = "the inputs must all have three axes, or two each for one sequence"
        elif wrong := [name for name, (shape, n) in inputs.items() if shape[-1] != n]:
            problem = f"{wrong[0]} must have {inputs[wrong[0]][1]} features"
        elif len({shape[batch] for shape in shapes}) > 1:
            problem = f"the batch, axis {batch} as batch_first is {self.batch_first}, differs"
        elif key is not None and key.shape[:2] != value.shape[:2]:
            problem = "there must be one value for each key"
        if problem:
            got = ", ".join(f"{name} {shape}" for name, (shape, _) in inputs.items())
            raise ValueError(f"MultiheadAttention: {problem}; got {got}")

    def _attn_mask(self, mask: Any, q: Any, k: Any) -> Any:
        """`attn_mask` as functional.scaled_dot_product_attention takes it."""
        if mask is None:
            return None
        mask = as_input(mask, "MultiheadAttention's attn_mask")
        B, H, T = q.shape[:3]
        S = k.shape[2]
        if mask.shape not in ((T, S), (B * H, T, S)):
            raise ValueError(
                f"MultiheadAttention: attn_mask must be (T, S) = {(T, S)} or "
                f"(B·num_heads, T, S) = {(B * H, T, S)}; got {mask.shape}"
            )
        mask = mask if mask.ndim == 2 else reshape(mask, (B, H, T, S))
        return _true_means_seen(mask, "attn_mask", q.dtype)

    def _padding(self, mask: Any, k: Any) -> Any:
        if mask is None:
            return None
        mask = as_input(mask, "MultiheadAttention's key_padding_mask")
        B, S = k.shape[0], k.shape[2]
        if mask.shape != (B, S):
            raise ValueError(
                f"MultiheadAttention: key_padding_mask must be (B, S) = {(B, S)}; got {mask.shape}"
            )
        return _true_means_seen(reshape(mask, (B, 1, 1, S)), "key_padding_mask", k.dtype)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}"


class CausalSelfAttention(MultiheadAttention):
    """MultiheadAttention of a sequence to itself, batch_first, in which each position sees those up
    to it: what a decoder does."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            embed_dim, num_heads, dropout, bias, batch_first=True, rng=rng, dtype=dtype
        )

    def forward(  # type: ignore[override]  # of one sequence
        self, x: ArrayLike, cache: KVCache | None = None, seen: ArrayLike | None = None
    ) -> Tensor:
        """As MultiheadAttention.causal."""
        x = as_input(x, "CausalSelfAttention")
        return self.causal(x, cache, seen)


class RotaryEmbedding(Module):
    """Queries or keys turned by angles that grow with the position: functional.rotary_embedding."""

    def __init__(self, base: float = 10000.0) -> None:
        check_base("RotaryEmbedding", base)
        self.base = base

    def forward(self, x: ArrayLike, offset: int = 0) -> Tensor:
        """x (..., T, d) at the positions offset, ..., offset + T - 1 -> like x."""
        return one_position.rotary_embedding(x, self.base, offset)

    def extra_repr(self) -> str:
        return f"base={self.base}"


def _true_means_seen(mask: Any, name: str, dtype: Any) -> Any:
    """A mask whose True means hidden as one whose True means seen; a floating one as it is."""
    if mask.dtype == bool:
        return ~array_of(mask)
    if not is_float(mask.dtype) or mask.dtype != dtype:
        raise TypeError(
            f"MultiheadAttention: {name} must be boolean (True = not seen) or {dtype}, "
            f"to be added to the scores; got {mask.dtype}"
        )
    return mask


def _joined(a: Any, b: Any) -> Any:
    """Two masks, True = seen or floating and added, as one."""
    if a is None or b is None:
        return b if a is None else a
    if a.dtype == b.dtype == bool:
        return a & b
    if a.dtype == bool:
        a, b = b, a
    return where(b, a, -math.inf) if b.dtype == bool else a + b
