"""The layers of the Transformer (Vaswani et al. 2017, "Attention is all you need", section 3)."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from .. import functional as F
from ..core.tensor import Tensor
from ..safety.options import check_flags, check_sizes, generator
from ..typing import ArrayLike, DTypeLike, Seed
from .attention import MultiheadAttention
from .kv_cache import KVCache
from .layers import Dropout, Linear
from .module import Module, ModuleList, check_module
from .norms import LayerNorm

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


class TransformerLayer(Module):
    """What an encoder and a decoder layer share: sublayers f, each with a residual connection,

        x ← norm(x + dropout(f(x)))         as published, section 3.1 ("post-norm")
        x ← x + dropout(f(norm(x)))         norm_first ("pre-norm", Xiong et al. 2020)

    first attention, in the end two linear layers, the same at each position (section 3.3):

        f(x) = linear2(dropout(activation(linear1(x))))

    activation: "relu", "gelu" or a function. Weights are drawn from `rng`: a seed, a numpy
    Generator, or None; see MultiheadAttention and Linear.
    """

    attentions: tuple[str, ...] = ()  # their names
    # For checkers, of what `__init__` sets by its name:
    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = type(self).__name__
        f = ACTIVATIONS.get(activation) if isinstance(activation, str) else activation
        if not callable(f):
            raise ValueError(
                f"{name}: activation must be 'relu', 'gelu' or a function; got {activation!r}"
            )
        check_sizes(name, dim_feedforward=dim_feedforward)
        check_flags(name, norm_first=norm_first, bias=bias)
        rng, self.norm_first = generator(name, rng), norm_first
        self.activation = f
        for name in self.attentions:
            setattr(
                self,
                name,
                MultiheadAttention(
                    d_model, nhead, dropout, bias, rng=rng, batch_first=batch_first, dtype=dtype
                ),
            )
        self.linear1 = Linear(d_model, dim_feedforward, bias, rng=rng, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, rng=rng, dtype=dtype)
        for i in range(1, len(self.attentions) + 2):  # one for each sublayer
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
            setattr(self, f"dropout{i}", Dropout(dropout, rng=rng))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def add(
        self,
        x: Any,
        f: Callable[[Tensor], Tensor],
        norm: Callable[[Tensor], Tensor],
        dropout: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """x after the sublayer f."""
        return x + dropout(f(norm(x))) if self.norm_first else norm(x + dropout(f(x)))


class TransformerEncoderLayer(TransformerLayer):
    """Self-attention, then the feed-forward network; see TransformerLayer."""

    attentions = ("self_attn",)

    def forward(
        self,
        src: ArrayLike,
        src_mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """src (T, B, d_model), or with B first if batch_first -> the same shape. Masks as in
        MultiheadAttention: src_mask (T, T), src_key_padding_mask (B, T), True = not seen."""

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )[0]

        x = self.add(src, attention, self.norm1, self.dropout1)
        return self.add(x, self.feed_forward, self.norm2, self.dropout2)


class TransformerDecoderLayer(TransformerLayer):
    """Self-attention, attention over the encoder's result (the memory), then the feed-forward
    network; see TransformerLayer."""

    attentions = ("self_attn", "multihead_attn")
    multihead_attn: MultiheadAttention
    norm3: LayerNorm
    dropout3: Dropout

    def sublayers(
        self, x: Any, attention: Callable[[Tensor], Tensor], over_memory: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """x after all of them; the two attentions are given as functions of x."""
        x = self.add(x, attention, self.norm1, self.dropout1)
        x = self.add(x, over_memory, self.norm2, self.dropout2)
        return self.add(x, self.feed_forward, self.norm3, self.dropout3)

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt (T, B, d_model), memory (S, B, d_model), or with B first if batch_first -> like tgt.
        Masks as in MultiheadAttention: (T, T), (T, S), (B, T) and (B, S), True = not seen;
        tgt_is_causal: position t sees 0 to t."""

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )[0]

        def over_memory(x: Tensor) -> Tensor:
            return self.multihead_attn(
                x,
                memory,
                memory,
                memory_key_padding_mask,
                False,
                memory_mask,
                is_causal=memory_is_causal,
            )[0]

        return self.sublayers(tgt, attention, over_memory)

    def step(
        self,
        x: Tensor,
        cache: KVCache,
        memory: tuple[Tensor, Tensor],
        seen: ArrayLike | None = None,
    ) -> Tensor:
        """The same for one position more, or a few: what `forward` gives for them, causally.

        x (B, T, d_model), and batch_first; cache: the KVCache of the positions before, to which
        these are added; memory: keys and values of the encoder's result, (B, nhead, S, d) each,
        from multihead_attn.heads; seen: (B, 1, 1, S), True = seen, or None -> like x.
        """

        def attention(x: Tensor) -> Tensor:
            return self.self_attn.causal(x, cache)

        def over_memory(x: Tensor) -> Tensor:
            q, _, _ = self.multihead_attn.heads(x, None, None)
            return self.multihead_attn.attend(q, *memory, seen)[0]

        return self.sublayers(x, attention, over_memory)


def copies(name: str, layer: Module, num_layers: int, norm: Any) -> ModuleList:
    """A ModuleList of copies of a layer: the same weights, but each drops elements of its own."""
    check_module(name, layer)
    if not (norm is None or callable(norm)):
        raise TypeError(f"{name}: norm must be a Module, a function, or None; got {norm!r:.100}")
    check_sizes(name, num_layers=num_layers)
    made = ModuleList(deepcopy(layer) for _ in range(num_layers))
    for i, copy in enumerate(made):
        for _, module in copy.named_modules():
            if isinstance(module, Dropout):
                module.seed = int(np.random.default_rng([module.seed, i]).integers(2**63))
    return made


class TransformerEncoder(Module):
    """num_layers copies of an encoder layer, one after the other, then `norm`, if there is one.

    As in PyTorch the copies start from the same weights; draw new ones for a model to be trained.
    """

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.layers = copies("TransformerEncoder", encoder_layer, num_layers, norm)
        self.norm = norm

    def forward(
        self,
        src: ArrayLike,
        mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """As TransformerEncoderLayer."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """num_layers copies of a decoder layer, one after the other, then `norm`, if there is one.

    As in PyTorch the copies start from the same weights; draw new ones for a model to be trained.
    """

    def __init__(
        self, decoder_layer: Module, num_layers: int, norm: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.layers = copies("TransformerDecoder", decoder_layer, num_layers, norm)
        self.norm = norm

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """As TransformerDecoderLayer."""
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask,
                memory_mask,
                tgt_key_padding_mask,
                memory_key_padding_mask,
                tgt_is_causal,
                memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)
