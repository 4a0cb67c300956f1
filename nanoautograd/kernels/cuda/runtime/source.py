"""A .cu file, and how its kernels are launched: on a GPU by CuPy, without one by the emulator.

    exp = Source("exp.cu", T="float")
    exp.launch("forward", blocks, threads, x, y, n, shared=32 * 4)

The types of a kernel's parameters are read in its source, and every argument is held to them: a
pointer takes a contiguous array of that dtype (or None; or Strided(array), if the kernel is given
the strides too), a number is given as the type declared. So a wrong argument is an error with a
name, and never bytes that are read as something else.
"""

import re
from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....backends import array_namespace, check_device, is_array

HERE = Path(__file__).parents[1] / "sources"
OPTIONS = ("-std=c++17",)  # for the compiler, NVRTC, besides those that CuPy adds
MOST_BLOCKS = 2**31 - 1, 65535, 65535  # of a grid, along its axes
MOST_SHARED = 227 << 10  # bytes that a block can have, on an H100
DTYPES = {
    "char": "int8",
    "unsigned char": "uint8",
    "int": "int32",
    "u32": "uint32",
    "long long": "int64",
    "u64": "uint64",
    "float": "float32",
    "double": "float64",
    "bf16": "bfloat16",
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}  # of a dtype in C
FLOATS = "float32", "float64", "bfloat16"  # what T can be
KERNEL = re.compile(
    r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?'
    r"(\w+)\(([^)]*)\)"
)


def type_of(array):
    """The name in C of the type of an array's elements."""
    return NAMES[array.dtype.name]


def address(array):
    """Of its first element."""
    if array_namespace(array).__name__ == "cupy":
        return array.data.ptr
    return getattr(array, "_host", array).ctypes.data  # the fake's, or NumPy's


@cache
def shared_memory(device):
    """Bytes of shared memory that a block can have: without a GPU those of an H100; none on GPUs
    before the A100, which have no cp.async."""
    if not device.startswith("cuda"):
        return MOST_SHARED
    import cupy

    gpu = cupy.cuda.Device(int(device.partition(":")[2]))
    is_old = int(gpu.compute_capability) < 80
    return 0 if is_old else gpu.attributes["MaxSharedMemoryPerBlockOptin"]


class Strided(NamedTuple):
    """An array that may lie in memory in any way, of which other arguments tell the kernel."""

    array: object


class Source:
    """file: its path from sources/; macros: what it is compiled with, T="float" and the like."""

    def __init__(self, file, **macros):
        self.file, self.macros = file, macros
        defines = [f"#define {name} {value}\n" for name, value in macros.items()]
        self.text = "".join(defines) + _with_includes(file)
        self.kernels = {
            name: [self._parameter(p) for p in parameters.split(",")]
            for name, parameters in KERNEL.findall(_without_comments(self.text))
        }
        self._loaded = {}  # device -> {kernel: function}

    def __repr__(self):
        return " ".join([self.file, *(f"{name}={value}" for name, value in self.macros.items())])

    def launch(self, kernel, blocks, threads, *arguments, shared=0, cooperative=False):
        """Run a kernel. blocks, threads: the sizes of the grid and of a block, numbers or tuples of
        up to three. shared: bytes of shared memory a block. cooperative: all blocks at once. Where
        there are no blocks nothing happens.

        Raises TypeError and ValueError for arguments and sizes that do not fit, DeviceError for
        arrays that are not on the current device; without a GPU also the emulator's KernelError.
        """
        arguments = self._checked(kernel, arguments)
        grid, block = (((n,) if isinstance(n, int) else tuple(n)) for n in (blocks, threads))
        if 0 in grid:
            return
        if (
            any(n > most for n, most in zip(grid, MOST_BLOCKS))
            or not 0 < prod(block) <= 1024
            or shared > MOST_SHARED
        ):
            raise ValueError(
                f"{self}: {kernel} cannot have {grid} blocks of {block} threads with "
                f"{shared:,} bytes of shared memory: no GPU has so many"
            )
        arrays = [a for a in arguments if is_array(a) and not _is_struct(a)]
        xp = array_namespace(*arrays)
        if xp.__name__ != "cupy":
            from .. import emulator

            emulator.run(self, kernel, grid, block, arguments, shared, cooperative)
            return
        import cupy

        device = cupy.cuda.runtime.getDevice()
        check_device(device, *arrays)
        f = self._on(device, cooperative)(kernel, shared)
        f(
            grid,
            block,
            tuple(np.uint64(0) if a is None else a for a in arguments),
            shared_mem=shared,
        )

    def types(self, kernel):
        """Of its parameters, in C."""
        return [
            NAMES.get(dtype, dtype) + "*" * is_pointer
            for _, dtype, is_pointer in self.kernels[kernel]
        ]

    def _on(self, device, cooperative):
        """get(kernel, shared): the function of CuPy, compiled for the device at its first use. More
        than 48 KB of shared memory have to be asked for; what one launch asked for the next one
        has too, so the limit is only raised."""
        if (device, cooperative) not in self._loaded:
            import cupy

            module = cupy.RawModule(
                code=self.text, options=OPTIONS, enable_cooperative_groups=cooperative
            )

            functions, limits = {}, {}

            def get(kernel, shared):
                f = functions.get(kernel)
                if f is None:
                    f = functions[kernel] = module.get_function(kernel)
                if shared > limits.get(kernel, 48 << 10):
                    f.max_dynamic_shared_size_bytes = limits[kernel] = shared
                return f

            self._loaded[device, cooperative] = get
        return self._loaded[device, cooperative]

    def _parameter(self, text):
        """(name, dtype, whether it is a pointer) of a declaration, "const T* x"."""
        *words, name = text.replace("*", " * ").replace("__restrict__", "").split()
        words = [word for word in words if word not in ("const", "volatile")]
        base = " ".join(word for word in words if word != "*")
        base = str(self.macros.get(base, base))
        if base == "AccumT":
            base = "double" if self.macros["T"] == "double" else "float"
        return name, DTYPES.get(base, base), "*" in words

    def _checked(self, kernel, arguments):
        parameters, given = self.kernels[kernel], len(arguments)
        if given != len(parameters):
            raise TypeError(f"{self}: {kernel} takes {len(parameters)} arguments, got {given}")
        checked = []
        for (name, dtype, is_pointer), a in zip(parameters, arguments):
            is_strided = type(a) is Strided
            a = a.array if is_strided else a
            if dtype not in NAMES:
                if not (is_array(a) and _is_struct(a)):
                    raise TypeError(f"{self}: {kernel}'s {name} is a struct, got {a!r}")
            elif not is_pointer:
                if is_array(a) or a is None:
                    raise TypeError(f"{self}: {kernel}'s {name} is a number, got {a!r}")
                a = np.dtype(dtype).type(a)
            elif a is not None:
                if not is_array(a) or a.dtype.name != dtype:
                    raise TypeError(
                        f"{self}: {kernel}'s {name} is an array of {dtype}, got "
                        f"{a.dtype if is_array(a) else repr(a)}"
                    )
                if not (is_strided or a.flags.c_contiguous):
                    raise ValueError(
                        f"{self}: {kernel}'s {name} must be contiguous; got the shape "
                        f"{a.shape} with the strides {a.strides}"
                    )
            checked.append(a)
        return checked


def _is_struct(array):
    """Is it one of NumPy with fields and no axes, which goes to a kernel by value?"""
    return array.dtype.names is not None


@cache
def source(file, **macros):
    """The Source, one for each choice."""
    return Source(file, **macros)


def _with_includes(file, seen=None):
    """The text of a source, each file that it includes once: compilers get no files. seen: those
    that are in it already, to which this one adds."""
    seen = set() if seen is None else seen
    seen.add(file)

    def included(match):
        return "" if match[1] in seen else _with_includes(match[1], seen)

    text = (HERE / file).read_text(encoding="utf-8").replace("#pragma once\n", "")
    return re.sub(r'^#include "(\w+\.cuh)"\n', included, text, flags=re.MULTILINE)


def _without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
