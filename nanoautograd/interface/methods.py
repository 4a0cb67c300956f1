"""What a Tensor can do: its operators, its methods, and NumPy's functions on it.

Each is an operation of `ops/` under another spelling; here is the list of spellings. (attached.pyi
declares them, for checkers and editors.)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..core.tensor import Tensor
from ..ops.indexing import assign
from ..safety.arguments import as_array, is_foreign
from ..safety.in_place import spare_old
from ..safety.names import explain_missing, explained
from ..typing import ArrayLike, ShapeLike

# ---- operators

OPERATORS = {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "truediv": ops.divide,
    "pow": ops.power,
    "matmul": ops.matmul,
    "mod": ops.remainder,
    "floordiv": ops.floor_divide,
}
COMPARISONS = {
    "eq": ops.equal,
    "ne": ops.not_equal,
    "lt": ops.less,
    "le": ops.less_equal,
    "gt": ops.greater,
    "ge": ops.greater_equal,
}
OF_ONE = {"neg": ops.negative, "pos": ops.positive, "abs": ops.abs, "invert": ops.invert}
BITWISE = {"and": ops.bitwise_and, "or": ops.bitwise_or, "xor": ops.bitwise_xor}


# Operands of an operator that need no second look.
USUAL = {bool, int, float, complex, np.ndarray, np.float32, np.float64, np.int64, list, tuple}


def _leaves_to(other: object) -> bool:
    """Whether an operator leaves it to the class of `other`, as Python asks of it: other is nothing
    to compute with, or it takes part in NumPy's protocol and can hold a Tensor (xarray's arrays).
    Arrays of other libraries know nothing of Tensors: the operation refuses them by name."""
    if not is_foreign(other):
        return False
    kind = type(other)
    return hasattr(kind, "__array_ufunc__") or not hasattr(kind, "__array__")


def _attach_operator(name: str, operation: Any) -> None:
    call = operation.__call__  # Python calls a method in less time than an instance

    def operator(self: Tensor, other: ArrayLike) -> Tensor:
        if isinstance(other, Tensor) or type(other) in USUAL or not _leaves_to(other):
            return call(self, other)
        return NotImplemented

    def reflected(self: Tensor, other: ArrayLike) -> Tensor:
        if type(other) in USUAL or not _leaves_to(other):
            return operation(other, self)
        return NotImplemented

    def in_place(self: Tensor, other: ArrayLike) -> Tensor:
        result = operation(self, other)
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise TypeError(
                f"a result of dtype {result.dtype} cannot be put into a Tensor of "
                f"dtype {self.dtype} in place; write t = t ... instead"
            )
        spare_old(result, self)
        assign(self, Ellipsis, result)
        return self

    setattr(Tensor, f"__{name}__", operator)
    if name not in COMPARISONS:
        setattr(Tensor, f"__r{name}__", reflected)
        setattr(Tensor, f"__i{name}__", in_place)


for _name, _operation in (OPERATORS | COMPARISONS | BITWISE).items():
    _attach_operator(_name, _operation)


def _attach_unary(name: str, operation: Any) -> None:
    def unary(self: Tensor) -> Tensor:
        return operation(self)

    unary.__name__ = unary.__qualname__ = name
    setattr(Tensor, name, unary)


for _name, _operation in OF_ONE.items():
    _attach_unary(f"__{_name}__", _operation)


def _T(self: Tensor) -> Tensor:
    """The Tensor with its axes reversed."""
    return ops.transpose(self)


Tensor.__getitem__, Tensor.__setitem__, Tensor.T = ops.getitem, assign, property(_T)

# ---- methods: the operation with the Tensor as its first argument

METHODS = (
    "abs",
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "clip",
    "copy",
    "cos",
    "cumsum",
    "diagonal",
    "dot",
    "exp",
    "log",
    "logsumexp",
    "matmul",
    "max",
    "mean",
    "min",
    "moveaxis",
    "norm",
    "permute",
    "prod",
    "ravel",
    "repeat",
    "round",
    "sigmoid",
    "sin",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "tanh",
    "to",
    "trace",
    "tril",
    "triu",
    "var",
)


def _attach_method(name: str) -> None:
    operation = explained(getattr(ops, name))

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return operation(self, *args, **kwargs)

    method.__name__, method.__doc__, method.__wrapped__ = name, operation.__doc__, operation
    setattr(Tensor, name, method)


for _name in METHODS:
    _attach_method(_name)


def _requires_grad(self: Tensor, value: bool = True) -> Tensor:
    """Sets `requires_grad` and returns the Tensor."""
    self.requires_grad = value
    return self


def _reshape(self: Tensor, *shape: ShapeLike) -> Tensor:
    """The Tensor in another shape: t.reshape(2, 3), t.reshape((2, 3)), t.reshape(-1)."""
    return ops.reshape(self, *shape)


def _transpose(self: Tensor, *axes: int | Sequence[int] | None) -> Tensor:
    """t.transpose(), t.transpose(1, 0, 2) or t.transpose((1, 0, 2)), as in NumPy."""
    return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)


def _round(self: Tensor, digits: int | None = None) -> Tensor:
    """round(t, 2): the operation `round`, and so a Tensor."""
    return ops.round(self, digits or 0)


Tensor.reshape, Tensor.transpose, Tensor.requires_grad_ = _reshape, _transpose, _requires_grad
Tensor.__round__ = _round


Tensor.__getattr__ = explain_missing("Tensor")

# ---- the functions of others


def _fabs(x: Any) -> Tensor:
    """|x|, of integers too as floating-point numbers:  x̄ = ȳ sign x."""
    dtype = np.fabs.resolve_dtypes((x.dtype, None))[-1]  # TypeError for complex numbers
    return ops.abs(x if x.dtype == dtype else ops.astype(x, dtype))


def _float_power(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """`power`, computed in float64 or a wider dtype."""
    return ops.power(*[x if isinstance(x, NUMBERS) else _in_float64(x) for x in (x1, x2)])


def _in_float64(x: Any) -> Tensor:
    x = as_array(x, "float_power")
    return ops.astype(x, np.float_power.resolve_dtypes((x.dtype, x.dtype, None))[-1])


NUMBERS = int, float, complex  # which promote nothing
NUMPY = {getattr(np, name): getattr(ops, name) for name in ops.__all__ if hasattr(np, name)}
NUMPY |= {
    np.linalg.norm: ops.norm,
    np.linalg.matmul: ops.matmul,
    np.linalg.outer: ops.outer,
    np.linalg.tensordot: ops.tensordot,
    np.amax: ops.max,
    np.amin: ops.min,
    np.absolute: ops.abs,
    np.fabs: _fabs,
    np.float_power: _float_power,
    np.concat: ops.concatenate,
    np.permute_dims: ops.transpose,
    np.linalg.trace: lambda x, offset=0: ops.trace(x, offset, -2, -1),
    np.linalg.diagonal: lambda x, offset=0: ops.diagonal(x, offset, -2, -1),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
}


def _without_rule(name: str) -> TypeError:
    return TypeError(
        f"{name} has no rule for Tensors; write it with operations that have one, as "
        "nag.concatenate, or, to compute it without a gradient, pass t.detach().numpy()"
    )


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """Called by NumPy for np.tanh(t), array * t and the like."""
    if any(_leaves_to(x) for x in inputs):
        return NotImplemented
    if method != "__call__" or ufunc not in NUMPY:
        raise _without_rule(
            f"numpy.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
        )
    if options:
        hint = "; `array -= t` calls it so: to change a weight w, write `w -= ...` within no_grad()"
        raise TypeError(
            f"numpy.{ufunc.__name__} on a Tensor takes no {', '.join(options)}=: the result is a "
            "new Tensor, with a gradient" + (hint if "out" in options else "")
        )
    return NUMPY[ufunc](*inputs)


def _array_function(self: Tensor, f: Any, types: Any, args: tuple, kwargs: dict) -> Any:
    """Called by NumPy for np.sum(t), np.concatenate([t, u]) and the like."""
    if f not in NUMPY:
        raise _without_rule(f"{f.__module__}.{f.__name__}")
    return NUMPY[f](*args, **kwargs)


def _torch_function(cls: type, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """Called by PyTorch for torch.sin(t), torch_tensor + t and the like: gradients do not pass."""
    name = getattr(f, "__name__", "a function")
    raise TypeError(
        f"PyTorch's {name} was given a Tensor of nanoautograd; gradients do not pass from one to "
        "the other. torch.from_dlpack(t.detach()) shares its memory; here functions have NumPy's "
        "names, nag.sin(t)"
    )


Tensor.__torch_function__ = classmethod(_torch_function)
Tensor.__array_ufunc__ = _array_ufunc
Tensor.__array_function__ = _array_function
