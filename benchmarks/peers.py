"""The libraries that are compared, and how each one takes a step.

A Peer is used in a process of its own (worker.py). What differs between the libraries is here:
whether they are installed, how they are told the number of threads and the precision, how arrays
get in and out, how one waits for the device, and how a gradient and a training step are written in
them. Each is used as its manual shows it, without tuning. Which there are is in registry.py.
"""

import importlib
import os
import re
import shutil
import sys
from abc import ABC, abstractmethod
from importlib.util import find_spec

import numpy as np

from .case import LR


class Peer(ABC):
    """name: what it is called in options and tables. library: the methods of a Case that it runs.
    device: "cpu" or "cuda" ("strict": the fake of CuPy, in tests). dtype: of weights and
    inputs; precisions: what it offers for the option --dtype."""

    dtype = "float32"
    precisions = "float32", "float64"

    def __init__(self, name, library, device="cpu"):
        self.name, self.library, self.device = name, library, device

    def absent(self):
        """Why it cannot be used on this machine, or None. Imports nothing large."""
        return None if find_spec(self.library) else f"{self.library} is not installed"

    def environment(self, threads):
        """Variables for its process, which take effect before any library is loaded."""
        return {
            name: str(threads)
            for name in (
                "OMP_NUM_THREADS",
                "OPENBLAS_NUM_THREADS",
                "MKL_NUM_THREADS",
                "BLIS_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS",
                "NUMBA_NUM_THREADS",
            )
        }

    @abstractmethod
    def start(self, threads, precision):
        """Load the library. precision: "float32", ..., as in the option --dtype."""

    def fresh(self):
        """Forget what was compiled for another case."""

    def put(self, a):
        """A NumPy array as one of its own."""
        return a

    def put_all(self, tree):
        """The arrays in dicts and lists."""
        if isinstance(tree, dict):
            return {name: self.put_all(a) for name, a in tree.items()}
        return [self.put_all(a) for a in tree] if isinstance(tree, list) else self.put(tree)

    def get(self, result):
        """Back to NumPy, in double precision."""
        return np.asarray(result, dtype=np.float64)

    def wait(self, result=None):
        """Until all that was asked for is computed."""

    def versions(self):
        """{library: version} of what computes, for the report."""
        return {self.library: importlib.import_module(self.library).__version__}

    def blas(self):
        """What computes its products of matrices, for the report."""
        from threadpoolctl import threadpool_info

        pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
        return ", ".join(f"{p['internal_api']} {p.get('version')}" for p in pools) or "unknown"

    def peak(self):
        """The device's own account of the most memory in use since `forget_peak`, in bytes; None
        where there is no device but the processor, of whose memory the system keeps account."""

    def forget_peak(self):
        """Begin the account of `peak`."""


# --------------------------------------------------------------------------------------------- ours


class Ours(Peer):
    """nanoautograd on NumPy (device "cpu") or CuPy ("cuda")."""

    pool_peak = None  # while the account of CuPy's memory is kept

    @property
    def precisions(self):
        return "float32", "float64", *["tf32", "bfloat16"] * (self.device == "cuda")

    def absent(self):
        from nanoautograd.backends import available

        status = available()[{"cpu": "numpy", "cuda": "cupy", "strict": "strict"}[self.device]]
        return None if status.usable else status.detail

    def start(self, threads, precision):
        import nanoautograd
        import nanoautograd.nn
        import nanoautograd.optim

        self.module = nanoautograd
        self.prepare(threads)
        self.is_bfloat16 = precision == "bfloat16"
        if precision in ("tf32", "bfloat16"):
            nanoautograd.cuda.matmul_precision(precision)

    def prepare(self, threads):
        """As train.py does."""
        self.module.set_num_threads(threads)
        self.module.keep_memory()

    def put(self, a):
        return self.module.backends.to_device(a, self.device)

    def get(self, result):
        array = getattr(result, "data", result) if not isinstance(result, np.ndarray) else result
        return np.asarray(self.module.backends.to_numpy(array), dtype=np.float64)

    def wait(self, result=None):
        if self.device == "cuda":
            import cupy

            cupy.cuda.get_current_stream().synchronize()

    def blas(self):
        return "cuBLAS" if self.device == "cuda" else super().blas()

    def versions(self):
        versions = {"nanoautograd": self.module.__version__, "numpy": np.__version__}
        if self.device == "cuda":
            import cupy

            versions["cupy"] = cupy.__version__
        return versions

    def model(self, model, weights):
        """A Module with these weights, on the device; the arrays are let go."""
        model = model.to(self.device)
        model.load_state_dict(weights)
        weights.clear()
        return model

    def vjp(self, f, inputs, constants, dy):
        if self.is_bfloat16:
            import ml_dtypes

            inputs, dy = (
                [x.astype(ml_dtypes.bfloat16) for x in inputs],
                dy.astype(ml_dtypes.bfloat16),
            )
        xs = [self.module.Tensor(x, requires_grad=True) for x in inputs]

        def step():
            for x in xs:
                x.grad = None
            y = f(*xs, *constants)
            y.backward(dy)
            return y, *(x.grad for x in xs)

        return step

    def train(self, model, loss):
        optimizer = self.module.optim.Adam(model.parameters(), lr=LR)

        def step():
            optimizer.zero_grad()
            ell = loss()
            ell.backward()
            optimizer.step()
            return ell

        return step

    def train_by_hand(self, model, gradient):
        """gradient: -> the loss, and {name of a parameter: gradient}, arrays."""
        from nanoautograd.core.tensor import wrap

        parameters = dict(model.named_parameters())
        optimizer = self.module.optim.Adam(parameters.values(), lr=LR)

        def step():
            ell, gradients = gradient()
            for name, p in parameters.items():
                p.grad = wrap(gradients[name])
            optimizer.step()
            return ell

        return step

    def forget_peak(self):
        if self.device == "cuda":
            from .memory import PoolPeak

            if self.pool_peak:
                self.pool_peak.close()  # of a case that could not be built
            self.pool_peak = PoolPeak()

    def peak(self):
        if self.device == "cuda":
            pool_peak, self.pool_peak = self.pool_peak, None
            return pool_peak.close()


class Manual(Ours):
    """As it is written in nanoautograd/manual: what the fast forms gain."""

    def start(self, threads, precision):
        super().start(threads, precision)
        self.block = self.module.use_manual()  # kept: a block ends when its object goes
        self.block.__enter__()


class Captured(Ours):
    """nanoautograd on a GPU, a training step as one CUDA graph."""

    def train(self, model, loss):
        captured = self.module.cuda.capture(super().train(model, loss))

        def step():
            captured()
            return captured

        return step

    def get(self, result):
        """The loss of the last step; the others are not waited for. Or an array that it wrote."""
        if hasattr(result, "results"):
            return np.asarray(result.results(wait=True)[-1])
        return super().get(result)


# ------------------------------------------------------------------------------------------ PyTorch


class Torch(Peer):
    """PyTorch, eager, or with what is differentiated compiled by torch.compile."""

    precisions = "float32", "float64", "tf32", "bfloat16"

    def __init__(self, name, library, device="cpu", compiled=False):
        super().__init__(name, library, device)
        self.compiled = compiled

    def absent(self):
        if reason := super().absent():
            return reason
        if self.compiled and not shutil.which("g++"):
            return "torch.compile needs the compiler g++"
        if self.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                return "PyTorch finds no GPU"

    def start(self, threads, precision):
        import torch

        self.module = torch
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        # Where it is not asked for, cuDNN's recurrent networks would use it too.
        tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        self.mixed = precision == "bfloat16"

    def blas(self):
        """Linked into it, where nothing but its own account tells."""
        if self.device == "cuda":
            return "cuBLAS"
        account = self.module.__config__.show()
        name = account.partition("BLAS_INFO=")[2].partition(",")[0] or super().blas()
        version = re.search(r"Math Kernel Library Version (\S+)", account)
        return f"{name} {version[1]}" if name == "mkl" and version else name

    def put(self, a):
        return self.module.tensor(a, device=self.device)

    def get(self, result):
        return result.detach().to("cpu").double().numpy()

    def wait(self, result=None):
        if self.device == "cuda":
            self.module.cuda.synchronize()

    def fresh(self):
        if self.compiled:  # else it would compile the next sizes as one case of many
            self.module.compiler.reset()

    def differentiated(self, f):
        """f as it is to be run: in mixed precision, compiled."""
        if self.mixed:
            f = self.module.autocast(self.device, self.module.bfloat16)(f)
        return self.module.compile(f) if self.compiled else f

    def model(self, model, weights):
        """A torch.nn.Module, whose parameters are called as ours, with these weights, on the
        device; the arrays are let go."""
        model = model.to(self.device, getattr(self.module, self.dtype))
        model.load_state_dict(weights)
        weights.clear()
        return model

    def vjp(self, f, inputs, constants, dy):
        if self.compiled:
            f = self.module.compile(f)
        if self.mixed:
            inputs, dy = [x.bfloat16() for x in inputs], dy.bfloat16()
        xs = [x.requires_grad_() for x in inputs]

        def step():
            for x in xs:
                x.grad = None
            y = f(*xs, *constants)
            y.backward(dy)
            return y, *(x.grad for x in xs)

        return step

    def train(self, model, loss):
        optimizer = self.module.optim.Adam(model.parameters(), lr=LR)
        loss = self.differentiated(loss)

        def step():
            optimizer.zero_grad()
            ell = loss()
            ell.backward()
            optimizer.step()
            return ell

        return step

    def forget_peak(self):
        if self.device == "cuda":
            self.module.cuda.reset_peak_memory_stats()

    def peak(self):
        if self.device == "cuda":
            return self.module.cuda.max_memory_allocated()


# ------------------------------------------------------------------------------------- any function


class Function(Peer):
    """Functions of any library (functions.py)."""

    def absent(self):
        return None

    def start(self, threads, precision):
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)

    def versions(self):
        return {"numpy": np.__version__}

    def get(self, result):
        """An array of any library, or a number; complex ones as pairs."""
        if hasattr(result, "detach") and hasattr(result, "cpu"):
            result = result.detach().cpu()
        elif type(result).__module__.startswith(("nanoautograd", "cupy")):
            from nanoautograd.backends import to_numpy

            result = to_numpy(getattr(result, "data", result))
        array = np.asarray(result)
        if array.dtype.kind not in "biufcV":
            raise TypeError(f"results must be arrays or numbers, not {type(result).__name__}")
        return np.stack([array.real, array.imag]) if array.dtype.kind == "c" else super().get(array)

    def wait(self, result=None):
        for one in result if isinstance(result, tuple) else (result,):
            if hasattr(one, "block_until_ready"):
                one.block_until_ready()
        torch, cupy = (sys.modules.get(name) for name in ("torch", "cupy"))
        if torch and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        if cupy:
            cupy.cuda.get_current_stream().synchronize()


# --------------------------------------------------------------------- JAX and autograd: functional


def adam(sqrt, weights, gradients, m, v, t):
    """Adam's step number t, on dicts of arrays: the new weights, m and v."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    a, b = LR / (1 - beta1**t), 1 / (1 - beta2**t)
    m = {k: beta1 * m[k] + (1 - beta1) * g for k, g in gradients.items()}
    v = {k: beta2 * v[k] + (1 - beta2) * g * g for k, g in gradients.items()}
    return {k: w - a * m[k] / (sqrt(b * v[k]) + eps) for k, w in weights.items()}, m, v


class Jax(Peer):
    """JAX, the whole step jitted, its state donated."""

    def absent(self):
        if reason := super().absent():
            return reason
        if self.device == "cuda":
            import jax

            if jax.default_backend() != "gpu":
                return "JAX finds no GPU"

    def environment(self, threads):
        # Its own pool has a thread for each processor that the process may use (worker.py).
        flags = " --xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
        return {
            **super().environment(threads),
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + flags,
            "JAX_PLATFORMS": "cuda" if self.device == "cuda" else "cpu",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }

    def start(self, threads, precision):
        import jax

        self.module = jax
        jax.config.update("jax_enable_x64", precision == "float64")
        self.pending = None

    def blas(self):
        return "cuBLAS" if self.device == "cuda" else "XLA's own"

    def put(self, a):
        return self.module.numpy.asarray(a)

    def wait(self, result=None):
        self.module.block_until_ready((result, self.pending))

    def zeros(self, weights):
        """m and v of Adam at the beginning."""
        return [
            {k: self.put(np.zeros(w.shape, w.dtype)) for k, w in weights.items()} for _ in range(2)
        ]

    def vjp(self, f, inputs, constants, dy):
        def step(inputs, constants, dy):
            y, pull = self.module.vjp(lambda *xs: f(*xs, *constants), *inputs)
            return y, *pull(dy)

        step = self.module.jit(step)
        return lambda: step(inputs, constants, dy)

    def train(self, weights, loss, *data):
        """loss(weights, *data)."""
        jax = self.module

        def update(state, *data):
            weights, m, v, t = state
            ell, gradients = jax.value_and_grad(loss)(weights, *data)
            return ell, (*adam(jax.numpy.sqrt, weights, gradients, m, v, t + 1), t + 1)

        update = jax.jit(update, donate_argnums=0)
        self.pending = weights, *self.zeros(weights), jax.device_put(np.int32(0))

        def step():
            ell, self.pending = update(self.pending, *data)
            return ell

        return step

    def forget_peak(self):
        pass  # it counts from the beginning of the process

    def peak(self):
        if self.device == "cuda":
            return self.module.devices()[0].memory_stats()["peak_bytes_in_use"]


class Autograd(Peer):
    """HIPS autograd, on NumPy."""

    def start(self, threads, precision):
        import autograd
        import autograd.numpy

        self.module, self.autograd = autograd.numpy, autograd

    def versions(self):
        from importlib.metadata import version

        return {"autograd": version("autograd"), "numpy": np.__version__}

    def vjp(self, f, inputs, constants, dy):
        indices = list(range(len(inputs)))

        def step():
            pull, y = self.autograd.make_vjp(f, indices)(*inputs, *constants)
            return y, *pull(dy)

        return step

    def train(self, weights, loss, *data):
        gradient = self.autograd.value_and_grad(loss)
        state = weights, *({k: np.zeros_like(w) for k, w in weights.items()} for _ in range(2))
        t = 0

        def step():
            nonlocal state, t
            t += 1
            weights, m, v = state
            ell, gradients = gradient(weights, *data)
            state = adam(np.sqrt, weights, gradients, m, v, t)
            return ell

        return step
