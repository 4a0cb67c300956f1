"""Losses."""

import warnings
from typing import Any

import numpy as np

from ..backends import array_namespace, is_float
from ..core.tensor import Tensor
from ..interface import deprecated
from ..interface.array_interface import array_of
from ..kernels.cuda.runtime.capture_context import current
from ..manual.crf import crf_log_partition as _crf_log_partition
from ..manual.crf import score as _crf_score
from ..manual.crf import steps
from ..manual.cross_entropy import cross_entropy as _cross_entropy
from ..manual.kl_divergence import gaussian_kl_divergence as _gaussian_kl_divergence
from ..manual.linear_cross_entropy import linear_cross_entropy as _linear_cross_entropy
from ..manual.softmax import softmax
from ..ops import astype, mean, softplus, square, sum
from ..ops.reductions import wide
from ..ops.sixteen_bits import of_16_bits
from ..safety.arguments import as_input, check_operand
from ..safety.class_numbers import check_class_numbers
from ..safety.options import check_probability
from ..typing import Array, ArrayLike
from .arguments import as_array_like, by_kernel, check_integers


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    overwrite_input: object = None,
) -> Tensor:
    """Cross entropy of logits: -log softmax(input) at the target.

    input: logits (C,), (N, C) or (N, C, d1, ..., dk), floating.
    target: class numbers, integers (), (N,) or (N, d1, ..., dk); or distributions over the classes,
    floating and like input, which are differentiated too.
    weight: (C,), one factor a class, or None.
    ignore_index: class numbers equal to it add nothing to the loss.
    reduction: "none" (a loss for each class number), "sum", or "mean", which for class numbers
    divides by the sum of their weights and for distributions by their number.
    label_smoothing: ε; the target becomes 1-ε of itself and ε of the uniform distribution.
    overwrite_input: deprecated, and without effect.

    Raises IndexError for a class number out of range; ValueError and TypeError for shapes, options
    and dtypes. If all targets are ignored the mean is nan (and its gradient zero).

    Gradients: `backward` in manual/cross_entropy.py; step into it within `nag.use_manual()`.
    """
    if overwrite_input is not None:
        deprecated.overwrite_input()
    warn_of_softmax(input)
    return _cross_entropy(
        input,
        as_array_like(target, input),
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def warn_of_softmax(input: object) -> None:
    """Warns of scores that are the result of a softmax: another would be taken of them."""
    edge = input._edge if isinstance(input, Tensor) else None
    if edge is not None and getattr(edge[0], "operation", None) is softmax:
        warnings.warn(
            "cross_entropy takes scores, and computes their softmax itself; these are already the "
            "result of a softmax: leave that one out",
            stacklevel=3,
        )


def check_cross_entropy(
    logits: Array,
    target: Array,
    weight: Array | None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> None:
    def got() -> str:
        return f"got logits {logits.shape} {logits.dtype} and target {target.shape} {target.dtype}"

    check_options("cross_entropy", ignore_index, reduction, label_smoothing)
    if not is_float(logits.dtype):
        raise TypeError(f"cross_entropy: logits must be floating; {got()}")
    if logits.ndim == 0 or logits.shape[min(1, logits.ndim - 1)] == 0:
        raise ValueError(
            "cross_entropy: logits must be (C,), (N, C) or (N, C, d1, ...) with at "
            f"least one class; {got()}"
        )
    C = logits.shape[min(1, logits.ndim - 1)]
    if is_float(target.dtype):
        if target.shape != logits.shape:
            raise ValueError(
                "cross_entropy: a floating target holds distributions over the "
                "classes and has the shape of the logits, and class numbers are integers: "
                f"target.astype(int); {got()}"
            )
        if target.dtype != logits.dtype:
            raise TypeError(
                f"cross_entropy: distributions need the dtype of the logits; {got()}: give "
                f"target.astype(np.{logits.dtype}), or, of ones and zeros, the class numbers: "
                f"target.argmax({min(1, logits.ndim - 1)})"
            )
        if ignore_index >= 0:
            raise ValueError(
                f"cross_entropy: ignore_index has no meaning for distributions; got {ignore_index}"
            )
    elif target.dtype.kind not in "iu":
        raise TypeError(
            "cross_entropy: the target must hold class numbers (integers) or "
            f"distributions (floating); {got()}"
        )
    elif target.shape != logits.shape[:1] * (logits.ndim > 1) + logits.shape[2:]:
        raise ValueError(
            "cross_entropy: there must be one class number for each row of scores: "
            "logits (C,), (N, C), (N, C, d1, ...) with target (), (N,), "
            f"(N, d1, ...); {got()}"
        )
    if weight is not None and (weight.shape != (C,) or weight.dtype != logits.dtype):
        raise (ValueError if weight.shape != (C,) else TypeError)(
            f"cross_entropy: weight must be ({C},) {logits.dtype}, one for each class; "
            f"got {weight.shape} {weight.dtype}"
        )
    if not is_float(target.dtype) and not by_kernel(_cross_entropy, logits, target, weight):
        check_class_numbers("cross_entropy", target, C, ignore_index)


_cross_entropy.check = check_cross_entropy


def check_options(name: str, ignore_index: int, reduction: str, label_smoothing: float) -> None:
    """Of either."""
    check_integers(name, ignore_index=ignore_index)
    check_reduction(name, reduction)
    check_probability(name, label_smoothing=label_smoothing)


def check_reduction(name: str, reduction: str) -> None:
    if not isinstance(reduction, str) or reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum'; got {reduction!r}")


def reduced(ell: Any, reduction: str) -> Any:
    """A loss for each element, or their sum, or their mean."""
    return ell if reduction == "none" else sum(ell) if reduction == "sum" else mean(ell)


def mse_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """The squared error: (input - target)².

    input: of any shape, floating. target: of the same shape, for nothing is broadcast here: (N,)
    beside (N, 1) would be N² differences. reduction: "none" (a loss for each element), "sum", or
    "mean" over all elements.

    Raises ValueError for shapes and options, TypeError for dtypes.

    The gradient of a loss is 2 (input - target) for `input`, and its negative for `target`.
    """
    check_reduction("mse_loss", reduction)
    check_operand(target, "mse_loss")
    input = as_input(input, "mse_loss")
    target = as_array_like(target, input)
    check_pairs("mse_loss", input, target, "iu")
    if dtype := of_16_bits((input, target)):  # squares may be out of its range
        return astype(mse_loss(wide(input), wide(target), reduction), dtype)
    return reduced(square(input - target), reduction)


def check_pairs(name: str, x: Any, y: Any, kinds: str) -> None:
    """Raises the error that says why x, an input, and y, its targets, are not compared one by one.
    kinds: of the targets' dtypes, beside floating ones."""
    got = f"got input {x.shape} {x.dtype} and target {y.shape} {y.dtype}"
    if not is_float(x.dtype) or y.dtype.kind not in kinds and not is_float(y.dtype):
        raise TypeError(f"{name}: input must be floating, and target real numbers; {got}")
    if x.shape != y.shape:
        raise ValueError(
            f"{name}: input and target must have one shape; {got}: reshape one to the other's, "
            "as target.reshape(input.shape)"
        )


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> Tensor:
    """Cross entropy of yes and no: -w (p y log σ(x) + (1 - y) log(1 - σ(x))), σ being the sigmoid.

    input: x, scores of any shape, floating: as they are, without a sigmoid before.
    target: y, of the same shape, for nothing is broadcast here: (N,) beside (N, 1) would be N²
    losses. 0 or 1, booleans, or probabilities between.
    weight: w, a factor for each loss; pos_weight: p, a factor for each yes, usually (C,), one for
    each column. Both broadcast to the shape of input; None is 1.
    reduction: "none" (a loss for each element), "sum", or "mean" over all elements.

    Raises ValueError for shapes, options and a target below 0 or above 1 (on a GPU this waits for
    it; it is not looked for while a step is captured), TypeError for dtypes.

    The gradient of a loss is w ((1 - y) σ(x) - p y (1 - σ(x))) for `input`, σ(x) - y without
    weights; the other arguments have theirs by the primitives it is made of.
    """
    NAME = "binary_cross_entropy_with_logits"
    check_reduction(NAME, reduction)
    x = as_input(input, NAME)
    for a in (target, weight, pos_weight):
        if a is not None or a is target:
            check_operand(a, NAME)
    y: Any = as_array_like(target, x)
    w, p = [None if a is None else as_array_like(a, x) for a in (weight, pos_weight)]
    check_binary(NAME, x, y, w, p)
    if y.dtype.kind in "iub":
        y = astype(y, x.dtype)
    if dtype := of_16_bits([a for a in (x, y, w, p) if a is not None]):
        w, p = [None if a is None else wide(a) for a in (w, p)]
        ell = binary_cross_entropy_with_logits(
            wide(x), wide(y), w, reduction=reduction, pos_weight=p
        )
        return astype(ell, dtype)
    yes, no = y * softplus(-x), (1 - y) * softplus(x)  # softplus(-x) = -log σ(x): never overflows
    ell = (yes if p is None else p * yes) + no
    return reduced(ell if w is None else w * ell, reduction)


def check_binary(name: str, x: Any, y: Any, w: Any, p: Any) -> None:
    check_pairs(name, x, y, "iub")
    for key, a in (("weight", w), ("pos_weight", p)):
        if a is not None and a.dtype.kind not in "iu" and not is_float(a.dtype):
            raise TypeError(f"{name}: {key} must be real numbers; got {a.dtype}")
        if a is not None and not _broadcasts(a.shape, x.shape):
            raise ValueError(
                f"{name}: {key} must broadcast to the shape of input, {x.shape}; got {a.shape}"
            )
    y = array_of(y)
    if current.context is None and bool(((y < 0) | (y > 1)).any()):
        raise ValueError(
            f"{name}: a target is 0 or 1, or a probability between; got "
            f"{float(y.min()):g} to {float(y.max()):g}. For class numbers there is cross_entropy"
        )


def _broadcasts(shape: tuple, to: tuple) -> bool:
    """Whether an array of a shape can be broadcast to another."""
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def linear_cross_entropy(
    hidden: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy of the logits linear(hidden, weight, bias), which never exist as a whole.

    The same as cross_entropy(linear(hidden, weight, bias), target, class_weight, ...), but only a
    few rows of the logits (N, V) are in memory at a time: 128 MiB in float32. For many classes,
    where the logits would be the largest array.

    hidden: (..., D), floating: the states before the last layer.
    weight, bias: (V, D) and (V,) or None, as in nn.Linear, of the dtype of hidden.
    target: (...), integers, class numbers from 0 to V-1.
    class_weight: (V,), of the dtype of hidden, one factor a class, or None.
    ignore_index, reduction, label_smoothing: as for cross_entropy.

    Returns the loss, (...) with reduction "none" and () otherwise. All floating arguments have
    gradients. With "mean" and "sum" the call itself computes those that are needed, so call it
    under no_grad() where none is. With "none", and in a second backward pass through a retained
    graph, the backward pass computes the logits again. The gradient of a gradient needs all logits
    at once. Arrays of 16 bits are computed in float32.

    Raises IndexError for a class number out of range; ValueError and TypeError for shapes, options
    and dtypes. If all targets are ignored the mean is nan (and its gradient zero).

    Gradients: `backward` in manual/linear_cross_entropy.py; step into it within `nag.use_manual()`.
    """
    return _linear_cross_entropy(
        hidden,
        weight,
        as_array_like(target, hidden),
        bias,
        class_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def check_linear_cross_entropy(
    hidden: Array,
    weight: Array,
    target: Array,
    bias: Array | None,
    class_weight: Array | None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> None:
    NAME = "linear_cross_entropy"
    check_options(NAME, ignore_index, reduction, label_smoothing)
    got = ", ".join(
        f"{name} {a.shape} {a.dtype}"
        for name, a in zip(("hidden", "weight", "target"), (hidden, weight, target))
    )
    if not is_float(hidden.dtype):
        raise TypeError(f"{NAME}: hidden must be floating; got {got}")
    if weight.ndim != 2 or hidden.ndim == 0 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{NAME}: hidden must be (..., D) and weight (V, D), a row for each class; got {got}"
        )
    if len(weight) == 0:
        raise ValueError(f"{NAME}: weight must have a row for at least one class; got {got}")
    if target.dtype.kind not in "iu":
        raise TypeError(
            f"{NAME}: the target must hold class numbers (integers); for distributions use "
            f"cross_entropy(linear(hidden, weight, bias), target); got {got}"
        )
    if target.shape != hidden.shape[:-1]:
        raise ValueError(
            f"{NAME}: there must be one class number for each hidden state: hidden (..., D) with "
            f"target (...); got {got}"
        )
    V, dtype = weight.shape[0], hidden.dtype
    if weight.dtype != dtype:
        raise TypeError(f"{NAME}: weight must have the dtype of hidden; got {got}")
    for name, a in ("bias", bias), ("class_weight", class_weight):
        if a is not None and (a.shape != (V,) or a.dtype != dtype):
            raise (ValueError if a.shape != (V,) else TypeError)(
                f"{NAME}: {name} must be ({V},) {dtype}, one number for each class; "
                f"got {a.shape} {a.dtype}"
            )
    if not by_kernel(_linear_cross_entropy, hidden, weight, target, bias, class_weight):
        check_class_numbers(NAME, target, V, ignore_index)


_linear_cross_entropy.check = check_linear_cross_entropy


def crf_log_partition(
    emissions: ArrayLike,
    transitions: ArrayLike,
    start_transitions: ArrayLike,
    end_transitions: ArrayLike,
    *,
    mask: ArrayLike | None = None,
) -> Tensor:
    """log Σ exp(score) over all sequences of tags of a linear-chain conditional random field. Its
    gradient is the marginal probabilities of tags and transitions.

    emissions: (T, B, K), scores of K tags at T steps of B sequences; floating.
    transitions: (K, K), from the row's tag to the column's; start_transitions, end_transitions:
    (K,), for the first and the last tag; of the same dtype. -inf forbids.
    mask: (T, B), booleans, True for the steps of a sequence and then False; None for all True.

    Returns (B,). Raises ValueError and TypeError for shapes, dtypes and masks with gaps.

    Gradients: `backward` in manual/crf.py; step into it within `nag.use_manual()`.
    """
    return _crf_log_partition(emissions, transitions, start_transitions, end_transitions, mask=mask)


def check_crf(x: Array, A: Array, s: Array, e: Array, *, mask: Array | None = None) -> None:
    got = (
        f"got emissions {x.shape} {x.dtype}, transitions {A.shape} {A.dtype}, start {s.shape} "
        f"{s.dtype}, end {e.shape} {e.dtype}"
    )
    if x.ndim != 3 or x.shape[0] == 0 or x.shape[2] == 0:
        raise ValueError(
            f"crf: emissions must be (T, B, K) with at least one step and one tag; {got}"
        )
    T, B, K = x.shape
    if (A.shape, s.shape, e.shape) != ((K, K), (K,), (K,)):
        raise ValueError(
            f"crf: with {K} tags transitions must be ({K}, {K}), start and end ({K},); {got}"
        )
    if not is_float(x.dtype) or {A.dtype, s.dtype, e.dtype} != {x.dtype}:
        raise TypeError(f"crf: all must be floating and of one dtype; {got}")
    if mask is None:
        return
    m = steps(x, mask)
    xp = array_namespace(m)
    if m.shape != (T, B) or m.dtype != bool:
        raise ValueError(
            f"crf: the mask must be boolean and ({T}, {B}), one for each step; got "
            f"{m.shape} {m.dtype}"
        )
    # (No kernel tells of gaps later: also on a GPU they are looked for here.)
    if not bool(xp.all(m[0])) or bool(xp.any(m[1:] & ~m[:-1])):
        raise ValueError(
            "crf: a sequence is True from its first step to its last in the mask, "
            "and False behind; here one is empty or has a gap"
        )


_crf_log_partition.check = check_crf


def crf_loss(
    emissions: ArrayLike,
    tags: ArrayLike,
    transitions: ArrayLike,
    start_transitions: ArrayLike,
    end_transitions: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-log P(tags) of a linear-chain conditional random field. Its gradient is the marginal
    probabilities less 1 for the tags and transitions that are in `tags`. See manual/crf.py.

    tags: (T, B), integers from 0 to K-1; anything where the mask is False. The rest is as for
    crf_log_partition. reduction: "none" (a loss for each sequence, (B,)), "sum", or "mean".

    Raises IndexError for a tag out of range; ValueError and TypeError for shapes, dtypes, options.
    """
    check_reduction("crf_loss", reduction)
    scores = emissions, transitions, start_transitions, end_transitions
    scores = emissions, *_ = [as_input(a, "crf_loss") for a in scores]
    if dtype := of_16_bits(scores):  # a small difference of large numbers
        ell = crf_loss(
            wide(emissions), tags, *map(wide, scores[1:]), mask=mask, reduction=reduction
        )
        return astype(ell, dtype)
    log_z = crf_log_partition(*scores, mask=mask)  # which looks at the scores and the mask
    check_tags(tags, emissions, mask)
    ell = log_z - _crf_score(*scores, tags, mask=mask)  # type: ignore[misc]  # they are four
    return reduced(ell, reduction)


def check_tags(tags: Any, x: Any, mask: Any) -> None:
    m, (T, B, K) = steps(x, mask), x.shape
    xp = array_namespace(m)
    y = xp.asarray(array_of(tags))
    if y.shape != (T, B) or y.dtype.kind not in "iu":
        raise ValueError(
            f"crf: tags must be integers and ({T}, {B}), one for each step; got {y.shape} {y.dtype}"
        )
    wrong = m & ((y < 0) | (y >= K))
    if bool(xp.any(wrong)):
        worst = int(y.reshape(-1)[int(xp.argmax(wrong))])
        raise IndexError(f"crf: tag {worst} is out of range: there are {K} tags, 0 to {K - 1}")


def gaussian_kl_divergence(
    mu: ArrayLike,
    logvar: ArrayLike,
    mu_2: ArrayLike | None = None,
    logvar_2: ArrayLike | None = None,
) -> Tensor:
    """KL(N(mu, exp logvar), N(mu_2, exp logvar_2)) of diagonal Gaussians.

    mu, logvar: (..., d), means and logarithms of variances; floating. mu_2, logvar_2: arrays that
    broadcast to that, of the same dtype; None for both is N(0, 1).

    Returns (...), the sums over the d dimensions. Raises ValueError and TypeError for shapes and
    dtypes.

    Gradients: `backward` in manual/kl_divergence.py; step into it within `nag.use_manual()`.
    """
    return _gaussian_kl_divergence(mu, logvar, mu_2, logvar_2)


def check_gaussian_kl_divergence(
    mu: Array, logvar: Array, nu: Array | None = None, kappa: Array | None = None
) -> None:
    given = {
        name: a
        for name, a in (("mu", mu), ("logvar", logvar), ("mu_2", nu), ("logvar_2", kappa))
        if a is not None
    }
    got = "got " + ", ".join(f"{name} {a.shape} {a.dtype}" for name, a in given.items())
    if (nu is None) != (kappa is None):
        raise ValueError(
            "gaussian_kl_divergence: the second distribution needs both its mean and "
            f"the logarithm of its variance, or neither; {got}"
        )
    if not is_float(mu.dtype) or len({a.dtype for a in given.values()}) > 1:
        raise TypeError(f"gaussian_kl_divergence: all must be floating and of one dtype; {got}")
    fits = mu.ndim > 0 and mu.shape == logvar.shape
    try:
        fits = fits and np.broadcast_shapes(*[a.shape for a in given.values()]) == mu.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "gaussian_kl_divergence: mu and logvar must be (..., d), and mu_2 and "
            f"logvar_2 must broadcast to that; {got}"
        )


_gaussian_kl_divergence.check = check_gaussian_kl_divergence
