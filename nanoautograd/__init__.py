"""nanoautograd: automatic differentiation, and the language models built on it, from scratch.

    import nanoautograd as nag

    x = nag.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x ** 2).sum()
    y.backward()
    x.grad                          # tensor([2., 4., 6.])

README.md beside this file is the map of the package, in the order in which to read it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import autograd, backends, kernels, ops
from .backends.memory import keep_memory
from .backends.threads import get_num_threads, set_num_threads
from .core.grad_mode import enable_grad, is_grad_enabled, no_grad
from .core.operation import function
from .core.tensor import Tensor
from .custom_vjp import custom_vjp, use_manual
from .errors import AnomalyError, GraphError, ShapeError
from .interface import deprecated, methods
from .interface.creation import arange, eye, full, linspace, ones, zeros
from .interface.dlpack import from_dlpack
from .interface.printing import graph_text
from .interface.torch_names import cat, clone, flatten, numel, unsqueeze
from .ops import *  # noqa: F403
from .safety import hooks
from .safety.anomaly import detect_anomaly
from .safety.names import explained, public
from .transforms import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .typing import ArrayLike, DTypeLike

if TYPE_CHECKING:
    from . import checkpoint, cuda, functional, nn, optim, testing, typing
    from .checkpoint import load, save
    from .functional import log_softmax, relu, softmax

__version__ = "0.2.0"

hooks.attach()

# Loaded when they are first asked for: `import nanoautograd` takes hardly longer than NumPy.
_LAZY = ("checkpoint", "cuda", "functional", "nn", "optim", "testing")
_LAZY_NAMES = dict.fromkeys(("save", "load"), "checkpoint")
_LAZY_NAMES |= dict.fromkeys(("log_softmax", "relu", "softmax"), "functional")

__all__ = [
    "AnomalyError",
    "GraphError",
    "ShapeError",
    "Tensor",
    "arange",
    "autograd",
    "backends",
    "cat",
    "checkpoint",
    "clone",
    "cuda",
    "custom_vjp",
    "detect_anomaly",
    "enable_grad",
    "eye",
    "flatten",
    "from_dlpack",
    "full",
    "function",
    "functional",
    "get_num_threads",
    "grad",
    "graph_text",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "keep_memory",
    "linspace",
    "load",
    "log_softmax",
    "nn",
    "no_grad",
    "numel",
    "ones",
    "optim",
    "relu",
    "save",
    "set_num_threads",
    "softmax",
    "tensor",
    "testing",
    "typing",
    "unsqueeze",
    "use_manual",
    "value_and_grad",
    "vjp",
    "zeros",
]
__all__ += ops.__all__

for _name in ops.__all__:
    globals()[_name] = explained(getattr(ops, _name))


def tensor(
    data: ArrayLike,
    *,
    requires_grad: bool = False,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Tensor:
    """A Tensor, as it is printed; the arguments are those of `Tensor`."""
    return Tensor(data, requires_grad=requires_grad, dtype=dtype, device=device)


_missing, __dir__ = public(__name__)


if not TYPE_CHECKING:  # a checker knows the names above, and finds what is missing

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return import_module(f".{name}", __name__)
        if name in _LAZY_NAMES:
            return getattr(import_module(f".{_LAZY_NAMES[name]}", __name__), name)
        if name in deprecated.NAMES:
            return deprecated.renamed(deprecated.NAMES, __name__, name)
        return _missing(name)
