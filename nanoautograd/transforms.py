"""Derivatives of functions, as functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp.

f takes Tensors (arrays that it is given become Tensors) and returns a Tensor, or a tuple of them.
An argument may be a nested list, tuple or dict of arrays, the weights of a model say; its gradient
has the same structure. (So a list of numbers is a list of scalars, and no array.) The transforms
nest: grad(grad(f)) is the second derivative.

All raise TypeError for an argument or a result that has no derivative, an integer say, or an f that
does not return Tensors, and ShapeError for values or directions of the wrong shape.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import Any, Concatenate, TypeVar, overload

import numpy as np

from .backends import array_namespace, is_array, is_float
from .core.backward import backpropagate, topological_order
from .core.grad_mode import enable_grad, is_grad_enabled
from .core.tensor import Leaf, Tensor, wrap
from .errors import ShapeError
from .ops import copy, reshape, stack, sum
from .safety.checks import seed
from .safety.data import DEEPEST, check_depth
from .safety.in_place import check_version
from .typing import ArrayLike, P, Shape

Tree = TypeVar("Tree", bound=dict | list | tuple)  # a nested argument, and its gradient

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


# ---- nested arguments


def _tree_map(f: Callable, tree: Any, *others: Any, deepest: int = DEEPEST) -> Any:
    """f applied to the arrays in a nested list, tuple or dict (and those at the same places)."""
    if isinstance(tree, (dict, list, tuple)):
        check_depth(deepest)
        below = partial(_tree_map, f, deepest=deepest - 1)
    if isinstance(tree, dict):
        return {k: below(v, *(o[k] for o in others)) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [below(*parts) for parts in zip(tree, *others, strict=True)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return f(tree, *others)


def _arrays(tree: Any) -> list:
    """The arrays in a nested argument, in order."""
    found: list = []
    _tree_map(found.append, tree)
    return found


# ---- one call of f


class _Input(Leaf):
    """The leaf of an input of one call of f; open while f runs, and closed afterwards.

    Two things keep nested calls apart. Each input is a copy with an edge of its own, made by
    `_as_input`, and the walk of a call calls only the rules that lead to the edges of its inputs.
    And a result keeps its history only if an open leaf can be reached from it: that of an outer
    call, or of a Tensor that requires a gradient. So grad(f)(1.0) is a constant without a graph.

    In grad(lambda x: x * grad(lambda y: x + y * y)(1.0)) the inner gradient, 2 y, depends on the
    inner leaf alone, which is closed: it is a constant. That of x * y * y, 2 x y, reaches the open
    leaf of x, and is differentiated again.
    """

    is_open = True


def _are_differentiated(tensors: Sequence) -> list[bool]:
    """For each of the Tensors, whether an open leaf, or that of a Tensor that requires a gradient,
    can be reached from it."""
    edges = [getattr(t, "_edge", None) for t in tensors]
    order = topological_order(list(filter(None, edges)))
    found = {node for node in order if not node.parents and getattr(node, "is_open", True)}
    if not found:
        return [False] * len(edges)
    for node in reversed(order):
        if any(edge is not None and edge[0] in found for edge in node.parents):
            found.add(node)
    return [edge is not None and edge[0] in found for edge in edges]


class _Call:
    """f(*args), recorded with respect to the arguments `argnums`."""

    def __init__(
        self,
        name: str,
        f: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        argnums: int | tuple[int, ...],
        has_aux: bool = False,
    ) -> None:
        _check_function(name, f)
        self.argnums = argnums if isinstance(argnums, tuple) else (argnums,)
        self.records = is_grad_enabled()  # if not, no result has a history
        leaves: list[_Input] = []
        args = list(args)
        with enable_grad():
            for i in self.argnums:
                if not -len(args) <= i < len(args):
                    raise ValueError(
                        f"{name}: there is no argument {i}; f was called with "
                        f"{len(args)} positional arguments"
                    )
                args[i] = _tree_map(lambda x: _as_input(x, name, leaves), args[i])
            self.args = [args[i] for i in self.argnums]
            self.inputs = [x for a in self.args for x in _arrays(a)]
            self.edges = [x._edge for x in self.inputs]  # now: f may assign into its input
            try:
                self.out = f(*args, **kwargs)
            finally:
                for leaf in leaves:
                    leaf.is_open = False
        self.aux = None
        if has_aux:
            self.out, self.aux = self.out
            self.aux = _tree_map(lambda y: self.results([y])[0], self.aux)
        self.several = isinstance(self.out, (tuple, list))
        self.outs = tuple(_output(y, name) for y in (self.out if self.several else (self.out,)))
        keep = _are_differentiated(self.outs) if self.records else [False] * len(self.outs)
        self.values, self.is_nested = _with_history(self.outs, keep), any(keep)

    def results(self, ys: Sequence) -> list:
        """Tensors as the caller gets them: with the history that they have outside of this call."""
        keep = _are_differentiated(ys) if self.records else [False] * len(ys)
        return _with_history(ys, keep)

    def value(self) -> Any:
        """What f returned."""
        return tuple(self.values) if self.several else self.values[0]

    def apply_vjp(self, gs: Sequence, create_graph: bool = False) -> list:
        """The gradients of the inputs, given those of the outputs; zeros where there is none. They
        are recorded if f, or one of gs, depends on something that is differentiated outside; with
        create_graph they all are, and the caller (jvp) decides which stay so."""
        pairs = [(y, g) for y, g in zip(self.outs, gs, strict=True) if y.requires_grad]
        nested = is_grad_enabled() and (self.is_nested or any(_are_differentiated(gs)))
        recorded = create_graph or nested
        seeds = [seed(y, g, wrap if recorded else None) for y, g in pairs]
        # (retain_graph is True: a vjp's pull may be called again.)
        ds = backpropagate([y._edge for y, _ in pairs], seeds, self.edges, True, recorded)
        ds = [_zeros(x) if d is None else d for x, d in zip(self.inputs, ds)]
        ds = [d if isinstance(d, Tensor) else wrap(d) for d in ds]
        return self.results(ds) if nested and not create_graph else ds

    def arranged(self, values: Iterable) -> tuple:
        """One value for each input, in the structure of the arguments."""
        values = iter(values)
        return tuple(_tree_map(lambda x: next(values), a) for a in self.args)


def _with_history(tensors: Sequence, keep: list[bool]) -> list:
    """The Tensors, those that do not keep their history without it."""
    return [
        t.detach() if isinstance(t, Tensor) and t.requires_grad and not kept else t
        for t, kept in zip(tensors, keep)
    ]


def _as_input(x: ArrayLike, name: str, leaves: list[_Input]) -> Tensor:
    """x as an input to differentiate with respect to: an edge of its own in the graph.

    It is a copy, so that f may assign into it. If x is being differentiated outside, the copy is
    recorded, and a gradient flows through it to x; else it gets a new leaf.
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    if not is_float(x.dtype):
        raise TypeError(
            f"{name}: cannot differentiate with respect to an argument of dtype "
            f"{x.dtype}; only floating-point ones have derivatives"
        )
    if x.requires_grad:
        return copy(x)
    leaves.append(_Input(x._array))
    return copy(wrap(x._array, (leaves[-1], 0), x._storage))


def _output(y: Any, name: str) -> Tensor:
    """What f returned, as a Tensor. An array is a result that does not depend on the inputs."""
    if not isinstance(y, Tensor):
        if not is_array(y) and not isinstance(y, np.generic):
            raise TypeError(
                f"{name}: f must return a Tensor, or a tuple of them; it returned "
                f"{type(y).__name__}"
            )
        y = wrap(y)
    if not is_float(y.dtype):
        raise TypeError(
            f"{name}: f returned a Tensor of shape {y.shape} and dtype {y.dtype}, which has no "
            "derivative; only floating-point results have (a comparison or a count has none)"
        )
    check_version(y, name)
    return y


def _zeros(x: Tensor) -> Any:
    return array_namespace(x._array).zeros_like(x._array)


def _shape_of(x: Any) -> Shape:
    return getattr(x, "shape", ())


def _sequences(name: str, primals: Any, tangents: Any) -> tuple[tuple, tuple]:
    """Both as tuples. Raises TypeError for an array, of which the rows would be arguments."""
    for x in (primals, tangents):
        if not isinstance(x, (tuple, list)):
            raise TypeError(
                f"{name}: primals and tangents are tuples, with one entry for each argument of f; "
                f"got {type(x).__name__}"
            )
    return tuple(primals), tuple(tangents)


def _check_tangents(name: str, tangents: Sequence, primals: Sequence) -> None:
    """Raises if the directions are not one array for each primal, and of its shape."""
    shapes = [_shape_of(v) for v in tangents], [_shape_of(x) for x in primals]
    if shapes[0] != shapes[1]:
        raise ShapeError(
            f"{name}: the tangents have the shapes {shapes[0]}, the primals "
            f"{shapes[1]}; each primal needs a tangent of its shape"
        )


def _check_function(name: str, f: Any) -> None:
    if not callable(f):
        hint = "; for the gradient of what is computed: nag.autograd.grad(loss, [w])"
        raise TypeError(
            f"{name}: f must be a function of Tensors, not {type(f).__name__}"
            + (hint if isinstance(f, Tensor) else "")
        )


def _check_argnums(name: str, f: Any, argnums: Any) -> None:
    _check_function(name, f)
    for i in argnums if isinstance(argnums, tuple) else (argnums,):
        if not isinstance(i, (int, np.integer)) or isinstance(i, bool):
            hint = f"; {name}(f) is a function, {name}(f)(x)" if hasattr(i, "shape") else ""
            raise TypeError(
                f"{name}: argnums is an integer, or a tuple of them; not {argnums!r}{hint}"
            )


# ---- the transforms (for checkers: of one Tensor, of a nested argument, of anything else)


@overload
def value_and_grad(
    f: Callable[Concatenate[Tensor, P], Any],
) -> Callable[Concatenate[ArrayLike, P], tuple[Tensor, Tensor]]: ...
@overload
def value_and_grad(
    f: Callable[Concatenate[Tree, P], Any],
) -> Callable[Concatenate[Tree, P], tuple[Tensor, Tree]]: ...
@overload
def value_and_grad(
    f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Any: ...
def value_and_grad(
    f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable:
    """A function that returns (f(...), its gradient), for an f whose value is a scalar.

    argnums: which argument to differentiate with respect to, or a tuple of several; the gradient
    is then a tuple. has_aux: f returns (value, anything), and this ((value, anything), gradient).

        >>> value_and_grad(lambda x: (x ** 2).sum())(np.array([1.0, 2.0]))
        (tensor(5.), tensor([2., 4.]))
    """
    _check_argnums("grad", f, argnums)

    @wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        call = _Call("grad", f, args, kwargs, argnums, has_aux)
        if call.several or call.out.size != 1:
            raise ShapeError(
                "grad: f must return one scalar; it returned "
                f"{[y.shape for y in call.outs]}; for others there are jacobian "
                "and vjp"
            )
        gradient = call.arranged(call.apply_vjp([None]))
        gradient = gradient if isinstance(argnums, tuple) else gradient[0]
        return ((call.value(), call.aux) if has_aux else call.value()), gradient

    return value_and_gradient


@overload
def grad(
    f: Callable[Concatenate[Tensor, P], Any],
) -> Callable[Concatenate[ArrayLike, P], Tensor]: ...
@overload
def grad(
    f: Callable[Concatenate[Tree, P], Any],
) -> Callable[Concatenate[Tree, P], Tree]: ...
@overload
def grad(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Any: ...
def grad(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of f; (gradient, aux) if f returns (value, aux)."""
    both = value_and_grad(f, argnums, has_aux)

    @wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, d = both(*args, **kwargs)
        return (d, value[1]) if has_aux else d

    return gradient


def vjp(f: Callable, *primals: Any) -> tuple[Any, Callable[[Any], tuple]]:
    """(f(*primals), pull), where pull(v) = (vᵀ J₁, vᵀ J₂, ...), for the Jacobian of each primal.

    v has the shape of f's value, or is a tuple of such. `pull` can be called any number of times.
    """
    call = _Call("vjp", f, primals, {}, tuple(range(len(primals))))

    def pull(v: Any) -> Any:
        return call.arranged(call.apply_vjp(v if call.several else (v,)))

    return call.value(), pull


def jvp(f: Callable, primals: Sequence, tangents: Sequence) -> tuple[Any, Any]:
    """(f(*primals), J v): the derivative of f in the direction of `tangents`.

    primals, tangents: sequences, one entry for each argument of f, of the same shapes.

    The vector-Jacobian product uᵀJ is linear in u, and its own transpose: differentiating
    ⟨uᵀJ, v⟩ with respect to u gives Jv. So every operation with a rule has this product too, at
    the price of two walks. (Townsend 2017, "A new trick for calculating Jacobian vector products".)
    """
    primals, tangents = _sequences("jvp", primals, tangents)
    call = _Call("jvp", f, primals, {}, tuple(range(len(primals))))
    vs = [v for t in tangents for v in _arrays(t)]
    _check_tangents("jvp", vs, call.inputs)
    with enable_grad():
        leaves = [_Input(y._array) for y in call.outs]
        # uᵀJ, recorded at u = 0: any u will do, since it is linear in u.
        us = [wrap(_zeros(y), (leaf, 0)) for y, leaf in zip(call.outs, leaves)]
        pulled = call.apply_vjp(us, create_graph=True)
    for leaf in leaves:
        leaf.is_open = False
    pairs = [(d, v) for d, v in zip(pulled, vs) if d.requires_grad]
    recorded = is_grad_enabled() and (call.is_nested or any(_are_differentiated(vs)))
    seeds = [seed(d, v, wrap if recorded else None) for d, v in pairs]
    # d⟨uᵀJ, v⟩/du = Jv
    ds = backpropagate([d._edge for d, _ in pairs], seeds, [u._edge for u in us], True, recorded)
    ds = [_zeros(y) if d is None else d for y, d in zip(call.outs, ds)]
    ds = [d if isinstance(d, Tensor) else wrap(d) for d in ds]
    ds = tuple(call.results(ds) if recorded else ds)
    return call.value(), ds if call.several else ds[0]


def jacobian(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns ∂f/∂x, of shape f(x).shape + x.shape, one walk for each row.

    argnums: as for `grad`; a tuple gives a tuple of Jacobians. f returns one Tensor.
    """
    _check_argnums("jacobian", f, argnums)

    @wraps(f)
    def jacobian_of_f(*args: Any, **kwargs: Any) -> Any:
        call = _Call("jacobian", f, args, kwargs, argnums)
        if call.several:
            raise TypeError("jacobian: f must return one Tensor")
        y = call.outs[0]
        rows = []
        for i in range(y.size):
            row = _zeros(y).reshape(-1)
            row[i] = 1
            rows.append(call.apply_vjp([row.reshape(y.shape)]))
        shapes = [y.shape + x.shape for x in call.inputs]
        full = [
            reshape(stack(ds), shape) if ds else wrap(_zeros(x).repeat(0).reshape(shape))
            for ds, shape, x in zip(zip(*rows) if rows else [()] * len(shapes), shapes, call.inputs)
        ]
        full = call.arranged(full)
        return full if isinstance(argnums, tuple) else full[0]

    return jacobian_of_f


def hessian(f: Callable, argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of a scalar f, of shape x.shape + x.shape.

    argnums: one integer; that argument is one array.
    """
    if not isinstance(argnums, int):
        raise TypeError(f"hessian: argnums must be one integer, not {argnums!r}")
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable, primals: Sequence, tangents: Sequence) -> tuple:
    """H v, the Hessian of a scalar f times a direction, without forming H: ∇⟨∇f, v⟩.

    primals, tangents: sequences, one entry per argument of f; so is the result.
    """
    primals, tangents = _sequences("hvp", primals, tangents)
    _check_tangents("hvp", _arrays(tangents), _arrays(primals))
    argnums = tuple(range(len(primals)))

    def slope(*primals: Any) -> Any:
        gradients = _arrays(grad(f, argnums)(*primals))
        total = 0
        for g, v in zip(gradients, _arrays(tangents), strict=True):
            total = total + sum(g * v)
        return total

    return grad(slope, argnums)(*primals)
