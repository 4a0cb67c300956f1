"""StrictArray: a NumPy array that behaves as `cupy.ndarray` does."""

import operator

import numpy as np

from ..threads import in_worker
from .rules import SCALARS, StrictError, check_dtypes, check_kind, mixed, operand, waits

__all__ = [
    "DEVICE_TYPE",
    "STREAM",
    "StrictArray",
    "set_elements",
    "to_index",
    "unwrap",
    "wrap",
    "wrap_all",
    "wrap_around",
]


def _binary(name, ufunc, reflected=False):
    def method(self, other):
        a = self._host
        if type(other) is StrictArray:
            b = other._host
            if a.dtype is not b.dtype:
                check_dtypes(name, (a.dtype, b.dtype), None)
        elif type(other) in SCALARS:
            b = other
        elif isinstance(other, (np.ndarray, list, tuple)):
            operand(other, name)
        else:
            return NotImplemented
        result = ufunc(b, a) if reflected else ufunc(a, b)
        if result.dtype is not a.dtype:
            given = (a.dtype, b.dtype) if type(other) is StrictArray else (a.dtype,)
            check_dtypes(name, given, result.dtype)
        return wrap(result)

    return method


def _in_place(name, ufunc):
    def method(self, other):
        a = self._host
        if type(other) is StrictArray:
            b = other._host
            if a.dtype is not b.dtype:
                check_dtypes(name, (a.dtype, b.dtype), None)
        else:
            b = operand(other, name)
        ufunc(a, b, out=a)
        return self

    return method


def _unary(ufunc):
    def method(self):
        return wrap(ufunc(self._host))

    return method


class StrictArray:
    """A NumPy array that behaves as `cupy.ndarray` does. Made with `xp.asarray`, not directly.

    It is no subclass of numpy.ndarray: `np.asarray` would unwrap that without a word. The methods
    of `cupy.ndarray` that are not written out here come from the snapshot (namespace.py).
    """

    __slots__ = ("_memory", "__weakref__")
    __array_priority__ = 100
    __hash__ = None
    __module__ = __package__  # where its namespace is found, as `cupy` is for cupy.ndarray

    def __init__(self, *args, **kwargs):
        raise StrictError("make arrays with xp.asarray, xp.zeros, ...")

    @property
    def _host(self):
        """The NumPy array, for all that is done with this one. CuPy's are for the thread whose
        stream and memory they belong to (threads.py)."""
        if in_worker():
            raise StrictError(
                f"an array of the device, of shape {self._memory.shape}, is used in a worker "
                "thread, where CuPy has another stream and another memory pool: compute with it in "
                "the thread that has it"
            )
        return self._memory

    # NumPy's doors are shut, except where CuPy opens them to a type that it does not know.

    def __array__(self, dtype=None, copy=None):
        raise StrictError("implicit conversion to a NumPy array is not allowed; use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(
            type(x) not in SCALARS
            and not isinstance(x, (StrictArray, np.ndarray))
            and hasattr(x, "__array_ufunc__")
            for x in inputs
        ):
            return NotImplemented
        left = inputs[0]
        if isinstance(left, np.ndarray) and not left.ndim and ufunc.__name__ in _COMPARED:
            left = left[()]  # NumPy wraps the scalar of `scalar < array`
        if method == "__call__" and ufunc in _REFLECTED and isinstance(left, np.generic):
            return _REFLECTED[ufunc](inputs[1], left)  # numpy_scalar * array
        raise StrictError(
            f"numpy.{ufunc.__name__} was called on arrays of the device; "
            f"use xp.{ufunc.__name__} with xp = array_namespace(array)"
        )

    def __array_function__(self, function, classes, args, kwargs):
        if any(not issubclass(c, (StrictArray, np.ndarray)) for c in classes):
            return NotImplemented
        raise StrictError(
            f"numpy.{function.__name__} was called on arrays of the device; "
            f"use xp.{function.__name__} with xp = array_namespace(array)"
        )

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if stream is not STREAM:
            raise BufferError("this array pretends to be in a GPU's memory; use .get() first")
        return self._host.__dlpack__(max_version=max_version, copy=copy)

    def __dlpack_device__(self):
        return DEVICE_TYPE, 0

    # What the array is.

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: "strict")
    T = property(lambda self: wrap(self._host.T))
    mT = property(lambda self: wrap(self._host.mT))
    real = property(lambda self: wrap(self._host.real))
    imag = property(lambda self: wrap(self._host.imag))
    base = property(
        lambda self: wrap(self._host.base) if isinstance(self._host.base, np.ndarray) else None
    )
    flags = property(lambda self: _Flags(self._host.flags))

    @shape.setter
    def shape(self, shape):
        self._host.shape = shape

    # To the host: each of these waits for the GPU.

    def get(self, stream=None, order="C", out=None, blocking=True):
        """A copy as a NumPy array; the only way back to the host."""
        waits("get()")
        if out is None:
            return self._host.copy(order=order)
        out[...] = self._host
        return out

    def item(self):
        waits("item()")
        return self._host.item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def set(self, arr, stream=None):
        """Copy a NumPy array of the same shape and dtype into this one."""
        waits("set(), a copy from the host,")
        if not isinstance(arr, np.ndarray) or (arr.shape, arr.dtype) != (self.shape, self.dtype):
            raise StrictError(f"set() takes a NumPy array of shape {self.shape} and {self.dtype}")
        self._host[...] = arr

    def __bool__(self):
        waits("bool(array), and `if` or `while` on one,")
        return bool(self._host)

    def __int__(self):
        waits("int(array)")
        return int(self._host)

    def __float__(self):
        waits("float(array)")
        return float(self._host)

    def __complex__(self):
        waits("complex(array)")
        return complex(self._host)

    def __repr__(self):
        waits("repr(array)")
        return repr(self._host).replace("array(", "strict.array(", 1)

    def __str__(self):
        waits("str(array)")
        return str(self._host)

    def __format__(self, specification):
        waits("format(array)")
        return format(self._host, specification)

    def __reduce__(self):
        return wrap, (self.get(order="A"),)

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
        index, arrays = to_index(index)
        if arrays:
            try:
                return wrap(host[index])
            except IndexError:
                return wrap(host[wrap_around(index, host)])
        result = host[index]
        if type(result) is np.ndarray:
            return wrap(result)
        # One element, by integers: with CuPy that is a 0-d view of it, not a scalar.
        return wrap(host[(*index, ...) if type(index) is tuple else (index, ...)])

    def __setitem__(self, index, value):
        index, arrays = to_index(index)
        if type(value) is StrictArray:
            value = value._host
        else:
            value = operand(value, "array[index] = value")
        if not arrays:
            self._host[index] = value
        else:
            set_elements(self._host, index, value)

    # The other operators come from the tables below.

    __neg__, __pos__ = _unary(np.negative), _unary(np.positive)
    __abs__, __invert__ = _unary(np.absolute), _unary(np.invert)

    # Methods whose behaviour is CuPy's own.

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        host = self._host.astype(dtype, order, casting or "unsafe", copy=copy)
        return self if host is self._host else wrap(host)  # as CuPy does with copy=False

    def copy(self, order="C"):
        return wrap(self._host.copy(order))

    def view(self, dtype=None, type=None):
        return wrap(self._host.view() if dtype is None else self._host.view(dtype))

    def fill(self, value):
        self._host.fill(value._host if type(value) is StrictArray else operand(value, "fill"))

    def sort(self, axis=-1, kind=None):
        """In place. `kind` is "stable" or None."""
        check_kind(kind)
        self._host.sort(axis, "stable")


_new = object.__new__
STREAM = object()  # what xp.from_dlpack passes as `stream`, so that nobody else gets in
DEVICE_TYPE = 12  # DLPack's kDLExtDev, a device that no other library claims

_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
}
_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_COMPARED = set(_COMPARISONS.values())
_REFLECTED = {}  # ufunc -> the method for `scalar <op> array`
for _short, _long in (_OPERATORS | _COMPARISONS).items():
    _ufunc = getattr(np, _long)
    _REFLECTED[_ufunc] = _binary(_long, _ufunc, reflected=True)
    setattr(StrictArray, f"__{_short}__", _binary(_long, _ufunc))
    if _short in _OPERATORS:
        setattr(StrictArray, f"__r{_short}__", _REFLECTED[_ufunc])
    if _short in _OPERATORS and _short != "matmul":
        setattr(StrictArray, f"__i{_short}__", _in_place(_long, _ufunc))


class _Flags:
    """CuPy's `a.flags`, which knows contiguity and ownership and nothing of writing."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous
        self.owndata, self.fnc, self.forc = flags.owndata, flags.fnc, flags.forc

    def __getitem__(self, name):
        return getattr(self, name.lower())


# --- in and out of the wrapper --------------------------------------------------------------------


def wrap(host):
    """The StrictArray around a NumPy array or scalar, without a copy."""
    a = _new(StrictArray)
    a._memory = host if type(host) is np.ndarray else np.asarray(host)
    return a


def wrap_all(result):
    """A NumPy function's result as CuPy would return it: arrays wrapped, scalars as 0-d arrays."""
    if isinstance(result, (np.ndarray, np.generic)):
        return wrap(result)
    if type(result) in (tuple, list):
        return type(result)(map(wrap_all, result))
    if isinstance(result, tuple):  # a named one, such as eigh's
        return type(result)(*map(wrap_all, result))
    return result


def unwrap(x, name, dtypes):
    """`x` for NumPy; the dtypes of the arrays in it are appended to `dtypes`."""
    cls = type(x)
    if cls is StrictArray:
        dtypes.append(x._host.dtype)
        return x._host
    if cls is tuple or cls is list:
        return cls([unwrap(item, name, dtypes) for item in x])
    if isinstance(x, np.ndarray):
        raise mixed(name, x)
    return x


# --- index expressions ----------------------------------------------------------------------------

_BASIC = {int, slice, type(None), type(...)}


def to_index(index):
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
            waits("a boolean mask as an index")
        elif part.dtype.kind not in "iu":
            raise IndexError(f"an index must be of integers or booleans, not {part.dtype}")
        return part._host
    if isinstance(part, np.ndarray):
        raise mixed("array[index]", part)
    if isinstance(part, (list, tuple)):
        waits("a list as an index, a copy from the host,")
        host = np.array(unwrap(part, "array[index]", []))
        return host if host.size else host.astype(int)
    if isinstance(part, (bool, np.bool_)):
        return np.asarray(part)
    return operator.index(part)  # NumPy's integers; a TypeError for the rest


def wrap_around(index, host):
    """Integer arrays in `index` modulo the axis they index: CuPy wraps where NumPy raises."""
    parts = list(index) if type(index) is tuple else [index]
    spent = sum(
        p.ndim if type(p) is np.ndarray and p.dtype == bool else 1
        for p in parts
        if p is not None and p is not ...
    )
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


def set_elements(host, index, value):
    """host[index] = value with arrays in the index; what CuPy leaves open is an error."""
    value = np.asarray(value).astype(host.dtype)  # a copy: it may be a view of `host`
    try:
        host[index] = value
    except IndexError:
        index = wrap_around(index, host)
        host[index] = value
    written = host[index]
    wanted = value.reshape(value.shape[max(0, value.ndim - written.ndim) :])
    wanted = np.broadcast_to(wanted, written.shape)
    if not np.array_equal(written, wanted, equal_nan=host.dtype.kind in "fc"):
        raise StrictError(
            "array[index] = value: the index names an element twice, with two "
            "values, and CuPy does not say which stays; make the index unique"
        )
