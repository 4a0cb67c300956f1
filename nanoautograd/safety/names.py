"""Names that people know from PyTorch, NumPy or JAX and that are not here: what to type instead.

One table for all, and what follows from the names that are here, below it (`instead_of`): a name
in another module or in other letters, an in-place form, a function of NumPy's without a gradient
here. Each line of the table is code that runs, and a test runs it. In it t is a Tensor (2, 3), a
and b are (3, 3), h is on the way from leaves to a loss, i and labels hold integers, x is an array,
model a Module, and optimizer an optimiser of its parameters.

The rule behind it: random numbers come from NumPy; functions of arrays have NumPy's names, and
PyTorch's beside them where they are one line (interface/torch_names.py); layers, losses and
optimisers have PyTorch's.
"""

import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, wraps
from importlib import import_module
from types import FunctionType
from typing import Any, cast

import numpy as np

from ..typing import F

__all__ = [
    "INSTEAD",
    "explain_missing",
    "explained",
    "instead_of",
    "keyword_hint",
    "missing",
    "public",
]

NEW_NUMBERS = {
    "array": "nag.Tensor(x)",
    "as_tensor": "nag.Tensor(x)",
    "asarray": "nag.Tensor(x)",
    "bernoulli": "nag.Tensor((np.random.default_rng(0).random((2, 3)) < 0.5).astype(float))",
    "empty": "nag.Tensor(np.empty((2, 3)))",
    "empty_like": "nag.zeros_like(t)",
    "from_numpy": "nag.Tensor(x)",
    "fromfunction": "nag.Tensor(np.fromfunction(lambda i, j: i + j, (2, 3)))",
    "identity": "nag.eye(3)",
    "logspace": "nag.Tensor(np.logspace(0.0, 1.0, 5))",
    "manual_seed": "rng = np.random.default_rng(0); nag.nn.Linear(3, 2, rng=rng)",
    "meshgrid": 'np.meshgrid(np.arange(2.0), np.arange(3.0), indexing="ij")',
    "multinomial": "np.random.default_rng(0).choice(3, size=5, p=[0.5, 0.3, 0.2])",
    "normal": "nag.Tensor(np.random.default_rng(0).normal(size=(2, 3)))",
    "rand": "nag.Tensor(np.random.default_rng(0).random((2, 3)))",
    "rand_like": "nag.Tensor(np.random.default_rng(0).random(t.shape))",
    "randint": "nag.Tensor(np.random.default_rng(0).integers(10, size=(2, 3)))",
    "randint_like": "nag.Tensor(np.random.default_rng(0).integers(10, size=t.shape))",
    "randn": "nag.Tensor(np.random.default_rng(0).normal(size=(2, 3)))",
    "randn_like": "nag.Tensor(np.random.default_rng(0).normal(size=t.shape))",
    "random": "rng = np.random.default_rng(0)",
    "randperm": "np.random.default_rng(0).permutation(10)",
    "scalar_tensor": "nag.Tensor(0.5)",
    "tri": "nag.Tensor(np.tri(3))",
}
CONSTANTS = {
    "BoolTensor": "nag.Tensor(x, dtype=bool)",
    "DoubleTensor": "nag.Tensor(x, dtype=np.float64)",
    "FloatTensor": "nag.Tensor(x, dtype=np.float32)",
    "Generator": "rng = np.random.default_rng(0)",
    "HalfTensor": "nag.Tensor(x, dtype=np.float16)",
    "IntTensor": "nag.Tensor(x, dtype=np.int32)",
    "LongTensor": "nag.Tensor(x, dtype=np.int64)",
    "Size": "t.shape",
    "bfloat16": 'import ml_dtypes; nag.Tensor(x, dtype="bfloat16")',
    "bool": "nag.Tensor(x, dtype=bool)",
    "cdouble": "nag.Tensor(x, dtype=np.complex128)",
    "cfloat": "nag.Tensor(x, dtype=np.complex64)",
    "double": "nag.Tensor(x, dtype=np.float64)",
    "dtype": "np.dtype('float32')",
    "e": "np.e",
    "finfo": "np.finfo(t.dtype)",
    "float": "nag.Tensor(x, dtype=np.float32)",
    "float16": "nag.Tensor(x, dtype=np.float16)",
    "float32": "nag.Tensor(x, dtype=np.float32)",
    "float64": "nag.Tensor(x, dtype=np.float64)",
    "get_default_dtype": "t.dtype",
    "get_rng_state": "rng = np.random.default_rng(0); rng.bit_generator.state",
    "half": "nag.Tensor(x, dtype=np.float16)",
    "iinfo": "np.iinfo(i.dtype)",
    "inf": "np.inf",
    "int": "nag.Tensor(x, dtype=np.int32)",
    "int32": "nag.Tensor(x, dtype=np.int32)",
    "int64": "nag.Tensor(x, dtype=np.int64)",
    "long": "nag.Tensor(x, dtype=np.int64)",
    "nan": "np.nan",
    "ndarray": "nag.Tensor(x)",
    "newaxis": "t[:, None]",
    "pi": "np.pi",
    "promote_types": "np.promote_types(t.dtype, np.float32)",
    "seed": "rng = np.random.default_rng(0); nag.nn.Linear(3, 2, rng=rng)",
    "set_default_device": 'nag.Tensor(x, device="cpu"); model.to("cpu")',
    "set_default_dtype": "nag.Tensor(x, dtype=np.float32); nag.nn.Linear(3, 2, dtype=np.float64)",
    "short": "nag.Tensor(x, dtype=np.int16)",
    "typename": "t.dtype",
    "uint8": "nag.Tensor(x, dtype=np.uint8)",
}
# Of a module (as torch.unsqueeze) and of Tensors (as t.unsqueeze) alike.
OF_ARRAYS = {
    "absolute": "nag.abs(t)",
    "acos": "nag.arccos(t)",
    "acosh": "nag.log(1 + t + nag.sqrt(t * (2 + t)))  # of 1 + t",
    "addmm": "a + b @ a",
    "adjoint": "t.swapaxes(-1, -2)",
    "amax": "t.max(axis=0)",
    "amin": "t.min(axis=0)",
    "arccosh": "nag.log(1 + t + nag.sqrt(t * (2 + t)))  # of 1 + t",
    "arcsinh": "nag.log(t + nag.sqrt(t * t + 1))  # with fewer digits far below 0",
    "arctanh": "(nag.log1p(t) - nag.log1p(-t)) / 2",
    "argwhere": "np.stack(nag.nonzero(t), axis=1)",
    "asin": "nag.arcsin(t)",
    "asinh": "nag.log(t + nag.sqrt(t * t + 1))  # with fewer digits far below 0",
    "atan": "nag.arctan(t)",
    "atan2": "nag.arctan2(a, b)",
    "atanh": "(nag.log1p(t) - nag.log1p(-t)) / 2",
    "average": "(t * x).sum() / x.sum()  # x are the weights; t.mean() has none",
    "baddbmm": "a + b @ a",
    "bmm": "a @ b",
    "broadcast_tensors": "nag.broadcast_to(t, (4, 2, 3))",
    "cdist": "nag.norm(a[:, None] - b, axis=-1)",
    "cholesky": "np.linalg.cholesky(np.eye(3) + a.numpy() @ a.numpy().T)  # without a gradient",
    "chunk": "nag.split(t, 3, axis=1)",
    "clamp": "t.clip(0.0, 1.0)",
    "clamp_max": "nag.minimum(t, 1.0)",
    "clamp_min": "nag.maximum(t, 0.0)",
    "cumprod": "nag.exp(nag.cumsum(nag.log(t), axis=-1))  # of positive numbers",
    "deg2rad": "t * (np.pi / 180)",
    "det": "np.linalg.det(a.detach().numpy())  # without a gradient",
    "diag": "nag.diagonal(a); a[0] * np.eye(3)",
    "diff": "t[..., 1:] - t[..., :-1]",
    "dist": "nag.norm(a - b)",
    "div": "a / b",
    "eq": "a == b",
    "erfc": "1.0 - nag.erf(t)  # with fewer digits far above 0",
    "exp2": "2.0**t",
    "fabs": "nag.abs(t)",
    "fliplr": "nag.flip(t, axis=1)",
    "flipud": "nag.flip(t, axis=0)",
    "float_power": "t.astype(np.float64) ** 2",
    "fmod": "t - nag.trunc(t / 0.7) * 0.7",
    "frac": "t - nag.trunc(t)",
    "gather": "nag.take_along_axis(t, i, axis=1)",
    "ge": "a >= b",
    "gt": "a > b",
    "hypot": "nag.sqrt(a * a + b * b)",
    "index_add": "t + nag.scatter_add(a, [1, 0, 1], t.shape)",
    "index_select": "nag.take(t, [1, 0], axis=0)",
    "inner": "nag.tensordot(a, b, ((-1,), (-1,)))",
    "inverse": "np.linalg.inv(b.detach().numpy() + np.eye(3))  # without a gradient",
    "is_complex": 't.dtype.kind == "c"',
    "is_floating_point": 't.dtype.kind == "f"',
    "is_nonzero": "bool(a[0, 0] != 0)",
    "isneginf": "t == -np.inf",
    "isposinf": "t == np.inf",
    "kron": "(a[:, None, :, None] * b[None, :, None]).reshape(9, 9)",
    "kthvalue": "nag.sort(t, axis=-1)[..., 1]",
    "le": "a <= b",
    "lerp": "a + 0.3 * (b - a)",
    "log10": "nag.log(t) / np.log(10.0)",
    "log2": "nag.log(t) / np.log(2.0)",
    "logaddexp": "nag.maximum(a, b) + nag.log1p(nag.exp(-nag.abs(a - b)))",
    "logit": "nag.log(t / (1.0 - t))",
    "lt": "a < b",
    "masked_fill": "nag.where(t > 0, 0.0, t)",
    "masked_select": "t[t > 0]",
    "matrix_transpose": "t.swapaxes(-1, -2)",
    "median": "nag.sort(t, axis=-1)[..., t.shape[-1] // 2]  # of an odd number",
    "mm": "a @ b",
    "mod": "a % b",
    "movedim": "nag.moveaxis(t, 0, 1)",
    "mul": "a * b",
    "mv": "a @ b[0]",
    "nan_to_num": "nag.where(nag.isnan(t), 0.0, t)",
    "nanmean": "t[~nag.isnan(t)].mean()",
    "nansum": "nag.where(nag.isnan(t), 0.0, t).sum()",
    "narrow": "t[:, 1:3]",
    "ne": "a != b",
    "neg": "-t",
    "permute_dims": "nag.transpose(t, (1, 0))",
    "pow": "t**2",
    "put_along_axis": "nag.index_put(t, (np.arange(2)[:, None], i), 1.0)",
    "qr": "np.linalg.qr(t.detach().numpy())  # without a gradient",
    "rad2deg": "t * (180 / np.pi)",
    "repeat_interleave": "nag.repeat(t, 2, axis=0)",
    "rsqrt": "1.0 / nag.sqrt(t)",
    "rsub": "b - a",
    "scatter": "nag.index_put(t, (np.arange(2)[:, None], i), 1.0)",
    "select": "t[:, 1]",
    "sgn": "nag.sign(t)",
    "std_mean": "t.std(ddof=1), t.mean()",
    "sub": "a - b",
    "svd": "np.linalg.svd(t.detach().numpy())  # without a gradient",
    "swapdims": "t.swapaxes(0, 1)",
    "t": "t.T",
    "take_along_dim": "nag.take_along_axis(t, i, axis=1)",
    "topk": "k = nag.argsort(-t)[..., :2]; nag.take_along_axis(t, k, axis=-1)",
    "true_divide": "a / b",
    "unbind": "[*t]",
    "unflatten": "t.reshape(2, 3, 1)",
    "unstack": "[*t]",
    "var_mean": "t.var(ddof=1), t.mean()",
    "vdot": "(a * b).sum()",
    "xlogy": "nag.where(a == 0, 0.0, a * nag.log(nag.where(a == 0, 1.0, b)))",
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
    "CosineEmbeddingLoss": "1 - (a * b).sum(-1) / (nag.norm(a, axis=-1) * nag.norm(b, axis=-1))",
    "GaussianNLLLoss": "((nag.log(b) + (a - x[0]) ** 2 / b) / 2).mean()  # b are the variances",
    "HuberLoss": "d = nag.abs(a - b); nag.where(d < 1, d * d / 2, d - 0.5).mean()",
    "KLDivLoss": "(b * (nag.log(b) - a)).sum() / len(a)  # a are logarithms of probabilities",
    "L1Loss": "nag.abs(a - b).mean()",
    "MarginRankingLoss": "nag.maximum(b - a + 0.1, 0.0).mean()",
    "NLLLoss": "nag.nn.CrossEntropyLoss()(a, labels)  # of scores, without log_softmax",
    "PoissonNLLLoss": "(nag.exp(a) - b * a).mean()",
    "SmoothL1Loss": "d = nag.abs(a - b); nag.where(d < 1, d * d / 2, d - 0.5).mean()",
    "TripletMarginLoss": "(1 + nag.norm(a - b, axis=-1) - nag.norm(a, axis=-1)).clip(0.0).mean()",
}
OF_FUNCTIONAL = {
    **WINDOWS,
    "binary_cross_entropy": "nag.functional.binary_cross_entropy_with_logits(a, b)  # of scores a",
    "celu": "nag.where(t > 0, t, nag.expm1(nag.minimum(t, 0.0)))",
    "cosine_similarity": "(a * b).sum(-1) / (nag.norm(a, axis=-1) * nag.norm(b, axis=-1))",
    "elu": "nag.where(t > 0, t, nag.expm1(nag.minimum(t, 0.0)))",
    "gaussian_nll_loss": LOSSES["GaussianNLLLoss"],
    "glu": "a[:, :1] * nag.sigmoid(a[:, 1:2])",
    "gumbel_softmax": "nag.functional.softmax(t + np.random.default_rng(0).gumbel(size=t.shape))",
    "hardsigmoid": "(t / 6 + 0.5).clip(0.0, 1.0)",
    "hardswish": "t * (t / 6 + 0.5).clip(0.0, 1.0)",
    "hardtanh": "t.clip(-1.0, 1.0)",
    "huber_loss": LOSSES["HuberLoss"],
    "interpolate": "nag.repeat(t, 2, axis=-1)  # the nearest; there is no other",
    "kl_div": LOSSES["KLDivLoss"],
    "l1_loss": LOSSES["L1Loss"],
    "leaky_relu": "nag.maximum(t, 0.01 * t)",
    "logsigmoid": "-nag.softplus(-t)",
    "margin_ranking_loss": LOSSES["MarginRankingLoss"],
    "mish": "t * nag.tanh(nag.softplus(t))",
    "multilabel_soft_margin_loss": "nag.functional.binary_cross_entropy_with_logits(a, b)",
    "nll_loss": "nag.functional.cross_entropy(a, labels)  # of scores, without log_softmax",
    "normalize": "t / nag.norm(t, axis=-1, keepdims=True)",
    "one_hot": "np.eye(3, dtype=np.float32)[labels]  # losses take the class numbers themselves",
    "pad": "nag.pad(t, ((0, 0), (1, 1)))",
    "pairwise_distance": "nag.norm(a - b, axis=-1)",
    "poisson_nll_loss": LOSSES["PoissonNLLLoss"],
    "prelu": "nag.where(t > 0, t, 0.25 * t)  # 0.25 may be a Parameter",
    "relu6": "t.clip(0.0, 6.0)",
    "selu": "1.05070098 * nag.where(t > 0, t, 1.67326324 * nag.expm1(nag.minimum(t, 0.0)))",
    "smooth_l1_loss": LOSSES["SmoothL1Loss"],
    "soft_margin_loss": "nag.softplus(-a * b).mean()",
    "softmin": "nag.functional.softmax(-t, dim=-1)",
    "softsign": "t / (1.0 + nag.abs(t))",
    "swish": "nag.functional.silu(t)",
    "tanhshrink": "t - nag.tanh(t)",
    "threshold": "nag.where(t > 0.1, t, 0.0)",
    "triplet_margin_loss": LOSSES["TripletMarginLoss"],
}
OTHER_OPTIMISERS = dict.fromkeys(
    "ASGD Adadelta Adafactor Adagrad Adamax LBFGS NAdam RAdam RMSprop Rprop SparseAdam".split(),
    "nag.optim.Adam(model.parameters())  # or one of your own: nanoautograd/optim/README.md",
)
INSTEAD: dict[str, dict[str, str]] = {
    "nanoautograd": {
        **NEW_NUMBERS,
        **CONSTANTS,
        **OF_ARRAYS,
        "Parameter": "nag.nn.Parameter(x)",
        "Variable": "nag.Tensor(x, requires_grad=True)",
        "autocast": "model = nag.nn.Linear(3, 2, dtype=np.float16)",
        "compile": "f = model  # runs as it is",
        "concat": "nag.concatenate([a, b], axis=0)",
        "custom_jvp": "f = nag.function(lambda a: a**3).defvjp(a=lambda g, a: 3 * g * a**2)",
        "default_backend": "nag.backends.available()",
        "device": 'nag.Tensor(x, device="cpu"); nag.to(t, "cpu")',
        "device_get": "t.numpy()",
        "device_put": 't.to("cpu")',
        "devices": "nag.backends.available()",
        "distributed": "model(t)  # of one device",
        "fft": "np.fft.fft(t.detach().numpy())  # without a gradient",
        "func": "nag.grad(lambda t: nag.sum(t * t))(x)",
        "hstack": "nag.concatenate([a, b], axis=1)",
        "inference_mode": "with nag.no_grad(): y = model(t)",
        "is_tensor": "isinstance(t, nag.Tensor)",
        "jacfwd": "nag.jacobian(nag.tanh)(x)",
        "jacrev": "nag.jacobian(nag.tanh)(x)",
        "jit": "f = model  # runs as it is",
        "lax": "nag.tanh(t)  # NumPy's functions; loops are Python's",
        "linalg": "nag.norm(t); np.linalg.det(a.detach().numpy())  # no gradient of det",
        "linearize": "nag.jvp(nag.tanh, (t,), (t,))",
        "make_jaxpr": "print(nag.graph_text(h))",
        "ndim": "t.ndim",
        "numpy": "nag.tanh(t)  # NumPy's functions, and np.tanh(t) of Tensors",
        "pmap": "[nag.tanh(row) for row in t]",
        "set_grad_enabled": "with nag.no_grad(): y = model(t)",
        "set_printoptions": "with np.printoptions(precision=4): print(t)",
        "shape": "t.shape",
        "size": "t.size",
        "special": "nag.logsumexp(t); nag.erf(t)",
        "stop_gradient": "t.detach()",
        "tree": "{name: p * 2 for name, p in model.named_parameters()}",
        "tree_util": "{name: p * 2 for name, p in model.named_parameters()}",
        "utils": "for k in range(0, len(x), 32): batch = x[k : k + 32]  # no DataLoader",
        "vmap": "nag.tanh(t)  # functions take axes in front; or a loop, and nag.stack",
        "vstack": "nag.concatenate([a, b], axis=0)",
    },
    "nanoautograd.autograd": {
        "Function": "f = nag.function(lambda a: a**3).defvjp(a=lambda g, a: 3 * g * a**2)",
        "Variable": "nag.Tensor(x, requires_grad=True)",
        "backward": "h.sum().backward()",
        "detect_anomaly": "with nag.detect_anomaly(): h.sum().backward()",
        "functional": "nag.jacobian(nag.tanh)(x)",
        "graph": "print(nag.graph_text(h))",
        "inference_mode": "with nag.no_grad(): y = model(t)",
        "no_grad": "with nag.no_grad(): y = model(t)",
        "profiler": "import cProfile; cProfile.run('1 + 1')",
        "set_detect_anomaly": "with nag.detect_anomaly(): h.sum().backward()",
        "set_grad_enabled": "with nag.no_grad(): y = model(t)",
    },
    "nanoautograd.cuda": {
        "CUDAGraph": "nag.cuda.capture",
        "amp": "nag.cuda.matmul_precision",
        "current_device": "t.device",
        "current_stream": "nag.cuda.synchronize",
        "device_count": "nag.cuda.is_available()",
        "empty_cache": "nag.cuda.free_memory",
        "get_device_name": "nag.backends.available()",
        "graph": "nag.cuda.capture",
        "manual_seed": "rng = np.random.default_rng(0); nag.nn.Linear(3, 2, rng=rng)",
        "manual_seed_all": "rng = np.random.default_rng(0); nag.nn.Linear(3, 2, rng=rng)",
        "max_memory_allocated": "nag.cuda.memory",
        "memory_allocated": "nag.cuda.memory",
        "memory_reserved": "nag.cuda.memory",
        "memory_summary": "nag.cuda.memory",
        "set_device": 'model.to("cuda:1" if nag.cuda.is_available() else "cpu")',
    },
    "nanoautograd.functional": OF_FUNCTIONAL,
    "nanoautograd.nn": {
        **LOSSES,
        **LAYERS_OF_WINDOWS,
        "Bilinear": 'nag.einsum("ni,oij,nj->no", t, np.ones((2, 3, 3)), t)',
        "CELU": OF_FUNCTIONAL["celu"],
        "CosineSimilarity": OF_FUNCTIONAL["cosine_similarity"],
        "DataParallel": "model(t)  # of one device",
        "Dropout1d": "nag.nn.Dropout(0.5)  # of single numbers",
        "Dropout2d": "nag.nn.Dropout(0.5)  # of single numbers",
        "ELU": OF_FUNCTIONAL["elu"],
        "EmbeddingBag": "nag.functional.embedding(labels, a).mean(axis=0)",
        "Flatten": "t.reshape(len(t), -1)",
        "GLU": OF_FUNCTIONAL["glu"],
        "GRUCell": "y, h_n = nag.nn.GRU(3, 4)(np.float32([[[1, 2, 3]]]))  # of one step",
        "Hardsigmoid": OF_FUNCTIONAL["hardsigmoid"],
        "Hardswish": OF_FUNCTIONAL["hardswish"],
        "Hardtanh": OF_FUNCTIONAL["hardtanh"],
        "LSTMCell": "y, (h_n, c_n) = nag.nn.LSTM(3, 4)(np.float32([[[1, 2, 3]]]))  # of one step",
        "LazyLinear": "nag.nn.Linear(3, 2)",
        "LeakyReLU": OF_FUNCTIONAL["leaky_relu"],
        "LogSigmoid": OF_FUNCTIONAL["logsigmoid"],
        "LogSoftmax": "nag.functional.log_softmax(t, dim=-1)",
        "Mish": OF_FUNCTIONAL["mish"],
        "ModuleDict": 'model.heads = {"first": nag.nn.Linear(3, 2)}  # a dict will do',
        "MultiLabelSoftMarginLoss": "nag.nn.BCEWithLogitsLoss()(a, b)",
        "PReLU": OF_FUNCTIONAL["prelu"],
        "PairwiseDistance": OF_FUNCTIONAL["pairwise_distance"],
        "ParameterDict": 'model.scales = {"first": nag.nn.Parameter(x)}  # a dict will do',
        "ParameterList": "model.weights = [nag.nn.Parameter(x)]  # a list will do",
        "RNNCell": "y, h_n = nag.nn.RNN(3, 4)(np.float32([[[1, 2, 3]]]))  # of one step",
        "ReLU6": OF_FUNCTIONAL["relu6"],
        "SELU": OF_FUNCTIONAL["selu"],
        "SoftMarginLoss": OF_FUNCTIONAL["soft_margin_loss"],
        "Softmax": "nag.functional.softmax(t, dim=-1)",
        "Softmax2d": "nag.functional.softmax(t, dim=-1)",
        "Softmin": OF_FUNCTIONAL["softmin"],
        "Softsign": OF_FUNCTIONAL["softsign"],
        "Tanhshrink": OF_FUNCTIONAL["tanhshrink"],
        "Transformer": "nag.nn.TransformerEncoderLayer(4, 2), nag.nn.TransformerDecoderLayer(4, 2)",
        "Unflatten": "t.reshape(2, 3, 1)",
        "Upsample": OF_FUNCTIONAL["interpolate"],
        "ZeroPad1d": OF_FUNCTIONAL["pad"],
        "ZeroPad2d": OF_FUNCTIONAL["pad"],
        "init": "model.weight.data[...] = np.random.default_rng(0).normal(size=(2, 3))",
        "modules": "nag.nn.Module",
        "parameter": "nag.nn.Parameter(x)",
        "utils": "nag.optim.clip_grad_norm_(model.parameters(), 1.0)",
    },
    "nanoautograd.optim": {
        **OTHER_OPTIMISERS,
        "clip_grad_norm": "nag.optim.clip_grad_norm_(model.parameters(), 1.0)",
        "clip_grad_value_": (
            "for p in model.parameters(): p.grad = None if p.grad is None else p.grad.clip(-1, 1)"
        ),
        "lr_scheduler": 'optimizer.param_groups[0]["lr"] = nag.optim.learning_rate(0, 0.1, 100)',
        "swa_utils": "nag.optim.AveragedModel(model)",
    },
    "Tensor": {
        **OF_ARRAYS,
        "add": "a + b",
        "add_": "a += b",
        "at": "nag.index_put(t, 0, 1.0)",
        "bernoulli_": "t[...] = np.random.default_rng(0).random(t.shape) < 0.5",
        "bfloat16": 'import ml_dtypes; t.astype("bfloat16")',
        "byte": "t.astype(np.uint8)",
        "char": "t.astype(np.int8)",
        "conj": "t  # of real numbers",
        "conjugate": "t  # of real numbers",
        "contiguous": "t.copy()",
        "copy_": "a[...] = b",
        "cpu": 't.to("cpu")',
        "cuda": 't.to("cuda" if nag.cuda.is_available() else "cpu")',
        "data_ptr": "t.data.ctypes.data",
        "detach_": "t = t.detach()",
        "div_": "a /= b",
        "element_size": "t.data.itemsize",
        "expand": "nag.broadcast_to(t, (4, 2, 3))",
        "expand_as": "nag.broadcast_to(a, b.shape)",
        "fill": "t[...] = 0.5",
        "fill_": "t[...] = 0.5",
        "flat": "t.ravel()",
        "flip": "nag.flip(t, axis=0)",
        "full": "nag.full_like(t, 0.5)",
        "get_device": "t.device",
        "grad_fn": "nag.graph_text(t)",
        "index_fill_": "t[:, [0, 2]] = 0.5",
        "is_contiguous": "t.data.flags.c_contiguous",
        "is_cpu": 't.device == "cpu"',
        "is_cuda": 't.device != "cpu"',
        "itemsize": "t.data.itemsize",
        "mT": "t.swapaxes(-1, -2)",
        "masked_fill_": "t[t > 0] = 0.0",
        "mul_": "a *= b",
        "nbytes": "t.data.nbytes",
        "ndimension": "t.ndim",
        "nelement": "t.size",
        "new_ones": "nag.ones(2, 3, dtype=t.dtype)",
        "new_tensor": "nag.Tensor(x, dtype=t.dtype)",
        "new_zeros": "nag.zeros(2, 3, dtype=t.dtype)",
        "normal_": "t[...] = np.random.default_rng(0).normal(size=t.shape)",
        "ones": "nag.ones_like(t)",
        "pin_memory": "t  # on the CPU as it is",
        "random_": "t[...] = np.random.default_rng(0).integers(10, size=t.shape)",
        "register_hook": "nag.autograd.grad(h.sum(), [h])  # the gradient as a value",
        "reshape_as": "a.reshape(b.shape)",
        "resize": "t.reshape(3, 2)",
        "resize_": "t = t.reshape(3, 2)",
        "retain_grad": "nag.autograd.grad(h.sum(), [h])  # the gradient as a value",
        "retains_grad": "nag.autograd.grad(h.sum(), [h])  # the gradient as a value",
        "roll": "nag.roll(t, 1, axis=0)",
        "share_memory_": "t  # between threads, not processes",
        "short": "t.astype(np.int16)",
        "squeeze_": "t = t.squeeze()",
        "storage": "t.data",
        "stride": "t.data.strides",
        "strides": "t.data.strides",
        "sub_": "a -= b",
        "swapaxes_": "t = t.swapaxes(0, 1)",
        "t_": "t = t.T",
        "tile": "nag.tile(t, 2)",
        "to_device": 't.to("cpu")',
        "tobytes": "t.numpy().tobytes()",
        "transpose_": "t = t.swapaxes(0, 1)",
        "type": "t.astype(np.float32)",
        "uniform_": "t[...] = np.random.default_rng(0).uniform(-1.0, 1.0, t.shape)",
        "unsqueeze_": "t = t[None]",
        "untyped_storage": "t.data",
        "view_as": "a.reshape(b.shape)",
        "where": "nag.where(t > 0, t, 0.0)",
        "zero_": "t[...] = 0.0",
        "zeros": "nag.zeros_like(t)",
    },
    "Optimizer": {
        "add_param_group": (
            'nag.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias]}])'
        ),
        "register_step_post_hook": "optimizer.step(); print(optimizer)  # there are no hooks",
        "register_step_pre_hook": "print(optimizer); optimizer.step()  # there are no hooks",
    },
    "nanoautograd.testing": {
        "assert_close": "np.testing.assert_allclose(a.numpy(), a.numpy(), rtol=1e-6)",
        "make_tensor": "nag.Tensor(np.random.default_rng(0).normal(size=(2, 3)))",
    },
    "Module": {
        "add_module": "model.second = nag.nn.Linear(2, 3)",
        "apply": "for _, m in model.named_modules(): print(m)",
        "bfloat16": "import ml_dtypes; nag.nn.Linear(3, 2, dtype='bfloat16')",
        "buffers": "model.mean = np.zeros(3)  # an array, which is not saved",
        "children": '[m for name, m in model.named_modules() if name and "." not in name]',
        "compile": "f = model  # runs as it is",
        "cpu": 'model.to("cpu")',
        "cuda": 'model.to("cuda" if nag.cuda.is_available() else "cpu")',
        "double": "nag.nn.Linear(3, 2, dtype=np.float64)",
        "float": "nag.nn.Linear(3, 2, dtype=np.float32)",
        "get_parameter": 'dict(model.named_parameters())["weight"]',
        "get_submodule": 'dict(model.named_modules())[""]',
        "half": "nag.nn.Linear(3, 2, dtype=np.float16)",
        "modules": "[m for _, m in model.named_modules()]",
        "named_buffers": "model.state_dict()  # of what is saved; there are no buffers",
        "named_children": '[n for n in model.named_modules() if n[0] and "." not in n[0]]',
        "register_buffer": "model.mean = np.zeros(3)  # an array, which is not saved",
        "register_forward_hook": "y = model(t); print(y)  # there are no hooks",
        "register_module": "model.second = nag.nn.Linear(2, 3)",
        "register_parameter": "model.scale = nag.nn.Parameter(x)",
        "reset_parameters": "model = nag.nn.Linear(3, 2, rng=0)  # a new one",
        "type": "nag.nn.Linear(3, 2, dtype=np.float32)",
    },
}


# ---- what follows from the names that are here

# Where a name is looked for, and how the place is written.
PLACES = {
    "nanoautograd": "nag",
    "nanoautograd.functional": "nag.functional",
    "nanoautograd.nn": "nag.nn",
    "nanoautograd.optim": "nag.optim",
    "nanoautograd.autograd": "nag.autograd",
    "nanoautograd.testing": "nag.testing",
    "nanoautograd.cuda": "nag.cuda",
    "Tensor": "t",
}
DISPATCHED = np.ufunc, type(np.median)  # functions of arrays, among NumPy's names


@cache
def instead_of(place: str, name: str) -> str | None:
    """What to type for a name that is missing in a place: a module, "Tensor", or another class of
    the table. None if nothing is known."""
    if name in INSTEAD.get(place, {}):
        return INSTEAD[place][name]
    if name.startswith("_") or place not in PLACES:
        return None
    return (
        _here(place, name)
        or _in_place(place, name)
        or _here(place, name, _plain)
        or _of_numpy(place, name)
    )


def _here(place: str, name: str, form: Callable[[str], str] = str) -> str | None:
    """The name as it stands in this place or, else, in another; `form` is what must agree of it."""
    for other in (place, *PLACES):
        for known, typed in _names(other):
            if form(known) == form(name):
                return typed if place != "Tensor" or other == place else _of_t(typed, known)
    return None


def _plain(name: str) -> str:
    """What is left of a name in other letters: `Relu`, `RMSProp`, `crossEntropy`."""
    return name.replace("_", "").lower()


def _names(place: str) -> Iterator[tuple[str, str]]:
    """The names of a place and of its table, each with what to type for it."""
    if place == "Tensor":
        tensor = import_module("nanoautograd.core.tensor").Tensor
        yield from ((name, f"t.{name}") for name in dir(tensor) if name[0] != "_")
    else:
        for name in import_module(place).__all__:
            yield name, f"{PLACES[place]}.{name}"
    yield from INSTEAD.get(place, {}).items()


def _of_t(typed: str, name: str) -> str:
    """The call of t that stands for the method t.name; `...` for what else the function takes."""
    module = import_module("nanoautograd" if typed == f"nag.{name}" else "nanoautograd.functional")
    f = getattr(module, name, None)
    if not typed.endswith(f".{name}") or not callable(f) or isinstance(f, type):
        return typed
    return f"{typed}({_arguments('t', getattr(np, name, f), f)})"


def _arguments(first: str, *fs: Any) -> str:
    """The first argument of a call, and `...` for more that must be given: by the first of these
    forms of the function that tells."""
    if isinstance(fs[0], np.ufunc):
        return first + ", ..." * (fs[0].nin > 1)
    needed = [p for p in _parameters(*fs).values() if p.default is p.empty]
    return first + ", ..." * (len(needed) > 1)


def _parameters(*fs: Any) -> Mapping[str, inspect.Parameter]:
    """Those of the first function that tells them: what NumPy has written in C does so from its
    version 2.4 on."""
    for f in fs:
        with suppress(ValueError):
            return inspect.signature(f).parameters
    return {}


def _in_place(place: str, name: str) -> str | None:
    """x.exp_() of PyTorch: what x.exp() is, written into x."""
    if name[-1:] != "_" or place not in ("nanoautograd", "nanoautograd.functional", "Tensor"):
        return None
    tensor = import_module("nanoautograd.core.tensor").Tensor
    typed = f"t.{name[:-1]}()" if hasattr(tensor, name[:-1]) else instead_of("Tensor", name[:-1])
    is_array = typed is not None and ("(" in typed or "-" in typed) and not {"#", ";"} & {*typed}
    return f"t[...] = {typed}" if is_array else None


def _of_numpy(place: str, name: str) -> str | None:
    """A type of numbers, or a function that NumPy has and that has no rule here."""
    found = getattr(np, name, None)
    if (
        place == "nanoautograd"
        and found in np.sctypeDict.values()
        and np.dtype(found).kind in "iufc"
    ):
        return f"nag.Tensor(x, dtype=np.{name})"
    if place not in ("nanoautograd", "Tensor") or not isinstance(found, DISPATCHED):
        return None
    arguments = _arguments("t.detach().numpy()", found)
    return f"np.{name}({arguments})  # without a gradient"


# Arguments by keyword as others call them, and what they are called here.
KEYWORDS = {
    "dim": ("axis", "axes"),
    "dims": ("axis", "axes"),
    "keepdim": ("keepdims",),
    "correction": ("ddof",),
    "shifts": ("shift",),
    "size": ("shape",),
    "end": ("stop",),
    "steps": ("num",),
    "tensors": ("arrays",),
    "dim0": ("axis1",),
    "dim1": ("axis2",),
    "axis": ("dim",),
}
OTHERWISE = {
    "descending": "nag.flip(nag.sort(t), axis=-1), or nag.argsort(-t)",
    "unbiased": "ddof=1, to divide by n - 1, or ddof=0",
    "stable": 'kind="stable"',
}


def keyword_hint(f: Callable, given: dict[str, Any]) -> str:
    """What to write in place of keywords of others that f does not take; "" where there are none.
    (Of f(*args, **kwargs), which NumPy's function of its name computes, the arguments are its.)"""
    known = inspect.signature(f).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        known = _parameters(getattr(np, f.__name__), f)
    here, otherwise = [], []
    for key in [key for key in given if key not in known]:
        here += [f"{name}={given[key]!r:.40}" for name in KEYWORDS.get(key, ()) if name in known]
        otherwise += [OTHERWISE[key]] if key in OTHERWISE else []
    return "; ".join([", ".join(here)] * bool(here) + otherwise)


def explained(f: F) -> F:
    """A function of this package, with an error for the keywords of others: what to write. (A
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
    """`__getattr__` of a class that the table names. Python calls it for what it has not found."""

    def __getattr__(self: Any, name: str) -> Any:
        if instead := instead_of(kind, name):
            raise missing(f"{type(self).__name__!r} object", name, instead, self)
        return object.__getattribute__(self, name)  # raises what Python would have raised

    return __getattr__


def public(module_name: str) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a module that people import: a name that is missing leads to
    what to type instead, and completion shows what `__all__` lists."""
    module = sys.modules[module_name]

    def __getattr__(name: str) -> Any:
        user = _user()
        asks = user.f_globals.get("__name__") != "importlib._bootstrap"  # not for a module's file
        instead = instead_of(module_name, name) if asks else None
        error = missing(f"module {module_name!r}", name, instead, module)
        if instead and dis.opname[user.f_code.co_code[user.f_lasti]] == "IMPORT_FROM":
            raise ImportError(str(error), name=module_name)  # of another, Python drops the text
        raise error

    def __dir__() -> list[str]:
        return sorted(module.__all__)

    return __getattr__, __dir__


def _user() -> Any:
    """The frame that asks this package for a name."""
    frame: Any = sys._getframe(1)
    while frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame = frame.f_back
    return frame


class _Finder:
    """Asked last for a module that nobody has found, as `nanoautograd.utils.data`."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        place, _, missed = name.rpartition(".")
        if place in PLACES and (instead := instead_of(place, missed)):
            raise ModuleNotFoundError(f"No module named {name!r}; write {instead}", name=name)


sys.meta_path.append(_Finder)
