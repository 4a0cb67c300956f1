"""Low-rank adapters: fine-tuning a few numbers beside each frozen matrix.

    y = W x + b + (α / r) B A x         W (out, in) frozen; A (r, in), B (out, r) learnt

W has out · in numbers, A and B together r (out + in), so for a small rank r the gradients and the
optimiser's moments are small too, and so is what must be saved. B starts from 0: at first nothing
has changed. Afterwards W + (α / r) B A is one matrix again, and an adapter costs nothing in use.

Source: E. Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022, equation 3
and section 4.1.
"""

import math
from collections.abc import Collection, Sequence, Set
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from ..core.tensor import Tensor
from ..ops import matmul
from ..safety.options import check_numbers, check_sizes, generator
from ..typing import ArrayLike, Seed
from .layers import Linear
from .module import Module, Parameter, check_module, uniform
from .one_position import linear

M = TypeVar("M", bound=Module)
ALPHA = 16.0  # α, where nothing else is said


class LoRALinear(Module):
    """y above, around an nn.Linear whose `weight` and `bias` keep their names.

    rank: r. alpha: α, so that the rate need not change with r. A starts from U(±1/√in), as weights
    do here (in the paper, from a Gaussian), drawn from `rng`: a seed, a numpy Generator, or None.
    """

    def __init__(
        self, linear: Linear, rank: int, alpha: float = ALPHA, *, rng: Seed = None
    ) -> None:
        if not isinstance(linear, Linear):
            raise TypeError(f"LoRALinear: takes an nn.Linear; got {type(linear).__name__}")
        check_sizes("LoRALinear", rank=rank)
        check_numbers("LoRALinear", alpha=alpha)
        if not 1 <= rank <= min(linear.weight.shape):
            raise ValueError(
                f"LoRALinear: the rank must be from 1 to {min(linear.weight.shape)}, "
                f"the smaller side of the weight {linear.weight.shape}; got {rank}"
            )
        out, n = linear.weight.shape
        rng, dtype, device = generator("LoRALinear", rng), linear.weight.dtype, linear.weight.device
        self.weight, self.bias = linear.weight, linear.bias  # W, b
        self.lora_A = uniform(rng, 1.0 / math.sqrt(n), rank, n, dtype=dtype)  # A
        self.lora_B = Parameter(np.zeros((out, rank)), dtype=dtype)  # B
        self.scale = alpha / rank  # α / r
        self.to(device)

    def forward(self, x: ArrayLike) -> Tensor:
        """x (..., in) -> y (..., out)."""
        y = linear(x, self.weight, self.bias)
        return y + linear(linear(x, self.lora_A), self.lora_B) * self.scale

    def merged(self) -> Linear:
        """The nn.Linear with the weight W + (α / r) B A, and b."""
        out, n = self.weight.shape
        linear = Linear(n, out, bias=False, dtype=self.weight.dtype).to(self.weight.device)
        linear.weight.data = self.weight.data + self.scale * matmul(
            self.lora_B.data, self.lora_A.data
        )
        linear.weight.requires_grad = self.weight.requires_grad
        linear.bias = self.bias
        return linear

    def extra_repr(self) -> str:
        out, n = self.weight.shape
        return f"{n}, {out}, rank={len(self.lora_A.data)}"


def add_adapters(
    model: Module,
    rank: int,
    alpha: float = ALPHA,
    names: Collection[str] = (),
    *,
    part: Module | None = None,
    rng: Seed = None,
) -> list[str]:
    """Put a LoRALinear in the place of each nn.Linear inside `model` whose weight learns, and
    freeze that and the bias; nothing else is frozen (see Module.requires_grad_). Returns their
    dotted names. The joint matrix of queries, keys and values in MultiheadAttention is no
    nn.Linear, and gets none.

    Layers that are tied stay so: one that is in several places gets one adapter, in all of them,
    and those that share a weight share A and B.

    names: the last parts of those to adapt, such as "query" and "value"; all, if there are none.
    Of a layer with several names one is enough. part: a Module in the model, to adapt only what is
    inside it (and what is tied to that, wherever it is).

    Raises ValueError where none is found, or the rank is too large for one, and TypeError for one
    in a tuple, before anything is changed.
    """
    check_module("add_adapters", model)
    part = model if part is None else part
    check_module("add_adapters", part)
    if isinstance(names, str) or not isinstance(names, (Sequence, Set)):
        raise TypeError(f"add_adapters: names is a list of names; got {names!r:.100}")
    rng = generator("add_adapters", rng)
    linear = [place for place in _places(part) if type(place[1]) is Linear]
    called = [place for place in linear if not names or place[0].rpartition(".")[2] in names]
    found = [place for place in called if place[1].weight.requires_grad]
    if not found:
        last = [sorted({name.rpartition(".")[2] for name, *_ in ps}) for ps in (called, linear)]
        raise ValueError(
            f"add_adapters: {type(part).__name__} has no Linear layer "
            + (
                f"that learns; frozen: {', '.join(last[0])}"
                if called
                else f"called {' or '.join(names) or 'anything'}; it has "
                f"{', '.join(last[1]) or 'none'}"
            )
        )
    weights = {id(layer.weight) for _, layer, *_ in found}
    places = [
        place
        for place in _places(model)
        if type(place[1]) is Linear and id(place[1].weight) in weights
    ]
    layers = {id(layer): layer for _, layer, *_ in places}
    first: dict[int, LoRALinear] = {}
    made = {i: LoRALinear(layer, rank, alpha, rng=rng) for i, layer in layers.items()}
    for adapted in made.values():
        tied = first.setdefault(id(adapted.weight), adapted)
        adapted.lora_A, adapted.lora_B = tied.lora_A, tied.lora_B
    _replace(places, made)
    for layer in layers.values():
        layer.requires_grad_(False)
    return [name for name, *_ in places]


def _places(model: Module) -> list[tuple]:
    """The `_members` of a model and of all Modules in it."""
    return [place for _, _, held in model._tree() for place in held]


def _replace(places: list[tuple], made: dict[int, Any]) -> None:
    """Puts made[id(value)] in each of the places where a value is."""
    for name, _, holder, _ in places:
        if isinstance(holder, (tuple, MappingProxyType)):
            raise TypeError(
                f"{name} is in a {type(holder).__name__}, where nothing can take its place; "
                "use a list"
            )
    for _, value, holder, key in places:
        if isinstance(holder, Module):
            setattr(holder, key, made[id(value)])
        else:
            holder[key] = made[id(value)]


def merge_adapters(model: M) -> M:
    """Put one nn.Linear in the place of each LoRALinear inside `model`: the same results, at the
    cost of a model without adapters. Returns the model."""
    check_module("merge_adapters", model)
    found = [place for place in _places(model) if isinstance(place[1], LoRALinear)]
    layers = {id(layer): layer for _, layer, *_ in found}
    first: dict[tuple, Parameter] = {}
    made = {i: layer.merged() for i, layer in layers.items()}
    for i, layer in layers.items():  # those that share a weight share it again
        tied = id(layer.weight), id(layer.lora_A), id(layer.lora_B), layer.scale
        made[i].weight = first.setdefault(tied, made[i].weight)
    _replace(found, made)
    return model


def adapters(model: Module) -> dict[str, Parameter]:
    """{dotted name: Parameter} of all A and B inside `model`: what to save where they are kept
    apart from it."""
    check_module("adapters", model)
    return {
        name: p
        for name, p in model.named_parameters()
        if name.rpartition(".")[2] in ("lora_A", "lora_B")
    }
