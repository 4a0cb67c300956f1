"""Functions of PyTorch's and JAX's arrays: their own automatic differentiation is checked.

    gradcheck(f, [x])                       where x is a torch.Tensor, or an array of JAX
    gradcheck(f, [x], framework="torch")    where x is an array of NumPy's

Everything else of a check is as for this package's own Tensors. The numbers that are moved are
float64: complex inputs and results count as pairs, (..., 2), of a real and an imaginary part. Of
z = a + ib, whose cotangent is u + iv, L changes by u da + v db; PyTorch's gradients are written so,
JAX's are their conjugates.

A library is imported only where it is asked for, or has been imported by whoever made the inputs.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from ..core.tensor import Tensor
from ..typing import Shape
from .budget import Spent
from .report import shape_guess
from .subjects import (
    BROADCAST,
    BY_COLUMNS,
    LOW,
    WITH_GAPS,
    Array,
    CheckRefused,
    Custom,
    Differentiated,
    Gradients,
    Ours,
    accepted,
    device_for,
    flat,
    noted,
    our_inputs,
    refuse_foreign_function,
    refuse_nested,
    wrong_dtype,
)

__all__ = ["subjects"]

PAIRS = "float64", "complex128"


class Subjects(NamedTuple):
    """What makes a subject of a function, for one library. make: with the inputs' own dtypes.
    exact: in float64. xs: the numbers at which it is checked. precision: the dtype of the inputs,
    the lowest if they have several."""

    make: Callable[[Callable[..., Any]], Differentiated]
    exact: Callable[[Callable[..., Any]], Differentiated]
    xs: list[Array]
    precision: str


def subjects(
    f: Callable[..., Any],
    inputs: list[Any],
    framework: str | None = None,
    backend: str | None = None,
) -> Subjects:
    """The Subjects of the library that differentiates f. Raises ValueError for an unknown
    framework, CheckRefused for inputs that are of several libraries or cannot be checked."""
    library = library_of(inputs, framework)
    if library and backend:
        raise ValueError(f"gradcheck: backend is for this package's arrays, not for {library}'s")
    if library == "torch":
        return torch_subjects(inputs)
    if library == "jax":
        return jax_subjects(inputs)
    refuse_foreign_function(f)
    device, arrays = device_for(inputs, backend), our_inputs(inputs)
    xs, precision = numbers(arrays, False)
    likes = [Tensor(a, device=device) for a in arrays]

    def make(g: Callable[..., Any]) -> Differentiated:
        return Differentiated(g, Ours(device), likes)

    return Subjects(make, lambda g: Differentiated(g, Ours(device)), xs, precision)


def library_of(inputs: list[Any], framework: str | None) -> str | None:
    """The name of the library of the inputs, or None for this package."""
    if framework not in (None, "torch", "jax"):
        raise ValueError(f"gradcheck: framework is 'torch', 'jax' or None; got {framework!r:.100}")
    found = {framework} if framework else set()
    for x in leaves_of(inputs):
        if "torch" in sys.modules and isinstance(x, sys.modules["torch"].Tensor):
            found.add("torch")
        elif "jax" in sys.modules and isinstance(x, sys.modules["jax"].Array):
            found.add("jax")
        elif isinstance(x, Tensor):
            found.add("nanoautograd")
    if len(found) > 1:
        raise CheckRefused(
            f"the inputs are of several libraries, {' and '.join(sorted(found))}: one of them "
            "differentiates, and it is given its own arrays, or NumPy's"
        )
    return next(iter(found - {"nanoautograd"}), None)


def leaves_of(inputs: list[Any]) -> Iterator[Any]:
    """Those of nested lists, tuples and dicts, and of what JAX knows as a pytree, such as a
    dataclass that is registered with it, if JAX is there."""
    for x in flat(inputs):
        if "jax" in sys.modules and not hasattr(x, "shape"):
            yield from sys.modules["jax"].tree_util.tree_leaves(x)
        else:
            yield x


def numbers(arrays: list[Array], pairs: bool = True) -> tuple[list[Array], str]:
    """(the arrays as the float64 numbers that are moved, the name of their dtype, the lowest), or
    CheckRefused. pairs: whether they may be complex."""
    lowest = next((name for name in LOW if any(a.dtype.name == name for a in arrays)), "float64")
    wide = [a.astype(np.float64) if a.dtype.name in LOW else a for a in arrays]
    return list(map(as_pairs, accepted(wide, PAIRS if pairs else PAIRS[:1]))), lowest


def as_pairs(a: Array) -> Array:
    """A complex array (...) as a real one (..., 2); a real one is itself."""
    return a if a.dtype.kind != "c" else np.stack([a.real, a.imag], axis=-1)


def as_complex(a: Array) -> Array:
    """The reverse."""
    return a[..., 0] + 1j * a[..., 1]


# ---- PyTorch


class Torch:
    """Tensors of PyTorch: see `Library` in subjects.py."""

    of = "PyTorch"
    recording = constant = nullcontext  # a function may differentiate within itself
    detached = ".detach(), .data, torch.tensor(...), no_grad"

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def tensor(self, x: Array, like: Any) -> Any:
        x = as_complex(x) if like.is_complex() else x
        # (dtype: a cotangent has that of its result, which may be a narrower one.)
        x = np.asarray(x, order="C")  # PyTorch copies, but for negative strides
        return self.torch.tensor(x, dtype=like.dtype, device=like.device)

    def numpy(self, t: Any) -> Array:
        if not t.is_complex() and t.dtype.itemsize < 4:
            t = t.float()  # NumPy has no bfloat16
        return as_pairs(np.array(t.numpy(force=True)))

    def is_tensor(self, y: Any) -> bool:
        return isinstance(y, self.torch.Tensor)

    def is_float(self, y: Any) -> bool:
        return y.is_floating_point() or y.is_complex()

    def grad(
        self, outs: Any, tensors: Sequence[Any], cotangents: Sequence[Any], **options: Any
    ) -> list[Any]:
        if not any(t.requires_grad for t in tensors):
            return [None] * len(tensors)
        gs = self.torch.autograd.grad(outs, tensors, cotangents, allow_unused=True, **options)
        return [g if g is None or g.layout == self.torch.strided else g.to_dense() for g in gs]

    def jvp(self, f: Callable[..., Any], tensors: Sequence[Any], tangents: Sequence[Any]) -> Any:
        return self.torch.func.jvp(f, tuple(tensors), tuple(tangents))[1]

    def other_leaves(self, outs: Any, tensors: Sequence[Any]) -> list[Shape]:
        nodes = dict.fromkeys(y.grad_fn for y in outs)
        waiting = list(nodes)
        for node in waiting:  # which grows
            for parent, _ in getattr(node, "next_functions", ()):
                if parent not in nodes:
                    nodes[parent] = None
                    waiting.append(parent)
        leaves = [node.variable for node in nodes if hasattr(node, "variable")]
        return [tuple(p.shape) for p in leaves if all(p is not t for t in tensors)]

    def custom(self, outs: Any) -> list[Custom]:
        return []


class TorchFunction(Differentiated):
    """A function of PyTorch's tensors, whose rules may be written for some layouts alone."""

    def compare_layouts(self, xs: list[Array], us: list[Array], gs: Gradients) -> None:
        """Gradients do not depend on how inputs and cotangents lie in memory."""
        others = {WITH_GAPS: _spread}
        if any(a.ndim > 1 for a in (*xs, *us)):
            others[BY_COLUMNS] = _by_columns
        for what, lay in others.items():
            with noted(what):
                found = self.laid_out(xs, us, lay)
                self.compare(xs, us, gs, found, f"is another one with {what}")
        if all(u.size < 2 for u in us):
            return  # nothing is broadcast
        ones = [np.ones(u.shape) for u in us]
        tensors = self.tensors(xs, True)  # no inputs are broadcast: they could not be moved
        outs = self.call(tensors)
        with_ones = self.pulled(tensors, outs, ones, _same)
        with noted(BROADCAST):
            found = self.pulled(tensors, outs, ones, _broadcast)
            self.compare(xs, ones, with_ones, found, f"is another one with {BROADCAST}")

    def laid_out(self, xs: list[Array], us: list[Array], lay: Callable[[Any], Any]) -> Gradients:
        tensors = [lay(t).detach().requires_grad_() for t in self.tensors(xs, False)]
        try:
            outs = self.call(tensors)
        except Spent:
            raise
        except Exception:  # f refuses such inputs, as `view` does: then such cotangents alone
            tensors = self.tensors(xs, True)
            outs = self.call(tensors)
        return self.pulled(tensors, outs, us, lay)

    def pulled(
        self, tensors: list[Any], outs: list[Any], us: list[Array], lay: Callable[[Any], Any]
    ) -> Gradients:
        """The gradients, of a graph that is kept."""
        pairs = [(y, u) for y, u in zip(outs, us) if y.requires_grad]
        if not pairs:
            return [None] * len(tensors)
        ys, given = zip(*pairs)
        laid = [lay(u) for u in self.cotangents(ys, given)]
        gs = self.library.grad(ys, tensors, laid, retain_graph=True)
        return [None if g is None else self.library.numpy(g) for g in gs]


def _same(t: Any) -> Any:
    return t


def _spread(t: Any) -> Any:
    larger = t.new_full((*t.shape, 2), float("nan"))
    larger[..., 0] = t
    return larger[..., 0]


def _by_columns(t: Any) -> Any:
    return t.mT.contiguous().mT if t.ndim > 1 else t


def _broadcast(t: Any) -> Any:
    return t.reshape(-1)[0].expand(t.shape) if t.numel() else t


def torch_subjects(inputs: list[Any]) -> Subjects:
    library = Torch()
    torch = library.torch
    refuse_nested(inputs)
    likes = [x.detach() if isinstance(x, torch.Tensor) else torch.as_tensor(x) for x in inputs]
    low = [getattr(torch, name) for name in LOW]
    for i, x in enumerate(likes):
        if x.dtype not in (torch.float64, torch.complex128, *low):
            raise wrong_dtype(i, x.dtype, True)
        if x.layout != torch.strided or x.is_quantized:
            raise CheckRefused(
                f"input {i} is a tensor of the layout {x.layout}, of which no single number can be "
                "moved; make it within the function, from a dense one"
            )
    exact = [x.double() if x.dtype in low else x for x in likes]
    # (Of themselves, and not of copies: overlapping memory is seen.)
    xs, _ = numbers([x.resolve_conj().resolve_neg().cpu().numpy() for x in exact])
    precision = next(
        (n for n in LOW if any(x.dtype == getattr(torch, n) for x in likes)), "float64"
    )
    return Subjects(
        lambda g: TorchFunction(g, library, likes),
        lambda g: TorchFunction(g, library, exact),
        xs,
        precision,
    )


# ---- JAX


class JaxFunction(Differentiated):
    """A function of JAX's arrays, which may be nested in pytrees. likes: for each leaf an array of
    its kind; tree: how they are nested."""

    likes: list[Any]

    def __init__(self, f: Callable[..., Any], likes: list[Any], tree: Any) -> None:
        import jax

        super().__init__(f, None, likes)
        self.jax, self.tree = jax, tree

    def leaves(self, *leaves: Any) -> list[Any]:
        """The floating results, as a function of the leaves of the arguments."""
        outs = self.jax.tree_util.tree_leaves(self.evaluate(*self.tree.unflatten(leaves)))
        for out in outs:
            if not isinstance(out, (self.jax.Array, np.ndarray, np.generic, float, int, complex)):
                raise CheckRefused(f"{self.name} returned {type(out).__name__}, no array of JAX")
        outs = list(map(self.jax.numpy.asarray, outs))
        return [y for y in outs if self.jax.numpy.issubdtype(y.dtype, self.jax.numpy.inexact)]

    def arrays(self, xs: list[Array], likes: Sequence[Any]) -> list[Any]:
        """NumPy's, which may be pairs, as JAX's."""
        return [self.array(x, like) for x, like in zip(xs, likes)]

    def array(self, x: Array, like: Any) -> Any:
        x = as_complex(x) if np.issubdtype(like.dtype, np.complexfloating) else x
        return self.jax.device_put(np.array(x, dtype=like.dtype), next(iter(like.devices())))

    def numpy(self, y: Any) -> Array:
        y = np.asarray(y)
        narrow = y.dtype.kind == "V" or y.dtype.itemsize < 4  # bfloat16
        return as_pairs(np.array(y, dtype=np.float32) if narrow else np.array(y))

    def values(self, xs: list[Array]) -> list[Array]:
        return [self.numpy(y) for y in self.leaves(*self.arrays(xs, self.likes))]

    def gradients(
        self, xs: list[Array], us: list[Array], elsewhere: list[Array] | None = None
    ) -> Gradients:
        outs, pull = self.jax.vjp(self.leaves, *self.arrays(xs, self.likes))
        self.recorded = list(map(self.numpy, outs))
        self.disturb(xs, elsewhere)

        def pulled(us: list[Array]) -> list[Any]:
            # Of a complex y JAX's cotangent is the conjugate; see the text above.
            return [g.conj() for g in pull([u.conj() for u in self.arrays(us, outs)])]

        gs = [self.examined(i, *pair) for i, pair in enumerate(zip(xs, pulled(us)))]
        self.compare_negated(xs, gs, us, lambda us: list(map(self.numpy, pulled(us))))
        return gs

    def examined(self, i: int, x: Array, g: Any) -> Array:
        g = self.numpy(g)
        if g.shape != x.shape:
            key = shape_guess(g.shape, x.shape)
            raise self.error(i, f"has shape {g.shape}, but the argument has {x.shape}", key)
        return g

    def once(self, xs: list[Array], us: list[Array] | None = None) -> Gradients:
        outs, pull = self.jax.vjp(self.leaves, *self.arrays(xs, self.likes))
        us = [np.ones(self.numpy(y).shape) for y in outs] if us is None else us
        return [self.numpy(g.conj()) for g in pull([u.conj() for u in self.arrays(us, outs)])]

    def jvp(self, xs: list[Array], vs: list[Array]) -> list[Array]:
        primals, tangents = self.arrays(xs, self.likes), self.arrays(vs, self.likes)
        return list(map(self.numpy, self.jax.jvp(self.leaves, primals, tangents)[1]))

    def compare_alone(self, xs: list[Array], us: list[Array], gs: Gradients) -> None:
        """Nothing: what JAX differentiates with respect to is not told to a rule."""

    def of_gradient(self, xs: list[Array], us: list[Array]) -> Differentiated:
        """As of `Differentiated`; there is one way to a gradient, and nothing to compare."""
        return JaxGradient(self, len(xs), self.leaves(*self.arrays(xs, self.likes)))

    def names(self, count: int) -> list[str]:
        """Those of the arguments, and the paths of their leaves: x, or params['w']."""
        leaves = self.jax.tree_util.tree_leaves_with_path(self.tree.unflatten(range(count)))
        arguments = super().names(max((path[0].idx for path, _ in leaves), default=0) + 1)
        rest = self.jax.tree_util.keystr
        return [arguments[path[0].idx] + rest(path[1:]) for path, _ in leaves]


class JaxGradient(JaxFunction):
    """The gradient of a JaxFunction, of its `count` leaves and of cotangents for `outs`."""

    def __init__(self, first: JaxFunction, count: int, outs: list[Any]) -> None:
        likes = [*first.likes, *outs]
        super().__init__(first.f, likes, first.jax.tree_util.tree_structure(tuple(likes)))
        self.first, self.count, self.calls = first, count, first.calls
        self.name = f"the gradient of {first.name}"

    def evaluate(self, *leaves: Any) -> Any:
        """The gradients, which counts as it calls the function."""
        _, pull = self.jax.vjp(self.first.leaves, *leaves[: self.count])
        return pull(list(leaves[self.count :]))

    def names(self, count: int) -> list[str]:
        return self.first.names(self.count) + [f"cotangent {k}" for k in range(count - self.count)]


def jax_subjects(inputs: list[Any]) -> Subjects:
    import jax

    config: Any = jax.config  # whose options are no attributes that a checker sees
    if not config.jax_enable_x64:
        raise CheckRefused(
            "JAX computes in float32 unless it is told otherwise, and finite differences need "
            'float64: jax.config.update("jax_enable_x64", True) before the first array is made'
        )
    leaves, tree = jax.tree_util.tree_flatten(tuple(inputs))
    for i, leaf in enumerate(leaves):
        if np.asarray(leaf).dtype.kind not in "biufcV":
            raise wrong_dtype(i, np.asarray(leaf).dtype)
    likes = list(map(jax.numpy.asarray, leaves))
    # (Copies: what cannot be written to may share memory, and be two arguments.)
    xs, precision = numbers(list(map(np.array, likes)))
    exact = [x.astype("float64") if x.dtype.name in LOW else x for x in likes]
    return Subjects(
        lambda g: JaxFunction(g, likes, tree),
        lambda g: JaxFunction(g, exact, tree),
        xs,
        precision,
    )
