"""In-place safety: a value that a rule needs, and that changed, is an error and never a wrong
gradient.

Arrays can be written to (`y[0] = 7`, `y *= 2`, an optimiser's step), and several Tensors can share
one memory (`y.T`, `y[1:]`, `y.detach()`). Two numbers beside the memory, and one beside each
Tensor, are enough to notice what would go wrong. (`t[i] = u` is `assign` in ../ops/indexing.py, and
`t *= u` is `in_place` in ../interface/methods.py; both end in `write` below, which counts.)

    storage.version     how often the memory was written to, through any Tensor
    storage.recorded    the version after the last write that became part of a graph
    tensor._version     the version for which this Tensor's edge is right

*Saved version.* An operation notes the version of what it saves, and compares before its rule runs.
(x and w require a gradient.)

    y = x + 1                   # version 0
    z = y * y                   # the rule of * will read y: it saves (y, version 0)
    y[0] = 7.0                  # version 1
    z.sum().backward()          # GraphError: multiply needs its 'b', which was overwritten

*A Tensor's version.* A view knows what it was when it was made. After a write through another
Tensor its edge tells the history of a value that is gone:

    y = x + 1                   # version 0
    part = y[1:]                # shares y's storage; its edge leads to y's old value
    y[1] = w                    # version 1: y has a new edge, but part has the old one
    part * 2                    # GraphError: take the view again after the assignment

*Recorded version.* Constants may share memory and change, as NumPy's arrays do, unless the write
itself brought a history:

    base = nag.Tensor([0., 0., 0., 0.])
    part = base[:2]             # no history, no edge
    part[0] = 5.0               # version 1, recorded 0: base is a constant that changed. Fine
    part[0] = w * 2             # version 2, recorded 2: base[0] depends on w, and cannot know it
    base.sum()                  # GraphError

(Versions as in PyTorch, "In-place operations with autograd". Writes into an array itself, as in
`t.data[0] = 7`, are not seen by anybody.)
"""

import warnings
from functools import partial
from typing import Any

import numpy as np

from ..backends import array_namespace, is_array, is_float
from ..errors import GraphError
from .data import holds_numbers, no_numbers, without_tensors


class Storage:
    """The memory that Tensors share; see above. (No __init__: one is made for every result.)"""

    version = 0
    recorded = 0
    writer = -1  # the number of the node of the last recorded write, for `completes`


def storage_of(y: Any, args: Any) -> Storage:
    """The storage of a result y, which is that of an argument if they share memory: if y is the
    argument's array, or a view of it, or the argument is a view of y. (If there are several, of the
    last one.) A new storage if there is none, or if the argument is a plain array."""
    storage, base = None, getattr(y, "base", None)
    for a in args:
        array = getattr(a, "_array", a)
        shared = y is array or getattr(array, "base", None) is y
        if not shared and base is not None and hasattr(array, "base"):  # y is a view, a an array
            shared = base is array or base is array.base or _overlap(y, array)
        if shared:
            storage = Storage() if array is a else a._storage
    return storage or Storage()


def _overlap(y: Any, array: Any) -> bool:
    return is_array(array) and bool(array_namespace(array).may_share_memory(y, array))


SEVERAL = Storage()  # in the place of a storage: the value is a tuple of saved values


def save(a: Any, node: Any) -> tuple:
    """What a node saves of an argument or a result: (array, storage, version, edge) of a Tensor.

    Of its own results the edge is the number only, so that there is no cycle. What is no Tensor has
    no version: it is copied, as nobody would notice that it changed.
    """
    storage = getattr(a, "_storage", None)
    if storage is not None:
        edge = a._edge
        is_own = edge is not None and edge[0] is node
        return a._array, storage, a._version, edge[1] if is_own else edge
    if type(a) is tuple and IMMUTABLE.issuperset(map(type, a)):
        return a, None, 0, None
    if type(a) is tuple and any(hasattr(x, "_storage") for x in a):
        return tuple(save(x, node) for x in a), SEVERAL, -1, None
    return copied(a), None, 0, None


def unpack(saved: tuple, node: Any, name: str, wrap: Any) -> Any:
    """A saved value: an array, or a Tensor that has its history. Raises GraphError if it was
    overwritten since. wrap: None, or what makes a Tensor (core/tensor.py, which imports this)."""
    value, storage, version, edge = saved
    if storage is SEVERAL:
        return tuple(unpack(x, node, name, wrap) for x in value)
    if storage is not None and storage.version != version:
        raise overwritten(node.operation.name, name)
    if storage is None or wrap is None:
        return value
    return wrap(value, (node, edge) if type(edge) is int else edge, storage)


# What cannot change, and needs no copy.
IMMUTABLE = {float, int, bool, type(None), np.float64, np.float32, np.int64, slice, str, type(...)}


def copied(a: Any) -> Any:
    """`a`, with copies of the arrays that it is or holds."""
    if type(a) in IMMUTABLE:
        return a
    if type(a) in (tuple, list):
        if type(a) is tuple and IMMUTABLE.issuperset(map(type, a)):
            return a
        return type(a)(map(copied, a))
    if type(a) is dict:
        return {key: copied(value) for key, value in a.items()}
    a = getattr(a, "_array", a)
    return a.copy() if is_array(a) else a


def arrays_in(nested: Any) -> list:
    """The arrays in lists, tuples and dicts that may be nested."""
    parts, found = [nested], []
    for part in parts:  # it grows
        kind = type(part)
        if kind is np.ndarray:
            found.append(part)
        elif kind in IMMUTABLE:
            continue
        elif isinstance(part, (tuple, list)):
            parts += part
        elif isinstance(part, dict):
            parts += part.values()
        elif is_array(part):
            found.append(part)
    return found


def holds_objects(nested: Any) -> bool:
    """Whether `arrays_in` may miss an array, as something of another kind may hold one."""
    parts = [nested]
    for part in parts:  # it grows
        if isinstance(part, (tuple, list)):
            parts += part
        elif isinstance(part, dict):
            parts += part.values()
        elif type(part) not in IMMUTABLE and not isinstance(part, (np.generic, np.dtype, type)):
            if not is_array(part):
                return True
    return False


LARGE = 4096  # elements: a smaller array is copied in less time than `new_among` takes


def new_among(found: list, node: Any, gs: list, pairs: list) -> list:
    """The edges of those (edge, gradient) in `found`, some of the `pairs` that the rules of a node
    gave, whose gradient nobody else holds: it is no view, none of the gradients gs that they got,
    nothing saved, and no other's gradient. (The rules of this package keep none elsewhere; a user's
    may give one array at every call.)"""
    if not node.operation.is_ours:
        return []
    held = arrays_in([gs, node.saved, pairs])
    # In pairs it is once, or not at all after a cast.
    return [edge for edge, d in found if d.base is None and sum(x is d for x in held) < 2]


def check_version(t: Any, name: str) -> None:
    """Raises GraphError if the memory of the Tensor t was written to through another Tensor, and t
    would lead to a wrong gradient: if it was computed, or what was written has a history. (A leaf
    that was written to is a leaf with another value.) name: what t is given to."""
    storage = t._storage
    if storage.version == t._version:
        return
    if storage.recorded > t._version or not t.is_leaf:
        raise GraphError(
            f"{name} was given a Tensor of shape {t.shape} that shares memory with another, into "
            "which something was assigned in the meantime; take the view again after the "
            "assignment, or assign to a .copy()"
        )
    t._version = storage.version  # harmless: it agrees from now on


def overwritten(operation: str, name: str) -> GraphError:
    """The error for a saved value, an argument or "out", whose version has changed."""
    return GraphError(
        f"{operation} needs its {'result' if name == 'out' else repr(name)} for the gradient, but "
        "the value was overwritten in place after the operation; assign to a copy, or call "
        "backward() before the assignment"
    )


def replace_data(t: Any, value: Any) -> None:
    """t.data = value: the value changes outside of the graph.

    Without a copy where `value` is a Tensor (they share the memory from then on) or the same array,
    which counts as a write; any other array is copied.
    """
    if not t.is_leaf:
        raise GraphError(
            "the data of a computed Tensor cannot be replaced, because its gradient would be that "
            "of the old value; use .detach() first"
        )
    old = t._array
    if getattr(value, "_array", value) is old:
        t._storage.version += 1
    else:
        if hasattr(value, "_storage"):
            new, storage = value._array, value._storage
        elif is_array(value):
            new, storage = value.copy(), Storage()
        else:
            value = without_tensors(value)
            new, storage = array_namespace(old).asarray(value, dtype=old.dtype), Storage()
        if not holds_numbers(new):
            raise no_numbers("a Tensor", new)
        if t.requires_grad and not is_float(new.dtype):
            raise TypeError(
                "the data of a Tensor that requires a gradient must be floating-point; got dtype "
                f"{new.dtype}"
            )
        t._array, t._storage = new, storage
        if (new.shape, new.dtype, type(new)) != (old.shape, old.dtype, type(old)):
            leaf = t._leaf  # what was computed before leads to the old one
            if leaf is not None:  # what still arrives there does not fit any more
                leaf.add = partial(_dropped, old.shape, old.dtype)
                t._leaf = type(leaf)(new)
                t._edge = (t._leaf, 0) if t.requires_grad else None
    t._version = t._storage.version


def _dropped(shape: tuple, dtype: Any, g: Any, is_owned: bool) -> None:
    """What a leaf does with a gradient after its Tensor has got data of another shape or dtype."""
    warnings.warn(
        f"a gradient of shape {shape} and dtype {dtype} belongs to a Tensor whose data was "
        "replaced by others, of another shape or dtype, after they had been used: it is in no "
        ".grad",
        stacklevel=4,
    )


def check_assignment(t: Any, recorded: bool) -> None:
    """Raises where t[...] = value would leave a Tensor with the gradient of another value."""
    if not recorded and not t.is_leaf:
        raise GraphError(
            "assignment within no_grad() into a computed Tensor would leave it with the gradient "
            "of another value; assign into a .detach().copy() of it"
        )
    if recorded and t.requires_grad and t.is_leaf:
        raise GraphError(
            "assignment into a leaf that requires a gradient would change the value that the "
            "gradient is for; use `y = nag.index_put(x, index, value)`, or assign within "
            "no_grad() if it is an update"
        )
    if recorded and not is_float(t.dtype):
        raise TypeError(
            f"a value that requires a gradient was assigned into a Tensor of dtype {t.dtype}, "
            "which cannot carry one; use .astype() first"
        )
    if not t._array.flags.c_contiguous and _overlaps_itself(t._array):
        raise ValueError(
            f"elements of this Tensor, of shape {t.shape} and strides {t._array.strides}, are one "
            "number in memory, as after broadcast_to; write into a copy, t.copy()"
        )


def _overlaps_itself(a: Any) -> bool:
    """Whether two elements may be the same memory."""
    extent = a.itemsize  # of the axes so far, from the nearest neighbours on
    for stride, n in sorted((abs(s), n) for s, n in zip(a.strides, a.shape) if n > 1):
        if stride < extent:
            return a.size > 0
        extent += stride * (n - 1)
    return False


def spare_old(result: Any, t: Any) -> None:
    """Before t is overwritten with `result`, as by t *= u: the node of `result` keeps a copy of
    what it saved of t. (Others that saved t still refuse.)"""
    if result._edge is not None:
        node = result._edge[0]
        node.saved = [
            (a.copy(), Storage(), 0, edge) if storage is t._storage else (a, storage, version, edge)
            for a, storage, version, edge in node.saved
        ]


def completes(t: Any, index: Any, value: Any) -> bool:
    """Whether t[index] = value is the last part of `t[index] += u`, which Python computes as

    view = t[index]
    view += u                   # a write: version + 1, which t has not seen
    t[index] = view             # this call, of what is there already
    """
    storage = t._storage
    return (
        hasattr(value, "_storage")
        and value._storage is storage
        and storage.version == value._version == t._version + 1
        and not value.is_leaf
        and value._edge[0].number == storage.writer
        and (t._edge is None or not t.is_leaf)
        and _are_same(t._array[index], value._array)
    )


def _are_same(a: Any, b: Any) -> bool:
    """Whether a and b are the same view: of one shape, with the same strides and first element."""
    first = (slice(1),) * a.ndim
    return (a.shape, a.strides) == (b.shape, b.strides) and _overlap(a[first], b[first])


def write(t: Any, index: Any, value: Any, put: Any = None) -> None:
    """t[index] = value, in place, for a Tensor t.

    If it is recorded, t gets the edge of put(t, index, value), an operation that writes into a
    copy: the gradient of the elements written goes to `value`, that of the others to the old t. It
    is recorded as if it had been called and t's array were its result. put: `_index_put` of
    ops/indexing.py, or None.
    """
    t._array[index] = getattr(value, "_array", value)
    t._storage.version += 1
    if put is not None:
        edges = [t._edge, None, getattr(value, "_edge", None)]
        # (No arrays: its rules read no shapes of them.)
        t._edge = put.record(edges, (t, index, value), [], {}, t._array)._edge
        t._storage.recorded, t._storage.writer = t._storage.version, t._edge[0].number
    t._version = t._storage.version
