"""Operations beside PyTorch's on inputs of every kind: tiny, huge, subnormal, infinite, NaN.

A call is drawn from the table of operations; then each of its floating inputs is replaced by any
numbers of any floating dtype. Value and gradient are PyTorch's, to rounding (NaN equals NaN), or
both refuse. DIFFERENCES has the rest: where the two differ on purpose.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nanoautograd as nag
from nanoautograd.testing.operations import OPERATIONS
from nanoautograd.testing.programs import Value

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
TF = torch.nn.functional

DTYPES = [np.dtype(d) for d in ("float64", "float32", "float16", ml_dtypes.bfloat16)]


# ---- PyTorch's functions, with this package's arguments


def many(axis, x):
    """`axis` as PyTorch's dim."""
    return tuple(range(x.ndim)) if axis is None else axis


def reduced(f):
    def call(x, axis=None, keepdims=False):
        return f(x, many(axis, x), keepdims) if many(axis, x) != () else x.clone()

    return call


def one_by_one(f):
    """A reduction that PyTorch has for one axis only."""

    def call(x, axis=None, keepdims=False):
        axes = many(axis, x)
        axes = sorted((i % x.ndim for i in ((axes,) if isinstance(axes, int) else axes)))[::-1]
        for i in axes:
            x = f(x, i, keepdims)
        return x

    return call


def moment(f):
    def call(x, axis=None, ddof=0, keepdims=False):
        return f(x, dim=many(axis, x), correction=ddof, keepdim=keepdims)

    return call


def norm(x, ord=None, axis=None, keepdims=False):
    if axis is None and x.ndim == 1:
        axis = 0
    if isinstance(axis, list):
        axis = tuple(axis)
    return torch.linalg.norm(x, ord, axis, keepdims)


def cumsum(x, axis=None):
    return torch.cumsum(x.ravel() if axis is None else x, axis or 0)


def sort(x, axis=-1):
    return torch.sort(x.ravel() if axis is None else x, axis if axis is not None else 0)[0]


def clip(x, low, high):
    low, high = (
        v if v is None or torch.is_tensor(v) else torch.tensor(v, dtype=x.dtype)
        for v in (low, high)
    )
    return x.clone() if low is None and high is None else torch.clamp(x, low, high)


def getitem(x, index):
    """x[index], also with slices that go backwards, which PyTorch does not have."""
    places = np.arange(x.numel()).reshape(tuple(x.shape))
    return x.ravel()[torch.tensor(places[as_numpy(index)].copy())]


def as_numpy(index):
    if isinstance(index, tuple):
        return tuple(map(as_numpy, index))
    return index.numpy() if torch.is_tensor(index) else index


def tile(x, reps):
    return torch.tile(x, reps if isinstance(reps, tuple) else (reps,))


def arctan2(a, b):
    like = a if torch.is_tensor(a) else b
    return torch.arctan2(*(torch.as_tensor(v, dtype=like.dtype) for v in (a, b)))


def cross_entropy(x, target, *args, **options):
    if target.ndim == x.ndim == 1 and target.is_floating_point():  # one row
        y = TF.cross_entropy(x[None], target[None], *args, **options)
        return y[0] if options["reduction"] == "none" else y
    return TF.cross_entropy(x, target, *args, **options)


def expand_dims(x, axis):
    axes = axis if isinstance(axis, tuple) else (axis,)
    ndim = x.ndim + len(axes)
    for i in sorted(i % ndim for i in axes):
        x = x.unsqueeze(i)
    return x


def squeeze(x, axis):
    return x.squeeze() if axis is None else x.squeeze(axis)


def concatenate(arrays, axis=0):
    if axis is None:
        return torch.cat([x.ravel() for x in arrays])
    return torch.cat(arrays, axis)


def repeat(x, repeats, axis=None):
    repeats = torch.tensor(repeats) if isinstance(repeats, list) else repeats
    return torch.repeat_interleave(x, repeats, axis)


def take(x, indices, axis=None):
    x, axis = (x.ravel(), 0) if axis is None else (x, axis % x.ndim)
    return x[(slice(None),) * axis + (torch.as_tensor(indices),)]


def take_along_axis(x, indices, axis=-1):
    return (
        torch.take_along_dim(x.ravel(), indices, 0)
        if axis is None
        else torch.take_along_dim(x, indices, axis)
    )


def embedding(ids, weight, padding_idx=None):
    return TF.embedding(ids, weight, padding_idx)


def linear_cross_entropy(x, weight, target, bias=None, class_weight=None, **options):
    logits = TF.linear(x, weight, bias).reshape(-1, len(weight))
    loss = TF.cross_entropy(logits, target.reshape(-1), class_weight, **options)
    return loss.reshape(target.shape) if options["reduction"] == "none" else loss


def gelu(x, approximate="none", bias=None):
    return TF.gelu(x if bias is None else x + bias, approximate=approximate)


def residual(f):
    def call(x, shape, *args, residual=None, return_sum=False):
        z = x if residual is None else x + residual
        y = f(z, shape, *args)
        return (y, z) if return_sum else y

    return call


def attention(q, k, v, mask=None, is_causal=False, scale=None, return_weights=False, **options):
    assume(not options["dropout_p"] and not return_weights)
    T, S = q.shape[-2], k.shape[-2]
    if is_causal:
        seen = torch.ones(T, S, dtype=bool).tril()
        if mask is None:
            mask = seen
        elif mask.dtype == torch.bool:
            mask = mask & seen
        else:
            mask = torch.where(seen, mask, -torch.inf)
    return TF.scaled_dot_product_attention(q, k, v, mask, scale=scale)


# What is compared: name -> PyTorch's function. (In the order of testing/operations.py. PyTorch has
# no conditional random fields, rotary embedding and Gaussian divergence, and other random numbers.)
TORCH = {
    **{name: getattr(torch, name) for name in "arctan cos cosh erf exp expm1 negative".split()},
    **{name: getattr(torch, name) for name in "positive sigmoid sin sinh square tanh".split()},
    **{name: getattr(torch, name) for name in "abs sign arccos arcsin log log1p".split()},
    **{name: getattr(torch, name) for name in "reciprocal sqrt tan add multiply".split()},
    **{name: getattr(torch, name) for name in "subtract divide maximum minimum".split()},
    **{name: getattr(torch, name) for name in "remainder where reshape ravel".split()},
    **{name: getattr(torch, name) for name in "swapaxes moveaxis broadcast_to".split()},
    **{name: getattr(torch, name) for name in "tril triu matmul".split()},
    "power": torch.pow,
    "copy": torch.clone,
    "softplus": lambda x: TF.softplus(x, threshold=40),
    "functional.relu": torch.relu,
    "functional.silu": TF.silu,
    "clip": clip,
    "sum": reduced(lambda x, axis, keepdims: torch.sum(x, axis, keepdims)),
    "mean": reduced(lambda x, axis, keepdims: torch.mean(x, axis, keepdims)),
    "logsumexp": reduced(torch.logsumexp),
    "max": reduced(torch.amax),
    "min": reduced(torch.amin),
    "prod": one_by_one(lambda x, axis, keepdims: torch.prod(x, axis, keepdims)),
    "var": moment(torch.var),
    "std": moment(torch.std),
    "norm": norm,
    "cumsum": cumsum,
    "sort": sort,
    "transpose": lambda x, axes=None: x.permute(axes or tuple(range(x.ndim))[::-1]),
    "permute": torch.permute,
    "expand_dims": expand_dims,
    "squeeze": squeeze,
    "flip": lambda x, axis=None: torch.flip(
        x, many(axis, x) if not isinstance(axis, int) else (axis,)
    ),
    "roll": lambda x, shift, axis=None: torch.roll(x, shift, axis),
    "concatenate": concatenate,
    "stack": lambda arrays, axis=0: torch.stack(arrays, axis),
    "split": lambda x, sections, axis=0: torch.tensor_split(x, sections, axis),
    "repeat": repeat,
    "diagonal": torch.diagonal,
    "trace": lambda x, *axes: torch.diagonal(x, *axes).sum(-1),
    "getitem": getitem,
    "tile": tile,
    "arctan2": arctan2,
    "take": take,
    "take_along_axis": take_along_axis,
    "outer": lambda a, b: torch.outer(a.ravel(), b.ravel()),
    "tensordot": torch.tensordot,
    "einsum": torch.einsum,
    "functional.softmax": torch.softmax,
    "functional.log_softmax": torch.log_softmax,
    "functional.gelu": gelu,
    "functional.linear": TF.linear,
    "functional.embedding": embedding,
    "functional.mse_loss": lambda x, y, reduction: TF.mse_loss(x, y, reduction=reduction),
    "functional.cross_entropy": cross_entropy,
    "functional.linear_cross_entropy": linear_cross_entropy,
    "functional.scaled_dot_product_attention": attention,
    "functional.layer_norm": residual(TF.layer_norm),
    "functional.rms_norm": residual(TF.rms_norm),
}

# ---- where the two differ on purpose


@dataclass(frozen=True)
class Difference:
    """A rule of this package that is not PyTorch's.

    what: "refused", PyTorch may refuse them; "gradient", it is not compared; "value", nothing is;
    "nan", a gradient may be NaN where PyTorch's is a number. where: of which inputs (arrays) this
    holds. why: the reason.
    """

    names: str
    what: str
    where: Any
    why: str


def holds_nan(*xs):
    return any(np.isnan(x).any() for x in xs)


def infinite(*xs):
    return any(np.isinf(x).any() for x in xs)


def ties(*xs):
    """Whether two numbers in one input are equal."""
    return any(x.size > len(np.unique(x)) for x in xs)


def at_a_limit(x, *limits):
    return any((x == limit).any() for limit in (*limits, -0.5, 0.7))


def far_from_one(*xs):
    """Whether a product may leave the dtype's range on its way."""
    sizes = [np.abs(x[np.isfinite(x) & (x != 0)]).astype(float) for x in xs]
    info = ml_dtypes.finfo(xs[0].dtype)
    least, most = float(info.tiny) ** 0.25, float(info.max) ** 0.25
    return infinite(*xs) or any(((s < least) | (s > most)).any() for s in sizes)


def of_several_batches(q, k, v, *mask):
    return len({x.shape[:-2] for x in (q, k, v)}) > 1


DIFFERENCES = [
    Difference(
        "functional.scaled_dot_product_attention",
        "refused",
        of_several_batches,
        "batches are broadcast (PyTorch: not in each of its forms)",
    ),
    Difference(
        "abs sign sort clip maximum minimum max min norm functional.relu",
        "nan",
        holds_nan,
        "a NaN stays one in the gradient, too (PyTorch: some number, here and there)",
    ),
    Difference("sign", "value", holds_nan, "the sign of NaN is NaN, as in NumPy (PyTorch: 0)"),
    Difference(
        "prod",
        "value",
        lambda x: x.dtype.itemsize == 2 and far_from_one(x),
        "products of 16 bits are computed in float32, as in JAX (PyTorch: in 16 bits)",
    ),
    Difference(
        "functional.relu",
        "gradient",
        lambda x: (x == 0).any(),
        "equal sides share: the slope of relu at 0 is 1/2, as differences see it (PyTorch: 0)",
    ),
    Difference(
        "clip",
        "gradient",
        at_a_limit,
        "equal sides share: the slope at a limit is 1/2 (PyTorch: 1)",
    ),
    Difference(
        "sort",
        "gradient",
        ties,
        "equal elements share (PyTorch: each the gradient of its place)",
    ),
    Difference(
        "remainder",
        "value",
        far_from_one,
        "a quotient that is infinite has a remainder all the same (PyTorch: NaN)",
    ),
    Difference(
        "functional.silu functional.gelu prod",
        "value",
        infinite,
        "the limits are taken (PyTorch: NaN)",
    ),
    Difference(
        "logsumexp",
        "gradient",
        infinite,
        "a sum of e^(-∞) only is -∞, and its slope 0 (PyTorch: NaN)",
    ),
    Difference(
        "power",
        "gradient",
        infinite,
        "0 · ∞ is NaN in both, but not at the same places",
    ),
    Difference(
        "power",
        "nan",
        lambda *xs: any((x == 0).any() for x in xs),
        "0 to a negative power has no slope (PyTorch: infinite)",
    ),
    Difference(
        "arctan2",
        "nan",
        lambda *xs: all((x == 0).any() for x in xs),
        "the angle has no slope at the origin (PyTorch: 0)",
    ),
    Difference(
        "var",
        "gradient",
        infinite,
        "the mean is infinite, and no deviation from it a number (PyTorch: infinite for some)",
    ),
    Difference(
        "prod einsum",
        "value",
        far_from_one,
        "products of several numbers leave the range on their way, each in its own order",
    ),
    Difference(
        "std norm arctan2 functional.layer_norm functional.rms_norm functional.gelu "
        "functional.scaled_dot_product_attention functional.cross_entropy "
        "functional.linear_cross_entropy",
        "value",
        far_from_one,
        "squares, cubes and scores leave the range in PyTorch; infinite ones give NaN elsewhere",
    ),
]


# ---- the comparison

# Sums of products of the inputs: rounding is relative to the same of their absolute values.
SUMS = "sum mean cumsum trace prod matmul tensordot einsum functional.linear".split()
# Where numbers are subtracted: rounding is relative to these powers of the largest input, in the
# value and in the gradient.
SUBTRACTED = {
    "var": (2, 1),
    "std": (1, 0),
    "logsumexp": (1, 1),
    "functional.log_softmax": (1, 1),
    "functional.mse_loss": (2, 1),
    "functional.cross_entropy": (2, 1),
    "functional.linear_cross_entropy": (3, 3),
    "functional.layer_norm": (2, 2),
    "functional.rms_norm": (2, 2),
    "functional.scaled_dot_product_attention": (1, 3),
}
# Where values or slopes are small differences of numbers near 1. (And PyTorch's erf of a small
# bfloat16 is 0.)
FLAT = "erf sigmoid tanh functional.silu functional.gelu functional.softmax".split()


@st.composite
def values(draw, shape, dtype):
    """Numbers of all kinds."""
    base = np.dtype("float32") if dtype == ml_dtypes.bfloat16 else dtype
    info = ml_dtypes.finfo(dtype)
    special = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
    special += [float(info.tiny), float(info.smallest_subnormal), float(info.max)]
    some = st.one_of(
        st.floats(-4, 4, width=16), hnp.from_dtype(base), st.sampled_from(special).map(base.type)
    )
    with np.errstate(over="ignore"):
        return draw(hnp.arrays(base, shape, elements=some)).astype(dtype)


@st.composite
def calls(draw, name):
    """The instruction of a call, and its inputs with any values in any dtype."""
    program = draw(OPERATIONS[name].calls)
    step = program.instructions[0]
    dtype = draw(st.sampled_from(DTYPES))
    return step, [draw(values(x.shape, dtype)) for x in program.inputs]


def filled(arg, inputs, constant):
    """An argument with the inputs filled in, and `constant` applied to arrays."""
    if isinstance(arg, Value):
        return inputs[arg.number]
    if isinstance(arg, list | tuple):
        return type(arg)(filled(a, inputs, constant) for a in arg)
    return constant(arg) if isinstance(arg, np.ndarray) else arg


def flat(value):
    return [y for v in value for y in flat(v)] if isinstance(value, list | tuple) else [value]


def function_here(name):
    return getattr(nag.functional if "." in name else nag, name.split(".")[-1])


def weights(shape):
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape) + 1.5


def here(name, step, inputs):
    """(values, gradients) of a call of this package, as arrays."""
    xs = [nag.Tensor(x, requires_grad=True) for x in inputs]
    args, options = (filled(a, xs, np.copy) for a in (list(step.args), [*step.options.values()]))
    ys = flat(function_here(name)(*args, **dict(zip(step.options, options))))
    found = [y.detach().numpy() for y in ys]
    gs = [nag.Tensor(weights(y.shape), dtype=y.dtype) for y in ys]
    ds = nag.autograd.grad(ys, xs, gs, allow_unused=True) if xs else []
    return found, [np.zeros_like(x) if d is None else d.numpy() for x, d in zip(inputs, ds)]


def to_torch(x):
    if x.dtype == ml_dtypes.bfloat16:
        return torch.tensor(x.astype("float32")).to(torch.bfloat16)
    return torch.tensor(x)


def from_torch(t, dtype):
    t = t.detach()
    return t.float().numpy().astype(dtype) if t.dtype == torch.bfloat16 else t.numpy()


def there(name, step, inputs):
    """The same of PyTorch."""
    xs = [to_torch(x).requires_grad_() for x in inputs]
    constant = torch.tensor
    args, options = (filled(a, xs, constant) for a in (list(step.args), [*step.options.values()]))
    ys = flat(TORCH[name](*args, **dict(zip(step.options, options))))
    gs = [torch.tensor(weights(tuple(y.shape)), dtype=y.dtype) for y in ys]
    ds = torch.autograd.grad(ys, xs, gs, allow_unused=True) if xs else []
    found = [torch.zeros_like(x) if d is None else d for x, d in zip(xs, ds)]
    dtype = inputs[0].dtype if inputs else None
    return [from_torch(y, dtype) for y in ys], [from_torch(d, dtype) for d in found]


def same(found, expected, scale, what, nan_too=False):
    """Asserts that two arrays are equal, to the rounding of numbers of size `scale`. nan_too: the
    first may also be NaN."""
    kinds = (found.shape, found.dtype), (expected.shape, expected.dtype)
    assert kinds[0] == kinds[1], f"{what} is {kinds[0]} instead of {kinds[1]}"
    info = ml_dtypes.finfo(found.dtype)
    found, expected = found.astype(float), expected.astype(float)
    # PyTorch takes some subnormal numbers for 0, and a sum may leave the range in one order only.
    close = 16 * float(info.eps) * (np.abs(expected) + scale) + 2 * float(info.tiny)
    equal = (found == expected) | np.isnan(expected) & np.isnan(found) | np.isinf(scale)
    equal |= nan_too & np.isnan(found)
    with np.errstate(invalid="ignore"):
        equal |= np.abs(found - expected) <= close
    assert equal.all(), f"{what}: {found} instead of {expected}"


def sizes_of(name, inputs, expected, gradients):
    """The size of the numbers that were rounded, for each result and each gradient."""
    finite = [np.abs(x[np.isfinite(x)]).astype(float) for x in inputs]
    largest = max((x.max(initial=1.0) for x in finite), default=1.0)
    if name == "std":  # a slope is a deviation divided by the std
        stds = [y[y > 0].astype(float) for y in expected]
        largest_slope = largest / min((y.min(initial=largest) for y in stds), default=1.0)
        return [largest] * len(expected), [largest_slope] * gradients
    if name in SUBTRACTED:
        powers = SUBTRACTED[name]
        return [largest ** powers[0]] * len(expected), [largest ** powers[1]] * gradients
    size = 4.0 if name in FLAT else 0.0
    return [size] * len(expected), [size] * gradients


def check(name, step, inputs):
    known = {d.what for d in DIFFERENCES if name in d.names.split() and d.where(*inputs)}
    try:
        expected, slopes = there(name, step, inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if "refused" in known:
            return
        assume("not implemented for" not in str(error) and "not differentiable" not in str(error))
        with pytest.raises((ValueError, TypeError, IndexError)):
            here(name, step, inputs)
        return
    found, gradients = here(name, step, inputs)
    if name in SUMS:
        wide = [np.abs(x.astype(float)) for x in inputs]
        sizes, slope_sizes = there(name, step, wide)
    else:
        sizes, slope_sizes = sizes_of(name, inputs, expected, len(gradients))
    if "value" in known:
        return
    for k, (a, b, size) in enumerate(zip(found, expected, sizes, strict=True)):
        same(a, b, size, f"result {k}")
    if "gradient" in known:
        return
    for k, (a, b, size) in enumerate(zip(gradients, slopes, slope_sizes, strict=True)):
        same(a, b, size, f"gradient of input {k}", "nan" in known)


@pytest.mark.parametrize("name", TORCH)
@given(st.data())
def test_value_and_gradient_are_those_of_pytorch(name, data):
    step, inputs = data.draw(calls(name))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        check(name, step, inputs)
