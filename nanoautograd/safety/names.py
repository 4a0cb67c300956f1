"""Names that people know from PyTorch, NumPy or JAX and that are not here: what to type instead.

One table for all. Each line is code that runs, and a test runs it. In it t is a Tensor (2, 3), a
and b are (3, 3), h is on the way from leaves to a loss, i and labels hold integers, x is an array,
model a Module, and optimizer an optimiser of its parameters.

The rule behind it: numbers come from NumPy, nag.Tensor(np.arange(3.0)); functions of arrays have
NumPy's names, nag.concatenate; layers, losses and optimisers have PyTorch's.
"""

import dis
import inspect
import sys
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, cast

import numpy as np

from ..typing import F

__all__ = ["INSTEAD", "explain_missing", "explained", "keyword_hint", "public"]

NEW_NUMBERS = {
    "arange": "nag.Tensor(np.arange(3.0))",
    "array": "nag.Tensor(x)",
    "as_tensor": "nag.Tensor(x)",
    "asarray": "nag.Tensor(x)",
    "empty": "nag.Tensor(np.empty((2, 3)))",
    "eye": "nag.Tensor(np.eye(3))",
    "from_numpy": "nag.Tensor(x)",
    "full": "nag.Tensor(np.full((2, 3), 0.5))",
    "linspace": "nag.Tensor(np.linspace(0.0, 1.0, 5))",
    "manual_seed": "rng = np.random.default_rng(0); nag.nn.Linear(3, 2, rng=rng)",
    "meshgrid": "np.meshgrid(np.arange(2.0), np.arange(3.0))",
    "normal": "nag.Tensor(np.random.default_rng(0).normal(size=(2, 3)))",
    "ones": "nag.Tensor(np.ones((2, 3)))",
    "rand": "nag.Tensor(np.random.default_rng(0).random((2, 3)))",
    "randint": "nag.Tensor(np.random.default_rng(0).integers(10, size=(2, 3)))",
    "randn": "nag.Tensor(np.random.default_rng(0).normal(size=(2, 3)))",
    "random": "rng = np.random.default_rng(0)",
    "randperm": "np.random.default_rng(0).permutation(10)",
    "zeros": "nag.Tensor(np.zeros((2, 3)))",
}
CONSTANTS = {
    "FloatTensor": "nag.Tensor(x, dtype=np.float32)",
    "LongTensor": "nag.Tensor(x, dtype=np.int64)",
    "bool": "nag.Tensor(x, dtype=bool)",
    "double": "nag.Tensor(x, dtype=np.float64)",
    "dtype": "np.dtype('float32')",
    "float": "nag.Tensor(x, dtype=np.float32)",
    "float16": "nag.Tensor(x, dtype=np.float16)",
    "float32": "nag.Tensor(x, dtype=np.float32)",
    "float64": "nag.Tensor(x, dtype=np.float64)",
    "half": "nag.Tensor(x, dtype=np.float16)",
    "inf": "np.inf",
    "int32": "nag.Tensor(x, dtype=np.int32)",
    "int64": "nag.Tensor(x, dtype=np.int64)",
    "long": "nag.Tensor(x, dtype=np.int64)",
    "nan": "np.nan",
    "newaxis": "t[:, None]",
    "pi": "np.pi",
}
# Of a module (as torch.unsqueeze) and of Tensors (as t.unsqueeze) alike.
OF_ARRAYS = {
    "acos": "nag.arccos(t)",
    "amax": "t.max(axis=0)",
    "amin": "t.min(axis=0)",
    "asin": "nag.arcsin(t)",
    "atan": "nag.arctan(t)",
    "atan2": "nag.arctan2(a, b)",
    "bmm": "a @ b",
    "chunk": "nag.split(t, 3, axis=1)",
    "clamp": "t.clip(0.0, 1.0)",
    "clone": "t.copy()",
    "div": "a / b",
    "eq": "a == b",
    "flatten": "t.ravel(); t.reshape(len(t), -1)",
    "gather": "nag.take_along_axis(t, i, axis=1)",
    "ge": "a >= b",
    "gt": "a > b",
    "index_add": "t + nag.scatter_add(a, [1, 0, 1], t.shape)",
    "index_select": "nag.take(t, [1, 0], axis=0)",
    "inner": "nag.tensordot(a, b, ((-1,), (-1,)))",
    "le": "a <= b",
    "log10": "nag.log(t) / np.log(10.0)",
    "log2": "nag.log(t) / np.log(2.0)",
    "log_softmax": "nag.functional.log_softmax(t, dim=-1)",
    "lt": "a < b",
    "masked_fill": "nag.where(t > 0, 0.0, t)",
    "masked_select": "t[t > 0]",
    "mm": "a @ b",
    "mul": "a * b",
    "mv": "a @ b[0]",
    "narrow": "t[:, 1:3]",
    "ne": "a != b",
    "neg": "-t",
    "numel": "t.size",
    "pow": "t**2",
    "relu": "nag.functional.relu(t)",
    "rsqrt": "1.0 / nag.sqrt(t)",
    "softmax": "nag.functional.softmax(t, dim=-1)",
    "sub": "a - b",
    "swapdims": "t.swapaxes(0, 1)",
    "t": "t.T",
    "topk": "nag.take_along_axis(t, nag.argsort(t, axis=-1)[..., -2:], axis=-1)",
    "unbind": "[*t]",
    "unsqueeze": "nag.expand_dims(t, 0); t[None]",
}
WINDOWS = {
    **dict.fromkeys(
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split(),
        "nag.nn.Linear(3, 2)(t)  # of windows: there are no convolutions here",
    ),
    **dict.fromkeys(
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d".split(),
        "t[:, :2].reshape(2, 1, 2).max(axis=2)  # of windows of 2: there is no pooling here",
    ),
    **dict.fromkeys(
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d".split(),
        "t[:, :2].reshape(2, 1, 2).mean(axis=2)  # of windows of 2: there is no pooling here",
    ),
    **dict.fromkeys(
        "batch_norm instance_norm group_norm".split(),
        "nag.functional.layer_norm(t, 3)  # of each row: there is no other normalisation here",
    ),
}
LAYERS_OF_WINDOWS = {
    **dict.fromkeys(
        "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d".split(),
        WINDOWS["conv1d"],
    ),
    **dict.fromkeys(
        "MaxPool1d MaxPool2d MaxPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d".split(),
        WINDOWS["max_pool1d"],
    ),
    **dict.fromkeys(
        "AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d".split(),
        WINDOWS["avg_pool1d"],
    ),
    **dict.fromkeys(
        "BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d GroupNorm".split(),
        "nag.nn.LayerNorm(3)  # of each row; RMSNorm: there is no other normalisation here",
    ),
}
LOSSES = {
    "BCELoss": "nag.nn.BCEWithLogitsLoss()(a, b)  # of scores a: before the sigmoid",
    "HuberLoss": "d = nag.abs(a - b); nag.where(d < 1, d * d / 2, d - 0.5).mean()",
    "L1Loss": "nag.abs(a - b).mean()",
    "NLLLoss": "nag.nn.CrossEntropyLoss()(a, labels)  # of scores, without log_softmax",
    "SmoothL1Loss": "d = nag.abs(a - b); nag.where(d < 1, d * d / 2, d - 0.5).mean()",
}
OF_FUNCTIONAL = {
    **WINDOWS,
    "binary_cross_entropy": "nag.functional.binary_cross_entropy_with_logits(a, b)  # of scores a",
    "cosine_similarity": "(a * b).sum(-1) / (nag.norm(a, axis=-1) * nag.norm(b, axis=-1))",
    "elu": "nag.where(t > 0, t, nag.expm1(nag.minimum(t, 0.0)))",
    "huber_loss": LOSSES["HuberLoss"],
    "l1_loss": LOSSES["L1Loss"],
    "leaky_relu": "nag.maximum(t, 0.01 * t)",
    "logsigmoid": "-nag.softplus(-t)",
    "nll_loss": "nag.functional.cross_entropy(a, labels)  # of scores, without log_softmax",
    "normalize": "t / nag.norm(t, axis=-1, keepdims=True)",
    "one_hot": "np.eye(3, dtype=np.float32)[labels]  # losses take the class numbers themselves",
    "pad": "nag.pad(t, ((0, 0), (1, 1)))",
    "sigmoid": "nag.sigmoid(t)",
    "smooth_l1_loss": LOSSES["SmoothL1Loss"],
    "softplus": "nag.softplus(t)",
    "swish": "nag.functional.silu(t)",
    "tanh": "nag.tanh(t)",
}
OTHER_OPTIMISERS = dict.fromkeys(
    ("Adadelta", "Adagrad", "Adamax", "LBFGS", "NAdam", "RAdam", "RMSprop"),
    "nag.optim.Adam(model.parameters())  # or one of your own: nanoautograd/optim/README.md",
)
INSTEAD: dict[str, dict[str, str]] = {
    "nanoautograd": {
        **NEW_NUMBERS,
        **CONSTANTS,
        **OF_ARRAYS,
        "Module": "nag.nn.Module",
        "Parameter": "nag.nn.Parameter(x)",
        "Variable": "nag.Tensor(x, requires_grad=True)",
        "cat": "nag.concatenate([a, b], axis=0)",
        "compile": "f = model  # runs as it is",
        "concat": "nag.concatenate([a, b], axis=0)",
        "device": 'nag.Tensor(x, device="cpu"); nag.to(t, "cpu")',
        "gelu": "nag.functional.gelu(t)",
        "hstack": "nag.concatenate([a, b], axis=1)",
        "inference_mode": "with nag.no_grad(): y = model(t)",
        "is_tensor": "isinstance(t, nag.Tensor)",
        "jit": "f = model  # runs as it is",
        "numpy": "nag.tanh(t)  # NumPy's functions, and np.tanh(t) of Tensors",
        "set_grad_enabled": "with nag.no_grad(): y = model(t)",
        "silu": "nag.functional.silu(t)",
        "set_printoptions": "with np.printoptions(precision=4): print(t)",
        "stop_gradient": "t.detach()",
        "utils": "for k in range(0, len(x), 32): batch = x[k : k + 32]  # no DataLoader",
        "vstack": "nag.concatenate([a, b], axis=0)",
    },
    "nanoautograd.autograd": {
        "Function": "f = nag.function(lambda a: a**3).defvjp(a=lambda g, a: 3 * g * a**2)",
        "backward": "h.sum().backward()",
        "functional": "nag.jacobian(nag.tanh)(x)",
        "no_grad": "with nag.no_grad(): y = model(t)",
        "set_detect_anomaly": "with nag.detect_anomaly(): h.sum().backward()",
    },
    "nanoautograd.cuda": {
        "device_count": "nag.cuda.is_available()",
        "empty_cache": "nag.cuda.free_memory",
        "max_memory_allocated": "nag.cuda.memory",
        "memory_allocated": "nag.cuda.memory",
    },
    "nanoautograd.functional": OF_FUNCTIONAL,
    "nanoautograd.nn": {
        **LOSSES,
        **LAYERS_OF_WINDOWS,
        "ELU": OF_FUNCTIONAL["elu"],
        "Flatten": "t.reshape(len(t), -1)",
        "GRUCell": "y, h_n = nag.nn.GRU(3, 4)(np.float32([[[1, 2, 3]]]))  # of one step",
        "LSTMCell": "y, (h_n, c_n) = nag.nn.LSTM(3, 4)(np.float32([[[1, 2, 3]]]))  # of one step",
        "LeakyReLU": OF_FUNCTIONAL["leaky_relu"],
        "LogSoftmax": "nag.functional.log_softmax(t, dim=-1)",
        "ModuleDict": 'model.heads = {"first": nag.nn.Linear(3, 2)}  # a dict will do',
        "ParameterDict": 'model.scales = {"first": nag.nn.Parameter(x)}  # a dict will do',
        "ParameterList": "model.weights = [nag.nn.Parameter(x)]  # a list will do",
        "RNNCell": "y, h_n = nag.nn.RNN(3, 4)(np.float32([[[1, 2, 3]]]))  # of one step",
        "Softmax": "nag.functional.softmax(t, dim=-1)",
        "Softplus": "nag.softplus(t)",
        "Transformer": "nag.nn.TransformerEncoderLayer(4, 2), nag.nn.TransformerDecoderLayer(4, 2)",
        "modules": "nag.nn.Module",
        "parameter": "nag.nn.Parameter(x)",
        "init": "model.weight.data[...] = np.random.default_rng(0).normal(size=(2, 3))",
        "utils": "nag.optim.clip_grad_norm_(model.parameters(), 1.0)",
    },
    "nanoautograd.optim": {
        **OTHER_OPTIMISERS,
        "clip_grad_norm": "nag.optim.clip_grad_norm_(model.parameters(), 1.0)",
        "lr_scheduler": 'optimizer.param_groups[0]["lr"] = nag.optim.learning_rate(0, 0.1, 100)',
        "swa_utils": "nag.optim.AveragedModel(model)",
    },
    "Tensor": {
        **OF_ARRAYS,
        "add": "a + b",
        "add_": "a += b",
        "argwhere": "nag.nonzero(t)",
        "at": "nag.index_put(t, 0, 1.0)",
        "bool": "t.astype(bool)",
        "contiguous": "t.copy()",
        "copy_": "a[...] = b",
        "cpu": 't.to("cpu")',
        "cuda": 't.to("cuda" if nag.cuda.is_available() else "cpu")',
        "detach_": "t = t.detach()",
        "dim": "t.ndim",
        "div_": "a /= b",
        "double": "t.astype(np.float64)",
        "erf": "nag.erf(t)",
        "expand": "nag.broadcast_to(t, (4, 2, 3))",
        "expand_as": "nag.broadcast_to(a, b.shape)",
        "fill": "t[...] = 0.5",
        "fill_": "t[...] = 0.5",
        "flip": "nag.flip(t, axis=0)",
        "float": "t.astype(np.float32)",
        "grad_fn": "nag.graph_text(t)",
        "half": "t.astype(np.float16)",
        "int": "t.astype(np.int32)",
        "is_contiguous": "t.data.flags.c_contiguous",
        "is_cuda": 't.device != "cpu"',
        "isfinite": "nag.isfinite(t)",
        "isinf": "nag.isinf(t)",
        "isnan": "nag.isnan(t)",
        "long": "t.astype(np.int64)",
        "mT": "t.swapaxes(-1, -2)",
        "masked_fill_": "t[t > 0] = 0.0",
        "mul_": "a *= b",
        "nbytes": "t.data.nbytes",
        "nonzero": "nag.nonzero(t)",
        "register_hook": "nag.autograd.grad(h.sum(), [h])  # the gradient as a value",
        "reshape_as": "a.reshape(b.shape)",
        "retain_grad": "nag.autograd.grad(h.sum(), [h])  # the gradient as a value",
        "roll": "nag.roll(t, 1, axis=0)",
        "sign": "nag.sign(t)",
        "stride": "t.data.strides",
        "sub_": "a -= b",
        "tile": "nag.tile(t, 2)",
        "type": "t.astype(np.float32)",
        "view": "t.reshape(3, 2)",
        "where": "nag.where(t > 0, t, 0.0)",
        "view_as": "a.reshape(b.shape)",
        "zero_": "t[...] = 0.0",
    },
    "Module": {
        "apply": "for _, m in model.named_modules(): print(m)",
        "buffers": "model.mean = np.zeros(3)  # an array, which is not saved",
        "children": "[m for _, m in model.named_modules()][1:]",
        "cpu": 'model.to("cpu")',
        "cuda": 'model.to("cuda" if nag.cuda.is_available() else "cpu")',
        "double": "nag.nn.Linear(3, 2, dtype=np.float64)",
        "float": "nag.nn.Linear(3, 2, dtype=np.float32)",
        "half": "nag.nn.Linear(3, 2, dtype=np.float16)",
        "modules": "[m for _, m in model.named_modules()]",
        "register_buffer": "model.mean = np.zeros(3)  # an array, which is not saved",
        "register_parameter": "model.scale = nag.nn.Parameter(x)",
    },
}


# Arguments of PyTorch by keyword, and what they are called here.
KEYWORDS = {
    "dim": ("axis", "axes"),
    "dims": ("axis", "axes"),
    "keepdim": ("keepdims",),
    "correction": ("ddof",),
    "shifts": ("shift",),
    "tensors": ("arrays",),
    "dim0": ("axis1",),
    "dim1": ("axis2",),
}
OTHERWISE = {
    "descending": "nag.flip(nag.sort(t), axis=-1), or nag.argsort(-t)",
    "unbiased": "ddof=1, to divide by n - 1, or ddof=0",
    "stable": 'kind="stable"',
}


def keyword_hint(f: Callable, given: dict[str, Any]) -> str:
    """What to write in place of keywords of PyTorch that f does not take; "" where there are none.
    (Of f(*args, **kwargs), which NumPy's function of its name computes, the arguments are its.)"""
    known = inspect.signature(f).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        known = inspect.signature(getattr(np, f.__name__)).parameters
    here, otherwise = [], []
    for key in [key for key in given if key not in known]:
        here += [f"{name}={given[key]!r:.40}" for name in KEYWORDS.get(key, ()) if name in known]
        otherwise += [OTHERWISE[key]] if key in OTHERWISE else []
    return "; ".join([", ".join(here)] * bool(here) + otherwise)


def explained(f: F) -> F:
    """A function of this package, with an error for PyTorch's keywords that says what to write. (A
    primitive says it itself, where it binds its arguments.)"""
    if not isinstance(f, FunctionType) or not _may_be_misnamed(f):
        return f

    @wraps(f)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return f(*args, **options)
        except TypeError:
            if options and (hint := keyword_hint(f, options)):
                raise TypeError(f"{f.__name__}: write {hint}") from None
            raise

    return cast(F, call)


def _may_be_misnamed(f: Callable) -> bool:
    here = {name for names in KEYWORDS.values() for name in names}
    return any(
        p.kind is p.VAR_KEYWORD or name in here
        for name, p in inspect.signature(f).parameters.items()
    )


def missing(what: str, name: str, instead: str | None, owner: Any) -> AttributeError:
    """The error for a name that the owner does not have."""
    text = f"{what} has no attribute {name!r}" + (f"; write {instead}" if instead else "")
    return AttributeError(text, name=name, obj=owner)


def explain_missing(kind: str) -> Callable:
    """`__getattr__` of a class, "Tensor" or "Module" in the table. Python calls it for what it has
    not found."""
    table = INSTEAD[kind]

    def __getattr__(self: Any, name: str) -> Any:
        if name in table:
            raise missing(f"{type(self).__name__!r} object", name, table[name], self)
        return object.__getattribute__(self, name)  # raises what Python would have raised

    return __getattr__


def public(module_name: str) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a module that people import: a name that is missing leads to
    the table, and completion shows what `__all__` lists."""
    module, table = sys.modules[module_name], INSTEAD[module_name]

    def __getattr__(name: str) -> Any:
        error = missing(f"module {module_name!r}", name, table.get(name), module)
        if name in table and _is_from_import():
            raise ImportError(str(error), name=module_name)  # of another, Python drops the text
        raise error

    def __dir__() -> list[str]:
        return sorted(module.__all__)

    return __getattr__, __dir__


def _is_from_import() -> bool:
    """Whether the line of the user that is at work is `from ... import ...`."""
    frame: Any = sys._getframe(1)
    while frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame = frame.f_back
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"
