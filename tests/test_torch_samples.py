"""PyTorch's own sample inputs: operations that exist here give PyTorch's values and gradients.

PyTorch tests each of its operators on inputs that its authors chose (`op_db`, a list of OpInfo).
Here the same inputs go to the operation of this package: values in float64 and float32, gradients
of first and second order in float64. Left out are samples of more than LARGEST numbers, and forms
of a call that an operation here does not have (its adapter raises NoSuchForm).
"""

import contextlib
import random
import warnings
from functools import partial

import numpy as np
import pytest

import nanoautograd as nag
from nanoautograd import functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

SAMPLES, LARGEST = 40, 600  # of an operator; numbers in one


class NoSuchForm(Exception):
    """A form of a call that the operation does not have here."""


# ---- PyTorch's calls as calls of this package


def only(f, *names, **defaults):
    """f, for calls that give the options `defaults` these values, if at all, and by keyword no
    others than `names`."""

    def call(*args, **options):
        for name, value in options.items():
            if name not in names and (name not in defaults or value != defaults[name]):
                raise NoSuchForm(f"{name}={value}")
        return f(*args, **{name: options[name] for name in names if name in options})

    return call


def axes_of(x, dim):
    """PyTorch's `dim` as `axis`."""
    if not x.ndim and dim is not None:
        raise NoSuchForm("the axis of a 0-d array")
    return None if dim in ((), []) else tuple(dim) if isinstance(dim, list) else dim


def reduction(f, *names):
    """A function that takes dim and keepdim."""

    def call(x, dim=None, keepdim=False, **options):
        axis = axes_of(x, dim)
        return only(f, "axis", "keepdims", *names)(x, axis=axis, keepdims=keepdim, **options)

    return call


def along(f, *names):
    """A function that takes dim, but not keepdim."""
    return lambda x, dim, **options: only(f, "axis", *names)(x, axis=axes_of(x, dim), **options)


def moments(*functions):
    """std and var, which divide by n - 1 unless told otherwise; or both with a mean."""

    def call(x, dim=None, unbiased=True, correction=None, keepdim=False):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = (1 if unbiased else 0) if correction is None else correction
        return [f(x, axes_of(x, dim), ddof=ddof, keepdims=keepdim) for f in functions]

    return call


def mean_of(x, axis, ddof, keepdims):
    return nag.mean(x, axis, keepdims=keepdims)


def einsum(arrays, subscripts):
    """torch.einsum, which adds up over axes of an ellipsis, where NumPy refuses."""
    operands, arrow, output = subscripts.partition("->")
    if "..." in operands and arrow and "..." not in output:
        raise NoSuchForm
    return nag.einsum(subscripts, *arrays)


def norm(x, ord=None, dim=None, keepdim=False, dtype=None):
    """torch.linalg.norm, which is NumPy's."""
    axis = axes_of(x, dim)
    matrix = axis is None and x.ndim == 2 or isinstance(axis, tuple) and len(axis) == 2
    if ord == "nuc" or ord in (2, -2) and matrix:
        raise NoSuchForm("singular values")
    if ord is not None and x.ndim == 0 or isinstance(axis, tuple) and len(axis) not in (1, 2):
        raise NoSuchForm("neither vectors nor matrices")
    if not x.size and ord not in (None, 2, "fro"):
        raise NoSuchForm("the largest of no sums, which is an error in NumPy")
    return nag.norm(x if dtype is None else x.astype(dtype), ord, axis, keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    """torch.linalg.vector_norm, which takes several axes as one."""
    axis = axes_of(x, dim)
    if isinstance(axis, int):
        return norm(x, ord, axis, keepdim, dtype)
    axes = sorted(i % x.ndim for i in (range(x.ndim) if axis is None else axis))
    rest = [i for i in range(x.ndim) if i not in axes]
    rows = nag.reshape(nag.transpose(x, rest + axes), [x.shape[i] for i in rest] + [-1])
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return nag.reshape(
        norm(rows, ord, -1, False, dtype), kept if keepdim else [kept[i] for i in rest]
    )


def matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False, dtype=None):
    return norm(x, ord, tuple(dim), keepdim, dtype)


def old_norm(x, p="fro", dim=None, keepdim=False):
    """torch.norm, which takes matrices as vectors."""
    if p == "nuc":
        raise NoSuchForm("singular values")
    return vector_norm(x, 2 if p == "fro" else p, dim, keepdim)


def extreme(f):
    """max and min: of all, along an axis (with the positions), of two arrays."""

    def call(x, dim=None, keepdim=False):
        if isinstance(dim, nag.Tensor):
            return (nag.maximum if f is nag.max else nag.minimum)(x, dim)
        if dim is None:
            return f(x)
        position = nag.argmax if f is nag.max else nag.argmin
        return f(x, dim, keepdims=keepdim), position(x, dim, keepdims=keepdim)

    return call


def sort(x, dim=-1, descending=False, stable=False):
    if descending:
        raise NoSuchForm("descending")
    axis = axes_of(x, dim)
    return nag.sort(x, axis), nag.argsort(x, axis, kind="stable")


def argsort(*args, **options):
    return sort(*args, **options)[1]


def clamp(x, min=None, max=None):
    return nag.clip(x, min, max)


def divide(a, b, rounding_mode=None):
    if rounding_mode is None:
        return nag.divide(a, b)
    return nag.floor_divide(a, b) if rounding_mode == "floor" else nag.trunc(nag.divide(a, b))


def add(a, b, alpha=1):
    return nag.add(a, b if alpha == 1 else nag.multiply(b, alpha))


def subtract(a, b, alpha=1):
    return nag.subtract(a, b if alpha == 1 else nag.multiply(b, alpha))


def parts(x, size, dim=0):
    """torch.split: the size of the parts, or of each."""
    n = x.shape[dim]
    cuts = range(size, n, size) if isinstance(size, int) else np.cumsum(size)[:-1].tolist()
    return list(nag.split(x, list(cuts), dim))


def tensor_split(x, at, dim=0):
    at = at.tolist() if isinstance(at, nag.Tensor) else at
    if isinstance(at, int):
        if x.shape[dim] % at:
            raise NoSuchForm("parts of unequal length")
    return list(nag.split(x, at, dim))


def cat(arrays, dim=0):
    if len({x.ndim for x in arrays}) > 1:
        raise NoSuchForm("an empty array of another number of dimensions")
    return nag.concatenate(arrays, dim)


def repeat_interleave(x, repeats, dim=None, output_size=None):
    return nag.repeat(x, repeats, dim)


def roll(x, shifts, dims=None):
    dims = None if dims in ((), []) else dims
    return nag.roll(x, shifts, dims)


def pad(x, widths, mode="constant", value=None):
    """torch's widths begin at the last axis."""
    if min(widths, default=0) < 0:
        raise NoSuchForm("negative widths")
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2)
    pairs += list(zip(widths[::2], widths[1::2]))[::-1]
    mode = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    if mode == "constant":
        return nag.pad(x, pairs, constant_values=value or 0)
    return nag.pad(x, pairs, mode)


def getitem(x, index):
    return x[index]


def index_put(x, index, value, accumulate=False):
    if accumulate:
        return x + nag.scatter_add(nag.broadcast_to(value, x[index].shape), index, x.shape)
    return nag.index_put(x, index, value)


def place(x, dim, index):
    """The index that applies `index` to one axis."""
    return (slice(None),) * (dim % x.ndim) + (index,)


def with_axes(x):
    axes_of(x, 0)
    return x


def index_add(x, dim, index, source, alpha=1):
    return with_axes(x) + nag.scatter_add(source * alpha, place(x, dim, index), x.shape)


def index_fill(x, dim, index, value):
    return nag.index_put(with_axes(x), place(x, dim, index), value)


def index_select(x, dim, index):
    return nag.take(with_axes(x), index, dim)


def grid(x, dim, index):
    """An index that `gather` and `scatter` of PyTorch mean, which may be shorter than x."""
    if index.ndim != x.ndim:
        raise NoSuchForm("an empty index of another number of dimensions")
    places = list(np.indices(index.shape))
    places[dim] = index.numpy()
    return tuple(places)


def gather(x, dim, index, sparse_grad=False):
    return with_axes(x)[grid(x, dim, index)]


def take_along(x, index, dim=None):
    return nag.take_along_axis(x, nag.ravel(index) if dim is None else index, dim)


def flatten(x, start_dim=0, end_dim=-1):
    if not x.ndim:
        return nag.reshape(x, (1,))
    first, last = start_dim % x.ndim, end_dim % x.ndim
    return nag.reshape(x, x.shape[:first] + (-1,) + x.shape[last + 1 :])


def squeeze(x, dim=None):
    axes = range(x.ndim) if dim is None else np.atleast_1d(np.asarray(dim, int)).tolist()
    return nag.squeeze(with_axes(x), tuple(i for i in axes if x.shape[i] == 1))


def nonzero(x, as_tuple=False):
    found = nag.nonzero(with_axes(x))
    return found if as_tuple else nag.stack(found, 1)


def scatter_add(x, dim, index, src):
    g = grid(with_axes(x), dim, index)
    return x + nag.scatter_add(src[tuple(map(slice, index.shape))], g, x.shape)


def tensordot(a, b, dims):
    if not isinstance(dims, int):
        if any(a.shape[i] != b.shape[j] for i, j in zip(*dims)):
            raise NoSuchForm("lengths that broadcast")
    return nag.tensordot(a, b, dims)


def masked_fill(x, mask, value):
    return nag.where(mask, value, x)


def normalised(f, x, shape, *parameters, eps=None):
    """An eps below 0, which PyTorch takes, is refused."""
    if eps is not None and eps < 0:
        with pytest.raises(ValueError, match="eps must be a number, 0 or more"):
            f(x, shape, *parameters, eps=eps)
        raise NoSuchForm
    return f(x, shape, *parameters, **({} if eps is None else {"eps": eps}))


def embedding(weight, ids, padding_idx=None, **options):
    return only(F.embedding)(ids, weight, padding_idx, **options)


def cross_entropy(x, target, weight=None, **options):
    return F.cross_entropy(x, target, weight, **options)


def linear_cross_entropy(x, linear_weight, target, linear_bias=None, **options):
    if linear_weight.ndim > 2 or target.dtype.kind != "i":
        raise NoSuchForm("classes along several axes, or distributions over them")
    factors, _ = options.pop("weight", None), options.pop("options", None)
    return F.linear_cross_entropy(x, linear_weight, target, linear_bias, factors, **options)


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **options):
    if dropout_p or any(options.values()):
        raise NoSuchForm("random numbers, or grouped heads")
    return F.scaled_dot_product_attention(q, k, v, attn_mask, is_causal=is_causal, scale=scale)


def dropout(x, p=0.5, training=True):
    if training and 0 < p < 1:
        raise NoSuchForm("random numbers")
    return F.dropout(x, p, training)


def softplus(x, beta=1, threshold=20):
    return nag.where(x * beta > threshold, x, nag.softplus(x * beta) / beta)


def softmax_of(f):
    def call(x, dim, dtype=None):
        return f(with_axes(x if dtype is None else x.astype(dtype)), dim)

    return call


def rounded(x, decimals=0):
    return nag.round(x, decimals)


def searchsorted(sorted, values, right=False, side=None, sorter=None, out_int32=False):
    if sorted.ndim > 1:
        raise NoSuchForm("several rows")
    side = side or ("right" if right else "left")
    return nag.searchsorted(sorted, values, side=side, sorter=sorter)


def plain(name):
    """The function of that name, called as PyTorch's."""
    return only(getattr(nag, name), "dtype", "out")


# Operator of PyTorch -> how it is called here.
TABLE = {
    **{
        name: plain(here or name)
        for name, here in {
            **dict.fromkeys("abs cos cosh erf exp expm1 positive reciprocal sigmoid sign".split()),
            **dict.fromkeys("sin sinh sqrt square tan tanh log log1p maximum minimum ".split()),
            **dict.fromkeys("remainder ceil floor trunc isfinite isinf isnan".split()),
            **dict.fromkeys("logical_and logical_not logical_or logical_xor".split()),
            **dict.fromkeys("bitwise_and bitwise_or bitwise_xor floor_divide isclose".split()),
            **dict.fromkeys("ravel tril triu outer matmul reshape".split()),
            **dict(acos="arccos", asin="arcsin", atan="arctan", atan2="arctan2", neg="negative"),
            **dict(mul="multiply", eq="equal", ne="not_equal", lt="less", le="less_equal"),
            **dict(gt="greater", ge="greater_equal", bitwise_not="invert", mm="matmul"),
            **dict(bmm="matmul", mv="matmul", pow="power", broadcast_to=None, tile=None),
            **dict(unsqueeze="expand_dims", permute="transpose"),
            **dict(movedim="moveaxis"),
        }.items()
    },
    "clone": nag.copy,
    "float_power": lambda a, b: np.float_power(a, b),
    "__rpow__": lambda a, b: b**a,
    "__rsub__": lambda a, b: b - a,
    "__radd__": lambda a, b: b + a,
    "__rmul__": lambda a, b: b * a,
    "__rdiv__": lambda a, b: b / a,
    "__rmod__": lambda a, b: b % a,
    "__rmatmul__": lambda a, b: b @ a,
    "add": add,
    "sub": subtract,
    "div": divide,
    "rsub": lambda a, b, alpha=1: subtract(b, a, alpha),
    "clamp": clamp,
    "clamp_min": lambda x, low: nag.clip(x, low, None),
    "clamp_max": lambda x, high: nag.clip(x, None, high),
    "where": lambda x, condition, y: nag.where(condition, x, y),
    "masked_fill": masked_fill,
    "float": lambda x, **_: x.astype("float32"),
    "double": lambda x, **_: x.astype("float64"),
    "all": reduction(nag.all),
    "any": reduction(nag.any),
    "sum": reduction(nag.sum, "dtype"),
    "mean": reduction(nag.mean, "dtype"),
    "prod": reduction(nag.prod, "dtype"),
    "amax": reduction(nag.max),
    "amin": reduction(nag.min),
    "logsumexp": reduction(nag.logsumexp),
    "count_nonzero": reduction(nag.count_nonzero),
    "argmax": reduction(nag.argmax),
    "argmin": reduction(nag.argmin),
    "max": extreme(nag.max),
    "min": extreme(nag.min),
    "std": moments(nag.std),
    "var": moments(nag.var),
    "std_mean": moments(nag.std, mean_of),
    "var_mean": moments(nag.var, mean_of),
    "norm": old_norm,
    "linalg.norm": norm,
    "linalg.vector_norm": vector_norm,
    "linalg.matrix_norm": matrix_norm,
    "cumsum": along(nag.cumsum, "dtype"),
    "sort": sort,
    "argsort": argsort,
    "squeeze": squeeze,
    "transpose": lambda x, i, j: nag.swapaxes(with_axes(x), i, j),
    "view": lambda x, *shape: nag.reshape(x, *shape),
    "flatten": flatten,
    "flip": lambda x, dims: nag.flip(x, dims),
    "roll": roll,
    "cat": cat,
    "stack": lambda arrays, dim=0: nag.stack(arrays, dim),
    "split": parts,
    "split_with_sizes": parts,
    "tensor_split": tensor_split,
    "repeat_interleave": repeat_interleave,
    "nn.functional.pad": pad,
    "constant_pad_nd": lambda x, widths, value=0: pad(x, widths, "constant", value),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: nag.diagonal(x, offset, dim1, dim2),
    "trace": nag.trace,
    "__getitem__": getitem,
    "index_put": index_put,
    "index_add": index_add,
    "index_fill": index_fill,
    "index_select": index_select,
    "gather": gather,
    "scatter_add": scatter_add,
    "take": nag.take,
    "take_along_dim": take_along,
    "tensordot": tensordot,
    "einsum": einsum,
    "inner": lambda a, b: nag.tensordot(a, b, ((-1,), (-1,))) if a.ndim and b.ndim else a * b,
    "dot": nag.dot,
    "softmax": softmax_of(F.softmax),
    "log_softmax": softmax_of(F.log_softmax),
    "nn.functional.relu": lambda x, inplace=False: F.relu(x),
    "nn.functional.silu": lambda x, inplace=False: F.silu(x),
    "nn.functional.gelu": F.gelu,
    "nn.functional.softplus": softplus,
    "nn.functional.linear": F.linear,
    "nn.functional.embedding": embedding,
    "nn.functional.mse_loss": F.mse_loss,
    "nn.functional.binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.linear_cross_entropy": linear_cross_entropy,
    "nn.functional.scaled_dot_product_attention": attention,
    "nn.functional.layer_norm": partial(normalised, F.layer_norm),
    "nn.functional.rms_norm": partial(normalised, F.rms_norm),
    "nn.functional.dropout": dropout,
    "bincount": lambda x, weights=None, minlength=0: nag.bincount(x, weights, minlength),
    "full_like": only(nag.full_like, "dtype", device=torch.device("cpu")),
    "ones_like": only(nag.ones_like, "dtype", device=torch.device("cpu")),
    "zeros_like": only(nag.zeros_like, "dtype", device=torch.device("cpu")),
    "round": rounded,
    "searchsorted": searchsorted,
    "nonzero": nonzero,
}

# Where the two differ on purpose: (operator, its variant) -> (the highest order of gradients that
# is compared, why no higher one is).
_CHUNKED = 1, "PyTorch's chunked form takes its first gradient for a constant"
DIFFERENCES = {
    ("linalg.norm", "subgradients_at_zero"): (1, "the slope of the slope at 0 is 0, not NaN"),
    ("nn.functional.linear_cross_entropy", "chunked"): _CHUNKED,
    ("nn.functional.linear_cross_entropy", "chunked_none"): _CHUNKED,
}


# ---- the comparison


@contextlib.contextmanager
def fixed_random_numbers():
    """The global generators, from which the samples are drawn, start from a seed, and go on after
    the block as if nothing had been."""
    states = random.getstate(), np.random.get_state()
    random.seed(0), np.random.seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    random.setstate(states[0]), np.random.set_state(states[1])


def samples(op, dtype, requires_grad):
    """Up to SAMPLES of the small ones, spread over all that there are."""
    with warnings.catch_warnings(), fixed_random_numbers():
        warnings.simplefilter("ignore")
        small = [
            s
            for s in op.sample_inputs("cpu", dtype, requires_grad=requires_grad)
            if sum(t.numel() for t in tensors([s.input, s.args, s.kwargs])) <= LARGEST
        ]
    return small[:: max(1, -(-len(small) // SAMPLES))]


def tensors(value):
    """PyTorch's tensors in nested arguments."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in tensors(v)] if isinstance(value, list | tuple) else []


def here(value, leaves):
    """An argument of PyTorch's as one of this package's; `leaves` collects the Tensors."""
    if isinstance(value, torch.Tensor):
        t = nag.Tensor(value.detach().numpy(), requires_grad=value.requires_grad)
        leaves.append(t)
        return t
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, list | tuple):
        return type(value)(here(v, leaves) for v in value)
    if isinstance(value, dict):
        return {k: here(v, leaves) for k, v in value.items()}
    return value


def flat(value):
    return [y for v in value for y in flat(v)] if isinstance(value, list | tuple) else [value]


def weights(shape, k):
    return np.cos(np.arange(np.prod(shape, dtype=int)) + k).reshape(shape) + 0.5


def as_array(y):
    if isinstance(y, torch.Tensor):
        return y.numpy(force=True)
    return y.detach().numpy() if isinstance(y, nag.Tensor) else np.asarray(y)


class Comparison:
    """Compares arrays: to a part `rtol` of the largest number that was met so far."""

    def __init__(self, inputs, rtol):
        self.rtol, self.largest = rtol, 1.0
        for x in inputs:
            self.note(as_array(x))

    def note(self, x):
        x = np.abs(x[np.isfinite(x)]).astype(float)
        self.largest = max(self.largest, x.max(initial=0.0))

    def check(self, expected, found, what):
        expected, found = as_array(expected), as_array(found)
        assert found.shape == expected.shape, what
        self.note(expected)
        atol = self.rtol * self.largest
        np.testing.assert_allclose(found, expected, rtol=self.rtol, atol=atol, err_msg=what)


def gradients_there(ys, xs, k):
    gs = [torch.tensor(weights(tuple(y.shape), k), dtype=y.dtype) for y in ys]
    ds = torch.autograd.grad(ys, xs, gs, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if d is None else d for x, d in zip(xs, ds)]


def gradients_here(ys, xs, k):
    gs = [nag.Tensor(weights(y.shape, k), dtype=y.dtype) for y in ys]
    ds = nag.autograd.grad(ys, xs, gs, create_graph=True, allow_unused=True)
    return [nag.zeros_like(x) if d is None else d for x, d in zip(xs, ds)]


def recorded(ys):
    return [y for y in ys if y.requires_grad]


def compare(op, sample, dtype):
    """Compares one sample; raises NoSuchForm where there is nothing to compare."""
    there, ours = [], []
    args = [sample.input, *sample.args]
    for t in tensors([args, sample.kwargs]):
        there.append(t)
    our_args, our_options = here(args, ours), here(sample.kwargs, ours)
    found = flat(TABLE[op.name](*our_args, **our_options))
    expected = flat(op.op(*args, **sample.kwargs))
    assert len(found) == len(expected)
    comparison = Comparison(there, 2e-6 if dtype == torch.float32 else 1e-11)
    for a, b in zip(expected, found):
        comparison.check(a, b, "value")
    xs = [t for t in there if t.requires_grad]
    if not xs:
        return
    ys, zs = recorded(expected), recorded([y for y in found if isinstance(y, nag.Tensor)])
    us = [t for t in ours if t.requires_grad]
    highest, _ = DIFFERENCES.get((op.name, op.variant_test_name), (2, ""))
    for order in range(1, highest + 1):
        if not ys and not zs:
            return
        gs = gradients_there(ys, xs, order) if ys else [torch.zeros_like(x) for x in xs]
        hs = gradients_here(zs, us, order) if zs else [nag.zeros_like(u) for u in us]
        for i, (a, b) in enumerate(zip(gs, hs)):
            comparison.check(a, b, f"gradient of order {order} of tensor {i}")
        ys, zs = recorded(gs), recorded(hs)


def described(sample):
    def text(value):
        if isinstance(value, torch.Tensor):
            small = value.numel() <= 6
            return f"{value.tolist()}" if small else f"{value.dtype} {tuple(value.shape)}"
        if isinstance(value, list | tuple):
            return f"({', '.join(map(text, value))})"
        return repr(value)

    options = [f"{k}={text(v)}" for k, v in sample.kwargs.items()]
    return ", ".join([text(sample.input), *map(text, sample.args), *options])


def operators():
    from torch.testing._internal.common_methods_invocations import op_db

    return [op for op in op_db if op.name in TABLE]


def test_every_row_of_the_table_is_an_operator_of_pytorch():
    assert {op.name for op in operators()} == TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_pytorchs_samples_give_pytorchs_values_and_gradients(name):
    number = 0
    for op in operators():
        if op.name != name:
            continue
        for dtype in (torch.float64, torch.float32):
            if dtype not in op.dtypes:
                dtype = torch.int64 if dtype == torch.float64 else torch.bool
                if dtype not in op.dtypes:
                    continue
            gradients = dtype == torch.float64 and op.supports_autograd
            for sample in samples(op, dtype, gradients):
                try:
                    with np.errstate(all="ignore"), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        compare(op, sample, dtype)
                except NoSuchForm:
                    continue
                except Exception as error:
                    error.add_note(f"{name} {op.variant_test_name}({described(sample)})")
                    raise
                number += 1
    assert number, "no sample could be compared"
