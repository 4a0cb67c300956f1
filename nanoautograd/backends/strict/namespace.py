"""The namespace `xp`: NumPy's functions behind the names and parameters of CuPy's."""

import types

import numpy as np

from ..snapshot import Signature, load
from .array import DEVICE_TYPE, STREAM, StrictArray, to_index, unwrap, wrap, wrap_all, wrap_around
from .rules import StrictError, check_default, check_dtypes, check_kind, operand, waits

__all__ = ["xp"]


# --- elementwise functions ------------------------------------------------------------------------


def _elementwise(name):
    """xp.<name> for a ufunc: arrays and scalars in, an array out, keywords out, dtype, casting."""
    ufunc = getattr(np, name)

    def call(*args, out=None, dtype=None, casting="same_kind"):
        hosts, dtypes, first = [], (), None
        for a in args:
            if type(a) is StrictArray:
                a = a._host
                dtypes += (a.dtype,)
                first = dtypes[0]
            else:
                operand(a, name)
            hosts.append(a)
        if out is None and dtype is None:
            result = ufunc(*hosts)
            if type(result) is np.ndarray and result.dtype is first and len(dtypes) == 1:
                return wrap(result)
        else:
            target = unwrap(out, name, [])
            result = ufunc(*hosts, out=target, dtype=dtype, casting=casting)
        kind = getattr(result, "dtype", None)
        check_dtypes(name, dtypes, None if dtype is not None else kind)
        if not dtypes and dtype is None and not any(isinstance(a, np.generic) for a in args):
            check_default(name, kind)
        return out if out is not None else wrap_all(result)

    def at(a, indices, b=None):
        """a[indices] = op(a[indices], b), an index that repeats counted each time."""
        if name not in load()["scatter"]:
            raise NotImplementedError(f"CuPy has no {name}.at")
        _scatter(ufunc, a, indices, b)

    def outer(a, b, **keywords):
        return call(a.reshape(a.shape + (1,) * b.ndim), b, **keywords)

    call.__name__ = call.__qualname__ = name
    call.nin, call.nout, call.at, call.outer = ufunc.nin, ufunc.nout, at, outer
    if name in ("add", "multiply"):  # the two that CuPy reduces with
        whole, running = ("sum", "cumsum") if name == "add" else ("prod", "cumprod")
        call.reduce = lambda array, axis=0, dtype=None, out=None, keepdims=False: getattr(
            array, whole
        )(axis, dtype, out, keepdims)
        call.accumulate = lambda array, axis=0, dtype=None, out=None: getattr(array, running)(
            axis, dtype, out
        )
    return call


# The dtypes for which CUDA has the atomic operation that an index with repetitions needs.
_ATOMIC = {"add": "iIlLqQefd", "subtract": "iI", "maximum": "iIlLqQfd", "minimum": "iIlLqQfd"}


def _scatter(ufunc, a, index, value):
    """ufunc.at(a, index, value), on an index that may repeat and may be out of range."""
    index, arrays = to_index(index)
    if arrays and a.dtype.char not in _ATOMIC.get(ufunc.__name__, "iIlLqQ"):
        raise StrictError(f"{ufunc.__name__}.at: CuPy has no atomic operation for {a.dtype}")
    if type(value) is StrictArray:
        value = value._host
    else:
        operand(value, ufunc.__name__ + ".at")
    value = np.asarray(value).astype(a.dtype)
    try:
        ufunc.at(a._host, index, value)
    except IndexError:
        ufunc.at(a._host, wrap_around(index, a._host), value)


# --- other functions ------------------------------------------------------------------------------

# Functions whose arrays may come in a list; elsewhere CuPy takes no list for an array.
_TAKE_LISTS = {
    "concatenate",
    "stack",
    "vstack",
    "hstack",
    "dstack",
    "column_stack",
    "select",
    "broadcast_arrays",
    "meshgrid",
    "einsum",
    "choose",
    "ix_",
    "lexsort",
    "ravel_multi_index",
}
_ARRAYS = {
    "a",
    "b",
    "x",
    "y",
    "x1",
    "x2",
    "arr",
    "ary",
    "A",
    "m",
    "v",
    "array",
    "condition",
    "weights",
    "values",
    "dst",
    "src",
}
# Functions that compute no elements, so that dtypes may differ: they ask, copy or cast.
_NO_ELEMENTS = {
    "result_type",
    "can_cast",
    "may_share_memory",
    "shares_memory",
    "copyto",
    "put",
    "ndim",
    "shape",
    "size",
    "broadcast",
    "broadcast_arrays",
    "meshgrid",
    "put_along_axis",
    "place",
    "putmask",
    "isscalar",
    "common_type",
}
# NumPy returns Python's own numbers here, CuPy 0-d arrays.
_ZERO_D = {"allclose", "array_equal", "array_equiv", "count_nonzero"}
# The size of these results is known only when the GPU has finished.
_WAITING = {
    "nonzero",
    "argwhere",
    "flatnonzero",
    "unique",
    "extract",
    "compress",
    "bincount",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "isin",
    "in1d",
    "setdiff1d",
    "intersect1d",
    "union1d",
    "histogram",
    "digitize",
}


def _function(name, signature, function):
    """xp.<name>: NumPy's function behind CuPy's parameters."""
    signature = Signature(signature)
    fault = signature.fault
    names = signature.names
    dtype_place = names.index("dtype") if "dtype" in names else 99
    computes = name not in _NO_ELEMENTS
    array_places = (
        ()
        if name in _TAKE_LISTS or not computes
        else tuple((i, n) for i, n in enumerate(names) if n in _ARRAYS)
    )
    does_wait = name in _WAITING
    zero_d = name in _ZERO_D

    def call(*args, **kwargs):
        if problem := fault(len(args), kwargs):
            raise StrictError(f"{name}: with CuPy it {problem}")
        if does_wait:
            waits(f"{name}()")
        dtypes = []
        hosts = [unwrap(a, name, dtypes) for a in args]
        options = {k: unwrap(v, name, dtypes) for k, v in kwargs.items()} if kwargs else kwargs
        for i, parameter in array_places:
            if i < len(args) and (type(args[i]) in (list, tuple) or i == 0 and not dtypes):
                raise StrictError(
                    f"{name}: CuPy takes an array of the device as {parameter!r}, "
                    f"not {type(args[i]).__name__}; use xp.asarray or xp.stack"
                )
        result = function(*hosts, **options)
        dtype = getattr(result, "dtype", None)
        if computes and (not dtypes or any(d is not dtype for d in dtypes)):
            named = kwargs.get("dtype") is not None or len(args) > dtype_place
            if dtypes:
                check_dtypes(name, dtypes, None if named else dtype)
            elif dtype is not None and not named:
                check_default(name, dtype)
        if kwargs.get("out") is not None:
            return kwargs["out"]
        return wrap(np.asarray(result)) if zero_d else wrap_all(result)

    call.__name__ = call.__qualname__ = name
    return call


def _method(name, signature):
    """StrictArray.<name>: NumPy's method behind CuPy's parameters."""
    return _function(name, f"self, {signature}", getattr(np.ndarray, name))


def _from_host(name):
    """xp.array, xp.asarray, ...: the door from the host to the device."""
    function = getattr(np, name)
    signature = Signature(load()["functions"][name])

    def call(obj, *args, **options):
        if problem := signature.fault(1 + len(args), options):
            raise StrictError(f"{name}: with CuPy it {problem}")
        options.update(zip(signature.names[1:], args))
        options.pop("blocking", None)
        if type(obj) is StrictArray:
            result = function(obj._host, **options)
            return obj if result is obj._host else wrap(result)
        waits(f"{name}() of a host value, a copy from the host,")
        dtypes = []
        result = function(_contents(obj, dtypes), **options)
        if result.dtype.kind not in "biufcV":
            raise ValueError(f"CuPy has no arrays of dtype {result.dtype}")
        if options.get("dtype") is None:
            check_dtypes(name, dtypes, None)
            if not dtypes:
                check_default(name, result.dtype)
        return wrap(result.copy() if result is obj or result.base is not None else result)

    call.__name__ = call.__qualname__ = name
    return call


def _contents(obj, dtypes):
    """The host's view of what becomes an array; dtypes of all that has one are appended."""
    if type(obj) is StrictArray:
        obj = obj._host
    if isinstance(obj, (list, tuple)):
        return type(obj)([_contents(x, dtypes) for x in obj])
    if isinstance(obj, (np.ndarray, np.generic)):
        dtypes.append(obj.dtype)
    return obj


def _take(a, indices, axis=None, out=None):
    """Elements along an axis; an index out of range wraps around, as on the GPU."""
    indices, _ = (indices, 0) if isinstance(indices, int) else to_index(indices)
    result = np.take(a._host, indices, axis, None if out is None else out._host, mode="wrap")
    return wrap(result) if out is None else out


def _take_along_axis(a, indices, axis):
    """As NumPy's; an index out of range wraps around, as on the GPU."""
    indices, _ = to_index(indices)
    if a.ndim and indices.size and a.shape[axis or 0]:
        indices = indices % (a.size if axis is None else a.shape[axis])
    return wrap(np.take_along_axis(a._host, indices, axis))


def _repeat(a, repeats, axis=None):
    if isinstance(repeats, (list, tuple, StrictArray)):
        waits("repeat() by an array")
    return wrap(np.repeat(a._host, unwrap(repeats, "repeat", []), axis))


def _sort(a, axis=-1, kind=None):
    check_kind(kind)
    return wrap(np.sort(a._host, axis, "stable"))


def _argsort(a, axis=-1, kind=None):
    check_kind(kind)
    return wrap(np.argsort(a._host, axis, "stable"))


def _where(condition, x=None, y=None):
    if x is None and y is None:
        return xp.nonzero(condition)
    if type(condition) is not StrictArray:
        raise StrictError(
            f"where: the condition must be an array of the device, not {type(condition).__name__}"
        )
    hosts = [v._host if type(v) is StrictArray else operand(v, "where") for v in (x, y)]
    result = np.where(condition._host, *hosts)
    given = [v.dtype for v in (x, y) if type(v) is StrictArray]
    check_dtypes("where", given, result.dtype) if given else check_default("where", result.dtype)
    return wrap(result)


def _asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out, blocking) if type(a) is StrictArray else np.asarray(a)


def _from_dlpack(array, *, device=None, copy=None):
    if array.__dlpack_device__()[0] != DEVICE_TYPE:
        raise BufferError("from_dlpack: the memory is the host's; use xp.asarray")
    return wrap(np.from_dlpack(_Capsule(array)))


class _Capsule:
    """Hands NumPy the memory behind an object that exports a StrictArray."""

    def __init__(self, owner):
        self.owner = owner

    def __dlpack__(self, *, max_version=None, **options):
        return self.owner.__dlpack__(stream=STREAM, max_version=max_version)

    def __dlpack_device__(self):
        return 1, 0


def _put(a, ind, v, mode="wrap"):
    np.put(a._host, unwrap(ind, "put", []), unwrap(v, "put", []), mode)


_OWN = {
    "take": _take,
    "take_along_axis": _take_along_axis,
    "repeat": _repeat,
    "sort": _sort,
    "argsort": _argsort,
    "where": _where,
    "asnumpy": _asnumpy,
    "from_dlpack": _from_dlpack,
    "put": _put,
}
_FROM_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}


class _Namespace(types.ModuleType):
    """Stands for the module `cupy`, or for its `linalg`; a name is made when first asked for."""

    def __init__(self, name, home, functions):
        super().__init__(name)
        self._home, self._functions = home, functions

    def __getattr__(self, name):
        made = self._make(name)
        setattr(self, name, made)
        return made

    def _make(self, name):
        api = load()
        if self._home is np:
            if name in _OWN:
                return _OWN[name]
            if name in _FROM_HOST:
                return _from_host(name)
            if name in api["ufuncs"] and hasattr(np, name):
                return _elementwise(name)
            if name in api["shared"].split():
                return getattr(np, name)
        if name in self._functions and hasattr(self._home, name):
            return _function(name, self._functions[name], getattr(self._home, name))
        raise AttributeError(
            "CuPy draws other random numbers than NumPy from one seed: draw on the host and move"
            if name == "random"
            else f"{self.__name__} has no {name!r}: not in cupy {api['version']}, or not in NumPy"
        )


xp = _Namespace("strict", np, load()["functions"])
xp.linalg = _Namespace("strict.linalg", np.linalg, load()["linalg"])
xp.ndarray = StrictArray
xp.matmul = _function("matmul", "a, b, /, *, out=None, dtype=None", np.matmul)


for _name in ("argsort", "dot", "nonzero", "ptp", "put", "repeat", "take"):
    setattr(StrictArray, _name, getattr(xp, _name))
for _name, _text in load()["ndarray"]["methods"].items():
    if hasattr(np.ndarray, _name) and _name not in vars(StrictArray):
        setattr(StrictArray, _name, _method(_name, _text))
