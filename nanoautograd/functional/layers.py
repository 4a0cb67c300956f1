"""Linear maps, tables of vectors, dropout."""

from ..backends import is_float
from ..core.tensor import Tensor
from ..manual.dropout import dropout as _dropout
from ..manual.embedding import embedding as _embedding
from ..manual.linear import linear as _linear
from ..safety.options import check_flags, check_probability
from ..typing import Array, ArrayLike
from .arguments import any_seed, as_array_like, by_kernel, check_integers


def linear(input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Tensor:
    """x Wᵀ + b: input (..., I), weight (O, I), bias (O,) or None -> (..., O).

    Raises ValueError if the shapes do not fit.

    Gradients: `backward` in manual/linear.py; step into it within `nag.use_manual()`.
    """
    return _linear(input, weight, bias)


def check_linear(x: Array, weight: Array, bias: Array | None = None) -> None:
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            "linear: input must be (..., I) and weight (O, I); "
            f"got input {x.shape} and weight {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear: bias must be (O,), one number for each row of the weight; got "
            f"bias {bias.shape} and weight {weight.shape}"
        )


def embedding(input: ArrayLike, weight: ArrayLike, padding_idx: int | None = None) -> Tensor:
    """The rows of weight (V, D) that input, integers of any shape, names -> (*input.shape, D).

    The gradient of a row is the sum over all places where it was used, and zero for the row
    padding_idx, from -V to V-1.

    Raises IndexError for an id outside 0 ... V-1; TypeError and ValueError for dtypes and shapes.

    Gradients: `backward` in manual/embedding.py; step into it within `nag.use_manual()`.
    """
    return _embedding(as_array_like(input, weight), weight, padding_idx=padding_idx)


def check_embedding(ids: Array, weight: Array, *, padding_idx: int | None = None) -> None:
    if weight.ndim != 2:
        raise ValueError(f"embedding: the weight must be (V, D); got {weight.shape}")
    if not is_float(weight.dtype):
        raise TypeError(f"embedding: the weight must be floating; got {weight.dtype}")
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: the ids must be integers; got {ids.dtype}")
    V = len(weight)
    check_padding("embedding", padding_idx, V)
    # A kernel looks at the ids itself; to look at them here would be to wait for them.
    if ids.size and not by_kernel(_embedding, ids, weight, padding_idx=padding_idx):
        if int(ids.min()) < 0 or int(ids.max()) >= V:
            place = int(((ids < 0) | (ids >= V)).reshape(-1).argmax())
            raise IndexError(
                f"embedding: id {int(ids.reshape(-1)[place])} at place {place} is out of range: "
                f"there are {V} rows, 0 to {V - 1}"
            )


def check_padding(name: str, padding_idx: int | None, V: int) -> None:
    if padding_idx is None:
        return
    check_integers(name, padding_idx=padding_idx)
    if not -V <= padding_idx < V:
        raise IndexError(
            f"{name}: padding_idx {padding_idx} is not in the vocabulary; its size "
            f"is {V}, so it goes from {-V} to {V - 1}"
        )


def dropout(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    seed: int | None = None,
    offset: int = 0,
) -> Tensor:
    """Elements are 0 with probability p, and otherwise divided by 1 - p.

    input: any shape, floating. training: if False, the result is the input.
    seed: an integer from 0 to 2⁶⁴ - 1 that decides what is dropped, the same on every device; None
    is a new one each time. offset: how many of the seed's random numbers to pass over; a mask takes
    input.size of them.

    Raises ValueError if p is no probability, TypeError for dtypes.

    Gradients: `backward` in manual/dropout.py; step into it within `nag.use_manual()`.
    """
    check_probability("dropout", p=p)
    check_flags("dropout", training=training)
    if seed is None:
        seed = any_seed("dropout") if training and p else 0
    return _dropout(input, p=p, training=training, seed=seed, offset=offset)


def check_dropout(
    x: Array, *, p: float = 0.5, training: bool = True, seed: int, offset: int = 0
) -> None:
    check_probability("dropout", p=p)
    check_flags("dropout", training=training)
    if not is_float(x.dtype):
        raise TypeError(f"dropout: the input must be floating; got {x.dtype}")
    check_integers("dropout", seed=seed, offset=offset)


_linear.check = check_linear
_embedding.check = check_embedding
_dropout.check = check_dropout
