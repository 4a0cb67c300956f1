"""Kernels on the CPU: each .cu file built by g++ with `cuda.h`, and run one fiber a CUDA thread.

For tests and for readers: it shows what a kernel computes and which mistakes it has, on any machine
that has g++, a thousand times slower than a GPU. Arrays are those of NumPy or of the fake.

    with emulated(seed=3): ...      here arrays of the fake use the kernels, in a random order
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ....backends import is_array

HEADER = Path(__file__).parent / "cuda.h"
FLAGS = (
    "-std=c++17",
    "-O1",
    "-shared",
    "-fPIC",
    "-fno-gnu-unique",
    "-Wl,-Bsymbolic",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-Wno-unused-variable",
)
SANITIZE = "-O0", "-g", "-fsanitize=address,alignment", "-fno-sanitize-recover=alignment"

_state = {"on": False, "seed": 0, "sanitize": False}
_libraries = {}  # (text, sanitize) -> CDLL


class KernelError(RuntimeError):
    """What the emulator found in a kernel."""


def available():
    """Is there a compiler?"""
    return shutil.which("g++") is not None


def is_on():
    """Do arrays of the fake use the kernels?"""
    return _state["on"]


@contextmanager
def emulated(seed=0, sanitize=False):
    """In here kernels take the arrays of the fake, their threads in the random order of `seed`;
    0 is the order of their numbers. sanitize: indices and alignment are checked, by
    AddressSanitizer, which must be loaded first (LD_PRELOAD), and UndefinedBehaviorSanitizer."""
    before = dict(_state)
    _state.update(on=True, seed=seed, sanitize=sanitize)
    try:
        yield
    finally:
        _state.update(before)


def run(source, kernel, grid, block, arguments, shared, cooperative):
    """As Source.launch, which has checked the arguments. Raises KernelError."""
    f = getattr(_library(source), f"run_{kernel}")
    kept, pointers = [], (ctypes.c_void_p * len(arguments))()
    for i, a in enumerate(arguments):
        is_struct = is_array(a) and a.dtype.names
        if a is None or is_array(a) and not is_struct:  # of a variable that holds an address
            a = np.uint64(0 if a is None else _numpy(a).ctypes.data)
        a = np.array(a)
        kept.append(a)
        pointers[i] = a.ctypes.data
    sizes = [(ctypes.c_uint * 3)(*size, *(1,) * (3 - len(size))) for size in (grid, block)]
    f.restype = ctypes.c_char_p
    f.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_size_t, ctypes.c_bool, ctypes.c_uint64]
    problem = f(pointers, *sizes, shared, cooperative, _state["seed"])
    if problem:
        raise KernelError(f"{source}, {kernel}: {problem.decode()}")


def _numpy(a):
    """The NumPy array of one of the fake."""
    return a if isinstance(a, np.ndarray) else a._host


def _library(source):
    key = source.text, _state["sanitize"]
    if key not in _libraries:
        _libraries[key] = ctypes.CDLL(build(source, _state["sanitize"]))
    return _libraries[key]


def build(source, sanitize=False):
    """The path of the library, compiled if it is not there yet."""
    flags = (*FLAGS, *(SANITIZE if sanitize else ()))
    text = "\n".join((source.text, *(_entry(source, name) for name in source.kernels)))
    header = HEADER.read_text(encoding="utf-8")
    path = _cache() / f"{_hash(text, header, *flags)}.so"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "kernel"
        text = f'#include "{_precompiled(header, flags)}"\n{text}'
        made.with_suffix(".cpp").write_text(text, encoding="utf-8")
        problem = _compile(*flags, "-o", made, made.with_suffix(".cpp"))
        if problem:
            raise KernelError(f"{source} does not compile:\n{problem}")
        os.replace(made, path)  # whole or not at all
    return path


def _precompiled(header, flags):
    """The path of a copy of cuda.h beside which g++ finds it parsed, which takes as long as the
    rest of what a kernel takes."""
    path = _cache() / _hash(header, *flags)
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / "made"
            made.mkdir()
            (made / "cuda.h").write_text(header, encoding="utf-8")
            problem = _compile(*flags, "-c", "-x", "c++-header", made / "cuda.h")
            if problem:
                raise KernelError(f"{HEADER} does not compile:\n{problem}")
            with suppress(OSError):  # another process was first
                made.rename(path)
    return path / "cuda.h"


def _compile(*arguments):
    """What g++ says is wrong."""
    if not available():
        raise KernelError("kernels run on the CPU only where g++ is: apt install g++")
    done = subprocess.run(["g++", *arguments], capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def _hash(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _cache():
    """Where libraries are kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nanoautograd"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _entry(source, kernel):
    """A function in C that takes the addresses of the arguments."""
    values = ", ".join(f"*({type}*)a[{i}]" for i, type in enumerate(source.types(kernel)))
    return (
        f'extern "C" const char* run_{kernel}(void** a, const unsigned* grid, '
        "const unsigned* block, size_t shared, bool cooperative, uint64_t seed) {\n"
        f"    return emulator::run([=] {{ {kernel}({values}); }}, grid, block, shared, "
        "cooperative, seed);\n}"
    )
