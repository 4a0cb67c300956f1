"""Kernels compiled for GPUs that are not here: what the compiler says of registers and spills.

    for use in compiled(source("layer_norm.cu", T="float"), "sm_90"):
        print(use.kernel, use.registers, use.spills)

By nvcc, or by NVRTC (package nvidia-cuda-nvrtc, which the extra `gpu` brings along) through ctypes.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Use(NamedTuple):
    """What a kernel needs of a GPU. spills: bytes of registers that did not fit, a thread; shared:
    bytes of shared memory besides those given at the launch."""

    kernel: str
    registers: int
    spills: int
    shared: int


class CompileError(RuntimeError):
    """The beginning of the compiler's message."""


def compiler():
    """ "nvcc", the path of NVRTC's library, or None."""
    return shutil.which("nvcc") or _nvrtc_path()


def compiled(source, architecture):
    """A Use for each kernel of a Source, compiled for "sm_80", "sm_90", ... Raises CompileError."""
    by = compiler()
    if by is None:
        raise CompileError("there is neither nvcc nor NVRTC: pip install nvidia-cuda-nvrtc")
    nvcc = _by_nvcc if by.endswith("nvcc") else _by_nvrtc
    return _uses(nvcc(source, architecture))


def _by_nvcc(source, architecture):
    """ptxas's report."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.file
        path.write_text(source.text, encoding="utf-8")
        done = subprocess.run(
            [
                "nvcc",
                "-cubin",
                f"-arch={architecture}",
                "-Xptxas",
                "-v",
                "-Werror",
                "all-warnings",
                "-std=c++17",
                "-o",
                Path(folder) / "kernel.cubin",
                path,
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise CompileError(f"{source} for {architecture}:\n{done.stderr[:2000]}")
    return done.stderr


def _by_nvrtc(source, architecture):
    nvrtc = ctypes.CDLL(_nvrtc_path())
    program = ctypes.c_void_p()
    _ok(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.text.encode(), source.file.encode(), 0, None, None
        )
    )
    options = [f"-arch={architecture}", "--ptxas-options=-v", "-std=c++17"]
    array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    _ok(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
    log = ctypes.create_string_buffer(size.value)
    _ok(nvrtc.nvrtcGetProgramLog(program, log))
    _ok(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
    log = log.value.decode()
    if failed:
        raise CompileError(f"{source} for {architecture}:\n{log[:2000]}")
    return log


def _ok(status):
    if status:
        raise CompileError(f"NVRTC failed with status {status}")


@cache
def _nvrtc_path():
    """The library in a package nvidia-cuda-nvrtc, or None."""
    spec = find_spec("nvidia")
    found = [
        path
        for folder in (spec.submodule_search_locations if spec else ())
        for path in Path(folder).glob("**/libnvrtc.so.*")
        if "builtins" not in path.name
    ]
    return str(found[0]) if found else None


def _uses(report):
    """Out of ptxas's lines: "Compiling entry function 'f' ...", "... bytes spill stores, ...",
    "Used 32 registers, ..."."""
    uses = []
    for part in re.split(r"Compiling entry function", report)[1:]:
        kernel = re.match(r"\s*'(\w+)'", part)[1]
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        shared = re.search(r"(\d+) bytes smem", part)
        uses.append(
            Use(
                kernel,
                int(re.search(r"Used (\d+) registers", part)[1]),
                int(spills[1]) + int(spills[2]),
                int(shared[1]) if shared else 0,
            )
        )
    return uses
