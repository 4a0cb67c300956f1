"""A strict stand-in for CuPy, for machines that have no GPU.

`StrictArray` wraps a NumPy array and computes on the CPU, but it behaves as `cupy.ndarray` does,
and `xp` as the module `cupy` does: what would fail on a GPU, would wait for it, or would differ
in its result, fails or differs here in the same way. So a suite that passes on the stand-in has
said most of what can be said about the GPU without one; README.md lists what is refused, what is
imitated and what a stand-in cannot see.

    xp.asarray(x)                to this "device";  a.get() back, and nothing else goes back
    with no_sync(): ...          in here whatever makes the CPU wait for the GPU is refused
    with allow_promotion(): ...  in here float32 may meet float64, and a dtype may be left out

What CuPy has (names, parameters) is read from the committed snapshot `cupy_api.json`; facts about
its behaviour were read in the source of CuPy 14.2 (`_core/core.pyx`, `_kernel.pyx`,
`_routines_indexing.pyx`).
"""

import operator
import threading
import types
from contextlib import contextmanager

import numpy as np

from .snapshot import Signature, load

__all__ = ["StrictArray", "StrictError", "allow_promotion", "no_sync", "xp"]


class StrictError(TypeError):
    """The code did what would fail with CuPy, or what it must not do on a GPU."""


# --- modes ----------------------------------------------------------------------------------------

class _Modes(threading.local):
    no_sync = False
    promotion = False


_modes = _Modes()


@contextmanager
def _mode(name):
    before = getattr(_modes, name)
    setattr(_modes, name, True)
    try:
        yield
    finally:
        setattr(_modes, name, before)


def no_sync():
    """A context in which all that makes the CPU wait for the GPU raises StrictError.

    float(a), int(a), bool(a), a.item(), a.get(), print(a), copies from the host, boolean masks
    as an index, nonzero and its like: each would stall a GPU, and break a CUDA graph's capture.
    """
    return _mode("no_sync")


def allow_promotion():
    """A context in which arrays of two floating dtypes may meet, and float64 may be a default."""
    return _mode("promotion")


def _waits(what):
    if _modes.no_sync:
        raise StrictError(f"{what} makes the CPU wait for the GPU, which no_sync() forbids")


# --- in and out of the wrapper --------------------------------------------------------------------

_SCALARS = {bool, int, float, complex} | set(np.sctypeDict.values()) - {
    np.object_, np.str_, np.bytes_, np.void, np.datetime64, np.timedelta64}


def _wrap(host):
    """The StrictArray around a NumPy array or scalar, without a copy."""
    a = _new(StrictArray)
    a._host = host if type(host) is np.ndarray else np.asarray(host)
    return a


def _wrap_all(result):
    """A NumPy function's result as CuPy would return it: arrays wrapped, scalars as 0-d arrays."""
    if isinstance(result, (np.ndarray, np.generic)):
        return _wrap(result)
    if type(result) in (tuple, list):
        return type(result)(map(_wrap_all, result))
    if isinstance(result, tuple):                         # a named one, such as eigh's
        return type(result)(*map(_wrap_all, result))
    return result


def _unwrap(x, name, dtypes):
    """`x` for NumPy; the dtypes of the arrays in it are appended to `dtypes`."""
    cls = type(x)
    if cls is StrictArray:
        dtypes.append(x._host.dtype)
        return x._host
    if cls is tuple or cls is list:
        return cls([_unwrap(item, name, dtypes) for item in x])
    if isinstance(x, np.ndarray):
        raise _mixed(name, x)
    return x


def _mixed(name, x):
    return StrictError(f"{name}: a NumPy array of shape {x.shape} was mixed with arrays of the "
                       "device; move it first, with xp.asarray(x)")


def _operand(x, name):
    """`x`, an elementwise operand that is not a StrictArray, if CuPy takes it."""
    if type(x) in _SCALARS:
        return x
    if isinstance(x, np.ndarray):
        raise _mixed(name, x)
    raise StrictError(f"{name}: takes arrays of the device and scalars, not {type(x).__name__}")


# --- floating dtypes ------------------------------------------------------------------------------

def _check_dtypes(name, given, result):
    """Two floating dtypes must not meet, and none may come out wider than what went in.

    `given` are the dtypes of the arrays that went in, `result` the dtype that came out, or None
    where the caller asked for a dtype by name. Integer arrays are in `given` too, for
    float32 * int64 is float64. Scalars are not: Python's promote nothing, and NumPy's do.
    """
    if _modes.promotion:
        return
    floats = {d for d in given if d.kind == "f"}
    if len(floats) > 1:
        raise StrictError(f"{name}: arrays of {' and '.join(sorted(map(str, floats)))} meet; "
                          "cast one with astype, or use allow_promotion() where it is meant")
    if floats and result is not None and result.kind == "f":
        (wanted,) = floats
        if result.itemsize > wanted.itemsize:
            with_what = ", ".join(sorted({str(d) for d in given if d != wanted})) or "a scalar"
            raise StrictError(f"{name}: {wanted} became {result} (with {with_what}); give "
                              "scalars as Python floats, cast integer arrays, or name the dtype")


def _check_default(name, result):
    """No floating array may be made with the default dtype: with CuPy it would be float64."""
    if result == np.float64 and not _modes.promotion:
        raise StrictError(f"{name}: made a float64 array because no dtype was given; name one")


# --- the array ------------------------------------------------------------------------------------

def _binary(name, ufunc, reflected=False):
    def method(self, other):
        a = self._host
        if type(other) is StrictArray:
            b = other._host
            if a.dtype is not b.dtype:
                _check_dtypes(name, (a.dtype, b.dtype), None)
        elif type(other) in _SCALARS:
            b = other
        elif isinstance(other, (np.ndarray, list, tuple)):
            _operand(other, name)
        else:
            return NotImplemented
        result = ufunc(b, a) if reflected else ufunc(a, b)
        if result.dtype is not a.dtype:
            given = (a.dtype, b.dtype) if type(other) is StrictArray else (a.dtype,)
            _check_dtypes(name, given, result.dtype)
        return _wrap(result)
    return method


def _in_place(name, ufunc):
    def method(self, other):
        a = self._host
        if type(other) is StrictArray:
            b = other._host
            if a.dtype is not b.dtype:
                _check_dtypes(name, (a.dtype, b.dtype), None)
        else:
            b = _operand(other, name)
        ufunc(a, b, out=a)
        return self
    return method


def _unary(ufunc):
    def method(self):
        return _wrap(ufunc(self._host))
    return method


class StrictArray:
    """A NumPy array that behaves as `cupy.ndarray` does. Made with `xp.asarray`, not directly.

    It is no subclass of numpy.ndarray: `np.asarray` would unwrap that without a word. The methods
    of `cupy.ndarray` that are not written out here are added below, from the snapshot.
    """

    __slots__ = ("_host", "__weakref__")
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, *args, **kwargs):
        raise StrictError("make arrays with xp.asarray, xp.zeros, ...")

    # NumPy's doors are shut, except where CuPy opens them to a type that it does not know.

    def __array__(self, dtype=None, copy=None):
        raise StrictError("implicit conversion to a NumPy array is not allowed; use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(type(x) not in _SCALARS and not isinstance(x, (StrictArray, np.ndarray))
               and hasattr(x, "__array_ufunc__") for x in inputs):
            return NotImplemented
        if method == "__call__" and len(inputs) == 2 and isinstance(inputs[0], np.generic):
            return getattr(xp, ufunc.__name__)(*inputs, **kwargs)      # numpy_scalar * array
        raise StrictError(f"numpy.{ufunc.__name__} was called on arrays of the device; "
                          f"use xp.{ufunc.__name__} with xp = namespace(array)")

    def __array_function__(self, function, classes, args, kwargs):
        if any(not issubclass(c, (StrictArray, np.ndarray)) for c in classes):
            return NotImplemented
        raise StrictError(f"numpy.{function.__name__} was called on arrays of the device; "
                          f"use xp.{function.__name__} with xp = namespace(array)")

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if stream is not _STREAM:
            raise BufferError("this array pretends to be in a GPU's memory; use .get() first")
        return self._host.__dlpack__(max_version=max_version, copy=copy)

    def __dlpack_device__(self):
        return _DEVICE_TYPE, 0

    # What the array is.

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: "strict")
    T = property(lambda self: _wrap(self._host.T))
    mT = property(lambda self: _wrap(self._host.mT))
    real = property(lambda self: _wrap(self._host.real))
    imag = property(lambda self: _wrap(self._host.imag))
    base = property(lambda self: _wrap(self._host.base)
                    if isinstance(self._host.base, np.ndarray) else None)
    flags = property(lambda self: _Flags(self._host.flags))

    @shape.setter
    def shape(self, shape):
        self._host.shape = shape

    # To the host: each of these waits for the GPU.

    def get(self, stream=None, order="C", out=None, blocking=True):
        """A copy as a NumPy array; the only way back to the host."""
        _waits("get()")
        if out is None:
            return self._host.copy(order=order)
        out[...] = self._host
        return out

    def item(self):
        _waits("item()")
        return self._host.item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def set(self, arr, stream=None):
        """Copy a NumPy array of the same shape and dtype into this one."""
        _waits("set(), a copy from the host,")
        if not isinstance(arr, np.ndarray) or (arr.shape, arr.dtype) != (self.shape, self.dtype):
            raise StrictError(f"set() takes a NumPy array of shape {self.shape} and {self.dtype}")
        self._host[...] = arr

    def __bool__(self):
        _waits("bool(array), and `if` or `while` on one,")
        return bool(self._host)

    def __int__(self):
        _waits("int(array)")
        return int(self._host)

    def __float__(self):
        _waits("float(array)")
        return float(self._host)

    def __complex__(self):
        _waits("complex(array)")
        return complex(self._host)

    def __repr__(self):
        _waits("repr(array)")
        return repr(self._host).replace("array(", "strict.array(", 1)

    def __str__(self):
        _waits("str(array)")
        return str(self._host)

    def __format__(self, specification):
        _waits("format(array)")
        return format(self._host, specification)

    def __reduce__(self):
        return _wrap, (self.get(order="A"),)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    # Elements.

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        host = self._host
        index, arrays = _index(index)
        if arrays:
            try:
                return _wrap(host[index])
            except IndexError:
                return _wrap(host[_wrap_around(index, host)])
        result = host[index]
        if type(result) is np.ndarray:
            return _wrap(result)
        # One element, by integers: with CuPy that is a 0-d view of it, not a scalar.
        return _wrap(host[(*index, ...) if type(index) is tuple else (index, ...)])

    def __setitem__(self, index, value):
        index, arrays = _index(index)
        if type(value) is StrictArray:
            value = value._host
        else:
            value = _operand(value, "array[index] = value")
        if not arrays:
            self._host[index] = value
        else:
            _set_elements(self._host, index, value)

    # Operators come from the table below; what is in place and unary needs no reflection.

    __neg__, __pos__ = _unary(np.negative), _unary(np.positive)
    __abs__, __invert__ = _unary(np.absolute), _unary(np.invert)

    # Methods whose behaviour is CuPy's own.

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        return _wrap(self._host.astype(dtype, order, casting or "unsafe", copy=copy))

    def copy(self, order="C"):
        return _wrap(self._host.copy(order))

    def view(self, dtype=None, type=None):
        return _wrap(self._host.view() if dtype is None else self._host.view(dtype))

    def fill(self, value):
        self._host.fill(value._host if type(value) is StrictArray else _operand(value, "fill"))

    def dot(self, b, out=None):
        return xp.dot(self, b, out)

    def take(self, indices, axis=None, out=None):
        return xp.take(self, indices, axis, out)

    def repeat(self, repeats, axis=None):
        return xp.repeat(self, repeats, axis)

    def nonzero(self):
        return xp.nonzero(self)

    def sort(self, axis=-1, kind=None):
        """In place. `kind` is "stable" or None."""
        _check_kind(kind)
        self._host.sort(axis, "stable")

    def argsort(self, axis=-1, kind=None):
        return xp.argsort(self, axis, kind)

    def ptp(self, axis=None, out=None, keepdims=False):
        return xp.ptp(self, axis, out, keepdims)

    def put(self, indices, values, mode="wrap"):
        return xp.put(self, indices, values, mode)


_new = object.__new__
_STREAM = object()          # what xp.from_dlpack passes as `stream`, so that nobody else gets in
_DEVICE_TYPE = 12           # DLPack's kDLExtDev, a device that no other library claims

_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "matmul": "matmul",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift"}
for _short, _long in _OPERATORS.items():
    setattr(StrictArray, f"__{_short}__", _binary(_long, getattr(np, _long)))
    setattr(StrictArray, f"__r{_short}__", _binary(_long, getattr(np, _long), reflected=True))
    if _short != "matmul":
        setattr(StrictArray, f"__i{_short}__", _in_place(_long, getattr(np, _long)))
for _short, _long in {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal",
                      "gt": "greater", "ge": "greater_equal"}.items():
    setattr(StrictArray, f"__{_short}__", _binary(_long, getattr(np, _long)))


class _Flags:
    """CuPy's `a.flags`, which knows contiguity and ownership and nothing of writing."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous
        self.owndata, self.fnc, self.forc = flags.owndata, flags.fnc, flags.forc

    def __getitem__(self, name):
        return getattr(self, name.lower())


# --- index expressions ----------------------------------------------------------------------------

_BASIC = {int, slice, type(None), type(...)}


def _index(index):
    """An index expression for NumPy, and whether it holds arrays (or lists, which become such)."""
    if type(index) in _BASIC:
        return index, False
    if type(index) is not tuple:
        part = _index_part(index)
        return part, type(part) is np.ndarray
    parts = tuple([p if type(p) in _BASIC else _index_part(p) for p in index])
    arrays = [p for p in parts if type(p) is np.ndarray]
    if sum(a.dtype == bool for a in arrays) > 1:
        raise StrictError("array[index]: CuPy takes one boolean mask in an index, not several")
    return parts, bool(arrays)


def _index_part(part):
    if type(part) is StrictArray:
        if part.dtype == bool:
            _waits("a boolean mask as an index")
        elif part.dtype.kind not in "iu":
            raise IndexError(f"an index must be of integers or booleans, not {part.dtype}")
        return part._host
    if isinstance(part, np.ndarray):
        raise _mixed("array[index]", part)
    if isinstance(part, (list, tuple)):
        _waits("a list as an index, a copy from the host,")
        host = np.array(_unwrap(part, "array[index]", []))
        return host if host.size else host.astype(int)
    if isinstance(part, (bool, np.bool_)):
        return np.asarray(part)
    return operator.index(part)                     # NumPy's integers; a TypeError for the rest


def _wrap_around(index, host):
    """Integer arrays in `index` modulo the axis they index: CuPy wraps where NumPy raises."""
    parts = list(index) if type(index) is tuple else [index]
    spent = sum(p.ndim if type(p) is np.ndarray and p.dtype == bool else 1
                for p in parts if p is not None and p is not ...)
    axis = 0
    for i, part in enumerate(parts):
        if part is ...:
            axis += host.ndim - spent
        elif type(part) is np.ndarray and part.dtype == bool:
            axis += part.ndim
        elif part is not None:
            if type(part) is np.ndarray and host.shape[axis]:
                parts[i] = part % host.shape[axis]
            axis += 1
    return tuple(parts)


def _set_elements(host, index, value):
    """host[index] = value with arrays in the index; what CuPy leaves open is an error."""
    value = np.asarray(value).astype(host.dtype)            # a copy: it may be a view of `host`
    try:
        host[index] = value
    except IndexError:
        index = _wrap_around(index, host)
        host[index] = value
    written = host[index]
    wanted = value.reshape(value.shape[max(0, value.ndim - written.ndim):])
    wanted = np.broadcast_to(wanted, written.shape)
    if not np.array_equal(written, wanted, equal_nan=host.dtype.kind in "fc"):
        raise StrictError("array[index] = value: the index names an element twice, with two "
                          "values, and CuPy does not say which stays; make the index unique")


# --- the namespace: elementwise functions ---------------------------------------------------------

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
                _operand(a, name)
            hosts.append(a)
        if out is None and dtype is None:
            result = ufunc(*hosts)
            if type(result) is np.ndarray and result.dtype is first and len(dtypes) == 1:
                return _wrap(result)
        else:
            target = _unwrap(out, name, [])
            result = ufunc(*hosts, out=target, dtype=dtype, casting=casting)
        kind = getattr(result, "dtype", None)
        _check_dtypes(name, dtypes, None if dtype is not None else kind)
        if not dtypes and dtype is None and not any(isinstance(a, np.generic) for a in args):
            _check_default(name, kind)
        return out if out is not None else _wrap_all(result)

    def at(a, indices, b=None):
        """a[indices] = op(a[indices], b), an index that repeats counted each time."""
        if name not in load()["scatter"]:
            raise NotImplementedError(f"CuPy has no {name}.at")
        _scatter(ufunc, a, indices, b)

    def outer(a, b, **keywords):
        return call(a.reshape(a.shape + (1,) * b.ndim), b, **keywords)

    call.__name__ = call.__qualname__ = name
    call.nin, call.nout, call.at, call.outer = ufunc.nin, ufunc.nout, at, outer
    if name in ("add", "multiply"):                 # the two that CuPy reduces with
        whole, running = ("sum", "cumsum") if name == "add" else ("prod", "cumprod")
        call.reduce = lambda array, axis=0, dtype=None, out=None, keepdims=False: \
            getattr(array, whole)(axis, dtype, out, keepdims)
        call.accumulate = lambda array, axis=0, dtype=None, out=None: \
            getattr(array, running)(axis, dtype, out)
    return call


def _scatter(ufunc, a, index, value):
    index, _ = _index(index)
    if type(value) is StrictArray:
        value = value._host
    else:
        _operand(value, ufunc.__name__ + ".at")
    value = np.asarray(value).astype(a.dtype)
    try:
        ufunc.at(a._host, index, value)
    except IndexError:
        ufunc.at(a._host, _wrap_around(index, a._host), value)


# --- the namespace: other functions ---------------------------------------------------------------

# Functions whose arrays may come in a list; elsewhere CuPy takes no list for an array.
_TAKE_LISTS = {"concatenate", "stack", "vstack", "hstack", "dstack", "column_stack", "select",
               "broadcast_arrays", "meshgrid", "einsum", "choose", "ix_", "lexsort",
               "ravel_multi_index"}
_ARRAYS = {"a", "b", "x", "y", "x1", "x2", "arr", "ary", "A", "m", "v", "array", "condition",
           "weights", "values", "dst", "src"}
# Functions that compute no elements, so that dtypes may differ: they ask, copy or cast.
_NO_ELEMENTS = {"result_type", "can_cast", "may_share_memory", "shares_memory", "copyto", "put",
                "ndim", "shape", "size", "broadcast", "broadcast_arrays", "meshgrid",
                "put_along_axis", "place", "putmask", "isscalar", "common_type"}
# NumPy returns Python's own numbers here, CuPy 0-d arrays.
_ZERO_D = {"allclose", "array_equal", "array_equiv", "count_nonzero"}
# The size of these results is known only when the GPU has finished.
_WAITING = {"nonzero", "argwhere", "flatnonzero", "unique", "extract", "compress", "bincount",
            "unique_all", "unique_counts", "unique_inverse", "unique_values", "isin", "in1d",
            "setdiff1d", "intersect1d", "union1d", "histogram", "digitize"}


def _function(name, signature, function):
    """xp.<name>: NumPy's function behind CuPy's parameters."""
    signature = Signature(signature)
    fault = signature.fault
    names = signature.names
    dtype_place = names.index("dtype") if "dtype" in names else 99
    computes = name not in _NO_ELEMENTS
    array_places = () if name in _TAKE_LISTS or not computes else \
        tuple((i, n) for i, n in enumerate(names) if n in _ARRAYS)
    waits = name in _WAITING
    zero_d = name in _ZERO_D

    def call(*args, **kwargs):
        if problem := fault(len(args), kwargs):
            raise StrictError(f"{name}: with CuPy it {problem}")
        if waits:
            _waits(f"{name}()")
        dtypes = []
        hosts = [_unwrap(a, name, dtypes) for a in args]
        options = {k: _unwrap(v, name, dtypes) for k, v in kwargs.items()} if kwargs else kwargs
        for i, parameter in array_places:
            if i < len(args) and (type(args[i]) in (list, tuple) or i == 0 and not dtypes):
                raise StrictError(f"{name}: CuPy takes an array of the device as {parameter!r}, "
                                  f"not {type(args[i]).__name__}; use xp.asarray or xp.stack")
        result = function(*hosts, **options)
        dtype = getattr(result, "dtype", None)
        if computes and (not dtypes or any(d is not dtype for d in dtypes)):
            named = kwargs.get("dtype") is not None or len(args) > dtype_place
            if dtypes:
                _check_dtypes(name, dtypes, None if named else dtype)
            elif dtype is not None and not named:
                _check_default(name, dtype)
        if kwargs.get("out") is not None:
            return kwargs["out"]
        return _wrap(np.asarray(result)) if zero_d else _wrap_all(result)

    call.__name__ = call.__qualname__ = name
    return call


def _method(name, signature):
    """StrictArray.<name>: NumPy's method behind CuPy's parameters."""
    return _function(name, f"self, {signature}", getattr(np.ndarray, name))


def _check_kind(kind):
    if kind not in (None, "stable"):
        raise ValueError(f"kind can only be None or 'stable', not {kind!r}")


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
            return obj if result is obj._host else _wrap(result)
        _waits(f"{name}() of a host value, a copy from the host,")
        dtypes = []
        result = function(_contents(obj, dtypes), **options)
        if result.dtype.kind not in "biufcV":
            raise ValueError(f"CuPy has no arrays of dtype {result.dtype}")
        if options.get("dtype") is None:
            _check_dtypes(name, dtypes, None)
            if not dtypes:
                _check_default(name, result.dtype)
        return _wrap(result.copy() if result is obj or result.base is not None else result)

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
    indices, _ = (indices, 0) if isinstance(indices, int) else _index(indices)
    result = np.take(a._host, indices, axis, None if out is None else out._host, mode="wrap")
    return _wrap(result) if out is None else out


def _take_along_axis(a, indices, axis):
    """As NumPy's; an index out of range wraps around, as on the GPU."""
    indices, _ = _index(indices)
    if a.ndim and indices.size and a.shape[axis or 0]:
        indices = indices % (a.size if axis is None else a.shape[axis])
    return _wrap(np.take_along_axis(a._host, indices, axis))


def _repeat(a, repeats, axis=None):
    if isinstance(repeats, (list, tuple, StrictArray)):
        _waits("repeat() by an array")
    return _wrap(np.repeat(a._host, _unwrap(repeats, "repeat", []), axis))


def _sort(a, axis=-1, kind=None):
    _check_kind(kind)
    return _wrap(np.sort(a._host, axis, "stable"))


def _argsort(a, axis=-1, kind=None):
    _check_kind(kind)
    return _wrap(np.argsort(a._host, axis, "stable"))


def _where(condition, x=None, y=None):
    if x is None and y is None:
        return xp.nonzero(condition)
    if type(condition) is not StrictArray:
        raise StrictError(f"where: the condition must be an array of the device, "
                          f"not {type(condition).__name__}")
    hosts = [v._host if type(v) is StrictArray else _operand(v, "where") for v in (x, y)]
    result = np.where(condition._host, *hosts)
    given = [v.dtype for v in (x, y) if type(v) is StrictArray]
    _check_dtypes("where", given, result.dtype) if given else _check_default("where", result.dtype)
    return _wrap(result)


def _asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out, blocking) if type(a) is StrictArray else np.asarray(a)


def _from_dlpack(array, *, device=None, copy=None):
    if array.__dlpack_device__()[0] != _DEVICE_TYPE:
        raise BufferError("from_dlpack: the memory is the host's; use xp.asarray")
    return _wrap(np.from_dlpack(_Capsule(array)))


class _Capsule:
    """Hands NumPy the memory behind an object that exports a StrictArray."""

    def __init__(self, owner):
        self.owner = owner

    def __dlpack__(self, **options):
        return self.owner.__dlpack__(stream=_STREAM)

    def __dlpack_device__(self):
        return 1, 0


def _put(a, ind, v, mode="wrap"):
    np.put(a._host, _unwrap(ind, "put", []), _unwrap(v, "put", []), mode)


_OWN = {"take": _take, "take_along_axis": _take_along_axis, "repeat": _repeat, "sort": _sort,
        "argsort": _argsort, "where": _where, "asnumpy": _asnumpy, "from_dlpack": _from_dlpack,
        "put": _put}
_FROM_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}


class _Namespace(types.ModuleType):
    """Stands for the module `cupy`, or for its `linalg`; a name is made when first asked for."""

    def __init__(self, name, home, functions):
        super().__init__(name)
        self._home, self._functions = home, functions

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
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
            if name == "random" else
            f"{self.__name__} has no {name!r}: not in cupy {api['version']}, or not in NumPy")


xp = _Namespace("strict", np, load()["functions"])
xp.linalg = _Namespace("strict.linalg", np.linalg, load()["linalg"])
xp.ndarray = StrictArray
xp.matmul = _function("matmul", "a, b, /, *, out=None, dtype=None", np.matmul)

# Those of `cupyx`, which the backends reach through this namespace.
xp.scatter_add = lambda a, slices, value: _scatter(np.add, a, slices, value)
xp.scatter_max = lambda a, slices, value: _scatter(np.maximum, a, slices, value)

for _name, _text in load()["ndarray"]["methods"].items():
    if hasattr(np.ndarray, _name) and _name not in vars(StrictArray):
        setattr(StrictArray, _name, _method(_name, _text))
