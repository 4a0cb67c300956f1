"""Derivatives of functions, as functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp.

f takes Tensors (arrays that it is given become Tensors) and returns a Tensor, or a tuple of them.
An argument may be a nested list, tuple or dict of arrays, the weights of a model say; its gradient
has the same structure. (So a list of numbers is a list of scalars, and no array.) The transforms
nest: grad(grad(f)) is the second derivative.

All raise TypeError for an argument that has no derivative, an integer say, or an f that does not
return Tensors, and ShapeError for values or directions of the wrong shape.
"""

from functools import wraps

from .backends import namespace
from .graph import ShapeError, backpropagate, nodes_below
from .modes import enable_grad
from .ops import copy, reshape, stack, sum
from .tensor import Leaf, Tensor, array_of, is_float, shape_of, wrap

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


# ---- nested arguments


def _tree_map(f, tree, *others):
    """f applied to the arrays in a nested list, tuple or dict (and those at the same places)."""
    if isinstance(tree, dict):
        return {k: _tree_map(f, v, *(o[k] for o in others)) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [_tree_map(f, *parts) for parts in zip(tree, *others, strict=True)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return f(tree, *others)


def _arrays(tree):
    """The arrays in a nested argument, in order."""
    found = []
    _tree_map(found.append, tree)
    return found


# ---- one call of f


class _Call:
    """f(*args), recorded with respect to the arguments `argnums`."""

    def __init__(self, name, f, args, kwargs, argnums, has_aux=False):
        self.argnums = argnums if isinstance(argnums, tuple) else (argnums,)
        args = list(args)
        with enable_grad():
            for i in self.argnums:
                if not -len(args) <= i < len(args):
                    raise ValueError(
                        f"{name}: there is no argument {i}; f was called with "
                        f"{len(args)} positional arguments"
                    )
                args[i] = _tree_map(lambda x: _input(x, name), args[i])
            self.args = [args[i] for i in self.argnums]
            self.inputs = [x for a in self.args for x in _arrays(a)]
            self.edges = [x._edge for x in self.inputs]  # now: f may assign into its input
            self.out = f(*args, **kwargs)
        self.aux = None
        if has_aux:
            self.out, self.aux = self.out
        self.several = isinstance(self.out, (tuple, list))
        self.outs = tuple(_output(y, name) for y in (self.out if self.several else (self.out,)))
        # Is this call part of a larger differentiation? Then its results must be recorded too.
        own = {leaf for node, _ in self.edges for leaf, _ in node.parents if type(leaf) is _Input}
        roots = [y._edge for y in self.outs if y._edge is not None]
        self.nested = any(isinstance(n, Leaf) and n not in own for n in nodes_below(roots))

    def value(self):
        """What f returned, linked only to what is differentiated outside of this call."""
        values = self.outs if self.nested else tuple(y.detach() for y in self.outs)
        return values if self.several else values[0]

    def pull_back(self, gs, create_graph=False):
        """The gradients of the inputs, given those of the outputs; zeros where there is none."""
        create_graph = create_graph or self.nested
        pairs = [
            (y._edge, y._seed(g, create_graph))
            for y, g in zip(self.outs, gs, strict=True)
            if y._edge is not None
        ]
        ds = backpropagate(
            [edge for edge, _ in pairs], [g for _, g in pairs], self.edges, True, create_graph
        )
        return [
            wrap(_zeros(x)) if d is None else d if isinstance(d, Tensor) else wrap(d)
            for x, d in zip(self.inputs, ds)
        ]

    def arranged(self, values):
        """One value for each input, in the structure of the arguments."""
        values = iter(values)
        return tuple(_tree_map(lambda x: next(values), a) for a in self.args)


def _input(x, name):
    """x as an input to differentiate with respect to: an edge of its own in the graph.

    It is a copy, so that f may assign into it.
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    if not is_float(x.dtype):
        raise TypeError(
            f"{name}: cannot differentiate with respect to an argument of dtype "
            f"{x.dtype}; only floating-point ones have derivatives"
        )
    array = array_of(x)  # refused, where its gradient is in its place
    return copy(x if x.requires_grad else wrap(array, (_Input(array), 0), x._memory))


class _Input(Leaf):
    """The leaf of an input that is differentiated with respect to in one call only."""


def _output(y, name):
    """What f returned, as a Tensor. An array is a result that does not depend on the inputs."""
    if not isinstance(y, Tensor) and hasattr(y, "dtype"):
        return wrap(y)
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{name}: f must return a Tensor, or a tuple of them; it returned {type(y).__name__}"
        )
    y._check_history(name)
    return y


def _zeros(x):
    return namespace(x._array).zeros_like(x._array)


def _check_tangents(name, tangents, primals):
    """Raises if the directions are not one array for each primal, and of its shape."""
    shapes = [shape_of(v) for v in tangents], [shape_of(x) for x in primals]
    if shapes[0] != shapes[1]:
        raise ShapeError(
            f"{name}: the tangents have the shapes {shapes[0]}, the primals "
            f"{shapes[1]}; each primal needs a tangent of its shape"
        )


# ---- the transforms


def value_and_grad(f, argnums=0, has_aux=False):
    """A function that returns (f(...), its gradient), for an f whose value is a scalar.

    argnums: which argument to differentiate with respect to, or a tuple of several; the gradient
    is then a tuple. has_aux: f returns (value, anything), and this ((value, anything), gradient).

        >>> value_and_grad(lambda x: (x ** 2).sum())(np.array([1.0, 2.0]))
        (tensor(5.), tensor([2., 4.]))
    """

    @wraps(f)
    def value_and_gradient(*args, **kwargs):
        call = _Call("grad", f, args, kwargs, argnums, has_aux)
        if call.several or call.out.size != 1:
            raise ShapeError(
                "grad: f must return one scalar; it returned "
                f"{[y.shape for y in call.outs]}; for others there are jacobian "
                "and vjp"
            )
        gradient = call.arranged(call.pull_back([None]))
        gradient = gradient if isinstance(argnums, tuple) else gradient[0]
        return ((call.value(), call.aux) if has_aux else call.value()), gradient

    return value_and_gradient


def grad(f, argnums=0, has_aux=False):
    """A function that returns the gradient of f; (gradient, aux) if f returns (value, aux)."""
    both = value_and_grad(f, argnums, has_aux)

    @wraps(f)
    def gradient(*args, **kwargs):
        value, d = both(*args, **kwargs)
        return (d, value[1]) if has_aux else d

    return gradient


def vjp(f, *primals):
    """(f(*primals), pull), where pull(v) = (vᵀ J₁, vᵀ J₂, ...), for the Jacobian of each primal.

    v has the shape of f's value, or is a tuple of such. `pull` can be called any number of times.
    """
    call = _Call("vjp", f, primals, {}, tuple(range(len(primals))))

    def pull(v):
        return call.arranged(call.pull_back(v if call.several else (v,)))

    return call.value(), pull


def jvp(f, primals, tangents):
    """(f(*primals), J v): the derivative of f in the direction of `tangents`.

    primals, tangents: sequences, one entry for each argument of f, of the same shapes.

    The vector-Jacobian product uᵀJ is linear in u, and its own transpose: differentiating
    ⟨uᵀJ, v⟩ with respect to u gives Jv. So every operation with a rule has this product too, at
    the price of two walks. (Townsend 2017, "A new trick for calculating Jacobian vector products".)
    """
    primals, tangents = tuple(primals), tuple(tangents)
    call = _Call("jvp", f, primals, {}, tuple(range(len(primals))))
    vs = [v for t in tangents for v in _arrays(t)]
    _check_tangents("jvp", vs, call.inputs)
    with enable_grad():
        us = [Tensor(_zeros(y), requires_grad=True) for y in call.outs]
        pulled = call.pull_back(us, create_graph=True)
    pairs = [(d._edge, d._seed(v, call.nested)) for d, v in zip(pulled, vs) if d._edge is not None]
    ds = backpropagate(
        [edge for edge, _ in pairs], [v for _, v in pairs], [u._edge for u in us], True, call.nested
    )
    ds = tuple(
        wrap(_zeros(y)) if d is None else d if isinstance(d, Tensor) else wrap(d)
        for y, d in zip(call.outs, ds)
    )
    return call.value(), ds if call.several else ds[0]


def jacobian(f, argnums=0):
    """A function that returns ∂f/∂x, of shape f(x).shape + x.shape, one walk for each row.

    argnums: as for `grad`; a tuple gives a tuple of Jacobians. f returns one Tensor.
    """

    @wraps(f)
    def jacobian_of_f(*args, **kwargs):
        call = _Call("jacobian", f, args, kwargs, argnums)
        if call.several:
            raise TypeError("jacobian: f must return one Tensor")
        y = call.out
        rows = []
        for i in range(y.size):
            row = _zeros(y).reshape(-1)
            row[i] = 1
            rows.append(call.pull_back([row.reshape(y.shape)]))
        shapes = [y.shape + x.shape for x in call.inputs]
        full = [
            reshape(stack(ds), shape) if ds else wrap(_zeros(x).repeat(0).reshape(shape))
            for ds, shape, x in zip(zip(*rows) if rows else [()] * len(shapes), shapes, call.inputs)
        ]
        full = call.arranged(full)
        return full if isinstance(argnums, tuple) else full[0]

    return jacobian_of_f


def hessian(f, argnums=0):
    """A function that returns the second derivatives of a scalar f, of shape x.shape + x.shape.

    argnums: one integer; that argument is one array.
    """
    if not isinstance(argnums, int):
        raise TypeError(f"hessian: argnums must be one integer, not {argnums!r}")
    return jacobian(grad(f, argnums), argnums)


def hvp(f, primals, tangents):
    """H v, the Hessian of a scalar f times a direction, without forming H: ∇⟨∇f, v⟩.

    primals, tangents: sequences, one entry per argument of f; so is the result.
    """
    primals, tangents = tuple(primals), tuple(tangents)
    _check_tangents("hvp", _arrays(tangents), _arrays(primals))
    argnums = tuple(range(len(primals)))

    def slope(*primals):
        gradients = _arrays(grad(f, argnums)(*primals))
        total = 0
        for g, v in zip(gradients, _arrays(tangents), strict=True):
            total = total + sum(g * v)
        return total

    return grad(slope, argnums)(*primals)
