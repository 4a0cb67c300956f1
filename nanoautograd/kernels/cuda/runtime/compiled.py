"""Kernels compiled for GPUs that are not here: what the compiler says of registers and spills.

    for use in compiled(source("layer_norm.cu", T="float"), "sm_90"):
        print(use.kernel, use.registers, use.spills)

By NVRTC (package nvidia-cuda-nvrtc, which the extra `gpu` brings along) through ctypes, with the
options that CuPy gives it.
"""

import ctypes
import re
from ctypes.util import find_library
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock, patch

from .source import OPTIONS


class Use(NamedTuple):
    """What a kernel needs of a GPU. spills: bytes of registers that did not fit, a thread; shared:
    bytes of shared memory besides those given at the launch."""

    kernel: str
    registers: int
    spills: int
    shared: int


class CompileError(RuntimeError):
    """The beginning of the compiler's message."""


def compiled(source, architecture):
    """A Use for each kernel of a Source, compiled for "sm_80", "sm_90", ... Raises CompileError,
    for a warning too."""
    if nvrtc_path() is None:
        raise CompileError("there is no NVRTC: pip install nvidia-cuda-nvrtc")
    log = _compile(source, [*cupy_options(architecture), "--ptxas-options=-v"])
    return _uses(log)


# What CuPy 14.2 makes of the options that Source gives it (cupy/cuda/compiler.py,
# `_compile_with_cache_cuda` and `_compile_using_nvrtc_no_warning`), but for the folders of headers:
# a Source includes none.
CUPY_14_2 = *OPTIONS, "-ftz=true", "-arch={}", "--device-as-default-execution-space"


@cache
def cupy_options(architecture):
    """The options with which CuPy gives a Source to NVRTC: asked of the CuPy that is installed, in
    whose compiler NVRTC is exchanged for a class that notes them; without CuPy, CUPY_14_2."""
    if find_spec("cupy") is None:
        return [option.format(architecture) for option in CUPY_14_2]
    from cupy.cuda import compiler

    noted = []

    class Notes:
        def __init__(self, *args, **options):
            pass

        def compile(self, options, log_stream=None):
            noted.append(options)
            return b"", None

    def architecture_of(*device):
        return f"-arch={architecture}", "cubin"

    with (
        patch.object(compiler, "_NVRTCProgram", Notes),
        patch.object(compiler, "_get_arch_for_options_for_nvrtc", architecture_of),
        patch.object(compiler.function, "Module", Mock),
    ):
        compiler._compile_with_cache_cuda(
            "", OPTIONS, architecture.removeprefix("sm_"), cache_in_memory=True
        )
    return list(noted[-1])  # before that it asks NVRTC for its version


def _compile(source, options):
    """NVRTC's log."""
    nvrtc = ctypes.CDLL(nvrtc_path())
    program = ctypes.c_void_p()
    _ok(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.text.encode(), source.file.encode(), 0, None, None
        )
    )
    array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    _ok(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
    log = ctypes.create_string_buffer(size.value)
    _ok(nvrtc.nvrtcGetProgramLog(program, log))
    _ok(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
    log = log.value.decode()
    if failed or re.search(r"\bwarning\b", log):
        raise CompileError(f"{source} with {' '.join(options)}:\n{log[:2000]}")
    return log


def _ok(status):
    if status:
        raise CompileError(f"NVRTC failed with status {status}")


@cache
def nvrtc_path():
    """NVRTC's library, in a package nvidia-cuda-nvrtc or of a toolkit; or None."""
    spec = find_spec("nvidia")
    found = [
        path
        for folder in (spec.submodule_search_locations if spec else ())
        for path in Path(folder).glob("**/libnvrtc.so.*")
        if "builtins" not in path.name
    ]
    return str(found[0]) if found else find_library("nvrtc")


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
